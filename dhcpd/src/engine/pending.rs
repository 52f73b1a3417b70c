//! What waits for an answer to a ping: offers held back, and releases that may be forged.
//!
//! Every wait is equally long, so they end in the order they began. Bounded: what finds no room
//! is not begun.

use super::identity::Hw;
use super::{Destination, Meta, Reply};
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

/// What happens if nobody answers.
#[derive(Debug)]
pub(super) enum Then {
    /// The offer is sent.
    Offer(Held),
    /// The lease ends.
    Release,
}

/// A reply that is ready to go.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) destination: Destination,
    pub(super) source: Ipv4Addr,
    pub(super) bytes: Vec<u8>,
    /// For the log: to whom, and which way the request came.
    pub(super) hw: Hw,
    pub(super) relay: Ipv4Addr,
    pub(super) interface: usize,
    /// Whence it came, if `bytes` are not the reply but the request, to be decided about again.
    pub(super) again: Option<Meta>,
}

impl Held {
    /// The reply, its bytes moved into the arena.
    pub(super) fn reply(&self, arena: &mut Vec<u8>) -> Reply {
        let start = arena.len();
        arena.extend_from_slice(&self.bytes);
        Reply {
            destination: self.destination,
            source: self.source,
            bytes: start..arena.len(),
            durable: false,
        }
    }
}

#[derive(Debug)]
struct Wait {
    number: u64,
    then: Then,
}

#[derive(Debug)]
pub(super) struct Pending {
    by_slot: HashMap<u32, Wait>,
    /// When, whose, and which of its waits, those called off included.
    order: VecDeque<(u64, u32, u64)>,
    /// Buffers of replies that are gone.
    spare: Vec<Vec<u8>>,
    limit: usize,
    number: u64,
}

impl Pending {
    pub(super) fn new(limit: usize) -> Pending {
        Pending {
            by_slot: HashMap::new(),
            order: VecDeque::new(),
            spare: Vec::new(),
            limit,
            number: 0,
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Then> {
        self.by_slot.get(&slot).map(|wait| &wait.then)
    }

    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= self.limit
    }

    /// Begins a wait, unless there is one for this slot or no room.
    pub(super) fn begin(&mut self, slot: u32, due: u64, then: Then) -> bool {
        if self.is_full() || self.by_slot.contains_key(&slot) {
            return false;
        }
        self.number += 1;
        self.by_slot.insert(slot, Wait { number: self.number, then });
        self.order.push_back((due, slot, self.number));
        true
    }

    /// Calls a wait off, or ends it.
    pub(super) fn take(&mut self, slot: u32) -> Option<Then> {
        self.by_slot.remove(&slot).map(|wait| wait.then)
    }

    /// The next wait that is over.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u32, Then)> {
        while let Some(&(due, slot, number)) = self.order.front() {
            if due > now {
                return None;
            }
            self.order.pop_front();
            if self.by_slot.get(&slot).is_some_and(|wait| wait.number == number) {
                return self.take(slot).map(|then| (slot, then));
            }
        }
        None
    }

    /// When the next wait is over.
    pub(super) fn next(&self) -> Option<u64> {
        self.order.front().map(|(due, _, _)| *due)
    }

    /// Gives interfaces other numbers. An offer that was to leave by one that is gone is dropped:
    /// nobody would hear it. So is a request that came by one: it would seem to be from another wire.
    pub(super) fn renumber(&mut self, map: &[Option<usize>]) {
        self.by_slot.retain(|_, wait| match &mut wait.then {
            Then::Release => true,
            Then::Offer(held) => {
                let interface = map.get(held.interface).copied().flatten();
                held.interface = interface.unwrap_or(held.interface);
                let stays = interface.is_some() || held.again.is_none();
                stays && held.destination.renumber(map)
            }
        });
    }

    /// An empty buffer for a reply to hold.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, held: Held) {
        if self.spare.len() < 64 {
            let mut bytes = held.bytes;
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_in_order_once_and_within_bounds() {
        let mut pending = Pending::new(3);
        assert!(pending.begin(1, 10, Then::Release));
        assert!(!pending.begin(1, 11, Then::Release));
        assert!(pending.begin(2, 11, Then::Release));
        assert!(pending.take(1).is_some());
        assert!(pending.begin(1, 12, Then::Release));
        assert!(!pending.begin(3, 12, Then::Release), "a wait called off still takes room");
        assert_eq!(pending.next(), Some(10));
        assert!(pending.pop(9).is_none());
        assert_eq!(pending.pop(12).map(|(slot, _)| slot), Some(2));
        assert_eq!(pending.pop(12).map(|(slot, _)| slot), Some(1));
        assert!(pending.pop(99).is_none());
        assert_eq!(pending.next(), None);
        assert!(pending.begin(3, 100, Then::Release));
    }
}
