//! Where a reply goes (RFC 2131 section 4.1).

use super::Destination;
use super::answer::Grant;
use super::core::Core;
use super::packet::Packet;
use crate::wire::code::{message, option};
use crate::wire::{CLIENT_PORT, SERVER_PORT};
use std::net::Ipv4Addr;

const BROADCAST_MAC: [u8; 6] = [0xff; 6];

impl Destination {
    /// Gives interfaces other numbers: `map` has the new one of each old one that is still there.
    /// False if it was to leave by one that is not.
    pub(super) fn renumber(&mut self, map: &[Option<usize>]) -> bool {
        let interface = match self {
            Destination::Udp { interface: None, .. } => return true,
            Destination::Link { interface, .. }
            | Destination::Udp { interface: Some(interface), .. } => interface,
        };
        match map.get(*interface).copied().flatten() {
            Some(new) => {
                *interface = new;
                true
            }
            None => false,
        }
    }
}

impl Core {
    /// Where an OFFER or ACK goes, and from which address.
    pub(super) fn destination(
        &self,
        packet: &Packet<'_>,
        grant: &Grant,
        server: Ipv4Addr,
    ) -> (Destination, Ipv4Addr) {
        if packet.is_relayed() {
            return self.to(packet, packet.message.giaddr(), SERVER_PORT, server);
        }
        let network = self.config.subnets.get(grant.subnet).map(|s| s.network);
        let interface = self.interfaces.get(packet.meta.interface);
        let is_local = !packet.is_from_afar()
            && network.is_some()
            && interface.and_then(|i| i.network) == network;
        let ciaddr = packet.message.ciaddr();
        // RFC 2131 section 4.3.5: straight to who only informs itself.
        let informs = packet.options.message_type() == Some(message::INFORM);
        let starts_anew =
            packet.options.get(option::SERVER_IDENTIFIER).is_some() || packet.wants_broadcast();
        if grant.kind == message::ACK
            && !ciaddr.is_unspecified()
            && (informs || !(starts_anew && is_local))
        {
            return self.to(packet, ciaddr, CLIENT_PORT, server);
        }
        if packet.wants_broadcast() || grant.address.is_unspecified() {
            return (broadcast(packet), server);
        }
        // The client has no address yet that it would answer ARP for.
        let mac = packet.meta.mac.or_else(|| packet.client.hw.ethernet());
        let Some(mac) = mac else { return (broadcast(packet), server) };
        let interface = packet.meta.interface;
        (Destination::Link { interface, mac, address: grant.address, port: CLIENT_PORT }, server)
    }

    pub(super) fn destination_of_nak(
        &self,
        packet: &Packet<'_>,
        server: Ipv4Addr,
    ) -> (Destination, Ipv4Addr) {
        if packet.is_relayed() {
            return self.to(packet, packet.message.giaddr(), SERVER_PORT, server);
        }
        if packet.is_from_afar() {
            // A broadcast would go to a wire that the client is not on.
            return self.to(packet, packet.message.ciaddr(), CLIENT_PORT, server);
        }
        (broadcast(packet), server)
    }

    /// To somebody who has an address: the way the request came.
    pub(super) fn to(
        &self,
        packet: &Packet<'_>,
        address: Ipv4Addr,
        port: u16,
        server: Ipv4Addr,
    ) -> (Destination, Ipv4Addr) {
        let interface = packet.meta.interface;
        if let Some(mac) = packet.meta.mac {
            return (Destination::Link { interface, mac, address, port }, server);
        }
        // The system sends only from addresses that are its own.
        let source = match self.own_addresses.binary_search(&server) {
            Ok(_) => server,
            Err(_) => self.interfaces.get(interface).map_or(server, |i| i.address),
        };
        (Destination::Udp { interface: None, address, port }, source)
    }
}

/// To everybody on the wire.
fn broadcast(packet: &Packet<'_>) -> Destination {
    Destination::Link {
        interface: packet.meta.interface,
        mac: BROADCAST_MAC,
        address: Ipv4Addr::BROADCAST,
        port: CLIENT_PORT,
    }
}
