//! A tree that ignores SIGTERM, changes its session, forks twice and forks in a loop is gone when
//! it is to be, with a cgroup and without; nothing else is.
//!
//! The test itself contains nothing: a supervisor, which is a child of it, does, so that there can
//! be bystanders. Whatever belongs to a test has its number in its title, and ends by itself.

#[path = "runner.rs"]
mod runner;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, Uid, fork, geteuid, pipe, setsid, setuid};
use runner::eventually;
use supervise::contain::{Container, Left};
use supervise::{Child, Exit, Program, start};

/// A user that may make no cgroup.
const NOBODY: u32 = 65534;

pub fn main() -> ExitCode {
    let Some(role) = supervise::role() else {
        if !geteuid().is_root() {
            println!("not root: what needs a cgroup is tested only if ours may be written to");
        }
        return runner::run(&[
            ("everything_goes_with_a_cgroup", everything_goes_with_a_cgroup),
            ("everything_goes_without_a_cgroup", everything_goes_without_a_cgroup),
            ("everything_goes_without_privilege", everything_goes_without_privilege),
            ("says_what_is_left", says_what_is_left),
            ("tells_when_it_is_empty", tells_when_it_is_empty),
            ("does_not_need_to_reap", does_not_need_to_reap),
            ("what_the_dead_leave_is_removed", what_the_dead_leave_is_removed),
        ]);
    };
    let channel = supervise::inherited_channel().expect("channel");
    let (kind, mark) = role.rsplit_once(' ').expect("a mark");
    match kind {
        "contain: with a cgroup" => end_a_tree(&channel, mark, &Container::new("test")),
        "contain: subreaper" => end_a_tree(&channel, mark, &Container::subreaper()),
        "contain: nobody" => {
            if geteuid().is_root() {
                setuid(Uid::from_raw(NOBODY)).expect("setuid");
            }
            end_a_tree(&channel, mark, &Container::new("test"));
        }
        "contain: in no time" => in_no_time(&channel),
        "contain: asks" => asks(&channel),
        "contain: does not reap" => does_not(&channel),
        "contain: holds" => holds(&channel, mark),
        "contain: bystander" => {
            say(&channel, "here");
            assert_eq!(hear(&channel), None);
        }
        other => panic!("unknown role {other}"),
    }
    ExitCode::SUCCESS
}

// ---- The tree. All of it is gone after a minute, whatever happens.

/// Forks; the child does this and never returns.
fn spawn(task: impl FnOnce()) -> Pid {
    // SAFETY: the process has one thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            task();
            // SAFETY: ends the process, and runs nothing of what it shares with its parent.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Nothing happens until a moment comes.
fn rest(until: Instant) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        let _ = poll(&mut [], PollTimeout::from(millis));
    }
}

fn grow(until: Instant) {
    for deaf in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: no handler is installed.
        unsafe { signal(deaf, SigHandler::SigIgn) }.expect("signal");
    }
    spawn(|| {
        setsid().expect("setsid");
        rest(until);
    });
    // A daemon as of old.
    spawn(|| {
        setsid().expect("setsid");
        spawn(|| {
            spawn(|| rest(until));
        });
    });
    // One that is never long the same: each makes the next and ends.
    spawn(|| {
        while Instant::now() < until {
            // SAFETY: the process has one thread.
            if let Ok(ForkResult::Parent { .. }) = unsafe { fork() } {
                return;
            }
        }
    });
    // One that has twenty children and replaces whoever ends.
    spawn(|| {
        setsid().expect("setsid");
        for _ in 0..20 {
            spawn(|| rest(until));
        }
        while Instant::now() < until {
            waitpid(None, None).expect("children");
            spawn(|| rest(until));
        }
    });
    // And a deep one.
    deepen(12, until);
}

fn deepen(more: u32, until: Instant) {
    if more > 0 {
        spawn(|| deepen(more - 1, until));
    }
    rest(until);
}

/// The living processes whose title ends in this mark.
fn marked(mark: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(title) = fs::read(entry.path().join("cmdline")) else { continue };
        if title.split(|&byte| byte == 0).next().is_some_and(|t| t.ends_with(mark.as_bytes())) {
            found.push(pid);
        }
    }
    found
}

// ---- Supervisors.

