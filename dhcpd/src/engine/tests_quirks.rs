//! Spec section 22: each defect of OpenBSD's dhcpd that an engine can have, and that ours has not.

use super::tests_kit::*;
use super::*;
use crate::config::{Hardware, Settings};
use crate::leasefile;

fn record(address: &str, client: u16, ends: i64) -> LeaseRecord {
    LeaseRecord {
        starts: START - 100,
        ends,
        hardware: Some(Hardware { htype: 1, addr: mac(client).to_vec() }),
        ..LeaseRecord::new(ip(address))
    }
}

fn snapshot(b: &Bench, limit: usize) -> String {
    let mut out = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        cursor = b.engine.snapshot_from(at, limit, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn q1_tables_are_known_after_a_restart() {
    let mut b = Bench::new();
    b.engine.load(record("10.0.0.12", 1, START + 10), b.now);
    assert_eq!(b.engine.tables(b.now).0, [ip("10.0.0.12")]);
}

/// A record whose holder was damaged: the address is somebody's, whoever that is.
#[test]
fn an_address_whose_holder_cannot_be_read_is_written_again_until_its_lease_ends() {
    let mut b = Bench::new();
    let damaged = LeaseRecord { hardware: None, ..record("10.0.0.10", 1, START + 10) };
    b.engine.load(damaged, b.now);
    let text = snapshot(&b, 10);
    assert!(text.starts_with("lease 10.0.0.10 {\n"), "{text}");
    let again = leasefile::read(text.as_bytes()).next().unwrap().unwrap();
    assert_eq!((again.ends, again.hardware), (START + 10, None));
    assert_ne!(b.one(&discover(2)).yours(), ip("10.0.0.10"));
    b.pass(11);
    assert_eq!(snapshot(&b, 10), "");
}

/// A client has its whole seconds, in whichever part of one of ours they begin.
#[test]
fn a_lease_is_not_over_before_its_clients_time() {
    let mut b = Bench::with(read(
        "default-lease-time 60; max-lease-time 60;
         subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10; }",
    ));
    b.now.mono += 999;
    let address = b.dora(1);
    let lease = leasefile::read(b.journal().as_bytes()).next().unwrap().unwrap();
    assert_eq!(lease.ends - lease.starts, 60);
    b.now.mono += 59_001;
    b.tick();
    b.silent(&discover(2));
    assert_eq!(b.one(&select(2, address)).kind(), message::NAK);
    b.now.mono += 1_000;
    b.tick();
    assert_eq!(b.dora(2), address);
}

#[test]
fn q4_a_host_overrides_a_subnet_only_in_what_it_says() {
    let mut config = config();
    config.subnets[0].settings.default_lease_time = Some(600);
    config.subnets[0].settings.options.set(6, vec![9, 9, 9, 9]);
    let mut known = host("known", mac(1), &["10.0.0.5"]);
    known.settings.options.set(12, b"printer".to_vec());
    config.hosts.push(known);
    let mut b = Bench::with(config);
    let offer = b.one(&discover(1));
    assert_eq!(offer.options.u32(51), Some(600));
    assert_eq!(offer.options.get(6), Some(&[9, 9, 9, 9][..]));
    assert_eq!(offer.options.get(12), Some(&b"printer"[..]));
}

#[test]
fn q9_leases_outside_the_ranges_are_kept_while_they_last() {
    let mut b = Bench::new();
    b.engine.load(record("10.0.0.99", 1, START + 100), b.now);
    b.engine.load(record("192.168.0.1", 2, START + 200), b.now);
    b.engine.load(record("192.168.0.2", 2, START - 1), b.now);
    b.dora(7);
    for limit in [1, 2, 100] {
        let text = snapshot(&b, limit);
        let at = |what: &str| text.matches(&format!("lease {what} {{")).count();
        let count = [at("10.0.0.10"), at("10.0.0.99"), at("192.168.0.1"), at("192.168.0.2")];
        assert_eq!(count, [1, 1, 1, 0], "{limit}");
    }
    b.pass(150);
    assert!(!snapshot(&b, 9).contains("10.0.0.99") && snapshot(&b, 9).contains("192.168.0.1"));
    b.silent(&renew(1, ip("10.0.0.99")));
}

#[test]
fn q10_what_a_client_has_comes_before_what_it_asks_for() {
    let mut b = Bench::new();
    let address = b.dora(1);
    let wish = ip("10.0.0.17");
    assert_eq!(b.one(&discover(1).with(50, wish.octets())).yours(), address);
    b.pass(90_000);
    assert_eq!(b.one(&discover(1).with(50, wish.octets())).yours(), address, "also if it ended");
    assert_eq!(b.one(&discover(2).with(50, wish.octets())).yours(), wish);
    assert_eq!(b.one(&discover(3).with(50, wish.octets())).yours(), ip("10.0.0.11"));
    assert_eq!(b.one(&Ask { ciaddr: ip("10.0.0.18"), ..discover(4) }).yours(), ip("10.0.0.18"));
    // Nothing of another network, and nothing outside the ranges.
    assert_eq!(b.one(&discover(5).with(50, [10, 1, 0, 10])).yours(), ip("10.0.0.12"));
    assert_eq!(b.one(&discover(6).with(50, [10, 0, 0, 200])).yours(), ip("10.0.0.13"));
}

#[test]
fn q11_fixed_addresses_in_a_range_are_nobody_elses() {
    let mut config = config();
    config.hosts.push(host("a", mac(100), &["10.0.0.10", "10.0.0.12"]));
    config.hosts.push(host("b", mac(101), &["10.0.0.19"]));
    let mut b = Bench::with(config);
    b.engine.load(record("10.0.0.12", 5, START + 1000), b.now);
    let mut given: Vec<u8> = (1..=7).map(|client| b.dora(client).octets()[3]).collect();
    given.sort_unstable();
    assert_eq!(given, [11, 13, 14, 15, 16, 17, 18]);
    b.silent(&discover(8));
    b.silent(&discover(9).with(50, [10, 0, 0, 12]));
    assert_eq!(b.dora(100), ip("10.0.0.10"));
    assert_eq!(b.dora(101), ip("10.0.0.19"));
}

#[test]
fn q12_a_malformed_packet_is_refused_every_time() {
    let mut b = Bench::new();
    let mut bytes = discover(1).bytes();
    bytes.truncate(bytes.len() - 1);
    bytes.extend([12, 9, b'x']);
    for _ in 0..20 {
        b.out.clear();
        b.engine.input(&bytes, &Bench::meta(Some(mac(1))), b.now, &mut b.out);
        assert!(b.out.replies.is_empty());
    }
}

#[test]
fn q13_discover_keeps_the_committed_end() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.pass(100);
    assert_eq!(b.one(&discover(1)).yours(), address);
    b.pass(130);
    assert_eq!(b.events(address), "", "the offer lapsed, the lease did not");
    assert_eq!(b.engine.tables(b.now).0, [address]);
    assert_eq!(b.one(&renew(2, address)).kind(), message::NAK);
    b.pass(43_200 - 230 - 1);
    assert_eq!(b.events(address), "");
    b.pass(1);
    assert_eq!(b.events(address), "R");
}

