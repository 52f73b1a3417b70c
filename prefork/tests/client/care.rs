//! What the original lacks: a script that starts holds only what is meant for it, nothing is waited
//! for without end, and a directory is looked at before it is used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{LONG, ORIGINAL, Outcome, World, ends, ours};

/// A shell's descriptors, by number, as what they are.
const LIST: &str = "for f in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$f; done
[ -e /proc/$$/fd/77 ] && echo 77 is open
grep -E 'SigIgn|SigBlk' /proc/self/status; echo $PREFORK_INTERP; exit 5
";

#[test]
fn a_script_that_starts_holds_what_is_meant_for_it() {
    let Some(world) = World::alone() else { return };
    let list = world.write("list", LIST);
    let lock = fs::File::open(&list).unwrap();
    let mut command = world.command(ours(), &["-U", "sh", list.to_str().unwrap()]);
    let number = lock.as_raw_fd();
    // SAFETY: one system call in the child: something of its caller's, which it inherits.
    unsafe {
        command.pre_exec(move || Ok(nix::errno::Errno::result(libc::dup2(number, 77)).map(drop)?))
    };
    let told = Outcome::of(command.spawn().unwrap());
    assert_eq!((told.code(), &*told.output), (Some(5), ""), "{told:?}");
    let said: Vec<&str> = told.complaint.lines().collect();
    let kinds: Vec<&str> = said.iter().map(|line| line.split(':').next().unwrap()).collect();
    // The script itself, which the shell reads, is 10 or above.
    let expected = ["/dev/null", "pipe", "pipe", "socket", "socket", "pipe", "pipe"];
    assert_eq!(kinds[..7], expected, "{told:?}");
    assert_eq!(said[1], said[2], "what it says goes to the caller's standard error");
    assert!(!told.complaint.contains(world.run.to_str().unwrap()), "the lock: {told:?}");
    assert!(!told.complaint.contains("77 is open"), "{told:?}");
    // As a command of it sees them. Not even SIGPIPE, which Rust's own programs ignore, and not the alarm that limits the time.
    for (name, not) in
        [("SigIgn", libc::SIGPIPE), ("SigIgn", libc::SIGALRM), ("SigBlk", libc::SIGALRM)]
    {
        let line =
            said.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
        assert_eq!(u64::from_str_radix(line, 16).unwrap() >> (not - 1) & 1, 0, "{name} {not}");
    }
    let last: Vec<&str> = said.last().unwrap().split([',', '.', ' ']).collect();
    assert_eq!((last[0], last[2].len(), &last[3..]), ("v1", 9, &["3", "4", "5", "6"][..]));
}

#[test]
fn the_lock_is_not_inherited() {
    let Some(world) = World::alone() else { return };
    // What it leaves behind has all the descriptors it was started with.
    let leaves = world.write("leaves", "sleep 1000 & echo $!; exec sleep 1001\n");
    let words = ["-U", "sh", leaves.to_str().unwrap()];
    let mut call = world.command(ours(), &words).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(call.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let left: i32 = line.trim().parse().unwrap();
    let locks = world.names('l');
    assert_eq!(locks.len(), 1);
    let take = || {
        let lock = fs::File::open(&locks[0]).unwrap();
        Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok()
    };
    assert!(!take(), "the caller has it as long as it waits");
    // Nothing can be given back any more: only the ends of all descriptors count.
    call.kill().unwrap();
    call.wait().unwrap();
    assert!(take(), "somebody else has the lock");
    kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
}

#[test]
fn a_script_that_does_not_become_ready_is_ended() {
    let Some(world) = World::alone() else { return };
    let hangs = world.write("hangs", "echo $$; exec sleep 1000\n");
    let words = ["-U", "sh", hangs.to_str().unwrap()];
    let begin = Instant::now();
    let told = Outcome::of(
        world.command(ours(), &words).env("PREFORK_INTERP_TIMEOUT", "1").spawn().unwrap(),
    );
    assert!(begin.elapsed() < LONG);
    assert_eq!(told.code(), Some(127), "{told:?}");
    assert!(told.complaint.contains("not ready for calls after 1 s"), "{told:?}");
    let script: i32 = told.complaint.lines().next().unwrap().parse().unwrap();
    assert!(ends(script, LONG), "the script goes on");
    assert!(world.names('s').is_empty(), "a socket where nobody answers");
    let lock = fs::File::open(&world.names('l')[0]).unwrap();
    assert!(Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok(), "somebody has the lock");
}

#[test]
fn a_lock_is_not_waited_for_without_end() {
    let world = World::new();
    world.server(ORIGINAL);
    assert_eq!(world.run(ours(), &["-U", "--kill", "perl", "script"]).code(), Some(0));
    let path = world.run.join("lmine");
    let lock = fs::File::create(&path).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let words = ["-U", "-g", "mine", "perl", "script"];
    let told = Outcome::of(
        world.command(ours(), &words).env("PREFORK_INTERP_TIMEOUT", "1").spawn().unwrap(),
    );
    assert_eq!(told.code(), Some(127), "{told:?}");
    assert!(told.complaint.contains("still holds"), "{told:?}");
}

#[test]
fn a_stopped_server_is_replaced() {
    let world = World::new();
    for program in [ORIGINAL, ours()] {
        let old = world.server(program);
        kill(Pid::from_raw(old), Signal::SIGSTOP).unwrap();
        let told = world.call(ours(), &["server"]);
        let new: i32 = told.output.trim().parse().unwrap_or_else(|_| panic!("{told:?}"));
        assert!(told.complaint.contains(&format!("process {old}, is stopped")), "{told:?}");
        assert_ne!(new, old);
        kill(Pid::from_raw(old), Signal::SIGCONT).unwrap();
        assert!(ends(old, LONG), "it has seen that it is replaced");
        assert_eq!(world.server(program), new);
    }
}

#[test]
fn only_a_private_directory_is_used() {
    let Some(world) = World::alone() else { return };
    world.server(ours());
    let complains = |what: &str| {
        let told = world.call(ours(), &["exit", "3"]);
        assert_eq!(told.code(), Some(127), "{what}: {told:?}");
        assert!(told.complaint.contains("are not those of a directory"), "{what}: {told:?}");
    };
    let mode = |mode| fs::set_permissions(&world.run, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o750);
    complains("the group may read it");
    mode(0o700);
    assert_eq!(world.call(ours(), &["exit", "3"]).code(), Some(3));
    let aside = world.run.with_extension("aside");
    fs::rename(&world.run, &aside).unwrap();
    symlink(&aside, &world.run).unwrap();
    complains("a link");
    fs::remove_file(&world.run).unwrap();
    fs::rename(&aside, &world.run).unwrap();
    assert_eq!(world.call(ours(), &["exit", "3"]).code(), Some(3));
    std::os::unix::fs::chown(&world.run, Some(world.user + 1_000_000), None).unwrap();
    complains("somebody else's");
    world.give(&world.run);
}
