//! Frames that are passed over on the wire: how many, and when that is worth a line of log.
//!
//! One is damaged now and then. Where most of an interface's are, its clients go without an address
//! and nothing else says why: as behind a virtual network card that leaves checksums to nobody.

use crate::engine::counters::Counters as All;
use crate::link::{Counters, Link};
use std::collections::HashMap;

/// Milliseconds between two looks at an interface, and so between two lines about it.
const APART: u64 = 60_000;
/// Fewer frames than that say nothing about the others.
const FEW: u64 = 5;

/// What all links have seen, those included that are closed.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What closed links had counted: sums only grow.
    closed: Counters,
    /// By the interface's name.
    looks: HashMap<String, Look>,
}

impl Frames {
    /// Looks at an interface that frames came from, and logs if most of them were bad.
    pub(super) fn look(&mut self, name: &str, counters: Counters, now: u64) {
        let bad = match self.looks.get_mut(name) {
            Some(look) => look.at(counters, now),
            None => self.looks.entry(name.to_owned()).or_default().at(counters, now),
        };
        if let Some((bad, frames)) = bad {
            log::warn!("{name}: {bad} of {frames} frames had wrong checksums");
        }
    }

    /// A link is closed; another one of that name begins to count again.
    pub(super) fn close(&mut self, name: &str, counters: Counters) {
        add(&mut self.closed, counters);
        if let Some(look) = self.looks.get_mut(name) {
            look.seen = Counters::default();
        }
    }

    /// Fills in what was passed over, of these links and those that are closed.
    pub(super) fn count(&self, links: &[Link], all: &mut All) {
        let mut sum = self.closed;
        links.iter().for_each(|link| add(&mut sum, link.counters()));
        fill(sum, all);
    }
}

fn add(sum: &mut Counters, more: Counters) {
    sum.frames += more.frames;
    sum.bad_ip += more.bad_ip;
    sum.bad_udp += more.bad_udp;
    sum.malformed += more.malformed;
    sum.tagged += more.tagged;
}

fn fill(sum: Counters, all: &mut All) {
    all.frames_bad_ip = sum.bad_ip;
    all.frames_bad_udp = sum.bad_udp;
    all.frames_malformed = sum.malformed;
    all.frames_tagged = sum.tagged;
}

/// When one interface was looked at last.
#[derive(Debug, Default)]
struct Look {
    /// What its link had counted by then.
    seen: Counters,
    /// When the next look is due, in milliseconds.
    next: u64,
}

impl Look {
    /// How many frames since the last look had wrong checksums, and of how many, if that was most
    /// of them. What belongs to a VLAN is another interface's, and no frame of this one.
    fn at(&mut self, counters: Counters, now: u64) -> Option<(u64, u64)> {
        let own = |counters: Counters| counters.frames - counters.tagged;
        let bad = |counters: Counters| counters.bad_ip + counters.bad_udp;
        let frames = own(counters).saturating_sub(own(self.seen));
        if now < self.next || frames < FEW {
            return None;
        }
        let bad = bad(counters).saturating_sub(bad(self.seen));
        *self = Look { seen: counters, next: now.saturating_add(APART) };
        (bad > frames / 2).then_some((bad, frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(frames: u64, bad_ip: u64, bad_udp: u64) -> Counters {
        Counters { frames, bad_ip, bad_udp, ..Counters::default() }
    }

    #[test]
    fn most_frames_bad_is_said_at_most_once_a_minute() {
        let mut look = Look::default();
        assert_eq!(look.at(counters(12, 3, 7), 5000), Some((10, 12)));
        // All bad, and a minute is not over; then what came meanwhile is said together.
        assert_eq!(look.at(counters(112, 3, 107), 64_999), None);
        assert_eq!(look.at(counters(113, 4, 107), 65_000), Some((101, 101)));
        assert_eq!(look.at(counters(213, 104, 107), 65_001), None);
    }

    #[test]
    fn a_half_is_not_most_and_every_look_begins_anew() {
        let mut look = Look::default();
        assert_eq!(look.at(counters(10, 5, 0), 0), None);
        // The good ones of an hour ago are no excuse.
        assert_eq!(look.at(counters(1000, 5, 0), 60_000), None);
        assert_eq!(look.at(counters(1007, 5, 4), 120_000), Some((4, 7)));
        assert_eq!(look.at(counters(1013, 5, 7), 180_000), None);
    }

    #[test]
    fn a_few_frames_wait_for_more() {
        let mut look = Look::default();
        assert_eq!(look.at(counters(4, 4, 0), 0), None);
        assert_eq!(look.at(counters(5, 4, 0), 1), Some((4, 5)));
    }

    #[test]
    fn frames_of_a_vlan_do_not_count_and_other_faults_are_no_checksums() {
        let mut look = Look::default();
        let tagged = Counters { frames: 100, bad_udp: 6, tagged: 90, ..Counters::default() };
        assert_eq!(look.at(tagged, 0), Some((6, 10)));
        let mut look = Look::default();
        let malformed = Counters { frames: 10, malformed: 10, ..Counters::default() };
        assert_eq!(look.at(malformed, 0), None);
    }

    #[test]
    fn a_link_that_is_opened_again_counts_from_nothing_and_no_sum_shrinks() {
        let mut frames = Frames::default();
        frames.look("em0", counters(20, 0, 20), 0);
        frames.close("em0", Counters { malformed: 2, tagged: 3, ..counters(25, 1, 20) });
        frames.look("em0", counters(6, 0, 6), 60_000);
        assert_eq!(frames.looks["em0"].seen, counters(6, 0, 6));
        let mut all = All::default();
        frames.count(&[], &mut all);
        let filled = (all.frames_bad_ip, all.frames_bad_udp);
        assert_eq!((filled, all.frames_malformed, all.frames_tagged), ((1, 20), 2, 3));
    }
}
