//! System calls that nix has not, or not the same everywhere.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::Pid;

use crate::Error;

#[cfg_attr(target_os = "linux", path = "system_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "system_bsd.rs")]
mod own;

/// What uname(2) says.
pub(super) struct Name {
    /// The whole structure.
    pub whole: Vec<u8>,
    /// The host's name, and the zeros after it.
    pub host: Vec<u8>,
}

pub(super) fn name() -> Result<Name, Error> {
    // SAFETY: arrays of numbers may be zero.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: fills the structure.
    Errno::result(unsafe { libc::uname(&mut name) }).map_err(|e| Error::system("uname", e))?;
    // SAFETY: a structure of nothing but bytes, without gaps, all of them set.
    let whole = unsafe {
        std::slice::from_raw_parts((&raw const name).cast::<u8>(), size_of_val(&name)).to_vec()
    };
    Ok(Name { whole, host: name.nodename.iter().map(|byte| byte.cast_unsigned()).collect() })
}

/// Makes sure that 0, 1 and 2 are open: a server is sent all three.
pub(super) fn open_standard() -> Result<(), Error> {
    loop {
        // SAFETY: a C string; the descriptor is closed below or meant to stay.
        let fd = Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })
            .map_err(|e| Error::system("open /dev/null", e))?;
        if fd > 2 {
            // SAFETY: we have just opened it.
            unsafe { libc::close(fd) };
            return Ok(());
        }
    }
}

pub(super) fn close_on_exec(fd: &impl AsFd) -> nix::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop)
}

pub(super) fn set_nonblocking(fd: &impl AsFd) -> nix::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}

/// A pipe whose ends nobody inherits.
pub(super) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    own::pipe()
}

/// Two connected sockets that nobody inherits.
pub(super) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    own::pair()
}

/// Closes every descriptor from this number on. Only system calls.
pub(super) fn close_from(first: RawFd) -> nix::Result<()> {
    own::close_from(first)
}

/// Has this process ended with its parent, where there is such a thing, until it makes a process of
/// its own: the server, which is a copy of it, is not concerned.
pub(super) fn die_with(parent: Pid) -> nix::Result<()> {
    own::die_with(parent)
}

/// What ps(1) calls this process.
pub(super) fn set_process_name(name: &CStr) {
    own::set_process_name(name);
}
