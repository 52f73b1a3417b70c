//! A secondary: the loop around the engine. Connections come from the listener by way of the
//! parent; requests go in, disk I/O and replies come out.

use super::link::Connection;
use super::{Clock, Handed, Parent, Refusal, codec, exit};
use crate::engine::secondary::Secondary;
use crate::engine::{Io, Now, Role, SecondaryAction, SecondaryInput, Token, role};
use crate::msg::{FromWorker, TCP, ToWorker};
use crate::storage::{Completion, Storage};
use crate::wire::data::Codec;
use crate::wire::hello::Handshake;
use crate::wire::request::{Cmd, Request, RequestError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::Error as ChannelError;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;
use supervise::logger;

/// The most bytes of data in a request: what FreeBSD's largest buffers hold, and ours.
const LIMIT: u32 = 1 << 20;

/// Bytes whose way into the system's memory is shorter than a packet's to the other node.
const LITTLE: usize = 32 << 10;

/// The most connections that have not become a link.
const MOST: usize = 8;

/// While requests under way, or replies that are not taken, hold so many bytes, no more requests are
/// read: the primary has to wait.
const FULL: usize = 64 << 20;

/// What a request holds besides its data, about.
const WEIGHT: usize = 512;

/// Milliseconds after which log lines that syslogd did not take are tried again.
const LOG_AGAIN: Now = 100;

/// Serves until the role ends or the parent is gone.
pub(super) fn serve(parent: &Parent, handed: Handed) -> Result<(), Refusal> {
    let Handed { start, component, seed, .. } = handed;
    let (component, mut loaded) = super::load(component, &start.resource)?;
    let sector = component.medium().sector;
    let settings = start.settings.engine.clone();
    let map = std::mem::take(&mut loaded.map);
    let engine = Secondary::new(loaded.meta.clone(), map, sector, settings, seed);
    let storage = super::disk(component, loaded, start.settings.metaflush)?;
    parent.send(&FromWorker::Ready).map_err(|e| Refusal::new(exit::OSERR, e))?;
    let mut secondary = Shell {
        parent,
        clock: Clock(Instant::now()),
        engine,
        storage,
        connections: BTreeMap::new(),
        next: 0,
        link: None,
        under_way: HashMap::new(),
        weight: 0,
        version: 1,
        codec: codec(&start.settings),
        resource: start.resource,
        actions: Vec::new(),
        ios: Vec::new(),
        completions: Vec::new(),
        failed: Vec::new(),
        stopped: false,
    };
    secondary.serve().map_err(|e| Refusal::new(exit::OSERR, e))
}

struct Shell<'a> {
    parent: &'a Parent,
    clock: Clock,
    engine: Secondary,
    storage: Storage,
    connections: BTreeMap<u64, Connection>,
    /// The name of the next connection.
    next: u64,
    /// C1 and C2, once there is a link.
    link: Option<(u64, u64)>,
    /// The link's requests that have no final reply yet, and what each of them holds.
    under_way: HashMap<u64, usize>,
    /// All of that.
    weight: usize,
    /// What the packets say.
    version: u8,
    codec: Codec,
    /// Its name, for the log.
    resource: String,
    actions: Vec<SecondaryAction>,
    /// For the disk; if it is much, once the replies that are known have left.
    ios: Vec<(Token, Io)>,
    completions: Vec<Completion>,
    /// Connections that turned out to be of no more use, and why.
    failed: Vec<(u64, String)>,
    stopped: bool,
}

/// What poll(2) has found.
#[derive(Default)]
struct Ready {
    parent: bool,
    storage: bool,
    connections: Vec<u64>,
}

