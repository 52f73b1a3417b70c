//! pf on OpenBSD: how its addresses are laid out, and how it is told to kill states.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use crate::pf;

/// How `struct pfr_addr` is laid out.
pub const LAYOUT: pf::Layout = pf::OPENBSD;

/// Kills the states from an address, or to it.
///
/// # Errors
/// What DIOCKILLSTATES failed with.
pub fn kill(device: &File, address: Ipv4Addr, to: bool) -> io::Result<()> {
    let mut request = pf::state_kill(address, to);
    // SAFETY: DIOCKILLSTATES reads and writes one structure of just this size.
    let result = unsafe {
        libc::ioctl(device.as_raw_fd(), libc::c_ulong::from(pf::KILL), request.as_mut_ptr())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
