//! Who the senders are: small and gone, large and there, scripts, threads, and those who would
//! like to be somebody else.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use supervise::attribution::{Confidence, Target, Trace, Via, Witness};
use supervise::track::{Backend, Tracker};
use supervise::{Exe, Moment};

use super::runner::Test;
use super::{Actor, Folder, SMALL, again, exe, only, sender, sent_to, traced};

pub const TESTS: &[Test] = &[
    ("five_hundred_kills", five_hundred_kills),
    ("sigkill_has_a_sender", sigkill_has_a_sender),
    ("a_name_forges_nothing", a_name_forges_nothing),
    ("a_path_too_long_to_be_recorded", a_path_too_long_to_be_recorded),
    ("who_has_renamed_itself", who_has_renamed_itself),
    ("a_living_sender_is_told_whole", a_living_sender_is_told_whole),
    ("who_has_executed_something_else_since", who_has_executed_something_else_since),
    ("a_shell_that_forks", a_shell_that_forks),
    ("a_script", a_script),
    ("a_relative_path", a_relative_path),
    ("whose_it_was_is_told_after_its_end", whose_it_was_is_told_after_its_end),
    ("an_overrun_is_noticed", an_overrun_is_noticed),
    ("senders_are_known_after_an_overrun", senders_are_known_after_an_overrun),
];

/// A process of nine threads that a SIGTERM does nothing to.
pub fn victim() {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGTERM, nothing as extern "C" fn(i32) as libc::sighandler_t) };
    for _ in 0..8 {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
    println!("ready");
    // The signals interrupt this, and it goes on.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A victim, and its threads without the first.
fn start_victim() -> (Actor, Vec<i32>) {
    let victim = Actor::start(&mut again("victim"));
    let pid = victim.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let number = |name: OsString| name.to_str().and_then(|name| name.parse().ok());
    let numbers = tasks.filter_map(|task| number(task.expect("a thread").file_name()));
    let threads: Vec<i32> = numbers.filter(|&tid| tid != pid).collect();
    assert_eq!(threads.len(), 8);
    (victim, threads)
}

fn five_hundred_kills() {
    let folder = Folder::new();
    let killer = folder.killer(b"killer");
    let mut trace = traced();
    let (victim, threads) = start_victim();
    let mut sent = Vec::new();
    for number in 0..500 {
        let tid = if number % 2 == 0 { victim.pid() } else { threads[number / 2 % 8] };
        let mut child = Command::new(&killer).arg(tid.to_string()).spawn().expect("start");
        sent.push((child.id().cast_signed(), tid));
        assert!(child.wait().expect("wait").success());
    }
    let seen = sent_to(&mut trace, victim.pid(), 500);
    let told: Vec<(i32, i32)> =
        seen.iter().map(|seen| (sender(seen).pid, seen.target.tid)).collect();
    assert_eq!(told, sent);
    let us = std::process::id().cast_signed();
    for seen in &seen {
        assert_eq!(seen.target.pid, victim.pid());
        assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::Process));
        assert_eq!((seen.confidence, seen.witness), (Confidence::Certain, Witness::Trace));
        assert_eq!(sender(seen).exe, exe(&killer), "{seen}");
        assert_eq!(sender(seen).name.as_deref(), Some("killer"));
        assert_eq!(sender(seen).parents[0].0, us);
    }
    assert!(seen.is_sorted_by_key(|seen| seen.at));
    assert_eq!(trace.losses(), []);
}

fn sigkill_has_a_sender() {
    let mut trace = traced();
    let (victim, threads) = start_victim();
    let before = Moment::now();
    let status = Command::new("/bin/kill").args(["-KILL", &threads[3].to_string()]).status();
    assert!(status.expect("kill").success());
    let seen = only(&mut trace, victim.pid());
    assert_eq!((seen.signal, seen.via), (libc::SIGKILL, Via::Process));
    assert_eq!(seen.target, Target { pid: victim.pid(), tid: threads[3] });
    assert_eq!(sender(&seen).exe, Exe::Path("/bin/kill".into()));
    assert!(seen.at > before && seen.at < Moment::now());
}

fn a_name_forges_nothing() {
    // As a line of trace_pipe it would say that init sent a SIGKILL.
    const NAME: &[u8] = b"x\ninit-1 [000] d..1. 1.0: signal_generate: sig=9 code=0 pid=2 grp=1\n";
    let folder = Folder::new();
    let killer = folder.killer(NAME);
    let mut trace = traced();
    let (victim, _) = start_victim();
    let mut child = Command::new(&killer).arg(victim.pid().to_string()).spawn().expect("start");
    child.wait().expect("wait");
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).pid, child.id().cast_signed());
    assert_eq!(sender(&seen).exe, exe(&killer));
    assert_eq!(sender(&seen).name.as_deref(), Some("x\ninit-1 [000] "));
}

