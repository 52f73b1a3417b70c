//! A replicated pair under test: two network namespaces with a wire between them, hastlite in both,
//! each with a component in a file. What both said is shown if the test fails.

use crate::daemon::LIMIT;
use crate::lab::{Namespace, binary};
use crate::nbd::Nbd;
use crate::process;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The only resource, in the configuration of [`Options`].
pub const RESOURCE: &str = "data";

/// The port that they listen at.
pub const PORT: u16 = 8457;

/// How the pair is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of data.
    pub size: u64,
    /// Bytes of an extent.
    pub extent: u32,
    /// Seconds: `timeout` in hast.conf.
    pub timeout: u32,
    /// More lines of the resource, the same on both nodes.
    pub lines: String,
}

impl Default for Options {
    fn default() -> Self {
        Options { size: 16 << 20, extent: 128 << 10, timeout: 2, lines: String::new() }
    }
}

/// Both nodes. By their names, `a` is 10.99.0.1 and `b` is 10.99.0.2.
pub struct Pair {
    /// One.
    pub a: Node,
    /// The other.
    pub b: Node,
    /// Where their files are.
    folder: PathBuf,
}

/// A node.
pub struct Node {
    /// `a` or `b`.
    pub name: &'static str,
    /// Where it lives; its end of the wire is `v0`.
    pub space: Namespace,
    /// Its address on the wire.
    pub address: &'static str,
    peer: &'static str,
    folder: PathBuf,
    options: Options,
    daemon: Option<Child>,
    /// Where the data begins in the component.
    offset: u64,
    /// Bytes of the log that [`Node::wait_for`] has seen.
    seen: usize,
}

impl Pair {
    /// Makes it; the components are new, and nothing runs.
    pub fn new(options: &Options) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("tandem-pair-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("make a folder");
        let node = |name, address, peer| Node {
            name,
            space: Namespace::new(name),
            address,
            peer,
            folder: folder.clone(),
            options: options.clone(),
            daemon: None,
            offset: 0,
            seen: 0,
        };
        let (a, b) = (node("a", "10.99.0.1", "10.99.0.2"), node("b", "10.99.0.2", "10.99.0.1"));
        a.space.run(&format!(
            "ip link add v0 netns {} type veth peer name v0 netns {}",
            a.space.name(),
            b.space.name()
        ));
        let mut pair = Pair { a, b, folder };
        for node in [&mut pair.a, &mut pair.b] {
            node.space.run(&format!("ip addr add {}/24 dev v0", node.address));
            node.space.run("ip link set v0 up");
            node.configure();
            node.create();
        }
        pair
    }

    /// A running pair: `a` is primary, `b` secondary, and they have the same.
    pub fn running(options: &Options) -> Self {
        let mut pair = Pair::new(options);
        pair.a.start();
        pair.b.start();
        pair.b.role("secondary");
        pair.a.role("primary");
        pair.a.wait_synced();
        pair
    }

    /// A file of both.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the data of the two differs first.
    pub fn first_difference(&self) -> Option<usize> {
        let (one, other) = (self.a.contents(), self.b.contents());
        one.iter().zip(&other).position(|(one, other)| one != other)
    }

    /// Fails the test if the two do not have the same.
    ///
    /// # Panics
    /// If they have not.
    pub fn assert_same(&self) {
        assert_eq!(self.first_difference(), None, "the first byte in which the components differ");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in [&self.a, &self.b] {
                eprintln!("---- the log of {}\n{}", node.name, node.log());
            }
        }
        // Before the folder goes.
        self.a.end();
        self.b.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Node {
    /// A file of this node.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.{name}", self.name))
    }

    /// Writes its hast.conf as its options say.
    pub fn configure(&self) {
        let Options { timeout, lines, .. } = &self.options;
        self.write_config(&format!(
            "timeout {timeout}\nresource {RESOURCE} {{\n\tlocal {}\n\tname {}\n{lines}\n\
             \ton {} {{\n\t\tremote tcp4://{}\n\t}}\n}}\n",
            self.component().display(),
            self.socket().display(),
            host(),
            self.peer
        ));
    }

