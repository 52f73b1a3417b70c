//! What the tests of supervise(8) have in common. Each starts the real program.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program with these words, in an environment without a service manager. Without other
/// witnesses than itself, which take longer to call than most of these tests, unless `--who` is
/// said.
pub fn supervise(words: &[&str]) -> Command {
    stand_as_at_boot();
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
    // With a parent outside of its group, or SIGTSTP would do nothing: a test may have been started
    // by whom it pleased.
    command.process_group(0);
    let supervises = words.contains(&"--") && words.first() != Some(&"track");
    if supervises && !words.iter().any(|word| word.starts_with("--who")) {
        command.arg("--who=siginfo");
    }
    command.args(words).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Signals that are ignored in the background of a shell, or under nohup.
pub fn stand_as_at_boot() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: a number, and a disposition that runs no code.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// How it ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The code it called exit with.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The lines of JSON among what it said.
    pub fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.err.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// Runs it to its end.
pub fn run(words: &[&str]) -> Ended {
    end(supervise(words).spawn().expect("start supervise"))
}

/// Waits for its end; fails, and kills it, if that takes too long.
pub fn end(mut child: Child) -> Ended {
    let out = child.stdout.take().map(read_all);
    let err = child.stderr.take().map(read_all);
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > until {
            // What it has said is not waited for: others may hold the pipe.
            let _ = child.kill();
            let _ = child.wait();
            panic!("still there after {PATIENCE:?}");
        }
        std::thread::yield_now();
    };
    let text = |thread: Option<std::thread::JoinHandle<String>>| {
        thread.map(|thread| thread.join().expect("read")).unwrap_or_default()
    };
    Ended { status, out: text(out), err: text(err) }
}

fn read_all(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits until `condition` gives something; panics if it does not in time.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Sends a signal to a process that we have started and not yet reaped.
pub fn kill(child: &Child, signal: i32) {
    // SAFETY: numbers; the process is ours and not reaped.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
}

/// The children of a process, zombies too.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process is there and no zombie.
pub fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A name that no other test has.
pub fn name(test: &str) -> String {
    format!("test-{test}-{}", std::process::id())
}

/// Where the control sockets are.
pub fn sockets() -> PathBuf {
    require_root();
    "/run/supervise".into()
}

/// Says so if it is missing.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
}

/// A folder that is gone after the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("supervise-{}", name(test)));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder");
        Folder(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies a program that is to be run. By another process: what is open for writing cannot be executed,
/// and while we had it open so would a child that another test starts just then.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("run cp");
    assert!(copied.success(), "copy {} to {}", from.display(), to.display());
}
