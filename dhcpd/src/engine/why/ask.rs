//! A DISCOVER that nobody sent: what it would lead to, and what would be answered.
//!
//! The message is made as a client would make it, read as one from the wire is, decided about by
//! what decides about those, and answered by what answers those. Only nothing is done about it.

use super::{Step, at};
use crate::conf::{OptionType as Type, named_code};
use crate::config::SubnetId;
use crate::engine::access::{Denial, Known};
use crate::engine::answer::Grant;
use crate::engine::core::Core;
use crate::engine::discover::{Decision, Silence};
use crate::engine::identity::{Client, Hw, MAX_CLIENT_ID};
use crate::engine::packet::Packet;
use crate::engine::{Destination, Engine, Meta, Now};
use crate::wire::code::{BOOTREQUEST, ETHERNET, message, option};
use crate::wire::message::Message;
use crate::wire::options::OptionTable;
use crate::wire::reply::{self, Header};
use std::net::Ipv4Addr;

/// Who asks, and which way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// chaddr, of Ethernet.
    pub hardware: Vec<u8>,
    /// Option 61.
    pub client_id: Option<Vec<u8>>,
    /// The relay agent, if it is not on a wire of ours.
    pub giaddr: Option<Ipv4Addr>,
    /// The interface it is on; may be left out where there is one only, or a relay agent.
    pub interface: Option<String>,
    /// Option 60.
    pub vendor_class: Option<Vec<u8>>,
    /// Option 77.
    pub user_class: Option<Vec<u8>>,
}

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What was looked at, in order.
    pub steps: Vec<Step>,
    /// What would be answered, or why nothing: names and values.
    pub answer: Vec<(String, String)>,
}

impl Engine {
    /// What a DISCOVER would lead to now. Nothing changes by asking.
    ///
    /// # Errors
    /// The question is none: which interface, an identifier too long.
    pub fn why(&mut self, question: &Question, now: Now) -> Result<Explanation, String> {
        let core = &mut self.core;
        let interface = core.interface_of(question)?;
        if question.client_id.as_ref().is_some_and(|id| id.len() > MAX_CLIENT_ID) {
            return Err(format!("a client identifier of more than {MAX_CLIENT_ID} bytes"));
        }
        let bytes = discover(question);
        let message = Message::parse(&bytes).map_err(|e| e.to_string())?;
        let mut options = OptionTable::new();
        options.parse(&message).map_err(|e| e.to_string())?;
        let giaddr = question.giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let meta = Meta {
            interface,
            served: true,
            source: giaddr,
            source_port: if giaddr.is_unspecified() { 68 } else { 67 },
            dest: Ipv4Addr::BROADCAST,
            mac: question.hardware[..].try_into().ok().filter(|_| giaddr.is_unspecified()),
        };
        let id = options.get(option::CLIENT_IDENTIFIER).filter(|id| !id.is_empty());
        let client = Client { hw: Hw::new(message.htype(), message.chaddr()), id };
        // The engine's time as it was read last: asking is no reason to read it.
        let time = core.clock.last();
        let raw = &bytes[..];
        let packet = Packet { raw, message, options: &options, meta: &meta, client, now, time };
        Ok(core.explain(&packet))
    }
}

/// The message of who asks.
fn discover(question: &Question) -> Vec<u8> {
    let mut chaddr = [0; 16];
    let len = question.hardware.len().min(chaddr.len());
    chaddr[..len].copy_from_slice(&question.hardware[..len]);
    let header = Header {
        op: BOOTREQUEST,
        htype: ETHERNET,
        hlen: len as u8,
        hops: u8::from(question.giaddr.is_some()),
        xid: 0,
        secs: 0,
        flags: 0,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: question.giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED),
        chaddr,
    };
    let mut options: Vec<(u8, &[u8])> = vec![(option::MESSAGE_TYPE, &[message::DISCOVER])];
    let said = [
        (option::CLIENT_IDENTIFIER, &question.client_id),
        (option::VENDOR_CLASS, &question.vendor_class),
        (option::USER_CLASS, &question.user_class),
    ];
    options.extend(said.iter().filter_map(|(code, value)| Some((*code, value.as_deref()?))));
    let mut bytes = Vec::new();
    reply::encode(&mut bytes, &header, None, None, &options, reply::OPTIONS_MAX, None);
    bytes
}

