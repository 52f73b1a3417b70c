//! The loop of the handler: commands in, the firewall changed, reports out.
//!
//! It waits on two channels and on nothing else: the parent's, which says no more after the start
//! and whose end is the end, and the server's. Everything that waits on the server's channel is
//! taken at once and becomes one transaction. The handler never waits for the server to listen: a
//! report that cannot be sent is added to the next one.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use pfhelper::{Condition, FromParent, FromServer, Report, ToParent, ToServer};
use proto::unix::{Channel, Error};

use crate::changes::{Changes, Outcome};
use crate::firewall::Firewall;

/// The parent's channel, seen from here.
pub type ParentChannel = Channel<ToParent, FromParent>;
/// The server's channel, seen from here.
type ServerChannel = Channel<ToServer, FromServer>;

/// How often the firewall is looked at, when nothing else happens.
const TICK: Duration = Duration::from_secs(1);
/// Commands that become one transaction; more that wait become the next one. The kernel takes a
/// tenth of a second for so many, and nothing else is heard meanwhile, not even the end.
const GATHER: u32 = 32_000;
/// Messages from which they are gathered at most.
const MESSAGES: u32 = 1_000;
/// How long what the server says may go on being carried out when the parent is gone.
const LAST_WILL: Duration = Duration::from_millis(500);
/// Addresses in one truth.
const MAX_TRUTH: usize = 1 << 24;
/// After a failure the truth is asked for, so that the tables converge; first after this long,
/// then after twice as long each time, up to the other.
const REPAIR: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(320)];

/// The handler at work.
pub struct Handler {
    parent: ParentChannel,
    server: Option<ServerChannel>,
    firewall: Firewall,
    changes: Changes,
    truth: Option<Truth>,
    /// What was done and not yet reported.
    report: Option<Report>,
    /// How it is with the tables, as the server knows.
    told: [Condition; 3],
    /// Whether the truth is to be asked for.
    wanting: bool,
    repair: Option<Instant>,
    patience: Duration,
}

/// A truth of which some parts have come.
struct Truth {
    seq: u32,
    parts: u32,
    leased: Vec<Ipv4Addr>,
    abandoned: Vec<Ipv4Addr>,
}

impl Handler {
    /// One with nothing to do yet.
    pub fn new(parent: ParentChannel, firewall: Firewall) -> Self {
        Handler {
            parent,
            server: None,
            firewall,
            changes: Changes::default(),
            truth: None,
            report: None,
            told: <[Condition; 3]>::default(),
            wanting: false,
            repair: None,
            patience: REPAIR[0],
        }
    }

