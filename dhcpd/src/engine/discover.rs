//! DISCOVER: which address a client is offered, and whether that is pinged first.

use super::Actions;
use super::access::Known;
use super::answer::Grant;
use super::core::Core;
use super::packet::Packet;
use super::pending::{Held, Then};
use crate::config::SubnetId;
use crate::wire::code::message;
use std::net::Ipv4Addr;

/// An address handled this recently, in seconds, is not pinged again.
const REMEMBERED: u32 = 60;

/// What a client may be offered: a slot, or an address that has none yet.
#[derive(Clone, Copy)]
enum Choice {
    Slot(u32),
    New { address: u32, subnet: u32 },
}

impl Core {
    pub(super) fn discover(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        log::info!("DHCPDISCOVER from {} via {}", packet.client.hw, self.via_of(packet));
        let Some(network) = self.origin(packet) else {
            log::debug!("unknown network via {}", self.via_of(packet));
            self.counters.unknown_network += 1;
            return;
        };
        let known = self.known(packet, network);
        if let Some((address, subnet)) = known.fixed {
            if self.admits(packet, known, subnet, "boot") {
                self.offer_fixed(packet, known, address, subnet, out);
            }
            return;
        }
        let Some(choice) = self.choose(packet, network) else {
            log::info!("no free leases on subnet {}", self.network_name(network));
            self.counters.no_free_lease += 1;
            return;
        };
        let subnet = match choice {
            Choice::Slot(slot) => self.leases.get(slot).subnet,
            Choice::New { subnet, .. } => subnet,
        };
        if !self.admits(packet, known, subnet as SubnetId, "boot") {
            return;
        }
        let slot = match choice {
            Choice::Slot(slot) => slot,
            Choice::New { address, subnet } => self.leases.add(address, subnet),
        };
        self.offer_pool(packet, known, slot, out);
    }

    fn offer_fixed(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        address: Ipv4Addr,
        subnet: SubnetId,
        out: &mut Actions,
    ) {
        let seconds = Some(self.lease_time(packet, known.host, subnet));
        let grant = Grant { kind: message::OFFER, address, subnet, host: known.host, seconds };
        if let Some(reply) = self.answer(packet, &grant, &mut out.arena) {
            log::info!(
                "DHCPOFFER on {address} to {} via {}",
                packet.client.hw,
                self.via_of(packet)
            );
            self.counters.offer += 1;
            out.replies.push(reply);
        }
    }

    fn offer_pool(&mut self, packet: &Packet<'_>, known: Known, slot: u32, out: &mut Actions) {
        let lease = self.leases.get(slot);
        let address = Ipv4Addr::from(lease.address);
        let subnet = lease.subnet as SubnetId;
        match self.pending.get(slot) {
            Some(Then::Offer(_)) => {
                log::info!("already acking lease {address}");
                self.counters.busy += 1;
                return;
            }
            // Its holder is back: there is nothing to release.
            Some(Then::Release) => self.drop_pending(slot),
            None => {}
        }
        let ping = self.ping_wait(slot).filter(|_| self.must_ping(packet, slot));
        if ping.is_some() && self.pending.is_full() {
            self.counters.too_many_pings += 1;
            if let Some(times) = self.ping_room.now(packet.now.mono) {
                log::warn!("too many addresses are being pinged: {times} DISCOVERs ignored");
            }
            // What was taken up for this goes back to be given out.
            let lease = self.leases.get(slot);
            if !lease.is_running() && lease.offer == super::index::NONE {
                self.leases.free(slot);
            }
            return;
        }
        if self.leases.get(slot).abandoned {
            log::error!("Reclaiming abandoned IP address {address}.");
            self.reclaim(slot, packet.time, out);
        }
        self.offer(packet, slot, out);

        let seconds = Some(self.lease_time(packet, known.host, subnet));
        let grant = Grant { kind: message::OFFER, address, subnet, host: known.host, seconds };
        let Some(wait) = ping else {
            if let Some(reply) = self.answer(packet, &grant, &mut out.arena) {
                log::info!(
                    "DHCPOFFER on {address} to {} via {}",
                    packet.client.hw,
                    self.via_of(packet)
                );
                self.counters.offer += 1;
                out.replies.push(reply);
            }
            return;
        };
        let mut bytes = self.pending.buffer();
        if let Some(reply) = self.answer(packet, &grant, &mut bytes) {
            let held = Held {
                destination: reply.destination,
                source: reply.source,
                bytes,
                hw: packet.client.hw,
                relay: packet.message.giaddr(),
                interface: packet.meta.interface,
            };
            let due = packet.now.mono.saturating_add(u64::from(wait));
            if self.pending.begin(slot, due, Then::Offer(held)) {
                self.counters.pings += 1;
                out.pings.push(address);
            }
        }
    }

