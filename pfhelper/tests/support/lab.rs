//! A handler at work in a network namespace of its own. The test takes the part of dhcpd's parent
//! and of its server.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "all of it is for tests")]

use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pfhelper::{Condition, FromParent, FromServer, Report, Tables, ToParent, ToServer, Verb};
use proto::unix::{Channel, Error};

#[path = "net.rs"]
mod net;
#[allow(unused_imports, reason = "each test uses a part of it")]
pub use net::*;

/// How long anything may take that a machine under load does slowly.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The three tables by the names that [`three_sets`] gives them.
pub fn all_tables() -> Tables {
    Tables {
        abandoned: Some("abandoned".parse().expect("a name")),
        changed: Some("changed".parse().expect("a name")),
        leased: Some("leased".parse().expect("a name")),
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Waits until a descriptor is readable or hung up.
pub fn wait_for(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let timeout = PollTimeout::try_from(patience).expect("a time");
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).expect("poll") > 0
}

/// A process as something to wait for.
pub fn pidfd(pid: u32) -> OwnedFd {
    // SAFETY: takes two numbers and gives a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(fd >= 0, "pidfd_open {pid}: {}", std::io::Error::last_os_error());
    // SAFETY: just opened, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) }
}

/// How long a process has run on a processor so far.
pub fn cpu_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    let nanoseconds = text.split(' ').next().expect("a number").parse().expect("a number");
    Duration::from_nanos(nanoseconds)
}

/// What a process is doing, for a message.
pub fn where_is(pid: u32) -> String {
    let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    format!("in {} {}", read("syscall").trim(), read("stack"))
}

/// A handler that was started, with the ends of its channels that are not its own.
pub struct Handler {
    pub child: Child,
    pub log: ChildStderr,
    pub parent: Option<Channel<FromParent, ToParent>>,
    pub server: Option<Channel<FromServer, ToServer>>,
    /// How it is with the tables, as far as it was heard.
    pub tables: [Condition; 3],
    seq: u32,
}

impl Handler {
    /// Starts the program as supervise does; nothing has been said to it yet.
    pub fn launch(title: &str) -> Handler {
        Handler::launch_with(title, || Ok(()))
    }

