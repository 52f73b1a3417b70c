//! A set of extent numbers as a bit map, with its size at hand.

/// One bit an extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    extents: usize,
    count: usize,
}

impl Bits {
    /// The empty set of at most `extents` numbers, 0 first.
    pub fn new(extents: usize) -> Self {
        Self { words: vec![0; extents.div_ceil(64)], extents, count: 0 }
    }

    /// From a map as it is on disk and on the wire: bit i is in byte i/8, mask 1 << (i%8). What is
    /// too short is filled with ones: not knowing means dirty. What is too long is ignored.
    pub fn from_bytes(bytes: &[u8], extents: usize) -> Self {
        let mut set = Self::new(extents);
        for (index, word) in set.words.iter_mut().enumerate() {
            let mut le = [0xff; 8];
            let from = bytes.get(index * 8..).unwrap_or_default();
            let n = from.len().min(8);
            le[..n].copy_from_slice(&from[..n]);
            *word = u64::from_le_bytes(le);
        }
        set.trim();
        set
    }

    /// As on disk: `size` bytes, zeroes behind the last extent.
    pub fn to_bytes(&self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size.max(self.words.len() * 8));
        for word in &self.words {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.resize(size, 0);
        bytes
    }

    fn trim(&mut self) {
        if !self.extents.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.extents % 64)) - 1;
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.count = self.words.iter().map(|w| w.count_ones() as usize).sum();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `extent` is one.
    pub fn has(&self, extent: usize) -> bool {
        self.words.get(extent / 64).is_some_and(|w| w >> (extent % 64) & 1 == 1)
    }

    /// Adds it; whether it was new.
    pub fn add(&mut self, extent: usize) -> bool {
        if extent >= self.extents {
            return false;
        }
        let word = &mut self.words[extent / 64];
        let new = *word >> (extent % 64) & 1 == 0;
        *word |= 1 << (extent % 64);
        self.count += usize::from(new);
        new
    }

    /// Takes it out; whether it was there.
    pub fn remove(&mut self, extent: usize) -> bool {
        let there = self.has(extent);
        if there {
            self.words[extent / 64] &= !(1 << (extent % 64));
            self.count -= 1;
        }
        there
    }

    /// Nothing is left.
    pub fn clear(&mut self) {
        self.words.fill(0);
        self.count = 0;
    }

    /// Adds all of the other.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
        self.recount();
    }

    /// Keeps what the other has too.
    pub fn keep(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
        self.recount();
    }

    /// Takes out what the other has.
    pub fn remove_all(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
        self.recount();
    }

    /// Becomes the same as the other, without a new allocation.
    pub fn copy_from(&mut self, other: &Self) {
        self.words.clone_from(&other.words);
        self.extents = other.extents;
        self.count = other.count;
    }

    /// The lowest at or above `from`.
    pub fn next(&self, from: usize) -> Option<usize> {
        let mut index = from / 64;
        let mut word = *self.words.get(index)? & (u64::MAX << (from % 64));
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let found = self.next(at)?;
            at = found + 1;
            Some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_is_what_a_set_is(extents in 1usize..300, ops in prop::collection::vec((any::<bool>(), 0usize..300), 0..200)) {
            let mut model = std::collections::BTreeSet::new();
            let mut bits = Bits::new(extents);
            for (add, extent) in ops {
                if extent >= extents {
                    prop_assert!(!bits.has(extent) && !bits.add(extent) && !bits.remove(extent));
                } else if add {
                    prop_assert_eq!(bits.add(extent), model.insert(extent));
                } else {
                    prop_assert_eq!(bits.remove(extent), model.remove(&extent));
                }
            }
            prop_assert_eq!(bits.count(), model.len());
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let bytes = bits.to_bytes(512);
            prop_assert_eq!(bytes.len(), 512);
            for &extent in &model {
                prop_assert!(bytes[extent / 8] & (1 << (extent % 8)) != 0);
            }
            prop_assert_eq!(Bits::from_bytes(&bytes, extents), bits);
        }
    }

    #[test]
    fn a_map_of_ones_ends_at_the_last_extent_and_a_short_one_is_dirty() {
        assert_eq!(Bits::from_bytes(&[0xff; 512], 70).count(), 70);
        let short = Bits::from_bytes(&[0, 0], 20);
        assert_eq!(short.iter().collect::<Vec<_>>(), [16, 17, 18, 19]);
    }
}
