//! Requests and replies, there and back; and what is none.

use super::super::data::{Checksum, Compression};
use super::super::packet::Decoder;
use super::*;
use crate::nv::Nv;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const PLAIN: Codec = Codec { checksum: Checksum::None, compression: Compression::None };
const LIMIT: u32 = 1 << 20;

fn decoder(wire: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(LIMIT, wire.len());
    assert_eq!(decoder.feed(wire), wire.len());
    decoder
}

fn request_of(wire: &[u8]) -> Result<Request, RequestError> {
    Request::decode(decoder(wire).next().unwrap().unwrap(), LIMIT)
}

fn reply_of(wire: &[u8]) -> Result<Reply, WireError> {
    Reply::decode(decoder(wire).next().unwrap().unwrap(), LIMIT)
}

/// A packet of the list that `put` makes.
fn packet(put: impl FnOnce(&mut Vec<u8>), data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = packet::begin(&mut out, 2);
    put(&mut out);
    packet::finish(&mut out, start).unwrap();
    out.extend_from_slice(data);
    out
}

/// What would go over the wire for it.
fn sent(request: &Request, codec: &Codec, version: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let payload = request.encode(codec, version, &mut out).unwrap();
    out.extend_from_slice(&payload.unwrap_or_default());
    out
}

fn request(cmd: Cmd, seq: u64, offset: u64, length: u64) -> Request {
    Request { cmd, seq, offset, length, memsync: false, data: None, state: None }
}

fn write(seq: u64, offset: u64, data: Vec<u8>, memsync: bool) -> Request {
    let length = data.len() as u64;
    Request { memsync, data: Some(Data::from(data)), ..request(Cmd::Write, seq, offset, length) }
}

fn names(wire: &[u8]) -> Vec<String> {
    let nv = Nv::decode(&wire[5..]).unwrap();
    nv.entries().map(|entry| String::from_utf8(entry.name.to_vec()).unwrap()).collect()
}

#[test]
fn fields_in_freebsds_order() {
    let mut head = Vec::new();
    let codec = Codec { checksum: Checksum::Crc32, compression: Compression::Hole };
    write(1, 0, vec![0; 512], true).encode(&codec, 2, &mut head).unwrap();
    let wanted =
        ["cmd", "seq", "offset", "length", "memsync", "compression", "checksum", "hash", "size"];
    assert_eq!(names(&head), wanted);
    for cmd in [Cmd::Read, Cmd::Delete, Cmd::Flush] {
        assert_eq!(names(&sent(&request(cmd, 1, 0, 0), &codec, 2)), wanted[..4]);
    }
    let mut head = Vec::new();
    let reply = Reply { seq: 1, received: true, error: Some(Errno::EINVAL), data: None };
    reply.encode(&codec, 2, &mut head).unwrap();
    assert_eq!(names(&head), ["seq", "received", "error"]);
}

#[test]
fn heads_are_appended() {
    let mut out = vec![9];
    request(Cmd::Flush, 1, 0, 0).encode(&PLAIN, 2, &mut out).unwrap();
    let first = out.len();
    request(Cmd::Flush, 2, 0, 0).encode(&PLAIN, 2, &mut out).unwrap();
    assert_eq!((out[0], out.len()), (9, 2 * first - 1));
    let mut decoder = decoder(&out[1..]);
    for seq in 1..=2 {
        let packet = decoder.next().unwrap().unwrap();
        assert_eq!(Request::decode(packet, LIMIT), Ok(request(Cmd::Flush, seq, 0, 0)));
    }
}

#[test]
fn a_peer_of_version_1_is_not_asked_for_memsync() {
    let request = write(7, 512, vec![1; 512], true);
    let wire = sent(&request, &PLAIN, 1);
    assert_eq!(wire[0], 1);
    assert_eq!(request_of(&wire), Ok(Request { memsync: false, ..request.clone() }));
    assert_eq!(request_of(&sent(&request, &PLAIN, 2)), Ok(request));
}

#[test]
fn extensions_are_for_our_own_kind() {
    for state in [State::Inconsistent, State::Consistent] {
        let keepalive = Request::keepalive(Some(state));
        let wire = sent(&keepalive, &PLAIN, 2);
        assert_eq!(names(&wire), ["cmd", "hl_state"]);
        assert_eq!(request_of(&wire), Ok(keepalive));
    }
    // Of a value or type that we do not know, or elsewhere, it is another's and nothing to us.
    for put in [
        |list: &mut Vec<u8>| nv::put_u8(list, "hl_state", 3),
        |list: &mut Vec<u8>| nv::put_u64(list, "hl_state", 1),
        |list: &mut Vec<u8>| nv::put_u32(list, "else", 1),
    ] {
        let keepalive = |list: &mut Vec<u8>| {
            nv::put_u8(list, "cmd", 5);
            put(list);
        };
        assert_eq!(request_of(&packet(keepalive, b"")), Ok(Request::keepalive(None)));
    }
    let flush = |list: &mut Vec<u8>| {
        nv::put_u8(list, "cmd", 4);
        nv::put_u8(list, "hl_state", 1);
        nv::put_u64(list, "seq", 3);
    };
    assert_eq!(request_of(&packet(flush, b"")), Ok(request(Cmd::Flush, 3, 0, 0)));
}

