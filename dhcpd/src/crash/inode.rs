//! One file of the simulated disk: what a reader sees, and what of it a crash would leave.

use super::random::Rng;
use std::collections::BTreeSet;

/// What is written at once, but for the crash that comes in the middle of it; in bytes. Small, so
/// that a record has several.
const SECTOR: usize = 64;

/// See above.
#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What a reader sees.
    pub(super) cache: Vec<u8>,
    /// What is on the disk, and how much of it belongs to the file.
    blocks: Vec<u8>,
    size: usize,
    /// Sectors that differ.
    dirty: BTreeSet<usize>,
}

impl Inode {
    /// Only what is on the disk is left.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        self.write_back(rng);
        self.tear(rng);
        self.blocks.resize(self.size, 0);
        self.cache = self.blocks.clone();
        self.dirty.clear();
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.cache.truncate(length);
        self.dirty.retain(|sector| sector * SECTOR < length);
        if !length.is_multiple_of(SECTOR) {
            self.dirty.insert(length / SECTOR);
        }
    }

    /// Some of what is dirty reaches the disk: nothing, all, or any part.
    pub(super) fn write_back(&mut self, rng: &mut Rng) {
        let often = rng.of([0, 1, 2, 4]);
        let chosen: Vec<usize> = self.dirty.iter().copied().filter(|_| rng.one_in(often)).collect();
        for sector in chosen {
            self.write_sector(sector, SECTOR);
            self.dirty.remove(&sector);
        }
        if rng.one_in(2) {
            self.size = self.cache.len();
            self.free_blocks();
        }
    }

    /// Some sectors are being written when the power goes: the beginning is new.
    fn tear(&mut self, rng: &mut Rng) {
        let chosen: Vec<usize> = self.dirty.iter().copied().filter(|_| rng.one_in(4)).collect();
        for sector in chosen {
            self.write_sector(sector, rng.below(SECTOR));
        }
    }

    /// A sync has failed: what is not on the disk never will be, and a reader may find that out now
    /// or later.
    pub(super) fn forget(&mut self, rng: &mut Rng) {
        let gone = rng.one_in(2);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.cache.len());
            if gone && start < end {
                self.cache[start..end].fill(0);
                let held = self.blocks.len().clamp(start, end);
                let blocks = self.blocks.get(start..held).unwrap_or_default();
                self.cache[start..held].copy_from_slice(blocks);
            }
        }
    }

    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.write_sector(sector, SECTOR);
        }
        self.size = self.cache.len();
        self.free_blocks();
    }

    /// Writes the first `length` bytes of a sector.
    fn write_sector(&mut self, sector: usize, length: usize) {
        let (start, end) = (sector * SECTOR, (sector + 1) * SECTOR);
        if self.blocks.len() < end {
            self.blocks.resize(end, 0);
        }
        let end = start + length;
        let held = self.cache.len().clamp(start, end);
        if let Some(bytes) = self.cache.get(start..held) {
            self.blocks[start..held].copy_from_slice(bytes);
            self.blocks[held..end].fill(0);
        }
    }

    /// What is behind the end is given back, and zeros when it comes to be used again.
    fn free_blocks(&mut self) {
        let whole = self.size.next_multiple_of(SECTOR);
        if self.blocks.len() > whole {
            self.blocks.truncate(whole);
        }
    }
}
