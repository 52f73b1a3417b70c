//! The tracker of Linux: chooses the back end and hides which one it is.

use std::os::fd::{AsFd, BorrowedFd};

use super::connector::Note;
use super::kernel_linux::Kernel;
use super::tracer_linux::Tracer;
use super::{Backend, Caps, Event, Heard, Limits, ProcId};
use crate::Error;

/// Follows processes and all that they make. Closing it ends no process.
#[derive(Debug)]
pub struct Tracker {
    inner: Inner,
}

/// The back ends. Each has the methods of [`Tracker`] under the same names.
#[derive(Debug)]
enum Inner {
    Connector(Box<Kernel>),
    Ptrace(Box<Tracer>),
}

impl Tracker {
    /// Begins to listen. Nothing is followed yet, but what happens from now on is not missed.
    ///
    /// # Errors
    ///
    /// The back end is not available, and why.
    pub fn open(backend: Backend) -> Result<Tracker, Error> {
        Tracker::with_limits(backend, &Limits::default())
    }

    /// The same, with other limits to what is kept for a slow reader.
    ///
    /// # Errors
    ///
    /// As [`Tracker::open`].
    pub fn with_limits(backend: Backend, limits: &Limits) -> Result<Tracker, Error> {
        let inner = match backend {
            Backend::Auto | Backend::Connector => Inner::Connector(Box::new(Kernel::open(limits)?)),
            Backend::Ptrace => Inner::Ptrace(Box::new(Tracer::open()?)),
        };
        Ok(Tracker { inner })
    }

    /// What the back end can promise.
    pub fn caps(&self) -> Caps {
        match &self.inner {
            Inner::Connector(kernel) => kernel.caps(),
            Inner::Ptrace(tracer) => tracer.caps(),
        }
    }

    /// Follows a process of ours that has just been forked and is held: it, and all it will make.
    /// Its own [`Event::Fork`] comes with the next [`Tracker::read`].
    ///
    /// # Errors
    ///
    /// There is no such process, or the back end cannot follow it.
    pub fn watch(&mut self, pid: i32) -> Result<ProcId, Error> {
        match &mut self.inner {
            Inner::Connector(kernel) => kernel.watch(pid),
            Inner::Ptrace(tracer) => tracer.watch(pid),
        }
    }

    /// Follows a process that runs already. It and its descendants are found (forks with `found`)
    /// with the next [`Tracker::read`], and what they make while they are looked up is not missed.
    /// Who had been orphaned by then is not found: nothing tells whose descendant it was.
    ///
    /// # Errors
    ///
    /// There is no such process, or the back end cannot follow it.
    pub fn attach(&mut self, pid: i32) -> Result<ProcId, Error> {
        match &mut self.inner {
            Inner::Connector(kernel) => kernel.attach(pid),
            Inner::Ptrace(tracer) => tracer.attach(pid),
        }
    }

    /// Appends what has happened since the last time. It never blocks.
    ///
    /// # Errors
    ///
    /// The back end has failed for good. A loss is no error but an [`Event::Gap`].
    pub fn read(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        self.read_all(events, &mut |_| {})
    }

    /// The same; and a back end that hears of all processes of the machine shows each [`Note`], of
    /// whomever, as soon as it is heard. That is before it has its effect on the members, and it
    /// may be shown even if it comes to have none.
    ///
    /// # Errors
    ///
    /// As [`Tracker::read`].
    pub fn read_all(
        &mut self,
        events: &mut Vec<Event>,
        each: &mut dyn FnMut(&Note),
    ) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Connector(kernel) => kernel.read(events, each),
            Inner::Ptrace(tracer) => tracer.read(events),
        }
    }

    /// What a back end has heard besides that waits for all children itself (ptrace): what has
    /// become of them, and which signals were sent to the members. Its events are those of
    /// [`Tracker::read`], and there are none here. Nobody else may wait for children then.
    ///
    /// `None` from all other back ends: children are the caller's to wait for.
    pub fn heard(&mut self) -> Option<Heard> {
        match &mut self.inner {
            Inner::Connector(_) => None,
            Inner::Ptrace(tracer) => Some(tracer.heard()),
        }
    }

    /// The live member that this number is of: a process's own, or one of its threads'. It is as
    /// of the last [`Tracker::read`].
    pub fn member(&self, tid: i32) -> Option<ProcId> {
        match &self.inner {
            Inner::Connector(kernel) => kernel.member(tid),
            Inner::Ptrace(tracer) => tracer.member(tid),
        }
    }

    /// All live members, in no order.
    pub fn members(&self) -> impl Iterator<Item = ProcId> {
        let (kernel, tracer) = match &self.inner {
            Inner::Connector(kernel) => (Some(kernel), None),
            Inner::Ptrace(tracer) => (None, Some(tracer)),
        };
        let told = kernel.into_iter().flat_map(|kernel| kernel.members());
        told.chain(tracer.into_iter().flat_map(|tracer| tracer.members()))
    }

    /// Stops listening. Dropping it does so too.
    pub fn close(self) {}
}

impl AsFd for Tracker {
    /// Readable when [`Tracker::read`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::Connector(kernel) => kernel.as_fd(),
            Inner::Ptrace(tracer) => tracer.as_fd(),
        }
    }
}
