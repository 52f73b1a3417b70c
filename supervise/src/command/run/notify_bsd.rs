//! No service manager of these systems is spoken to by sd_notify(3), and no daemon speaks it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};

/// Where messages would come in: there is none of these.
pub enum Notify {}

impl Notify {
    /// Whether this system has it.
    pub const POSSIBLE: bool = false;

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn open() -> Result<Notify, String> {
        Err("--ready=notify: not on this system".to_owned())
    }

    /// For `NOTIFY_SOCKET`.
    pub fn name(&self) -> OsString {
        match *self {}
    }

    /// The next message.
    pub fn read(&self, _us: i32) -> Option<Vec<u8>> {
        match *self {}
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
