//! What the client needs of Linux alone, and other systems do otherwise.

use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};

use nix::errno::Errno;
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
    // SAFETY: on plain numbers; what is closed is not used any more.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) })
        .map(drop)
}

pub(super) fn die_with(parent: Pid) -> nix::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    // It may have been too late for that.
    if Pid::parent() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

pub(super) fn set_process_name(name: &CStr) {
    let _ = nix::sys::prctl::set_name(name);
}
