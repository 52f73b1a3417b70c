//! The events for the firewall's tables: spec section 13's list of triggers, one test a row.

use crate::engine::tests_kit::*;
use crate::engine::*;

#[test]
fn offer_says_l_and_c_before_the_ping_is_answered() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    let address = ip("10.0.0.10");
    assert_eq!((b.events(address).as_str(), &b.out.pings[..]), ("LC", &[address][..]));
}

#[test]
fn offer_to_the_same_hardware_says_l_only() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.pass(50_000);
    b.one(&discover(1));
    assert_eq!(b.events(address), "L");
}

#[test]
fn offer_to_other_hardware_says_c() {
    let mut b = Bench::with(one_address());
    let address = b.dora(1);
    b.pass(50_000);
    assert_eq!(b.one(&discover(2)).yours(), address);
    assert_eq!(b.events(address), "LC");
    b.one(&select(2, address));
    assert_eq!(b.events(address), "L");
}

#[test]
fn ack_and_renewal_say_l_and_an_ack_without_offer_c_as_well() {
    let mut b = Bench::new();
    b.one(&reboot(1, ip("10.0.0.15")));
    assert_eq!(b.events(ip("10.0.0.15")), "LC");
    b.one(&renew(1, ip("10.0.0.15")));
    assert_eq!(b.events(ip("10.0.0.15")), "L");
}

#[test]
fn a_completed_release_says_l_then_r() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    b.pass(1);
    let address = ip("10.0.0.10");
    b.one(&select(1, address));
    b.silent(&release(1, address));
    assert_eq!((b.events(address).as_str(), &b.out.pings[..]), ("", &[address][..]));
    b.pass(1);
    assert_eq!((b.events(address).as_str(), b.out.records), ("LR", 1));
}

#[test]
fn a_duplicate_lease_says_l_then_r() {
    let mut b = Bench::new();
    // Two leases of one identifier, as a file may have them.
    for (address, ends) in [("10.0.0.10", START + 500), ("10.0.0.11", START + 900)] {
        let record = LeaseRecord {
            ends,
            client_id: Some(b"id".to_vec()),
            hardware: Some(crate::config::Hardware { htype: 1, addr: mac(1).to_vec() }),
            ..LeaseRecord::new(ip(address))
        };
        b.engine.load(record, b.now);
    }
    let ack = b.one(&renew(1, ip("10.0.0.10")).id(b"id"));
    assert_eq!((ack.kind(), b.out.records), (message::ACK, 2));
    let events: Vec<_> = b.out.tables.iter().map(|c| (c.verb, c.address)).collect();
    use pfhelper::Verb::{Leased, Released};
    let (kept, dropped) = (ip("10.0.0.10"), ip("10.0.0.11"));
    assert_eq!(events, [(Leased, kept), (Leased, dropped), (Released, dropped)]);
    assert_eq!(b.engine.tables(b.now).0, [kept]);
}

#[test]
fn decline_says_l_c_a() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.silent(&decline(1, address));
    assert_eq!((b.events(address).as_str(), b.out.records), ("LCA", 1));
    assert!(b.journal().contains("abandoned;") && !b.journal().contains("hardware"));
    assert_eq!(b.engine.tables(b.now), (vec![], vec![address]));
}

#[test]
fn a_ping_that_is_answered_says_l_c_a() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    let address = ip("10.0.0.10");
    b.echo(address);
    assert_eq!((b.events(address).as_str(), b.out.records), ("LCA", 1));
    assert_eq!(b.pass(1).len(), 0, "no offer of a conflict address");
    // The client must ask again, and gets another.
    b.silent(&discover(1));
    assert_eq!(b.pass(1)[0].yours(), ip("10.0.0.11"));
}

#[test]
fn reclaiming_for_discover_says_l_and_then_what_an_offer_says() {
    let mut b = Bench::with(one_address());
    let address = b.dora(1);
    b.silent(&decline(1, address));
    b.silent(&discover(2));
    b.pass(43_200);
    assert_eq!(b.events(address), "", "an abandoned address stays in its table");
    assert_eq!(b.engine.tables(b.now).1, [address]);
    assert_eq!(b.one(&discover(2)).yours(), address);
    assert_eq!(b.events(address), "LLC");
    assert_eq!(b.engine.tables(b.now), (vec![address], vec![]));
}

#[test]
fn an_end_says_r_once_and_in_its_second() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.pass(43_199);
    assert_eq!(b.events(address), "");
    // A packet does as well as a tick.
    b.now.wall += 1;
    b.now.mono += 1000;
    b.silent(&ask(99, 5));
    assert_eq!(b.events(address), "R");
    b.pass(100_000);
    assert_eq!(b.events(address), "");
}

#[test]
fn an_end_while_offered_to_its_client_says_r_when_the_offer_lapses() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.pass(43_190);
    assert_eq!(b.one(&discover(1)).yours(), address);
    b.pass(20);
    assert_eq!(b.events(address), "");
    b.pass(100);
    assert_eq!(b.events(address), "R");
}

#[test]
fn loading_says_nothing_and_tables_say_everything() {
    let mut b = Bench::new();
    let record = |address: &str, ends: i64, abandoned: bool| LeaseRecord {
        ends,
        abandoned,
        hardware: Some(crate::config::Hardware { htype: 1, addr: mac(1).to_vec() }),
        ..LeaseRecord::new(ip(address))
    };
    b.engine.load(record("10.0.0.10", START + 100, false), b.now);
    b.engine.load(record("10.0.0.11", START - 100, false), b.now);
    b.engine.load(record("10.0.0.12", START + 100, true), b.now);
    b.engine.load(record("10.0.0.13", START - 100, true), b.now);
    b.engine.load(record("10.9.9.9", START + 100, false), b.now);
    b.tick();
    assert!(b.out.tables.is_empty());
    let (leased, abandoned) = b.engine.tables(b.now);
    assert_eq!(leased, [ip("10.0.0.10")]);
    assert_eq!(abandoned, [ip("10.0.0.12"), ip("10.0.0.13")]);
}

#[test]
fn fixed_addresses_and_refusals_say_nothing() {
    let mut config = config();
    config.hosts.push(host("printer", mac(1), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    let ack = b.dora(1);
    assert_eq!((ack, b.out.tables.len(), b.out.records), (ip("10.0.0.5"), 0, 0));
    b.dora(2);
    b.one(&reboot(3, ip("10.0.0.10")));
    assert!(b.out.tables.is_empty() && b.out.records == 0);
}

fn one_address() -> Config {
    let mut config = config();
    config.subnets[0].ranges[0].high = config.subnets[0].ranges[0].low;
    config
}
