//! The client of the volume: several requests at once, which overlap more often than they should,
//! and the questions that the checker is asked about the answers.

use super::check::{Promise, Promised};
use super::disk::{SECTOR, data_of, values_of};
use super::random::Random;
use super::{Event, Sim};
use crate::Data;
use crate::engine::primary::Primary;
use crate::engine::{ClientRequest, Consistency, Now, Op, PrimaryInput, Replication, Role};
use crate::wire::errno::Errno;
use std::collections::BTreeMap;

/// What a request may take beyond the timeout: everything else that takes time.
const SLACK: Now = 2_000;

const NOWHERE: Promised = Promised { on: [Promise::No; 2], alone: None };

/// See the module.
pub struct Client {
    /// The node that it asks.
    pub at: Option<usize>,
    outstanding: BTreeMap<u64, Asked>,
    /// Nobody waits for these any more, but the node that was asked may do them yet, and answer.
    abandoned: BTreeMap<u64, (usize, Asked)>,
    tags: u64,
    made: u32,
    depth: usize,
    sectors: usize,
    /// It often asks for these.
    hot: usize,
    /// Reads begun before then may have seen another history.
    pub exempt: u64,
    /// No more requests of its own.
    pub silent: bool,
}

struct Asked {
    op: Op,
    fua: bool,
    first: usize,
    count: usize,
    begun: u64,
    at: Now,
}

impl Client {
    pub(super) fn new(random: &mut Random, sectors: usize) -> Self {
        Self {
            at: None,
            outstanding: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            tags: 0,
            made: 0,
            depth: random.between(1, 12) as usize,
            sectors,
            hot: random.below(sectors as u64) as usize,
            exempt: 0,
            silent: false,
        }
    }

    /// It has asked for all that it wanted.
    pub fn is_through(&self) -> bool {
        self.silent
    }

    /// It has all its answers.
    pub fn is_answered(&self) -> bool {
        self.outstanding.is_empty()
    }
}

impl Sim {
    pub(super) fn client_acts(&mut self) {
        if self.client.silent {
            return;
        }
        if self.client.made >= self.plan.requests && !self.ending {
            self.client.silent = true;
            return;
        }
        if let Some(node) = self.client.at
            && self.client.outstanding.len() < self.client.depth
            && self.nodes[node].role() == Some(Role::Primary)
            && self.nodes[node].becomes.is_none()
        {
            self.client.made += 1;
            self.asks(node);
        }
        let wait = match self.random.below(30) {
            0..25 => self.random.below(30),
            25..29 => self.random.below(1_500),
            _ => self.random.below(20_000),
        };
        self.after(wait, Event::Client);
    }

    fn asks(&mut self, node: usize) {
        let random = &mut self.random;
        let op = match random.below(100) {
            0..55 => Op::Write,
            55..78 => Op::Read,
            78..84 => Op::Zero,
            84..89 => Op::Trim,
            _ => Op::Flush,
        };
        let sectors = self.client.sectors;
        let first = if random.permille(400) {
            (self.client.hot + random.below(4) as usize).min(sectors - 1)
        } else {
            random.below(sectors as u64) as usize
        };
        let count = (random.between(1, 6) as usize).min(sectors - first);
        let fua = random.permille(100) && !matches!(op, Op::Read | Op::Flush);
        self.ask(node, op, first, count, fua);
    }

    pub(super) fn ask(&mut self, node: usize, op: Op, first: usize, count: usize, fua: bool) {
        self.client.tags += 1;
        let tag = self.client.tags;
        let (begun, data) = match op {
            Op::Read | Op::Flush => (self.check.time(), None),
            Op::Write => {
                let data = data_of(&vec![tag; count]);
                (self.check.begin(first, count, tag), Some(data))
            }
            Op::Zero | Op::Trim => (self.check.begin(first, count, 0), None),
        };
        let (first, count) = if op == Op::Flush { (0, 0) } else { (first, count) };
        let at = self.now;
        self.say(|| format!("client {tag}: {op:?} of {count} at {first}, fua {fua}, time {begun}"));
        self.client.outstanding.insert(tag, Asked { op, fua, first, count, begun, at });
        if self.shim.is_untracked(op) {
            self.trim_untracked(node, first, count);
            return self.client_answered(node, tag, Ok(None));
        }
        let (offset, length) = (first as u64 * SECTOR, count as u64 * SECTOR);
        self.shim.asked(node, op, offset, length, self.nodes[node].disk.meta.extentsize);
        let request = ClientRequest { tag, op, offset, length, fua, data };
        self.tell_primary(node, PrimaryInput::Request(request));
    }

    /// Nobody listens to the process that would have answered any more.
    pub(super) fn client_abandoned(&mut self) {
        let Some(node) = self.client.at.take() else { return };
        let outstanding = std::mem::take(&mut self.client.outstanding);
        let abandoned = outstanding.into_iter().map(|(tag, asked)| (tag, (node, asked)));
        self.client.abandoned.extend(abandoned);
    }

    /// It is gone, and nothing that it was asked for will be done.
    pub(super) fn client_forgotten(&mut self, node: usize) {
        if self.client.at == Some(node) {
            self.client_abandoned();
        }
        let check = &mut self.check;
        self.client.abandoned.retain(|_, (at, asked)| {
            if *at == node {
                check.end_unanswered(asked.first, asked.count, asked.begun);
            }
            *at != node
        });
    }

