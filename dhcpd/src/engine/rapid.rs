//! A DISCOVER that is answered otherwise than by an offer of an address: with the lease itself
//! (RFC 4039), or with the word that IPv6 is enough here (RFC 8925).

use super::Actions;
use super::access::Known;
use super::answer::Grant;
use super::core::Core;
use super::identity::{Client, Hw};
use super::packet::Packet;
use super::pending::Held;
use super::{Destination, Meta, Now};
use crate::config::{HostId, NetworkId, SubnetId};
use crate::wire::SERVER_PORT;
use crate::wire::code::{message, option};
use crate::wire::message::Message;
use crate::wire::options::OptionTable;
use std::net::Ipv4Addr;

impl Packet<'_> {
    /// Whether the client would do without IPv4.
    fn asks_for_ipv6_only(&self) -> bool {
        let list = self.options.get(option::PARAMETER_REQUEST_LIST).unwrap_or_default();
        list.contains(&option::IPV6_ONLY_PREFERRED)
    }
}

impl Core {
    /// Whether this DISCOVER is answered with an ACK. Not if the client is about to hear that it
    /// needs no address: it would hardly take one.
    pub(super) fn is_rapid(
        &self,
        packet: &Packet<'_>,
        host: Option<HostId>,
        subnet: SubnetId,
    ) -> bool {
        packet.options.get(option::RAPID_COMMIT).is_some_and(<[u8]>::is_empty)
            && Core::scopes(&self.config, packet, host, subnet)
                .is_some_and(|scopes| scopes.first(|s| s.rapid_commit) == Some(true))
            && !self.hears_of_ipv6(packet, host, subnet)
    }

    /// Whether the client is told that IPv6 is enough here. What it is offered beside it will hardly
    /// request, so that nobody is pinged for it and nothing is held (RFC 8925 section 3.3).
    pub(super) fn hears_of_ipv6(
        &self,
        packet: &Packet<'_>,
        host: Option<HostId>,
        subnet: SubnetId,
    ) -> bool {
        packet.asks_for_ipv6_only()
            && Core::scopes(&self.config, packet, host, subnet)
                .is_some_and(|scopes| scopes.option(option::IPV6_ONLY_PREFERRED).is_some())
    }

    /// What waits for the ping: not an answer, but the DISCOVER itself, as nothing is committed to
    /// an address that may be somebody's.
    pub(super) fn hold_request(&mut self, packet: &Packet<'_>) -> Held {
        let mut bytes = self.pending.buffer();
        bytes.extend_from_slice(packet.raw);
        let address = packet.message.giaddr();
        Held {
            destination: Destination::Udp { interface: None, address, port: SERVER_PORT },
            source: Ipv4Addr::UNSPECIFIED,
            bytes,
            hw: packet.client.hw,
            relay: address,
            interface: packet.meta.interface,
            again: Some(packet.meta.clone()),
        }
    }

    /// Nobody answered: the DISCOVER is decided about once more. Its address was handled a moment
    /// ago, and is not pinged again.
    pub(super) fn take_up_again(
        &mut self,
        held: &Held,
        options: &mut OptionTable,
        now: Now,
        time: i64,
        out: &mut Actions,
    ) {
        let Some(meta) = &held.again else { return };
        let meta = Meta { interface: held.interface, ..meta.clone() };
        let Ok(message) = Message::parse(&held.bytes) else { return };
        if options.parse(&message).is_err() {
            return;
        }
        let id = options.get(option::CLIENT_IDENTIFIER).filter(|id| !id.is_empty());
        let client = Client { hw: Hw::new(message.htype(), message.chaddr()), id };
        let raw = &held.bytes;
        self.answer_discover(
            &Packet { raw, message, options, meta: &meta, client, now, time },
            out,
        );
    }

    /// The subnet in which the client is offered nothing, as it would do without IPv4 and
    /// `withhold-ipv4` holds (RFC 8925 section 3.3).
    pub(super) fn withholds(
        &self,
        packet: &Packet<'_>,
        known: Known,
        network: u32,
    ) -> Option<SubnetId> {
        if !packet.asks_for_ipv6_only() {
            return None;
        }
        let first = self.config.networks.get(network as NetworkId)?.subnets.first();
        let subnet = known.fixed.map(|(_, subnet)| subnet).or(first.copied())?;
        let scopes = Core::scopes(&self.config, packet, known.host, subnet)?;
        let withholds = scopes.first(|s| s.withhold_ipv4) == Some(true)
            && scopes.option(option::IPV6_ONLY_PREFERRED).is_some();
        withholds.then_some(subnet)
    }

    /// The subnet in which a client for which there is no address is told that it needs none.
    pub(super) fn can_do_without(
        &self,
        packet: &Packet<'_>,
        known: Known,
        network: u32,
    ) -> Option<SubnetId> {
        let subnet = *self.config.networks.get(network as NetworkId)?.subnets.first()?;
        let told = self.hears_of_ipv6(packet, known.host, subnet)
            && self.admission(packet, known, subnet).is_ok();
        told.then_some(subnet)
    }

    pub(super) fn withhold(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        subnet: SubnetId,
        out: &mut Actions,
    ) {
        let address = Ipv4Addr::UNSPECIFIED;
        let seconds = Some(self.lease_time(packet, known.host, subnet));
        let grant = Grant { kind: message::OFFER, address, subnet, host: known.host, seconds };
        self.send_offer(packet, &grant, out);
    }
}
