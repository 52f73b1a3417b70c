//! What /proc says of processes, for a census: all that are there, and what it can add to what a
//! trace has recorded of one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::census::Found;
use crate::{Exe, Moment, Sender, procfs};

/// All processes, each with the moment before it was looked at.
pub(super) fn snapshot() -> Vec<(Moment, Found)> {
    let look = |pid| Some((Moment::now(), look(pid)?));
    procfs::numbers("").into_iter().filter_map(look).collect()
}

pub(super) fn look(pid: i32) -> Option<Found> {
    let exe = procfs::executable(pid).ok();
    let stat = procfs::stat(pid)?;
    Some(Found {
        pid,
        parent: stat.parent,
        start: stat.start,
        exe,
        name: stat.name,
        users: procfs::users(pid),
        threads: procfs::numbers(&format!("{pid}/task")),
    })
}

/// A whole path in place of one that means something only to who called execve, if the process
/// still lives and executes a file of that name.
pub(super) fn better_path(pid: i32, at: Moment, path: &Path) -> Option<PathBuf> {
    let by_descriptor = path.starts_with("/dev/fd");
    if path.is_absolute() && !by_descriptor {
        return None;
    }
    let now = procfs::executable(pid).ok()?;
    let fits = by_descriptor || now.file_name() == path.file_name();
    (fits && procfs::stat(pid)?.start <= at).then_some(now)
}

/// Whether a process that we can still look at executes what the trace has seen it execute.
pub(super) fn same_program(traced: Option<&Path>, now: &Sender) -> bool {
    let (Some(traced), Exe::Path(path)) = (traced, &now.exe) else { return false };
    let file = |path: String| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let same_file = || {
        // Its root may not be ours.
        let traced = file(format!("/proc/{}/root{}", now.pid, traced.display()));
        traced.is_some() && traced == file(format!("/proc/{}/exe", now.pid))
    };
    // The interpreter of a script is given its path as a word.
    let script = || now.command.iter().flatten().any(|word| word == traced.as_os_str());
    let deleted = || path.as_os_str() == format!("{} (deleted)", traced.display()).as_str();
    traced == path || script() || same_file() || deleted()
}
