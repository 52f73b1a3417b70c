//! What relay agents say, and clients in their place: RFC 3046, 3527, 5107 and 3011.

use super::tests_kit::*;
use super::*;
use proptest::prelude::*;

fn far(client: u16) -> Ask {
    Ask { giaddr: ip("172.16.0.1"), ..discover(client) }
}

fn sub(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, value.len() as u8], value].concat()
}

/// RFC 3046 section 2.2: in every kind of answer, last, and the same bytes, also if they are not
/// sub-options at all.
#[test]
fn a_relay_agents_option_is_in_every_answer_as_it_came() {
    let mut b = Bench::new();
    let offered = b.one(&discover(1).relayed()).yours();
    let inform = Ask { ciaddr: ip("10.1.0.77"), ..ask(message::INFORM, 5) };
    let asks = [discover(1), select(1, offered), renew(1, offered), reboot(2, offered), inform];
    let values = [sub(1, b"port"), vec![], vec![5], vec![1, 200, 3], vec![255; 8], vec![0; 255]];
    for ask in asks {
        for value in &values {
            let got = b.one(&ask.clone().relayed().with(82, value));
            assert_eq!(got.options.get(82), Some(&value[..]));
            assert_eq!(got.codes().last(), Some(&82));
        }
        assert_eq!(b.one(&ask.relayed()).options.get(82), None);
    }
}

/// RFC 3046 section 2.2: an agent may add it to what a client sends us directly.
#[test]
fn a_relay_agents_option_without_giaddr_goes_back_too() {
    let mut b = Bench::new();
    let address = b.dora(1);
    let ack = b.one(&renew(1, address).with(82, sub(1, b"port")));
    assert_eq!((ack.kind(), ack.options.get(82)), (message::ACK, Some(&sub(1, b"port")[..])));
}

/// RFC 3046 section 2.2: never in file or sname; without room the answer goes without it, and that
/// is counted.
#[test]
fn a_relay_agents_option_has_its_room_or_is_left_out_and_counted() {
    let mut config = config();
    for code in 128..=223 {
        config.subnets[1].settings.options.set(code, vec![code; 30]);
    }
    let mut b = Bench::with(config);
    let list: Vec<u8> = (128..=223).collect();
    let value = [3; 200];
    let got = b.one(&discover(1).relayed().with(82, value).with(55, &list));
    assert!(got.options.get(52).is_some(), "the rest is in file and sname");
    assert_eq!((got.codes().last(), got.options.get(82)), (Some(&82), Some(&value[..])));
    assert_eq!(b.engine.counters().relay_option_lost, 0);
    // Whatever that is, it is more than 576 bytes have room for.
    let got = b.one(&discover(1).relayed().with(82, [3; 400]));
    assert_eq!((got.kind(), got.options.get(82)), (message::OFFER, None));
    assert_eq!(b.engine.counters().relay_option_lost, 1);
    b.one(&reboot(1, ip("10.0.0.10")).relayed().with(82, [3; 400]));
    assert_eq!(b.engine.counters().relay_option_lost, 2, "in a NAK too");
}

