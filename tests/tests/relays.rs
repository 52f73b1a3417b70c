//! The relay agents that people run, each with real clients behind it: a NAK comes through it, a lease
//! too; renewals go around it, and through it when the server does not hear them; a lease is given
//! back. What ISC's adds as option 82 we echo, and it takes that away again.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::Ipv4Addr;
use tests::capture::passed;
use tests::client::{ALL, Client, Kind, side_by_side};
use tests::daemon::{Dhcpd, LIMIT};
use tests::frame::Tap;
use tests::lab::{Lab, SERVER};
use tests::message::Message;
use tests::process::until;
use tests::relayed::{AGENT, Agent, Program, Relayed};
use tests::wire::{ACK, DISCOVER, NAK, OFFER, Packet, RELEASE, REQUEST, Relay};

/// The shortest there is, so that all of a lease's times come: T1 after 8 seconds, T2 after 14.
const CONFIG: &str = "
ping-check false;
default-lease-time 16;
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.199; }
subnet 198.51.100.0 netmask 255.255.255.0 {
    range 198.51.100.100 198.51.100.199;
    option domain-name \"behind.example\";
}
";

const APPEND: Program = Program::Dhcrelay(&["-m", "append"]);
const REPLACE: Program = Program::Dhcrelay(&["-m", "replace"]);
const AGENTS: [Program; 4] = [APPEND, REPLACE, Program::Dnsmasq, Program::DhcpHelper];

/// A lease of dhclient's from another network, good for years.
const REMEMBERED: &str = "lease {
  interface \"cli0\";
  fixed-address 192.0.2.150;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 600000000;
  option dhcp-message-type 5;
  option dhcp-server-identifier 192.0.2.1;
  renew 5 2037/01/02 00:00:00;
  rebind 5 2037/01/02 00:00:00;
  expire 5 2037/01/02 00:00:00;
}
";

fn server() -> Ipv4Addr {
    SERVER.parse().expect("an address")
}

/// Our clients' script makes no routes. With one, they reach the server without the agent.
fn route(lab: &Lab) {
    lab.client.run(&format!("ip route replace 192.0.2.0/24 via {AGENT}"));
}

/// The next message of this type that passes there.
fn next(tap: &Tap, kind: u8) -> Message {
    Message::of(&tap.wait(LIMIT, |d| Message::of(d).kind == kind))
}

/// The answer to this, by way of that agent.
fn answer(tap: &Tap, to: &Message, giaddr: Ipv4Addr) -> Message {
    let wanted = |m: &Message| m.answer && m.xid == to.xid && m.giaddr == giaddr;
    Message::of(&tap.wait(LIMIT, |d| wanted(&Message::of(d))))
}

/// What the agent said for its clients and what it was answered, as its upper wire shows it.
fn check_upper(program: Program, seen: &[Message]) {
    let relayed = |m: &&Message| m.giaddr == AGENT && m.kind != RELEASE;
    let (answers, asked): (Vec<_>, Vec<_>) = seen.iter().filter(relayed).partition(|m| m.answer);
    assert!(asked.len() >= 3 && answers.len() >= 3, "{seen:#?}");
    for answer in answers {
        assert_eq!((answer.from, answer.to), (server(), AGENT));
        let question = asked
            .iter()
            .find(|q| q.xid == answer.xid && q.options.get(&82) == answer.options.get(&82));
        assert!(question.is_some(), "{answer:?} answers none of {asked:#?}");
        let added = answer.options.get(&82).map(|value| value.starts_with(b"\x01\x05down0"));
        assert_eq!(added, matches!(program, Program::Dhcrelay(_)).then_some(true), "{answer:?}");
    }
}

