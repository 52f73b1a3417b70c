//! What a reply says: effective settings, options and their order, and the fixed fields.
//!
//! Where it goes is `destination`; how it is laid out is `wire::reply`.

mod bootp;

use super::Reply;
use super::access::Scopes;
use super::core::{Core, DEFAULT_LEASE_TIME, MAX_LEASE_TIME};
use super::packet::Packet;
use crate::config::{HostId, SubnetId};
use crate::wire::code::{BOOTREPLY, FLAG_BROADCAST, message, option};
use crate::wire::reply::{self, Header};
use std::net::Ipv4Addr;
use std::ops::Range;

/// A lease shorter than this, in seconds, is not given on a client's word.
const SHORTEST: u32 = 15;

/// What a client is told it may have.
pub(super) struct Grant {
    /// OFFER or ACK.
    pub(super) kind: u8,
    /// yiaddr; for an INFORM the client's own.
    pub(super) address: Ipv4Addr,
    pub(super) subnet: SubnetId,
    pub(super) host: Option<HostId>,
    /// How long; `None` for an INFORM.
    pub(super) seconds: Option<u32>,
}

/// Memory that every reply uses again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    options: Vec<(u8, &'static [u8])>,
    texts: Texts,
}

/// Text options with a zero byte behind them.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    places: Vec<(u8, Range<usize>)>,
}

/// Option codes.
#[derive(Clone, Copy, Default)]
struct Codes([u64; 4]);

impl Codes {
    fn add(&mut self, code: u8) {
        self.0[usize::from(code / 64)] |= 1 << (code % 64);
    }

    fn has(&self, code: u8) -> bool {
        self.0[usize::from(code / 64)] & 1 << (code % 64) != 0
    }

    fn iter(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().zip([0u8, 64, 128, 192]).flat_map(|(mut word, base)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.wrapping_sub(1);
                (bit < 64).then(|| base + bit as u8)
            })
        })
    }
}

/// Never sent on the configuration's word: layout, what the server itself says, what only
/// clients say, and 82, which is the relay agent's.
const NOT_CONFIGURED: [u8; 12] = [
    option::PAD,
    option::REQUESTED_ADDRESS,
    option::LEASE_TIME,
    option::OVERLOAD,
    option::MESSAGE_TYPE,
    option::SERVER_IDENTIFIER,
    option::PARAMETER_REQUEST_LIST,
    option::MAX_MESSAGE_SIZE,
    option::CLIENT_IDENTIFIER,
    option::RAPID_COMMIT,
    option::RELAY_AGENT,
    option::END,
];

/// Options whose value is text, to which a client may want a zero byte added.
const TEXT: [u8; 14] = [14, 15, 17, 18, 40, 47, 56, 60, 64, 66, 67, 77, 144, 252];

