//! A primary: the loop around the engine. Bytes from clients, from the disk and from the other
//! node go in; what the engine wants done is done.

use super::clients::{Clients, Wish};
use super::link::Connection;
use super::probe;
use super::{Clock, Handed, Parent, Refusal, codec, exit};
use crate::ctl::message::Objection;
use crate::engine::{Conn, Io, Now, Primary, PrimaryAction, PrimaryInput, Token, role};
use crate::msg::{FromWorker, TCP, ToWorker};
use crate::nbd::{BlockStatus, DIRTY, Export, MARKED, runs};
use crate::storage::{Completion, Storage};
use crate::wire::data::Codec;
use crate::wire::hello::Handshake;
use crate::wire::request::Reply;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::Error as ChannelError;
use std::os::fd::AsFd;
use std::time::Instant;
use supervise::logger;

/// The most bytes of data in a packet from the other node: a reply to our own requests, or a map.
const LIMIT: u32 = 32 << 20;

/// Milliseconds after which log lines that syslogd did not take are tried again.
const LOG_AGAIN: Now = 100;

/// Milliseconds that clients have to take their last replies when the role ends. Whoever waits for
/// the next role is not to wait for the slowest of them.
const FAREWELL: Now = 2_000;

/// Serves until the role ends or the parent is gone.
pub(super) fn serve(parent: &Parent, handed: Handed) -> Result<(), Refusal> {
    let Handed { start, component, export, seed } = handed;
    let export = export.ok_or_else(|| Refusal::new(exit::OSERR, "no place for clients"))?;
    let (component, mut loaded) = super::load(component, &start.resource)?;
    let (peer, virgin) = match probe::probe(parent, &loaded.meta, &start.settings)? {
        probe::Outcome::Over => return Ok(()),
        probe::Outcome::Silence => (None, false),
        probe::Outcome::Answer { peer, virgin } => (Some(peer), virgin),
    };
    let promotion =
        role::promote(&loaded.meta, &loaded.map, peer.as_ref(), start.force).map_err(|refusal| {
            let Objection { loses, why } = (&refusal).into();
            Refusal { code: exit::NOPERM, loses, why }
        });
    if virgin {
        // FreeBSD's says so once: now it has the resource's id, and our counters if they are 0, and
        // would pass for a copy. Whatever becomes of this promotion, all has to go there.
        loaded.mark_all(&component).map_err(|e| Refusal::new(exit::NOINPUT, e))?;
    }
    let mut promotion = promotion?;
    if virgin {
        // As in the handshake: so that it counts as out of date until it has all.
        promotion.metadata.localcnt = promotion.metadata.localcnt.max(1);
    }
    if let Some(refusal) = promotion.forced {
        log::warn!("[{}] primary by force, although: {refusal}", start.resource);
    }
    if promotion.unheard && start.settings.engine.has_remote {
        log::warn!("[{}] primary without having heard the other node", start.resource);
    }
    // That this node was primary has to be known whatever happens next.
    loaded
        .book
        .write(&component, &promotion.metadata)
        .map_err(|e| Refusal::new(exit::NOINPUT, format_args!("write metadata: {e}")))?;
    let sector = component.medium().sector;
    let seen = Export::new(&start.resource, "hastlite", promotion.metadata.datasize, sector);
    let seed = u64::from_ne_bytes(*seed.first_chunk().unwrap_or(&[0; 8]));
    let settings = start.settings.engine.clone();
    let engine = Primary::new(promotion.metadata, &loaded.map, settings, seed);
    let storage = super::disk(component, loaded, start.settings.metaflush)?;
    parent.send(&FromWorker::Ready).map_err(|e| Refusal::new(exit::OSERR, e))?;
    let mut primary = Shell {
        parent,
        clock: Clock(Instant::now()),
        engine,
        storage,
        clients: Clients::new(export, seen),
        c1: None,
        c2: None,
        version: 1,
        codec: codec(&start.settings),
        resource: start.resource,
        actions: Vec::new(),
        ios: Vec::new(),
        completions: Vec::new(),
        failed: None,
        stopping: false,
        stopped: None,
    };
    primary.serve().map_err(|e| Refusal::new(exit::OSERR, e))
}