#[test]
fn q13_an_offer_to_another_client_leaves_the_ended_lease_on_record() {
    let mut b = Bench::new();
    for client in 0..10 {
        b.dora(client);
        b.pass(1);
    }
    b.pass(90_000);
    let before = snapshot(&b, 99);
    assert_eq!(b.one(&discover(50)).yours(), ip("10.0.0.10"));
    assert_eq!(snapshot(&b, 99), before);
    b.pass(120);
    assert_eq!(b.one(&discover(0)).yours(), ip("10.0.0.10"));
}

#[test]
fn q14_another_servers_client_gets_no_answer_and_its_offer_is_free() {
    let mut b = Bench::new();
    let offered = b.one(&discover(1)).yours();
    let other = |ask: Ask| ask.with(54, OTHER_SERVER.octets());
    b.silent(&other(reboot(1, offered)));
    assert_eq!((b.events(offered).as_str(), b.out.records), ("R", 0));
    assert!(b.engine.tables(b.now).0.is_empty());
    b.silent(&other(reboot(1, ip("10.1.0.10"))));
    b.silent(&other(reboot(1, ip("192.168.1.1"))));
    b.silent(&reboot(1, offered).with(54, [10, 0, 0]));
    assert_eq!(b.out.records, 0);
    // A lease that it holds from us stays.
    let held = b.dora(2);
    b.silent(&other(reboot(2, ip("10.0.0.250"))));
    assert_eq!(b.engine.tables(b.now).0, [held]);
}

#[test]
fn q15_only_the_holder_may_decline_or_release() {
    let mut b = Bench::new();
    let address = b.one(&discover(1).id(b"one")).yours();
    b.one(&select(1, address).id(b"one"));
    let strange = [
        decline(2, address),
        decline(1, address),
        decline(1, address).id(b"two"),
        decline(2, address).id(b"two"),
        release(2, address),
        release(1, address),
        release(1, address).id(b"two"),
        release(2, address).id(b"two"),
        decline(1, ip("10.0.0.15")).id(b"one"),
        ask(message::DECLINE, 1).with(50, [10, 0]).id(b"one"),
    ];
    for ask in strange {
        b.silent(&ask);
        assert!(b.out.tables.is_empty() && b.out.records == 0, "{ask:?}");
    }
    let to_another = Ask { options: vec![], ..release(1, address) }.id(b"one");
    b.silent(&to_another.clone().with(54, OTHER_SERVER.octets()));
    assert_eq!(b.out.records, 0);
    b.silent(&to_another);
    assert_eq!((b.out.records, b.events(address).as_str()), (1, "LR"));
    b.silent(&decline(1, address).id(b"one"));
    assert_eq!(b.out.records, 0, "what was released is not to be declined");
}

