//! BOOTREQUEST without a DHCP message type (RFC 951, 1497, 1542): who is answered, with which
//! address, and for how long it is kept for them. A BOOTP client neither renews nor gives back.
//!
//! What the reply says is `answer::bootp`'s business.

use super::Actions;
use super::access::{Denial, Known, Scopes};
use super::answer::Grant;
use super::core::Core;
use super::discover::Choice;
use super::identity::MAX_CLIENT_ID;
use super::leases::FreeList;
use super::packet::Packet;
use crate::config::{NetworkId, SubnetId};
use crate::lease::NEVER;
use std::net::Ipv4Addr;

/// The built-in `dynamic-bootp-lease-cutoff`, 2038-01-19: so late because OpenBSD could not say
/// later. It is not meant as an end of all service: once it has passed, leases have no end.
const UNLIMITED: i64 = i32::MAX as i64;

impl Core {
    pub(super) fn bootp(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        self.counters.bootp += 1;
        let hw = packet.client.hw;
        log::info!(
            "BOOTREQUEST from {hw} via {}{}",
            self.via_of(packet),
            if packet.message.has_cookie() { "" } else { " (non-rfc1048)" }
        );
        if packet.client.id.is_some_and(|id| id.len() > MAX_CLIENT_ID) {
            self.counters.no_identity += 1;
            log::debug!("packet from {} ignored: no usable identity", packet.meta.source);
            return;
        }
        let Some(network) = self.origin(packet) else {
            self.counters.unknown_network += 1;
            log::debug!("unknown network via {}", self.via_of(packet));
            return;
        };
        let known = self.known(packet, network);
        if let Some((address, subnet)) = known.fixed {
            self.bootp_fixed(packet, known, address, subnet, out);
        } else {
            self.bootp_dynamic(packet, known, network, out);
        }
    }

    fn bootp_fixed(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        address: Ipv4Addr,
        subnet: SubnetId,
        out: &mut Actions,
    ) {
        if !self.admits_bootp(packet, known, subnet) {
            return;
        }
        let grant = bootp_grant(address, subnet, known);
        let Some(reply) = self.answer_bootp(packet, &grant, true, &mut out.arena) else { return };
        self.counters.bootreply += 1;
        let name = known.host.and_then(|host| self.config.hosts.get(host));
        log::info!(
            "BOOTREPLY for {address} to {} ({}) via {}",
            name.map_or("", |host| &host.name),
            packet.client.hw,
            self.via_of(packet)
        );
        out.replies.push(reply);
    }

    fn bootp_dynamic(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        network: u32,
        out: &mut Actions,
    ) {
        let choice = self.choose_for_bootp(packet, known, network);
        let subnet = match choice {
            Some(Choice::Slot(slot)) => self.leases.get(slot).subnet as SubnetId,
            Some(Choice::New { subnet, .. }) => subnet as SubnetId,
            // Whoever would not be served anyway is told just that.
            None => {
                let network = self.config.networks.get(network as NetworkId);
                let Some(subnet) = network.and_then(|n| n.subnets.first()) else { return };
                *subnet
            }
        };
        if !self.admits_bootp(packet, known, subnet) {
            return;
        }
        let ends = self.bootp_ends(packet, known, subnet);
        let (Some(choice), Some(ends)) = (choice, ends) else {
            self.counters.no_free_lease += 1;
            log::info!(
                "No applicable record for BOOTP host {} via {}",
                packet.client.hw,
                self.via_of(packet)
            );
            return;
        };
        let slot = match choice {
            Choice::Slot(slot) => slot,
            Choice::New { address, subnet } => self.leases.add(address, subnet),
        };
        // Nothing is offered or released any more that waits for an answer to a ping.
        self.drop_pending(slot);
        let lease = self.leases.get(slot);
        let address = Ipv4Addr::from(lease.address);
        // What DHCP promised to the system on this machine stays promised.
        let ends = if lease.is_held() { ends.max(lease.ends) } else { ends };
        if lease.abandoned {
            self.counters.reclaimed += 1;
            log::error!("Reclaiming abandoned IP address {address}.");
        }
        self.commit_until(packet, slot, ends, true, out);
        let grant = bootp_grant(address, subnet, known);
        if let Some(mut reply) = self.answer_bootp(packet, &grant, false, &mut out.arena) {
            log::info!(
                "BOOTREPLY on {address} to {} via {}",
                packet.client.hw,
                self.via_of(packet)
            );
            self.counters.bootreply += 1;
            reply.durable = true;
            out.replies.push(reply);
        }
    }

