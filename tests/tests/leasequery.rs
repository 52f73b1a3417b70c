//! A relay agent asks for leases (RFC 4388), over the wire and across a restart.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::net::Ipv4Addr;
use tests::daemon::{Dhcpd, LIMIT};
use tests::relayed::{AGENT, Relayed, UPWARD};
use tests::wire::{
    ACK, Answer, DISCOVER, LEASEACTIVE, LEASEQUERY, LEASEUNASSIGNED, LEASEUNKNOWN, Packet, REQUEST,
    Relay,
};

/// Leases by rapid commit, so that one message makes one.
const CONFIG: &str = "
ping-check false;
rapid-commit on;
default-lease-time 600;
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.199; }
subnet 198.51.100.0 netmask 255.255.255.0 {
    range 198.51.100.100 198.51.100.199;
    allow leasequery;
}
";

const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 7];
const NOBODY: [u8; 6] = [0; 6];

/// A question; `mac` is of nobody where hardware is not what is asked about.
fn question(xid: u32, mac: [u8; 6]) -> Packet {
    let mut packet = Packet::new(LEASEQUERY, mac, xid);
    if mac == NOBODY {
        packet.header[1..3].fill(0);
    }
    packet.option(55, &[51, 61, 82, 91])
}

fn ciaddr(answer: &Answer) -> Ipv4Addr {
    Ipv4Addr::new(answer.bytes[12], answer.bytes[13], answer.bytes[14], answer.bytes[15])
}

fn seconds(answer: &Answer, code: u8) -> u32 {
    u32::from_be_bytes(answer.options[&code].as_slice().try_into().expect("four bytes"))
}

#[test]
fn a_relay_agent_asks_over_the_wire() {
    let relayed = Relayed::new();
    let dhcpd = Dhcpd::start(&relayed.lab, CONFIG, &[]);
    let agent = Relay::at(&relayed.agent, AGENT);

    // Rapid commit: the lease with one question.
    let port = b"\x01\x05port7";
    let discover = Packet::new(DISCOVER, CLIENT, 1).option(61, b"seven").option(80, &[]);
    agent.send(discover.option(82, port));
    let ack = agent.receive(1);
    assert_eq!((ack.kind, ack.options[&80].len()), (ACK, 0), "{ack:?}");
    let address = ack.yiaddr;
    let file = std::fs::read_to_string(relayed.lab.path("leases")).expect("the lease file");
    assert!(file.contains(&format!("lease {address} {{")), "on disk before the ACK: {file}");

    let told = |answer: &Answer| {
        assert_eq!((answer.kind, ciaddr(answer)), (LEASEACTIVE, address), "{answer:?}");
        assert_eq!((answer.yiaddr, answer.mac), (Ipv4Addr::UNSPECIFIED, CLIENT));
        assert_eq!(answer.options[&61], b"seven");
        assert!((500..=600).contains(&seconds(answer, 51)) && seconds(answer, 91) < 100);
    };
    let questions = |first: u32| {
        [
            question(first, NOBODY).ciaddr(address),
            question(first + 1, CLIENT),
            question(first + 2, NOBODY).option(61, b"seven"),
        ]
    };
    for (xid, question) in (10..).zip(questions(10)) {
        agent.send(question);
        let answer = agent.receive(xid);
        told(&answer);
        assert_eq!(answer.options[&82], port);
    }
    let free = Ipv4Addr::new(192, 0, 2, 150);
    agent.send(question(20, NOBODY).ciaddr(free));
    let answer = agent.receive(20);
    assert_eq!((answer.kind, ciaddr(&answer)), (LEASEUNASSIGNED, free));
    agent.send(question(21, NOBODY).ciaddr(Ipv4Addr::new(203, 0, 113, 1)));
    assert_eq!(agent.receive(21).kind, LEASEUNKNOWN);

    // Whose subnet does not allow it hears nothing, while others are answered.
    let other = Relay::at(&relayed.agent, UPWARD);
    other.send(question(22, NOBODY).ciaddr(address));
    agent.send(question(23, CLIENT));
    told(&agent.receive(23));
    other.send(Packet::new(DISCOVER, [2, 0, 0, 0, 0, 8], 24));
    let next = other.try_receive(LIMIT).expect("an offer");
    assert_eq!(next.xid, 24, "and not the answer to a question");

    // Another life: what the file says is known, and the agent's word with the next REQUEST.
    dhcpd.kill();
    let _dhcpd = Dhcpd::start(&relayed.lab, CONFIG, &[]);
    for (xid, question) in (30..).zip(questions(30)) {
        agent.send(question);
        let answer = agent.receive(xid);
        told(&answer);
        assert!(!answer.options.contains_key(&82));
    }
    let renewal = Packet::new(REQUEST, CLIENT, 40).ciaddr(address).option(61, b"seven");
    agent.send(renewal.option(82, port));
    assert_eq!(agent.receive(40).kind, ACK);
    agent.send(question(41, CLIENT));
    assert_eq!(agent.receive(41).options[&82], port);
}
