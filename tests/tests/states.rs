//! Real clients in every state of RFC 2131's diagram (section 4.4, figure 5), as the wire shows it:
//! what they say is what the state makes them say, and dhcpd answers it as sections 4.3.1 to 4.3.5
//! have it.
//!
//! | State | dhclient | dhcpcd | udhcpc | networkd |
//! |---|---|---|---|---|
//! | INIT to BOUND, RENEWING, REBINDING | yes | yes | yes | yes |
//! | INIT-REBOOT | started again | started again | none: asks in DISCOVER | plugged in again |
//! | moved to another network: NAK | yes | yes | while REBINDING | yes |
//! | DECLINE | its script looks | yes | `-a` | no |
//! | RELEASE | yes | yes | yes | yes |
//! | INFORM | has none | yes | has none | has none for IPv4 |
//!
//! networkd 252 sends DECLINE by a socket without a route, from an interface that has no address yet
//! (ENETUNREACH), and without the address that it means.
//!
//! All clients are side by side, each in a lab of its own: what takes long is their patience.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::Ipv4Addr;
use tests::client::{ALL, Client, Habits, Kind, side_by_side};
use tests::daemon::{Dhcpd, LIMIT};
use tests::frame::Tap;
use tests::lab::{Lab, SERVER};
use tests::leasefile::LeaseFile;
use tests::message::Message;
use tests::process::until;
use tests::wire::{ACK, DECLINE, DISCOVER, INFORM, NAK, OFFER, RELEASE, REQUEST};

/// The shortest lease that dhcpd gives is of 15 seconds: T1 is after 8 here, T2 after 14.
const SHORT: u32 = 16;
const LONG: u32 = 600;

/// On the same wire, another network.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn config(lease: u32) -> String {
    format!(
        "ping-check false;\ndefault-lease-time {lease};\noption domain-name \"example.net\";\n\
         subnet 192.0.2.0 netmask 255.255.255.0 {{ range 192.0.2.100 192.0.2.199; }}\n"
    )
}

/// Server, wire, and room for a client.
struct Net {
    dhcpd: Dhcpd,
    wire: Tap,
    // Last: with it ends whoever is left in it.
    lab: Lab,
}

impl Net {
    fn new(lease: u32) -> Self {
        let lab = Lab::new();
        let dhcpd = Dhcpd::start(&lab, &config(lease), &[]);
        let wire = Tap::open(&lab.client, "cli0");
        Net { lab, dhcpd, wire }
    }

    /// The next message of this type on the wire.
    fn next(&self, kind: u8) -> Message {
        Message::of(&self.wire.wait(LIMIT, |d| Message::of(d).kind == kind))
    }

    /// The next two, of which the second answers the first; whatever is said between, it is not said
    /// by the server.
    fn exchange(&self, asked: u8, answered: u8) -> (Message, Message) {
        let first = Message::of(&self.wire.wait(LIMIT, |d| {
            let message = Message::of(d);
            assert!(!message.answer, "{message:?} before a message of type {asked}");
            message.kind == asked
        }));
        let answer = Message::of(&self.wire.wait(LIMIT, |d| Message::of(d).answer));
        assert_eq!((answer.kind, answer.xid), (answered, first.xid), "{answer:?} to {first:?}");
        (first, answer)
    }

    /// From nothing to a lease, as the wire shows it: INIT, SELECTING, REQUESTING.
    fn selects(&self) -> Ipv4Addr {
        let (discover, offer) = self.exchange(DISCOVER, OFFER);
        assert!(discover.is_broadcast() && discover.ciaddr.is_unspecified(), "{discover:?}");
        assert!(discover.server().is_none(), "{discover:?}");
        let (request, ack) = self.exchange(REQUEST, ACK);
        assert!(request.is_broadcast() && request.ciaddr.is_unspecified(), "{request:?}");
        assert_eq!(request.server(), Some(server()));
        assert_eq!(request.requested(), Some(offer.yiaddr));
        assert_eq!((ack.yiaddr, ack.server()), (offer.yiaddr, Some(server())));
        ack.yiaddr
    }

    /// The client has this address and no other.
    fn holds(&self, address: Ipv4Addr) {
        until("the client's interface has the address", LIMIT, || self.lab.held() == [address]);
    }

    /// When the lease ends, as the file has it: later times are greater.
    fn ends(&self, address: Ipv4Addr) -> String {
        let file = LeaseFile::read(&self.lab.path("leases"));
        let ends = &file.leases[&address].ends;
        ends.split_once(' ').expect("a day of the week").1.to_owned()
    }
}

