//! A child held by its pidfd, on Linux: readable when the child has ended, whatever it may have
//! closed, and never another process.

use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Error;

/// A child that has been forked and not yet reaped.
#[derive(Debug)]
pub(super) struct Held {
    pidfd: OwnedFd,
    pid: i32,
}

impl Held {
    /// Takes hold of a child that nobody has reaped.
    pub(super) fn open(pid: i32) -> Result<Held, Error> {
        // SAFETY: a system call on two plain numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(Error::last(format!("pidfd_open {pid}")));
        }
        // SAFETY: the kernel has just made this descriptor (close-on-exec) and only we know it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
        Ok(Held { pidfd, pid })
    }

    /// The number, which is the child's until it is reaped.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets go of it in a process that has only inherited it.
    pub(super) fn forget(self) {}
}

/// Readable when the child has ended.
impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// How many threads this process has.
pub(super) fn threads() -> Result<usize, Error> {
    let folder = std::fs::read_dir("/proc/self/task");
    let folder = folder.map_err(|e| Error::system("count our threads in /proc/self/task", e))?;
    Ok(folder.count())
}
