//! What a server has, in short: a tree of digests over all leases by address, so that two servers
//! find the few leases in which they differ among a million without sending the million.
//!
//! The digest of a prefix is the exclusive or of those of its leases (`record::digest`). Nothing is
//! kept for prefixes without leases.

use super::own::Prefix;
use std::collections::BTreeMap;

/// The digests of sixteen neighbours, 0 where there is no lease.
type Leaf = [u64; 16];

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By the first 28 bits.
    leaves: BTreeMap<u32, Leaf>,
    /// By the first 22 bits.
    middle: BTreeMap<u32, u64>,
    /// By the first 16 bits.
    top: BTreeMap<u32, u64>,
    all: u64,
    count: u32,
}

fn update(map: &mut BTreeMap<u32, u64>, key: u32, difference: u64) {
    let digest = map.entry(key).or_default();
    *digest ^= difference;
    if *digest == 0 {
        map.remove(&key);
    }
}

impl Tree {
    /// Says what the digest of an address is now, 0 for no lease.
    pub(super) fn set(&mut self, address: u32, digest: u64) {
        let leaf = self.leaves.entry(address >> 4).or_default();
        let Some(place) = leaf.get_mut((address & 15) as usize) else { return };
        let before = std::mem::replace(place, digest);
        if leaf.iter().all(|digest| *digest == 0) {
            self.leaves.remove(&(address >> 4));
        }
        self.count += u32::from(digest != 0);
        self.count -= u32::from(before != 0);
        let difference = before ^ digest;
        if difference != 0 {
            update(&mut self.middle, address >> 10, difference);
            update(&mut self.top, address >> 16, difference);
            self.all ^= difference;
        }
    }

    /// The digest of all leases.
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    /// How many leases there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The children of a prefix that have leases, by number, from one of them on.
    pub(super) fn children(&self, prefix: Prefix, from: u16) -> Vec<(u16, u64)> {
        let Some(length) = prefix.child_length() else { return Vec::new() };
        let shift = 32 - u32::from(length);
        let base = prefix.first >> shift;
        let range = base + u32::from(from)..=prefix.last() >> shift;
        let number = |key: u32| (key - base) as u16;
        let inner = |map: &BTreeMap<u32, u64>| {
            map.range(range.clone()).map(|(key, digest)| (number(*key), *digest)).collect()
        };
        match length {
            16 => inner(&self.top),
            22 => inner(&self.middle),
            _ => {
                let leaves = self.leaves.range(range.clone());
                leaves.map(|(key, leaf)| (number(*key), fold(leaf))).collect()
            }
        }
    }

    /// The first address of a prefix that has a lease, from an address on.
    pub(super) fn next(&self, prefix: Prefix, from: u32) -> Option<u32> {
        let from = from.max(prefix.first);
        if from > prefix.last() {
            return None;
        }
        let addresses =
            self.leaves.range(from >> 4..=prefix.last() >> 4).flat_map(|(key, leaf)| {
                let used = leaf.iter().enumerate().filter(|(_, digest)| **digest != 0);
                used.map(|(place, _)| *key << 4 | place as u32)
            });
        addresses.take_while(|a| *a <= prefix.last()).find(|address| *address >= from)
    }
}

fn fold(leaf: &Leaf) -> u64 {
    leaf.iter().fold(0, |all, digest| all ^ digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against all leases, one by one.
        #[test]
        fn every_digest_is_that_of_its_leases(
            steps in prop::collection::vec((0u32..3000, 0u64..4), 0..200),
        ) {
            let address = |n: u32| 0x0a00_fc00 + n * 7;
            let mut tree = Tree::default();
            let mut model = BTreeMap::new();
            for (n, digest) in steps {
                let digest = (digest << 32) | (u64::from(n) * digest);
                tree.set(address(n), digest);
                model.insert(address(n), digest);
            }
            model.retain(|_, digest| *digest != 0);
            let of = |prefix: Prefix| {
                model.range(prefix.first..=prefix.last()).fold(0, |all, (_, d)| all ^ d)
            };
            prop_assert_eq!(tree.all(), of(Prefix::ALL));
            prop_assert_eq!(tree.count() as usize, model.len());
            let mut waiting = vec![Prefix::ALL];
            while let Some(prefix) = waiting.pop() {
                for (number, digest) in tree.children(prefix, 0) {
                    let child = prefix.child(number).unwrap();
                    prop_assert_eq!(digest, of(child));
                    waiting.push(child);
                }
            }
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(address) = tree.next(Prefix::ALL, from) {
                found.push(address);
                from = address + 1;
            }
            prop_assert_eq!(found, model.keys().copied().collect::<Vec<_>>());
        }
    }
}
