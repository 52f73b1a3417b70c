//! Every PID file that must not be trusted, with the process that would have been hit. The victims
//! are this test, started again; each tells what it is over its standard output and ends with its
//! standard input.

#[path = "runner.rs"]
mod runner;
#[path = "safe_kill_victims.rs"]
mod victims;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use victims::{
    Folder, ROLE, Victim, finish, obeyed, program, refused, root, run, victim, written_at,
};

/// A user id that is nobody's.
const STRANGER: u32 = 61_234;

pub fn main() -> ExitCode {
    match std::env::var(ROLE) {
        Ok(role) => return victim(&role),
        Err(_) if !nix::unistd::geteuid().is_root() => {
            println!("not root: other users' processes and files are left out");
        }
        Err(_) => {}
    }
    runner::run(&[
        ("the_process_meant_is_hit", process_meant),
        ("a_signal_of_choice", signal_of_choice),
        ("only_saying_does_nothing", only_saying),
        ("a_threads_number", threads_number),
        ("a_dead_process", dead_process),
        ("one_that_waits_to_be_reaped", zombie),
        ("a_number_used_again", number_used_again),
        ("a_number_used_again_by_the_kernels_own_count", number_really_used_again),
        ("a_file_from_before_the_boot", before_the_boot),
        ("a_file_from_the_future", from_the_future),
        ("another_executable", another_executable),
        ("an_executable_that_was_replaced", replaced_executable),
        ("another_user", another_user),
        ("a_file_of_one_who_has_no_say", no_say),
        ("a_file_that_others_can_write", writable_by_others),
        ("not_a_file", not_a_file),
        ("what_is_not_a_number", not_a_number),
        ("a_lock_tells_the_truth", lock_tells_the_truth),
        ("an_expectation_holds_for_a_lock_too", expectation_of_a_lock),
        ("a_read_lock_tells_nothing", read_lock),
        ("a_lock_has_one_holder", one_holder),
        ("a_child_does_not_remove_the_file", child_leaves_it),
        ("a_holder_outside_the_namespace", outside_the_namespace),
        ("an_ordinary_user", ordinary_user),
        ("waiting_for_the_end", waiting),
        ("no_sense", no_sense),
    ])
}

// ---- The cases.

fn process_meant() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    obeyed(&[], &folder.file(format!("{}\n", victim.pid())));
    victim.hit_by(libc::SIGTERM);
}

fn signal_of_choice() {
    for (words, signal) in [
        (&["-HUP"][..], libc::SIGHUP),
        (&["-9"], libc::SIGKILL),
        (&["-s", "USR1"], libc::SIGUSR1),
        (&["-sSIGINT"], libc::SIGINT),
    ] {
        let (folder, victim) = (Folder::new(), Victim::plain());
        obeyed(words, &folder.file(format!("  {}", victim.pid())));
        victim.hit_by(signal);
    }
    let (folder, victim) = (Folder::new(), Victim::plain());
    obeyed(&["-0"], &folder.file(victim.pid().to_string()));
    victim.unhurt();
}

fn only_saying() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    let (code, text) = run(&["-n", "-KILL"], &path);
    assert_eq!(code, 0, "{text}");
    let start = format!("would send SIGKILL to process {} (", victim.pid());
    assert!(text.starts_with(&start) && text.ends_with("whose number is in it\n"), "{text}");
    victim.unhurt();
}

/// The story this was made for: a stale number that a thread of a daemon has now.
fn threads_number() {
    let (folder, victim) = (Folder::new(), Victim::new("threads", Path::new("")));
    let tid: i32 = victim.said.parse().expect("a number");
    assert_ne!(tid.unsigned_abs(), victim.pid());
    let path = folder.file(tid.to_string());
    // kill(2) would have done it.
    // SAFETY: numbers; signal 0 only asks.
    assert_eq!(unsafe { libc::kill(tid, 0) }, 0);
    refused(&[], &path, &format!("{tid} is a thread of process {} (", victim.pid()));
    victim.unhurt();
}

