//! Writes, trims and writes of zeroes: one life for all three, as all three change the data (H4).
//!
//! Range lock, then the extents' bits durable, then both nodes at once, then the answer as the mode
//! says. The lock and the extents are given back when both nodes have ended it, which may be after
//! the answer.

use super::flush::Flushed;
use super::remote::Owner;
use super::wait::Wait;
use super::{About, Key, Parked, Primary, Waiter};
use crate::Data;
use crate::engine::ranges;
use crate::engine::{ClientRequest, Io, Now, Op, Replication};
use crate::wire::errno::Errno;
use crate::wire::hello::SyncSource;
use crate::wire::request::Cmd;
use std::ops::Range;

#[derive(Debug)]
pub struct Change {
    tag: u64,
    op: Op,
    offset: u64,
    length: u64,
    fua: bool,
    data: Option<Data>,
    since: Now,
    lock: ranges::Key,
    /// For its lock.
    pub waits: Option<Wait>,
    extents: Range<usize>,
    mode: Replication,
    here: Here,
    there: There,
    /// Parts without a final reply.
    unfinal: u64,
    /// Parts that the other node has not received.
    unreceived: u64,
    /// Why a part failed there.
    error: Option<Errno>,
    /// What it depends on is being made durable.
    proving: bool,
    flushed: bool,
    answered: bool,
    released: bool,
}

/// On the local component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    Idle,
    Going,
    Done,
    Failed(Errno),
}

/// On the other node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Idle,
    Going,
    Done,
    /// Never sent, or the link went: it may be there or not.
    Lost,
    Failed(Errno),
}

/// What the two ends come to.
enum Outcome {
    Wait,
    Good,
    /// Here only, and the counters must say so first.
    Alone,
    /// There only: the local copy is of no use from now on.
    Detach(Errno),
    /// Nothing is lost, but only the other node counts, and it is away.
    Park,
    Fail(Errno),
}

impl Change {
    /// It has been answered, and the other node has still to do it.
    pub fn is_owed(&self) -> bool {
        self.answered && self.there == There::Going
    }
}

impl Primary {
    pub(super) fn change(&mut self, request: ClientRequest) {
        let ClientRequest { tag, op, offset, length, fua, data } = request;
        let extents = self.map.range(offset, length);
        let key = self.changes.add(Change {
            tag,
            op,
            offset,
            length,
            fua,
            data,
            since: self.now,
            lock: ranges::Key::default(),
            waits: None,
            extents,
            mode: self.settings.replication,
            here: Here::Idle,
            there: There::Idle,
            unfinal: 0,
            unreceived: 0,
            error: None,
            proving: false,
            flushed: false,
            answered: false,
            released: false,
        });
        let (lock, held) = self.ranges.lock(key, offset, length);
        let waits = (!held).then(|| self.wait_begins(key, self.now));
        if let Some(change) = self.changes.get_mut(key) {
            (change.lock, change.waits) = (lock, waits);
        }
        if held {
            self.change_locked(key);
        }
    }

    pub(super) fn change_locked(&mut self, key: Key) {
        let Some(change) = self.changes.get_mut(key) else { return };
        let (extents, waits) = (change.extents.clone(), change.waits.take());
        self.wait_ends(waits);
        match self.map.begin_write(extents, self.now) {
            Some(update) => self.wait_for_map(update, key),
            None => self.change_goes(key),
        }
    }

    /// Both nodes are given it, or the one that there is.
    pub(super) fn change_goes(&mut self, key: Key) {
        let (up, needs_peer, detached) =
            (self.link.up(), self.needs_peer(), self.detached.is_some());
        let Some(change) = self.changes.get_mut(key) else { return };
        if needs_peer && !up {
            let since = change.since;
            return self.park(since, Parked::Change(key));
        }
        let (offset, length, extents) = (change.offset, change.length, change.extents.clone());
        let first = change.here == Here::Idle;
        if first {
            change.here = if detached { Here::Failed(Errno::EIO) } else { Here::Going };
        }
        let io = match (change.op, &change.data) {
            (Op::Write, Some(data)) => Io::Write { offset, data: data.clone() },
            // Trimmed blocks read as zeroes, so that both nodes read the same.
            _ => Io::Zero { offset, length },
        };
        if first && !detached {
            self.io(About::Change, key, io);
        }
        if detached {
            self.mark(extents.clone(), SyncSource::Secondary);
        }
        if up {
            self.change_sent(key);
        } else {
            // It is to be synchronised before it can be answered, and its bits are durable.
            self.mark(extents, SyncSource::Primary);
            if let Some(change) = self.changes.get_mut(key) {
                change.there = There::Lost;
            }
        }
    }

