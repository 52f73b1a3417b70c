//! Two servers that know of each other: a wire between them, with or without somebody on it who
//! loses and doubles datagrams, and the key file that both see.

use crate::lab::{Lab, Namespace};
use crate::random::Random;
use nix::mount::{MsFlags, mount};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The port of lease synchronisation.
pub const PORT: u16 = 8067;

/// Gives this thread, and what it starts, a /var/db of its own, with this key file if any.
///
/// # Panics
/// If it cannot: that takes root.
pub fn own_key(lab: &Lab, key: Option<&[u8]>) {
    std::fs::create_dir_all("/var/db").expect("a folder to mount on");
    lab.own_mounts();
    let none: Option<&str> = None;
    mount(none, "/var/db", Some("tmpfs"), MsFlags::empty(), none).expect("mount a tmpfs");
    if let Some(key) = key {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write("/var/db/dhcpd.key", key).expect("write the key");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions("/var/db/dhcpd.key", private).expect("chmod");
    }
}

/// Makes a wire: each end is a namespace, the interface's name there, and its address.
pub fn wire(one: (&Namespace, &str, &str), other: (&Namespace, &str, &str)) {
    let line = format!(
        "link add {} netns {} type veth peer name {} netns {}",
        one.1,
        one.0.name(),
        other.1,
        other.0.name()
    );
    let output = Command::new("ip").args(line.split_whitespace()).output().expect("run ip");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    for (space, interface, address) in [one, other] {
        space.run(&format!("ip addr add {address} dev {interface}"));
        space.run(&format!("ip link set {interface} up"));
    }
}

/// Somebody between two servers, who passes on what each sends to the other: not all of it, and some
/// of it twice. The servers are at 10.77.0.1 and 10.77.1.1, and speak to 10.77.0.2 and 10.77.1.2.
pub struct Between {
    _space: Namespace,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Datagrams passed on, and lost.
    pub passed: Arc<AtomicU64>,
    /// Lost ones.
    pub lost: Arc<AtomicU64>,
}

impl Between {
    /// Loses one in `loss`, and doubles as many.
    pub fn new(one: &Namespace, other: &Namespace, loss: u64) -> Self {
        let space = Namespace::new("mid");
        wire((one, "syn0", "10.77.0.1/24"), (&space, "mid0", "10.77.0.2/24"));
        wire((other, "syn0", "10.77.1.1/24"), (&space, "mid1", "10.77.1.2/24"));
        let open = |address: &'static str| {
            let socket =
                space.within(move || UdpSocket::bind((address, PORT)).expect("bind a socket"));
            let wait = Some(Duration::from_millis(100));
            socket.set_read_timeout(wait).expect("set a time limit");
            Arc::new(socket)
        };
        let (near, far) = (open("10.77.0.2"), open("10.77.1.2"));
        let ends = Arc::new(AtomicBool::new(false));
        let (passed, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let pass = |from: Arc<UdpSocket>, by: Arc<UdpSocket>, to: &str, seed: u64| {
            let (ends, passed, lost) = (ends.clone(), passed.clone(), lost.clone());
            let to: SocketAddr = format!("{to}:{PORT}").parse().expect("an address");
            let mut random = Random::new(seed);
            std::thread::spawn(move || {
                let mut bytes = [0; 2048];
                while !ends.load(Ordering::Relaxed) {
                    let Ok(length) = from.recv(&mut bytes) else { continue };
                    if random.one_in(loss) {
                        lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    passed.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..if random.one_in(loss) { 2 } else { 1 } {
                        let _ = by.send_to(&bytes[..length], to);
                    }
                }
            })
        };
        let threads =
            vec![pass(near.clone(), far.clone(), "10.77.1.1", 5), pass(far, near, "10.77.0.1", 6)];
        Between { _space: space, ends, threads, passed, lost }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
