//! supervise(8) under init, systemd and as process 1: readiness, background, standard error, PID
//! file.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

#[path = "run/kit.rs"]
mod kit;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kit::{Ended, Folder, alive, children, end, kill, name, run, supervise, until};

/// A service manager's socket, and where it is.
fn manager(folder: &Folder) -> (UnixDatagram, String) {
    let path = folder.file("manager");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(kit::PATIENCE)).expect("timeout");
    (socket, path)
}

fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).expect("a message in time");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Sends lines to NOTIFY_SOCKET, as a daemon does, and then stays.
const NOTIFIES: &str = "
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
for message in sys.argv[1:]:
    s.send(message.encode())
time.sleep(1000)
";

#[test]
fn what_a_daemon_says_to_its_manager_is_passed_on() {
    let folder = Folder::new("notify");
    let (socket, path) = manager(&folder);
    let words = ["--", "python3", "-c", NOTIFIES, "STATUS=almost", "READY=1\nMAINPID=7\nSTATUS=up"];
    let child = supervise(&words).env("NOTIFY_SOCKET", &path).spawn().expect("start");
    assert_eq!(told(&socket), "STATUS=almost");
    assert_eq!(told(&socket), "STATUS=up");
    assert_eq!(told(&socket), "READY=1");
    kill(&child, libc::SIGTERM);
    assert_eq!(end(child).signal(), Some(libc::SIGTERM));
}

#[test]
fn ready_when_executed_is_said_by_us() {
    let folder = Folder::new("exec");
    let (socket, path) = manager(&folder);
    let words = ["--ready=exec", "--", "sh", "-c", "echo \"$NOTIFY_SOCKET\""];
    let child = supervise(&words).env("NOTIFY_SOCKET", &path).spawn().expect("start");
    assert_eq!(told(&socket), "READY=1");
    assert_eq!(end(child).out, "\n", "the manager is not the command's");
}

#[test]
fn a_stranger_cannot_make_it_ready() {
    let script = "echo \"$NOTIFY_SOCKET\"; exec sleep 1000";
    let words = ["-v", "--ready=notify", "--", "sh", "-c", script];
    let mut child = supervise(&words).spawn().expect("start");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("a name");
    let address = SocketAddr::from_abstract_name(&line.trim()[1..]).expect("an address");
    let stranger = UnixDatagram::unbound().expect("a socket");
    stranger.send_to_addr(b"READY=1", &address).expect("send");
    let mut err = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let said = until("it is noticed", || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut err, &mut line).expect("a line");
        (line.contains("stranger") || line.contains(": ready")).then_some(line)
    });
    assert!(said.contains("a stranger's message"), "{said}");
    kill(&child, libc::SIGTERM);
    assert_eq!(end(child).signal(), Some(libc::SIGTERM));
}

#[test]
fn what_is_meant_for_our_number_is_for_the_command_s() {
    let script = "export LISTEN_PID=$$ WATCHDOG_PID=$$ LISTEN_FDS=1; exec \"$0\" -- sh -c \
                  'echo $LISTEN_PID $WATCHDOG_PID $LISTEN_FDS $$'";
    let out = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_supervise")]).output();
    let out = String::from_utf8(out.expect("run").stdout).expect("text");
    let words: Vec<&str> = out.split_whitespace().collect();
    let [listen, watchdog, "1", own] = words[..] else { panic!("{out}") };
    assert_eq!((listen, watchdog), (own, own));
    // One that is not meant for us is nobody's.
    let mut other = supervise(&["--", "sh", "-c", "echo $LISTEN_PID"]);
    let other = end(other.env("LISTEN_PID", "1").spawn().expect("start"));
    assert_eq!(other.out, "1\n");
}

#[test]
fn the_background_begins_when_the_command_is_ready() {
    let name = name("background");
    let folder = Folder::new("background");
    let go = folder.file("go");
    assert!(Command::new("mkfifo").arg(&go).status().expect("mkfifo").success());
    let script = format!("read x <{go}; echo >&5; exec 5>&-; exec sleep 1000");
    let words = ["-b", "-n", &name, "--ready=fd:5", "--", "sh", "-c", &script];
    // Its output is a file: what stays in the background would hold a pipe open.
    let mut launcher = supervise(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let launcher = launcher.as_mut().expect("start");
    let before = until("it answers", || status(&name));
    assert_eq!(before["ready"], false);
    assert!(launcher.try_wait().expect("wait").is_none(), "it waits");
    std::fs::write(&go, "go\n").expect("write");
    assert!(launcher.wait().expect("wait").success());
    let after = until("it is ready", || status(&name).filter(|told| told["ready"] == true));
    let pid = after["pid"].as_u64().expect("a number");
    let input = std::fs::read_link(format!("/proc/{pid}/fd/0")).expect("descriptor 0");
    assert_eq!(input, std::path::Path::new("/dev/null"));
    let here = std::env::current_dir().expect("here");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).expect("cwd"), here);
    assert_eq!(run(&["stop", &name]).code(), Some(0));
}

fn status(name: &str) -> Option<serde_json::Value> {
    let ended = run(&["status", "--json", name]);
    ended.status.success().then(|| serde_json::from_str(&ended.out).expect("JSON"))
}

