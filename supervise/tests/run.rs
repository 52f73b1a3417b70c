//! supervise(8) in front of a command: what that is given, what it is sent, and that its end is
//! told as it was.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

#[path = "run/kit.rs"]
mod kit;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use kit::{Folder, alive, children, end, kill, run, supervise, until};

#[test]
fn the_end_is_told_as_it_was() {
    for code in [0, 1, 3, 127, 143, 255] {
        let ended = run(&["--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(ended.code(), Some(code), "{}", ended.err);
        assert!(ended.err.contains(&format!("exited with code {code} after ")), "{}", ended.err);
        assert!(!ended.err.contains("killed by"), "{}", ended.err);
    }
    for (signal, name) in [
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGRTMIN() + 3, "signal 37"),
    ] {
        // A shell would fold it into its own code; this one is replaced.
        let ended = run(&["--", "sh", "-c", &format!("exec kill -{signal} $$")]);
        assert_eq!(ended.signal(), Some(signal), "{}", ended.err);
        assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&ended.status));
        assert!(ended.err.contains(&format!("killed by {name}")), "{}", ended.err);
    }
}

#[test]
fn code_143_and_sigterm_are_two_things_everywhere() {
    let code = run(&["--json", "--", "sh", "-c", "exit 143"]);
    let signal = run(&["--json", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!((code.code(), code.signal()), (Some(143), None));
    assert_eq!((signal.code(), signal.signal()), (None, Some(libc::SIGTERM)));
    let outcome = |ended: &kit::Ended| ended.json().last().expect("a report")["outcome"].clone();
    assert_eq!(outcome(&code), serde_json::json!({"exited": {"code": 143}}));
    let expected =
        serde_json::json!({"signaled": {"signal": 15, "name": "SIGTERM", "core": false}});
    assert_eq!(outcome(&signal), expected);
    // Shells like one number; even then the report tells them apart.
    let style = "--exit-code-style=128+n";
    let folded = run(&[style, "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(folded.code(), Some(143));
    assert!(folded.err.contains("killed by SIGTERM"), "{}", folded.err);
}

#[test]
fn a_daemon_that_catches_sigterm_and_exits_143_is_explained() {
    let script = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = supervise(&["--", "sh", "-c", script]).spawn().expect("start");
    let mut line = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("ready");
    kill(&child, libc::SIGTERM);
    let ended = end(child);
    assert_eq!(ended.code(), Some(143));
    assert!(ended.err.contains("after SIGTERM, which it must have caught"), "{}", ended.err);
    assert!(ended.err.contains(&format!("from pid {}", std::process::id())), "{}", ended.err);
}

#[test]
fn what_cannot_be_started_is_told_as_shells_do() {
    let folder = Folder::new("start");
    let put = |name: &str, text: &str, mode| {
        let path = folder.file(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        path
    };
    let plain = put("plain", "exit 5\n", 0o644);
    let script = put("script", "exit \"$1\"\n", 0o755);
    let orphan = put("orphan", "#!/no/such/interpreter\n", 0o755);
    for (words, code, says) in [
        (vec!["no-such-command"], 127, "not found in PATH"),
        (vec!["/no/such/command"], 127, "No such file"),
        (vec!["/etc/passwd/x"], 127, "Not a directory"),
        (vec![plain.as_str()], 126, "Permission denied"),
        (vec!["/"], 126, "Permission denied"),
        (vec![orphan.as_str()], 126, "interpreter is not there"),
        // Without a first line that says so, it is still a shell's.
        (vec![script.as_str(), "7"], 7, "exited with code 7"),
    ] {
        let ended = run(&[&["--"], words.as_slice()].concat());
        assert_eq!(ended.code(), Some(code), "{words:?}: {}", ended.err);
        assert!(ended.err.contains(says), "{words:?}: {}", ended.err);
    }
    let mut found = supervise(&["--", "script", "8"]);
    found.env("PATH", format!("/nowhere:{}:/bin:/usr/bin", folder.0.display()));
    assert_eq!(end(found.spawn().expect("start")).code(), Some(8));
}

#[test]
fn bad_usage_is_2_and_one_line() {
    for words in [&["sleep", "1"][..], &[], &["--nonsense", "--", "x"], &["stop"]] {
        let ended = run(words);
        assert_eq!(ended.code(), Some(2), "{words:?}");
        assert_eq!(ended.err.lines().count(), 1, "{words:?}: {}", ended.err);
    }
    let help = run(&["--help"]);
    assert_eq!((help.code(), help.out.starts_with("usage: ")), (Some(0), true));
}

#[test]
fn signals_stand_as_they_came() {
    let words = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let prepare = |command: &mut std::process::Command| {
        // SAFETY: only calls that are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR2);
                libc::sigaddset(&mut set, libc::SIGTERM);
                libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
                for ignored in [libc::SIGHUP, libc::SIGQUIT, libc::SIGCHLD, libc::SIGUSR1] {
                    libc::signal(ignored, libc::SIG_IGN);
                }
                Ok(())
            })
        };
    };
    let bit = |signal: i32| 1u64 << (signal - 1);
    let blocked = bit(libc::SIGUSR2) | bit(libc::SIGTERM);
    let ignored: u64 =
        [libc::SIGHUP, libc::SIGQUIT, libc::SIGCHLD, libc::SIGUSR1].map(bit).into_iter().sum();
    let mut command = supervise(&[&["--"], &words[..]].concat());
    prepare(&mut command);
    let ended = end(command.spawn().expect("start"));
    assert_eq!(ended.code(), Some(0), "it was waited for, though SIGCHLD came ignored");
    let mask = |name: &str| {
        let line = ended.out.lines().find(|line| line.starts_with(name)).expect("a line");
        u64::from_str_radix(line.rsplit('\t').next().expect("a mask"), 16).expect("a number")
    };
    assert_eq!(mask("SigBlk"), blocked, "{}", ended.out);
    // SIGPIPE, which a Rust program ignores, is not among them.
    // 32 and 33 are the C library's own, which it lets nobody set.
    assert_eq!(mask("SigIgn") & !(3 << 31), ignored, "{}", ended.out);
}

#[test]
fn nohup_works() {
    let script = "echo ready; sleep 0.3; echo done";
    let mut command = std::process::Command::new("nohup");
    command.args([env!("CARGO_BIN_EXE_supervise"), "--", "sh", "-c", script]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("start");
    let mut line = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("ready");
    kill(&child, libc::SIGHUP);
    let ended = end(child);
    assert_eq!((ended.code(), ended.out.as_str()), (Some(0), "done\n"), "{}", ended.err);
}

#[test]
fn surroundings_stay_and_nothing_of_ours_is_added() {
    let look = "ls /proc/self/fd; pwd; cat <&7; env | grep -v -e ^_= -e ^NOTIFY";
    let bare = |mut command: std::process::Command| {
        let file = fs::File::open("/etc/hostname").expect("open");
        let fd = file.as_raw_fd();
        // SAFETY: only a call that is safe between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::dup2(fd, 7);
                Ok(())
            })
        };
        command.current_dir("/usr").env("COLOUR", "blue\ngreen");
        let mut child = command.spawn().expect("start");
        let mut text = String::new();
        child.stdout.as_mut().expect("a pipe").read_to_string(&mut text).expect("read");
        assert_eq!(end(child).code(), Some(0));
        text
    };
    let mut without = std::process::Command::new("sh");
    without.args(["-c", look]).env_remove("NOTIFY_SOCKET").stdin(std::process::Stdio::null());
    without.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    // With all that opens something.
    let name = kit::name("fds");
    let folder = Folder::new("fds");
    let (json, pid) = (format!("--json={}", folder.file("j")), folder.file("pid"));
    let with = supervise(&["-n", &name, &json, "--pidfile", &pid, "--", "sh", "-c", look]);
    assert_eq!(bare(with), bare(without));
}

