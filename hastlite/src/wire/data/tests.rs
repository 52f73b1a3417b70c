//! Every way of sending data, there and back; and the bounds of each.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Hole, Compression::Lzf];
const CHECKSUMS: [Checksum; 3] = [Checksum::None, Checksum::Crc32, Checksum::Sha256];

fn codec(checksum: Checksum, compression: Compression) -> Codec {
    Codec { checksum, compression }
}

/// The list and the bytes sent for `data`.
fn pack(codec: Codec, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut list = Vec::new();
    let payload = codec.pack(&Data::from(data.to_vec()), &mut list).unwrap();
    (list, payload.to_vec())
}

fn unpack(list: &[u8], data: &[u8], limit: u64) -> Result<Vec<u8>, WireError> {
    Attributes::of(Nv::decode(list)?)?
        .unpack(Data::from(data.to_vec()), limit)
        .map(|plain| plain.to_vec())
}

/// Lines that LZF makes short.
fn text(length: usize) -> Vec<u8> {
    let lines =
        (0..).flat_map(|n| format!("line {} of a text that repeats itself\n", n % 7).into_bytes());
    lines.take(length).collect()
}

/// Bytes that nothing makes short.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn compression(list: &[u8]) -> Option<String> {
    Nv::decode(list).unwrap().get_string("compression").unwrap().map(str::to_owned)
}

#[test]
fn attributes_in_their_order() {
    let (list, payload) = pack(codec(Checksum::Crc32, Compression::Hole), &[0; 4096]);
    assert_eq!(payload, [0, 0x10, 0, 0]);
    let names: Vec<_> = Nv::decode(&list).unwrap().entries().map(|e| (e.name, e.kind)).collect();
    let wanted: [(&[u8], Kind); 4] = [
        (b"compression", Kind::String),
        (b"checksum", Kind::String),
        (b"hash", Kind::Uint8Array),
        (b"size", Kind::Uint32),
    ];
    assert_eq!(names, wanted);
    // Over what is sent, not over the zeroes.
    let nv = Nv::decode(&list).unwrap();
    let hash = crc32fast::hash(&[0, 0x10, 0, 0]).to_le_bytes();
    assert_eq!(nv.get_bytes("hash"), Ok(Some(hash.as_slice())));
    assert_eq!(nv.get_u32("size"), Ok(Some(4)));
}

#[test]
fn checksums_are_the_known_ones() {
    let (list, _) = pack(codec(Checksum::Crc32, Compression::None), b"123456789");
    let nv = Nv::decode(&list).unwrap();
    assert_eq!(nv.get_bytes("hash"), Ok(Some([0x26, 0x39, 0xf4, 0xcb].as_slice())));
    let (list, _) = pack(codec(Checksum::Sha256, Compression::None), b"abc");
    let nv = Nv::decode(&list).unwrap();
    let hash = nv.get_bytes("hash").unwrap().unwrap();
    assert_eq!(
        (hash.len(), &hash[..4], &hash[28..]),
        (32, &[0xba, 0x78, 0x16, 0xbf][..], &[0xf2, 0, 0x15, 0xad][..])
    );
}

#[test]
fn without_anything_the_data_is_not_touched() {
    let data = Data::from(vec![0; 512]);
    let mut list = Vec::new();
    let payload = codec(Checksum::None, Compression::None).pack(&data, &mut list).unwrap();
    assert!(std::ptr::eq(&payload[..], &data[..]));
    assert_eq!(list.len(), 22);
}

#[test]
fn holes_are_whole_sectors_of_zeroes() {
    for compression_used in [Compression::Hole, Compression::Lzf] {
        for length in [512, 4096, 1 << 20] {
            let mut data = vec![0; length];
            let (list, payload) = pack(codec(Checksum::None, compression_used), &data);
            assert_eq!(compression(&list).as_deref(), Some("hole"));
            assert_eq!(payload, (length as u32).to_le_bytes());
            assert_eq!(unpack(&list, &payload, length as u64), Ok(data.clone()));
            for at in [0, length / 2, length - 1] {
                data[at] = 1;
                let (list, _) = pack(codec(Checksum::None, compression_used), &data);
                assert_ne!(compression(&list).as_deref(), Some("hole"), "a byte at {at}");
                data[at] = 0;
            }
        }
    }
    for length in [1, 8, 511, 513, 1000] {
        let (list, payload) = pack(codec(Checksum::None, Compression::Hole), &vec![0; length]);
        assert_eq!((compression(&list), payload.len()), (None, length));
    }
}

