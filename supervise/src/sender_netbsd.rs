//! Who sends signals, on NetBSD: what `si_code` says, and what a process is executing.

use std::ffi::c_int;

use crate::sender::Sender;

/// The codes under which the kernel itself fills in who sent it, of `sys/siginfo.h`: SI_USER for
/// kill(2), SI_LWP for _lwp_kill(2).
pub(crate) const VOUCHED: [c_int; 2] = [0, -5];

/// The code under which the sender fills in everything, SI_QUEUE: sigqueue(2).
pub(crate) const CLAIMED: c_int = -1;

/// Where a siginfo_t holds the sender's process id and user id, in bytes from its start. (Asked for
/// here, and proved in tools/bsd/abi.c, because the libc crate looks in a wrong place on OpenBSD.)
pub(crate) const SENDER_AT: [usize; 2] = [16, 20];

/// What `pid` is now.
pub(crate) fn identify(pid: i32) -> Sender {
    let name = [libc::CTL_KERN, libc::KERN_PROC_ARGS, pid, libc::KERN_PROC_PATHNAME];
    Sender { exe: crate::sender_sysctl::executable(&name), ..Sender::of(pid) }
}