fn dead_process() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let pid = victim.pid();
    let path = folder.file(pid.to_string());
    victim.unhurt();
    refused(&[], &path, &format!("there is no process {pid}: it has ended"));
    refused(&[], &folder.file("2000000000"), "there is no process 2000000000");
    fs::remove_file(&path).expect("removed");
    refused(&[], &path, "No such file");
}

fn zombie() {
    let (folder, mut victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    victim.input = None;
    let state = || fs::read_to_string(format!("/proc/{}/stat", victim.pid())).expect("unreaped");
    runner::eventually("it has ended", || state().contains(") Z "));
    refused(&[], &path, "waits to be reaped");
}

fn number_used_again() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    // A little later than it began is well; a little earlier is not.
    written_at(&path, SystemTime::now() - Duration::from_secs(3));
    refused(&[], &path, "after the file was written: the number has been used again");
    written_at(&path, SystemTime::now());
    obeyed(&[], &path);
    victim.hit_by(libc::SIGTERM);
}

/// In a pid namespace of its own, where nobody else takes the number in between.
fn number_really_used_again() {
    if !root() {
        return println!("not root: no pid namespace");
    }
    let folder = Folder::new();
    let path = folder.0.join("pid");
    let script = r#"
        sleep 100 & first=$!
        echo $first >"$1"
        kill -9 $first; wait $first 2>/dev/null
        # The clocks have steps.
        sleep 0.1
        echo $((first - 1)) >/proc/sys/kernel/ns_last_pid
        sleep 100 & second=$!
        [ "$second" = "$first" ] || { echo "got $second instead of $first"; exit 9; }
        "$0" "$1"; code=$?
        kill -0 $second || exit 8
        exit $code
    "#;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script]);
    let (code, text) = finish(command.arg(program()).arg(&path));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the number has been used again"), "{text}");
}

fn before_the_boot() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    let uptime = fs::read_to_string("/proc/uptime").expect("uptime");
    let uptime: f64 = uptime.split(' ').next().and_then(|up| up.parse().ok()).expect("seconds");
    written_at(&path, SystemTime::now() - Duration::from_secs_f64(uptime + 1.0));
    refused(&[], &path, "before the machine was booted");
    victim.unhurt();
}

fn from_the_future() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    written_at(&path, SystemTime::now() + Duration::from_secs(10));
    refused(&[], &path, "from now, if the clock is right");
    victim.unhurt();
}

fn another_executable() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    refused(&["--exe", "/bin/sh"], &path, "does not execute /");
    let own = std::env::current_exe().expect("our own");
    // By another name of the same file.
    let link = folder.0.join("link");
    symlink(&own, &link).expect("a link");
    obeyed(&["--exe", link.to_str().expect("text")], &path);
    victim.hit_by(libc::SIGTERM);
}

fn replaced_executable() {
    let folder = Folder::new();
    let copy = folder.0.join("daemon");
    fs::copy(std::env::current_exe().expect("our own"), &copy).expect("copied");
    let victim = Victim::of(Command::new(&copy), "plain", Path::new(""));
    let path = folder.file(victim.pid().to_string());
    // As an upgrade does.
    fs::copy("/bin/true", folder.0.join("new")).expect("copied");
    fs::rename(folder.0.join("new"), &copy).expect("renamed");
    let (code, text) = run(&["--exe", copy.to_str().expect("text")], &path);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("has been deleted or replaced since it was started"), "{text}");
    victim.hit_by(libc::SIGTERM);
}

fn another_user() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    refused(&["--user", &STRANGER.to_string()], &path, "is not uid 61234's");
    let (code, text) = run(&["--user", "no-such-user-here"], &path);
    assert!(code == 1 && text.contains("no such user"), "{text}");
    let own = nix::unistd::getuid().to_string();
    obeyed(&["--user", &own], &path);
    victim.hit_by(libc::SIGTERM);
}