impl Core {
    /// Appends an OFFER or ACK to `arena`. `None` if the subnet is not there any more.
    pub(super) fn answer(
        &mut self,
        packet: &Packet<'_>,
        grant: &Grant,
        arena: &mut Vec<u8>,
    ) -> Option<Reply> {
        let selects = self.subnet_selection(packet).is_some();
        // Copied: memory is only asked for where names are looked up.
        let dns_name = self.dns_name(grant.address, grant.subnet as u32).map(<[u8]>::to_vec);
        let kept = self.kept_override(packet, grant.address);
        let Core { config, interfaces, scratch, network_addresses, .. } = &mut *self;
        let config = &**config;
        let scopes = Core::scopes(config, packet, grant.host, grant.subnet)?;
        let subnet = config.subnets.get(grant.subnet)?;
        let interface = interfaces.get(packet.meta.interface)?;
        let here = network_addresses.get(subnet.network).copied().flatten();
        let own = server_identifier(&scopes).unwrap_or(interface.address);
        let server = packet.server_override().or(kept).unwrap_or(own);
        let rapid =
            grant.kind == message::ACK && packet.options.message_type() == Some(message::DISCOVER);
        let selected = packet.options.get(option::SUBNET_SELECTION);
        let selected = selected.filter(|_| selects);

        let kind = [grant.kind];
        let server_bytes = server.octets();
        let yours = grant.address.octets();
        let mask = subnet.net.mask().octets();
        let times = grant.seconds.map(|l| {
            let t2 = (u64::from(l) * 7 / 8) as u32;
            (l.to_be_bytes(), (l / 2).to_be_bytes(), t2.to_be_bytes())
        });

        let theirs = packet.options.get(option::PARAMETER_REQUEST_LIST).unwrap_or_default();
        let requested = scopes.option(option::PARAMETER_REQUEST_LIST).unwrap_or(theirs);

        // What there is beside 53, 54 and 51.
        let mut have = Codes::default();
        scopes.iter().for_each(|s| s.options.iter().for_each(|(code, _)| have.add(code)));
        let own_name = scopes
            .host
            .filter(|_| scopes.first(|s| s.use_host_decl_names) == Some(true))
            .map(|host| host.name.as_bytes())
            .or(dns_name.as_deref());
        let own_route = scopes.first(|s| s.use_lease_addr_for_default_route) == Some(true);
        let echoed =
            packet.client.id.filter(|_| scopes.first(|s| s.echo_client_id).unwrap_or(true));
        for (code, there) in [
            (option::SUBNET_MASK, true),
            (option::ROUTERS, own_route),
            (option::HOST_NAME, own_name.is_some()),
            (option::VENDOR_CLASS, scopes.vendor_class.is_some()),
            (option::USER_CLASS, scopes.user_class.is_some()),
            (option::RENEWAL_TIME, times.is_some()),
            (option::REBINDING_TIME, times.is_some()),
        ] {
            if there {
                have.add(code);
            }
        }
        let value = |code: u8| -> Option<&[u8]> {
            match code {
                option::RENEWAL_TIME => times.as_ref().map(|t| &t.1[..]),
                option::REBINDING_TIME => times.as_ref().map(|t| &t.2[..]),
                option::VENDOR_CLASS if let Some(class) = scopes.vendor_class => Some(&class.value),
                option::USER_CLASS if let Some(class) = scopes.user_class => Some(&class.value),
                _ => scopes.option(code).or(match code {
                    option::SUBNET_MASK => Some(&mask[..]),
                    option::ROUTERS if own_route => Some(&yours[..]),
                    option::HOST_NAME => own_name,
                    _ => None,
                }),
            }
        };
        let Scratch { options, texts } = scratch;
        texts.fill(packet, have, value);
        let value = |code: u8| texts.get(code).or_else(|| value(code));

        let mut list =
            Listing { options: recycle(std::mem::take(options)), done: Codes::default() };
        list.put(option::MESSAGE_TYPE, &kind);
        list.put(option::SERVER_IDENTIFIER, &server_bytes);
        if let Some((lease_time, _, _)) = &times {
            list.put(option::LEASE_TIME, lease_time);
        }
        if let Some(id) = echoed {
            // RFC 6842 section 3: whatever finds no room, it is not this.
            list.put(option::CLIENT_IDENTIFIER, id);
        }
        if rapid {
            list.put(option::RAPID_COMMIT, &[]);
        }
        list.put_some(option::SUBNET_SELECTION, selected);
        NOT_CONFIGURED.iter().for_each(|code| list.done.add(*code));
        // RFC 8925 section 3.3: only to who asks, but to all of those: it has its room before
        // what may be left out.
        if theirs.contains(&option::IPV6_ONLY_PREFERRED) {
            list.put_some(option::IPV6_ONLY_PREFERRED, value(option::IPV6_ONLY_PREFERRED));
        }
        list.done.add(option::IPV6_ONLY_PREFERRED);
        list.put_some(option::MESSAGE, value(option::MESSAGE));
        for code in [option::CLASSLESS_ROUTES, option::CLASSLESS_ROUTES_MS] {
            if requested.contains(&code)
                && let Some(routes) = value(code)
            {
                list.put(code, routes);
                // RFC 3442: who gets these must not use those.
                list.done.add(option::ROUTERS);
                list.done.add(option::STATIC_ROUTES);
            }
        }
        for &code in requested {
            if code == option::ROUTERS && have.has(code) && !list.done.has(code) {
                // RFC 2132 section 3.3: never before the mask.
                list.put_some(option::SUBNET_MASK, value(option::SUBNET_MASK));
            }
            if have.has(code) {
                list.put_some(code, value(code));
            }
        }
        for code in have.iter() {
            list.put_some(code, value(code));
        }

        let header = Header {
            // RFC 2131 table 3: an offer says nothing of the address the client has.
            ciaddr: match grant.kind {
                message::ACK => packet.message.ciaddr(),
                _ => Ipv4Addr::UNSPECIFIED,
            },
            yiaddr: if grant.seconds.is_some() { grant.address } else { Ipv4Addr::UNSPECIFIED },
            siaddr: scopes
                .host
                .and_then(|h| h.settings.next_server)
                .or(scopes.subnet.next_server)
                .or(here)
                .unwrap_or(interface.address),
            ..header(packet)
        };
        let filename = scopes.host.and_then(|h| h.settings.filename.as_deref());
        let filename = filename
            .or(scopes.user_class.and_then(|c| c.settings.filename.as_deref()))
            .or(scopes.vendor_class.and_then(|c| c.settings.filename.as_deref()))
            .or_else(|| file_of_client(packet))
            .or(scopes.subnet.filename.as_deref());
        let start = arena.len();
        let dropped = reply::encode(
            arena,
            &header,
            scopes.first(|s| s.server_name.as_deref()),
            filename,
            &list.options,
            reply::limit(packet.options.u16(option::MAX_MESSAGE_SIZE)),
            packet.options.get(option::RELAY_AGENT),
        );
        if dropped > 0 {
            log::debug!("reply to {}: {dropped} options found no room", packet.client.hw);
        }
        *options = recycle(list.options);
        if dropped > 0 {
            self.count_lost_relay_option(packet);
        }
        let bytes = start..arena.len();
        let (destination, source) = self.destination(packet, grant, own);
        Some(Reply { destination, source, bytes, durable: false })
    }

