//! Callers of the script: the original client, and one by hand that can be as strange as it likes.

use std::ffi::OsStr;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::proc::{Process, eventually};
use super::program::SCRIPT;

/// The original client.
const CLIENT: &str = "/usr/bin/prefork-interp";

/// Our own.
const OURS: &str = env!("CARGO_BIN_EXE_prefork-interp");

/// A script with a server of its own, which ends with it.
pub struct Script {
    client: &'static str,
    ident: String,
    program: PathBuf,
    folder: PathBuf,
    /// How it is to be served.
    settings: Vec<(String, String)>,
}

impl Script {
    pub fn new(settings: &[(&str, &str)]) -> Script {
        // A test may have been started in the background, or by nohup: that is not what is tested.
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: a number, and a disposition that runs no code.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(Path::new(CLIENT).exists(), "{CLIENT} is missing: install chiark-utils-bin");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let ident = format!("tandem-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(&ident);
        std::fs::create_dir(&folder).expect("a folder");
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let program = std::env::current_exe().expect("our name");
        Script { client: CLIENT, ident, program, folder, settings: settings.collect() }
    }

    /// The same, called through our own client.
    pub fn through_ours(settings: &[(&str, &str)]) -> Script {
        let mut script = Script::new(settings);
        script.client = OURS;
        script
    }

    /// The same, of a copy of the program that may be changed.
    pub fn copied(settings: &[(&str, &str)]) -> Script {
        let mut script = Script::new(settings);
        let copy = script.folder.join("program");
        std::fs::copy(&script.program, &copy).expect("copy");
        script.program = copy;
        script
    }

    /// A path in a folder that goes with the script.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn ident(&self) -> &str {
        &self.ident
    }

    /// The client, about to call.
    pub fn call(&self, words: &[&str]) -> Command {
        self.call_with(words.iter().map(OsStr::new))
    }

    pub fn call_with<'a>(&self, words: impl Iterator<Item = &'a OsStr>) -> Command {
        let mut command = Command::new(self.client);
        command.args(["-U", "-g", &self.ident]).arg(&self.program).arg(SCRIPT).args(words);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        self.call(words).output().expect("the client runs")
    }

    /// The code with which the client exits.
    pub fn code(&self, words: &[&str]) -> i32 {
        let status = self
            .call(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("the client runs");
        status.code().unwrap_or_else(|| panic!("{status}"))
    }

    /// Calls for something that stays: the client, the program and another one that it has started.
    pub fn stay(&self, name: &str, how: &str) -> (Child, Process, Process) {
        let path = self.path(name);
        let mut call = self.call(&["stay", path.to_str().expect("UTF-8"), how]);
        let client = call.stdout(Stdio::null()).spawn().expect("the client runs");
        eventually("the program runs", || path.exists());
        let [program, other] = self.staying(name);
        (client, program, other)
    }

    pub fn staying(&self, name: &str) -> [Process; 2] {
        let text = std::fs::read_to_string(self.path(name)).expect("it has told");
        let numbers = text.split_whitespace().map(|n| Process::new(n.parse().expect("a number")));
        numbers.collect::<Vec<_>>().try_into().expect("two")
    }

    /// Ends what stays.
    pub fn release(&self, name: &str) {
        std::fs::write(self.path(&format!("{name}.end")), "").expect("write");
    }

    /// The server that has run a call.
    pub fn server(&self) -> Process {
        let output = self.output(&["look"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let pid = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        Process::new(pid.unwrap_or_else(|| panic!("{output:?}")))
    }

    /// Where the server listens.
    pub fn socket(&self) -> PathBuf {
        let uid = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(uid).expect("passwd").expect("an account");
        let node = nix::sys::utsname::uname().expect("uname").nodename().to_owned();
        let node = node.to_string_lossy().chars().take_while(|c| *c != '.').take(32).collect();
        let home = user.dir.join(".prefork-interp").join::<String>(node);
        let run = PathBuf::from(format!("/var/run/user/{uid}/prefork-interp"));
        let candidates = [run, home].map(|base| base.join(format!("s{}", self.ident)));
        candidates.into_iter().find(|path| path.exists()).expect("a socket")
    }

    /// A caller by hand, who has been greeted.
    pub fn connect(&self) -> Caller {
        let stream = UnixStream::connect(self.socket()).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("SO_RCVTIMEO");
        let mut greeting = [0; 8];
        (&stream).read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting, b"PFI\n\0\0\0\0");
        Caller { stream }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let kill = ["-U", "--kill", "-g", &self.ident, "x"];
        let _ = Command::new(CLIENT).args(kill).status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A call that is made by hand.
pub struct Caller {
    pub stream: UnixStream,
}

impl Caller {
    /// Sends the zero byte and the descriptors.
    pub fn descriptors(&mut self, fds: [RawFd; 3]) {
        self.stream.write_all(&[0]).expect("write");
        for fd in fds {
            let fds = [fd];
            let rights = [ControlMessage::ScmRights(&fds)];
            let (bytes, none) = ([IoSlice::new(&[0])], MsgFlags::empty());
            sendmsg::<UnixAddr>(self.stream.as_raw_fd(), &bytes, &rights, none, None)
                .expect("sendmsg");
        }
    }

    /// Sends environment and words.
    pub fn strings(&mut self, environment: &[&str], words: &[&str]) {
        let mut bytes = Vec::new();
        let words = [&["program", SCRIPT], words].concat();
        for string in environment.iter().chain(&[""]).chain(&words) {
            bytes.extend_from_slice(string.as_bytes());
            bytes.push(0);
        }
        let length = u32::try_from(bytes.len()).expect("short").to_be_bytes();
        self.stream.write_all(&[&length, bytes.as_slice()].concat()).expect("write");
    }

    /// The wait status that the server tells; `None` if it hangs up instead.
    pub fn status(&mut self) -> Option<i32> {
        let mut status = [0; 4];
        let told = self.stream.read_exact(&mut status);
        told.ok().map(|()| i32::from_be_bytes(status))
    }
}
