//! Real signals, and what audit says of them. Senders and victims are this test, started again:
//! audit sees only processes that began after it was on for the first time.
//!
//! Audit is the whole machine's. What is ours in it, and whether it is on, is looked up by a reader
//! of its own here, not by what is tested.

#[allow(dead_code, reason = "not all of it is used")]
#[path = "runner.rs"]
mod runner;

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
use supervise::attribution::{Audit, Confidence, Seen, Target, Via, Witness};
use supervise::{Exe, Moment};

/// The variable that tells the test what it is.
const ROLE: &str = "AUDIT_ROLE";

/// How long a signal may take to be seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A user id that is nobody's.
const STRANGER: u32 = 61_235;

pub fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    if !nix::unistd::geteuid().is_root() {
        return runner::run(&[("without_the_right_to_it_says_so", without_rights)]);
    }
    if let Err(error) = Audit::open() {
        // In a container, or a kernel without it, there is nothing to test, and that is said.
        println!("left out: {error}");
        return ExitCode::SUCCESS;
    }
    runner::run(&[
        ("bin_kill", bin_kill),
        ("a_shell", shell),
        ("another_user", another_user),
        ("kill_aimed_at_a_thread", kill_at_thread),
        ("tgkill_and_tkill", tgkill),
        ("a_forged_sender", forged),
        ("by_pidfd", pidfd),
        ("sigkill", sigkill),
        ("a_group", group),
        ("another_namespace", another_namespace),
        ("what_fails_or_is_harmless_is_not_told", silent),
        ("five_hundred", five_hundred),
        ("put_back_as_it_was", put_back),
        ("put_back_after_a_panic", put_back_after_panic),
        ("two_at_a_time", two_at_a_time),
        ("a_predecessor_that_was_killed", predecessor_killed),
        ("beside_a_daemon", beside_a_daemon),
        ("with_the_right_for_half_of_it", half_the_rights),
        ("without_the_right_to_it_says_so", without_rights),
    ])
}

// ---- Whoever sends, and whoever is hit.

