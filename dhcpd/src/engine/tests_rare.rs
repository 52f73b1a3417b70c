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

#[test]
fn a_nak_names_the_server_as_the_clients_own_network_has_it() {
    let mut config = config();
    config.subnets[0].settings.echo_client_id = Some(false);
    config.subnets[1].settings.options.set(54, vec![10, 1, 0, 254]);
    let mut b = Bench::with(config);
    let nak = b.one(&reboot(1, ip("10.1.0.10")).id(b"me"));
    assert_eq!((nak.kind(), nak.options.ipv4(54)), (message::NAK, Some(SERVER)));
    assert_eq!((nak.reply.source, nak.options.get(61)), (SERVER, None));
    let nak = b.one(&reboot(1, ip("10.0.0.10")).relayed());
    assert_eq!((nak.kind(), nak.options.ipv4(54)), (message::NAK, Some(ip("10.1.0.254"))));
}

/// A host keeps what is its own, whether its addresses lie in a range, outside, or elsewhere, and
/// whatever it held before it was declared.
#[test]
fn a_host_with_addresses_in_and_out_of_the_range() {
    let mut config = config();
    config.hosts.push(host("both", mac(1), &["10.0.0.12", "10.0.0.99", "10.1.0.50"]));
    let mut b = Bench::with(config);
    b.engine.load(record("10.0.0.11", 1, START + 500), b.now);
    b.engine.load(record("10.0.0.12", 2, START + 500), b.now);
    assert_eq!(b.one(&discover(1)).yours(), ip("10.0.0.12"));
    for own in ["10.0.0.12", "10.0.0.99"] {
        for ask in [select(1, ip(own)), reboot(1, ip(own)), renew(1, ip(own))] {
            assert_eq!((b.one(&ask).kind(), b.out.records), (message::ACK, 0), "{ask:?}");
        }
    }
    assert_eq!(b.one(&renew(1, ip("10.0.0.11"))).kind(), message::NAK);
    assert_eq!(b.one(&reboot(1, ip("10.1.0.50"))).kind(), message::NAK);
    assert_eq!(b.one(&reboot(1, ip("10.1.0.50")).relayed()).kind(), message::ACK);
    // The lease of before is its own still, and to be given back.
    b.silent(&release(1, ip("10.0.0.11")));
    assert_eq!(b.events(ip("10.0.0.11")), "LR");
    assert_eq!(b.one(&renew(2, ip("10.0.0.12"))).kind(), message::NAK);
    b.silent(&decline(1, ip("10.0.0.12")));
    assert_eq!(b.out.records, 0);
}

#[test]
fn an_endless_lease_is_as_long_as_its_number_says() {
    let mut config = config();
    config.subnets[0].settings.max_lease_time = Some(u32::MAX);
    let mut b = Bench::with(config);
    let address = ip("10.0.0.10");
    let ack = b.one(&reboot(1, address).with(51, [255; 4]));
    let times = [51, 58, 59].map(|code| ack.options.u32(code));
    assert_eq!(times, [Some(u32::MAX), Some(u32::MAX / 2), Some(3_758_096_383)]);
    assert!(b.journal().contains("ends 6 2159/12/22 04:41:35 UTC"), "{}", b.journal());
    b.pass(u64::from(u32::MAX) - 1);
    assert_eq!(b.one(&reboot(2, address)).kind(), message::NAK);
    b.pass(1);
    assert_eq!(b.events(address), "R");
}

/// RFC 6842 section 3 knows no excuse for leaving the identifier out.
#[test]
fn the_identifier_is_echoed_however_little_room_there_is() {
    let mut config = config();
    for code in 128..=223 {
        config.subnets[0].settings.options.set(code, vec![code; 30]);
    }
    let mut b = Bench::with(config);
    let id = [7; 60];
    let got = b.one(&discover(1).id(&id).with(55, (128..=223).collect::<Vec<u8>>()));
    assert_eq!(got.options.get(61), Some(&id[..]));
    assert_eq!(got.options.u32(51), Some(43_200));
}

/// Whether a client is known, and whether it is served, does not depend on where it is.
#[test]
fn a_host_whose_addresses_are_elsewhere_is_a_host_still() {
    let mut config = config();
    config.subnets[0].settings.unknown_clients = Some(false);
    config.hosts.push(host("roams", mac(1), &["10.1.0.5"]));
    config.hosts.push(host("denied", mac(2), &["10.1.0.6"]));
    config.hosts[0].settings.options.set(12, b"home".to_vec());
    config.hosts[1].settings.booting = Some(false);
    let mut b = Bench::with(config);
    let offer = b.one(&discover(1));
    assert_eq!((offer.yours(), offer.options.get(12)), (ip("10.0.0.10"), None));
    assert_eq!(b.one(&select(1, ip("10.0.0.10"))).kind(), message::ACK);
    b.silent(&discover(2));
    b.silent(&reboot(2, ip("10.0.0.11")));
    b.silent(&discover(3));
}
