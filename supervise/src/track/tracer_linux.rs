//! The back end that traces: a [`Waiter`] with everything of its own that it takes to be polled.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Caps, Event, Heard, ProcId, Waiter};
use crate::Error;

/// A tracker by ptrace(2).
#[derive(Debug)]
pub(super) struct Tracer {
    waiter: Waiter,
    /// SIGCHLD. Whoever else reads it, and first, is to read us too.
    signals: SignalFd,
    /// Readable when one of the descriptors is that we wait with.
    either: Epoll,
    heard: Heard,
}

impl Tracer {
    /// Blocks SIGCHLD in this thread, which is the one to trace.
    pub(super) fn open() -> Result<Tracer, Error> {
        let set: SigSet = [Signal::SIGCHLD].into_iter().collect();
        set.thread_block().map_err(|errno| Error::system("block SIGCHLD", errno))?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| Error::system("signalfd", errno))?;
        let either = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| Error::system("epoll_create", errno))?;
        add(&either, signals.as_fd())?;
        Ok(Tracer { waiter: Waiter::default(), signals, either, heard: Heard::default() })
    }

    pub(super) fn caps(&self) -> Caps {
        Waiter::caps()
    }

    pub(super) fn watch(&mut self, pid: i32) -> Result<ProcId, Error> {
        let first = self.waiter.wakes().is_none();
        let id = self.waiter.trace(pid)?;
        if first && let Some(wakes) = self.waiter.wakes() {
            add(&self.either, wakes)?;
        }
        Ok(id)
    }

    pub(super) fn attach(&mut self, pid: i32) -> Result<ProcId, Error> {
        let why =
            "ptrace follows only what it has seen begin: it would have to kill it when it ends";
        Err(Error::says(format!("follow process {pid}: {why}")))
    }

    pub(super) fn read(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        loop {
            match self.signals.read_signal() {
                Ok(Some(_)) | Err(Errno::EINTR) => {}
                Ok(None) | Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(Error::system("read signals", errno)),
            }
        }
        self.waiter.read(&mut self.heard)?;
        events.append(&mut self.heard.events);
        Ok(())
    }

    pub(super) fn heard(&mut self) -> Heard {
        std::mem::take(&mut self.heard)
    }

    pub(super) fn member(&self, tid: i32) -> Option<ProcId> {
        self.waiter.member(tid)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = ProcId> {
        self.waiter.members()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.0.as_fd()
    }
}

fn add(epoll: &Epoll, fd: BorrowedFd<'_>) -> Result<(), Error> {
    epoll
        .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))
        .map_err(|errno| Error::system("epoll_ctl", errno))
}
