//! Lease synchronisation on real wires: two servers that lose, double and die, and OpenBSD's
//! datagrams as a few lines of this file make and read them.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::Lab;
use tests::leasefile::{LeaseFile, Record};
use tests::process::until;
use tests::sync::{Between, PORT, own_key, wire};
use tests::wire::{ACK, DECLINE, Packet, RELEASE, REQUEST, Relay};

const CONFIG: &str = "default-lease-time 3600;\nmax-lease-time 3600;\nping-check false;\n\
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.20 192.0.2.250; }\n";
const KEY: &[u8] = &[0x5a; 2048];
/// For what takes several turns over a bad wire.
const LONG: Duration = Duration::from_secs(60);

type Promises = BTreeMap<Ipv4Addr, [u8; 6]>;

fn mac(group: u8, number: u8) -> [u8; 6] {
    [2, 9, 0, 0, group, number]
}

/// Leases for these clients, each of an address that nobody else was promised.
fn lease(relay: &Relay, group: u8, numbers: std::ops::Range<u8>, promised: &mut Promises) {
    for number in numbers {
        let mac = mac(group, number);
        let address = relay.lease(mac, u32::from(group) << 8 | u32::from(number));
        let earlier = promised.insert(address, mac);
        assert_eq!(earlier.filter(|other| *other != mac), None, "{address} is given twice");
    }
}

/// A client asks a server for the address it has, until that is acknowledged.
fn keep(relay: &Relay, address: Ipv4Addr, mac: [u8; 6]) {
    until("a lease is known to the other server", LONG, || {
        relay.send(Packet::new(REQUEST, mac, 77).option(50, &address.octets()));
        let answer = relay.try_receive(Duration::from_millis(300));
        answer.is_some_and(|a| (a.kind, a.yiaddr, a.mac) == (ACK, address, mac))
    });
}

fn leases(lab: &Lab) -> BTreeMap<Ipv4Addr, Record> {
    LeaseFile::read(&lab.path("leases")).leases
}

/// Both lease files come to say the same, and what was promised is in them.
fn same(labs: [&Lab; 2], promised: &Promises) {
    let mut both = [BTreeMap::new(), BTreeMap::new()];
    let mut last = 0;
    until("both lease files say the same", LONG, || {
        both = labs.map(leases);
        last += 1;
        both[0] == both[1]
            && promised.iter().all(|(a, m)| both[0].get(a).is_some_and(|r| r.mac == Some(*m)))
    });
    assert!(both[0].len() >= promised.len());
}

/// What both go through, whatever the wire between them is.
fn story(labs: [&Lab; 2], flags: [&[&str]; 2]) {
    let relays = labs.map(Relay::new);
    let mut one = Dhcpd::start(labs[0], CONFIG, flags[0]);
    let mut other = Dhcpd::start(labs[1], CONFIG, flags[1]);
    one.wait_for("has the same");
    other.wait_for("has the same");

    let mut promised = Promises::new();
    for turn in 0..4 {
        lease(&relays[0], 1, turn * 10..turn * 10 + 10, &mut promised);
        lease(&relays[1], 2, turn * 10..turn * 10 + 10, &mut promised);
    }
    // Each answers for the other.
    for (address, mac) in promised.iter().step_by(7) {
        keep(&relays[usize::from(mac[4] == 1)], *address, *mac);
    }
    // What is given back, and what is in use by a stranger, is known to both.
    let server: Ipv4Addr = tests::lab::SERVER.parse().expect("an address");
    let mut over: Vec<Ipv4Addr> = Vec::new();
    for (address, mac) in promised.clone().into_iter().step_by(8) {
        let own = &relays[usize::from(mac[4] == 2)];
        let packet = Packet::new(RELEASE, mac, 5).ciaddr(address);
        own.send(packet.option(54, &server.octets()));
        promised.remove(&address);
        over.push(address);
    }
    let (stranger, mac) = promised.pop_first().expect("a lease");
    let packet = Packet::new(DECLINE, mac, 6).option(50, &stranger.octets());
    relays[usize::from(mac[4] == 2)].send(packet.option(54, &server.octets()));
    same(labs, &promised);
    until("an abandoned address is so on both", LONG, || {
        labs.iter().all(|lab| leases(lab).get(&stranger).is_some_and(|r| r.abandoned))
    });

    // One dies, the other goes on, and tells it afterwards.
    other.kill();
    lease(&relays[0], 3, 0..8, &mut promised);
    one.wait_for("is silent");
    lease(&relays[0], 3, 8..30, &mut promised);
    let mut other = Dhcpd::start(labs[1], CONFIG, flags[1]);
    other.wait_for("has the same");
    same(labs, &promised);
    let (address, mac) = promised.last_key_value().expect("a lease");
    keep(&relays[1], *address, *mac);
    lease(&relays[1], 4, 0..5, &mut promised);
    lease(&relays[0], 5, 0..5, &mut promised);
    same(labs, &promised);
    for log in [one.log(), other.log()] {
        assert!(!log.contains("Lease conflict"), "{log}");
    }
    assert!(one.terminate().success() && other.terminate().success());
    same(labs, &promised);
}

