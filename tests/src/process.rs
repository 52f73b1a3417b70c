//! What /proc says about processes, and waiting for something to become true.

use std::fs;
use std::time::{Duration, Instant};

/// Asks again until the answer is yes. The pause between two questions only saves work: nothing
/// depends on its length.
///
/// # Panics
/// If the answer is still no after `limit`.
pub fn until(what: &str, limit: Duration, mut answer: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !answer() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether a process of this number exists and has not ended.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// Whether nothing of a process runs any more, no thread of it either: one that was killed in the
/// middle of a system call still holds the process's files until it comes back.
pub fn gone(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .all(|text| text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// A line of /proc/PID/stat, as far as it is needed.
#[derive(Clone, Debug)]
pub struct Stat {
    /// R, S, Z...
    pub state: char,
    /// The parent's process id.
    pub parent: u32,
    /// User and system time, in clock ticks.
    pub ticks: u64,
}

/// Reads /proc/PID/stat; `None` if there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
    })
}

/// The command line of a process, its words joined by blanks.
pub fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.trim_end().to_owned()
}

/// Every process there is.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let child = |child: &u32| stat(*child).is_some_and(|stat| stat.parent == pid);
    all().into_iter().filter(child).collect()
}

/// The children of a process, their children, and so on.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut all = children(pid);
    let mut next = 0;
    while let Some(&child) = all.get(next) {
        all.extend(children(child));
        next += 1;
    }
    all
}

/// The child of a process that has this title.
pub fn child_titled(pid: u32, wanted: &str) -> Option<u32> {
    children(pid).into_iter().find(|child| title(*child) == wanted)
}

/// Sends a signal to a process by its number.
///
/// # Panics
/// If there is no such process.
pub fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("kill");
}
