//! Everything that our descendants make stays within reach, and can be ended to the last process.
//!
//! It neither tells what happens to them (that is `track`'s) nor who ended them (`attribution`'s),
//! and it never reaps: statuses belong to whoever waits for them.
//!
//! Two things hold a tree on Linux, and both are used where both can be had:
//! - We are its *subreaper*: who loses its parent becomes our child, so everything that is left
//!   can be found by going down from us. This needs no privilege.
//! - A *cgroup* of its own, below ours: it knows at once whether anything is left, and kills all
//!   of it in one go, faster than anything can fork.
//!
//! Where there is only the first, a tree that forks quickly is chased; see
//! [`Container::kill_all`]. On FreeBSD the reaper of procctl(2) stands for both. OpenBSD and
//! NetBSD have nothing of the kind, and [`Container`] says so.

use std::fmt;

#[cfg_attr(target_os = "linux", path = "contain_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "contain_bsd.rs")]
mod system;

#[cfg(target_os = "linux")]
#[path = "contain/cgroup_linux.rs"]
mod cgroup;

#[cfg(target_os = "linux")]
#[path = "contain/descend_linux.rs"]
mod descend;

pub use system::Container;

/// What was still there when the time had run out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// A process's number and its name.
    pub processes: Vec<(i32, String)>,
    /// Whether something is left that could not be named.
    pub unnamed: bool,
}

impl Left {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && !self.unnamed
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A tree that would not die may be large, and a line of a log is not.
        const SHOWN: usize = 10;
        let count = self.processes.len();
        match (count, self.unnamed) {
            (0, false) => return f.write_str("nothing is left"),
            (0, true) => return f.write_str("something is left, which could not be found"),
            (1, _) => f.write_str("1 process is left:")?,
            _ => write!(f, "{count} processes are left:")?,
        }
        for (at, (pid, name)) in self.processes.iter().take(SHOWN).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {pid} ({name})")?;
        }
        if count > SHOWN { f.write_str(", ...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_has_a_name() {
        let left = |count: i32, unnamed| {
            let processes = (1..=count).map(|pid| (pid, "x".to_owned())).collect();
            Left { processes, unnamed }
        };
        assert!(left(0, false).is_empty());
        assert_eq!(left(0, false).to_string(), "nothing is left");
        assert!(!left(0, true).is_empty());
        assert_eq!(left(0, true).to_string(), "something is left, which could not be found");
        assert!(!left(1, false).is_empty());
        assert_eq!(left(1, false).to_string(), "1 process is left: 1 (x)");
        assert_eq!(left(2, true).to_string(), "2 processes are left: 1 (x), 2 (x)");
        assert!(left(11, false).to_string().ends_with("10 (x), ..."));
    }
}
