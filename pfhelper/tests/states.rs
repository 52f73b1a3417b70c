//! What becomes of the states of an abandoned address: conntrack's entries, both ways.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};

use lab::{Handler, address, all_tables, nft, own_network, run, three_sets};
use pfhelper::{Tables, Verb};

const X: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

/// Makes an entry of a flow of UDP whose first packet went `from` `to`, its answers `back` `home`
/// (addresses are translated where those differ). The port is its name.
fn state(port: u16, from: &str, to: &str, back: &str, home: &str, more: &[&str]) {
    let port = port.to_string();
    let mut arguments = vec!["-I", "-p", "udp", "-t", "600", "--src", from, "--dst", to];
    arguments.extend(["--reply-src", back, "--reply-dst", home, "--sport", &port, "--dport", "9"]);
    arguments.extend(["--reply-port-src", "9", "--reply-port-dst", &port]);
    arguments.extend(more);
    run("conntrack", &arguments);
}

/// The ports of the entries that are left, in every zone.
fn left() -> BTreeSet<u16> {
    let text = run("conntrack", &["-L", "-p", "udp"]);
    let port = |line: &str| {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("sport="))?;
        word.parse().ok()
    };
    text.lines().filter_map(port).collect()
}

/// A handler with one table only: that -A is not given must not matter.
fn handler() -> Handler {
    own_network();
    three_sets();
    Handler::start(Tables { leased: all_tables().leased, ..Tables::default() }, None)
}

#[test]
fn row_abandoned_kills_states_from_and_to_the_address_even_without_a() {
    let mut handler = handler();
    state(1, "10.0.0.5", "192.0.2.1", "192.0.2.1", "10.0.0.5", &[]);
    state(2, "192.0.2.1", "10.0.0.5", "10.0.0.5", "192.0.2.1", &[]);
    // From it, translated on the way out; to it, translated on the way in.
    state(3, "10.0.0.5", "192.0.2.1", "192.0.2.1", "203.0.113.1", &[]);
    state(4, "192.0.2.1", "203.0.113.1", "10.0.0.5", "192.0.2.1", &[]);
    // Others, that are made to look as if they came from it or went to it.
    state(5, "10.9.9.9", "192.0.2.1", "192.0.2.1", "10.0.0.5", &[]);
    state(6, "192.0.2.1", "10.0.0.5", "10.9.9.9", "192.0.2.1", &[]);
    // In a zone of its own.
    state(7, "10.0.0.5", "192.0.2.1", "192.0.2.1", "10.0.0.5", &["--zone", "7"]);
    // Not its own.
    state(100, "10.0.0.50", "192.0.2.1", "192.0.2.1", "10.0.0.50", &[]);
    state(101, "192.0.2.1", "10.0.0.4", "10.0.0.4", "192.0.2.1", &[]);
    assert_eq!(left().len(), 9);
    let report = handler.apply(&[(Verb::Abandoned, X)]);
    assert_eq!((report.applied, report.failed), (1, 0));
    assert_eq!(left(), BTreeSet::from([100, 101]));
}

#[test]
fn no_other_event_kills_states() {
    let mut handler = handler();
    state(1, "10.0.0.5", "192.0.2.1", "192.0.2.1", "10.0.0.5", &[]);
    handler.apply(&[(Verb::Leased, X), (Verb::Changed, X), (Verb::Released, X)]);
    handler.replace(&[], &[X]);
    assert_eq!(left(), BTreeSet::from([1]));
}

#[test]
fn states_of_other_protocols_go_too() {
    let mut handler = handler();
    for more in [
        &["tcp", "--sport", "1", "--dport", "2", "--state", "ESTABLISHED", "-u", "ASSURED"][..],
        &["icmp", "--icmp-type", "8", "--icmp-code", "0", "--icmp-id", "7"],
        &["gre", "--srckey", "1", "--dstkey", "2"],
    ] {
        let mut arguments =
            vec!["-I", "--src", "10.0.0.5", "--dst", "192.0.2.1", "-t", "600", "-p"];
        arguments.extend(more);
        run("conntrack", &arguments);
    }
    assert_eq!(run("conntrack", &["-L"]).lines().count(), 3);
    handler.apply(&[(Verb::Abandoned, X)]);
    assert_eq!(run("conntrack", &["-L"]), "");
}

#[test]
fn many_addresses_are_looked_for_in_one_list() {
    let mut handler = handler();
    for n in 1..=400 {
        let from = address(u32::from(n)).to_string();
        state(n + 1000, &from, "192.0.2.1", "192.0.2.1", &from, &[]);
    }
    let commands: Vec<_> = (1..=390).map(|n| (Verb::Abandoned, address(n))).collect();
    let report = handler.apply(&commands);
    assert_eq!((report.applied, report.failed), (390, 0));
    assert_eq!(left(), (1391..=1400).collect());
}

#[test]
fn real_traffic_is_cut_off() {
    let mut handler = handler();
    run("ip", &["address", "add", "10.0.0.5/32", "dev", "lo"]);
    nft("add chain inet dhcpd out { type filter hook output priority 0; }");
    nft("add rule inet dhcpd out ct state established counter");
    let socket = UdpSocket::bind((X, 4000)).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:4001").unwrap();
    socket.send_to(b"ping", peer.local_addr().unwrap()).unwrap();
    assert_eq!(left(), BTreeSet::from([4000]));
    handler.apply(&[(Verb::Abandoned, X)]);
    assert_eq!(left(), BTreeSet::new());
}