    fn change_sent(&mut self, key: Key) {
        let Some(change) = self.changes.get(key) else { return };
        debug_assert!(!change.released, "sent without its lock, and perhaps without its data");
        let (offset, length, data) = (change.offset, change.length, change.data.clone());
        let by_delete = match change.op {
            Op::Write => false,
            Op::Zero => self.link.deletes() && self.link.delete_zeroes(),
            _ => self.link.deletes(),
        };
        let cmd = if by_delete { Cmd::Delete } else { Cmd::Write };
        // Where only the other node counts, that it has received the data is not enough anyway.
        let early = change.mode == Replication::Memsync && !self.needs_peer();
        let memsync = !by_delete && early && self.link.memsync();
        let patient = change.mode == Replication::Async;
        let parts = self.job(Owner::Change(key), cmd, offset, length, data, memsync, patient);
        if let Some(change) = self.changes.get_mut(key) {
            change.there = There::Going;
            change.error = None;
            (change.unfinal, change.unreceived) = (parts, parts);
        }
    }

    pub(super) fn change_stored(&mut self, key: Key, result: Result<(), Errno>) {
        let Some(change) = self.changes.get_mut(key) else { return };
        change.here = match result {
            Ok(()) => Here::Done,
            Err(error) => {
                match change.op {
                    Op::Write => self.counters.write_errors += 1,
                    _ => self.counters.delete_errors += 1,
                }
                let (offset, length) = (change.offset, change.length);
                let name = &self.meta.resource;
                log::error!("{name}: write {length} bytes at {offset}: {error}");
                Here::Failed(error)
            }
        };
        self.change_checked(key);
    }

    /// The other node has the data of a part in memory.
    pub(super) fn change_received(&mut self, key: Key) {
        let Some(change) = self.changes.get_mut(key) else { return };
        change.unreceived = change.unreceived.saturating_sub(1);
        if change.unreceived == 0 {
            self.change_checked(key);
        }
    }

    /// A part has been done there. Where it was to be deleted, and the node cannot do that, zeroes
    /// are sent instead (B5), in `more` parts.
    pub(super) fn change_replied(&mut self, key: Key, received: bool, error: Option<Errno>) {
        let Some(change) = self.changes.get_mut(key) else { return };
        change.unfinal = change.unfinal.saturating_sub(1);
        if !received {
            change.unreceived = change.unreceived.saturating_sub(1);
        }
        change.error = change.error.or(error);
        if change.unfinal == 0 && change.there == There::Going {
            change.there = match change.error {
                Some(error) => There::Failed(error),
                None => There::Done,
            };
        }
        if change.unfinal == 0 || change.unreceived == 0 {
            self.change_checked(key);
        }
    }

    /// A part has become so many more.
    pub(super) fn change_more(&mut self, key: Key, parts: u64) {
        if let Some(change) = self.changes.get_mut(key) {
            change.unfinal += parts;
            change.unreceived += parts;
        }
    }

    /// Whether it has been answered, and the other node has not said that it has received it.
    pub(super) fn change_is_here_only(&self, key: Key) -> bool {
        let here_only = |c: &Change| c.is_owed() && c.unreceived > 0;
        !self.needs_peer() && self.changes.get(key).is_some_and(here_only)
    }

    pub(super) fn change_lost(&mut self, key: Key) {
        if let Some(change) = self.changes.get_mut(key)
            && change.there == There::Going
        {
            change.there = There::Lost;
            self.change_checked(key);
        }
    }