/// Has a client begin again with what it remembers: one with a file in a process of its own, networkd,
/// which forgets, when its wire is plugged in again.
fn begin_again(lab: &Lab, kind: Kind, client: Client) -> Client {
    if kind == Kind::Networkd {
        lab.replug();
        return client;
    }
    drop(client);
    Client::start(lab, kind)
}

fn server() -> Ipv4Addr {
    SERVER.parse().expect("an address")
}

#[test]
fn bound_and_renewing() {
    side_by_side(&ALL, |kind| {
        let net = Net::new(SHORT);
        let mut client = Client::start(&net.lab, kind);
        let address = net.selects();
        // Before the client says so: some look for a while whether nobody has it, and renew then.
        let ends = net.ends(address);
        assert_eq!(client.bound().0, address);
        net.holds(address);
        // T1: to the server alone, from the address, which is answered there.
        let (request, ack) = net.exchange(REQUEST, ACK);
        assert!(request.is_extension(address), "{request:?}");
        assert_eq!((request.from, request.to), (address, server()));
        assert_eq!((ack.from, ack.to, ack.yiaddr), (server(), address, address));
        assert!(ack.options.contains_key(&51), "{ack:?}");
        client.bound();
        assert!(net.ends(address) > ends, "{} is no later than {ends}", net.ends(address));
        net.holds(address);
    });
}

#[test]
fn rebinding() {
    side_by_side(&ALL, |kind| {
        let net = Net::new(SHORT);
        let mut client = Client::start(&net.lab, kind);
        let address = net.selects();
        let ends = net.ends(address);
        client.bound();
        net.lab.deafen_to(address);
        let renewal = net.next(REQUEST);
        assert!(renewal.is_extension(address) && renewal.to == server(), "{renewal:?}");
        // T2: to everybody. Nothing of the server's is on the wire before.
        let mut request = net.next(REQUEST);
        while request.to == server() {
            request = net.next(REQUEST);
        }
        assert!(request.is_extension(address) && request.is_broadcast(), "{request:?}");
        let ack = net.next(ACK);
        assert_eq!((ack.to, ack.yiaddr), (address, address));
        client.bound();
        assert!(net.ends(address) > ends, "{} is no later than {ends}", net.ends(address));
        net.holds(address);
        let log = net.dhcpd.log();
        assert_eq!(log.matches("DHCPDISCOVER").count(), 1, "{log}");
    });
}

#[test]
fn init_reboot() {
    side_by_side(&[Kind::Dhclient, Kind::Dhcpcd, Kind::Networkd], |kind| {
        let net = Net::new(LONG);
        let mut client = Client::start(&net.lab, kind);
        let address = net.selects();
        client.bound();
        net.holds(address);
        let mut client = begin_again(&net.lab, kind, client);
        let (request, ack) = net.exchange(REQUEST, ACK);
        assert_eq!((request.requested(), request.server()), (Some(address), None), "{request:?}");
        assert!(request.is_broadcast() && request.ciaddr.is_unspecified(), "{request:?}");
        assert_eq!(ack.yiaddr, address);
        assert_eq!(client.bound().0, address);
        net.holds(address);
    });
}

/// udhcpc keeps nothing. What it is told to ask for, it asks for from the beginning.
#[test]
fn a_client_without_a_memory_asks_in_its_discover() {
    let net = Net::new(LONG);
    let wants = Some(Ipv4Addr::new(192, 0, 2, 142));
    let habits = Habits { wants, ..Habits::default() };
    let mut client = Client::start_with(&net.lab, Kind::Udhcpc, &habits);
    let (discover, offer) = net.exchange(DISCOVER, OFFER);
    assert_eq!((discover.requested(), Some(offer.yiaddr)), (wants, wants));
    assert_eq!(Some(client.bound().0), wants);
}

/// Where it is not known what the client has, it is told so and begins anew.
#[test]
fn moved_to_another_network() {
    side_by_side(&ALL, |kind| {
        let Net { lab, dhcpd, wire } = Net::new(LONG);
        let mut client = Client::start(&lab, kind);
        let (old, _) = client.bound();
        until("it has the address", LIMIT, || lab.held() == [old]);
        assert!(dhcpd.terminate().success());
        lab.server.run("ip addr flush dev srv0");
        lab.server.run(&format!("ip addr add {ELSEWHERE}/24 dev srv0"));
        let config = config(LONG).replace("192.0.2.", "198.51.100.");
        let dhcpd = Dhcpd::start(&lab, &config, &[]);
        let net = Net { lab, dhcpd, wire };
        while net.wire.next(std::time::Duration::from_millis(1)).is_some() {}
        match kind {
            // RENEWING and REBINDING in one: nobody is there to renew with.
            Kind::Udhcpc => client.renew(),
            _ => client = begin_again(&net.lab, kind, client),
        }
        let nak = net.next(NAK);
        assert!(nak.is_broadcast() && nak.yiaddr.is_unspecified(), "{nak:?}");
        assert_eq!(nak.server(), Some(ELSEWHERE));
        assert!(!nak.options.contains_key(&51), "{nak:?}");
        let ack = net.next(ACK);
        assert_eq!(ack.yiaddr.octets()[..3], ELSEWHERE.octets()[..3]);
        assert_eq!(client.bound().0, ack.yiaddr);
        net.holds(ack.yiaddr);
        let line = format!("DHCPNAK on {old} to ");
        until("the refusal is logged", LIMIT, || net.dhcpd.log().contains(&line));
    });
}

