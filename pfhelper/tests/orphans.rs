//! The parent is killed at any moment, whatever the handler is doing: it goes too, soon and
//! quietly.
//!
//! The parent is this program again, started as `a_parent`, and starts the handler as dhcpd does.
//! The test is the nearest reaper, so that the orphans become its children: it learns when each
//! ended, how, and what it cost. It is alone in its file because it waits for all its children.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may say what it expects")]

#[path = "support/lab.rs"]
mod lab;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{address, all_tables, own_network, three_sets, wait_for};
use pfhelper::{FromParent, FromServer, ToParent, ToServer, Verb};
use proto::unix::Channel;
use supervise::Program;

/// How many handlers are orphaned.
const ORPHANS: u32 = 200;
/// How long one may live on.
const GONE: Duration = Duration::from_secs(1);
/// Under this name a parent learns that it is one, and which numbers its load is made from.
const SEED: &str = "A_PARENT";
/// The handler's end of a channel on which the test is the server, if a parent has it.
const SERVER: i32 = 9;

/// Numbers that look random (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn address(&mut self) -> std::net::Ipv4Addr {
        address(self.below(5_000) as u32)
    }

    /// One of the four, abandoned seldom: it makes the handler look through conntrack.
    fn verb(&mut self) -> Verb {
        match self.below(100) {
            0 => Verb::Abandoned,
            1..10 => Verb::Changed,
            10..40 => Verb::Released,
            _ => Verb::Leased,
        }
    }
}

/// Talks to a handler as fast as it takes it, until it is gone.
fn load(channel: &Channel<FromServer, ToServer>, dice: &mut Dice) {
    for seq in 0.. {
        let said = if dice.below(20) == 0 {
            let count = dice.below(5_000);
            let leased: Vec<_> = (0..count).map(|_| dice.address()).collect();
            let messages = FromServer::replace(seq, &leased, &[dice.address()]);
            messages.iter().try_for_each(|message| channel.send(message))
        } else {
            let command =
                |dice: &mut Dice| pfhelper::Command { verb: dice.verb(), address: dice.address() };
            let commands = (0..=dice.below(2_000)).map(|_| command(dice)).collect();
            channel.send(&FromServer::Apply { seq, commands })
        };
        while let Ok(Some(_)) = channel.try_recv() {}
        if said.is_err() {
            return;
        }
    }
}

/// Not a test: what the test kills. Run among the tests it does nothing.
#[test]
fn a_parent() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let environment = [("TANDEM_LOG", "stderr:info")];
    let title = "dhcpd: pf table handler";
    let started = supervise::start(Program::Sibling("pfhelper"), title, &environment);
    let (_child, channel) = started.unwrap();
    let channel: Channel<FromParent, ToParent> = Channel::from_fd(channel).unwrap();
    channel.send(&FromParent::Setup { tables: all_tables(), element_timeout: None }).unwrap();
    assert!(matches!(channel.recv(), Ok(ToParent::Ready)));
    if fs::exists(format!("/proc/self/fd/{SERVER}")).unwrap() {
        // SAFETY: the test has put it there, and nothing else here knows of it.
        let theirs = unsafe { OwnedFd::from_raw_fd(SERVER) };
        channel.send(&FromParent::Commands(theirs)).unwrap();
        // For ever: nothing more is said.
        panic!("{:?}", channel.recv());
    }
    let (ours, theirs) = proto::unix::pair().unwrap();
    channel.send(&FromParent::Commands(theirs)).unwrap();
    load(&Channel::from_fd(ours).unwrap(), &mut Dice(seed.parse().unwrap()));
    panic!("the handler left its parent");
}

