//! Which address is looked up when: each once at a time, so many at once, and none for ever. Pure:
//! addresses and the time (in milliseconds) come in, what to look up comes out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;

/// How many are looked up at once.
pub const AT_ONCE: usize = 8;

/// How many may wait.
pub const WAITING: usize = 4096;

/// Who has waited this long is not looked up any more; a lookup that takes this long will never
/// end: every C library has given up before.
pub const PATIENCE: u64 = 60_000;

/// How often losses are told.
const TELL_EVERY: u64 = 60_000;

/// Addresses that wait and those that are being looked up.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(Ipv4Addr, u64)>,
    is_waiting: HashSet<Ipv4Addr>,
    /// With the time each was begun.
    running: HashMap<Ipv4Addr, u64>,
    dropped: u64,
    tell_at: u64,
}

impl Queue {
    /// An address whose name is wanted.
    pub fn push(&mut self, address: Ipv4Addr, now: u64) {
        if self.running.contains_key(&address) || self.is_waiting.contains(&address) {
            return;
        }
        if self.waiting.len() >= WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back((address, now));
        self.is_waiting.insert(address);
    }

    /// An address to look up now.
    pub fn next(&mut self, now: u64) -> Option<Ipv4Addr> {
        while self.running.len() < AT_ONCE {
            let (address, since) = self.waiting.pop_front()?;
            self.is_waiting.remove(&address);
            if now.saturating_sub(since) < PATIENCE {
                self.running.insert(address, now);
                return Some(address);
            }
            self.dropped += 1;
        }
        None
    }

    /// It has been looked up.
    pub fn done(&mut self, address: Ipv4Addr) {
        self.running.remove(&address);
    }

    /// How many were not looked up, if that is to be told now.
    pub fn dropped(&mut self, now: u64) -> Option<u64> {
        if self.dropped == 0 || now < self.tell_at {
            return None;
        }
        self.tell_at = now.saturating_add(TELL_EVERY);
        Some(std::mem::take(&mut self.dropped))
    }

    /// Whether nothing will ever be looked up again.
    pub fn is_stuck(&self, now: u64) -> bool {
        self.running.len() >= AT_ONCE
            && self.running.values().all(|begun| now.saturating_sub(*begun) >= PATIENCE)
    }

    /// When to look at it again though nothing happens.
    pub fn due(&self) -> Option<u64> {
        let stuck = self.running.values().max().map(|begun| begun.saturating_add(PATIENCE));
        let stuck = stuck.filter(|_| self.running.len() >= AT_ONCE);
        let tell = (self.dropped > 0).then_some(self.tell_at);
        [stuck, tell].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + n)
    }

    #[test]
    fn each_once_so_many_at_once_in_order() {
        let mut queue = Queue::default();
        for n in (0..20).chain(0..20) {
            queue.push(address(n), 0);
        }
        let first: Vec<Ipv4Addr> = std::iter::from_fn(|| queue.next(1)).collect();
        assert_eq!(first, (0..AT_ONCE as u32).map(address).collect::<Vec<_>>());
        queue.push(address(0), 2);
        queue.done(address(3));
        assert_eq!(queue.next(2), Some(address(8)));
        assert_eq!(queue.next(2), None);
        for n in 0..20 {
            queue.done(address(n));
        }
        let rest: Vec<Ipv4Addr> = std::iter::from_fn(|| {
            let next = queue.next(3)?;
            queue.done(next);
            Some(next)
        })
        .collect();
        assert_eq!(rest, (9..20).map(address).collect::<Vec<_>>());
        assert_eq!((queue.dropped(5), queue.due()), (None, None));
    }

    #[test]
    fn bounded_in_number_and_time() {
        let mut queue = Queue::default();
        for n in 0..WAITING as u32 + 3 {
            queue.push(address(n), 0);
        }
        assert_eq!(queue.waiting.len(), WAITING);
        assert_eq!(queue.dropped(0), Some(3));
        while queue.next(0).is_some() {}
        assert!(!queue.is_stuck(PATIENCE - 1));
        assert_eq!(queue.due(), Some(PATIENCE));
        assert!(queue.is_stuck(PATIENCE));
        queue.done(address(5));
        assert!(!queue.is_stuck(PATIENCE));
        // All others have waited too long by now.
        assert_eq!(queue.next(PATIENCE), None);
        assert_eq!(queue.dropped(PATIENCE - 1), None, "told seldom");
        assert_eq!(queue.dropped(PATIENCE), Some((WAITING - AT_ONCE) as u64));
        queue.push(address(9), PATIENCE);
        assert_eq!(queue.next(PATIENCE), Some(address(9)));
    }
}