#[test]
fn h11_what_is_no_request_is_told_with_its_number() {
    let cmd = |cmd: u8| move |list: &mut Vec<u8>| nv::put_u8(list, "cmd", cmd);
    let numbered = |number: u8, seq: u64, length: u64, size: u32, memsync: bool| {
        move |list: &mut Vec<u8>| {
            nv::put_u8(list, "cmd", number);
            nv::put_u64(list, "seq", seq);
            nv::put_u64(list, "length", length);
            if memsync {
                nv::put_u8(list, "memsync", 1);
            }
            if size > 0 {
                nv::put_u32(list, "size", size);
            }
        }
    };
    for (wire, seq, memsync) in [
        (packet(|list| nv::put_u64(list, "seq", 8), b""), 8, false),
        (packet(cmd(0), b""), 0, false),
        (packet(numbered(6, 8, 512, 512, true), &[1; 512]), 8, true),
        (packet(numbered(255, 8, 512, 0, false), b""), 8, false),
        // H9: a write's data is what it says.
        (packet(numbered(2, 8, 512, 511, true), &[1; 511]), 8, true),
        (packet(numbered(2, 8, 512, 513, false), &[1; 513]), 8, false),
        (packet(numbered(2, 8, 512, 0, false), b""), 8, false),
        (packet(numbered(2, 8, 0, 0, false), b""), 8, false),
        (packet(numbered(1, 8, 512, 512, false), &[1; 512]), 8, false),
        (packet(numbered(5, 8, 512, 512, false), &[1; 512]), 8, false),
        // B8
        (packet(numbered(1, 0, 512, 0, false), b""), 0, false),
        (packet(cmd(4), b""), 0, false),
    ] {
        let next = sent(&request(Cmd::Read, 9, 0, 512), &PLAIN, 2);
        let mut decoder = decoder(&[wire, next].concat());
        let first = Request::decode(decoder.next().unwrap().unwrap(), LIMIT);
        match first.unwrap_err() {
            RequestError::Invalid { seq: s, memsync: m, .. } => assert_eq!((s, m), (seq, memsync)),
            broken => panic!("{broken}"),
        }
        // Its data is off the stream.
        let second = Request::decode(decoder.next().unwrap().unwrap(), LIMIT);
        assert_eq!(second, Ok(request(Cmd::Read, 9, 0, 512)));
    }
}

