//! The handshake's messages, there and back; what old peers leave out; what none may say.

use super::super::data::{Checksum, Compression};
use super::super::packet::Decoder;
use super::*;
use crate::nv::{Kind, NvError};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const PLAIN: Codec = Codec { checksum: Checksum::None, compression: Compression::None };
const HOLES: Codec = Codec { checksum: Checksum::Crc32, compression: Compression::Hole };
const LIMIT: u32 = 1 << 16;

fn decoder(wire: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(LIMIT, wire.len());
    assert_eq!(decoder.feed(wire), wire.len());
    decoder
}

fn from_primary(wire: &[u8]) -> Result<Handshake, WireError> {
    Handshake::from_primary(&decoder(wire).next().unwrap().unwrap())
}

fn from_secondary(wire: &[u8]) -> Result<Handshake, WireError> {
    Handshake::from_secondary(decoder(wire).next().unwrap().unwrap(), LIMIT)
}

/// A packet of the list that `put` makes.
fn packet(put: impl FnOnce(&mut Vec<u8>), data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = packet::begin(&mut out, 1);
    put(&mut out);
    packet::finish(&mut out, start).unwrap();
    out.extend_from_slice(data);
    out
}

fn sent(message: &Handshake, codec: &Codec, version: u8) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(codec, version, &mut out).unwrap();
    out
}

fn fields(wire: &[u8]) -> Vec<(String, Kind)> {
    let nv = Nv::decode(&wire[packet::HEADER..]).unwrap_or_else(|_| {
        let length = u32::from_le_bytes(wire[1..5].try_into().unwrap()) as usize;
        Nv::decode(&wire[packet::HEADER..packet::HEADER + length]).unwrap()
    });
    let name = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    nv.entries().map(|entry| (name(entry.name), entry.kind)).collect()
}

fn second() -> Second {
    Second {
        resource: "data".to_owned(),
        token: [7; TOKEN],
        virgin: true,
        resuid: 0x1122_3344_5566_7788,
        localcnt: 3,
        remotecnt: 4,
        ext: 1,
    }
}

fn second_reply() -> SecondReply {
    SecondReply {
        datasize: 1 << 30,
        extentsize: 2 << 20,
        localcnt: 0,
        remotecnt: 6,
        virgin: true,
        syncsrc: SyncSource::Primary,
        map: Some(vec![0; 512]),
        ext: 1,
    }
}

fn assert_fields(message: Handshake, wanted: &[(&str, Kind)]) {
    let found = fields(&sent(&message, &HOLES, 1));
    let found: Vec<_> = found.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    assert_eq!(found, wanted);
}

#[test]
fn names_types_and_order_are_freebsds() {
    let resource = "data".to_owned();
    let hello = Hello { resource, version: 2, ext: 1 };
    assert_fields(
        Handshake::Hello(hello),
        &[("resource", Kind::String), ("version", Kind::Uint8), ("hl_ext", Kind::Uint64)],
    );
    assert_fields(
        Handshake::FirstReply(FirstReply { version: 2, token: [1; TOKEN], ext: 1 }),
        &[("version", Kind::Uint8), ("token", Kind::Uint8Array), ("hl_ext", Kind::Uint64)],
    );
    assert_fields(
        Handshake::Second(second()),
        &[
            ("resource", Kind::String),
            ("token", Kind::Uint8Array),
            ("virgin", Kind::Int8),
            ("resuid", Kind::Uint64),
            ("localcnt", Kind::Uint64),
            ("remotecnt", Kind::Uint64),
            ("hl_ext", Kind::Uint64),
        ],
    );
    assert_fields(
        Handshake::SecondReply(second_reply()),
        &[
            ("datasize", Kind::Int64),
            ("extentsize", Kind::Int32),
            ("localcnt", Kind::Uint64),
            ("remotecnt", Kind::Uint64),
            ("virgin", Kind::Int8),
            ("syncsrc", Kind::Uint8),
            ("mapsize", Kind::Uint32),
            ("hl_ext", Kind::Uint64),
            ("compression", Kind::String),
            ("checksum", Kind::String),
            ("hash", Kind::Uint8Array),
            ("size", Kind::Uint32),
        ],
    );
    let errmsg = "Split-brain condition!".to_owned();
    assert_fields(
        Handshake::Refusal(Refusal { errmsg, wait: true }),
        &[("errmsg", Kind::String), ("wait", Kind::Uint8)],
    );
}

