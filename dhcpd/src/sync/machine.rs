//! All that is decided about synchronisation: what is told to whom, and what is done with what
//! others tell. Pure.
//!
//! A lease is told when its record is on disk, never before: the server says which records are on
//! their way ([`Sync::committing`]) and what became of them ([`Sync::committed`]), and what is
//! looked up in between for a repair leaves those out.

mod hear;
mod tell;

use super::digest::Tree;
use super::hmac::hmac;
use super::own::{self, Kind};
use super::peers::Peers;
use super::repair::{Budget, Work};
use super::{Keys, Options, openbsd, record};
use crate::engine::{Change, Engine, Now, Share};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

/// Between two hellos, in milliseconds.
const HELLO: u64 = 1_000;
/// After the start, new clients wait so long for others to be heard.
const FIRST: u64 = 3_000;
/// Once somebody is heard, they wait no longer than this for its leases to be known.
const SETTLING: u64 = 10_000;
/// Between two turns of a repair that has spent what it may send, in milliseconds.
const TURN: u64 = 20;

/// Datagrams to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    arena: Vec<u8>,
    datagrams: Vec<(SocketAddrV4, Range<usize>)>,
}

impl Outbox {
    fn add(&mut self, to: SocketAddrV4, make: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.arena.len();
        make(&mut self.arena);
        self.datagrams.push((to, start..self.arena.len()));
        self.arena.len() - start
    }

    /// What there is, in order.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddrV4, &[u8])> {
        let bytes = |range: &Range<usize>| self.arena.get(range.clone()).unwrap_or_default();
        self.datagrams.iter().map(move |(to, range)| (*to, bytes(range)))
    }

    /// Forgets it all.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.datagrams.clear();
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }
}

/// A lease whose record is on its way to the disk.
#[derive(Debug, Default)]
struct Underway {
    /// How many records of it.
    records: u32,
    /// One of them is of something that happened here.
    here: bool,
}

/// The machine.
pub struct Sync {
    options: Options,
    epoch: u64,
    sequence: u64,
    counter: u32,
    peers: Peers,
    tree: Tree,
    seed: u64,
    underway: HashMap<u32, Underway>,
    /// Leases to be told of at the next occasion.
    fresh: Vec<Ipv4Addr>,
    told: HashSet<Ipv4Addr>,
    /// Leases to be told again to one server.
    again: Vec<(SocketAddrV4, Vec<Ipv4Addr>)>,
    /// Fixed addresses that were acknowledged.
    fixed: Vec<openbsd::Lease>,
    /// Where a walk over all leases for OpenBSD's servers is.
    walk: Option<u32>,
    budget: Budget,
    started: u64,
    hello_due: u64,
    /// A hello is due at once: somebody waits for it.
    hello_now: bool,
    /// The next turn of a repair.
    turn: u64,
    scratch: Vec<u8>,
    skewed: u64,
    /// A record could not be written: the next lease file has it.
    stale: bool,
    /// When it may be said again that somebody is not believed, in milliseconds.
    refusal_due: u64,
}

impl Sync {
    /// A server that has heard nobody. `engine` has its leases already.
    pub fn new(options: Options, engine: &Engine, now: Now) -> Sync {
        let own = options.keys.as_ref().map(|keys| keys.own).unwrap_or_default();
        let seed = hmac::<sha2::Sha256>(&own, &[b"digest"]);
        let seed = seed.first_chunk().map_or(1, |bytes| u64::from_be_bytes(*bytes));
        let mut sync = Sync {
            epoch: options.epoch,
            options,
            sequence: 0,
            counter: 0,
            peers: Peers::default(),
            tree: Tree::default(),
            seed,
            underway: HashMap::new(),
            fresh: Vec::new(),
            told: HashSet::new(),
            again: Vec::new(),
            fixed: Vec::new(),
            walk: None,
            budget: Budget::new(now.mono),
            started: now.mono,
            hello_due: now.mono,
            hello_now: false,
            turn: now.mono,
            scratch: Vec::new(),
            skewed: 0,
            stale: false,
            refusal_due: 0,
        };
        sync.count_again(engine);
        sync
    }

    /// Whether our own form is used at all: it takes a key, and to speak and to hear.
    pub fn is_own(&self) -> bool {
        self.options.keys.is_some() && self.options.listens && !self.options.targets.is_empty()
    }