#[test]
fn h11_no_lzf_that_makes_a_freebsd_peer_abort() {
    for length in [1, 512, 1023, 1024, 1025, 1026, 1100, 1536, 2048, 4096, 131_072] {
        for data in [text(length), noise(length)] {
            let (list, payload) = pack(codec(Checksum::None, Compression::Lzf), &data);
            if compression(&list).is_some() {
                assert!(length > 1024, "{length} bytes");
                assert!(payload.len() > 4 && payload.len() - 4 <= length - 1024, "{length} bytes");
                // A10: what comes out is what is announced.
                assert_eq!(
                    lzf_rust::decompress_into_vec(&payload[4..], length).as_ref(),
                    Ok(&data)
                );
            } else {
                assert_eq!(payload, data);
            }
            assert_eq!(unpack(&list, &payload, length as u64), Ok(data));
        }
    }
    let (list, _) = pack(codec(Checksum::None, Compression::Lzf), &text(4096));
    assert_eq!(compression(&list).as_deref(), Some("lzf"), "and yet it is used");
}

#[test]
fn what_liblzf_made_is_read() {
    // liblzf 3.6's lzf_compress() (the code of 1.5) of text(2048).
    let stream = "1f6c696e652030206f6620612074657874207468617420726570656174732069740573656c660a6c\
                  40240031e01b240032e01b240033e01b240034e01b240035e01b240036e01b24e1ff02e2ff05e3ff\
                  08e4ff0be5ff0ee6ff11e7bd14012074";
    let stream = stream
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    let wire: Vec<u8> = 2048u32.to_le_bytes().into_iter().chain(stream).collect();
    let mut list = Vec::new();
    nv::put_string(&mut list, "compression", "lzf").unwrap();
    assert_eq!(unpack(&list, &wire, 2048), Ok(text(2048)));
}

