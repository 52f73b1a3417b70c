//! Requests on the link: one queue in order, cut into parts that the other node takes, limited in
//! number, in bytes and in time.
//!
//! Every part has a number of its own (FreeBSD's hastd gives all pieces of a resynchronisation the
//! same, H24): the key of its place, so that a reply finds it at once.

use super::flush::unsupported;
use super::link::Ended;
use super::slab::Slab;
use super::{Key, LARGE, Now, Primary, Waiter};
use crate::Data;
use crate::engine::PrimaryAction;
use crate::wire::errno::Errno;
use crate::wire::request::{Cmd, Reply, Request};
use std::collections::VecDeque;

/// Parts without reply to a peer of any kind: FreeBSD's has that many buffers.
const PARTS: usize = 256;

/// Parts without reply to a peer of our own kind.
const NATIVE_PARTS: usize = 1024;

/// Bytes of data in parts without reply.
const BYTES: u64 = 32 << 20;

/// The longest DELETE: a peer of version 1 applies its limit for data to it (A4).
const DELETE: u64 = 1 << 30;

/// An asynchronous write is answered like a synchronous one while more than this waits to be sent:
/// memory is bounded, and the client is held to the speed of the link.
const BACKLOG: u64 = 32 << 20;

/// The same for requests: trims have no data.
const BACKLOG_REQUESTS: usize = 8192;

/// Whom a reply is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Change(Key),
    Segment(Key),
    Chunk(Key),
    Flush(u64),
}

/// A request, and how much of it has been sent.
#[derive(Debug)]
struct Job {
    owner: Owner,
    cmd: Cmd,
    offset: u64,
    length: u64,
    /// Of a write; without, it is one of zeroes.
    data: Option<Data>,
    memsync: bool,
    /// Nobody waits for it.
    patient: bool,
    since: Now,
    at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    owner: Owner,
    cmd: Cmd,
    offset: u64,
    length: u64,
    memsync: bool,
    received: bool,
}

#[derive(Debug)]
pub struct Remote {
    jobs: VecDeque<Job>,
    parts: Slab<Part>,
    /// In the order in which they went; those that have been answered are among them.
    order: VecDeque<(Key, Now)>,
    /// Of data, in parts without reply.
    bytes: u64,
    /// Of writes, not sent yet.
    queued: u64,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            parts: Slab::new(),
            order: VecDeque::new(),
            bytes: 0,
            queued: 0,
        }
    }
}

impl Remote {
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }

    pub fn sent(&self) -> usize {
        self.parts.len()
    }

    /// Whether too much waits to be sent.
    pub fn is_behind(&self) -> bool {
        self.queued > BACKLOG || self.jobs.len() > BACKLOG_REQUESTS
    }
}

fn weight(cmd: Cmd, length: u64) -> u64 {
    if matches!(cmd, Cmd::Read | Cmd::Write) { length } else { 0 }
}

impl Primary {
    /// The most bytes in one request.
    pub(super) fn part_size(&self) -> u64 {
        if self.link.large() {
            u64::from(LARGE)
        } else {
            u64::from((self.settings.max_request & !511).clamp(512, LARGE))
        }
    }

    fn limit(&self, cmd: Cmd) -> u64 {
        if cmd == Cmd::Delete && self.link.version >= 2 { DELETE } else { self.part_size() }
    }

    /// Queues a request; in how many parts.
    #[allow(clippy::too_many_arguments, reason = "all that a request is")]
    pub(super) fn job(
        &mut self,
        owner: Owner,
        cmd: Cmd,
        offset: u64,
        length: u64,
        data: Option<Data>,
        memsync: bool,
        patient: bool,
    ) -> u64 {
        let since = self.now;
        self.remote.queued += if cmd == Cmd::Write { length } else { 0 };
        let at = 0;
        let job = Job { owner, cmd, offset, length, data, memsync, patient, since, at };
        self.remote.jobs.push_back(job);
        length.div_ceil(self.limit(cmd)).max(1)
    }

    /// Sends what there is room for.
    pub(super) fn transmit(&mut self) {
        if !self.link.up() {
            return;
        }
        let most = if self.link.large() { NATIVE_PARTS } else { PARTS };
        let limits = (self.limit(Cmd::Write), self.limit(Cmd::Delete));
        while let Some(job) = self.remote.jobs.front_mut() {
            let limit = if job.cmd == Cmd::Delete { limits.1 } else { limits.0 };
            let length = (job.length - job.at).min(limit);
            let weight = weight(job.cmd, length);
            let sent = self.remote.parts.len();
            if sent >= most || (sent > 0 && self.remote.bytes + weight > BYTES) {
                break;
            }
            let (cmd, offset, from) = (job.cmd, job.offset + job.at, job.at as usize);
            let data = (cmd == Cmd::Write).then(|| {
                let (bytes, from) = job.data.as_ref().map_or((&self.zeroes, 0), |d| (d, from));
                bytes.slice(from..from + length as usize)
            });
            let (owner, memsync) = (job.owner, job.memsync);
            job.at += length;
            if job.at >= job.length {
                self.remote.jobs.pop_front();
            }
            let part = Part { owner, cmd, offset, length, memsync, received: false };
            let seq = self.remote.parts.add(part);
            self.remote.order.push_back((seq, self.now));
            self.remote.bytes += weight;
            if cmd == Cmd::Write {
                self.remote.queued -= length;
            }
            self.send(Request { cmd, seq, offset, length, memsync, data, state: None });
        }
    }

