//! What is known about a resource, as bytes on its component: FreeBSD's metadata block, and two
//! records of ours beside it. Pure: where they lie is `layout`'s business, when they are written is
//! `storage`'s.
//!
//! FreeBSD's block is one nv list in 4096 bytes, rewritten in place, without checksum or second copy
//! (hazard H14). We write it too, so that the component can move to FreeBSD and back, with three
//! entries that FreeBSD ignores, and drops when it rewrites the block: a checksum, a sequence number
//! and how the data stands. Records A and B hold the same, are written in turn, and *before* the
//! block. Of all three the one with the highest sequence number holds, whatever became of another.
//!
//! The block's last bytes say for good where the records are ([`Block::records`]): they can be found
//! though the list is torn. (What lies in the data area is never taken for a record: it is written
//! by clients.)
//!
//! A block without our entries was written by FreeBSD since. Then its nine fields hold, unless the
//! newest record says that it was made on top of just that block; how the data stands is taken from
//! the record, as FreeBSD does not tell.
//!
//! A component that FreeBSD has laid out has no room for records: there the block is all there is,
//! and only devices that write 512 bytes whole or not at all keep it from being torn.
//!
//! Source: FreeBSD `sbin/hastd/metadata.c`; the checksum is SHA-256 (FIPS 180-4).

mod block;
mod record;
#[cfg(test)]
mod tests;

pub use block::{Block, Body, mark};
pub use record::Record;

use crate::engine::{Consistency, Metadata, Role};
use crate::nv::{self, Nv, NvError};
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes of the block and of a record.
pub const SIZE: usize = 4096;

/// The name of a resource is shorter than this, FreeBSD's NAME_MAX.
pub const NAME_MAX: usize = 255;

/// What holds, of a block and two records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The metadata.
    pub meta: Metadata,
    /// The sequence number that it has; 0 of a block of FreeBSD's.
    pub sequence: u64,
    /// Which record (0 or 1) may be written next: never the newest one.
    pub slot: usize,
    /// Worth a line in the log.
    pub note: Option<&'static str>,
}

/// Chooses what holds. `records` are as they were read, nothing where there are none or they could
/// not be.
///
/// # Errors
/// The block's, if nothing at all holds.
pub fn choose(block: &Block, records: [Option<&[u8]>; 2]) -> Result<Found, MetadataError> {
    let records = records.map(|bytes| bytes.and_then(|bytes| Record::decode(bytes).ok()));
    let slot = match &records {
        [Some(a), Some(b)] => usize::from(a.sequence > b.sequence),
        [Some(_), None] => 1,
        _ => 0,
    };
    let newest = records.into_iter().flatten().max_by_key(|record| record.sequence);
    let found = |meta: Metadata, sequence, note| Found { meta, sequence, slot, note };
    let highest = newest.as_ref().map_or(0, |record| record.sequence);
    match (&block.body, newest) {
        (Ok(Body::Ours(meta, sequence)), _) if *sequence >= highest => {
            let note = (*sequence > highest && block.records.is_some() && highest > 0)
                .then_some("the newest record of its metadata is damaged; the block has it too");
            Ok(found(meta.clone(), *sequence, note))
        }
        (Ok(Body::Foreign(_)), Some(record)) if record.base == block.fingerprint => {
            let note = "a change of its metadata was interrupted; the record has it";
            Ok(found(record.meta, record.sequence, Some(note)))
        }
        (Ok(Body::Foreign(meta)), newest) => {
            let known = newest.filter(|record| record.meta.resuid == meta.resuid);
            let consistency = known.map_or(meta.consistency, |record| record.meta.consistency);
            let note = "its metadata was last written by FreeBSD's hastd";
            // Above what is there, whatever it is worth now.
            Ok(found(Metadata { consistency, ..meta.clone() }, highest, Some(note)))
        }
        (Ok(Body::Ours(..)), Some(record)) => Ok(found(record.meta, record.sequence, None)),
        (Err(_), Some(record)) => {
            let note = "its metadata block is torn or damaged; a record has it";
            Ok(found(record.meta, record.sequence, Some(note)))
        }
        (Err(error), None) => Err(error.clone()),
        // Not reached: without a record `highest` is 0, and the first arm took it.
        (Ok(Body::Ours(meta, sequence)), None) => Ok(found(meta.clone(), *sequence, None)),
    }
}

