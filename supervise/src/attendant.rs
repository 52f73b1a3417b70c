//! A child that serves one of its siblings, as a parent keeps it: started, asked whether it can
//! work, given a channel to whom it serves, and started again when it dies. What the two say to
//! each other is their business.
//!
//! Policy: at start one that cannot work is an error, with the reason. Later its death never stops
//! the service: the next one is started at once, and while they keep dying, after 0.1 s doubling up
//! to 10 s; one that served for a minute clears the count.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use proto::unix::{Channel, Error as ChannelError, Message, cut, no_fd};

use crate::{Child, Error, Exit, Program};

/// What it answers once it has given up its rights, and the only thing it says to its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It can work, and listens.
    Ready,
    /// Why it cannot; it ends after this.
    Refused(String),
}

impl Message for Answer {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        match self {
            Answer::Ready => 1,
            Answer::Refused(why) => {
                // Room for any reason there can be, and a bound for what could be none.
                payload.extend_from_slice(cut(why, 4096).as_bytes());
                2
            }
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, ChannelError> {
        no_fd(fd)?;
        match kind {
            1 if payload.is_empty() => Ok(Answer::Ready),
            2 => Ok(Answer::Refused(String::from_utf8_lossy(payload).into_owned())),
            1 => Err(ChannelError::Malformed("more than expected")),
            other => Err(ChannelError::UnknownKind(other)),
        }
    }
}

/// How long it may take to say whether it can work.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long one that lost its channel may take to end, before SIGTERM and then SIGKILL.
const PATIENCE: Duration = Duration::from_millis(200);

/// Seconds of service after which earlier deaths no longer count.
const STEADY: Duration = Duration::from_secs(60);

/// How long to wait before the next start, after a number of deaths in a row.
fn delay(deaths: u32) -> Duration {
    match deaths {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(100 << (n - 2).min(7)).min(Duration::from_secs(10)),
    }
}

/// What comes of one turn.
#[derive(Debug)]
enum Step {
    /// Nothing.
    Wait,
    /// It is ready; this channel is for whom it serves.
    Connect(OwnedFd),
    /// It ended or cannot work, for this reason; another start is planned.
    Lost(String),
}

/// Which it is, and how it is talked to; `M` is what its parent says to it.
#[derive(Debug)]
pub struct Role<M> {
    /// What is executed.
    pub program: Program,
    /// Its title, `program: role`.
    pub title: &'static str,
    /// What it is told at each start, before it answers. It carries no descriptor.
    pub setup: M,
    /// The message that brings it its end of the channel to whom it serves.
    pub client: fn(OwnedFd) -> M,
}

/// One such child after another.
pub struct Attendant<M: Message> {
    role: Role<M>,
    state: State<M>,
    deaths: u32,
    /// Whether one of them has worked.
    worked: bool,
}

enum State<M: Message> {
    /// Started; its answer is due.
    Asked { running: Running<M>, due: Instant },
    /// At work.
    Serving { running: Running<M>, since: Instant },
    /// None; the next start is due.
    Down { until: Instant },
}

struct Running<M: Message> {
    child: Child,
    channel: Channel<M, Answer>,
}

impl<M: Message> Attendant<M> {
    /// Starts the first one.
    ///
    /// # Errors
    /// It cannot be executed.
    pub fn start(role: Role<M>) -> Result<Self, Error> {
        let state = State::Down { until: Instant::now() };
        let mut attendant = Attendant { role, state, deaths: 0, worked: false };
        attendant.spawn()?;
        Ok(attendant)
    }

    /// Tells the one that runs, and all that come after it, something else than before.
    pub fn tell(&mut self, setup: M) {
        if let State::Asked { running, .. } | State::Serving { running, .. } = &self.state
            && let Err(error) = running.channel.send(&setup)
        {
            log::debug!("{}: send set-up: {error}", self.role.title);
        }
        self.role.setup = setup;
    }

    /// Its title, and the process that there is now, if any.
    pub fn process(&self) -> (&'static str, Option<i32>) {
        let pid = match &self.state {
            State::Asked { running, .. } | State::Serving { running, .. } => {
                Some(running.child.pid())
            }
            State::Down { .. } => None,
        };
        (self.role.title, pid)
    }

    fn spawn(&mut self) -> Result<(), Error> {
        let title = self.role.title;
        let (child, channel) = crate::start(self.role.program, title, &[])?;
        let channel = Channel::from_fd(channel)
            .map_err(|error| Error::says(format!("channel of {title}: {error}")))?;
        // One that is already gone is noticed, with its exit status, by `turn`.
        if let Err(error) = channel.send(&self.role.setup) {
            log::debug!("{title}: send set-up: {error}");
        }
        let due = Instant::now() + HANDSHAKE;
        self.state = State::Asked { running: Running { child, channel }, due };
        Ok(())
    }