fn play(role: &str) -> ExitCode {
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
struct Victim {
    child: Child,
    tid: i32,
    _output: BufReader<ChildStdout>,
}

impl Victim {
    /// In a process group of its own.
    fn new(role: &str) -> Victim {
        Victim::of(role, 0)
    }

    fn of(role: &str, group: i32) -> Victim {
        let mut command = Command::new("/proc/self/exe");
        command.env(ROLE, role).process_group(group).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a victim");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let tid = line.trim().parse().expect("a thread");
        Victim { child, tid, _output: output }
    }

    fn pid(&self) -> i32 {
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
fn send(role: &str, numbers: &[i32]) -> i32 {
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).args(numbers.iter().map(i32::to_string));
    finish(&mut command)
}

fn finish(command: &mut Command) -> i32 {
    let mut child = command.stderr(Stdio::inherit()).spawn().expect("a sender");
    assert!(child.wait().expect("its end").success(), "{command:?}");
    child.id().cast_signed()
}

// ---- What is seen, and what is there.

/// What is seen that is aimed at this process, until there are so many of it.
fn seen(audit: &mut Audit, pid: i32, count: usize) -> Vec<Seen> {
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
fn one(audit: &mut Audit, pid: i32, sender: i32) -> Seen {
    let seen = seen(audit, pid, 1).remove(0);
    assert_eq!((seen.confidence, seen.witness), (Confidence::Certain, Witness::Audit));
    assert!(Moment::now() - seen.at < PATIENCE);
    assert_eq!(seen.sender.as_ref().map(|sender| sender.pid), Some(sender));
    seen
}

/// The executable and the command line of who sent it.
fn words(seen: &Seen) -> (&Path, String) {
    let sender = seen.sender.as_ref().expect("a sender");
    let Exe::Path(path) = &sender.exe else { panic!("{sender:?}") };
    (path, sender.command_line().expect("a command line"))
}

fn own_exe() -> std::path::PathBuf {
    std::env::current_exe().expect("our own")
}

fn netlink() -> OwnedFd {
    let protocol = SockProtocol::NetlinkAudit;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .expect("a socket")
}

fn say(socket: &OwnedFd, kind: u16, body: &[u8]) {
    let request = wire::request(kind, 1, body);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty()).expect("sent");
}

/// The messages that come, each with its kind, until one of this kind.
fn hear(socket: &OwnedFd, last: u16) -> Vec<(u16, Vec<u8>)> {
    let mut answers: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut buffer = vec![0; 1 << 14];
    while answers.last().is_none_or(|(kind, _)| *kind != last) {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("received");
        let messages = wire::messages(&buffer[..length]);
        answers.extend(messages.map(|message| (message.kind, message.body.to_vec())));
    }
    answers
}

fn ask(kind: u16, last: u16) -> Vec<(u16, Vec<u8>)> {
    let socket = netlink();
    say(&socket, kind, &[]);
    hear(&socket, last)
}

fn change(kind: u16, body: &[u8]) {
    let socket = netlink();
    say(&socket, kind, body);
    let answers = hear(&socket, wire::ERROR);
    assert!(answers.last().is_some_and(|(_, code)| code.starts_with(&[0; 4])), "{answers:?}");
}

fn status() -> Status {
    let answers = ask(wire::GET, wire::GET);
    wire::status(&answers.last().expect("a status").1).expect("a status")
}

/// What of audit we change, as it is now.
fn now() -> Before {
    Before { on: status().enabled != 0, backlog: status().backlog }
}

/// The rules of ours, by whom they were made.
fn owners() -> Vec<Owner> {
    let answers = ask(wire::LIST_RULES, wire::DONE);
    let rules = answers.iter().filter(|(kind, _)| *kind == wire::LIST_RULES);
    rules.filter_map(|(_, bytes)| wire::rule(bytes)?.owner).collect()
}

/// How many rules of this process there are.
fn rules_of(pid: u32) -> usize {
    owners().iter().filter(|owner| owner.pid == pid.cast_signed()).count()
}

// ---- Who did it.

fn bin_kill() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    let sender = finish(Command::new("/bin/kill").arg("-TERM").arg(victim.pid().to_string()));
    let seen = one(&mut audit, victim.pid(), sender);
    assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::Kill));
    assert!(!seen.target.is_thread());
    let (exe, line) = words(&seen);
    assert_eq!(exe, Path::new("/bin/kill").canonicalize().expect("kill"));
    assert_eq!(line, format!("/bin/kill -TERM {}", victim.pid()));
    let sender = seen.sender.as_ref().expect("a sender");
    assert_eq!((sender.uid, sender.euid, sender.name.as_deref()), (Some(0), Some(0), Some("kill")));
    let parent = sender.parents.first().expect("a parent");
    assert_eq!(parent.0, std::process::id().cast_signed());
    assert!(parent.1.starts_with("audit"), "{parent:?}");
}

/// The program is the shell; what it was told is in its words.
fn shell() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    let script = format!("kill -HUP {}", victim.pid());
    let sender = finish(Command::new("sh").args(["-c", &script]));
    let seen = one(&mut audit, victim.pid(), sender);
    assert_eq!(seen.signal, libc::SIGHUP);
    let (exe, line) = words(&seen);
    assert_eq!(exe, Path::new("/bin/sh").canonicalize().expect("sh"));
    assert_eq!(line, format!("sh -c '{script}'"));
}

fn another_user() {
    let mut audit = Audit::open().expect("audit");
    let folder = std::env::temp_dir().join(format!("tandem-audit-{}", std::process::id()));
    let copy = folder.join("a daemon");
    std::fs::create_dir(&folder).expect("a directory");
    std::fs::copy("/bin/sleep", &copy).expect("copied");
    let mut victim = Command::new(&copy).arg("60").uid(STRANGER).spawn().expect("a victim");
    let pid = victim.id().cast_signed();
    let mut command = Command::new("sh");
    let sender = finish(command.args(["-c", &format!("kill {pid}")]).uid(STRANGER));
    let seen = one(&mut audit, pid, sender);
    victim.wait().expect("its end");
    std::fs::remove_dir_all(&folder).expect("removed");
    let sender = seen.sender.as_ref().expect("a sender");
    assert_eq!((sender.uid, sender.euid), (Some(STRANGER), Some(STRANGER)));
}

fn kill_at_thread() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    let sender = finish(Command::new("/bin/kill").arg(victim.tid.to_string()));
    let seen = one(&mut audit, victim.pid(), sender);
    assert_eq!(seen.target, Target { pid: victim.pid(), tid: victim.tid });
    assert_eq!(seen.via, Via::Kill);
    assert!(seen.target.is_thread());
}

