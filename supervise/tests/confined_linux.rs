//! Confined processes, seen from outside: what the kernel says of them in /proc, and what happens
//! to one that does what it may not. Linux only; root is needed, and a test fails without it.

#[path = "runner.rs"]
mod runner;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{c_int, c_long};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use supervise::confine::{Call, Capability, Confinement, Rules, THREADS, When, confine};
use supervise::{Child, Exit, Identity, Program, start};

const UID: u32 = 65533;
const GID: u32 = 65532;

/// What the processes here do over their channel.
const CHANNEL: &[Call] = &[
    Call::when(libc::SYS_sendto, &[When::Is(0, supervise::CHANNEL_FD)], "answers to the test"),
    Call::when(libc::SYS_recvfrom, &[When::Is(0, supervise::CHANNEL_FD)], "orders of the test"),
];

/// Attempts that the filter lets through, so that the kernel's own answer can be seen.
const ATTEMPTS: &[Call] = &[
    Call::new(libc::SYS_setresuid, "the test tries to become root"),
    Call::new(libc::SYS_openat, "the test tries to open a file"),
    Call::new(libc::SYS_unshare, "the test tries to make a user namespace"),
    Call::new(libc::SYS_kill, "the test tries to kill its parent"),
    Call::when(libc::SYS_setsockopt, &[When::AtMost(0, 3)], "the test uses its capability"),
];

const PLAIN: Rules = Rules { keep: &[], calls: &[CHANNEL] };

pub fn main() -> ExitCode {
    let Some(role) = supervise::role() else {
        return runner::run(&[
            ("reads_back_from_proc", reads_back_from_proc),
            ("keeps_one_capability", keeps_one_capability),
            ("attempts_are_refused", attempts_are_refused),
            ("forbidden_call_is_the_end", forbidden_call_is_the_end),
            ("arguments_are_looked_at", arguments_are_looked_at),
            ("ordinary_life_goes_on", ordinary_life_goes_on),
            ("abort_and_panic_look_like_themselves", abort_and_panic_look_like_themselves),
            ("an_account_is_all_it_gets", an_account_is_all_it_gets),
            ("needs_root", needs_root),
            ("refuses_what_cannot_end_well", refuses_what_cannot_end_well),
            ("says_what_a_namespace_lacks", says_what_a_namespace_lacks),
            ("dies_with_its_parent", dies_with_its_parent),
        ]);
    };
    // Some of these are hard to end: should a test fail, this does it.
    // SAFETY: a number.
    unsafe { libc::alarm(60) };
    let channel = supervise::inherited_channel().expect("channel");
    supervise::logger::inherit("confined").expect("log");
    let (_, role) = role.split_once(": ").expect("a title");
    child(role, &channel)
}

fn say(channel: &OwnedFd, text: &str) {
    send(channel.as_raw_fd(), text.as_bytes(), MsgFlags::MSG_NOSIGNAL).expect("send");
}

/// One message, or `None` at the end of the channel.
fn hear(channel: &OwnedFd) -> Option<String> {
    let mut bytes = vec![0; 4096];
    let length = recv(channel.as_raw_fd(), &mut bytes, MsgFlags::empty()).expect("recv");
    (length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The same, in the test: fails after ten seconds.
fn answer(channel: &OwnedFd) -> Option<String> {
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1), "nothing to hear");
    hear(channel)
}

fn begin(role: &str) -> (Child, OwnedFd) {
    start(Program::Myself, &format!("confined: {role}"), &[]).expect("start")
}

fn end(mut child: Child) -> Exit {
    let moment = Instant::now() + Duration::from_secs(10);
    child.wait_until(moment).expect("wait").expect("ends within ten seconds")
}

fn killed(signal: c_int) -> Exit {
    Exit::Signaled { signal, core: false }
}

// ---- The children.

fn nobody(rules: &Rules) -> Result<(), supervise::Error> {
    let identity = Identity::numeric(UID, GID);
    confine(&Confinement { identity: &identity, parent_death: None, rules })
}

