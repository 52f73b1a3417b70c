//! What is done to the data of a packet: holes, LZF, checksums (section 1.3).
//!
//! Nothing of sockets. Where the specification says that a FreeBSD receiver would abort, the
//! error says so; the one who called makes it a failed test.

use sha2::{Digest, Sha256};

use super::nv::List;
use super::{Broken, abort};

/// What a side adds to the data it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing.
    #[default]
    None,
    /// IEEE CRC-32, four bytes little-endian.
    Crc32,
    /// SHA-256.
    Sha256,
}

/// How a side shortens the data it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Blocks of zeroes become their length; FreeBSD's default.
    #[default]
    Hole,
    /// Holes first, then LZF where it saves at least 1024 bytes.
    Lzf,
}

/// LZF must save this much to be worth it, and originals must be longer than this.
const LZF_SAVES: usize = 1024;

impl Checksum {
    fn of(self, bytes: &[u8]) -> Option<(&'static str, Vec<u8>)> {
        match self {
            Checksum::None => None,
            Checksum::Crc32 => Some(("crc32", crc32fast::hash(bytes).to_le_bytes().to_vec())),
            Checksum::Sha256 => Some(("sha256", Sha256::digest(bytes).to_vec())),
        }
    }
}

/// Prepares `data` for sending: adds `compression`, `checksum`, `hash` and last `size` to the
/// list, and returns the bytes that follow it.
pub fn pack(list: &mut List, data: &[u8], checksum: Checksum, compression: Compression) -> Vec<u8> {
    let length = (data.len() as u32).to_le_bytes();
    let mut bytes = data.to_vec();
    if compression != Compression::None && data.iter().all(|byte| *byte == 0) {
        list.put_text("compression", "hole");
        bytes = length.to_vec();
    } else if compression == Compression::Lzf && data.len() > LZF_SAVES {
        let stream = lzf_compress(data);
        if stream.len() <= data.len() - LZF_SAVES {
            list.put_text("compression", "lzf");
            bytes = [&length[..], &stream].concat();
        }
    }
    if let Some((name, hash)) = checksum.of(&bytes) {
        list.put_text("checksum", name);
        list.put_array("hash", &hash);
    }
    list.put_uint32("size", bytes.len() as u32);
    bytes
}

