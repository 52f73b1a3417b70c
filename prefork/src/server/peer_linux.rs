//! Who is at the other end of a connected socket, on Linux: `SO_PEERCRED` (unix(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

pub(super) fn uid_of(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    getsockopt(&socket, PeerCredentials).map(|found| found.uid())
}
