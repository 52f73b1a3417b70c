//! Flushes: of the local component and of the other node together, one round at a time.
//!
//! A client's flush, a write with FUA and the engine's own checkpoints all wait for a round that
//! began after they came; those that come while one is under way share the next. What a round on
//! both nodes covers needs no mark any more.

use super::remote::Owner;
use super::{About, Now, Parked, Primary, Waiter};
use crate::engine::Io;
use crate::engine::activemap::COOL;
use crate::wire::errno::Errno;
use crate::wire::request::Cmd;

/// How a round ended for those who waited.
pub type Flushed = Result<(), Errno>;

/// This long after the first write that no flush covers the engine looks whether it has to flush by
/// itself: if there is an extent that could be clean then.
const CHECKPOINT: Now = COOL;

/// If not, because all are being written to again and again, it looks again after this. To flush
/// then would bring everything to the disks, and nobody would gain by it.
const LOOK_AGAIN: Now = 1_000;

#[derive(Debug, Default)]
pub struct Rounds {
    current: Option<Round>,
    waiting: Vec<Waiter>,
    number: u64,
    checkpoint_at: Now,
    clean_at: Option<Now>,
    /// A flush of the local component has failed, and it cannot be given up yet. The system says
    /// once that it has lost something: what a later flush would say is not to be relied on.
    failing: Option<Errno>,
    /// One has failed, and no client has heard of it.
    unheard: Option<Errno>,
    /// The other node has been copied something to since the last round began there, and before.
    copied: bool,
    copied_before: bool,
}

#[derive(Debug)]
struct Round {
    number: u64,
    here: State,
    there: State,
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Done,
    /// No link, or it went.
    Lost,
    Failed(Errno),
}

impl Rounds {
    /// Clients that wait.
    pub fn clients(&self) -> usize {
        let current = self.current.iter().flat_map(|round| &round.waiters);
        current.chain(&self.waiting).filter(|w| matches!(w, Waiter::Client(..))).count()
    }

    /// The other node has been copied something to.
    pub fn copied(&mut self) {
        self.copied = true;
    }

    /// Whether it may have that in its cache only. Here it may have been flushed long ago.
    pub fn cached_there(&self) -> bool {
        self.copied || self.copied_before
    }

    /// Whether the local component cannot flush and is about to be given up for it.
    pub fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Whether nobody waits.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }
}

/// "Inappropriate ioctl", "operation not supported": a medium that has no volatile cache, or a
/// file; or one that cannot delete (B5).
pub fn unsupported(error: Errno) -> bool {
    error.0 == libc::ENOTTY || error.0 == libc::EOPNOTSUPP
}

impl Primary {
    /// Waits for a round that begins from now on.
    pub(super) fn join(&mut self, waiter: Waiter) {
        self.rounds.waiting.push(waiter);
    }

    /// A write ends: if it is the first that no flush covers, a checkpoint is due in a while.
    pub(super) fn flush_soon(&mut self) {
        if !self.map.unflushed() {
            self.rounds.checkpoint_at = self.now + CHECKPOINT;
        }
    }

    pub(super) fn start_round(&mut self) {
        if self.rounds.current.is_some() || self.rounds.waiting.is_empty() {
            return;
        }
        if self.rounds.is_failing() && !self.rounds.cached_there() {
            // With what is owed to the other node this one is given up, and a round can succeed.
            return;
        }
        let up = self.link.up();
        let waiters = std::mem::take(&mut self.rounds.waiting);
        if self.needs_peer() && !up {
            // The copy that counts is away.
            for waiter in waiters {
                self.flush_parked(waiter);
            }
            return;
        }
        self.rounds.number += 1;
        let number = self.rounds.number;
        let here = match self.rounds.failing {
            _ if self.detached.is_some() => State::Done,
            Some(error) => State::Failed(error),
            None => State::Going,
        };
        let there = match up {
            true if self.link.flushes() => State::Going,
            true => State::Done,
            false => State::Lost,
        };
        self.rounds.checkpoint_at = self.now + CHECKPOINT;
        self.rounds.current = Some(Round { number, here, there, waiters });
        self.map.begin_flush();
        self.rounds.copied_before |= std::mem::take(&mut self.rounds.copied);
        if here == State::Going {
            self.io(About::Flush, number, Io::Flush);
        }
        if there == State::Going {
            self.job(Owner::Flush(number), Cmd::Flush, 0, 0, None, false, false);
        }
        self.round_checked();
    }