#[test]
fn signals_are_passed_on_and_the_record_comes_first() {
    let script =
        "for s in HUP INT QUIT USR1 USR2 ALRM WINCH; do trap \"echo caught-$s >&2\" $s; done
        trap 'echo caught-TERM >&2; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let mut child = supervise(&["--", "sh", "-c", script]).spawn().expect("start");
    let mut line = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("ready");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    for (signal, name) in [
        (libc::SIGHUP, "HUP"),
        (libc::SIGINT, "INT"),
        (libc::SIGQUIT, "QUIT"),
        (libc::SIGUSR1, "USR1"),
        (libc::SIGUSR2, "USR2"),
        (libc::SIGALRM, "ALRM"),
        (libc::SIGWINCH, "WINCH"),
        (libc::SIGTERM, "TERM"),
    ] {
        kill(&child, signal);
        let record = next();
        let from = format!("SIG{name} from pid {} (uid ", std::process::id());
        assert!(record.contains(&from) && record.contains("passing it on"), "{record}");
        assert_eq!(next(), format!("caught-{name}"));
    }
    assert_eq!(end(child).code(), Some(0));
}

/// The blog's program blocked its signals after the fork: one that came in between ended it, and
/// left the daemon behind.
#[test]
fn whenever_a_signal_comes_nobody_is_left() {
    for round in 0..60u64 {
        let marker = format!("{}.{round:06}", 4_000_000 + std::process::id());
        let child = supervise(&["--", "sleep", &marker]).spawn().expect("start");
        let until = std::time::Instant::now() + Duration::from_micros(round * 100);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        kill(&child, libc::SIGTERM);
        let ended = end(child);
        assert_eq!(ended.signal(), Some(libc::SIGTERM), "{}", ended.err);
        let mut left = std::process::Command::new("pgrep");
        left.args(["-xf", &format!("sleep {marker}")]);
        assert_eq!(left.output().expect("pgrep").stdout, b"", "round {round}: {}", ended.err);
    }
}

