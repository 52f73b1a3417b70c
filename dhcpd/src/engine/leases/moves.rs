//! What a new configuration does to the table of leases: slots change their subnet, their network,
//! or are emptied. Which of them, is decided in `reconfigure`.

use super::super::identity::Client;
use super::super::index::NONE;
use super::{BUCKETS, FREE_LISTS, Lease, Leases};

impl Leases {
    /// Whether the slot is of an address.
    pub(in super::super) fn is_used(&self, slot: u32) -> bool {
        !self.get(slot).is_spare()
    }

    /// Empties a slot, which holds no offer and waits for no ping, and returns what was in it.
    pub(in super::super) fn take(&mut self, slot: u32) -> Lease {
        self.unlist(slot);
        self.lists.unlink(slot);
        let hash = self.keys.address(self.get(slot).address);
        self.by_address.remove(hash, slot);
        self.spare.push(slot);
        std::mem::replace(self.get_mut(slot), Lease::new(0, NONE))
    }

    /// Takes a slot that is about to change its network out of everything that is by network.
    pub(in super::super) fn leave_network(&mut self, slot: u32) {
        self.unlist(slot);
        self.keep(slot);
    }

    /// Puts it back after [`Leases::renumber`].
    pub(in super::super) fn enter_network(&mut self, slot: u32) {
        let lease = self.get_mut(slot);
        lease.found = false;
        let (hw, id) = (std::mem::take(&mut lease.hw), std::mem::take(&mut lease.id));
        let (ends, listed) = (lease.ends, lease.running || lease.offer != NONE);
        self.bind_if_longest(slot, &Client { hw, id: id.get() }, ends);
        if !listed {
            self.free(slot);
        }
    }

    /// Every slot gets the number of its subnet, in order of slots; the rest is as for
    /// [`Leases::new`].
    pub(in super::super) fn renumber(
        &mut self,
        subnets: &[u32],
        networks: Vec<u32>,
        count: usize,
        bootp: Vec<(u32, u32)>,
    ) {
        for (lease, subnet) in self.slots.iter_mut().zip(subnets) {
            if !lease.is_spare() {
                lease.subnet = *subnet;
            }
        }
        self.networks = networks;
        self.bootp = bootp;
        self.lists.resize(BUCKETS + FREE_LISTS * count as u32);
    }

    /// Makes `client` who the lease belongs to. Of several leases of one client, it is found by
    /// the one that lasts longest.
    pub(in super::super) fn bind_if_longest(&mut self, slot: u32, client: &Client<'_>, ends: i64) {
        let network = self.network(slot);
        let other = match client.id {
            Some(id) => self.id(network, id),
            None => self.hw(network, &client.hw),
        };
        let longer = other.filter(|other| *other != slot && self.get(*other).ends > ends);
        self.bind(slot, client);
        if let Some(longer) = longer {
            let lease = self.get(longer);
            let (hw, id) = (lease.hw, lease.id.clone());
            self.bind(longer, &Client { hw, id: id.get() });
        }
    }
}
