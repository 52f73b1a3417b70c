//! RFC 2132 and what came after it: options and how they are sent (RFC 3396, 3442, 4361, 6842,
//! 8910, 8925).

use super::tests_kit::*;
use super::*;
use crate::wire::options::OptionTable;

/// RFC 2132 section 3.3.
#[test]
fn the_mask_comes_before_routers_whatever_is_asked_for_first() {
    let mut config = config();
    config.subnets[0].settings.options.set(3, vec![10, 0, 0, 1]);
    let mut b = Bench::with(config);
    for list in [&[3, 1][..], &[3], &[6, 3, 15, 1], &[]] {
        let codes = b.one(&discover(1).with(55, list)).codes();
        let at = |code| codes.iter().position(|c| *c == code).unwrap();
        assert!(at(1) < at(3), "{list:?}: {codes:?}");
    }
}

/// RFC 2132 sections 8.4 and 9.13: what is not understood changes nothing.
#[test]
fn vendor_options_of_a_client_that_mean_nothing_are_ignored() {
    let mut b = Bench::new();
    let plain = b.one(&discover(1));
    let strange = discover(1).with(43, [1, 200, 3]).with(60, b"nobody's").with(77, b"\x05x");
    let odd = b.one(&strange);
    assert_eq!((odd.codes(), odd.yours()), (plain.codes(), plain.yours()));
}

/// RFC 2132 section 2: a client's text may end with zero bytes or not.
#[test]
fn a_name_is_the_same_with_and_without_a_zero_byte() {
    let mut b = Bench::new();
    let mut journal = |name: &[u8]| {
        b.one(&reboot(1, ip("10.0.0.10")).with(12, name));
        b.journal()
    };
    assert_eq!(journal(b"laptop"), journal(b"laptop\0\0"));
}

/// RFC 2132 section 9.10, and RFC 3442: as much as the client takes, and no more.
#[test]
fn no_message_is_longer_than_the_client_says() {
    let mut config = config();
    for code in 128..=223 {
        config.subnets[0].settings.options.set(code, vec![code; 40]);
    }
    let mut b = Bench::with(config);
    for (says, most) in [(0u16, 548), (300, 548), (576, 548), (800, 772), (1500, 1472)] {
        let ask = match says {
            0 => discover(1),
            says => discover(1).with(57, says.to_be_bytes()),
        };
        let len = b.one(&ask).bytes.len();
        assert!(len <= most && len > most - 60, "{says}: {len}");
    }
}

/// RFC 3396 section 7: parts of one option, wherever they are, are one value.
#[test]
fn a_split_identifier_is_one_identifier() {
    let mut b = Bench::new();
    let whole = b.one(&discover(1).id(b"abcdef"));
    let split = Ask { options: vec![], ..discover(2) };
    let split = split.with(61, b"ab").with(12, b"x").with(61, b"cd").with(61, b"ef");
    let got = b.one(&split);
    assert_eq!(got.yours(), whole.yours());
    assert_eq!(got.options.get(61), Some(&b"abcdef"[..]));
}

/// RFC 3396 sections 4 to 6: split only where it must be, in order, and whole on arrival; what
/// would have to be cut is not sent.
#[test]
fn long_options_are_split_in_order_and_others_never() {
    let mut config = config();
    let long: Vec<u8> = (0..600u32).map(|n| n as u8).collect();
    config.subnets[0].settings.options.set(224, long.clone());
    config.subnets[0].settings.options.set(225, vec![5; 255]);
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(55, [224, 225]).with(57, [5, 220]));
    assert_eq!(got.options.get(224), Some(&long[..]));
    let parts = |code: u8| got.codes().iter().filter(|c| **c == code).count();
    assert_eq!((parts(224), parts(225)), (3, 1));
    let small = b.one(&discover(1).with(55, [224, 225]));
    assert_eq!(small.options.get(224), None, "600 bytes have no room in 576");
    assert_eq!(small.options.get(225), Some(&[5; 255][..]));
}

