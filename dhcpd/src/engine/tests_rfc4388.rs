//! LEASEQUERY (RFC 4388).

use super::tests_kit::*;
use super::*;
use proptest::prelude::*;

fn open() -> crate::config::Config {
    let mut config = config();
    config.subnets[1].settings.leasequery = Some(true);
    config.networks[1].authoritative = true;
    config
}

/// From the relay agent that may ask.
fn query() -> Ask {
    Ask { htype: 0, hw: vec![], giaddr: RELAY, ..ask(message::LEASEQUERY, 0) }
}

fn by_address(address: &str) -> Ask {
    Ask { ciaddr: ip(address), ..query() }
}

fn by_hardware(client: u16) -> Ask {
    Ask { htype: 1, hw: mac(client).to_vec(), ..query() }
}

#[test]
fn a_lease_is_told_with_its_holder_and_what_is_left() {
    let mut b = Bench::with(open());
    let address = b.one(&discover(7).id(b"me")).yours();
    b.one(&select(7, address).id(b"me"));
    b.pass(100);
    let ask = by_address("10.0.0.10").with(55, [51, 58, 59, 61, 91]);
    let got = b.one(&ask);
    let m = got.message();
    assert_eq!((got.kind(), m.op(), m.xid()), (message::LEASEACTIVE, 2, 0x1234_5678));
    assert_eq!((m.ciaddr(), m.yiaddr(), m.giaddr()), (address, Ipv4Addr::UNSPECIFIED, RELAY));
    assert_eq!((m.htype(), m.chaddr()), (1, &mac(7)[..]));
    let seconds = [51, 58, 59, 91].map(|code| got.options.u32(code));
    assert_eq!(seconds, [Some(43_100), Some(21_500), Some(37_700), Some(100)]);
    assert_eq!(got.options.get(61), Some(&b"me"[..]));
    assert_eq!(got.options.get(92), None, "one address");
    let Destination::Udp { address: to, port: 67, .. } = got.reply.destination else { panic!() };
    assert_eq!((to, got.reply.durable), (RELAY, false));
    // Times that have passed are not told.
    b.pass(21_500);
    assert_eq!(b.one(&ask).options.get(58), None);
    assert!(b.one(&ask).options.get(59).is_some());
    b.pass(21_600);
    let got = b.one(&ask);
    assert_eq!((got.kind(), got.codes()), (message::LEASEUNASSIGNED, vec![53]));
}