#[test]
fn a_peer_that_is_told_nothing_is_told_no_extension() {
    let message = Handshake::Second(Second { ext: 0, virgin: false, ..second() });
    let names = fields(&sent(&message, &PLAIN, 1));
    assert!(names.iter().all(|(name, _)| name != "hl_ext" && name != "virgin"));
}

#[test]
fn b6_a_missing_version_is_1() {
    let hello = packet(|list| nv::put_string(list, "resource", "r").unwrap(), b"");
    let wanted = Hello { resource: "r".to_owned(), version: 1, ext: 0 };
    assert_eq!(from_primary(&hello), Ok(Handshake::Hello(wanted)));
    let reply = packet(|list| nv::put_u8_array(list, "token", &[5; 16]).unwrap(), b"");
    let wanted = FirstReply { version: 1, token: [5; 16], ext: 0 };
    assert_eq!(from_secondary(&reply), Ok(Handshake::FirstReply(wanted)));
}

#[test]
fn tokens_have_16_bytes() {
    for length in [1, 15, 17, 32] {
        let put = |list: &mut Vec<u8>| {
            nv::put_string(list, "resource", "r").unwrap();
            nv::put_u64(list, "resuid", 1);
            nv::put_u8_array(list, "token", &vec![5; length]).unwrap();
        };
        assert_eq!(from_primary(&packet(put, b"")), Err(WireError::TokenLength(length)));
        assert_eq!(from_secondary(&packet(put, b"")), Err(WireError::TokenLength(length)));
    }
    // Of another type it is not absent: nobody is taken for who opens C1.
    let put = |list: &mut Vec<u8>| {
        nv::put_string(list, "resource", "r").unwrap();
        nv::put_string(list, "token", "0123456789abcde").unwrap();
    };
    assert!(matches!(
        from_primary(&packet(put, b"")),
        Err(WireError::Nv(NvError::WrongKind { .. }))
    ));
}

#[test]
fn what_must_be_there() {
    let put = |list: &mut Vec<u8>| nv::put_u8(list, "version", 2);
    assert_eq!(from_primary(&packet(put, b"")), Err(WireError::Missing("resource")));
    assert_eq!(from_secondary(&packet(put, b"")), Err(WireError::Missing("datasize")));
    for resuid in [None, Some(0)] {
        let put = |list: &mut Vec<u8>| {
            nv::put_string(list, "resource", "r").unwrap();
            nv::put_u8_array(list, "token", &[5; 16]).unwrap();
            resuid.into_iter().for_each(|resuid| nv::put_u64(list, "resuid", resuid));
        };
        assert_eq!(from_primary(&packet(put, b"")), Err(WireError::Missing("resuid")));
    }
}

#[test]
fn refusals_come_alone_or_behind_the_sizes() {
    let put = |list: &mut Vec<u8>| {
        nv::put_i64(list, "datasize", 1 << 20);
        nv::put_i32(list, "extentsize", 1 << 20);
        nv::put_string(list, "errmsg", "Split-brain condition!").unwrap();
    };
    let refusal = Refusal { errmsg: "Split-brain condition!".to_owned(), wait: false };
    assert_eq!(from_secondary(&packet(put, b"")), Ok(Handshake::Refusal(refusal)));
    // What is written to a log has no line ends, and an end.
    let text = format!("a\nb\x1b[2J{}", "é".repeat(5000));
    let put = |list: &mut Vec<u8>| {
        nv::put_string(list, "errmsg", &text).unwrap();
        nv::put_i64(list, "wait", 0);
    };
    let Ok(Handshake::Refusal(refusal)) = from_secondary(&packet(put, b"")) else { panic!() };
    assert!(refusal.wait, "a flag is told by its name");
    assert!(refusal.errmsg.starts_with("a?b?[2Jé"));
    assert_eq!(refusal.errmsg.chars().count(), ERRMSG);
}

