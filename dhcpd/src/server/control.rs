//! What dhcpctl(8) asks, and when it is answered: between packets, in bounded pieces.
//!
//! One piece of one long answer is made a turn of the server's loop, and nobody is waited for: who
//! does not take its answers has a bounded number of them, and after a while no connection. What
//! changes leases is answered when it is on disk; what needs rights is asked of the parent.

mod answers;
mod session;

use super::Server;
use super::wait::Source;
use crate::ctl::message::{Answer, Request};
use crate::engine::Now;
use crate::engine::counters::Counters;
use crate::engine::inspect::PoolCount;
use crate::msg::{Process, Start, ToParent};
use nix::poll::{PollFd, PollFlags};
use proto::unix::{Acceptor, Error as ChannelError};
use session::{Session, Work};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

/// The most who ask at a time; who comes then waits in the listening socket.
const MOST: usize = 16;
/// The most of them who are not root.
const MOST_OTHERS: usize = 8;
/// Milliseconds for which nobody is accepted after that failed: out of descriptors, mostly, and who
/// waits in the listening socket would be seen again at once.
const PAUSE: u64 = 1000;
/// Milliseconds that somebody may take no answers, or ask for nothing.
const PATIENCE: u64 = 10_000;

/// The socket, and everybody who asks.
#[derive(Default)]
pub(super) struct Control {
    acceptor: Option<Acceptor>,
    /// Until when nobody is accepted, if so.
    pause: Option<u64>,
    sessions: Vec<Session>,
    /// The number of the next session, and whose turn it is to have a piece made.
    number: u64,
    turn: u64,
    /// Sessions that wait for the parent's answers, in the order they asked.
    reloads: VecDeque<u64>,
    censuses: VecDeque<u64>,
    /// When service began: seconds since the epoch, and milliseconds of the other clock.
    began: Option<Now>,
    counters: Counters,
    /// What the status tells of the start.
    config: String,
    lease_file: String,
    has_tables: bool,
}

impl Control {
    pub(super) fn new(socket: Option<OwnedFd>, start: &Start, now: Now) -> Control {
        Control {
            acceptor: socket.map(Acceptor::from_fd),
            began: Some(now),
            config: start.config.clone(),
            lease_file: start.leases.clone(),
            has_tables: !start.tables.is_empty(),
            ..Control::default()
        }
    }

    /// What to wait for.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let room = self.sessions.len() < MOST && self.pause.is_none();
        let listening = self.acceptor.iter().filter(move |_| room);
        let listening = listening.map(|acceptor| PollFd::new(acceptor.as_fd(), PollFlags::POLLIN));
        listening.chain(self.sessions.iter().filter_map(Session::poll_fd))
    }

    /// When there is something to do even if nothing comes, in milliseconds.
    pub(super) fn due(&self) -> Option<u64> {
        self.sessions.iter().filter_map(Session::due).chain(self.pause).min()
    }

    fn accept(&mut self, now: Now) {
        self.pause = self.pause.filter(|until| now.mono < *until);
        let Some(acceptor) = self.acceptor.as_ref().filter(|_| self.pause.is_none()) else {
            return;
        };
        // Who is turned away may come again and again, faster than this ends.
        for _ in self.sessions.len()..MOST {
            match acceptor.accept() {
                Ok(Some(connection)) => {
                    self.counters.control_clients += 1;
                    let others = self.sessions.iter().filter(|s| !s.may_change()).count();
                    let session = Session::new(connection, self.number, now);
                    if !session.may_change() && others >= MOST_OTHERS {
                        self.counters.control_dropped += 1;
                        continue;
                    }
                    self.number += 1;
                    self.sessions.push(session);
                }
                Ok(None) => return,
                Err(error) => {
                    log::warn!("dhcpctl: {error}");
                    self.pause = Some(now.mono.saturating_add(PAUSE));
                    return;
                }
            }
        }
    }

    fn session(&mut self, number: u64) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.number == number)
    }

    /// The session whose turn it is to have a piece made, after which it is the next one's.
    fn next_piece(&mut self) -> Option<usize> {
        let waits = |session: &Session| session.wants_piece();
        let turn = self.turn;
        let later = self.sessions.iter().position(|s| waits(s) && s.number >= turn);
        let index = later.or_else(|| self.sessions.iter().position(waits))?;
        self.turn = self.sessions.get(index)?.number + 1;
        Some(index)
    }
}