fn child(role: &str, channel: &OwnedFd) -> ExitCode {
    // A core file of a process that is meant to be killed would only be litter.
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).expect("limit");
    match role {
        "plain" => obey(&PLAIN, channel),
        "net admin" => {
            let keep = &[Capability::CAP_NET_ADMIN];
            obey(&Rules { keep, calls: &[CHANNEL, ATTEMPTS] }, channel)
        }
        "attempts" => obey(&Rules { keep: &[], calls: &[CHANNEL, ATTEMPTS] }, channel),
        "threads" => obey(&Rules { keep: &[], calls: &[CHANNEL, THREADS] }, channel),
        "parent" => {
            let (child, below) = begin("deaf");
            assert_eq!(answer(&below).as_deref(), Some("confined"));
            say(channel, &child.pid().to_string());
            hear(channel);
            ExitCode::SUCCESS
        }
        "deaf" => {
            let identity = Identity::numeric(UID, GID);
            let parent_death = Some(libc::SIGKILL);
            confine(&Confinement { identity: &identity, parent_death, rules: &PLAIN })
                .expect("confine");
            say(channel, "confined");
            loop {
                std::thread::park();
            }
        }
        "account" => {
            supervise::confine::account(&Identity::numeric(UID, GID)).expect("account");
            say(channel, "confined");
            ExitCode::from(u8::from(answer(channel).is_some()))
        }
        unhappy => {
            let result = unhappily(unhappy, channel);
            say(channel, &result.map_or_else(|error| error.to_string(), |()| "confined".into()));
            ExitCode::SUCCESS
        }
    }
}

/// Everything that `confine` must refuse.
fn unhappily(role: &str, channel: &OwnedFd) -> Result<(), supervise::Error> {
    match role {
        "not root" => {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(UID)).expect("setuid");
            nobody(&PLAIN)
        }
        "becomes root" => {
            let identity = &Identity::numeric(0, GID);
            confine(&Confinement { identity, parent_death: None, rules: &PLAIN })
        }
        "keeps setuid" => nobody(&Rules { keep: &[Capability::CAP_SETUID], calls: &[CHANNEL] }),
        "two threads" => {
            let _second = std::thread::spawn(std::thread::park);
            nobody(&PLAIN)
        }
        "open directory" => {
            let _open = fs::File::open("/etc").expect("open /etc");
            nobody(&PLAIN)
        }
        "bad table" => {
            const WRONG: &[Call] = &[Call::when(libc::SYS_read, &[When::Is(9, 0)], "no argument")];
            nobody(&Rules { keep: &[], calls: &[CHANNEL, WRONG] })
        }
        "namespace" => {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).expect("unshare");
            say(channel, "unshared");
            hear(channel);
            nobody(&PLAIN)
        }
        other => panic!("unknown role {other}"),
    }
}

/// Confines itself, says so, and then does what it is told.
fn obey(rules: &Rules, channel: &OwnedFd) -> ExitCode {
    let parent = c_long::from(std::os::unix::process::parent_id());
    nobody(rules).expect("confine");
    say(channel, "confined");
    while let Some(order) = hear(channel) {
        let done = match order.as_str() {
            "root" => call(libc::SYS_setresuid, [0, 0, 0]),
            "file" => call(libc::SYS_openat, [-100, c"/etc/passwd".as_ptr() as c_long, 0]),
            "namespace" => call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0]),
            "kill" => call(libc::SYS_kill, [parent, 0, 0]),
            "buffer" => force_buffer(channel),
            "socket" => call(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_DGRAM.into(), 0]),
            "write 1" => call(libc::SYS_write, [1, c"x".as_ptr() as c_long, 1]),
            "write 2" => call(libc::SYS_write, [2, c"".as_ptr() as c_long, 0]),
            "executable" => executable(),
            "life" => life(),
            "thread" => std::thread::spawn(life).join().expect("join"),
            "heap in a thread" => std::thread::spawn(heap).join().expect("join"),
            "socket in a thread" => {
                let attempt = || call(libc::SYS_socket, [1, 1, 0]);
                std::thread::spawn(attempt).join().expect("join")
            }
            "abort" => std::process::abort(),
            "panic" => panic!("as asked"),
            "exit 7" => std::process::exit(7),
            other => panic!("unknown order {other}"),
        };
        say(channel, &done.map_or_else(|errno| format!("{errno:?}"), |()| "done".into()));
    }
    ExitCode::SUCCESS
}

fn call(number: c_long, [a, b, c]: [c_long; 3]) -> Result<(), Errno> {
    // SAFETY: only used above, with numbers and with pointers to string constants.
    Errno::result(unsafe { libc::syscall(number, a, b, c) }).map(drop)
}

/// Something that only CAP_NET_ADMIN allows, on a descriptor that is there anyway.
fn force_buffer(channel: &OwnedFd) -> Result<(), Errno> {
    nix::sys::socket::setsockopt(channel, nix::sys::socket::sockopt::RcvBufForce, &100_000)
}

