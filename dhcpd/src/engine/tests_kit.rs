//! What the engine's tests are made with: a small configuration, packets, and replies read back.

use super::*;
use crate::config::{Hardware, Host, Place, Range as Addresses, Settings, SharedNetwork, Subnet};
use crate::wire::code::{ETHERNET, FLAG_BROADCAST};
use pfhelper::{Command, Verb};

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Of the second network, which only relay agents reach.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
pub(crate) const START: i64 = 1_700_000_000;

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn place() -> Place {
    Place { file: "test".into(), line: 1, column: 1 }
}

/// Two networks, `10.0.0.0/24` with .10 to .19 and `10.1.0.0/24` with .10 to .12, on one of which
/// we are.
pub(crate) fn config() -> Config {
    let subnet = |network: usize, net: &str, low: &str, high: &str| Subnet {
        network,
        net: net.parse().unwrap(),
        ranges: vec![Addresses { low: ip(low), high: ip(high), dynamic_bootp: false }],
        settings: Settings::default(),
        at: place(),
    };
    let network = |name: &str, id: usize| SharedNetwork {
        name: name.to_owned(),
        authoritative: true,
        subnets: vec![id],
        settings: Settings::default(),
    };
    Config {
        networks: vec![network("10.0.0.0", 0), network("10.1.0.0", 1)],
        subnets: vec![
            subnet(0, "10.0.0.0/24", "10.0.0.10", "10.0.0.19"),
            subnet(1, "10.1.0.0/24", "10.1.0.10", "10.1.0.12"),
        ],
        ..Config::default()
    }
}

/// What a text means.
pub(super) fn read(text: &str) -> Config {
    let mut sources = crate::conf::RecordedSources::default();
    sources.add_file("test", text.as_bytes());
    match crate::conf::load("test", &mut sources) {
        Ok((config, _)) => config,
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(crate::conf::Diagnostic::render).collect();
            panic!("{text}\n{}", errors.join("\n"))
        }
    }
}

pub(super) fn host(name: &str, mac: [u8; 6], fixed: &[&str]) -> Host {
    Host {
        name: name.to_owned(),
        hardware: Some(Hardware { htype: ETHERNET, addr: mac.to_vec() }),
        client_id: None,
        fixed: fixed.iter().map(|a| ip(a)).collect(),
        settings: Settings::default(),
        at: place(),
    }
}

/// A message to be sent; one of kind 0 is BOOTP.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) kind: u8,
    pub(crate) htype: u8,
    pub(crate) hw: Vec<u8>,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) giaddr: Ipv4Addr,
    pub(crate) broadcast: bool,
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    pub(crate) file: Vec<u8>,
}

pub(crate) fn mac(n: u16) -> [u8; 6] {
    let [a, b] = n.to_be_bytes();
    [2, 0, 0, 0, a, b]
}

pub(crate) fn ask(kind: u8, client: u16) -> Ask {
    Ask {
        kind,
        htype: ETHERNET,
        hw: mac(client).to_vec(),
        ciaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        options: Vec::new(),
        file: Vec::new(),
    }
}

pub(super) fn discover(client: u16) -> Ask {
    ask(message::DISCOVER, client)
}

/// SELECTING: of our offer.
pub(super) fn select(client: u16, address: Ipv4Addr) -> Ask {
    reboot(client, address).with(54, SERVER.octets())
}

/// INIT-REBOOT.
pub(super) fn reboot(client: u16, address: Ipv4Addr) -> Ask {
    ask(message::REQUEST, client).with(50, address.octets())
}

/// RENEWING or REBINDING.
pub(super) fn renew(client: u16, address: Ipv4Addr) -> Ask {
    Ask { ciaddr: address, ..ask(message::REQUEST, client) }
}

pub(super) fn release(client: u16, address: Ipv4Addr) -> Ask {
    Ask { ciaddr: address, ..ask(message::RELEASE, client) }.with(54, SERVER.octets())
}

pub(super) fn decline(client: u16, address: Ipv4Addr) -> Ask {
    ask(message::DECLINE, client).with(50, address.octets()).with(54, SERVER.octets())
}

impl Ask {
    pub(crate) fn with(mut self, code: u8, value: impl AsRef<[u8]>) -> Ask {
        self.options.push((code, value.as_ref().to_vec()));
        self
    }

    pub(crate) fn id(self, id: &[u8]) -> Ask {
        self.with(61, id)
    }

    pub(crate) fn relayed(self) -> Ask {
        Ask { giaddr: RELAY, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut m = vec![0; 236];
        (m[0], m[1], m[2]) = (1, self.htype, self.hw.len() as u8);
        m[4..8].copy_from_slice(&0x1234_5678u32.to_be_bytes());
        if self.broadcast {
            m[10..12].copy_from_slice(&FLAG_BROADCAST.to_be_bytes());
        }
        m[12..16].copy_from_slice(&self.ciaddr.octets());
        m[24..28].copy_from_slice(&self.giaddr.octets());
        m[28..28 + self.hw.len()].copy_from_slice(&self.hw);
        m[108..108 + self.file.len()].copy_from_slice(&self.file);
        m.extend([99, 130, 83, 99]);
        if self.kind != 0 {
            m.extend([53, 1, self.kind]);
        }
        for (code, value) in &self.options {
            if value.is_empty() {
                m.extend([*code, 0]);
            }
            for part in value.chunks(255) {
                m.extend([*code, part.len() as u8]);
                m.extend(part);
            }
        }
        m.push(255);
        m
    }
}

/// A reply as the client reads it.
pub(super) struct Got {
    pub(super) reply: Reply,
    pub(super) bytes: Vec<u8>,
    pub(super) options: OptionTable,
}

impl Got {
    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    pub(super) fn kind(&self) -> u8 {
        self.options.message_type().unwrap()
    }

