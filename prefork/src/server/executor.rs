//! The process in which the program runs for one caller: it gets the caller's standard streams,
//! environment and arguments, and keeps nothing of the server's.

use std::ffi::{OsString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};

use super::block::Block;
use super::call::Call;
use crate::Error;
use crate::protocol::DESCRIPTORS;

/// Whose place the executor is to take, laid out before it exists: what the monitor has written
/// need not be copied for the executor to write it.
pub(super) struct Caller {
    streams: [OwnedFd; DESCRIPTORS],
    environment: &'static mut [*mut c_char],
    words: Vec<OsString>,
}

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

impl Caller {
    pub(super) fn new(streams: [OwnedFd; DESCRIPTORS], block: Block) -> Caller {
        let (environment, words) = block.leak();
        Caller { streams, environment, words }
    }

    /// Takes the caller's place. The monitor's own descriptors have been closed before.
    ///
    /// # Errors
    /// The kernel does not give it the standard streams.
    pub(super) fn replace_us(self) -> Result<Call, Error> {
        for (stream, to) in self.streams.iter().zip(0..) {
            // SAFETY: `stream` is open, and 0, 1 and 2 are owned by nobody.
            if unsafe { libc::dup2(stream.as_raw_fd(), to) } < 0 {
                return Err(Error::last(format!("dup2 to {to}")));
            }
        }
        // SAFETY: this is the only thread, so nobody reads or changes the environment meanwhile;
        // the array ends with a null pointer, it and its strings are never freed, and setenv(3)
        // makes copies of its own.
        unsafe { environ = self.environment.as_mut_ptr() };
        Ok(Call::served(self.words))
    }
}
