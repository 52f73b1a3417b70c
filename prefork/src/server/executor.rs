//! The process in which the program runs for one caller: it gets the caller's standard streams,
//! environment and arguments, and keeps nothing of the server's.

use std::ffi::{CString, OsString, c_char};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use super::call::Call;
use super::inherited::VARIABLE;
use super::receive::Received;
use crate::Error;

/// Takes the caller's place. The monitor's descriptors have been closed before.
///
/// # Errors
/// The kernel does not give it the standard streams.
pub(super) fn become_executor(received: Received) -> Result<Call, Error> {
    for (stream, to) in received.streams.iter().zip(0..) {
        // SAFETY: `stream` is open, and 0, 1 and 2 are owned by nobody.
        if unsafe { libc::dup2(stream.as_raw_fd(), to) } < 0 {
            return Err(Error::last(format!("dup2 to {to}")));
        }
    }
    drop(received.streams);
    set_environment(received.request.environment);
    Ok(Call::served(received.request.arguments))
}

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Puts the caller's environment in the place of ours, entry by entry as execve(2) would: doubles
/// and strange names too. But for the variable that made this a server: what the program may start
/// is none.
fn set_environment(entries: Vec<(OsString, OsString)>) {
    let mut strings: Vec<*mut c_char> = Vec::with_capacity(entries.len() + 1);
    for (name, value) in entries {
        if name == VARIABLE {
            continue;
        }
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend_from_slice(&value.into_vec());
        // They were cut at their zero bytes, so that there are none in them.
        if let Ok(entry) = CString::new(entry) {
            strings.push(entry.into_raw());
        }
    }
    strings.push(ptr::null_mut());
    // SAFETY: this is the only thread, so nobody reads or changes the environment meanwhile; the
    // array and its strings are never freed, and setenv(3) makes copies of its own.
    unsafe { environ = Box::leak(strings.into_boxed_slice()).as_mut_ptr() };
}