/// The data again, from the `size` bytes that came. `limit` bounds what may be allocated for
/// it (the receiver's buffer); whether the length is the one that was asked for is not judged here.
pub fn unpack(list: &List, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Broken> {
    if let Some(name) = list.text("checksum")? {
        let checksum = match name {
            "crc32" => Checksum::Crc32,
            "sha256" => Checksum::Sha256,
            other => return Err(Broken::Link(format!("unknown checksum {other}"))),
        };
        let hash = list.array("hash")?.unwrap_or_default();
        let (_, own) = checksum.of(bytes).unwrap_or_default();
        if hash != own {
            return Err(Broken::Link(format!("{name} does not match: {hash:02x?} {own:02x?}")));
        }
    }
    let Some(name) = list.text("compression")? else { return Ok(bytes.to_vec()) };
    if name != "hole" && name != "lzf" {
        return Err(Broken::Link(format!("unknown compression {name}")));
    }
    if name == "lzf" && bytes.len() <= 4 {
        return Err(abort("H11", format!("lzf with a payload of {} bytes", bytes.len())));
    }
    let Some((length, stream)) = bytes.split_first_chunk::<4>() else {
        return Err(Broken::Link(format!("{name} with {} bytes", bytes.len())));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if name == "lzf" && length <= LZF_SAVES {
        return Err(abort("H11", format!("lzf of an original of {length} bytes")));
    }
    if length > limit {
        return Err(Broken::Misuse(format!("{name} of {length} bytes into a buffer of {limit}")));
    }
    if name == "hole" {
        if !stream.is_empty() {
            return Err(Broken::Misuse(format!("hole with {} bytes, not 4", bytes.len())));
        }
        return Ok(vec![0; length]);
    }
    let data = lzf_decompress(stream, length).map_err(Broken::Link)?;
    if data.len() != length {
        return Err(abort("A10", format!("lzf of {length} bytes gives {}", data.len())));
    }
    Ok(data)
}

/// At most `limit` bytes out of one stream of liblzf's format.
pub fn lzf_decompress(stream: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut out: Vec<u8> = Vec::with_capacity(limit);
    let mut input = stream.iter().copied();
    let mut next = || input.next().ok_or("lzf ends in the middle".to_string());
    while let Ok(control) = next() {
        let control = usize::from(control);
        if control < 32 {
            for _ in 0..=control {
                out.push(next()?);
            }
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += usize::from(next()?);
            }
            let distance = ((control & 31) << 8 | usize::from(next()?)) + 1;
            let from = out.len().checked_sub(distance).ok_or("lzf refers before its start")?;
            for at in from..from + length + 2 {
                out.push(out[at]);
            }
        }
        if out.len() > limit {
            return Err(format!("lzf gives more than {limit} bytes"));
        }
    }
    Ok(out)
}

/// A stream liblzf can read. Greedy, one candidate a hash: enough to be a peer with.
pub fn lzf_compress(data: &[u8]) -> Vec<u8> {
    const SLOTS: usize = 1 << 16;
    let mut seen = vec![usize::MAX; SLOTS];
    let (mut out, mut literals, mut at) = (Vec::new(), 0, 0);
    let flush = |out: &mut Vec<u8>, run: &[u8]| {
        for part in run.chunks(32) {
            out.push(part.len() as u8 - 1);
            out.extend_from_slice(part);
        }
    };
    while at + 2 < data.len() {
        let three = u32::from_le_bytes([data[at], data[at + 1], data[at + 2], 0]);
        let slot = (three.wrapping_mul(0x9e37_79b1) >> 16) as usize;
        let before = std::mem::replace(&mut seen[slot], at);
        let longest = (data.len() - at).min(264);
        let matched = match before {
            usize::MAX => 0,
            from if at - from > 8192 => 0,
            from => (0..longest).take_while(|i| data[from + i] == data[at + i]).count(),
        };
        if matched < 3 {
            at += 1;
            continue;
        }
        flush(&mut out, &data[literals..at]);
        let (length, distance) = (matched - 2, at - before - 1);
        let high = (distance >> 8) as u8;
        if length < 7 {
            out.push((length as u8) << 5 | high);
        } else {
            out.extend_from_slice(&[7 << 5 | high, (length - 7) as u8]);
        }
        out.push(distance as u8);
        at += matched;
        literals = at;
    }
    flush(&mut out, &data[literals..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let mut noise = 1u32;
        let mut next = || {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            noise as u8
        };
        vec![
            vec![0; 4096],
            vec![7; 512],
            vec![7; 131_072],
            (0..65_536).map(|i| (i / 300) as u8).collect(),
            (0..8192).map(|_| next()).collect(),
            (0..20_000).map(|i| if i % 9000 < 4000 { next() } else { (i % 11) as u8 }).collect(),
        ]
    }

    #[test]
    fn every_pipeline_gives_the_data_again() {
        for data in samples() {
            for checksum in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
                for compression in [Compression::None, Compression::Hole, Compression::Lzf] {
                    let mut list = List::new();
                    let bytes = pack(&mut list, &data, checksum, compression);
                    assert_eq!(list.uint32("size"), Ok(bytes.len() as u32));
                    assert_eq!(list.names().last().map(String::as_str), Some("size"));
                    assert_eq!(unpack(&list, &bytes, data.len()).unwrap(), data);
                    if checksum != Checksum::None {
                        let mut spoilt = bytes.clone();
                        spoilt[bytes.len() / 2] ^= 1;
                        let error = unpack(&list, &spoilt, data.len()).unwrap_err();
                        assert!(matches!(error, Broken::Link(_)), "{error:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_worth_it_is_sent_as_it_is() {
        let mut list = List::new();
        assert_eq!(pack(&mut list, &[7; 1024], Checksum::None, Compression::Lzf), [7; 1024]);
        assert!(!list.has("compression"));
        let mut list = List::new();
        let hole = pack(&mut list, &[0; 1024], Checksum::Crc32, Compression::Hole);
        assert_eq!(hole, [0, 4, 0, 0]);
        assert_eq!(list.array("hash").unwrap().unwrap(), crc32fast::hash(&hole).to_le_bytes());
    }

    #[test]
    fn known_values() {
        assert_eq!(Checksum::Crc32.of(b"123456789").unwrap().1, [0x26, 0x39, 0xf4, 0xcb]);
        assert_eq!(Checksum::Sha256.of(b"abc").unwrap().1[..4], [0xba, 0x78, 0x16, 0xbf]);
        // A literal of one, then the longest reference, one byte back.
        assert_eq!(lzf_decompress(&[0, b'a', 0xe0, 255, 0], 265).unwrap(), vec![b'a'; 265]);
        assert!(lzf_decompress(&[0, b'a', 0x20, 1], 100).is_err());
        assert!(lzf_decompress(&[5, b'a'], 100).is_err());
        assert!(lzf_decompress(&[0, b'a', 0xe0, 255, 0], 264).is_err());
    }

    #[test]
    fn what_makes_a_freebsd_receiver_abort() {
        let case = |name: &str, bytes: &[u8]| {
            let mut list = List::new();
            list.put_text("compression", name);
            unpack(&list, bytes, 4096).unwrap_err()
        };
        assert!(matches!(case("lzf", &[0, 8, 0, 0]), Broken::Abort(_)));
        assert!(matches!(case("lzf", &[0, 4, 0, 0, 0, 1]), Broken::Abort(_)));
        assert!(matches!(case("lzf", &[1, 4, 0, 0, 0, 1]), Broken::Abort(_)));
        assert!(matches!(case("hole", &[0, 4, 0]), Broken::Link(_)));
        assert!(matches!(case("hole", &[1, 16, 0, 0]), Broken::Misuse(_)));
        assert!(matches!(case("zstd", &[1, 16, 0, 0]), Broken::Link(_)));
    }
}