    pub(super) fn client_answered(
        &mut self,
        node: usize,
        tag: u64,
        result: Result<Option<Data>, Errno>,
    ) {
        self.summary.answered += 1;
        if let Some((_, asked)) = self.client.abandoned.remove(&tag) {
            return self.check.end_unanswered(asked.first, asked.count, asked.begun);
        }
        let Some(asked) = self.client.outstanding.remove(&tag) else {
            return self.fail(format!("an answer to nothing, or a second one: {tag}"));
        };
        let result = match asked.op {
            Op::Read | Op::Flush => result,
            Op::Write | Op::Zero | Op::Trim => self.shim.answered(result),
        };
        let result_text = result.as_ref().map(|_| ()).map_err(|e| *e);
        self.say(|| format!("client {tag}: {result_text:?}"));
        // A slow disk is not given up if it answers in time, and what overlaps waits for each other.
        let turns = if self.plan.weights.slow > 0 { self.client.depth as u64 + 2 } else { 2 };
        let took = self.now - asked.at;
        if took > turns * self.settings.timeout + SLACK {
            let op = asked.op;
            self.fail(format!("client {tag}: {op:?} was answered after {took} ms"));
        }
        match (&result, asked.op) {
            (Err(error), _) => self.failed_well(node, tag, &asked, *error),
            (Ok(Some(data)), Op::Read) => self.has_read(tag, &asked, data),
            (Ok(None), Op::Read) => self.fail(format!("client {tag}: a read without data")),
            (Ok(_), Op::Flush) => self.has_flushed(node, &asked),
            (Ok(_), Op::Write | Op::Zero | Op::Trim) => self.has_changed(node, tag, &asked),
        }
    }

    fn failed_well(&mut self, node: usize, tag: u64, asked: &Asked, error: Errno) {
        if !matches!(asked.op, Op::Read | Op::Flush) {
            let &Asked { first, count, begun, .. } = asked;
            self.check.end(first, count, begun, false, |_| NOWHERE);
        }
        let sound = self.nodes[node].primary().is_some_and(|engine| {
            let status = engine.status();
            status.consistency == Consistency::Consistent && !status.detached
        });
        let stops = self.nodes[node].becomes.is_some();
        if sound && !self.disk_faults && !stops {
            self.fail(format!("client {tag}: {error}, but no disk has failed"));
        }
    }

    fn has_read(&mut self, tag: u64, asked: &Asked, data: &Data) {
        let &Asked { first, count, begun, .. } = asked;
        let mut values = 0;
        for (sector, value) in (first..first + count).zip(values_of(data)) {
            values += 1;
            if begun > self.client.exempt && !self.check.may_read(sector, value, begun) {
                let known = self.check.known(sector);
                self.fail(format!("client {tag} has read {value} in sector {sector}; {known}"));
            }
        }
        if values != count || data.len() as u64 != count as u64 * SECTOR {
            self.fail(format!("client {tag} has read {} bytes", data.len()));
        }
    }

    fn has_changed(&mut self, node: usize, tag: u64, asked: &Asked) {
        let &Asked { first, count, begun, fua, .. } = asked;
        let linked = self.is_linked(node);
        let mode = self.plan.mode;
        let promise = if fua { Promise::Stable } else { Promise::Cached };
        let Some(engine) = self.nodes[node].primary() else { return };
        let status = engine.status();
        let map = engine.map();
        let alone = status.consistency == Consistency::Inconsistent || status.detached;
        let both = mode != Replication::Async || fua || alone;
        let other = &self.nodes[1 - node].disk.seen[first..first + count];
        let value = if asked.op == Op::Write { tag } else { 0 };
        let stored = other.iter().all(|seen| *seen == value);
        let there = linked && status.connected && both;
        let on = |sector: usize| {
            let extent = map.range(sector as u64 * SECTOR, 1).start;
            let mut on = [Promise::No; 2];
            if !status.detached {
                on[node] = promise;
            }
            let complete = status.connected && !map.to_peer().has(extent);
            if there && complete {
                on[1 - node] = promise;
            }
            Promised { on, alone: (!complete && !stored).then_some(node) }
        };
        self.check.end(first, count, begun, true, on);
        if mode != Replication::Fullsync || !linked || self.shim.is_untracked(asked.op) {
            return;
        }
        let Some(map) = self.nodes[node].primary().map(Primary::map) else { return };
        let extents = map.range(first as u64 * SECTOR, count as u64 * SECTOR);
        if extents.into_iter().any(|extent| map.to_peer().has(extent)) {
            return;
        }
        for sector in first..first + count {
            let value = self.nodes[1 - node].disk.seen[sector];
            if let Err(why) = self.check.promised(1 - node, sector, value) {
                return self.fail(format!("client {tag} has an answer too early: {why}"));
            }
        }
    }

    fn has_flushed(&mut self, node: usize, asked: &Asked) {
        let linked = self.is_linked(node);
        let Some(engine) = self.nodes[node].primary() else { return };
        let status = engine.status();
        let map = engine.map();
        let here = !status.detached && status.consistency == Consistency::Consistent;
        self.check.flushed(asked.begun, |sector| {
            let extent = map.range(sector as u64 * SECTOR, 1).start;
            let mut on = [false; 2];
            on[node] = here;
            on[1 - node] = linked && status.connected && !map.to_peer().has(extent);
            on
        });
    }

    /// The clients of a node find it serving.
    pub(super) fn serves(&mut self, node: usize) {
        if self.client.at.is_some_and(|at| at != node) {
            self.client_abandoned();
        }
        self.client.at = Some(node);
        let discarded = self.discarded.take();
        if discarded.is_some() {
            // What this node had acknowledged is the truth, and nothing else is.
            self.check.diverged = false;
        }
        let disk = &self.nodes[node].disk;
        let forced = std::mem::take(&mut self.forced);
        if disk.meta.consistency == Consistency::Consistent
            && let Err(why) = self.check.serves(node, &disk.seen, !forced)
        {
            self.fail(why);
        }
        if forced || discarded.is_some() {
            self.check.given_up(1 - node);
        }
    }
}