#[test]
fn data_that_cannot_be_what_was_sent() {
    let list = |compression: Option<&str>, checksum: Option<&str>, hash: Option<&[u8]>| {
        let mut list = Vec::new();
        if let Some(name) = compression {
            nv::put_string(&mut list, "compression", name).unwrap();
        }
        if let Some(name) = checksum {
            nv::put_string(&mut list, "checksum", name).unwrap();
        }
        if let Some(hash) = hash {
            nv::put_u8_array(&mut list, "hash", hash).unwrap();
        }
        list
    };
    let crc = crc32fast::hash(b"data").to_le_bytes();
    let mut wrong = crc;
    wrong[3] ^= 0x80;
    let length = |length, limit| WireError::Length { length, limit };
    for (list, data, wanted) in [
        (list(Some("zip"), None, None), &b"data"[..], WireError::Compression("zip".to_owned())),
        (list(Some("none"), None, None), b"data", WireError::Compression("none".to_owned())),
        (list(Some("HOLE"), None, None), b"\0\x02\0\0", WireError::Compression("HOLE".to_owned())),
        (list(None, Some("md5"), Some(&crc)), b"data", WireError::Checksum("md5".to_owned())),
        (list(None, Some("crc32"), None), b"data", WireError::HashLength(0)),
        (list(None, Some("crc32"), Some(&crc[..3])), b"data", WireError::HashLength(3)),
        (list(None, Some("sha256"), Some(&crc)), b"data", WireError::HashLength(4)),
        (list(None, Some("crc32"), Some(&[0; 32])), b"data", WireError::HashLength(32)),
        (list(None, Some("crc32"), Some(&wrong)), b"data", WireError::Corrupt),
        (list(None, Some("crc32"), Some(&crc)), b"dataa", WireError::Corrupt),
        (list(None, Some("sha256"), Some(&[7; 32])), b"data", WireError::Corrupt),
        // The checksum comes first.
        (list(Some("zip"), Some("crc32"), Some(&wrong)), b"data", WireError::Corrupt),
        (list(Some("hole"), None, None), b"\0\x02\0", WireError::PackedLength(3)),
        (list(Some("hole"), None, None), b"\0\x02\0\0\0", WireError::PackedLength(5)),
        (list(Some("hole"), None, None), b"\0\0\0\0", length(0, 2048)),
        (list(Some("hole"), None, None), b"\x01\x08\0\0", length(2049, 2048)),
        (list(Some("hole"), None, None), b"\xff\xff\xff\xff", length(u32::MAX.into(), 2048)),
        (list(Some("lzf"), None, None), b"\0\x08\0\0", WireError::PackedLength(4)),
        (list(Some("lzf"), None, None), b"\0", WireError::PackedLength(1)),
        (list(Some("lzf"), None, None), b"\x01\x08\0\0\0x", length(2049, 2048)),
        (list(Some("lzf"), None, None), b"\xff\xff\xff\xff\0x", length(u32::MAX.into(), 2048)),
        // Literals that are not there, less and more than announced, and from before the beginning.
        (list(Some("lzf"), None, None), b"\x05\0\0\0\x04ab", WireError::Lzf),
        (list(Some("lzf"), None, None), b"\x03\0\0\0\x01ab", WireError::Lzf),
        (list(Some("lzf"), None, None), b"\x01\0\0\0\x01ab", WireError::Lzf),
        (list(Some("lzf"), None, None), b"\x03\0\0\0\x20\0", WireError::Lzf),
        (list(None, None, None), &[0; 2049], length(2049, 2048)),
    ] {
        assert_eq!(unpack(&list, data, 2048), Err(wanted), "{}", list.escape_ascii());
    }
    // A name of an algorithm that is no string.
    let mut list = Vec::new();
    nv::put_u8(&mut list, "checksum", 1);
    assert!(matches!(unpack(&list, b"data", 2048), Err(WireError::Nv(_))));
}

#[test]
fn no_data_is_not_sent_as_data() {
    for compression in COMPRESSIONS {
        let mut list = Vec::new();
        let packed = codec(Checksum::Crc32, compression).pack(&Data::from(Vec::new()), &mut list);
        assert!(matches!(packed, Err(WireError::Unsendable(_))));
        assert_eq!(list, b"");
    }
}

proptest! {
    #[test]
    fn any_data_comes_back(
        seed in vec(any::<u8>(), 1..40), repeat in 1usize..200, zeroes in 0usize..4,
        way in 0usize..9,
    ) {
        let mut data = seed.repeat(repeat);
        data.resize(data.len() + zeroes * 512, 0);
        let (list, payload) = pack(codec(CHECKSUMS[way / 3], COMPRESSIONS[way % 3]), &data);
        prop_assert_eq!(unpack(&list, &payload, data.len() as u64).unwrap(), data.clone());
        let less = unpack(&list, &payload, data.len() as u64 - 1);
        let is_length = matches!(less, Err(WireError::Length { .. }));
        prop_assert!(is_length, "{less:?}");
    }

    #[test]
    fn a_changed_bit_is_seen(
        data in vec(any::<u8>(), 1..3000), way in 3usize..9, at in any::<prop::sample::Index>(),
    ) {
        let (list, mut payload) = pack(codec(CHECKSUMS[way / 3], COMPRESSIONS[way % 3]), &data);
        let at = at.index(payload.len() * 8);
        payload[at / 8] ^= 1 << (at % 8);
        prop_assert_eq!(unpack(&list, &payload, 1 << 20), Err(WireError::Corrupt));
    }

    #[test]
    fn any_stream_is_read_or_refused(stream in vec(any::<u8>(), 0..300)) {
        for name in ["lzf", "hole"] {
            let mut list = Vec::new();
            nv::put_string(&mut list, "compression", name).unwrap();
            if let Ok(data) = unpack(&list, &stream, 4096) {
                prop_assert!(data.len() <= 4096);
            }
        }
    }
}
