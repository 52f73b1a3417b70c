//! Processes as /proc shows them.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
}

impl Process {
    pub fn new(pid: i32) -> Process {
        Process { pid }
    }

    /// Parent, group, session.
    fn relations(self) -> Option<[i32; 3]> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        // A zombie is no process any more.
        if words.next()? == "Z" {
            return None;
        }
        let mut number = || words.next()?.parse().ok();
        Some([number()?, number()?, number()?])
    }

    pub fn exists(self) -> bool {
        self.relations().is_some()
    }

    /// Whether it ends within this time.
    pub fn ends(self, within: Duration) -> bool {
        // SAFETY: numbers; the result is checked.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        let Ok(fd @ 0..) = RawFd::try_from(fd) else { return true };
        // SAFETY: the kernel has just made it, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        readable(fd.as_fd(), Instant::now() + within)
    }

    pub fn parent(self) -> Process {
        Process::new(self.relations().expect("it runs")[0])
    }

    pub fn group(self) -> i32 {
        self.relations().expect("it runs")[1]
    }

    pub fn session(self) -> i32 {
        self.relations().expect("it runs")[2]
    }

    /// Number and what it is: `/dev/null`, `pipe:[INODE]`, `socket:[INODE]`, `anon_inode:[pidfd]`.
    pub fn descriptors(self) -> BTreeMap<i32, String> {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it runs");
        let mut found = BTreeMap::new();
        for entry in folder.flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // Looking has a descriptor of its own.
            if !target.ends_with("fd") || !target.starts_with("/proc") {
                found.insert(number.expect("a number"), target.display().to_string());
            }
        }
        found
    }

    /// A line of /proc/PID/status.
    pub fn status(self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split_once(':').expect("a colon").1.trim().to_owned()
    }

    pub fn command(self) -> String {
        let command = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&command).replace('\0', " ")
    }

    pub fn all() -> Vec<Process> {
        let folder = fs::read_dir("/proc").expect("proc");
        let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        folder.flatten().filter_map(pid).map(Process::new).collect()
    }

    pub fn children(self) -> Vec<Process> {
        let ours = |p: &Process| p.relations().is_some_and(|of| of[0] == self.pid);
        Process::all().into_iter().filter(ours).collect()
    }
}

/// Asks again until `condition` holds; panics if it does not within a minute. The pause between two
/// questions only saves work: nothing depends on its length.
/// Whether there is such a file within this time.
pub fn appears(path: &Path, within: Duration) -> bool {
    let until = Instant::now() + within;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
    let folder = path.parent().expect("a folder");
    let created = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(folder, created).expect("watch");
    while !path.exists() {
        if !readable(watch.as_fd(), until) {
            return false;
        }
        let _ = watch.read_events();
    }
    true
}

/// Whether there is something to read by this time.
fn readable(fd: BorrowedFd<'_>, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).expect("a short time");
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
        Ok(count) => count > 0,
        Err(errno) => panic!("poll: {errno}"),
    }
}

pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "not within a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
