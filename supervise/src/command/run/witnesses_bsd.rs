//! Nobody besides us sees signals here: audit(4) and DTrace could, and are not used.

use std::os::fd::BorrowedFd;

use supervise::Moment;
use supervise::attribution::Seen;
use supervise::track::{Changed, Event, Heard, ProcId, Waiter};

use crate::command::args::Options;

/// None, but who waits for children.
#[derive(Default)]
pub struct Witnesses {
    waiter: Waiter,
}

/// What they would have seen.
#[derive(Default)]
pub struct News {
    /// Signals.
    pub seen: Vec<Seen>,
    /// That some may be missing.
    pub lost: Vec<Moment>,
    /// What descendants have done.
    pub events: Vec<Event>,
}

impl Witnesses {
    /// Refuses each that the options name.
    ///
    /// # Errors
    /// One is named.
    pub fn open(options: &Options) -> Result<Witnesses, String> {
        let who = options.who;
        let named = [
            (who.ptrace, "--ptrace"),
            (who.trace, "--trace"),
            (who.audit, "--audit"),
            (options.track, "--track"),
        ];
        match named.iter().find(|(named, _)| *named) {
            Some((_, option)) => Err(format!("{option}: not on this system")),
            None => Ok(Witnesses::default()),
        }
    }

    /// Whether SIGKILL is seen, too.
    pub fn see_all(&self) -> bool {
        false
    }

    /// Whether there is one who may tell of a signal some time after it has had its effect.
    pub fn are_late(&self) -> bool {
        false
    }

    /// What is to be polled for input.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::empty()
    }

    /// Follows a command that is held: nobody does.
    ///
    /// # Errors
    /// None.
    pub fn watch(&mut self, _pid: i32) -> Result<Option<ProcId>, String> {
        Ok(None)
    }

    /// What has become of children.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wait(&mut self) -> Result<Vec<Changed>, String> {
        let mut heard = Heard::default();
        self.waiter.read(&mut heard).map_err(|error| error.to_string())?;
        Ok(heard.changes)
    }

    /// Reads what they have to say.
    pub fn read(&mut self, _ours: &[i32]) -> News {
        News::default()
    }
}