/// What lets an unprivileged daemon have root kill anybody.
fn no_say() {
    if !root() {
        return println!("not root: no file can be given away");
    }
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    chown(&path, Some(STRANGER), None).expect("chown");
    refused(&[], &path, "belongs to uid 61234, who cannot speak for process");
    obeyed(&["--user", "root"], &path);
    victim.hit_by(libc::SIGTERM);
}

fn writable_by_others() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    for (mode, who) in [(0o666, "everybody"), (0o664, "its group")] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("permissions");
        refused(&[], &path, &format!("can be written by {who} (mode {mode:04o})"));
    }
    victim.unhurt();
}

fn not_a_file() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    let link = folder.0.join("link");
    symlink(&path, &link).expect("a link");
    refused(&[], &link, "is a symbolic link");
    refused(&[], &folder.0, "is not a regular file");
    // Nobody writes into it: who opened it for reading would wait for ever.
    let pipe = folder.0.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    refused(&[], &pipe, "is not a regular file");
    victim.unhurt();
}

fn not_a_number() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let pid = victim.pid();
    for (content, why) in [
        (String::new(), "pid: line 1, column 1: the file is empty"),
        ("\n".repeat(3), "line 4, column 1: no number in the file"),
        (format!("\n -{pid}"), "line 2, column 2: a negative number: a process group's"),
        ("0".into(), "line 1, column 1: 0: to kill it means one's own process group"),
        ("1\n".into(), "line 1, column 1: that is init"),
        (format!("{pid} daemon"), "something behind the number"),
        (format!("{pid}\n{pid}\n"), "line 2, column 1: a second number"),
        (format!("{}{pid}", " ".repeat(1 << 20)), "line 1, column 65: too long for a PID file"),
    ] {
        let why = why.replace("column 1: that", "column 1: 1: that");
        refused(&[], &folder.file(content), &why);
    }
    victim.unhurt();
}

fn lock_tells_the_truth() {
    let (folder, bystander) = (Folder::new(), Victim::plain());
    let path = folder.0.join("pid");
    let victim = Victim::new("locks", &path);
    assert_eq!(victim.said, victim.pid().to_string());
    assert_eq!(fs::read_to_string(&path).expect("read"), format!("{}\n", victim.pid()));
    let lie = format!("{}\n", bystander.pid());
    fs::write(&path, &lie).expect("a lie");
    let (_, text) = run(&["-n"], &path);
    assert!(text.contains(&format!("{} (", victim.pid())), "{text}");
    assert!(text.ends_with("which holds the lock on it\n"), "{text}");
    // Even of a time before it began.
    written_at(&path, SystemTime::now() - Duration::from_secs(30));
    obeyed(&["-KILL"], &path);
    victim.hit_by(libc::SIGKILL);
    // With nobody to hold it, the lie is a number like any other.
    fs::write(&path, format!("{}\n", std::process::id())).expect("written");
    written_at(&path, SystemTime::UNIX_EPOCH);
    refused(&[], &path, "before the machine was booted");
    bystander.unhurt();

    // At a clean end nothing is left.
    let victim = Victim::new("locks", &path);
    victim.unhurt();
    assert!(!path.exists());
    // After a death the number is, and hits nothing.
    let victim = Victim::new("locks", &path);
    let pid = victim.pid();
    drop(victim);
    assert_eq!(fs::read_to_string(&path).expect("left"), format!("{pid}\n"));
    refused(&[], &path, &format!("there is no process {pid}"));
}

fn expectation_of_a_lock() {
    let folder = Folder::new();
    let path = folder.0.join("pid");
    let victim = Victim::new("locks", &path);
    refused(&["--exe", "/bin/sh"], &path, "does not execute");
    refused(&["--user", &STRANGER.to_string()], &path, "is not uid");
    victim.unhurt();
}

/// Whoever may read the file can lock it for reading.
fn read_lock() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    let path = folder.file(victim.pid().to_string());
    let reader = Victim::new("reads", &path);
    obeyed(&[], &path);
    victim.hit_by(libc::SIGTERM);
    reader.unhurt();
}

