//! Networks where IPv6 is enough (RFC 8925), and the captive portal's option (RFC 8910). More of the
//! first are in `tests_rfc2132`.

use super::tests_kit::*;
use super::*;

fn ipv6_mostly() -> crate::config::Config {
    let mut config = config();
    config.subnets[0].settings.options.set(108, vec![0, 0, 7, 8]);
    config
}

/// Who does without IPv4 if it is told so.
fn phone(client: u16) -> Ask {
    discover(client).with(55, [1, 3, 108])
}

/// Section 3.3: what such a client is offered it will not request, so it is kept from nobody.
#[test]
fn what_is_offered_with_option_108_is_not_held() {
    let mut b = Bench::with(ipv6_mostly());
    for client in 1..=100 {
        let offer = b.one(&phone(client));
        assert_eq!((offer.yours(), offer.options.u32(108)), (ip("10.0.0.10"), Some(1800)));
        assert!(b.out.tables.is_empty() && b.out.records == 0);
    }
    assert!(b.engine.is_empty(), "nothing is taken from the pool");
    // Who needs it is offered the same one, and has it to itself from then on.
    let laptop = b.one(&discover(101)).yours();
    assert_eq!(laptop, ip("10.0.0.10"));
    assert_eq!(b.one(&phone(1)).yours(), ip("10.0.0.11"));
    assert_eq!(b.one(&select(101, laptop)).kind(), message::ACK);
    assert_eq!(b.one(&phone(1)).yours(), ip("10.0.0.11"));
}

/// Section 3.3: nor is it probed, neither a new address nor one that somebody had.
#[test]
fn what_is_offered_with_option_108_is_not_pinged() {
    let mut config = ipv6_mostly();
    config.subnets[0].ranges[0].high = ip("10.0.0.10");
    let mut b = Bench::pinging(config);
    assert_eq!(b.one(&phone(1)).yours(), ip("10.0.0.10"));
    assert!(b.out.pings.is_empty());
    b.silent(&discover(2));
    assert_eq!(b.out.pings.len(), 1, "others' is");
    let offered = b.pass(1)[0].yours();
    assert_eq!(b.one(&select(2, offered)).kind(), message::ACK);
    b.pass(90_000);
    assert_eq!(b.one(&phone(1)).yours(), offered);
    assert!(b.out.pings.is_empty());
}

/// Section 3.3: it is valid, so that who requests it all the same has it, unless somebody else was
/// quicker.
#[test]
fn what_was_offered_with_option_108_may_be_requested() {
    let mut b = Bench::with(ipv6_mostly());
    let [first, second] = [1, 2].map(|client| b.one(&phone(client)).yours());
    assert_eq!(first, second);
    let ask = |client, address| select(client, address).with(55, [1, 108]);
    let ack = b.one(&ask(2, second));
    assert_eq!((ack.kind(), ack.yours(), ack.options.u32(108)), (message::ACK, second, Some(1800)));
    assert_eq!((b.out.records, b.events(second).as_str()), (1, "LC"));
    assert_eq!(b.one(&ask(1, first)).kind(), message::NAK);
    let again = b.one(&phone(1)).yours();
    assert_eq!(b.one(&ask(1, again)).kind(), message::ACK);
    // In all other states too it is a client like others.
    for ask in [renew(2, second), reboot(2, second)] {
        let ack = b.one(&ask.with(55, [108]));
        assert_eq!(
            (ack.kind(), ack.yours(), ack.options.u32(108)),
            (message::ACK, second, Some(1800))
        );
    }
    // What it holds it is offered, and keeps.
    assert_eq!(b.one(&phone(2)).yours(), second);
    b.send(&release(2, second));
    assert_eq!(b.one(&phone(2)).yours(), second);
    assert_eq!(b.one(&ask(2, second)).kind(), message::ACK);
}

/// Section 3.3: if there is no address to offer, or an abandoned one only, or one that is held for
/// somebody else, the client is told that it needs none.
#[test]
fn without_a_free_address_option_108_is_offered_alone() {
    let alone = |b: &mut Bench, ask: Ask| {
        let offer = b.one(&ask);
        assert_eq!((offer.kind(), offer.yours()), (message::OFFER, Ipv4Addr::UNSPECIFIED));
        assert_eq!(offer.options.u32(108), Some(1800));
        assert!(b.out.tables.is_empty() && b.out.records == 0);
    };
    let mut config = ipv6_mostly();
    config.subnets[0].ranges[0].high = ip("10.0.0.10");
    let mut b = Bench::with(config);
    let only = b.one(&discover(1)).yours();
    alone(&mut b, phone(2));
    b.one(&select(1, only));
    alone(&mut b, phone(2));
    b.silent(&discover(3));
    b.silent(&decline(1, only));
    b.pass(90_000);
    alone(&mut b, phone(2));
    assert_eq!(b.one(&discover(3)).yours(), only, "who needs one has it");
    alone(&mut b, phone(2));
    // Who has asked for so many that the oldest goes to the next does not lose it to a phone.
    let mut config = ipv6_mostly();
    config.subnets[0].ranges[0].high = ip("10.0.0.25");
    let mut b = Bench::with(config.clone());
    (1..=16).for_each(|client| drop(b.one(&discover(client))));
    alone(&mut b, phone(20));
    assert_eq!(b.engine.counters().offers_contested, 0);
    assert_eq!(b.one(&discover(20)).yours(), ip("10.0.0.10"));
    // Nobody is told who is not served.
    config.subnets[0].settings.unknown_clients = Some(false);
    config.subnets[0].ranges.clear();
    Bench::with(config).silent(&phone(1));
}

