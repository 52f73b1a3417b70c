//! A machine: its disk, what is under way there, and the process that runs on it.

use super::disk::{Disk, SECTOR, values_of};
use super::net::{Message, Way};
use super::{Event, Sim};
use crate::Data;
use crate::engine::primary::Primary;
use crate::engine::role::promote;
use crate::engine::secondary::Secondary;
use crate::engine::{Io, Now, PrimaryInput, Role, SecondaryInput, Token};
use crate::wire::errno::Errno;

/// What runs on a machine.
pub enum Process {
    /// The machine is off, or the daemon is.
    Down,
    /// The daemon, with this resource out of use.
    Init,
    Primary(Box<Primary>),
    Secondary(Box<Secondary>),
}

/// What is wrong with a disk: how many of a thousand of each kind fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub reads: u32,
    pub writes: u32,
    pub flushes: u32,
    pub records: u32,
    /// Milliseconds that everything may take in addition.
    pub slow: Now,
}

pub struct Node {
    pub process_kind: Process,
    /// Which of the processes that ran here it is: what was meant for another is not for it.
    pub process: u32,
    pub disk: Disk,
    pub trouble: Trouble,
    ios: Vec<Option<Pending>>,
    tick_at: Option<Now>,
    /// C1 and C2 of a primary.
    pub conns: [Option<u64>; 2],
    /// C1 and C2 of a secondary.
    pub link: Option<(u64, u64)>,
    /// What it is to become once the engine has stopped.
    pub becomes: Option<Role>,
    /// It has said that there is a split brain.
    pub split: bool,
    /// Unplugged: nobody answers there, not even to refuse.
    pub off: bool,
}

/// An I/O under way.
struct Pending {
    token: Token,
    io: Io,
    /// Where a flush reaches.
    reach: u64,
}

impl Node {
    pub fn new(disk: Disk) -> Self {
        Self {
            process_kind: Process::Down,
            process: 0,
            disk,
            trouble: Trouble::default(),
            ios: Vec::new(),
            tick_at: None,
            conns: [None; 2],
            link: None,
            becomes: None,
            split: false,
            off: false,
        }
    }

    pub fn role(&self) -> Option<Role> {
        match self.process_kind {
            Process::Down => None,
            Process::Init => Some(Role::Init),
            Process::Primary(_) => Some(Role::Primary),
            Process::Secondary(_) => Some(Role::Secondary),
        }
    }

    /// All that it was asked for as a secondary is on its disk.
    pub fn is_quiet(&self) -> bool {
        match &self.process_kind {
            Process::Secondary(engine) => engine.status().requests == 0,
            _ => true,
        }
    }

    pub fn primary(&self) -> Option<&Primary> {
        match &self.process_kind {
            Process::Primary(engine) => Some(engine),
            _ => None,
        }
    }
}

impl Sim {
    /// A process starts on what is on disk.
    pub(super) fn start(&mut self, node: usize, role: Role) {
        self.say(|| {
            let m = &self.nodes[node].disk.meta;
            format!(
                "node {node} starts as {role:?}: resuid {:x} ({}, {}) {:?}",
                m.resuid, m.localcnt, m.remotecnt, m.consistency
            )
        });
        if self.nodes[node].disk.torn {
            return self.fail(format!("node {node} cannot read its metadata"));
        }
        let settings = self.settings.clone();
        let seed = self.random.bits();
        let peer = self.peer_of(node);
        let here = &mut self.nodes[node];
        here.process += 1;
        here.tick_at = None;
        here.conns = [None; 2];
        here.link = None;
        here.becomes = None;
        here.off = false;
        here.split = false;
        here.ios.clear();
        self.shim.started(node, &mut here.disk);
        let (meta, map) = (here.disk.meta.clone(), here.disk.map.clone());
        match role {
            Role::Init => here.process_kind = Process::Init,
            Role::Primary => {
                // As the worker does; by force only where that was decided already.
                let promotion = promote(&meta, &map, peer.as_ref(), false);
                let promotion = promotion.ok().filter(|_| self.shim.counts_promotions());
                let meta = promotion.map_or(meta, |promotion| promotion.metadata);
                here.disk.meta = meta.clone();
                // How slow a client's own disk is, is no business of the engine's.
                here.trouble.slow = 0;
                here.process_kind =
                    Process::Primary(Box::new(Primary::new(meta, &map, settings, seed)));
                self.serves(node);
                self.wake(node);
            }
            Role::Secondary => {
                let mut entropy = [0; 32];
                entropy[..8].copy_from_slice(&seed.to_le_bytes());
                let engine = Secondary::new(meta, map, SECTOR as u32, settings, entropy);
                here.process_kind = Process::Secondary(Box::new(engine));
                self.wake(node);
            }
        }
    }

