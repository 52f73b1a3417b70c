//! Whoever waits for a lock waits no longer than a client may have to: a change that only the other
//! node can take keeps its lock while it waits for the link to be back.

use super::{Key, Now, Owner, Primary, SEGMENT};
use crate::wire::errno::Errno;
use std::collections::BTreeMap;

/// Until when, and which of those with the same end.
pub type Wait = (Now, u64);

/// Who waits. Pieces of a resynchronisation may wait for ever, and end with the link.
#[derive(Debug, Default)]
pub struct Waits {
    until: BTreeMap<Wait, Owner>,
    count: u64,
}

impl Primary {
    /// This change, or read (with [`SEGMENT`]), waits for its lock.
    pub(super) fn wait_begins(&mut self, owner: Owner, since: Now) -> Wait {
        self.waits.count += 1;
        let wait = (since + self.settings.timeout, self.waits.count);
        self.waits.until.insert(wait, owner);
        wait
    }

    /// It has it, or is gone.
    pub(super) fn wait_ends(&mut self, wait: Option<Wait>) {
        if let Some(wait) = wait {
            self.waits.until.remove(&wait);
        }
    }

    pub(super) fn wait_time(&self) -> Option<Now> {
        self.waits.until.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn wait_tick(&mut self) {
        // Where both nodes can answer, something moves, and what a lock is waited for will end.
        let moves = !self.needs_peer() || self.link.up();
        while let Some((&wait, &owner)) = self.waits.until.first_key_value() {
            if wait.0 > self.now {
                break;
            }
            self.waits.until.remove(&wait);
            let key: Key = owner & !SEGMENT;
            let again = moves.then(|| self.wait_begins(owner, self.now));
            if owner & SEGMENT != 0 {
                self.segment_waits(key, again);
            } else {
                self.change_waits(key, again);
            }
        }
    }

    fn change_waits(&mut self, key: Key, again: Option<Wait>) {
        if let Some(change) = self.changes.get_mut(key) {
            change.waits = again;
        }
        if again.is_none() {
            self.change_given_up(key, Errno::EIO);
        }
    }

    fn segment_waits(&mut self, key: Key, again: Option<Wait>) {
        if let Some(segment) = self.segments.get_mut(key) {
            segment.waits = again;
        }
        if again.is_none() {
            let failed = self.segments.get(key).and_then(|segment| segment.failed);
            self.segment_fails(key, failed.unwrap_or(Errno::EIO));
        }
    }
}
