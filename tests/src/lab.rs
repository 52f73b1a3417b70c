//! Two network namespaces with a veth pair between them: a server's side and a client's.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The server's address on the wire; the subnet is 192.0.2.0/24.
pub const SERVER: &str = "192.0.2.1";

/// A network namespace of our own; deleted when dropped, and who runs in it ends.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` is what it is for, in a few letters.
    ///
    /// # Panics
    /// If it cannot.
    pub fn new(role: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tandem-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let space = Namespace { name };
        space.run("ip link set lo up");
        space
    }

    /// Its name, as `ip netns` has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in here; its process is the program itself.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a line of words and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a line of words, whatever comes of it.
    pub fn try_run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        self.command(program).args(words).output().expect("run ip netns exec")
    }

    /// The processes that run in here.
    pub fn pids(&self) -> Vec<u32> {
        let output = Command::new("ip").args(["netns", "pids", &self.name]).output();
        let text = String::from_utf8(output.expect("run ip netns pids").stdout).expect("numbers");
        text.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
    }

    /// Gives a ruleset to nft.
    pub fn nft(&self, ruleset: &str) {
        let mut words: Vec<&str> = vec!["netns", "exec", &self.name, "nft"];
        words.push(ruleset);
        run("ip", &words);
    }

    /// The elements of a set of `inet dhcpd`, in ascending order.
    pub fn set(&self, set: &str) -> Vec<Ipv4Addr> {
        let text = self.run(&format!("nft list set inet dhcpd {set}"));
        let mut addresses: Vec<Ipv4Addr> = match text.split_once("elements = {") {
            None => Vec::new(),
            Some((_, elements)) => elements
                .split(|c: char| !(c.is_ascii_digit() || c == '.'))
                .filter_map(|word| word.parse().ok())
                .collect(),
        };
        addresses.sort();
        addresses
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever still runs in here: dhcpcd's helpers are started by one another, and one of them may
        // have been on its way when its client was ended.
        for pid in self.pids() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// The pair, and a folder for files.
pub struct Lab {
    /// Where dhcpd runs; its interface is `srv0`, 192.0.2.1/24.
    pub server: Namespace,
    /// Where clients run; their interface is `cli0`, without an address.
    pub client: Namespace,
    folder: PathBuf,
}

impl Lab {
    /// Makes it.
    ///
    /// # Panics
    /// If it cannot: these tests need root and iproute2.
    #[allow(clippy::new_without_default, reason = "it does things to the machine")]
    pub fn new() -> Self {
        let (server, client) = (Namespace::new("srv"), Namespace::new("cli"));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tandem-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("make a folder");
        run(
            "ip",
            &[
                "link",
                "add",
                "srv0",
                "netns",
                &server.name,
                "type",
                "veth",
                "peer",
                "name",
                "cli0",
                "netns",
                &client.name,
            ],
        );
        server.run(&format!("ip addr add {SERVER}/24 dev srv0"));
        server.run("ip link set srv0 up");
        client.run("ip link set cli0 up");
        Lab { server, client, folder }
    }

    /// Another wire between the two: `name` on the server's side, without an address and down, and
    /// `peer` on the client's.
    pub fn wire(&self, name: &str, peer: &str) {
        let client = self.client.name();
        self.server.run(&format!("ip link add {name} type veth peer name {peer} netns {client}"));
        self.client.run(&format!("ip link set {peer} up"));
    }

    /// Whether a client that broadcasts on an interface of the client's side gets an address at
    /// all; `tries` seconds are waited for it.
    pub fn is_served(&self, interface: &str, tries: u32) -> bool {
        let output = self.client.try_run(&format!(
            "busybox udhcpc -f -q -n -i {interface} -t {tries} -T 1 -A 0 -s /bin/true"
        ));
        // Shown if the test fails.
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }

    /// A file of this lab.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of this lab.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write a file of the lab");
        path
    }

    /// Gives this thread a mount namespace: only it, and what it starts, sees what it mounts.
    pub fn own_mounts(&self) {
        unshare(CloneFlags::CLONE_NEWNS).expect("make a mount namespace");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).expect("keep it private");
    }

    /// The addresses that `cli0` has.
    pub fn held(&self) -> Vec<Ipv4Addr> {
        let text = self.client.run("ip -4 -o addr show dev cli0");
        let words: Vec<&str> = text.split_whitespace().collect();
        let pairs = words.windows(2).filter(|pair| pair[0] == "inet");
        pairs.filter_map(|pair| pair[1].split('/').next()?.parse().ok()).collect()
    }

    /// Has somebody on the wire answer ARP for this address.
    pub fn occupy(&self, address: Ipv4Addr) {
        self.server.run(&format!("ip addr add {address}/32 dev lo"));
    }

    /// Pulls the client's plug and puts it in again.
    pub fn replug(&self) {
        self.client.run("ip link set cli0 down");
        self.client.run("ip link set cli0 up");
    }

    /// Has nothing reach the server that a client with this address sends to it alone, until
    /// [`Lab::hear_all`].
    pub fn deafen_to(&self, address: Ipv4Addr) {
        self.server.nft(&format!(
            "add table netdev deaf; \
             add chain netdev deaf ingress {{ type filter hook ingress device srv0 priority 0; }}; \
             add rule netdev deaf ingress ip saddr {address} ip daddr {SERVER} udp dport 67 drop"
        ));
    }

    /// The end of [`Lab::deafen_to`].
    pub fn hear_all(&self) {
        self.server.nft("delete table netdev deaf");
    }

    /// A file system of its own of so many KiB, empty, on a folder of this lab, for this thread and
    /// what it starts.
    pub fn disk(&self, name: &str, kib: u32) -> Disk {
        let path = self.path(name);
        std::fs::create_dir(&path).expect("make a mount point");
        self.own_mounts();
        let none: Option<&str> = None;
        let size = format!("size={kib}k");
        mount(none, &path, Some("tmpfs"), MsFlags::empty(), Some(&*size)).expect("mount a tmpfs");
        Disk { path }
    }

    /// The three sets of table `inet dhcpd`, empty.
    pub fn make_sets(&self) {
        self.server.nft(
            "add table inet dhcpd; \
             add set inet dhcpd leased { type ipv4_addr; }; \
             add set inet dhcpd abandoned { type ipv4_addr; }; \
             add set inet dhcpd changed { type ipv4_addr; }",
        );
    }
}

/// A small file system in memory; unmounted when dropped, even while in use.
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// A file on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Leaves no room on it, until [`Disk::make_room`].
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.path("filler")).expect("create a file");
        while file.write_all(&[b'x'; 4096]).is_ok() {}
    }

    /// Takes away what [`Disk::fill`] left there.
    pub fn make_room(&self) {
        std::fs::remove_file(self.path("filler")).expect("remove a file");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What a test that fails leaves to go by: what everybody in it said.
        if std::thread::panicking() {
            for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".log") || name.ends_with(".events") {
                    let said = std::fs::read(entry.path()).unwrap_or_default();
                    eprintln!("---- {name}\n{}", String::from_utf8_lossy(&said));
                }
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One of our own programs.
///
/// # Panics
/// If it was not built: `make test` builds the whole workspace first.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    let folder = own.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built: cargo build --workspace", path.display());
    path
}

/// Copies a program that is to be run. By another process: what is open for writing cannot be executed,
/// and while we had it open so would a child that another test starts just then.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("run cp");
    assert!(copied.success(), "copy {} to {}", from.display(), to.display());
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("run a program");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
