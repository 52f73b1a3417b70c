//! What the BSDs call for components, beyond what the standard library has. How a disk is measured,
//! flushed and trimmed is each system's own.

use super::Kind;
use crate::layout::Medium;
use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};

#[cfg_attr(target_os = "freebsd", path = "disk_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "disk_netbsd.rs")]
#[cfg_attr(target_os = "openbsd", path = "disk_openbsd.rs")]
mod disk;

/// FreeBSD's disks are character devices, the others' are both.
pub(super) fn is_disk(file_type: FileType) -> bool {
    file_type.is_char_device() || file_type.is_block_device()
}

/// Disks are written without a cache, character devices at least.
pub(super) fn is_cached(kind: Kind) -> bool {
    kind == Kind::File
}

/// Takes the lock, or fails with EWOULDBLOCK at once.
pub(super) fn lock(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: flock takes an open descriptor and no memory.
    match unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn measure(fd: BorrowedFd<'_>) -> io::Result<Medium> {
    disk::measure(fd)
}

/// No BSD can tell without waiting.
pub(super) fn read_at_once(_fd: BorrowedFd<'_>, _buffer: &mut [u8], _offset: u64) -> bool {
    false
}

pub(super) fn write_durably(file: &File, kind: Kind, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    sync(file, kind)
}

pub(super) fn sync(file: &File, kind: Kind) -> io::Result<()> {
    match kind {
        Kind::File => file.sync_data(),
        Kind::Device => {
            file.sync_data()?;
            disk::flush(file.as_fd())
        }
    }
}

/// False: zeroes have to be written.
pub(super) fn zero(_fd: BorrowedFd<'_>, _offset: u64, _length: u64) -> io::Result<bool> {
    Ok(false)
}

pub(super) fn discard(fd: BorrowedFd<'_>, kind: Kind, offset: u64, length: u64) -> io::Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Device => disk::discard(fd, offset, length),
    }
}
