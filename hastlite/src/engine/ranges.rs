//! Locks on ranges of the data area: what overlaps runs in the order in which it came.
//!
//! Both nodes run requests as deep as their disks allow, so that two writes to the same sector,
//! both under way, could end in another order here than there. Therefore a write, or a piece of a
//! resynchronisation, that overlaps one that came before waits for it, also when that one is
//! itself still waiting. Nothing else waits.
//!
//! Locks lie in one ordered map for each size, by powers of two, so that a look for what overlaps
//! touches a handful of entries whatever else is under way.

use std::collections::BTreeMap;

/// A lock, held or waited for: what the owner gave as its name.
pub type Owner = u64;

/// All the locks of a data area.
#[derive(Debug, Default)]
pub struct Ranges {
    /// By the number of bits of the length; in each by start and serial number.
    classes: Vec<BTreeMap<(u64, u32), u32>>,
    /// Which of the classes have entries.
    used: u128,
    locks: Vec<Lock>,
    free: Vec<u32>,
    serial: u32,
}

#[derive(Debug, Default)]
struct Lock {
    owner: Owner,
    start: u64,
    end: u64,
    serial: u32,
    /// How many that came before it overlap it and are still there.
    blockers: u32,
    /// Those that came after it and overlap it, with their serial numbers: one that was given back
    /// without ever being held may be another one by now.
    dependents: Vec<(u32, u32)>,
}

/// What to give back a lock by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key(u32);

impl Ranges {
    /// None held.
    pub fn new() -> Self {
        Self { classes: (0..=64).map(|_| BTreeMap::new()).collect(), ..Self::default() }
    }

    /// Asks for `[offset, offset + length)`; whether it is held at once. If not, a later
    /// [`Ranges::release`] tells.
    pub fn lock(&mut self, owner: Owner, offset: u64, length: u64) -> (Key, bool) {
        let (start, end) = (offset, offset.saturating_add(length));
        let index = self.free.pop().unwrap_or_else(|| {
            self.locks.push(Lock::default());
            (self.locks.len() - 1) as u32
        });
        self.serial = self.serial.wrapping_add(1).max(1);
        let serial = self.serial;
        let mut blockers = 0;
        let Self { classes, locks, used, .. } = self;
        let mut rest = *used;
        while rest != 0 {
            let class = rest.trailing_zeros();
            rest &= rest - 1;
            // Nothing of this class is longer than this.
            let longest = if class >= 64 { u64::MAX } else { (1 << class) - 1 };
            let from = start.saturating_sub(longest);
            for (_, &other) in classes[class as usize].range((from, 0)..(end, 0)) {
                let lock = &mut locks[other as usize];
                if lock.end > start {
                    lock.dependents.push((index, serial));
                    blockers += 1;
                }
            }
        }
        let lock = &mut self.locks[index as usize];
        lock.owner = owner;
        (lock.start, lock.end, lock.serial, lock.blockers) = (start, end, serial, blockers);
        let class = class_of(length);
        self.classes[class].insert((start, serial), index);
        self.used |= 1 << class;
        (Key(index), blockers == 0)
    }

    /// Gives a lock back, held or not. Those who hold theirs because of this are added to `ready`,
    /// in the order in which they came.
    pub fn release(&mut self, key: Key, ready: &mut Vec<Owner>) {
        let index = key.0;
        let lock = &mut self.locks[index as usize];
        let mut dependents = std::mem::take(&mut lock.dependents);
        let class = class_of(lock.end - lock.start);
        let place = (lock.start, lock.serial);
        lock.serial = 0;
        self.classes[class].remove(&place);
        if self.classes[class].is_empty() {
            self.used &= !(1 << class);
        }
        for (dependent, serial) in dependents.drain(..) {
            let waiting = &mut self.locks[dependent as usize];
            if waiting.serial != serial {
                continue;
            }
            waiting.blockers -= 1;
            if waiting.blockers == 0 {
                ready.push(waiting.owner);
            }
        }
        // Its room is used again.
        self.locks[index as usize].dependents = dependents;
        self.free.push(index);
    }

    /// How many are held or waited for.
    pub fn len(&self) -> usize {
        self.locks.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn class_of(length: u64) -> usize {
    (u64::BITS - length.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_overlaps_waits_in_order_and_nothing_else_does() {
        let mut r = Ranges::new();
        let (a, held) = r.lock(1, 0, 4096);
        assert!(held);
        let (b, held) = r.lock(2, 2048, 4096);
        assert!(!held);
        // Overlaps only the one that waits: it waits for that one all the same.
        let (c, held) = r.lock(3, 5000, 100);
        assert!(!held);
        let (_d, held) = r.lock(4, 8192, 512);
        assert!(held);
        let mut ready = Vec::new();
        r.release(a, &mut ready);
        assert_eq!(ready, [2]);
        ready.clear();
        r.release(b, &mut ready);
        assert_eq!(ready, [3]);
        r.release(c, &mut ready);
        assert_eq!(r.len(), 1);
    }

    proptest! {
        /// Against a plain list of all that came, in order.
        #[test]
        fn as_a_plain_list_would_do(steps in prop::collection::vec((any::<bool>(), 0u64..64, 1u64..20, any::<prop::sample::Index>()), 1..200)) {
            let mut ranges = Ranges::new();
            let mut model: Vec<(Owner, u64, u64, Key)> = Vec::new();
            let mut held = std::collections::BTreeSet::new();
            for (owner, (take, offset, length, which)) in steps.into_iter().enumerate() {
                let owner = owner as Owner;
                let mut ready = Vec::new();
                if take || held.is_empty() {
                    let (key, now) = ranges.lock(owner, offset, length);
                    let expected = !model.iter().any(|m| m.1 < offset + length && offset < m.2);
                    prop_assert_eq!(now, expected);
                    model.push((owner, offset, offset + length, key));
                    if now { held.insert(owner); }
                } else {
                    // Also one that waits: it may be given up.
                    let owners: Vec<_> = model.iter().map(|m| m.0).collect();
                    let gone = *which.get(&owners);
                    let at = model.iter().position(|m| m.0 == gone).unwrap();
                    let key = model.remove(at).3;
                    held.remove(&gone);
                    ranges.release(key, &mut ready);
                    let mut expected = Vec::new();
                    for (i, m) in model.iter().enumerate() {
                        let free = !model[..i].iter().any(|b| b.1 < m.2 && m.1 < b.2);
                        if free && !held.contains(&m.0) { expected.push(m.0); }
                    }
                    prop_assert_eq!(&ready, &expected);
                    held.extend(expected);
                }
            }
            prop_assert_eq!(ranges.len(), model.len());
        }
    }
}
