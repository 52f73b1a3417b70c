//! How calls and servers end: by themselves, by their caller's leaving, by a change of the program;
//! and whom that does not concern.

use std::mem::replace;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::caller::Script;
use super::proc::{appears, eventually};
use super::program::STRANGER;

pub fn hang_up() {
    // With a grace that no test waits for: SIGINT has to do.
    let script = Script::new(&[("TEST_GRACE", "100000")]);
    for name in ["first", "second"] {
        let (mut client, program, other) = script.stay(name, "");
        let monitor = program.parent();
        client.kill().expect("kill");
        client.wait().expect("wait");
        for process in [program, other, monitor] {
            eventually("the group ends", || !process.exists());
        }
    }
    assert_eq!(script.code(&["exit", "7"]), 7);
}

pub fn hang_up_of_the_deaf() {
    let script = Script::new(&[("TEST_GRACE", "200")]);
    for name in ["first", "second"] {
        let (mut client, program, other) = script.stay(name, "deaf");
        let monitor = program.parent();
        let begun = Instant::now();
        client.kill().expect("kill");
        client.wait().expect("wait");
        for process in [program, other, monitor] {
            eventually("the group ends", || !process.exists());
        }
        assert!(begun.elapsed() >= Duration::from_millis(400), "each has been given its time");
    }
    assert_eq!(script.code(&["exit", "7"]), 7);
    // Nor does it take the server to be there.
    let server = script.server();
    let (mut client, program, other) = script.stay("third", "deaf");
    let monitor = program.parent();
    // SAFETY: numbers.
    unsafe { libc::kill(server.pid, libc::SIGKILL) };
    eventually("the server ends", || !server.exists());
    client.kill().expect("kill");
    client.wait().expect("wait");
    for process in [program, other, monitor] {
        eventually("the group ends", || !process.exists());
    }
}

/// A process of the group that lives longer is interrupted, but not before the program's own end.
pub fn leftovers() {
    let script = Script::new(&[]);
    for name in ["first", "second"] {
        let (heard, ready) = (script.path(name), script.path(&format!("{name}.ready")));
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        assert_eq!(script.code(&["leave", &text(&heard), &text(&ready)]), 7);
        eventually("what is left has heard of it", || heard.exists());
    }
}

pub fn limit() {
    let script = Script::new(&[("TEST_LIMIT", "2")]);
    let (mut one, _, _) = script.stay("one", "");
    let (mut two, _, _) = script.stay("two", "");
    let path = script.path("three");
    let mut call = script.call(&["stay", path.to_str().expect("UTF-8")]);
    let mut three = call.spawn().expect("the client runs");
    assert!(!appears(&path, Duration::from_millis(300)), "three at once");
    script.release("one");
    assert!(one.wait().expect("wait").success());
    eventually("the third has its turn", || path.exists());
    script.release("two");
    script.release("three");
    assert!(two.wait().expect("wait").success());
    assert!(three.wait().expect("wait").success());
}

pub fn idle() {
    let script = Script::new(&[("TEST_IDLE", "300")]);
    let server = script.server();
    eventually("the server ends", || !server.exists());
    // A call that runs is not nothing to do.
    let (mut client, program, _) = script.stay("long", "");
    let server = program.parent().parent();
    assert!(!server.ends(Duration::from_millis(600)), "not idle");
    script.release("long");
    assert!(client.wait().expect("wait").success());
    eventually("the server ends", || !server.exists());
}

pub fn socket_gone() {
    let script = Script::new(&[]);
    let server = script.server();
    std::fs::remove_file(script.socket()).expect("remove");
    eventually("the server ends", || !server.exists());
    // Which is how a fresh start is had, and what runs goes on.
    let (mut client, program, _) = script.stay("old", "");
    let fresh = script.call(&["exit", "7"]).arg("-f").status();
    assert!(fresh.is_ok_and(|status| status.code() == Some(7)));
    let server = program.parent().parent();
    std::fs::remove_file(script.socket()).expect("remove");
    eventually("the server ends", || !server.exists());
    script.release("old");
    assert!(client.wait().expect("wait").success());
}

