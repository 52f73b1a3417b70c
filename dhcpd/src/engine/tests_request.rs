//! REQUEST in each client state, and who may give back what.

use crate::config::Settings;
use crate::engine::tests_kit::*;
use crate::engine::*;

fn nak(got: &Got) -> String {
    assert_eq!(got.kind(), message::NAK);
    assert_eq!(got.yours(), Ipv4Addr::UNSPECIFIED);
    assert!(!got.reply.durable);
    String::from_utf8(got.options.get(56).unwrap().to_vec()).unwrap()
}

#[test]
fn selecting_what_was_offered_to_somebody_else_is_refused() {
    let mut b = Bench::new();
    let offered = b.one(&discover(1)).yours();
    assert_eq!(nak(&b.one(&select(2, offered))), "address is not available");
    assert_eq!(b.one(&select(1, offered)).kind(), message::ACK);
    assert_eq!(nak(&b.one(&select(2, offered))), "address is not available");
}

#[test]
fn init_reboot_of_a_held_or_free_address_is_acknowledged() {
    let mut b = Bench::new();
    let address = b.dora(1);
    assert_eq!(b.one(&reboot(1, address)).kind(), message::ACK);
    assert_eq!(b.one(&reboot(2, ip("10.0.0.19"))).kind(), message::ACK);
    assert_eq!(b.out.records, 1);
}

#[test]
fn init_reboot_on_another_network_is_refused_with_authority_only() {
    let mut b = Bench::new();
    let foreign = ip("10.1.0.10");
    assert_eq!(nak(&b.one(&reboot(1, foreign))), "address is not on this network");
    assert_eq!(nak(&b.one(&reboot(1, ip("192.168.7.7")))), "address is not on this network");
    let mut config = config();
    config.networks[0].authoritative = false;
    let mut b = Bench::with(config);
    b.silent(&reboot(1, foreign));
    b.silent(&reboot(1, ip("192.168.7.7")));
}

#[test]
fn from_an_unknown_network_the_address_says_who_has_authority() {
    let relay = |ask: Ask| Ask { giaddr: ip("172.16.0.1"), ..ask };
    let mut b = Bench::new();
    b.silent(&relay(discover(1)));
    assert_eq!(b.one(&relay(reboot(1, ip("10.1.0.10")))).kind(), message::NAK);
    b.silent(&relay(reboot(1, ip("172.16.0.9"))));
}

#[test]
fn a_client_with_a_lease_gets_no_second_one() {
    let mut b = Bench::new();
    b.dora(1);
    assert_eq!(nak(&b.one(&reboot(1, ip("10.0.0.15")))), "client holds another address");
    // On another network it may have one as well.
    assert_eq!(b.one(&reboot(1, ip("10.1.0.11")).relayed()).kind(), message::ACK);
}

#[test]
fn renewing_anothers_lease_is_refused() {
    let mut b = Bench::new();
    let address = b.dora(1);
    assert_eq!(nak(&b.one(&renew(2, address))), "address is not available");
    assert_eq!(b.out.records, 0);
}

#[test]
fn renewing_an_ended_lease_works_until_somebody_else_has_it() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.pass(90_000);
    assert_eq!(b.one(&renew(1, address)).kind(), message::ACK);
    b.pass(90_000);
    assert_eq!(b.one(&reboot(2, address)).kind(), message::ACK);
    assert_eq!(b.one(&renew(1, address)).kind(), message::NAK);
}

#[test]
fn in_our_subnet_but_in_no_pool_is_silence() {
    let mut b = Bench::new();
    b.silent(&reboot(1, ip("10.0.0.200")));
    b.silent(&renew(1, ip("10.0.0.200")));
    b.silent(&renew(1, ip("192.168.1.1")));
    b.silent(&ask(message::REQUEST, 1));
}

#[test]
fn a_fixed_address_is_all_its_client_gets_and_nobody_else_does() {
    let mut config = config();
    config.hosts.push(host("printer", mac(1), &["10.9.0.5", "10.0.0.5", "10.0.0.6"]));
    config.hosts.push(host("inside", mac(3), &["10.0.0.10"]));
    let mut b = Bench::with(config);
    let offer = b.one(&discover(1).with(50, ip("10.0.0.15").octets()));
    assert_eq!((offer.yours(), offer.reply.durable), (ip("10.0.0.5"), false));
    for fixed in ["10.0.0.5", "10.0.0.6"] {
        let ack = b.one(&select(1, ip(fixed)));
        assert_eq!((ack.kind(), ack.reply.durable, b.out.records), (message::ACK, false, 0));
    }
    assert_eq!(nak(&b.one(&select(1, ip("10.0.0.15")))), "requested address is incorrect");
    assert_eq!(nak(&b.one(&reboot(2, ip("10.0.0.10")))), "address is reserved");
    // Where it has no fixed address it is a client like any other.
    assert_eq!(b.one(&discover(1).relayed()).yours(), ip("10.1.0.10"));
}

