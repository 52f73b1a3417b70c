//! Who sends signals, on Linux: what `si_code` says, and what a process is executing.

use std::ffi::c_int;
use std::io::ErrorKind;

use crate::Exe;
use crate::handle::Handle;

/// The codes under which the kernel itself fills in who sent it: kill(2) and tgkill(2).
pub(crate) const VOUCHED: [c_int; 2] = [libc::SI_USER, libc::SI_TKILL];

/// The code under which the sender fills in everything: sigqueue(3).
pub(crate) const CLAIMED: c_int = libc::SI_QUEUE;

/// Where a siginfo_t holds the sender's process id and user id, for the handler that the BSDs use
/// and that is tested here: behind three numbers, aligned as a pointer.
#[cfg(test)]
pub(crate) const SENDER_AT: [usize; 2] = if size_of::<usize>() == 8 { [16, 20] } else { [12, 16] };

/// What `pid` is executing now. The pidfd, taken first, makes sure that all answers are about
/// one process; only the kernel's word that `pid` was the sender is older than it.
pub(crate) fn executable(pid: i32) -> Exe {
    let held = Handle::open(pid);
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    let still_there = || held.as_ref().is_ok_and(Handle::exists);
    match path {
        Ok(path) if still_there() => Exe::Path(path),
        Ok(_) => Exe::Gone,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Exe::Hidden,
        // A process that is ending has no executable any more, but still a name.
        Err(_) => match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) if still_there() => Exe::Ending(name.trim_end().to_owned()),
            _ if still_there() => Exe::Hidden,
            _ => Exe::Gone,
        },
    }
}
