//! What a single call is given and what its caller is told.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::caller::Script;
use super::program::SCRIPT;

/// Without a client there is no server.
pub fn alone() {
    let own = std::env::current_exe().expect("our name");
    let run = |words: &[&str]| {
        let mut command = Command::new(&own);
        command.arg(SCRIPT).args(words).stderr(Stdio::null()).output().expect("it runs")
    };
    assert_eq!(run(&["exit", "7"]).status.code(), Some(7));
    let words = run(&["words", "a", ""]).stdout;
    assert!(words.ends_with(b"\0script\0words\0a\0\0"), "{words:?}");
    let nonsense = Command::new(&own).arg(SCRIPT).env("PREFORK_INTERP", "v1,1.0 9,9,9,9").output();
    let nonsense = nonsense.expect("it runs");
    assert_eq!(nonsense.status.code(), Some(99));
    assert!(String::from_utf8_lossy(&nonsense.stderr).contains("makes no sense"), "{nonsense:?}");
    let absent = "v1,1.0 900,901,902,903";
    let absent = Command::new(&own).arg(SCRIPT).env("PREFORK_INTERP", absent).output();
    let absent = absent.expect("it runs");
    assert!(String::from_utf8_lossy(&absent.stderr).contains("LISTEN is descriptor 900"));
}

pub fn as_they_are() {
    let script = Script::new(&[]);
    // The first call is served in another way than all others.
    for _ in 0..3 {
        let mut words: Vec<OsString> = vec!["words".into()];
        for at in 0..300u16 {
            let [high, low] = at.to_be_bytes();
            // No zero byte, but empty words, and all others.
            let bytes = if at % 50 == 0 { Vec::new() } else { vec![b'x', high + 1, low.max(1)] };
            words.push(OsString::from_vec(bytes));
        }
        let output = script.call_with(words.iter().map(OsString::as_os_str)).output();
        let output = output.expect("the client runs");
        assert!(output.status.success(), "{output:?}");
        let mut expected = [script.program().as_os_str().as_bytes(), SCRIPT.as_bytes()].to_vec();
        expected.extend(words.iter().map(|word| word.as_bytes()));
        let told: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        assert_eq!(told[..told.len() - 1], expected);

        let long = "long ".repeat(20_000);
        let odd: [(&str, &[u8]); 6] = [
            ("EMPTY", b""),
            ("LINES", b"a\nb\n"),
            ("EQUALS", b"=a=b="),
            ("BYTES", b"\xff\xfe\x01"),
            ("A NAME", b"that is none"),
            ("LONG", long.as_bytes()),
        ];
        let mut call = script.call(&["environment"]);
        call.env_clear().envs(odd.map(|(name, value)| (name, OsStr::from_bytes(value))));
        let output = call.output().expect("the client runs");
        let mut told: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        told.pop();
        let mut expected = odd.map(|(name, value)| [name.as_bytes(), b"=", value].concat());
        expected.sort();
        told.sort();
        assert_eq!(told, expected);
    }
    assert_eq!(script.code(&["words"]), 0);
}

/// Which execve(2) allows, and no shell makes.
pub fn doubles() {
    let script = Script::new(&[]);
    assert_eq!(script.code(&["exit", "0"]), 0);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let null = std::fs::File::open("/dev/null").expect("open");
    let mut caller = script.connect();
    caller.descriptors([null.as_raw_fd(), writer.as_raw_fd(), null.as_raw_fd()]);
    drop(writer);
    let environment = ["A=1", "A=2", "=D:=x", "PREFORK_INTERP=v1,1.0 3,4,5,6"];
    caller.strings(&environment, &["environment"]);
    assert_eq!(caller.status(), Some(0));
    let told = std::io::read_to_string(reader).expect("read");
    assert_eq!(told, "A=1\0A=2\0=D:=x\0");
}

pub fn every_end() {
    let script = Script::new(&[]);
    for code in ["0", "1", "7", "143", "255"] {
        for how in ["exit", "really-exit"] {
            assert_eq!(script.code(&[how, code]).to_string(), code);
        }
    }
    assert_eq!(script.code(&["panic"]), 101);
    // The client dies of the same signal as the program, where that writes no core.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGKILL] {
        let status = script.call(&["raise", &signal.to_string()]).status().expect("it runs");
        assert_eq!(status.signal(), Some(signal), "{status}");
    }
    assert_eq!(script.code(&["raise", &libc::SIGUSR1.to_string()]), 127);
    // Whether there is a core file, the system decides: as it does for a program by itself.
    let folder = script.path("cores");
    std::fs::create_dir(&folder).expect("a folder");
    let alone = Command::new(script.program()).args([SCRIPT, "core"]).current_dir(&folder).status();
    let null = std::fs::File::open("/dev/null").expect("open");
    let mut caller = script.connect();
    caller.descriptors([null.as_raw_fd(); 3]);
    caller.strings(&[], &["core"]);
    let status = caller.status().expect("a status");
    assert_eq!(status & 0x7f, libc::SIGABRT, "{status:#x}");
    let alone = alone.expect("it runs");
    assert_eq!(status & 0x80 != 0, alone.core_dumped(), "{status:#x}, alone {alone}");
    let _ = std::fs::remove_file("core");
}

/// Nothing has to stay open for that.
pub fn exec() {
    let script = Script::new(&[]);
    for _ in 0..5 {
        let output = script.output(&["exec"]);
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        // 0, 1, 2, and the one that ls looks with.
        let listed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(listed.lines().count(), 5, "{listed}");
    }
}

pub fn closes_all() {
    let script = Script::new(&[]);
    for _ in 0..5 {
        assert_eq!(script.code(&["close-all"]), 7);
    }
}

pub fn two_thousand() {
    all_right(&Script::new(&[("TEST_LIMIT", "4")]));
}

pub fn two_thousand_through_ours() {
    all_right(&Script::through_ours(&[("TEST_LIMIT", "4")]));
}

fn all_right(script: &Script) {
    let right = || (0..500).filter(|_| script.code(&["exit", "7"]) == 7).count();
    let total: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(right)).collect();
        callers.into_iter().map(|caller| caller.join().expect("join")).sum()
    });
    assert_eq!(total, 2000);
}

/// The one that the documentation shows.
pub fn example() {
    let example = std::env::current_exe().expect("our name");
    let example = example.ancestors().nth(2).expect("a folder").join("examples/prefork-example");
    assert!(example.exists(), "{} is missing: cargo build --examples", example.display());
    let script = Script::new(&[]);
    let words = script.path("words");
    std::fs::write(&words, "apple\npear\n").expect("write");
    let ask = |word: &str| {
        let mut call = Command::new("/usr/bin/prefork-interp");
        call.args(["-U", "-g", script.ident()]).arg(&example).arg(&words).arg(word);
        let output = call.output().expect("the client runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(ask("apple"), (Some(0), String::new()));
    assert_eq!(ask("plum"), (Some(1), "plum: unknown\n".to_owned()));
    // Read anew, since it has changed.
    std::fs::write(&words, "plum\n").expect("write");
    assert_eq!(ask("plum"), (Some(0), String::new()));
    assert_eq!(ask("apple"), (Some(1), "apple: unknown\n".to_owned()));
}
