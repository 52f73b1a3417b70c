//! Real processes: what a child is given, how its end and its killers are seen, and that nothing
//! is left when a parent stops or dies.

#[path = "runner.rs"]
mod runner;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use runner::eventually;
use supervise::{Child, Exe, Exit, Origin, Program, Sender, Signals, start, stop};

pub fn main() -> ExitCode {
    let Some(role) = supervise::role() else {
        return runner::run(&[
            ("holds_nothing_but_its_own", holds_nothing_but_its_own),
            ("has_its_title", has_its_title),
            ("environment_is_emptied", environment_is_emptied),
            ("signals_stand_as_at_boot", signals_stand_as_at_boot),
            ("code_and_signal_differ", code_and_signal_differ),
            ("missing_program_is_an_error", missing_program_is_an_error),
            ("what_cannot_be_executed_is_an_error", what_cannot_be_executed_is_an_error),
            ("title_must_be_one", title_must_be_one),
            ("killed_parent_is_eof", killed_parent_is_eof),
            ("signals_say_who", signals_say_who),
            ("stop_is_ordered", stop_is_ordered),
            ("dropped_child_is_killed", dropped_child_is_killed),
            ("no_descriptor_leaks", no_descriptor_leaks),
        ]);
    };
    // Some of these are hard to end: should a test fail, this does it.
    // SAFETY: a number.
    unsafe { libc::alarm(60) };
    let channel = supervise::inherited_channel().expect("channel");
    assert!(supervise::inherited_channel().is_err(), "the channel can be taken only once");
    match role.as_str() {
        "life: waits for eof" => {
            say(&channel, "ready");
            assert_eq!(hear(&channel), None);
            ExitCode::SUCCESS
        }
        "life: reports" => report(&channel),
        "life: exits 143" => ExitCode::from(143),
        "life: deaf" => {
            let _signals = Signals::open(&[libc::SIGTERM]).expect("block");
            say(&channel, "ready");
            loop {
                std::thread::park();
            }
        }
        "life: ignores eof" => {
            say(&channel, "ready");
            loop {
                std::thread::park();
            }
        }
        "life: parent" => parent(&channel),
        other => panic!("unknown role {other}"),
    }
}

fn say(channel: &OwnedFd, text: &str) {
    send(channel.as_raw_fd(), text.as_bytes(), MsgFlags::MSG_NOSIGNAL).expect("send");
}

