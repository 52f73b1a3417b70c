//! Packets made to break things: random bytes, and valid messages with something wrong.

use super::tests_kit::*;
use super::*;
use proptest::prelude::*;

fn valid() -> impl Strategy<Value = Ask> {
    let code = prop_oneof![any::<u8>(), prop::sample::select(vec![55, 61, 80, 82, 118])];
    let option = (code, prop::collection::vec(any::<u8>(), 0..40));
    let kind = prop_oneof![4 => 1u8..11, 1 => any::<u8>()];
    let address = || {
        prop_oneof![
            Just(ip("0.0.0.0")),
            (0u8..3, 8u8..22).prop_map(|(n, h)| Ipv4Addr::new(10, n, 0, h))
        ]
    };
    (
        kind,
        0u16..6,
        prop::collection::vec(option, 0..8),
        (address(), address(), address()),
        any::<bool>(),
        prop::collection::vec(any::<u8>(), 0..128),
        0usize..17,
    )
        .prop_map(|(kind, client, options, (ciaddr, giaddr, wish), broadcast, file, hlen)| {
            let mut hw = mac(client).to_vec();
            hw.resize(hlen, 7);
            let ask = Ask { hw, ciaddr, giaddr, broadcast, options, file, ..ask(kind, client) };
            if wish.is_unspecified() { ask } else { ask.with(50, wish.octets()) }
        })
}

fn meta() -> impl Strategy<Value = Meta> {
    (0usize..3, any::<u32>(), prop::option::of(any::<[u8; 6]>()), any::<bool>()).prop_map(
        |(interface, source, mac, afar)| {
            // Frames are read from served interfaces only.
            let served = mac.is_some() || !afar;
            Meta { interface, served, source: source.into(), ..Bench::meta(mac) }
        },
    )
}

/// What every reply must be, whatever it answers.
fn judge(b: &Bench) {
    for reply in &b.out.replies {
        let bytes = &b.out.arena[reply.bytes.clone()];
        assert!((300..=1500).contains(&bytes.len()));
        let message = Message::parse(bytes).unwrap();
        let mut options = OptionTable::new();
        options.parse(&message).unwrap();
        assert_eq!(message.op(), 2);
        // BOOTP has neither a type nor an identifier of servers.
        if let Some(kind) = options.message_type() {
            let bare = [message::LEASEUNASSIGNED, message::LEASEUNKNOWN].contains(&kind);
            assert_ne!(options.ipv4(54).is_some(), bare);
            assert!(!reply.durable || kind == message::ACK);
        }
        let to = match reply.destination {
            Destination::Link { address, interface, .. } => {
                assert_eq!(interface, 0);
                address
            }
            Destination::Udp { address, .. } => address,
        };
        assert!(!to.is_unspecified());
    }
}

fn config() -> Config {
    let mut config = tests_kit::config();
    config.hosts.push(host("h", mac(1), &["10.0.0.12", "10.1.0.5"]));
    let class = |value: &[u8]| crate::config::Class {
        value: value.to_vec(),
        settings: crate::config::Settings::default(),
        at: place(),
    };
    config.vendor_classes.push(class(b""));
    config.user_classes.push(class(b"u"));
    config.subnets[0].settings.rapid_commit = Some(true);
    config.subnets[1].settings.leasequery = Some(true);
    config.subnets[1].settings.subnet_selection = Some(true);
    config.subnets[1].settings.withhold_ipv4 = Some(true);
    config.subnets[1].settings.options.set(108, vec![0; 4]);
    for code in [3, 6, 12, 15, 43, 121, 200] {
        config.subnets[0].settings.options.set(code, vec![code; 60]);
    }
    config
}

proptest! {
    #[test]
    fn random_bytes(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..700), meta()), 1..10)
    ) {
        let mut b = Bench::pinging(config());
        for (packet, meta) in packets {
            b.engine.input(&packet, &meta, b.now, &mut b.out);
        }
        judge(&b);
        b.engine.core.check();
    }

    #[test]
    fn valid_messages_with_damage(
        packets in prop::collection::vec(
            (
                valid(),
                meta(),
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
                any::<prop::sample::Index>(),
                prop::bool::weighted(0.1),
                0u64..90,
            ),
            1..40,
        ),
        pinging: bool,
    ) {
        let mut b = if pinging { Bench::pinging(config()) } else { Bench::with(config()) };
        for (ask, meta, damage, cut, truncate, seconds) in packets {
            let mut bytes = ask.bytes();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if truncate {
                bytes.truncate(cut.index(bytes.len()));
            }
            b.engine.input(&bytes, &meta, b.now, &mut b.out);
            judge(&b);
            b.pass(seconds);
            judge(&b);
            b.engine.echo_reply(ask.ciaddr, b.now, &mut b.out);
            b.engine.core.check();
        }
    }
}

#[test]
fn the_edges_of_time() {
    for wall in [i64::MIN, 0, i64::MAX] {
        for mono in [0, u64::MAX - 1_000_000, u64::MAX] {
            let mut b = Bench::pinging(config());
            b.now = Now { wall, mono };
            b.send(&discover(2));
            b.send(&reboot(3, ip("10.0.0.15")));
            b.tick();
            b.engine.next_tick();
            b.now = Now { wall: wall.wrapping_add(1 << 40), mono: mono.saturating_add(1 << 40) };
            b.tick();
            b.send(&discover(2));
            b.send(&reboot(3, ip("10.0.0.15")));
            b.engine.core.check();
        }
    }
}
