//! Records A and B: the metadata with a checksum and a sequence number, 4096 bytes each.
//!
//! | offset | bytes | content                                                      |
//! |--------|-------|--------------------------------------------------------------|
//! | 0      | 16    | `hastlite-meta-1` and a NUL                                  |
//! | 16     | 32    | SHA-256 of all other bytes                                   |
//! | 48     | 8     | sequence number, little-endian                               |
//! | 56     | 8     | fingerprint of FreeBSD's block that it was made on top of, 0 |
//! | 64     | 4032  | nv list: FreeBSD's nine fields and `hl_state`; zeroes        |

use super::{Metadata, MetadataError, SIZE, fields, put_fields, state_number, state_of, u64_at};
use crate::nv::{self, Nv};
use sha2::{Digest, Sha256};

const MARK: &[u8; 16] = b"hastlite-meta-1\0";
const BODY: usize = 48;
const LIST: usize = 64;

/// A record that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub meta: Metadata,
    /// One more than the record before it, or more.
    pub sequence: u64,
    /// What [`super::Block::fingerprint`] was when a block of FreeBSD's was there; else 0.
    pub base: u64,
}

impl Record {
    /// Its 4096 bytes.
    ///
    /// # Errors
    /// [`MetadataError::Name`], [`MetadataError::Nv`]: the name cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, MetadataError> {
        let mut out = Vec::with_capacity(SIZE);
        out.extend_from_slice(MARK);
        out.resize(BODY, 0);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.base.to_le_bytes());
        nv::put_u8(&mut out, "hl_state", state_number(self.meta.consistency));
        put_fields(&mut out, &self.meta)?;
        out.resize(SIZE, 0);
        let sum = sum(&out);
        out[MARK.len()..BODY].copy_from_slice(&sum);
        Ok(out)
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or not whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetadataError> {
        if bytes.len() != SIZE {
            return Err(MetadataError::Size(bytes.len()));
        }
        if !bytes.starts_with(MARK) {
            return Err(MetadataError::NoRecord);
        }
        if bytes[MARK.len()..BODY] != sum(bytes) {
            return Err(MetadataError::Checksum);
        }
        let nv = Nv::decode(&bytes[LIST..]).map_err(MetadataError::Nv)?;
        let state = nv.get_u8("hl_state").map_err(MetadataError::Nv)?;
        let consistency = state_of(state.ok_or(MetadataError::Missing("hl_state"))?)?;
        let meta = Metadata { consistency, ..fields(nv)? };
        Ok(Self { meta, sequence: u64_at(bytes, BODY), base: u64_at(bytes, BODY + 8) })
    }
}

fn sum(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&bytes[..MARK.len()]);
    hash.update(&bytes[BODY..]);
    hash.finalize().into()
}