    /// Starts the program after having done something in its process, between fork and exec.
    pub fn launch_with(
        title: &str,
        first: impl Fn() -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Handler {
        let (ours, theirs) = proto::unix::pair().expect("a pair");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pfhelper"));
        command.arg0(title).env_clear().env("TANDEM_LOG", "stderr:debug");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let number = theirs.as_raw_fd();
        let place = move || {
            // SAFETY: two numbers; called between fork and exec, where dup2 is allowed.
            let copied = unsafe { libc::dup2(number, 3) };
            // Whatever the test itself was started with is not the handler's.
            // SAFETY: three numbers; marks descriptors of the new process only.
            let closed =
                unsafe { libc::close_range(4, u32::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
            if (copied, closed) != (3, 0) {
                return Err(std::io::Error::last_os_error());
            }
            first()
        };
        // SAFETY: `place` makes async-signal-safe system calls and nothing else.
        unsafe { command.pre_exec(place) };
        let mut child = command.spawn().expect("start pfhelper");
        let log = child.stderr.take().expect("its log");
        let parent = Some(Channel::from_fd(ours).expect("a channel"));
        Handler { child, log, parent, server: None, tables: Default::default(), seq: 0 }
    }

    /// Starts it and says what to do; what it answers.
    pub fn try_start(tables: Tables, element_timeout: Option<u32>) -> Result<Handler, String> {
        Handler::launch("dhcpd: pf table handler").set_up(tables, element_timeout)
    }

    /// Says what to do; what it answers.
    pub fn set_up(
        mut self,
        tables: Tables,
        element_timeout: Option<u32>,
    ) -> Result<Handler, String> {
        let parent = self.parent.as_ref().expect("a channel");
        // One that refuses may be gone by now; what it said is there all the same.
        let sent = parent.send(&FromParent::Setup { tables, element_timeout });
        assert!(matches!(sent, Ok(()) | Err(Error::Closed)), "{sent:?}");
        assert!(wait_for(parent.as_fd(), PATIENCE), "no answer");
        match parent.recv() {
            Ok(ToParent::Ready) => {}
            Ok(ToParent::Refused(reason)) => {
                assert_eq!(self.end().code(), Some(1));
                return Err(reason);
            }
            Err(error) => panic!("{error}: {}", self.rest_of_log()),
        }
        let (ours, theirs) = proto::unix::pair().expect("a pair");
        parent.send(&FromParent::Commands(theirs)).expect("send");
        self.server = Some(Channel::from_fd(ours).expect("a channel"));
        Ok(self)
    }

    /// Starts it with all that it needs.
    pub fn start(tables: Tables, element_timeout: Option<u32>) -> Handler {
        Handler::try_start(tables, element_timeout).expect("ready")
    }

    fn server(&self) -> &Channel<FromServer, ToServer> {
        self.server.as_ref().expect("the server's channel")
    }

    /// Sends commands; the number they went with.
    pub fn send(&mut self, commands: &[(Verb, Ipv4Addr)]) -> u32 {
        self.seq += 1;
        let commands =
            commands.iter().map(|&(verb, address)| pfhelper::Command { verb, address }).collect();
        self.server().send(&FromServer::Apply { seq: self.seq, commands }).expect("send");
        self.seq
    }

    /// Sends commands and waits until they are carried out; the sum of what was reported.
    pub fn apply(&mut self, commands: &[(Verb, Ipv4Addr)]) -> Report {
        let seq = self.send(commands);
        self.report(seq)
    }

    /// Sends the whole truth; the number it went with.
    pub fn send_truth(&mut self, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) -> u32 {
        self.seq += 1;
        for message in FromServer::replace(self.seq, leased, abandoned) {
            self.server().send(&message).expect("send");
        }
        self.seq
    }

    /// Sends the whole truth and waits until it is carried out.
    pub fn replace(&mut self, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) -> Report {
        let seq = self.send_truth(leased, abandoned);
        self.report(seq)
    }

    /// Waits for the next message.
    pub fn hear(&mut self) -> ToServer {
        assert!(wait_for(self.server().as_fd(), PATIENCE), "nothing was said");
        match self.server().recv() {
            Ok(message) => {
                if let ToServer::Tables(tables) = &message {
                    self.tables.clone_from(tables);
                }
                message
            }
            Err(error) => panic!("{error}: {}", self.rest_of_log()),
        }
    }

    /// Waits for the report on the message with this number, adding up those before it.
    pub fn report(&mut self, seq: u32) -> Report {
        let mut sum = Report::default();
        loop {
            if let ToServer::Report(report) = self.hear() {
                sum.seq = report.seq;
                sum.applied += report.applied;
                sum.missing += report.missing;
                sum.failed += report.failed;
                if report.seq == seq {
                    return sum;
                }
            }
        }
    }

    /// Waits until the truth is asked for.
    pub fn wait_until_asked(&mut self) {
        while self.hear() != ToServer::Flushed {}
    }

    /// Waits for its end, which is close.
    pub fn end(&mut self) -> std::process::ExitStatus {
        let process = pidfd(self.child.id());
        assert!(wait_for(process.as_fd(), PATIENCE), "it is still there");
        self.child.wait().expect("wait")
    }

    /// What it has logged; waits for its end.
    pub fn rest_of_log(&mut self) -> String {
        let mut text = String::new();
        self.log.read_to_string(&mut text).expect("its log");
        text
    }

    /// Lets it go by closing both channels; what it has logged.
    pub fn stop(&mut self) -> String {
        self.server = None;
        self.parent = None;
        assert_eq!(self.end().code(), Some(1));
        self.rest_of_log()
    }
}

/// Sends a signal to a handler.
pub fn signal(handler: &Handler, signal: i32) {
    let pid = i32::try_from(handler.child.id()).unwrap();
    // SAFETY: two numbers; the process is our child and not yet waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Waits until it has really stopped, so that what is sent now all waits for it.
pub fn stopped(handler: &Handler) {
    signal(handler, libc::SIGSTOP);
    let path = format!("/proc/{}/stat", handler.child.id());
    eventually("it is stopped", || std::fs::read_to_string(&path).unwrap().contains(") T "));
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `nft monitor`: what others see of the changes.
pub struct Monitor {
    child: Child,
    output: ChildStdout,
}

impl Monitor {
    /// Starts it and waits until it listens.
    pub fn start() -> Monitor {
        let mut command = Command::new("nft");
        command.arg("monitor").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("nft");
        let output = child.stdout.take().expect("its output");
        eventually("nft monitor listens", || {
            nft("add table inet sync; delete table inet sync");
            wait_for(output.as_fd(), Duration::from_millis(20))
        });
        Monitor { child, output }
    }

    /// What it has printed up to `mark`.
    pub fn until(&mut self, mark: &str) -> String {
        let mut text = String::new();
        while !text.contains(mark) {
            assert!(wait_for(self.output.as_fd(), PATIENCE), "no {mark:?} in {text}");
            let mut bytes = [0; 4096];
            let length = self.output.read(&mut bytes).expect("read");
            text.push_str(std::str::from_utf8(&bytes[..length]).expect("text"));
        }
        text
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
