//! The path of a process's executable where a sysctl(3) has it: FreeBSD and NetBSD.

use std::ffi::{OsStr, c_int};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use crate::sender::Exe;

/// What the sysctl of this name says, which is a path and a zero byte.
pub(crate) fn executable(name: &[c_int; 4]) -> Exe {
    let mut path = [0u8; libc::PATH_MAX as usize];
    let mut length = path.len();
    // SAFETY: four numbers as the name, a buffer and its length to be filled, nothing to be set.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            4,
            path.as_mut_ptr().cast(),
            &mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if result != 0 {
        return match Errno::last() {
            Errno::ESRCH => Exe::Gone,
            _ => Exe::Hidden,
        };
    }
    let path = path.get(..length).and_then(|path| path.split(|&byte| byte == 0).next());
    match path {
        Some(path) if !path.is_empty() => Exe::Path(OsStr::from_bytes(path).into()),
        _ => Exe::Hidden,
    }
}