#[test]
fn two_servers_converge_though_datagrams_are_lost_and_doubled_and_one_is_killed() {
    let labs = [&Lab::new(), &Lab::new()];
    own_key(labs[0], Some(KEY));
    let between = Between::new(&labs[0].server, &labs[1].server, 4);
    let one = ["-Y", "10.77.0.2", "-y", "10.77.0.1", "srv0"];
    let other = ["-Y", "10.77.1.2", "-y", "10.77.1.1", "srv0"];
    story(labs, [&one, &other]);
    let (passed, lost) = (&between.passed, &between.lost);
    let (passed, lost) = (passed.load(Ordering::Relaxed), lost.load(Ordering::Relaxed));
    eprintln!("{passed} datagrams passed on, {lost} lost");
    assert!(passed > 50 && lost > 10);
}

#[test]
fn two_servers_converge_by_multicast() {
    let labs = [&Lab::new(), &Lab::new()];
    own_key(labs[0], Some(KEY));
    let (one, other) = (&labs[0].server, &labs[1].server);
    wire((one, "syn0", "10.77.2.1/24"), (other, "syn0", "10.77.2.2/24"));
    let flags = ["-Y", "syn0:2", "-y", "syn0", "srv0"];
    story(labs, [&flags, &flags]);
}

/// RFC 2104, over SHA-1.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 20] {
    let mut pads = [[0x36; 64], [0x5c; 64]];
    for pad in &mut pads {
        pad.iter_mut().zip(key).for_each(|(p, k)| *p ^= k);
    }
    let inner = Sha1::digest([&pads[0], text].concat());
    Sha1::digest([&pads[1], &inner[..]].concat()).into()
}

/// The key as OpenBSD's dhcpd uses it.
fn hex_key() -> Vec<u8> {
    let hash = Sha1::digest(KEY);
    hash.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// A datagram of 100 bytes about a lease, laid out by hand.
fn datagram(address: Ipv4Addr, mac: [u8; 6], starts: u32, ends: u32, key: &[u8]) -> Vec<u8> {
    let mut d = vec![0; 100];
    d[..4].copy_from_slice(&[1, 2, 0, 100]);
    d[32..36].copy_from_slice(&[0, 1, 0, 64]);
    for (at, time) in [(36, starts), (40, ends), (44, starts)] {
        d[at..at + 4].copy_from_slice(&time.to_be_bytes());
    }
    d[48] = 4;
    d[52..56].copy_from_slice(&address.octets());
    (d[68], d[69]) = (1, 6);
    d[70..76].copy_from_slice(&mac);
    d[96..].copy_from_slice(&[0, 0, 0, 4]);
    let code = hmac(key, &d);
    d[8..28].copy_from_slice(&code);
    d
}

fn now() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u32::try_from(since.expect("after 1970").as_secs()).expect("before 2106")
}

