//! pf on FreeBSD: how its addresses are laid out, and how it is told to kill states.
//!
//! FreeBSD 13 and later take a list of names and values for that; 15 takes nothing else.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use crate::{nvlist, pf};

/// How `struct pfr_addr` is laid out.
pub const LAYOUT: pf::Layout = pf::FREEBSD;

/// Room for the answer, which is the request and one number more.
const ROOM: usize = 4096;

/// `struct pfioc_nv`
#[repr(C)]
struct NvRequest {
    data: *mut c_void,
    /// Bytes of the list there.
    len: usize,
    /// Bytes that there is room for.
    size: usize,
}
const _: () = assert!(size_of::<NvRequest>() == 24);

/// Kills the states from an address, or to it.
///
/// # Errors
/// What DIOCKILLSTATESNV failed with.
pub fn kill(device: &File, address: Ipv4Addr, to: bool) -> io::Result<()> {
    let mut list = nvlist::state_kill(address, to);
    let len = list.len();
    list.resize(ROOM.max(len), 0);
    let mut request = NvRequest { data: list.as_mut_ptr().cast(), len, size: list.len() };
    // SAFETY: DIOCKILLSTATESNV reads and writes one structure of just this type, `len` bytes at
    // `data`, and for its answer at most `size` bytes there; `list` has them and lives on.
    let result = unsafe {
        libc::ioctl(device.as_raw_fd(), libc::c_ulong::from(pf::KILL_NV), &raw mut request)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
