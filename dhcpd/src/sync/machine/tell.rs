//! What leaves: leases in either form, digests and wishes.

use super::{Outbox, Sync};
use crate::engine::{Change, Engine};
use crate::lease::LeaseView;
use crate::sync::own::{Digests, Kind, MOST_CHILDREN, MOST_WANTED, Prefix, ROOM, encode_wanted};
use crate::sync::repair::Work;
use crate::sync::{openbsd, record};
use std::net::{Ipv4Addr, SocketAddrV4};

impl Sync {
    /// Tells of leases that are on disk since the last time.
    pub(super) fn tell_fresh(&mut self, engine: &Engine, out: &mut Outbox) {
        if self.fresh.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.told.clear();
        for at in 0..self.options.targets.len() {
            let Some(target) = self.options.targets.get(at).copied() else { break };
            let own = self.speaks_own(&target);
            let group = target.ip().is_multicast();
            if own || (group && self.peers.connected().next().is_some()) {
                self.send_leases(&fresh, target, engine, out);
            }
            if !own {
                for address in &fresh {
                    if let Some(lease) = engine.lease(*address) {
                        self.send_openbsd(&lease, target, out);
                    }
                }
            }
        }
        self.fresh = fresh;
        self.fresh.clear();
    }

    /// Tells one server what we have of some leases.
    pub(super) fn send_leases(
        &mut self,
        addresses: &[Ipv4Addr],
        to: SocketAddrV4,
        engine: &Engine,
        out: &mut Outbox,
    ) {
        let mut contents = Vec::new();
        let mut first = 0;
        for (at, address) in addresses.iter().enumerate() {
            if contents.len() + record::LONGEST > ROOM {
                self.send_told(&contents, addresses.get(first..at).unwrap_or_default(), to, out);
                contents.clear();
                first = at;
            }
            if let Some(lease) = self.on_disk(*address, engine) {
                record::encode(&lease, &mut contents);
            }
        }
        if !contents.is_empty() {
            self.send_told(&contents, addresses.get(first..).unwrap_or_default(), to, out);
        }
    }

    /// Sends leases, and remembers which for those who may miss them.
    fn send_told(
        &mut self,
        contents: &[u8],
        leases: &[Ipv4Addr],
        to: SocketAddrV4,
        out: &mut Outbox,
    ) {
        self.send(Kind::Leases, contents, to, out);
        let group = to.ip().is_multicast();
        for peer in &mut self.peers.all {
            if peer.is_connected() && (group || peer.source.ip() == to.ip()) {
                peer.told(self.sequence, leases);
            }
        }
    }

