//! What a BOOTREPLY says: RFC 951's fields, and RFC 1497's options as far as its 64 bytes hold them.
//!
//! Nothing goes to `file` or `sname` but their names, and nothing of what only DHCP knows is said.

use super::{Codes, Grant, NOT_CONFIGURED, file_of_client, header, server_identifier};
use crate::engine::Reply;
use crate::engine::access::Scopes;
use crate::engine::core::Core;
use crate::engine::packet::Packet;
use crate::wire::COOKIE;
use crate::wire::code::option;
use crate::wire::reply::{self, Header, OPTIONS_BOOTP};

/// Beside [`NOT_CONFIGURED`]: what has no meaning without a lease, or displaces what every BOOTP
/// client understands.
const DHCP_ONLY: [u8; 6] = [
    option::MESSAGE,
    option::RENEWAL_TIME,
    option::REBINDING_TIME,
    option::IPV6_ONLY_PREFERRED,
    option::CLASSLESS_ROUTES,
    option::CLASSLESS_ROUTES_MS,
];

/// Bytes of the vendor area for options: all but the cookie and the end.
const ROOM: usize = OPTIONS_BOOTP - COOKIE.len() - 1;

/// As many options as that can hold: none takes fewer than 2 bytes.
const MOST: usize = ROOM / 2;

impl Core {
    /// Appends a BOOTREPLY to `arena`. `fixed`: the address is the host's own, not a lease. `None` if
    /// the subnet is not there any more.
    pub(in crate::engine) fn answer_bootp(
        &mut self,
        packet: &Packet<'_>,
        grant: &Grant,
        fixed: bool,
        arena: &mut Vec<u8>,
    ) -> Option<Reply> {
        let config = &*self.config;
        let scopes = Core::scopes(config, packet, grant.host, grant.subnet)?;
        let scopes = Scopes { user_class: None, ..scopes };
        let subnet = config.subnets.get(grant.subnet)?;
        let interface = self.interfaces.get(packet.meta.interface)?;
        let here = self.network_addresses.get(subnet.network).copied().flatten();
        let mask = subnet.net.mask().octets();
        let yours = grant.address.octets();

        let own_route = scopes.first(|s| s.use_lease_addr_for_default_route) == Some(true);
        let own_name = scopes
            .host
            .filter(|_| scopes.first(|s| s.use_host_decl_names) == Some(true))
            .map(|host| host.name.as_bytes());
        let value = |code: u8| {
            scopes.option(code).or(match code {
                option::SUBNET_MASK => Some(&mask[..]),
                option::ROUTERS if own_route => Some(&yours[..]),
                option::HOST_NAME => own_name,
                _ => None,
            })
        };
        let mut done = Codes::default();
        NOT_CONFIGURED.iter().chain(&DHCP_ONLY).for_each(|code| done.add(*code));
        let theirs = packet.options.get(option::PARAMETER_REQUEST_LIST).unwrap_or_default();
        let first = scopes.option(option::PARAMETER_REQUEST_LIST).unwrap_or(theirs);
        let mut options = [(option::PAD, &[][..]); MOST];
        let (mut used, mut room, mut dropped) = (0, ROOM, 0);
        for code in first.iter().copied().chain(0..=u8::MAX) {
            if done.has(code) {
                continue;
            }
            done.add(code);
            let Some(value) = value(code) else { continue };
            match (room.checked_sub(reply::encoded_len(value.len())), options.get_mut(used)) {
                (Some(left), Some(place)) => {
                    *place = (code, value);
                    (used, room) = (used + 1, left);
                }
                _ => dropped += 1,
            }
        }
        if dropped > 0 {
            log::debug!("reply to {}: {dropped} options found no room", packet.client.hw);
        }

        let header = Header {
            // RFC 951 section 7.3: the request itself goes back, with what is told put in.
            hops: packet.message.hops(),
            secs: packet.message.secs(),
            ciaddr: packet.message.ciaddr(),
            yiaddr: grant.address,
            siaddr: scopes
                .host
                .and_then(|h| h.settings.next_server)
                .or(scopes.subnet.next_server)
                .or(here)
                .unwrap_or(interface.address),
            ..header(packet)
        };
        let server_name = scopes.first(|s| s.server_name.as_deref()).unwrap_or_default();
        let filename = scopes
            .host
            .and_then(|h| h.settings.filename.as_deref())
            .or(scopes.vendor_class.and_then(|c| c.settings.filename.as_deref()))
            .or_else(|| file_of_client(packet))
            .or(scopes.subnet.filename.as_deref())
            .unwrap_or_default();
        let start = arena.len();
        let understands =
            packet.message.has_cookie() || scopes.first(|s| s.always_reply_rfc1048) == Some(true);
        if understands {
            let relay_agent = packet.options.get(option::RELAY_AGENT);
            // The agent takes its own off again: the client's 64 bytes are not for that.
            let more = relay_agent.map_or(0, |value| reply::encoded_len(value.len()));
            let options = options.get(..used).unwrap_or_default();
            let (sname, file) = (Some(server_name), Some(filename));
            let limit = OPTIONS_BOOTP + more;
            reply::encode(arena, &header, sname, file, options, limit, relay_agent);
        } else {
            let vendor = packet.message.vendor_area();
            reply::encode_plain(arena, &header, server_name, filename, vendor);
        }
        // a lease's reply too has a source.
        let source = match fixed {
            true => interface.address,
            false => server_identifier(&scopes).unwrap_or(interface.address),
        };
        let (destination, source) = self.destination(packet, grant, source);
        Some(Reply { destination, source, bytes: start..arena.len(), durable: false })
    }
}