/// Section 6.4: ours and nobody's, and not ours.
#[test]
fn nobodys_addresses_and_strange_ones_are_told_apart_and_nothing_else_is_said() {
    let mut config = open();
    config.hosts.push(host("printer", mac(1), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    let asks_much = |ask: Ask| ask.with(55, [1, 3, 51, 61, 82, 91]).with(82, [1, 1, 7]);
    for (address, kind) in [
        ("10.0.0.10", message::LEASEUNASSIGNED),
        ("10.1.0.12", message::LEASEUNASSIGNED),
        ("10.0.0.200", message::LEASEUNKNOWN),
        ("10.0.0.5", message::LEASEUNKNOWN),
        ("192.168.0.1", message::LEASEUNKNOWN),
    ] {
        let got = b.one(&asks_much(by_address(address)));
        assert_eq!((got.kind(), got.codes()), (kind, vec![53]), "{address}");
        assert_eq!(got.message().ciaddr(), ip(address));
    }
    for ask in [by_hardware(9), query().id(b"nobody")] {
        let got = b.one(&asks_much(ask));
        assert_eq!((got.kind(), got.codes()), (message::LEASEUNKNOWN, vec![53]));
    }
    // Offered is not leased, nor is abandoned.
    let offered = b.one(&discover(3)).yours();
    assert_eq!(b.one(&by_address("10.0.0.10")).kind(), message::LEASEUNASSIGNED);
    assert_eq!(b.one(&by_hardware(3)).kind(), message::LEASEUNKNOWN);
    b.one(&select(3, offered));
    b.silent(&decline(3, offered));
    assert_eq!(b.one(&by_address("10.0.0.10")).kind(), message::LEASEUNASSIGNED);
}

/// Sections 6.3 and 6.4.1: by hardware and by identifier, on every network, the latest first.
#[test]
fn a_client_is_found_by_hardware_and_by_identifier_with_all_it_has() {
    let mut b = Bench::with(open());
    let near = b.one(&discover(7).id(b"me")).yours();
    b.one(&select(7, near).id(b"me"));
    b.pass(10);
    let far = b.one(&discover(7).id(b"me").relayed()).yours();
    b.one(&select(7, far).id(b"me").relayed());
    b.pass(10);
    // Another system on the same machine.
    let third = b.one(&discover(7).id(b"other")).yours();
    b.one(&select(7, third).id(b"other"));
    let told = |got: &Got| {
        let all = got.options.get(92).unwrap_or_default().to_vec();
        let mut all: Vec<_> =
            all.chunks(4).map(|a| Ipv4Addr::new(a[0], a[1], a[2], a[3])).collect();
        all.sort_unstable();
        (got.message().ciaddr(), all)
    };
    b.pass(10);
    let got = b.one(&by_hardware(7));
    assert_eq!(told(&got), (third, vec![near, third, far]));
    assert_eq!(got.options.get(61), Some(&b"other"[..]));
    assert_eq!(told(&b.one(&query().id(b"me"))), (far, vec![near, far]));
    assert_eq!(told(&b.one(&by_address("10.0.0.10"))), (near, vec![near, far]));
    // Whatever the list asked for.
    assert_eq!(told(&b.one(&query().id(b"me").with(55, [51]))).1.len(), 2);
    // Heard of most recently counts.
    b.one(&renew(7, near).id(b"me"));
    assert_eq!(b.one(&by_hardware(7)).message().ciaddr(), near);
    b.pass(5);
    assert_eq!(b.one(&by_hardware(7)).options.u32(91), Some(5));
    b.silent(&release(7, near).id(b"me"));
    assert_eq!(told(&b.one(&query().id(b"me"))), (far, vec![]));
    let other = Ask { htype: 6, ..by_hardware(7) };
    assert_eq!(b.one(&other).kind(), message::LEASEUNKNOWN, "other hardware");
}

/// Section 6.3: a giaddr, and exactly one thing to look for.
#[test]
fn a_question_asks_for_exactly_one_thing() {
    let mut b = Bench::with(open());
    b.dora(7);
    let address = ip("10.0.0.10");
    b.silent(&query());
    b.silent(&Ask { ciaddr: address, ..by_hardware(7) });
    b.silent(&by_address("10.0.0.10").id(b"me"));
    b.silent(&by_hardware(7).id(b"me"));
    b.silent(&Ask { giaddr: Ipv4Addr::UNSPECIFIED, ..by_address("10.0.0.10") });
    assert_eq!(b.one(&by_address("10.0.0.10")).kind(), message::LEASEACTIVE);
}

/// Section 6.4.2: what the agent said of the client last comes back if it is asked for, the
/// question's own never.
#[test]
fn the_relay_agents_option_of_the_last_request_is_kept() {
    let mut b = Bench::with(open());
    let port = [1, 4, b'p', b'o', b'r', b't'];
    let address = b.one(&discover(7).relayed().with(82, [1, 1, 9])).yours();
    let asked = by_address("10.1.0.10").with(55, [51, 82]).with(82, [1, 2, b'n', b'o']);
    b.one(&select(7, address).relayed().with(82, port));
    let got = b.one(&asked);
    assert_eq!((got.options.get(82), got.codes().last()), (Some(&port[..]), Some(&82)));
    assert_eq!(b.one(&by_address("10.1.0.10").with(55, [51])).options.get(82), None);
    // A renewal by unicast says nothing about it; one through the agent does.
    b.one(&renew(7, address));
    assert_eq!(b.one(&asked).options.get(82), Some(&port[..]));
    let moved = [1, 1, 3];
    b.one(&renew(7, address).relayed().with(82, moved));
    assert_eq!(b.one(&asked).options.get(82), Some(&moved[..]));
    // It is that client's, not the address's.
    b.silent(&release(7, address));
    b.one(&reboot(8, address).relayed());
    let got = b.one(&asked);
    assert_eq!((got.message().chaddr(), got.options.get(82)), (&mac(8)[..], None));
}

/// Section 7: nobody by default, then only agents of the subnets that allow it, and not too often.
#[test]
fn only_agents_that_may_ask_are_answered_and_that_so_often() {
    let mut b = Bench::new();
    b.silent(&by_address("10.0.0.10"));
    assert_eq!(b.engine.counters().query_denied, 1);
    let mut b = Bench::with(open());
    b.silent(&Ask { giaddr: SERVER, ..by_address("10.0.0.10") });
    b.silent(&Ask { giaddr: ip("192.168.0.1"), ..by_address("10.0.0.10") });
    let mut answered = 0;
    for _ in 0..1000 {
        answered += b.send(&by_address("10.0.0.10")).len();
    }
    assert_eq!(answered, 200);
    let counters = b.engine.counters();
    assert_eq!((counters.query_denied, counters.query_rate, counters.leasequery), (2, 800, 1002));
    assert_eq!(counters.lease_told, 200);
    b.now.mono += 100;
    answered = (0..100).map(|_| b.send(&by_address("10.0.0.10")).len()).sum();
    assert_eq!(answered, 20);
    assert_eq!(b.one(&discover(1)).kind(), message::OFFER, "clients are not affected");
}

/// What was known before a restart is known after it, but for what only memory has.
#[test]
fn leases_from_the_file_are_told() {
    let mut b = Bench::with(open());
    b.dora(7);
    let mut text = Vec::new();
    b.engine.snapshot_from(0, 100, &mut text);
    let mut again = Bench::with(open());
    again.now.wall += 50;
    let record = LeaseRecord {
        starts: START,
        ends: START + 43_200,
        hardware: Some(crate::config::Hardware { htype: 1, addr: mac(7).to_vec() }),
        ..LeaseRecord::new(ip("10.0.0.10"))
    };
    again.engine.load(record, again.now);
    let got = again.one(&by_hardware(7));
    assert_eq!((got.kind(), got.message().ciaddr()), (message::LEASEACTIVE, ip("10.0.0.10")));
    assert_eq!((got.options.u32(51), got.options.u32(91)), (Some(43_150), Some(50)));
}

/// A configuration that comes to allow queries knows what is leased already, and one that ceases
/// to forgets what it kept for them.
#[test]
fn queries_may_come_and_go_with_the_configuration() {
    let mut b = Bench::new();
    b.dora(7);
    let become_ = |b: &mut Bench, mut config: crate::config::Config| {
        config.build_lookup();
        b.engine.reconfigure(Arc::new(config), interfaces(), b.now, &mut Actions::default());
    };
    b.silent(&by_hardware(7));
    become_(&mut b, open());
    assert_eq!(b.one(&by_hardware(7)).kind(), message::LEASEACTIVE);
    b.dora(8);
    assert_eq!(b.one(&by_hardware(8)).kind(), message::LEASEACTIVE);
    become_(&mut b, config());
    b.silent(&by_hardware(7));
}

/// However many addresses a client has, the answer is one that can be read.
#[test]
fn a_client_with_very_many_addresses_is_told_of_as_many_as_have_room() {
    let mut config = open();
    config.subnets[0].ranges[0].high = ip("10.0.0.250");
    let mut b = Bench::with(config);
    for n in 0..100u8 {
        let id = [n; 4];
        let address = b.one(&discover(7).id(&id)).yours();
        b.one(&select(7, address).id(&id));
    }
    for (ask, most) in [(by_hardware(7), 39), (by_hardware(7).with(57, [5, 220]), 63)] {
        let got = b.one(&ask);
        let told = got.options.get(92).unwrap().len();
        assert!(told.is_multiple_of(4) && told / 4 <= most && told / 4 > most - 3, "{told}");
        assert!(got.options.u32(51).is_some());
    }
}

proptest! {
    /// Any question at all is answered by what the table of leases says, or not answered.
    #[test]
    fn no_question_breaks_anything(
        steps in prop::collection::vec((0u16..6, 0u8..6, any::<bool>()), 0..40),
        asks in prop::collection::vec((0u16..8, 0u8..16, any::<u8>()), 1..30),
    ) {
        let mut b = Bench::with(open());
        for (client, what, with_id) in steps {
            let name = |ask: Ask| if with_id { ask.id(&[what / 3, 1]) } else { ask };
            let offer = b.send(&name(discover(client)));
            let Some(address) = offer.first().map(Got::yours) else { continue };
            match what {
                0..=2 => drop(b.send(&name(select(client, address)))),
                3 => drop(b.send(&name(release(client, address)))),
                4 => drop(b.send(&name(decline(client, address)))),
                _ => drop(b.pass(30_000)),
            }
        }
        let (leased, _) = b.engine.tables(b.now);
        for (client, last, kind) in asks {
            b.now.mono += 1000;
            let address = Ipv4Addr::new(10, 0, 0, 8 + last);
            let ask = match kind % 3 {
                0 => Ask { ciaddr: address, ..query() },
                1 => by_hardware(client),
                _ => query().id(&[kind / 100, 1]),
            };
            let got = b.one(&ask.with(55, [kind, 51, 61, 82]));
            if got.kind() == message::LEASEACTIVE {
                prop_assert!(leased.contains(&got.message().ciaddr()));
                if kind % 3 == 1 {
                    prop_assert_eq!(got.message().chaddr(), mac(client));
                }
            }
        }
    }
}

/// Who has taken thousands of leases by one hardware address and many identifiers has found no
/// question that keeps the server busy.
#[test]
fn hardware_with_very_many_leases_is_looked_at_in_part() {
    let mut config = open();
    config.subnets[1].net = "10.1.0.0/16".parse().unwrap();
    config.subnets[1].ranges[0].high = ip("10.1.15.255");
    let mut b = Bench::with(config);
    for n in 0..3000u16 {
        let id = n.to_be_bytes();
        let offer = b.one(&discover(1).relayed().id(&id)).yours();
        assert_eq!(b.one(&select(1, offer).relayed().id(&id)).kind(), message::ACK);
    }
    let got = b.one(&by_hardware(1));
    assert_eq!(got.kind(), message::LEASEACTIVE);
    assert_eq!(got.options.get(92).map(<[u8]>::len), Some(4 * 39), "as many as there is room for");
    let core = &b.engine.core;
    assert_eq!(core.leases.by_hardware(&Hw::new(1, &mac(1))).len(), 1024);
}