#[test]
fn what_is_left_behind_is_killed_or_kept() {
    let script = "sleep 1000 & setsid sleep 1000 & (trap '' TERM; sleep 1000) & echo $!; exit 4";
    let ended = run(&["--", "sh", "-c", script]);
    assert_eq!(ended.code(), Some(4));
    assert!(ended.err.contains("left processes behind, which are killed: "), "{}", ended.err);
    let pid: u32 = ended.out.trim().parse().expect("a number");
    assert!(!alive(pid));

    let script = "sleep 1000 >/dev/null 2>&1 & echo $!";
    let ended = run(&["--keep-rest", "--", "sh", "-c", script]);
    let pid: u32 = ended.out.trim().parse().expect("a number");
    assert!(alive(pid), "{}", ended.err);
    // SAFETY: it was kept, so the number is still its own.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

#[test]
fn orphans_are_adopted_and_reaped() {
    let script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &); done; echo ready; exec sleep 1000";
    let mut child = supervise(&["--", "sh", "-c", script]).spawn().expect("start");
    let mut line = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("ready");
    until("only the command is left", || (children(child.id()).len() == 1).then_some(()));
    kill(&child, libc::SIGTERM);
    assert_eq!(end(child).signal(), Some(libc::SIGTERM));
}

#[test]
fn one_that_does_not_end_is_killed_in_time() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let words = ["--stop-timeout", "0.3", "--", "sh", "-c", script];
    let mut child = supervise(&words).spawn().expect("start");
    let mut line = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("ready");
    kill(&child, libc::SIGTERM);
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGKILL));
    assert!(ended.err.contains("has not ended in time; sending SIGKILL"), "{}", ended.err);
    assert!(ended.err.contains(&format!("from pid {}", std::process::id())), "{}", ended.err);
}

#[test]
fn restarts_have_a_limit_and_a_policy() {
    let words = ["--json", "--restart=on-failure", "--restart-limit=3/60", "--"];
    let fails = run(&[&words[..], &["sh", "-c", "exit 9"]].concat());
    let starts =
        |ended: &kit::Ended| ended.json().iter().filter(|line| line["event"] == "started").count();
    assert_eq!((fails.code(), starts(&fails)), (Some(9), 4), "{}", fails.err);
    let killed = run(&[&words[..], &["sh", "-c", "kill -TERM $$"]].concat());
    assert_eq!((killed.signal(), starts(&killed)), (Some(libc::SIGTERM), 4), "{}", killed.err);
    let good = run(&[&words[..], &["true"]].concat());
    assert_eq!((good.code(), starts(&good)), (Some(0), 1));
    let always = ["--json", "--restart=always", "--restart-limit=1/60", "--", "true"];
    assert_eq!(starts(&run(&always)), 2);
}

#[test]
fn a_stop_is_no_failure_to_be_restarted_after() {
    let words = ["--restart=always", "--", "sleep", "1000"];
    let child = supervise(&words).spawn().expect("start");
    until("it runs", || children(child.id()).first().copied());
    kill(&child, libc::SIGTERM);
    let ended = end(child);
    assert_eq!(ended.signal(), Some(libc::SIGTERM));
    assert!(!ended.err.contains("again"), "{}", ended.err);
    // Nor is one that comes while it waits to be started again.
    let words = ["--restart=always", "--restart-limit=1000/1", "--", "false"];
    let mut child = supervise(&words).spawn().expect("start");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    until("a longer wait", || {
        let line = lines.next().expect("a line").expect("text");
        line.contains("again in 800 ms").then_some(())
    });
    kill(&child, libc::SIGTERM);
    assert_eq!(end(child).signal(), Some(libc::SIGTERM));
}