/// Starts a parent; with `server` it hands that end on, else it is the server itself.
fn parent(program: &Path, log: &Path, seed: u64, server: Option<OwnedFd>) -> Child {
    let mut command = Command::new(program);
    command.args(["--exact", "a_parent", "--nocapture"]).env(SEED, seed.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::options().append(true).open(log).unwrap());
    if let Some(server) = server {
        let place = move || {
            // SAFETY: two numbers; called between fork and exec, where dup2 is allowed.
            let copied = unsafe { libc::dup2(server.as_raw_fd(), SERVER) };
            if copied == SERVER { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: `place` makes one async-signal-safe system call.
        unsafe { command.pre_exec(place) };
    }
    command.spawn().unwrap()
}

/// What of ours is there, ended or not.
fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let lists = threads.filter_map(|t| fs::read_to_string(t.unwrap().path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// A handler without a parent, that has ended too.
struct Orphan {
    /// Its exit code.
    code: i32,
    /// How long after its parent.
    took: Duration,
    /// How long it had run on a processor by then, and how much longer it did.
    before: Duration,
    cpu: Duration,
}

impl Orphan {
    fn wait(pid: u32, killed: Instant, here: &str) -> Orphan {
        let before = lab::cpu_time(pid);
        let gone = wait_for(lab::pidfd(pid).as_fd(), GONE);
        let took = killed.elapsed();
        assert!(gone, "{here}: the handler is still there, {}", lab::where_is(pid));
        let mut status = 0;
        // SAFETY: all zeros is a value of this structure of numbers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        let pid = i32::try_from(pid).unwrap();
        // SAFETY: both pointers are to what lives through the call.
        let found = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        assert_eq!(found, pid);
        assert!(libc::WIFEXITED(status), "{here}: it ended by {status}");
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
        };
        let cpu = (time(usage.ru_utime) + time(usage.ru_stime)).saturating_sub(before);
        Orphan { code: libc::WEXITSTATUS(status), took, before, cpu }
    }
}

/// The programs in a folder of their own, beside each other as they are installed.
fn install() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("orphans");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::hard_link(env!("CARGO_BIN_EXE_pfhelper"), folder.join("pfhelper")).unwrap();
    fs::hard_link(std::env::current_exe().unwrap(), folder.join("parent")).unwrap();
    folder
}

#[test]
fn no_handler_outlives_its_parent() {
    own_network();
    three_sets();
    // SAFETY: numbers only; orphans of our children become our own.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    let folder = install();
    let (program, log) = (folder.join("parent"), folder.join("log"));
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut dice = Dice(seed);
    let (mut orphans, mut rounds, mut at_work) = (0, 0, 0);
    let mut slowest = Duration::ZERO;
    let mut dearest = Duration::ZERO;
    while orphans < ORPHANS {
        rounds += 1;
        let here = format!("round {rounds} of seed {seed}");
        assert!(rounds < 3 * ORPHANS, "{here}: only {orphans} parents had a handler");
        fs::write(&log, "").unwrap();
        // Every second server lives on and goes on talking.
        let (server, theirs) = match rounds % 2 {
            0 => (None, None),
            _ => proto::unix::pair().map(|(ours, theirs)| (Some(ours), Some(theirs))).unwrap(),
        };
        let mut parent = parent(&program, &log, dice.below(u64::MAX) | 1, theirs);
        let server = server.map(|ours| {
            let mut dice = Dice(dice.below(u64::MAX) | 1);
            std::thread::spawn(move || load(&Channel::from_fd(ours).unwrap(), &mut dice))
        });
        // Every fourth dies while it starts, or before the handler is ready.
        let longest = if dice.below(4) == 0 { 20_000 } else { 90_000 };
        let process = lab::pidfd(parent.id());
        let moment = Duration::from_micros(dice.below(longest));
        assert!(
            !wait_for(process.as_fd(), moment),
            "{here}: {}",
            fs::read_to_string(&log).unwrap()
        );
        let killed = Instant::now();
        parent.kill().unwrap();
        parent.wait().unwrap();
        // From here on its children are ours.
        let children = children();
        assert!(children.len() < 2, "{here}: {children:?}");
        let orphan = children.first().map(|&pid| Orphan::wait(pid, killed, &here));
        if let Some(server) = server {
            server.join().unwrap();
        }
        // One whose parent was killed between fork and exec never was a handler.
        let Some(orphan) = orphan.filter(|orphan| orphan.code != 127) else { continue };
        let said = fs::read_to_string(&log).unwrap();
        assert_eq!(orphan.code, 1, "{here}: {said}");
        assert!(said.contains("fatal in pf table handler: pf channel closed\n"), "{here}: {said}");
        assert!(!said.contains("panicked"), "{here}: {said}");
        orphans += 1;
        at_work += u32::from(orphan.before > Duration::from_millis(10));
        slowest = slowest.max(orphan.took);
        dearest = dearest.max(orphan.cpu);
    }
    println!("{orphans} handlers of {rounds} parents, {at_work} of them at work:");
    println!("the last was gone after {slowest:?}; the dearest cost {dearest:?} of a processor");
    // Most must have been killed in the middle of their work, or this has shown nothing.
    assert!(at_work > ORPHANS / 5, "only {at_work} were at work");
    assert!(dearest < GONE / 2, "{dearest:?} of a processor after the parent's end");
    fs::remove_dir_all(&folder).unwrap();
}
