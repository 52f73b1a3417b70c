//! Whom safe-kill might hit, the files that say so, and safe-kill itself.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use supervise::pidfile::Locked;

/// The variables that tell the test that it is a victim, and which file it is to lock.
pub const ROLE: &str = "SAFE_KILL_ROLE";
const FILE: &str = "SAFE_KILL_FILE";

// ---- The victims.

pub fn victim(role: &str) -> ExitCode {
    // Should a test fail, this ends it.
    // SAFETY: a number.
    unsafe { libc::alarm(60) };
    let path = PathBuf::from(std::env::var_os(FILE).unwrap_or_default());
    let mut said = std::process::id().to_string();
    let mut locked = None;
    match role {
        "plain" => {}
        "threads" => {
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let _ = tell.send(nix::unistd::gettid());
                loop {
                    std::thread::park();
                }
            });
            said = told.recv().expect("a thread").to_string();
        }
        "locks" => match Locked::create(&path) {
            Ok(lock) => locked = Some(lock),
            Err(error) => said = error.to_string(),
        },
        "reads" => {
            let file = File::open(&path).expect("open");
            // SAFETY: a flock is numbers, for all of which zero is one.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = libc::F_RDLCK as _;
            nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&lock)).expect("a read lock");
            std::mem::forget(file);
        }
        "forks" => {
            let lock = Locked::create(&path).expect("locked");
            // SAFETY: the process has one thread, and the child ends at once.
            match unsafe { nix::unistd::fork() }.expect("fork") {
                nix::unistd::ForkResult::Child => {
                    drop(lock);
                    // SAFETY: ends the process, without what is the parent's to do at its end.
                    unsafe { libc::_exit(0) }
                }
                nix::unistd::ForkResult::Parent { child } => {
                    nix::sys::wait::waitpid(child, None).expect("reaped");
                    said = path.exists().to_string();
                    locked = Some(lock);
                }
            }
        }
        // Whoever ignores SIGTERM is not ended by it.
        "deaf" => {
            // SAFETY: no handler is installed.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        }
        other => panic!("unknown role {other}"),
    }
    println!("{said}");
    let _ = std::io::stdin().read(&mut [0]);
    drop(locked);
    ExitCode::SUCCESS
}

/// A process of ours that lives until it is hit or dropped.
pub struct Victim {
    child: Child,
    /// It ends with this.
    pub input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it has said it is.
    pub said: String,
}

impl Victim {
    pub fn new(role: &str, file: &Path) -> Victim {
        Victim::of(Command::new("/proc/self/exe"), role, file)
    }

    pub fn of(mut command: Command, role: &str, file: &Path) -> Victim {
        command.env(ROLE, role).env(FILE, file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a victim");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut output = BufReader::new(output.expect("its output"));
        let mut said = String::new();
        output.read_line(&mut said).expect("a line");
        Victim { child, input, output, said: said.trim_end().to_owned() }
    }

    pub fn plain() -> Victim {
        Victim::new("plain", Path::new(""))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends by itself; 0 says that nothing has hit it.
    pub fn unhurt(mut self) {
        self.input = None;
        let mut rest = String::new();
        let _ = self.output.read_to_string(&mut rest);
        assert_eq!(self.child.wait().expect("its end").code(), Some(0));
    }

    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("its end")
    }

    /// That it was ended by this signal.
    pub fn hit_by(self, signal: i32) {
        assert_eq!(self.ended().signal(), Some(signal));
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- The files, and the program under test.

/// A directory of its own, which every user may enter, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tandem-safe-kill-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("permissions");
        Folder(path)
    }

    /// A file with this in it that only its owner can write.
    pub fn file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join("pid");
        let mut file = File::create(&path).expect("a file");
        file.write_all(content.as_ref()).expect("written");
        file.set_permissions(Permissions::from_mode(0o644)).expect("permissions");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn written_at(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).expect("open");
    file.set_times(FileTimes::new().set_modified(time)).expect("a time");
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_safe-kill"))
}

/// Its exit code and what it has printed, both streams.
pub fn run(words: &[&str], path: &Path) -> (i32, String) {
    finish(Command::new(program()).args(words).arg(path))
}

pub fn finish(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("safe-kill");
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().expect("no signal");
    (code, String::from_utf8(text).expect("text"))
}

/// It must say no, and this must be in the reason.
pub fn refused(words: &[&str], path: &Path, why: &str) {
    let (code, text) = run(words, path);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("safe-kill: ") && text.contains(why), "{why:?} is not in: {text}");
    assert!(text.contains(path.to_str().expect("text")), "no file is named in: {text}");
}

/// It must do it, and say nothing.
pub fn obeyed(words: &[&str], path: &Path) {
    assert_eq!(run(words, path), (0, String::new()));
}

pub fn root() -> bool {
    nix::unistd::geteuid().is_root()
}