    fn flush_parked(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Client(tag, since) => self.park(since, Parked::Flush(tag, since)),
            Waiter::Change(key) => self.change_unflushed(key),
            Waiter::Resync => self.resync_flushed(Err(Errno::EIO)),
            Waiter::Stop => self.stop_flushed(Err(Errno::EIO)),
            Waiter::Checkpoint => {}
        }
    }

    pub(super) fn flushed_here(&mut self, number: u64, result: Flushed) {
        let state = match result {
            Ok(()) => State::Done,
            Err(error) if unsupported(error) => State::Done,
            Err(error) => {
                self.counters.flush_errors += 1;
                log::error!("{}: flush: {error}", self.meta.resource);
                State::Failed(error)
            }
        };
        if let Some(round) = self.rounds.current.as_mut().filter(|r| r.number == number) {
            round.here = state;
            self.round_checked();
        }
    }

    pub(super) fn flushed_there(&mut self, number: u64, error: Option<Errno>) {
        match error {
            Some(error) if unsupported(error) => self.link.no_flush = true,
            Some(error) => {
                // A node that cannot make anything durable is not a replica: degraded first, then
                // the flush succeeds (H22).
                self.link_down(&format!("flush there: {error}"), super::link::Ended::ByUs);
                return self.flush_lost(number);
            }
            None => {}
        }
        self.flush_state(number, State::Done);
    }

    pub(super) fn flush_lost(&mut self, number: u64) {
        self.flush_state(number, State::Lost);
    }

    fn flush_state(&mut self, number: u64, state: State) {
        if let Some(round) = self.rounds.current.as_mut().filter(|r| r.number == number) {
            round.there = state;
            self.round_checked();
        }
    }

    fn round_checked(&mut self) {
        let Some(round) = &self.rounds.current else { return };
        if round.here == State::Going || round.there == State::Going {
            return;
        }
        let (here, there) = (round.here, round.there);
        let Some(round) = self.rounds.current.take() else { return };
        let both = here == State::Done && there == State::Done;
        self.rounds.copied_before &= there != State::Done;
        self.map.end_flush(both);
        let Some(result) = self.round_result(here, there) else {
            return self.rounds.waiting.extend(round.waiters);
        };
        if both {
            self.rounds.clean_at.get_or_insert(self.now + 1_000);
        }
        let away = self.needs_peer() && there != State::Done;
        let unheard = self.rounds.unheard.take().filter(|_| self.detached.is_none());
        let told = unheard.map_or(result, Err);
        let hears = |w: &Waiter| matches!(w, Waiter::Client(..) | Waiter::Change(_));
        if away || !round.waiters.iter().any(hears) {
            self.rounds.unheard = told.err();
        }
        if away && self.link.up() {
            // It was away, and is back.
            return self.rounds.waiting.extend(round.waiters);
        }
        for waiter in round.waiters {
            match waiter {
                _ if away => self.flush_parked(waiter),
                Waiter::Client(tag, since) => match told {
                    Ok(()) => self.flush_answer(tag, since),
                    Err(error) => self.answer(tag, Err(error)),
                },
                Waiter::Change(key) => self.change_flushed(key, told),
                Waiter::Resync => self.resync_flushed(if both { Ok(()) } else { Err(Errno::EIO) }),
                Waiter::Stop => self.stop_flushed(result),
                Waiter::Checkpoint => {}
            }
        }
    }

    /// How a round has ended; `None` if that is seen only once the other node has what it is owed.
    fn round_result(&mut self, here: State, there: State) -> Option<Flushed> {
        if let State::Failed(error) = here {
            // What the local cache has lost, the other node has, if it has all.
            if there == State::Done && self.owes_peer() {
                self.rounds.failing = Some(error);
                return None;
            }
            self.rounds.failing = None;
            let served = there == State::Done && (self.detached.is_some() || self.detach(error));
            return Some(if served { Ok(()) } else { Err(error) });
        }
        Some(Ok(()))
    }

    /// Nothing is owed to the other node any more: it serves alone, and the next round is its own; or
    /// it cannot, and those who wait for a flush hear that there was none.
    pub(super) fn round_given_up(&mut self) {
        if self.rounds.current.is_some() {
            return;
        }
        let Some(error) = self.rounds.failing.take() else { return };
        if self.detached.is_some() || self.detach(error) {
            return;
        }
        self.rounds.number += 1;
        let number = self.rounds.number;
        let waiters = std::mem::take(&mut self.rounds.waiting);
        let (here, there) = (State::Failed(error), State::Lost);
        self.rounds.current = Some(Round { number, here, there, waiters });
        self.map.begin_flush();
        self.round_checked();
    }

    /// The flush is done. If the other node has not all of what it covers, the disk has to know
    /// that before the client does.
    pub(super) fn flush_answer(&mut self, tag: u64, since: Now) {
        let waiter = Waiter::Client(tag, since);
        let alone = !self.needs_peer() && !self.map.to_peer().is_empty();
        if (!alone || self.is_alone(waiter)) && self.is_detached(waiter) {
            self.answer(tag, Ok(None));
        }
    }

    pub(super) fn flush_tick(&mut self) {
        let idle = self.rounds.is_idle();
        if self.link.up() && idle && self.map.unflushed() && self.now >= self.rounds.checkpoint_at {
            if self.map.unflushed_and_cool(self.now) {
                self.join(Waiter::Checkpoint);
            } else {
                self.rounds.checkpoint_at = self.now + LOOK_AGAIN;
            }
        }
        if self.rounds.clean_at.is_some_and(|at| self.now >= at) {
            self.map.clean(self.now, false);
            let busy = self.map.wanted().count();
            let differ = self.map.to_peer().count() + self.map.from_peer().count();
            let more = busy > differ + self.meta.keepdirty as usize;
            self.rounds.clean_at = more.then_some(self.now + COOL);
        }
    }

    pub(super) fn flush_time(&self) -> Option<Now> {
        let due = self.link.up() && self.rounds.is_idle() && self.map.unflushed();
        let checkpoint = due.then_some(self.rounds.checkpoint_at);
        checkpoint.into_iter().chain(self.rounds.clean_at).min()
    }
}