/// RFC 3527 section 3: it says where the address comes from, and not where the answer goes.
#[test]
fn link_selection_is_stronger_than_giaddr_and_subnet_selection() {
    let mut config = config();
    config.root.subnet_selection = Some(true);
    config.subnets[0].settings.subnet_selection = Some(true);
    let mut b = Bench::with(config);
    let link = |net: [u8; 4]| sub(5, &net);
    let got = b.one(&discover(1).relayed().with(82, link([10, 0, 0, 0])));
    assert_eq!((got.yours(), got.message().giaddr()), (ip("10.0.0.10"), RELAY));
    let Destination::Udp { address, port: 67, .. } = got.reply.destination else { panic!() };
    assert_eq!(address, RELAY);
    let both = far(2).with(118, [10, 0, 0, 0]).with(82, link([10, 1, 0, 0]));
    assert_eq!(b.one(&both).yours(), ip("10.1.0.10"));
    // A link of which nothing is known gets nothing, though the agent is known.
    b.silent(&discover(3).relayed().with(82, link([192, 168, 0, 0])));
    // A client is asked for its identity, and its REQUEST is judged, on that link too.
    let ack = b.one(&select(1, ip("10.0.0.10")).relayed().with(82, link([10, 0, 0, 0])));
    assert_eq!(ack.kind(), message::ACK);
    let nak = b.one(&reboot(4, ip("10.1.0.10")).relayed().with(82, link([10, 0, 0, 0])));
    assert_eq!(nak.kind(), message::NAK);
    let inform = Ask { giaddr: RELAY, ..ask(message::INFORM, 5) };
    let told = b.one(&inform.with(82, link([10, 0, 0, 0])));
    assert_eq!(told.options.ipv4(1), Some(ip("255.255.255.0")));
}

/// RFC 3527 section 3: any subnet of that link will do, and the link is named by the subnet's number
/// or by any address in it.
#[test]
fn link_selection_takes_all_subnets_of_that_link() {
    let mut config = config();
    let (near, far) = (config.subnets[0].clone(), config.subnets[1].clone());
    config.networks[0].subnets = vec![0, 1];
    config.networks[1].subnets = vec![2];
    let third = crate::config::Subnet {
        network: 1,
        net: "10.2.0.0/24".parse().unwrap(),
        ranges: vec![],
        ..far.clone()
    };
    config.subnets = vec![near, crate::config::Subnet { network: 0, ..far }, third];
    let mut b = Bench::with(config);
    let ask = |client, net: [u8; 4]| {
        Ask { giaddr: ip("10.2.0.1"), ..discover(client) }.with(82, sub(5, &net))
    };
    assert_eq!(b.one(&ask(1, [10, 0, 0, 0])).yours(), ip("10.0.0.10"));
    assert_eq!(b.one(&ask(2, [10, 0, 0, 77])).yours(), ip("10.0.0.11"));
    for client in 3..=10 {
        b.one(&ask(client, [10, 0, 0, 255]));
    }
    let next = b.one(&ask(11, [10, 0, 0, 0]));
    assert_eq!(next.yours(), ip("10.1.0.10"), "the other subnet of the link");
    assert_eq!(next.options.ipv4(1), Some(ip("255.255.255.0")));
    assert_eq!(next.message().giaddr(), ip("10.2.0.1"));
    // Of the relay agent's own subnet, never; and what is no address is no sub-option.
    b.silent(&ask(12, [10, 2, 0, 0]));
    b.silent(&Ask { giaddr: ip("10.2.0.1"), ..discover(13) }.with(82, sub(5, &[10, 0, 0])));
}

/// RFC 3527 section 3: a link of which nothing is known is a giaddr of which nothing is known.
#[test]
fn link_selection_of_an_unknown_subnet_is_an_unknown_network() {
    let mut b = Bench::new();
    b.silent(&discover(1).relayed().with(82, sub(5, &[192, 168, 0, 0])));
    b.silent(&far(1));
    assert_eq!(b.engine.counters().unknown_network, 2);
    assert!(b.engine.is_empty());
}