    /// Appends a NAK to `arena`.
    pub(super) fn nak(
        &mut self,
        packet: &Packet<'_>,
        why: &str,
        subnet: Option<SubnetId>,
        arena: &mut Vec<u8>,
    ) -> Reply {
        let own = self.interfaces.get(packet.meta.interface).map(|i| i.address);
        let scopes = subnet.and_then(|subnet| Core::scopes(&self.config, packet, None, subnet));
        let own =
            scopes.as_ref().and_then(server_identifier).or(own).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let server = packet.server_override().unwrap_or(own);
        let echo = scopes.as_ref().and_then(|s| s.first(|s| s.echo_client_id)).unwrap_or(true);
        let server_bytes = server.octets();
        let id = packet.client.id.filter(|_| echo);
        let options = [
            (option::MESSAGE_TYPE, &[message::NAK][..]),
            (option::SERVER_IDENTIFIER, &server_bytes[..]),
            (option::CLIENT_IDENTIFIER, id.unwrap_or_default()),
            (option::MESSAGE, why.as_bytes()),
        ];
        // Whatever finds no room, it is the text.
        let mut list = [options[0], options[1], options[3], options[2]];
        if id.is_some() {
            list = options;
        }
        let used = if id.is_some() { 4 } else { 3 };
        // RFC 2131 table 3: no addresses, and section 4.3.2: always broadcast.
        let header = Header { flags: packet.message.flags() | FLAG_BROADCAST, ..header(packet) };
        let start = arena.len();
        // Table 3 again: its fields for names are not for options either.
        let dropped = reply::encode(
            arena,
            &header,
            Some(b""),
            Some(b""),
            &list[..used],
            reply::limit(packet.options.u16(option::MAX_MESSAGE_SIZE)),
            packet.options.get(option::RELAY_AGENT),
        );
        if dropped > 0 {
            self.count_lost_relay_option(packet);
        }
        let (destination, source) = self.destination_of_nak(packet, own);
        Reply { destination, source, bytes: start..arena.len(), durable: false }
    }

