//! Addresses in conflict, and hardware that changes: what the firewall's sets and the states of
//! connections make of it.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::{Ipv4Addr, UdpSocket};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, Namespace, SERVER};
use tests::leasefile::LeaseFile;
use tests::process::until;
use tests::wire::{ACK, DECLINE, DISCOVER, OFFER, Packet, REQUEST, Relay};

const TABLES: [&str; 6] = ["-A", "abandoned", "-C", "changed", "-L", "leased"];
const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const C: [u8; 6] = [2, 0, 0, 0, 0, 0xc];

fn config(more: &str) -> String {
    format!("{more}\nsubnet 192.0.2.0 netmask 255.255.255.0 {{ range 192.0.2.100 192.0.2.110; }}\n")
}

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// Has the server's side track connections.
fn track(lab: &Lab) {
    lab.server.nft(
        "add chain inet dhcpd input { type filter hook input priority 0; }; \
         add chain inet dhcpd output { type filter hook output priority 0; }; \
         add rule inet dhcpd input ct state established counter; \
         add rule inet dhcpd output ct state established counter",
    );
}

/// Gives the client's side an address, and has each side begin a conversation with the other.
fn converse(lab: &Lab, address: Ipv4Addr) {
    lab.client.run(&format!("ip addr replace {address}/24 dev cli0"));
    let server: Ipv4Addr = SERVER.parse().expect("an address");
    let bind = |space: &Namespace, address: Ipv4Addr| {
        space.within(move || UdpSocket::bind((address, 0)).expect("bind"))
    };
    for asks_first in [true, false] {
        let (there, here) = (bind(&lab.client, address), bind(&lab.server, server));
        let (from, to) = if asks_first { (&there, &here) } else { (&here, &there) };
        for socket in [from, to] {
            socket.set_read_timeout(Some(LIMIT)).expect("set a time limit");
        }
        from.send_to(b"?", to.local_addr().expect("its address")).expect("send");
        let (_, asker) = to.recv_from(&mut [0; 8]).expect("a question");
        to.send_to(b"!", asker).expect("send");
        from.recv_from(&mut [0; 8]).expect("an answer");
    }
    assert_eq!(states(lab, "-s", address), 1, "from it");
    assert_eq!(states(lab, "-d", address), 1, "to it");
}

/// How many UDP conversations there are from (`-s`) or to (`-d`) an address.
fn states(lab: &Lab, side: &str, address: Ipv4Addr) -> usize {
    lab.server.run(&format!("conntrack -L -p udp {side} {address}")).lines().count()
}

/// All that is left of an address that was just found to be in conflict, and that nothing else was
/// touched.
fn check_abandoned(lab: &Lab, address: Ipv4Addr, bystander: Ipv4Addr) {
    until("it is in the abandoned set", LIMIT, || lab.server.set("abandoned") == [address]);
    assert!(!lab.server.set("leased").contains(&address));
    until("its states are gone", LIMIT, || {
        states(lab, "-s", address) + states(lab, "-d", address) == 0
    });
    assert_eq!(states(lab, "-s", bystander), 1);
    assert_eq!(states(lab, "-d", bystander), 1);
    let path = lab.path("leases");
    until("it is abandoned in the lease file", LIMIT, || {
        LeaseFile::read(&path).leases.get(&address).is_some_and(|lease| lease.abandoned)
    });
    assert_eq!(LeaseFile::read(&path).holder(address), None);
}

#[test]
fn an_address_that_answers_a_ping_is_not_given_out() {
    let lab = Lab::new();
    lab.make_sets();
    track(&lab);
    let relay = Relay::new(&lab);
    let (taken, bystander) = (host(100), host(200));
    converse(&lab, taken);
    converse(&lab, bystander);
    let mut dhcpd = Dhcpd::start(&lab, &config(""), &TABLES);

    relay.send(Packet::new(DISCOVER, A, 1));
    dhcpd.wait_for("Abandoning IP address 192.0.2.100 for 43200 seconds: pinged before offer");
    check_abandoned(&lab, taken, bystander);

    // Nobody heard of it; who asks again gets the next.
    assert_eq!(relay.lease(A, 2), host(101));
    until("only that is leased", LIMIT, || lab.server.set("leased") == [host(101)]);
    assert!(!dhcpd.log().contains("DHCPOFFER on 192.0.2.100"));

    // It stays so when dhcpd is started again.
    assert!(dhcpd.terminate().success());
    lab.server.nft("flush set inet dhcpd abandoned");
    let _dhcpd = Dhcpd::start(&lab, &config(""), &TABLES);
    until("it is in the set again", LIMIT, || lab.server.set("abandoned") == [taken]);
    assert_eq!(lab.server.set("leased"), [host(101)]);
}

