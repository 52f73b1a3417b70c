//! The way to syslogd on OpenBSD: sendsyslog(2), which needs no descriptor and no path, works in
//! an empty root and under any pledge.

use std::ffi::{c_char, c_int};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::Error;

unsafe extern "C" {
    fn sendsyslog(message: *const c_char, length: usize, flags: c_int) -> c_int;
}

/// The system call; there is nothing to hold.
pub(crate) struct Transport;

impl Transport {
    /// Opens nothing.
    pub(crate) fn open() -> Result<Transport, Error> {
        Ok(Transport)
    }

    /// Takes nothing over.
    pub(crate) fn inherit() -> Result<Transport, Error> {
        Ok(Transport)
    }

    /// A child needs none.
    pub(crate) fn descriptor(&self) -> Result<Option<OwnedFd>, Error> {
        Ok(None)
    }

    /// Sends the lines of `bytes`, each ending at one of `ends`. The kernel itself counts what
    /// syslogd does not take, and says so in the log.
    pub(crate) fn send(&mut self, bytes: &[u8], ends: &[usize]) -> usize {
        let mut start = 0;
        for &end in ends {
            let line = bytes.get(start..end).unwrap_or_default();
            // SAFETY: a live slice and its length; the kernel only reads it.
            unsafe { sendsyslog(line.as_ptr().cast(), line.len(), 0) };
            start = end;
        }
        ends.len()
    }

    /// There is nothing to look for.
    pub(crate) fn due(&self) -> Option<Instant> {
        None
    }

    /// Nothing ever waits.
    pub(crate) fn wait(&self, _patience: Duration) {}
}
