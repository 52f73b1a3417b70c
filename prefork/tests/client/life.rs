//! What comes and goes: servers that are killed and replaced, watchers, entries that are too many,
//! callers that are gone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{LONG, ORIGINAL, Outcome, World, ends, ours, processes, until};

/// A call that goes on, and the process that runs the script for it.
fn waiting(world: &World, program: &str) -> (Child, i32) {
    let mut call = world.command(program, &["-U", "perl", "script", "wait"]).spawn().unwrap();
    let mut line = String::new();
    let stdout = call.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    (call, line.trim().parse().unwrap())
}

fn is_there(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn kill_ends_the_server_but_no_call() {
    let Some(world) = World::alone() else { return };
    for program in [ORIGINAL, ours()] {
        let (mut call, script) = waiting(&world, program);
        let server = world.server(program);
        assert!(is_there(server));
        let killed = world.run(ours(), &["-U", "--kill", "perl", "script"]);
        assert_eq!((killed.code(), &*killed.complaint), (Some(0), ""));
        assert!(ends(server, LONG), "the server goes on");
        assert!(world.names('s').is_empty() && world.names('l').is_empty());
        assert!(is_there(script), "the call has ended with the server");
        assert_ne!(world.server(program), server);
        let killed = world.run(ours(), &["-U", "--kill", "perl", "script"]);
        assert_eq!(killed.code(), Some(0));
        // Nothing is there to kill, which is what was wanted.
        assert_eq!(world.run(ours(), &["-U", "--kill", "perl", "script"]).code(), Some(0));
        call.kill().unwrap();
        call.wait().unwrap();
        assert!(ends(script, LONG));
    }
}

#[test]
fn a_fresh_server_takes_the_old_ones_place() {
    let world = World::new();
    for program in [ORIGINAL, ours()] {
        let old = world.server(program);
        let (mut call, script) = waiting(&world, program);
        let told = world.run(ours(), &["-U", "-f", "perl", "script", "server"]);
        let new: i32 = told.output.trim().parse().unwrap();
        assert_ne!(new, old);
        assert!(ends(old, LONG), "the old one goes on");
        assert_eq!(world.server(program), new);
        assert!(is_there(script), "the call has ended with the server");
        call.kill().unwrap();
        call.wait().unwrap();
        assert!(ends(script, LONG));
    }
}

#[test]
fn the_watcher_rests_whatever_happens_to_the_socket() {
    let Some(world) = World::alone() else { return };
    let server = world.server(ours());
    let watcher = processes(world.user, "prefork-watch");
    assert_eq!(watcher.len(), 1, "of our own user at most one may be there: {watcher:?}");
    let watcher = watcher[0];
    // Descriptors: two pipes, and what watches.
    until("the watcher has what it needs", || {
        let list = fs::read_dir(format!("/proc/{watcher}/fd")).unwrap();
        let mut numbers: Vec<_> = list.map(|e| e.unwrap().file_name()).collect();
        numbers.sort();
        let last = fs::read_link(format!("/proc/{watcher}/fd/3")).unwrap_or_default();
        numbers == ["0", "1", "2", "3"] && last.to_str().unwrap().contains("inotify")
    });
    let socket = world.names('s')[0].clone();
    let mut command = world.command("chmod", &["0700", socket.to_str().unwrap()]);
    assert!(command.status().unwrap().success());
    let before = ticks(watcher);
    let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(700_u16));
    let spent = ticks(watcher) - before;
    assert!(spent < 5, "{spent} of 70 hundredths of a second spent on nothing");
    assert!(is_there(watcher) && world.server(ours()) == server);
    fs::remove_file(&socket).unwrap();
    assert!(ends(watcher, LONG) && ends(server, LONG), "the socket is gone");
}

/// Hundredths of a second that a process has run.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit_once(") ").unwrap().1;
    let number = |at| after.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
    number(11) + number(12)
}

#[test]
fn the_watcher_ends_with_the_server() {
    let Some(world) = World::alone() else { return };
    let server = world.server(ours());
    let watcher = processes(world.user, "prefork-watch");
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    for pid in watcher {
        assert!(ends(pid, LONG), "the watcher goes on");
    }
    // And the next call starts another.
    assert_ne!(world.server(ours()), server);
}

#[test]
fn entries_that_are_too_many_are_removed() {
    let Some(world) = World::alone() else { return };
    let alive = world.server(ours());
    let name = |kind: char, number: usize| world.run.join(format!("{kind}old{number}"));
    for number in 0..150 {
        // Its listener is gone when this statement is over.
        UnixListener::bind(name('s', number)).unwrap();
        fs::write(name('l', number), "").unwrap();
        world.give(&name('s', number));
        world.give(&name('l', number));
    }
    assert!(world.names('s').len() > 150);
    // One of them is being started: its lock is held. Nobody is to wait for it.
    let lock = fs::File::open(name('l', 7)).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let told = world.run(ours(), &["-U", "-g", "another", "perl", "script", "server"]);
    assert_eq!((told.code(), &*told.complaint), (Some(0), ""), "{told:?}");
    let left = world.names('s').len();
    assert!((2..=100).contains(&left), "{left} are left");
    assert!(name('s', 7).exists(), "it was locked");
    drop(lock);
    assert_eq!(
        world.server(ours()),
        alive,
        "one that is alive has gone before those that are dead"
    );
    world.run(ours(), &["-U", "-g", "another", "--kill", "perl", "script"]);
    for kind in ['s', 'l'] {
        (0..150).for_each(|number| drop(fs::remove_file(name(kind, number))));
    }
}

#[test]
fn a_caller_that_ends_takes_its_call_along() {
    let world = World::new();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let (call, script) = waiting(&world, ours());
        kill(Pid::from_raw(call.id() as i32), signal).unwrap();
        assert!(ends(script, LONG), "{signal}: the script goes on");
        let mut call = call;
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(call.wait().unwrap().signal(), Some(signal as i32));
    }
}

/// In the background of a shell SIGINT is ignored, by which calls are hung up.
#[test]
fn what_the_first_caller_ignores_is_its_own() {
    let world = World::new();
    let ignores = "trap '' INT QUIT HUP; exec \"$@\"";
    let words = ["-c", ignores, "sh", ours(), "-U", "perl", "script", "server"];
    let told = Outcome::of(world.command("/bin/sh", &words).spawn().unwrap());
    assert_eq!(told.code(), Some(0), "{told:?}");
    let (mut call, script) = waiting(&world, ours());
    call.kill().unwrap();
    call.wait().unwrap();
    assert!(ends(script, LONG), "the script goes on");
}

#[test]
fn a_caller_that_ends_while_the_script_starts_takes_it_along() {
    let world = World::new();
    let hangs = world.write("hangs", "echo $$; exec sleep 1000\n");
    let mut call = world.command(ours(), &["-U", "sh", hangs.to_str().unwrap()]).spawn().unwrap();
    // What a script says as it starts goes to standard error.
    let mut line = String::new();
    BufReader::new(call.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let script: i32 = line.trim().parse().unwrap();
    kill(Pid::from_raw(call.id() as i32), Signal::SIGTERM).unwrap();
    call.wait().unwrap();
    assert!(ends(script, LONG), "the script goes on");
    // Nobody holds the lock.
    let quick = world.write("hangs", "exit 4\n");
    let told =
        Outcome::of(world.command(ours(), &["-U", "sh", quick.to_str().unwrap()]).spawn().unwrap());
    assert_eq!(told.code(), Some(4), "{told:?}");
}