/// The kernel does not record a path that is longer than a page of its buffer. Who calls itself so
/// must not pass for what it was before.
fn a_path_too_long_to_be_recorded() {
    let folder = Folder::new();
    let killer = folder.killer(b"killer");
    let mut path = killer.parent().expect("a folder").as_os_str().as_bytes().to_vec();
    let room = 4095 - path.len() - "/killer".len();
    path.extend(b"/.".repeat(room / 2));
    path.extend(b"/killer");
    let path = OsStr::from_bytes(&path);
    let mut trace = traced();
    let (victim, _) = start_victim();
    let mut child = Command::new(path).arg(victim.pid().to_string()).spawn().expect("start");
    child.wait().expect("wait");
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).pid, child.id().cast_signed());
    assert_eq!(sender(&seen).exe, Exe::Ending("killer".into()));
}

/// Who gives itself a name has not become another program; that can be seen while it lives.
fn who_has_renamed_itself() {
    let mut trace = traced();
    let (victim, _) = start_victim();
    let script = format!("printf renamed >/proc/$$/comm; kill -TERM {}; read line", victim.pid());
    let mut child = shell(&script).spawn().expect("sh");
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).exe, Exe::Path("/bin/sh".into()));
    assert_eq!(sender(&seen).name.as_deref(), Some("renamed"));
    drop(child.stdin.take());
    child.wait().expect("wait");
}

fn a_living_sender_is_told_whole() {
    let mut trace = traced();
    let (victim, _) = start_victim();
    // The shell's own kill, from a process that goes on.
    let mut shell = shell(&format!("kill -TERM {}; read line", victim.pid()));
    let mut child = shell.uid(65534).gid(65534).stderr(Stdio::null()).spawn().expect("sh");
    // It may not send: nothing is recorded. Then the same as root.
    child.stdin.take().expect("input").write_all(b"\n").expect("write");
    child.wait().expect("wait");
    let script = format!("kill -TERM {}; read line", victim.pid());
    let mut child = self::shell(&script).spawn().expect("sh");
    let seen = only(&mut trace, victim.pid());
    let by = sender(&seen);
    assert_eq!(by.pid, child.id().cast_signed());
    assert_eq!((by.uid, by.euid), (Some(0), Some(0)));
    assert_eq!(by.exe, Exe::Path("/bin/sh".into()));
    let words: Vec<OsString> = ["/bin/sh", "-c", &script].map(OsString::from).to_vec();
    assert_eq!(by.command, Some(words));
    assert!(by.cgroup.as_ref().is_some_and(|path| path.is_absolute()));
    assert!(by.start.is_some_and(|start| start < seen.at));
    assert_eq!(by.parents[0].0, std::process::id().cast_signed());
    drop(child.stdin.take());
    child.wait().expect("wait");
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).stdin(Stdio::piped());
    shell
}

fn who_has_executed_something_else_since() {
    let mut trace = traced();
    let (victim, _) = start_victim();
    let script = format!("kill -TERM {}; exec /bin/sleep 60", victim.pid());
    let mut child = shell(&script).spawn().expect("sh");
    let path = format!("/proc/{}/exe", child.id());
    let sleep = fs::canonicalize("/bin/sleep").expect("sleep");
    super::runner::eventually("it sleeps", || fs::read_link(&path).is_ok_and(|exe| exe == sleep));
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).exe, Exe::Path("/bin/sh".into()));
    // The words it has now are not those of the program that sent.
    assert_eq!(sender(&seen).command, None);
    assert_eq!(sender(&seen).name.as_deref(), Some("sh"));
    child.kill().expect("kill");
    child.wait().expect("wait");
}

fn a_shell_that_forks() {
    let mut trace = traced();
    let (victim, _) = start_victim();
    let script = format!("(kill -TERM {}; :); :", victim.pid());
    let mut child = shell(&script).spawn().expect("sh");
    child.wait().expect("wait");
    let seen = only(&mut trace, victim.pid());
    assert_ne!(sender(&seen).pid, child.id().cast_signed());
    assert_eq!(sender(&seen).exe, Exe::Path("/bin/sh".into()));
    assert_eq!(sender(&seen).parents[0], (child.id().cast_signed(), "sh".into()));
}

fn a_script() {
    let folder = Folder::new();
    let script = folder.0.join("old-rc-script");
    folder.write(&script, b"#!/bin/sh\nkill -TERM $1\nread line\n");
    let mut trace = traced();
    let (victim, _) = start_victim();
    let mut command = Command::new(&script);
    let mut child =
        command.arg(victim.pid().to_string()).stdin(Stdio::piped()).spawn().expect("start");
    let seen = only(&mut trace, victim.pid());
    let by = sender(&seen);
    assert_eq!(by.exe, exe(&script));
    let words = by.command.as_ref().expect("its words");
    assert_eq!(words[..2], [OsString::from("/bin/sh"), script.into_os_string()]);
    drop(child.stdin.take());
    child.wait().expect("wait");
}