/// RFC 3442, the server's part: who asks for classless routes gets neither routers nor old routes,
/// and more of them than one option holds.
#[test]
fn classless_routes_replace_routers_for_who_asks_for_them() {
    let mut config = config();
    let routes: Vec<u8> = (0..40u8).flat_map(|n| [24, 10, 9, n, 10, 0, 0, 1]).collect();
    config.subnets[0].settings.options.set(3, vec![10, 0, 0, 1]);
    config.subnets[0].settings.options.set(33, vec![10, 9, 0, 1, 10, 0, 0, 1]);
    config.subnets[0].settings.options.set(121, routes.clone());
    let mut b = Bench::with(config);
    for list in [&[121, 3, 33][..], &[1, 3, 121], &[121]] {
        let got = b.one(&discover(1).with(55, list).with(57, [5, 220]));
        assert_eq!(got.options.get(121), Some(&routes[..]), "320 bytes, in two parts");
        assert_eq!((got.options.get(3), got.options.get(33)), (None, None), "{list:?}");
    }
    let old = b.one(&discover(1).with(55, [1, 3, 33]));
    assert!(old.options.get(3).is_some() && old.options.get(33).is_some());
}

/// RFC 6842 section 3: in every answer to who sent one, in none to who sent none, unaltered.
#[test]
fn the_identifier_is_in_every_answer_and_only_if_it_was_sent() {
    let mut b = Bench::new();
    let id = [0, 255, 1, 0, 0x80];
    let offered = b.one(&discover(1).id(&id)).yours();
    let inform = Ask { ciaddr: ip("10.0.0.77"), ..ask(message::INFORM, 5) };
    let asks = [
        (discover(1), message::OFFER),
        (select(1, offered), message::ACK),
        (renew(1, offered), message::ACK),
        (inform, message::ACK),
        (reboot(1, ip("192.168.0.9")), message::NAK),
    ];
    for (ask, kind) in asks {
        let got = b.one(&ask.clone().id(&id));
        assert_eq!((got.kind(), got.options.get(61)), (kind, Some(&id[..])));
        let silent = Ask { hw: mac(90).to_vec(), ..ask };
        for got in b.send(&silent) {
            assert_eq!(got.options.get(61), None);
        }
    }
}

