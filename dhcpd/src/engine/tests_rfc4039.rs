//! Rapid commit (RFC 4039): a DISCOVER answered with the lease itself.

use super::tests_kit::*;
use super::*;

fn rapid() -> crate::config::Config {
    let mut config = config();
    config.subnets[0].settings.rapid_commit = Some(true);
    config
}

fn quick(client: u16) -> Ask {
    discover(client).with(80, [])
}

/// Sections 3.1 and 4: an ACK with the option, on disk before it leaves.
#[test]
fn a_discover_with_rapid_commit_is_acknowledged_at_once() {
    let mut b = Bench::with(rapid());
    let ack = b.one(&quick(1).id(b"me").with(51, [0, 0, 2, 88]).with(12, b"laptop"));
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, ip("10.0.0.10")));
    assert_eq!(ack.options.get(80), Some(&[][..]));
    assert_eq!((ack.options.u32(51), ack.options.ipv4(54)), (Some(600), Some(SERVER)));
    assert!(ack.reply.durable && b.out.records == 1);
    let journal = b.journal();
    assert!(journal.contains("02:00:00:00:00:01") && journal.contains("\"laptop\""), "{journal}");
    assert_eq!(b.events(ack.yours()), "LC");
    assert_eq!(b.engine.counters().ack, 1);
    assert_eq!(b.engine.counters().offer, 0);
    // It is held like any other.
    assert_eq!(b.one(&reboot(2, ack.yours())).kind(), message::NAK);
    let renewed = b.one(&renew(1, ack.yours()).id(b"me"));
    assert_eq!((renewed.kind(), renewed.options.get(80)), (message::ACK, None));
    assert_eq!(b.one(&quick(1).id(b"me")).yours(), ack.yours());
}

/// Section 3: off unless it is said.
#[test]
fn without_the_statement_or_the_option_there_is_an_offer() {
    let mut b = Bench::new();
    let offer = b.one(&quick(1));
    assert_eq!((offer.kind(), offer.options.get(80)), (message::OFFER, None));
    assert!(!offer.reply.durable && b.out.records == 0);
    let mut b = Bench::with(rapid());
    assert_eq!(b.one(&discover(1)).kind(), message::OFFER);
    assert_eq!(b.one(&discover(1).with(80, [1])).kind(), message::OFFER, "no such option");
    assert_eq!(b.one(&quick(1).relayed()).kind(), message::OFFER, "another subnet");
}

/// Section 3: in no other message, whatever the configuration says.
#[test]
fn the_option_is_in_no_other_answer() {
    let mut config = rapid();
    config.subnets[0].settings.options.set(80, vec![1, 2]);
    let mut b = Bench::with(config);
    let ask = |ask: Ask| ask.with(80, []).with(55, [80]);
    let address = b.one(&discover(1)).yours();
    assert_eq!(b.one(&ask(select(1, address))).options.get(80), None);
    assert_eq!(b.one(&ask(renew(1, address))).options.get(80), None);
    assert_eq!(b.one(&ask(reboot(2, address))).options.get(80), None);
    assert_eq!(b.one(&ask(discover(3))).options.get(80), Some(&[][..]));
    assert_eq!(b.one(&discover(4).with(55, [80])).options.get(80), None);
    let inform = Ask { ciaddr: ip("10.0.0.77"), ..self::ask(message::INFORM, 5) };
    assert_eq!(b.one(&ask(inform)).options.get(80), None);
}

/// The address is probed first, as before an offer; nothing is committed to one that answers.
#[test]
fn a_ping_comes_before_the_lease() {
    let mut b = Bench::pinging(rapid());
    b.silent(&quick(1));
    assert_eq!((b.out.pings.as_slice(), b.out.records), (&[ip("10.0.0.10")][..], 0));
    b.silent(&quick(1));
    assert!(b.out.pings.is_empty(), "one ping is enough");
    let got = b.pass(1);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].kind(), got[0].yours()), (message::ACK, ip("10.0.0.10")));
    assert_eq!(got[0].options.get(80), Some(&[][..]));
    assert!(got[0].reply.durable && b.out.records == 1);
    let Destination::Link { mac: to, port: 68, .. } = got[0].reply.destination else { panic!() };
    assert_eq!(to, mac(1));

    b.silent(&quick(2));
    b.echo(ip("10.0.0.11"));
    assert!(b.journal().contains("abandoned;") && b.out.replies.is_empty());
    assert!(b.pass(1).is_empty());
    b.silent(&quick(2));
    assert_eq!(b.pass(1)[0].yours(), ip("10.0.0.12"));
    // Its own holder is not pinged.
    assert_eq!(b.one(&quick(1)).kind(), message::ACK);
}

