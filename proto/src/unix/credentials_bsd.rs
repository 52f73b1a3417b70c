//! Who is at the other end of a connected socket: the BSDs, by getpeereid(3), which knows no pid.

use std::io;
use std::os::fd::BorrowedFd;

use nix::unistd::getpeereid;

use super::path::Peer;

pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let (uid, gid) = getpeereid(socket)?;
    Ok(Peer { uid: uid.as_raw(), gid: gid.as_raw(), pid: None })
}
