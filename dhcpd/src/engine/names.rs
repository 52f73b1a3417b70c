//! `get-lease-hostnames`: which addresses' names are wanted, and what becomes of the answers.
//!
//! A name is wanted when an address is given out and none is known, or to somebody else than
//! before. Nothing waits for it: what is known by then is in the reply, and the rest is for the
//! next one. The name is part of the lease and goes to its record. Who looks it up is not known here.

use super::core::Core;
use super::identity::Client;
use super::{Actions, Engine, Now};
use std::net::Ipv4Addr;

impl Engine {
    /// The DNS has spoken about an address: this is its name, or it has none.
    pub fn named(&mut self, address: Ipv4Addr, name: Option<&[u8]>, now: Now, out: &mut Actions) {
        let core = &mut self.core;
        core.advance(now, out);
        let Some(slot) = core.leases.address(u32::from(address)) else { return };
        // A reload may have changed the mind since it was asked for.
        if !core.wants_names(core.leases.get(slot).subnet) {
            return;
        }
        let lease = core.leases.get_mut(slot);
        let (client, known) = lease.names();
        if known == name || lease.abandoned {
            return;
        }
        let client = client.map(<[u8]>::to_vec);
        lease.set_names(client.as_deref(), name);
        // Of one that is only offered, the record is still to come.
        if lease.is_held() {
            out.record(core.leases.get(slot), &core.clock);
        }
    }
}

impl Core {
    pub(super) fn wants_names(&self, subnet: u32) -> bool {
        let subnet = self.config.subnets.get(subnet as usize);
        subnet.is_some_and(|subnet| subnet.settings.get_lease_hostnames == Some(true))
    }

    /// An address is given out, to this client. To be called before it is.
    pub(super) fn want_name(&self, slot: u32, client: &Client<'_>, out: &mut Actions) {
        let lease = self.leases.get(slot);
        if self.wants_names(lease.subnet)
            && (lease.names().1.is_none() || !client.same(&lease.hw, lease.id.get()))
        {
            out.names.push(Ipv4Addr::from(lease.address));
        }
    }

    /// What the DNS calls an address, if that is to be told.
    pub(super) fn dns_name(&self, address: Ipv4Addr, subnet: u32) -> Option<&[u8]> {
        let slot = self.leases.address(u32::from(address)).filter(|_| self.wants_names(subnet))?;
        self.leases.get(slot).names().1
    }
}

#[cfg(test)]
#[path = "tests_names.rs"]
mod tests;
