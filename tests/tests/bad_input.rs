//! What nobody should send, over the real wire: nothing of it is answered that should not be, an
//! honest client is served right after each, and dhcpd is as it was when all of it is over.
//!
//! What our own processes may say to each other is the fuzz target `channel`; files are
//! `leasefiles` and `configuration`.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;
use tests::daemon::Dhcpd;
use tests::frame::mend;
use tests::hostile::{NEIGHBOUR, Wire, receivable, request};
use tests::lab::{Lab, SERVER};
use tests::process;
use tests::random::Random;
use tests::wire::{ACK, DECLINE, DISCOVER, INFORM, NAK, OFFER, Packet, RELEASE, REQUEST};

/// Room enough for every random packet that is an honest one by chance.
const CONFIG: &str = "
ping-check false;
shared-network wire {
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.199; }
    subnet 10.0.0.0 netmask 255.0.0.0 { range 10.0.0.1 10.255.255.254; }
}
";

/// A dhcpd that is watched.
struct Victim {
    lab: Lab,
    dhcpd: Dhcpd,
    wire: Wire,
    server: u32,
}

impl Victim {
    fn new() -> Victim {
        let lab = Lab::new();
        let dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
        let server = dhcpd.server();
        let mut wire = Wire::new(&lab);
        wire.settle("nothing");
        Victim { lab, dhcpd, wire, server }
    }

    /// A message that must not be answered, by each of the ways it may come.
    fn refuses(&mut self, what: &str, payload: &[u8]) {
        let frames = [
            self.wire.broadcast(payload),
            self.wire.unicast(payload, 68),
            self.wire.unicast(payload, 67),
        ];
        self.wire.refused(what, &frames);
    }

    /// Kilobytes in memory.
    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.server);
        let status = std::fs::read_to_string(path).expect("the server's status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    /// Clock ticks (hundredths of a second) that it has computed.
    fn ticks(&self) -> u64 {
        process::stat(self.server).expect("the server").ticks
    }

    /// The same processes as at first, and not busy with anything.
    fn ends_well(mut self) {
        self.wire.settle("all of it");
        assert_eq!(self.dhcpd.server(), self.server);
        let log = self.dhcpd.log();
        assert!(!log.contains("panicked") && !log.contains("overflow"), "{log}");
        let before = self.ticks();
        assert!(self.wire.is_silent(Duration::from_millis(300)), "an answer to nothing");
        assert!(self.ticks() - before <= 3, "it computes, and there is nothing to do");
        assert!(self.dhcpd.terminate().success());
        drop(self.lab);
    }
}

fn mac(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 7, a, b, c, d]
}

fn discover(number: u32) -> Packet {
    Packet::new(DISCOVER, mac(number), number)
}

/// One that the server would answer, with these options behind its type.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut packet = discover(1);
    packet.options.extend(options);
    packet.bytes()
}

#[test]
fn messages_cut_short_at_every_length() {
    let mut victim = Victim::new();
    let whole = discover(1).option(12, b"name").option(55, &[1, 3, 6]).bytes();
    let end = whole.iter().rposition(|byte| *byte == 255).expect("an end");
    for length in 0..end {
        // Without its end a message is whole all the same, if an option ends there.
        let cut = &whole[..length];
        if request(cut).is_none() {
            victim.refuses(&format!("a message cut to {length} bytes"), cut);
        }
    }
    victim.ends_well();
}

