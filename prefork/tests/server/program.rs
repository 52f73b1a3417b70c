//! The script under test: what it does is its first argument. How it is to be served is in the
//! environment of the first caller.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use prefork::{Call, Options, serve};

use super::proc;

/// The name by which the test program knows that it is the script.
pub const SCRIPT: &str = "script";

/// The name by which it knows that it is another user's.
pub const STRANGER: &str = "stranger";

/// Connects as another user to a socket that this user could not reach: the rights to do so are
/// kept. Exits 0 if it has been greeted, 1 if not.
pub fn stranger() -> ExitCode {
    let word = |at: usize| std::env::args().nth(at).expect("a word");
    let uid: libc::uid_t = word(3).parse().expect("a number");
    // SAFETY: numbers; there is one thread.
    unsafe {
        let keep_rights = 1 << 2;
        assert_eq!(libc::prctl(libc::PR_SET_SECUREBITS, keep_rights), 0, "prctl");
        assert_eq!(libc::seteuid(uid), 0, "seteuid");
    }
    let mut stream = UnixStream::connect(word(2)).expect("connect");
    let greeted = stream.read(&mut [0; 8]).is_ok_and(|count| count == 8);
    ExitCode::from(u8::from(!greeted))
}

pub fn main() -> ExitCode {
    // Should a test fail to end us, this does.
    // SAFETY: a number.
    unsafe { libc::alarm(300) };
    let own = setting("TEST_OWN").map(|_| std::fs::File::open("/etc/passwd").expect("open"));
    if setting("TEST_THREAD").is_some() {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
    let millis = |name| setting(name).map(Duration::from_millis);
    let defaults = Options::default();
    let options = Options {
        max_servers: setting("TEST_LIMIT").map(|n| n as usize),
        idle_timeout: millis("TEST_IDLE").or(Some(Duration::from_secs(120))),
        autoreload_extra: std::env::var_os("TEST_EXTRA").map(PathBuf::from).into_iter().collect(),
        request_timeout: millis("TEST_REQUEST").unwrap_or(defaults.request_timeout),
        grace: millis("TEST_GRACE").unwrap_or(defaults.grace),
        ..defaults
    };
    let code = serve(&options, |call| run(&call));
    drop(own);
    code.unwrap_or_else(|error| {
        eprintln!("script: {error}");
        ExitCode::from(99)
    })
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[allow(clippy::zombie_processes, reason = "one is to outlive us")]
fn run(call: &Call) -> ExitCode {
    let word = |at: usize| call.args().get(at).and_then(|word| word.to_str()).unwrap_or_default();
    match word(0) {
        "exit" => return ExitCode::from(word(1).parse::<u8>().expect("a code")),
        "really-exit" => std::process::exit(word(1).parse().expect("a code")),
        "raise" => raise(word(1).parse().expect("a signal")),
        "core" => {
            let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: a live structure.
            unsafe { libc::setrlimit(libc::RLIMIT_CORE, &all) };
            raise(libc::SIGABRT);
        }
        "panic" => panic!("as asked"),
        "exec" => {
            let script = "ls -l /proc/self/fd >&2; sleep 0.1; exit 7";
            panic!("{}", Command::new("sh").args(["-c", script]).exec());
        }
        "close-all" => {
            // SAFETY: numbers; nobody writes anything afterwards.
            unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
            std::thread::sleep(Duration::from_millis(100));
            // SAFETY: a number.
            unsafe { libc::_exit(7) };
        }
        "words" => put(call.argv().iter().map(|word| word.as_bytes().to_vec())),
        "environment" => put(environment().into_iter()),
        "look" => look(),
        "stay" => stay(word(1), word(2)),
        "leave" => {
            // A process of the group that outlives us and tells what it has heard.
            let script = "trap 'echo interrupted >$1; exit' INT; echo $$ >$2; \
                          while :; do sleep 0.05; done";
            let mut left = Command::new("sh");
            left.args(["-c", script, "sh", word(1), word(2)]).spawn().expect("spawn");
            let path = PathBuf::from(word(2));
            proc::eventually("the trap is set", || path.exists());
            let early = proc::appears(Path::new(word(1)), Duration::from_millis(100));
            return ExitCode::from(if early { 1 } else { 7 });
        }
        other => panic!("unknown: {other}"),
    }
    ExitCode::SUCCESS
}

/// Dies of it, whatever the caller has done to the signal.
fn raise(signal: i32) {
    // SAFETY: numbers and the default disposition.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn put(strings: impl Iterator<Item = Vec<u8>>) {
    let mut all = Vec::new();
    for string in strings {
        all.extend_from_slice(&string);
        all.push(0);
    }
    std::io::stdout().write_all(&all).expect("write");
}

/// The entries as they are, doubles too.
fn environment() -> Vec<Vec<u8>> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: one thread; the array ends with a null pointer and holds strings.
    unsafe {
        let mut at = environ;
        while !(*at).is_null() {
            entries.push(std::ffi::CStr::from_ptr(*at).to_bytes().to_vec());
            at = at.add(1);
        }
    }
    entries
}

/// Tells what it is and has.
fn look() {
    let own = proc::Process::new(std::process::id() as i32);
    let server = own.parent().parent();
    println!("{} {}", own.pid, server.pid);
    println!("{}", own.descriptors().values().cloned().collect::<Vec<_>>().join(" "));
    println!("{}", server.descriptors().values().cloned().collect::<Vec<_>>().join(" "));
    println!("{} {}", own.status("SigIgn"), own.status("SigBlk"));
}

/// Tells its number through a file, starts another process in its group, and stays until there is
/// a file `PATH.end`.
fn stay(path: &str, how: &str) {
    if how == "deaf" {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: a number, and a disposition that runs nothing. sleep(1) inherits it.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
    let mut other = Command::new("sleep").arg("300").spawn().expect("spawn");
    let lines = format!("{} {}\n", std::process::id(), other.id());
    let temporary = format!("{path}.new");
    std::fs::write(&temporary, lines).expect("write");
    std::fs::rename(&temporary, path).expect("rename");
    let end = PathBuf::from(format!("{path}.end"));
    proc::eventually("the test lets us go", || end.exists());
    other.kill().expect("kill");
    other.wait().expect("wait");
}
