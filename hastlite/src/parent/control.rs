//! What hastctl(8) asks, and when it is answered: each resource in its turn, once its worker has
//! said what came of it. Who may ask is decided by the socket's mode: root.

use super::{Parent, role_name, volume};
use crate::ctl::message::{Answer, Code, Request, Resource, Selection, Worker};
use crate::engine::Role;
use crate::msg::{Report, ToWorker};
use nix::poll::{PollFd, PollFlags};
use proto::unix::{Connection, Error as ChannelError, Listener};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a worker may take to say how things stand.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most that ask at a time; whoever comes then waits in the listening socket.
const MOST: usize = 32;

/// Why a role was not had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// Bytes that would have been lost, if that is why and it is known.
    pub loses: Option<u64>,
    /// For people.
    pub why: String,
}

impl Failure {
    /// Of the component, the export or a process.
    pub fn new(why: String) -> Self {
        Failure { code: Code::Failed, loses: None, why }
    }
}

/// What is still to be answered of a request.
enum Item {
    /// The role is changing.
    Role { resource: String, role: Role, before: Role },
    /// The worker was asked.
    Status { resource: Box<Resource>, pid: u32, due: Instant },
    /// It is known.
    Known(Answer),
}

/// Somebody who asks.
struct Session {
    connection: Connection<Answer, Request>,
    /// `None` between requests.
    items: Option<VecDeque<Item>>,
    /// Since when it has had no room for an answer.
    full: Option<Instant>,
    /// The daemon is to end after the answer.
    stop: bool,
}

/// The socket, and everybody who asks.
pub struct Control {
    listener: Listener,
    sessions: Vec<Session>,
}

impl Control {
    /// Begins to listen.
    pub fn bind(path: &Path) -> Result<Self, String> {
        let listener = Listener::bind(path, 0o600).map_err(|e| e.to_string())?;
        Ok(Control { listener, sessions: Vec::new() })
    }

    /// What to wait for.
    pub fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::with_capacity(self.sessions.len() + 1);
        if self.sessions.len() < MOST {
            fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        fds.extend(self.sessions.iter().filter_map(|session| {
            let events = match (session.full, &session.items) {
                (Some(_), _) => PollFlags::POLLOUT,
                (None, None) => PollFlags::POLLIN,
                // That it is gone is seen when there is an answer: until then that would be told
                // again and again.
                (None, Some(_)) => return None,
            };
            Some(PollFd::new(session.connection.channel.as_fd(), events))
        }));
        fds
    }

    /// When a worker has taken too long to answer, or somebody to take an answer.
    pub fn due(&self) -> Option<Instant> {
        let items = self.sessions.iter().filter_map(|session| session.items.as_ref()).flatten();
        let full = self.sessions.iter().filter_map(|session| session.full);
        items
            .filter_map(|item| match item {
                Item::Status { due, .. } => Some(*due),
                Item::Role { .. } | Item::Known(_) => None,
            })
            .chain(full.map(|since| since + PATIENCE))
            .min()
    }

    /// A role has come about, or cannot.
    pub fn role_done(&mut self, name: &str, outcome: &Result<(), Failure>) {
        for item in self.items() {
            if let Item::Role { resource, before, .. } = item
                && resource == name
            {
                let resource = std::mem::take(resource);
                *item = Item::Known(match outcome {
                    Ok(()) => Answer::Done { resource, before: *before },
                    Err(Failure { code, loses, why }) => {
                        Answer::Failed { resource, code: *code, why: why.clone(), loses: *loses }
                    }
                });
            }
        }
    }

    /// Whoever waits for another role than this one, or for any if there is none, waits in vain.
    pub fn superseded(&mut self, name: &str, by: Option<Role>) {
        for item in self.items() {
            if let Item::Role { resource, role, .. } = item
                && resource == name
                && by != Some(*role)
            {
                let why = match by {
                    Some(role) => format!("it was told to be {} meanwhile", role_name(role)),
                    None => "it is in no configuration any more".to_owned(),
                };
                let (resource, code) = (std::mem::take(resource), Code::Failed);
                *item = Item::Known(Answer::Failed { resource, code, why, loses: None });
            }
        }
    }

    /// A worker has said how things stand.
    pub fn report_done(&mut self, name: &str, report: &Report) {
        for item in self.items() {
            if let Item::Status { resource, pid, .. } = item
                && resource.name == name
            {
                let mut resource = resource.clone();
                let Report { status, syncing, volume, objection } = report.clone();
                resource.worker = Some(Worker { pid: *pid, status, syncing });
                resource.volume = Some(volume);
                resource.objection = objection;
                *item = Item::Known(Answer::Status(resource));
            }
        }
    }

    fn items(&mut self) -> impl Iterator<Item = &mut Item> {
        self.sessions.iter_mut().filter_map(|session| session.items.as_mut()).flatten()
    }
}

