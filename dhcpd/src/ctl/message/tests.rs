//! What is said is heard, and nothing else is.

use super::*;
use crate::config::Hardware;
use crate::engine::inspect::State;
use proptest::prelude::*;
use proto::unix::{MAX_PAYLOAD, Message};

fn again<M: Message>(message: &M) -> M {
    let mut payload = Vec::new();
    let kind = message.encode(&mut payload);
    assert!(payload.len() <= MAX_PAYLOAD);
    M::decode(kind, &payload, None).unwrap()
}

pub fn entry() -> Entry {
    Entry {
        address: Ipv4Addr::new(10, 0, 0, 9),
        state: State::Offered,
        starts: Some(5),
        ends: 7,
        hardware: Some(Hardware { htype: 1, addr: vec![1; 6] }),
        client_id: Some(vec![0, 255]),
        client_hostname: Some(b"a\"b".to_vec()),
        hostname: None,
        network: Some("lan".into()),
        dynamic_bootp: true,
    }
}

#[test]
fn requests_survive_the_channel() {
    let filter = Filter {
        addresses: Some((Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 255))),
        hardware: Some(vec![2; 6]),
        client_id: Some(vec![]),
        hostname: Some("pc".into()),
        network: Some("lan".into()),
        state: Some(State::Ended),
    };
    let question = Question {
        hardware: vec![2; 6],
        client_id: Some(vec![1, 2]),
        giaddr: Some(Ipv4Addr::new(10, 1, 0, 1)),
        interface: Some("em0".into()),
        vendor_class: Some(b"PXE".to_vec()),
        user_class: None,
    };
    for request in [
        Request::Status,
        Request::Leases(Filter::default()),
        Request::Leases(filter),
        Request::ShowAddress(Ipv4Addr::LOCALHOST),
        Request::ShowHardware(vec![7; 16]),
        Request::Why(question),
        Request::Order(Order::Release, Ipv4Addr::LOCALHOST),
        Request::Order(Order::Delete, Ipv4Addr::LOCALHOST),
        Request::Reload,
        Request::Pools,
        Request::Counters,
    ] {
        assert_eq!(again(&request), request);
    }
}

#[test]
fn answers_survive_the_channel() {
    let status = Status {
        version: "1".into(),
        interfaces: vec![Served {
            name: "em0".into(),
            address: Ipv4Addr::LOCALHOST,
            network: None,
        }],
        processes: vec![Child { title: "dhcpd: server".into(), pid: 7 }],
        tables: Some(false),
        table_states: [true, false]
            .map(|ready| TableState { name: "leased".into(), ready, state: "so".into() })
            .into(),
        trouble: Some("no space".into()),
        peers: vec!["10.0.0.2".into()],
        ..Status::default()
    };
    let pool = PoolUse {
        network: "lan".into(),
        subnet: "10.0.0.0/24".into(),
        low: Ipv4Addr::LOCALHOST,
        high: Ipv4Addr::BROADCAST,
        size: 1,
        reserved: 2,
        leased: 3,
        offered: 4,
        abandoned: 5,
        free: 6,
    };
    let counter = Counter {
        name: "dhcpd_x_total".into(),
        help: "X".into(),
        label: "type".into(),
        value: "y".into(),
        count: u64::MAX,
    };
    for answer in [
        Answer::Status(Box::new(status)),
        Answer::Leases(vec![entry(), Entry { hardware: None, ..entry() }]),
        Answer::Fact("a".into(), "b".into()),
        Answer::Step(Step { rule: "host".into(), applies: true, why: "so".into() }),
        Answer::Pools(vec![pool.clone(), pool]),
        Answer::Counters(vec![counter]),
        Answer::Done("it".into()),
        Answer::Failed("a\nb".into()),
        Answer::End,
    ] {
        assert_eq!(again(&answer), answer);
    }
}

#[test]
fn as_many_leases_as_an_answer_takes_fit_a_message() {
    let big = Entry {
        client_id: Some(vec![1; 255]),
        client_hostname: Some(vec![b'a'; 255]),
        hostname: Some(vec![b'b'; 255]),
        hardware: Some(Hardware { htype: 1, addr: vec![1; 16] }),
        ..entry()
    };
    let small = Entry { client_id: None, client_hostname: None, network: None, ..entry() };
    for one in [big, small, entry()] {
        let mut payload = Vec::new();
        Answer::Leases(vec![one.clone()]).encode(&mut payload);
        assert!(payload.len() <= size(&one), "{} > {}", payload.len(), size(&one));
    }
}

#[test]
fn a_status_of_a_large_daemon_fits_a_message() {
    let long = || "x".repeat(10_000);
    let served = Served { name: long(), address: Ipv4Addr::LOCALHOST, network: Some(long()) };
    let status = Status {
        version: long(),
        config: long(),
        leases: long(),
        interfaces: vec![served; 1000],
        processes: vec![Child { title: long(), pid: 1 }; 100],
        peers: vec![long(); 100],
        ..Status::default()
    };
    let Answer::Status(heard) = again(&Answer::Status(Box::new(status))) else { panic!() };
    assert_eq!(heard.interfaces.len(), 200);
    let Answer::Failed(heard) = again(&Answer::Failed("€".repeat(30_000))) else { panic!() };
    assert_eq!(heard.len(), 40_000 / 3 * 3);
}

proptest! {
    #[test]
    fn whatever_comes_never_panics(kind in 0u16..12, payload: Vec<u8>) {
        let _ = Request::decode(kind, &payload, None);
        let _ = Answer::decode(kind, &payload, None);
    }

    #[test]
    fn what_is_understood_is_said_again_with_the_same_bytes(kind in 0u16..12, payload: Vec<u8>) {
        if let Ok(request) = Request::decode(kind, &payload, None) {
            let mut said = Vec::new();
            prop_assert_eq!(request.encode(&mut said), kind);
            prop_assert_eq!(said, payload);
        }
    }
}
