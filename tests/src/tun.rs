//! A tunnel's far end: a point-to-point interface in a namespace, whose packets a test reads and
//! writes. There is no Ethernet on it.

use crate::frame::{self, Datagram};
use crate::lab::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// `_IOW('T', 202, int)`.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca_u32 as libc::Ioctl;

/// The far end; the interface goes with it.
pub struct Tun {
    file: File,
}

impl Tun {
    /// Makes the interface. `None` where the kernel has no such.
    ///
    /// # Panics
    /// If it has, and will not make one.
    pub fn open(space: &Namespace, name: &str) -> Option<Tun> {
        let path = Path::new("/dev/net/tun");
        if !path.exists() {
            return None;
        }
        // struct ifreq: a name, and flags in the union behind it.
        let mut request = [0u8; 40];
        request[..name.len()].copy_from_slice(name.as_bytes());
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
        request[16..18].copy_from_slice(&flags.to_ne_bytes());
        let file = space.within(move || {
            let file = OpenOptions::new().read(true).write(true).open(path).expect("open the tun");
            // SAFETY: the request is as long as a struct ifreq, and lives through the call.
            let done = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
            assert_eq!(done, 0, "make a tun: {}", std::io::Error::last_os_error());
            file
        });
        Some(Tun { file })
    }

    /// Sends a datagram through the tunnel.
    pub fn send(&mut self, datagram: &Datagram) {
        let frame = datagram.frame();
        self.file.write_all(&frame[14..]).expect("write to the tun");
    }

    /// The next datagram from port 67, if one comes within `limit`.
    pub fn next(&mut self, limit: Duration) -> Option<Datagram> {
        let deadline = Instant::now() + limit;
        let mut packet = [0; 2000];
        // What `frame` reads begins with an Ethernet header.
        packet[12] = 8;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if left.is_zero() || poll(&mut fds, timeout).ok()? == 0 {
                return None;
            }
            let length = self.file.read(&mut packet[14..]).expect("read from the tun");
            let datagram = frame::read(&packet[..14 + length]);
            if let Some(datagram) = datagram.filter(|datagram| datagram.source.port() == 67) {
                return Some(datagram);
            }
        }
    }
}
