//! The map of dirty extents: its sizes, its bits, and the tables a primary has beside it
//! (section 5).
//!
//! Nothing here reads or writes a disk; the caller is told when the map has to be written.

use std::collections::VecDeque;

/// Where the map begins on a component.
pub const MAP_AT: u64 = 4096;

/// Bytes of the map of `size` bytes of data, on disk and on the wire.
pub fn map_bytes(size: u64, extentsize: u32, sector: u32) -> usize {
    let bits = size.div_ceil(u64::from(extentsize)).next_multiple_of(64);
    (bits / 8).next_multiple_of(u64::from(sector)) as usize
}

/// Whether bit `extent` is set; those beyond the end are not.
pub fn bit(map: &[u8], extent: usize) -> bool {
    map.get(extent / 8).is_some_and(|byte| byte & 1 << (extent % 8) != 0)
}

/// The extents whose bits are set, among the first `extents`.
pub fn set_bits(map: &[u8], extents: usize) -> Vec<usize> {
    (0..extents).filter(|extent| bit(map, *extent)).collect()
}

/// What a primary knows of its extents.
#[derive(Clone, Debug)]
pub struct Map {
    extentsize: u64,
    /// Writes in flight, an extent.
    pending: Vec<u32>,
    /// To be synchronised.
    sync: Vec<bool>,
    /// Kept dirty on disk though nothing is in flight: the newest first.
    keep: VecDeque<usize>,
    keepdirty: usize,
}

impl Map {
    /// A clean one.
    pub fn new(datasize: u64, extentsize: u32, keepdirty: u32) -> Map {
        let extents = datasize.div_ceil(u64::from(extentsize)) as usize;
        Map {
            extentsize: extentsize.into(),
            pending: vec![0; extents],
            sync: vec![false; extents],
            keep: VecDeque::new(),
            keepdirty: keepdirty as usize,
        }
    }

    /// How many there are.
    pub fn extents(&self) -> usize {
        self.sync.len()
    }

    fn touched(&self, offset: u64, length: u64) -> std::ops::Range<usize> {
        let first = (offset / self.extentsize) as usize;
        first..(offset + length).div_ceil(self.extentsize) as usize
    }

    /// A write begins. True: the map must be on disk before the write is.
    pub fn start(&mut self, offset: u64, length: u64) -> bool {
        let mut new = false;
        for extent in self.touched(offset, length) {
            self.pending[extent] += 1;
            match self.keep.iter().position(|kept| *kept == extent) {
                Some(at) => drop(self.keep.remove(at)),
                None => new = true,
            }
            self.keep.push_front(extent);
        }
        self.keep.truncate(self.keepdirty);
        new
    }

    /// A write that began is over. True: the map on disk may be written, any time.
    pub fn complete(&mut self, offset: u64, length: u64) -> bool {
        let mut cleaner = false;
        for extent in self.touched(offset, length) {
            self.pending[extent] = self.pending[extent].saturating_sub(1);
            cleaner |= self.pending[extent] == 0 && !self.keep.contains(&extent);
        }
        cleaner
    }

    /// The other side misses what was written there. True: the map must be written.
    pub fn need_sync(&mut self, offset: u64, length: u64) -> bool {
        let touched = self.touched(offset, length);
        let new = self.sync[touched.clone()].contains(&false);
        self.sync[touched].fill(true);
        new
    }

    /// Adds the bits of another map, its own from disk or the other side's; what lies beyond
    /// the end counts for nothing.
    pub fn merge(&mut self, bits: &[u8]) {
        for extent in set_bits(bits, self.extents()) {
            self.sync[extent] = true;
        }
    }

    /// The lowest extent to synchronise that is not below `from`.
    pub fn next_sync(&self, from: usize) -> Option<usize> {
        (from..self.extents()).find(|extent| self.sync[*extent])
    }

    /// An extent is the same on both sides. The map is then to be written.
    pub fn synced(&mut self, extent: usize) {
        self.sync[extent] = false;
    }

    /// How many extents are to be synchronised.
    pub fn dirty(&self) -> usize {
        self.sync.iter().filter(|dirty| **dirty).count()
    }

    /// The bits as they belong on disk, in so many bytes.
    pub fn bytes(&self, size: usize) -> Vec<u8> {
        let mut map = vec![0; size];
        for extent in 0..self.extents() {
            if self.sync[extent] || self.pending[extent] > 0 || self.keep.contains(&extent) {
                map[extent / 8] |= 1 << (extent % 8);
            }
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: u32 = 2 << 20;

    #[test]
    fn the_sizes_of_section_6() {
        let media = (1 << 30) - 4096;
        assert_eq!(map_bytes(media, EXTENT, 512), 512);
        assert_eq!(map_bytes(media, EXTENT, 4096), 4096);
        // One more sector from 8 GiB on.
        assert_eq!(map_bytes(8 << 30, EXTENT, 512), 512);
        assert_eq!(map_bytes((8 << 30) + 1, EXTENT, 512), 1024);
    }

    #[test]
    fn dirty_before_a_write_and_kept_after_it() {
        let mut map = Map::new(10 << 20, EXTENT, 1);
        assert!(map.start(0, 512));
        assert!(!map.start(512, 512), "kept dirty: no second write of the map");
        assert_eq!(set_bits(&map.bytes(512), 5), [0]);
        assert!(!map.complete(0, 512));
        assert!(!map.complete(512, 512));
        assert_eq!(set_bits(&map.bytes(512), 5), [0], "kept");
        assert!(map.start((4 << 20) - 512, 1024), "two extents");
        assert_eq!(set_bits(&map.bytes(512), 5), [1, 2], "the oldest is kept no longer");
        assert!(map.complete((4 << 20) - 512, 1024));
        assert_eq!(set_bits(&map.bytes(512), 5), [2]);
    }

    #[test]
    fn the_lowest_first_and_nothing_beyond_the_end() {
        let mut map = Map::new(9 << 20, EXTENT, 1);
        assert_eq!(map.extents(), 5);
        map.merge(&[0xff; 512]);
        assert_eq!(map.dirty(), 5);
        map.synced(0);
        assert_eq!(
            (map.next_sync(0), map.next_sync(4), map.next_sync(5)),
            (Some(1), Some(4), None)
        );
        assert!(!map.need_sync(2 << 20, 512));
        assert!(map.need_sync(0, 512));
        assert_eq!(map.bytes(512)[..2], [0x1f, 0]);
    }
}
