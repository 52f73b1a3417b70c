//! Who is at the other end of a connected socket: Linux, by `SO_PEERCRED` (unix(7)).

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::path::Peer;

pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let found = getsockopt(&socket, PeerCredentials)?;
    Ok(Peer { uid: found.uid(), gid: found.gid(), pid: Some(found.pid()) })
}