/// RFC 5107 section 4: what the agent wants holds for the client's next messages until the agent is
/// heard again.
#[test]
fn the_relay_agents_identifier_is_kept_for_who_writes_past_it() {
    let mut b = Bench::new();
    let over = ip("10.1.0.254");
    let with = |ask: Ask| ask.relayed().with(82, sub(11, &over.octets()));
    let offered = b.one(&with(discover(1))).yours();
    assert_eq!(b.one(&with(reboot(1, offered))).options.ipv4(54), Some(over));
    let told = |b: &mut Bench, ask: Ask| {
        let ack = b.one(&ask);
        assert_eq!(ack.kind(), message::ACK);
        ack.options.ipv4(54).unwrap()
    };
    let direct = || renew(1, offered);
    assert_eq!([told(&mut b, direct()), told(&mut b, direct())], [over; 2]);
    // It names nobody else's server, and is nobody else's.
    let near = b.dora(2);
    assert_eq!(told(&mut b, renew(2, near)), SERVER);
    b.silent(&reboot(2, near).with(54, over.octets()));
    // The agent is heard, without it.
    assert_eq!(told(&mut b, direct().relayed()), SERVER);
    assert_eq!(told(&mut b, direct()), SERVER);
    // Who begins anew where there is no agent has none.
    let mut b = Bench::new();
    let local = b.one(&discover(1)).yours();
    let via = |ask: Ask| {
        ask.relayed().with(82, [sub(5, &[10, 0, 0, 0]), sub(11, &over.octets())].concat())
    };
    assert_eq!(told(&mut b, via(reboot(1, local))), over);
    assert_eq!(told(&mut b, renew(1, local)), over);
    assert_eq!(told(&mut b, select(1, local)), SERVER);
    assert_eq!(told(&mut b, renew(1, local)), SERVER);
    // Given back past the agent, it is ours to take.
    assert_eq!(told(&mut b, via(reboot(1, local))), over);
    let giving_up = Ask { ciaddr: local, ..ask(message::RELEASE, 1) };
    b.silent(&giving_up.with(54, over.octets()));
    assert!(
        b.engine
            .core
            .leases
            .address(u32::from(local))
            .is_some_and(|slot| { !b.engine.core.leases.get(slot).is_held() })
    );
    // And with the address it goes to nobody.
    assert_eq!(told(&mut b, via(reboot(1, local))), over);
    b.pass(90_000);
    assert_eq!(told(&mut b, renew(3, local)), SERVER);
    assert!(b.engine.core.overrides.is_empty());
}

/// The same of an address that is a host's for good, and not for longer than it is ours.
#[test]
fn the_relay_agents_identifier_is_kept_for_hosts_too() {
    let mut fixed = config();
    fixed.hosts.push(host("printer", mac(1), &["10.1.0.5"]));
    let mut b = Bench::with(fixed.clone());
    let (over, address) = (ip("10.1.0.254"), ip("10.1.0.5"));
    let relayed = reboot(1, address).relayed().with(82, sub(11, &over.octets()));
    assert_eq!(b.one(&relayed).options.ipv4(54), Some(over));
    assert_eq!(b.one(&renew(1, address)).options.ipv4(54), Some(over));
    b.reconfigure(fixed, interfaces());
    assert_eq!(b.one(&renew(1, address)).options.ipv4(54), Some(over));
    let mut less = config();
    less.subnets.truncate(1);
    less.networks.truncate(1);
    b.reconfigure(less, interfaces());
    assert!(b.engine.core.overrides.is_empty());
}

/// RFC 5107 section 4: the agent's choice is our identifier, in every answer and when it comes
/// back, but not what we send from.
#[test]
fn the_server_identifier_is_what_the_relay_agent_wants() {
    let mut b = Bench::new();
    let over = ip("10.1.0.254");
    let agent = sub(11, &over.octets());
    let with = |ask: Ask| ask.relayed().with(82, &agent);
    let offer = b.one(&with(discover(1)));
    assert_eq!((offer.options.ipv4(54), offer.reply.source), (Some(over), SERVER));
    let select = reboot(1, offer.yours()).with(54, over.octets());
    let ack = b.one(&with(select.clone()));
    assert_eq!((ack.kind(), ack.options.ipv4(54)), (message::ACK, Some(over)));
    let nak = b.one(&with(reboot(2, offer.yours())));
    assert_eq!((nak.kind(), nak.options.ipv4(54)), (message::NAK, Some(over)));
    assert_eq!(nak.reply.source, SERVER);
    // A renewal to the agent, which it relays; our own address is still ours.
    assert_eq!(b.one(&with(renew(1, offer.yours()))).options.ipv4(54), Some(over));
    let own = reboot(1, offer.yours()).with(54, SERVER.octets());
    assert_eq!(b.one(&with(own)).kind(), message::ACK);
    // Without the sub-option, or without an agent, that identifier is a stranger's.
    b.silent(&select.clone().relayed());
    b.silent(&select.with(82, &agent));
    let giving_up = Ask { ciaddr: offer.yours(), ..ask(message::RELEASE, 1) };
    b.silent(&with(giving_up.with(54, over.octets())));
    assert_eq!(b.out.records, 1, "a RELEASE is for us too");
}