/// what OpenBSD's dhcpd sends by unicast is taken, and what it would take is sent.
#[test]
fn q20_openbsd_s_datagrams_are_taken_and_sent_by_unicast() {
    let lab = Lab::new();
    own_key(&lab, Some(KEY));
    let relay = Relay::new(&lab);
    let peer = lab.client.within(|| UdpSocket::bind(("192.0.2.2", PORT)).expect("a socket"));
    peer.set_read_timeout(Some(LIMIT)).expect("set a time limit");
    let flags = ["-Y", "192.0.2.2", "-y", "192.0.2.1", "srv0"];
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &flags);
    let told: Ipv4Addr = "192.0.2.77".parse().expect("an address");
    let (theirs, key) = (mac(7, 7), hex_key());
    let (from, to) = (now(), now() + 3000);

    let send = |bytes: &[u8]| {
        peer.send_to(bytes, ("192.0.2.1", PORT)).expect("send");
    };
    let forged: Ipv4Addr = "192.0.2.78".parse().expect("an address");
    send(&datagram(forged, mac(6, 6), from, to, b"another key"));
    send(&datagram(told, theirs, from, to, &key));
    until("a lease that was told is in the file", LIMIT, || {
        leases(&lab).get(&told).is_some_and(|record| record.mac == Some(theirs))
    });
    assert!(!leases(&lab).contains_key(&forged));
    // Its client is known here now, and somebody else is not given its address.
    relay.send(Packet::new(REQUEST, mac(8, 8), 1).option(50, &told.octets()));
    assert_ne!(relay.receive(1).kind, ACK);
    relay.send(Packet::new(REQUEST, theirs, 2).option(50, &told.octets()));
    assert_eq!(relay.receive(2).kind, ACK);

    // What we acknowledge is told, to the byte; our own form goes there too, and is no version 1.
    until("new clients are served", LIMIT, || {
        relay.send(Packet::new(REQUEST, mac(1, 1), 3).option(50, &[192, 0, 2, 99]));
        relay.try_receive(Duration::from_millis(300)).is_some_and(|a| a.kind == ACK)
    });
    let mut bytes = [0; 2000];
    let mut got = None;
    until("the lease is told", LIMIT, || {
        let (length, _) = peer.recv_from(&mut bytes).expect("a datagram");
        let ours = length == 100 && bytes[0] == 1 && bytes[52..56] == [192, 0, 2, 99];
        got = ours.then(|| bytes[..length].to_vec());
        ours
    });
    let got = got.expect("a datagram");
    let time = |at: usize| u32::from_be_bytes(got[at..at + 4].try_into().expect("four bytes"));
    let mut wanted = datagram([192, 0, 2, 99].into(), mac(1, 1), time(36), time(40), b"");
    wanted[4..8].copy_from_slice(&got[4..8]); // its counter
    wanted[8..28].fill(0);
    let code = hmac(&key, &wanted);
    wanted[8..28].copy_from_slice(&code);
    assert_eq!(got, wanted);
    assert_eq!(time(40) - time(36), 3600);

    // An older record of a lease is answered with ours.
    send(&datagram([192, 0, 2, 99].into(), mac(1, 1), from - 100, from + 100, &key));
    until("our newer lease is sent back", LIMIT, || {
        let (length, _) = peer.recv_from(&mut bytes).expect("a datagram");
        bytes[..length].get(40..44) == Some(&got[40..44]) && bytes[52..56] == got[52..56]
    });
    // What somebody else holds is not taken from it.
    send(&datagram([192, 0, 2, 99].into(), mac(9, 9), from, to + 9000, &key));
    dhcpd.wait_for(
        "Lease conflict at 192.0.2.99: 02:09:00:00:01:01 has it here, 02:09:00:00:09:09 by \
         another server; it is 02:09:00:00:01:01's",
    );
    assert_eq!(leases(&lab)[&Ipv4Addr::new(192, 0, 2, 99)].mac, Some(mac(1, 1)));
}
