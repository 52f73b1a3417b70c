//! The other servers that hold the key: who is there, and that nothing they say is heard twice.
//!
//! A server is known by its epoch, which it chooses by chance at start. It is believed once it has
//! said in a hello that it hears ours: an old datagram, sent again by somebody, cannot know that.
//! From then on a window over its sequence numbers lets each datagram in once, and is kept while the
//! server is silent. An epoch that was given up, because its server was started again or has made
//! room for others, is never believed again.

use super::repair::Repair;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Without a word for so long, in milliseconds, a server is taken for gone.
pub const GONE: u64 = 10_000;
/// The most servers that are known at once.
const MOST: usize = 16;
/// The most epochs given up that are remembered; with more we begin anew ourselves.
const MOST_RETIRED: usize = 256;

/// Which sequence numbers have been seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The highest of them.
    pub highest: u64,
    /// Bit n, from the least of the first word on: `highest - n` was seen.
    pub seen: [u64; 16],
}

impl Window {
    /// How many it covers.
    pub const SIZE: u64 = 1024;

    /// Whether a number was seen; `None` if that is not known (any more).
    pub fn has(&self, number: u64) -> Option<bool> {
        let age = self.highest.checked_sub(number).filter(|age| *age < Window::SIZE)?;
        let word = self.seen.get((age / 64) as usize)?;
        Some(word & (1 << (age % 64)) != 0)
    }

    /// Takes a number; false if it was seen before, or is too old for that to be known.
    pub fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            self.shift(number - self.highest);
            self.highest = number;
        }
        let age = self.highest - number;
        if age >= Window::SIZE || number == 0 {
            return false;
        }
        let Some(word) = self.seen.get_mut((age / 64) as usize) else { return false };
        let bit = 1 << (age % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn shift(&mut self, by: u64) {
        let (words, bits) = ((by / 64) as usize, by % 64);
        for at in (0..self.seen.len()).rev() {
            let word =
                |at: Option<usize>| at.and_then(|at| self.seen.get(at)).copied().unwrap_or(0);
            let from = at.checked_sub(words);
            let low = word(from) << bits;
            let high = match bits {
                0 => 0,
                _ => word(from.and_then(|from| from.checked_sub(1))) >> (64 - bits),
            };
            if let Some(place) = self.seen.get_mut(at) {
                *place = low | high;
            }
        }
    }
}

/// Another server.
#[derive(Debug)]
pub struct Peer {
    pub epoch: u64,
    /// Where it was heard from last.
    pub source: SocketAddrV4,
    /// When, in milliseconds.
    pub heard: u64,
    /// It has said that it hears us, in this epoch of ours.
    pub confirmed: bool,
    /// It has said so in its last hello.
    pub hears_us: bool,
    /// Since when it is connected, in milliseconds.
    pub since: u64,
    /// It was once found to have the same leases, or that took too long.
    pub settled: bool,
    /// It was once found to have the same leases.
    pub agreed: bool,
    pub window: Window,
    pub repair: Repair,
    /// What it was told lately and may have lost: number of the datagram, and leases.
    pub sent: VecDeque<(u64, Vec<Ipv4Addr>)>,
}

/// The most datagrams that are remembered for a server.
const MOST_SENT: usize = Window::SIZE as usize;

impl Peer {
    /// Notes that it was told of leases.
    pub fn told(&mut self, sequence: u64, leases: &[Ipv4Addr]) {
        if self.sent.len() >= MOST_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, leases.to_vec()));
    }

    /// The leases it was told of in vain, by what it says it has had.
    pub fn lost(&mut self, window: &Window) -> Vec<Ipv4Addr> {
        let mut lost = Vec::new();
        self.sent.retain(|(sequence, leases)| {
            let later = *sequence > window.highest;
            if !later && window.has(*sequence) == Some(false) {
                lost.extend_from_slice(leases);
            }
            later
        });
        lost
    }
}

impl Peer {
    /// Whether nothing has been heard of it for long.
    pub fn is_silent(&self, now: u64) -> bool {
        now.saturating_sub(self.heard) >= GONE
    }

