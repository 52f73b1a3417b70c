//! Around a primary's engine: what its worker does in the daemon.

use super::net::{Message, Way};
use super::node::Process;
use super::{Event, Sim};
use crate::engine::primary::Primary;
use crate::engine::{Conn, Happening, PrimaryAction, PrimaryInput, Role};
use crate::wire::hello::{Handshake, Refusal};

impl Sim {
    pub(super) fn tell_primary(&mut self, node: usize, input: PrimaryInput) {
        let Process::Primary(engine) = &mut self.nodes[node].process_kind else { return };
        let mut out = std::mem::take(&mut self.primary_out);
        engine.on(input, self.now, &mut out);
        let process = self.nodes[node].process;
        for action in out.drain(..) {
            if self.nodes[node].process == process {
                self.primary_acts(node, action);
            }
        }
        self.primary_out = out;
        self.wake(node);
    }

    fn primary_acts(&mut self, node: usize, action: PrimaryAction) {
        match action {
            PrimaryAction::Io(token, io) => self.io_begins(node, token, io),
            PrimaryAction::Connect(conn) => {
                let delay = self.random.delay(3, 200);
                let process = self.nodes[node].process;
                self.after(delay, Event::Open(node, process, conn as usize));
            }
            PrimaryAction::Handshake(conn, mut message) => {
                self.say(|| format!("node {node} says on {conn:?}: {message:x?}"));
                self.shim.says(node, &mut message);
                if !self.plan.native
                    && let Handshake::Hello(hello) = &mut message
                {
                    hello.ext = 0;
                }
                if let Some(id) = self.nodes[node].conns[conn as usize] {
                    self.send(id, Way::There, Message::Handshake(message));
                }
            }
            PrimaryAction::Send(request) => {
                let [Some(c1), c2] = self.nodes[node].conns else { return };
                if let Some(reply) = self.shim.sends(node, &request) {
                    let Some(c2) = c2 else { return };
                    return self.send(c2, Way::Back, Message::Reply(reply));
                }
                self.say(|| format!("node {node} asks {request:?}"));
                self.send(c1, Way::There, Message::Request(request));
            }
            PrimaryAction::Close(why) => {
                self.say(|| format!("node {node} closes: {why}"));
                self.shim.link_lost(node, self.nodes[node].disk.meta.extentsize);
                self.close_primary(node);
            }
            PrimaryAction::Answer(tag, result) => self.client_answered(node, tag, result),
            PrimaryAction::Tell(happening) => {
                self.told(node, &happening);
                match happening {
                    Happening::Connect => self.connected(node),
                    Happening::SyncDone => self.synced(node),
                    Happening::SyncIntr => self.detached(node),
                    _ => {}
                }
            }
            PrimaryAction::Stopped => {
                self.close_primary(node);
                self.stopped(node);
            }
        }
    }

    /// The engine of a node has come to its end.
    pub(super) fn stopped(&mut self, node: usize) {
        let mut role = self.nodes[node].becomes.take().unwrap_or(Role::Init);
        if role == Role::Primary && !self.may_serve(node) {
            // What the secondary stored last was that its data is not complete.
            role = Role::Init;
        }
        self.client_forgotten(node);
        self.nodes[node].process_kind = Process::Init;
        self.start(node, role);
    }

    fn close_primary(&mut self, node: usize) {
        for id in std::mem::take(&mut self.nodes[node].conns).into_iter().flatten() {
            self.send(id, Way::There, Message::End);
            self.net.deafen(id, Way::Back);
        }
    }

    fn connected(&mut self, node: usize) {
        self.summary.links += 1;
        self.client.exempt = self.check.time();
        if !self.is_linked(node) {
            // The other node has hung up since it said what it did, and that is not here yet.
            return;
        }
        let (a, b) = (&self.nodes[0].disk.seen, &self.nodes[1].disk.seen);
        let forked = self.check.fork.is_some();
        let mut outcome = self.check.linked([a, b]);
        if let (false, Some(engine)) = (forked, self.nodes[node].primary()) {
            let map = engine.map();
            let theirs = |sector: usize| {
                map.from_peer().has(map.range(sector as u64 * super::disk::SECTOR, 1).start)
            };
            let disk = &self.nodes[1 - node].disk.seen;
            let quiet = self.nodes[1 - node].is_quiet();
            outcome = outcome.and_then(|()| self.check.follows(1 - node, disk, quiet, theirs));
        }
        if let Err(why) = outcome {
            self.fail(why);
        }
        // Nothing to synchronise: also what was begun alone is on both, and nobody is told.
        let whole = |e: &Primary| e.map().to_peer().is_empty() && e.map().from_peer().is_empty();
        if self.nodes[node].primary().is_some_and(whole) {
            self.check.synced(1 - node, |_| true);
            self.check.synced(node, |_| true);
        }
    }