fn tgkill() {
    let mut audit = Audit::open().expect("audit");
    for role in ["tgkill", "tkill"] {
        let victim = Victim::new("victim");
        let sender = send(role, &[victim.pid(), victim.tid]);
        let seen = one(&mut audit, victim.pid(), sender);
        assert_eq!(seen.target, Target { pid: victim.pid(), tid: victim.tid }, "{role}");
        assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::Thread), "{role}");
        assert_eq!(words(&seen).0, own_exe());
    }
}

/// The signal says that init has sent it.
fn forged() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    let sender = send("forge", &[victim.pid()]);
    let seen = one(&mut audit, victim.pid(), sender);
    assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::Queue));
    assert_eq!(words(&seen).0, own_exe());
}

fn pidfd() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    let sender = send("pidfd", &[victim.pid()]);
    let seen = one(&mut audit, victim.pid(), sender);
    assert_eq!((seen.signal, seen.via), (libc::SIGTERM, Via::Pidfd));
    assert!(!seen.target.is_thread());
    assert_eq!(words(&seen), (own_exe().as_path(), format!("/proc/self/exe {}", victim.pid())));
}

fn sigkill() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    let sender = finish(Command::new("/bin/kill").arg("-9").arg(victim.pid().to_string()));
    let seen = one(&mut audit, victim.pid(), sender);
    assert_eq!((seen.signal, seen.via), (libc::SIGKILL, Via::Kill));
    assert_eq!(words(&seen).1, format!("/bin/kill -9 {}", victim.pid()));
}

/// One call, and a word on each whom it has hit.
fn group() {
    let (mut audit, first) = (Audit::open().expect("audit"), Victim::new("deaf"));
    let others: Vec<Victim> = (0..20).map(|_| Victim::of("deaf", first.pid())).collect();
    let sender = send("kill", &[-first.pid()]);
    let mut hit = Vec::new();
    let until = Instant::now() + PATIENCE;
    while hit.len() <= others.len() {
        assert!(Instant::now() < until, "{hit:?}");
        audit.read(&mut hit).expect("read");
        hit.retain(|seen| seen.sender.as_ref().is_some_and(|it| it.pid == sender));
    }
    assert!(hit.iter().all(|seen| seen.via == Via::Group && !seen.target.is_thread()));
    let mut hit: Vec<i32> = hit.iter().map(|seen| seen.target.pid).collect();
    let mut all: Vec<i32> = others.iter().chain([&first]).map(Victim::pid).collect();
    hit.sort_unstable();
    all.sort_unstable();
    assert_eq!(hit, all);
}

/// The number that was given means somebody else here; the kernel's word on the target is ours.
fn another_namespace() {
    let mut audit = Audit::open().expect("audit");
    // Number 2 there; here it is a thread of the kernel's.
    let script = "sleep 61.25 & kill -USR2 $!";
    let mut command = Command::new("unshare");
    finish(command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script]));
    let mut found = Vec::new();
    let until = Instant::now() + PATIENCE;
    while found.is_empty() {
        assert!(Instant::now() < until);
        audit.read(&mut found).expect("read");
        found.retain(|seen| seen.signal == libc::SIGUSR2 && words(seen).1.contains("61.25"));
    }
    assert!(found[0].target.pid > 2 && !found[0].target.is_thread(), "{}", found[0]);
    assert_eq!(words(&found[0]).0, Path::new("/bin/sh").canonicalize().expect("sh"));
}

/// One that is told everything, as auditd is; the multicast is not its.
fn beside_a_daemon() {
    let status = status();
    // The kernel only learns of a daemon's death when it next has something to say to it.
    let there = status.daemon != 0 && Path::new(&format!("/proc/{}", status.daemon)).exists();
    if there || !alone() {
        return println!("there is one already: {status:?}");
    }
    let mut audit = Audit::open().expect("audit");
    let daemon = Victim::new("daemon");
    let victim = Victim::new("victim");
    let sender = send("kill", &[victim.pid()]);
    one(&mut audit, victim.pid(), sender);
    drop(audit);
    assert_eq!((now().on, rules_of(std::process::id())), (true, 0), "it is the daemon's now");
    assert_eq!(now().backlog, status.backlog);
    drop(daemon);
    // As it was before, for who comes next.
    if status.enabled == 0 {
        change(wire::SET, &wire::switch(false));
        assert!(!now().on);
    }
}

