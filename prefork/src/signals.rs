//! How signals stand in a server, and in every call of it: as at boot, whatever the caller is like
//! whose call happened to be the first.

use std::ffi::c_int;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use crate::Error;

/// The number after the last signal's, on every system we know.
const SIGNALS: c_int = 65;

/// Undoes what the first caller has done to its own signals, which execve(2) passes on: all are
/// unblocked, and those ignored are no more. SIGPIPE stays as the program has it: Rust's own
/// start-up ignores it. Handlers stay.
pub(crate) fn forget_caller() -> Result<(), Error> {
    for signal in 1..SIGNALS {
        // SAFETY: an all-zero sigaction is a valid one.
        let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a number, a null pointer for "do not change it" and a live structure. The C
        // library refuses those that it uses itself, which then are left alone.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut current) };
        if asked == 0 && current.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE {
            // SAFETY: a number, and a disposition that runs no code.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| Error::system("sigprocmask", errno))
}