    /// The link has gone while only the other node counted. What it has done may have been in its
    /// cache, and that it has gone may be a loss of its power: whoever has had no answer yet is not
    /// answered by that any more.
    pub(super) fn changes_doubted(&mut self) {
        for key in self.changes.keys() {
            let Some(change) = self.changes.get_mut(key) else { continue };
            if change.answered {
                continue;
            }
            if change.released {
                // There is no lock to send it again by.
                self.change_answered(key, Err(Errno::EIO));
            } else if change.there == There::Done {
                change.there = There::Lost;
            }
        }
    }

    /// What its answer depends on is durable, or cannot be made so.
    pub(super) fn change_proven(&mut self, key: Key, result: Result<(), Errno>) {
        let Some(change) = self.changes.get_mut(key) else { return };
        change.proving = false;
        match result {
            Ok(()) => self.change_checked(key),
            Err(error) => {
                self.change_answered(key, Err(error));
                self.change_released(key);
            }
        }
    }

    pub(super) fn change_flushed(&mut self, key: Key, result: Flushed) {
        if let Some(change) = self.changes.get_mut(key) {
            change.flushed = true;
            self.change_proven(key, result);
        }
    }

    /// The flush that it waited for was not done by the node that counts, which is away.
    pub(super) fn change_unflushed(&mut self, key: Key) {
        let Some(change) = self.changes.get_mut(key) else { return };
        if change.released {
            return self.change_flushed(key, Err(Errno::EIO));
        }
        change.proving = false;
        change.there = There::Lost;
        self.change_checked(key);
    }

    fn outcome(&self, change: &Change) -> Outcome {
        let needs_peer = self.needs_peer();
        // While the local component is about to be given up, nothing is promised that the other
        // node has not done: otherwise there might never be a moment to do it.
        let strict = change.fua
            || needs_peer
            || self.gives_up()
            || change.mode == Replication::Fullsync
            || (change.mode == Replication::Async && self.remote.is_behind());
        // What a node received that is not complete is no copy: that it is not, it may not have
        // stored yet, and after a loss of power nothing there would tell.
        let partial = || change.extents.clone().any(|e| self.map.to_peer().has(e));
        match (change.here, change.there) {
            (Here::Idle | Here::Going, _) | (_, There::Idle) => Outcome::Wait,
            (Here::Done, There::Done) => Outcome::Good,
            (Here::Done, There::Going) if strict => Outcome::Wait,
            (Here::Done, There::Going) => match change.mode {
                Replication::Memsync if change.unreceived > 0 || partial() => Outcome::Wait,
                // A part that failed there is not a part that is there.
                _ if change.error.is_some() => Outcome::Wait,
                _ => Outcome::Good,
            },
            // It was done alone, and the other node has had it since: it was given up here only
            // after that (see `detach`). There is nothing to be sent again, and no lock to do it by.
            (Here::Done, There::Lost | There::Failed(_)) if needs_peer && change.released => {
                Outcome::Good
            }
            (Here::Done, There::Lost) if needs_peer => Outcome::Park,
            (Here::Done, There::Failed(error)) if needs_peer => Outcome::Fail(error),
            (Here::Done, There::Lost | There::Failed(_)) => Outcome::Alone,
            (Here::Failed(_), There::Going) => Outcome::Wait,
            (Here::Failed(error), There::Done) => Outcome::Detach(error),
            (Here::Failed(_), There::Lost) if self.detached.is_some() => Outcome::Park,
            // Nobody has it (A1).
            (Here::Failed(_), There::Failed(error)) if self.detached.is_some() => {
                Outcome::Fail(error)
            }
            (Here::Failed(error), There::Lost | There::Failed(_)) => Outcome::Fail(error),
        }
    }

    pub(super) fn change_checked(&mut self, key: Key) {
        let Some(change) = self.changes.get(key) else { return };
        let failed = matches!(change.there, There::Failed(_)) && change.here != Here::Going;
        if failed && !change.released {
            // Before anybody is answered (H2).
            let extents = change.extents.clone();
            self.change_differs(extents);
        }
        let Some(change) = self.changes.get(key) else { return };
        if !change.answered && !change.proving {
            let outcome = self.outcome(change);
            match outcome {
                Outcome::Wait => {}
                Outcome::Park => return self.change_parked(key),
                Outcome::Fail(error) => self.change_answered(key, Err(error)),
                Outcome::Good => self.change_good(key, false),
                Outcome::Alone => self.change_good(key, true),
                Outcome::Detach(_) if self.owes_peer() => return self.give_up_soon(key),
                Outcome::Detach(error) => {
                    if self.detached.is_some() || self.detach(error) {
                        self.change_good(key, false);
                    } else {
                        self.change_answered(key, Err(error));
                    }
                }
            }
        }
        self.change_released(key);
    }

