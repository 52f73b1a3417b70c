//! What leaves the engine beside replies: events for the firewall's tables and for hooks, and
//! records for the journal.

use super::clock::Clock;
use super::leases::Lease;
use super::{Actions, Change, Happening, LeaseEvent};
use crate::lease::LeaseView;
use crate::leasefile;
use pfhelper::{Command, Verb};
use std::net::Ipv4Addr;

impl Actions {
    pub(super) fn table(&mut self, verb: Verb, address: u32) {
        self.tables.push(Command { verb, address: Ipv4Addr::from(address) });
    }

    /// Tells the hooks, if there are any, with the lease as it is now.
    pub(super) fn hook(&mut self, happening: Happening, lease: &Lease, clock: &Clock) {
        if let Some(hooks) = &mut self.hooks {
            hooks.push(LeaseEvent { happening, lease: view(lease, clock).to_owned() });
        }
    }

    /// Appends the lease as it is now.
    pub(super) fn record(&mut self, lease: &Lease, clock: &Clock) {
        self.put_record(lease, clock, true);
    }

    /// The same for a lease that another server has told of.
    pub(super) fn record_merged(&mut self, lease: &Lease, clock: &Clock) {
        self.put_record(lease, clock, false);
    }

    fn put_record(&mut self, lease: &Lease, clock: &Clock, here: bool) {
        leasefile::append_record(&mut self.journal, &view(lease, clock));
        self.records += 1;
        if let Some(sync) = &mut self.sync {
            sync.push(Change::Lease { address: Ipv4Addr::from(lease.address), here });
        }
    }
}

/// A lease as its record says it, in wall time.
pub(super) fn view<'a>(lease: &'a Lease, clock: &Clock) -> LeaseView<'a> {
    let (client_hostname, hostname) = lease.names();
    LeaseView {
        address: Ipv4Addr::from(lease.address),
        starts: clock.wall(lease.starts),
        ends: clock.wall(lease.ends),
        hardware: Some((lease.hw.htype(), lease.hw.addr())).filter(|_| !lease.hw.is_empty()),
        client_id: lease.id.get(),
        dynamic_bootp: lease.dynamic_bootp,
        abandoned: lease.abandoned,
        client_hostname,
        hostname,
    }
}

#[cfg(test)]
#[path = "tests_tables.rs"]
mod tests;
