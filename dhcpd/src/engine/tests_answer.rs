//! What replies say, in which order, and where they go.

use crate::config::{Class, Settings};
use crate::engine::tests_kit::*;
use crate::engine::*;

fn settings(set: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    set(&mut settings);
    settings
}

fn class(value: &[u8], set: impl FnOnce(&mut Settings)) -> Class {
    Class { value: value.to_vec(), settings: settings(set), at: place() }
}

#[test]
fn order_of_options() {
    let mut config = config();
    for code in [3, 6, 15, 28, 33, 42, 44, 51, 53, 58, 61, 224] {
        config.subnets[0].settings.options.set(code, vec![10, 0, 0, code]);
    }
    let mut b = Bench::with(config.clone());
    let got = b.one(&discover(1).id(b"me").with(55, [15, 6, 6, 99, 1, 0, 255]));
    assert_eq!(got.codes(), [53, 54, 51, 61, 15, 6, 1, 3, 28, 33, 42, 44, 58, 59, 224]);
    assert_eq!(got.options.get(61), Some(&b"me"[..]));
    assert_eq!(got.options.u32(58), Some(21_600), "T1 is the server's");

    // Classless routes come first and replace the others, for who asks for them.
    config.subnets[0].settings.options.set(121, vec![0, 10, 0, 0, 1]);
    config.subnets[0].settings.options.set(249, vec![0, 10, 0, 0, 2]);
    let mut b = Bench::with(config.clone());
    let got = b.one(&discover(1).with(55, [3, 6, 121]));
    assert_eq!(got.codes(), [53, 54, 51, 121, 6, 1, 15, 28, 42, 44, 58, 59, 224, 249]);
    let got = b.one(&discover(1).with(55, [3, 6]));
    assert_eq!(got.codes()[..6], [53, 54, 51, 1, 3, 6], "no router before the mask");

    // A configured request list is stronger than the client's.
    config.subnets[0].settings.options.set(55, vec![44, 1]);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&discover(1).with(55, [3, 6])).codes()[..5], [53, 54, 51, 44, 1]);
}

#[test]
fn the_strongest_scope_wins_option_by_option() {
    let mut config = config();
    let says = |codes: &'static [u8], by: u8| {
        move |s: &mut Settings| codes.iter().for_each(|c| s.options.set(*c, vec![by; 4]))
    };
    config.subnets[0].settings = settings(says(&[6, 42, 44, 69], 1));
    config.vendor_classes.push(class(b"v", says(&[42, 44, 69], 2)));
    config.user_classes.push(class(b"u", says(&[44, 69], 3)));
    let mut known = host("known", mac(1), &[]);
    known.settings = settings(says(&[69], 4));
    config.hosts.push(known);
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(60, "v").with(77, "u"));
    let by: Vec<u8> = [6, 42, 44, 69].iter().map(|c| got.options.get(*c).unwrap()[0]).collect();
    assert_eq!(by, [1, 2, 3, 4]);
    assert_eq!((got.options.get(60), got.options.get(77)), (Some(&b"v"[..]), Some(&b"u"[..])));
    let got = b.one(&discover(2).with(60, "w"));
    assert_eq!((got.options.get(42).unwrap()[0], got.options.get(60)), (1, None));
}

#[test]
fn mask_route_and_name_are_made_where_none_is_set() {
    let mut config = config();
    config.subnets[0].settings.use_lease_addr_for_default_route = Some(true);
    config.subnets[0].settings.use_host_decl_names = Some(true);
    config.hosts.push(host("printer", mac(1), &["10.0.0.5"]));
    let mut b = Bench::with(config.clone());
    let got = b.one(&discover(1));
    assert_eq!(got.options.ipv4(1), Some(ip("255.255.255.0")));
    assert_eq!(got.options.ipv4(3), Some(ip("10.0.0.5")));
    assert_eq!(got.options.get(12), Some(&b"printer"[..]));
    assert_eq!(b.one(&discover(2)).options.get(12), None);
    let mut unnamed = config.clone();
    unnamed.hosts[0].settings.use_host_decl_names = Some(false);
    assert_eq!(Bench::with(unnamed).one(&discover(1)).options.get(12), None);
    config.subnets[0].settings.options.set(1, vec![255, 0, 0, 0]);
    config.subnets[0].settings.options.set(3, vec![10, 0, 0, 1]);
    config.subnets[0].settings.options.set(12, b"set".to_vec());
    let mut b = Bench::with(config);
    let got = b.one(&discover(1));
    assert_eq!((got.options.ipv4(1), got.options.ipv4(3)), (Some(ip("255.0.0.0")), Some(SERVER)));
    assert_eq!(got.options.get(12), Some(&b"set"[..]));
}

