//! Copying what differs: from here to the other node, or from there to here, several pieces at once
//! (H17), beside clients' requests.
//!
//! A piece locks its range, is read from the one and written to the other. An extent is done when
//! all its pieces are, and stays marked until both nodes have flushed; a piece that failed leaves
//! its extent for another pass (H8). At the end both nodes flush, and the counters say that they
//! have the same.

use super::remote::Owner;
use super::{About, CHUNK, Key, Mark, Now, Primary, Slab, Waiter};
use crate::Data;
use crate::engine::ranges;
use crate::engine::{Consistency, Happening, Io, Progress};
use crate::wire::errno::Errno;
use crate::wire::hello::SyncSource;
use crate::wire::request::{Cmd, State};
use std::ops::Range;

/// After a pass with failures, this long until the next.
const RETRY: Now = 10_000;

/// Clients are taken to be at work this long after their last request.
const BUSY: Now = 100;

/// Bytes of a piece, and how many at once, while clients are at work: they wait for little. With one
/// at a time either node has nothing to do with it for half of the time. (Of a client that writes
/// 4 KiB at a time, 120 us each, half had to wait for 580 us with two pieces of 128 KiB on two
/// processors; with this, no longer than without, and the copying goes on at half the speed.)
const GENTLE: (u64, usize) = (64 << 10, 1);

/// Bytes under way while they are not, and the fewest and most pieces that may be.
const EAGER: (u64, usize, usize) = (8 << 20, 8, 32);

#[derive(Debug)]
pub struct Resync {
    /// There may be something to do.
    on: bool,
    /// Something is being copied, since then.
    since: Option<Now>,
    /// Bytes copied since.
    done: u64,
    /// Extents below have had their turn in this pass.
    cursor: usize,
    /// Something failed in this pass.
    failed: bool,
    retry_at: Option<Now>,
    active: Vec<Active>,
    chunks: Slab<Chunk>,
    end: End,
    pub last_request: Option<Now>,
}

/// An extent being copied.
#[derive(Debug)]
struct Active {
    extent: usize,
    source: SyncSource,
    next: u64,
    end: u64,
    flying: u32,
    copied: u64,
    /// It is not the same on both after this pass.
    spoilt: bool,
}

/// A piece of one.
#[derive(Debug)]
struct Chunk {
    extent: usize,
    offset: u64,
    length: u64,
    source: SyncSource,
    lock: ranges::Key,
    stage: Stage,
    /// Nobody is interested any more; it lasts until the local component has let go.
    dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Here,
    There,
}

/// How the end of a resynchronisation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    Flushing,
    Storing,
}

impl Default for Resync {
    fn default() -> Self {
        Self {
            on: false,
            since: None,
            done: 0,
            cursor: 0,
            failed: false,
            retry_at: None,
            active: Vec::new(),
            chunks: Slab::new(),
            end: End::No,
            last_request: None,
        }
    }
}

impl Resync {
    /// Whether none of its I/O is under way.
    pub fn is_idle(&self) -> bool {
        self.chunks.is_empty()
    }
}

impl Primary {
    /// The link is up.
    pub(super) fn resync_begins(&mut self) {
        self.resync.on = self.detached.is_none();
        (self.resync.cursor, self.resync.failed) = (0, false);
        self.resync.retry_at = None;
    }

    /// The link is down, or the local component is.
    pub(super) fn resync_ends(&mut self) {
        self.resync.on = false;
        self.resync.end = End::No;
        self.resync.retry_at = None;
        self.resync.active.clear();
        for key in self.resync.chunks.keys() {
            match self.resync.chunks.get_mut(key) {
                Some(chunk) if chunk.stage == Stage::Here => chunk.dead = true,
                _ => {
                    self.chunk_gone(key);
                }
            }
        }
        if self.resync.since.take().is_some() {
            self.tell(Happening::SyncIntr);
        }
    }

    /// Extents have been marked: what is being copied there has to be copied once more.
    pub(super) fn resync_again(&mut self, extents: &Range<usize>) {
        if self.link.up() && self.detached.is_none() {
            self.resync.on = true;
        }
        for active in &mut self.resync.active {
            if extents.contains(&active.extent) {
                active.spoilt = true;
                active.next = active.end;
            }
        }
    }