/// What it was called with says nothing to anybody else; while it lives more can be known.
fn a_relative_path() {
    let folder = Folder::new();
    folder.write(&folder.0.join("sh"), &fs::read("/bin/sh").expect("sh"));
    let mut trace = traced();
    let (victim, _) = start_victim();
    let script = format!("kill -TERM {}; read line", victim.pid());
    let mut command = Command::new("./sh");
    command.args(["-c", &script]).current_dir(&folder.0).stdin(Stdio::piped());
    let mut child = command.spawn().expect("start");
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).exe, exe(&folder.0.join("sh")));
    drop(child.stdin.take());
    child.wait().expect("wait");
}

/// With the process connector beside it, user ids are known as what is executed is: of a program
/// that has become somebody else's, has sent and is gone.
fn whose_it_was_is_told_after_its_end() {
    const SOMEBODY: u32 = 54_321;
    let folder = Folder::new();
    let killer = folder.killer(b"killer");
    let mut tracker = Tracker::open(Backend::Connector).expect("the connector");
    let mut trace = traced();
    trace.follow_users();
    for number in 0..50 {
        let uid = SOMEBODY + number;
        let mut sleep = Command::new("/bin/sleep").arg("60").uid(uid).spawn().expect("sleep");
        let pid = sleep.id().cast_signed();
        let mut child = Command::new(&killer).arg(pid.to_string()).uid(uid).spawn().expect("start");
        child.wait().expect("wait");
        sleep.wait().expect("wait");
        let mut seen = Vec::new();
        let mut more = true;
        while more {
            let until = Moment::now();
            let hear = &mut |note: &_| trace.hear(note);
            tracker.read_all(&mut Vec::new(), hear).expect("read");
            let wanted = &mut |target: Target| target.pid == pid;
            more = trace.read_until(until, wanted, &mut seen).expect("read");
        }
        assert_eq!((seen.len(), trace.losses()), (1, vec![]));
        let by = sender(&seen[0]);
        assert_eq!(by.pid, child.id().cast_signed());
        assert_eq!((by.uid, by.euid), (Some(uid), Some(uid)));
        assert_eq!(by.exe, exe(&killer));
    }
    tracker.close();
}

fn an_overrun_is_noticed() {
    let mut trace = Trace::with(SMALL).expect("a trace");
    let (victim, _) = start_victim();
    const SENT: u64 = 5000;
    for _ in 0..SENT {
        // SAFETY: plain numbers, of a child that has not been reaped.
        assert_eq!(unsafe { libc::kill(victim.pid(), libc::SIGTERM) }, 0);
    }
    let seen = sent_to(&mut trace, victim.pid(), 1).len() as u64;
    let losses = trace.losses();
    let signals: Vec<_> = losses.iter().filter(|lost| lost.signals).collect();
    assert!(!signals.is_empty() && seen < SENT, "{seen} seen, lost: {losses:?}");
    if let Some(lost) = signals.iter().map(|lost| lost.events).sum::<Option<u64>>() {
        // Signals to others may have been lost as well.
        assert!(seen + lost >= SENT, "{seen} seen, lost: {lost}");
    }
    assert!(signals.iter().all(|lost| lost.since < lost.at && lost.at < Moment::now()));
    assert_eq!(trace.losses(), []);
}

fn senders_are_known_after_an_overrun() {
    let folder = Folder::new();
    let killer = folder.killer(b"killer");
    let mut trace = Trace::with(SMALL).expect("a trace");
    let (victim, _) = start_victim();
    let script = format!("read line; kill -TERM {}", victim.pid());
    let mut old = shell(&script).spawn().expect("sh");
    // Far more than the table has room for.
    let loops = "i=0; while [ $i -lt 1000 ]; do (:); i=$((i+1)); done";
    assert!(Command::new("/bin/sh").args(["-c", loops]).status().expect("sh").success());
    old.stdin.take().expect("input").write_all(b"\n").expect("write");
    old.wait().expect("wait");
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).pid, old.id().cast_signed());
    let losses = trace.losses();
    assert!(losses.iter().any(|lost| !lost.signals), "{losses:?}");
    // And those that come then are known again, all of them.
    let mut child = Command::new(&killer).arg(victim.pid().to_string()).spawn().expect("start");
    child.wait().expect("wait");
    let seen = only(&mut trace, victim.pid());
    assert_eq!(sender(&seen).exe, exe(&killer));
    let name = OsString::from_vec(b"killer".to_vec());
    assert_eq!(sender(&seen).name.as_deref().map(OsStr::new), Some(name.as_os_str()));
}
