//! A disk, another node and a shell, as small as they can be: nothing happens unless it is told to.

use crate::Data;
use crate::engine::decision::{self, MapToSend};
use crate::engine::*;
use crate::wire::errno::Errno;
use crate::wire::hello::*;
use crate::wire::request::{Cmd, Reply, Request, State};
use std::collections::{BTreeMap, VecDeque};

pub const SECTOR: u64 = 512;
pub const EXTENT: u64 = 4096;
pub const SIZE: u64 = 16 * EXTENT;
pub const MAP: usize = 512;

/// A component: what reads return, and what a loss of power leaves.
#[derive(Clone)]
pub struct Disk {
    pub now: Vec<u8>,
    pub stable: Vec<u8>,
}

impl Disk {
    pub fn new() -> Self {
        Self { now: vec![0; SIZE as usize], stable: vec![0; SIZE as usize] }
    }

    pub fn read(&self, offset: u64, length: u64) -> Data {
        Data::from(self.now[offset as usize..(offset + length) as usize].to_vec())
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.now[offset as usize..offset as usize + data.len()].copy_from_slice(data);
    }

    pub fn flush(&mut self) {
        self.stable.clone_from(&self.now);
    }
}

/// The other node, the way there included.
pub struct Peer {
    pub disk: Disk,
    pub meta: Metadata,
    pub map: Vec<u8>,
    pub ext: u64,
    pub version: u8,
    /// Refuses to be connected to.
    pub away: bool,
    pub requests: VecDeque<Request>,
    pub replies: VecDeque<Reply>,
    /// What a primary told of its data.
    pub state: Option<State>,
    /// Requests of this kind fail, so many times.
    pub fail: Option<(Cmd, Errno, usize)>,
    pub keepalives: usize,
    pub refusal: Option<Refusal>,
    pub datasize: u64,
    /// All requests that came.
    pub seen: Vec<Request>,
}

/// Whether this I/O fails.
pub type Fails = fn(&Io) -> bool;

pub struct World {
    pub engine: Primary,
    pub now: Now,
    pub disk: Disk,
    pub map: Vec<u8>,
    pub meta: Metadata,
    pub ios: VecDeque<(Token, Io)>,
    pub peer: Peer,
    pub inputs: VecDeque<PrimaryInput>,
    pub answers: BTreeMap<u64, Result<Option<Data>, Errno>>,
    pub told: Vec<Happening>,
    pub connected: bool,
    pub stopped: bool,
    /// Local I/O that this says yes to fails.
    pub broken: Option<(Fails, Errno)>,
    pub tag: u64,
    /// Every action, by what it was, in order.
    pub trace: Vec<String>,
}

pub fn meta(resuid: u64, localcnt: u64, remotecnt: u64) -> Metadata {
    Metadata {
        resource: "data".to_owned(),
        datasize: SIZE,
        extentsize: EXTENT as u32,
        keepdirty: 2,
        offset: 8192,
        resuid,
        localcnt,
        remotecnt,
        prevrole: Role::Init,
        consistency: Consistency::Consistent,
    }
}

pub fn settings(replication: Replication) -> Settings {
    Settings { replication, timeout: 20_000, has_remote: true, max_request: 4096 }
}

impl World {
    pub fn new(replication: Replication) -> Self {
        Self::with(meta(7, 0, 0), vec![0; MAP], settings(replication))
    }

    pub fn with(meta: Metadata, map: Vec<u8>, settings: Settings) -> Self {
        let peer = Peer {
            disk: Disk::new(),
            meta: self::meta(meta.resuid, meta.remotecnt, meta.localcnt),
            map: vec![0; MAP],
            ext: 0,
            version: 2,
            away: false,
            requests: VecDeque::new(),
            replies: VecDeque::new(),
            state: None,
            fail: None,
            keepalives: 0,
            refusal: None,
            datasize: SIZE,
            seen: Vec::new(),
        };
        Self {
            engine: Primary::new(meta.clone(), &map, settings, 42),
            now: 0,
            disk: Disk::new(),
            map,
            meta,
            ios: VecDeque::new(),
            peer,
            inputs: VecDeque::new(),
            answers: BTreeMap::new(),
            told: Vec::new(),
            connected: false,
            stopped: false,
            broken: None,
            tag: 0,
            trace: Vec::new(),
        }
    }

    /// Linked, in sync, nothing under way.
    pub fn linked(replication: Replication) -> Self {
        let mut world = Self::new(replication);
        world.tick();
        world.settle();
        assert!(world.engine.status().connected);
        world.told.clear();
        world.trace.clear();
        world
    }

    pub fn on(&mut self, input: PrimaryInput) {
        let mut out = Vec::new();
        self.engine.on(input, self.now, &mut out);
        for action in out {
            self.act(action);
        }
    }