    /// Writes a hast.conf: what is given, behind where it listens and is controlled.
    pub fn write_config(&self, rest: &str) {
        let control = self.path("ctl");
        let text =
            format!("control {}\nlisten tcp4://{}:{PORT}\n{rest}", control.display(), self.address);
        fs::write(self.config(), text).expect("write hast.conf");
    }

    /// Changes the lines of its resource; it is not told.
    pub fn set_lines(&mut self, lines: &str) {
        self.options.lines = lines.to_owned();
        self.configure();
    }

    /// Changes the timeout, in seconds; it is not told.
    pub fn set_timeout(&mut self, timeout: u32) {
        self.options.timeout = timeout;
        self.configure();
    }

    /// Makes its component anew.
    pub fn create(&mut self) {
        let Options { size, extent, .. } = self.options;
        let file = File::create(self.component()).expect("create a component");
        file.set_len(size + (1 << 20)).expect("give it a size");
        let extent = extent.to_string();
        self.must(&["create", "-e", &extent, RESOURCE]);
        let dump = self.must(&["dump", "--json", RESOURCE]);
        assert_eq!(field(&dump, "datasize"), Some(&*size.to_string()), "{dump}");
        self.offset = number(&dump, "localoff").expect("where the data begins");
    }

    /// Its hast.conf.
    pub fn config(&self) -> PathBuf {
        self.path("conf")
    }

    /// Its component.
    pub fn component(&self) -> PathBuf {
        self.path("disk")
    }

    /// Where its clients connect.
    pub fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// Its export, for programs.
    pub fn uri(&self) -> String {
        format!("nbd+unix:///{RESOURCE}?socket={}", self.socket().display())
    }