    /// The process is killed, or the machine loses its power.
    pub(super) fn dies(&mut self, node: usize, power: bool) {
        self.say(|| format!("node {node} {}", if power { "loses its power" } else { "is killed" }));
        let was = self.nodes[node].role();
        let here = &mut self.nodes[node];
        here.process += 1;
        here.off = power;
        here.process_kind = Process::Down;
        here.link = None;
        here.conns = [None; 2];
        here.becomes = None;
        for pending in std::mem::take(&mut here.ios).into_iter().flatten() {
            let done = self.random.pick(&[0, 500, 1000]);
            half_done(&mut self.nodes[node].disk, &pending.io, done, &mut self.random);
            self.shim.interrupted(node, &mut self.nodes[node].disk, &pending.io, power, done);
        }
        if power {
            self.nodes[node].disk.power_loss(&mut self.random);
        }
        self.lost_promises(node, was, power);
        for id in self.net.all() {
            self.loses_end(id, node, power);
        }
        self.client_forgotten(node);
    }

    /// A connection loses its end at this node. A kernel that lives on says so to the other one.
    fn loses_end(&mut self, id: u64, node: usize, power: bool) {
        let Some(connection) = self.net.get(id) else { return };
        let (inward, outward) = if connection.from.0 == node {
            (Way::Back, Way::There)
        } else {
            (Way::There, Way::Back)
        };
        if power {
            // What comes is answered once the machine is there again: that it knows of nothing.
            let keep = self.random.below(self.net.under_way(id, outward) as u64 + 1);
            self.net.cut(id, outward, keep as usize);
        } else {
            self.net.deafen(id, inward);
            self.send(id, outward, Message::End);
        }
    }

    pub(super) fn send(&mut self, id: u64, way: Way, message: Message) {
        let at = self.now + self.random.delay(3, 40);
        if let Some(at) = self.net.send(id, way, message, at) {
            self.at(at, Event::Net(id, way));
        } else if self.net.is_deaf(id, way) {
            // Nobody there any more: so one is told.
            let back = if way == Way::There { Way::Back } else { Way::There };
            self.at(at.max(self.net.blocked), Event::Reset(id, back));
        }
    }

    pub(super) fn tick(&mut self, node: usize, process: u32) {
        let here = &mut self.nodes[node];
        if here.process != process || here.tick_at.is_none_or(|at| at > self.now) {
            return;
        }
        here.tick_at = None;
        match here.process_kind {
            Process::Primary(_) => self.tell_primary(node, PrimaryInput::Tick),
            Process::Secondary(_) => self.tell_secondary(node, SecondaryInput::Tick),
            Process::Down | Process::Init => {}
        }
    }

    /// Sees to it that the engine is woken when it wants to be.
    pub(super) fn wake(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let next = match &here.process_kind {
            Process::Primary(engine) => engine.next_tick(),
            Process::Secondary(engine) => engine.next_tick(),
            Process::Down | Process::Init => None,
        };
        let Some(at) = next.map(|at| at.max(self.now + 1)) else { return };
        if here.tick_at.is_none_or(|set| set > at) {
            here.tick_at = Some(at);
            let process = here.process;
            self.at(at, Event::Tick(node, process));
        }
    }

