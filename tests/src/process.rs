//! What /proc says about processes, and waiting for something to become true.

use std::collections::BTreeMap;
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

/// What a process has been left with.
#[derive(Clone, Debug)]
pub struct Rights {
    /// /proc/PID/status.
    pub status: BTreeMap<String, String>,
    /// What its descriptors are, in ascending order: paths, and kinds of what has none.
    pub fds: Vec<String>,
    /// How many names there are in its root directory.
    pub root: usize,
}

/// Reads what a process has been left with.
///
/// # Panics
/// If there is no such process.
pub fn rights(pid: u32) -> Rights {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("read its status");
    let status = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut fds: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("read its descriptors")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        .map(|target| target.split(":[").next().unwrap_or_default().to_owned())
        .collect();
    fds.sort();
    let root = fs::read_dir(format!("/proc/{pid}/root/")).expect("its root directory").count();
    Rights { status, fds, root }
}

impl Rights {
    /// That it is this user, has only these capabilities, no way to more, and a filter.
    ///
    /// # Panics
    /// If it is not so.
    pub fn assert_unprivileged(&self, user: &str, capabilities: &str) {
        let user = nix::unistd::User::from_name(user).expect("look up").expect("the user");
        let ids = |id: u32| format!("{id}\t{id}\t{id}\t{id}");
        let status = |name: &str| self.status.get(name).map_or("", String::as_str);
        assert_eq!(status("Uid"), ids(user.uid.as_raw()));
        assert_eq!(status("Gid"), ids(user.gid.as_raw()));
        assert_eq!(status("Groups"), user.gid.to_string());
        assert_eq!(status("CapPrm"), capabilities);
        assert_eq!(status("CapEff"), capabilities);
        for set in ["CapInh", "CapBnd", "CapAmb"] {
            assert_eq!(status(set), "0000000000000000", "{set}");
        }
        assert_eq!(status("NoNewPrivs"), "1");
        assert_eq!(status("Seccomp"), "2");
    }
}
