//! Where things lie on a local component, in bytes from its start. Sizes and offsets only; nothing
//! is read or written here, and what the block and the records hold is `metadata`'s business.
//!
//! | offset           | bytes      | content                                              |
//! |------------------|------------|------------------------------------------------------|
//! | 0                | 4096       | the metadata block, as FreeBSD's hastd has it        |
//! | 4096             | [`Layout::map_size`] | the activemap                              |
//! | `offset` - 8192  | 2 × 4096   | our records A and B, if there is room for them       |
//! | `offset`         | `datasize` | the data                                             |
//!
//! FreeBSD puts the data right behind the map, mostly at 4608, where there is no room for records
//! and no write of 4096 bytes is aligned ([`Arrangement::FreeBsd`]). Ours puts it at 1 MiB, or the
//! next power of two that leaves enough for the map ([`Arrangement::Aligned`]); `offset` is never
//! told to the other node, so FreeBSD can use such a component as well.
//!
//! FreeBSD's secondary computes the size of the map from its whole medium, and zeroes that much
//! (hazard B2). In an arrangement of ours neither records nor data are within its reach. The map
//! that we use ends where `offset` says at the latest.
//!
//! Source: FreeBSD `sbin/hastctl/hastctl.c`, `sbin/hastd/{hast.h,metadata.c}`.

#[cfg(test)]
mod tests;

use crate::engine::Metadata;
use crate::engine::activemap::{extents, map_size};
use std::fmt;

/// Bytes of the metadata block, of each record, and the alignment of ours.
pub const BLOCK: u64 = 4096;
/// Bytes of both records.
pub const RECORDS: u64 = 2 * BLOCK;
/// Where our data begins at the least.
pub const ALIGNMENT: u64 = 1 << 20;
/// FreeBSD's `HAST_EXTENTSIZE`.
pub const EXTENT_SIZE: u32 = 2 << 20;
/// FreeBSD's `HAST_KEEPDIRTY`.
pub const KEEP_DIRTY: u32 = 64;
/// The most extents that a resource may have: their map is 64 MiB.
pub const MAX_EXTENTS: u64 = 1 << 29;

/// How a new component is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// The data aligned, and room for records in front of it.
    #[default]
    Aligned,
    /// To the byte as FreeBSD's `hastctl create` does it.
    FreeBsd,
}

/// What a component is, as far as sizes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Bytes.
    pub size: u64,
    /// Bytes of the smallest unit of I/O, a power of two; 512 of a regular file, as on FreeBSD.
    pub sector: u32,
}

/// What is asked for when a component is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How.
    pub arrangement: Arrangement,
    /// Bytes of an extent, a power of two and at least a sector.
    pub extentsize: u32,
    /// Use only so much of the medium, bytes.
    pub mediasize: Option<u64>,
    /// Exactly so many usable bytes, for nodes whose media or arrangements differ.
    pub datasize: Option<u64>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            arrangement: Arrangement::default(),
            extentsize: EXTENT_SIZE,
            mediasize: None,
            datasize: None,
        }
    }
}

/// Where things lie. All numbers are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Of the map on disk.
    pub map_size: u64,
    /// Where the two records are; nowhere if there is no room.
    pub records: Option<u64>,
    /// Where the data begins.
    pub offset: u64,
    /// How long it is.
    pub datasize: u64,
    /// Of the medium: what requests are multiples of.
    pub sector: u32,
}

impl Layout {
    /// Lays a new component out.
    ///
    /// # Errors
    /// A wish that cannot be fulfilled.
    pub fn plan(medium: Medium, wish: &Wish) -> Result<Self, LayoutError> {
        let sector = check_sector(medium.sector)?;
        check_extent(wish.extentsize, medium.sector)?;
        let media = wish.mediasize.unwrap_or(medium.size);
        if media > medium.size {
            return Err(LayoutError::BeyondMedium { end: media, medium: medium.size });
        }
        // A size that ends within a sector cannot be used to the end.
        let media = media / sector * sector;
        let small = LayoutError::TooSmall { medium: media };
        let after_block = media.checked_sub(BLOCK).filter(|rest| *rest > 0).ok_or(small.clone())?;
        // FreeBSD's reckoning: as if the map itself were data.
        let its_map = map_size(after_block, wish.extentsize, medium.sector);
        let offset = match wish.arrangement {
            Arrangement::FreeBsd => BLOCK + its_map,
            Arrangement::Aligned => {
                let whole = map_size(medium.size - BLOCK, wish.extentsize, BLOCK as u32);
                (BLOCK + whole + RECORDS).next_power_of_two().max(ALIGNMENT)
            }
        };
        let rest = media.checked_sub(offset).ok_or(small.clone())?;
        let datasize = match (wish.datasize, wish.arrangement) {
            (Some(bytes), _) if bytes > rest => {
                let end = offset.saturating_add(bytes);
                return Err(LayoutError::BeyondMedium { end, medium: media });
            }
            (Some(bytes), _) => bytes,
            (None, Arrangement::FreeBsd) => rest,
            (None, Arrangement::Aligned) => rest / BLOCK * BLOCK,
        };
        if datasize == 0 {
            return Err(small);
        }
        Self::check(medium, offset, datasize, wish.extentsize)
    }

