//! Disks of FreeBSD: sys/disk.h.

use crate::layout::Medium;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

mod ioctls {
    nix::ioctl_read!(sector_size, b'd', 128, u32);
    nix::ioctl_read!(media_size, b'd', 129, i64);
    nix::ioctl_none!(flush, b'd', 135);
    nix::ioctl_write_ptr!(delete, b'd', 136, [i64; 2]);
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
    // SAFETY: this request takes no memory.
    match unsafe { ioctls::flush(fd.as_raw_fd()) } {
        Ok(_) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOTTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn discard(fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    let part = |bytes: u64| i64::try_from(bytes).map_err(io::Error::other);
    let range = [part(offset)?, part(length)?];
    // SAFETY: the kernel reads two numbers of 64 bits, which live across the call.
    unsafe { ioctls::delete(fd.as_raw_fd(), &raw const range) }?;
    Ok(())
}
