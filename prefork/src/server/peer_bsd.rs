//! Who is at the other end of a connected socket, on the BSDs: getpeereid(3).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

pub(super) fn uid_of(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    nix::unistd::getpeereid(socket).map(|(uid, _)| uid.as_raw())
}