pub fn reload() {
    let extra = std::env::temp_dir().join(format!("tandem-extra-{}", std::process::id()));
    let script = Script::copied(&[("TEST_EXTRA", extra.to_str().expect("UTF-8"))]);
    let program = script.program().to_owned();
    let change = |how: &str, action: &dyn Fn()| {
        // Who has started in the same tick of the clock as the last change starts once more: it
        // might have read what was there before.
        let mut before = script.server();
        eventually("the server stays", || {
            let now = script.server();
            replace(&mut before, now) == now
        });
        for _ in 0..3 {
            assert_eq!(script.server(), before, "started anew without a change");
        }
        action();
        let after = script.server();
        assert_ne!(after, before, "not started anew: {how}");
        eventually("the old one ends", || !before.exists());
    };
    let touch = |path: &Path| {
        let file = std::fs::File::options().append(true).create(true).open(path).expect("open");
        file.set_modified(SystemTime::now()).expect("set the time");
    };
    let touch_program = || {
        // What runs cannot be written to, but its times can be changed.
        let file = std::fs::File::open(&program).expect("open");
        file.set_modified(SystemTime::now()).expect("set the time");
    };
    change("the executable has another time", &touch_program);
    change("another executable is there, with an old time", &|| {
        let new = script.path("new");
        std::fs::copy(&program, &new).expect("copy");
        let file = std::fs::File::open(&new).expect("open");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("set the time");
        std::fs::rename(&new, &program).expect("rename");
    });
    change("a file has appeared", &|| touch(&extra));
    change("a file has changed", &|| std::fs::write(&extra, "more").expect("write"));
    change("a file is gone", &|| std::fs::remove_file(&extra).expect("remove"));
}

pub fn nonsense() {
    let script = Script::new(&[("TEST_REQUEST", "500"), ("TEST_LIMIT", "4")]);
    assert_eq!(script.code(&["exit", "7"]), 7);
    let null = std::fs::File::open("/dev/null").expect("open");
    let fds = [null.as_raw_fd(); 3];
    let send = |caller: &super::caller::Caller, bytes: &[u8]| {
        use std::io::Write;
        let _ = (&caller.stream).write_all(bytes);
    };
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        &[0; 64],
        &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 0, 0, 0, 0],
        &[0xff; 100_000],
    ] {
        let mut caller = script.connect();
        send(&caller, bytes);
        assert_eq!(caller.status(), None, "{:?}", bytes.get(..8));
    }
    for block in [&b"\0\0\0\x03A=1"[..], b"\0\0\0\x04A=1\0", b"\0\0\0\x02A\0", b"\0\0\0\x02\0x"] {
        let mut caller = script.connect();
        caller.descriptors(fds);
        send(&caller, block);
        assert_eq!(caller.status(), None, "{block:?}");
    }
    // More of those who say half or nothing than there may be calls: others get their turn.
    let mut slow: Vec<_> = (0..4).map(|_| script.connect()).collect();
    slow[0].descriptors(fds);
    slow[1].descriptors(fds);
    send(&slow[1], &[0, 0]);
    assert_eq!(script.code(&["exit", "7"]), 7);
    for mut caller in slow {
        assert_eq!(caller.status(), None);
    }
    // One that says more than a request is gone, but is told how that ended.
    let path = script.path("talks");
    let mut caller = script.connect();
    caller.descriptors(fds);
    caller.strings(&["PATH=/usr/bin:/bin"], &["stay", path.to_str().expect("UTF-8")]);
    eventually("it runs", || path.exists());
    send(&caller, b"!");
    assert_eq!(caller.status(), Some(libc::SIGINT));
    assert_eq!(script.code(&["exit", "7"]), 7);
}

/// A stranger who can reach the socket in spite of the directory's mode.
pub fn strangers() {
    if !nix::unistd::geteuid().is_root() {
        println!("not root: nobody else can be asked to call");
        return;
    }
    let script = Script::new(&[]);
    assert_eq!(script.code(&["exit", "7"]), 7);
    let try_as = |uid: &str| {
        let own = std::env::current_exe().expect("our name");
        let status = Command::new(own).arg(STRANGER).arg(script.socket()).arg(uid).status();
        status.expect("it runs").code()
    };
    assert_eq!(try_as("0"), Some(0));
    assert_eq!(try_as("65534"), Some(1));
    assert_eq!(script.code(&["exit", "7"]), 7);
}

/// A process with a second thread cannot be copied: the other one might hold any lock.
pub fn threads() {
    let script = Script::new(&[("TEST_THREAD", "1")]);
    let output = script.output(&["exit", "7"]);
    assert_ne!(output.status.code(), Some(7));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("2 threads, not one"), "{errors}");
}
