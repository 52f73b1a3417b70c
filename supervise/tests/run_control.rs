//! The control socket of supervise(8): who is there, and that what is asked hits the right one.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

#[path = "run/kit.rs"]
mod kit;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::Child;

use kit::{Ended, Folder, alive, children, end, kill, name, run, sockets, supervise, until};

/// One of this name whose command runs.
fn start(name: &str, words: &[&str]) -> Child {
    let child = supervise(&[&["-n", name][..], words].concat()).spawn().expect("start");
    until("it answers", || run(&["status", name]).status.success().then_some(()));
    child
}

fn status(name: &str) -> serde_json::Value {
    let ended = run(&["status", "--json", name]);
    assert_eq!(ended.code(), Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).expect("JSON")
}

fn stop(name: &str) -> Ended {
    run(&["stop", name])
}

#[test]
fn stop_ends_it_and_returns_when_it_is_gone() {
    let name = name("stop");
    let child = start(&name, &["--", "sleep", "1000"]);
    let pid = child.id();
    assert_eq!(stop(&name).code(), Some(0));
    assert!(!alive(pid));
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGTERM));
    assert!(ended.err.contains(&format!("supervise stop {name}")), "{}", ended.err);
    assert!(!sockets().join(&name).exists(), "the socket is gone");
    assert_eq!(stop(&name).code(), Some(3), "nobody is there any more");
}

#[test]
fn stop_that_takes_too_long_says_so() {
    let name = name("slow");
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let child = start(&name, &["--", "sh", "-c", script]);
    let slow = run(&["stop", "--wait", "0.2", &name]);
    assert_eq!(slow.code(), Some(1));
    assert!(slow.err.contains("still runs 0.2 s after SIGTERM"), "{}", slow.err);
    let killed = run(&["signal", &name, "KILL"]);
    assert_eq!(killed.code(), Some(0), "{}", killed.err);
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGKILL));
    assert!(ended.err.contains("by a request to supervise from pid"), "{}", ended.err);
}

#[test]
fn status_tells_how_it_is() {
    let name = name("status");
    let child = start(&name, &["--", "sh", "-c", "sleep 1000 & wait"]);
    let told = until("two members", || {
        let told = status(&name);
        (told["members"].as_array().map(Vec::len) == Some(2)).then_some(told)
    });
    assert_eq!(told["supervisor"], child.id());
    assert_eq!(told["pid"], children(child.id())[0]);
    assert_eq!(told["state"], "running");
    assert_eq!(told["ready"], true);
    assert_eq!(told["restarts"], 0);
    assert_eq!(told["last_end"], serde_json::Value::Null);
    let text = run(&["status", &name]).out;
    assert!(text.starts_with(&format!("{name}: running, pid ")), "{text}");
    assert!(text.contains("command     sh -c 'sleep 1000 & wait'"), "{text}");
    assert_eq!(stop(&name).code(), Some(0));
    end(child);
}

#[test]
fn restart_makes_another_one() {
    let name = name("restart");
    let child = start(&name, &["--", "sleep", "1000"]);
    let before = status(&name)["pid"].clone();
    let ended = run(&["restart", &name]);
    assert_eq!(ended.code(), Some(0), "{}", ended.err);
    let after = status(&name);
    assert_ne!(after["pid"], before);
    assert_eq!((&after["restarts"], &after["last_end"]), (&1.into(), &"killed by SIGTERM".into()));
    assert_eq!(stop(&name).code(), Some(0));
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGTERM));
}

#[test]
fn signals_go_to_the_command() {
    let name = name("signal");
    let script =
        "trap 'echo usr1' USR1; trap 'exit 6' HUP; echo ready; while :; do sleep 0.02; done";
    let mut child = start(&name, &["--", "sh", "-c", script]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "ready");
    assert_eq!(run(&["signal", &name, "USR1"]).code(), Some(0));
    assert_eq!(next(), "usr1");
    assert_eq!(run(&["signal", &name, "SIGHUP"]).code(), Some(0));
    assert_eq!(end(child).code(), Some(6));
}

#[test]
fn of_one_name_there_is_one() {
    let name = name("one");
    let mut child = start(&name, &["--", "sleep", "1000"]);
    let second = run(&["-n", &name, "--", "echo", "started"]);
    assert_eq!((second.code(), second.out.as_str()), (Some(125), ""));
    assert!(second.err.contains("is supervised already"), "{}", second.err);
    assert_eq!(status(&name)["supervisor"], child.id(), "the first one is not disturbed");

    let path = sockets().join(&name);
    let found = std::fs::symlink_metadata(&path).expect("a socket");
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o777, 0o600);
    let folder = std::fs::metadata(sockets()).expect("a folder");
    assert_eq!((folder.mode() & 0o777, folder.uid()), (0o755, 0));

    // Killed, it leaves its socket and its command behind; another one takes the place over.
    let orphan = children(child.id())[0];
    kill(&child, libc::SIGKILL);
    child.wait().expect("wait");
    assert!(path.exists());
    assert_eq!(run(&["status", &name]).code(), Some(3), "nobody listens");
    assert_eq!(stop(&name).code(), Some(3));
    // SAFETY: numbers; nobody else can have started a process of this number so soon.
    unsafe { libc::kill(orphan.cast_signed(), libc::SIGKILL) };
    until("the orphan is gone", || (!alive(orphan)).then_some(()));
    // It also removes the cgroup that the first one could not.
    let child = start(&name, &["--", "sleep", "1000"]);
    assert_eq!(status(&name)["supervisor"], child.id());
    assert_eq!(stop(&name).code(), Some(0));
    end(child);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let name = name("file");
    std::fs::create_dir_all(sockets()).expect("a folder");
    let path = sockets().join(&name);
    std::fs::write(&path, "precious").expect("write");
    let ended = run(&["-n", &name, "--", "true"]);
    assert_eq!(ended.code(), Some(125), "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious");
    std::fs::remove_file(&path).expect("clean up");
}

#[test]
fn users_have_a_place_of_their_own() {
    kit::require_root();
    let folder = Folder::new("user");
    let uid = 65534;
    std::os::unix::fs::chown(&folder.0, Some(uid), Some(uid)).expect("chown");
    let name = name("user");
    // What was built need not be where everybody may execute it.
    let program = folder.file("program");
    kit::copy_program(env!("CARGO_BIN_EXE_supervise").as_ref(), program.as_ref());
    let user = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(words).uid(uid).gid(uid).env("XDG_RUNTIME_DIR", &folder.0);
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("start")
    };
    let child = user(&["-n", &name, "--", "sleep", "1000"]);
    until("it answers", || end(user(&["status", &name])).status.success().then_some(()));
    assert!(folder.0.join("supervise").join(&name).exists());
    let ended = end(user(&["stop", &name]));
    assert_eq!(ended.code(), Some(0), "{}", ended.err);
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGTERM), "{}", ended.err);
}