    fn act(&mut self, action: PrimaryAction) {
        match action {
            PrimaryAction::Io(token, io) => {
                self.trace.push(kind(&io).to_owned());
                self.ios.push_back((token, io));
            }
            PrimaryAction::Connect(_) if self.peer.away => {
                self.inputs.push_back(PrimaryInput::Lost("refused".to_owned()));
            }
            PrimaryAction::Connect(conn) => self.inputs.push_back(PrimaryInput::Connected(conn)),
            PrimaryAction::Handshake(_, message) => self.greeted(message),
            PrimaryAction::Send(request) => {
                self.trace.push(format!("send {:?}", request.cmd));
                assert!(self.connected, "sent without a link");
                self.peer.requests.push_back(request);
            }
            PrimaryAction::Close(_) => self.forget(),
            PrimaryAction::Answer(tag, result) => {
                self.trace.push(format!("answer {tag}"));
                assert!(self.answers.insert(tag, result).is_none(), "{tag} is answered twice");
            }
            PrimaryAction::Tell(happening) => {
                match happening {
                    Happening::Connect => self.connected = true,
                    Happening::Disconnect(_) => self.connected = false,
                    _ => {}
                }
                self.told.push(happening);
            }
            PrimaryAction::Stopped => self.stopped = true,
        }
    }

    /// Both connections are gone, with all that was on them.
    fn forget(&mut self) {
        self.peer.requests.clear();
        self.peer.replies.clear();
        self.inputs.clear();
    }

    /// The way there is cut.
    pub fn cut(&mut self) {
        self.forget();
        self.on(PrimaryInput::Lost("cut".to_owned()));
    }

    fn greeted(&mut self, message: Handshake) {
        let peer = &mut self.peer;
        let answer = match (message, peer.refusal.clone()) {
            (_, Some(refusal)) => Handshake::Refusal(refusal),
            (Handshake::Hello(hello), None) => {
                let version = hello.version.min(peer.version);
                Handshake::FirstReply(FirstReply { version, token: [9; TOKEN], ext: peer.ext })
            }
            (Handshake::Second(second), None) => {
                assert!(second.resuid != 0 && second.token == [9; TOKEN]);
                match decision::decide(&peer.meta, &second) {
                    Ok(decision) => {
                        if decision.adopt {
                            peer.meta.resuid = second.resuid;
                        }
                        Handshake::SecondReply(SecondReply {
                            datasize: peer.datasize,
                            extentsize: EXTENT as u32,
                            localcnt: peer.meta.localcnt,
                            remotecnt: peer.meta.remotecnt,
                            virgin: decision.adopt,
                            syncsrc: decision.source,
                            map: match decision.map {
                                MapToSend::None => None,
                                MapToSend::Own => Some(peer.map.clone()),
                                MapToSend::Full => Some(vec![0xff; MAP]),
                            },
                            ext: peer.ext,
                        })
                    }
                    Err(refused) => {
                        Handshake::Refusal(Refusal { errmsg: refused.errmsg(), wait: false })
                    }
                }
            }
            _ => panic!("the secondary was sent what only it says"),
        };
        self.inputs.push_back(PrimaryInput::Handshake(answer));
    }

    /// One local I/O ends.
    pub fn disk_one(&mut self, index: usize) {
        let Some((token, io)) = self.ios.remove(index) else { return };
        if let Some((broken, errno)) = self.broken
            && broken(&io)
        {
            return self.on(PrimaryInput::Done(token, Err(errno)));
        }
        let mut data = None;
        match io {
            Io::Read { offset, length } => data = Some(self.disk.read(offset, length.into())),
            Io::Write { offset, data } => {
                self.marked(offset, data.len() as u64);
                self.disk.write(offset, &data);
            }
            Io::Zero { offset, length } | Io::Discard { offset, length } => {
                self.marked(offset, length);
                self.disk.write(offset, &vec![0; length as usize]);
            }
            Io::Flush => self.disk.flush(),
            Io::Map(bytes) => {
                assert_eq!(bytes.len(), MAP);
                self.map = bytes.to_vec();
            }
            Io::Meta(meta) => self.meta = *meta,
        }
        self.on(PrimaryInput::Done(token, Ok(data)));
    }

    /// Whatever is written to, on either node, is marked on the primary's disk.
    fn marked(&self, offset: u64, length: u64) {
        for extent in offset / EXTENT..(offset + length).div_ceil(EXTENT) {
            let bit = self.map[extent as usize / 8] >> (extent % 8) & 1;
            assert_eq!(bit, 1, "extent {extent} is written to and not marked");
        }
    }

