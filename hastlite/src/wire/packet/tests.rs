//! Streams, whole and in pieces, sound and not.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// What a stream was found to say: version, list, data.
type Said = (u8, Vec<u8>, Option<Vec<u8>>);

/// A packet by hand, with a list of so many more bytes and so much data.
fn packet(version: u8, fill: usize, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin(&mut out, version);
    nv::put_u8(&mut out, "cmd", 2);
    if fill > 0 {
        nv::put_u8_array(&mut out, "fill", &vec![3; fill]).unwrap();
    }
    if !data.is_empty() {
        nv::put_u32(&mut out, "size", data.len() as u32);
    }
    finish(&mut out, start).unwrap();
    out.extend_from_slice(data);
    out
}

fn take(decoder: &mut Decoder) -> Result<Option<Said>, WireError> {
    let packet = decoder.next()?;
    Ok(packet.map(|packet| {
        let mut list = Vec::new();
        for entry in packet.nv.entries() {
            nv::put(&mut list, entry.name, &entry.value()).unwrap();
        }
        (packet.version, list, packet.data.map(|data| data.to_vec()))
    }))
}

/// Feeds the pieces one after the other as a socket's reader would: what does not fit waits.
fn said(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<Vec<Said>, WireError> {
    let mut said = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let fed = decoder.feed(rest);
            assert!(fed > 0, "no room, and no packet");
            rest = &rest[fed..];
            while let Some(packet) = take(decoder)? {
                said.push(packet);
            }
        }
    }
    Ok(said)
}

/// Lists and data of sizes that meet all corners of a small buffer.
fn stream() -> (Vec<u8>, Vec<Said>) {
    let mut stream = Vec::new();
    let mut all = Vec::new();
    for (version, fill, size) in
        [(2, 0, 0), (1, 0, 1), (2, 5, 7), (0, 300, 40), (2, 0, 700), (2, 0, 0), (1, 20, 1200)]
    {
        let data: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
        let wire = packet(version, fill, &data);
        let list = wire[HEADER..wire.len() - size].to_vec();
        stream.extend_from_slice(&wire);
        all.push((version, list, (size > 0).then_some(data)));
    }
    (stream, all)
}

#[test]
fn a_stream_in_two_pieces_cut_at_every_byte() {
    let (stream, all) = stream();
    for buffer in [0, 100, 1 << 16] {
        for cut in 0..=stream.len() {
            let mut decoder = Decoder::new(1200, buffer);
            let (head, tail) = stream.split_at(cut);
            assert_eq!(said(&mut decoder, &[head, tail]).unwrap(), all, "cut at {cut}");
            assert!(!decoder.is_within());
            assert_eq!(decoder.rest(), Some(b"".as_slice()));
        }
    }
}

#[test]
fn a_stream_that_ends_anywhere_yields_only_what_is_whole() {
    let (stream, all) = stream();
    let mut ends = vec![0];
    for (_, list, data) in &all {
        let length = HEADER + list.len() + data.as_ref().map_or(0, Vec::len);
        ends.push(ends.last().unwrap() + length);
    }
    for cut in 0..stream.len() {
        let mut decoder = Decoder::new(1200, 4096);
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(said(&mut decoder, &[&stream[..cut]]).unwrap(), all[..whole], "cut at {cut}");
        assert_eq!(decoder.is_within(), !ends.contains(&cut), "cut at {cut}");
    }
}

#[test]
fn h10_no_more_is_held_than_is_taken() {
    // The longest list, and data behind it, through the smallest buffer.
    // Three entries, so that no more than this is possible.
    let longest = nv::MAX - 6;
    let wire = packet(2, longest - 22 - 22 - 14, &[9; 3000]);
    assert_eq!(wire.len(), HEADER + longest + 3000);
    let mut decoder = Decoder::new(3000, 0);
    for piece in wire.chunks(1000) {
        assert!(said(&mut decoder, &[piece]).unwrap().len() <= 1);
        assert!(decoder.buffer.len() <= LONGEST_HEAD);
        assert!(decoder.data.len() <= 4096);
    }
    assert!(!decoder.is_within());

    let longer = (nv::MAX as u32 + 1).to_le_bytes();
    let head = [&[2], longer.as_slice()].concat();
    let error = said(&mut Decoder::new(0, 0), &[&head]).unwrap_err();
    assert_eq!(error, WireError::ListTooLong(nv::MAX as u32 + 1));
}