    /// How long to wait for an answer to a ping of this address, in milliseconds; `None` if nobody
    /// is pinged on its subnet.
    pub(super) fn ping_wait(&self, slot: u32) -> Option<u32> {
        let subnet = self.config.subnets.get(self.leases.get(slot).subnet as usize);
        self.options
            .ping_wait
            .filter(|_| subnet.is_none_or(|s| s.settings.ping_check != Some(false)))
    }

    /// Whether the address is to be pinged. Not when the client holds it: it would answer itself.
    fn must_ping(&self, packet: &Packet<'_>, slot: u32) -> bool {
        let lease = self.leases.get(slot);
        let second = (packet.now.mono / 1000).saturating_add(1);
        let idle = second.saturating_sub(u64::from(lease.touched));
        let handled = lease.touched != 0 && idle <= u64::from(REMEMBERED);
        !handled && !lease.is_held()
    }

    /// The address for a client, the first there is of: what it holds, what it was offered, what
    /// it had (Q-10: these before what it asks for), what it asks for, one never used, the one
    /// that ended longest ago, the abandoned one that ended longest ago.
    fn choose(&mut self, packet: &Packet<'_>, network: u32) -> Option<Choice> {
        let client = &packet.client;
        let open = |slot: &u32| self.is_open(*slot, client);
        if let Some(slot) = self.current(network, client).filter(open) {
            return Some(Choice::Slot(slot));
        }
        // The offer may be to the same identifier on hardware that shares its lease with another.
        let offer = self.offers.of(&self.leases.keys, network, client);
        if let Some(slot) = offer.map(|offer| self.offers.get(offer).slot).filter(open) {
            return Some(Choice::Slot(slot));
        }
        if let Some(slot) = self.previous(packet, network) {
            return Some(Choice::Slot(slot));
        }
        if let Some(choice) = self.asked_for(packet, network) {
            return Some(choice);
        }
        let leases = &self.leases;
        if let Some(address) = self.pools.fresh(network, |a| leases.address(a).is_some()) {
            let subnet = self.pools.find(address)?.subnet;
            return Some(Choice::New { address, subnet });
        }
        let oldest = self.leases.oldest(network, false);
        oldest.or_else(|| self.leases.oldest(network, true)).map(Choice::Slot)
    }

    /// An ended lease that this client was the last to have.
    fn previous(&self, packet: &Packet<'_>, network: u32) -> Option<u32> {
        let client = &packet.client;
        let free = |slot: &u32| {
            let lease = self.leases.get(*slot);
            !lease.is_running() && !lease.abandoned && self.is_open(*slot, client)
        };
        let by_id = client.id.and_then(|id| self.leases.id(network, id)).filter(free);
        if by_id.is_some() || client.hw.is_empty() {
            return by_id;
        }
        (self.leases.hw(network, &client.hw).filter(free))
            .or_else(|| self.leases.hw_of_id(network, &client.hw).filter(free))
    }

    /// The address the client asks for, if it is one to give.
    fn asked_for(&self, packet: &Packet<'_>, network: u32) -> Option<Choice> {
        let address = packet.requested().unwrap_or(packet.message.ciaddr());
        let span = self.pools.find(u32::from(address)).filter(|s| s.network == network)?;
        let Some(slot) = self.leases.address(u32::from(address)) else {
            return Some(Choice::New { address: u32::from(address), subnet: span.subnet });
        };
        let lease = self.leases.get(slot);
        (!lease.abandoned && self.is_open(slot, &packet.client)).then_some(Choice::Slot(slot))
    }
}
