//! Found in review: time, tables and addresses in combinations that are rare.

use super::tests_kit::*;
use super::*;
use crate::config::Hardware;

fn record(address: &str, client: u16, ends: i64) -> LeaseRecord {
    LeaseRecord {
        starts: ends - 1000,
        ends,
        hardware: Some(Hardware { htype: 1, addr: mac(client).to_vec() }),
        ..LeaseRecord::new(ip(address))
    }
}

#[test]
fn a_step_of_the_clock_is_seen_though_the_tables_were_asked_for_first() {
    let mut b = Bench::new();
    b.engine.load(record("10.0.0.10", 1, START + 500), b.now);
    b.tick();
    b.now.wall += 1000;
    b.engine.tables(b.now);
    b.tick();
    assert_eq!((b.events(ip("10.0.0.10")).as_str(), b.out.rewrite), ("R", true));
}

#[test]
fn a_lease_that_a_clock_ahead_of_time_ended_is_held_again() {
    let mut b = Bench::new();
    b.now.wall += 1_000_000;
    b.engine.load(record("10.0.0.10", 1, START + 500), b.now);
    b.engine.load(record("10.0.0.11", 2, START - 500), b.now);
    b.tick();
    b.now.wall -= 1_000_000;
    b.tick();
    assert_eq!(b.events(ip("10.0.0.10")), "L");
    assert_eq!(b.one(&reboot(3, ip("10.0.0.10"))).kind(), message::NAK);
    assert_eq!(b.one(&discover(1)).yours(), ip("10.0.0.10"));
    assert_eq!(b.one(&reboot(3, ip("10.0.0.11"))).kind(), message::ACK);
    b.pass(500);
}

#[test]
fn our_own_address_is_nobodys() {
    let mut config = config();
    config.subnets[0].ranges[0].low = SERVER;
    config.subnets[0].ranges[0].high = ip("10.0.0.2");
    let mut b = Bench::with(config);
    assert_eq!(b.one(&reboot(1, SERVER)).kind(), message::NAK);
    assert_eq!(b.one(&discover(1).with(50, SERVER.octets())).yours(), ip("10.0.0.2"));
    b.silent(&discover(2));
}

#[test]
fn inform_needs_no_identity() {
    let mut b = Bench::new();
    let inform = Ask { ciaddr: ip("10.0.0.77"), hw: vec![], ..ask(message::INFORM, 1) };
    assert_eq!(b.one(&inform).kind(), message::ACK);
}
