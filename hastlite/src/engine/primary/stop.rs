//! The end of the role: what is under way ends, both nodes flush, the map is cleaned as far as it
//! can be, and the link is closed.

use super::link::Ended;
use super::{Primary, Waiter};
use crate::engine::PrimaryAction;
use crate::wire::errno::Errno;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    #[default]
    No,
    /// Requests under way end.
    Draining,
    Flushing,
    /// This update of the map is the last.
    Map(u64),
    Meta,
    Over,
}

impl Stop {
    pub fn asked(self) -> bool {
        self != Self::No
    }
}

impl Primary {
    pub(super) fn stop_asked(&mut self) {
        if self.stop == Stop::No {
            self.stop = Stop::Draining;
        }
    }

    pub(super) fn stop_pump(&mut self) {
        let asked_nothing = self.changes.is_empty() && self.reads.is_empty();
        let idle = asked_nothing && self.parked.is_empty() && self.rounds.is_idle();
        if self.stop == Stop::Draining && idle && self.resync.is_idle() {
            self.stop = Stop::Flushing;
            self.join(Waiter::Stop);
        }
    }

    pub(super) fn stop_flushed(&mut self, result: Result<(), Errno>) {
        if result.is_ok() {
            self.map.clean(self.now, true);
        }
        match self.map.settled() {
            Some(update) => self.stop = Stop::Map(update),
            None => self.stop_meta(),
        }
    }

    pub(super) fn stop_stored_map(&mut self, update: u64, result: Result<(), Errno>) {
        if let Stop::Map(last) = self.stop
            && (last <= update || result.is_err())
        {
            self.stop_meta();
        }
    }

    fn stop_meta(&mut self) {
        self.stop = Stop::Meta;
        let wrote = self.counters.writes + self.counters.deletes > 0;
        let ahead = !self.needs_peer() && !self.link.up() && !self.map.to_peer().is_empty();
        if self.met && wrote && ahead {
            // The other node may have lost what it had received. Equal counters would let it serve
            // without that, and this node would take its data.
            self.is_alone(Waiter::Checkpoint);
        }
        let write = self.store();
        self.wait_for_meta(write, Waiter::Stop);
    }

    pub(super) fn stop_stored_meta(&mut self) {
        if self.stop == Stop::Meta {
            self.stop = Stop::Over;
            self.link_down("the role ends", Ended::ByUs);
            self.out.push(PrimaryAction::Stopped);
        }
    }
}
