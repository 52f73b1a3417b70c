//! Every message survives its channel, and only with the descriptor that belongs to it.

use super::*;
use crate::engine::{Consistency, Counters, Progress, Replication};
use crate::wire::hello::SyncSource;
use proptest::prelude::*;
use proto::unix::{Error, Message};
use std::net::Ipv4Addr;

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// What comes out at the other end, as text: descriptors differ, and nothing else may.
fn there<M: Message + std::fmt::Debug>(message: &M) -> Result<M, Error> {
    let mut payload = Vec::new();
    let kind = message.encode(&mut payload);
    let wants = message.fd().is_some();
    let wrong = M::decode(kind, &payload, (!wants).then(null));
    match wants {
        true => assert!(matches!(wrong, Err(Error::MissingFd)), "{wrong:?}"),
        false => assert!(matches!(wrong, Err(Error::UnexpectedFd)), "{wrong:?}"),
    }
    for end in 0..payload.len() {
        // Cut anywhere it may be another message, but never more than was said.
        let _ = M::decode(kind, &payload[..end], wants.then(null));
    }
    M::decode(kind, &payload, wants.then(null))
}

fn same<M: Message + std::fmt::Debug>(message: &M) {
    let back = there(message).unwrap();
    if message.fd().is_none() {
        assert_eq!(format!("{message:?}"), format!("{back:?}"));
    }
}

fn settings() -> WorkerSettings {
    WorkerSettings {
        engine: crate::engine::Settings {
            replication: Replication::Memsync,
            timeout: 20_000,
            has_remote: true,
            max_request: 128 << 10,
        },
        checksum: Checksum::Crc32,
        compression: Compression::Lzf,
        metaflush: false,
        moved: true,
    }
}

#[test]
fn what_the_listener_says_and_hears() {
    same(&ToListener::Listen(null()));
    same(&ToListener::Start);
    same(&FromListener::Ready);
    let arrival = FromListener::Arrival(Arrival {
        protocol: TCP.to_owned(),
        peer: Ipv4Addr::new(192, 0, 2, 1).into(),
        resource: "data".to_owned(),
        packet: vec![1, 2, 3],
        socket: null(),
    });
    let FromListener::Arrival(back) = there(&arrival).unwrap() else { panic!() };
    assert_eq!(back.protocol, "tcp");
    assert_eq!(back.peer, IpAddr::from([192, 0, 2, 1]));
    assert_eq!((back.resource.as_str(), &back.packet[..]), ("data", &[1, 2, 3][..]));
}

#[test]
fn what_a_worker_says_and_hears() {
    for message in [
        ToWorker::Component(null()),
        ToWorker::Export(null()),
        ToWorker::Start(Box::new(Start {
            resource: "data".to_owned(),
            role: Role::Secondary,
            force: true,
            settings: settings(),
        })),
        ToWorker::Arrival { protocol: TCP.to_owned(), packet: vec![7; 300], socket: null() },
        ToWorker::Connection { protocol: TCP.to_owned(), conn: Conn::C2, socket: null() },
        ToWorker::NoConnection { conn: Conn::C1, why: "no route".to_owned() },
        ToWorker::Settings(Box::new(settings())),
        ToWorker::Report,
        ToWorker::Stop,
    ] {
        same(&message);
    }
    for message in [
        FromWorker::Ready,
        FromWorker::Refused { code: 66, loses: Some(7), why: "no metadata".to_owned() },
        FromWorker::Connect(Conn::C1),
        FromWorker::Happening(Happening::Connect),
        FromWorker::Happening(Happening::Disconnect("cut".to_owned())),
        FromWorker::Happening(Happening::SyncStart),
        FromWorker::Happening(Happening::SyncDone),
        FromWorker::Happening(Happening::SyncIntr),
        FromWorker::Happening(Happening::SplitBrain),
        FromWorker::Stopped,
    ] {
        same(&message);
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let message = FromWorker::Refused { code: 1, loses: None, why: "\u{20ac}".repeat(2000) };
    let FromWorker::Refused { why, .. } = there(&message).unwrap() else { panic!() };
    assert_eq!(why.chars().count(), LONGEST_REASON / 3);
}

proptest! {
    #[test]
    fn a_status_survives(
        numbers in prop::array::uniform20(any::<u64>()),
        flags in any::<(bool, bool)>(),
        trouble in prop::option::of("[ -~]{0,40}"),
        sync in prop::option::of(any::<(bool, u64, u64, u64)>()),
    ) {
        let n = |i: usize| numbers[i];
        let status = Status {
            role: Role::Primary,
            connected: flags.0,
            trouble,
            consistency: Consistency::Outdated,
            detached: flags.1,
            dirty: n(0),
            marked: n(1),
            sync: sync.map(|(ours, total, done, since)| Progress {
                source: if ours { SyncSource::Primary } else { SyncSource::Secondary },
                total,
                done,
                since,
            }),
            counters: Counters {
                reads: n(2),
                writes: n(3),
                deletes: n(4),
                flushes: n(5),
                map_updates: n(6),
                read_errors: n(7),
                write_errors: n(8),
                delete_errors: n(9),
                flush_errors: n(10),
                remote_errors: n(11),
            },
            requests: n(12),
            local_queue: n(13),
            send_queue: n(14),
            recv_queue: n(15),
        };
        let volume = Volume {
            datasize: n(16),
            extentsize: n(17) as u32,
            keepdirty: n(18) as u32,
            resuid: n(19),
            localcnt: n(0),
            remotecnt: n(1),
        };
        let objection = flags.0.then(|| Objection { loses: None, why: "because".to_owned() });
        let report = Report { status, syncing: n(16), volume, objection };
        same(&FromWorker::Report(Box::new(report)));
    }

    #[test]
    fn nothing_that_comes_is_a_panic(kind in 0u16..12, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for fd in [false, true] {
            let _ = ToWorker::decode(kind, &bytes, fd.then(null));
            let _ = FromWorker::decode(kind, &bytes, fd.then(null));
            let _ = ToListener::decode(kind, &bytes, fd.then(null));
            let _ = FromListener::decode(kind, &bytes, fd.then(null));
        }
    }
}
