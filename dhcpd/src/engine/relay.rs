//! What a relay agent says beside the client: which link the client is on (RFC 3527), and by which
//! address it wants the client to know us (RFC 5107). And what a client says for itself that a
//! relay agent would say: which subnet it wants an address of (RFC 3011).
//!
//! The option itself goes back as it came; that is `wire::reply`'s business.

use super::core::Core;
use super::packet::Packet;
use crate::wire::code::{option, relay};
use crate::wire::options::sub_option;
use crate::wire::reply;
use std::net::Ipv4Addr;

impl<'a> Packet<'a> {
    /// An address that the relay agent gives in a sub-option of option 82. What a client puts
    /// there itself counts for nothing.
    fn agent_address(&self, code: u8) -> Option<Ipv4Addr> {
        if !self.is_relayed() {
            return None;
        }
        let value = sub_option(self.options.get(option::RELAY_AGENT)?, code)?;
        <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
    }

    /// What the relay agent wants the client to take for our identifier.
    pub(super) fn server_override(&self) -> Option<Ipv4Addr> {
        self.agent_address(relay::SERVER_OVERRIDE).filter(|id| !id.is_unspecified())
    }
}

impl Core {
    /// Remembers, as a lease is given to a client, what its relay agent wants it to take for our
    /// identifier. A renewal of the same client that comes without an agent changes nothing.
    pub(super) fn keep_override(&mut self, packet: &Packet<'_>, address: Ipv4Addr, same: bool) {
        let address = u32::from(address);
        match packet.server_override() {
            Some(id) => {
                self.overrides.insert(address, id);
            }
            None if self.overrides.is_empty() => {}
            None if packet.is_relayed() || !same || packet.message.ciaddr().is_unspecified() => {
                self.overrides.remove(&address);
            }
            None => {}
        }
    }

    /// What the agent wanted, for who has an address and writes past the agent: or its next renewal
    /// would go past it too (RFC 5107 section 4).
    pub(super) fn kept_override(&self, packet: &Packet<'_>, address: Ipv4Addr) -> Option<Ipv4Addr> {
        if packet.is_relayed() || packet.message.ciaddr() != address {
            return None;
        }
        self.overrides.get(&u32::from(address)).copied()
    }

    /// Forgets what is kept about addresses of no subnet of ours.
    pub(super) fn forget_overrides(&mut self) {
        let config = &self.config;
        self.overrides.retain(|address, _| config.subnet_of(Ipv4Addr::from(*address)).is_some());
    }

    /// Counts an option 82 that found no room in a reply (RFC 3046 section 2.2).
    pub(super) fn count_lost_relay_option(&mut self, packet: &Packet<'_>) {
        let limit = reply::limit(packet.options.u16(option::MAX_MESSAGE_SIZE));
        let value = packet.options.get(option::RELAY_AGENT);
        if value.is_some_and(|value| !reply::holds(limit, value)) {
            self.counters.relay_option_lost += 1;
        }
    }

    /// The address whose subnet the client is on, if a relay agent is involved: the agent's own,
    /// unless it names another link, or the client a subnet.
    pub(super) fn link(&self, packet: &Packet<'_>) -> Option<Ipv4Addr> {
        if !packet.is_relayed() {
            return None;
        }
        let link = packet.agent_address(relay::LINK_SELECTION);
        let link = link.or_else(|| self.subnet_selection(packet));
        Some(link.unwrap_or(packet.message.giaddr()))
    }

    /// Option 118, if it may be used where the packet comes from: RFC 3011 section 6 wants that
    /// said. Only with a giaddr, which such a client must fill in.
    pub(super) fn subnet_selection(&self, packet: &Packet<'_>) -> Option<Ipv4Addr> {
        let subnet = packet.options.ipv4(option::SUBNET_SELECTION)?;
        if !packet.is_relayed() {
            return None;
        }
        let from = self.config.subnet_of(packet.message.giaddr());
        let says = match from.and_then(|subnet| self.config.subnets.get(subnet)) {
            Some(from) => &from.settings,
            None => &self.config.root,
        };
        (says.subnet_selection == Some(true)).then_some(subnet)
    }
}