    /// The link went while only the other node counted: once more when it is back.
    fn change_parked(&mut self, key: Key) {
        if let Some(change) = self.changes.get_mut(key) {
            if change.here == Here::Going {
                return;
            }
            // What has been flushed is not what will be sent.
            (change.there, change.flushed) = (There::Idle, false);
            let since = change.since;
            self.park(since, Parked::Change(key));
            if self.link.up() {
                self.unpark();
            }
        }
    }

    fn change_good(&mut self, key: Key, alone: bool) {
        let waiter = Waiter::Change(key);
        // The link may have gone during the flush: then it may not be durable there.
        let flushed = self.changes.get(key).is_some_and(|c| c.flushed);
        let behind = !self.map.to_peer().is_empty();
        let alone = match alone {
            true => behind || !self.link.up(),
            false => behind && flushed && !self.needs_peer(),
        };
        let proven = (!alone || self.is_alone(waiter)) && self.is_detached(waiter);
        let Some(change) = self.changes.get_mut(key) else { return };
        let flush = change.fua && !change.flushed;
        if !proven {
            change.proving = true;
        } else if flush {
            change.proving = true;
            self.join(waiter);
        } else {
            self.change_answered(key, Ok(()));
        }
    }

    fn change_answered(&mut self, key: Key, result: Result<(), Errno>) {
        let Some(change) = self.changes.get_mut(key) else { return };
        if change.answered {
            return;
        }
        change.answered = true;
        let (tag, over) = (change.tag, change.released);
        if over {
            self.changes.remove(key);
        }
        self.answer(tag, result.map(|()| None));
    }

    /// Gives lock and extents back once both ends are known.
    fn change_released(&mut self, key: Key) {
        let Some(change) = self.changes.get(key) else { return };
        let ended = !matches!(change.here, Here::Idle | Here::Going)
            && !matches!(change.there, There::Idle | There::Going);
        // Until then it may have to be sent again.
        let doubtful = change.proving && self.needs_peer();
        if change.released || !ended || doubtful {
            return;
        }
        let (extents, answered) = (change.extents.clone(), change.answered);
        if (change.here, change.there) != (Here::Done, There::Done) {
            let failed = matches!(change.there, There::Failed(_));
            self.change_differs(extents);
            if failed && answered && !self.needs_peer() && self.link.up() {
                // The client has been told already: at least let the counters know soon (H2).
                self.is_alone(Waiter::Checkpoint);
            }
        }
        self.change_ends(key);
    }

    /// The two nodes may differ here. Where the other one is what counts, it still is.
    fn change_differs(&mut self, extents: Range<usize>) {
        let source = if self.needs_peer() { SyncSource::Secondary } else { SyncSource::Primary };
        self.mark(extents, source);
    }

    fn change_ends(&mut self, key: Key) {
        let Some(change) = self.changes.get_mut(key) else { return };
        change.released = true;
        change.data = None;
        let (lock, extents, over) = (change.lock, change.extents.clone(), change.answered);
        self.flush_soon();
        self.map.end_write(extents);
        self.ranges.release(lock, &mut self.ready);
        if over {
            self.changes.remove(key);
        }
    }

    /// It has waited in vain for its lock: of all it is going to do, nothing has begun.
    pub(super) fn change_given_up(&mut self, key: Key, error: Errno) {
        if let Some(change) = self.changes.remove(key) {
            self.ranges.release(change.lock, &mut self.ready);
            self.answer(change.tag, Err(error));
        }
    }

    /// It has waited in vain, for the map or for the link. Nothing of it is under way.
    pub(super) fn change_fails(&mut self, key: Key, error: Errno) {
        let Some(change) = self.changes.get(key) else { return };
        if change.here != Here::Going {
            self.change_answered(key, Err(error));
            self.change_ends(key);
        }
    }
}
