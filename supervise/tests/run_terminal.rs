//! supervise(8) at a terminal: keys reach the command once, and it can be stopped and go on.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

#[path = "run/kit.rs"]
mod kit;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;

/// A session at a terminal of its own, and what it has said.
struct Session {
    child: Child,
    keys: File,
    said: String,
}

impl Session {
    /// An interactive shell, with job control and nobody's settings.
    fn shell() -> Session {
        let mut shell = Command::new("bash");
        shell.args(["--norc", "--noprofile", "--noediting", "-i"]);
        shell
            .env("PS1", "$ ")
            .env("PS2", "")
            .env("SUPERVISE", concat!(env!("CARGO_BIN_EXE_supervise"), " --who=siginfo"));
        shell.env_remove("PROMPT_COMMAND").env_remove("HISTFILE").env_remove("NOTIFY_SOCKET");
        Session::of(shell)
    }

    fn of(mut command: Command) -> Session {
        kit::stand_as_at_boot();
        let pty = openpty(None, None).expect("a terminal");
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("copy"));
        command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        // SAFETY: only calls that are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            })
        };
        let child = command.spawn().expect("start");
        let keys = File::from(pty.master);
        fcntl(&keys, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("non-blocking");
        Session { child, keys, said: String::new() }
    }

    fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("write");
    }

    /// Waits until it has said `text`, after what was waited for before.
    fn hear(&mut self, text: &str) -> String {
        let until = Instant::now() + kit::PATIENCE;
        loop {
            if let Some(at) = self.said.find(text) {
                let rest = self.said.split_off(at + text.len());
                return std::mem::replace(&mut self.said, rest);
            }
            assert!(Instant::now() < until, "no {text:?} in {:?}", self.said);
            let mut bytes = [0; 4096];
            match self.keys.read(&mut bytes) {
                Ok(length) => self.said += &String::from_utf8_lossy(&bytes[..length]),
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of the leader, and of its terminal, ends the others.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that counts ^C: three lines of input later it tells.
const COUNTS: &str = "n=0; trap 'n=$((n+1)); echo got-$n.' INT; echo be''gin; while ! read x; do :; done; echo in=$x n=$n.";

#[test]
fn a_key_reaches_the_command_once() {
    for (how, words) in [
        ("with the terminal", "$SUPERVISE -v -- sh -c \"$COUNTS\""),
        // Its output is no terminal: it stays among those in the foreground.
        ("in a pipeline", "$SUPERVISE -v -- sh -c \"$COUNTS\" | (trap '' INT; cat)"),
    ] {
        let mut session = Session::shell();
        session.hear("$ ");
        session.type_in(&format!("COUNTS='{}'\n", COUNTS.replace('\'', "'\\''")));
        session.hear("$ ");
        session.type_in(&format!("{words}\n"));
        session.hear("begin");
        session.type_in("\x03");
        let first = session.hear("got-1.");
        // Were there another one on its way, it would be counted before the line is read.
        session.type_in("a line\n");
        let rest = session.hear("n=1.");
        assert!(rest.contains("in=a line"), "{how}: {first}{rest}");
        session.type_in("echo al''ive\n");
        session.hear("alive");
    }
}

#[test]
fn a_command_that_a_key_ends_ends_us_too() {
    let mut session = Session::shell();
    session.hear("$ ");
    session.type_in("$SUPERVISE --restart=always -v -- sh -c 'echo be''gin; exec sleep 1000'\n");
    session.hear("begin");
    session.type_in("\x03");
    session.hear("killed by SIGINT");
    // 130: the shell has seen us end by the signal.
    session.type_in("echo code=$?.\n");
    session.hear("code=130.");
}

#[test]
fn it_stops_and_goes_on() {
    for words in ["$SUPERVISE -v -- cat", "$SUPERVISE -v -- cat | cat"] {
        let mut session = Session::shell();
        session.hear("$ ");
        session.type_in(&format!("{words}\n"));
        session.hear("started as pid");
        session.type_in("one\n");
        session.hear("one\r\none\r\n");
        session.type_in("\x1a");
        session.hear("Stopped");
        session.hear("$ ");
        session.type_in("echo in''between\n");
        session.hear("inbetween");
        session.type_in("fg\n");
        session.hear("cat");
        // It has the terminal again, and reads from it.
        session.type_in("two\n");
        session.hear("two\r\n");
        session.hear("two\r\n");
        session.type_in("\x04");
        session.hear("exited with code 0");
        session.type_in("echo back=$?.\n");
        session.hear("back=0.");
    }
}

#[test]
fn as_the_leader_of_a_session_too() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
    command.args(["-v", "--", "sh", "-c", COUNTS]).env_remove("NOTIFY_SOCKET");
    let mut session = Session::of(command);
    session.hear("begin");
    session.type_in("\x03");
    session.hear("got-1.");
    session.type_in("x\n");
    session.hear("in=x n=1.");
    session.hear("exited with code 0");
    assert!(session.child.wait().expect("wait").success());
    assert!(session.keys.as_raw_fd() >= 0);
}
