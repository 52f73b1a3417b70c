//! `watch` on the BSDs: a route(4) socket. The kernel speaks to it unasked; it is never asked.

use super::route::{Kinds, tells_of_change};
use crate::socket::Error;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Socket, Type};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

#[cfg(target_os = "freebsd")]
const KINDS: Kinds = super::route::FREEBSD;
#[cfg(target_os = "openbsd")]
const KINDS: Kinds = super::route::OPENBSD;
#[cfg(target_os = "netbsd")]
const KINDS: Kinds = super::route::NETBSD;

// The numbers are the system's.
const _: () = {
    let [info, added, deleted, announced] = KINDS.changes;
    assert!(KINDS.version as libc::c_int == libc::RTM_VERSION);
    assert!(info as libc::c_int == libc::RTM_IFINFO);
    assert!(added as libc::c_int == libc::RTM_NEWADDR);
    assert!(deleted as libc::c_int == libc::RTM_DELADDR);
    assert!(announced as libc::c_int == libc::RTM_IFANNOUNCE);
};

pub fn open() -> Result<OwnedFd, Error> {
    let socket = Socket::new(Domain::from(libc::PF_ROUTE), Type::RAW, None)
        .map_err(|error| Error::new("open a routing socket", error))?;
    Ok(socket.into())
}

/// Reads one datagram and says whether it tells of a change.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<bool, Errno> {
    let length = recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
    Ok(tells_of_change(buffer.get(..length).unwrap_or_default(), &KINDS))
}