#[test]
fn boot_file_server_name_and_next_server() {
    let mut config = config();
    config.subnets[0].settings = settings(|s| {
        s.filename = Some(b"subnet".to_vec());
        s.server_name = Some(b"subnet".to_vec());
        s.next_server = Some(ip("10.0.0.66"));
    });
    config.vendor_classes.push(class(b"v", |s| {
        s.filename = Some(b"vendor".to_vec());
        s.next_server = Some(ip("10.0.0.67"));
    }));
    config.user_classes.push(class(b"u", |s| s.filename = Some(b"user".to_vec())));
    let mut known = host("known", mac(9), &[]);
    known.settings.filename = Some(b"host".to_vec());
    known.settings.server_name = Some(b"host".to_vec());
    known.settings.next_server = Some(ip("10.0.0.68"));
    config.hosts.push(known);
    let mut b = Bench::with(config);
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).unwrap().replace('\0', "");
    let mut said = |ask: &Ask| {
        let got = b.one(ask);
        let m = got.message();
        (text(m.file()), text(m.sname()), m.siaddr())
    };
    let own = |n: u16| Ask { file: b"client".to_vec(), ..discover(n) };
    let (subnet, siaddr) = ("subnet".to_owned(), ip("10.0.0.66"));
    assert_eq!(said(&discover(1)), (subnet.clone(), subnet.clone(), siaddr));
    assert_eq!(said(&own(1)), ("client".to_owned(), subnet.clone(), siaddr));
    assert_eq!(said(&own(1).with(60, "v")), ("vendor".to_owned(), subnet.clone(), siaddr));
    assert_eq!(said(&own(1).with(60, "v").with(77, "u")).0, "user");
    let host = "host".to_owned();
    assert_eq!(said(&own(9).with(77, "u")), (host.clone(), host, ip("10.0.0.68")));
    // A file field full of options names no file.
    let overloaded = Ask { file: vec![6, 1, 1, 255], ..discover(1) }.with(52, [1]);
    assert_eq!(said(&overloaded).0, "subnet");
}

#[test]
fn siaddr_is_our_address_on_the_network_else_the_interfaces() {
    let mut b = Bench::new();
    assert_eq!(b.one(&discover(1)).message().siaddr(), SERVER);
    assert_eq!(b.one(&discover(1).relayed()).message().siaddr(), SERVER);
}

#[test]
fn a_configured_server_identifier_is_ours() {
    let mut config = config();
    config.subnets[0].settings.options.set(54, OTHER_SERVER.octets().to_vec());
    let mut b = Bench::with(config);
    let offer = b.one(&discover(1));
    assert_eq!((offer.options.ipv4(54), offer.reply.source), (Some(OTHER_SERVER), OTHER_SERVER));
    let ack = b.one(&reboot(1, offer.yours()).with(54, OTHER_SERVER.octets()));
    assert_eq!(ack.kind(), message::ACK);
    let nak = b.one(&reboot(2, offer.yours()));
    assert_eq!((nak.options.ipv4(54), nak.reply.source), (Some(OTHER_SERVER), OTHER_SERVER));
}

#[test]
fn fixed_fields_are_the_requests_and_hops_and_secs_zero() {
    let mut b = Bench::new();
    let mut bytes = discover(1).bytes();
    bytes[3] = 5; // hops
    bytes[8..10].copy_from_slice(&[0x12, 0x34]);
    bytes[10] = 0x80;
    bytes[40] = 0xee; // the rest of chaddr
    b.engine.input(&bytes, &Bench::meta(Some(mac(1))), b.now, &mut b.out);
    let reply = &b.out.arena[b.out.replies[0].bytes.clone()];
    assert_eq!(reply[0], 2);
    assert_eq!(reply[1..3], bytes[1..3]);
    assert_eq!(reply[4..8], bytes[4..8]);
    assert_eq!((reply[3], &reply[8..10], reply[10..12] == bytes[10..12]), (0, &[0; 2][..], true));
    assert_eq!(reply[24..44], bytes[24..44]);
    assert_eq!(reply[12..16], [0; 4]);
}