#[test]
fn q15_declines_are_rationed() {
    let mut config = config();
    config.subnets[0].ranges[0].high = ip("10.0.0.250");
    let mut b = Bench::with(config);
    let mut declined = 0;
    for client in 0..100 {
        let address = b.dora(client);
        b.silent(&decline(client, address));
        declined += b.out.records;
    }
    assert_eq!(declined, 32);
    b.pass(20);
    for client in 100..110 {
        let address = b.dora(client);
        b.silent(&decline(client, address));
        declined += b.out.records;
    }
    assert_eq!(declined, 34);
}

#[test]
fn q16_what_is_on_disk_is_what_was_sent() {
    for (asked, given) in [(7, 43_200), (14, 43_200), (15, 15), (1_000_000, 86_400)] {
        let mut b = Bench::new();
        let ask = reboot(1, ip("10.0.0.10")).with(51, u32::to_be_bytes(asked));
        let ack = b.one(&ask);
        assert_eq!(ack.options.u32(51), Some(given));
        let ends = START + i64::from(given);
        let mut expected = Actions::default();
        let written = crate::lease::LeaseView {
            address: ip("10.0.0.10"),
            starts: START,
            ends,
            hardware: Some((1, &mac(1))),
            client_id: None,
            dynamic_bootp: false,
            abandoned: false,
            client_hostname: None,
            hostname: None,
        };
        crate::leasefile::append_record(&mut expected.journal, &written);
        assert_eq!(b.out.journal, expected.journal);
        b.pass(u64::from(given) - 1);
        assert_eq!(b.engine.tables(b.now).0.len(), 1);
        b.pass(1);
        assert_eq!(b.engine.tables(b.now).0.len(), 0);
    }
}

#[test]
fn q17_option_108_goes_only_to_who_asks() {
    let mut config = config();
    config.subnets[0].settings.options.set(108, vec![0, 0, 7, 8]);
    config.subnets[0].settings.options.set(6, vec![9, 9, 9, 9]);
    let mut b = Bench::with(config.clone());
    assert_eq!(b.one(&discover(1)).options.get(108), None);
    let offer = b.one(&discover(1).with(55, [1, 3]));
    assert_eq!(offer.options.get(108), None);
    assert!(offer.options.get(6).is_some(), "other options are sent unasked");
    let offer = b.one(&discover(1).with(55, [1, 108]));
    assert_eq!(offer.options.get(108), Some(&[0, 0, 7, 8][..]));
    // A list of our own orders what is sent; it does not ask in the client's place.
    config.subnets[0].settings.options.set(55, vec![108]);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&discover(1).with(55, [1])).options.get(108), None);
    assert!(b.one(&discover(1).with(55, [1, 108])).options.get(108).is_some());
}

#[test]
fn q21_a_nak_says_who_and_why_and_obeys_the_switch() {
    for echo in [None, Some(true), Some(false)] {
        let mut config = config();
        config.subnets[0].settings.echo_client_id = echo;
        config.subnets[1].settings.echo_client_id = echo;
        let mut b = Bench::with(config);
        b.dora(1);
        let nak = b.one(&reboot(2, ip("10.0.0.10")).id(b"me"));
        assert_eq!(nak.options.ipv4(54), Some(SERVER));
        assert_eq!(nak.options.get(56), Some(&b"address is not available"[..]));
        assert_eq!(nak.options.get(61).is_some(), echo != Some(false));
        let nak = b.one(&reboot(2, ip("10.1.0.10")).id(b"me"));
        assert_eq!(nak.options.get(56), Some(&b"address is not on this network"[..]));
        assert_ne!(nak.message().flags() & 0x8000, 0);
        assert_eq!(nak.codes()[..2], [53, 54]);
    }
}