fn executable() -> Result<(), Errno> {
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: maps new memory where the kernel likes, and leaves it alone.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// What any program does without thinking about it.
fn life() -> Result<(), Errno> {
    let mut map = HashMap::new();
    let mut big = vec![1u8; 8 << 20];
    big.resize(64 << 20, 2);
    for (n, byte) in big.iter().enumerate().step_by(1 << 16) {
        map.insert(n, *byte);
    }
    let lock = std::sync::Mutex::new(map);
    assert_eq!(lock.lock().expect("lock").len(), 1024);
    assert!(Instant::now() > Instant::now() - Duration::from_secs(1));
    log::info!("a confined process logs");
    log::logger().flush();
    Ok(())
}

/// Takes much memory in small pieces and gives it back, which an allocator may do to the kernel.
fn heap() -> Result<(), Errno> {
    for size in [1 << 10, 40 << 10, 100 << 10] {
        let pieces: Vec<Box<[u8]>> = (0..64).map(|n| vec![n; size].into()).collect();
        assert!(pieces.iter().all(|piece| piece.len() == size));
    }
    Ok(())
}

// ---- The tests.

fn status(child: &Child) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{}/status", child.pid())).expect("status");
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| {
            (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

const NO_CAPABILITY: &str = "0000000000000000";

fn assert_confined(child: &Child, capabilities: &str) {
    let status = status(child);
    assert_eq!(status["Uid"], [UID; 4].map(|id| id.to_string()).join(" "));
    assert_eq!(status["Gid"], [GID; 4].map(|id| id.to_string()).join(" "));
    assert_eq!(status["Groups"], GID.to_string());
    for (set, wanted) in [
        ("CapPrm", capabilities),
        ("CapEff", capabilities),
        ("CapInh", NO_CAPABILITY),
        ("CapBnd", NO_CAPABILITY),
        ("CapAmb", NO_CAPABILITY),
    ] {
        assert_eq!(status[set], wanted, "{set}");
    }
    assert_eq!(status["NoNewPrivs"], "1");
    assert_eq!(status["Seccomp"], "2");
    let path = |name| format!("/proc/{}/{name}", child.pid());
    let root = fs::read_link(path("root")).expect("root");
    assert_eq!(fs::read_link(path("cwd")).expect("cwd"), root);
    assert!(root.ends_with("empty"), "{}", root.display());
    assert_eq!(fs::read_dir(&root).expect("the root").count(), 0);
    // What nobody of its user may trace belongs to root.
    let memory = fs::metadata(path("mem")).expect("mem");
    assert_eq!(memory.uid(), 0, "it can be traced");
}

fn reads_back_from_proc() {
    let (child, channel) = begin("plain");
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    assert_confined(&child, NO_CAPABILITY);
    drop(channel);
    assert_eq!(end(child), Exit::Exited(0));
}

/// One that runs programs of others: the user and nothing of root's, but the file system as it is.
fn an_account_is_all_it_gets() {
    let (child, channel) = begin("account");
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).expect("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
        line.expect("a field").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid"), format!("{UID} {UID} {UID} {UID}"));
    assert_eq!(field("Gid"), format!("{GID} {GID} {GID} {GID}"));
    assert_eq!(field("Groups"), GID.to_string());
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), NO_CAPABILITY, "{set}");
    }
    let root = fs::read_link(format!("/proc/{}/root", child.pid())).expect("its root");
    assert_eq!(root.to_str(), Some("/"));
    drop(channel);
    assert_eq!(end(child), Exit::Exited(0));
}

fn keeps_one_capability() {
    let (child, channel) = begin("net admin");
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    assert_confined(&child, &format!("{:016x}", Capability::CAP_NET_ADMIN.bitmask()));
    assert_eq!(told(&channel, "buffer"), "done");
    assert_eq!(told(&channel, "root"), "EPERM");
}

fn told(channel: &OwnedFd, order: &str) -> String {
    say(channel, order);
    answer(channel).unwrap_or_else(|| panic!("the end instead of an answer to {order}"))
}

fn attempts_are_refused() {
    let (child, channel) = begin("attempts");
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    assert_eq!(told(&channel, "root"), "EPERM");
    assert_eq!(told(&channel, "file"), "ENOENT");
    assert_eq!(told(&channel, "namespace"), "EPERM");
    assert_eq!(told(&channel, "kill"), "EPERM");
    assert_eq!(told(&channel, "buffer"), "EPERM");
    drop(channel);
    assert_eq!(end(child), Exit::Exited(0));
}