#[test]
fn a_clients_identifier_is_echoed_unless_told_not_to() {
    let mut config = config();
    config.subnets[0].settings.echo_client_id = Some(true);
    let mut known = host("quiet", mac(1), &[]);
    known.settings.echo_client_id = Some(false);
    config.hosts.push(known);
    let mut b = Bench::with(config);
    assert_eq!(b.one(&discover(1).id(b"a")).options.get(61), None);
    assert_eq!(b.one(&discover(2).id(b"b")).options.get(61), Some(&b"b"[..]));
    assert_eq!(b.one(&discover(3)).options.get(61), None);
}

#[test]
fn who_ends_its_name_with_a_zero_byte_gets_texts_like_that() {
    let mut config = config();
    config.subnets[0].settings.options.set(15, b"example.org".to_vec());
    config.subnets[0].settings.options.set(6, vec![9, 9, 9, 9]);
    config.subnets[0].settings.options.set(12, b"name".to_vec());
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(12, b"me\0"));
    assert_eq!(got.options.get(15), Some(&b"example.org\0"[..]));
    assert_eq!(got.options.get(12), Some(&b"name"[..]), "a name is bytes, and not text");
    assert_eq!(got.options.get(6), Some(&[9, 9, 9, 9][..]));
    let got = b.one(&discover(1).with(12, b"me"));
    assert_eq!(got.options.get(15), Some(&b"example.org"[..]));
}

#[test]
fn no_option_is_sent_empty_and_an_empty_one_hides_what_is_further_out() {
    let mut config = config();
    config.subnets[0].settings.options.set(15, b"example.org".to_vec());
    config.subnets[0].settings.options.set(17, vec![]);
    let mut known = host("known", mac(1), &[]);
    known.settings.options.set(15, vec![]);
    config.hosts.push(known);
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).with(55, [15, 17]).with(12, b"me\0"));
    assert_eq!((got.options.get(15), got.options.get(17)), (None, None));
    assert_eq!(b.one(&discover(2)).options.get(15), Some(&b"example.org"[..]));
}

#[test]
fn the_name_a_client_gives_itself_is_recorded() {
    let mut b = Bench::new();
    let address = ip("10.0.0.10");
    b.one(&reboot(1, address).with(12, b"laptop\0"));
    assert!(b.journal().contains("\tclient-hostname \"laptop\";\n"));
    b.one(&renew(1, address).with(12, b"desktop"));
    assert!(b.journal().contains("\tclient-hostname \"desktop\";\n"));
    b.one(&renew(1, address));
    assert!(!b.journal().contains("hostname"));
}

#[test]
fn link_selection_says_which_subnet_and_the_relay_agent_gets_the_answer() {
    let mut b = Bench::new();
    let ask = Ask { giaddr: ip("172.16.0.1"), ..discover(1) };
    b.silent(&ask);
    let selecting = |value: &[u8]| ask.clone().with(82, [&[5, value.len() as u8], value].concat());
    let got = b.one(&selecting(&[10, 1, 0, 0]));
    assert_eq!(got.yours(), ip("10.1.0.10"));
    assert_eq!(got.message().giaddr(), ip("172.16.0.1"));
    let Destination::Udp { address, port: 67, .. } = got.reply.destination else { panic!() };
    assert_eq!(address, ip("172.16.0.1"));
    b.silent(&selecting(&[192, 168, 0, 1]));
    b.silent(&selecting(&[10, 1, 0]));
    // Only a relay agent may select.
    let direct = discover(1).with(82, [5, 4, 10, 1, 0, 0]);
    assert_eq!(b.one(&direct).yours(), ip("10.0.0.10"));
}