impl Shell<'_> {
    fn serve(&mut self) -> Result<(), String> {
        loop {
            let ready = self.wait()?;
            if ready.parent && !self.hear_parent()? {
                return Ok(());
            }
            if ready.storage {
                self.take_completions()?;
            }
            for name in ready.connections {
                self.hear(name);
            }
            let now = self.clock.now();
            if self.engine.next_tick().is_some_and(|due| due <= now) {
                self.tell(SecondaryInput::Tick);
            }
            self.settle()?;
            if self.stopped {
                let last = self.parent.send(&FromWorker::Stopped);
                return last.map_err(|e| format!("tell the parent: {e}"));
            }
            log::logger().flush();
        }
    }

    /// Sends and stores what there is, until nothing of it comes to its end at once.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            self.act()?;
            if !self.little() {
                self.send();
                self.act()?;
            }
            for (token, io) in self.ios.drain(..) {
                self.storage.push(token, io);
            }
            self.storage.submit();
            if self.storage.has_done() {
                self.take_completions()?;
                continue;
            }
            self.send();
            self.act()?;
            if self.ios.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether all there is to be stored is stored sooner than a reply is sent: then what was
    /// received and what was stored is said at once, and the other node is woken once.
    fn little(&self) -> bool {
        let bytes = self.ios.iter().map(|(_, io)| match io {
            Io::Write { data, .. } => data.len(),
            _ => 0,
        });
        bytes.sum::<usize>() <= LITTLE
    }

    /// Blocks until there is something to do.
    fn wait(&mut self) -> Result<Ready, String> {
        let now = self.clock.now();
        let log = logger::backlog().then_some(now + LOG_AGAIN);
        let timeout = match [self.engine.next_tick(), log].into_iter().flatten().min() {
            None => PollTimeout::NONE,
            Some(due) => PollTimeout::try_from(due.saturating_sub(now)).unwrap_or(PollTimeout::MAX),
        };
        let mut fds = vec![
            PollFd::new(self.parent.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.storage.as_fd(), PollFlags::POLLIN),
        ];
        let full = self.link.filter(|(_, c2)| self.is_full(*c2)).map(|(c1, _)| c1);
        fds.extend(self.connections.iter().map(|(name, connection)| {
            let mut events = connection.events();
            events.set(PollFlags::POLLIN, full != Some(*name));
            PollFd::new(connection.as_fd(), events)
        }));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let mut found = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = || found.next().unwrap_or(false);
        let (parent, storage) = (next(), next());
        let connections = self.connections.keys().copied().filter(|_| next()).collect();
        Ok(Ready { parent, storage, connections })
    }

    fn is_full(&self, c2: u64) -> bool {
        let unsent = self.connections.get(&c2).map_or(0, |connection| connection.out.len());
        self.weight >= FULL || unsent >= FULL
    }

    fn tell(&mut self, input: SecondaryInput) {
        let now = self.clock.now();
        self.engine.on(input, now, &mut self.actions);
    }

    /// Does what the engine wants done, until it wants nothing more.
    fn act(&mut self) -> Result<(), String> {
        loop {
            for action in std::mem::take(&mut self.actions) {
                self.perform(action)?;
            }
            for (name, why) in std::mem::take(&mut self.failed) {
                if self.connections.remove(&name).is_some() {
                    self.tell(SecondaryInput::Lost(name, why));
                }
            }
            if self.actions.is_empty() {
                return Ok(());
            }
        }
    }

    fn perform(&mut self, action: SecondaryAction) -> Result<(), String> {
        match action {
            SecondaryAction::Io(token, io) => self.ios.push((token, io)),
            SecondaryAction::Reply(reply) => {
                let (codec, version) = (self.codec, self.version);
                if !reply.received || reply.error.is_some() {
                    self.weight -= self.under_way.remove(&reply.seq).unwrap_or(0);
                }
                if let Some((_, c2)) = self.link {
                    self.push(c2, |out| reply.encode(&codec, version, out));
                }
            }
            SecondaryAction::Handshake(name, message) => {
                if let Handshake::FirstReply(first) = &message {
                    self.version = first.version;
                }
                let (codec, version) = (self.codec, self.version);
                self.push(name, |out| message.encode(&codec, version, out).map(|()| None));
            }
            SecondaryAction::Link(c1, c2) => {
                self.link = Some((c1, c2));
                self.under_way.clear();
                self.weight = 0;
            }
            SecondaryAction::Close(name) => self.close(name),
            SecondaryAction::Tell(happening) => {
                super::note(&self.resource, &happening);
                self.say(&FromWorker::Happening(happening))?;
            }
            SecondaryAction::Stopped => self.stopped = true,
        }
        Ok(())
    }

    fn push<E: std::fmt::Display>(
        &mut self,
        name: u64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<crate::Data>, E>,
    ) {
        // A connection that is gone has been told of.
        let Some(connection) = self.connections.get_mut(&name) else { return };
        if let Err(error) = connection.out.push(write) {
            self.failed.push((name, format!("cannot be said: {error}")));
        }
    }

    /// The last words still go, as far as the socket takes them: a refusal fits any socket.
    fn close(&mut self, name: u64) {
        if let Some(mut connection) = self.connections.remove(&name)
            && let Err(why) = connection.send()
        {
            log::debug!("a connection that was to be closed: {why}");
        }
    }

    fn say(&self, message: &FromWorker) -> Result<(), String> {
        match self.parent.send(message) {
            // Its end is seen at the next turn.
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(format!("tell the parent: {error}")),
        }
    }

    fn take_completions(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        self.storage.drain(&mut self.completions);
        for Completion { token, result } in self.completions.drain(..) {
            self.engine.on(SecondaryInput::Done(token, result), now, &mut self.actions);
        }
        self.act()
    }

    /// Takes in what a connection has brought.
    fn hear(&mut self, name: u64) {
        let now = self.clock.now();
        let Shell { connections, engine, actions, failed, link, under_way, weight, .. } = self;
        let Some(connection) = connections.get_mut(&name) else { return };
        let mut heard = connection.read();
        let is_c1 = link.is_some_and(|(c1, _)| c1 == name);
        while heard.is_ok() {
            let next = connection.next(|packet| match is_c1 {
                true => match Request::decode(packet, LIMIT) {
                    Ok(request) => {
                        // Nobody answers a keepalive.
                        if request.cmd != Cmd::Keepalive {
                            let data = usize::try_from(request.length).unwrap_or(FULL).min(FULL);
                            *weight += data + WEIGHT;
                            // A second one of the same number is the engine's to judge.
                            *weight -= under_way.insert(request.seq, data + WEIGHT).unwrap_or(0);
                        }
                        Ok(SecondaryInput::Request(request))
                    }
                    Err(RequestError::Invalid { seq, memsync, why }) => {
                        Ok(SecondaryInput::Invalid { seq, memsync, why })
                    }
                    Err(RequestError::Broken(error)) => Err(error.to_string()),
                },
                false => {
                    let message = Handshake::from_primary(&packet);
                    message.map(|m| SecondaryInput::Handshake(name, m)).map_err(|e| e.to_string())
                }
            });
            match next {
                Ok(Some(input)) => engine.on(input, now, actions),
                Ok(None) => break,
                Err(why) => heard = Err(why),
            }
        }
        if let Err(why) = heard {
            failed.push((name, why));
        }
    }

    fn send(&mut self) {
        for (name, connection) in &mut self.connections {
            if let Err(why) = connection.send() {
                self.failed.push((*name, why));
            }
        }
    }

    fn arrive(&mut self, packet: &[u8], socket: OwnedFd) -> Result<(), String> {
        let link = self.link;
        let strange = |name: &&u64| link.is_none_or(|(c1, c2)| **name != c1 && **name != c2);
        if self.connections.len() > MOST
            && let Some(oldest) = self.connections.keys().find(strange).copied()
        {
            self.failed.push((oldest, "has to make room for another connection".to_owned()));
        }
        let mut connection = Connection::new(socket, false, LIMIT)?;
        connection.feed(packet)?;
        let name = self.next;
        self.next += 1;
        self.connections.insert(name, connection);
        self.hear(name);
        self.act()
    }

    /// Takes what the parent says. False once it is gone.
    fn hear_parent(&mut self) -> Result<bool, String> {
        loop {
            match self.parent.try_recv() {
                Ok(None) => return Ok(true),
                Err(ChannelError::Closed) => return Ok(false),
                Err(error) => return Err(format!("channel to the parent: {error}")),
                Ok(Some(ToWorker::Arrival { protocol, packet, socket })) => {
                    if protocol != TCP {
                        return Err(format!("the parent brought a connection of {protocol:?}"));
                    }
                    if let Err(why) = self.arrive(&packet, socket) {
                        log::warn!("a connection that arrived: {why}");
                    }
                }
                Ok(Some(ToWorker::Settings(settings))) => {
                    self.codec = codec(&settings);
                    self.storage.set_metaflush(settings.metaflush);
                    self.tell(SecondaryInput::Settings(Box::new(settings.engine)));
                }
                Ok(Some(ToWorker::Report)) => {
                    let (status, metadata) = (self.engine.status(), self.engine.metadata());
                    // The other end of a link can only be a primary.
                    let live = role::Peer {
                        live: true,
                        role: Role::Primary,
                        resuid: metadata.resuid,
                        counters: None,
                        consistency: None,
                        ahead: None,
                    };
                    let peer = Some(live).filter(|_| status.connected);
                    let promotion =
                        role::promote(metadata, self.engine.map(), peer.as_ref(), false);
                    let objection = promotion.err();
                    let now = self.clock.now();
                    self.say(&super::report(status, metadata, objection.as_ref(), now))?;
                }
                Ok(Some(ToWorker::Stop)) => self.tell(SecondaryInput::Stop),
                Ok(Some(other)) => return Err(format!("the parent said {other:?} to a secondary")),
            }
        }
    }
}
