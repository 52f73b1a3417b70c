//! Taking a caller off the socket, and making sure that it is one who may call.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};
use nix::unistd::geteuid;

use super::peer_uid::uid_of;
use crate::Error;

/// What was waiting in the socket.
pub(super) enum Caller {
    /// A call.
    One(OwnedFd),
    /// A user who may not call.
    Stranger(u32),
    /// Nobody, or somebody who has gone away again.
    Nobody,
}

/// Takes the next caller. Only the server's own user and root may call, whatever has become of the
/// directory's mode.
///
/// # Errors
/// There are too many descriptors open, or too little memory.
pub(super) fn accept(listen: &OwnedFd) -> Result<Caller, Error> {
    let call = match accept4(listen.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => return Ok(Caller::Nobody),
        Err(errno) => return Err(Error::system("accept", errno)),
    };
    Ok(match uid_of(call.as_fd()) {
        Ok(uid) if uid == 0 || uid == geteuid().as_raw() => Caller::One(call),
        Ok(uid) => Caller::Stranger(uid),
        // On some systems nobody is known at the other end once it is closed.
        Err(_) => Caller::Nobody,
    })
}