    fn pace(&self) -> (u64, usize) {
        let part = self.part_size();
        let busy = !self.changes.is_empty()
            || !self.reads.is_empty()
            || self.resync.last_request.is_some_and(|at| self.now < at + BUSY);
        if busy {
            return (part.min(GENTLE.0), GENTLE.1);
        }
        (part, ((EAGER.0 / part) as usize).clamp(EAGER.1, EAGER.2))
    }

    pub(super) fn resync_pump(&mut self) {
        if !self.resync.on || !self.link.up() || self.stop.asked() {
            return;
        }
        if self.resync.retry_at.is_some_and(|at| self.now < at) {
            return;
        }
        let (size, most) = self.pace();
        while self.resync.chunks.len() < most {
            let Some(index) = self.next_active() else { break };
            let active = &mut self.resync.active[index];
            let (extent, source, offset) = (active.extent, active.source, active.next);
            let length = size.min(active.end - offset);
            active.next += length;
            active.flying += 1;
            let lock = ranges::Key::default();
            let stage = Stage::Waiting;
            let chunk = Chunk { extent, offset, length, source, lock, stage, dead: false };
            let key = self.resync.chunks.add(chunk);
            let (lock, held) = self.ranges.lock(key | CHUNK, offset, length);
            if let Some(chunk) = self.resync.chunks.get_mut(key) {
                chunk.lock = lock;
            }
            if held {
                self.chunk_locked(key);
            }
        }
        if self.resync.active.is_empty() && self.map.next_sync(self.resync.cursor).is_none() {
            self.pass_ended();
        }
    }

    /// An extent of which a piece may be begun.
    fn next_active(&mut self) -> Option<usize> {
        if let Some(index) = self.resync.active.iter().position(|a| a.next < a.end) {
            return Some(index);
        }
        let (extent, source) = self.map.next_sync(self.resync.cursor)?;
        if !self.map.is_durable(extent) {
            // Marked just now: the update of the map is under way, and its end leads back here.
            return None;
        }
        self.resync.cursor = extent + 1;
        if self.resync.since.is_none() {
            self.resync.since = Some(self.now);
            self.resync.done = 0;
            self.tell(Happening::SyncStart);
        }
        self.tell_state();
        let (next, length) = self.map.bounds(extent);
        let end = next + length;
        let active = Active { extent, source, next, end, flying: 0, copied: 0, spoilt: false };
        self.resync.active.push(active);
        Some(self.resync.active.len() - 1)
    }

    fn pass_ended(&mut self) {
        if self.map.next_sync(0).is_some() {
            self.resync.retry_at = self.resync.failed.then_some(self.now + RETRY);
            (self.resync.cursor, self.resync.failed) = (0, false);
            if self.resync.retry_at.is_none() {
                self.resync_pump();
            }
        } else if self.resync.end == End::No {
            self.resync.retry_at = None;
            if self.resync.since.is_some() {
                self.resync.end = End::Flushing;
                self.join(Waiter::Resync);
            } else {
                self.same();
            }
        }
    }

    pub(super) fn chunk_locked(&mut self, key: Key) {
        let Some(chunk) = self.resync.chunks.get_mut(key) else { return };
        let (offset, length, source) = (chunk.offset, chunk.length, chunk.source);
        if self.map.source(chunk.extent) != Some(source) {
            // Somebody else's data counts there by now.
            return self.chunk_over(key, false);
        }
        match source {
            SyncSource::Primary => {
                chunk.stage = Stage::Here;
                self.io(About::Chunk, key, Io::Read { offset, length: length as u32 });
            }
            SyncSource::Secondary => {
                chunk.stage = Stage::There;
                self.job(Owner::Chunk(key), Cmd::Read, offset, length, None, false, true);
            }
        }
    }

    /// The local component has read or written it.
    pub(super) fn chunk_done(&mut self, key: Key, result: Result<Option<Data>, Errno>) {
        let Some(chunk) = self.resync.chunks.get_mut(key) else { return };
        let (offset, length, source) = (chunk.offset, chunk.length, chunk.source);
        if chunk.dead {
            self.chunk_gone(key);
            return;
        }
        match (source, result) {
            (SyncSource::Secondary, Ok(_)) => self.chunk_over(key, true),
            (SyncSource::Primary, Ok(Some(data))) if data.len() as u64 == length => {
                chunk.stage = Stage::There;
                let owner = Owner::Chunk(key);
                self.job(owner, Cmd::Write, offset, length, Some(data), false, true);
            }
            (source, result) => {
                match source {
                    SyncSource::Primary => self.counters.read_errors += 1,
                    SyncSource::Secondary => self.counters.write_errors += 1,
                }
                let error = result.err().unwrap_or(Errno::EIO);
                let name = &self.meta.resource;
                log::error!("{name}: resynchronise {length} bytes at {offset}: {error}");
                self.chunk_over(key, false);
            }
        }
    }

