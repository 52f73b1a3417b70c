//! Making processes and hearing of their ends: the few system calls that server and monitor need
//! of fork(2), waitpid(2) and process groups. Not for starting other programs.

use std::ffi::c_int;

use nix::errno::Errno;

use crate::Error;

pub(super) use super::held::{Held, threads};

/// Which side of a fork(2) we are.
pub(super) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one in hand.
    Parent(Held),
}

/// Makes a copy of this process, which must have only this thread.
///
/// # Errors
/// There are too many processes or descriptors, or too little memory.
pub(super) fn fork() -> Result<Forked, Error> {
    match fork_unheld()? {
        None => Ok(Forked::Child),
        Some(pid) => match Held::open(pid) {
            Ok(held) => Ok(Forked::Parent(held)),
            Err(error) => {
                // SAFETY: numbers and a null pointer, which waitpid allows; the child is ours and
                // nobody has reaped it.
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, std::ptr::null_mut(), 0);
                }
                Err(error)
            }
        },
    }
}

/// As [`fork`], with nothing to hear of the child's end: its number, or `None` in the child.
pub(super) fn fork_unheld() -> Result<Option<i32>, Error> {
    // SAFETY: `serve` has made sure that there is one thread, so that the copy may do whatever
    // the original may.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last("fork")),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process without what the program has registered for its own end: it is only a copy.
pub(super) fn end(code: c_int) -> ! {
    // SAFETY: a number; it does not return.
    unsafe { libc::_exit(code) }
}

/// Reaps the child if it has ended; its wait status, as wait(2) has it.
pub(super) fn reap(child: &Held) -> Result<Option<c_int>, Error> {
    let mut status = 0;
    loop {
        // SAFETY: a number, a live local to be filled, and a flag.
        match unsafe { libc::waitpid(child.pid(), &mut status, libc::WNOHANG) } {
            0 => return Ok(None),
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Err(Error::last(format!("waitpid for process {}", child.pid()))),
            _ => return Ok(Some(status)),
        }
    }
}

/// Sends a signal to all processes of a group, if it has any.
pub(super) fn signal_group(group: i32, signal: c_int) {
    // SAFETY: numbers. Nobody in the group is no error.
    unsafe { libc::kill(-group, signal) };
}

/// Whether the group has any process.
pub(super) fn group_exists(group: i32) -> bool {
    // SAFETY: numbers; signal 0 only asks.
    let answer = unsafe { libc::kill(-group, 0) };
    answer == 0 || Errno::last() == Errno::EPERM
}

/// Has this process ignore a signal.
pub(super) fn ignore(signal: c_int) {
    // SAFETY: a number and a disposition that runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