    /// Both nodes have the same where the primary says so.
    fn synced(&mut self, node: usize) {
        let Some(engine) = self.nodes[node].primary() else { return };
        let map = engine.map();
        let extent = |sector: usize| map.range(sector as u64 * super::disk::SECTOR, 1).start;
        if self.is_linked(node) {
            self.check.synced(1 - node, |sector| map.source(extent(sector)).is_none());
        }
        self.check.synced(node, |sector| map.source(extent(sector)).is_none());
    }

    /// The primary gives its disk up, because the other node has all.
    fn detached(&mut self, node: usize) {
        let Some(engine) = self.nodes[node].primary() else { return };
        if engine.status().detached && self.is_linked(node) {
            self.check.synced(1 - node, |_| true);
        }
    }

    /// Whether both ends think so.
    pub(super) fn is_linked(&self, node: usize) -> bool {
        let [Some(c1), Some(c2)] = self.nodes[node].conns else { return false };
        self.nodes[1 - node].link == Some((c1, c2))
    }

    pub(super) fn opens(&mut self, node: usize, process: u32, conn: usize) {
        if self.nodes[node].process != process {
            return;
        }
        let there = &self.nodes[1 - node];
        if there.off || self.now < self.net.blocked {
            // Nobody answers.
            return;
        }
        if matches!(there.process_kind, Process::Down) {
            return self.tell_primary(node, PrimaryInput::Lost("connection refused".to_owned()));
        }
        let id = self.net.open((node, process), there.process);
        if let Some(old) = self.nodes[node].conns[conn].replace(id) {
            self.send(old, Way::There, Message::End);
            self.net.deafen(old, Way::Back);
        }
        let conn = if conn == Conn::C1 as usize { Conn::C1 } else { Conn::C2 };
        self.tell_primary(node, PrimaryInput::Connected(conn));
    }

    pub(super) fn arrives(&mut self, id: u64, way: Way) {
        if self.now < self.net.blocked {
            let at = self.net.blocked + self.random.below(5);
            return self.at(at, Event::Net(id, way));
        }
        let Some(message) = self.net.arrives(id, way) else { return };
        let Some(connection) = self.net.get(id) else { return };
        let (from, to) = (connection.from, connection.to);
        match way {
            Way::There => self.arrives_there(id, 1 - from.0, to, message),
            Way::Back => self.arrives_back(id, from.0, from.1, message),
        }
    }

    fn arrives_there(&mut self, id: u64, node: usize, process: u32, message: Message) {
        let here = &self.nodes[node];
        if here.process != process {
            if !here.off {
                if !matches!(message, Message::End) {
                    self.send(id, Way::Back, Message::End);
                }
                self.net.deafen(id, Way::There);
            }
            return;
        }
        if let Process::Secondary(_) = here.process_kind {
            return self.secondary_hears(node, id, message);
        }
        if matches!(message, Message::Handshake(_)) {
            // The parent's answer.
            let role = if here.primary().is_some() { "primary" } else { "init" };
            let errmsg =
                format!("Remote node acts as {role} for the resource and not as secondary.");
            let refusal = Refusal { errmsg, wait: false };
            self.send(id, Way::Back, Message::Handshake(Handshake::Refusal(refusal)));
            self.send(id, Way::Back, Message::End);
        }
        self.net.deafen(id, Way::There);
    }

    fn arrives_back(&mut self, id: u64, node: usize, process: u32, message: Message) {
        let here = &self.nodes[node];
        let which = here.conns.iter().position(|conn| *conn == Some(id));
        if here.process != process || which.is_none() {
            return self.net.deafen(id, Way::Back);
        }
        match message {
            Message::Handshake(message) => {
                self.say(|| format!("node {node} hears {message:x?}"));
                self.shim.hears(node, &message);
                self.tell_primary(node, PrimaryInput::Handshake(message));
            }
            Message::Reply(reply) => {
                self.say(|| format!("node {node} hears {reply:?}"));
                self.shim.replied(node, &reply);
                self.tell_primary(node, PrimaryInput::Reply(reply));
            }
            Message::End => {
                self.shim.link_lost(node, self.nodes[node].disk.meta.extentsize);
                self.close_primary(node);
                self.tell_primary(node, PrimaryInput::Lost("closed by the other node".to_owned()));
            }
            Message::Request(_) => {}
        }
    }
}
