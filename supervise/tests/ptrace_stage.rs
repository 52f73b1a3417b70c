//! A traced command with a channel to it, and what a test does to processes.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use supervise::launch::{Command, Held, Inherited};
use supervise::reaper::Change;
use supervise::track::{Heard, Waiter};
use supervise::{Exit, Signals};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the command finds its end of the channel.
pub const CHANNEL: i32 = 7;

/// A traced command.
pub struct Stage {
    pub pid: i32,
    pub waiter: Waiter,
    pub heard: Heard,
    signals: Signals,
    channel: OwnedFd,
}

impl Stage {
    /// One of our own roles.
    pub fn start(role: &str, words: &[&str]) -> Stage {
        let role = format!("role:{role}");
        Stage::command(&[&["/proc/self/exe", role.as_str()], words].concat())
    }

    pub fn command(words: &[&str]) -> Stage {
        let (channel, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .expect("a channel");
        let held = hold(words, Some(theirs));
        // With a parent outside of its group, or SIGTSTP would do nothing: a test may have been
        // started by whom it pleased.
        let pid = nix::unistd::Pid::from_raw(held.pid());
        nix::unistd::setpgid(pid, pid).expect("a group of its own");
        let signals = Signals::open(&[libc::SIGCHLD]).expect("signals");
        let mut waiter = Waiter::default();
        let id = waiter.trace(held.pid()).expect("trace it");
        let pid = held.go().expect("go").pid();
        assert_eq!(id.pid, pid);
        Stage { pid, waiter, heard: Heard::default(), signals, channel }
    }

    /// Hears what there is, and waits a little for more. True if the channel has something.
    fn turn(&mut self) -> bool {
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.waiter.wakes().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        poll(&mut fds, PollTimeout::from(20u8)).expect("poll");
        let heard = fds[1].any().unwrap_or(false);
        while self.signals.read().expect("read signals").is_some() {}
        self.waiter.read(&mut self.heard).expect("reap");
        heard
    }

    pub fn until(&mut self, what: &str, condition: impl Fn(&Heard) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(&self.heard) {
            assert!(Instant::now() < until, "not in time: {what}: {:?}", self.heard);
            self.turn();
        }
    }

    pub fn until_then(&mut self, what: &str, condition: impl Fn() -> bool) {
        self.until(what, |_| condition());
    }

    pub fn until_then_do(&mut self, what: &str, mut step: impl FnMut(&Waiter) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !step(&self.waiter) || self.waiter.members().count() != 0 || !self.is_empty() {
            assert!(Instant::now() < until, "not in time: {what}: {:?}", self.heard);
            self.turn();
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self.heard.events.last(), Some(supervise::track::Event::Empty { .. }))
    }

    /// For so many milliseconds, whatever happens.
    pub fn serve(&mut self, millis: u64) {
        let until = Instant::now() + Duration::from_millis(millis);
        while Instant::now() < until {
            self.turn();
        }
    }

    pub fn serve_for_ever(&mut self) -> ! {
        loop {
            self.turn();
        }
    }

    /// How the command itself ended.
    pub fn end(&mut self) -> Exit {
        self.all_ended();
        let ends = ends(&self.heard, self.pid);
        assert!(ends.len() == 1 && ends[0].1, "{ends:?}");
        ends[0].0
    }

    /// Until nobody is left.
    pub fn all_ended(&mut self) -> &Heard {
        let pid = self.pid;
        self.until("its end", |heard| !ends(heard, pid).is_empty());
        self.until_then_do("the end of all", |_| true);
        &self.heard
    }

    /// The numbers it says when it is ready.
    pub fn ready(&mut self) -> Vec<i32> {
        let text = String::from_utf8(self.hear()).expect("text");
        text.split_ascii_whitespace().map(|word| word.parse().expect("a number")).collect()
    }

    pub fn hear(&mut self) -> Vec<u8> {
        let until = Instant::now() + PATIENCE;
        while !self.turn() {
            assert!(Instant::now() < until, "nothing to be heard: {:?}", self.heard);
        }
        let mut bytes = vec![0; 4096];
        let length = nix::unistd::read(&self.channel, &mut bytes).expect("read");
        bytes.truncate(length);
        bytes
    }

    pub fn say(&self, bytes: &[u8]) {
        nix::unistd::write(&self.channel, bytes).expect("write");
    }
}

/// Every end of this number that was heard of, and whether it was traced.
pub fn ends(heard: &Heard, pid: i32) -> Vec<(Exit, bool)> {
    let ends = heard.changes.iter().filter_map(|changed| match changed.change {
        Change::Ended(exit) if changed.pid == pid => Some((exit, changed.traced)),
        _ => None,
    });
    ends.collect()
}

/// A command that is held, with `channel` for it.
pub fn hold(words: &[&str], channel: Option<OwnedFd>) -> Held {
    // As they stood before the first test blocked any.
    static INHERITED: OnceLock<Inherited> = OnceLock::new();
    let inherited = INHERITED.get_or_init(|| Inherited::take().expect("how signals stand"));
    let command = Command {
        words: words.iter().map(Into::into).collect(),
        descriptors: channel.into_iter().map(|channel| (CHANNEL, channel)).collect(),
        ..Command::default()
    };
    command.hold(inherited).expect("hold it")
}

/// A tracer in a process of its own, and the processes of the role it traces.
pub fn tracer(role: &str) -> (i32, Vec<i32>) {
    let (ours, theirs) = nix::unistd::pipe().expect("a pipe");
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut stage = Stage::start(role, &[]);
        let pids: Vec<_> = stage.ready().iter().map(ToString::to_string).collect();
        nix::unistd::write(&theirs, pids.join(" ").as_bytes()).expect("write");
        stage.serve_for_ever();
    }
    drop(theirs);
    let mut bytes = [0; 4096];
    let length = nix::unistd::read(&ours, &mut bytes).expect("read");
    let text = std::str::from_utf8(&bytes[..length]).expect("text");
    (pid, text.split(' ').map(|word| word.parse().expect("a number")).collect())
}

