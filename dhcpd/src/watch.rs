//! Hears from the system that its interfaces have changed: a link that came, went or was renamed,
//! an address that was added or taken away.
//!
//! Only that something has changed: what there is now is asked of `interfaces`. So nothing is
//! missed when the system has more to say than its socket holds, and many changes at once cost one
//! look. The parent's; what it decodes comes from the kernel.

pub mod netlink;
pub mod route;

#[cfg(target_os = "linux")]
#[path = "watch/netlink_linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "watch/route_bsd.rs"]
mod system;

use crate::socket::Error;
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most datagrams read at a time.
const MOST: usize = 64;

/// The system's word about interfaces. Readable when there is some.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Watch {
    /// Begins to listen: what changes from now on is heard.
    ///
    /// # Errors
    /// No such socket.
    pub fn open() -> Result<Watch, Error> {
        let fd = system::open()?;
        Ok(Watch { fd, buffer: vec![0; 32 << 10] })
    }

    /// Whether something has changed since the last call. Reads a bounded part of what there is to
    /// read; never waits.
    ///
    /// # Errors
    /// What the system says, except that it had more to say than there was room for, which is a
    /// change like any other.
    pub fn changed(&mut self) -> Result<bool, Error> {
        let mut changed = false;
        for _ in 0..MOST {
            match system::receive(self.fd.as_fd(), &mut self.buffer) {
                Ok(word) => changed |= word,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS | Errno::ENOMEM) => changed = true,
                Err(error) => return Err(Error::new("hear of changed interfaces", error)),
            }
        }
        Ok(changed)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