    pub(super) fn io_begins(&mut self, node: usize, token: Token, io: Io) {
        let slow = self.nodes[node].trouble.slow;
        let delay = match io {
            Io::Read { .. } | Io::Write { .. } | Io::Zero { .. } | Io::Discard { .. } => {
                self.random.delay(4, 60)
            }
            Io::Flush | Io::Map(_) | Io::Meta(_) => self.random.delay(12, 80),
        } + self.random.below(slow + 1);
        let here = &mut self.nodes[node];
        let reach = if io == Io::Flush { here.disk.begin_flush() } else { 0 };
        let pending = Some(Pending { token, io, reach });
        let slot = match here.ios.iter().position(Option::is_none) {
            Some(slot) => {
                here.ios[slot] = pending;
                slot
            }
            None => {
                here.ios.push(pending);
                here.ios.len() - 1
            }
        };
        let process = here.process;
        self.after(delay, Event::Disk(node, process, slot));
    }

    pub(super) fn io_ends(&mut self, node: usize, process: u32, slot: usize) {
        let here = &mut self.nodes[node];
        if here.process != process {
            return;
        }
        let Some(Pending { token, io, reach }) = here.ios[slot].take() else { return };
        let trouble = here.trouble;
        let chance = match io {
            Io::Read { .. } => trouble.reads,
            Io::Write { .. } | Io::Zero { .. } | Io::Discard { .. } => trouble.writes,
            Io::Flush => trouble.flushes,
            Io::Map(_) | Io::Meta(_) => trouble.records,
        };
        let failed = chance > 0 && self.random.permille(chance);
        let result = if failed {
            self.say(|| format!("node {node}: {io:?} fails"));
            let done = self.random.pick(&[0, 500, 1000]);
            half_done(&mut self.nodes[node].disk, &io, done, &mut self.random);
            Err(Errno::EIO)
        } else {
            Ok(whole(&mut self.nodes[node].disk, &io, reach))
        };
        let result = self.shim.disk(node, &mut self.nodes[node].disk, &io, result);
        match self.nodes[node].process_kind {
            Process::Primary(_) => self.tell_primary(node, PrimaryInput::Done(token, result)),
            Process::Secondary(_) => self.tell_secondary(node, SecondaryInput::Done(token, result)),
            Process::Down | Process::Init => {}
        }
    }
}

/// Does all of it.
fn whole(disk: &mut Disk, io: &Io, reach: u64) -> Option<Data> {
    match io {
        Io::Read { offset, length } => return Some(disk.read(*offset, u64::from(*length))),
        Io::Write { offset, data } => {
            let first = (offset / SECTOR) as usize;
            for (sector, value) in values_of(data).enumerate() {
                disk.write(first + sector, value);
            }
        }
        Io::Zero { offset, length } | Io::Discard { offset, length } => {
            for sector in offset / SECTOR..(offset + length) / SECTOR {
                disk.write(sector as usize, 0);
            }
        }
        Io::Flush => disk.end_flush(reach),
        Io::Map(bytes) => disk.map.copy_from_slice(bytes),
        Io::Meta(meta) => disk.meta = (**meta).clone(),
    }
    None
}

/// Does each sector of it, or not; of the map, each byte. Metadata has two places, so that it is
/// the old one or the new one.
fn half_done(disk: &mut Disk, io: &Io, done: u32, random: &mut super::random::Random) {
    match io {
        Io::Write { offset, data } => {
            let first = (offset / SECTOR) as usize;
            for (sector, value) in values_of(data).enumerate() {
                if random.permille(done) {
                    disk.write(first + sector, value);
                }
            }
        }
        Io::Zero { offset, length } | Io::Discard { offset, length } => {
            for sector in offset / SECTOR..(offset + length) / SECTOR {
                if random.permille(done) {
                    disk.write(sector as usize, 0);
                }
            }
        }
        Io::Map(bytes) => {
            for (old, new) in disk.map.iter_mut().zip(&bytes[..]) {
                if random.permille(done) {
                    *old = *new;
                }
            }
        }
        Io::Meta(meta) => {
            if random.permille(done) {
                disk.meta = (**meta).clone();
            }
        }
        Io::Read { .. } | Io::Flush => {}
    }
}