/// Section 3.3 with RFC 4039: who asks for both gets an offer, held for nobody, and nothing is
/// committed.
#[test]
fn rapid_commit_gives_way_to_option_108() {
    let mut config = ipv6_mostly();
    config.subnets[0].settings.rapid_commit = Some(true);
    config.hosts.push(host("printer", mac(9), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    for client in [1, 9] {
        let offer = b.one(&phone(client).with(80, []));
        assert_eq!((offer.kind(), offer.options.get(80)), (message::OFFER, None));
        assert!(b.engine.is_empty() && b.out.records == 0);
    }
    assert_eq!(b.one(&discover(2).with(55, [1]).with(80, [])).kind(), message::ACK);
}

/// Section 3.3: where it is configured, who asks has it, whatever else finds no room.
#[test]
fn option_108_has_its_room() {
    let mut config = ipv6_mostly();
    for code in 128..=223 {
        config.subnets[0].settings.options.set(code, vec![code; 30]);
    }
    // Small ones, to fill up what room is left.
    for code in 224..=250 {
        config.subnets[0].settings.options.set(code, vec![code; 2]);
    }
    let mut b = Bench::with(config);
    let list: Vec<u8> = (128..=250).chain([108]).collect();
    let offer = b.one(&discover(1).with(55, &list));
    assert!(offer.options.get(250).is_none(), "there is too much for one message");
    assert_eq!(offer.options.u32(108), Some(1800));
    let ack = b.one(&select(1, offer.yours()).with(55, &list));
    assert_eq!((ack.kind(), ack.options.u32(108)), (message::ACK, Some(1800)));
}

/// Section 3.1: the time that is configured, and zero where that is zero; 3.3.1: a client that says
/// nothing of auto-configuration (RFC 2563) is answered, though it is given nothing.
#[test]
fn the_time_is_what_is_configured() {
    for (text, want) in [("0", 0), ("300", 300), ("4294967295", u32::MAX)] {
        let config = read(&format!(
            "subnet 10.0.0.0 netmask 255.255.255.0 {{
                option ipv6-only-preferred {text}; withhold-ipv4 on; range 10.0.0.10 10.0.0.19;
            }}"
        ));
        let offer = Bench::with(config).one(&phone(1));
        assert_eq!((offer.kind(), offer.yours()), (message::OFFER, Ipv4Addr::UNSPECIFIED));
        assert_eq!(offer.options.get(108), Some(&u32::to_be_bytes(want)[..]));
    }
}

/// Section 3.3: who is offered nothing and wants an address all the same gets it.
#[test]
fn who_was_offered_no_address_may_request_one() {
    let mut config = ipv6_mostly();
    config.subnets[0].settings.withhold_ipv4 = Some(true);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&phone(1)).yours(), Ipv4Addr::UNSPECIFIED);
    let had = ip("10.0.0.12");
    let ack = b.one(&reboot(1, had).with(55, [108]));
    assert_eq!((ack.kind(), ack.yours(), ack.options.u32(108)), (message::ACK, had, Some(1800)));
    let ack = b.one(&renew(1, had).with(55, [108]));
    assert_eq!((ack.kind(), ack.options.u32(108)), (message::ACK, Some(1800)));
    assert_eq!(b.one(&reboot(2, had).with(55, [108])).kind(), message::NAK);
}

/// RFC 8910 section 2: one option holds 255 bytes, which is as long as a URI may be.
#[test]
fn a_captive_portal_of_255_bytes_is_one_option() {
    let mut config = config();
    let uri = [&b"https://portal.example/"[..], &[b'u'; 232]].concat();
    config.subnets[0].settings.options.set(114, uri.clone());
    for ask in [discover(1), discover(1).with(55, [114])] {
        let got = Bench::with(config.clone()).one(&ask);
        assert_eq!(got.options.get(114), Some(&uri[..]));
        assert_eq!(got.codes().iter().filter(|code| **code == 114).count(), 1);
    }
}
