//! Compares a tracker's story with a second witness of ends: taskstats. Pure; it decides, and
//! `taskstats_linux` brings the records.
//!
//! Whatever does not agree is an [`Event::Gap`] with [`Cause::Contradiction`]. It never speaks
//! about strangers, and never because one of the two witnesses was only slower:
//! - A record is made before the end is announced. So when an end has been told, and after that
//!   all records have been read, its record is there; if it is not, or says otherwise, that is a
//!   contradiction at once.
//! - A record whose end has not been told waits: the process may take its time to die. Only when
//!   it has been gone for the whole patience, and still nothing was told, is that one.
//! - A record of a process that was never told of counts if its parent was a member without any
//!   doubt all the time since the records had been read before: a fork was missed then, too.
//!
//! Numbers are used again quickly, so records and ends of one number are matched by status, and by
//! parent if there is a choice. After a loss of records, those that may be missing are not missed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::taskstats::Record;
use super::{Cause, Event, Parent, ProcId};
use crate::{Exit, Moment};

#[cfg(test)]
#[path = "auditor_tests.rs"]
mod tests;

/// What there is of a process now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Runs,
    /// It has begun to end.
    Ending,
    /// It is a zombie, or its number is nobody's or somebody else's.
    Gone,
}

/// The comparison of one story with the records.
#[derive(Debug)]
pub struct Auditor {
    /// Of who begins after this moment there is a record of the end.
    complete: Moment,
    patience: Duration,
    lives: HashMap<i32, Vec<Life>>,
    /// By process, in the order of arrival.
    records: HashMap<i32, Vec<Pending>>,
    /// The same, by when they are to be looked at again.
    waiting: VecDeque<(Moment, i32, u64)>,
    ends: Vec<End>,
    over: VecDeque<(Moment, ProcId)>,
    serial: u64,
    /// Something is lost in the story, and it is not said yet what.
    gap: bool,
    agreed: u64,
}

/// A member, as the story has it.
#[derive(Clone, Copy, Debug)]
struct Life {
    id: ProcId,
    parent: i32,
    /// From when on the story has it, and its children.
    known: Moment,
    /// When its end was told to have been.
    ended: Option<Moment>,
}

/// A record without an end yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    record: Record,
    serial: u64,
    /// It was made between these two.
    since: Moment,
    at: Moment,
    /// When its process was first seen to be gone.
    gone: Option<Moment>,
    /// The story has a gap there.
    excused: bool,
}

/// An end without a record yet.
#[derive(Clone, Copy, Debug)]
struct End {
    life: Life,
    exit: Option<Exit>,
    told: Moment,
}

impl Auditor {
    /// The records are complete from `opened` on; a process that is gone must have been told of
    /// within `patience`.
    pub fn new(opened: Moment, patience: Duration) -> Auditor {
        Auditor {
            complete: opened,
            patience,
            lives: HashMap::new(),
            records: HashMap::new(),
            waiting: VecDeque::new(),
            ends: Vec::new(),
            over: VecDeque::new(),
            serial: 0,
            gap: false,
            agreed: 0,
        }
    }

    /// Takes a part of the story, which was read at `now`.
    pub fn story(&mut self, event: &Event, now: Moment) {
        match *event {
            Event::Fork { id, parent, at, .. } => {
                let parent = match parent {
                    Parent::Exact(parent) => parent.pid,
                    Parent::Ancestor(_) | Parent::Unknown => 0,
                };
                self.lives.entry(id.pid).or_default().push(Life {
                    id,
                    parent,
                    known: at,
                    ended: None,
                });
            }
            Event::Exit { id, exit, at } => {
                let lives = self.lives.get_mut(&id.pid);
                let life = lives.and_then(|lives| lives.iter_mut().find(|life| life.id == id));
                // Whose beginning was not told here is not ours to judge.
                let Some(life) = life else { return };
                life.ended = Some(at);
                let end = End { life: *life, exit, told: now };
                self.over.push_back((now, id));
                self.ends.push(end);
            }
            Event::Gap { cause: Cause::Contradiction { .. }, .. } => {}
            Event::Gap { .. } => self.gap = true,
            Event::Resync { at, .. } => {
                self.gap = false;
                let before = self.records.values_mut().flatten().filter(|it| it.since <= at);
                before.for_each(|it| it.excused = true);
            }
            Event::Exec { .. } | Event::Session { .. } | Event::Empty { .. } => {}
        }
    }

    /// Takes a record, which was made after `since`, when all before it had been read, and was
    /// read at `at`.
    pub fn record(&mut self, record: Record, since: Moment, at: Moment) {
        // The end of a thread is not the end of a process.
        if !record.last {
            return;
        }
        self.serial += 1;
        let serial = self.serial;
        let pending = Pending { record, serial, since, at, gone: None, excused: self.gap };
        self.records.entry(record.pid).or_default().push(pending);
        self.waiting.push_back((at.after(self.patience), record.pid, serial));
    }

    /// Records were lost before `now`.
    pub fn lost(&mut self, now: Moment) {
        self.complete = now;
    }

    /// How many ends both witnesses have told of alike.
    pub fn agreed(&self) -> u64 {
        self.agreed
    }

    /// Whether something that may be about a member waits: then [`Auditor::settle`] is to be called
    /// again before long.
    pub fn waits(&self) -> bool {
        let ours = |it: &Pending| {
            let alive = |life: &Life| life.ended.is_none();
            self.lives.get(&it.record.pid).is_some_and(|lives| lives.iter().any(alive))
                || self.is_missed_child(it)
        };
        !self.ends.is_empty() || self.records.values().flatten().any(ours)
    }

