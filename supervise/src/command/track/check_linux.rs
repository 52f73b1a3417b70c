//! A second witness of every end, if one is wanted: taskstats.

use supervise::Error;
use supervise::track::{Event, Taskstats};

/// It, or nobody.
pub struct Check(Option<Taskstats>);

impl Check {
    /// Calls it, if it is wanted.
    pub fn open(wanted: bool) -> Result<Check, Error> {
        Ok(Check(wanted.then(Taskstats::open).transpose()?))
    }

    /// Compares its word with what the tracker has just told; a contradiction is told as well.
    pub fn audit(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        self.0.as_mut().map_or(Ok(()), |taskstats| taskstats.audit(events))
    }

    /// Whether it still owes us something.
    pub fn waits(&self) -> bool {
        self.0.as_ref().is_some_and(Taskstats::waits)
    }

    /// How many ends both have told alike.
    pub fn agreed(&self) -> Option<u64> {
        self.0.as_ref().map(Taskstats::agreed)
    }
}
