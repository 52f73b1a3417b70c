//! Which files a process may open, where the kernel can be told: landlock(7). What was opened
//! before stays open.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::Error;

/// The version of the interface is asked for with this.
const VERSION: u32 = 1;
/// A rule about everything below a directory.
const PATH_BENEATH: libc::c_int = 1;
/// LANDLOCK_ACCESS_FS_READ_FILE.
const READ_FILE: u64 = 1 << 2;

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    directory: libc::c_int,
}

/// Every access to files that a version of the interface knows.
fn all(version: i64) -> u64 {
    match version {
        ..=1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// Lets this thread, and those it starts, open what is below these directories for reading, and
/// nothing else. One that is not there is left out. Sets no-new-privileges, which must be set
/// anyway.
///
/// Whether the kernel can do it: without it, what remains is what the user may read.
pub(crate) fn only_read_below(directories: &[&Path]) -> Result<bool, Error> {
    let none: *const u64 = std::ptr::null();
    let zero: usize = 0;
    // SAFETY: asks for a number; nothing is read or written.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, zero, VERSION) };
    if version < 1 {
        return Ok(false);
    }
    let handled: u64 = all(version);
    let size = size_of::<u64>();
    // SAFETY: the first field of `struct landlock_ruleset_attr`, which may be all of it.
    let ruleset = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(&handled), size, 0u32)
    };
    let Ok(ruleset @ 0..) = i32::try_from(ruleset) else {
        return Err(Error::last("make a landlock ruleset"));
    };
    // SAFETY: a new descriptor that nobody else has.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    for path in directories {
        let directory = match File::open(path) {
            Ok(directory) => directory,
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => continue,
            Err(error) => return Err(Error::system(format!("open {}", path.display()), error)),
        };
        let rule = PathBeneath { allowed: READ_FILE, directory: directory.as_raw_fd() };
        // SAFETY: a whole rule of the type that is named; the kernel copies it.
        let added = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                PATH_BENEATH,
                std::ptr::from_ref(&rule),
                0u32,
            )
        };
        if added != 0 {
            return Err(Error::last(format!("allow reading below {}", path.display())));
        }
    }
    // SAFETY: numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
        return Err(Error::last("set no-new-privileges"));
    }
    // SAFETY: numbers only.
    if unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) } != 0 {
        return Err(Error::last("put the landlock ruleset on"));
    }
    Ok(true)
}