    /// The other node does one request.
    pub fn peer_one(&mut self) {
        let Some(request) = self.peer.requests.pop_front() else { return };
        self.peer.seen.push(request.clone());
        if request.cmd == Cmd::Keepalive {
            self.peer.keepalives += 1;
            self.peer.state = request.state.or(self.peer.state);
            return;
        }
        if matches!(request.cmd, Cmd::Write | Cmd::Delete) {
            self.marked(request.offset, request.length);
        }
        let peer = &mut self.peer;
        peer.map = vec![0; MAP];
        let mut reply = Reply { seq: request.seq, received: false, error: None, data: None };
        if let Some((cmd, errno, times)) = peer.fail
            && cmd == request.cmd
            && times > 0
        {
            peer.fail = Some((cmd, errno, times - 1));
            // FreeBSD's says `received` along with the error (A3).
            (reply.error, reply.received) = (Some(errno), request.memsync);
            peer.replies.push_back(reply);
            return;
        }
        if request.memsync {
            peer.replies.push_back(Reply { received: true, ..reply.clone() });
        }
        match (request.cmd, request.data) {
            (Cmd::Read, _) => reply.data = Some(peer.disk.read(request.offset, request.length)),
            (Cmd::Write, Some(data)) => {
                assert_eq!(data.len() as u64, request.length);
                assert!(request.length <= 4096 || peer.ext & ext::LARGE != 0);
                peer.disk.write(request.offset, &data);
            }
            (Cmd::Delete, _) => {
                peer.disk.write(request.offset, &vec![0; request.length as usize]);
            }
            _ => peer.disk.flush(),
        }
        peer.replies.push_back(reply);
    }

    pub fn reply_one(&mut self, index: usize) {
        if let Some(reply) = self.peer.replies.remove(index) {
            self.on(PrimaryInput::Reply(reply));
        }
    }

    pub fn input_one(&mut self) {
        if let Some(input) = self.inputs.pop_front() {
            self.on(input);
        }
    }

    pub fn disk_all(&mut self) {
        while !self.ios.is_empty() {
            self.disk_one(0);
        }
    }

    /// Until nothing is under way, the clock standing still.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.inputs.is_empty() {
                self.input_one();
            } else if !self.ios.is_empty() {
                self.disk_one(0);
            } else if !self.peer.requests.is_empty() {
                self.peer_one();
            } else if !self.peer.replies.is_empty() {
                self.reply_one(0);
            } else {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub fn tick(&mut self) {
        self.on(PrimaryInput::Tick);
    }

    /// Lets this much time pass, all I/O ending at once.
    pub fn pass(&mut self, time: Now) {
        let until = self.now + time;
        self.settle();
        for _ in 0..100_000 {
            match self.engine.next_tick() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.tick();
            self.settle();
        }
        self.now = until;
        self.tick();
        self.settle();
    }

    pub fn ask(&mut self, op: Op, offset: u64, length: u64, fua: bool, fill: u8) -> u64 {
        self.tag += 1;
        let data = (op == Op::Write).then(|| Data::from(vec![fill; length as usize]));
        let request = ClientRequest { tag: self.tag, op, offset, length, fua, data };
        self.on(PrimaryInput::Request(request));
        self.tag
    }

    pub fn write(&mut self, sector: u64, fill: u8) -> u64 {
        self.ask(Op::Write, sector * SECTOR, SECTOR, false, fill)
    }

    pub fn read(&mut self, sector: u64) -> u64 {
        self.ask(Op::Read, sector * SECTOR, SECTOR, false, 0)
    }

    pub fn flush(&mut self) -> u64 {
        self.ask(Op::Flush, 0, 0, false, 0)
    }

    pub fn good(&self, tag: u64) -> bool {
        matches!(self.answers.get(&tag), Some(Ok(_)))
    }

    pub fn failed(&self, tag: u64) -> bool {
        matches!(self.answers.get(&tag), Some(Err(_)))
    }

    /// The first byte that a read returned.
    pub fn byte(&self, tag: u64) -> u8 {
        match self.answers.get(&tag) {
            Some(Ok(Some(data))) => data[0],
            other => panic!("no data: {other:?}"),
        }
    }
}

impl World {
    /// Whether the extent is marked on disk.
    pub fn bit(&self, extent: usize) -> bool {
        self.map[extent / 8] >> (extent % 8) & 1 == 1
    }
}

pub fn kind(io: &Io) -> &'static str {
    match io {
        Io::Read { .. } => "read",
        Io::Write { .. } => "write",
        Io::Zero { .. } => "zero",
        Io::Discard { .. } => "discard",
        Io::Flush => "flush",
        Io::Map(_) => "map",
        Io::Meta(_) => "meta",
    }
}