/// RFC 4361: type 255, IAID and DUID are an identifier like any other, whatever hardware sends it;
/// hardware counts only where the administrator wrote it down.
#[test]
fn a_node_keeps_its_address_on_other_hardware() {
    let mut id = vec![255, 0, 0, 0, 1, 0, 1, 0, 1];
    id.extend([7; 10]);
    let mut config = config();
    config.hosts.push(host("reserved", mac(9), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    let address = b.one(&discover(1).id(&id)).yours();
    b.one(&select(1, address).id(&id));
    assert_eq!(b.one(&renew(2, address).id(&id)).kind(), message::ACK);
    assert_eq!(b.one(&discover(3).id(&id)).yours(), address);
    let mut sibling = id.clone();
    sibling[4] = 2; // the node's other interface
    assert_ne!(b.one(&discover(1).id(&sibling)).yours(), address);
    assert_eq!(b.one(&discover(9).id(&id)).yours(), ip("10.0.0.5"));
}

/// RFC 8910 section 2.1: a URI without a zero byte, to who asks and to who does not, but not as
/// text that some clients want ended.
#[test]
fn the_captive_portal_is_sent_as_it_was_written() {
    let mut config = config();
    let uri = b"https://portal.example/api";
    config.subnets[0].settings.options.set(114, uri.to_vec());
    let mut b = Bench::with(config);
    for ask in [discover(1), discover(1).with(55, [1, 114]), discover(1).with(12, b"me\0")] {
        assert_eq!(b.one(&ask).options.get(114), Some(&uri[..]));
    }
}

fn ipv6_mostly() -> crate::config::Config {
    let mut config = config();
    config.subnets[0].settings.options.set(108, vec![0, 0, 7, 8]);
    config
}

/// RFC 8925 section 3.3: an address and the option, and the address is free for others later.
#[test]
fn option_108_is_in_offer_and_ack_where_it_is_asked_for_and_set() {
    let mut b = Bench::with(ipv6_mostly());
    let asking = |ask: Ask| ask.with(55, [1, 3, 108]);
    let offer = b.one(&asking(discover(1)));
    assert_eq!(offer.options.get(108), Some(&[0, 0, 7, 8][..]));
    let ack = b.one(&asking(reboot(1, offer.yours())));
    assert_eq!((ack.kind(), ack.options.u32(108)), (message::ACK, Some(1800)));
    assert_eq!(b.one(&reboot(2, ip("10.0.0.15"))).options.get(108), None);
    assert_eq!(b.one(&asking(discover(3).relayed())).options.get(108), None, "set elsewhere");
}

#[test]
fn withhold_ipv4_offers_the_option_and_no_address() {
    let mut config = ipv6_mostly();
    config.subnets[0].settings.withhold_ipv4 = Some(true);
    config.subnets[1].settings.withhold_ipv4 = Some(true);
    config.hosts.push(host("printer", mac(9), &["10.0.0.5"]));
    config.subnets[0].settings.rapid_commit = Some(true);
    let mut b = Bench::with(config);
    for client in [1, 9] {
        let offer = b.one(&discover(client).with(55, [1, 108]).with(80, []));
        assert_eq!((offer.kind(), offer.yours()), (message::OFFER, Ipv4Addr::UNSPECIFIED));
        assert_eq!(offer.options.u32(108), Some(1800));
        assert!(offer.options.u32(51).is_some(), "an offer says how long");
        let Destination::Link { address, .. } = offer.reply.destination else { panic!() };
        assert_eq!(address, Ipv4Addr::BROADCAST, "nobody has 0.0.0.0");
    }
    assert!(b.engine.is_empty() && b.out.tables.is_empty(), "nothing is taken from the pool");
    assert_eq!(b.one(&discover(1)).yours(), ip("10.0.0.10"), "who does not ask");
    assert_eq!(b.one(&discover(9)).yours(), ip("10.0.0.5"));
    let elsewhere = b.one(&discover(1).with(55, [1, 108]).relayed());
    assert_eq!(elsewhere.yours(), ip("10.1.0.10"), "where there is no option to say");
}

#[test]
fn who_may_not_boot_is_not_told_of_ipv6_either() {
    let mut config = ipv6_mostly();
    config.subnets[0].settings.withhold_ipv4 = Some(true);
    config.subnets[0].settings.unknown_clients = Some(false);
    let mut b = Bench::with(config);
    b.silent(&discover(1).with(55, [108]));
}

/// RFC 2131 section 4.1: options begin, end and are filled up as they must, wherever they are.
#[test]
fn overloaded_fields_begin_with_an_option_and_end_with_255_and_zeros() {
    let mut config = config();
    for code in 128..=135 {
        config.subnets[0].settings.options.set(code, vec![code; 60]);
    }
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(55, (128..=135).collect::<Vec<u8>>()));
    assert_eq!(got.options.get(52), Some(&[3][..]));
    let m = got.message();
    for field in [m.file(), m.sname()] {
        let mut at = 0;
        while field[at] != 255 {
            assert_ne!(field[at], 0, "no pad before the end");
            at += 2 + usize::from(field[at + 1]);
        }
        assert!(at > 0 && field[at + 1..].iter().all(|byte| *byte == 0));
    }
    let mut table = OptionTable::new();
    table.parse(&m).unwrap();
    assert!((128..=134).all(|code| table.get(code) == Some(&[code; 60][..])));
}
