//! When leases end: one bucket a second for a little over an hour, later ends waiting in the last.
//!
//! A slot lies in a bucket no later than its end. Whoever prolongs a lease leaves it where it is;
//! it is moved when its bucket's second comes. So renewing costs nothing here.

use super::lists::Lists;

/// How many lists of [`Lists`] the wheel owns, the first ones.
pub(super) const BUCKETS: u32 = 4096;
const SPAN: i64 = BUCKETS as i64;

#[derive(Debug)]
pub(super) struct Wheel {
    /// The second whose bucket is looked into: the present one, once all before are empty.
    at: i64,
    /// Buckets that may hold something.
    used: [u64; (BUCKETS / 64) as usize],
}

impl Wheel {
    pub(super) fn new(now: i64) -> Wheel {
        Wheel { at: now, used: [0; 64] }
    }

    /// Adds a slot, or moves it to an earlier end.
    pub(super) fn insert(&mut self, lists: &mut Lists, slot: u32, ends: i64) {
        // The bucket before the present one is left empty: it will be the next turn's present.
        let second = ends.clamp(self.at, self.at + SPAN - 2);
        let bucket = (second & (SPAN - 1)) as u32;
        self.used[bucket as usize / 64] |= 1 << (bucket % 64);
        lists.push_back(bucket, slot);
    }

    /// Takes out one slot whose lease has ended; to be asked until there is none.
    pub(super) fn pop(
        &mut self,
        lists: &mut Lists,
        now: i64,
        ends: impl Fn(u32) -> i64,
    ) -> Option<u32> {
        // After a long pause every bucket is visited once, not once for each turn missed.
        self.at = self.at.max(now - SPAN + 1);
        loop {
            let bucket = (self.at & (SPAN - 1)) as u32;
            if let Some(slot) = lists.first(bucket) {
                lists.unlink(slot);
                let ends = ends(slot);
                if ends <= now {
                    return Some(slot);
                }
                self.insert(lists, slot, ends);
            } else {
                self.used[bucket as usize / 64] &= !(1 << (bucket % 64));
                let next = self.at.saturating_add(1 + self.gap());
                if next > now {
                    // The present second may come into use again.
                    self.at = self.at.max(now);
                    return None;
                }
                self.at = next;
            }
        }
    }

    /// The next second at which something may end.
    pub(super) fn next(&self) -> Option<i64> {
        let distance = self.distance(self.at)?;
        Some(self.at + distance)
    }

    /// How many empty buckets follow the present one.
    fn gap(&self) -> i64 {
        self.distance(self.at + 1).unwrap_or(SPAN)
    }

    fn distance(&self, from: i64) -> Option<i64> {
        let start = (from & (SPAN - 1)) as usize;
        let (word, bit) = (start / 64, start % 64);
        let first = self.used[word] >> bit;
        if first != 0 {
            return Some(i64::from(first.trailing_zeros()));
        }
        for step in 1..=64 {
            let bits = self.used[(word + step) % 64];
            // Back at the first word, only what lies before the start is new; nothing else is set.
            if bits != 0 {
                return Some((step * 64 - bit) as i64 + i64::from(bits.trailing_zeros()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every lease ends in its second: not earlier, not later, whatever was prolonged meanwhile.
        #[test]
        fn ends_are_exact(
            start in -5_000i64..5_000_000_000,
            leases in prop::collection::vec((0i64..20_000, prop::option::of(0i64..20_000)), 1..40),
            steps in prop::collection::vec(1i64..9_000, 1..40),
        ) {
            let mut lists = Lists::new(BUCKETS);
            let mut wheel = Wheel::new(start);
            let mut ends: Vec<i64> = Vec::new();
            for (slot, (end, longer)) in leases.iter().enumerate() {
                lists.add_slot();
                wheel.insert(&mut lists, slot as u32, start + end);
                ends.push(start + end + longer.unwrap_or(0));
            }
            let mut gone = vec![false; ends.len()];
            let mut now = start;
            for step in steps {
                if let Some(next) = wheel.next() {
                    let first = ends.iter().zip(&gone).filter(|(_, g)| !**g).map(|(e, _)| *e).min();
                    prop_assert!(first.is_some_and(|first| next <= first));
                }
                now += step;
                while let Some(slot) = wheel.pop(&mut lists, now, |slot| ends[slot as usize]) {
                    prop_assert!(!gone[slot as usize]);
                    gone[slot as usize] = true;
                }
                for (end, gone) in ends.iter().zip(&gone) {
                    prop_assert_eq!(*end <= now, *gone);
                }
            }
        }
    }

    #[test]
    fn a_year_at_once_is_one_turn() {
        let mut lists = Lists::new(BUCKETS);
        let mut wheel = Wheel::new(0);
        for slot in 0..1000 {
            lists.add_slot();
            wheel.insert(&mut lists, slot, i64::from(slot) * 100);
        }
        let looked = std::cell::Cell::new(0);
        let popped = wheel.pop(&mut lists, 31_536_000, |_| {
            looked.set(looked.get() + 1);
            i64::MAX / 2
        });
        assert_eq!(popped, None);
        assert!(looked.get() <= 2000, "{}", looked.get());
        assert_eq!(wheel.next().map(|n| n > 31_536_000), Some(true));
    }
}
