//! Addresses that fade when nobody says any more that they are there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::net::Ipv4Addr;

use lab::{Handler, address, all_tables, eventually, members, nft, own_network, run};
use pfhelper::{Tables, Verb};

const X: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A handler of a set with these properties.
fn handler(set: &str, element_timeout: Option<u32>) -> Handler {
    own_network();
    nft(&format!("add table inet dhcpd; add set inet dhcpd leased {{ type ipv4_addr; {set} }}"));
    Handler::start(Tables { leased: all_tables().leased, ..Tables::default() }, element_timeout)
}

/// How long the only element still has, in milliseconds.
fn expires() -> u64 {
    let text = run("nft", &["list", "set", "inet", "dhcpd", "leased"]);
    let (_, rest) = text.split_once("expires ").unwrap_or_else(|| panic!("no time: {text}"));
    let mut rest = rest.split([' ', '\n', ',']).next().unwrap();
    let mut milliseconds = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let factor = match &unit[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            other => panic!("unit {other}"),
        };
        milliseconds += number.parse::<u64>().unwrap() * factor;
        rest = &unit[end..];
    }
    milliseconds
}

#[test]
fn an_address_fades_when_its_time_is_over() {
    let mut handler = handler("flags timeout;", Some(1));
    let report = handler.apply(&[(Verb::Leased, X)]);
    assert_eq!((report.applied, report.failed), (1, 0));
    assert!(members("leased").contains(&X));
    eventually("it fades", || members("leased").is_empty());
}

#[test]
fn an_address_that_is_leased_again_has_its_whole_time_again() {
    let mut handler = handler("flags timeout;", Some(600));
    handler.apply(&[(Verb::Leased, X)]);
    eventually("a second of it passes", || expires() < 599_000);
    handler.apply(&[(Verb::Leased, X)]);
    assert!(expires() > 599_000, "{}", expires());
    eventually("a second of it passes", || expires() < 599_000);
    handler.replace(&[X], &[]);
    assert!(expires() > 599_000, "{}", expires());
}

#[test]
fn the_time_that_the_set_itself_gives_is_renewed_too() {
    let mut handler = handler("timeout 10m;", None);
    handler.apply(&[(Verb::Leased, X)]);
    eventually("a second of it passes", || expires() < 599_000);
    handler.apply(&[(Verb::Leased, X)]);
    assert!(expires() > 599_000, "{}", expires());
}

#[test]
fn a_set_without_timeouts_is_used_as_it_is_and_that_is_said() {
    let mut handler = handler("", Some(1));
    let report = handler.apply(&[(Verb::Leased, X)]);
    assert_eq!((report.applied, report.failed), (1, 0));
    assert_eq!(members("leased"), [X].into());
    assert!(handler.stop().contains("table leased: the set lacks the flag timeout"));
}

#[test]
fn a_full_set_with_timeouts_renews_what_is_in_it() {
    let mut handler = handler("flags timeout; size 2;", Some(600));
    handler.apply(&[(Verb::Leased, X)]);
    eventually("a second of it passes", || expires() < 599_000);
    let others: Vec<_> = (1..=3).map(|n| (Verb::Leased, address(n))).collect();
    let report = handler.apply(&[(Verb::Leased, X), others[0], others[1], others[2]]);
    assert_eq!((report.applied, report.failed), (2, 2));
    assert_eq!(members("leased").len(), 2);
    let report =
        handler.apply(&[others[0], others[1], others[2]].map(|(_, a)| (Verb::Released, a)));
    assert_eq!((report.applied, report.failed), (3, 0));
    assert!(expires() > 590_000 && members("leased") == [X].into());
}