#[test]
fn declining() {
    side_by_side(&[Kind::Udhcpc, Kind::Dhclient, Kind::Dhcpcd], |kind| {
        let mut net = Net::new(LONG);
        let taken = Ipv4Addr::new(192, 0, 2, 100);
        net.lab.occupy(taken);
        let habits = Habits { looks: true, ..Habits::default() };
        let mut client = Client::start_with(&net.lab, kind, &habits);
        let decline = net.next(DECLINE);
        assert_eq!((decline.requested(), decline.server()), (Some(taken), Some(server())));
        assert!(decline.ciaddr.is_unspecified() && decline.is_broadcast(), "{decline:?}");
        net.dhcpd.wait_for(&format!("DHCPDECLINE on {taken} from "));
        net.dhcpd.wait_for(&format!("Abandoning IP address {taken} for {LONG} seconds: declined."));
        let other = net.next(ACK).yiaddr;
        assert_ne!(other, taken);
        until("it has another one", LIMIT, || client.bound().0 == other);
        net.holds(other);
        let file = LeaseFile::read(&net.lab.path("leases"));
        assert!(file.leases[&taken].abandoned && !file.leases[&other].abandoned);
    });
}

#[test]
fn releasing() {
    side_by_side(&ALL, |kind| {
        let mut net = Net::new(LONG);
        let mut client = Client::start(&net.lab, kind);
        let (address, _) = client.bound();
        net.holds(address);
        client.release(&net.lab);
        let release = net.next(RELEASE);
        // networkd leaves out what section 4.4.6 has it say.
        let named = (kind != Kind::Networkd).then(server);
        assert_eq!((release.ciaddr, release.server()), (address, named));
        assert_eq!((release.to, release.requested()), (server(), None), "{release:?}");
        net.dhcpd.wait_for(&format!("Released lease for IP address {address}"));
        assert!(net.lab.held().is_empty(), "{:?}", net.lab.held());
    });
}

#[test]
fn informing() {
    let mut net = Net::new(LONG);
    let own = Ipv4Addr::new(192, 0, 2, 50);
    // dhcpcd 9.4.1 dies of doing this without a look at the wire.
    let habits = Habits { informs: Some(own), looks: true, ..Habits::default() };
    let mut client = Client::start_with(&net.lab, Kind::Dhcpcd, &habits);
    let (inform, ack) = net.exchange(INFORM, ACK);
    assert_eq!((inform.ciaddr, inform.requested(), inform.server()), (own, None, None));
    assert_eq!((ack.to, ack.yiaddr, ack.ciaddr), (own, Ipv4Addr::UNSPECIFIED, own));
    for time in [51, 58, 59] {
        assert!(!ack.options.contains_key(&time), "{ack:?}");
    }
    assert_eq!(client.event(&["INFORM"])["domain"], "example.net");
    net.holds(own);
    net.dhcpd.wait_for(&format!("DHCPINFORM from {own}"));
    let file = LeaseFile::read(&net.lab.path("leases"));
    assert!(file.leases.is_empty(), "{file:?}");
}

/// The server is killed and started again; nobody who is BOUND hears of it.
#[test]
fn bound_while_the_server_dies() {
    side_by_side(&ALL, |kind| {
        let Net { lab, dhcpd, wire } = Net::new(SHORT);
        let mut client = Client::start(&lab, kind);
        let (address, _) = client.bound();
        dhcpd.kill();
        let mut dhcpd = Dhcpd::start(&lab, &config(SHORT), &[]);
        dhcpd.wait_for(": 1 leases from ");
        while wire.next(std::time::Duration::from_millis(1)).is_some() {}
        let net = Net { lab, dhcpd, wire };
        let (request, ack) = net.exchange(REQUEST, ACK);
        assert!(request.is_extension(address) && request.to == server(), "{request:?}");
        assert_eq!((ack.to, ack.yiaddr), (address, address));
        client.bound();
        net.holds(address);
        assert!(!net.dhcpd.log().contains("DHCPDISCOVER"));
    });
}