/// Starts a tree in the container, held until it is in.
fn plant(container: &Container, task: impl FnOnce()) -> Pid {
    let (waits, go) = pipe().expect("pipe");
    let child = spawn(|| {
        assert_eq!(nix::unistd::read(&waits, &mut [0]), Ok(1));
        task();
    });
    container.place(child.as_raw()).expect("place");
    nix::unistd::write(&go, b"!").expect("go");
    child
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn end_a_tree(channel: &OwnedFd, mark: &str, container: &Container) {
    say(channel, container.describe());
    let until = Instant::now() + Duration::from_secs(60);
    plant(container, || grow(until));
    eventually("the tree has grown", || {
        reap();
        marked(mark).len() > 35
    });
    assert!(!container.is_empty().expect("is_empty"));
    let began = Instant::now();
    let left = container.kill_all(soon(), &mut reap).expect("kill_all");
    let took = began.elapsed();
    assert_eq!(left, Left::default(), "{left}");
    assert!(container.is_empty().expect("is_empty"));
    say(channel, &format!("{} us", took.as_micros()));
    // The container goes after this.
    assert_eq!(hear(channel).as_deref(), Some("end"));
}

fn in_no_time(channel: &OwnedFd) {
    let container = Container::new("test");
    let until = Instant::now() + Duration::from_secs(60);
    let child = plant(&container, || rest(until));
    let left = container.kill_all(Instant::now(), &mut || {}).expect("kill_all");
    // It had no time at all, so both is right; but nothing else.
    assert!(left.processes.len() < 2, "{left}");
    assert!(left.processes.iter().all(|(pid, _)| *pid == child.as_raw()), "{left}");
    let left = container.kill_all(soon(), &mut reap).expect("kill_all");
    assert!(left.is_empty(), "{left}");
    say(channel, "done");
}

fn asks(channel: &OwnedFd) {
    let container = Container::new("test");
    assert!(container.is_empty().expect("is_empty"));
    let until = Instant::now() + Duration::from_secs(60);
    let child = plant(&container, || rest(until));
    assert!(!container.is_empty().expect("is_empty"));
    kill(child, Signal::SIGKILL).expect("kill");
    if let Some(events) = container.events() {
        let mut fds = [PollFd::new(events, PollFlags::POLLPRI)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1), "no event");
    }
    eventually("it is empty", || container.is_empty().expect("is_empty"));
    // It says so though there is a zombie.
    waitpid(child, Some(WaitPidFlag::WNOHANG)).expect("still to be reaped");
    say(channel, "done");
}

fn does_not(channel: &OwnedFd) {
    for container in [Container::new("test"), Container::subreaper()] {
        let until = Instant::now() + Duration::from_secs(60);
        let child = plant(&container, || deepen(5, until));
        let left = container.kill_all(soon(), &mut || {}).expect("kill_all");
        assert!(left.is_empty(), "{left}");
        let ended = WaitStatus::Signaled(child, Signal::SIGKILL, false);
        assert_eq!(waitpid(child, None), Ok(ended), "its end is still there to be read");
        reap();
    }
    say(channel, "done");
}

fn holds(channel: &OwnedFd, mark: &str) {
    let container = Container::new(mark);
    say(channel, container.describe());
    let until = Instant::now() + Duration::from_secs(60);
    let child = match hear(channel).as_deref() {
        Some("fork") => plant(&container, || rest(until)).as_raw(),
        _ => 0,
    };
    say(channel, &child.to_string());
    assert_eq!(hear(channel), None);
}

// ---- The tests.

fn say(channel: &OwnedFd, text: &str) {
    send(channel.as_raw_fd(), text.as_bytes(), MsgFlags::MSG_NOSIGNAL).expect("send");
}