/// A second reply by hand.
fn by_hand(mapsize: Option<u32>, compression: Option<&str>, data: &[u8]) -> Vec<u8> {
    let put = |list: &mut Vec<u8>| {
        nv::put_i64(list, "datasize", 1 << 30);
        nv::put_i32(list, "extentsize", 2 << 20);
        nv::put_u8(list, "syncsrc", 1);
        mapsize.into_iter().for_each(|size| nv::put_u32(list, "mapsize", size));
        compression.into_iter().for_each(|name| nv::put_string(list, "compression", name).unwrap());
        if !data.is_empty() {
            nv::put_u32(list, "size", data.len() as u32);
        }
    };
    packet(put, data)
}

#[test]
fn b9_a_map_has_the_length_that_is_said() {
    let map = |wire: &[u8]| match from_secondary(wire) {
        Ok(Handshake::SecondReply(reply)) => Ok(reply.map),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let length = |length, limit| Err(WireError::Length { length, limit });
    assert_eq!(map(&by_hand(None, None, b"")), Ok(None));
    assert_eq!(map(&by_hand(Some(0), None, b"")), Ok(None));
    assert_eq!(map(&by_hand(Some(512), None, &[3; 512])), Ok(Some(vec![3; 512])));
    assert_eq!(map(&by_hand(Some(512), Some("hole"), &[0, 2, 0, 0])), Ok(Some(vec![0; 512])));
    assert_eq!(map(&by_hand(Some(512), None, b"")), length(0, 512));
    assert_eq!(map(&by_hand(Some(512), None, &[3; 511])), length(511, 512));
    assert_eq!(map(&by_hand(Some(512), None, &[3; 513])), length(513, 512));
    assert_eq!(map(&by_hand(None, None, &[3; 512])), length(512, 0));
    assert_eq!(map(&by_hand(Some(512), Some("hole"), &[0, 1, 0, 0])), length(256, 512));
    assert_eq!(map(&by_hand(Some(512), Some("hole"), &[1, 2, 0, 0])), length(513, 512));
    let more = LIMIT + 1;
    let wire = by_hand(Some(more), Some("hole"), &more.to_le_bytes());
    assert_eq!(map(&wire), length(more.into(), LIMIT.into()));
}

#[test]
fn sizes_and_sides_that_mean_nothing() {
    let reply = |datasize: i64, extentsize: i32, syncsrc: u8| {
        let put = |list: &mut Vec<u8>| {
            nv::put_i64(list, "datasize", datasize);
            nv::put_i32(list, "extentsize", extentsize);
            nv::put_u8(list, "syncsrc", syncsrc);
        };
        from_secondary(&packet(put, b"")).map(|_| ())
    };
    assert_eq!(reply(1 << 40, 1 << 21, 2), Ok(()));
    let value = |name, value| Err(WireError::Value { name, value });
    assert_eq!(reply(-1, 1 << 21, 1), value("datasize", -1));
    assert_eq!(reply(1, i32::MIN, 1), value("extentsize", i32::MIN.into()));
    assert_eq!(reply(1, 1, 0), value("syncsrc", 0));
    assert_eq!(reply(1, 1, 3), value("syncsrc", 3));
}

#[test]
fn b3_what_makes_a_freebsd_primary_abort_is_not_sent() {
    let reply = second_reply();
    let nul = || "a\0b".to_owned();
    for message in [
        Handshake::SecondReply(SecondReply { localcnt: 1, ..reply.clone() }),
        Handshake::SecondReply(SecondReply { syncsrc: SyncSource::Secondary, ..reply.clone() }),
        Handshake::SecondReply(SecondReply { datasize: 1 << 63, ..reply.clone() }),
        Handshake::SecondReply(SecondReply { extentsize: 1 << 31, ..reply }),
        Handshake::Second(Second { resuid: 0, ..second() }),
        Handshake::Second(Second { resource: nul(), ..second() }),
        Handshake::Hello(Hello { resource: nul(), version: 2, ext: 0 }),
        Handshake::Hello(Hello { resource: "a".repeat(70_000), version: 2, ext: 0 }),
        Handshake::Refusal(Refusal { errmsg: nul(), wait: false }),
    ] {
        let mut out = vec![7];
        assert!(message.encode(&HOLES, 1, &mut out).is_err(), "{message:?}");
        assert_eq!(out, [7]);
    }
}

#[test]
fn an_extension_of_another_type_is_anothers() {
    let put = |list: &mut Vec<u8>| {
        nv::put_string(list, "resource", "r").unwrap();
        nv::put_u8(list, "version", 2);
        nv::put_u8(list, "hl_ext", 1);
        nv::put_string(list, "unknown", "to us").unwrap();
    };
    let wanted = Hello { resource: "r".to_owned(), version: 2, ext: 0 };
    assert_eq!(from_primary(&packet(put, b"")), Ok(Handshake::Hello(wanted)));
}

fn resource() -> impl Strategy<Value = String> {
    vec(prop::char::range('\u{1}', '\u{2ff}'), 0..40).prop_map(String::from_iter)
}

fn from_a_primary() -> impl Strategy<Value = Handshake> {
    prop_oneof![
        (resource(), 1u8.., any::<u64>()).prop_map(|(resource, version, ext)| Handshake::Hello(
            Hello { resource, version, ext }
        )),
        (resource(), any::<[u8; TOKEN]>(), any::<bool>(), 1u64.., any::<[u64; 3]>()).prop_map(
            |(resource, token, virgin, resuid, [localcnt, remotecnt, ext])| {
                Handshake::Second(Second {
                    resource,
                    token,
                    virgin,
                    resuid,
                    localcnt,
                    remotecnt,
                    ext,
                })
            }
        ),
    ]
}

fn from_a_secondary() -> impl Strategy<Value = Handshake> {
    let map = option::of(prop_oneof![
        vec(any::<u8>(), 1..3000),
        (1usize..20).prop_map(|n| vec![0; n * 512]),
        (1usize..20).prop_map(|n| vec![255; n * 512]),
    ]);
    prop_oneof![
        (1u8.., any::<[u8; TOKEN]>(), any::<u64>()).prop_map(|(version, token, ext)| {
            Handshake::FirstReply(FirstReply { version, token, ext })
        }),
        ("[ -~]{0,100}", any::<bool>())
            .prop_map(|(errmsg, wait)| Handshake::Refusal(Refusal { errmsg, wait })),
        (0..1u64 << 63, 0..1u32 << 31, any::<[u64; 3]>(), any::<[bool; 2]>(), map).prop_map(
            |(datasize, extentsize, [localcnt, remotecnt, ext], [virgin, primary], map)| {
                let syncsrc =
                    if primary || virgin { SyncSource::Primary } else { SyncSource::Secondary };
                let localcnt = if virgin { 0 } else { localcnt };
                Handshake::SecondReply(SecondReply {
                    datasize,
                    extentsize,
                    localcnt,
                    remotecnt,
                    virgin,
                    syncsrc,
                    map,
                    ext,
                })
            }
        ),
    ]
}

fn codec() -> impl Strategy<Value = Codec> {
    let lzf = Codec { checksum: Checksum::Sha256, compression: Compression::Lzf };
    prop_oneof![Just(PLAIN), Just(HOLES), Just(lzf)]
}

proptest! {
    #[test]
    fn any_message_of_a_primary_comes_back(
        message in from_a_primary(), codec in codec(), version in 1u8..=2,
    ) {
        prop_assert_eq!(from_primary(&sent(&message, &codec, version)).unwrap(), message);
    }

    #[test]
    fn any_message_of_a_secondary_comes_back(
        message in from_a_secondary(), codec in codec(), version in 1u8..=2,
    ) {
        prop_assert_eq!(from_secondary(&sent(&message, &codec, version)).unwrap(), message);
    }

    #[test]
    fn a_message_with_a_wrong_byte_is_read_or_refused(
        message in prop_oneof![from_a_primary(), from_a_secondary()], codec in codec(),
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut wire = sent(&message, &codec, 1);
        let at = at.index(wire.len());
        wire[at] = byte;
        let mut decoder = decoder(&wire);
        while let Ok(Some(packet)) = decoder.next() {
            let _ = Handshake::from_primary(&packet);
            let _ = Handshake::from_secondary(packet, LIMIT);
        }
    }
}