#[test]
fn destinations_by_frame() {
    let mut b = Bench::new();
    let to = |got: Got| match got.reply.destination {
        Destination::Link { interface: 0, mac, address, port } => (mac, address, port),
        other => panic!("{other:?}"),
    };
    // The sender of the frame, not chaddr, is whom it goes to.
    let sender = [4; 6];
    let meta = Bench::meta(Some(sender));
    let mut by = |ask: &Ask| to(b.send_by(ask, &meta).remove(0));
    let (everybody, address) = ([255; 6], ip("10.0.0.10"));
    assert_eq!(by(&discover(1)), (sender, address, 68));
    let loud = |ask: Ask| Ask { broadcast: true, ..ask };
    assert_eq!(by(&loud(discover(1))), (everybody, Ipv4Addr::BROADCAST, 68));
    assert_eq!(by(&select(1, address)), (sender, address, 68));
    assert_eq!(by(&renew(1, address)), (sender, address, 68));
    assert_eq!(by(&loud(renew(1, address))), (everybody, Ipv4Addr::BROADCAST, 68));
    assert_eq!(by(&renew(2, address)), (everybody, Ipv4Addr::BROADCAST, 68), "NAK");
    assert_eq!(by(&discover(1).relayed()), (sender, RELAY, 67));
    assert_eq!(by(&reboot(1, address).relayed()), (sender, RELAY, 67), "NAK");
}

#[test]
fn destinations_by_socket() {
    let mut b = Bench::new();
    let meta = Meta { dest: SERVER, ..Bench::meta(None) };
    let mut by = |ask: &Ask| b.send_by(ask, &meta).remove(0).reply;
    let udp = |address, port| Destination::Udp { interface: None, address, port };
    let link = |mac, address| Destination::Link { interface: 0, mac, address, port: 68 };
    let address = ip("10.0.0.10");
    assert_eq!(by(&discover(1)).destination, link(mac(1), address));
    let strange = Ask { htype: 32, ..discover(7) };
    assert_eq!(by(&strange).destination, link([255; 6], Ipv4Addr::BROADCAST));
    assert_eq!(by(&select(1, address)).destination, link(mac(1), address));
    assert_eq!(by(&renew(1, address)).destination, udp(address, 68));
    assert_eq!(by(&renew(2, address)).destination, link([255; 6], Ipv4Addr::BROADCAST));
    let relayed = by(&reboot(3, ip("10.1.0.10")).relayed());
    assert_eq!((relayed.destination, relayed.source), (udp(RELAY, 67), SERVER));
    // From a network we are not on, a client is answered at its address whatever it flags.
    let far = Ask { broadcast: true, ..renew(3, ip("10.1.0.10")) };
    assert_eq!(by(&far).destination, udp(ip("10.1.0.10"), 68));
}

/// The wire whose interface stands in for the one it came by has nothing to do with it.
#[test]
fn by_an_interface_that_is_not_served_only_relays_and_renewals_come() {
    let mut b = Bench::new();
    let near = b.dora(1);
    let offer = b.one(&discover(3).relayed()).yours();
    assert_eq!(b.one(&select(3, offer).relayed()).kind(), message::ACK);
    let afar = |source| Meta { served: false, source, ..Bench::meta(None) };
    let udp = |address, port| Destination::Udp { interface: None, address, port };
    let mut by = |ask: &Ask| {
        let source = if ask.giaddr.is_unspecified() { ask.ciaddr } else { ask.giaddr };
        b.send_by(ask, &afar(source)).first().map(|got| (got.kind(), got.reply.destination))
    };
    assert_eq!(by(&discover(2)), None);
    assert_eq!(by(&reboot(2, ip("10.0.0.15"))), None);
    assert_eq!(by(&reboot(2, ip("172.16.0.1"))), None);
    assert_eq!(by(&discover(2).relayed()), Some((message::OFFER, udp(RELAY, 67))));
    for lease in [(3, offer), (1, near)] {
        let loud = Ask { broadcast: true, ..renew(lease.0, lease.1) };
        assert_eq!(by(&loud), Some((message::ACK, udp(lease.1, 68))));
    }
    assert_eq!(by(&renew(4, offer)), Some((message::NAK, udp(offer, 68))));
    assert!(b.send_by(&renew(3, offer), &afar(RELAY)).is_empty(), "of another's address");
    assert!(b.send_by(&renew(3, offer), &afar(offer)).len() == 1);
}

#[test]
fn an_identifier_that_no_interface_has_is_not_what_the_system_sends_from() {
    let mut config = config();
    config.subnets[1].settings.options.set(54, vec![172, 31, 0, 1]);
    let mut b = Bench::with(config);
    let got = b.one(&discover(1).relayed());
    assert_eq!((got.options.ipv4(54), got.reply.source), (Some(ip("172.31.0.1")), SERVER));
}
