//! Real signals, and what audit says of them. Senders and victims are this test, started again:
//! audit sees only processes that began after it was on for the first time.
//!
//! Audit is the whole machine's. What is ours in it, and whether it is on, is looked up by a reader
//! of its own here, not by what is tested.

#[path = "audit_players.rs"]
mod players;
#[allow(dead_code, reason = "nothing here is waited for by looking again")]
#[path = "runner.rs"]
mod runner;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use players::{
    PATIENCE, ROLE, Victim, alone, change, finish, now, one, own_exe, owners, play, rules_of, seen,
    send, status, words,
};
use supervise::attribution::audit::wire::{self, Before};
use supervise::attribution::{Audit, Target, Via};

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

/// Whether it was off or on.
fn put_back() {
    let first = now();
    for on in [false, true] {
        // With others of us, or of audit's, it is not ours to switch off.
        let free = alone() && status().daemon == 0;
        if free {
            change(wire::SET, &wire::switch(on));
        }
        let audit = Audit::open().expect("audit");
        let count = 2 * wire::machines().len();
        assert_eq!((status().enabled, rules_of(std::process::id())), (1, count));
        assert!(first.backlog == 0 || status().backlog >= 8191);
        let again = Audit::open().expect_err("one is there").to_string();
        assert!(again.contains("has rules there already"), "{again}");
        assert_eq!(rules_of(std::process::id()), count);
        drop(audit);
        assert_eq!(rules_of(std::process::id()), 0);
        if free && alone() {
            assert_eq!(now(), Before { on, ..first });
            change(wire::SET, &wire::switch(first.on));
        }
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