/// One message, or `None` at the end of the channel. Fails after thirty seconds.
fn hear(channel: &OwnedFd) -> Option<String> {
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(30_000u16)), Ok(1), "nothing to hear");
    let mut bytes = vec![0; 65536];
    let length = recv(channel.as_raw_fd(), &mut bytes, MsgFlags::empty()).expect("recv");
    (length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("m{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn begin(kind: &str, mark: &str) -> (Child, OwnedFd) {
    start(Program::Myself, &format!("contain: {kind} {mark}"), &[]).expect("start")
}

fn ends_well(mut child: Child) {
    let moment = Instant::now() + Duration::from_secs(20);
    let exit = child.wait_until(moment).expect("wait").expect("ends within twenty seconds");
    assert_eq!(exit, Exit::Exited(0));
}

/// The cgroup that a description names.
fn cgroup(description: &str) -> Option<PathBuf> {
    let path = description.strip_prefix("cgroup ")?.split(';').next()?;
    Some(path.into())
}

fn everything_goes(kind: &str) -> String {
    let mark = mark();
    let (bystander, bystanders) = begin("bystander", "other");
    assert_eq!(hear(&bystanders).as_deref(), Some("here"));
    let (supervisor, channel) = begin(kind, &mark);
    let description = hear(&channel).expect("a description");
    let took = hear(&channel).expect("how long it took");
    println!("{kind}: {took} ({description})");
    assert_eq!(marked(&mark), [supervisor.pid()], "the supervisor alone is left");
    if let Some(path) = cgroup(&description) {
        assert!(path.is_dir());
    }
    say(&channel, "end");
    ends_well(supervisor);
    assert!(marked(&mark).is_empty());
    if let Some(path) = cgroup(&description) {
        assert!(!path.exists(), "{} is left", path.display());
    }
    drop(bystanders);
    ends_well(bystander);
    description
}

fn everything_goes_with_a_cgroup() {
    let description = everything_goes("with a cgroup");
    // As another user it depends on who has made our own cgroup.
    if geteuid().is_root() {
        assert!(cgroup(&description).is_some(), "{description}");
        assert!(description.ends_with("; subreaper"), "{description}");
    }
}

fn everything_goes_without_a_cgroup() {
    assert_eq!(everything_goes("subreaper"), "subreaper; no cgroup: not asked for");
}

fn everything_goes_without_privilege() {
    let description = everything_goes("nobody");
    if geteuid().is_root() {
        assert!(description.starts_with("subreaper; no cgroup: mkdir /"), "{description}");
        assert!(description.contains("ermission denied"), "{description}");
    }
}

fn one_role(kind: &str) {
    let (child, channel) = begin(kind, &mark());
    assert_eq!(hear(&channel).as_deref(), Some("done"));
    ends_well(child);
}

fn says_what_is_left() {
    one_role("in no time");
}

fn tells_when_it_is_empty() {
    one_role("asks");
}

fn does_not_need_to_reap() {
    one_role("does not reap");
}

fn what_the_dead_leave_is_removed() {
    let name = mark();
    let hold = |fork: &str| {
        let (child, channel) = begin("holds", &name);
        let path = cgroup(&hear(&channel).expect("a description"));
        say(&channel, fork);
        let pid: i32 = hear(&channel).expect("a pid").parse().expect("a number");
        (child, channel, path, pid)
    };
    let die = |mut child: Child| {
        child.kill(libc::SIGKILL).expect("kill");
        let moment = Instant::now() + Duration::from_secs(10);
        child.wait_until(moment).expect("wait").expect("dies");
    };
    let (lives, _lives_channel, Some(lives_path), _) = hold("no") else {
        println!("no cgroups to be had here: nothing is tested");
        return;
    };
    let (dies, _dies_channel, Some(dies_path), _) = hold("no") else { panic!("a cgroup") };
    let (leaves, _leaves_channel, Some(leaves_path), orphan) = hold("fork") else {
        panic!("a cgroup")
    };
    die(dies);
    die(leaves);
    assert!(dies_path.exists() && leaves_path.exists(), "nobody was left to remove them");
    let (next, next_channel, next_path, _) = hold("no");
    assert!(!dies_path.exists(), "left by a dead one");
    assert!(lives_path.exists(), "it was empty, but its supervisor lives");
    assert!(leaves_path.exists(), "something is in it");
    kill(Pid::from_raw(orphan), None).expect("nobody has killed the orphan");
    kill(Pid::from_raw(orphan), Signal::SIGKILL).expect("kill");
    let procs = leaves_path.join("cgroup.procs");
    eventually("the orphan is gone", || fs::read_to_string(&procs).is_ok_and(|t| t.is_empty()));
    let (last, last_channel, last_path, _) = hold("no");
    assert!(!leaves_path.exists());
    drop((last_channel, next_channel));
    ends_well(last);
    ends_well(next);
    assert!(![next_path, last_path].into_iter().flatten().any(|path| path.exists()));
    die(lives);
    fs::remove_dir(lives_path).expect("rmdir");
}