    /// The other node has sent it.
    pub(super) fn chunk_came(&mut self, key: Key, data: Data) {
        if let Some(chunk) = self.resync.chunks.get_mut(key) {
            chunk.stage = Stage::Here;
            let offset = chunk.offset;
            self.io(About::Chunk, key, Io::Write { offset, data });
        }
    }

    /// The other node has written it, or could not do what was asked.
    pub(super) fn chunk_replied(&mut self, key: Key, error: Option<Errno>) {
        if error.is_none() {
            self.rounds.copied();
        }
        self.chunk_over(key, error.is_none());
    }

    pub(super) fn chunk_lost(&mut self, key: Key) {
        self.chunk_gone(key);
    }

    fn chunk_gone(&mut self, key: Key) -> Option<Chunk> {
        let chunk = self.resync.chunks.remove(key)?;
        self.ranges.release(chunk.lock, &mut self.ready);
        Some(chunk)
    }

    fn chunk_over(&mut self, key: Key, good: bool) {
        let Some(chunk) = self.chunk_gone(key) else { return };
        self.resync.done += if good { chunk.length } else { 0 };
        let found = self.resync.active.iter().position(|a| a.extent == chunk.extent);
        let Some(index) = found else { return };
        let active = &mut self.resync.active[index];
        active.flying -= 1;
        active.copied += if good { chunk.length } else { 0 };
        if !good {
            active.spoilt = true;
            self.resync.failed = true;
        }
        if active.flying == 0 && active.next >= active.end {
            let active = self.resync.active.remove(index);
            if !active.spoilt {
                self.flush_soon();
                self.map.synced(active.extent);
            }
        }
    }

    /// Both nodes have flushed after the last piece, or one could not.
    pub(super) fn resync_flushed(&mut self, result: Result<(), Errno>) {
        if self.resync.end != End::Flushing {
            return;
        }
        self.resync.end = End::No;
        if result.is_err() {
            self.resync.retry_at = Some(self.now + RETRY);
        } else if self.link.up() && self.detached.is_none() && self.map.next_sync(0).is_none() {
            self.same();
        }
    }

    /// Both nodes have the same: the counters are made equal.
    fn same(&mut self) {
        let before = self.meta.clone();
        self.counters_equal();
        self.meta.consistency = Consistency::Consistent;
        let stored = self.meta == before && !self.disk.meta_unsure;
        if stored && self.resync.since.is_none() {
            return self.resync_complete();
        }
        self.resync.end = End::Storing;
        let write = self.store();
        self.wait_for_meta(write, Waiter::Resync);
    }

    pub(super) fn counters_equal(&mut self) {
        self.meta.localcnt = self.link.remotecnt;
        self.meta.remotecnt = self.link.localcnt;
        self.alone = Mark::Unset;
    }

    pub(super) fn resync_stored(&mut self, result: Result<(), Errno>) {
        if self.resync.end != End::Storing {
            return;
        }
        self.resync.end = End::No;
        match result {
            Ok(()) => self.resync_complete(),
            Err(_) => self.resync.retry_at = Some(self.now + RETRY),
        }
    }

    fn resync_complete(&mut self) {
        let equal =
            (self.meta.localcnt, self.meta.remotecnt) == (self.link.remotecnt, self.link.localcnt);
        if self.map.next_sync(0).is_some() || !equal {
            // Something has come in between: it is not the end.
            return;
        }
        self.resync.on = false;
        if self.resync.since.take().is_some() {
            self.tell(Happening::SyncDone);
        }
        if self.link.told != Some(State::Consistent) {
            self.state_is(State::Consistent);
        }
    }

    pub(super) fn resync_time(&self) -> Option<Now> {
        self.resync.retry_at.filter(|_| self.resync.on && !self.stop.asked())
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        let since = self.resync.since?;
        let copied: u64 = self.resync.active.iter().map(|a| a.copied).sum();
        let source = match self.map.from_peer().is_empty() {
            true => SyncSource::Primary,
            false => SyncSource::Secondary,
        };
        let left = self.map.dirty_bytes().saturating_sub(copied);
        Some(Progress { source, total: self.resync.done + left, done: self.resync.done, since })
    }
}
