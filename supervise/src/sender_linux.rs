//! Who sends signals, on Linux: what `si_code` says, and what /proc says of a process.

use std::ffi::c_int;
use std::io::ErrorKind;

use crate::handle::Handle;
use crate::procfs;
use crate::sender::{Exe, Sender};

/// The codes under which the kernel itself fills in who sent it: kill(2) and tgkill(2).
pub(crate) const VOUCHED: [c_int; 2] = [libc::SI_USER, libc::SI_TKILL];

/// The code under which the sender fills in everything: sigqueue(3).
pub(crate) const CLAIMED: c_int = libc::SI_QUEUE;

/// Where a siginfo_t holds the sender's process id and user id, for the handler that the BSDs use
/// and that is tested here: behind three numbers, aligned as a pointer.
#[cfg(test)]
pub(crate) const SENDER_AT: [usize; 2] = if size_of::<usize>() == 8 { [16, 20] } else { [12, 16] };

/// How many parents are looked up.
const PARENTS: usize = 8;

/// What `pid` is now. The pidfd, taken first, makes sure that all answers are about one process;
/// only the kernel's word that `pid` was the sender is older than it. What goes away first, as a
/// process ends, is asked first.
pub(crate) fn identify(pid: i32) -> Sender {
    let held = Handle::open(pid);
    let path = procfs::executable(pid);
    let command = procfs::arguments(pid);
    let stat = procfs::stat(pid);
    let users = procfs::users(pid);
    let cgroup = procfs::cgroup(pid);
    if !held.as_ref().is_ok_and(Handle::exists) {
        return Sender::of(pid);
    }
    let exe = match path {
        Ok(path) => Exe::Path(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Exe::Hidden,
        // A process that is ending has no executable any more, but still a name.
        Err(_) => stat.as_ref().map_or(Exe::Hidden, |stat| Exe::Ending(stat.name.clone())),
    };
    Sender {
        start: stat.as_ref().map(|stat| stat.start),
        uid: users.map(|(real, _)| real),
        euid: users.map(|(_, effective)| effective),
        exe,
        command: (!command.is_empty()).then_some(command),
        parents: parents(stat.as_ref().map_or(0, |stat| stat.parent)),
        name: stat.map(|stat| stat.name),
        cgroup,
        ..Sender::of(pid)
    }
}

/// The line of parents from this one up, without pid 1.
fn parents(mut pid: i32) -> Vec<(i32, String)> {
    let mut line = Vec::new();
    while pid > 1 && line.len() < PARENTS {
        let Some(stat) = procfs::stat(pid) else { break };
        line.push((pid, stat.name));
        pid = stat.parent;
    }
    line
}
