//! Every descendant of a process: who forked whom, what was executed, how each ended.
//!
//! It only watches. Ending what is left is `contain`'s, saying who ended it is `attribution`'s.
//!
//! What makes a tracker trustworthy is kept by the types:
//! - A fork carries a parent and an exit carries a status; no field is ever both
//!   (FreeBSD's PR 180385: one kevent, one `data`, and 127 << 8 taken for a parent's number).
//! - A process is a [`ProcId`]: its number and when it began. A number alone may be anybody's.
//! - For every process there is one [`Event::Fork`], before all else that is said of it, and at
//!   most one [`Event::Exit`], after all else.
//! - What was lost is said, as [`Event::Gap`], before anything that came after it; then a look at
//!   what is really there follows, as [`Event::Resync`]. What cannot be known is `None` or
//!   [`Parent::Unknown`]: nothing is guessed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{Error, Exit, Moment};

#[cfg(target_os = "linux")]
pub mod auditor;
pub mod kevent;
#[cfg(target_os = "linux")]
pub mod taskstats;
#[cfg(target_os = "linux")]
mod taskstats_linux;

mod waiter;

#[cfg(target_os = "linux")]
pub mod connector;
#[cfg(target_os = "linux")]
mod connector_linux;
#[cfg(target_os = "linux")]
mod kernel_linux;
#[cfg(target_os = "linux")]
mod ptrace;
#[cfg(target_os = "linux")]
mod ptrace_linux;
#[cfg(target_os = "linux")]
mod snapshot;
#[cfg(target_os = "linux")]
mod snapshot_linux;
#[cfg(target_os = "linux")]
mod tracer_linux;
#[cfg(target_os = "linux")]
mod tree;

#[cfg(not(target_os = "linux"))]
#[path = "track/list_bsd.rs"]
mod list;

#[cfg_attr(target_os = "linux", path = "track/tracker_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "track/tracker_bsd.rs")]
mod tracker;

pub use waiter::{Changed, Heard, Waiter};

#[cfg(target_os = "linux")]
pub use taskstats_linux::Taskstats;
pub use tracker::Tracker;

/// A process, for ever: numbers are used again, but not at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcId {
    /// Its number, as the tracker's own pid namespace has it.
    pub pid: i32,
    /// When it began, as exactly as the back end can say. From a fork that was seen it is the
    /// kernel's own stamp; of a process that was found it is that of /proc, in steps of 10 ms.
    pub start: Moment,
}

/// What is known of a process's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It called fork, vfork or clone.
    Exact(ProcId),
    /// It is one of the ancestors, perhaps not the nearest one.
    Ancestor(ProcId),
    /// Nobody knows any more.
    Unknown,
}

/// Something that happened to a descendant, or to our knowledge of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Fork {
        /// Which.
        id: ProcId,
        /// Who made it.
        parent: Parent,
        /// Whether it was found by looking, rather than seen when it began.
        found: bool,
        /// When that was said, or found.
        at: Moment,
    },
    /// It became another program.
    Exec {
        /// Which.
        id: ProcId,
        /// The file, where the back end tells or it could still be read.
        path: Option<PathBuf>,
        /// When.
        at: Moment,
    },
    /// It left its session and leads a new one: what a daemon does when it detaches itself.
    /// Only the proc connector tells.
    Session {
        /// Which.
        id: ProcId,
        /// When.
        at: Moment,
    },
    /// It ended, and will never be heard of again.
    Exit {
        /// Which.
        id: ProcId,
        /// How; `None` if that was lost in a gap.
        exit: Option<Exit>,
        /// When; after a gap, when it was missed.
        at: Moment,
    },
    /// Something was lost here.
    Gap {
        /// How, and how much.
        cause: Cause,
        /// When that was noticed.
        at: Moment,
    },
    /// What is really there has been looked up after a gap: everything that could be set right
    /// has been told by now, as forks with `found` and exits without a status.
    Resync {
        /// How many processes were found that had not been heard of.
        found: usize,
        /// How many were not there any more, with nothing said of their end.
        vanished: usize,
        /// When.
        at: Moment,
    },
    /// The last member has ended.
    Empty {
        /// When.
        at: Moment,
    },
}

/// Why something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel dropped events that we were too slow for.
    Overrun {
        /// How many, of all processes on the machine; `None` where the back end does not count.
        lost: Option<u64>,
    },
    /// The kernel could not follow the children of this process (`NOTE_TRACKERR`).
    TrackError {
        /// Whose.
        parent: ProcId,
    },
    /// A second witness knows of an end that this tracker has not seen, or saw otherwise.
    Contradiction {
        /// Of whom.
        pid: i32,
    },
}

/// Through what the processes are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Whatever this machine and our rights allow: the best there is.
    #[default]
    Auto,
    /// Linux: the kernel tells of all processes over a netlink socket. It needs the first pid and
    /// user namespace, and before Linux 6.6 a privilege.
    Connector,
    /// Linux: the processes are traced. It needs no privilege and loses nothing, but they are
    /// slower, cannot be debugged meanwhile, and set-user-ID programs do not get their rights.
    Ptrace,
}

/// A back end that this machine, or our rights, do not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The name of the back end.
    pub backend: &'static str,
    /// Why.
    pub why: String,
}

/// What a back end can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Its name, as `--backend` takes it.
    pub name: &'static str,
    /// Whether every parent is exact.
    pub parents: bool,
    /// Whether it sees every exit status.
    pub statuses: bool,
    /// What becomes of a loss.
    pub loss: Loss,
    /// Whether it hears of all processes, or only of ours.
    pub system_wide: bool,
}

/// How much is kept for a reader that is slow, by a back end that could lose something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the kernel's buffer, which an event takes some 800 of; 0 for the system's default.
    pub buffer: usize,
    /// Bytes in our own memory, 76 an event. When it is full the kernel's fills.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { buffer: 64 << 20, queue: 64 << 20 }
    }
}

/// What becomes of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There is none.
    Impossible,
    /// It is counted.
    Counted,
    /// It is noticed, not counted.
    Noticed,
}

impl FromStr for Backend {
    type Err = Error;

    /// As `--backend` takes it.
    fn from_str(name: &str) -> Result<Backend, Error> {
        match name {
            "auto" => Ok(Backend::Auto),
            "connector" => Ok(Backend::Connector),
            "ptrace" => Ok(Backend::Ptrace),
            _ => Err(Error::says(format!("back end {name}: not auto, connector or ptrace"))),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "back end {} is not available: {}", self.backend, self.why)
    }
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Error {
        Error::says(unavailable.to_string())
    }
}

impl fmt::Display for ProcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start)
    }
}
