//! `get-lease-hostnames`: when a name is asked for, and where it goes when it is known.

use crate::engine::tests_kit::*;
use crate::engine::*;

const HOST_NAME: u8 = 12;

fn named(b: &mut Bench, address: Ipv4Addr, name: Option<&str>) {
    b.out.clear();
    b.engine.named(address, name.map(str::as_bytes), b.now, &mut b.out);
}

fn bench() -> Bench {
    let mut config = config();
    config.subnets[0].settings.get_lease_hostnames = Some(true);
    Bench::with(config)
}

#[test]
fn q25_a_name_is_asked_for_when_an_address_is_given_out() {
    let mut b = bench();
    let offer = b.one(&discover(1));
    let address = offer.yours();
    assert_eq!((&b.out.names[..], offer.options.get(HOST_NAME)), (&[address][..], None));
    let ack = b.one(&select(1, address));
    assert_eq!(ack.options.get(HOST_NAME), None, "nobody waits");
    assert!(b.out.names.is_empty(), "it was asked for with the offer");
    b.one(&renew(1, address));
    assert_eq!(b.out.names, [address], "there was no answer");
    named(&mut b, address, Some("pc.example.org"));
    assert!(b.journal().contains("\thostname \"pc.example.org\";\n"), "{}", b.journal());
    assert_eq!(b.out.records, 1);
    named(&mut b, address, Some("pc.example.org"));
    assert_eq!(b.out.records, 0, "that is known");
    let ack = b.one(&renew(1, address));
    assert_eq!(ack.options.get(HOST_NAME), Some(&b"pc.example.org"[..]));
    assert!(b.out.names.is_empty());
    assert!(b.journal().contains("pc.example.org"));

    // To somebody else, it is asked again; what is known is told meanwhile.
    b.silent(&release(1, address));
    b.pass(86_400);
    let offer = b.one(&discover(2).with(50, address.octets()));
    assert_eq!((offer.yours(), &b.out.names[..]), (address, &[address][..]));
    assert_eq!(offer.options.get(HOST_NAME), Some(&b"pc.example.org"[..]));
    named(&mut b, address, None);
    assert_eq!(b.out.records, 0, "the record is still to come");
    let ack = b.one(&select(2, address));
    assert_eq!(ack.options.get(HOST_NAME), None);
}

#[test]
fn q25_nothing_is_asked_where_names_are_not_wanted_and_never_for_a_whole_pool() {
    let mut b = bench();
    assert_eq!(b.one(&discover(1).relayed()).yours(), ip("10.1.0.10"));
    assert!(b.out.names.is_empty(), "that subnet does not say so");
    named(&mut b, ip("10.1.0.10"), Some("stray.example.org"));
    named(&mut b, ip("10.0.0.15"), Some("nobody.example.org"));
    assert_eq!(b.out.records, 0);
    assert_eq!(b.one(&reboot(1, ip("10.1.0.10")).relayed()).options.get(HOST_NAME), None);
    for client in 1..=5 {
        b.one(&discover(client));
        assert_eq!(b.out.names.len(), 1);
    }
}

#[test]
fn q25_other_names_come_first() {
    let mut config = config();
    config.subnets[0].settings.get_lease_hostnames = Some(true);
    config.hosts.push(host("declared", mac(1), &[]));
    config.hosts[0].settings.use_host_decl_names = Some(true);
    config.hosts.push(host("configured", mac(2), &[]));
    config.hosts[1].settings.options.set(HOST_NAME, b"own".to_vec());
    config.hosts.push(host("fixed", mac(4), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    for (client, want) in [(1, "declared"), (2, "own"), (3, "dns")] {
        let address = b.dora(client);
        named(&mut b, address, Some("dns"));
        let ack = b.one(&renew(client, address));
        assert_eq!(ack.options.get(HOST_NAME), Some(want.as_bytes()));
    }
    b.one(&discover(4));
    assert!(b.out.names.is_empty(), "fixed addresses are no leases");
}

#[test]
fn q25_who_is_abandoned_has_no_name() {
    let mut b = bench();
    let address = b.dora(1);
    named(&mut b, address, Some("pc.example.org"));
    b.silent(&decline(1, address));
    assert!(!b.journal().contains("hostname"));
    named(&mut b, address, Some("pc.example.org"));
    assert_eq!(b.out.records, 0);
}
