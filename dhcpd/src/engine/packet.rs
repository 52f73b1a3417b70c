//! One request with what every handler wants to know of it.

use super::core::{Core, Via};
use super::identity::Client;
use super::{Meta, Now};
use crate::wire::code::{FLAG_BROADCAST, option};
use crate::wire::message::Message;
use crate::wire::options::OptionTable;
use std::net::Ipv4Addr;

pub(super) struct Packet<'a> {
    /// All of it, as it came.
    pub(super) raw: &'a [u8],
    pub(super) message: Message<'a>,
    pub(super) options: &'a OptionTable,
    pub(super) meta: &'a Meta,
    pub(super) client: Client<'a>,
    pub(super) now: Now,
    /// Engine time, in seconds.
    pub(super) time: i64,
}

impl<'a> Packet<'a> {
    /// Option 50.
    pub(super) fn requested(&self) -> Option<Ipv4Addr> {
        self.options.ipv4(option::REQUESTED_ADDRESS)
    }

    pub(super) fn is_relayed(&self) -> bool {
        !self.message.giaddr().is_unspecified()
    }

    /// Whether it came neither by a wire of ours nor through a relay agent.
    pub(super) fn is_from_afar(&self) -> bool {
        !self.meta.served && !self.is_relayed()
    }

    pub(super) fn wants_broadcast(&self) -> bool {
        self.message.flags() & FLAG_BROADCAST != 0
    }

    /// Option 12 as it is kept: without the zero byte that some clients end it with.
    pub(super) fn host_name(&self) -> Option<&'a [u8]> {
        let mut name = self.options.get(option::HOST_NAME)?;
        while let [rest @ .., 0] = name {
            name = rest;
        }
        Some(&name[..name.len().min(255)]).filter(|name| !name.is_empty())
    }
}

impl Core {
    /// The network a request comes from: the relay agent's, else the receiving interface's.
    /// Unknown if that interface is not served.
    pub(super) fn origin(&self, packet: &Packet<'_>) -> Option<u32> {
        let network = match self.link(packet) {
            Some(link) => self.config.subnets.get(self.config.subnet_of(link)?)?.network,
            None if packet.is_from_afar() => return None,
            None => self.interfaces.get(packet.meta.interface)?.network?,
        };
        (network < self.config.networks.len()).then_some(network as u32)
    }

    pub(super) fn via_of(&self, packet: &Packet<'_>) -> Via<'_> {
        self.via(packet.message.giaddr(), packet.meta.interface)
    }

    /// Whether the server that the client speaks to, if it names one, is us.
    pub(super) fn is_for_us(&self, packet: &Packet<'_>) -> bool {
        match packet.options.get(option::SERVER_IDENTIFIER) {
            None => true,
            Some(_) => {
                let id = packet.options.ipv4(option::SERVER_IDENTIFIER);
                let theirs = packet.server_override();
                let theirs = theirs.or_else(|| self.kept_override(packet, packet.message.ciaddr()));
                id.is_some_and(|id| self.is_ours(id) || theirs == Some(id))
            }
        }
    }
}