struct Shell<'a> {
    parent: &'a Parent,
    clock: Clock,
    engine: Primary,
    storage: Storage,
    clients: Clients,
    c1: Option<Connection>,
    c2: Option<Connection>,
    /// What the packets say: 1 until the other node has told what it speaks.
    version: u8,
    codec: Codec,
    /// Its name, for the log.
    resource: String,
    actions: Vec<PrimaryAction>,
    /// For the disk, once what goes to the other node has left: that takes longer.
    ios: Vec<(Token, Io)>,
    completions: Vec<Completion>,
    /// Why the link is of no more use, found while doing what the engine wanted.
    failed: Option<String>,
    stopping: bool,
    /// When the engine came to its end.
    stopped: Option<Now>,
}

/// What poll(2) has found.
#[derive(Default)]
struct Ready {
    parent: bool,
    storage: bool,
    c1: bool,
    c2: bool,
    newcomers: bool,
    clients: Vec<u32>,
}

impl Shell<'_> {
    fn serve(&mut self) -> Result<(), String> {
        self.tell(PrimaryInput::Tick)?;
        loop {
            let ready = self.wait()?;
            if ready.parent && !self.hear_parent()? {
                return Ok(());
            }
            if ready.storage {
                self.take_completions()?;
            }
            if ready.c2 {
                self.hear(Conn::C2)?;
            }
            if ready.c1 {
                self.hear(Conn::C1)?;
            }
            if ready.newcomers {
                self.clients.accept(self.clock.now());
            }
            ready.clients.into_iter().for_each(|name| self.clients.read(name));
            self.ask()?;
            let now = self.clock.now();
            if self.engine.next_tick().is_some_and(|due| due <= now) {
                self.tell(PrimaryInput::Tick)?;
            }
            self.settle()?;
            self.clients.send(now);
            if self
                .stopped
                .is_some_and(|since| self.clients.are_served() || now >= since + FAREWELL)
            {
                let last = self.parent.send(&FromWorker::Stopped);
                return last.map_err(|e| format!("tell the parent: {e}"));
            }
            log::logger().flush();
        }
    }

    /// Blocks until there is something to do.
    fn wait(&mut self) -> Result<Ready, String> {
        let now = self.clock.now();
        let log = logger::backlog().then_some(now + LOG_AGAIN);
        let over = self.stopped.map(|since| since + FAREWELL);
        let dues = [self.engine.next_tick(), self.clients.due(), log, over];
        let due = dues.into_iter().flatten().min();
        let timeout = match due {
            _ if self.clients.has_news() => PollTimeout::ZERO,
            None => PollTimeout::NONE,
            Some(due) => PollTimeout::try_from(due.saturating_sub(now)).unwrap_or(PollTimeout::MAX),
        };
        let mut fds = vec![
            PollFd::new(self.parent.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.storage.as_fd(), PollFlags::POLLIN),
        ];
        let links = [&self.c1, &self.c2];
        let links = links.into_iter().flatten();
        fds.extend(links.map(|link| PollFd::new(link.as_fd(), link.events())));
        let clients = self.clients.poll_fds();
        fds.extend(clients.iter().map(|(_, fd, events)| PollFd::new(*fd, *events)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let mut found = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = || found.next().unwrap_or(false);
        let mut ready = Ready { parent: next(), storage: next(), ..Ready::default() };
        ready.c1 = self.c1.is_some() && next();
        ready.c2 = self.c2.is_some() && next();
        for (name, ..) in clients {
            match name {
                Some(name) if next() => ready.clients.push(name),
                None => ready.newcomers = next(),
                Some(_) => {}
            }
        }
        Ok(ready)
    }

    /// Sends and stores what there is, until nothing of it comes to its end at once.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            self.send_link()?;
            for (token, io) in self.ios.drain(..) {
                self.storage.push(token, io);
            }
            self.storage.submit();
            if !self.storage.has_done() {
                return Ok(());
            }
            self.take_completions()?;
        }
    }

    /// The engine hears what has happened, and what it wants is done.
    fn tell(&mut self, input: PrimaryInput) -> Result<(), String> {
        let now = self.clock.now();
        self.engine.on(input, now, &mut self.actions);
        self.act(now)
    }

    fn act(&mut self, now: Now) -> Result<(), String> {
        loop {
            let mut actions = std::mem::take(&mut self.actions);
            for action in actions.drain(..) {
                self.perform(action)?;
            }
            if self.actions.is_empty() {
                self.actions = actions;
            }
            // A link that failed on the way is told once what came before it has been done.
            match self.failed.take() {
                Some(why) => {
                    self.close();
                    self.engine.on(PrimaryInput::Lost(why), now, &mut self.actions);
                }
                None if self.actions.is_empty() => return Ok(()),
                None => {}
            }
        }
    }

    fn perform(&mut self, action: PrimaryAction) -> Result<(), String> {
        match action {
            PrimaryAction::Io(token, io) => self.ios.push((token, io)),
            PrimaryAction::Send(request) => {
                let (codec, version) = (self.codec, self.version);
                self.push(Conn::C1, |out| request.encode(&codec, version, out));
            }
            PrimaryAction::Handshake(conn, message) => {
                let (codec, version) = (self.codec, self.version);
                self.push(conn, |out| message.encode(&codec, version, out).map(|()| None));
            }
            PrimaryAction::Answer(tag, result) => self.clients.answer(tag, result),
            PrimaryAction::Connect(conn) => {
                if conn == Conn::C1 {
                    self.close();
                }
                self.say(&FromWorker::Connect(conn))?;
            }
            PrimaryAction::Close(why) => {
                log::debug!("the link is closed: {why}");
                self.close();
            }
            PrimaryAction::Tell(happening) => {
                super::note(&self.resource, &happening);
                self.say(&FromWorker::Happening(happening))?;
            }
            PrimaryAction::Stopped => {
                self.stopped = Some(self.clock.now());
                self.close();
            }
        }
        Ok(())
    }

    fn push<E: std::fmt::Display>(
        &mut self,
        conn: Conn,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<crate::Data>, E>,
    ) {
        let connection = match conn {
            Conn::C1 => &mut self.c1,
            Conn::C2 => &mut self.c2,
        };
        // A connection that is gone has been, or will be, told of.
        let Some(connection) = connection else { return };
        if let Err(error) = connection.out.push(write) {
            self.failed = Some(format!("cannot be said: {error}"));
        }
    }

    fn close(&mut self) {
        self.c1 = None;
        self.c2 = None;
        self.version = 1;
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
            self.engine.on(PrimaryInput::Done(token, result), now, &mut self.actions);
        }
        self.act(now)
    }

    /// Takes in what one connection has brought.
    fn hear(&mut self, conn: Conn) -> Result<(), String> {
        if let Err(why) = self.try_hear(conn)? {
            // The other node closes both: its reason, or its last replies, came by the other one.
            let other = if conn == Conn::C1 { Conn::C2 } else { Conn::C1 };
            let _ = self.try_hear(other)?;
            self.close();
            self.tell(PrimaryInput::Lost(why))?;
        }
        Ok(())
    }

    fn try_hear(&mut self, conn: Conn) -> Result<Result<(), String>, String> {
        let now = self.clock.now();
        let Shell { c1, c2, engine, actions, version, .. } = self;
        let connection = match conn {
            Conn::C1 => c1,
            Conn::C2 => c2,
        };
        let Some(connection) = connection else { return Ok(Ok(())) };
        match connection.establish() {
            Ok(true) => engine.on(PrimaryInput::Connected(conn), now, actions),
            Ok(false) => {}
            Err(why) => return Ok(Err(why)),
        }
        let mut heard = connection.read();
        while heard.is_ok() {
            let next = connection.next(|packet| match conn {
                Conn::C1 => {
                    let message = Handshake::from_secondary(packet, LIMIT);
                    message.map(PrimaryInput::Handshake).map_err(|e| e.to_string())
                }
                Conn::C2 => {
                    let reply = Reply::decode(packet, LIMIT);
                    reply.map(PrimaryInput::Reply).map_err(|e| e.to_string())
                }
            });
            match next {
                Ok(Some(input)) => {
                    if let PrimaryInput::Handshake(Handshake::FirstReply(first)) = &input {
                        *version = first.version;
                    }
                    engine.on(input, now, actions);
                }
                Ok(None) => break,
                Err(why) => heard = Err(why),
            }
        }
        // What came whole before the end counts.
        self.act(now)?;
        Ok(heard)
    }

    fn send_link(&mut self) -> Result<(), String> {
        for conn in [Conn::C1, Conn::C2] {
            let connection = match conn {
                Conn::C1 => &mut self.c1,
                Conn::C2 => &mut self.c2,
            };
            if let Some(Err(why)) = connection.as_mut().map(Connection::send) {
                self.close();
                self.tell(PrimaryInput::Lost(why))?;
            }
        }
        Ok(())
    }

    /// Shows the engine what clients ask for.
    fn ask(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        let mut questions = Vec::new();
        let Shell { clients, engine, actions, .. } = self;
        clients.ask(|wish| match wish {
            Wish::Io(request) => engine.on(PrimaryInput::Request(request), now, actions),
            Wish::Status { tag, offset, length } => questions.push((tag, offset, length)),
        });
        for (tag, offset, length) in questions {
            let status = self.block_status(offset, length);
            self.clients.answer_status(tag, Ok(status));
        }
        self.act(now)
    }

    /// Where the nodes may differ; what is allocated is not known here.
    fn block_status(&self, offset: u64, length: u64) -> BlockStatus {
        let map = self.engine.map();
        let extent = self.engine.metadata().extentsize;
        let dirty = runs(offset, length, extent.into(), |number| {
            let dirt = if map.source(number).is_some() { DIRTY } else { 0 };
            if map.is_durable(number) { dirt | MARKED } else { dirt }
        });
        BlockStatus { allocation: Vec::new(), dirty }
    }

    /// Takes what the parent says. False once it is gone.
    fn hear_parent(&mut self) -> Result<bool, String> {
        loop {
            match self.parent.try_recv() {
                Ok(None) => return Ok(true),
                Err(ChannelError::Closed) => return Ok(false),
                Err(error) => return Err(format!("channel to the parent: {error}")),
                Ok(Some(ToWorker::Connection { protocol, conn, socket })) => {
                    if protocol != TCP {
                        return Err(format!("the parent brought a connection of {protocol:?}"));
                    }
                    match Connection::new(socket, true, LIMIT) {
                        Ok(connection) => match conn {
                            Conn::C1 => self.c1 = Some(connection),
                            Conn::C2 => self.c2 = Some(connection),
                        },
                        Err(why) => self.tell(PrimaryInput::Lost(why))?,
                    }
                }
                Ok(Some(ToWorker::NoConnection { why, .. })) => {
                    self.close();
                    self.tell(PrimaryInput::Lost(why))?;
                }
                Ok(Some(ToWorker::Settings(settings))) => {
                    self.codec = codec(&settings);
                    self.storage.set_metaflush(settings.metaflush);
                    if settings.moved {
                        self.close();
                        let why = "the other node's address has changed".to_owned();
                        self.tell(PrimaryInput::Lost(why))?;
                    }
                    self.tell(PrimaryInput::Settings(Box::new(settings.engine)))?;
                }
                Ok(Some(ToWorker::Report)) => {
                    let (status, metadata) = (self.engine.status(), self.engine.metadata());
                    self.say(&super::report(status, metadata, None, self.clock.now()))?;
                }
                Ok(Some(ToWorker::Stop)) if !self.stopping => {
                    self.stopping = true;
                    self.clients.leave();
                    self.tell(PrimaryInput::Stop)?;
                }
                Ok(Some(ToWorker::Stop)) => {}
                Ok(Some(other)) => return Err(format!("the parent said {other:?} to a primary")),
            }
        }
    }
}