#[test]
fn a_start_that_fails_in_the_background_is_told() {
    let missing = run(&["-b", "--", "no-such-command"]);
    assert_eq!(missing.code(), Some(1));
    assert!(missing.err.contains("no-such-command: not found"), "{}", missing.err);
    let early = run(&["-b", "--ready=fd:5", "--", "sh", "-c", "exit 0"]);
    assert_eq!(early.code(), Some(1), "it has ended before it was ready");
}

#[test]
fn its_standard_error_is_ours_to_log() {
    let script = "echo '<3>bad' >&2; echo plain >&2; printf 'no end' >&2; echo out";
    let ended = run(&["--log=stderr", "--log-stderr", "--", "sh", "-c", script]);
    assert_eq!((ended.code(), ended.out.as_str()), (Some(0), "out\n"));
    let lines: Vec<&str> = ended.err.lines().collect();
    let ["bad", "plain", "no end"] = [0, 1, 2].map(|at| lines[at].split_once(": ").expect("tag").1)
    else {
        panic!("{lines:?}")
    };
    assert!(lines[0].starts_with("sh[") && lines[3].starts_with("supervise: "), "{lines:?}");
}

/// Nobody takes the lines: the command goes on all the same, and what is lost is bounded.
#[test]
fn a_flood_of_lines_never_stops_the_command() {
    kit::require_root();
    // A place without /dev/log, or anything else there.
    let script = "mount -t tmpfs none /dev && exec \"$0\" --log-stderr -- sh -c 'yes line | \
                  head -c 8000000 >&2; echo done'";
    let mut child = Command::new("unshare");
    child.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_supervise")]);
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let ended = end(child.spawn().expect("start"));
    assert_eq!((ended.code(), ended.out.as_str()), (Some(0), "done\n"), "{}", ended.err);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn the_pid_file_is_locked_and_goes() {
    let folder = Folder::new("pidfile");
    let path = folder.file("pid");
    let child = supervise(&["--pidfile", &path, "--", "sleep", "1000"]).spawn().expect("start");
    until("the file has our number", || {
        let text = std::fs::read_to_string(&path).ok()?;
        (text == format!("{}\n", child.id())).then_some(())
    });
    let second = run(&["--pidfile", &path, "--", "true"]);
    assert_eq!(second.code(), Some(125));
    assert!(second.err.contains(&child.id().to_string()), "{}", second.err);
    kill(&child, libc::SIGTERM);
    end(child);
    assert!(!std::path::Path::new(&path).exists());
}

/// supervise as process 1 of a new pid namespace, with its /proc. What is started here is unshare;
/// its child is supervise.
fn container(words: &[&str]) -> Child {
    kit::require_root();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_supervise")]).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("start")
}

fn init_of(child: &Child) -> u32 {
    until("it runs", || {
        let init = children(child.id()).first().copied()?;
        (!children(init).is_empty()).then_some(init)
    })
}

#[test]
fn process_1_ends_as_its_command_did() {
    let code = |script: &str| -> Ended { end(container(&["--", "sh", "-c", script])) };
    assert_eq!(code("exit 0").code(), Some(0));
    assert_eq!(code("exit 7").code(), Some(7));
    // No signal of its own ends process 1: then it is a code, and the report says what it was.
    let killed = code("kill -TERM $$");
    assert_eq!(killed.code(), Some(143), "{}", killed.err);
    assert!(killed.err.contains("killed by SIGTERM"), "{}", killed.err);
    assert_eq!(end(container(&["--", "no-such-command"])).code(), Some(127));
}

#[test]
fn process_1_passes_signals_on() {
    let child = container(&["--", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.02; done"]);
    let init = init_of(&child);
    // The shell must have set its trap.
    until("the trap is set", || {
        let shell = children(init).first().copied()?;
        let status = std::fs::read_to_string(format!("/proc/{shell}/status")).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
        let caught = u64::from_str_radix(caught, 16).ok()?;
        (caught >> (libc::SIGTERM - 1) & 1 == 1).then_some(())
    });
    // SAFETY: numbers; its parent is ours and waits for it.
    unsafe { libc::kill(init.cast_signed(), libc::SIGTERM) };
    let ended = end(child);
    assert_eq!(ended.code(), Some(5), "{}", ended.err);
    assert!(ended.err.contains("SIGTERM from outside our process id namespace"), "{}", ended.err);
}

#[test]
fn process_1_reaps_whom_it_is_left() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do (setsid sleep 0.01 &); done; exec sleep 1000";
    let child = container(&["--", "sh", "-c", script]);
    let init = init_of(&child);
    until("only the command is left", || {
        let all = children(init);
        let name = std::fs::read_to_string(format!("/proc/{}/comm", all.first()?)).ok()?;
        (all.len() == 1 && name == "sleep\n").then_some(())
    });
    let command = children(init)[0];
    // SAFETY: numbers; its parent has not reaped it, for it has not ended.
    unsafe { libc::kill(command.cast_signed(), libc::SIGKILL) };
    let ended = end(child);
    assert_eq!(ended.code(), Some(128 + libc::SIGKILL), "{}", ended.err);
    assert!(!alive(command));
}
