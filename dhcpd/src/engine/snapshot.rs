//! Leases in from the lease file and out for its rewrite, and the whole truth for the tables.

use super::Now;
use super::core::Core;
use super::events::view;
use super::identity::{Client, Hw};
use super::index::NONE;
use crate::lease::LeaseRecord;
use crate::leasefile;
use std::net::Ipv4Addr;
use std::ops::Bound;

/// Where the quarantine begins among cursors; below are slots.
const QUARANTINE: u64 = 1 << 32;

impl Core {
    pub(super) fn load(&mut self, record: LeaseRecord, now: Now) {
        let time = self.read_clock(now);
        let ends = self.clock.engine(record.ends);
        let address = u32::from(record.address);
        let Some(span) = self.pools.find(address).copied() else {
            self.quarantine.remove(&address);
            if ends > time {
                if self.pools.is_reserved(address) {
                    log::error!("Both dynamic and static leases present for {}.", record.address);
                }
                self.quarantine.insert(address, record);
            }
            return;
        };
        let slot = match self.leases.address(address) {
            Some(slot) => slot,
            None => self.leases.add(address, span.subnet),
        };
        self.leases.unbind(slot);
        let hw = record.hardware.as_ref().map_or(Hw::default(), |h| Hw::new(h.htype, &h.addr));
        let client = Client { hw, id: record.client_id.as_deref().filter(|id| !id.is_empty()) };
        if !record.abandoned {
            // Of several leases of one client, it is found by the one that lasts longest.
            let other = match client.id {
                Some(id) => self.leases.id(span.network, id),
                None => self.leases.hw(span.network, &hw),
            };
            let longer = other.filter(|other| self.leases.get(*other).ends > ends);
            self.leases.bind(slot, &client);
            if let Some(longer) = longer {
                self.rebind(longer);
            }
        }
        let lease = self.leases.get_mut(slot);
        lease.set_names(record.client_hostname.as_deref(), record.hostname.as_deref());
        lease.starts = self.clock.engine(record.starts);
        lease.abandoned = record.abandoned;
        lease.dynamic_bootp = record.dynamic_bootp;
        lease.loaded = true;
        if ends > time {
            self.leases.run(slot, ends);
        } else {
            self.leases.stop(slot, ends);
            self.leases.free(slot);
            self.unsorted = true;
        }
    }

    /// Makes a lease the one its client is found by again.
    fn rebind(&mut self, slot: u32) {
        let lease = self.leases.get(slot);
        let (hw, id) = (lease.hw, lease.id.clone());
        self.leases.bind(slot, &Client { hw, id: id.get() });
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
            if !lease.hw.is_empty() || lease.id.get().is_some() || lease.abandoned {
                leasefile::append_record(out, &view(lease, &self.clock));
                left -= 1;
            }
        }
        let from = match cursor.checked_sub(QUARANTINE).and_then(|c| u32::try_from(c).ok()) {
            Some(address) => Bound::Included(address),
            None if cursor < QUARANTINE => Bound::Unbounded,
            None => return None,
        };
        let now = self.clock.wall(self.clock.last());
        for (address, record) in self.quarantine.range((from, Bound::Unbounded)) {
            if left == 0 {
                return Some(QUARANTINE + u64::from(*address));
            }
            if record.ends > now {
                leasefile::append_record(out, &record.view());
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
