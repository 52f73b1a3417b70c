//! What a client may send: any bytes as a DHCP message, read, and put to two engines, one
//! with every statement there is, four ways (from the wire, through a relay agent's socket, from a client
//! that has an address, near and far).

#![no_main]

use dhcpd::engine::{Actions, Engine, Meta, Now};
use dhcpd::wire::message::Message;
use dhcpd::wire::options::{OptionTable, sub_option};
use fuzz::{RELAY, START, address, engine, engine_with_everything, log_to_nowhere};
use libfuzzer_sys::fuzz_target;
use std::net::Ipv4Addr;

fuzz_target!(init: log_to_nowhere(), |packet: &[u8]| {
    read(packet);
    put(packet, engine(), Actions::default());
    let (hooks, sync) = (Some(Vec::new()), Some(Vec::new()));
    let said = Actions { hooks, sync, ..Actions::default() };
    put(packet, engine_with_everything(), said);
});

fn put(packet: &[u8], mut engine: Engine, mut out: Actions) {
    let wire = Meta {
        interface: 0,
        served: true,
        source: Ipv4Addr::UNSPECIFIED,
        source_port: 68,
        dest: Ipv4Addr::BROADCAST,
        mac: Some([2, 0, 0, 0, 0, 1]),
    };
    let relay = Meta { source: RELAY, source_port: 67, mac: None, ..wire.clone() };
    let bound = Meta { source: address(0, 10), mac: None, ..wire.clone() };
    let afar = Meta { served: false, ..bound.clone() };
    for (second, meta) in [wire, relay, bound, afar].iter().enumerate() {
        let now = |after: u64| Now {
            wall: START + 10 * second as i64 + after as i64,
            mono: 10_000 * second as u64 + 1000 * after,
        };
        engine.input(packet, meta, now(0), &mut out);
        // The ping of an offer is not answered.
        engine.tick(now(5), &mut out);
        for address in std::mem::take(&mut out.names) {
            engine.named(address, Some(b"name.example"), now(5), &mut out);
        }
    }
    let asked = Message::parse(packet).ok();
    for reply in &out.replies {
        let asked = asked.as_ref().expect("what cannot be read is not answered");
        assert_eq!(asked.op(), 1, "an answer to what is no request");
        let message = Message::parse(&out.arena[reply.bytes.clone()]).expect("a reply can be read");
        assert_eq!((message.op(), message.xid()), (2, asked.xid()));
        let mut options = OptionTable::new();
        options.parse(&message).expect("its options too");
        // A leasequery is answered with the hardware of whom it is about (RFC 4388).
        let is_told = matches!(options.message_type(), Some(11..=13));
        assert!(is_told || message.chaddr() == asked.chaddr());
    }
}

fn read(packet: &[u8]) {
    let Ok(message) = Message::parse(packet) else { return };
    let mut table = OptionTable::new();
    let refused = table.parse(&message).is_err();
    let mut again = OptionTable::new();
    again.parse(&message).ok();
    again.parse(&message).ok();
    for code in 0..=u8::MAX {
        assert!(!refused || table.get(code).is_none(), "option {code} of a message refused");
        assert_eq!(table.get(code), again.get(code), "a used table remembers option {code}");
        let _ = table.get(code).map(|value| sub_option(value, 1));
    }
}