/// One message, or `None` at the end of the channel. Fails after ten seconds.
fn hear(channel: &OwnedFd) -> Option<String> {
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1), "nothing to hear");
    let mut bytes = vec![0; 65536];
    let length = recv(channel.as_raw_fd(), &mut bytes, MsgFlags::empty()).expect("recv");
    (length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn begin(title: &str) -> (Child, OwnedFd) {
    start(Program::Myself, title, &[]).expect("start")
}

fn end(mut child: Child) -> Exit {
    let moment = Instant::now() + Duration::from_secs(10);
    child.wait_until(moment).expect("wait").expect("ends within ten seconds")
}

/// The child tells all about itself, a `name=value` a line.
fn report(channel: &OwnedFd) -> ExitCode {
    let mut text = String::new();
    for entry in fs::read_dir("/proc/self/fd").expect("fds") {
        let entry = entry.expect("entry");
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        // The descriptor this very listing goes through is not one it was given.
        if !target.ends_with("fd") {
            let number = entry.file_name().into_string().expect("a number");
            text += &format!("fd{number}={}\n", target.display());
        }
    }
    for (name, value) in std::env::vars() {
        text += &format!("env.{name}={value}\n");
    }
    text += &format!("cmdline={:?}\n", fs::read_to_string("/proc/self/cmdline").expect("cmdline"));
    text += &format!("comm={}", fs::read_to_string("/proc/self/comm").expect("comm"));
    let status = fs::read_to_string("/proc/self/status").expect("status");
    for line in status.lines().filter(|line| line.starts_with("Sig")) {
        text += &format!("{}\n", line.replace(":\t", "="));
    }
    text += &format!("leader={}\n", nix::unistd::getsid(None).ok() == Some(nix::unistd::getpid()));
    say(channel, &text);
    ExitCode::SUCCESS
}

fn reported(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let (child, channel) = start(Program::Myself, "life: reports", extra).expect("start");
    let text = hear(&channel).expect("a report");
    assert_eq!(end(child), Exit::Exited(0));
    text.lines()
        .map(|line| line.split_once('=').expect("name=value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn holds_nothing_but_its_own() {
    // Things that would leak: without close-on-exec, low and high.
    let leak = fs::File::open("/proc/self/status").expect("open");
    let mut copies = Vec::new();
    for low in [3, 5, 40, 300] {
        // SAFETY: F_DUPFD on an open descriptor gives a new one that is ours to close.
        let copy = unsafe { libc::fcntl(leak.as_raw_fd(), libc::F_DUPFD, low) };
        assert!(copy >= 0);
        copies.push(copy);
    }
    let report = reported(&[]);
    for copy in copies {
        // SAFETY: the copies made above, closed once.
        unsafe { libc::close(copy) };
    }
    let fds: Vec<_> = report.keys().filter(|name| name.starts_with("fd")).collect();
    assert_eq!(fds, ["fd0", "fd1", "fd2", "fd3"], "{report:?}");
    assert_eq!(report["fd0"], "/dev/null");
    assert!(report["fd3"].starts_with("socket:"));
    assert_eq!(report["leader"], "true");
}

fn has_its_title() {
    let report = reported(&[]);
    assert_eq!(report["cmdline"], "\"life: reports\\0\"");
    assert_eq!(report["comm"], "life: reports");
}

fn environment_is_emptied() {
    let report = reported(&[("COLOUR", "blue=green")]);
    let names: Vec<_> = report.keys().filter(|name| name.starts_with("env.")).collect();
    let kept = std::env::var("RUST_BACKTRACE").is_ok();
    if kept {
        assert_eq!(names, ["env.COLOUR", "env.RUST_BACKTRACE"]);
    } else {
        assert_eq!(names, ["env.COLOUR"]);
    }
    assert_eq!(report["env.COLOUR"], "blue=green");
    assert!(std::env::var("PATH").is_ok(), "or this test shows nothing");
}

fn signals_stand_as_at_boot() {
    let _blocked = Signals::open(&[libc::SIGUSR2]).expect("block");
    // SAFETY: ignoring a signal that nobody sends.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    let report = reported(&[]);
    assert_eq!(report["SigBlk"], "0000000000000000");
    // Only what a Rust program ignores by itself. (32 and 33 are the C library's own, which it
    // lets nobody set.)
    let ignored = u64::from_str_radix(&report["SigIgn"], 16).expect("a mask");
    assert_eq!(ignored & !(3 << 31), 1 << (libc::SIGPIPE - 1));
}

fn code_and_signal_differ() {
    let (child, _channel) = begin("life: exits 143");
    let code = end(child);
    let (child, channel) = begin("life: waits for eof");
    assert_eq!(hear(&channel).as_deref(), Some("ready"));
    child.kill(libc::SIGTERM).expect("kill");
    let signal = end(child);
    assert_eq!(code, Exit::Exited(143));
    assert_eq!(signal, Exit::Signaled { signal: libc::SIGTERM, core: false });
    assert_ne!(code.to_string(), signal.to_string());
}

fn missing_program_is_an_error() {
    let error = start(Program::Sibling("no-such-helper"), "life: none", &[]).expect_err("missing");
    assert!(error.to_string().starts_with("no-such-helper: neither "), "{error}");
}

/// execve itself fails, in the child, when everything else is in its place.
fn what_cannot_be_executed_is_an_error() {
    let own = std::env::current_exe().expect("our own executable");
    let name: &str = Box::leak(format!("no-program-{}", std::process::id()).into_boxed_str());
    let path = own.with_file_name(name);
    let attempt = || start(Program::Sibling(name), "life: none", &[]).map(drop);
    for (mode, why) in [(0o644, "Permission denied"), (0o755, "Exec format error")] {
        fs::write(&path, "no program").expect("write");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&path, mode).expect("chmod");
        let text = attempt().expect_err("not a program").to_string();
        let begin = format!("start {}: {why}", path.display());
        assert!(text.starts_with(&begin), "{text}");
    }
    fs::remove_file(&path).expect("clean up");
}

fn title_must_be_one() {
    assert!(start(Program::Myself, "life", &[]).is_err());
    assert!(start(Program::Myself, "life: zero\0", &[]).is_err());
    assert!(start(Program::Myself, "life: x", &[("A", "b\0")]).is_err());
}

/// A parent in a process of its own: it starts a child, tells who, and waits to be killed.
fn parent(channel: &OwnedFd) -> ExitCode {
    let (child, below) = begin("life: waits for eof");
    assert_eq!(hear(&below).as_deref(), Some("ready"));
    say(channel, &child.pid().to_string());
    loop {
        std::thread::park();
    }
}

fn killed_parent_is_eof() {
    // Orphans come to us, so that their end can be seen.
    // SAFETY: prctl with plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    let (parent, channel) = begin("life: parent");
    let grandchild: i32 = hear(&channel).expect("a pid").parse().expect("a number");
    parent.kill(libc::SIGKILL).expect("kill");
    assert_eq!(end(parent), Exit::Signaled { signal: libc::SIGKILL, core: false });
    let grandchild = nix::unistd::Pid::from_raw(grandchild);
    let mut status = None;
    eventually("the grandchild ends", || {
        use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
        match waitpid(grandchild, Some(WaitPidFlag::WNOHANG)).expect("ours now") {
            WaitStatus::StillAlive => false,
            ended => {
                status = Some(ended);
                true
            }
        }
    });
    assert_eq!(status, Some(nix::sys::wait::WaitStatus::Exited(grandchild, 0)));
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) };
}