    /// Each server that leases are told to, and how it stands with it, for `dhcpctl status`.
    pub fn described(&self, now: Now) -> Vec<String> {
        let known =
            |target: &SocketAddrV4| self.peers.all.iter().any(|p| p.source.ip() == target.ip());
        let unknown = self.options.targets.iter().filter(|t| t.ip().is_multicast() || !known(t));
        let targets = unknown.map(|target| match self.is_own() {
            true if target.ip().is_multicast() => format!("{}: told", target.ip()),
            true => format!("{}: told, and not heard in our own form", target.ip()),
            false => format!("{}: told in OpenBSD's form only", target.ip()),
        });
        let peers = self.peers.all.iter().map(|peer| {
            let how = if peer.is_silent(now.mono) {
                format!("silent for {} s", now.mono.saturating_sub(peer.heard) / 1000)
            } else if !peer.is_connected() {
                "heard, and does not hear us".to_owned()
            } else if peer.agreed {
                "connected".to_owned()
            } else {
                "connected, leases are being compared".to_owned()
            };
            format!("{}: {how}", peer.source.ip())
        });
        targets.chain(peers).collect()
    }

    fn keys(&self) -> Option<&Keys> {
        self.options.keys.as_ref()
    }

    /// All leases may be others, or say other times: after a change of the clock, or of the ranges.
    pub fn count_again(&mut self, engine: &Engine) {
        self.tree = Tree::default();
        if !self.is_own() {
            return;
        }
        let mut cursor = 0;
        while let Some((lease, next)) = engine.next_lease(cursor) {
            cursor = next;
            self.scratch.clear();
            record::encode(&lease, &mut self.scratch);
            self.tree.set(lease.address.into(), record::digest(self.seed, &self.scratch));
        }
    }

    /// The lease file is being rewritten: OpenBSD's servers are told all leases, by and by.
    pub fn rewritten(&mut self, engine: &Engine) {
        if self.options.targets.iter().any(|target| !self.speaks_own(target)) {
            self.walk = Some(0);
        }
        if std::mem::take(&mut self.stale) {
            self.count_again(engine);
        }
    }

