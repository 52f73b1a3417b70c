//! FreeBSD's metadata block, with what we add to it.
//!
//! Our entries come first, at places and with lengths that never change, so that a mixture of two of
//! our blocks is always seen as one. The checksum is of all other bytes of the list's area. Behind
//! the list, in the last 32 bytes, where FreeBSD has zeroes: a mark, where the data begins (8 bytes,
//! little-endian), and the checksum of both.

use super::{Metadata, MetadataError, SIZE, digest, fields, put_fields};
use super::{state_number, state_of, u64_at};
use crate::layout::{self, RECORDS};
use crate::nv::{self, Nv};

/// Where the mark begins.
const MARK_AT: usize = SIZE - 32;
const MARK: &[u8; 16] = b"hastlite records";
/// Where the value of the checksum lies: header, name, value.
const SUM_AT: usize = 6 + 16;

/// What was read from the block's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What its list says, or why it says nothing.
    pub body: Result<Body, MetadataError>,
    /// Where the records are on the component, in bytes, if there are any.
    pub records: Option<u64>,
    /// Whether that is said by the mark: it survives the list.
    pub marked: bool,
    /// Tells what one block of FreeBSD's says from what another does; 0 of all others.
    pub fingerprint: u64,
}

/// A list that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Last written by us, with this sequence number.
    Ours(Metadata, u64),
    /// Last written by FreeBSD.
    Foreign(Metadata),
}

impl Block {
    /// Takes in what was read: 4096 bytes.
    pub fn read(bytes: &[u8]) -> Self {
        let (list, mark) = bytes.split_at_checked(MARK_AT).unwrap_or((bytes, &[]));
        let body =
            if bytes.len() == SIZE { body(list) } else { Err(MetadataError::Size(bytes.len())) };
        let marked = marked(mark);
        let records = marked.or_else(|| match &body {
            Ok(Body::Ours(meta, _) | Body::Foreign(meta)) => {
                layout::records(meta.offset, meta.datasize, meta.extentsize)
            }
            Err(_) => None,
        });
        // Of what it means: a torn block may say the same twice, and the first time counts.
        let fingerprint = match &body {
            Ok(Body::Foreign(meta)) => {
                let mut fields = Vec::new();
                put_fields(&mut fields, meta).map_or(0, |()| digest(&[&fields]).max(1))
            }
            _ => 0,
        };
        Self { body, records, marked: marked.is_some(), fingerprint }
    }

    /// The block that we write.
    ///
    /// # Errors
    /// [`MetadataError::Name`], [`MetadataError::Nv`]: the name cannot be written.
    pub fn encode(meta: &Metadata, sequence: u64) -> Result<Vec<u8>, MetadataError> {
        let mut out = Vec::with_capacity(SIZE);
        nv::put_u64(&mut out, "hl_check", 0);
        nv::put_u64(&mut out, "hl_sequence", sequence);
        nv::put_u8(&mut out, "hl_state", state_number(meta.consistency));
        put_fields(&mut out, meta)?;
        out.resize(SIZE, 0);
        let sum = sum(&out[..MARK_AT]);
        out[SUM_AT..SUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
        if layout::records(meta.offset, meta.datasize, meta.extentsize).is_some() {
            mark(&mut out, meta.offset);
        }
        Ok(out)
    }
}

/// Puts the mark into a block that may be FreeBSD's: the list stays as it is.
pub fn mark(block: &mut [u8], offset: u64) {
    let mut mark = [0; 32];
    mark[..16].copy_from_slice(MARK);
    mark[16..24].copy_from_slice(&offset.to_le_bytes());
    let sum = digest(&[&mark[..24]]);
    mark[24..].copy_from_slice(&sum.to_le_bytes());
    if let Some(place) = block.get_mut(MARK_AT..SIZE) {
        place.copy_from_slice(&mark);
    }
}

fn marked(mark: &[u8]) -> Option<u64> {
    let told = mark.get(..24)?;
    (told.starts_with(MARK) && u64_at(mark, 24) == digest(&[told])).then_some(())?;
    u64_at(mark, 16).checked_sub(RECORDS)
}

/// The checksum of a list's area, as if the checksum's own place held zeroes.
fn sum(list: &[u8]) -> u64 {
    let (before, rest) = list.split_at_checked(SUM_AT).unwrap_or((list, &[]));
    digest(&[before, &[0; 8], rest.get(8..).unwrap_or_default()])
}

fn body(list: &[u8]) -> Result<Body, MetadataError> {
    if list.iter().all(|byte| *byte == 0) {
        return Err(MetadataError::Empty);
    }
    let nv = Nv::decode(list).map_err(MetadataError::Nv)?;
    let ours = nv.has("hl_check") || nv.has("hl_sequence") || nv.has("hl_state");
    if !ours {
        // FreeBSD says nothing twice: this is the beginning of its block and the rest of ours.
        return if is_twofold(nv) {
            Err(MetadataError::Checksum)
        } else {
            fields(nv).map(Body::Foreign)
        };
    }
    if nv.entries().next().is_none_or(|first| first.name != b"hl_check")
        || u64_at(list, SUM_AT) != sum(list)
    {
        return Err(MetadataError::Checksum);
    }
    let wrong = MetadataError::Nv;
    let sequence = nv.get_u64("hl_sequence").map_err(wrong)?;
    let sequence = sequence.ok_or(MetadataError::Missing("hl_sequence"))?;
    let state = nv.get_u8("hl_state").map_err(wrong)?;
    let consistency = state_of(state.ok_or(MetadataError::Missing("hl_state"))?)?;
    Ok(Body::Ours(Metadata { consistency, ..fields(nv)? }, sequence))
}

/// Whether a name is there twice.
fn is_twofold(nv: Nv<'_>) -> bool {
    let mut names: Vec<_> = nv.entries().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}