#[test]
fn q22_the_relay_agents_option_comes_back_verbatim_and_last() {
    let mut config = config();
    config.subnets[1].settings.options.set(82, b"configured".to_vec());
    let mut b = Bench::with(config);
    let value = [1, 4, b'p', b'o', b'r', b't', 2, 3, 0, 1, 2, 255];
    for ask in [discover(1), reboot(1, ip("10.1.0.10")), reboot(1, ip("10.0.0.10"))] {
        let got = b.one(&ask.relayed().with(82, value).id(b"me"));
        assert_eq!(got.options.get(82), Some(&value[..]));
        assert_eq!(got.codes().last(), Some(&82));
    }
    assert_eq!(b.one(&discover(1).relayed()).options.get(82), None);
}

#[test]
fn q23_what_is_no_request_is_ignored_and_types_are_told_apart() {
    let mut b = Bench::new();
    for op in [0, 2, 3, 255] {
        let mut bytes = discover(1).bytes();
        bytes[0] = op;
        b.out.clear();
        b.engine.input(&bytes, &Bench::meta(Some(mac(1))), b.now, &mut b.out);
        assert!(b.out.replies.is_empty());
    }
    let address = b.dora(1);
    let other = Ask { htype: 6, ..discover(1) };
    assert_ne!(b.one(&other).yours(), address);
    let mut config = config();
    config.hosts.push(host("ethernet", mac(1), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    assert_eq!(b.one(&discover(1)).yours(), ip("10.0.0.5"));
    assert_eq!(b.one(&other).yours(), ip("10.0.0.10"));
}

#[test]
fn q24_a_huge_pool_costs_nothing_until_it_is_used() {
    let mut config = config();
    config.subnets[0].net = "10.0.0.0/9".parse().unwrap();
    config.subnets[0].ranges[0].high = ip("10.127.255.255");
    config.subnets.truncate(1);
    config.networks.truncate(1);
    let mut b = Bench::with(config);
    assert_eq!(b.engine.len(), 0);
    for client in 0..1000 {
        b.one(&discover(client));
    }
    assert_eq!(b.engine.len(), 1000);
    assert_eq!(b.one(&discover(2000).with(50, [10, 100, 0, 0])).yours(), ip("10.100.0.0"));
}

#[test]
fn q26_who_asks_for_no_time_gets_the_default() {
    let mut config = config();
    config.subnets[0].settings.default_lease_time = Some(777);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&discover(1).with(51, [0; 4])).options.u32(51), Some(777));
    assert_eq!(b.one(&discover(1).with(51, [0; 3])).options.u32(51), Some(777));
    assert_eq!(b.one(&discover(1)).options.u32(51), Some(777));
    assert_eq!(b.one(&discover(1).with(51, [255; 4])).options.u32(51), Some(86_400));
}

#[test]
fn lease_times_are_the_hosts_then_the_subnets() {
    let mut config = config();
    let times = |default, max| Settings {
        default_lease_time: Some(default),
        max_lease_time: Some(max),
        ..Settings::default()
    };
    config.subnets[0].settings = times(600, 1200);
    let mut known = host("known", mac(1), &[]);
    known.settings = times(0, 1000);
    config.hosts.push(known);
    config.vendor_classes.push(crate::config::Class {
        value: b"v".to_vec(),
        settings: times(5, 5),
        at: place(),
    });
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(60, "v"));
    assert_eq!((got.options.u32(51), got.options.u32(58)), (Some(600), Some(300)));
    assert_eq!(got.options.u32(59), Some(525));
    assert_eq!(b.one(&discover(1).with(51, [255; 4])).options.u32(51), Some(1000));
    assert_eq!(b.one(&discover(2).with(51, [255; 4])).options.u32(51), Some(1200));
}

#[test]
fn q28_long_client_identifiers_live_and_die_in_peace() {
    let mut b = Bench::new();
    for len in [1, 22, 23, 254, 255] {
        let id = vec![7; len];
        let address = b.one(&discover(1).id(&id)).yours();
        assert_eq!(b.one(&select(1, address).id(&id)).options.get(61), Some(&id[..]));
        b.silent(&release(1, address).id(&id));
        assert_eq!(b.out.records, 1, "{len}");
    }
    // RFC 3396 would allow more; nobody needs it.
    b.silent(&discover(1).id(&[7; 256]));
    b.silent(&discover(1).id(&[7; 1000]));
    b.silent(&Ask { hw: vec![], ..discover(1) });
    b.one(&Ask { hw: vec![], ..discover(1) }.id(b"infiniband"));
}

#[test]
fn q28_every_option_at_once_in_any_order() {
    let mut config = config();
    for code in 1..=254 {
        config.subnets[0].settings.options.set(code, vec![1; 4]);
    }
    let mut b = Bench::with(config);
    let all: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
    let got = b.one(&discover(1).with(55, all).with(57, [255, 255]));
    let mut codes = got.codes();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count, "no option twice");
    assert!(got.options.get(82).is_none() && got.bytes.len() <= 1500);
}
