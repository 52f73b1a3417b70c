//! The one place where a process waits for its children: its own, the orphans it has adopted (as
//! the first process of a container, or as a subreaper), and those it traces.
//!
//! They are one because the kernel makes them one: wait(2) gives whichever of them has something to
//! say, and two waiters would take each other's answers. Whoever has a [`Waiter`] that traces waits
//! for children nowhere else. One that does not trace is [`reaper::next`](crate::reaper::next), and
//! nothing more.

use crate::Moment;
use crate::attribution::Seen;
use crate::reaper::Change;
use crate::track::Event;

#[cfg_attr(target_os = "linux", path = "waiter_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "waiter_bsd.rs")]
mod system;

pub use system::Waiter;

/// What has become of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its number. If it has ended, it may be somebody else's by now.
    pub pid: i32,
    /// What has become of it.
    pub change: Change,
    /// Whether it is traced. It may be another process's child then, which has yet to wait for it;
    /// and should that one end without having done so, the same end comes to us once more, as that
    /// of an orphan.
    pub traced: bool,
    /// When that was heard.
    pub at: Moment,
}

/// What there was to be heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What has become of children, adopted ones, and all that are traced.
    pub changes: Vec<Changed>,
    /// What those have done that are traced.
    pub events: Vec<Event>,
    /// The signals that these were sent.
    pub seen: Vec<Seen>,
}