#[test]
fn more_data_than_is_taken_is_refused_before_it_comes() {
    for (limit, wanted) in [(99, false), (100, true), (u32::MAX, true)] {
        let wire = packet(2, 0, &[1; 100]);
        let mut decoder = Decoder::new(limit, 0);
        let head = said(&mut decoder, &[&wire[..HEADER + 44]]);
        assert_eq!(head.is_ok(), wanted, "limit {limit}");
        if !wanted {
            assert_eq!(head, Err(WireError::DataTooLong { size: 100, limit }));
            assert_eq!(decoder.data.capacity(), 0);
        }
    }
}

#[test]
fn a_version_above_ours_is_refused() {
    for version in 0..=u8::MAX {
        let mut decoder = Decoder::new(0, 0);
        let said = said(&mut decoder, &[&packet(version, 0, b"")]);
        match version {
            0..=2 => assert_eq!(said.unwrap().len(), 1),
            _ => assert_eq!(said, Err(WireError::Version(version))),
        }
    }
}

#[test]
fn a_malformed_list_is_refused_again_and_again() {
    let mut wire = packet(2, 0, b"");
    wire[HEADER] = 0x82;
    let mut decoder = Decoder::new(0, 0);
    assert_eq!(decoder.feed(&wire), wire.len());
    for _ in 0..3 {
        assert_eq!(take(&mut decoder), Err(WireError::Nv(nv::NvError::HostOrder)));
    }
    // A size that is no number of 32 bits.
    let mut wire = Vec::new();
    let start = begin(&mut wire, 2);
    nv::put_u64(&mut wire, "size", 1);
    finish(&mut wire, start).unwrap();
    assert!(matches!(said(&mut Decoder::new(9, 0), &[&wire]), Err(WireError::Nv(_))));
}

#[test]
fn an_empty_list_is_a_packet_but_is_never_sent() {
    assert_eq!(said(&mut Decoder::new(0, 0), &[&[2, 0, 0, 0, 0]]).unwrap().len(), 1);
    let mut out = vec![1, 2, 3];
    let start = begin(&mut out, 2);
    assert!(matches!(finish(&mut out, start), Err(WireError::Unsendable(_))));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn large_data_goes_to_its_own_place_and_what_follows_to_the_buffer() {
    let data = vec![5; 100_000];
    let wire = packet(2, 0, &data);
    let mut decoder = Decoder::new(1 << 20, 4096);
    assert!(said(&mut decoder, &[&wire[..4000]]).unwrap().is_empty());
    assert_eq!(decoder.rest(), None);
    let head = wire.len() - data.len();
    let [direct, behind] = decoder.spaces();
    assert_eq!(direct.len(), wire.len() - 4000);
    assert_eq!(behind.len(), 4096 - head);
    let place = direct.as_ptr();
    direct.copy_from_slice(&wire[4000..]);
    let direct = direct.len();
    let next = packet(2, 0, b"");
    behind[..next.len()].copy_from_slice(&next);
    decoder.filled(direct + next.len());
    let taken = decoder.next().unwrap().unwrap().data.unwrap();
    assert_eq!(taken[..], data[..]);
    assert_eq!(taken.as_ptr_range().end, place.wrapping_add(direct), "it was not copied");
    assert_eq!(take(&mut decoder).unwrap().unwrap().2, None);
    assert!(!decoder.is_within());
}

#[test]
fn what_is_behind_the_last_packet_can_be_handed_on() {
    let mut decoder = Decoder::new(0, 0);
    let wire = [packet(1, 0, b""), packet(2, 8, b"")].concat();
    decoder.feed(&wire);
    take(&mut decoder).unwrap().unwrap();
    let rest = decoder.rest().unwrap().to_vec();
    let mut other = Decoder::new(0, 0);
    let first = said(&mut other, &[&rest]).unwrap();
    let fed = rest.len() + packet(1, 0, b"").len();
    assert_eq!((first.len(), said(&mut other, &[&wire[fed..]]).unwrap().len()), (0, 1));
}

proptest! {
    #[test]
    fn a_stream_in_any_pieces(cuts in vec(1usize..300, 1..40), buffer in 0usize..3000) {
        let (stream, all) = stream();
        let mut pieces = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(said(&mut Decoder::new(1200, buffer), &pieces).unwrap(), all);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = said(&mut Decoder::new(500, 0), &[&bytes]);
    }

    #[test]
    fn a_stream_with_a_wrong_byte_is_read_or_refused(
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (mut stream, _) = stream();
        let at = at.index(stream.len());
        stream[at] = byte;
        let whole = said(&mut Decoder::new(1200, 0), &[&stream]);
        let (head, tail) = stream.split_at(at);
        let cut = said(&mut Decoder::new(1200, 0), &[head, tail]);
        prop_assert_eq!(whole, cut);
    }
}