impl Core {
    /// The interface that is meant.
    fn interface_of(&self, question: &Question) -> Result<usize, String> {
        let names = || {
            let names: Vec<&str> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
            names.join(", ")
        };
        match &question.interface {
            Some(name) => (self.interfaces.iter().position(|i| i.name == *name))
                .ok_or_else(|| format!("{name} is not served; these are: {}", names())),
            None if self.interfaces.is_empty() => Err("no interface is served".to_owned()),
            None if self.interfaces.len() == 1 || question.giaddr.is_some() => Ok(0),
            None => Err(format!("which interface it is on must be said, of: {}", names())),
        }
    }

    fn explain(&mut self, packet: &Packet<'_>) -> Explanation {
        let mut steps = vec![self.step_of_origin(packet)];
        let decision = self.decide(packet, &mut steps);
        let (answer, place) = match decision {
            Decision::Silence(silence) => {
                let place = match silence {
                    Silence::Denied { known, subnet } => Some((known, subnet, None)),
                    _ => None,
                };
                (self.silence_facts(packet, silence), place)
            }
            Decision::Withhold { known, subnet } => {
                let answer = "DHCPOFFER of no address: IPv6 is enough here (RFC 8925)".to_owned();
                (vec![("answer".to_owned(), answer)], Some((known, subnet, None)))
            }
            Decision::Fixed { known, address, subnet } => (
                self.offer_facts(packet, known, address, subnet, None),
                Some((known, subnet, None)),
            ),
            Decision::Unheld { known, address, subnet } => (
                self.offer_facts(packet, known, address, subnet, None),
                Some((known, subnet, Some(address))),
            ),
            Decision::Pool { known, choice, ping } => {
                let (address, subnet) = self.place_of(choice);
                let subnet = subnet as SubnetId;
                let place = Some((known, subnet, Some(address)));
                (self.offer_facts(packet, known, address, subnet, ping), place)
            }
        };
        if let Some((known, subnet, address)) = place {
            self.steps_of_scopes(packet, known, subnet, address, &mut steps);
        }
        Explanation { steps, answer }
    }

    fn step_of_origin(&self, packet: &Packet<'_>) -> Step {
        let via = self.via_of(packet);
        match self.origin(packet) {
            Some(network) => Step::new(
                "network",
                true,
                format!("{}, as it comes via {via}", self.network_name(network)),
            ),
            None => Step::new("network", false, format!("no subnet is declared for {via}")),
        }
    }

    /// Subnet, range, classes, and whether they serve the client.
    fn steps_of_scopes(
        &self,
        packet: &Packet<'_>,
        known: Known,
        subnet: SubnetId,
        address: Option<Ipv4Addr>,
        steps: &mut Vec<Step>,
    ) {
        let Some(declared) = self.config.subnets.get(subnet) else { return };
        let rule = format!("subnet {} ({})", declared.net, at(&declared.at));
        steps.push(Step::new(rule, true, "the address is in it"));
        let number = address.and_then(|address| self.pools.number(u32::from(address)));
        if let Some(span) = number.and_then(|number| self.pools.spans().get(number)) {
            let (low, high) = (Ipv4Addr::from(span.low), Ipv4Addr::from(span.high));
            steps.push(Step::new(format!("range {low} {high}"), true, "the address is in it"));
        }
        let scopes = Core::scopes(&self.config, packet, known.host, subnet);
        let classes = [
            ("vendor class", option::VENDOR_CLASS, scopes.and_then(|s| s.vendor_class)),
            ("user class", option::USER_CLASS, scopes.and_then(|s| s.user_class)),
        ];
        for (what, code, class) in classes {
            steps.push(match (packet.options.get(code), class) {
                (_, Some(class)) => Step::new(
                    format!("{what} ({})", at(&class.at)),
                    true,
                    format!("\"{}\"", class.value.escape_ascii()),
                ),
                (Some(value), None) => {
                    let why = format!("none is declared for \"{}\"", value.escape_ascii());
                    Step::new(what, false, why)
                }
                (None, None) => Step::passed(what, "the client sends none"),
            });
        }
        steps.push(match self.admission(packet, known, subnet) {
            Ok(()) => Step::new("permission", true, "the client is served"),
            Err(denial) => Step::new("permission", false, self.denied(denial)),
        });
    }

