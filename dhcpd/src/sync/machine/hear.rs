//! What comes in, in either form.

use super::Sync;
use crate::engine::{Actions, Change, Engine, Merged, Now, Word};
use crate::sync::own::{self, Datagram, Digests, Hello, Kind, Prefix};
use crate::sync::repair::Work;
use crate::sync::{openbsd, record};
use std::net::{Ipv4Addr, SocketAddrV4};

/// From this difference on, in seconds, two clocks are said to differ.
const SKEW: u64 = 5;
/// The most prefixes of a level that are compared before the level above was.
const AT_ONCE: usize = 8;
/// How often that is said, in milliseconds.
const SAY_AGAIN: u64 = 3_600_000;
/// How often it is said that somebody is not believed, in milliseconds.
const REFUSED_AGAIN: u64 = 60_000;
const ANOTHER_KEY: &str = "it has another key than ours, or none";

impl Sync {
    /// Takes a datagram. What it changes is in `actions`, like what packets change.
    pub fn input(
        &mut self,
        datagram: &[u8],
        source: SocketAddrV4,
        engine: &mut Engine,
        now: Now,
        actions: &mut Actions,
    ) {
        if !self.options.listens || self.options.own_addresses.contains(source.ip()) {
            return;
        }
        if own::is_own(datagram) {
            let Some(key) = self.keys().map(|keys| keys.own) else {
                return self.refuse(source, "it has a key, and there is none here", engine, now);
            };
            match own::decode(datagram, &key) {
                Some(datagram) if self.is_own() && datagram.epoch != self.epoch => {
                    self.own(&datagram, source, engine, now, actions);
                }
                Some(_) => (),
                None => self.refuse(source, ANOTHER_KEY, engine, now),
            }
            return;
        }
        // Who speaks our own form says it all there, and says it so that nobody else can.
        if self.speaks_own(&source) {
            return;
        }
        let mut leases = Vec::new();
        let key = self.keys().map(|keys| &keys.openbsd[..]).unwrap_or_default();
        if let Err(wrong) = openbsd::decode(datagram, key, |lease| leases.push(lease)) {
            let why = match wrong {
                openbsd::Wrong::Code => ANOTHER_KEY,
                openbsd::Wrong::Version => "it speaks a version that is not known here",
                _ => "what it says cannot be read",
            };
            self.refuse(source, why, engine, now);
        }
        for lease in leases {
            let merged = engine.merge(&lease.view(), Word::Part, now, actions);
            log::debug!("sync: lease of {} from {}: {merged:?}", lease.address, source.ip());
            if merged == Merged::Older {
                self.tell_again(lease.address);
            }
        }
    }

    /// Counts what is not believed, and says so once a minute: a wrong key looks like silence.
    fn refuse(&mut self, source: SocketAddrV4, why: &str, engine: &mut Engine, now: Now) {
        engine.refuse_word();
        if now.mono >= self.refusal_due {
            self.refusal_due = now.mono.saturating_add(REFUSED_AGAIN);
            log::warn!("sync: {} is ignored: {why}", source.ip());
        }
    }

    /// A lease that somebody has an older record of is told again.
    fn tell_again(&mut self, address: Ipv4Addr) {
        let underway = self.underway.contains_key(&u32::from(address));
        if !underway && !self.options.targets.is_empty() && self.told.insert(address) {
            self.fresh.push(address);
        }
    }

    fn own(
        &mut self,
        datagram: &Datagram<'_>,
        source: SocketAddrV4,
        engine: &mut Engine,
        now: Now,
        actions: &mut Actions,
    ) {
        // Answers go where we may speak at all.
        let covers =
            |target: &SocketAddrV4| target.ip().is_multicast() || target.ip() == source.ip();
        if !self.options.targets.iter().any(covers) {
            return;
        }
        let Some(mut at) = self.peers.heard(datagram.epoch, source, now.mono) else { return };
        let hello = match datagram.kind {
            Kind::Hello => Hello::decode(datagram.contents),
            _ => None,
        };
        let has = |hello: &Hello| hello.heard.iter().any(|heard| heard.epoch == self.epoch);
        let hears_us = hello.as_ref().is_some_and(has);
        if self.peers.all.get(at).is_some_and(|peer| !peer.confirmed) {
            // It must hear that it is heard before it can be believed.
            self.hello_now |= hello.is_some();
            if !hears_us {
                if let Some(peer) = self.peers.all.get_mut(at) {
                    peer.heard = now.mono;
                }
                return;
            }
            // Whoever was there before is this one, started again.
            let epoch = datagram.epoch;
            self.peers.retire(|peer| {
                peer.epoch != epoch && peer.confirmed && peer.source.ip() == source.ip()
            });
            let Some(now_at) = self.peers.all.iter().position(|peer| peer.epoch == epoch) else {
                return;
            };
            at = now_at;
        }
        let Some(peer) = self.peers.all.get_mut(at) else { return };
        if !peer.window.take(datagram.sequence) {
            return;
        }
        peer.confirmed = true;
        peer.heard = now.mono;
        peer.source = source;
        match datagram.kind {
            Kind::Hello => {
                if let Some(hello) = hello {
                    self.hear_hello(at, &hello, hears_us, now);
                    self.tell_lost(at, &hello);
                }
            }
            Kind::Leases => self.hear_leases(at, datagram.contents, engine, now, actions),
            Kind::Digests => {
                if let Some(digests) = Digests::decode(datagram.contents) {
                    self.hear_digests(at, &digests);
                }
            }
            Kind::Wanted => {
                for prefix in own::decode_wanted(datagram.contents).unwrap_or_default() {
                    self.add_work(at, Work::Leases(prefix, 0));
                }
            }
        }
    }

