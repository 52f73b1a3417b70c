//! That the processes of a running call are related as the drawings of [`prefork::server`] have
//! it, and have those descriptors open.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use super::caller::Script;
use super::proc::{Process, eventually};

/// Of each process, sorted: what its descriptors from 3 on are, without their numbers.
fn others(descriptors: &BTreeMap<i32, String>) -> Vec<&str> {
    let others = descriptors.iter().filter(|(number, _)| **number > 2);
    let kind = |target: &'static str, found: &str| found.starts_with(target).then_some(target);
    let mut kinds: Vec<&str> = others
        .map(|(_, found)| {
            let known = ["socket:", "pipe:", "anon_inode:[pidfd]", "pidfd:"];
            let kind = known.into_iter().find_map(|target| kind(target, found));
            // Newer kernels have another name for it.
            kind.map_or(found.as_str(), |kind| if kind == "pidfd:" { known[2] } else { kind })
        })
        .collect();
    kinds.sort_unstable();
    kinds
}

fn first_three(descriptors: &BTreeMap<i32, String>) -> [&str; 3] {
    [0, 1, 2].map(|number| descriptors.get(&number).map_or("closed", String::as_str))
}

/// Both kinds of call: the first one, whose client has started the server, and one that found it.
pub fn as_drawn() {
    drawn(&Script::new(&[]));
}

pub fn as_drawn_with_our_client() {
    drawn(&Script::through_ours(&[]));
}

fn drawn(script: &Script) {
    let mut clients = Vec::new();
    for (name, running) in [("first", 1), ("second", 2)] {
        let (child, executor, _) = script.stay(name, "");
        let client = Process::new(child.id() as i32);
        let monitor = executor.parent();
        let server = monitor.parent();
        let us = Process::new(std::process::id() as i32);
        check_client(client, us, name == "first");
        let watcher = check_watcher(script, client);

        // The server leads a session without a parent of ours; the setup that made it is gone.
        assert_eq!((server.session(), server.group()), (server.pid, server.pid));
        assert_ne!(server.parent(), client);
        assert!(!server.parent().command().contains(script.ident()), "the setup is still there");
        assert_eq!(server.children().len(), running, "a monitor a call");
        let has = server.descriptors();
        assert_eq!(first_three(&has), ["/dev/null"; 3]);
        let mut expected = vec!["anon_inode:[pidfd]"; running];
        expected.extend(["pipe:", "pipe:", "socket:"]);
        assert_eq!(others(&has), expected, "{has:?}");
        // The two pipes are the watcher's, and the one it reads ends with the server.
        let watcher_has = watcher.descriptors();
        for number in [0, 1] {
            let pipe = &watcher_has[&number];
            assert!(has.values().any(|found| found == pipe), "{pipe} is not in {has:?}");
        }

        // The monitor leads the group of its call, in the server's session.
        assert_eq!((monitor.session(), monitor.group()), (server.pid, monitor.pid));
        assert_eq!(monitor.children(), [executor]);
        let has = monitor.descriptors();
        assert_eq!(first_three(&has), ["/dev/null"; 3]);
        assert_eq!(others(&has), ["anon_inode:[pidfd]", "socket:"], "{has:?}");

        assert_eq!((executor.session(), executor.group()), (server.pid, monitor.pid));
        let has = executor.descriptors();
        assert_eq!(first_three(&has), first_three(&client.descriptors()));
        assert_eq!(others(&has), [""; 0], "{has:?}");

        // The first one stays: a server with two calls is looked at next.
        clients.push((name, child));
    }
    for (name, mut child) in clients {
        script.release(name);
        assert!(child.wait().expect("wait").success());
    }
}

fn check_client(client: Process, us: Process, first: bool) {
    assert_eq!(client.parent(), us);
    assert_eq!((client.session(), client.group()), (us.session(), us.group()));
    let has = client.descriptors();
    let call = others(&has).iter().filter(|kind| **kind == "socket:").count();
    // Whatever else the original client forgets to close when it has started the server.
    assert!(if first { call >= 1 } else { others(&has) == ["socket:"] }, "{has:?}");
}

/// The watcher leads a session of its own; its three first descriptors are pipes.
fn check_watcher(script: &Script, client: Process) -> Process {
    let ours = |p: &Process| p.command().contains(&format!("-g {} ", script.ident()));
    let mut found = Vec::new();
    eventually("the watcher leads a session", || {
        found = Process::all().into_iter().filter(ours).collect();
        found.retain(|p| p.exists() && p.session() == p.pid);
        found.len() == 1
    });
    let watcher = found[0];
    assert_ne!(watcher.parent(), client);
    let has = watcher.descriptors();
    let [read, write, errors] = first_three(&has);
    assert!(read.starts_with("pipe:") && write.starts_with("pipe:"), "{has:?}");
    assert!(read != write && write == errors, "{has:?}");
    watcher
}

/// The first caller has descriptors open that are nobody's business, ignores and blocks signals,
/// and its standard streams are pipes that somebody waits for.
pub fn nothing_kept() {
    let script = Script::new(&[]);
    let file = std::fs::File::open("/etc/passwd").expect("open");
    let (low, high) = (10, 251);
    let mut first = script.call(&["look"]);
    first.stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: system calls on plain numbers, between fork and execve.
    unsafe {
        let fd = file.as_raw_fd();
        first.pre_exec(move || {
            for number in [low, high] {
                if libc::dup2(fd, number) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGUSR1] {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut set = std::mem::zeroed();
            libc::sigfillset(&mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
            Ok(())
        });
    }
    let mut child = first.spawn().expect("the client runs");
    let read = |stream: std::fs::File| std::io::read_to_string(stream).expect("it ends");
    let text = child.stdout.take().map(|stream| read(std::os::fd::OwnedFd::from(stream).into()));
    let errors = child.stderr.take().map(|stream| read(std::os::fd::OwnedFd::from(stream).into()));
    let first = text.expect("a pipe");
    let server = |text: &str| text.split_whitespace().nth(1).map(str::to_owned);
    assert!(child.wait().expect("wait").success(), "{errors:?}");

    for _ in 0..3 {
        let output = script.output(&["look"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(server(&text), server(&first), "not the server that the first call has started");
        let [_, own, server, signals] = lines[..] else { panic!("{text}") };
        let server: Vec<&str> = server.split(' ').collect();
        assert_eq!(own.split(' ').count(), 3, "{own}");
        assert_eq!(server.iter().filter(|found| **found == "/dev/null").count(), 3, "{server:?}");
        assert_eq!(server.len(), 3 + 3 + 1, "{server:?}");
        let (ignored, blocked) = signals.split_once(' ').expect("two words");
        let ignored = u64::from_str_radix(ignored, 16).expect("a number");
        // 32 and 33 are the C library's own.
        assert_eq!(ignored & !(3 << 31), 1 << (libc::SIGPIPE - 1), "Rust's own start-up does that");
        assert_eq!(blocked, "0000000000000000");
    }
}

/// What came through execve is closed, what the program opened itself is not.
pub fn own_kept() {
    let script = Script::new(&[("TEST_OWN", "1")]);
    for _ in 0..2 {
        let output = script.output(&["look"]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let own = text.lines().nth(1).expect("a line");
        assert_eq!(own.split(' ').count(), 4, "{own}");
        assert!(own.contains("/etc/passwd"), "{own}");
    }
}
