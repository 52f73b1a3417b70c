//! What server and monitor decide, apart from the system calls that tell them of the world: when
//! to take a call, to end, to send which signal. No clock, no file, no process is here.

use std::ffi::c_int;
use std::time::Duration;

use supervise::Exit;

use super::options::Options;

/// Whether another call may be taken while `running` ones have not ended.
pub(super) fn room(options: &Options, running: usize) -> bool {
    options.max_servers.is_none_or(|most| running < most.max(1))
}

/// How long a server may still wait that has had nothing to do for `idle`; `None`: without limit.
/// A server with calls running is not idle: a second one beside it would not know of them, and
/// the limit on them would hold for each alone.
pub(super) fn patience(options: &Options, running: usize, idle: Duration) -> Option<Duration> {
    let limit = options.idle_timeout.filter(|_| running == 0)?;
    Some(limit.saturating_sub(idle))
}

/// What is said in syslog of the way in which a monitor ended; `None`: nothing.
pub(super) fn complaint(pid: i32, wait_status: c_int) -> Option<String> {
    match Exit::from_wait_status(wait_status)? {
        Exit::Exited(0) | Exit::Signaled { signal: libc::SIGPIPE, .. } => None,
        other => Some(format!("monitor {pid} {other}")),
    }
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
}

/// Whether a file that is at `version` now was changed while the program was being started, so
/// that nobody knows what the program has read: after `started`, and not in the future, where the
/// clock that says so is wrong and every restart would find the same. (The kernel's times of files
/// go by ticks: a change shortly before the start may look like one after it, and costs a restart.)
pub(super) fn changed_at_start(
    version: Option<Version>,
    started: (i64, i64),
    now: (i64, i64),
) -> bool {
    version.is_some_and(|version| started <= version.modified && version.modified <= now)
}

/// The signals of a group of processes whose caller has gone away, and when each is due.
#[derive(Debug)]
pub(super) struct HangUp {
    grace: Duration,
    sent: u32,
}

/// What is sent, one after the other.
const SIGNALS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGKILL];

impl HangUp {
    pub(super) fn new(grace: Duration) -> HangUp {
        HangUp { grace, sent: 0 }
    }

    /// The signal to be sent when so much time has passed since the caller went away, if one is.
    pub(super) fn signal(&mut self, passed: Duration) -> Option<c_int> {
        if passed < self.due() {
            return None;
        }
        let signal = SIGNALS.get(self.sent as usize).copied();
        self.sent = self.sent.saturating_add(1);
        signal
    }

    /// When [`HangUp::signal`] has something new to say.
    pub(super) fn due(&self) -> Duration {
        self.grace.saturating_mul(self.sent)
    }

    /// Whether all has been done that can be.
    pub(super) fn over(&self) -> bool {
        self.sent as usize > SIGNALS.len()
    }

    /// Whether even those have been killed that ignore the other signals.
    pub(super) fn killed(&self) -> bool {
        self.sent as usize >= SIGNALS.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(max_servers: Option<usize>, idle: Option<u64>) -> Options {
        let idle_timeout = idle.map(Duration::from_secs);
        Options { max_servers, idle_timeout, ..Options::default() }
    }

    #[test]
    fn so_many_calls_run_at_once_and_at_least_one() {
        assert!(room(&options(Some(4), None), 3));
        assert!(!room(&options(Some(4), None), 4));
        assert!(room(&options(None, None), 1_000_000));
        assert!(room(&options(Some(0), None), 0));
        assert!(!room(&options(Some(0), None), 1));
    }

    #[test]
    fn only_a_server_without_calls_gets_tired() {
        let options = options(None, Some(10));
        let second = Duration::from_secs(1);
        assert_eq!(patience(&options, 0, second), Some(9 * second));
        assert_eq!(patience(&options, 0, 11 * second), Some(Duration::ZERO));
        assert_eq!(patience(&options, 1, 11 * second), None);
        assert_eq!(patience(&self::options(None, None), 0, second), None);
    }

    #[test]
    fn an_ordinary_end_of_a_monitor_is_not_worth_a_line() {
        assert_eq!(complaint(7, 0), None);
        assert_eq!(complaint(7, libc::SIGPIPE), None);
        assert_eq!(complaint(7, 1 << 8).as_deref(), Some("monitor 7 exited with code 1"));
        let segv = complaint(7, libc::SIGSEGV | 0x80);
        assert_eq!(segv.as_deref(), Some("monitor 7 killed by SIGSEGV (core dumped)"));
        assert_eq!(complaint(7, 0x7f | libc::SIGSTOP << 8), None);
    }

    #[test]
    fn a_file_changed_during_the_start_is_of_no_use() {
        let at = |modified| Some(Version { device: 1, inode: 2, size: 3, modified });
        let (start, now) = ((100, 500), (101, 0));
        assert!(!changed_at_start(at((100, 499)), start, now));
        assert!(changed_at_start(at((100, 500)), start, now));
        assert!(changed_at_start(at((101, 0)), start, now));
        assert!(!changed_at_start(at((101, 1)), start, now));
        assert!(!changed_at_start(None, start, now));
    }

    #[test]
    fn a_hang_up_gets_harder_and_ends() {
        let second = Duration::from_secs(1);
        let mut hang_up = HangUp::new(5 * second);
        assert_eq!(hang_up.signal(Duration::ZERO), Some(libc::SIGINT));
        assert_eq!(hang_up.signal(4 * second), None);
        assert_eq!(hang_up.due(), 5 * second);
        assert_eq!(hang_up.signal(5 * second), Some(libc::SIGTERM));
        assert!(!hang_up.killed());
        assert_eq!(hang_up.signal(12 * second), Some(libc::SIGKILL));
        assert!(hang_up.killed() && !hang_up.over());
        assert_eq!(hang_up.signal(15 * second), None);
        assert!(hang_up.over());
    }
}