    /// Judges, when first the whole story and then, from the moment `reading` on, all records have
    /// been taken. `state` says what there is of a process. Appends what is contradicted.
    pub fn settle(
        &mut self,
        reading: Moment,
        now: Moment,
        state: &mut dyn FnMut(ProcId) -> State,
        events: &mut Vec<Event>,
    ) {
        let mut contradicted = Vec::new();
        self.settle_ends(reading, &mut contradicted);
        self.settle_records(now, state, &mut contradicted);
        self.forget(now);
        events.extend(contradicted.into_iter().map(|pid| {
            let cause = Cause::Contradiction { pid };
            Event::Gap { cause, at: now }
        }));
    }

    /// Each end with its record.
    fn settle_ends(&mut self, reading: Moment, contradicted: &mut Vec<i32>) {
        for end in std::mem::take(&mut self.ends) {
            let pid = end.life.id.pid;
            if self.take_record(&end) {
                self.agreed += 1;
                continue;
            }
            if end.told > reading {
                self.ends.push(end);
                continue;
            }
            let complete = end.life.id.start > self.complete;
            // One that says otherwise, and can be no other process's; or must be there.
            let others = self.records.get(&pid).into_iter().flatten();
            let certain = |it: &&Pending| complete || end.life.known <= it.since;
            let other = others.rev().find(certain).map(|it| it.serial);
            let other = other.and_then(|serial| self.drop_record(pid, serial));
            if end.exit.is_some() && (other.is_some() || complete) {
                contradicted.push(pid);
            }
        }
    }

    /// Whether there was a record that fits this end.
    fn take_record(&mut self, end: &End) -> bool {
        let Some(records) = self.records.get(&end.life.id.pid) else { return false };
        let fits = |it: &&Pending| {
            // One that was read before it began is of the number's last owner.
            it.at >= end.life.id.start && (end.exit.is_none() || it.record.exit == end.exit)
        };
        let liking = |it: &&Pending| {
            let parent = it.record.parent;
            let of_ours = self.lives.contains_key(&parent);
            (parent != 0 && parent == end.life.parent, of_ours, std::cmp::Reverse(it.serial))
        };
        let best = records.iter().filter(fits).max_by_key(liking).map(|it| it.serial);
        best.is_some_and(|serial| self.drop_record(end.life.id.pid, serial).is_some())
    }

    fn drop_record(&mut self, pid: i32, serial: u64) -> Option<Pending> {
        let records = self.records.get_mut(&pid)?;
        let at = records.iter().position(|it| it.serial == serial)?;
        let record = records.remove(at);
        if records.is_empty() {
            self.records.remove(&pid);
        }
        Some(record)
    }

    /// The records that have waited long enough for their ends.
    fn settle_records(
        &mut self,
        now: Moment,
        state: &mut dyn FnMut(ProcId) -> State,
        contradicted: &mut Vec<i32>,
    ) {
        let due = self.waiting.iter().take_while(|(due, ..)| *due <= now).count();
        let due: Vec<(Moment, i32, u64)> = self.waiting.drain(..due).collect();
        for (_, pid, serial) in due {
            // It has found its end.
            let Some(mut pending) = self.drop_record(pid, serial) else { continue };
            // Its number may have had several owners, but only the last one can be alive.
            let alive = self.lives.get(&pid).and_then(|lives| lives.last());
            let alive = alive.filter(|life| life.ended.is_none() && life.id.start <= pending.at);
            let Some(life) = alive.copied() else {
                if self.is_missed_child(&pending) {
                    contradicted.push(pid);
                }
                continue;
            };
            let wait = match state(life.id) {
                // Then this was another process's end.
                State::Runs => continue,
                State::Ending => {
                    pending.gone = None;
                    true
                }
                State::Gone => now - *pending.gone.get_or_insert(now) < self.patience,
            };
            if wait {
                self.waiting.push_back((now.after(self.patience), pid, serial));
                self.records.entry(pid).or_default().push(pending);
            } else {
                // It is told once.
                self.end_life(life.id, now);
                if !pending.excused && !self.gap {
                    contradicted.push(pid);
                }
            }
        }
    }

    /// Whether a record of a process that was never told of is that of a member's child.
    fn is_missed_child(&self, pending: &Pending) -> bool {
        let parents = self.lives.get(&pending.record.parent).into_iter().flatten();
        let mut sure = parents.filter(|life| {
            life.known <= pending.since && life.ended.is_none_or(|at| at > pending.at)
        });
        sure.next().is_some() && !pending.excused && !self.gap
    }

    fn end_life(&mut self, id: ProcId, now: Moment) {
        let lives = self.lives.get_mut(&id.pid).into_iter().flatten();
        lives.filter(|life| life.id == id).for_each(|life| life.ended = Some(now));
        self.over.push_back((now, id));
    }

    /// Forgets members that ended so long ago that no record can be of them.
    fn forget(&mut self, now: Moment) {
        while let Some((at, id)) = self.over.front().copied() {
            if now - at < self.patience * 3 {
                return;
            }
            self.over.pop_front();
            if let Some(lives) = self.lives.get_mut(&id.pid) {
                lives.retain(|life| life.id != id);
                if lives.is_empty() {
                    self.lives.remove(&id.pid);
                }
            }
        }
    }
}
