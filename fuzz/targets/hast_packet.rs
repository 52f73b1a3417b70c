//! What a peer may send: any bytes as a stream of packets, whole and in pieces, read as every kind
//! of message. What is understood can be said again, and is understood the same.
//!
//! Input: a byte that says how long the pieces are, then the stream.

#![no_main]

use hastlite::Data;
use hastlite::wire::WireError;
use hastlite::wire::data::{Checksum, Codec, Compression};
use hastlite::wire::hello::Handshake;
use hastlite::wire::packet::{Decoder, Packet};
use hastlite::wire::request::{Reply, Request, RequestError};
use libfuzzer_sys::fuzz_target;

/// The most data that is taken.
const LIMIT: u32 = 64 * 1024;

fuzz_target!(|input: &[u8]| {
    let Some((piece, stream)) = input.split_first() else { return };
    let readers: [fn(Packet<'_>) -> Option<String>; 4] = [request, reply, to_secondary, to_primary];
    for reader in readers {
        let whole = read(stream, stream.len().max(1), reader);
        let pieces = read(stream, usize::from(*piece).max(1), reader);
        assert_eq!(whole, pieces, "the same stream in pieces says something else");
    }
});

/// What the stream says until its end or its first fault.
fn read(
    stream: &[u8],
    piece: usize,
    reader: fn(Packet<'_>) -> Option<String>,
) -> (Vec<Option<String>>, Option<WireError>) {
    let mut decoder = Decoder::new(LIMIT, 0);
    let mut said = Vec::new();
    for mut piece in stream.chunks(piece) {
        while !piece.is_empty() {
            let fed = decoder.feed(piece);
            assert!(fed > 0, "no room, and no packet");
            piece = &piece[fed..];
            loop {
                match decoder.next() {
                    Ok(Some(packet)) => said.push(reader(packet)),
                    Ok(None) => break,
                    Err(error) => return (said, Some(error)),
                }
            }
        }
    }
    (said, None)
}

/// Everything that we may be set to do to what we send.
fn codecs() -> impl Iterator<Item = Codec> {
    let checksums = [Checksum::None, Checksum::Crc32, Checksum::Sha256];
    let compressions = [Compression::Lzf, Compression::Hole, Compression::None];
    checksums
        .into_iter()
        .zip(compressions)
        .map(|(checksum, compression)| Codec { checksum, compression })
}

/// Reads what we wrote ourselves.
fn ours<T>(head: &[u8], payload: Option<Data>, read: impl FnOnce(Packet<'_>) -> T) -> T {
    let wire = [head, &payload.unwrap_or_default()].concat();
    let mut decoder = Decoder::new(LIMIT, wire.len());
    assert_eq!(decoder.feed(&wire), wire.len());
    read(decoder.next().expect("what we wrote can be read").expect("and is whole"))
}

fn request(packet: Packet<'_>) -> Option<String> {
    let request = match Request::decode(packet, LIMIT) {
        Ok(request) => request,
        Err(RequestError::Invalid { seq, memsync, .. }) => return Some(format!("{seq} {memsync}")),
        Err(RequestError::Broken(_)) => return None,
    };
    for codec in codecs() {
        let mut head = Vec::new();
        let payload = match request.encode(&codec, 2, &mut head) {
            Ok(payload) => payload,
            // A keepalive may come with a number. We give it none.
            Err(_) => return None,
        };
        let again = ours(&head, payload, |packet| Request::decode(packet, LIMIT));
        let again = again.expect("what we wrote is a request");
        assert_eq!(
            (again.cmd, again.seq, again.data),
            (request.cmd, request.seq, request.data.clone())
        );
        assert_eq!((again.memsync, again.state), (request.memsync, request.state));
    }
    Some(format!("{request:?}"))
}

fn reply(packet: Packet<'_>) -> Option<String> {
    let reply = Reply::decode(packet, LIMIT).ok()?;
    for codec in codecs() {
        let mut head = Vec::new();
        // Others may send data with what is no answer to a read. We do not.
        let Ok(payload) = reply.encode(&codec, 2, &mut head) else { break };
        let again = ours(&head, payload, |packet| Reply::decode(packet, LIMIT));
        assert_eq!(again.as_ref(), Ok(&reply));
    }
    Some(format!("{reply:?}"))
}

fn to_secondary(packet: Packet<'_>) -> Option<String> {
    let message = Handshake::from_primary(&packet).ok()?;
    said_again(&message, |packet| Handshake::from_primary(&packet));
    Some(format!("{message:?}"))
}

fn to_primary(packet: Packet<'_>) -> Option<String> {
    let message = Handshake::from_secondary(packet, LIMIT).ok()?;
    said_again(&message, |packet| Handshake::from_secondary(packet, LIMIT));
    Some(format!("{message:?}"))
}

fn said_again(message: &Handshake, read: impl Fn(Packet<'_>) -> Result<Handshake, WireError>) {
    for codec in codecs() {
        let mut wire = Vec::new();
        // What would make FreeBSD's hastd abort may come, but does not leave.
        if message.encode(&codec, 1, &mut wire).is_ok() {
            assert_eq!(ours(&wire, None, &read).as_ref(), Ok(message));
        }
    }
}