    fn denied(&self, denial: Denial) -> String {
        match denial {
            Denial::NoSubnet => "there is no such subnet".to_owned(),
            Denial::Host(host) => {
                let name = self.config.hosts.get(host).map_or("", |host| &host.name);
                format!("deny booting of host {name}")
            }
            Denial::Bootp => "deny bootp".to_owned(),
            Denial::Unknown => "deny unknown-clients, and no host declares it".to_owned(),
            Denial::Class => "deny booting of its class".to_owned(),
        }
    }

    fn silence_facts(&self, packet: &Packet<'_>, silence: Silence) -> Vec<(String, String)> {
        let why = match silence {
            Silence::UnknownNetwork => "it comes from no network that is served".to_owned(),
            Silence::Denied { known, subnet } => match self.admission(packet, known, subnet) {
                Err(denial) => self.denied(denial),
                Ok(()) => String::new(),
            },
            Silence::NoFreeLease(network) => {
                format!("no address of {} is free", self.network_name(network))
            }
            Silence::Busy(address) => {
                format!("{address} is being pinged for it, and offered after that")
            }
            Silence::TooManyPings => "too many addresses are being pinged".to_owned(),
        };
        vec![("answer".to_owned(), format!("none: {why}"))]
    }

    /// The OFFER there would be, field by field.
    fn offer_facts(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        address: Ipv4Addr,
        subnet: SubnetId,
        ping: Option<u32>,
    ) -> Vec<(String, String)> {
        let seconds = Some(self.lease_time(packet, known.host, subnet));
        let grant = Grant { kind: message::OFFER, address, subnet, host: known.host, seconds };
        let mut facts = vec![("answer".to_owned(), "DHCPOFFER".to_owned())];
        let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
        match ping {
            Some(wait) => say("after", format!("a ping that nobody answers for {wait} ms")),
            None => say("after", "no ping".to_owned()),
        }
        let mut bytes = Vec::new();
        let Some(reply) = self.answer(packet, &grant, &mut bytes) else { return facts };
        match reply.destination {
            Destination::Link { address, port, .. } => {
                say("to", format!("{address} port {port}, in a frame"));
            }
            Destination::Udp { address, port, .. } => say("to", format!("{address} port {port}")),
        }
        let Ok(message) = Message::parse(&bytes) else { return facts };
        say("yiaddr", message.yiaddr().to_string());
        say("siaddr", message.siaddr().to_string());
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            field.get(..end).unwrap_or_default().escape_ascii().to_string()
        };
        let mut options = OptionTable::new();
        if options.parse(&message).is_err() {
            return facts;
        }
        if options.get(option::OVERLOAD).is_none() {
            for (name, field) in [("sname", message.sname()), ("file", message.file())] {
                let value = text(field);
                if !value.is_empty() {
                    say(name, value);
                }
            }
        }
        for code in 1..=254 {
            if let Some(value) = options.get(code) {
                let name = match named_code(code) {
                    Some(named) => format!("option {code} {}", named.name),
                    None => format!("option {code}"),
                };
                say(&name, written(named_code(code).map(|named| named.kind), value));
            }
        }
        facts
    }
}

/// A value as dhcpd.conf(5) would write it, or in hexadecimal.
fn written(kind: Option<Type>, value: &[u8]) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    let numbers = |size: usize| {
        value.len().is_multiple_of(size).then(|| {
            join(value.chunks_exact(size).map(|bytes| number(bytes).to_string()).collect())
        })
    };
    let known = match kind {
        Some(Type::Address | Type::Addresses | Type::Pairs) if value.len().is_multiple_of(4) => {
            let parts = value.as_chunks::<4>().0.iter();
            Some(join(parts.map(|bytes| Ipv4Addr::from(*bytes).to_string()).collect()))
        }
        Some(Type::U8 | Type::U8s | Type::Flag) => numbers(1),
        Some(Type::U16 | Type::U16s) => numbers(2),
        Some(Type::U32) => numbers(4),
        Some(Type::Text) => Some(format!("\"{}\"", value.escape_ascii())),
        _ => None,
    };
    known.unwrap_or_else(|| {
        let bytes: Vec<String> = value.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(":")
    })
}