/// The last one is seen, so the others would have been.
fn silent() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("victim"));
    send("signals", &[victim.pid()]);
    let sender = send("kill", &[victim.pid()]);
    one(&mut audit, victim.pid(), sender);
}

fn five_hundred() {
    let (mut audit, victim) = (Audit::open().expect("audit"), Victim::new("deaf"));
    let mut senders: Vec<i32> = (0..500).map(|_| send("kill", &[victim.pid()])).collect();
    let seen = seen(&mut audit, victim.pid(), senders.len());
    let exe = own_exe();
    assert!(seen.iter().all(|seen| words(seen).0 == exe));
    let mut named: Vec<i32> = seen.iter().flat_map(|seen| &seen.sender).map(|it| it.pid).collect();
    named.sort_unstable();
    senders.sort_unstable();
    assert_eq!(named, senders);
}

// ---- Nothing of us stays.

/// Without others of us on the machine, which may come and go.
fn alone() -> bool {
    let own = std::process::id().cast_signed();
    owners().iter().all(|owner| owner.pid == own)
}

fn put_back() {
    let (before, was_alone) = (now(), alone());
    let audit = Audit::open().expect("audit");
    assert_eq!((status().enabled, rules_of(std::process::id())), (1, 2 * wire::machines().len()));
    assert!(before.backlog == 0 || status().backlog >= 8191);
    let again = Audit::open().expect_err("one is there").to_string();
    assert!(again.contains("has rules there already"), "{again}");
    assert_eq!(rules_of(std::process::id()), 2 * wire::machines().len());
    drop(audit);
    assert_eq!(rules_of(std::process::id()), 0);
    if was_alone && alone() {
        assert_eq!(now(), before);
    }
}

fn put_back_after_panic() {
    let (before, was_alone) = (now(), alone());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = std::panic::catch_unwind(|| {
        let _audit = Audit::open().expect("audit");
        panic!("in the middle of it");
    });
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    assert_eq!(rules_of(std::process::id()), 0);
    if was_alone && alone() {
        assert_eq!(now(), before);
    }
}

/// The first to go does not blind the other.
fn two_at_a_time() {
    let (before, was_alone) = (now(), alone());
    let first = Victim::new("watch");
    let mut audit = Audit::open().expect("audit");
    let ours = owners().into_iter().find(|it| it.pid == std::process::id().cast_signed());
    if was_alone {
        assert_eq!(ours.map(|owner| owner.before), Some(before));
    }
    drop(first);
    let victim = Victim::new("victim");
    let sender = send("kill", &[victim.pid()]);
    one(&mut audit, victim.pid(), sender);
    drop(audit);
    assert!(alone() || !was_alone, "{:?}", owners());
    if was_alone && alone() {
        assert_eq!(now(), before);
    }
}

fn predecessor_killed() {
    let (before, was_alone) = (now(), alone());
    let mut first = Victim::new("watch");
    let pid = first.child.id();
    first.child.kill().expect("killed");
    first.child.wait().expect("its end");
    assert_eq!((status().enabled, rules_of(pid)), (1, 2 * wire::machines().len()));
    let audit = Audit::open().expect("audit");
    assert_eq!(rules_of(pid), 0);
    drop(audit);
    if was_alone && alone() {
        assert_eq!(now(), before);
    }
}

/// What one says who does not get in.
fn refusal(command: &mut Command) -> String {
    let output = command.env(ROLE, "watch").stdout(Stdio::null()).output().expect("a process");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing is changed by one who may change things but not read them.
fn half_the_rights() {
    let before = now();
    let mut command = Command::new("setpriv");
    let text = refusal(command.args(["--bounding-set", "-audit_read"]).arg(own_exe()));
    assert!(text.contains("read records (CAP_AUDIT_READ)"), "{text}");
    if alone() {
        assert_eq!(now(), before);
    }
}

fn without_rights() {
    if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        let bounds = "-audit_control,-audit_read";
        let text = refusal(command.args(["--bounding-set", bounds]).arg(own_exe()));
        assert!(text.contains("audit: "), "{text}");
    } else {
        let error = Audit::open().expect_err("no right").to_string();
        assert!(error.starts_with("audit: "), "{error}");
    }
}