/// RFC 2131 section 4.3.2: REBINDING is broadcast, so that it is known where the client is; RENEWING
/// may come from anywhere.
#[test]
fn who_is_rebinding_on_another_network_than_its_address_is_refused() {
    let mut b = Bench::new();
    let near = b.dora(1);
    let far = b.one(&discover(2).relayed()).yours();
    assert_eq!(b.one(&select(2, far).relayed()).kind(), message::ACK);
    let everybody = |source| Meta { source, ..Bench::meta(Some(mac(2))) };
    let mut rebind = |client, address| b.send_by(&renew(client, address), &everybody(address));
    assert_eq!(rebind(1, near)[0].kind(), message::ACK);
    for wrong in [far, ip("172.16.0.9")] {
        assert_eq!(nak(&rebind(2, wrong)[0]), "address is not on this network");
    }
    assert_eq!(b.one(&renew(2, far)).kind(), message::ACK);
    b.silent(&renew(2, ip("172.16.0.9")));
    // A network that we have no authority over is not for us to judge.
    let mut config = config();
    config.networks[0].authoritative = false;
    let mut b = Bench::with(config);
    assert!(b.send_by(&renew(2, far), &everybody(far)).is_empty());
}

#[test]
fn clients_that_are_not_to_be_served_are_not() {
    let mut config = config();
    config.subnets[0].settings.unknown_clients = Some(false);
    config.hosts.push(host("known", mac(2), &[]));
    config.hosts.push(host("denied", mac(3), &[]));
    config.hosts.push(host("denied-fixed", mac(4), &["10.0.0.4"]));
    for host in &mut config.hosts[1..] {
        host.settings.booting = Some(false);
    }
    let mut b = Bench::with(config);
    for client in [1, 3, 4] {
        b.silent(&discover(client));
    }
    b.silent(&reboot(1, ip("10.0.0.12")));
    b.silent(&reboot(3, ip("10.0.0.12")));
    b.silent(&reboot(4, ip("10.0.0.4")));
    assert!(b.engine.is_empty(), "nothing is taken up for who is not served");
    assert_eq!(b.dora(2), ip("10.0.0.10"));
}

#[test]
fn a_class_that_may_not_boot_is_ignored_unless_a_host_is_known() {
    let mut config = config();
    let settings = Settings { booting: Some(false), ..Settings::default() };
    config.vendor_classes.push(crate::config::Class {
        value: b"thin".to_vec(),
        settings,
        at: place(),
    });
    config.hosts.push(host("known", mac(2), &[]));
    let mut b = Bench::with(config);
    b.silent(&discover(1).with(60, "thin"));
    b.one(&discover(1).with(60, "thinner"));
    b.one(&discover(2).with(60, "thin"));
}

#[test]
fn an_abandoned_address_that_is_requested_is_given() {
    let mut b = Bench::new();
    let address = b.dora(1);
    b.silent(&decline(1, address));
    assert_ne!(b.one(&discover(2).with(50, address.octets())).yours(), address);
    assert_eq!(b.one(&reboot(3, address)).kind(), message::ACK);
    assert_eq!(b.events(address), "LC");
    assert!(b.engine.tables(b.now).1.is_empty());
}

#[test]
fn a_boot_rom_without_identifier_and_its_system_share_an_address() {
    let mut b = Bench::new();
    let address = b.dora(1);
    let system = |ask: Ask| ask.id(b"system");
    assert_eq!(b.one(&system(discover(1))).yours(), address);
    assert_eq!(b.one(&system(select(1, address))).kind(), message::ACK);
    assert_eq!(b.one(&discover(1)).yours(), address);
    // Another system on the same machine is somebody else.
    assert_ne!(b.one(&discover(1).id(b"other")).yours(), address);
}

#[test]
fn one_client_one_lease_a_network_even_if_it_changes_its_hardware() {
    let mut b = Bench::new();
    let address = b.one(&discover(1).id(b"x")).yours();
    b.one(&select(1, address).id(b"x"));
    assert_eq!(b.one(&discover(2).id(b"x")).yours(), address);
    assert_eq!(b.one(&select(2, address).id(b"x")).kind(), message::ACK);
    assert_eq!(b.events(address), "L", "C went with the offer");
}