    pub(super) fn send(&mut self, request: Request) {
        self.link.last_sent = self.now;
        self.out.push(PrimaryAction::Send(request));
    }

    /// A reply. An error is looked at first: with one it is final, `received` or not (A3).
    pub(super) fn reply(&mut self, reply: Reply) {
        let Some(part) = self.remote.parts.get_mut(reply.seq) else {
            return log::debug!("{}: a reply to nothing: {}", self.meta.resource, reply.seq);
        };
        if reply.received && reply.error.is_none() {
            if !part.memsync || part.received {
                return self.link_down("a reply out of place", Ended::ByUs);
            }
            part.received = true;
            if let Owner::Change(key) = part.owner {
                self.change_received(key);
            }
            return;
        }
        let part = *part;
        self.remote.parts.remove(reply.seq);
        self.remote.bytes -= weight(part.cmd, part.length);
        self.tidy();
        if let Some(error) = reply.error {
            self.replied_badly(&part, error);
        } else if part.cmd != Cmd::Read {
            self.replied(&part, None);
        } else if let Some(data) = reply.data.filter(|d| d.len() as u64 == part.length) {
            match part.owner {
                Owner::Segment(key) => self.segment_part(key, part.offset, data),
                Owner::Chunk(key) => self.chunk_came(key, data),
                _ => {}
            }
        } else {
            // Never taken for what was asked for (H9).
            self.link_down("a reply with too much or too little data", Ended::ByUs);
            self.lost(part.owner);
        }
    }

    /// Forgets those that have been answered: in front at once, elsewhere when they are many.
    fn tidy(&mut self) {
        let Remote { order, parts, .. } = &mut self.remote;
        if order.len() > 4 * (parts.len() + PARTS) {
            order.retain(|(seq, _)| parts.get(*seq).is_some());
        }
        while order.front().is_some_and(|(seq, _)| parts.get(*seq).is_none()) {
            order.pop_front();
        }
    }

    fn replied(&mut self, part: &Part, error: Option<Errno>) {
        match part.owner {
            Owner::Change(key) => self.change_replied(key, part.received, error),
            Owner::Chunk(key) => self.chunk_replied(key, error),
            Owner::Flush(round) => self.flushed_there(round, error),
            Owner::Segment(key) => {
                if let Some(error) = error {
                    self.segment_refused(key, error);
                }
            }
        }
    }

    fn replied_badly(&mut self, part: &Part, error: Errno) {
        let name = &self.meta.resource;
        match (part.cmd, part.owner) {
            (Cmd::Delete, Owner::Change(key)) if unsupported(error) => {
                log::info!("{name}: the other node cannot delete: it is sent zeroes");
                self.link.no_delete = true;
                let (owner, offset, length) = (part.owner, part.offset, part.length);
                let more = self.job(owner, Cmd::Write, offset, length, None, false, false);
                self.change_more(key, more);
                return self.replied(part, None);
            }
            (Cmd::Flush, _) if unsupported(error) => {}
            _ => {
                self.counters.remote_errors += 1;
                let (cmd, offset, length) = (part.cmd, part.offset, part.length);
                log::error!("{name}: {cmd:?} of {length} bytes at {offset} there: {error}");
            }
        }
        self.replied(part, Some(error));
    }

    /// The link is gone: everything on it, and for it, ends.
    pub(super) fn remote_lost(&mut self) {
        let jobs = std::mem::take(&mut self.remote.jobs);
        let mut owners: Vec<Owner> = Vec::with_capacity(self.remote.parts.len() + jobs.len());
        for (key, _) in self.remote.order.drain(..) {
            owners.extend(self.remote.parts.remove(key).map(|part| part.owner));
        }
        owners.extend(jobs.iter().map(|job| job.owner));
        (self.remote.bytes, self.remote.queued) = (0, 0);
        // Each of them once is enough, and more than once does no harm.
        owners.dedup();
        let alone = owners.iter().any(|owner| match owner {
            Owner::Change(key) => self.change_is_here_only(*key),
            _ => false,
        });
        for owner in owners {
            self.lost(owner);
        }
        if alone {
            // Clients have been told already: at least let the counters know soon.
            self.is_alone(Waiter::Checkpoint);
        }
    }

    fn lost(&mut self, owner: Owner) {
        match owner {
            Owner::Change(key) => self.change_lost(key),
            Owner::Segment(key) => self.segment_lost(key),
            Owner::Chunk(key) => self.chunk_lost(key),
            Owner::Flush(round) => self.flush_lost(round),
        }
    }

    /// A request without reply for too long: the other node, or the way there, is no good.
    pub(super) fn remote_tick(&mut self) {
        if self.remote_time().is_some_and(|at| self.now >= at) {
            let seconds = self.settings.timeout.div_ceil(1000);
            self.link_down(&format!("no reply within {seconds} s"), Ended::ByUs);
        }
    }

    pub(super) fn remote_time(&self) -> Option<Now> {
        let sent = self.remote.order.front().map(|(_, at)| *at);
        let waits = self.remote.jobs.front().filter(|job| !job.patient).map(|job| job.since);
        sent.into_iter().chain(waits).min().map(|at| at + self.settings.timeout)
    }
}