    pub(super) fn yours(&self) -> Ipv4Addr {
        self.message().yiaddr()
    }

    /// Codes in the order they were sent.
    pub(super) fn codes(&self) -> Vec<u8> {
        let mut rest = self.message().options_field().to_vec();
        let mut codes = Vec::new();
        while let Some(&code) = rest.first().filter(|c| **c != 255) {
            codes.push(code);
            rest.drain(..2 + usize::from(rest[1]));
        }
        codes
    }
}

/// An engine, its clock, and what it last wanted done.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) now: Now,
    pub(super) out: Actions,
}

pub(crate) fn interfaces() -> Vec<Interface> {
    vec![Interface {
        name: "em0".to_owned(),
        index: 3,
        address: SERVER,
        addresses: vec![SERVER],
        mac: [6; 6],
        network: Some(0),
    }]
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(config())
    }

    /// Without pings.
    pub(super) fn with(config: Config) -> Bench {
        Bench::full(config, EngineOptions { ping_wait: None, ..EngineOptions::default() })
    }

    pub(super) fn pinging(config: Config) -> Bench {
        Bench::full(config, EngineOptions::default())
    }

    pub(super) fn full(mut config: Config, options: EngineOptions) -> Bench {
        config.build_lookup();
        let engine = Engine::new(Arc::new(config), interfaces(), options);
        let now = Now { wall: START, mono: 5_000_000 };
        Bench { engine, now, out: Actions::default() }
    }

    /// Another configuration and other interfaces; each of these is on the network it is on.
    pub(super) fn reconfigure(&mut self, mut config: Config, interfaces: Vec<Interface>) -> bool {
        config.build_lookup();
        let network =
            |i: &Interface| config.subnet_of(i.address).map(|s| config.subnets[s].network);
        let interfaces =
            interfaces.into_iter().map(|i| Interface { network: network(&i), ..i }).collect();
        self.out.clear();
        self.engine.reconfigure(Arc::new(config), interfaces, self.now, &mut self.out)
    }

    /// All that a reconfiguration may change, as text.
    pub(super) fn everything(&self) -> String {
        let core = &self.engine.core;
        let Core { leases, pools, offers, pending, quarantine, .. } = core;
        format!("{leases:?}\n{pools:?}\n{offers:?}\n{pending:?}\n{quarantine:?}")
    }

    pub(super) fn meta(mac: Option<[u8; 6]>) -> Meta {
        let (source, dest) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        Meta { interface: 0, served: true, source, source_port: 68, dest, mac }
    }

    /// As a frame from the client's own card, to us if the client has an address (RENEWING); as UDP if
    /// there is a relay agent.
    pub(super) fn send(&mut self, ask: &Ask) -> Vec<Got> {
        let own = <[u8; 6]>::try_from(&ask.hw[..]).unwrap_or([9; 6]);
        let meta = Meta {
            source: if ask.giaddr.is_unspecified() { ask.ciaddr } else { ask.giaddr },
            dest: if ask.ciaddr.is_unspecified() { Ipv4Addr::BROADCAST } else { SERVER },
            ..Bench::meta(ask.giaddr.is_unspecified().then_some(own))
        };
        self.send_by(ask, &meta)
    }

    pub(super) fn send_by(&mut self, ask: &Ask, meta: &Meta) -> Vec<Got> {
        self.out.clear();
        self.engine.input(&ask.bytes(), meta, self.now, &mut self.out);
        self.replies()
    }

    pub(super) fn one(&mut self, ask: &Ask) -> Got {
        let mut got = self.send(ask);
        assert_eq!(got.len(), 1, "to {ask:?}");
        got.remove(0)
    }

    pub(super) fn silent(&mut self, ask: &Ask) {
        assert_eq!(self.send(ask).len(), 0, "to {ask:?}");
    }

    /// DISCOVER, OFFER, REQUEST, ACK.
    pub(super) fn dora(&mut self, client: u16) -> Ipv4Addr {
        let offered = self.one(&discover(client)).yours();
        let ack = self.one(&select(client, offered));
        assert_eq!((ack.kind(), ack.yours()), (message::ACK, offered));
        offered
    }

    pub(super) fn pass(&mut self, seconds: u64) -> Vec<Got> {
        self.now.wall += seconds as i64;
        self.now.mono += seconds * 1000;
        self.tick()
    }

    pub(super) fn tick(&mut self) -> Vec<Got> {
        self.out.clear();
        self.engine.tick(self.now, &mut self.out);
        self.replies()
    }

    pub(super) fn echo(&mut self, address: Ipv4Addr) {
        self.out.clear();
        self.engine.echo_reply(address, self.now, &mut self.out);
    }

    pub(super) fn replies(&self) -> Vec<Got> {
        let read = |reply: &Reply| {
            let bytes = self.out.arena[reply.bytes.clone()].to_vec();
            let mut options = OptionTable::new();
            options.parse(&Message::parse(&bytes).unwrap()).unwrap();
            Got { reply: reply.clone(), bytes, options }
        };
        self.out.replies.iter().map(read).collect()
    }

    /// The events of the last step, as letters of section 13, for one address.
    pub(super) fn events(&self, address: Ipv4Addr) -> String {
        let letter = |c: &Command| match c.verb {
            Verb::Leased => 'L',
            Verb::Released => 'R',
            Verb::Abandoned => 'A',
            Verb::Changed => 'C',
        };
        assert!(self.out.tables.iter().all(|c| c.address == address), "{:?}", self.out.tables);
        self.out.tables.iter().map(letter).collect()
    }

    pub(super) fn journal(&self) -> String {
        String::from_utf8(self.out.journal.clone()).unwrap()
    }
}