impl Parent {
    /// Takes in what is asked, and answers what can be.
    pub(super) fn hear_control(&mut self, now: Instant) {
        while self.control.sessions.len() < MOST {
            match self.control.listener.accept() {
                Ok(Some(connection)) => {
                    let session = Session { connection, items: None, full: None, stop: false };
                    self.control.sessions.push(session);
                }
                Ok(None) => break,
                Err(error) => {
                    log::warn!("hastctl: {error}");
                    break;
                }
            }
        }
        let mut index = 0;
        while index < self.control.sessions.len() {
            match self.hear_session(index, now) {
                Ok(()) => index += 1,
                Err(why) => {
                    if let Some(why) = why {
                        log::warn!("hastctl: {why}");
                    }
                    drop(self.control.sessions.swap_remove(index));
                }
            }
        }
    }

    /// The error is why the session is over; none if it came to its end.
    fn hear_session(&mut self, index: usize, now: Instant) -> Result<(), Option<String>> {
        let Some(session) = self.control.sessions.get_mut(index) else { return Ok(()) };
        if session.items.is_none() {
            match session.connection.channel.try_recv() {
                Ok(None) => return Ok(()),
                Err(ChannelError::Closed) => return Err(None),
                Err(error) => return Err(Some(error.to_string())),
                Ok(Some(request)) => {
                    let peer = session.connection.peer;
                    log::debug!("hastctl: {peer} asks for {request:?}");
                    self.ask(index, request, now);
                }
            }
        }
        let Some(session) = self.control.sessions.get_mut(index) else { return Ok(()) };
        session.answer(now).map_err(Some)?;
        if session.stop && session.items.is_none() {
            log::info!("hastctl: {} asked us to end", session.connection.peer);
            self.quit = true;
        }
        Ok(())
    }

    fn ask(&mut self, index: usize, request: Request, now: Instant) {
        let known: Vec<String> = self.resources.keys().cloned().collect();
        let all = |of: Selection| match of {
            Selection::All => known.clone(),
            Selection::Named(names) => names,
        };
        let stop = request == Request::Stop;
        let mut changes = Vec::new();
        let items: VecDeque<Item> = match request {
            Request::Role { role, force, of } => {
                let names = all(of);
                changes.extend(names.iter().map(|name| (name.clone(), role, force)));
                names.into_iter().map(|name| self.role_item(name, role)).collect()
            }
            Request::Stop => {
                changes.extend(known.iter().map(|name| (name.clone(), Role::Init, false)));
                known.into_iter().map(|name| self.role_item(name, Role::Init)).collect()
            }
            Request::Status { of } => {
                let names = all(of);
                names.into_iter().map(|name| self.status_item(name, now)).collect()
            }
            Request::Discard { of } => of.into_iter().map(|name| self.discard(name)).collect(),
        };
        if let Some(session) = self.control.sessions.get_mut(index) {
            session.items = Some(items);
            session.stop = stop;
        }
        for (name, role, force) in changes {
            self.change(&name, role, force, now);
        }
    }

    fn role_item(&self, resource: String, role: Role) -> Item {
        match self.resources.get(&resource) {
            Some(managed) => Item::Role { before: managed.role(), resource, role },
            None => no_entry(resource),
        }
    }

    fn status_item(&self, name: String, now: Instant) -> Item {
        let Some(managed) = self.resources.get(&name) else { return no_entry(name) };
        let mut resource = Box::new(Resource::of(&managed.config, managed.role()));
        match managed.worker().and_then(|pid| u32::try_from(pid).ok()) {
            Some(pid) if managed.tell(&ToWorker::Report) => {
                Item::Status { resource, pid, due: now + PATIENCE }
            }
            _ => {
                let config = &managed.config;
                (resource.volume, resource.objection) = volume::look(&config.local, &config.name);
                Item::Known(Answer::Status(resource))
            }
        }
    }

    /// Gives up what this node has written alone.
    fn discard(&self, resource: String) -> Item {
        let Some(managed) = self.resources.get(&resource) else { return no_entry(resource) };
        let before = managed.role();
        let config = &managed.config;
        let done = match managed.is_idle() {
            true => volume::discard(&config.local, &config.name).map_err(Failure::new),
            false => Err(Failure {
                code: Code::Invalid,
                loses: None,
                why: format!("it is {}: set it to init first", role_name(before)),
            }),
        };
        Item::Known(match done {
            Ok(()) => Answer::Done { resource, before },
            Err(Failure { code, loses, why }) => Answer::Failed { resource, code, loses, why },
        })
    }
}

fn no_entry(resource: String) -> Item {
    let why = "there is no such resource".to_owned();
    Item::Known(Answer::Failed { resource, code: Code::NoEntry, why, loses: None })
}

impl Session {
    /// Sends what is known, in the order of the request and as long as there is room. A worker that
    /// does not answer in time is answered for.
    fn answer(&mut self, now: Instant) -> Result<(), String> {
        while let Some(items) = &mut self.items {
            let answer = match items.pop_front() {
                Some(Item::Known(answer)) => answer,
                Some(Item::Status { resource, due, .. }) if now >= due => Answer::Status(resource),
                Some(waiting) => {
                    items.push_front(waiting);
                    return Ok(());
                }
                None => Answer::End,
            };
            match self.connection.channel.try_send(&answer) {
                Ok(true) => self.full = None,
                Ok(false) if now < *self.full.get_or_insert(now) + PATIENCE => {
                    items.push_front(Item::Known(answer));
                    return Ok(());
                }
                Ok(false) => return Err("does not take its answers".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
            if answer == Answer::End {
                self.items = None;
            }
        }
        Ok(())
    }
}
