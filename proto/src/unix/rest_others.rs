//! Where a record passes whole or not at all (Linux, OpenBSD, NetBSD, FreeBSD up to 14) there is no
//! rest of it. The sibling for FreeBSD 15 says what there is to do where it does not.

use std::io;
use std::os::fd::BorrowedFd;

use super::Error;
use super::raw::Received;

/// After a send that took `sent` bytes of `head` and `body`.
pub(super) fn send(
    _socket: BorrowedFd<'_>,
    head: &[u8],
    body: &[u8],
    sent: usize,
) -> Result<(), Error> {
    if sent == head.len() + body.len() {
        Ok(())
    } else {
        Err(Error::io("sendmsg", io::ErrorKind::WriteZero))
    }
}

/// After a receive into `buffer`.
pub(super) fn receive(
    _socket: BorrowedFd<'_>,
    _buffer: &mut [u8],
    received: &mut Received,
) -> Result<(), Error> {
    if received.ended { Ok(()) } else { Err(Error::Truncated) }
}
