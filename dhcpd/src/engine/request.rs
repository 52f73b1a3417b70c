//! REQUEST in its four client states (RFC 2131 section 4.3.2): SELECTING, INIT-REBOOT, RENEWING and
//! REBINDING; what is acknowledged, what refused, and what not answered at all.

use super::access::Known;
use super::answer::Grant;
use super::core::Core;
use super::counters::Counters;
use super::index::NONE;
use super::packet::Packet;
use super::pending::Then;
use super::{Actions, Change};
use crate::config::{NetworkId, SubnetId};
use crate::dotted::Dotted;
use crate::wire::code::message;
use std::net::Ipv4Addr;

/// What is decided about a request for an address of a pool.
enum Verdict {
    Acknowledge(u32),
    /// Another server may be giving it out.
    Silence,
    Refuse(Nak),
}

/// Why a client is told that it may not have an address.
#[derive(Clone, Copy)]
enum Nak {
    Network,
    Reserved,
    Taken,
    OtherLease,
    NotFixed,
}

impl Nak {
    /// What the client is told (option 56).
    fn text(self) -> &'static str {
        match self {
            Nak::Network => "address is not on this network",
            Nak::Reserved => "address is reserved",
            Nak::Taken => "address is not available",
            Nak::OtherLease => "client holds another address",
            Nak::NotFixed => "requested address is incorrect",
        }
    }

    fn count(self, counters: &mut Counters) {
        counters.nak += 1;
        match self {
            Nak::Network => counters.nak_network += 1,
            Nak::Reserved => counters.nak_reserved += 1,
            Nak::Taken => counters.nak_taken += 1,
            Nak::OtherLease => counters.nak_other_lease += 1,
            Nak::NotFixed => counters.nak_not_fixed += 1,
        }
    }
}

impl Core {
    pub(super) fn request(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        let ciaddr = packet.message.ciaddr();
        let asked = packet.requested();
        let address = asked.unwrap_or(ciaddr);
        log::info!(
            "DHCPREQUEST for {} from {} via {}",
            Dotted(address),
            packet.client.hw,
            self.via_of(packet)
        );
        let origin = self.origin(packet);
        if !self.is_for_us(packet) {
            // it took another server's offer, and ours is free again.
            self.counters.other_server += 1;
            self.withdraw_from(packet, origin, out);
            return;
        }
        if address.is_unspecified() {
            return;
        }
        let subnet = self.config.subnet_of(address);
        let network = subnet.and_then(|s| self.config.subnets.get(s)).map(|s| s.network as u32);
        // REBINDING: what goes to everybody comes from this very wire, unlike a renewal.
        let nearby = packet.is_relayed() || (packet.meta.served && packet.meta.dest.is_broadcast());
        let must_be_here =
            (!ciaddr.is_unspecified() && nearby) || (asked.is_some() && ciaddr.is_unspecified());
        let from_afar = packet.is_from_afar();
        if from_afar && (asked.is_some() || ciaddr != packet.meta.source) {
            // Who comes by an interface that is not served has its address already, and renews it.
            return;
        }
        if must_be_here || (origin.is_none() && !from_afar) {
            // Whoever has no authority over the network in question is silent.
            let judge = origin.or(network);
            if origin.is_none() || network != origin {
                if let Some(judge) = judge.filter(|n| self.is_authoritative(*n)) {
                    // The client is where it is, not where the address is.
                    let here = self.config.networks.get(judge as NetworkId);
                    let here = here.and_then(|n| n.subnets.first().copied());
                    self.refuse(packet, address, Nak::Network, here, out);
                }
                return;
            }
        }
        let (Some(subnet), Some(network)) = (subnet, network) else {
            self.counters.unknown_network += 1;
            return;
        };

        let known = self.known(packet, network);
        if known.fixed.is_some() {
            self.request_fixed(packet, known, address, subnet, out);
            return;
        }
        let Some(span) = self.pools.find(u32::from(address)).copied() else {
            // Somebody else's for good; any other address outside the ranges may be anything.
            if self.pools.is_reserved(u32::from(address)) && self.is_authoritative(network) {
                self.refuse(packet, address, Nak::Reserved, Some(subnet), out);
            }
            return;
        };
        match self.judge(packet, span.network, u32::from(address)) {
            Some(Verdict::Silence) => self.counters.not_ours_to_give += 1,
            Some(Verdict::Refuse(why)) => self.refuse(packet, address, why, Some(subnet), out),
            Some(Verdict::Acknowledge(slot)) => {
                self.acknowledge(packet, known, slot, span.subnet, out);
            }
            None if self.admits(packet, known, span.subnet as SubnetId, "renew") => {
                let slot = self.leases.add(u32::from(address), span.subnet);
                self.acknowledge(packet, known, slot, span.subnet, out);
            }
            None => {}
        }
    }

