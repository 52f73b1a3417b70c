//! One resource as the parent keeps it: its role, and the worker that has it. A role ends when its
//! worker has said so, and only then does the next one begin: two workers never have one component.
//!
//! A worker that dies is replaced, after a second and then twice as long each time up to a minute:
//! one bad disk must not stop the other resources, nor keep a processor busy.

use super::control::Failure;
use super::dial;
use super::names::{Missing, Names};
use super::worker::Worker;
use crate::component::Component;
use crate::config::{Change, Resource};
use crate::ctl::message::Code;
use crate::engine::{Conn, Role, Settings};
use crate::msg::{Arrival, FromWorker, Report, Start, TCP, ToWorker, WorkerSettings};
use nix::poll::{PollFd, PollFlags};
use proto::unix::{Channel, Error as ChannelError};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use supervise::{Child, Program};

/// The most bytes in a request to a peer that is not known to take more: what FreeBSD took before
/// its version 13, and still takes with 32 bits.
const MAX_UNKNOWN: u32 = 128 << 10;

/// The exit code of a worker that is not to be promoted, which `--force` overrides (`EX_NOPERM`).
pub const UNSAFE: u8 = 77;

/// How long a worker may take to begin.
const START: Duration = Duration::from_secs(60);

/// How long after its role's end a worker may take to store what it has, beyond the timeout of the
/// resource.
const STOP: Duration = Duration::from_secs(20);

/// A worker that served so long was not badly begun.
const STEADY: Duration = Duration::from_secs(60);

/// How long to wait before the next start, after a number of deaths in a row.
fn delay(deaths: u32) -> Duration {
    Duration::from_secs(1 << deaths.saturating_sub(1).min(6)).min(Duration::from_secs(60))
}

/// What the loop has to see to.
#[derive(Debug)]
pub enum News {
    /// The role that was asked for has begun, or cannot.
    Role(Result<(), Failure>),
    /// For hooks.
    Happening(crate::engine::Happening),
    /// The answer to a report that was asked for.
    Report(Box<Report>),
    /// The worker needs a connection.
    Connect(Conn),
}

enum State {
    /// The role is init.
    Idle,
    /// The worker is to say that it has begun.
    Starting { worker: Worker, due: Instant },
    /// It has.
    Running(Worker),
    /// The worker is to say that it has ended.
    Stopping { worker: Worker, due: Instant, told: bool },
    /// It died; the next one is due.
    Down { until: Instant },
}

/// A resource.
pub struct Managed {
    /// What hast.conf says.
    pub config: Resource,
    role: Role,
    /// What it was before that.
    before: Role,
    /// What it is to be once the worker has ended.
    wanted: Role,
    force: bool,
    /// The role that was asked for has been had: it is to be had again, whatever happens.
    had: bool,
    /// The worker does not know yet what hast.conf says; whether the other node has moved.
    unsaid: Option<bool>,
    state: State,
    deaths: u32,
}

impl Managed {
    /// In no role.
    pub fn new(config: Resource) -> Self {
        Managed {
            config,
            role: Role::Init,
            before: Role::Init,
            wanted: Role::Init,
            force: false,
            had: false,
            unsaid: None,
            state: State::Idle,
            deaths: 0,
        }
    }

    /// The role that it has or is about to have.
    pub fn role(&self) -> Role {
        let Managed { wanted, .. } = self;
        *wanted
    }

    /// The process id of its worker, for people to read.
    pub fn worker(&self) -> Option<i32> {
        match &self.state {
            State::Starting { worker, .. } | State::Stopping { worker, .. } => {
                Some(worker.child.pid())
            }
            State::Running(worker) => Some(worker.child.pid()),
            State::Idle | State::Down { .. } => None,
        }
    }

    /// Whether this is its role, and nothing is left to be done about it.
    pub fn has(&self, role: Role) -> bool {
        let settled = match &self.state {
            State::Idle => role == Role::Init,
            State::Running(_) => role != Role::Init,
            State::Starting { .. } | State::Stopping { .. } | State::Down { .. } => false,
        };
        settled && self.wanted == role
    }

