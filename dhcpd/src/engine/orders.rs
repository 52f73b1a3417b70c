//! What an administrator does to a lease: ends it, or has it forgotten.
//!
//! Both leave a record in the journal, tell the tables and the hooks, and change nothing else: the
//! client is not told, and may ask for the address again.

use super::core::Core;
use super::index::NONE;
use super::inspect::declared;
use super::{Actions, Engine, Happening, Now};
use pfhelper::Verb;
use std::net::Ipv4Addr;

/// What is to be done to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End it now, as if its client had given it back. Whose it was is remembered.
    Release,
    /// End it, and forget whose it was, or that its address was abandoned.
    Delete,
}

impl Engine {
    /// Does it. What was done, in words; it is for good when the records in `out` are on disk. The
    /// error is why there is nothing to do.
    ///
    /// # Errors
    /// There is no lease, or none that this could be done to.
    pub fn order(
        &mut self,
        order: Order,
        address: Ipv4Addr,
        now: Now,
        out: &mut Actions,
    ) -> Result<String, String> {
        let time = self.core.advance(now, out);
        let number = u32::from(address);
        match self.core.leases.address(number) {
            Some(slot) => self.core.order(order, slot, time, out),
            None if self.core.quarantine.contains_key(&number) => {
                Ok(self.core.order_aside(order, number, time, out))
            }
            None => Err(self.core.nothing_at(address)),
        }
    }
}

impl Core {
    fn order(
        &mut self,
        order: Order,
        slot: u32,
        time: i64,
        out: &mut Actions,
    ) -> Result<String, String> {
        let lease = self.leases.get(slot);
        let address = Ipv4Addr::from(lease.address);
        let (held, abandoned, offer) = (lease.is_held(), lease.abandoned, lease.offer);
        let whose = lease.hw;
        let known = !whose.is_empty() || lease.id.get().is_some();
        match order {
            Order::Release if held => {
                self.counters.released += 1;
                self.release(slot, time, out);
                Ok(format!("lease of {address} to {whose} released"))
            }
            Order::Release if abandoned => {
                Err(format!("{address} is abandoned and nobody's: delete it to have it back"))
            }
            _ if offer != NONE && !held => {
                let to = self.offers.get(offer).hw;
                self.withdraw(offer, out);
                if order == Order::Delete && known {
                    self.forget(slot, time, out);
                }
                Ok(format!("offer of {address} to {to} taken back"))
            }
            Order::Release => Err(self.nothing_at(address)),
            Order::Delete if held => {
                self.counters.released += 1;
                self.release(slot, time, out);
                self.forget(slot, time, out);
                Ok(format!("lease of {address} to {whose} deleted"))
            }
            Order::Delete if abandoned => {
                if self.leases.get(slot).is_running() {
                    self.leases.stop(slot, time);
                }
                // Out of the one table by way of the other.
                out.table(Verb::Leased, u32::from(address));
                out.table(Verb::Released, u32::from(address));
                self.forget(slot, time, out);
                Ok(format!("{address} is not abandoned any more"))
            }
            Order::Delete if known => {
                self.forget(slot, time, out);
                Ok(format!("ended lease of {address} to {whose} deleted"))
            }
            Order::Delete => Err(self.nothing_at(address)),
        }
    }

    /// Forgets whose an address was that nobody has; it is given out after all others.
    fn forget(&mut self, slot: u32, time: i64, out: &mut Actions) {
        self.drop_pending(slot);
        self.leases.unbind(slot);
        let lease = self.leases.get_mut(slot);
        lease.abandoned = false;
        lease.dynamic_bootp = false;
        lease.loaded = false;
        lease.ends = lease.ends.min(time);
        lease.set_names(None, None);
        self.leases.free(slot);
        out.record(self.leases.get(slot), &self.clock);
    }

    /// A lease whose address is in no range (any more): it is only remembered, and then no longer.
    fn order_aside(&mut self, order: Order, address: u32, time: i64, out: &mut Actions) -> String {
        let Some(mut lease) = self.quarantine.remove(&address) else { return String::new() };
        lease.ends = lease.ends.min(time);
        out.record(&lease, &self.clock);
        if !lease.abandoned {
            out.hook(Happening::Release, &lease, &self.clock);
        }
        let done = match order {
            Order::Release => "released",
            Order::Delete => "deleted",
        };
        format!("lease of {} to {} {done}; it is in no range", Ipv4Addr::from(address), lease.hw)
    }

    /// Why there is nothing to be done at an address.
    fn nothing_at(&self, address: Ipv4Addr) -> String {
        if let Some(host) = self.hosts_at(address).next() {
            return format!(
                "{address} is no lease but a fixed address, of host {}: change the configuration",
                declared(host)
            );
        }
        if self.own_addresses.binary_search(&address).is_ok() {
            return format!("{address} is this server's own");
        }
        if self.pools.find(u32::from(address)).is_none() {
            return format!("{address} is in no range, and there is no lease of it");
        }
        match self.leases.address(u32::from(address)).map(|slot| self.leases.get(slot)) {
            Some(lease) if lease.ends > 0 => {
                format!("nobody has {address}; its last lease ended")
            }
            _ => format!("nobody has {address}, and nobody had"),
        }
    }
}
