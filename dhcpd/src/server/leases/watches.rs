//! Commits that somebody waits for, such as a command that changed a lease: what became of each, to be
//! asked for once.
//!
//! Nothing is counted or logged here, and nobody is woken.

use crate::journal::{Failure, Seq};

#[derive(Default)]
pub(super) struct Watches {
    watched: Vec<Watch>,
    /// How many there have ever been.
    count: u64,
}

struct Watch {
    number: u64,
    commit: Seq,
    outcome: Option<Result<(), String>>,
}

impl Watches {
    /// Remembers what becomes of a commit, or has become of it; returns the number to ask by.
    pub(super) fn add(&mut self, commit: Seq, outcome: Option<Result<(), String>>) -> u64 {
        self.count += 1;
        self.watched.push(Watch { number: self.count, commit, outcome });
        self.count
    }

    /// What became of all commits up to `upto` of which it was not known.
    pub(super) fn hear(&mut self, upto: Seq, result: &Result<(), Failure>) {
        for watch in &mut self.watched {
            if watch.commit <= upto && watch.outcome.is_none() {
                watch.outcome = Some(result.as_ref().map(|_| ()).map_err(Failure::to_string));
            }
        }
    }

    /// What became of a commit, once it is known, and once.
    pub(super) fn outcome(&mut self, number: u64) -> Option<Result<(), String>> {
        let known = |watch: &Watch| watch.number == number && watch.outcome.is_some();
        let at = self.watched.iter().position(known)?;
        self.watched.swap_remove(at).outcome
    }
}