    /// Whether both hear each other.
    pub fn is_connected(&self) -> bool {
        self.confirmed && self.hears_us
    }
}

/// All that are known.
#[derive(Debug, Default)]
pub struct Peers {
    pub all: Vec<Peer>,
    retired: Vec<u64>,
}

impl Peers {
    /// Notes that a server was heard; `None` if its epoch was given up, or there are too many.
    pub fn heard(&mut self, epoch: u64, source: SocketAddrV4, now: u64) -> Option<usize> {
        if self.retired.contains(&epoch) {
            return None;
        }
        let known = self.all.iter().position(|peer| peer.epoch == epoch);
        if known.is_some() {
            return known;
        }
        if self.all.len() >= MOST {
            // Who is silent makes room, and first who has never been believed.
            let room = self.all.iter().filter(|peer| !peer.is_connected());
            let oldest = room.min_by_key(|peer| (peer.confirmed, peer.heard))?.epoch;
            self.retire(|peer| peer.epoch == oldest);
        }
        self.all.push(Peer {
            epoch,
            source,
            heard: now,
            confirmed: false,
            hears_us: false,
            since: now,
            settled: false,
            agreed: false,
            window: Window::default(),
            repair: Repair::default(),
            sent: VecDeque::new(),
        });
        Some(self.all.len() - 1)
    }

    /// Gives up everybody whom `gone` says of; what each was is returned. None of their epochs is
    /// believed again.
    pub fn retire(&mut self, gone: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        let (gone, left) = std::mem::take(&mut self.all).into_iter().partition(gone);
        self.all = left;
        let gone: Vec<Peer> = gone;
        // Who was never believed may be late rather than old.
        self.retired.extend(gone.iter().filter(|peer| peer.confirmed).map(|peer| peer.epoch));
        gone
    }

    /// Whether so many were given up that we have to begin a new epoch ourselves. Then nothing that
    /// was ever sent to us is worth anything, and nobody need be remembered.
    pub fn begin_anew(&mut self) -> bool {
        if self.retired.len() <= MOST_RETIRED {
            return false;
        }
        self.retired.clear();
        self.all.clear();
        true
    }

    /// Those who hear us and whom we hear.
    pub fn connected(&self) -> impl Iterator<Item = &Peer> {
        self.all.iter().filter(|peer| peer.is_connected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Each number is let in once at most, and exactly once if it is not late by the window.
        #[test]
        fn the_window_lets_each_in_once(
            numbers in prop::collection::vec(prop_oneof![4 => 1u64..200, 1 => 1u64..5000], 0..300),
        ) {
            let mut window = Window::default();
            let (mut seen, mut highest) = (BTreeSet::new(), 0);
            for number in numbers {
                highest = highest.max(number);
                let new = seen.insert(number) && highest - number < Window::SIZE;
                prop_assert_eq!(window.take(number), new, "{}", number);
            }
        }
    }

    #[test]
    fn who_was_given_up_is_never_believed_again() {
        let source = SocketAddrV4::new([192, 0, 2, 1].into(), 8067);
        let mut peers = Peers::default();
        for epoch in 1..=MOST_RETIRED as u64 + 1 {
            assert!(!peers.begin_anew());
            let at = peers.heard(epoch, source, 0).unwrap();
            (peers.all[at].confirmed, peers.all[at].hears_us) = (true, true);
            assert_eq!(peers.retire(|_| true).len(), 1);
            assert_eq!(peers.heard(epoch, source, 1), None);
        }
        assert!(peers.begin_anew());
        // No more than that are kept, and who is believed is not pushed out.
        for epoch in 1..100 {
            if let Some(at) = peers.heard(epoch, source, epoch) {
                (peers.all[at].confirmed, peers.all[at].hears_us) = (true, epoch <= 3);
            }
        }
        assert_eq!(peers.all.len(), MOST);
        assert!((1..=3).all(|epoch| peers.all.iter().any(|peer| peer.epoch == epoch)));
    }
}
