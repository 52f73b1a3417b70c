//! The server proper: one loop that takes calls, makes a monitor for each and reaps them, until it
//! has had nothing to do for too long, its socket is not its own any more, or the program has
//! changed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, send};

use super::call::Call;
use super::decide;
use super::inherited::Inherited;
use super::monitor::monitor;
use super::options::Options;
use super::peer::{self, Caller};
use super::process::{self, Forked, Held};
use super::receive::timeout;
use super::reload::Sources;
use super::report::report;
use crate::Error;
use crate::protocol::GREETING;

/// What a server has.
pub(super) struct Server<'a> {
    options: &'a Options,
    sources: Sources,
    listen: OwnedFd,
    /// Kept for its end: see [`Inherited::alive`].
    _alive: OwnedFd,
    watcher: OwnedFd,
    monitors: Vec<Held>,
    /// Failures to take a call since the last success.
    errors: u32,
    /// When there was last something to do.
    busy: Instant,
}

/// What the loop is to do next.
enum Next {
    Go,
    Take(OwnedFd),
    End,
}

impl<'a> Server<'a> {
    /// The server, and the first call, which has come with the start.
    pub(super) fn new(inherited: Inherited, options: &'a Options) -> (Server<'a>, OwnedFd) {
        let Inherited { started, listen, call, alive, watcher } = inherited;
        let server = Server {
            options,
            sources: Sources::look(options, started),
            listen,
            _alive: alive,
            watcher,
            monitors: Vec::new(),
            errors: 0,
            busy: Instant::now(),
        };
        (server, call)
    }

    /// Serves the first call and all that follow. Only executors come back from here.
    pub(super) fn run(mut self, first: OwnedFd) -> Call {
        let mut next = Next::Take(first);
        loop {
            if let Next::Take(call) = next {
                match self.hand_over(&call) {
                    Ok(Forked::Child) => {
                        let options = self.options;
                        self.forget();
                        return monitor(call, options);
                    }
                    Ok(Forked::Parent(held)) => self.monitors.push(held),
                    Err(error) => self.failed(&error),
                }
            }
            next = match self.turn() {
                Ok(Next::End) => process::end(0),
                Ok(next) => next,
                Err(error) => {
                    report(self.options.log_facility, &error.to_string());
                    process::end(1)
                }
            };
        }
    }

    /// Greets the caller, who then prepares its request while we make it a monitor.
    fn hand_over(&mut self, call: &OwnedFd) -> Result<Forked, Error> {
        // A caller who is gone already is the monitor's to find out.
        let _ = send(call.as_raw_fd(), &GREETING, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        let forked = process::fork()?;
        self.errors = 0;
        self.busy = Instant::now();
        Ok(forked)
    }

    /// Waits until something happens, and does what it asks for.
    fn turn(&mut self) -> Result<Next, Error> {
        if self.errors >= self.options.max_errors.max(1) {
            return Err(Error::says(format!("{} failures to take a call: giving up", self.errors)));
        }
        let room = decide::room(self.options, self.monitors.len());
        let idle = self.busy.elapsed();
        let patience = decide::patience(self.options, self.monitors.len(), idle);
        let mut fds = Vec::with_capacity(2 + self.monitors.len());
        fds.push(PollFd::new(self.watcher.as_fd(), PollFlags::POLLIN));
        let wanted = if room { PollFlags::POLLIN } else { PollFlags::empty() };
        fds.push(PollFd::new(self.listen.as_fd(), wanted));
        fds.extend(self.monitors.iter().map(|held| PollFd::new(held.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout(patience)) {
            Err(Errno::EINTR) => return Ok(Next::Go),
            Err(errno) => return Err(Error::system("poll", errno)),
            Ok(0) => return Ok(if patience.is_some() { self.tired() } else { Next::Go }),
            Ok(_) => {}
        }
        let ready = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
        let (heard, called) = (ready(0), room && ready(1));
        let ended: Vec<bool> = (2..fds.len()).map(ready).collect();
        if ended.contains(&true) {
            self.reap(&ended)?;
        }
        if heard {
            return self.hear();
        }
        if called { self.take() } else { Ok(Next::Go) }
    }

    /// Whether the server has waited long enough: a poll(2) ends early if the wait is longer than
    /// it can say.
    fn tired(&self) -> Next {
        let left = decide::patience(self.options, self.monitors.len(), self.busy.elapsed());
        if left.is_some_and(|left| left.is_zero()) { Next::End } else { Next::Go }
    }

    /// Takes a call, unless it is one for a new server: who is left waiting starts that.
    fn take(&mut self) -> Result<Next, Error> {
        if self.sources.changed() {
            return Ok(Next::End);
        }
        match peer::accept(&self.listen) {
            Ok(Caller::One(call)) => Ok(Next::Take(call)),
            Ok(Caller::Nobody) => Ok(Next::Go),
            // Not an error of ours, or strangers could end the server.
            Ok(Caller::Stranger(uid)) => {
                report(self.options.log_facility, &format!("user {uid} may not call"));
                Ok(Next::Go)
            }
            Err(error) => {
                self.failed(&error);
                Ok(Next::Go)
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        self.errors = self.errors.saturating_add(1);
        report(self.options.log_facility, &error.to_string());
    }

    /// The watcher has said something, or ended: either way the socket is lost.
    fn hear(&mut self) -> Result<Next, Error> {
        let mut text = [0; 1024];
        match nix::unistd::read(&self.watcher, &mut text) {
            Ok(0) => Ok(Next::End),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Next::Go),
            Err(errno) => Err(Error::system("read from the watcher", errno)),
            Ok(count) => {
                let text = String::from_utf8_lossy(text.get(..count).unwrap_or_default());
                Err(Error::says(format!("the watcher says: {}", text.trim_end())))
            }
        }
    }

    fn reap(&mut self, ended: &[bool]) -> Result<(), Error> {
        let mut kept = Vec::with_capacity(self.monitors.len());
        for (at, held) in self.monitors.drain(..).enumerate() {
            let status = match ended.get(at) {
                Some(true) => process::reap(&held)?,
                _ => None,
            };
            match status {
                None => kept.push(held),
                Some(status) => {
                    self.busy = Instant::now();
                    if let Some(complaint) = decide::complaint(held.pid(), status) {
                        report(self.options.log_facility, &complaint);
                    }
                }
            }
        }
        self.monitors = kept;
        Ok(())
    }

    /// Lets go of all that is the server's, in a copy of it.
    fn forget(self) {
        self.monitors.into_iter().for_each(Held::forget);
    }
}
