//! What Linux calls for components, beyond what the standard library has.

use super::{Kind, cannot};
use crate::layout::Medium;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, FileType};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};

mod ioctls {
    //! From linux/fs.h; fixed for ever.
    use std::ffi::c_int;

    nix::ioctl_read_bad!(logical_sector, libc::BLKSSZGET, c_int);
    // Its number says size_t, and it fills in 64 bits everywhere.
    nix::ioctl_read!(media_size, 0x12, 114, usize);
    nix::ioctl_write_ptr_bad!(discard, 0x1277, [u64; 2]);
}

pub(super) fn is_disk(file_type: FileType) -> bool {
    file_type.is_block_device()
}

/// Disks too are written through the page cache.
pub(super) fn is_cached(_kind: Kind) -> bool {
    true
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
    let mut sector = 0;
    // SAFETY: the kernel fills in one int, which lives across the call.
    unsafe { ioctls::logical_sector(fd.as_raw_fd(), &raw mut sector) }?;
    let mut size = [0_u64; 1];
    // SAFETY: the kernel fills in 64 bits, for which there is room, and which live across the call.
    unsafe { ioctls::media_size(fd.as_raw_fd(), size.as_mut_ptr().cast()) }?;
    let sector = u32::try_from(sector).unwrap_or(0);
    Ok(Medium { size: size[0], sector })
}

pub(super) fn read_at_once(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> bool {
    let Ok(offset) = libc::off_t::try_from(offset) else { return false };
    let length = buffer.len();
    let mut parts = [IoSliceMut::new(buffer)];
    // SAFETY: IoSliceMut is laid out as iovec (its documentation), and the one given describes
    // `buffer`, which is ours alone across the call.
    let done = unsafe {
        let parts = parts.as_mut_ptr().cast();
        libc::preadv2(fd.as_raw_fd(), parts, 1, offset, libc::RWF_NOWAIT)
    };
    usize::try_from(done) == Ok(length)
}

/// RWF_DSYNC brings the range written onto stable storage, and leaves alone what else is waiting:
/// a map need not wait for the data of all clients.
pub(super) fn write_durably(file: &File, kind: Kind, bytes: &[u8], offset: u64) -> io::Result<()> {
    let at = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let parts = [IoSlice::new(bytes)];
    // SAFETY: IoSlice is laid out as iovec (its documentation), and the one given describes
    // `bytes`, which nobody changes across the call.
    let done = unsafe {
        let parts = parts.as_ptr().cast();
        libc::pwritev2(file.as_raw_fd(), parts, 1, at, libc::RWF_DSYNC)
    };
    match usize::try_from(done) {
        Ok(done) if done == bytes.len() => Ok(()),
        // Partly done, or interrupted: from the start, and all is brought to stable storage.
        Ok(_) => write_and_sync(file, kind, bytes, offset),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted || cannot(&error) => {
                write_and_sync(file, kind, bytes, offset)
            }
            error => Err(error),
        },
    }
}

fn write_and_sync(file: &File, kind: Kind, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    sync(file, kind)
}

pub(super) fn sync(file: &File, _kind: Kind) -> io::Result<()> {
    file.sync_data()
}

/// Without writing zeroes from here: the file system notes that there are none, the disk is told to.
/// False if neither can.
pub(super) fn zero(fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<bool> {
    let range = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    for how in [range, HOLE] {
        match allocate(fd, how, offset, length) {
            Ok(()) => return Ok(true),
            Err(error) if cannot(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

pub(super) fn discard(fd: BorrowedFd<'_>, kind: Kind, offset: u64, length: u64) -> io::Result<()> {
    match kind {
        Kind::File => allocate(fd, HOLE, offset, length),
        Kind::Device => {
            let range = [offset, length];
            // SAFETY: the kernel reads two numbers of 64 bits, which live across the call.
            unsafe { ioctls::discard(fd.as_raw_fd(), &raw const range) }?;
            Ok(())
        }
    }
}

const HOLE: FallocateFlags =
    FallocateFlags::FALLOC_FL_PUNCH_HOLE.union(FallocateFlags::FALLOC_FL_KEEP_SIZE);

fn allocate(fd: BorrowedFd<'_>, how: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    let length = i64::try_from(length).map_err(io::Error::other)?;
    loop {
        match fallocate(fd.as_fd(), how, offset, length) {
            Err(nix::errno::Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}