#[test]
fn all_of_a_lease_s_life() {
    side_by_side(&AGENTS, |program| {
        let relayed = Relayed::new();
        let lab = &relayed.lab;
        let mut dhcpd = Dhcpd::start(lab, CONFIG, &[]);
        let (upper, lower) =
            (Tap::open(&relayed.agent, "up0"), Tap::open(&relayed.lab.client, "cli0"));
        let _agent = Agent::start(&relayed, program);
        lab.write("dhclient.leases", REMEMBERED);
        let mut client = Client::start(lab, Kind::Dhclient);

        let reboot = next(&lower, REQUEST);
        assert_eq!(reboot.requested(), Some(Ipv4Addr::new(192, 0, 2, 150)), "{reboot:?}");
        let nak = next(&lower, NAK);
        assert_eq!((nak.xid, nak.is_broadcast()), (reboot.xid, true), "{nak:?}");
        let offer = next(&lower, OFFER);
        let ack = next(&lower, ACK);
        for answer in [&nak, &offer, &ack] {
            assert!(!answer.options.contains_key(&82), "{answer:?}");
        }
        let (address, told) = client.bound();
        assert_eq!((address, told["domain"].as_str()), (ack.yiaddr, "behind.example"));
        assert_eq!(address.octets()[..3], AGENT.octets()[..3]);
        route(lab);

        // T1: around the agent, which has no part in it.
        let renewal = next(&lower, REQUEST);
        assert!(renewal.is_extension(address) && renewal.to == server(), "{renewal:?}");
        let ack = answer(&lower, &renewal, Ipv4Addr::UNSPECIFIED);
        assert_eq!((ack.kind, ack.from, ack.to), (ACK, server(), address));
        client.bound();

        // The server does not hear it.
        lab.deafen_to(address);
        let mut request = next(&lower, REQUEST);
        assert!(request.is_extension(address) && request.to == server(), "{request:?}");
        if !matches!(program, Program::Dhcrelay(_)) {
            // T2: by the agent. ISC's has overheard the renewal already, and relays that.
            for _ in 0..20 {
                request = if request.is_broadcast() { break } else { next(&lower, REQUEST) };
            }
            assert!(request.is_extension(address) && request.is_broadcast(), "{request:?}");
        }
        assert_eq!(answer(&lower, &request, AGENT).kind, ACK);
        assert_eq!(client.bound().0, address);

        lab.hear_all();
        client.release(lab);
        dhcpd.wait_for(&format!("DHCPRELEASE of {address} from "));
        dhcpd.wait_for(&format!("Released lease for IP address {address}"));
        let seen: Vec<Message> = passed(&upper).iter().map(Message::of).collect();
        check_upper(program, &seen);
    });
}

/// Every client gets on with every agent.
#[test]
fn every_client_behind_every_agent() {
    side_by_side(&AGENTS, |program| {
        let relayed = Relayed::new();
        let lab = &relayed.lab;
        let mut dhcpd = Dhcpd::start(lab, CONFIG, &[]);
        let _agent = Agent::start(&relayed, program);
        for kind in ALL {
            let mut client = Client::start(lab, kind);
            let (address, told) = client.bound();
            assert_eq!(told["domain"], "behind.example", "{kind:?}");
            let log = dhcpd.wait_for(&format!("DHCPACK on {address} to "));
            assert!(log.ends_with(&format!(" via {AGENT}")), "{log}");
            until("the client has it", LIMIT, || lab.held() == [address]);
            route(lab);
            client.release(lab);
            dhcpd.wait_for(&format!("Released lease for IP address {address}"));
        }
    });
}

/// An agent nearer to the client has said its part already: ISC's adds another to it, or puts its own
/// in its place. Whatever comes is what the nearer agent gets back.
#[test]
fn option_82_of_two_agents() {
    side_by_side(&[APPEND, REPLACE], |program| {
        let relayed = Relayed::new();
        let _dhcpd = Dhcpd::start(&relayed.lab, CONFIG, &[]);
        let _agent = Agent::start(&relayed, program);
        let nearer = Ipv4Addr::new(198, 51, 100, 2);
        relayed.lab.client.run(&format!("ip addr add {nearer}/24 dev cli0"));
        route(&relayed.lab);
        let upper = Tap::open(&relayed.agent, "up0");
        let relay = Relay::at(&relayed.lab.client, nearer).to(AGENT);
        let inner = b"\x01\x04port\x02\x06switch";
        let packet =
            |kind| Packet::new(kind, [2, 0, 0, 0, 9, 1], 77).option(82, inner).option(61, b"me");
        relay.send(packet(DISCOVER));
        let offer = relay.receive(77);
        relay.send(
            packet(REQUEST).option(50, &offer.yiaddr.octets()).option(54, &offer.options[&54]),
        );
        let ack = relay.receive(77);
        assert_eq!((offer.kind, ack.kind, ack.yiaddr), (OFFER, ACK, offer.yiaddr));
        let came = next(&upper, REQUEST);
        assert_eq!((came.giaddr, came.to), (nearer, server()), "{came:?}");
        let theirs = &came.options[&82];
        let (before, after) = theirs.split_at(if program == APPEND { inner.len() } else { 0 });
        assert_eq!(before, &inner[..before.len()]);
        assert!(after.starts_with(b"\x01\x05down0"), "{came:?}");
        for answer in [&offer, &ack] {
            assert_eq!(&answer.options[&82], theirs);
        }
    });
}
