//! The plain course of things: an address is offered, acknowledged, renewed, and ends.

use super::tests_kit::*;
use super::*;

#[test]
fn discover_offer_request_ack() {
    let mut b = Bench::new();
    let offer = b.one(&discover(1));
    assert_eq!((offer.kind(), offer.yours()), (message::OFFER, ip("10.0.0.10")));
    assert_eq!(b.events(offer.yours()), "LC");
    assert!(!offer.reply.durable && b.out.records == 0, "an offer is not written");
    assert_eq!(offer.options.ipv4(54), Some(SERVER));
    assert_eq!(offer.options.u32(51), Some(43_200));

    let ack = b.one(&select(1, offer.yours()));
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, offer.yours()));
    assert_eq!(b.events(ack.yours()), "L");
    assert!(ack.reply.durable);
    assert_eq!(b.out.records, 1);
    let journal = b.journal();
    assert!(journal.contains("lease 10.0.0.10 {") && journal.contains("02:00:00:00:00:01"));
    assert_eq!(ack.reply.source, SERVER);
    assert_eq!(
        ack.reply.destination,
        Destination::Link { interface: 0, mac: mac(1), address: ip("10.0.0.10"), port: 68 }
    );
}

#[test]
fn fresh_addresses_ascend_and_then_the_longest_ended_come() {
    let mut b = Bench::new();
    for n in 0..10 {
        assert_eq!(b.dora(n), Ipv4Addr::from(u32::from(ip("10.0.0.10")) + u32::from(n)));
        b.pass(1);
    }
    b.silent(&discover(10));
    b.send(&release(4, ip("10.0.0.14")));
    b.pass(1);
    b.send(&release(2, ip("10.0.0.12")));
    assert_eq!(b.dora(10), ip("10.0.0.14"));
    assert_eq!(b.dora(11), ip("10.0.0.12"));
    b.silent(&discover(12));
}

#[test]
fn an_ended_lease_is_kept_for_its_client_as_long_as_possible() {
    let mut b = Bench::new();
    let first = b.dora(1);
    b.pass(43_200);
    assert_eq!(b.events(first), "R");
    assert_ne!(b.dora(2), first);
    assert_eq!(b.dora(1), first);
}

#[test]
fn leases_end_in_their_second_and_renewing_prolongs() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.pass(21_600);
    let ack = b.one(&renew(1, address));
    assert_eq!((ack.kind(), ack.yours(), ack.message().ciaddr()), (message::ACK, address, address));
    b.pass(43_199);
    assert_eq!(b.events(address), "");
    assert_eq!(b.engine.tables(b.now).0, [address]);
    b.pass(1);
    assert_eq!(b.events(address), "R");
    assert!(b.engine.tables(b.now).0.is_empty());
}

#[test]
fn an_offer_nobody_wants_lapses_after_120_seconds() {
    let mut b = Bench::new();
    let offered = b.one(&discover(1)).yours();
    assert_eq!(b.engine.next_tick(), Some(b.now.mono + 120_000));
    b.pass(119);
    assert_eq!(b.events(offered), "");
    assert_eq!(b.engine.tables(b.now).0, [offered]);
    b.pass(1);
    assert_eq!(b.events(offered), "R");
    assert_eq!(b.engine.next_tick(), None);
    assert_eq!(b.engine.tables(b.now), (vec![], vec![]));
}

#[test]
fn next_tick_is_never_late() {
    let mut b = Bench::new();
    let address = b.dora(1);
    let ends = b.now.mono + 43_200_000;
    let mut ticks = 0;
    loop {
        let next = b.engine.next_tick().unwrap();
        assert!(next > b.now.mono && next <= ends);
        b.now = Now { wall: b.now.wall + ((next - b.now.mono) / 1000) as i64, mono: next };
        b.tick();
        ticks += 1;
        if next == ends {
            break;
        }
    }
    assert_eq!(b.events(address), "R");
    assert!(ticks < 15, "{ticks}");
}
