//! A user with an empty directory for servers, scripts, and both clients. All that has been started
//! ends with it.

use std::fs;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub const ORIGINAL: &str = "/usr/bin/prefork-interp";

/// As long as anything may take on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// Perl: tells which process has set up, by a file beside it, and what it is called with; then does
/// what the last words say.
const SCRIPT: &str = r#"
use Proc::Prefork::Interp;
use POSIX ();
my $setup = $$;
prefork_initialisation_complete();
$| = 1;
my $do = $ARGV[2] // '';
if ($do eq 'exit') { POSIX::_exit($ARGV[3]); }
if ($do eq 'kill') { kill $ARGV[3], $$; POSIX::pause(); }
if ($do eq 'words') { print join('|', @ARGV), "\n"; }
if ($do eq 'variable') { print $ENV{$ARGV[3]} // 'unset', "\n"; }
if ($do eq 'cat') { print STDERR "to stderr\n"; print while <STDIN>; }
if ($do eq 'server') { my $monitor = getppid(); open my $f, '<', "/proc/$monitor/stat"; my $s = <$f>; $s =~ s/.*\) //s; print +(split / /, $s)[1], "\n"; }
if ($do eq 'wait') { print "$$\n"; 1 while POSIX::pause(); }
POSIX::_exit(0);
"#;

pub struct World {
    pub user: u32,
    pub folder: PathBuf,
    /// Where this user's servers are.
    pub run: PathBuf,
    made: Option<PathBuf>,
}

/// Both programs where any user may execute them.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("prefork-client-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::DirBuilder::new().mode(0o755).recursive(true).create(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for program in [env!("CARGO_BIN_EXE_prefork-interp"), env!("CARGO_BIN_EXE_prefork-spawn")] {
            let to = folder.join(Path::new(program).file_name().unwrap());
            // By another process: what other tests fork meanwhile would hold ours open for
            // writing, and then it cannot be executed.
            assert!(Command::new("cp").arg(program).arg(&to).status().unwrap().success());
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    })
}

/// Our own client.
pub fn ours() -> &'static str {
    static OURS: OnceLock<String> = OnceLock::new();
    OURS.get_or_init(|| programs().join("prefork-interp").to_str().unwrap().to_owned())
}

impl World {
    pub fn new() -> World {
        stand_as_at_boot();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = nix::unistd::Uid::current().is_root();
        let own = nix::unistd::getuid().as_raw();
        // Beyond what accounts have, and different in tests that run at the same time.
        let user = if root { 1_000_000 + std::process::id() % 100_000 * 100 + number } else { own };
        let folder = programs().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&folder, Some(user), Some(user))
            .or_else(|e| if root { Err(e) } else { Ok(()) })
            .unwrap();
        let theirs = PathBuf::from(format!("/var/run/user/{user}"));
        let mut world = World { user, folder, run: theirs.join("prefork-interp"), made: None };
        if root {
            fs::create_dir_all("/var/run/user").unwrap();
            let _ = fs::remove_dir_all(&theirs);
            fs::DirBuilder::new().mode(0o700).create(&theirs).unwrap();
            chown(&theirs, Some(user), Some(user)).unwrap();
            world.made = Some(theirs);
        } else if !theirs.exists() {
            println!(
                "not root, and no {}: the servers are in the home directory",
                theirs.display()
            );
            let node = nix::sys::utsname::uname().unwrap();
            let node = node.nodename().to_str().unwrap().split('.').next().unwrap().to_owned();
            let home = nix::unistd::User::from_uid(own.into()).unwrap().unwrap().dir;
            world.run = home.join(".prefork-interp").join(node);
        }
        world.write("script", SCRIPT);
        world
    }

    /// One whose directory nobody else uses meanwhile.
    pub fn alone() -> Option<World> {
        if nix::unistd::Uid::current().is_root() {
            return Some(World::new());
        }
        println!("not root: there is no user to be for this test alone, skipped");
        None
    }

    /// A file in the folder, which can be executed.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // Servers end when a file of theirs is newer than they are; they count in seconds.
        let past = std::time::SystemTime::now() - Duration::from_secs(100);
        fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        path
    }

    /// Makes a file this user's.
    pub fn give(&self, path: &Path) {
        if self.made.is_some() {
            chown(path, Some(self.user), Some(self.user)).unwrap();
        }
    }

    /// A program as this user, in the folder.
    pub fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.folder).env("HOME", "/nonexistent");
        if self.made.is_some() {
            command.uid(self.user).gid(self.user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, program: &str, words: &[&str]) -> Outcome {
        Outcome::of(self.command(program, words).spawn().unwrap())
    }

    /// A call of the script: `prefork-interp -U perl script WORDS`.
    pub fn call(&self, program: &str, words: &[&str]) -> Outcome {
        self.run(program, &[&["-U", "perl", "script"], words].concat())
    }

    /// The server that answers a call of the script by this client.
    pub fn server(&self, program: &str) -> i32 {
        let told = self.call(program, &["server"]);
        told.output.trim().parse().unwrap_or_else(|_| panic!("{told:?}"))
    }

    /// The names in the directory of servers that begin with this letter, and are no older than us.
    pub fn names(&self, kind: char) -> Vec<PathBuf> {
        let Ok(list) = fs::read_dir(&self.run) else { return Vec::new() };
        let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kind);
        list.map(|entry| entry.unwrap().path()).filter(named).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.command(ours(), &["--kill", "-U", "perl", "script"]).status();
        if let Some(made) = &self.made {
            // Every server sees its socket go.
            let _ = fs::remove_dir_all(made);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub output: String,
    pub complaint: String,
}

impl Outcome {
    /// Waits, but not for ever. (A server keeps no descriptor of its caller's for long, or the end
    /// of what it says would not come.)
    pub fn of(mut child: Child) -> Outcome {
        let mut output = child.stdout.take().unwrap();
        let mut complaint = child.stderr.take().unwrap();
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            complaint.read_to_string(&mut text).unwrap();
            text
        });
        let ended = ends(child.id() as i32, LONG);
        if !ended {
            child.kill().unwrap();
        }
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        let status = child.wait().unwrap();
        let outcome = Outcome { status, output: text, complaint: read.join().unwrap() };
        assert!(ended, "it did not end: {outcome:?}");
        outcome
    }

    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// Whether a process ends in time, or has ended.
pub fn ends(pid: i32, patience: Duration) -> bool {
    // SAFETY: two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return true;
    }
    // SAFETY: the kernel has just given it to us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let timeout = PollTimeout::try_from(patience).unwrap();
    use std::os::fd::AsFd;
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) == Ok(1)
}

/// Asks until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {LONG:?}");
        let _ = poll(&mut [], PollTimeout::from(10_u8));
    }
}

/// The processes of a user whose name (comm) is this.
pub fn processes(user: u32, name: &str) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt;
    let list = fs::read_dir("/proc").unwrap();
    let pids = list.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let is_theirs = fs::metadata(format!("/proc/{pid}")).is_ok_and(|m| m.uid() == user);
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // One that has ended and that nobody has waited for is not there any more.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        is_theirs && comm.trim() == name && !stat.contains(") Z ")
    })
    .collect()
}

/// A test may have been started in the background, or by nohup: that is not what is tested.
fn stand_as_at_boot() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: a number, and a disposition that runs no code.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
