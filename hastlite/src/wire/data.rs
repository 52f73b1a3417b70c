//! The data of a packet: compressed, then provided with a checksum, both told in the packet's list
//! along with the `size` of what follows. The receiver goes by the packet alone; each side chooses
//! for what it sends.
//!
//! Compressions: `hole` (all zeroes; four bytes with the length, little-endian, instead of the
//! data) and `lzf` (the same four bytes, then one stream of liblzf 1.5's format). Checksums, over
//! the bytes that are sent: `crc32` (IEEE, little-endian) and `sha256`.
//!
//! Source: FreeBSD `sbin/hastd/hast_compression.c`, `hast_checksum.c`.

use super::WireError;
use crate::Data;
use crate::nv::{self, Entry, Kind, Nv};
use sha2::{Digest, Sha256};

#[cfg(test)]
mod tests;

/// What is sent to prove that data is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing.
    #[default]
    None,
    /// The IEEE's 32 bits.
    Crc32,
    /// SHA-256.
    Sha256,
}

/// How data is made less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zeroes are only told.
    #[default]
    Hole,
    /// LZF, and zeroes only told.
    Lzf,
}

/// What we do with the data that we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codec {
    /// Last.
    pub checksum: Checksum,
    /// First.
    pub compression: Compression,
}

/// What the length before compression is written in.
const LENGTH: usize = 4;

/// LZF is used if it saves this much; FreeBSD asserts that what came was longer (H11).
const SAVED: usize = 1024;

/// FreeBSD's sectors. Its receiver writes whole ones, and so much we tell as a hole.
const SECTOR: usize = 512;

impl Codec {
    /// Appends what must be said of `data` to a packet's list. What is then to be sent behind the
    /// list is returned; four bytes for a hole are an allocation that costs less than its zeroes.
    pub(super) fn pack(&self, data: &Data, list: &mut Vec<u8>) -> Result<Data, WireError> {
        if data.is_empty() || u32::try_from(data.len()).is_err() {
            return Err(WireError::Unsendable("data of no bytes, or of more than 32 bits tell"));
        }
        let packed = match self.compression {
            Compression::None => None,
            Compression::Hole => hole(data).map(|packed| ("hole", packed)),
            Compression::Lzf => hole(data)
                .map(|packed| ("hole", packed))
                .or_else(|| lzf(data).map(|packed| ("lzf", packed))),
        };
        let payload = match packed {
            Some((name, packed)) => {
                nv::put_string(list, "compression", name)?;
                Data::from(packed)
            }
            None => Data::clone(data),
        };
        match self.checksum {
            Checksum::None => {}
            Checksum::Crc32 => {
                nv::put_string(list, "checksum", "crc32")?;
                let hash = crc32fast::hash(&payload).to_le_bytes();
                nv::put_u8_array(list, "hash", &hash)?;
            }
            Checksum::Sha256 => {
                nv::put_string(list, "checksum", "sha256")?;
                nv::put_u8_array(list, "hash", &Sha256::digest(&payload[..]))?;
            }
        }
        nv::put_u32(list, "size", payload.len() as u32);
        Ok(payload)
    }
}

/// Whether there are only zeroes. Most data is known not to be by its first bytes.
fn is_zero(data: &[u8]) -> bool {
    let (words, rest) = data.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |any, byte| any | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

fn hole(data: &[u8]) -> Option<Vec<u8>> {
    let told = data.len().is_multiple_of(SECTOR) && is_zero(data);
    told.then(|| (data.len() as u32).to_le_bytes().to_vec())
}

fn lzf(data: &[u8]) -> Option<Vec<u8>> {
    let room = data.len().checked_sub(SAVED).filter(|room| *room > 0)?;
    let mut packed = vec![0; LENGTH + room];
    packed[..LENGTH].copy_from_slice(&(data.len() as u32).to_le_bytes());
    let length = lzf_rust::compress(data, &mut packed[LENGTH..]).ok()?;
    packed.truncate(LENGTH + length);
    Some(packed)
}

/// What a packet's list says of its data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes<'a> {
    compression: Option<&'a [u8]>,
    checksum: Option<&'a [u8]>,
    hash: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    /// Takes note of an entry, if it is one of these.
    #[inline]
    pub(super) fn note(&mut self, entry: &Entry<'a>) -> Result<(), WireError> {
        match entry.name {
            b"compression" => self.compression = self.compression.or(Some(name(entry)?)),
            b"checksum" => self.checksum = self.checksum.or(Some(name(entry)?)),
            b"hash" => self.hash = self.hash.or(Some(entry.of(Kind::Uint8Array)?)),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn of(nv: Nv<'a>) -> Result<Attributes<'a>, WireError> {
        let mut attributes = Attributes::default();
        nv.entries().try_for_each(|entry| attributes.note(&entry))?;
        Ok(attributes)
    }

    /// Makes of `data` what the sender had, of which there may be `limit` bytes.
    pub(super) fn unpack(&self, data: Data, limit: u64) -> Result<Data, WireError> {
        self.verify(&data)?;
        let plain = match self.compression {
            None => data,
            Some(b"hole") => match *data {
                [a, b, c, d] => Data::from(vec![0; length([a, b, c, d], limit)?]),
                _ => return Err(WireError::PackedLength(data.len())),
            },
            Some(b"lzf") => match data.split_first_chunk::<LENGTH>() {
                Some((announced, stream)) if !stream.is_empty() => {
                    let length = length(*announced, limit)?;
                    let plain = lzf_rust::decompress_into_vec(stream, length);
                    plain.map(Data::from).map_err(|_| WireError::Lzf)?
                }
                _ => return Err(WireError::PackedLength(data.len())),
            },
            Some(other) => return Err(WireError::Compression(shown(other))),
        };
        if plain.len() as u64 > limit {
            return Err(WireError::Length { length: plain.len() as u64, limit });
        }
        Ok(plain)
    }

    fn verify(&self, data: &[u8]) -> Result<(), WireError> {
        let hash = self.hash.unwrap_or_default();
        let matches = match self.checksum {
            None => return Ok(()),
            Some(b"crc32") if hash.len() == 4 => hash == crc32fast::hash(data).to_le_bytes(),
            Some(b"sha256") if hash.len() == 32 => hash == Sha256::digest(data).as_slice(),
            Some(b"crc32" | b"sha256") => return Err(WireError::HashLength(hash.len())),
            Some(other) => return Err(WireError::Checksum(shown(other))),
        };
        if matches { Ok(()) } else { Err(WireError::Corrupt) }
    }
}

/// The name of an algorithm, without its NUL.
fn name<'a>(entry: &Entry<'a>) -> Result<&'a [u8], WireError> {
    let bytes = entry.of(Kind::String)?;
    Ok(bytes.strip_suffix(&[0]).unwrap_or(bytes))
}

/// A peer's word as it may stand in a log.
fn shown(word: &[u8]) -> String {
    word[..word.len().min(32)].escape_ascii().to_string()
}

/// The length before compression. Nobody compresses nothing.
fn length(announced: [u8; LENGTH], limit: u64) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(announced);
    if length == 0 || u64::from(length) > limit {
        return Err(WireError::Length { length: length.into(), limit });
    }
    Ok(length as usize)
}
