//! A namespace with a veth pair, `va` for the server and `vb` for its clients, and raw frames.

use dhcpd::wire::frame::{Addressing, headers};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::time::{Duration, Instant};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const BROADCAST: [u8; 6] = [0xff; 6];
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace of the running thread's own.
pub struct Wire;

impl Wire {
    /// Runs a test beside such a wire.
    pub fn run(test: impl FnOnce(&Wire) + Send + 'static) {
        let thread = std::thread::spawn(move || {
            // SAFETY: takes no pointer; it changes the namespace of this thread alone.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                eprintln!("skipped, needs root: {}", std::io::Error::last_os_error());
                return;
            }
            ip(
                "link add va address 02:00:00:00:00:01 type veth peer name vb address 02:00:00:00:00:02",
            );
            ip("addr add 10.9.0.1/24 dev va");
            Wire.up(&["va", "vb"]);
            test(&Wire);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// Brings both ends up and waits until frames pass.
    pub fn up(&self, names: &[&str]) {
        for name in names {
            ip(&format!("link set {name} up"));
        }
        let deadline = Instant::now() + PATIENCE;
        while names.iter().any(|name| !ip(&format!("-o link show {name}")).contains("state UP")) {
            assert!(Instant::now() < deadline, "{names:?} do not come up");
        }
    }

    pub fn index(&self, name: &str) -> u32 {
        nix::net::if_::if_nametoindex(name).unwrap()
    }
}

/// Runs ip(8) in the thread's namespace.
pub fn ip(arguments: &str) -> String {
    let out = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Waits until it has something to say.
pub fn until_readable(fd: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    assert_ne!(poll(&mut fds, timeout).unwrap(), 0, "nothing comes");
}

/// A host at `vb` that knows when what it sent has arrived at `va`.
///
/// It is to be made before the sockets under test: the kernel shows a frame to the newest packet
/// socket first, and to its own UDP before any.
pub struct Client {
    sender: Raw,
    sniffer: Raw,
    waiting: usize,
}

impl Client {
    pub fn new(wire: &Wire) -> Client {
        Client { sender: Raw::open(wire, "vb"), sniffer: Raw::open(wire, "va"), waiting: 0 }
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.sender.0.send(frame).unwrap();
        self.waiting += 1;
        if self.waiting == 50 {
            self.settle();
        }
    }

    /// Returns when every frame sent has been through the sockets at `va`.
    pub fn settle(&mut self) {
        for _ in 0..std::mem::take(&mut self.waiting) {
            self.sniffer.next();
        }
    }

    /// The next frame at `va`, not one of those sent here.
    pub fn overhear(&mut self) -> Vec<u8> {
        self.settle();
        self.sniffer.next()
    }

    /// The next frame at `vb`.
    pub fn next(&mut self) -> Vec<u8> {
        self.sender.next()
    }
}

/// A client's message in a frame, from port 68 to 67.
pub fn request(mac: [u8; 6], dest: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let to = Addressing {
        source_mac: CLIENT_MAC,
        dest_mac: mac,
        source: CLIENT,
        dest,
        source_port: 68,
        dest_port: 67,
    };
    [&headers(&to, payload).unwrap()[..], payload].concat()
}

/// Writes a right IP checksum over what a test changed.
pub fn mend(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let mut sum: u32 =
        frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    frame[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
}

/// Raw frames at one end of the wire, with no filter of ours.
pub struct Raw(Socket);

impl Raw {
    pub fn open(wire: &Wire, name: &str) -> Raw {
        let protocol = (libc::ETH_P_IP as u16).to_be();
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).unwrap();
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: a sockaddr_ll is integers only and smaller than the storage.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = wire.index(name) as i32;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the storage holds a whole sockaddr_ll of that length.
        socket.bind(&unsafe { SockAddr::new(storage, len) }).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(socket)
    }

    /// The next IPv4 frame.
    pub fn next(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 9000];
        let len = self.0.read(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }
}
