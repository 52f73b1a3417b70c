//! RELEASE and DECLINE: how an address is given back, and by whom (Q-15: only by who has it).

use super::Actions;
use super::core::Core;
use super::index::NONE;
use super::packet::Packet;
use super::pending::Then;
use std::net::Ipv4Addr;

impl Core {
    pub(super) fn release_asked(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        let address = packet.message.ciaddr();
        let hw = packet.client.hw;
        let slot = self.own_lease(packet, address).filter(|_| self.is_for_us(packet));
        let Some(slot) = slot else {
            log::info!(
                "DHCPRELEASE of {address} from {hw} via {} (not found)",
                self.via_of(packet)
            );
            self.counters.not_theirs += 1;
            return;
        };
        if self.pending.get(slot).is_some() {
            log::info!(
                "DHCPRELEASE of {address} from {hw} via {} ignored (release already pending)",
                self.via_of(packet)
            );
            self.counters.busy += 1;
            return;
        }
        if !self.leases.get(slot).is_held() {
            log::info!(
                "DHCPRELEASE of {address} from {hw} via {} for nonexistent lease",
                self.via_of(packet)
            );
            self.counters.not_theirs += 1;
            return;
        }
        log::info!("DHCPRELEASE of {address} from {hw} via {} (found)", self.via_of(packet));
        // Who still answers has not left: then somebody else sent this.
        let begun = self.ping_wait(self.leases.get(slot).subnet as usize).is_some_and(|wait| {
            let due = packet.now.mono.saturating_add(u64::from(wait));
            self.pending.begin(slot, due, Then::Release)
        });
        if begun {
            self.counters.pings += 1;
            out.pings.push(address);
        } else {
            self.released(slot, packet.time, out);
        }
    }

    /// Nobody objected to a release.
    pub(super) fn released(&mut self, slot: u32, time: i64, out: &mut Actions) {
        let lease = self.leases.get(slot);
        if lease.is_held() {
            log::info!("Released lease for IP address {}", Ipv4Addr::from(lease.address));
            self.counters.released += 1;
            self.release(slot, time, out);
        }
    }

    pub(super) fn decline(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        let Some(address) = packet.requested() else { return };
        let hw = packet.client.hw;
        log::info!("DHCPDECLINE on {address} from {hw} via {}", self.via_of(packet));
        if !self.is_for_us(packet) {
            self.counters.other_server += 1;
            return;
        }
        let Some(slot) = self.held_or_offered(packet, address) else {
            self.counters.not_theirs += 1;
            log::debug!("DHCPDECLINE on {address} ignored: not leased to {hw}");
            return;
        };
        if self.pending.get(slot).is_some() {
            self.counters.busy += 1;
            return;
        }
        let network = self.leases.network(slot) as usize;
        let (source, now) = (self.source_of(packet), packet.now.mono);
        let allowed = self.declines.get_mut(network).is_some_and(|d| d.take(source, now));
        if !allowed {
            self.counters.too_many_declines += 1;
            log::warn!(
                "DHCPDECLINE on {address} ignored: too many on {}",
                self.network_name(network as u32)
            );
            return;
        }
        self.counters.abandoned_declined += 1;
        self.abandon(slot, "declined.", out);
    }

    /// The slot of an address whose holder, or last holder, is exactly this client.
    fn own_lease(&self, packet: &Packet<'_>, address: Ipv4Addr) -> Option<u32> {
        let slot = self.leases.address(u32::from(address))?;
        let lease = self.leases.get(slot);
        packet.client.owns(&lease.hw, lease.id.get()).then_some(slot)
    }

    /// The slot of an address that this client holds, or was offered while nobody holds it.
    fn held_or_offered(&self, packet: &Packet<'_>, address: Ipv4Addr) -> Option<u32> {
        let slot = self.leases.address(u32::from(address))?;
        let lease = self.leases.get(slot);
        let holds = lease.is_held() && packet.client.owns(&lease.hw, lease.id.get());
        let awaits = !lease.is_held() && lease.offer != NONE && {
            let offer = self.offers.get(lease.offer);
            packet.client.owns(&offer.hw, offer.id.get())
        };
        (holds || awaits).then_some(slot)
    }
}
