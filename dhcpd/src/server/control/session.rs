//! Somebody who asks: what is still to be answered, and what waits to be taken.

use super::PATIENCE;
use crate::ctl::message::{Answer, Counter, Request};
use crate::engine::Now;
use crate::engine::counters::Counters;
use crate::engine::inspect::{Filter, PoolCount};
use nix::poll::{PollFd, PollFlags};
use proto::unix::{Connection, Error as ChannelError, Peer};
use std::collections::VecDeque;
use std::os::fd::AsFd;

/// What a request still needs.
pub(super) enum Work {
    /// Nothing: the next one may come.
    None,
    /// The leases from the cursor on.
    Leases { filter: Box<Filter>, cursor: u64 },
    /// All leases counted, and then the ranges from a number on.
    Pools { count: Box<PoolCount>, from: Option<usize> },
    /// A record on disk, after which this is done.
    Disk { ticket: u64, done: String },
    /// The parent's word about a reload.
    Reload,
    /// The parent's word about processes.
    Census,
}

/// How it is with the connection.
enum State {
    Open,
    /// It is over, and if that is a reason to say so, why.
    Over(Option<String>),
}

pub(super) struct Session {
    pub(super) number: u64,
    pub(super) work: Work,
    connection: Connection<Answer, Request>,
    /// Answers that have not been taken.
    answers: VecDeque<Answer>,
    /// Since when it has taken none, or asked for nothing.
    since: u64,
    blocked: bool,
    state: State,
}

impl Session {
    pub(super) fn new(connection: Connection<Answer, Request>, number: u64, now: Now) -> Session {
        Session {
            number,
            work: Work::None,
            connection,
            answers: VecDeque::new(),
            since: now.mono,
            blocked: false,
            state: State::Open,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.connection.peer
    }

    /// Root may ask for everything; who else may connect, for what is harmless.
    pub(super) fn may_change(&self) -> bool {
        self.connection.peer.uid == 0
    }

    fn is_idle(&self) -> bool {
        self.answers.is_empty() && matches!(self.work, Work::None)
    }

    /// Whether a piece of a long answer is to be made: not before the last one was taken.
    pub(super) fn wants_piece(&self) -> bool {
        self.answers.is_empty()
            && matches!(self.work, Work::Leases { .. } | Work::Pools { .. })
            && matches!(self.state, State::Open)
    }

    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        if let State::Over(_) = self.state {
            return None;
        }
        let events = match (self.blocked, self.is_idle()) {
            (true, _) => PollFlags::POLLOUT,
            (false, true) => PollFlags::POLLIN,
            // That it is gone is seen when there is an answer: until then that would be told again
            // and again.
            (false, false) => return None,
        };
        Some(PollFd::new(self.connection.channel.as_fd(), events))
    }

    /// When something is to be done about it, in milliseconds.
    pub(super) fn due(&self) -> Option<u64> {
        if let State::Over(_) = self.state {
            return None;
        }
        // What the parent said came after this turn's answers had been sent.
        if self.wants_piece() || (!self.answers.is_empty() && !self.blocked) {
            return Some(0);
        }
        (self.blocked || self.is_idle()).then(|| self.since.saturating_add(PATIENCE))
    }

    /// The next request, once everything has been answered; `readable` if there may be one.
    pub(super) fn hear(
        &mut self,
        readable: bool,
        now: Now,
    ) -> Result<Option<Request>, Option<String>> {
        if !self.is_idle() || matches!(self.state, State::Over(_)) {
            return Ok(None);
        }
        match if readable { self.connection.channel.try_recv() } else { Ok(None) } {
            Ok(Some(request)) => {
                self.since = now.mono;
                Ok(Some(request))
            }
            Ok(None) if now.mono >= self.since.saturating_add(PATIENCE) => Err(None),
            Ok(None) => Ok(None),
            Err(ChannelError::Closed) => Err(None),
            Err(error) => Err(Some(error.to_string())),
        }
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.push_back(answer);
    }

    /// Everything that was asked for has been answered.
    pub(super) fn finish(&mut self) {
        self.work = Work::None;
        self.answers.push_back(Answer::End);
    }

    /// It has not been, or not all of it.
    pub(super) fn fail(&mut self, why: String) {
        self.answers.push_back(Answer::Failed(why));
        self.finish();
    }

    pub(super) fn answer_counters(&mut self, counters: &Counters) {
        let rows = Counter::all(counters);
        self.answers.extend(rows.chunks(64).map(|rows| Answer::Counters(rows.to_vec())));
        self.finish();
    }

    /// Sends what there is, as long as there is room.
    pub(super) fn send(&mut self, now: Now) {
        if let State::Over(_) = self.state {
            return;
        }
        while let Some(answer) = self.answers.front() {
            match self.connection.channel.try_send(answer) {
                Ok(true) => {
                    self.answers.pop_front();
                    self.blocked = false;
                    self.since = now.mono;
                }
                Ok(false) if !self.blocked => {
                    self.blocked = true;
                    self.since = now.mono;
                    return;
                }
                Ok(false) if now.mono < self.since.saturating_add(PATIENCE) => return,
                Ok(false) => return self.end(Some("does not take its answers".to_owned())),
                Err(ChannelError::Closed) => return self.end(None),
                Err(error) => return self.end(Some(error.to_string())),
            }
        }
    }

    pub(super) fn end(&mut self, why: Option<String>) {
        self.state = State::Over(why);
    }

    /// Whether it can be forgotten: not while the disk or the parent has still to answer for it.
    pub(super) fn is_over(&self) -> bool {
        let owed = matches!(self.work, Work::Disk { .. });
        matches!(self.state, State::Over(_)) && !owed
    }

    pub(super) fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Over(why) => why.as_deref(),
            State::Open => None,
        }
    }
}
