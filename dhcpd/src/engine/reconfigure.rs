//! Another configuration, or other interfaces, while everything goes on: what becomes of each
//! lease, offer and ping.
//!
//! The rule is that nothing changes which the new configuration does not ask for, and that what a
//! client was told stays true: a lease whose address is not to be given out any more is kept aside
//! until it ends, so that nobody else has it meanwhile, should the address come back.

use super::core::Core;
use super::derived::{Derived, networks_of};
use super::index::NONE;
use super::leases::Lease;
use super::pool::{Pools, Span};
use super::{Actions, Interface, Now};
use crate::config::Config;
use pfhelper::Verb;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// By the number that an interface had, the number that it has. One is the same if its name is.
fn interface_map(old: &[Interface], new: &[Interface]) -> Vec<Option<usize>> {
    old.iter().map(|old| new.iter().position(|new| new.name == old.name)).collect()
}

/// What becomes of the slots.
#[derive(Default)]
struct Judgement {
    /// The subnet of each slot, in order.
    subnets: Vec<u32>,
    /// Those whose address is of another network now, or free and of another list of that.
    moved: Vec<u32>,
    /// Those whose address is not to be given out.
    gone: Vec<u32>,
}

impl Core {
    pub(super) fn reconfigure(
        &mut self,
        config: Arc<Config>,
        interfaces: Vec<Interface>,
        now: Now,
        out: &mut Actions,
    ) -> bool {
        let time = self.advance(now, out);
        self.pending.renumber(&interface_map(&self.interfaces, &interfaces));
        let Derived { pools, own_addresses, server_ids, network_addresses } =
            Derived::new(&config, &interfaces);
        self.own_addresses = own_addresses;
        self.server_ids = server_ids;
        self.network_addresses = network_addresses;
        self.declines.resize_with(config.networks.len(), Default::default);
        self.starved.resize_with(config.networks.len(), Default::default);
        self.interfaces = interfaces;
        let changed = self.take_over(config, pools, time, out);
        self.prepare_for_queries();
        self.forget_overrides();
        changed
    }

    /// Takes over what addresses there are, and for whom. False if both are as they were.
    fn take_over(
        &mut self,
        config: Arc<Config>,
        pools: Pools,
        time: i64,
        out: &mut Actions,
    ) -> bool {
        let networks = networks_of(&config);
        let same = pools.same_as(&self.pools) && networks == networks_of(&self.config);
        let count = config.networks.len();
        let old = std::mem::replace(&mut self.pools, pools);
        self.pools.go_on(&old);
        let old_config = std::mem::replace(&mut self.config, config);
        if same && old_config.networks.len() == count {
            return false;
        }

        // In the old numbers.
        let judgement = self.judge_slots(&networks_of(&old_config));
        for &slot in &judgement.moved {
            self.leases.leave_network(slot);
        }
        let mut aside: Vec<(u32, Lease)> = Vec::new();
        for &slot in &judgement.gone {
            aside.extend(self.put_aside(slot, out).map(|lease| (lease.address, lease)));
        }

        // In the new ones.
        self.leases.renumber(&judgement.subnets, networks, count, self.pools.for_bootp());
        for &slot in &judgement.moved {
            self.leases.enter_network(slot);
            self.move_offer(slot, out);
        }
        self.unsorted |= !judgement.moved.is_empty();
        aside.sort_unstable_by_key(|(address, _)| *address);
        self.quarantine.append(&mut aside.into_iter().collect());
        self.quarantine.retain(|_, lease| lease.ends > time);
        self.bring_back(time, out);
        self.free_reserved(&old);
        if !judgement.gone.is_empty() {
            log::info!(
                "{} addresses are not given out any more; {} leases of such are kept until they end",
                judgement.gone.len(),
                self.quarantine.len()
            );
        }
        true
    }

    /// `networks` are those of the subnets as they were; the pools are the new ones already.
    fn judge_slots(&self, networks: &[u32]) -> Judgement {
        let mut judgement = Judgement::default();
        for slot in 0..self.leases.len() as u32 {
            let mut subnet = NONE;
            if self.leases.is_used(slot) {
                let lease = self.leases.get(slot);
                match self.pools.find(lease.address) {
                    Some(span) => {
                        subnet = span.subnet;
                        let free = !lease.is_running() && lease.offer == NONE;
                        let listed = !free || self.leases.is_for_bootp(lease.address) == span.bootp;
                        if networks.get(lease.subnet as usize) != Some(&span.network) || !listed {
                            judgement.moved.push(slot);
                        }
                    }
                    None => judgement.gone.push(slot),
                }
            }
            judgement.subnets.push(subnet);
        }
        judgement
    }

    /// Empties a slot whose address is not to be given out. Its lease, if it runs, is returned.
    fn put_aside(&mut self, slot: u32, out: &mut Actions) -> Option<Lease> {
        self.drop_pending(slot);
        let lease = self.leases.get(slot);
        let address = lease.address;
        if lease.is_held() && self.pools.is_reserved(address) {
            log::error!("Both dynamic and static leases present for {}.", Ipv4Addr::from(address));
        }
        if lease.abandoned {
            // Out of the one table by way of the other.
            out.table(Verb::Leased, address);
        }
        if lease.abandoned || lease.is_held() || lease.offer != NONE {
            out.table(Verb::Released, address);
        }
        self.forget_offer(slot);
        let runs = self.leases.get(slot).is_running();
        let lease = self.leases.take(slot);
        runs.then_some(lease)
    }

    /// The offer of an address that is of another network now is an offer on that one, unless its
    /// client has one there already.
    fn move_offer(&mut self, slot: u32, out: &mut Actions) {
        let offer = self.leases.get(slot).offer;
        let network = self.leases.network(slot);
        if offer != NONE && !self.offers.rekey(&self.leases.keys, offer, network) {
            self.withdraw(offer, out);
        }
    }

    /// Leases that were kept aside, of addresses that are given out (again). They are in the lease
    /// file as they are, and need no other record: a copy that is under way begins anew.
    fn bring_back(&mut self, time: i64, out: &mut Actions) {
        let pools = &self.pools;
        let back: Vec<(u32, Span)> = (self.quarantine.keys())
            .filter_map(|address| Some((*address, *pools.find(*address)?)))
            .collect();
        for (address, span) in back {
            let Some(lease) = self.quarantine.remove(&address) else { continue };
            let verb = if lease.abandoned { Verb::Abandoned } else { Verb::Leased };
            out.table(verb, address);
            self.put(lease, span, time);
        }
    }

    /// Addresses that were reserved when the search for one never used passed them by, and are not
    /// any more: they are found as if they had been used.
    fn free_reserved(&mut self, old: &Pools) {
        for &address in old.reserved() {
            let Some(span) = self.pools.find(address).copied() else { continue };
            if self.leases.address(address).is_none() {
                let slot = self.leases.add(address, span.subnet);
                self.leases.free(slot);
            }
        }
    }
}
