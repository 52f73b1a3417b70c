//! supervise(8) and its witnesses: who sent a signal that did not come through supervise, how
//! descendants end, and `supervise track`.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

#[path = "run/kit.rs"]
mod kit;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use kit::{end, kill, require_root, run, supervise};

/// A daemon with threads that says the number of one of them, and its own.
const THREADS: &str = "
import os, threading, time
for i in range(50):
    threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
print(threading.enumerate()[20].native_id, os.getpid(), flush=True)
time.sleep(1000)
";

fn daemon(witness: &str) -> (Child, i32, i32) {
    let who = format!("--who={witness}");
    let words = [who.as_str(), "--", "python3", "-c", THREADS];
    let mut child = supervise(&words).spawn().expect("start");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut line).expect("a line");
    let mut numbers = line.split_whitespace().map(|word| word.parse().expect("a number"));
    let mut next = || numbers.next().expect("two numbers");
    (child, next(), next())
}

/// The blog's story: the number in a stale PID file is a thread's.
#[test]
fn a_kill_of_a_thread_s_number_is_told_with_the_killer() {
    require_root();
    for witness in ["trace", "audit"] {
        let (child, thread, process) = daemon(witness);
        let killer = Command::new("/bin/kill").arg(thread.to_string()).status().expect("kill");
        assert!(killer.success());
        let ended = end(child);
        assert_eq!(ended.signal(), Some(libc::SIGTERM), "{witness}: {}", ended.err);
        let says = format!("SIGTERM to thread {thread} of process {process} by kill");
        assert!(ended.err.contains(&says), "{witness}: {}", ended.err);
        assert!(ended.err.contains("bin/kill"), "{witness}: {}", ended.err);
        assert!(ended.err.contains("(certain), seen by"), "{witness}: {}", ended.err);
    }
    // ptrace looks the sender up when the signal arrives: that must be there still.
    let (child, thread, process) = daemon("ptrace");
    // SAFETY: numbers; the process has not ended, or its parent would have.
    assert_eq!(unsafe { libc::kill(thread, libc::SIGTERM) }, 0);
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGTERM), "{}", ended.err);
    let says = format!("SIGTERM to thread {thread} of process {process} by kill");
    assert!(ended.err.contains(&says), "{}", ended.err);
    let own = std::env::current_exe().expect("our own path");
    let from = format!("from pid {} (uid 0, {}", std::process::id(), own.display());
    assert!(ended.err.contains(&from), "{}", ended.err);
}