    /// Where things lie on a component in use.
    ///
    /// # Errors
    /// What the metadata says does not fit the medium, or itself.
    pub fn of(meta: &Metadata, medium: Medium) -> Result<Self, LayoutError> {
        check_sector(medium.sector)?;
        check_extent(meta.extentsize, medium.sector)?;
        Self::check(medium, meta.offset, meta.datasize, meta.extentsize)
    }

    fn check(
        medium: Medium,
        offset: u64,
        datasize: u64,
        extentsize: u32,
    ) -> Result<Self, LayoutError> {
        let sector = u64::from(medium.sector);
        for (what, bytes) in [("offset", offset), ("datasize", datasize)] {
            if bytes == 0 || !bytes.is_multiple_of(sector) {
                return Err(LayoutError::NotWhole { what, bytes, sector: medium.sector });
            }
        }
        if extents(datasize, extentsize) > MAX_EXTENTS {
            return Err(LayoutError::TooManyExtents { datasize, extentsize });
        }
        match offset.checked_add(datasize) {
            Some(end) if end <= medium.size => {}
            end => {
                let end = end.unwrap_or(u64::MAX);
                return Err(LayoutError::BeyondMedium { end, medium: medium.size });
            }
        }
        let room = offset.saturating_sub(BLOCK);
        let need = map_size(datasize, extentsize, medium.sector);
        if need > room {
            return Err(LayoutError::MapTooLong { need, room });
        }
        let records = records(offset, datasize, extentsize);
        // In whole blocks where there is room: a peer with longer sectors wants as much of it.
        let map_size = map_size(datasize, extentsize, BLOCK as u32).min(room);
        Ok(Self { map_size, records, offset, datasize, sector: medium.sector })
    }

    /// Where a range of the data area lies on the component, if it is within the data area.
    pub fn place(&self, offset: u64, length: u64) -> Option<u64> {
        let end = offset.checked_add(length)?;
        if end > self.datasize {
            return None;
        }
        // Cannot overflow: `offset` + `datasize` did not.
        self.offset.checked_add(offset)
    }
}

/// Where the records of a component are whose data begins at `offset`, if it has any.
///
/// There is room if FreeBSD's map for all up to the end of the data would end before them. In
/// FreeBSD's own arrangement that map ends where the data begins. All of it can be told from the
/// metadata, and no change of the medium's size changes it.
pub fn records(offset: u64, datasize: u64, extentsize: u32) -> Option<u64> {
    let at = offset.checked_sub(RECORDS)?;
    let all = at.checked_add(datasize)?.checked_add(RECORDS - BLOCK)?;
    if extents(all, extentsize) > 2 * MAX_EXTENTS || !offset.is_multiple_of(BLOCK) {
        return None;
    }
    (BLOCK + map_size(all, extentsize, BLOCK as u32) <= at).then_some(at)
}

fn check_sector(sector: u32) -> Result<u64, LayoutError> {
    if !sector.is_power_of_two() || u64::from(sector) > BLOCK {
        return Err(LayoutError::Sector(sector));
    }
    Ok(u64::from(sector))
}

fn check_extent(extentsize: u32, sector: u32) -> Result<(), LayoutError> {
    if !extentsize.is_power_of_two() || extentsize < sector {
        return Err(LayoutError::Extent { extentsize, sector });
    }
    Ok(())
}

/// Why a component cannot be laid out so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// Not a power of two, or longer than the metadata block.
    Sector(u32),
    /// Not a power of two, or shorter than a sector.
    Extent {
        /// Asked for.
        extentsize: u32,
        /// The medium's.
        sector: u32,
    },
    /// More than [`MAX_EXTENTS`].
    TooManyExtents {
        /// Usable bytes.
        datasize: u64,
        /// Bytes of an extent.
        extentsize: u32,
    },
    /// Nothing would be left for data.
    TooSmall {
        /// Bytes that there are.
        medium: u64,
    },
    /// The medium ends earlier.
    BeyondMedium {
        /// Where it should end at the earliest.
        end: u64,
        /// Where it ends.
        medium: u64,
    },
    /// Not a number of whole sectors, or none.
    NotWhole {
        /// Which number.
        what: &'static str,
        /// The number.
        bytes: u64,
        /// The medium's.
        sector: u32,
    },
    /// The data begins before the map ends.
    MapTooLong {
        /// Bytes of the map.
        need: u64,
        /// Bytes in front of the data.
        room: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sector(sector) => {
                write!(f, "sectors of {sector} bytes: a power of two up to {BLOCK} is needed")
            }
            Self::Extent { extentsize, sector } => write!(
                f,
                "extents of {extentsize} bytes: a power of two is needed, not less than a sector \
                 of {sector} bytes"
            ),
            Self::TooManyExtents { datasize, extentsize } => write!(
                f,
                "{datasize} bytes in extents of {extentsize}: more than {MAX_EXTENTS} extents"
            ),
            Self::TooSmall { medium } => {
                write!(f, "{medium} bytes are too few: nothing would be left for data")
            }
            Self::BeyondMedium { end, medium } => {
                write!(f, "it would end at byte {end}, but the medium has {medium} bytes")
            }
            Self::NotWhole { what, bytes, sector } => {
                write!(f, "{what} is {bytes}, not a number of sectors of {sector} bytes")
            }
            Self::MapTooLong { need, room } => write!(
                f,
                "the activemap has {need} bytes, but in front of the data is room for {room}"
            ),
        }
    }
}

impl std::error::Error for LayoutError {}