/// Gives one order that must be the last.
fn last(role: &str, order: &str) -> Exit {
    let (child, channel) = begin(role);
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    say(&channel, order);
    assert_eq!(answer(&channel), None, "it survived {order}");
    end(child)
}

fn forbidden_call_is_the_end() {
    let exit = last("plain", "socket");
    assert_eq!(exit, killed(libc::SIGSYS));
    assert_eq!(exit.to_string(), "killed by SIGSYS (a system call its filter does not allow)");
    assert_eq!(last("plain", "root"), killed(libc::SIGSYS));
    assert_eq!(last("plain", "thread"), killed(libc::SIGSYS));
    // A thread that was started later is under the same filter, and takes all down with it.
    assert_eq!(last("threads", "socket in a thread"), killed(libc::SIGSYS));
}

fn arguments_are_looked_at() {
    assert_eq!(last("plain", "write 1"), killed(libc::SIGSYS));
    assert_eq!(last("plain", "executable"), killed(libc::SIGSYS));
    let (_child, channel) = begin("plain");
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    assert_eq!(told(&channel, "write 2"), "done");
}

fn ordinary_life_goes_on() {
    let (child, channel) = begin("threads");
    assert_eq!(answer(&channel).as_deref(), Some("confined"));
    assert_eq!(told(&channel, "life"), "done");
    for _ in 0..20 {
        assert_eq!(told(&channel, "thread"), "done");
    }
    assert_eq!(told(&channel, "heap in a thread"), "done");
    drop(channel);
    assert_eq!(end(child), Exit::Exited(0));
    assert_eq!(last("plain", "exit 7"), Exit::Exited(7));
}

fn abort_and_panic_look_like_themselves() {
    assert_eq!(last("plain", "abort"), killed(libc::SIGABRT));
    assert_eq!(last("plain", "panic"), Exit::Exited(101));
}

fn refused(role: &str) -> String {
    let (child, channel) = begin(role);
    let text = answer(&channel).expect("an answer");
    assert_eq!(end(child), Exit::Exited(0));
    text
}

fn needs_root() {
    let text = refused("not root");
    let wanted = "only root can change its user";
    assert!(text.ends_with(wanted), "{text}");
}

fn refuses_what_cannot_end_well() {
    assert_eq!(refused("becomes root"), format!("become uid 0 gid {GID}: that is root's"));
    let text = refused("keeps setuid");
    assert_eq!(text, "could become root again after giving it up");
    let text = refused("two threads");
    assert_eq!(text, "confine a process that has 2 threads, not one");
    let text = refused("open directory");
    assert!(text.ends_with(" is a directory outside the root"), "{text}");
    let text = refused("bad table");
    assert!(text.starts_with("make the filter: "), "{text}");
}

/// A user namespace that knows root only.
fn says_what_a_namespace_lacks() {
    for (setgroups, wanted) in [
        ("deny", format!("setgroups {GID} (not root, or /proc/self/setgroups of this user")),
        ("allow", format!("setgroups {GID} (this user namespace has no such group)")),
    ] {
        let (child, channel) = begin("namespace");
        assert_eq!(answer(&channel).as_deref(), Some("unshared"));
        for (file, text) in [("setgroups", setgroups), ("gid_map", "0 0 1"), ("uid_map", "0 0 1")] {
            fs::write(format!("/proc/{}/{file}", child.pid()), text).expect(file);
        }
        say(&channel, "go on");
        let text = answer(&channel).expect("an answer");
        assert!(text.starts_with(&wanted), "{text}");
    }
}

fn dies_with_its_parent() {
    // Orphans come to us, so that their end can be seen.
    nix::sys::prctl::set_child_subreaper(true).expect("subreaper");
    let (parent, channel) = begin("parent");
    let grandchild: i32 = answer(&channel).expect("a pid").parse().expect("a number");
    parent.kill(libc::SIGKILL).expect("kill");
    assert_eq!(end(parent), killed(libc::SIGKILL));
    let grandchild = nix::unistd::Pid::from_raw(grandchild);
    runner::eventually("the grandchild ends", || {
        use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
        match waitpid(grandchild, Some(WaitPidFlag::WNOHANG)).expect("ours now") {
            WaitStatus::StillAlive => false,
            WaitStatus::Signaled(_, signal, _) => signal == nix::sys::signal::Signal::SIGKILL,
            other => panic!("{other:?}"),
        }
    });
    nix::sys::prctl::set_child_subreaper(false).expect("subreaper");
}