#[test]
fn a_server_identifier_of_no_address_is_none() {
    let mut b = Bench::new();
    for value in [sub(11, &[0; 4]), sub(11, &[10, 1, 0]), vec![11, 4, 10, 1, 0], vec![11]] {
        let offer = b.one(&discover(1).relayed().with(82, &value));
        assert_eq!(offer.options.ipv4(54), Some(SERVER));
    }
    let direct = b.one(&discover(1).with(82, sub(11, &[10, 1, 0, 254])));
    assert_eq!(direct.options.ipv4(54), Some(SERVER));
}

/// RFC 3011 section 6: not unless it is said where.
#[test]
fn subnet_selection_is_off_by_default() {
    let mut b = Bench::new();
    let got = b.one(&discover(1).relayed().with(118, [10, 0, 0, 0]));
    assert_eq!((got.yours(), got.options.get(118)), (ip("10.1.0.10"), None));
    b.silent(&far(1).with(118, [10, 0, 0, 0]));
}

/// RFC 3011 section 2: from that subnet or not at all, the option in the answer, and that where it
/// would go anyway.
#[test]
fn subnet_selection_where_it_is_on_decides_and_comes_back() {
    let mut config = config();
    config.subnets[1].settings.subnet_selection = Some(true);
    let mut b = Bench::with(config);
    let pick = |net: [u8; 4]| discover(1).relayed().with(118, net);
    let got = b.one(&pick([10, 0, 0, 0]));
    assert_eq!((got.yours(), got.options.ipv4(118)), (ip("10.0.0.10"), Some(ip("10.0.0.0"))));
    let Destination::Udp { address, port: 67, .. } = got.reply.destination else { panic!() };
    assert_eq!(address, RELAY);
    let select = select(1, got.yours()).relayed().with(118, [10, 0, 0, 0]);
    let ack = b.one(&select);
    assert_eq!((ack.kind(), ack.options.ipv4(118)), (message::ACK, Some(ip("10.0.0.0"))));
    b.silent(&pick([192, 168, 7, 0]));
    assert_eq!(b.one(&discover(2).relayed()).options.get(118), None);
    // Only through the subnet that allows it, and never of who has no agent.
    b.silent(&far(3).with(118, [10, 0, 0, 0]));
    let direct = b.one(&discover(4).with(118, [10, 1, 0, 0]));
    assert_eq!((direct.yours(), direct.options.get(118)), (ip("10.0.0.11"), None));
}

proptest! {
    /// Whatever an agent says, it comes back whole or not at all, and nothing else gives way.
    #[test]
    fn no_option_82_breaks_anything(
        value in prop::collection::vec(prop_oneof![any::<u8>(), Just(5), Just(11), Just(4)], 0..600),
        small in any::<bool>(),
    ) {
        let mut b = Bench::new();
        let ask = discover(1).relayed().with(82, &value);
        let ask = if small { ask } else { ask.with(57, [5, 220]) };
        for got in b.send(&ask) {
            let echoed = got.options.get(82);
            prop_assert!(echoed.is_none_or(|echoed| echoed == value));
            prop_assert!(echoed.is_some() || value.len() > 300);
            prop_assert!(got.options.u32(51).is_some() || value.len() > 250);
        }
    }
}
