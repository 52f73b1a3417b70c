//! RFC 2131 line by line, where no other test has it already: CONFORMANCE.md names them all.

use super::tests_kit::*;
use super::*;
use crate::config::Class;

fn raw(b: &mut Bench, bytes: &[u8]) -> Vec<Vec<u8>> {
    b.out.clear();
    b.engine.input(bytes, &Bench::meta(Some(mac(1))), b.now, &mut b.out);
    b.out.replies.iter().map(|reply| b.out.arena[reply.bytes.clone()].to_vec()).collect()
}

/// Section 2: the bits beside the broadcast bit mean nothing.
#[test]
fn reserved_flags_are_ignored() {
    let mut b = Bench::new();
    let mut bytes = discover(1).bytes();
    bytes[10..12].copy_from_slice(&[0x7f, 0xff]);
    assert_eq!(raw(&mut b, &bytes)[0][16..20], [10, 0, 0, 10]);
    let Destination::Link { address, .. } = b.out.replies[0].destination else { panic!() };
    assert_eq!(address, ip("10.0.0.10"), "not to everybody");
}

/// Section 3.1: what is acknowledged is what was offered, in every option.
#[test]
fn an_ack_says_what_the_offer_said() {
    let mut config = config();
    for code in [3, 6, 15, 42, 119, 224] {
        config.subnets[0].settings.options.set(code, vec![10, 0, 0, code]);
    }
    let mut b = Bench::with(config);
    let list = [1, 6, 15, 3];
    let offer = b.one(&discover(1).id(b"me").with(55, list));
    let ack = b.one(&select(1, offer.yours()).id(b"me").with(55, list));
    assert_eq!(ack.codes(), offer.codes());
    for code in offer.codes().into_iter().filter(|code| *code != 53) {
        assert_eq!(ack.options.get(code), offer.options.get(code), "{code}");
    }
    assert_eq!(ack.yours(), offer.yours());
    assert_eq!(ack.message().siaddr(), offer.message().siaddr());
}

/// Sections 3.1 and 3.2: whoever requests an address may answer for it already.
#[test]
fn a_request_is_never_pinged() {
    let mut b = Bench::pinging(config());
    for ask in [reboot(1, ip("10.0.0.10")), renew(1, ip("10.0.0.10")), reboot(2, ip("10.0.0.11"))] {
        assert_eq!(b.one(&ask).kind(), message::ACK);
        assert!(b.out.pings.is_empty());
    }
    b.silent(&discover(3));
    assert_eq!(b.out.pings, [ip("10.0.0.12")], "but before it is offered");
    let offer = b.pass(1).remove(0).yours();
    assert_eq!(b.one(&select(3, offer)).kind(), message::ACK);
    assert!(b.out.pings.is_empty());
}

/// Section 4.1: every address of ours is us, and no other is.
#[test]
fn any_of_our_addresses_means_us() {
    let mut config = config();
    config.build_lookup();
    let mut one = interfaces().remove(0);
    one.addresses.push(ip("10.0.0.3"));
    let other = Interface {
        name: "em1".to_owned(),
        index: 4,
        address: ip("172.16.0.1"),
        addresses: vec![ip("172.16.0.1")],
        network: None,
        ..one.clone()
    };
    let options = EngineOptions { ping_wait: None, ..EngineOptions::default() };
    let engine = Engine::new(Arc::new(config), vec![one, other], options);
    let mut b = Bench { engine, ..Bench::new() };
    for (client, server, ours) in [
        (1, "10.0.0.1", true),
        (2, "10.0.0.3", true),
        (3, "172.16.0.1", true),
        (4, "10.0.0.4", false),
    ] {
        let offer = b.one(&discover(client));
        assert_eq!(offer.options.ipv4(54), Some(SERVER), "the first address on this wire");
        let request = reboot(client, offer.yours()).with(54, ip(server).octets());
        assert_eq!(b.send(&request).len(), usize::from(ours), "{server}");
    }
    // What came through a relay agent came by an interface too.
    let relayed = discover(9).relayed();
    let meta = Meta { interface: 1, source: RELAY, ..Bench::meta(None) };
    assert_eq!(b.send_by(&relayed, &meta)[0].options.ipv4(54), Some(ip("172.16.0.1")));
}

