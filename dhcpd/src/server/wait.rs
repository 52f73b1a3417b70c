//! Where the server waits, and what it looks at afterwards: what poll(2) named, and nothing else.
//!
//! A system call that finds nothing costs as much as a packet, and there are ten places to look.
//! Nothing is lost by not looking: poll(2) names what is left, and what came since, the next time.
//! An error or a hang-up is named as well, whatever was asked for, and is found by reading.

use super::Server;
use crate::link::Link;
use crate::socket::Queue;
use crate::udp::Udp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use supervise::logger;

/// More descriptors than one interface needs.
const USUAL: usize = 16;

/// Who may have something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Parent,
    Journal,
    Icmp,
    /// An interface by its number, and one of its queues.
    Link(usize, Queue),
    Udp(Queue),
    /// The socket of UDP mode, be it the only one or beside the server's own.
    UdpMode,
    Sync,
    Helper,
    /// The control socket or one of its sessions.
    Control,
    Hooks,
    Resolver,
}

impl Server<'_> {
    /// Blocks until there is something to do.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        let mut sources = std::mem::take(&mut self.ready);
        let woken = loop {
            sources.clear();
            let feeding = self.helper.is_some() && self.feed.pending().is_some();
            let mut fds = Vec::with_capacity(USUAL);
            self.for_each_fd(feeding, |source, fd| {
                sources.push(source);
                fds.push(fd);
            });
            match poll(&mut fds, self.timeout()) {
                Ok(_) => {
                    let mut fds = fds.iter();
                    // An event that nix does not know is one.
                    sources.retain(|_| fds.next().is_some_and(|fd| fd.any() != Some(false)));
                    break Ok(());
                }
                // Nothing was looked at, and nothing may be called late before that.
                Err(Errno::EINTR) => {}
                Err(error) => break Err(format!("poll: {error}")),
            }
        };
        self.ready = sources;
        woken
    }

    /// Whether poll(2) named it.
    pub(super) fn is_ready(&self, source: Source) -> bool {
        self.ready.contains(&source)
    }

    fn for_each_fd<'a>(&'a self, feeding: bool, mut add: impl FnMut(Source, PollFd<'a>)) {
        let readable = PollFlags::POLLIN;
        add(Source::Parent, PollFd::new(self.parent.as_fd(), readable));
        add(Source::Journal, PollFd::new(self.leases.as_fd(), readable));
        add(Source::Icmp, PollFd::new(self.icmp.as_fd(), readable));
        if let Some(helper) = &self.helper {
            let mut events = readable;
            events.set(PollFlags::POLLOUT, feeding);
            add(Source::Helper, PollFd::new(helper.as_fd(), events));
        }
        for fd in self.control.poll_fds() {
            add(Source::Control, fd);
        }
        if let Some(fd) = self.teller.blocked() {
            add(Source::Hooks, PollFd::new(fd, PollFlags::POLLOUT));
        }
        if let Some(fd) = self.asker.poll_fd() {
            add(Source::Resolver, fd);
        }
        // Better to leave packets in the sockets than acknowledgements in memory. Not asked about
        // at all: one with an error would say so until it is read, whatever it is asked for.
        if self.leases.is_congested() {
            return;
        }
        for (number, link) in self.links.iter().enumerate().filter(|(_, link)| !link.is_gone()) {
            for (queue, fd) in Link::fds(link) {
                add(Source::Link(number, queue), PollFd::new(fd, readable));
            }
        }
        let mode = self.udp_mode.as_ref();
        for (queue, fd) in self.udp.fds() {
            let source = match mode.is_some_and(|mode| mode.is_only()) {
                true => Source::UdpMode,
                false => Source::Udp(queue),
            };
            add(source, PollFd::new(fd, readable));
        }
        for (_, fd) in mode.and_then(|mode| mode.socket()).into_iter().flat_map(Udp::fds) {
            add(Source::UdpMode, PollFd::new(fd, readable));
        }
        if let Some(fd) = self.sync.fd() {
            add(Source::Sync, PollFd::new(fd, readable));
        }
    }

    fn timeout(&self) -> PollTimeout {
        let now = self.clock.now().mono;
        let log = logger::backlog().then_some(self.log_again);
        let confirm = self.confirm.map(|(_, at)| at);
        let (leases, sync) = (self.leases.next_step(), self.sync.due());
        let due = [self.engine.next_tick(), leases, self.control.due(), sync, confirm, log];
        match due.into_iter().flatten().min() {
            None => PollTimeout::NONE,
            Some(due) => PollTimeout::try_from(due.saturating_sub(now)).unwrap_or(PollTimeout::MAX),
        }
    }
}