/// Appends the nine fields, in FreeBSD's order and types. Its reader wants all of them (A5).
fn put_fields(out: &mut Vec<u8>, meta: &Metadata) -> Result<(), MetadataError> {
    if meta.resource.len() >= NAME_MAX {
        return Err(MetadataError::Name(meta.resource.len()));
    }
    nv::put_string(out, "resource", &meta.resource).map_err(MetadataError::Nv)?;
    nv::put_u64(out, "datasize", meta.datasize);
    nv::put_u32(out, "extentsize", meta.extentsize);
    nv::put_u32(out, "keepdirty", meta.keepdirty);
    nv::put_u64(out, "offset", meta.offset);
    nv::put_u64(out, "resuid", meta.resuid);
    nv::put_u64(out, "localcnt", meta.localcnt);
    nv::put_u64(out, "remotecnt", meta.remotecnt);
    nv::put_string(out, "prevrole", role_name(meta.prevrole)).map_err(MetadataError::Nv)
}

/// Reads the nine fields; each must be there, and be of its type.
fn fields(nv: Nv<'_>) -> Result<Metadata, MetadataError> {
    fn need<T>(name: &'static str, got: Result<Option<T>, NvError>) -> Result<T, MetadataError> {
        got.map_err(MetadataError::Nv)?.ok_or(MetadataError::Missing(name))
    }
    let number = |name| need(name, nv.get_u64(name));
    let prevrole = need("prevrole", nv.get_string("prevrole"))?;
    Ok(Metadata {
        resource: need("resource", nv.get_string("resource"))?.to_owned(),
        datasize: number("datasize")?,
        extentsize: need("extentsize", nv.get_u32("extentsize"))?,
        keepdirty: need("keepdirty", nv.get_u32("keepdirty"))?,
        offset: number("offset")?,
        resuid: number("resuid")?,
        localcnt: number("localcnt")?,
        remotecnt: number("remotecnt")?,
        prevrole: [Role::Init, Role::Primary, Role::Secondary]
            .into_iter()
            .find(|role| role_name(*role) == prevrole)
            .ok_or_else(|| MetadataError::Role(prevrole.to_owned()))?,
        consistency: Consistency::Consistent,
    })
}

/// As the block and hast.conf(5) name it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Init => "init",
        Role::Primary => "primary",
        Role::Secondary => "secondary",
    }
}

fn state_number(consistency: Consistency) -> u8 {
    match consistency {
        Consistency::Consistent => 1,
        Consistency::Outdated => 2,
        Consistency::Inconsistent => 3,
    }
}

fn state_of(number: u8) -> Result<Consistency, MetadataError> {
    [Consistency::Consistent, Consistency::Outdated, Consistency::Inconsistent]
        .into_iter()
        .find(|state| state_number(*state) == number)
        .ok_or(MetadataError::State(number))
}

/// The first eight bytes of a SHA-256.
fn digest(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The eight bytes at `at`; 0 of what is too short.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// What is wrong with metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Nothing but zeroes: no resource has been created here.
    Empty,
    /// No nv list, or an entry of the wrong type.
    Nv(NvError),
    /// One of the nine is not there.
    Missing(&'static str),
    /// Not a role.
    Role(String),
    /// Not a state.
    State(u8),
    /// So many bytes are no name.
    Name(usize),
    /// Not what was written: torn, or changed since.
    Checksum,
    /// No record at all, or one of a version that we do not know.
    NoRecord,
    /// Not 4096 bytes.
    Size(usize),
    /// The device could not read it.
    Unreadable(String),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no resource has been created here"),
            Self::Nv(error) => write!(f, "no metadata: {error}"),
            Self::Missing(name) => write!(f, "no metadata: \"{name}\" is missing"),
            Self::Role(name) => write!(f, "no metadata: \"{name}\" is no role"),
            Self::State(number) => write!(f, "no metadata: {number} is no state"),
            Self::Name(bytes) => {
                write!(f, "the name has {bytes} bytes: up to {} are taken", NAME_MAX - 1)
            }
            Self::Checksum => write!(f, "the checksum is wrong: it is torn or damaged"),
            Self::NoRecord => write!(f, "no record"),
            Self::Size(bytes) => write!(f, "{bytes} bytes are not metadata"),
            Self::Unreadable(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for MetadataError {}
