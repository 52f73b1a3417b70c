//! Who sends signals, on OpenBSD: what `si_code` says. What a process is executing is not to be
//! had there.

use std::ffi::c_int;

use crate::sender::{Exe, Sender};

/// The codes under which the kernel itself fills in who sent it, of `sys/siginfo.h`: SI_USER for
/// kill(2), SI_LWP for thrkill(2).
pub(crate) const VOUCHED: [c_int; 2] = [0, -1];

/// The code under which the sender fills in everything, SI_QUEUE.
pub(crate) const CLAIMED: c_int = -2;

/// Where a siginfo_t holds the sender's process id and user id, in bytes from its start. (Asked for
/// here, and proved in tools/bsd/abi.c, because the libc crate looks in a wrong place on OpenBSD.)
pub(crate) const SENDER_AT: [usize; 2] = [16, 20];

/// What `pid` is now. OpenBSD keeps no path of a process's executable.
pub(crate) fn identify(pid: i32) -> Sender {
    Sender { exe: Exe::Hidden, ..Sender::of(pid) }
}