/// Section 4.2: an identifier is compared as a whole, and never read; without one, chaddr counts.
#[test]
fn clients_are_told_apart_by_identifier_else_by_chaddr() {
    let mut b = Bench::new();
    let first = b.one(&discover(1).id(b"one")).yours();
    b.one(&select(1, first).id(b"one"));
    // The same machine, two identities.
    let second = b.one(&discover(1).id(b"two")).yours();
    assert_ne!(second, first);
    // Another machine, the same identity.
    assert_eq!(b.one(&discover(2).id(b"one")).yours(), first);
    // An identifier that looks like another's hardware is an identifier still.
    let plain = b.dora(3);
    let looks = [&[1][..], &mac(3)].concat();
    assert_ne!(b.one(&discover(4).id(&looks)).yours(), plain);
    assert_eq!(b.one(&discover(3)).yours(), plain);
}

/// Section 4.3.1: the default, or what was asked for and is acceptable.
#[test]
fn the_time_is_the_default_or_what_is_asked_for_within_bounds() {
    let mut config = config();
    config.subnets[0].settings.default_lease_time = Some(600);
    config.subnets[0].settings.max_lease_time = Some(1200);
    let mut b = Bench::with(config);
    let time = |got: Got| got.options.u32(51);
    assert_eq!(time(b.one(&discover(1))), Some(600));
    let asks = |seconds: u32| discover(1).with(51, seconds.to_be_bytes());
    assert_eq!(time(b.one(&asks(900))), Some(900));
    assert_eq!(time(b.one(&asks(5000))), Some(1200));
    // Who has an address and asks for no time gets the default too, not what is left.
    let address = b.dora(1);
    b.pass(200);
    let offer = b.one(&discover(1));
    assert_eq!((offer.yours(), offer.options.u32(51)), (address, Some(600)));
}

/// Section 4.3.1, table 3: fixed fields of OFFER and ACK.
#[test]
fn table_3_fields_of_offer_and_ack() {
    let mut config = config();
    config.subnets[0].settings.next_server = Some(ip("10.0.0.66"));
    config.subnets[0].settings.server_name = Some(b"boot.example".to_vec());
    config.subnets[0].settings.filename = Some(b"kernel".to_vec());
    let mut b = Bench::with(config);
    let mut bytes = Ask { broadcast: true, ..discover(1) }.bytes();
    bytes[3] = 3; // hops
    bytes[8..10].copy_from_slice(&[1, 2]); // secs
    let offer = raw(&mut b, &bytes).remove(0);
    let mut want = vec![2, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0];
    want.extend([[0; 4], [10, 0, 0, 10], [10, 0, 0, 66], [0; 4]].concat());
    want.extend([&mac(1)[..], &[0; 10]].concat());
    assert_eq!(offer[..44], want);
    assert_eq!(offer[44..57], *b"boot.example\0");
    assert_eq!(offer[108..115], *b"kernel\0");

    let mut bytes = renew(1, ip("10.0.0.10")).bytes();
    bytes[3] = 3;
    bytes[8..10].copy_from_slice(&[1, 2]);
    let ack = raw(&mut b, &bytes).remove(0);
    assert_eq!((ack[3], &ack[8..10]), (0, &[0, 0][..]), "hops and secs");
    assert_eq!(ack[12..20], [10, 0, 0, 10, 10, 0, 0, 10], "ciaddr and yiaddr");
}

