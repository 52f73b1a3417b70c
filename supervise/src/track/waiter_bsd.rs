//! Waiting for children on the BSDs, where it has nothing to do with following processes: kqueue
//! does that.

use std::os::fd::BorrowedFd;

use super::{Changed, Heard};
use crate::{Error, Moment, reaper};

/// Waits for all children, without blocking.
#[derive(Debug, Default)]
pub struct Waiter;

impl Waiter {
    /// Appends all that there is to be heard. Call it for every SIGCHLD. It never blocks.
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason to.
    pub fn read(&mut self, heard: &mut Heard) -> Result<(), Error> {
        while let Some((pid, change)) = reaper::next()? {
            heard.changes.push(Changed { pid, change, traced: false, at: Moment::now() });
        }
        Ok(())
    }

    /// A descriptor to be polled beside SIGCHLD; there is none here.
    pub fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