#[test]
fn what_cannot_be_trusted_ends_the_connection() {
    let wrong_type = |list: &mut Vec<u8>| nv::put_u64(list, "cmd", 1);
    let corrupt = |list: &mut Vec<u8>| {
        nv::put_u8(list, "cmd", 2);
        nv::put_string(list, "checksum", "crc32").unwrap();
        nv::put_u8_array(list, "hash", &[0; 4]).unwrap();
        nv::put_u32(list, "size", 4);
    };
    let grown = |list: &mut Vec<u8>| {
        nv::put_u8(list, "cmd", 2);
        nv::put_string(list, "compression", "hole").unwrap();
        nv::put_u32(list, "size", 4);
    };
    for (wire, wanted) in [
        (packet(wrong_type, b""), None),
        (packet(corrupt, b"data"), Some(WireError::Corrupt)),
        (
            packet(grown, &(LIMIT + 1).to_le_bytes()),
            Some(WireError::Length { length: u64::from(LIMIT) + 1, limit: LIMIT.into() }),
        ),
    ] {
        match (request_of(&wire), wanted) {
            (Err(RequestError::Broken(error)), Some(wanted)) => assert_eq!(error, wanted),
            (Err(RequestError::Broken(WireError::Nv(_))), None) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_contradicts_itself_is_not_sent() {
    let data = Some(Data::from(vec![1; 512]));
    for request in [
        request(Cmd::Write, 1, 0, 512),
        Request { data: data.clone(), ..request(Cmd::Write, 1, 0, 1024) },
        Request { data: data.clone(), ..request(Cmd::Read, 1, 0, 512) },
        write(1, 0, Vec::new(), false),
        request(Cmd::Read, 0, 0, 512),
        request(Cmd::Keepalive, 1, 0, 0),
    ] {
        let mut out = vec![7];
        let refused = request.encode(&PLAIN, 2, &mut out);
        assert!(matches!(refused, Err(WireError::Unsendable(_))), "{request:?}");
        assert_eq!(out, [7]);
    }
    for reply in [
        Reply { seq: 1, received: true, error: None, data: data.clone() },
        Reply { seq: 1, received: false, error: Some(Errno::EIO), data },
        Reply { seq: 1, received: false, error: None, data: Some(Data::from(Vec::new())) },
    ] {
        let mut out = vec![7];
        assert!(matches!(reply.encode(&PLAIN, 2, &mut out), Err(WireError::Unsendable(_))));
        assert_eq!(out, [7]);
    }
}

#[test]
fn replies_that_others_may_send() {
    let put = |list: &mut Vec<u8>| {
        nv::put_u64(list, "seq", 4);
        nv::put_u64(list, "received", 0);
        nv::put_i16(list, "error", 0);
    };
    // A flag is told by its name, and no error is none.
    let wanted = Reply { seq: 4, received: true, error: None, data: None };
    assert_eq!(reply_of(&packet(put, b"")), Ok(wanted));
    let reply = reply_of(&packet(|list| nv::put_i16(list, "error", 45), b"")).unwrap();
    assert_eq!((reply.seq, reply.error), (0, Some(Errno(libc::EOPNOTSUPP))));
    // A3: the only reply to a memsync write that is refused.
    let put = |list: &mut Vec<u8>| {
        nv::put_u64(list, "seq", 4);
        nv::put_i8(list, "received", 1);
        nv::put_i16(list, "error", 22);
    };
    let wanted = Reply { seq: 4, received: true, error: Some(Errno::EINVAL), data: None };
    assert_eq!(reply_of(&packet(put, b"")), Ok(wanted));
    let put = |list: &mut Vec<u8>| nv::put_u64(list, "error", 5);
    assert!(matches!(reply_of(&packet(put, b"")), Err(WireError::Nv(_))));
}

#[test]
fn numbers_on_the_wire_are_freebsds() {
    let mut out = Vec::new();
    let error = Some(Errno(libc::EAGAIN));
    Reply { seq: 1, received: false, error, data: None }.encode(&PLAIN, 2, &mut out).unwrap();
    assert_eq!(Nv::decode(&out[5..]).unwrap().get_i16("error"), Ok(Some(35)));
    assert_eq!(reply_of(&out).unwrap().error, error);
}

fn codec() -> impl Strategy<Value = Codec> {
    let checksum =
        prop_oneof![Just(Checksum::None), Just(Checksum::Crc32), Just(Checksum::Sha256),];
    let compression =
        prop_oneof![Just(Compression::None), Just(Compression::Hole), Just(Compression::Lzf),];
    (checksum, compression).prop_map(|(checksum, compression)| Codec { checksum, compression })
}

/// Some of it zeroes, some of it compressible.
fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 1..3000),
        (1usize..9, any::<bool>()).prop_map(|(n, one)| vec![u8::from(one); n * 512]),
    ]
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (1u64.., any::<u64>(), data(), any::<bool>()).prop_map(|(s, o, d, m)| write(s, o, d, m)),
        (
            prop_oneof![Just(Cmd::Read), Just(Cmd::Delete), Just(Cmd::Flush)],
            1u64..,
            any::<u64>(),
            any::<u64>()
        )
            .prop_map(|(cmd, seq, offset, length)| request(cmd, seq, offset, length)),
        option::of(Just(State::Consistent)).prop_map(Request::keepalive),
    ]
}

proptest! {
    #[test]
    fn any_requests_come_back(
        requests in vec(any_request(), 1..6), codec in codec(), piece in 1usize..2000,
    ) {
        let wire: Vec<u8> = requests.iter().flat_map(|request| sent(request, &codec, 2)).collect();
        let mut decoder = Decoder::new(LIMIT, 512);
        let mut back = Vec::new();
        for mut piece in wire.chunks(piece) {
            while !piece.is_empty() {
                piece = &piece[decoder.feed(piece)..];
                while let Some(packet) = decoder.next().unwrap() {
                    back.push(Request::decode(packet, LIMIT).unwrap());
                }
            }
        }
        prop_assert_eq!(back, requests);
    }

    #[test]
    fn any_reply_comes_back(
        seq in any::<u64>(), received in any::<bool>(), error in option::of(1i32..=34),
        data in option::of(data()), codec in codec(), version in 1u8..=2,
    ) {
        let data = data.filter(|_| error.is_none() && !received).map(Data::from);
        let reply = Reply { seq, received, error: error.map(Errno), data };
        let mut wire = Vec::new();
        let payload = reply.encode(&codec, version, &mut wire).unwrap();
        wire.extend_from_slice(&payload.unwrap_or_default());
        prop_assert_eq!(reply_of(&wire).unwrap(), reply);
    }

    #[test]
    fn a_request_with_a_wrong_byte_is_read_or_refused(
        request in any_request(), codec in codec(), at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut wire = sent(&request, &codec, 2);
        let at = at.index(wire.len());
        wire[at] = byte;
        let mut decoder = decoder(&wire);
        while let Ok(Some(packet)) = decoder.next() {
            let _ = Request::decode(packet, LIMIT);
        }
    }
}