/// Section 3.1: as before offers, that may be switched off.
#[test]
fn the_ping_before_the_lease_may_be_switched_off() {
    let mut config = rapid();
    config.subnets[0].settings.ping_check = Some(false);
    let mut b = Bench::pinging(config);
    let ack = b.one(&quick(1));
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, ip("10.0.0.10")));
    assert!(b.out.pings.is_empty() && ack.reply.durable && b.out.records == 1);
}

/// While one client's ping runs, the address is not another's, and its REQUEST for another server
/// calls it off.
#[test]
fn what_waits_for_its_ping_is_held_and_can_be_called_off() {
    let mut b = Bench::pinging(rapid());
    b.silent(&quick(1));
    b.silent(&quick(2).with(50, [10, 0, 0, 10]));
    assert_eq!(b.out.pings, [ip("10.0.0.11")]);
    b.silent(&reboot(1, ip("10.0.0.10")).with(54, OTHER_SERVER.octets()));
    let got = b.pass(1);
    assert_eq!(got.iter().map(Got::yours).collect::<Vec<_>>(), [ip("10.0.0.11")]);
}

/// A fixed address needs neither ping nor record, as with a REQUEST.
#[test]
fn a_host_gets_its_fixed_address_at_once() {
    let mut config = rapid();
    config.hosts.push(host("printer", mac(1), &["10.0.0.5"]));
    let mut b = Bench::pinging(config);
    let ack = b.one(&quick(1));
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, ip("10.0.0.5")));
    assert_eq!(ack.options.get(80), Some(&[][..]));
    assert!(!ack.reply.durable && b.out.records == 0);
}

/// Who has an address under one identity and takes another one keeps the newer only.
#[test]
fn an_earlier_offer_is_taken_back_and_an_abandoned_address_is_whole_again() {
    let mut b = Bench::with(rapid());
    let offered = b.one(&discover(1)).yours();
    assert_eq!(b.one(&quick(1)).yours(), offered);
    b.pass(200);
    assert_eq!(b.one(&renew(1, offered)).kind(), message::ACK, "no offer lapsed with it");
    let mut config = rapid();
    config.subnets[0].ranges[0].high = ip("10.0.0.10");
    let mut b = Bench::with(config);
    let only = b.dora(1);
    b.silent(&decline(1, only));
    b.silent(&quick(2));
    b.pass(43_200);
    let ack = b.one(&quick(2));
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, only));
    assert!(!b.journal().contains("abandoned"));
}

/// A host or class may have what its subnet has not.
#[test]
fn the_strongest_scope_decides() {
    let mut config = rapid();
    let mut known = host("slow", mac(1), &[]);
    known.settings.rapid_commit = Some(false);
    config.hosts.push(known);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&quick(1)).kind(), message::OFFER);
    assert_eq!(b.one(&quick(2)).kind(), message::ACK);
}

/// Who is about to hear that it needs no IPv4 address (RFC 8925) is not given one for good.
#[test]
fn who_would_do_without_ipv4_is_offered_only() {
    let mut config = rapid();
    config.subnets[0].settings.options.set(108, vec![0; 4]);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&quick(1).with(55, [1, 108])).kind(), message::OFFER);
    assert_eq!(b.out.records, 0);
    assert_eq!(b.one(&quick(2).with(55, [1])).kind(), message::ACK);
}

/// Whoever waits for a ping on a wire that is not served any more is not taken for somebody on
/// another wire that has its number now.
#[test]
fn a_discover_that_waits_goes_with_its_interface() {
    let mut config = rapid();
    config.subnets[1].settings.rapid_commit = Some(true);
    let near = interfaces().remove(0);
    let far = Interface { name: "em1".to_owned(), index: 4, address: RELAY, ..near.clone() };
    let far = Interface { addresses: vec![RELAY], ..far };
    let mut b = Bench::pinging(config.clone());
    b.reconfigure(config.clone(), vec![near, far.clone()]);
    b.silent(&quick(1));
    assert_eq!(b.out.pings, [ip("10.0.0.10")]);
    b.reconfigure(config, vec![far]);
    assert!(b.pass(1).is_empty() && b.out.pings.is_empty() && b.out.records == 0);
    // Nor is it answered by a later ping on that wire.
    assert!(b.pass(1).is_empty() && b.out.records == 0);
    assert_eq!(b.engine.len(), 1, "nothing is held for it on the other wire");
}
