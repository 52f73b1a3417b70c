//! A child held by a kqueue that waits for its end, on the BSDs: readable when the child has ended,
//! whatever it may have closed.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::Error;

/// A child that has been forked and not yet reaped.
#[derive(Debug)]
pub(super) struct Held {
    kqueue: Kqueue,
    pid: i32,
}

impl Held {
    /// Takes hold of a child that nobody has reaped.
    pub(super) fn open(pid: i32) -> Result<Held, Error> {
        let kqueue = Kqueue::new().map_err(|errno| Error::system("kqueue", errno))?;
        let change = |filter, ident: usize, note| {
            let flags = EvFlags::EV_ADD | EvFlags::EV_ONESHOT;
            KEvent::new(ident, filter, flags, note, 1, 0)
        };
        let ident = pid.unsigned_abs() as usize;
        let exit = change(EventFilter::EVFILT_PROC, ident, FilterFlag::NOTE_EXIT);
        match kqueue.kevent(&[exit], &mut [], None) {
            Ok(_) => {}
            // It has ended already, which is to make the queue readable too.
            Err(Errno::ESRCH) => {
                let timer = change(EventFilter::EVFILT_TIMER, 1, FilterFlag::empty());
                kqueue
                    .kevent(&[timer], &mut [], None)
                    .map_err(|errno| Error::system("kevent for a timer", errno))?;
            }
            Err(errno) => return Err(Error::system(format!("kevent for process {pid}"), errno)),
        }
        Ok(Held { kqueue, pid })
    }

    /// The number, which is the child's until it is reaped.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets go of it in a process that has only inherited it: a queue is not inherited, and its
    /// number may already be somebody else's.
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

/// Readable when the child has ended: the event is never taken out.
impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

/// How many threads this process has. There is no way to ask that all of these systems know; the
/// caller's promise has to do.
pub(super) fn threads() -> Result<usize, Error> {
    Ok(1)
}
