//! What the client needs of the BSDs, and Linux does otherwise.

use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, pipe2};

pub(super) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC)
}

pub(super) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
}

pub(super) fn close_from(first: RawFd) -> nix::Result<()> {
    // SAFETY: a number; what is closed is not used any more. That there is nothing to close is the
    // only error, and none.
    unsafe { libc::closefrom(first) };
    Ok(())
}

/// A script that is left alone goes on: only a server that nobody has asked for comes of it.
pub(super) fn die_with(_parent: Pid) -> nix::Result<()> {
    Ok(())
}

/// It keeps the name it has.
pub(super) fn set_process_name(_name: &CStr) {}
