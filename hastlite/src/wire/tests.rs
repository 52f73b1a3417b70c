//! Bytes that FreeBSD's own code made, both ways.

use super::data::{Checksum, Codec, Compression};
use super::errno::Errno;
use super::hello::{FirstReply, Handshake, Hello};
use super::packet::{Decoder, HEADER};
use super::request::{Cmd, Reply, Request};
use crate::Data;
use crate::nv::{self, Nv, Value};

/// Nothing is done to the data.
const PLAIN: Codec = Codec { checksum: Checksum::None, compression: Compression::None };

/// What is written down as hexadecimal digits, with spaces and line ends where they help.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A decoder that holds these bytes.
fn decoder(stream: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(1 << 20, stream.len());
    assert_eq!(decoder.feed(stream), stream.len());
    decoder
}

/// A list behind a header, and data behind that.
fn packet(version: u8, list: &[u8], data: &[u8]) -> Vec<u8> {
    let length = (list.len() as u32).to_le_bytes();
    [&[version], length.as_slice(), list, data].concat()
}

#[test]
fn vector_keepalive() {
    let wire = bytes("02 16000000 02 04 01000000 636d640000000000 0500000000000000");
    let mut out = Vec::new();
    assert_eq!(Request::keepalive(None).encode(&PLAIN, 2, &mut out), Ok(None));
    assert_eq!(out, wire);
    let mut decoder = decoder(&wire);
    let packet = decoder.next().unwrap().unwrap();
    assert_eq!(packet.version, 2);
    assert_eq!(Request::decode(packet, 0), Ok(Request::keepalive(None)));
    assert!(decoder.next().unwrap().is_none());
}

#[test]
fn vector_hello() {
    let wire = bytes(
        "01 34000000 11 09 05000000 7265736f757263650000000000000000 6461746100000000
         02 08 01000000 76657273696f6e00 0200000000000000",
    );
    let hello = Handshake::Hello(Hello { resource: "data".to_owned(), version: 2, ext: 0 });
    let mut out = Vec::new();
    hello.encode(&PLAIN, 1, &mut out).unwrap();
    assert_eq!(out, wire);
    let mut decoder = decoder(&wire);
    let packet = decoder.next().unwrap().unwrap();
    assert_eq!(packet.version, 1);
    assert_eq!(Handshake::from_primary(&packet), Ok(hello));
}

#[test]
fn vector_first_reply() {
    let list = bytes(
        "02 08 01000000 76657273696f6e00 0200000000000000
         0a 06 10000000 746f6b656e000000 000102030405060708090a0b0c0d0e0f",
    );
    let token = std::array::from_fn(|at| at as u8);
    let reply = Handshake::FirstReply(FirstReply { version: 2, token, ext: 0 });
    let mut out = Vec::new();
    reply.encode(&PLAIN, 1, &mut out).unwrap();
    assert_eq!(list.len(), 52);
    assert_eq!(out, packet(1, &list, b""));
    let mut decoder = decoder(&out);
    assert_eq!(Handshake::from_secondary(decoder.next().unwrap().unwrap(), 0), Ok(reply));
}

#[test]
fn vector_write() {
    let list = bytes(
        "02 04 01000000 636d640000000000 0200000000000000
         08 04 08000000 7365710000000000 0807060504030201
         08 07 08000000 6f66667365740000 0010000000000000
         08 07 08000000 6c656e6774680000 0002000000000000
         02 08 01000000 6d656d73796e6300 0100000000000000
         06 05 04000000 73697a6500000000 0002000000000000",
    );
    let data = Data::from(vec![0x5a; 512]);
    let request = Request {
        cmd: Cmd::Write,
        seq: 0x0102_0304_0506_0708,
        offset: 4096,
        length: 512,
        memsync: true,
        data: Some(data.clone()),
        state: None,
    };
    let mut out = Vec::new();
    let payload = request.encode(&PLAIN, 2, &mut out).unwrap().unwrap();
    assert!(std::ptr::eq(&payload[..], &data[..]), "data is not copied");
    assert_eq!(list.len(), 132);
    assert_eq!(out, packet(2, &list, b""));
    let mut decoder = decoder(&packet(2, &list, &payload));
    assert_eq!(Request::decode(decoder.next().unwrap().unwrap(), 512), Ok(request));
}

#[test]
fn vector_reply_with_error() {
    let list = bytes(
        "08 04 08000000 7365710000000000 0900000000000000
         03 06 02000000 6572726f72000000 0500000000000000",
    );
    let reply = Reply { seq: 9, received: false, error: Some(Errno::EIO), data: None };
    let mut out = Vec::new();
    assert_eq!(reply.encode(&PLAIN, 2, &mut out), Ok(None));
    assert_eq!(list.len(), 44);
    assert_eq!(out, packet(2, &list, b""));
    let mut decoder = decoder(&out);
    assert_eq!(Reply::decode(decoder.next().unwrap().unwrap(), 0), Ok(reply));
}

#[test]
fn vectors_of_single_values() {
    for (digits, name, value) in [
        ("01 07 01000000 76697267696e0000 0100000000000000", "virgin", Value::Int8(1)),
        (
            "05 0b 04000000 657874656e7473697a65000000000000 0000200000000000",
            "extentsize",
            Value::Int32(2 << 20),
        ),
    ] {
        let wire = bytes(digits);
        let mut out = Vec::new();
        nv::put(&mut out, name.as_bytes(), &value).unwrap();
        assert_eq!(out, wire);
        assert_eq!(Nv::decode(&wire).unwrap().get(name).unwrap().value(), value);
    }
    let mut out = Vec::new();
    nv::put_i8(&mut out, "virgin", 1);
    nv::put_i32(&mut out, "extentsize", 2 << 20);
    assert_eq!(out.len(), 22 + 30);
    let nv = Nv::decode(&out).unwrap();
    assert_eq!((nv.has("virgin"), nv.get_i32("extentsize")), (true, Ok(Some(2 << 20))));
    assert_eq!(HEADER, 5);
}
