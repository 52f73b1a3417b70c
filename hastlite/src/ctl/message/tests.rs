//! What is said arrives as it was said; what nobody would say is refused.

use super::*;
use crate::config::Node;
use crate::engine::{Consistency, Counters, Progress};
use crate::wire::hello::SyncSource;
use proptest::prelude::*;
use proto::unix::MAX_PAYLOAD;

fn again<M: Message + PartialEq>(message: &M) -> M {
    let mut payload = Vec::new();
    let kind = message.encode(&mut payload);
    assert!(payload.len() <= MAX_PAYLOAD);
    // No beginning of it is the same message. (A list of names may end behind any of them.)
    for end in 0..payload.len() {
        assert!(M::decode(kind, &payload[..end], None).ok().as_ref() != Some(message), "{end}");
    }
    M::decode(kind, &payload, None).unwrap()
}

pub(in crate::ctl) fn resource(name: &str) -> Resource {
    let node = Node { hostname: "hasta".to_owned(), ..Node::default() };
    let text = format!(
        "resource {name} {{ on hasta {{ local /dev/da0 remote tcp4://10.0.0.2 source 10.0.0.1 }} }}"
    );
    let (config, _) = crate::conf::parse("f", text.as_bytes(), &node).unwrap();
    Resource::of(&config.resources[0], Role::Primary)
}

pub(in crate::ctl) fn worker() -> Worker {
    let status = Status {
        role: Role::Primary,
        connected: true,
        trouble: None,
        consistency: Consistency::Consistent,
        detached: false,
        dirty: 6 << 20,
        marked: 8 << 20,
        sync: Some(Progress {
            source: SyncSource::Primary,
            total: 100 << 20,
            done: 25 << 20,
            since: 7,
        }),
        counters: Counters {
            reads: 1,
            writes: 2,
            deletes: 3,
            flushes: 4,
            map_updates: 5,
            read_errors: 6,
            write_errors: 7,
            delete_errors: 8,
            flush_errors: 9,
            remote_errors: 10,
        },
        requests: 11,
        local_queue: 12,
        send_queue: 13,
        recv_queue: 14,
    };
    Worker { pid: 4711, status, syncing: 5000 }
}

pub(in crate::ctl) fn full(name: &str) -> Resource {
    let volume = Volume {
        datasize: 1 << 30,
        extentsize: 2 << 20,
        keepdirty: 64,
        resuid: u64::MAX,
        localcnt: 3,
        remotecnt: 2,
    };
    let objection = Objection { loses: Some(9), why: "the other node has newer data".to_owned() };
    Resource {
        volume: Some(volume),
        worker: Some(worker()),
        objection: Some(objection),
        ..resource(name)
    }
}

#[test]
fn requests_arrive_as_they_were_made() {
    let names = || vec!["a".to_owned(), "b.c".to_owned()];
    for request in [
        Request::Role { role: Role::Primary, force: true, of: Selection::Named(names()) },
        Request::Role { role: Role::Init, force: false, of: Selection::All },
        Request::Status { of: Selection::All },
        Request::Status { of: Selection::Named(names()) },
        Request::Discard { of: names() },
        Request::Stop,
    ] {
        assert_eq!(again(&request), request);
    }
}

#[test]
fn answers_arrive_as_they_were_given() {
    let mut bare = resource("x");
    bare.source = None;
    for answer in [
        Answer::Status(Box::new(bare)),
        Answer::Status(Box::new(full("x"))),
        Answer::Done { resource: "x".to_owned(), before: Role::Secondary },
        Answer::Failed {
            resource: "x".to_owned(),
            code: Code::Unsafe,
            why: "would lose".to_owned(),
            loses: Some(7),
        },
        Answer::End,
        Answer::Refused("not now".to_owned()),
    ] {
        assert_eq!(again(&answer), answer);
    }
}

#[test]
fn what_hast_conf_says_is_there_from_the_beginning() {
    let one = resource("data");
    assert_eq!((one.name.as_str(), one.provname.as_str()), ("data", "data"));
    assert_eq!((one.local.as_str(), one.remote.as_str()), ("/dev/da0", "tcp4://10.0.0.2"));
    assert_eq!(one.source.as_deref(), Some("10.0.0.1"));
    assert_eq!(one.uri, "nbd+unix:///data?socket=/var/run/hastlite/data.sock");
    let loses = |refusal: &Refusal| Objection::from(refusal).loses;
    assert_eq!(loses(&Refusal::Outdated { bytes: Some(5), times: 1 }), Some(5));
    assert_eq!(loses(&Refusal::Inconsistent { bytes: None, of: 9 }), None);
    assert_eq!(loses(&Refusal::TwoPrimaries), None);
}

#[test]
fn a_reason_too_long_loses_its_end() {
    let Answer::Refused(why) = Answer::decode(
        5,
        &{
            let mut payload = Vec::new();
            Answer::Refused("\u{e4}".repeat(60_000)).encode(&mut payload);
            payload
        },
        None,
    )
    .unwrap() else {
        panic!()
    };
    assert!(why.len() <= crate::msg::LONGEST_REASON && why.ends_with('\u{e4}'));
}

#[test]
fn what_nobody_would_say() {
    let malformed = |kind, payload: &[u8]| {
        assert!(Request::decode(kind, payload, None).is_err(), "{kind} {payload:?}");
    };
    malformed(0, &[]);
    malformed(5, &[]);
    malformed(1, &[4, 0, 1]);
    malformed(1, &[1, 2, 1]);
    malformed(2, &[0]);
    malformed(2, &[1, 0]);
    malformed(3, &[]);
    malformed(3, &[0, 2, 65]);
    malformed(3, &[0, 1, 0xff]);
    malformed(4, &[0]);
    assert!(Answer::decode(6, &[], None).is_err());
    assert!(Answer::decode(3, &[0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_understood_or_refused(kind in 0u16..7, payload in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(request) = Request::decode(kind, &payload, None) {
            prop_assert_eq!(again(&request), request);
        }
        if let Ok(answer) = Answer::decode(kind, &payload, None) {
            prop_assert_eq!(again(&answer), answer);
        }
    }
}