    fn hear_hello(&mut self, at: usize, hello: &Hello, hears_us: bool, now: Now) {
        let (digest, count, epoch) = (self.tree.all(), self.tree.count(), self.epoch);
        let Some(peer) = self.peers.all.get_mut(at) else { return };
        let address = *peer.source.ip();
        let was = peer.is_connected();
        peer.hears_us = hears_us;
        if !hears_us {
            if was {
                log::warn!("sync: {address} does not hear us any more");
            }
            return;
        }
        if !was {
            log::info!("sync: {address} is connected; it has {} leases, we {count}", hello.count);
            peer.since = now.mono;
            (peer.settled, peer.agreed) = (false, false);
        }
        if hello.digest == digest {
            peer.repair.agreed();
            peer.settled = true;
            if !std::mem::replace(&mut peer.agreed, true) {
                log::info!("sync: {address} has the same {count} leases");
            }
        } else if peer.epoch > epoch && peer.repair.begins(now.mono) {
            // One of both begins: who chose the lower epoch.
            peer.repair.add(Work::Digests(Prefix::ALL, 0));
            self.go_down_at_once(at);
        }
        let skew = hello.wall.abs_diff(now.wall);
        if skew > SKEW && now.mono >= self.skewed {
            self.skewed = now.mono.saturating_add(SAY_AGAIN);
            log::warn!("sync: the clock of {address} differs from ours by {skew} s");
        }
    }

    /// A few leases are compared to the last level at once: each turn that is saved is one that cannot
    /// be lost.
    fn go_down_at_once(&mut self, at: usize) {
        let mut level = vec![Prefix::ALL];
        for _ in 0..2 {
            let below = |prefix: Prefix| {
                let numbers = self.tree.children(prefix, 0).into_iter();
                numbers.filter_map(move |(number, _)| prefix.child(number))
            };
            level = level.into_iter().flat_map(below).collect();
            if level.len() > AT_ONCE {
                return;
            }
            for prefix in &level {
                self.add_work(at, Work::Digests(*prefix, 0));
            }
        }
    }

    /// What it has missed of what it was told is told again.
    fn tell_lost(&mut self, at: usize, hello: &Hello) {
        let epoch = self.epoch;
        let Some(peer) = self.peers.all.get_mut(at) else { return };
        let Some(heard) = hello.heard.iter().find(|heard| heard.epoch == epoch) else { return };
        let lost = peer.lost(&heard.window);
        self.again.push((peer.source, lost));
    }

    fn hear_leases(
        &mut self,
        at: usize,
        mut contents: &[u8],
        engine: &mut Engine,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(to) = self.peers.all.get(at).map(|peer| peer.source) else { return };
        let mut changed = false;
        while !contents.is_empty() {
            let Some(lease) = record::decode(&mut contents) else { break };
            let merged = engine.merge(&lease, Word::Whole, now, actions);
            log::debug!("sync: lease of {} from {}: {merged:?}", lease.address, to.ip());
            match merged {
                Merged::Taken => changed = true,
                Merged::Older => {
                    changed = true;
                    let address = lease.address.into();
                    self.add_work(at, Work::Leases(Prefix { first: address, length: 32 }, address));
                }
                Merged::Joined => {
                    changed = true;
                    // What came of it is news to whoever told it: to be told like ours.
                    if let Some(sync) = &mut actions.sync {
                        sync.push(Change::Lease { address: lease.address, here: true });
                    }
                }
                Merged::Same | Merged::Refused => {}
            }
        }
        if let Some(peer) = self.peers.all.get_mut(at) {
            peer.repair.fruitful |= changed;
        }
    }

    /// Goes down where there is a difference.
    fn hear_digests(&mut self, at: usize, theirs: &Digests) {
        let ours = self.tree.children(theirs.prefix, theirs.first);
        let ours: Vec<_> = ours.into_iter().take_while(|(n, _)| *n <= theirs.last).collect();
        let of = |list: &[(u16, u64)], number: u16| {
            let place = list.binary_search_by_key(&number, |(number, _)| *number).ok()?;
            list.get(place).map(|(_, digest)| *digest)
        };
        let mut numbers: Vec<u16> =
            ours.iter().chain(&theirs.children).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let Some(child) = theirs.prefix.child(number) else { continue };
            match (of(&ours, number), of(&theirs.children, number)) {
                (Some(a), Some(b)) if a == b => {}
                (Some(_), Some(_)) if child.child_length().is_some() => {
                    self.add_work(at, Work::Digests(child, 0));
                }
                (ours, theirs) => {
                    if ours.is_some() {
                        self.add_work(at, Work::Leases(child, child.first));
                    }
                    if theirs.is_some() {
                        self.add_work(at, Work::Want(child));
                    }
                }
            }
        }
    }
}
