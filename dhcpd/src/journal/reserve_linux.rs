//! Reserves room behind the end of a file: a sync then has no blocks to allocate, which makes small
//! ones about a fifth faster on ext4. The file's size, and so its text, stays what it is.

use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;

/// Asks for `length` bytes from `offset`. Best effort.
pub(super) fn reserve(file: &File, offset: u64, length: u64) {
    if let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) {
        // A file system that cannot, or has no room to spare, leaves everything as it was.
        let _ = fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length);
    }
}