    /// Works until a channel ends or says what it must not: why it ended. Whole messages that had
    /// been sent by then have been carried out.
    pub fn run(mut self) -> Error {
        let mut tick = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            if now >= tick {
                tick = now + TICK;
                self.wanting |= self.firewall.watch();
                if self.repair.is_some_and(|moment| now >= moment) {
                    self.repair = None;
                    self.wanting = true;
                }
            }
            if let Err(error) = self.turn(tick.saturating_duration_since(now)) {
                self.apply();
                self.speak();
                return error;
            }
            log::logger().flush();
        }
    }

    /// Waits, at most so long, and does what came.
    fn turn(&mut self, patience: Duration) -> Result<(), Error> {
        let speaks =
            self.report.is_some() || self.wanting || self.firewall.conditions() != self.told;
        let server_events =
            if speaks { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let mut fds = vec![PollFd::new(self.parent.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.server.as_ref().map(|s| PollFd::new(s.as_fd(), server_events)));
        // Rounded up, or the last part of a millisecond would be spent running in circles.
        let timeout = PollTimeout::try_from(patience + Duration::from_millis(1));
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::Io { op: "poll", source: errno.into() }),
        }
        let ready = |index: usize| {
            let events = fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
            !events.is_empty()
        };
        let (parent, server) = (ready(0), ready(1));
        if parent && let Err(error) = self.hear_parent() {
            return Err(self.last_will().err().unwrap_or(error));
        }
        if server {
            self.hear_server()?;
        }
        self.apply();
        self.speak();
        Ok(())
    }

    fn hear_parent(&mut self) -> Result<(), Error> {
        match self.parent.try_recv()? {
            Some(FromParent::Commands(fd)) if self.server.is_none() => {
                self.server = Some(Channel::from_fd(fd)?);
                Ok(())
            }
            Some(FromParent::Commands(_)) => Err(Error::Malformed("a second server")),
            Some(FromParent::Setup { .. }) => Err(Error::Malformed("a second set-up")),
            None => Ok(()),
        }
    }

    /// Takes what waits on the server's channel, up to one transaction's worth: however fast the
    /// server talks, the parent's end is seen between two of them.
    fn hear_server(&mut self) -> Result<(), Error> {
        for _ in 0..MESSAGES {
            let Some(server) = &self.server else { break };
            let Some(message) = server.try_recv()? else { break };
            let truth = matches!(message, FromServer::Replace { .. });
            self.take(message)?;
            if truth || self.changes.total() >= GATHER {
                break;
            }
        }
        Ok(())
    }

    /// The parent is gone: carries out what the server had said by then.
    fn last_will(&mut self) -> Result<(), Error> {
        // Linux lets nobody add to what waits, and it can be taken to its end. Others would throw
        // it away; there only the time ends a server that goes on talking.
        if let Some(server) = self.server.as_ref().filter(|_| cfg!(target_os = "linux")) {
            shutdown(server.as_fd().as_raw_fd(), Shutdown::Read)
                .map_err(|errno| Error::Io { op: "shutdown", source: errno.into() })?;
        }
        let end = Instant::now() + LAST_WILL;
        while cfg!(target_os = "linux") || Instant::now() < end {
            let Some(server) = &self.server else { break };
            let message = match server.try_recv() {
                Ok(Some(message)) => message,
                Ok(None) | Err(Error::Closed) => break,
                Err(error) => return Err(error),
            };
            self.take(message)?;
            if self.changes.total() >= GATHER {
                self.apply();
            }
        }
        Ok(())
    }

    fn take(&mut self, message: FromServer) -> Result<(), Error> {
        match message {
            FromServer::Apply { seq, commands } => {
                if self.truth.is_some() {
                    return Err(Error::Malformed("commands in the middle of a truth"));
                }
                for command in commands {
                    self.changes.push(command);
                }
                self.report.get_or_insert_default().seq = seq;
                Ok(())
            }
            FromServer::Replace { seq, part, last, leased, abandoned } => {
                let mut truth = match (self.truth.take(), part) {
                    // One that is begun again takes the place of one that was not finished.
                    (_, 0) => Truth { seq, parts: 0, leased: vec![], abandoned: vec![] },
                    (Some(truth), _) if truth.seq == seq && truth.parts == part => truth,
                    _ => return Err(Error::Malformed("a part of a truth out of its order")),
                };
                truth.parts = part.saturating_add(1);
                truth.leased.extend(leased);
                truth.abandoned.extend(abandoned);
                if truth.leased.len() + truth.abandoned.len() > MAX_TRUTH {
                    return Err(Error::Malformed("a truth of too many addresses"));
                }
                if last {
                    self.replace(truth);
                } else {
                    self.truth = Some(truth);
                }
                Ok(())
            }
        }
    }

    fn replace(&mut self, mut truth: Truth) {
        // What was said before it concerns a table and states that it does not.
        self.apply();
        for list in [&mut truth.leased, &mut truth.abandoned] {
            list.sort_unstable();
            list.dedup();
        }
        let outcome = self.firewall.replace(&truth.leased, &truth.abandoned);
        if outcome.failed == 0 {
            // The tables are as they must be: the next failure is a new one.
            self.patience = REPAIR[0];
        }
        self.wanting = false;
        self.account(outcome);
        self.report.get_or_insert_default().seq = truth.seq;
    }

    fn apply(&mut self) {
        if !self.changes.is_empty() {
            let outcome = self.firewall.apply(&self.changes);
            self.changes.clear();
            self.account(outcome);
        }
    }

    fn account(&mut self, outcome: Outcome) {
        let report = self.report.get_or_insert_default();
        report.applied = report.applied.saturating_add(outcome.applied);
        report.missing = report.missing.saturating_add(outcome.missing);
        report.failed = report.failed.saturating_add(outcome.failed);
        if outcome.failed > 0 && self.repair.is_none() {
            self.repair = Some(Instant::now() + self.patience);
            self.patience = (self.patience * 2).min(REPAIR[1]);
        }
    }

    /// Tells the server what it is to know, as far as it listens.
    fn speak(&mut self) {
        let Some(server) = &self.server else { return };
        // A server that is gone is met where we listen, after what it has said.
        let conditions = self.firewall.conditions();
        if conditions != self.told {
            if let Ok(false) = server.try_send(&ToServer::Tables(conditions.clone())) {
                return;
            }
            self.told = conditions;
        }
        if let Some(report) = self.report.take() {
            let message = ToServer::Report(report);
            if let (Ok(false), ToServer::Report(report)) = (server.try_send(&message), message) {
                self.report = Some(report);
                return;
            }
        }
        if self.wanting && !matches!(server.try_send(&ToServer::Flushed), Ok(false)) {
            self.wanting = false;
        }
    }
}
