//! INFORM: parameters for a client that has its address from elsewhere (RFC 2131 section 4.3.5).

use super::Actions;
use super::answer::Grant;
use super::core::Core;
use super::packet::Packet;
use crate::wire::code::message;

impl Core {
    pub(super) fn inform(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        let ciaddr = packet.message.ciaddr();
        let source = packet.meta.source;
        if !packet.is_relayed() && ciaddr != source {
            log::info!("DHCPINFORM from {source} for {ciaddr} ignored: not the sender's address");
            self.counters.not_theirs += 1;
            return;
        }
        log::info!("DHCPINFORM from {ciaddr}");
        let link = self.link(packet);
        let at = link.filter(|_| ciaddr.is_unspecified()).unwrap_or(ciaddr);
        // Whose address is in no subnet of ours is told what is told where its relay agent is.
        let subnet =
            self.config.subnet_of(at).or(link.and_then(|link| self.config.subnet_of(link)));
        let Some(subnet) = subnet.or(self.tunnel) else {
            log::debug!("DHCPINFORM from {at}: unknown network");
            self.counters.unknown_network += 1;
            return;
        };
        // By client identifier only: the hardware address of a tunnel's client says nothing.
        let host = packet.client.id.and_then(|id| self.config.hosts_by_client_id(id).first());
        let grant = Grant {
            kind: message::ACK,
            address: ciaddr,
            subnet,
            host: host.copied(),
            seconds: None,
        };
        if let Some(reply) = self.answer(packet, &grant, &mut out.arena) {
            log::info!("DHCPACK to {ciaddr} ({}) via {}", packet.client.hw, self.via_of(packet));
            self.counters.ack += 1;
            out.replies.push(reply);
        }
    }
}
