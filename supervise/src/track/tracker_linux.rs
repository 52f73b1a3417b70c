//! The tracker of Linux: chooses the back end and hides which one it is.

use std::os::fd::{AsFd, BorrowedFd};

use super::{Backend, Caps, Event, ProcId, Unavailable};
use crate::Error;

/// Follows processes and all that they make. Closing it ends no process.
#[derive(Debug)]
pub struct Tracker {
    inner: Inner,
}

/// The back ends. Each has the methods of [`Tracker`] under the same names.
#[derive(Debug)]
enum Inner {}

impl Tracker {
    /// Begins to listen. Nothing is followed yet, but what happens from now on is not missed.
    ///
    /// # Errors
    ///
    /// The back end is not available, and why.
    pub fn open(backend: Backend) -> Result<Tracker, Error> {
        let why = "not written yet".to_owned();
        match backend {
            Backend::Auto | Backend::Connector => {
                Err(Unavailable { backend: "connector", why }.into())
            }
            Backend::Ptrace => Err(Unavailable { backend: "ptrace", why }.into()),
        }
    }

    /// What the back end can promise.
    pub fn caps(&self) -> Caps {
        match self.inner {}
    }

    /// Follows a process of ours that has just been forked and is held: it, and all it will make.
    /// Its own [`Event::Fork`] comes with the next [`Tracker::read`].
    ///
    /// # Errors
    ///
    /// There is no such process, or the back end cannot follow it.
    pub fn watch(&mut self, _pid: i32) -> Result<ProcId, Error> {
        match self.inner {}
    }

    /// Follows a process that runs already. It and its descendants are found (forks with `found`)
    /// with the next [`Tracker::read`], and what they make while they are looked up is not missed.
    ///
    /// # Errors
    ///
    /// There is no such process, or the back end cannot follow it.
    pub fn attach(&mut self, _pid: i32) -> Result<ProcId, Error> {
        match self.inner {}
    }

    /// Appends what has happened since the last time. It never blocks.
    ///
    /// # Errors
    ///
    /// The back end has failed for good. A loss is no error but an [`Event::Gap`].
    pub fn read(&mut self, _events: &mut Vec<Event>) -> Result<(), Error> {
        match self.inner {}
    }

    /// The live member that this number is of: a process's own, or one of its threads'. It is as
    /// of the last [`Tracker::read`].
    pub fn member(&self, _tid: i32) -> Option<ProcId> {
        match self.inner {}
    }

    /// All live members, in no order.
    pub fn members(&self) -> impl Iterator<Item = ProcId> {
        match self.inner {}
        #[allow(unreachable_code, reason = "there is no back end yet")]
        std::iter::empty()
    }

    /// Stops listening. Dropping it does so too.
    pub fn close(self) {}
}

impl AsFd for Tracker {
    /// Readable when [`Tracker::read`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.inner {}
    }
}