    /// The data of its component.
    pub fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.options.size as usize];
        let file = File::open(self.component()).expect("open the component");
        file.read_exact_at(&mut bytes, self.offset).expect("read the component");
        bytes
    }

    /// A command that starts it.
    pub fn command(&self) -> Command {
        let mut command = self.space.command(binary("hastlite"));
        command.arg("-F").arg("-d").arg("-c").arg(self.config());
        // Standard output is not ours: what that is depends on who runs the tests.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = File::options().create(true).append(true).open(self.path("log"));
        command.stderr(log.expect("open a log"));
        command
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&mut self) {
        let socket = self.path("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).expect("bind the notify socket");
        notify.set_nonblocking(true).expect("do not wait");
        let mut child =
            self.command().env("NOTIFY_SOCKET", &socket).spawn().expect("start hastlite");
        let mut text = [0; 64];
        process::until("hastlite is ready", LIMIT, || match notify.recv(&mut text) {
            Ok(length) => &text[..length] == b"READY=1",
            Err(_) => {
                let ended = child.try_wait().expect("wait for hastlite");
                assert!(ended.is_none(), "hastlite is not ready: {ended:?}\n{}", self.log());
                false
            }
        });
        self.daemon = Some(child);
    }

    /// The parent's process id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    /// The process id of the worker in this role.
    pub fn worker(&self, role: &str) -> Option<u32> {
        process::child_titled(self.pid(), &format!("hastlite: {RESOURCE} ({role})"))
    }

    /// The process id of the listener.
    pub fn listener(&self) -> Option<u32> {
        process::child_titled(self.pid(), "hastlite: listener")
    }

    /// Kills the parent without a warning, and returns when nothing of it is left.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let all = process::descendants(child.id());
            let _ = child.kill();
            let _ = child.wait();
            process::until("hastlite's children end with it", LIMIT, || {
                all.iter().all(|child| process::gone(*child))
            });
        }
    }

    /// The same, of a pair that is at its end: what cannot be done is let be.
    fn end(&mut self) {
        let Some(mut child) = self.daemon.take() else { return };
        let all = process::descendants(child.id());
        let _ = child.kill();
        let _ = child.wait();
        let deadline = std::time::Instant::now() + LIMIT;
        while !all.iter().all(|child| process::gone(*child)) && std::time::Instant::now() < deadline
        {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Ends it as an administrator would, and waits for that.
    pub fn terminate(&mut self) -> ExitStatus {
        process::kill(self.pid(), Signal::SIGTERM);
        self.ended()
    }

    /// Waits for it to end by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().expect("a daemon");
        let mut status = None;
        process::until("hastlite ends", LIMIT, || {
            status = child.try_wait().expect("wait for hastlite");
            status.is_some()
        });
        status.expect("its status")
    }

    /// Runs hastctl.
    pub fn ctl(&self, words: &[&str]) -> Output {
        let (verb, rest) = words.split_first().expect("a command");
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "60"]).arg(binary("hastctl")).arg(verb);
        command.arg("-c").arg(self.config()).args(rest).stdin(Stdio::null());
        command.output().expect("run hastctl")
    }

    /// Runs hastctl, which must succeed; what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn must(&self, words: &[&str]) -> String {
        let output = self.ctl(words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: hastctl {words:?}: {err}", self.name);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs hastctl, which must fail with this code; what it complains of.
    ///
    /// # Panics
    /// If it does not.
    pub fn must_not(&self, code: i32, words: &[&str]) -> String {
        let output = self.ctl(words);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{}: hastctl {words:?}: {err}", self.name);
        err
    }

    /// Gives it a role.
    pub fn role(&self, role: &str) {
        self.must(&["role", role, RESOURCE]);
    }

    /// `hastctl status --json`.
    pub fn status(&self) -> String {
        self.must(&["status", "--json", RESOURCE])
    }

    /// A number of [`Node::status`].
    pub fn count(&self, key: &str) -> Option<u64> {
        number(&self.status(), key)
    }

    /// Waits until both are connected and have the same.
    pub fn wait_synced(&self) {
        self.must(&["status", "--wait=40", RESOURCE]);
    }

    /// Waits until it says `value` of `key` in its status.
    pub fn wait_status(&self, key: &str, value: &str) {
        process::until(&format!("{}: {key} is {value}", self.name), LIMIT, || {
            field(&self.status(), key) == Some(value)
        });
    }

    /// A client of its export.
    pub fn client(&self) -> Nbd {
        Nbd::connect(&self.socket(), RESOURCE, LIMIT).expect("connect to the export")
    }

    /// Cuts it off: nothing comes in any more, and nothing goes out.
    pub fn cut(&self) {
        self.space.nft(
            "add table inet cut; \
             add chain inet cut in { type filter hook input priority 0; policy drop; }; \
             add chain inet cut out { type filter hook output priority 0; policy drop; }",
        );
    }

    /// Undoes [`Node::cut`].
    pub fn heal(&self) {
        self.space.nft("delete table inet cut");
    }

    /// All that it has logged, since the first start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Waits for a line that contains `text`, after all lines that earlier calls have seen.
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut found = None;
        process::until(&format!("{}: a line with {text:?}", self.name), LIMIT, || {
            let log = self.log();
            let new = log.get(self.seen..).unwrap_or_default();
            let mut at = self.seen;
            for line in new.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                at += line.len();
                if line.contains(text) {
                    self.seen = at;
                    found = Some(line.trim_end().to_owned());
                    return true;
                }
            }
            false
        });
        found.unwrap_or_default()
    }
}

/// What both nodes are called: hastlite knows its own sections by the host's name.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    name.trim_end().to_owned()
}

/// What hastctl has said in JSON about `key`: a number, a word, what is between quotes; of an
/// object its first brace.
pub fn field<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":"))?;
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None if rest.starts_with('{') => Some("{"),
        None => rest.split([',', '}']).next(),
    }
}

/// The same, if it is a number.
pub fn number(json: &str, key: &str) -> Option<u64> {
    field(json, key)?.parse().ok()
}

/// Whether anybody listens at a socket.
pub fn listens(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}