fn signals_say_who() {
    let signals = Signals::open(&[libc::SIGTERM, libc::SIGHUP]).expect("open");
    assert_eq!(signals.read().expect("read"), None);

    // Ourselves: certainly still there, so that the executable must be known.
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).expect("raise");
    let signal = signals.read().expect("read").expect("a signal");
    let exe = Exe::Path(fs::read_link("/proc/self/exe").expect("exe"));
    let pid = std::process::id().cast_signed();
    let uid = nix::unistd::getuid().as_raw();
    assert_eq!(signal.number, libc::SIGHUP);
    let text = signal.to_string();
    assert!(text.starts_with(&format!("SIGHUP from pid {pid} (uid {uid}, {exe}: ")), "{text}");
    let sender = by(signal);
    assert_eq!((sender.pid, sender.uid, sender.euid), (pid, Some(uid), Some(uid)));
    assert_eq!(sender.exe, exe);
    assert_eq!(sender.command, Some(std::env::args_os().collect()));
    assert!(sender.start.is_some_and(|start| start < supervise::Moment::now()));

    // Another one, held alive on its standard input until we have looked.
    let mut other = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("kill -TERM {pid}; read x")])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sh");
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1), "no signal came");
    let signal = signals.read().expect("read").expect("a signal");
    let exe = Exe::Path(fs::canonicalize("/bin/sh").expect("a path"));
    assert_eq!(signal.number, libc::SIGTERM);
    let other_pid = other.id().cast_signed();
    let sender = by(signal);
    assert_eq!((sender.pid, sender.uid), (other_pid, Some(uid)));
    assert_eq!(sender.exe, exe);
    assert_eq!(sender.name.as_deref(), Some("sh"));
    assert_eq!(sender.parents.first().map(|(parent, _)| *parent), Some(pid));
    drop(other.stdin.take());
    other.wait().expect("sh ends");

    // One that has been reaped before we look.
    let mut gone = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("kill -TERM {pid}")])
        .spawn()
        .expect("sh");
    let gone_pid = gone.id().cast_signed();
    gone.wait().expect("sh ends");
    let signal = signals.read().expect("read").expect("a signal");
    assert_eq!(*by(signal), Sender { uid: Some(uid), ..Sender::of(gone_pid) });
    assert_eq!(signals.read().expect("read"), None);
}

fn by(signal: supervise::Signal) -> Box<Sender> {
    match signal.origin {
        Origin::Process(sender) => sender,
        other => panic!("{other:?}"),
    }
}

fn stop_is_ordered() {
    let mut channels = Vec::new();
    let mut children = Vec::new();
    for title in ["life: waits for eof", "life: ignores eof", "life: deaf"] {
        let (child, channel) = begin(title);
        assert_eq!(hear(&channel).as_deref(), Some("ready"));
        channels.push(channel);
        children.push(child);
    }
    let began = Instant::now();
    let patience = Duration::from_millis(300);
    let mut ended = stop(channels, children, patience);
    let took = began.elapsed();
    ended.sort_by(|a, b| a.title.cmp(&b.title));
    let seen: Vec<_> = ended.iter().map(|e| (e.title.as_str(), e.exit, e.needed)).collect();
    let killed = |signal| Some(Exit::Signaled { signal, core: false });
    assert_eq!(
        seen,
        [
            ("life: deaf", killed(libc::SIGKILL), Some(libc::SIGKILL)),
            ("life: ignores eof", killed(libc::SIGTERM), Some(libc::SIGTERM)),
            ("life: waits for eof", Some(Exit::Exited(0)), None),
        ]
    );
    assert!(took >= 2 * patience && took < 3 * patience + Duration::from_secs(1), "{took:?}");
    for one in &ended {
        // SAFETY: signal 0 only asks.
        assert_eq!(unsafe { libc::kill(one.pid, 0) }, -1, "{} is left", one.title);
    }
}

fn dropped_child_is_killed() {
    let (child, channel) = begin("life: deaf");
    assert_eq!(hear(&channel).as_deref(), Some("ready"));
    let pid = child.pid();
    drop(child);
    // SAFETY: signal 0 only asks.
    assert_eq!(unsafe { libc::kill(pid, 0) }, -1);
    assert_eq!(hear(&channel), None);
}

fn no_descriptor_leaks() {
    let count = || fs::read_dir("/proc/self/fd").expect("fds").count();
    let before = count();
    for _ in 0..50 {
        let (child, channel) = begin("life: exits 143");
        assert_eq!(end(child), Exit::Exited(143));
        drop(channel);
        assert!(start(Program::Sibling("no-such-helper"), "life: none", &[]).is_err());
    }
    assert_eq!(count(), before);
}