    /// These records are on their way to the disk.
    pub fn committing(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Lease { address, here } = change {
                let underway = self.underway.entry((*address).into()).or_default();
                underway.records += 1;
                underway.here |= here;
            }
        }
    }

    /// These are on disk, or not and never will be.
    pub fn committed(&mut self, changes: &[Change], on_disk: bool, engine: &Engine) {
        for change in changes {
            let Change::Lease { address, .. } = change else { continue };
            let key = u32::from(*address);
            let Some(underway) = self.underway.get_mut(&key) else { continue };
            underway.records = underway.records.saturating_sub(1);
            if underway.records > 0 {
                continue;
            }
            let here = underway.here;
            self.underway.remove(&key);
            if !on_disk {
                self.stale = true;
                continue;
            }
            self.count(*address, engine);
            if here && !self.options.targets.is_empty() && self.told.insert(*address) {
                self.fresh.push(*address);
            }
        }
        if on_disk {
            self.tell_fixed(changes);
        }
    }

    fn count(&mut self, address: Ipv4Addr, engine: &Engine) {
        if self.is_own() {
            self.scratch.clear();
            let digest = engine.lease(address).map_or(0, |lease| {
                record::encode(&lease, &mut self.scratch);
                record::digest(self.seed, &self.scratch)
            });
            self.tree.set(address.into(), digest);
        }
    }

    /// Whether a target is one of us: then nothing of OpenBSD's form goes there.
    fn speaks_own(&self, target: &SocketAddrV4) -> bool {
        self.peers.connected().any(|peer| peer.source.ip() == target.ip())
    }

    /// Which addresses are ours to give as things stand.
    pub fn share(&self, now: Now) -> Share {
        if !self.is_own() {
            return Share::All;
        }
        let (mut mine, mut of, mut settled) = (0, 1, true);
        for peer in self.peers.connected() {
            of += 1;
            mine += u32::from(peer.epoch < self.epoch);
            settled &= peer.settled;
        }
        if of == 1 {
            let early = now.mono < self.started.saturating_add(FIRST);
            return if early { Share::Nothing } else { Share::All };
        }
        if settled { Share::Part { mine, of } } else { Share::Nothing }
    }

    /// What is told to others and what is due by now.
    pub fn tick(&mut self, engine: &Engine, now: Now, out: &mut Outbox) {
        if self.is_own() {
            self.see_to_peers(now);
            if self.hello_now || now.mono >= self.hello_due {
                self.hello_now = false;
                self.hello_due = now.mono.saturating_add(HELLO);
                self.say_hello(now, out);
            }
        }
        for (to, leases) in std::mem::take(&mut self.again) {
            self.send_leases(&leases, to, engine, out);
        }
        self.tell_fresh(engine, out);
        self.send_fixed(out);
        if now.mono >= self.turn {
            self.budget.pass(now.mono);
            self.turn = now.mono.saturating_add(TURN);
            self.repair(engine, out);
            self.go_on_walking(engine, out);
        }
    }

    /// When [`Sync::tick`] is to be called, in milliseconds.
    pub fn next_tick(&self) -> Option<u64> {
        let works = self.walk.is_some() || self.peers.all.iter().any(|p| !p.repair.is_idle());
        let hello = self.is_own().then_some(if self.hello_now { 0 } else { self.hello_due });
        let first = self.started.saturating_add(FIRST);
        let first = (self.is_own() && self.hello_due < first).then_some(first);
        let fresh = (!self.fresh.is_empty()).then_some(0);
        [hello, works.then_some(self.turn), fresh, first].into_iter().flatten().min()
    }

    /// Gives up who is silent, and stops waiting for who takes long.
    fn see_to_peers(&mut self, now: Now) {
        for peer in &mut self.peers.all {
            if peer.is_connected() && peer.is_silent(now.mono) {
                let address = peer.source.ip();
                log::warn!("sync: {address} is silent: all addresses are given out without it");
                peer.hears_us = false;
            }
            if peer.is_connected() && !peer.settled && now.mono >= peer.since + SETTLING {
                peer.settled = true;
            }
        }
        if self.peers.begin_anew() {
            // Every epoch is chance: so is this.
            self.epoch = record::digest(self.seed, &self.epoch.to_be_bytes());
            self.sequence = 0;
        }
    }

    fn say_hello(&mut self, now: Now, out: &mut Outbox) {
        let heard = self.peers.all.iter().filter(|peer| !peer.is_silent(now.mono));
        let heard = heard
            .map(|peer| own::Heard { epoch: peer.epoch, window: peer.window.clone() })
            .collect();
        let hello =
            own::Hello { wall: now.wall, digest: self.tree.all(), count: self.tree.count(), heard };
        let mut contents = std::mem::take(&mut self.scratch);
        contents.clear();
        hello.encode(&mut contents);
        for at in 0..self.options.targets.len() {
            if let Some(target) = self.options.targets.get(at).copied() {
                self.send(Kind::Hello, &contents, target, out);
            }
        }
        self.scratch = contents;
    }

    /// Sends a datagram of our own form.
    fn send(&mut self, kind: Kind, contents: &[u8], to: SocketAddrV4, out: &mut Outbox) -> usize {
        let Some(key) = self.options.keys.as_ref().map(|keys| &keys.own) else { return 0 };
        self.sequence += 1;
        let (epoch, sequence) = (self.epoch, self.sequence);
        let datagram = own::Datagram { kind, epoch, sequence, contents };
        out.add(to, |bytes| own::encode(&datagram, key, bytes))
    }

    /// Does what comparisons have found to do, as much as may leave now.
    fn repair(&mut self, engine: &Engine, out: &mut Outbox) {
        let mut idle = 0;
        let mut at = 0;
        while !self.budget.is_spent() && idle < self.peers.all.len() {
            at = (at + 1) % self.peers.all.len();
            let Some(peer) = self.peers.all.get_mut(at) else { return };
            match peer.repair.next() {
                Some(work) => {
                    idle = 0;
                    self.work(at, work, engine, out);
                }
                None => idle += 1,
            }
        }
    }

    /// The digest of all leases.
    #[cfg(test)]
    pub(super) fn digest(&self) -> u64 {
        self.tree.all()
    }

    fn add_work(&mut self, at: usize, work: Work) {
        if let Some(peer) = self.peers.all.get_mut(at) {
            peer.repair.add(work);
        }
    }
}
