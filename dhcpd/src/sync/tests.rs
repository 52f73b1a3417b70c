//! The datagrams of both forms against what an independent implementation (Python's struct, hashlib
//! and hmac, from the tables of `openbsd` and `own`) made of the same leases: `vectors/`, with
//! the bytes 0 to 63 as the key file. And any bytes at all.

use super::own::{self, Datagram, Digests, Heard, Hello, Kind, Prefix};
use super::peers::Window;
use super::{Options, Sync, open, openbsd, record};
use crate::config::Config;
use crate::engine::{Actions, Engine, EngineOptions, Now};
use crate::lease::LeaseView;
use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

const OPENBSD: &[u8] = include_bytes!("vectors/openbsd");
const WITHOUT_KEY: &[u8] = include_bytes!("vectors/openbsd-without-key");
const OWN: &[u8] = include_bytes!("vectors/own");

fn secret() -> Vec<u8> {
    (0..64).collect()
}

fn lease() -> LeaseView<'static> {
    LeaseView {
        address: Ipv4Addr::new(192, 0, 2, 10),
        starts: 1_700_000_000,
        ends: 1_700_043_200,
        hardware: Some((1, &[2, 0, 0, 0, 0, 7])),
        client_id: Some(b"\x01ab"),
        dynamic_bootp: false,
        abandoned: false,
        client_hostname: Some(b"printer"),
        hostname: None,
    }
}

fn decoded(datagram: &[u8], key: &[u8]) -> Result<Vec<openbsd::Lease>, openbsd::Wrong> {
    let mut leases = Vec::new();
    openbsd::decode(datagram, key, |lease| leases.push(lease)).map(|()| leases)
}

#[test]
fn q19_openbsd_s_datagrams_to_the_byte() {
    let key = open::keys(&secret()).openbsd;
    let part = openbsd::Lease::of(&lease()).unwrap();
    for (key, vector) in [(&key[..], OPENBSD), (b"", WITHOUT_KEY)] {
        let mut out = vec![7];
        openbsd::encode(&part, 0x0102_0304, key, &mut out);
        assert_eq!(&out[1..], vector);
        assert_eq!(vector.len(), openbsd::ONE_LEASE);
        assert_eq!(decoded(vector, key), Ok(vec![part]));
    }
    let view = part.view();
    let whole = LeaseView { client_id: None, client_hostname: None, ..lease() };
    assert_eq!(view, whole);
}

#[test]
fn q19_whatever_is_not_as_it_was_sent_is_ignored() {
    let keys = open::keys(&secret());
    for at in 0..OPENBSD.len() {
        let mut bytes = OPENBSD.to_vec();
        bytes[at] ^= 1;
        assert!(decoded(&bytes, &keys.openbsd).is_err(), "byte {at}");
        assert!(decoded(&OPENBSD[..at], &keys.openbsd).is_err());
    }
    for at in 0..OWN.len() {
        let mut bytes = OWN.to_vec();
        bytes[at] ^= 1;
        assert_eq!(own::decode(&bytes, &keys.own), None, "byte {at}");
        assert_eq!(own::decode(&OWN[..at], &keys.own), None);
    }
    assert_eq!(decoded(OPENBSD, b""), Err(openbsd::Wrong::Code));
    // Neither takes the other's for its own.
    assert_eq!(decoded(OWN, &keys.openbsd), Err(openbsd::Wrong::Version));
    assert!(own::is_own(OWN) && !own::is_own(OPENBSD));
}

/// What a wrong key looks like to who runs the servers.
#[test]
fn who_is_not_believed_is_counted_and_who_is_told_is_shown() {
    let now = Now { wall: 1_700_000_000, mono: 1_000_000 };
    let mut engine = Engine::new(Arc::new(Config::default()), vec![], EngineOptions::default());
    let peer = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 8067);
    let options = Options {
        targets: vec![peer],
        listens: true,
        keys: Some(open::keys(&[9; 64])),
        own_addresses: Vec::new(),
        epoch: 1,
    };
    let mut out = Actions::default();
    let mut sync = Sync::new(options.clone(), &engine, now);
    for (number, datagram) in [OWN, OPENBSD, WITHOUT_KEY, b"\x01"].into_iter().enumerate() {
        sync.input(datagram, peer, &mut engine, now, &mut out);
        assert_eq!(engine.counters().sync_refused, number as u64 + 1);
    }
    assert_eq!(sync.described(now), ["10.0.0.2: told, and not heard in our own form"]);
    let mut keyless = Sync::new(Options { keys: None, ..options }, &engine, now);
    keyless.input(OWN, peer, &mut engine, now, &mut out);
    assert_eq!(engine.counters().sync_refused, 5);
    assert_eq!(keyless.described(now), ["10.0.0.2: told in OpenBSD's form only"]);
}

#[test]
fn our_own_datagrams_to_the_byte() {
    let key = open::keys(&secret()).own;
    let mut contents = Vec::new();
    record::encode(&lease(), &mut contents);
    let datagram = Datagram {
        kind: Kind::Leases,
        epoch: 0x1122_3344_5566_7788,
        sequence: 9,
        contents: &contents,
    };
    let mut out = Vec::new();
    own::encode(&datagram, &key, &mut out);
    assert_eq!(out, OWN);
    assert_eq!(own::decode(OWN, &key), Some(datagram));
    assert_eq!(record::decode(&mut &contents[..]), Some(lease()));
}

#[test]
fn contents_survive() {
    let window = Window { highest: 70, seen: [5; 16] };
    let heard = vec![Heard { epoch: 1, window: window.clone() }, Heard { epoch: 2, window }];
    let hello = Hello { wall: -1, digest: 2, count: 3, heard };
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    assert_eq!(Hello::decode(&bytes), Some(hello));
    let prefix = Prefix { first: 0x0a00_0000, length: 16 };
    let digests = Digests { prefix, first: 3, last: 60, children: vec![(3, 1), (60, 2)] };
    let mut bytes = Vec::new();
    digests.encode(&mut bytes);
    assert_eq!(Digests::decode(&bytes), Some(digests));
    let mut bytes = Vec::new();
    own::encode_wanted(&[Prefix::ALL, prefix], &mut bytes);
    assert_eq!(own::decode_wanted(&bytes), Some(vec![Prefix::ALL, prefix]));
}

proptest! {
    /// What can be read at all is what is written of it again.
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, flags in 0u8..4) {
        let _ = decoded(&bytes, b"");
        let _ = own::decode(&bytes, &[0; 32]);
        let _ = (Hello::decode(&bytes), Digests::decode(&bytes), own::decode_wanted(&bytes));
        let mut record = vec![10, 0, 0, 1];
        record.extend([0; 16]);
        record.push(flags);
        record.extend(&bytes);
        if let Some(lease) = record::decode(&mut &record[..]) {
            let mut again = Vec::new();
            record::encode(&lease, &mut again);
            prop_assert_eq!(record::decode(&mut &again[..]), Some(lease));
            prop_assert!(again.len() <= record::LONGEST);
        }
    }
}