/// Table 3: fields of a NAK, and what it must not say.
#[test]
fn table_3_fields_and_options_of_a_nak() {
    let mut config = config();
    config.subnets[0].settings.next_server = Some(ip("10.0.0.66"));
    config.subnets[0].settings.server_name = Some(b"boot.example".to_vec());
    config.subnets[0].settings.filename = Some(b"kernel".to_vec());
    for code in [1, 3, 6, 50, 51, 55, 57, 58, 60] {
        config.subnets[0].settings.options.set(code, vec![10, 0, 0, code]);
    }
    let mut b = Bench::with(config);
    b.dora(1);
    let ask = Ask { ciaddr: ip("10.0.0.10"), ..ask(message::REQUEST, 2) };
    let nak = b.one(&ask.with(55, [1, 3, 6, 51, 108]).with(12, b"me").with(57, [2, 64]));
    assert_eq!((nak.kind(), nak.codes()), (message::NAK, vec![53, 54, 56]));
    let m = nak.message();
    assert_eq!((m.op(), m.htype(), m.hlen(), m.hops(), m.xid()), (2, 1, 6, 0, 0x1234_5678));
    let zero = Ipv4Addr::UNSPECIFIED;
    assert_eq!((m.secs(), m.ciaddr(), m.yiaddr(), m.siaddr()), (0, zero, zero, zero));
    assert_eq!((m.sname(), m.file()), (&[0; 64][..], &[0; 128][..]));
    assert_eq!(m.chaddr(), mac(2));
}

/// Table 3: a NAK's options never go on in file and sname, however little room there is.
#[test]
fn a_nak_never_overflows() {
    let mut b = Bench::new();
    b.dora(1);
    let id = [7; 250];
    let nak = b.one(&reboot(2, ip("10.0.0.10")).id(&id).with(82, [9; 30]));
    assert_eq!(nak.options.get(61), Some(&id[..]), "what finds no room is the text");
    assert_eq!(nak.codes(), [53, 54, 61, 82]);
    assert_eq!(nak.message().file(), [0; 128]);
    assert_eq!(nak.message().sname(), [0; 64]);
}

/// Table 3: what OFFER and ACK must say, and must not.
#[test]
fn table_3_options_of_offer_and_ack() {
    let mut config = config();
    for code in [50, 51, 52, 53, 54, 55, 57, 61, 82] {
        config.subnets[0].settings.options.set(code, vec![10, 0, 0, 1]);
    }
    config.subnets[0].settings.options.set(56, b"read the notice".to_vec());
    let mut b = Bench::with(config);
    let ask = |ask: Ask| ask.with(57, [4, 0]).with(55, [50, 55, 57, 61, 82]).with(51, [0, 0, 1, 0]);
    let offer = b.one(&ask(discover(1)));
    let ack = b.one(&ask(select(1, offer.yours())));
    for got in [&offer, &ack] {
        assert_eq!(got.codes(), [53, 54, 51, 56, 1, 58, 59]);
        assert_eq!(got.options.u32(51), Some(256));
        assert_eq!(got.options.ipv4(54), Some(SERVER));
    }
}

/// Section 4.3.1: what a client asks for and the configuration has, once; what it has not, never.
#[test]
fn what_is_asked_for_is_sent_once_and_nothing_is_made_up() {
    let mut config = config();
    config.subnets[0].settings.options.set(6, vec![10, 0, 0, 1]);
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(55, [6, 6, 28, 6, 19, 1, 1, 26]));
    assert_eq!(got.codes(), [53, 54, 51, 6, 1, 58, 59]);
}

/// Section 4.3.1: a vendor class is all of option 60, or none of it.
#[test]
fn a_class_is_matched_exactly() {
    let mut config = config();
    let mut class = Class { value: b"ABC".to_vec(), settings: Default::default(), at: place() };
    class.settings.options.set(43, vec![1]);
    config.vendor_classes.push(class);
    let mut b = Bench::with(config);
    assert!(b.one(&discover(1).with(60, b"ABC")).options.get(43).is_some());
    for other in ["AB", "ABCD", "abc", "ABC\0", ""] {
        assert_eq!(b.one(&discover(1).with(60, other)).options.get(43), None, "{other:?}");
    }
}

/// Section 4.3.1: until the client has answered, its address is nobody else's, be the pool empty.
#[test]
fn an_offered_address_is_offered_to_nobody_else() {
    let mut b = Bench::new();
    let mut offered: Vec<Ipv4Addr> = (0..10).map(|n| b.one(&discover(n)).yours()).collect();
    offered.sort_unstable();
    offered.dedup();
    assert_eq!(offered.len(), 10);
    b.silent(&discover(10));
    b.silent(&discover(11).with(50, offered[0].octets()));
    assert_eq!(b.one(&reboot(12, offered[0])).kind(), message::NAK);
}

