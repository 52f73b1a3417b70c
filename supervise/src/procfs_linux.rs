//! What /proc says about one process. Every answer may be about nobody any more when it is read:
//! who needs to be sure holds a pidfd that is older than the question.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::{SysconfVar, sysconf};

use crate::Moment;
use crate::moment::read;

/// A line of /proc/PID/stat, as far as it is needed; proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its name: at most 15 bytes, and whatever the process likes.
    pub name: String,
    /// R, S, D, T, t, Z, X...
    pub state: u8,
    /// Its parent of today, which may have adopted it.
    pub parent: i32,
    /// How many threads it has; a first thread that has ended before the others counts.
    pub threads: u32,
    /// When it began, in steps of 10 ms.
    pub start: Moment,
    /// How long after the boot that was, on a clock that goes on while the machine sleeps; in
    /// steps of 10 ms, rounded down.
    pub since_boot: Duration,
}

impl Stat {
    /// Whether it has ended and waits to be reaped.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Reads /proc/PID/stat; `None` if there is no such process or thread.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(line: &[u8]) -> Option<Stat> {
    // The name may hold anything, brackets and line ends too; what follows it is numbers.
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    // The 20th and the 22nd field of the line; the parent is the 4th.
    let threads = fields.nth(15)?.parse().ok()?;
    let ticks: u64 = fields.nth(1)?.parse().ok()?;
    let since_boot = since_boot(ticks);
    let start = Moment(since_boot.saturating_sub(slept()));
    let since_boot = Duration::from_nanos(since_boot);
    Some(Stat { name, state, parent, threads, start, since_boot })
}

/// Nanoseconds since boot that are this many ticks, on a clock that goes on while the machine
/// sleeps.
fn since_boot(ticks: u64) -> u64 {
    static TICKS: OnceLock<u64> = OnceLock::new();
    let a_second = *TICKS.get_or_init(|| {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1)
    });
    ticks.saturating_mul(1_000_000_000) / a_second
}

/// How long the machine has slept since it was booted. Rounded, because the two clocks are not
/// read at the same moment, and a start time must be the same each time it is asked for.
fn slept() -> u64 {
    const STEP: u64 = 10_000_000;
    let monotonic = read(ClockId::CLOCK_MONOTONIC);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(monotonic) / STEP * STEP
}

/// A line of /proc/ID/status, without its name: `Tgid`, `Uid` and so on.
pub(crate) fn status(id: i32, field: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{id}/status")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The process chooses the first line, its name, in which the kernel escapes line ends.
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// The process that a thread is of.
pub(crate) fn process_of(tid: i32) -> Option<i32> {
    status(tid, "Tgid")?.parse().ok()
}

/// Its real and its effective user id.
pub(crate) fn users(pid: i32) -> Option<(u32, u32)> {
    let line = status(pid, "Uid")?;
    let mut ids = line.split_ascii_whitespace().map(|id| id.parse().ok());
    Some((ids.next()??, ids.next()??))
}

/// Its executable; `None` without the right to see it, or if it has none any more.
pub(crate) fn executable(pid: i32) -> std::io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

/// Its arguments; none if it has ended or is a thread of the kernel's.
pub(crate) fn arguments(pid: i32) -> Vec<OsString> {
    let mut bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// Its cgroup in the unified hierarchy, as a path from that one's root.
pub(crate) fn cgroup(pid: i32) -> Option<PathBuf> {
    let bytes = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let line = bytes.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(std::ffi::OsStr::from_bytes(line).into())
}

/// The numbers in a directory of /proc: processes, or the threads of one (`self/task`).
pub(crate) fn numbers(folder: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{folder}")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_anything() {
        let rest = "S 42 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 0";
        let stat = parse(format!("7 (a) R 1 (\n) {rest}\n").as_bytes()).expect("a line");
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) R 1 (\n", b'S', 42));
        assert_eq!(stat.threads, 1);
        for bad in ["", "7", "7 (a)", "7 )a( S 1", "7 (a) S", "7 (a) S x", "7 (a) S 1 2 3"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn knows_us() {
        let pid = std::process::id().cast_signed();
        let stat = stat(pid).expect("our own");
        assert_eq!(stat.parent, nix::unistd::getppid().as_raw());
        assert!(!stat.ended());
        assert!(stat.start < Moment::now());
        assert_eq!(process_of(nix::unistd::gettid().as_raw()), Some(pid));
        let uid = nix::unistd::getuid().as_raw();
        assert_eq!(users(pid), Some((uid, uid)));
        assert_eq!(executable(pid).ok(), std::env::current_exe().ok());
        assert_eq!(arguments(pid), std::env::args_os().collect::<Vec<_>>());
        assert!(numbers("self/task").contains(&pid) && numbers("").contains(&pid));
        assert!(super::stat(0).is_none());
    }
}
