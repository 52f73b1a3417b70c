//! Who sends signals and who is hit, and a reader of audit that is not the one under test.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use supervise::attribution::audit::wire::{self, Before, Owner, Status};
use supervise::attribution::{Audit, Confidence, Seen, Witness};
use supervise::{Exe, Moment};

/// The variable that tells the test what it is.
pub const ROLE: &str = "AUDIT_ROLE";

/// How long a signal may take to be seen.
pub const PATIENCE: Duration = Duration::from_secs(10);

// ---- Whoever sends, and whoever is hit.

pub fn play(role: &str) -> ExitCode {
    // Should a test fail, this ends it.
    // SAFETY: a number.
    unsafe { libc::alarm(60) };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i32>().ok()).unwrap_or(0);
    let system = |call, arguments: [i64; 4]| {
        let [a, b, c, d] = arguments;
        // SAFETY: the calls below take numbers, and one of them a live siginfo_t.
        let result = unsafe { libc::syscall(call, a, b, c, d) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    };
    let (pid, tid) = (i64::from(number(0)), i64::from(number(1)));
    let term = i64::from(libc::SIGTERM);
    match role {
        "victim" => {
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let _ = tell.send(nix::unistd::gettid());
                loop {
                    std::thread::park();
                }
            });
            println!("{}", told.recv().expect("a thread"));
            loop {
                std::thread::park();
            }
        }
        // Ignores SIGTERM, so that it can be hit again and again.
        "deaf" => {
            // SAFETY: no handler is installed.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            println!("0");
            loop {
                std::thread::park();
            }
        }
        "kill" => system(libc::SYS_kill, [pid, term, 0, 0]),
        "tkill" => system(libc::SYS_tkill, [tid, term, 0, 0]),
        "tgkill" => system(libc::SYS_tgkill, [pid, tid, term, 0]),
        "forge" => {
            // SAFETY: an all-zero siginfo_t is a valid one.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            (info.si_signo, info.si_code) = (libc::SIGTERM, libc::SI_QUEUE);
            // SAFETY: si_pid is the fifth number of the structure (after three and a gap).
            unsafe { (&raw mut info).cast::<i32>().add(4).write(1) };
            system(libc::SYS_rt_sigqueueinfo, [pid, term, &raw const info as i64, 0]);
        }
        "pidfd" => {
            // SAFETY: a system call on two plain numbers.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
            assert!(fd >= 0);
            system(libc::SYS_pidfd_send_signal, [fd, term, 0, 0]);
        }
        "signals" => {
            for &(signal, to) in &[(0, pid), (libc::SIGCONT, pid), (libc::SIGURG, pid)] {
                system(libc::SYS_kill, [to, i64::from(signal), 0, 0]);
            }
            // SAFETY: numbers; there is no such process.
            assert_eq!(unsafe { libc::kill(0x3fff_ffff, libc::SIGTERM) }, -1);
        }
        "daemon" => {
            let socket = netlink();
            // Only our number: the third of the things that can be set.
            let mut words = [0u32; 10];
            (words[0], words[3]) = (4, std::process::id());
            let body: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
            say(&socket, wire::SET, &body);
            println!("0");
            loop {
                let _ = recv(socket.as_raw_fd(), &mut [0; 1 << 14], MsgFlags::empty());
            }
        }
        "watch" => {
            let mut audit = Audit::open().expect("audit");
            println!("0");
            loop {
                let _ =
                    poll(&mut [PollFd::new(audit.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
                audit.read(&mut Vec::new()).expect("read");
            }
        }
        other => panic!("unknown role {other}"),
    }
    ExitCode::SUCCESS
}

/// A process of ours, which lives until it is hit or dropped.
pub struct Victim {
    pub child: Child,
    /// The number of another thread of it.
    pub tid: i32,
    _output: BufReader<ChildStdout>,
}

impl Victim {
    /// In a process group of its own.
    pub fn new(role: &str) -> Victim {
        Victim::of(role, 0)
    }

    pub fn of(role: &str, group: i32) -> Victim {
        let mut command = Command::new("/proc/self/exe");
        command.env(ROLE, role).process_group(group).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a victim");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let tid = line.trim().parse().expect("a thread");
        Victim { child, tid, _output: output }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends as this role, with these numbers; returns the number of the process that did.
pub fn send(role: &str, numbers: &[i32]) -> i32 {
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).args(numbers.iter().map(i32::to_string));
    finish(&mut command)
}

pub fn finish(command: &mut Command) -> i32 {
    let mut child = command.stderr(Stdio::inherit()).spawn().expect("a sender");
    assert!(child.wait().expect("its end").success(), "{command:?}");
    child.id().cast_signed()
}

// ---- What is seen, and what is there.

/// What is seen that is aimed at this process, until there are so many of it.
pub fn seen(audit: &mut Audit, pid: i32, count: usize) -> Vec<Seen> {
    let until = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    loop {
        audit.read(&mut all).expect("read");
        all.retain(|seen| {
            assert_ne!(seen.signal, 0, "something was lost: {seen:?}");
            seen.target.pid == pid
        });
        let left = until.saturating_duration_since(Instant::now());
        if all.len() >= count || left.is_zero() {
            assert_eq!(all.len(), count, "{all:?}");
            return all;
        }
        let timeout = PollTimeout::try_from(left).expect("short");
        poll(&mut [PollFd::new(audit.as_fd(), PollFlags::POLLIN)], timeout).expect("poll");
    }
}

/// The one signal to this process, with what must be true of each.
pub fn one(audit: &mut Audit, pid: i32, sender: i32) -> Seen {
    let seen = seen(audit, pid, 1).remove(0);
    assert_eq!((seen.confidence, seen.witness), (Confidence::Certain, Witness::Audit));
    assert!(Moment::now() - seen.at < PATIENCE);
    assert_eq!(seen.sender.as_ref().map(|sender| sender.pid), Some(sender));
    seen
}

/// The executable and the command line of who sent it.
pub fn words(seen: &Seen) -> (&Path, String) {
    let sender = seen.sender.as_ref().expect("a sender");
    let Exe::Path(path) = &sender.exe else { panic!("{sender:?}") };
    (path, sender.command_line().expect("a command line"))
}

pub fn own_exe() -> std::path::PathBuf {
    std::env::current_exe().expect("our own")
}

pub fn netlink() -> OwnedFd {
    let protocol = SockProtocol::NetlinkAudit;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .expect("a socket")
}

pub fn say(socket: &OwnedFd, kind: u16, body: &[u8]) {
    let request = wire::request(kind, 1, body);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty()).expect("sent");
}

/// The messages that come, each with its kind, until one of this kind.
pub fn hear(socket: &OwnedFd, last: u16) -> Vec<(u16, Vec<u8>)> {
    let mut answers: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut buffer = vec![0; 1 << 14];
    while answers.last().is_none_or(|(kind, _)| *kind != last) {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("received");
        let messages = wire::messages(&buffer[..length]);
        answers.extend(messages.map(|message| (message.kind, message.body.to_vec())));
    }
    answers
}

pub fn ask(kind: u16, last: u16) -> Vec<(u16, Vec<u8>)> {
    let socket = netlink();
    say(&socket, kind, &[]);
    hear(&socket, last)
}

pub fn change(kind: u16, body: &[u8]) {
    let socket = netlink();
    say(&socket, kind, body);
    let answers = hear(&socket, wire::ERROR);
    assert!(answers.last().is_some_and(|(_, code)| code.starts_with(&[0; 4])), "{answers:?}");
}

pub fn status() -> Status {
    let answers = ask(wire::GET, wire::GET);
    wire::status(&answers.last().expect("a status").1).expect("a status")
}

/// What of audit we change, as it is now.
pub fn now() -> Before {
    Before { on: status().enabled != 0, backlog: status().backlog }
}

/// The rules of ours, by whom they were made.
pub fn owners() -> Vec<Owner> {
    let answers = ask(wire::LIST_RULES, wire::DONE);
    let rules = answers.iter().filter(|(kind, _)| *kind == wire::LIST_RULES);
    rules.filter_map(|(_, bytes)| wire::rule(bytes)?.owner).collect()
}

/// How many rules of this process there are.
pub fn rules_of(pid: u32) -> usize {
    owners().iter().filter(|owner| owner.pid == pid.cast_signed()).count()
}

/// Without others of us on the machine, which may come and go.
pub fn alone() -> bool {
    let own = std::process::id().cast_signed();
    owners().iter().all(|owner| owner.pid == own)
}
