//! Leases in from the lease file and out for its rewrite, and the whole truth for the tables.

use super::Now;
use super::core::Core;
use super::events::view;
use super::identity::{Client, ClientId, Hw};
use super::index::NONE;
use super::leases::Lease;
use super::pool::Span;
use crate::lease::LeaseRecord;
use crate::leasefile;
use std::net::Ipv4Addr;
use std::ops::Bound;

/// Where the quarantine begins among cursors; below are slots.
const QUARANTINE: u64 = 1 << 32;

impl Core {
    pub(super) fn load(&mut self, record: LeaseRecord, now: Now) {
        let time = self.read_clock(now);
        let lease = self.lease_of(&record);
        let Some(span) = self.pools.find(lease.address).copied() else {
            self.quarantine.remove(&lease.address);
            if lease.ends > time {
                if self.pools.is_reserved(lease.address) {
                    log::error!("Both dynamic and static leases present for {}.", record.address);
                }
                self.quarantine.insert(lease.address, lease);
            }
            return;
        };
        self.put(lease, span, time);
    }

    /// A record as the engine keeps it: in its own time.
    pub(super) fn lease_of(&self, record: &LeaseRecord) -> Lease {
        let mut lease = Lease::new(record.address.into(), NONE);
        lease.starts = self.clock.engine(record.starts);
        lease.ends = self.clock.engine(record.ends);
        lease.hw = record.hardware.as_ref().map_or(Hw::default(), |h| Hw::new(h.htype, &h.addr));
        lease.id = ClientId::new(record.client_id.as_deref());
        lease.abandoned = record.abandoned;
        lease.dynamic_bootp = record.dynamic_bootp;
        lease.loaded = true;
        lease.set_names(record.client_hostname.as_deref(), record.hostname.as_deref());
        lease
    }

    /// Puts a lease that was read, or kept aside, at its address, in place of what was there.
    pub(super) fn put(&mut self, lease: Lease, span: Span, time: i64) {
        let slot = match self.leases.address(lease.address) {
            Some(slot) => slot,
            None => self.leases.add(lease.address, span.subnet),
        };
        self.leases.unbind(slot);
        if !lease.abandoned {
            let client = Client { hw: lease.hw, id: lease.id.get() };
            self.leases.bind_if_longest(slot, &client, lease.ends);
        }
        let ends = lease.ends;
        let place = self.leases.get_mut(slot);
        place.starts = lease.starts;
        place.abandoned = lease.abandoned;
        place.dynamic_bootp = lease.dynamic_bootp;
        place.loaded = lease.loaded;
        place.take_names(lease);
        if ends > time {
            self.leases.run(slot, ends);
        } else {
            self.leases.stop(slot, ends);
            self.leases.free(slot);
            self.unsorted = true;
        }
    }

    /// Appends up to `limit` records to `out`, from where the last call ended (0 at first).
    /// Returns where to go on, `None` at the end.
    pub(super) fn snapshot_from(
        &self,
        cursor: u64,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        let mut left = limit.max(1);
        let mut cursor = cursor;
        while cursor < self.leases.len() as u64 {
            if left == 0 {
                return Some(cursor);
            }
            let lease = self.leases.get(cursor as u32);
            cursor += 1;
            let held = !lease.hw.is_empty() || lease.id.get().is_some() || lease.abandoned;
            // One that runs and has no holder is one whose holder could not be read.
            if held || lease.ends > self.clock.last() {
                leasefile::append_record(out, &view(lease, &self.clock));
                left -= 1;
            }
        }
        let from = match cursor.checked_sub(QUARANTINE).and_then(|c| u32::try_from(c).ok()) {
            Some(address) => Bound::Included(address),
            None if cursor < QUARANTINE => Bound::Unbounded,
            None => return None,
        };
        for (address, lease) in self.quarantine.range((from, Bound::Unbounded)) {
            if left == 0 {
                return Some(QUARANTINE + u64::from(*address));
            }
            if lease.ends > self.clock.last() {
                leasefile::append_record(out, &view(lease, &self.clock));
                left -= 1;
            }
        }
        None
    }

    /// What the tables must hold: addresses leased or offered, and addresses abandoned.
    pub(super) fn tables(&self) -> (Vec<Ipv4Addr>, Vec<Ipv4Addr>) {
        let time = self.clock.last();
        let mut leased = Vec::new();
        let mut abandoned = Vec::new();
        for lease in self.leases.iter() {
            let address = Ipv4Addr::from(lease.address);
            if lease.abandoned {
                abandoned.push(address);
            } else if lease.offer != NONE || (lease.is_held() && lease.ends > time) {
                leased.push(address);
            }
        }
        (leased, abandoned)
    }
}