    /// What a BOOTP client is given, the first there is of: what it holds, what it had, one never
    /// used, the one that ended longest ago, the abandoned one that ended longest ago; each only of
    /// addresses that are for BOOTP clients.
    fn choose_for_bootp(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        network: u32,
    ) -> Option<Choice> {
        let client = &packet.client;
        if client.hw.is_empty() {
            // Nothing to know it by when it asks again: it would be given one address after another.
            return None;
        }
        // A host or class may say for itself whether it may have just any of them.
        let own = self.config.networks.get(network as NetworkId)?.subnets.first().copied();
        let own = own.and_then(|subnet| self.bootp_scopes(packet, known, subnet)).and_then(|s| {
            let stronger = [s.host.map(|h| &h.settings), s.vendor_class.map(|c| &c.settings)];
            stronger.into_iter().flatten().find_map(|s| s.dynamic_bootp)
        });
        let any = match own {
            Some(false) => return None,
            Some(true) => true,
            None => false,
        };
        let leases = &self.leases;
        let fits = |slot: &u32| {
            (any || leases.is_for_bootp(leases.get(*slot).address)) && self.is_open(*slot, client)
        };
        let mine = self.current(network, client).filter(fits);
        if let Some(slot) = mine.or_else(|| self.previous(packet, network).filter(fits)) {
            return Some(Choice::Slot(slot));
        }
        if let Some(address) = self.fresh(network, !any) {
            let subnet = self.pools.find(address)?.subnet;
            return Some(Choice::New { address, subnet });
        }
        let oldest = |abandoned| match any {
            true => self.oldest(network, abandoned),
            false => self.oldest_of(FreeList { network, abandoned, bootp: true }),
        };
        oldest(false).or_else(|| oldest(true)).map(Choice::Slot)
    }

    /// When a lease given now ends, in engine time; `None` if none is to be given any more.
    fn bootp_ends(&self, packet: &Packet<'_>, known: Known, subnet: SubnetId) -> Option<i64> {
        let scopes = self.bootp_scopes(packet, known, subnet)?;
        let length = scopes.first(|s| s.dynamic_bootp_lease_length).filter(|length| *length > 0);
        if let Some(length) = length {
            return Some(self.clock.begins().saturating_add(i64::from(length)));
        }
        let cutoff = scopes.first(|s| s.dynamic_bootp_lease_cutoff).unwrap_or(UNLIMITED);
        let ends = self.clock.engine(cutoff);
        if ends > self.clock.begins() {
            return Some(ends);
        }
        (cutoff == UNLIMITED).then(|| self.clock.engine(NEVER))
    }

    /// The scopes of a BOOTP client, which has no user class.
    pub(super) fn bootp_scopes(
        &self,
        packet: &Packet<'_>,
        known: Known,
        subnet: SubnetId,
    ) -> Option<Scopes<'_>> {
        let scopes = Core::scopes(&self.config, packet, known.host, subnet)?;
        Some(Scopes { user_class: None, ..scopes })
    }

    /// Whether the client is served in a subnet; if not, the log says why.
    fn admits_bootp(&mut self, packet: &Packet<'_>, known: Known, subnet: SubnetId) -> bool {
        let admission = self.admission(packet, known, subnet);
        let Err(denial) = admission.and_then(|()| self.bootp_allowed(packet, known, subnet)) else {
            return true;
        };
        denial.count(&mut self.counters);
        let (hw, via) = (packet.client.hw, self.via_of(packet));
        let host = known.declared.and_then(|id| self.config.hosts.get(id)).map(|host| &host.name);
        match (denial, host) {
            (Denial::Host(_), Some(name)) => log::info!("Ignoring excluded BOOTP client {name}"),
            (Denial::Bootp, Some(name)) => {
                log::info!("Ignoring BOOTP request from client {name}");
            }
            (Denial::Bootp, None) => {
                log::info!("Ignoring BOOTP request from client {hw} via {via}");
            }
            (Denial::Unknown, _) => log::info!("Ignoring unknown BOOTP client {hw} via {via}"),
            (Denial::Class, _) => log::debug!("Ignoring client {hw}: its class may not boot"),
            (Denial::Host(_) | Denial::NoSubnet, _) => {}
        }
        false
    }

    /// Whether BOOTP is spoken with this client: what its host says that declares it, wherever
    /// its addresses are, else its vendor class, else the subnet.
    fn bootp_allowed(
        &self,
        packet: &Packet<'_>,
        known: Known,
        subnet: SubnetId,
    ) -> Result<(), Denial> {
        let scopes = Core::scopes(&self.config, packet, known.declared, subnet);
        let scopes = scopes.ok_or(Denial::NoSubnet)?;
        match (Scopes { user_class: None, ..scopes }).first(|s| s.bootp) {
            Some(false) => Err(Denial::Bootp),
            _ => Ok(()),
        }
    }
}

/// Neither a DHCP message nor for a time that the client is told.
fn bootp_grant(address: Ipv4Addr, subnet: SubnetId, known: Known) -> Grant {
    Grant { kind: 0, address, subnet, host: known.host, seconds: None }
}