impl Server<'_> {
    /// Takes in what is asked, and answers what can be.
    pub(super) fn serve_control(&mut self, now: Now) -> Result<(), String> {
        let woken = self.is_ready(Source::Control);
        if woken || self.control.pause.is_some() {
            self.control.accept(now);
        }
        for index in 0..self.control.sessions.len() {
            let Some(session) = self.control.sessions.get_mut(index) else { break };
            match session.hear(woken, now) {
                Ok(None) => {}
                Ok(Some(request)) => self.take_request(index, request, now)?,
                Err(why) => session.end(why),
            }
        }
        if let Some(index) = self.control.next_piece() {
            self.make_piece(index, now);
        }
        let Server { control, leases, .. } = self;
        for session in &mut control.sessions {
            if let Work::Disk { ticket, done } = &mut session.work
                && let Some(outcome) = leases.outcome(*ticket)
            {
                let done = std::mem::take(done);
                session.answer(match outcome {
                    Ok(()) => Answer::Done(done),
                    Err(why) => Answer::Failed(format!("{done}, but that is not on disk: {why}")),
                });
                session.finish();
            }
            session.send(now);
        }
        for session in control.sessions.extract_if(.., |session| session.is_over()) {
            if let Some(why) = session.reason() {
                control.counters.control_dropped += 1;
                log::warn!("dhcpctl: {}: {why}", session.peer());
            }
        }
        Ok(())
    }

    fn take_request(&mut self, index: usize, request: Request, now: Now) -> Result<(), String> {
        let Some(session) = self.control.sessions.get_mut(index) else { return Ok(()) };
        let peer = session.peer();
        log::debug!("dhcpctl: {peer} asks for {request}");
        if !request.is_harmless() && !session.may_change() {
            self.control.counters.control_refused += 1;
            log::warn!("dhcpctl: {peer} may not ask for {}", request.name());
            session.fail(format!("{}: only root may ask for that", request.name()));
            return Ok(());
        }
        let number = session.number;
        match request {
            Request::Status => {
                session.work = Work::Census;
                self.control.censuses.push_back(number);
                self.ask_parent(&ToParent::WantChildren)
            }
            Request::Reload => {
                session.work = Work::Reload;
                self.control.reloads.push_back(number);
                self.ask_parent(&ToParent::WantReload { who: format!("dhcpctl: {peer}") })
            }
            Request::Leases(filter) => {
                session.work = Work::Leases { filter: Box::new(filter), cursor: 0 };
                Ok(())
            }
            Request::Pools => {
                session.work = Work::Pools { count: Box::<PoolCount>::default(), from: None };
                Ok(())
            }
            Request::ShowAddress(address) => {
                let filter = crate::engine::inspect::Filter {
                    addresses: Some((address, address)),
                    ..Default::default()
                };
                let facts = self.engine.facts(address).into_iter();
                facts.for_each(|(name, value)| session.answer(Answer::Fact(name, value)));
                session.work = Work::Leases { filter: Box::new(filter), cursor: 0 };
                Ok(())
            }
            Request::ShowHardware(hardware) => {
                let facts = self.engine.facts_of_hardware(&hardware).into_iter();
                facts.for_each(|(name, value)| session.answer(Answer::Fact(name, value)));
                let filter = crate::engine::inspect::Filter {
                    hardware: Some(hardware),
                    ..Default::default()
                };
                session.work = Work::Leases { filter: Box::new(filter), cursor: 0 };
                Ok(())
            }
            Request::Why(question) => {
                match self.engine.why(&question, now) {
                    Ok(explanation) => {
                        let steps = explanation.steps.into_iter().map(Answer::Step);
                        steps.for_each(|step| session.answer(step));
                        let facts = explanation.answer.into_iter();
                        facts.for_each(|(name, value)| session.answer(Answer::Fact(name, value)));
                        session.finish();
                    }
                    Err(why) => session.fail(why),
                }
                Ok(())
            }
            Request::Counters => {
                let counters = self.all_counters();
                self.control.sessions[index].answer_counters(&counters);
                Ok(())
            }
            Request::Order(order, address) => {
                let before = self.leases.committed();
                let result = self.engine.order(order, address, now, &mut self.actions);
                let records = self.actions.records;
                self.act(now);
                let session = &mut self.control.sessions[index];
                match result {
                    Err(why) => session.fail(why),
                    Ok(done) => {
                        log::info!("dhcpctl: {peer}: {done}");
                        if records == 0 {
                            session.answer(Answer::Done(done));
                            session.finish();
                        } else if self.leases.committed() == before {
                            let why = "too much waits for the disk";
                            session.fail(format!("{done}, but that is not on disk: {why}"));
                        } else {
                            session.work = Work::Disk { ticket: self.leases.watch(), done };
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn ask_parent(&self, message: &ToParent) -> Result<(), String> {
        match self.parent.send(message) {
            // A parent that is gone is noticed where it is listened to.
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(format!("tell the parent {message:?}: {error}")),
        }
    }

    /// The parent has read the configuration again, or has not.
    pub(super) fn reloaded(&mut self, outcome: Result<(), String>) {
        let number = self.control.reloads.pop_front();
        let Some(session) = number.and_then(|number| self.control.session(number)) else { return };
        match outcome {
            Ok(()) => {
                session.answer(Answer::Done("reloaded".to_owned()));
                session.finish();
            }
            Err(why) => session.fail(why),
        }
    }

    /// The parent has said which processes there are.
    pub(super) fn counted(&mut self, processes: Vec<Process>) {
        let status = self.status(processes);
        let number = self.control.censuses.pop_front();
        if let Some(session) = number.and_then(|number| self.control.session(number)) {
            session.answer(Answer::Status(Box::new(status)));
            session.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// A socket on which nobody can be accepted, as on any when there is no descriptor left.
    #[test]
    fn nobody_is_accepted_for_a_second_after_that_failed() {
        let socket = UnixDatagram::unbound().expect("a socket");
        let acceptor = Some(Acceptor::from_fd(socket.into()));
        let mut control = Control { acceptor, ..Control::default() };
        let at = |mono| Now { wall: 0, mono };
        assert_eq!((control.poll_fds().count(), control.due()), (1, None));
        control.accept(at(5000));
        assert_eq!((control.poll_fds().count(), control.due()), (0, Some(6000)));
        control.accept(at(5999));
        assert_eq!((control.poll_fds().count(), control.due()), (0, Some(6000)));
        // It is tried again, and fails again.
        control.accept(at(6000));
        assert_eq!((control.poll_fds().count(), control.due()), (0, Some(7000)));
        control.acceptor = None;
        control.accept(at(7000));
        assert_eq!(control.due(), None);
    }
}