fn one_holder() {
    let folder = Folder::new();
    let path = folder.0.join("pid");
    let first = Victim::new("locks", &path);
    let second = Victim::new("locks", &path);
    let holder = format!("{}: is locked by process {} (", path.display(), first.pid());
    assert!(second.said.starts_with(&holder), "{}", second.said);
    second.unhurt();
    assert_eq!(fs::read_to_string(&path).expect("untouched"), format!("{}\n", first.pid()));
    first.unhurt();
}

fn child_leaves_it() {
    let folder = Folder::new();
    let path = folder.0.join("pid");
    let victim = Victim::new("forks", &path);
    assert_eq!(victim.said, "true");
    obeyed(&[], &path);
    victim.hit_by(libc::SIGTERM);
}

fn outside_the_namespace() {
    if !root() {
        return println!("not root: no pid namespace");
    }
    let folder = Folder::new();
    let path = folder.0.join("pid");
    let victim = Victim::new("locks", &path);
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        finish(command.args(["--pid", "--fork"]).args(words).arg(program()).arg(&path))
    };
    let (code, text) = unshare(&["--mount-proc"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("our pid namespace has no number for"), "{text}");
    victim.unhurt();

    // A namespace that still sees its parent's /proc would be told of other processes.
    let path = folder.file("2");
    let script = r#"sleep 100 & echo $! >"$1"; "$0" "$1""#;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script]);
    let (code, text) = finish(command.arg(program()).arg(&path));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("/proc is not our namespace's"), "{text}");
}

fn ordinary_user() {
    if !root() {
        return println!("not root: all of this has run as an ordinary user");
    }
    let folder = Folder::new();
    // It must be able to execute both, wherever they were built.
    let (copy, kill) = (folder.0.join("victim"), folder.0.join("safe-kill"));
    fs::copy("/proc/self/exe", &copy).expect("copied");
    fs::copy(program(), &kill).expect("copied");
    for path in [&copy, &kill] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("permissions");
    }
    let stranger = |program: &Path| {
        let mut command = Command::new(program);
        command.uid(STRANGER).gid(STRANGER);
        command
    };
    let theirs = Victim::of(stranger(&copy), "plain", Path::new(""));
    let path = folder.file(theirs.pid().to_string());
    assert_eq!(finish(stranger(&kill).arg(&path)), (0, String::new()));
    theirs.hit_by(libc::SIGTERM);

    let roots = Victim::plain();
    let path = folder.file(roots.pid().to_string());
    let (code, text) = finish(stranger(&kill).arg(&path));
    assert!(code == 1 && text.contains("Operation not permitted"), "{text}");
    let (code, text) = finish(stranger(&kill).arg("--exe").arg(&copy).arg(&path));
    assert!(code == 1 && text.contains("cannot be seen"), "{text}");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
    let (code, text) = finish(stranger(&kill).arg(&path));
    assert!(code == 1 && text.contains("Permission denied"), "{text}");
    roots.unhurt();
}

fn waiting() {
    let (folder, victim) = (Folder::new(), Victim::plain());
    obeyed(&["--wait", "30"], &folder.file(victim.pid().to_string()));
    victim.hit_by(libc::SIGTERM);
    let deaf = Victim::new("deaf", Path::new(""));
    let path = folder.file(deaf.pid().to_string());
    let (code, text) = run(&["--wait", "0.1"], &path);
    assert!(code == 1 && text.contains("has not ended 0.1 s after SIGTERM"), "{text}");
    obeyed(&["-KILL", "--wait", "30"], &path);
    deaf.hit_by(libc::SIGKILL);
}

fn no_sense() {
    for words in [&[][..], &["-NOSUCH", "x"], &["a", "b"], &["--wait", "soon", "x"], &["-x", "y"]] {
        let (code, text) = finish(Command::new(program()).args(words));
        assert!(code == 2 && text.contains("\nusage: safe-kill "), "{words:?}: {text}");
    }
    let (code, text) = finish(Command::new(program()).arg("--help"));
    assert!(code == 0 && text.starts_with("usage: "), "{text}");
}