/// Runs this in a process that is nobody's, and says whether it worked.
pub fn as_nobody(what: impl FnOnce() -> bool) -> bool {
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            nix::unistd::setgroups(&[]).expect("setgroups");
            let (uid, gid) = (65534.into(), 65534.into());
            nix::unistd::setresgid(gid, gid, gid).expect("setresgid");
            nix::unistd::setresuid(uid, uid, uid).expect("setresuid");
            // Who changes users is not to be looked into, until it says otherwise.
            // SAFETY: prctl with plain numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
            // SAFETY: as above.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
            what()
        }));
        std::process::exit(i32::from(!worked.unwrap_or(false)));
    }
    wait(pid) == 0
}

/// The whole wait status of a child's end.
fn wait(pid: i32) -> i32 {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live number for the kernel to fill.
        let waited = unsafe { libc::waitpid(pid, &mut status, libc::__WALL) };
        assert_eq!(waited, pid);
        if !libc::WIFSTOPPED(status) {
            return status;
        }
    }
}

pub fn reap(pid: i32) {
    wait(pid);
}

/// A child that we trace ourselves, the old way.
pub fn traced_by_us_already() -> i32 {
    // SAFETY: the child makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: system calls on plain numbers.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            libc::_exit(1);
        }
    }
    let mut status = 0;
    // SAFETY: `status` is a live number for the kernel to fill.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, libc::__WALL) }, pid);
    assert!(libc::WIFSTOPPED(status));
    pid
}

pub fn kill(pid: i32, signal: i32) {
    assert!(try_kill(pid, signal), "kill {pid}: {}", std::io::Error::last_os_error());
}

pub fn try_kill(pid: i32, signal: i32) -> bool {
    // SAFETY: a system call on plain numbers; callers name processes of their own.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Sends a signal whose siginfo_t says what we like.
pub fn queue(pid: i32, signal: i32, code: i32, claimed: i32) {
    // The beginning of a siginfo_t of rt_sigqueueinfo(2): number, errno, code, and then pid, uid.
    let mut info = [0i32; 32];
    (info[0], info[2], info[4], info[5]) = (signal, code, claimed, 0);
    // SAFETY: 128 bytes, as the kernel expects.
    let sent = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, info.as_ptr()) };
    assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
}

/// The state that /proc has of a process.
pub fn state(pid: i32) -> char {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    line.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

pub fn pidfd(pid: i32) -> OwnedFd {
    // SAFETY: a system call on two plain numbers, whose descriptor is ours alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(fd >= 0, "pidfd_open {pid}");
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// Whether this process has ended.
pub fn gone(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).expect("poll") == 1 && pidfd.as_raw_fd() >= 0
}

static SET_USER_ID: Mutex<Option<String>> = Mutex::new(None);

/// A program with the set-user-ID bit, of root's, that does nothing; until this is dropped.
pub struct SetUserId(String);

impl SetUserId {
    pub fn make() -> SetUserId {
        let path = format!("/var/tmp/supervise-ptrace-{}", std::process::id());
        std::fs::copy("/bin/true", &path).expect("copy /bin/true");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
        std::fs::set_permissions(&path, mode).expect("chmod");
        *SET_USER_ID.lock().expect("lock") = Some(path.clone());
        SetUserId(path)
    }
}

impl Drop for SetUserId {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn set_user_id() -> Option<String> {
    SET_USER_ID.lock().expect("lock").clone()
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
static KEPT: AtomicBool = AtomicBool::new(false);

struct Keep;

impl log::Log for Keep {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.lock().expect("lock").push(record.args().to_string());
    }

    fn flush(&self) {}
}

pub fn keep_log() {
    if !KEPT.swap(true, Ordering::Relaxed) {
        log::set_logger(&Keep).expect("the only one");
        log::set_max_level(log::LevelFilter::Info);
    }
}

pub fn logged() -> Vec<String> {
    LOG.lock().expect("lock").clone()
}