#[test]
fn frames_that_lie_about_their_lengths_or_kind() {
    let mut victim = Victim::new();
    let payload = discover(2).bytes();
    for good in [victim.wire.broadcast(&payload), victim.wire.unicast(&payload, 67)] {
        for length in 14..good.len() {
            if length % 7 == 0 || length < 60 || length > good.len() - 20 {
                victim
                    .wire
                    .refused(&format!("a frame cut to {length} bytes"), &[good[..length].to_vec()]);
            }
        }
        let changes: &[(&str, usize, &[u8])] = &[
            ("ARP", 12, &[8, 6]),
            ("IPv6 by the frame", 12, &[0x86, 0xdd]),
            ("IP version 6", 14, &[0x65]),
            ("IP version 0", 14, &[0x05]),
            ("an IP header of 16 bytes", 14, &[0x44]),
            ("an IP header of no bytes", 14, &[0x40]),
            ("an IP header of 60 bytes", 14, &[0x4f]),
            ("an IP length of 0", 16, &[0, 0]),
            ("an IP length of 19", 16, &[0, 19]),
            ("an IP length of 27", 16, &[0, 27]),
            ("an IP length in the middle", 16, &[1, 0]),
            ("an IP length beyond the frame", 16, &[1, 200]),
            ("the longest IP length", 16, &[255, 255]),
            ("a first fragment", 20, &[0x20, 0]),
            ("a later fragment", 20, &[0, 1]),
            ("a last fragment", 20, &[0x1f, 0xff]),
            ("TCP", 23, &[6]),
            ("ICMP", 23, &[1]),
            ("to another port", 36, &[0, 68]),
            ("a UDP length of 0", 38, &[0, 0]),
            ("a UDP length of 7", 38, &[0, 7]),
            ("a UDP length of 8", 38, &[0, 8]),
            ("a UDP length in the middle", 38, &[0, 100]),
            ("a UDP length beyond IP's", 38, &[1, 60]),
            ("the longest UDP length", 38, &[255, 255]),
        ];
        for (what, at, bytes) in changes {
            let mut frame = good.clone();
            frame[*at..*at + bytes.len()].copy_from_slice(bytes);
            // The UDP checksum must not be what saves it.
            frame[40..42].fill(0);
            if *at >= 14 {
                mend(&mut frame);
            }
            victim.wire.refused(what, &[frame]);
        }
        for (what, at) in [("a wrong IP checksum", 24), ("a wrong UDP checksum", 40)] {
            let mut frame = good.clone();
            frame[at] ^= 0x10;
            victim.wire.refused(what, &[frame]);
        }
        let mut frame = good.clone();
        frame[..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
        victim.wire.refused("to another machine", &[frame]);
        let mut frame = good.clone();
        frame.splice(12..12, [0x81, 0, 0, 7]);
        victim.wire.refused("of another VLAN", &[frame]);
        // The judge and the server agree that what these were made of is good.
        victim.wire.send(&good);
        victim.wire.settle("a good frame");
        let mut unsummed = good.clone();
        unsummed[40..42].fill(0);
        victim.wire.send(&unsummed);
        victim.wire.settle("a good frame without a checksum");
    }
    assert_eq!(victim.wire.answered, 4);
    victim.ends_well();
}

#[test]
fn fragments_and_giants() {
    let mut victim = Victim::new();
    let whole = victim.wire.broadcast(&discover(3).bytes());
    let (mut first, mut rest) = (whole[..14 + 20 + 160].to_vec(), whole[..34].to_vec());
    rest.extend(&whole[14 + 20 + 160..]);
    for (frame, offset) in [(&mut first, [0x20, 0]), (&mut rest, [0, 20])] {
        let length = u16::try_from(frame.len() - 14).expect("a length");
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[20..22].copy_from_slice(&offset);
        mend(frame);
    }
    for (what, frames) in [
        ("a message in two parts", vec![first.clone(), rest.clone()]),
        ("the second part first", vec![rest, first.clone()]),
        ("a first part, many times", vec![first; 50]),
    ] {
        victim.wire.refused(what, &frames);
    }
    // Good messages with a long tail, and tails of options, up to what IP can carry.
    let socket = victim.lab.client.within(|| {
        let socket = UdpSocket::bind((NEIGHBOUR, 67)).expect("port 67");
        socket.set_broadcast(true).expect("broadcast");
        socket
    });
    for (number, length) in [(4, 4097), (5, 9000), (6, 65_507)] {
        let mut padded = discover(number).bytes();
        padded.resize(length, 0);
        let mut full = discover(number).header.to_vec();
        full.extend([53, 1, DISCOVER]);
        while full.len() + 257 <= length {
            full.extend([224, 255]);
            full.extend([7; 255]);
        }
        full.resize(length, 0);
        for message in [padded, full] {
            for dest in [SERVER, "255.255.255.255"] {
                socket.send_to(&message, (dest, 67)).expect("send");
            }
            victim.wire.settle(&format!("a message of {length} bytes"));
        }
    }
    assert_eq!(victim.wire.answered, 0);
    victim.ends_well();
}

#[test]
fn messages_that_are_no_requests() {
    let mut victim = Victim::new();
    let good = discover(7).option(12, b"name");
    let changed = |at: usize, value: u8| {
        let mut bytes = good.bytes();
        bytes[at] = value;
        bytes
    };
    for op in [0, 2, 3, 4, 129, 255] {
        victim.refuses(&format!("op {op}"), &changed(0, op));
    }
    for hlen in [17, 18, 32, 128, 255] {
        victim.refuses(&format!("hlen {hlen}"), &changed(2, hlen));
    }
    victim.refuses("nobody's message", &changed(2, 0));
    for at in 236..240 {
        victim.refuses("another cookie", &changed(at, 98));
    }
    for kind in [0, OFFER, DECLINE, ACK, NAK, RELEASE, 9, 10, 18, 128, 255] {
        victim.refuses(&format!("message type {kind}"), &changed(242, kind));
    }
    // What another server, or we ourselves, would answer: op says what it is.
    for kind in [OFFER, ACK, NAK] {
        let mut reply =
            Packet::new(kind, mac(8), 8).option(54, &[192, 0, 2, 1]).option(51, &[0, 0, 2, 88]);
        reply.header[0] = 2;
        reply.header[16..20].copy_from_slice(&[192, 0, 2, 150]);
        victim.refuses("another server's answer", &reply.bytes());
        reply.header[0] = 1;
        victim.refuses("an answer that says it is a request", &reply.bytes());
    }
    // Strange but not wrong: no crash, and no answer but a right one.
    for (htype, hlen) in [(0, 6), (6, 6), (32, 6), (255, 6), (1, 1), (1, 16), (32, 0), (32, 16)] {
        let mut bytes = good.clone().option(61, b"strange").bytes();
        bytes[1..3].copy_from_slice(&[htype, hlen]);
        for frame in [victim.wire.broadcast(&bytes), victim.wire.unicast(&bytes, 68)] {
            victim.wire.send(&frame);
            victim.wire.settle(&format!("htype {htype}, hlen {hlen}"));
        }
    }
    victim.ends_well();
}

#[test]
fn options_that_make_no_sense() {
    let mut victim = Victim::new();
    let full_of = |code: u8| [&[code, 255][..], &[1; 255]].concat();
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for code in 1..255u8 {
        cases
            .push((format!("option {code} that ends behind the packet"), vec![code, 255, 1, 2, 3]));
    }
    for (what, options) in [
        ("a code without a length", vec![12]),
        ("type twice", vec![53, 1, DISCOVER]),
        ("type empty and again", vec![53, 0, 53, 1, REQUEST]),
        ("overload of nothing", vec![52, 0]),
        ("overload 4", vec![52, 1, 4]),
        ("overload 255", vec![52, 1, 255]),
        ("overload of two bytes", vec![52, 2, 1, 1]),
        ("overload twice", vec![52, 1, 1, 52, 1, 1]),
        ("an identifier of 256 bytes", [&full_of(61)[..], &[61, 1, 7]].concat()),
        ("an identifier of 1020 bytes", full_of(61).repeat(4)),
    ] {
        cases.push((what.to_owned(), options));
    }
    for (what, options) in cases {
        let mut bytes = with_options(&options);
        // Nothing behind it that could be its value.
        bytes.truncate(243 + options.len());
        victim.refuses(&what, &bytes);
    }
    // The fields that overload makes options of: one that runs over, and one that changes the type.
    let fields: [(&str, u8, usize, &[u8]); 5] = [
        ("file that runs over", 1, 108, &[12, 200]),
        ("sname that runs over", 2, 44, &[12, 63]),
        ("file that runs over, both read", 3, 108 + 126, &[12, 1]),
        ("a second type in file", 1, 108, &[53, 1, REQUEST, 255]),
        ("a second type in sname", 3, 44, &[53, 1, REQUEST, 255]),
    ];
    for (what, overload, at, bytes) in fields {
        let mut message = with_options(&[52, 1, overload]);
        message[at..at + bytes.len()].copy_from_slice(bytes);
        victim.refuses(what, &message);
    }
    // Nonsense that leaves the message readable: served or not, but rightly.
    for options in [
        vec![52, 1, 0],
        vec![52, 1, 3],
        full_of(55),
        full_of(12),
        full_of(60),
        full_of(77).repeat(4),
        full_of(82).repeat(4),
        vec![82, 3, 1, 200, 7, 57, 2, 0, 0],
        vec![82, 6, 5, 200, 192, 0, 2, 7],
        vec![57, 2, 255, 255, 50, 3, 1, 2, 3, 51, 0, 54, 5, 1, 2, 3, 4, 5],
        vec![57, 1, 2, 51, 4, 0, 0, 0, 0],
        vec![51, 4, 255, 255, 255, 255, 12, 9, b'"', b';', b'\n', b'}', 0, 0x1b, b'[', b'A', b'\\'],
        vec![0; 1000],
    ] {
        for kind in [DISCOVER, REQUEST, DECLINE, RELEASE, INFORM] {
            let mut message = with_options(&options);
            message[242] = kind;
            message[12..16].copy_from_slice(&NEIGHBOUR.octets());
            for frame in [victim.wire.broadcast(&message), victim.wire.unicast(&message, 68)] {
                victim.wire.send(&frame);
            }
            victim.wire.settle(&format!("options {options:?} in type {kind}"));
        }
    }
    assert!(victim.wire.answered > 0);
    victim.ends_well();
}

/// How many packets between two looks at the honest client.
const WINDOW: usize = 250;

#[test]
fn a_hundred_thousand_random_packets() {
    let mut victim = Victim::new();
    let mut random = Random::new(0x7a6e_6465_6d00);
    let (memory, ticks) = (victim.memory(), victim.ticks());
    let mut readable = 0;
    for window in 0..100_000 / WINDOW {
        for _ in 0..WINDOW {
            let frame = random_frame(&mut random, &victim.wire);
            readable += usize::from(receivable(&frame, victim.wire.server_mac).is_some());
            victim.wire.send(&frame);
        }
        victim.wire.settle(&format!("window {window}"));
    }
    let (grown, used) = (victim.memory().saturating_sub(memory), victim.ticks() - ticks);
    println!(
        "{readable} messages, {} answers, {grown} kB more memory, {used} hundredths of a second",
        victim.wire.answered
    );
    assert!(readable > 60_000 && victim.wire.answered > 1000, "the packets are all alike");
    assert!(grown < 32 << 10, "{grown} kB");
    assert!(used < 3000, "{used} hundredths of a second");
    victim.ends_well();
}

fn some_bytes(random: &mut Random, most: u64) -> Vec<u8> {
    (0..random.below(most + 1)).map(|_| random.number() as u8).collect()
}

/// An honest message of any type from any of 2^16 clients, with a few options that are read.
fn honest(random: &mut Random) -> Packet {
    let kind = [DISCOVER, REQUEST, DECLINE, RELEASE, INFORM][random.below(5) as usize];
    let number = random.number() as u32;
    let mut packet = Packet::new(kind, mac(number & 0xffff), number);
    let address = Ipv4Addr::new(10, 0, random.number() as u8, random.number() as u8);
    if random.one_in(2) {
        packet = packet.option(50, &address.octets());
    }
    if random.one_in(4) {
        packet = packet.ciaddr(address);
    }
    if random.one_in(8) {
        packet = packet.giaddr(NEIGHBOUR);
    }
    if random.one_in(8) {
        packet = packet.broadcast();
    }
    for code in [12, 43, 51, 54, 55, 57, 60, 61, 77, 82] {
        if random.one_in(6) {
            packet = packet.option(code, &some_bytes(random, 60));
        }
    }
    packet
}

fn random_frame(random: &mut Random, wire: &Wire) -> Vec<u8> {
    let mut message = honest(random).bytes();
    let way = random.below(6);
    match way {
        0 => message = some_bytes(random, 1472),
        1 => {
            let options = some_bytes(random, 300);
            message.truncate(240);
            message.extend(options);
        }
        2 => {
            for _ in 0..=random.below(8) {
                let at = random.below(message.len() as u64) as usize;
                message[at] = random.number() as u8;
            }
        }
        3 => message.truncate(random.below(message.len() as u64) as usize),
        _ => {}
    }
    let mut frame = match random.below(3) {
        0 => wire.broadcast(&message),
        1 => wire.unicast(&message, 68),
        _ => wire.unicast(&message, 67),
    };
    if way == 5 {
        // Any bit of the headers, with or without a checksum that hides it.
        for _ in 0..=random.below(3) {
            let at = random.below(42) as usize;
            frame[at] ^= 1 << random.below(8);
        }
        if random.one_in(4) {
            // An answer to a ping, as the socket for these sees it.
            frame[23] = 1;
            frame[34..36].fill(0);
        }
        if random.one_in(2) {
            frame[40..42].fill(0);
            mend(&mut frame);
        }
        if random.one_in(4) {
            frame.truncate(14 + random.below(frame.len() as u64 - 14) as usize);
        }
    }
    frame
}