    /// What to wait for: its channel and its end.
    pub fn poll_fds(&self) -> Vec<PollFd<'_>> {
        match &self.state {
            State::Asked { running, .. } | State::Serving { running, .. } => vec![
                PollFd::new(running.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(running.child.as_fd(), PollFlags::POLLIN),
            ],
            State::Down { .. } => Vec::new(),
        }
    }

    /// When [`Attendant::see_to`] is due even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Asked { due, .. } => Some(*due),
            State::Serving { .. } => None,
            State::Down { until } => Some(*until),
        }
    }

    /// Whether one of them has been ready.
    pub fn has_worked(&self) -> bool {
        self.worked
    }

    /// Looks at everything that may have happened. When one is ready, this is the channel for whom
    /// it serves, and whether another one has been ready before it. A death is logged.
    ///
    /// # Errors
    /// The first one cannot work, and why.
    pub fn see_to(&mut self, now: Instant) -> Result<Option<(OwnedFd, bool)>, String> {
        let title = self.role.title;
        match self.turn(now) {
            Step::Wait => Ok(None),
            Step::Connect(channel) => {
                Ok(Some((channel, std::mem::replace(&mut self.worked, true))))
            }
            Step::Lost(reason) if !self.worked => Err(format!("{title} cannot work: {reason}")),
            Step::Lost(reason) => {
                log::error!("{title} is gone: {reason}; starting another");
                Ok(None)
            }
        }
    }

    /// One turn.
    fn turn(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Down { until } if now >= *until => match self.spawn() {
                Ok(()) => Step::Wait,
                Err(error) => self.lost(Some(error.to_string()), now),
            },
            State::Down { .. } => Step::Wait,
            State::Serving { running, since } => {
                // It has nothing more to say: anything but silence is the end of it.
                let reason = match running.channel.try_recv() {
                    Ok(None) => return Step::Wait,
                    Ok(Some(message)) => Some(format!("said {message:?} out of turn")),
                    Err(ChannelError::Closed) => None,
                    Err(error) => Some(error.to_string()),
                };
                if now.duration_since(*since) >= STEADY {
                    self.deaths = 0;
                }
                self.lost(reason, now)
            }
            State::Asked { running, due } => match running.channel.try_recv() {
                Ok(Some(Answer::Ready)) => match running.connect(self.role.client) {
                    Ok(ours) => {
                        self.serve(now);
                        Step::Connect(ours)
                    }
                    Err(error) => self.lost(Some(error.to_string()), now),
                },
                Ok(Some(Answer::Refused(reason))) => self.lost(Some(reason), now),
                Ok(None) if now < *due => Step::Wait,
                Ok(None) => self.lost(Some(format!("no answer within {HANDSHAKE:?}")), now),
                Err(ChannelError::Closed) => self.lost(None, now),
                Err(error) => self.lost(Some(error.to_string()), now),
            },
        }
    }

    fn serve(&mut self, now: Instant) {
        let down = State::Down { until: now };
        if let State::Asked { running, .. } = std::mem::replace(&mut self.state, down) {
            self.state = State::Serving { running, since: now };
        }
    }

    /// Ends what is left of this one and plans the next. Without a `reason`, how it ended is
    /// the reason.
    fn lost(&mut self, reason: Option<String>, now: Instant) -> Step {
        self.deaths += 1;
        let down = State::Down { until: now + delay(self.deaths) };
        let exit = match std::mem::replace(&mut self.state, down) {
            State::Asked { running, .. } | State::Serving { running, .. } => running.end(),
            State::Down { .. } => None,
        };
        let how = || exit.map_or_else(|| "its end is unknown".to_owned(), |exit| exit.to_string());
        Step::Lost(reason.unwrap_or_else(how))
    }

    /// The last one and its channel, for the ordered end.
    pub fn into_parts(self) -> (Option<Channel<M, Answer>>, Option<Child>) {
        match self.state {
            State::Asked { running, .. } | State::Serving { running, .. } => {
                (Some(running.channel), Some(running.child))
            }
            State::Down { .. } => (None, None),
        }
    }
}

impl<M: Message> Running<M> {
    /// A channel to whom it serves: one end goes to it, the other is returned.
    fn connect(&self, client: fn(OwnedFd) -> M) -> Result<OwnedFd, ChannelError> {
        let (theirs, its) = proto::unix::pair()?;
        self.channel.send(&client(its))?;
        Ok(theirs)
    }

    /// Without its channel it ends by itself, and is killed if it does not: it holds no state
    /// worth waiting for.
    fn end(self) -> Option<Exit> {
        let Running { child, channel } = self;
        crate::stop(channel, vec![child], PATIENCE).pop().and_then(|ended| ended.exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_back_off_to_ten_seconds() {
        let delays: Vec<u64> = (1..12).map(|n| delay(n).as_millis() as u64).collect();
        assert_eq!(delays[..4], [0, 100, 200, 400]);
        assert_eq!(delays[8..], [10_000, 10_000, 10_000]);
        assert!(delays.windows(2).all(|w| w[0] <= w[1]));
    }
}