    /// Whether its worker is about to say what comes of the very same order.
    pub fn is_starting(&self, role: Role, force: bool) -> bool {
        let starting = matches!(self.state, State::Starting { .. });
        starting && self.wanted == role && (self.force || !force)
    }

    /// Whether nothing of it is left.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// What to wait for.
    pub fn poll_fds(&self) -> Vec<PollFd<'_>> {
        match &self.state {
            State::Starting { worker, .. }
            | State::Stopping { worker, .. }
            | State::Running(worker) => {
                vec![PollFd::new(worker.channel.as_fd(), PollFlags::POLLIN)]
            }
            State::Idle | State::Down { .. } => Vec::new(),
        }
    }

    /// When [`Managed::turn`] is due even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Running(_) => None,
            State::Starting { due, .. } | State::Stopping { due, .. } => Some(*due),
            State::Down { until } => Some(*until),
        }
    }

    /// Begins to change the role. [`News::Role`] tells what came of it.
    pub fn change(&mut self, role: Role, force: bool, now: Instant, news: &mut Vec<News>) {
        self.had = false;
        self.deaths = 0;
        self.restart(role, force, now, news);
    }

    fn restart(&mut self, role: Role, force: bool, now: Instant, news: &mut Vec<News>) {
        self.wanted = role;
        self.force = force;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle | State::Down { .. } => self.begin(now, news),
            State::Starting { worker, .. } | State::Running(worker) => {
                let told = worker.tell(&ToWorker::Stop);
                let patience = STOP + Duration::from_secs(self.config.timeout.into());
                self.state = State::Stopping { worker, due: now + patience, told };
            }
            stopping @ State::Stopping { .. } => self.state = stopping,
        }
    }

    /// Takes over what a new hast.conf says.
    pub fn reconfigure(&mut self, config: Resource, now: Instant, news: &mut Vec<News>) {
        let change = match (self.role, self.config.change_to(&config)) {
            (Role::Primary, change) => change,
            (_, Change::None) => Change::None,
            (_, _) => Change::Restart,
        };
        let restarts = (self.role, change) == (Role::Primary, Change::Restart);
        if restarts && self.config.export != config.export {
            dial::unexport(&self.config.export);
        }
        self.config = config;
        match change {
            Change::None => {}
            Change::Settings { address } => {
                self.unsaid = Some(address || self.unsaid == Some(true));
                self.say_settings();
            }
            // Nobody has asked for another role: what was had is to be had again.
            Change::Restart => self.restart(self.wanted, false, now, news),
        }
    }

    /// What the worker does not know yet. One that is about to begin wants to hear nothing.
    fn say_settings(&mut self) {
        if let Some(moved) = self.unsaid
            && self.tell(&ToWorker::Settings(Box::new(self.settings(moved))))
        {
            self.unsaid = None;
        }
    }

    fn settings(&self, moved: bool) -> WorkerSettings {
        let config = &self.config;
        WorkerSettings {
            engine: Settings {
                replication: config.replication,
                timeout: u64::from(config.timeout) * 1000,
                has_remote: config.remote.is_some(),
                max_request: MAX_UNKNOWN,
            },
            checksum: config.checksum,
            compression: config.compression,
            metaflush: config.metaflush,
            moved,
        }
    }

    /// A message to the worker, if there is one and it has room for it. Its end is seen by
    /// [`Managed::turn`].
    pub fn tell(&self, message: &ToWorker) -> bool {
        match &self.state {
            State::Running(worker) => worker.tell(message),
            _ => false,
        }
    }

    /// A connection has arrived; the worker gets it. Whether it did.
    pub fn arrive(&self, arrival: Arrival) -> bool {
        let Arrival { protocol, packet, socket, .. } = arrival;
        self.tell(&ToWorker::Arrival { protocol, packet, socket })
    }

    /// The worker asked for a connection: it gets one, or the reason why not. False if neither is
    /// known yet.
    pub fn connect(&self, conn: Conn, names: &mut Names) -> bool {
        let dialed = match &self.config.remote {
            Some(remote) => dial::dial(remote, self.config.source.as_ref(), names),
            None => Err("there is no remote".to_owned().into()),
        };
        let message = match dialed {
            Ok(socket) => ToWorker::Connection { protocol: TCP.to_owned(), conn, socket },
            Err(Missing::Failed(why)) => ToWorker::NoConnection { conn, why },
            Err(Missing::NotYet) => return false,
        };
        // Before it has begun, it asks the other node whether it may.
        if let State::Starting { worker, .. } | State::Running(worker) = &self.state {
            worker.tell(&message);
        }
        true
    }

    fn begin(&mut self, now: Instant, news: &mut Vec<News>) {
        self.before = std::mem::replace(&mut self.role, self.wanted);
        if self.before == Role::Primary && self.role != Role::Primary {
            dial::unexport(&self.config.export);
        }
        self.state = State::Idle;
        if self.role == Role::Init {
            news.push(News::Role(Ok(())));
            return;
        }
        match self.start(now) {
            Ok(worker) => {
                self.unsaid = None;
                self.state = State::Starting { worker, due: now + START };
            }
            Err(why) if self.had => {
                self.deaths += 1;
                self.again(&why, now);
            }
            Err(why) => self.refused(Failure::new(why), now, news),
        }
    }

    fn start(&self, now: Instant) -> Result<Worker, String> {
        let Resource { name, local, .. } = &self.config;
        let component = Component::open(local).map_err(|e| e.to_string())?.into();
        let role = match self.role {
            Role::Primary => "primary",
            _ => "secondary",
        };
        let title = format!("hastlite: {name} ({role})");
        let (child, channel) =
            supervise::start(Program::Myself, &title, &[]).map_err(|e| e.to_string())?;
        let channel = Channel::from_fd(channel).map_err(|e| format!("{title}: {e}"))?;
        let worker = Worker { child, channel, since: now };
        let say = |message: &ToWorker| {
            // That it is gone already is seen, with its end, by `turn`.
            match worker.channel.send(message) {
                Ok(()) | Err(ChannelError::Closed) => Ok(()),
                Err(error) => Err(format!("{title}: {error}")),
            }
        };
        say(&ToWorker::Component(component))?;
        if self.role == Role::Primary {
            say(&ToWorker::Export(dial::export(&self.config.export)?))?;
        }
        say(&ToWorker::Start(Box::new(Start {
            resource: name.clone(),
            role: self.role,
            force: self.force,
            settings: self.settings(false),
        })))?;
        Ok(worker)
    }

    /// The role cannot be had. A secondary that is not to be primary goes on as what it was: the
    /// other node may rely on it. Otherwise the resource is in no role.
    fn refused(&mut self, failure: Failure, now: Instant, news: &mut Vec<News>) {
        log::error!("[{}] {}", self.config.name, failure.why);
        let back = (self.role, self.before) == (Role::Primary, Role::Secondary);
        self.wanted = if back { Role::Secondary } else { Role::Init };
        self.state = State::Idle;
        news.push(News::Role(Err(failure)));
        match back {
            true => self.begin(now, news),
            false => self.role = Role::Init,
        }
    }

    /// Looks at everything that may have happened.
    pub fn turn(&mut self, now: Instant, news: &mut Vec<News>) {
        self.say_settings();
        if let State::Stopping { worker, told: told @ false, .. } = &mut self.state {
            *told = worker.tell(&ToWorker::Stop);
        }
        loop {
            let worker = match &mut self.state {
                State::Idle => return,
                State::Down { until } if now < *until => return,
                State::Down { .. } => return self.begin(now, news),
                State::Starting { worker, .. }
                | State::Stopping { worker, .. }
                | State::Running(worker) => worker,
            };
            let message = worker.channel.try_recv();
            let state = std::mem::replace(&mut self.state, State::Idle);
            match (state, message) {
                (State::Starting { worker, .. }, Ok(Some(FromWorker::Ready))) => {
                    self.state = State::Running(worker);
                    self.force = false;
                    self.had = true;
                    self.say_settings();
                    news.push(News::Role(Ok(())));
                }
                (State::Starting { worker, due }, Ok(Some(FromWorker::Connect(conn)))) => {
                    self.state = State::Starting { worker, due };
                    news.push(News::Connect(conn));
                }
                // A role that was had once is had again as soon as that is possible.
                (State::Starting { worker, .. }, Ok(Some(FromWorker::Refused { why, .. })))
                    if self.had =>
                {
                    return self.lost(worker, Some(why), now, news);
                }
                (
                    State::Starting { worker, .. },
                    Ok(Some(FromWorker::Refused { code, loses, why })),
                ) => {
                    worker.end();
                    let code = if code == UNSAFE { Code::Unsafe } else { Code::Failed };
                    return self.refused(Failure { code, loses, why }, now, news);
                }
                (State::Starting { worker, due }, Ok(None)) if now < due => {
                    self.state = State::Starting { worker, due };
                    return;
                }
                (State::Stopping { worker, .. }, Ok(Some(FromWorker::Stopped))) => {
                    worker.end();
                    return self.begin(now, news);
                }
                (State::Stopping { worker, due, told }, Ok(None)) if now < due => {
                    self.state = State::Stopping { worker, due, told };
                    return;
                }
                (State::Stopping { worker, .. }, Ok(None) | Err(_)) => {
                    log::warn!(
                        "[{}] the worker did not come to its end: {}",
                        self.name(),
                        worker.end()
                    );
                    return self.begin(now, news);
                }
                (state @ State::Running(_), Ok(None)) => {
                    self.state = state;
                    return;
                }
                (state @ (State::Running(_) | State::Stopping { .. }), Ok(Some(message))) => {
                    self.state = state;
                    match message {
                        FromWorker::Connect(conn) => news.push(News::Connect(conn)),
                        FromWorker::Happening(what) => news.push(News::Happening(what)),
                        FromWorker::Report(report) => news.push(News::Report(report)),
                        FromWorker::Ready | FromWorker::Refused { .. } | FromWorker::Stopped => {}
                    }
                }
                (State::Starting { worker, .. } | State::Running(worker), lost) => {
                    let why = match lost {
                        Ok(None) => Some("said nothing in time".to_owned()),
                        Ok(Some(message)) => Some(format!("said {message:?} out of turn")),
                        Err(ChannelError::Closed) => None,
                        Err(error) => Some(error.to_string()),
                    };
                    return self.lost(worker, why, now, news);
                }
                (State::Idle | State::Down { .. }, _) => return,
            }
        }
    }

    fn name(&self) -> &str {
        &self.config.name
    }

    /// The worker is gone, or of no more use, without having been asked to end.
    fn lost(&mut self, worker: Worker, why: Option<String>, now: Instant, news: &mut Vec<News>) {
        if now.duration_since(worker.since) >= STEADY {
            self.deaths = 0;
        }
        self.deaths += 1;
        let title = worker.child.title().to_owned();
        let how = worker.end();
        let how = match why {
            None => how,
            Some(why) => format!("{why}; {how}"),
        };
        let why = format!("{title} is gone: {how}");
        // What was never had may be impossible: nobody tries on behind the back of who asked.
        if !self.had {
            return self.refused(Failure::new(why), now, news);
        }
        self.again(&why, now);
        news.push(News::Role(Err(Failure::new(how))));
    }

    /// Another worker is started after a while.
    fn again(&mut self, why: &str, now: Instant) {
        let wait = delay(self.deaths);
        log::error!("[{}] {why}; starting another in {} s", self.name(), wait.as_secs());
        self.state = State::Down { until: now + wait };
    }

    /// The last worker and its channel, for the ordered end.
    pub fn into_parts(self) -> Option<(Channel<ToWorker, FromWorker>, Child)> {
        if self.role == Role::Primary {
            dial::unexport(&self.config.export);
        }
        match self.state {
            State::Starting { worker, .. }
            | State::Stopping { worker, .. }
            | State::Running(worker) => Some((worker.channel, worker.child)),
            State::Idle | State::Down { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_back_off_to_a_minute() {
        let seconds: Vec<u64> = (1..10).map(|deaths| delay(deaths).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