#[test]
fn a_release_is_believed_only_if_nobody_answers() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    let address = b.pass(1)[0].yours();
    b.one(&select(1, address));
    b.silent(&release(1, address));
    b.silent(&release(1, address));
    assert!(b.out.pings.is_empty(), "one ping a release");
    b.echo(address);
    b.pass(2);
    assert_eq!((b.events(address).as_str(), b.out.records), ("", 0));
    assert_eq!(b.engine.tables(b.now).0, [address]);
}

#[test]
fn who_comes_back_during_its_release_keeps_its_lease() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    let address = b.pass(1)[0].yours();
    b.one(&select(1, address));
    b.silent(&release(1, address));
    assert_eq!(b.one(&discover(1)).yours(), address);
    b.pass(1);
    assert_eq!(b.engine.tables(b.now).0, [address]);
}

#[test]
fn while_a_ping_runs_nothing_else_is_answered_for_that_address() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    b.silent(&discover(1));
    b.silent(&reboot(1, ip("10.0.0.10")));
    b.silent(&decline(1, ip("10.0.0.10")));
    let offers = b.pass(1);
    assert_eq!((offers.len(), offers[0].yours()), (1, ip("10.0.0.10")));
    // Handled lately: no second ping.
    assert_eq!(b.one(&discover(1)).yours(), ip("10.0.0.10"));
    b.pass(61);
    b.silent(&discover(1));
    assert_eq!(b.out.pings, [ip("10.0.0.10")]);
}

#[test]
fn a_holder_is_not_pinged_off_its_own_address() {
    let mut b = Bench::pinging(config());
    b.silent(&discover(1));
    let address = b.pass(1)[0].yours();
    b.one(&select(1, address));
    b.pass(3_000);
    assert_eq!(b.one(&discover(1)).yours(), address);
}

#[test]
fn a_subnet_may_do_without_pings() {
    let mut config = config();
    config.subnets[0].settings.ping_check = Some(false);
    let mut b = Bench::pinging(config);
    let address = b.dora(1);
    assert!(b.out.pings.is_empty());
    b.silent(&release(1, address));
    assert_eq!((b.events(address).as_str(), b.out.pings.len()), ("LR", 0));
}

#[test]
fn pings_beyond_the_limit_drop_the_discover_and_lose_no_address() {
    let options = EngineOptions { max_pending: 2, ..EngineOptions::default() };
    let mut b = Bench::full(config(), options);
    for client in 1..=9 {
        b.silent(&discover(client));
        assert_eq!(b.out.pings.len(), usize::from(client <= 2));
    }
    assert_eq!(b.pass(1).len(), 2);
    for round in 0..4 {
        b.silent(&discover(10 + 2 * round));
        b.silent(&discover(11 + 2 * round));
        assert_eq!(b.pass(1).len(), 2, "round {round}");
    }
}

#[test]
fn inform_is_answered_without_a_lease() {
    let mut b = Bench::new();
    let inform = Ask { ciaddr: ip("10.0.0.77"), ..ask(message::INFORM, 1) };
    let ack = b.one(&inform);
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, Ipv4Addr::UNSPECIFIED));
    assert_eq!((ack.options.get(51), ack.options.get(58)), (None, None));
    assert!(!ack.reply.durable && b.engine.is_empty());
    let Destination::Link { address, port: 68, .. } = ack.reply.destination else { panic!() };
    assert_eq!(address, ip("10.0.0.77"));
    // Whose address is not its own is not told where others are.
    let meta = Meta { source: ip("10.0.0.78"), ..Bench::meta(None) };
    assert!(b.send_by(&inform, &meta).is_empty());
    b.silent(&Ask { ciaddr: ip("192.168.3.3"), ..ask(message::INFORM, 1) });
}

/// Two machines with one identifier, one of which shares its hardware with a client without: the
/// offer to one of them is no way into the lease of the other.
#[test]
fn a_shared_identifier_opens_no_lease_of_others() {
    let mut b = Bench::new();
    let held = b.dora(1);
    assert_eq!(b.one(&discover(1).id(b"shared")).yours(), held);
    let other = b.one(&discover(2).id(b"shared")).yours();
    assert_ne!(other, held);
    assert_eq!(b.one(&discover(1).id(b"shared")).yours(), held);
    assert_eq!(b.one(&select(2, held).id(b"shared")).kind(), message::NAK);
    b.silent(&decline(2, held).id(b"shared"));
    b.silent(&release(2, held).id(b"shared"));
    assert_eq!(b.out.records, 0);
    assert_eq!(b.one(&renew(1, held)).kind(), message::ACK);
}
