//! Whoever may connect to the control socket may send anything: any record as a request, what is
//! understood asked of an engine with leases, and the answers read as dhcpctl reads them.
//!
//! Input: a kind (one byte), then the payload.

#![no_main]

use dhcpd::config::{Config, Range, Settings, SharedNetwork, Subnet};
use dhcpd::ctl::message::{Answer, MAX_LEASES, Request, size};
use dhcpd::engine::inspect::{Filter, PoolCount};
use dhcpd::engine::{Actions, Engine, EngineOptions, Interface, Now};
use dhcpd::lease::LeaseRecord;
use libfuzzer_sys::fuzz_target;
use proto::unix::Message;
use std::net::Ipv4Addr;
use std::sync::Arc;

const NOW: Now = Now { wall: 1_700_000_000, mono: 1_000 };
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fuzz_target!(|input: &[u8]| {
    let Some((kind, payload)) = input.split_first() else { return };
    let _ = Answer::decode(u16::from(*kind), payload, None);
    let Ok(request) = Request::decode(u16::from(*kind), payload, None) else { return };
    let mut engine = engine();
    let mut answers = Vec::new();
    let mut out = Actions::default();
    let mut leases = |engine: &Engine, filter: &Filter| {
        let mut entries = Vec::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            cursor = engine.look(filter, from, 3, NOW, &mut entries);
        }
        assert!(entries.iter().map(size).sum::<usize>() < MAX_LEASES);
        answers.push(Answer::Leases(entries));
    };
    match request {
        Request::Leases(filter) => leases(&engine, &filter),
        Request::ShowAddress(address) => drop(engine.facts(address)),
        Request::ShowHardware(hardware) => drop(engine.facts_of_hardware(&hardware)),
        Request::Why(question) => {
            let before = format!("{:?}", engine.counters());
            if let Ok(explanation) = engine.why(&question, NOW) {
                answers.extend(explanation.steps.into_iter().map(Answer::Step));
                let facts = explanation.answer.into_iter();
                answers.extend(facts.map(|(name, value)| Answer::Fact(name, value)));
            }
            assert_eq!(format!("{:?}", engine.counters()), before);
        }
        Request::Order(order, address) => match engine.order(order, address, NOW, &mut out) {
            Ok(done) => answers.push(Answer::Done(done)),
            Err(why) => answers.push(Answer::Failed(why)),
        },
        Request::Pools => {
            let mut count = PoolCount::default();
            while !engine.count_pools(&mut count, 2) {}
            answers.push(Answer::Pools(engine.pools(&count, 0, 100)));
        }
        Request::Status | Request::Reload | Request::Counters => {}
    }
    for answer in answers {
        let mut payload = Vec::new();
        let kind = answer.encode(&mut payload);
        Answer::decode(kind, &payload, None).expect("what we said can be understood");
    }
});

/// A range with a few leases in it.
fn engine() -> Engine {
    let subnet = Subnet {
        network: 0,
        net: "10.0.0.0/24".parse().expect("a network"),
        ranges: vec![Range {
            low: Ipv4Addr::new(10, 0, 0, 10),
            high: Ipv4Addr::new(10, 0, 0, 19),
            dynamic_bootp: false,
        }],
        settings: Settings::default(),
        at: dhcpd::config::Place { file: "fuzz".into(), line: 1, column: 1 },
    };
    let network = SharedNetwork {
        name: "lan".into(),
        authoritative: true,
        subnets: vec![0],
        settings: Settings::default(),
    };
    let mut config = Config { networks: vec![network], subnets: vec![subnet], ..Config::default() };
    config.build_lookup();
    let interface = Interface {
        name: "em0".into(),
        index: 1,
        address: SERVER,
        addresses: vec![SERVER],
        mac: [2; 6],
        network: Some(0),
    };
    let mut engine = Engine::new(Arc::new(config), vec![interface], EngineOptions::default());
    for last in 10..15 {
        let record = LeaseRecord {
            ends: NOW.wall + i64::from(last) - 12,
            client_id: Some(vec![last]),
            abandoned: last == 14,
            ..LeaseRecord::new(Ipv4Addr::new(10, 0, 0, last))
        };
        engine.load(record, NOW);
    }
    engine
}
