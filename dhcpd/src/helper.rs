//! The pf table handler as dhcpd's parent keeps it: started, asked whether it can work, given its
//! channel to the server, and started again when it dies. What it is told about addresses is the
//! server's business.
//!
//! Policy: at start a helper that cannot work ends dhcpd, with the reason. Later its death never
//! stops the service: the next one is started at once, and while they keep dying, after 0.1 s
//! doubling up to 10 s; one that served for a minute clears the count.

use nix::poll::{PollFd, PollFlags};
use pfhelper::{FromParent, Tables, ToParent};
use proto::unix::{Channel, Error as ChannelError};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use supervise::{Child, Exit, Program};

/// Title of the process that keeps the tables.
pub const TITLE: &str = "dhcpd: pf table handler";

/// How long a helper may take to say whether it can work.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a helper that lost its channel may take to end, before SIGTERM and then SIGKILL.
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

/// What the parent has to do after [`Helper::turn`].
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Give this channel to the server: a helper is ready.
    Connect(OwnedFd),
    /// The helper ended or cannot work, for this reason; another start is planned.
    Lost(String),
}

/// One helper after another.
pub struct Helper {
    tables: Tables,
    element_timeout: Option<u32>,
    state: State,
    deaths: u32,
}

enum State {
    /// Started; its answer is due.
    Asked { running: Running, due: Instant },
    /// Keeping the tables.
    Serving { running: Running, since: Instant },
    /// None; the next start is due.
    Down { until: Instant },
}

struct Running {
    child: Child,
    channel: Channel<FromParent, ToParent>,
}

impl Helper {
    /// Starts the first one.
    pub fn start(tables: &Tables, element_timeout: Option<u32>) -> Result<Self, String> {
        let mut helper = Helper {
            tables: tables.clone(),
            element_timeout,
            state: State::Down { until: Instant::now() },
            deaths: 0,
        };
        helper.spawn()?;
        Ok(helper)
    }

    fn spawn(&mut self) -> Result<(), String> {
        let (child, channel) = supervise::start(Program::Sibling("pfhelper"), TITLE, &[])
            .map_err(|e| e.to_string())?;
        let channel = Channel::from_fd(channel).map_err(|e| e.to_string())?;
        let setup = FromParent::Setup {
            tables: self.tables.clone(),
            element_timeout: self.element_timeout,
        };
        // A helper that is already gone is noticed, with its exit status, by `turn`.
        if let Err(error) = channel.send(&setup) {
            log::debug!("{TITLE}: send set-up: {error}");
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

    /// When [`Helper::turn`] is due even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Asked { due, .. } => Some(*due),
            State::Serving { .. } => None,
            State::Down { until } => Some(*until),
        }
    }

    /// Looks at everything that may have happened.
    pub fn turn(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Down { until } if now >= *until => match self.spawn() {
                Ok(()) => Step::Wait,
                Err(reason) => self.lost(Some(reason), now),
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
                Ok(Some(ToParent::Ready)) => match running.connect() {
                    Ok(ours) => {
                        self.serve(now);
                        Step::Connect(ours)
                    }
                    Err(error) => self.lost(Some(error.to_string()), now),
                },
                Ok(Some(ToParent::Refused(reason))) => self.lost(Some(reason), now),
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

    /// Ends what is left of this helper and plans the next. Without a `reason`, how it ended is
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
    pub fn into_parts(self) -> (Option<Channel<FromParent, ToParent>>, Option<Child>) {
        match self.state {
            State::Asked { running, .. } | State::Serving { running, .. } => {
                (Some(running.channel), Some(running.child))
            }
            State::Down { .. } => (None, None),
        }
    }
}

impl Running {
    /// A channel between helper and server: one end goes to the helper, the other is returned.
    fn connect(&self) -> Result<OwnedFd, ChannelError> {
        let (ours, its) = proto::unix::pair()?;
        self.channel.send(&FromParent::Commands(its))?;
        Ok(ours)
    }

    /// Without its channel it ends by itself, and is killed if it does not: it holds no state
    /// worth waiting for.
    fn end(self) -> Option<Exit> {
        let Running { child, channel } = self;
        supervise::stop(channel, vec![child], PATIENCE).pop().and_then(|ended| ended.exit)
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
