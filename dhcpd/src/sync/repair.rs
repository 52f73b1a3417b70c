//! What is to be sent to one server so that both have the same leases: when a comparison is begun,
//! what it has found to do, and how fast that is done.
//!
//! A comparison starts from the digests of everything and goes down where they differ. What is
//! waiting is bounded; what finds no room is found again by the next comparison.

use super::own::Prefix;
use std::collections::VecDeque;

/// How much of this may leave, in bytes per second, and at once.
const RATE: u64 = 2 << 20;
const BURST: u64 = 128 << 10;
/// The most pieces of work that wait.
const MOST: usize = 16_384;
/// Between two comparisons, in milliseconds: at least, and where they lead to nothing.
const SOON: u64 = 1_000;
const LATE: u64 = 16_000;
/// So many in a row may lead to nothing because datagrams are lost.
const PATIENCE: u32 = 8;

/// Something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The digests of a prefix's children, from one on.
    Digests(Prefix, u16),
    /// The leases of a prefix, from an address on.
    Leases(Prefix, u32),
    /// A wish for a prefix's leases.
    Want(Prefix),
}

#[derive(Debug, Default)]
pub struct Repair {
    waiting: VecDeque<Work>,
    /// When the next comparison may begin, in milliseconds.
    due: u64,
    pause: u64,
    /// How many in a row have led to nothing.
    fruitless: u32,
    /// Something has changed since the last one began.
    pub fruitful: bool,
}

impl Repair {
    /// Notes work to be done, unless it is waiting already.
    pub fn add(&mut self, work: Work) {
        if self.waiting.len() < MOST && !self.waiting.iter().rev().take(64).any(|w| *w == work) {
            self.waiting.push_back(work);
        }
    }

    /// Puts back what is only half done.
    pub fn go_on(&mut self, work: Work) {
        self.waiting.push_front(work);
    }

    /// What is to be done next.
    pub fn next(&mut self) -> Option<Work> {
        self.waiting.pop_front()
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Both have the same: there is nothing to do.
    pub fn agreed(&mut self) {
        self.pause = 0;
        self.fruitless = 0;
        self.due = 0;
    }

    /// Both differ: whether to begin a comparison now. One that led to nothing, because leases
    /// change faster than they are compared or configurations differ, makes the next one wait.
    pub fn begins(&mut self, now: u64) -> bool {
        if now < self.due || !self.waiting.is_empty() {
            return false;
        }
        self.fruitless = match std::mem::take(&mut self.fruitful) {
            true => 0,
            false => self.fruitless.saturating_add(1),
        };
        let pause = if self.fruitless > PATIENCE { self.pause * 2 } else { SOON };
        self.pause = pause.clamp(SOON, LATE);
        self.due = now.saturating_add(self.pause);
        true
    }
}

/// How much may leave now.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    counted: u64,
}

impl Budget {
    pub fn new(now: u64) -> Budget {
        Budget { left: BURST, counted: now }
    }

    /// Counts the time that has passed.
    pub fn pass(&mut self, now: u64) {
        let passed = now.saturating_sub(self.counted);
        self.counted = now;
        self.left = self.left.saturating_add(passed.saturating_mul(RATE) / 1000).min(BURST);
    }

    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Something leaves; the last of it may be more than was left.
    pub fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }
}
