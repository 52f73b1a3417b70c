//! Processes as sysctl(3) lists them: who is there, whose child, and whether it has ended. Each
//! system has a structure of its own for it, and a name.
//!
//! None of this has ever run: it is compiled and linted only.

use std::ffi::c_int;

use nix::errno::Errno;

use super::kevent::Process;
use crate::Error;

/// All processes there are, zombies too.
pub(super) fn all() -> Result<Vec<Process>, Error> {
    ask(system::ALL, 0).map_err(|errno| Error::system("sysctl kern.proc", errno))
}

/// This one; `None` if it is not there.
pub(super) fn one(pid: i32) -> Option<Process> {
    let found = ask(libc::KERN_PROC_PID, pid).ok()?;
    found.into_iter().find(|it| it.pid == pid)
}

fn ask(which: c_int, pid: c_int) -> Result<Vec<Process>, Errno> {
    let size = size_of::<system::Record>();
    // There may be more of them when they are copied than when they were counted.
    for _ in 0..8 {
        let (mut name, words) = system::name(which, pid, 0);
        let mut bytes = 0;
        sysctl(&name, words, None, &mut bytes)?;
        let room = bytes / size + 64;
        let mut records: Vec<system::Record> = Vec::with_capacity(room);
        (name, _) = system::name(which, pid, room);
        bytes = room * size;
        match sysctl(&name, words, Some(&mut records), &mut bytes) {
            Ok(()) => {}
            Err(Errno::ENOMEM) => continue,
            Err(errno) => return Err(errno),
        }
        // SAFETY: the kernel has filled this many bytes of plain numbers, which are no more than
        // there is room for.
        unsafe { records.set_len((bytes / size).min(room)) };
        return Ok(records.iter().map(system::process).collect());
    }
    Err(Errno::ENOMEM)
}

/// Fills what there is room for in `records`, or only counts the bytes.
fn sysctl(
    name: &[c_int; 6],
    words: usize,
    records: Option<&mut Vec<system::Record>>,
    bytes: &mut usize,
) -> Result<(), Errno> {
    let to = records.map_or(std::ptr::null_mut(), Vec::as_mut_ptr);
    // SAFETY: the name has at least so many words; `to` is null, or has room for `bytes` bytes;
    // nothing is to be set.
    let result = unsafe {
        libc::sysctl(name.as_ptr(), words as _, to.cast(), bytes, std::ptr::null_mut(), 0)
    };
    if result == 0 { Ok(()) } else { Err(Errno::last()) }
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::ffi::c_int;

    use crate::track::kevent::Process;

    pub(super) type Record = libc::kinfo_proc;

    /// Without their threads.
    pub(super) const ALL: c_int = libc::KERN_PROC_PROC;

    // KINFO_PROC_SIZE of sys/user.h: it does not change, the kernel sees to that.
    const _: () = assert!(size_of::<Record>() == 1088);

    pub(super) fn name(which: c_int, pid: c_int, _room: usize) -> ([c_int; 6], usize) {
        let words = if which == ALL { 3 } else { 4 };
        ([libc::CTL_KERN, libc::KERN_PROC, which, pid, 0, 0], words)
    }

    pub(super) fn process(record: &Record) -> Process {
        let ended = record.ki_stat == libc::SZOMB;
        Process { pid: record.ki_pid, parent: record.ki_ppid, ended }
    }
}

#[cfg(target_os = "openbsd")]
mod system {
    use std::ffi::c_int;

    use crate::track::kevent::Process;

    pub(super) type Record = libc::kinfo_proc;

    pub(super) const ALL: c_int = libc::KERN_PROC_ALL;

    /// SDEAD of sys/proc.h, which is what a zombie's is: "thread is almost gone".
    const DEAD: i8 = 6;

    pub(super) fn name(which: c_int, pid: c_int, room: usize) -> ([c_int; 6], usize) {
        let size = size_of::<Record>() as c_int;
        ([libc::CTL_KERN, libc::KERN_PROC, which, pid, size, room as c_int], 6)
    }

    pub(super) fn process(record: &Record) -> Process {
        Process { pid: record.p_pid, parent: record.p_ppid, ended: record.p_stat == DEAD }
    }
}

#[cfg(target_os = "netbsd")]
mod system {
    use std::ffi::c_int;

    use crate::track::kevent::Process;

    pub(super) type Record = libc::kinfo_proc2;

    pub(super) const ALL: c_int = libc::KERN_PROC_ALL;

    pub(super) fn name(which: c_int, pid: c_int, room: usize) -> ([c_int; 6], usize) {
        let size = size_of::<Record>() as c_int;
        ([libc::CTL_KERN, libc::KERN_PROC2, which, pid, size, room as c_int], 6)
    }

    pub(super) fn process(record: &Record) -> Process {
        let ended = c_int::from(record.p_stat) == libc::LSZOMB;
        Process { pid: record.p_pid, parent: record.p_ppid, ended }
    }
}