    /// A lease, unless there is a record of it that is not on disk yet.
    fn on_disk<'e>(&self, address: Ipv4Addr, engine: &'e Engine) -> Option<LeaseView<'e>> {
        let underway = self.underway.contains_key(&u32::from(address));
        engine.lease(address).filter(|_| !underway)
    }

    /// OpenBSD's servers hear of leases that run; of what was given back they hear nothing.
    pub(super) fn send_openbsd(
        &mut self,
        lease: &LeaseView<'_>,
        to: SocketAddrV4,
        out: &mut Outbox,
    ) -> usize {
        let runs = lease.ends > lease.starts;
        match openbsd::Lease::of(lease).filter(|_| runs) {
            Some(lease) => self.send_openbsd_lease(&lease, to, out),
            None => 0,
        }
    }

    fn send_openbsd_lease(
        &mut self,
        lease: &openbsd::Lease,
        to: SocketAddrV4,
        out: &mut Outbox,
    ) -> usize {
        self.counter = self.counter.wrapping_add(1);
        let key = self.keys().map(|keys| &keys.openbsd[..]).unwrap_or_default();
        out.add(to, |bytes| openbsd::encode(lease, self.counter, key, bytes))
    }

    /// Fixed addresses are no leases of ours: only OpenBSD's servers want to hear of them.
    pub(super) fn tell_fixed(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Fixed { address, starts, ends, htype, length, hardware } = *change else {
                continue;
            };
            let addr = hardware.get(..usize::from(length)).unwrap_or_default();
            let record = crate::lease::LeaseRecord::new(address);
            let mut lease = record.view();
            (lease.starts, lease.ends, lease.hardware) = (starts, ends, Some((htype, addr)));
            self.fixed.extend(openbsd::Lease::of(&lease));
        }
    }

    /// The same, on its way out.
    pub(super) fn send_fixed(&mut self, out: &mut Outbox) {
        for lease in std::mem::take(&mut self.fixed) {
            for at in 0..self.options.targets.len() {
                if let Some(target) = self.options.targets.get(at).copied()
                    && !self.speaks_own(&target)
                {
                    self.send_openbsd_lease(&lease, target, out);
                }
            }
        }
    }

    /// Does a piece of work for one server.
    pub(super) fn work(&mut self, at: usize, work: Work, engine: &Engine, out: &mut Outbox) {
        let Some(to) = self.peers.all.get(at).map(|peer| peer.source) else { return };
        let sent = match work {
            Work::Digests(prefix, from) => self.send_digests(at, to, prefix, from, out),
            Work::Leases(prefix, from) => self.send_prefix(at, to, prefix, from, engine, out),
            Work::Want(prefix) => self.send_wanted(at, to, prefix, out),
        };
        self.budget.take(sent);
    }

    fn send_digests(
        &mut self,
        at: usize,
        to: SocketAddrV4,
        prefix: Prefix,
        first: u16,
        out: &mut Outbox,
    ) -> usize {
        let Some(length) = prefix.child_length() else { return 0 };
        let mut children = self.tree.children(prefix, first);
        let end = ((1u32 << (length - prefix.length)) - 1) as u16;
        let mut last = end;
        if let Some((number, _)) = children.get(MOST_CHILDREN) {
            last = number - 1;
            children.truncate(MOST_CHILDREN);
        }
        let mut contents = Vec::new();
        Digests { prefix, first, last, children }.encode(&mut contents);
        if last < end
            && let Some(peer) = self.peers.all.get_mut(at)
        {
            peer.repair.go_on(Work::Digests(prefix, last + 1));
        }
        self.send(Kind::Digests, &contents, to, out)
    }

    /// Sends as many leases of a prefix as one datagram holds.
    fn send_prefix(
        &mut self,
        at: usize,
        to: SocketAddrV4,
        prefix: Prefix,
        from: u32,
        engine: &Engine,
        out: &mut Outbox,
    ) -> usize {
        let mut contents = Vec::new();
        let mut next = self.tree.next(prefix, from);
        while let Some(address) = next {
            if contents.len() + record::LONGEST > ROOM {
                break;
            }
            if let Some(lease) = self.on_disk(Ipv4Addr::from(address), engine) {
                record::encode(&lease, &mut contents);
            }
            next = match address.checked_add(1) {
                Some(after) => self.tree.next(prefix, after),
                None => None,
            };
        }
        if let Some(peer) = self.peers.all.get_mut(at)
            && let Some(address) = next
        {
            peer.repair.go_on(Work::Leases(prefix, address));
        }
        if contents.is_empty() { 1 } else { self.send(Kind::Leases, &contents, to, out) }
    }

    fn send_wanted(
        &mut self,
        at: usize,
        to: SocketAddrV4,
        prefix: Prefix,
        out: &mut Outbox,
    ) -> usize {
        let mut wanted = vec![prefix];
        if let Some(peer) = self.peers.all.get_mut(at) {
            while wanted.len() < MOST_WANTED {
                match peer.repair.next() {
                    Some(Work::Want(prefix)) => wanted.push(prefix),
                    Some(other) => {
                        peer.repair.go_on(other);
                        break;
                    }
                    None => break,
                }
            }
        }
        let mut contents = Vec::new();
        encode_wanted(&wanted, &mut contents);
        self.send(Kind::Wanted, &contents, to, out)
    }

    /// Tells OpenBSD's servers of all leases, as much as may leave now.
    pub(super) fn go_on_walking(&mut self, engine: &Engine, out: &mut Outbox) {
        while let Some(cursor) = self.walk.filter(|_| !self.budget.is_spent()) {
            let Some((lease, next)) = engine.next_lease(cursor) else {
                self.walk = None;
                return;
            };
            self.walk = Some(next);
            if self.on_disk(lease.address, engine).is_none() {
                continue;
            }
            for at in 0..self.options.targets.len() {
                if let Some(target) = self.options.targets.get(at).copied()
                    && !self.speaks_own(&target)
                {
                    let sent = self.send_openbsd(&lease, target, out);
                    self.budget.take(sent);
                }
            }
        }
    }
}
