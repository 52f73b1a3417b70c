//! Giving the local component up: from then on only the other node counts, if it has all.

use super::change::Change;
use super::{Key, Mark, Primary, Waiter};
use crate::engine::Consistency;
use crate::wire::errno::Errno;
use crate::wire::request::State;

impl Primary {
    /// Whether the other node will be able to serve alone, but is not yet. What it has not done of
    /// what has been answered it may still fail to do; and what has been copied to it may be in its
    /// cache only, where here it is on stable storage.
    pub(super) fn owes_peer(&self) -> bool {
        let owed = |key| self.changes.get(key).is_some_and(Change::is_owed);
        self.detached.is_none()
            && self.link.up()
            && self.map.to_peer().is_empty()
            && (self.rounds.cached_there() || self.changes.keys().into_iter().any(owed))
    }

    /// A change failed here, and the other node has it: it waits for that.
    pub(super) fn give_up_soon(&mut self, key: Key) {
        if !self.giving_up.contains(&key) {
            self.giving_up.push(key);
        }
    }

    /// Whether the local component is about to be given up.
    pub(super) fn gives_up(&self) -> bool {
        !self.giving_up.is_empty() || self.rounds.is_failing()
    }

    /// What has failed here goes on when nothing is owed any more.
    pub(super) fn give_up_pump(&mut self) {
        if !self.gives_up() {
            return;
        }
        if self.owes_peer() {
            if self.rounds.cached_there() && self.rounds.is_idle() {
                self.join(Waiter::Checkpoint);
            }
            return;
        }
        self.round_given_up();
        for key in std::mem::take(&mut self.giving_up) {
            self.change_checked(key);
        }
    }

    /// Whether the other node can serve alone: it has all, and it is there (H3). Then the local
    /// component is not used any more, and nothing is answered before that is on disk.
    pub(super) fn detach(&mut self, error: Errno) -> bool {
        if !self.link.up() || !self.map.to_peer().is_empty() || self.owes_peer() {
            return false;
        }
        log::error!("{}: the local component is given up: {error}", self.meta.resource);
        self.meta.consistency = Consistency::Inconsistent;
        // The other node has all: what was written alone before is no longer ours alone.
        self.counters_equal();
        self.detached = Some(Mark::Unset);
        self.map.local_lost();
        self.resync_ends();
        if self.link.told == Some(State::Inconsistent) {
            // It has all by now, and has to know it: it is the only one.
            self.state_is(State::Consistent);
        }
        true
    }
}
