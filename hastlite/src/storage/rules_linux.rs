//! What the executor of a worker's disk calls on Linux, for the worker's filter. Its threads are
//! started after the process was confined, so it wants [`supervise::confine::THREADS`] as well.

use supervise::confine::{Call, When};

/// From [`super::Storage::start`] on.
pub const CALLS: &[Call] = &[
    Call::new(libc::SYS_pipe2, "the disk's threads: a way to wake the loop"),
    Call::new(libc::SYS_read, "the loop was woken"),
    Call::new(libc::SYS_write, "the disk's threads wake the loop"),
    Call::new(libc::SYS_preadv2, "reads of what is in memory"),
    Call::new(libc::SYS_pread64, "reads"),
    Call::new(libc::SYS_pwrite64, "writes"),
    Call::new(libc::SYS_pwritev2, "activemap and metadata, onto stable storage"),
    Call::new(libc::SYS_fdatasync, "flushes"),
    Call::new(libc::SYS_fallocate, "zeroes, and room that is given back"),
    Call::when(libc::SYS_ioctl, &[When::Is(1, BLKDISCARD)], "room that is given back to a disk"),
];

/// linux/fs.h; a filter sees no more than these 32 bits.
const BLKDISCARD: i32 = 0x1277;