    /// Whether the client may have the address. `None`: yes, and it was never used.
    fn judge(&self, packet: &Packet<'_>, network: u32, address: u32) -> Option<Verdict> {
        let client = &packet.client;
        let slot = self.leases.address(address);
        if let Some(slot) = slot {
            let lease = self.leases.get(slot);
            if !self.is_open(slot, client) && !self.is_contested(slot) {
                return Some(Verdict::Refuse(Nak::Taken));
            }
            // Held by or offered to this very client.
            if lease.is_held() || (lease.offer != NONE && self.share.has(address)) {
                return Some(Verdict::Acknowledge(slot));
            }
        }
        if self.current(network, client).is_some_and(|current| Some(current) != slot) {
            return Some(Verdict::Refuse(Nak::OtherLease));
        }
        let may_give = match slot {
            Some(slot) => self.may_give(slot, client),
            None => self.share.has(address),
        };
        if !may_give {
            return Some(Verdict::Silence);
        }
        slot.map(Verdict::Acknowledge)
    }

    pub(super) fn acknowledge(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        slot: u32,
        subnet: u32,
        out: &mut Actions,
    ) {
        let subnet = subnet as SubnetId;
        let address = Ipv4Addr::from(self.leases.get(slot).address);
        match self.pending.get(slot) {
            Some(Then::Offer(_)) => {
                log::info!("already acking lease {address}");
                self.counters.busy += 1;
                return;
            }
            Some(Then::Release) => self.drop_pending(slot),
            None => {}
        }
        if !self.admits(packet, known, subnet, "renew") {
            return;
        }
        if self.leases.get(slot).abandoned {
            log::error!("Reclaiming REQUESTed abandoned IP address {address}.");
            self.counters.reclaimed += 1;
        }
        let seconds = self.lease_time(packet, known.host, subnet);
        self.note_relay(packet, slot);
        let lease = self.leases.get(slot);
        let stays = packet.client.is(&lease.hw, lease.id.get());
        self.keep_override(packet, address, stays);
        self.commit(packet, slot, seconds, out);
        let seconds = Some(seconds);
        let grant = Grant { kind: message::ACK, address, subnet, host: known.host, seconds };
        if let Some(mut reply) = self.answer(packet, &grant, &mut out.arena) {
            let at = Dotted(address);
            log::info!("DHCPACK on {at} to {} via {}", packet.client.hw, self.via_of(packet));
            reply.durable = true;
            self.counters.ack += 1;
            out.replies.push(reply);
        }
    }

    pub(super) fn request_fixed(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        address: Ipv4Addr,
        subnet: SubnetId,
        out: &mut Actions,
    ) {
        if !known.host.is_some_and(|host| self.has_fixed(host, address)) {
            self.refuse(packet, address, Nak::NotFixed, Some(subnet), out);
            return;
        }
        if !self.admits(packet, known, subnet, "renew") {
            return;
        }
        self.keep_override(packet, address, true);
        let lease_time = self.lease_time(packet, known.host, subnet);
        let seconds = Some(lease_time);
        let grant = Grant { kind: message::ACK, address, subnet, host: known.host, seconds };
        if let Some(reply) = self.answer(packet, &grant, &mut out.arena) {
            let at = Dotted(address);
            log::info!("DHCPACK on {at} to {} via {}", packet.client.hw, self.via_of(packet));
            self.counters.ack += 1;
            out.replies.push(reply);
            if let Some(sync) = &mut out.sync {
                let starts = self.clock.wall(self.clock.begins());
                let ends = starts.saturating_add(i64::from(lease_time));
                sync.push(Change::fixed(&packet.client, address, starts, ends));
            }
        }
    }

    fn refuse(
        &mut self,
        packet: &Packet<'_>,
        address: Ipv4Addr,
        why: Nak,
        subnet: Option<SubnetId>,
        out: &mut Actions,
    ) {
        why.count(&mut self.counters);
        let why = why.text();
        log::info!("DHCPNAK on {address} to {} via {}", packet.client.hw, self.via_of(packet));
        log::debug!("DHCPNAK on {address}: {why}");
        let reply = self.nak(packet, why, subnet, &mut out.arena);
        out.replies.push(reply);
    }

    /// The client will not take what we offered it.
    fn withdraw_from(&mut self, packet: &Packet<'_>, origin: Option<u32>, out: &mut Actions) {
        let Some(network) = origin else { return };
        if let Some(offer) = self.offers.of(&self.leases.keys, network, &packet.client) {
            self.withdraw(offer, out);
        }
    }

    pub(super) fn is_authoritative(&self, network: u32) -> bool {
        self.config.networks.get(network as NetworkId).is_some_and(|n| n.authoritative)
    }
}

#[cfg(test)]
#[path = "tests_request.rs"]
mod tests;
