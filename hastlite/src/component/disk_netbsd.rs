//! Disks of NetBSD: sys/dkio.h, sys/disk.h.

use crate::layout::Medium;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

mod ioctls {
    use std::ffi::c_int;

    nix::ioctl_write_ptr!(sync_cache, b'd', 118, c_int);
    nix::ioctl_read!(media_size, b'd', 132, i64);
    nix::ioctl_read!(sector_size, b'd', 133, u32);
}

pub(super) fn measure(fd: BorrowedFd<'_>) -> io::Result<Medium> {
    let (mut sector, mut size) = (0, 0);
    // SAFETY: the kernel fills in a number of 32 bits, which lives across the call.
    unsafe { ioctls::sector_size(fd.as_raw_fd(), &raw mut sector) }?;
    // SAFETY: the kernel fills in a number of 64 bits, which lives across the call.
    unsafe { ioctls::media_size(fd.as_raw_fd(), &raw mut size) }?;
    Ok(Medium { size: u64::try_from(size).unwrap_or(0), sector })
}

/// A disk without a volatile cache need not know the request.
pub(super) fn flush(fd: BorrowedFd<'_>) -> io::Result<()> {
    let force: c_int = 0;
    // SAFETY: the kernel reads one int, which lives across the call.
    match unsafe { ioctls::sync_cache(fd.as_raw_fd(), &raw const force) } {
        Ok(_) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOTTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Not done: NetBSD's fdiscard(2) is not in the libraries that we use.
pub(super) fn discard(_fd: BorrowedFd<'_>, _offset: u64, _length: u64) -> io::Result<()> {
    Ok(())
}