#[test]
fn an_address_that_its_client_declines_is_not_given_out() {
    let lab = Lab::new();
    lab.make_sets();
    track(&lab);
    let relay = Relay::new(&lab);
    let bystander = host(200);
    let mut dhcpd = Dhcpd::start(&lab, &config("ping-check false;"), &TABLES);
    let declined = relay.lease(A, 1);
    until("it is leased", LIMIT, || lab.server.set("leased") == [declined]);
    converse(&lab, declined);
    converse(&lab, bystander);

    // it is not for somebody else to say.
    let decline = |mac| {
        let packet = Packet::new(DECLINE, mac, 2).option(50, &declined.octets());
        relay.send(packet.option(54, &[192, 0, 2, 1]));
    };
    decline(B);
    dhcpd.wait_for(&format!("DHCPDECLINE on {declined} from 02:00:00:00:00:0b via 192.0.2.2"));
    assert_eq!(relay.lease(B, 3), host(101));
    until("what came after it", LIMIT, || lab.server.set("leased") == [declined, host(101)]);
    assert!(lab.server.set("abandoned").is_empty());

    decline(A);
    dhcpd.wait_for(&format!("DHCPDECLINE on {declined} from 02:00:00:00:00:0a via 192.0.2.2"));
    dhcpd.wait_for(&format!("Abandoning IP address {declined} for 43200 seconds: declined."));
    check_abandoned(&lab, declined, bystander);
    assert_eq!(relay.lease(A, 4), host(102));
    until("the others are leased", LIMIT, || lab.server.set("leased") == [host(101), host(102)]);
}

#[test]
fn an_abandoned_address_is_tried_again_when_there_is_no_other() {
    let lab = Lab::new();
    lab.make_sets();
    let relay = Relay::new(&lab);
    let config = "ping-check false; default-lease-time 1;\n\
        subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100; }\n";
    let mut dhcpd = Dhcpd::start(&lab, config, &TABLES);
    let address = relay.lease(A, 1);
    relay.send(Packet::new(DECLINE, A, 2).option(50, &address.octets()));
    until("it is abandoned", LIMIT, || lab.server.set("abandoned") == [address]);
    relay.send(Packet::new(DISCOVER, B, 3));
    dhcpd.wait_for("no free leases on subnet 192.0.2.0");
    assert_eq!(lab.server.set("abandoned"), [address]);
    // It is kept away for a second.
    let mut offer = None;
    until("somebody gets it", LIMIT, || {
        relay.send(Packet::new(DISCOVER, B, 4));
        offer = relay.try_receive(std::time::Duration::from_millis(100));
        offer.is_some()
    });
    assert_eq!(offer.map(|offer| (offer.kind, offer.yiaddr)), Some((OFFER, address)));
    dhcpd.wait_for("Reclaiming abandoned IP address 192.0.2.100.");
    until("it is not in conflict any more", LIMIT, || {
        lab.server.set("abandoned").is_empty() && lab.server.set("leased") == [address]
    });
}

#[test]
fn a_lease_that_moves_to_other_hardware_leaves_the_changed_set() {
    let lab = Lab::new();
    lab.make_sets();
    let relay = Relay::new(&lab);
    let _dhcpd = Dhcpd::start(&lab, &config("ping-check false;"), &TABLES);
    let mut xid = 0;
    // A client that is known by its identifier and asks for the address it has.
    let mut ask = |mac, address: Ipv4Addr| {
        xid += 1;
        let packet = Packet::new(REQUEST, mac, xid).option(50, &address.octets());
        relay.send(packet.option(61, b"laptop"));
        let ack = relay.receive(xid);
        assert_eq!((ack.kind, ack.yiaddr), (ACK, address));
    };
    let (address, other) = (host(105), host(66));
    ask(A, address);
    until("it is leased", LIMIT, || lab.server.set("leased") == [address]);
    // As rules fill it, for one.
    lab.server.nft("add element inet dhcpd changed { 192.0.2.66, 192.0.2.105 }");
    ask(A, address);
    // What became of the renewal is known when what came after it has arrived.
    let next = relay.lease(C, 1000);
    until("the next is leased", LIMIT, || lab.server.set("leased").contains(&next));
    assert_eq!(lab.server.set("changed"), [other, address], "the hardware is the same");
    ask(B, address);
    until("it leaves the set", LIMIT, || lab.server.set("changed") == [other]);
    assert_eq!(lab.server.set("leased"), [next, address]);
    assert_eq!(LeaseFile::read(&lab.path("leases")).holder(address), Some(B));
}