/// Section 4.3.2: to everybody without a relay agent; with one, to it, and marked for everybody.
#[test]
fn a_nak_reaches_a_client_that_has_no_address() {
    let mut b = Bench::new();
    b.dora(1);
    let near = b.one(&reboot(2, ip("10.0.0.10")));
    let Destination::Link { mac, address, port, .. } = near.reply.destination else { panic!() };
    assert_eq!((mac, address, port), ([255; 6], Ipv4Addr::BROADCAST, 68));
    let far = b.one(&reboot(2, ip("10.0.0.10")).relayed());
    assert_eq!(far.kind(), message::NAK);
    let Destination::Udp { address, port, .. } = far.reply.destination else { panic!() };
    assert_eq!((address, port), (RELAY, 67));
    assert_eq!(far.message().flags(), 0x8000);
    assert_eq!(far.message().giaddr(), RELAY);
}

/// Section 4.3.2, RENEWING: answered whenever it comes, at the address it says.
#[test]
fn a_renewal_is_answered_before_t1_too() {
    let mut b = Bench::new();
    let address = b.dora(1);
    for passed in [1, 100, 21_600] {
        b.pass(passed);
        let ack = b.one(&renew(1, address));
        assert_eq!((ack.kind(), ack.options.u32(51)), (message::ACK, Some(43_200)));
        let Destination::Link { address: to, port: 68, .. } = ack.reply.destination else {
            panic!()
        };
        assert_eq!(to, address);
    }
}

/// Section 4.3.4: what a released lease said of its client is still there.
#[test]
fn a_released_address_is_remembered_for_its_client() {
    let mut b = Bench::new();
    let address = b.dora(7);
    b.silent(&release(7, address));
    assert!(b.journal().contains("02:00:00:00:00:07"));
    for other in 10..15 {
        assert_ne!(b.dora(other), address);
    }
    assert_eq!(b.dora(7), address);
}

/// Sections 3.4 and 4.3.5: straight to ciaddr, whatever is flagged; no address, no times, and no
/// lease read or made.
#[test]
fn inform_is_answered_at_ciaddr_and_touches_no_lease() {
    let mut b = Bench::new();
    let held = b.dora(1);
    let inform = Ask { broadcast: true, ciaddr: held, ..ask(message::INFORM, 2) };
    let ack = b.one(&inform.with(54, SERVER.octets()).with(51, [0, 0, 1, 0]));
    let Destination::Link { address, mac: to, port: 68, .. } = ack.reply.destination else {
        panic!()
    };
    assert_eq!((address, to), (held, mac(2)));
    let m = ack.message();
    assert_eq!((ack.kind(), m.ciaddr(), m.yiaddr()), (message::ACK, held, Ipv4Addr::UNSPECIFIED));
    assert_eq!(ack.codes(), [53, 54, 1], "though another client has that address");
    assert_eq!((b.out.records, b.out.tables.len()), (0, 0));
    assert_eq!(b.one(&renew(1, held)).kind(), message::ACK);
}

/// Section 4.4.5: T1 before T2 before the end, for every lease there can be.
#[test]
fn t1_is_before_t2_and_that_before_the_end() {
    let mut config = config();
    config.subnets[0].settings.max_lease_time = Some(u32::MAX);
    let mut b = Bench::with(config);
    for seconds in (15..200).chain([3599, 3600, 86_401, u32::MAX - 1, u32::MAX]) {
        let got = b.one(&discover(1).with(51, u32::to_be_bytes(seconds)));
        let times = [58, 59, 51].map(|code| got.options.u32(code).unwrap());
        assert_eq!(times[2], seconds);
        assert!(0 < times[0] && times[0] < times[1] && times[1] < times[2], "{times:?}");
        assert_eq!((times[0], times[1]), (seconds / 2, (u64::from(seconds) * 7 / 8) as u32));
    }
}
