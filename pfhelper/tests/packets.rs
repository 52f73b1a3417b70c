//! What packets see of the changes: never a table without an address that belongs into it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use lab::{Handler, address, all_tables, nft, own_network, run};
use pfhelper::{Tables, Verb};

const X: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Has X leased and sends packets from it while `change` is done again and again; no packet may
/// have found X missing.
fn no_packet_sees_it(set: &str, element_timeout: Option<u32>, change: impl Fn(&mut Handler, u32)) {
    own_network();
    nft(&format!(
        "table inet dhcpd {{
            set leased {{ type ipv4_addr; {set} }}
            chain out {{
                type filter hook output priority 0;
                ip saddr {X} ip saddr != @leased counter
                ip saddr {X} counter
            }}
        }}"
    ));
    let leased = Tables { leased: all_tables().leased, ..Tables::default() };
    let mut handler = Handler::start(leased, element_timeout);
    handler.apply(&[(Verb::Leased, X)]);
    let socket = UdpSocket::bind((X, 0)).unwrap();
    let (done, stop) = channel::<()>();
    // Started from this thread, it is in this thread's network.
    let sender = std::thread::spawn(move || {
        while stop.try_recv() != Err(TryRecvError::Disconnected) {
            socket.send_to(b"x", "127.0.0.1:9").ok();
        }
    });
    let end = Instant::now() + Duration::from_secs(2);
    let mut changes = 0;
    while Instant::now() < end {
        change(&mut handler, changes);
        changes += 1;
    }
    drop(done);
    sender.join().unwrap();
    let rules = run("nft", &["list", "chain", "inet", "dhcpd", "out"]);
    let counts: Vec<u64> = rules
        .split("packets ")
        .skip(1)
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(changes > 20 && counts[1] > 1_000, "{changes} {rules}");
    assert_eq!(counts[0], 0, "of {} packets and {changes} changes", counts[1]);
}

#[test]
fn an_address_being_renewed() {
    no_packet_sees_it("flags timeout;", Some(600), |handler, _| {
        handler.apply(&[(Verb::Leased, X)]);
    });
}

#[test]
fn an_address_that_stays_in_a_new_truth() {
    no_packet_sees_it("", None, |handler, n| {
        let others = (1..500).map(|other| address(n * 100 + other));
        let report = handler.replace(&others.chain([X]).collect::<Vec<_>>(), &[]);
        assert_eq!(report.failed, 0, "{report:?}");
    });
}
