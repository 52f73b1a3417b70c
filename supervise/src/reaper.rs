//! What has become of children, of any of them: for whoever adopts processes it has not started,
//! as a subreaper or as process 1. It reaps everything, so that a [`crate::Child`] has no place
//! beside it.

use std::ffi::c_int;

use nix::errno::Errno;

use crate::{Error, Exit};

/// What has become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has ended, and been reaped: its number may be another process's from now on.
    Ended(Exit),
    /// This signal has stopped it.
    Stopped(c_int),
    /// It goes on.
    Continued,
}

/// The next change of any child's, if there is one; never waits. SIGCHLD says when to ask, and
/// then for all of them: one of it may stand for many.
///
/// # Errors
/// The kernel refuses, which it has no reason to.
pub fn next() -> Result<Option<(i32, Change)>, Error> {
    let mut status = 0;
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    loop {
        // SAFETY: numbers, and a live local to be filled.
        let pid = unsafe { libc::waitpid(-1, &mut status, flags) };
        match pid {
            0 => return Ok(None),
            -1 => match Errno::last() {
                Errno::EINTR => {}
                Errno::ECHILD => return Ok(None),
                errno => return Err(Error::system("wait for children", errno)),
            },
            pid => {
                if let Some(change) = Change::of(status) {
                    return Ok(Some((pid, change)));
                }
            }
        }
    }
}

impl Change {
    fn of(status: c_int) -> Option<Change> {
        if libc::WIFSTOPPED(status) {
            Some(Change::Stopped(libc::WSTOPSIG(status)))
        } else if libc::WIFCONTINUED(status) {
            Some(Change::Continued)
        } else {
            Exit::from_wait_status(status).map(Change::Ended)
        }
    }
}