/// And the whole of it: a second daemon that finds that number in its own PID file at its start.
#[test]
fn a_second_daemon_s_stale_pid_file() {
    require_root();
    let folder = std::env::temp_dir().join(format!("tandem-story-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a directory");
    let (second, file) = (folder.join("second"), folder.join("second.pid"));
    kit::copy_program("/bin/sh".as_ref(), &second);
    for witness in ["trace", "audit", "ptrace"] {
        let (child, thread, process) = daemon(witness);
        std::fs::write(&file, format!("{thread}\n")).expect("yesterday's number");
        let mut starts = Command::new(&second)
            .args(["-c", "kill $(cat $1); echo $$ >$1; read x", "second"])
            .arg(&file)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("start");
        let ended = end(child);
        assert_eq!(ended.signal(), Some(libc::SIGTERM), "{witness}: {}", ended.err);
        for says in [
            format!("SIGTERM to thread {thread} of process {process}"),
            format!("from pid {} (uid 0, {}", starts.id(), second.display()),
            format!("{thread} is no process but a thread of {process}"),
        ] {
            assert!(ended.err.contains(&says), "{witness}: {says} in {}", ended.err);
        }
        drop(starts.stdin.take());
        starts.wait().expect("the second daemon ends");
    }
    std::fs::remove_dir_all(&folder).expect("remove");
}

#[test]
fn sigkill_has_a_sender() {
    require_root();
    for witness in ["trace", "audit", "auto"] {
        let (child, _, process) = daemon(witness);
        let killer = Command::new("/bin/kill").args(["-KILL", &process.to_string()]).status();
        assert!(killer.expect("kill").success());
        let ended = end(child);
        assert_eq!(ended.signal(), Some(libc::SIGKILL));
        assert!(ended.err.contains("bin/kill"), "{witness}: {}", ended.err);
        assert!(ended.err.contains("(certain)"), "{witness}: {}", ended.err);
    }
}

#[test]
fn without_a_witness_nothing_is_made_up() {
    let (child, _, process) = daemon("siginfo");
    // SAFETY: numbers; the process has not ended, or its parent would have.
    assert_eq!(unsafe { libc::kill(process, libc::SIGTERM) }, 0);
    let ended = end(child);
    assert!(ended.err.contains("who sent it was not observed"), "{}", ended.err);
    assert!(!ended.err.contains(&format!("from pid {}", std::process::id())), "{}", ended.err);
}

#[test]
fn descendants_that_are_killed_are_reported() {
    for option in ["--track", "--ptrace"] {
        let script = "sh -c 'sh -c \"kill -USR1 \\$\\$\"; true'; exit 0";
        let ended = run(&["--who=siginfo", option, "--", "sh", "-c", script]);
        assert_eq!(ended.code(), Some(0), "{option}: {}", ended.err);
        let reports = ended.err.matches("a descendant (pid ").count();
        assert_eq!(reports, 1, "{option}: {}", ended.err);
        assert!(ended.err.contains("killed by SIGUSR1 after "), "{option}: {}", ended.err);
    }
}

#[test]
fn track_tells_of_every_fork_and_end() {
    for backend in ["connector", "ptrace"] {
        let backend = format!("--backend={backend}");
        let script = "(exit 143); sh -c 'kill $$'; exit 5";
        let ended = run(&["track", "--json", &backend, "--", "sh", "-c", script]);
        assert_eq!(ended.code(), Some(5), "{backend}: {}", ended.err);
        let events: Vec<serde_json::Value> =
            ended.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let of = |kind: &str| -> Vec<&serde_json::Value> {
            events.iter().filter(|event| event["event"] == kind).collect()
        };
        assert_eq!((of("fork").len(), of("exit").len(), of("empty").len()), (3, 3, 1), "{backend}");
        let main = &of("fork")[0]["process"];
        for fork in &of("fork")[1..] {
            assert_eq!(&fork["parent"], main, "{backend}");
            assert_eq!(fork["parent_is"], "exact");
        }
        let outcomes: Vec<_> = of("exit").iter().map(|exit| exit["outcome"].clone()).collect();
        assert_eq!(outcomes[0], serde_json::json!({"exited": {"code": 143}}));
        assert_eq!(outcomes[1]["signaled"]["name"], "SIGTERM");
        assert_eq!(outcomes[2], serde_json::json!({"exited": {"code": 5}}));
        assert_eq!(events.last().expect("an event")["event"], "empty");
    }
}

#[test]
fn track_is_checked_against_the_kernel_s_records() {
    require_root();
    let script = "i=0; while [ $i -lt 200 ]; do (exit 7); i=$((i+1)); done";
    let ended = run(&["track", "--check", "--count", "--", "sh", "-c", script]);
    assert_eq!(ended.code(), Some(0), "{}", ended.err);
    assert_eq!(ended.out, "201 forks, 1 execs, 201 exits, 0 gaps, 0 events lost\n");
    assert!(ended.err.contains("agree with 201 ends"), "{}", ended.err);
}

#[test]
fn track_follows_what_runs_already() {
    let mut sleeper = Command::new("sleep").arg("1000").spawn().expect("start");
    let pid = sleeper.id().to_string();
    let mut child = supervise(&["track", "--pid", &pid]).spawn().expect("start");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    let found = next();
    assert!(found.contains(" found ") && found.contains(&format!(" {pid}@")), "{found}");
    kill(&sleeper, libc::SIGTERM);
    sleeper.wait().expect("wait");
    assert!(next().ends_with(" killed by SIGTERM"));
    assert!(next().ends_with(" empty"));
    assert_eq!(end(child).code(), Some(0));
    let gone = run(&["track", "--pid", "4194304"]);
    assert_eq!(gone.code(), Some(125), "{}", gone.err);
}
