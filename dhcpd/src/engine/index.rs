//! A hash table from a key to the number of a slot that holds the key: eight bytes an entry.
//!
//! The keys live with their owner, who hashes and compares them. Open addressing, linear probing,
//! no tombstones: what is removed leaves no trace, however long the server runs.

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Cell {
    hash: u32,
    slot: u32,
}

const EMPTY: Cell = Cell { hash: 0, slot: NONE };

#[derive(Debug)]
pub(super) struct Index {
    /// A power of two of them.
    cells: Vec<Cell>,
    len: usize,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { cells: vec![EMPTY; 16], len: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot with this hash for which `is` says yes.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.cells[at];
            if cell.slot == NONE {
                return None;
            }
            if cell.hash == hash && is(cell.slot) {
                return Some(cell.slot);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an entry; its key must not be there yet.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            self.grow();
        }
        self.len += 1;
        self.place(Cell { hash, slot });
    }

    /// Removes the entry of exactly this slot; says whether there was one.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let mask = self.cells.len() - 1;
        let mut hole = hash as usize & mask;
        loop {
            let cell = self.cells[hole];
            if cell.slot == NONE {
                return false;
            }
            if cell.slot == slot && cell.hash == hash {
                break;
            }
            hole = (hole + 1) & mask;
        }
        self.len -= 1;
        // What comes behind moves up, as long as that does not put it before its own place.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let cell = self.cells[at];
            if cell.slot == NONE {
                self.cells[hole] = EMPTY;
                return true;
            }
            let home = cell.hash as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = cell;
                hole = at;
            }
        }
    }

    fn place(&mut self, cell: Cell) {
        let mask = self.cells.len() - 1;
        let mut at = cell.hash as usize & mask;
        while self.cells[at].slot != NONE {
            at = (at + 1) & mask;
        }
        self.cells[at] = cell;
    }

    fn grow(&mut self) {
        let wider = vec![EMPTY; self.cells.len() * 2];
        for cell in std::mem::replace(&mut self.cells, wider) {
            if cell.slot != NONE {
                self.place(cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Against a map, with hashes that collide all the time.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), 0u32..200), 0..600)) {
            let hash = |key: u32| key % 7 * 0x1000_0001;
            let mut index = Index::new();
            let mut map = HashMap::new();
            for (add, key) in steps {
                let has = map.contains_key(&key);
                if add && !has {
                    index.insert(hash(key), key);
                    map.insert(key, ());
                } else if !add {
                    prop_assert_eq!(index.remove(hash(key), key), has);
                    map.remove(&key);
                }
                prop_assert_eq!(index.len(), map.len());
            }
            for key in 0..200 {
                let found = index.find(hash(key), |slot| slot == key);
                prop_assert_eq!(found.is_some(), map.contains_key(&key));
            }
        }
    }
}
