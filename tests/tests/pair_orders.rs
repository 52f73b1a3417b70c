//! What the administrator has done to a node: hooks, SIGHUP, stop, and the codes that programs
//! exit with.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tests::daemon::LIMIT;
use tests::pair::{Node, Options, Pair, field, host};
use tests::process::{self, until};

/// Gives a node a hook that writes down its arguments, one call a line, and what it holds.
fn hook(node: &mut Node) {
    let (path, calls, held) = (node.path("hook"), node.path("events"), node.path("held"));
    let text = format!(
        "#!/bin/sh\nfor fd in /proc/$$/fd/*; do readlink $fd; done >>{held}\n\
         grep SigBlk /proc/self/status >>{blocked}\necho \"$*\" >>{calls}\n",
        held = held.display(),
        blocked = node.path("blocked").display(),
        calls = calls.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // Hooks have the rights of hastlite's account and no more.
    for file in [calls, held, node.path("blocked")] {
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    node.set_lines(&format!("\texec {}", path.display()));
}

/// How the hook was called so far.
fn calls(node: &Node) -> Vec<String> {
    let text = fs::read_to_string(node.path("events")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_calls(node: &Node, wanted: &[&str]) {
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        // They are not waited for, and so in no order.
        let mut found = calls(node);
        let mut wanted: Vec<String> = wanted.iter().map(|call| (*call).to_owned()).collect();
        found.sort();
        wanted.sort();
        if found == wanted {
            return;
        }
        if std::time::Instant::now() >= deadline {
            assert_eq!(found, wanted, "the hooks of {}", node.name);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn hooks_are_called_with_what_happens() {
    let mut pair = Pair::new(&Options::default());
    for node in [&mut pair.a, &mut pair.b] {
        hook(node);
        node.start();
    }
    pair.b.role("secondary");
    pair.a.role("primary");
    pair.a.wait_synced();
    let mut of_a = vec!["role data init primary", "connect data"];
    let mut of_b = vec!["role data init secondary", "connect data"];
    wait_calls(&pair.a, &of_a);
    wait_calls(&pair.b, &of_b);

    // A promotion that is refused leaves it what it was, and says so.
    pair.b.must_not(5, &["role", "primary", "data"]);
    of_b.extend(["role data secondary primary", "role data primary secondary", "disconnect data"]);
    pair.a.client().write(0, &[1; 4096]).expect("write");
    pair.a.wait_synced();
    of_a.extend(["disconnect data", "connect data", "syncstart data", "syncdone data"]);
    of_b.extend(["connect data"]);
    wait_calls(&pair.a, &of_a);
    wait_calls(&pair.b, &of_b);

    // Both alone: a split brain, which is told of on both.
    pair.a.cut();
    pair.b.role("primary");
    for node in [&pair.a, &pair.b] {
        node.client().write(0, &[2; 4096]).expect("write");
    }
    pair.a.heal();
    pair.b.role("secondary");
    of_a.extend(["disconnect data", "split-brain data"]);
    of_b.extend(["disconnect data", "role data secondary primary", "role data primary secondary"]);
    wait_calls(&pair.a, &of_a);
    until("a split brain on the secondary", LIMIT, || {
        calls(&pair.b).contains(&"split-brain data".to_owned())
    });
    // Nothing of ours was open in them.
    for node in [&pair.a, &pair.b] {
        for held in fs::read_to_string(node.path("held")).unwrap().lines() {
            // Its output goes to the log.
            let own = held.starts_with("pipe:[")
                || ["/dev/null", &*node.path("hook").display().to_string()].contains(&held);
            // What the shell itself has just opened for its output.
            assert!(own || held == node.path("held").display().to_string(), "a hook held {held}");
        }
        // Nor can they not be ended.
        for blocked in fs::read_to_string(node.path("blocked")).unwrap().lines() {
            assert_eq!(blocked, "SigBlk:\t0000000000000000");
        }
    }
}

#[test]
fn a_hook_that_fails_is_told_of_and_nothing_waits_for_it() {
    let mut pair = Pair::new(&Options::default());
    let path = pair.a.path("hook");
    fs::write(&path, "#!/bin/sh\ncase $1 in role) exit 3;; *) kill -9 $$;; esac\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    pair.a.set_lines(&format!("\texec {}", path.display()));
    pair.b.set_lines("\texec /nonexistent/hook");
    pair.a.start();
    pair.b.start();
    pair.b.role("secondary");
    pair.a.role("primary");
    pair.a.wait_synced();
    let hook = |call: &str| format!("hook {} {call}", path.display());
    for (call, end) in
        [("role data init primary", "exited with code 3"), ("connect data", "killed by SIGKILL")]
    {
        let told = |line: &str| line.starts_with(&hook(call)) && line.ends_with(end);
        until(&format!("{call} {end}"), LIMIT, || pair.a.log().lines().any(told));
    }
    pair.b.wait_for("hook /nonexistent/hook role data init secondary: start /nonexistent/hook");
}

/// Section 13.3 of the protocol's description.
#[test]
fn sighup_takes_over_what_has_changed_and_nothing_else() {
    let mut pair = Pair::running(&Options::default());
    let worker = pair.a.worker("primary").expect("a worker");
    let mut client = pair.a.client();
    let hup = |node: &mut Node| {
        process::kill(node.pid(), Signal::SIGHUP);
        node.wait_for("reading");
        // It has been read once the next question is answered.
        node.must(&["status"]);
    };
    // An error: all stays as it was, and is named.
    pair.a.write_config("resource {\n");
    process::kill(pair.a.pid(), Signal::SIGHUP);
    pair.a.wait_for("stays as it was");
    assert!(pair.a.log().contains("conf:3:10: "), "{}", pair.a.log());
    pair.a.configure();
    assert_eq!(field(&pair.a.status(), "replication"), Some("memsync"));

    // A primary is told, and its clients and link notice nothing of it.
    pair.a
        .set_lines("\treplication fullsync\n\tchecksum sha256\n\tcompression lzf\n\tmetaflush off");
    hup(&mut pair.a);
    let status = pair.a.status();
    assert_eq!(field(&status, "replication"), Some("fullsync"), "{status}");
    assert_eq!(field(&status, "checksum"), Some("sha256"), "{status}");
    assert_eq!(field(&status, "connected"), Some("true"), "{status}");
    client.write(0, &[3; 65536]).expect("write");
    assert!(!pair.a.log().contains("disconnected"));
    assert_eq!(pair.a.worker("primary"), Some(worker));

    // A secondary is started again in the same role.
    let before = pair.b.worker("secondary").expect("a worker");
    pair.b.set_lines("\tchecksum crc32");
    hup(&mut pair.b);
    until("another worker", LIMIT, || {
        pair.b.worker("secondary").is_some_and(|worker| worker != before)
    });
    client.write(65536, &[4; 65536]).expect("write");
    pair.a.wait_synced();
    pair.assert_same();

    // The name of a primary's export: the worker is another one, and the role the same.
    let moved = pair.a.path("moved");
    let text = fs::read_to_string(pair.a.config()).unwrap();
    let other = text.replace(
        &format!("name {}", pair.a.socket().display()),
        &format!("name {}", moved.display()),
    );
    assert_ne!(text, other);
    fs::write(pair.a.config(), &other).unwrap();
    drop(client);
    hup(&mut pair.a);
    until("the export is elsewhere", LIMIT, || tests::pair::listens(&moved));
    assert_ne!(pair.a.worker("primary"), Some(worker));
    pair.a.wait_synced();

    // A resource that comes has role init; one that goes has none, and its worker ends.
    let more = pair.a.path("more");
    let more = format!(
        "resource more {{\n\tlocal {}\n\ton {} {{\n\t\tremote none\n\t}}\n}}\n",
        more.display(),
        host()
    );
    fs::write(pair.a.config(), format!("{other}{more}")).unwrap();
    hup(&mut pair.a);
    let all = pair.a.must(&["status", "--json"]);
    assert!(all.contains("\"more\""), "{all}");
    assert_eq!(field(all.split_once("\"more\"").unwrap().1, "role"), Some("init"), "{all}");
    pair.a.write_config(&more);
    hup(&mut pair.a);
    pair.a.must_not(1, &["role", "secondary", "data"]);
    until("its worker ends", LIMIT, || pair.a.worker("primary").is_none());
    until("and so does its export", LIMIT, || !tests::pair::listens(&moved));
}

#[test]
fn stop_ends_all_roles_and_loses_nothing() {
    let mut pair = Pair::running(&Options::default());
    let mut client = pair.a.client();
    for at in 0..64 {
        client.write(at << 16, &[at as u8; 65536]).expect("write");
    }
    let all = [process::descendants(pair.a.pid()), process::descendants(pair.b.pid())].concat();
    assert_eq!(all.len(), 4);
    pair.a.must(&["stop"]);
    assert!(pair.a.ended().success());
    pair.b.must(&["stop"]);
    assert!(pair.b.ended().success());
    assert!(all.iter().all(|pid| process::gone(*pid)));
    pair.assert_same();
    for node in [&mut pair.a, &mut pair.b] {
        node.must_not(71, &["status"]);
        node.start();
    }
    // Nothing to be copied: they have parted in order.
    pair.b.role("secondary");
    pair.a.role("primary");
    pair.a.wait_synced();
    assert_eq!(pair.a.client().read(5 << 16, 512).expect("read"), [5; 512]);
    // And nothing was, but for what is always looked at again.
    process::kill(pair.a.pid(), Signal::SIGINT);
    assert!(pair.a.ended().success());
    let log = pair.a.log();
    assert!(log.contains(&format!("SIGINT from pid {} (uid 0, ", std::process::id())), "{log}");
}

#[test]
fn exit_codes_are_those_of_sysexits_and_of_the_daemon() {
    let mut pair = Pair::new(&Options::default());
    let a = &mut pair.a;
    let hastlite = |node: &Node, words: &[&str]| {
        let mut command = node.space.command(tests::lab::binary("hastlite"));
        command.args(words).arg("-c").arg(node.config());
        command.output().expect("run hastlite")
    };
    assert_eq!(hastlite(a, &["-x"]).status.code(), Some(64));
    assert_eq!(hastlite(a, &["-n"]).status.code(), Some(0));
    a.must_not(64, &["frobnicate"]);
    a.must_not(64, &["role", "tertiary", "data"]);
    a.must_not(71, &["status"]); // no daemon
    a.must_not(65, &["create", "other"]);
    a.must_not(65, &["create", "-e", "777", "data"]);
    a.start();
    a.must_not(1, &["role", "primary", "other"]);
    a.must_not(1, &["status", "other"]);
    assert!(a.ctl(&["status", "data", "other"]).stdout.starts_with(b"Name"));
    // Its component is in use.
    a.role("secondary");
    a.must_not(66, &["create", "data"]);
    a.must_not(2, &["discard", "data"]);
    a.must_not(75, &["status", "--wait=0.1", "data"]);
    a.role("init");
    // Another daemon on the same control socket.
    let second = hastlite(a, &["-F"]);
    assert_eq!(second.status.code(), Some(71), "{}", String::from_utf8_lossy(&second.stderr));
    // The component is gone; the daemon stays.
    fs::rename(a.component(), a.path("elsewhere")).unwrap();
    a.must_not(6, &["role", "primary", "data"]);
    a.must_not(66, &["dump", "data"]);
    fs::write(a.component(), [0; 8 << 10]).unwrap();
    let why = a.must_not(6, &["role", "primary", "data"]);
    assert!(why.contains("no resource has been created"), "{why}");
    a.write_config("resource {\n");
    let wrong = hastlite(a, &["-n"]);
    assert_eq!(wrong.status.code(), Some(78), "{}", String::from_utf8_lossy(&wrong.stderr));
    a.must_not(78, &["status"]);
    fs::remove_file(a.config()).unwrap();
    assert_eq!(hastlite(a, &["-n"]).status.code(), Some(72));
    a.must_not(72, &["dump", "data"]);
}