    /// How long a client may have an address, in seconds: what is sent is what is kept.
    pub(super) fn lease_time(
        &self,
        packet: &Packet<'_>,
        host: Option<HostId>,
        subnet: SubnetId,
    ) -> u32 {
        let host = host.and_then(|h| self.config.hosts.get(h)).map(|h| &h.settings);
        let subnet = self.config.subnets.get(subnet).map(|s| &s.settings);
        let say = |time: fn(&crate::config::Settings) -> Option<u32>, otherwise: u32| {
            let said = |s: &crate::config::Settings| time(s).filter(|t| *t > 0);
            host.and_then(said).or(subnet.and_then(said)).unwrap_or(otherwise)
        };
        let default = say(|s| s.default_lease_time, DEFAULT_LEASE_TIME);
        let most = say(|s| s.max_lease_time, MAX_LEASE_TIME);
        let least = say(|s| s.min_lease_time, 0);
        // who asks for nothing gets what who asks nothing gets.
        let asked = packet.options.u32(option::LEASE_TIME).filter(|t| *t > 0);
        let wanted = asked.unwrap_or(default).max(least).min(most);
        if wanted < SHORTEST { default.min(most) } else { wanted }
    }
}

/// What every reply repeats.
pub(super) fn header(packet: &Packet<'_>) -> Header {
    let m = &packet.message;
    Header {
        op: BOOTREPLY,
        htype: m.htype(),
        hlen: m.hlen(),
        // RFC 2131 table 3 has both zero.
        hops: 0,
        xid: m.xid(),
        secs: 0,
        flags: m.flags(),
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: m.giaddr(),
        chaddr: m.chaddr_field(),
    }
}

pub(super) fn server_identifier(scopes: &Scopes<'_>) -> Option<Ipv4Addr> {
    let value: [u8; 4] = scopes.option(option::SERVER_IDENTIFIER)?.try_into().ok()?;
    Some(value.into())
}

/// The boot file the client names itself, if that field is not full of options.
fn file_of_client<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    if let Some([fields]) = packet.options.get(option::OVERLOAD)
        && fields & 1 != 0
    {
        return None;
    }
    let field = packet.message.file();
    let len = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    Some(&field[..len]).filter(|name| !name.is_empty())
}

/// The options of a reply, in order, each once.
struct Listing<'a> {
    options: Vec<(u8, &'a [u8])>,
    done: Codes,
}

impl<'a> Listing<'a> {
    fn put(&mut self, code: u8, value: &'a [u8]) {
        if !self.done.has(code) {
            self.done.add(code);
            self.options.push((code, value));
        }
    }

    fn put_some(&mut self, code: u8, value: Option<&'a [u8]>) {
        if let Some(value) = value {
            self.put(code, value);
        }
    }
}

impl Texts {
    /// Who ends its own name with a zero byte expects it in ours.
    fn fill<'a>(
        &mut self,
        packet: &Packet<'_>,
        have: Codes,
        value: impl Fn(u8) -> Option<&'a [u8]>,
    ) {
        self.bytes.clear();
        self.places.clear();
        if !packet.options.get(option::HOST_NAME).is_some_and(|name| name.ends_with(&[0])) {
            return;
        }
        for code in TEXT.into_iter().filter(|code| have.has(*code)) {
            if let Some(value) = value(code) {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value);
                self.bytes.push(0);
                self.places.push((code, start..self.bytes.len()));
            }
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        let (_, place) = self.places.iter().find(|(c, _)| *c == code)?;
        self.bytes.get(place.clone())
    }
}

/// The same memory for values of another life: the list is empty in between.
fn recycle<'b>(mut options: Vec<(u8, &[u8])>) -> Vec<(u8, &'b [u8])> {
    options.clear();
    options.into_iter().map(|(code, _)| (code, &[][..])).collect()
}

#[cfg(test)]
#[path = "tests_answer.rs"]
mod tests;
