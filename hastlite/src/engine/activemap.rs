//! The activemap of a primary: which extents the two nodes may differ in.
//!
//! An extent's bit is on stable storage before the first write to it goes out, and stays while one
//! is under way, until a flush has succeeded on *both* nodes after it, while it has to be
//! synchronised, and for a while after that because more will follow. FreeBSD's hastd clears it
//! when the write has been answered, and forgets writes that a failing link swallowed (H1).
//!
//! Nothing is written here: [`ActiveMap::begin_update`] gives what is to be, one at a time.

mod bits;

pub use bits::Bits;

use super::Now;
use crate::Data;
use crate::wire::hello::SyncSource;
use std::ops::Range;

/// Bytes of the metadata block in front of the map.
pub const METADATA: u64 = 4096;

/// For this long after it was last written to an extent keeps its bit.
pub const COOL: Now = 5_000;

/// How far ahead of a sequential writer extents are marked, so that it need not wait for each.
const AHEAD: usize = 16;

/// The number of extents of a data area.
pub fn extents(datasize: u64, extentsize: u32) -> u64 {
    datasize.div_ceil(u64::from(extentsize.max(1)))
}

/// Bytes of the map on disk and on the wire: a bit an extent, whole 64-bit words, whole sectors.
pub fn map_size(datasize: u64, extentsize: u32, sector: u32) -> u64 {
    let words = extents(datasize, extentsize).div_ceil(64);
    (words * 8).next_multiple_of(u64::from(sector.max(1)))
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ActiveMap {
    datasize: u64,
    shift: u32,
    extents: usize,
    size: usize,
    keepdirty: usize,
    /// What is to be on disk.
    wanted: Bits,
    /// What is on disk whatever happens: neither an update under way nor a crash takes it off.
    durable: Bits,
    /// What the update under way leaves on disk.
    writing: Bits,
    updating: bool,
    /// Of the last update begun.
    generation: u64,
    /// What is wanted has changed since the last update began, or that one failed.
    stale: bool,
    /// Writes under way.
    pending: Vec<u32>,
    /// Written since the last flush of both began.
    fresh: Set,
    /// Written before it began.
    covered: Set,
    to_peer: Bits,
    from_peer: Bits,
    /// When it was last written to, in seconds, rounded up.
    touched: Vec<u32>,
}

/// A set whose members can be listed without looking for them.
#[derive(Clone, Debug)]
struct Set {
    bits: Bits,
    list: Vec<u32>,
}

impl Set {
    fn new(extents: usize) -> Self {
        Self { bits: Bits::new(extents), list: Vec::new() }
    }

    fn add(&mut self, extent: usize) {
        if self.bits.add(extent) {
            self.list.push(extent as u32);
        }
    }

    fn drain_into(&mut self, other: &mut Self) {
        for extent in std::mem::take(&mut self.list) {
            if self.bits.remove(extent as usize) {
                other.add(extent as usize);
            }
        }
    }

    fn clear(&mut self) {
        for extent in self.list.drain(..) {
            self.bits.remove(extent as usize);
        }
    }
}

impl ActiveMap {
    /// As it is on disk: every set bit has to be synchronised, in a direction that the next
    /// handshake tells. `extentsize` is a power of two.
    pub fn new(datasize: u64, extentsize: u32, keepdirty: u32, on_disk: &[u8]) -> Self {
        let extents = extents(datasize, extentsize) as usize;
        let found = Bits::from_bytes(on_disk, extents);
        Self {
            datasize,
            shift: extentsize.max(1).trailing_zeros(),
            extents,
            size: on_disk.len(),
            keepdirty: keepdirty as usize,
            wanted: found.clone(),
            durable: found.clone(),
            writing: found.clone(),
            updating: false,
            generation: 0,
            stale: false,
            pending: vec![0; extents],
            fresh: Set::new(extents),
            covered: Set::new(extents),
            to_peer: found,
            from_peer: Bits::new(extents),
            touched: vec![0; extents],
        }
    }

    /// The extents of a range of the data area.
    pub fn range(&self, offset: u64, length: u64) -> Range<usize> {
        if length == 0 {
            return 0..0;
        }
        let first = (offset >> self.shift) as usize;
        let last = ((offset + length - 1) >> self.shift) as usize;
        first.min(self.extents)..(last + 1).min(self.extents)
    }

    /// Where an extent begins, and how long it is: the last one may be short.
    pub fn bounds(&self, extent: usize) -> (u64, u64) {
        let offset = (extent as u64) << self.shift;
        (offset, self.datasize.saturating_sub(offset).min(1 << self.shift))
    }

    /// How many extents there are.
    pub fn extents(&self) -> usize {
        self.extents
    }

    /// A write begins. The update that must be durable before anything of it goes out, if one must.
    pub fn begin_write(&mut self, range: Range<usize>, now: Now) -> Option<u64> {
        let stamp = stamp(now);
        let mut wait = None;
        for extent in range {
            self.pending[extent] += 1;
            self.touched[extent] = stamp;
            let new = self.want(extent);
            if self.pending[extent] == 1 {
                self.look_ahead(extent, stamp);
            }
            if new || !self.durable.has(extent) {
                wait = wait.max(Some(self.holds(extent)));
            }
        }
        wait
    }

    fn want(&mut self, extent: usize) -> bool {
        let new = self.wanted.add(extent);
        self.stale |= new;
        new
    }

    /// Which update makes this extent's bit durable.
    fn holds(&self, extent: usize) -> u64 {
        if self.updating && self.writing.has(extent) {
            self.generation
        } else {
            self.generation + 1
        }
    }

    fn look_ahead(&mut self, extent: usize, stamp: u32) {
        let sequential = extent > 0 && self.wanted.has(extent - 1) && self.touched[extent - 1] > 0;
        let half = extent + AHEAD / 2;
        if self.keepdirty <= AHEAD || !sequential || half >= self.extents || self.wanted.has(half) {
            return;
        }
        for next in extent + 1..(extent + 1 + AHEAD).min(self.extents) {
            if self.want(next) {
                self.touched[next] = stamp;
            }
        }
    }

    /// A write has ended on both nodes, well or not. If it is not on both, its extents have been
    /// given to [`ActiveMap::mark`] before this.
    pub fn end_write(&mut self, range: Range<usize>) {
        for extent in range {
            debug_assert!(self.pending[extent] > 0, "a write ends that never began");
            self.pending[extent] = self.pending[extent].saturating_sub(1);
            self.fresh.add(extent);
        }
    }

    /// The nodes may differ here, and `source` has what counts. Bits of the map are wanted from now
    /// on; a caller that depends on them waits for the update.
    pub fn mark(&mut self, range: Range<usize>, source: SyncSource) {
        for extent in range {
            self.want(extent);
            let (one, other) = match source {
                SyncSource::Primary => (&mut self.to_peer, &mut self.from_peer),
                SyncSource::Secondary => (&mut self.from_peer, &mut self.to_peer),
            };
            other.remove(extent);
            one.add(extent);
        }
    }

    /// What the other node remembers. Counts of writes under way stay as they are (H18).
    pub fn merge(&mut self, remote: &[u8], source: SyncSource) {
        let remote = Bits::from_bytes(remote, self.extents);
        self.wanted.add_all(&remote);
        self.stale = true;
        match source {
            SyncSource::Primary => {
                self.from_peer.remove_all(&remote);
                self.to_peer.add_all(&remote);
            }
            SyncSource::Secondary => {
                self.to_peer.remove_all(&remote);
                self.from_peer.add_all(&remote);
            }
        }
    }

    /// All that is to be synchronised is, from now on, from there.
    pub fn redirect(&mut self, source: SyncSource) {
        let (from, to) = match source {
            SyncSource::Primary => (&mut self.from_peer, &mut self.to_peer),
            SyncSource::Secondary => (&mut self.to_peer, &mut self.from_peer),
        };
        to.add_all(from);
        from.clear();
    }

    /// The link is gone: what was under way on it, or is in the volatile cache of a node that may
    /// have lost its power, has to be synchronised (H1): from the other node if the local copy is
    /// not a whole one (`keep`), for then only that one counts.
    pub fn link_lost(&mut self, keep: bool) {
        let pending: Vec<usize> = self.wanted.iter().filter(|&e| self.pending[e] > 0).collect();
        let unflushed = self.fresh.list.iter().chain(&self.covered.list).map(|&e| e as usize);
        let lost: Vec<usize> = unflushed.chain(pending).collect();
        let source = if keep { SyncSource::Secondary } else { SyncSource::Primary };
        for extent in lost {
            self.mark(extent..extent + 1, source);
        }
        self.fresh.clear();
        self.covered.clear();
    }

    /// The local copy is of no more use: what was being written or may not be stored has to be
    /// fetched from the other node, which has it.
    pub fn local_lost(&mut self) {
        let pending: Vec<usize> = self.wanted.iter().filter(|&e| self.pending[e] > 0).collect();
        let unflushed = self.fresh.list.iter().chain(&self.covered.list).map(|&e| e as usize);
        let lost: Vec<usize> = unflushed.chain(pending).collect();
        for extent in lost {
            self.mark(extent..extent + 1, SyncSource::Secondary);
        }
    }

    /// A flush of both nodes begins. Only one at a time is counted.
    pub fn begin_flush(&mut self) {
        self.fresh.drain_into(&mut self.covered);
    }

    /// It has ended; `both` if both nodes have done it.
    pub fn end_flush(&mut self, both: bool) {
        if both {
            self.covered.clear();
        } else {
            self.covered.drain_into(&mut self.fresh);
        }
    }

    /// Whether a flush of both would have anything to do.
    pub fn unflushed(&self) -> bool {
        !self.fresh.list.is_empty() || !self.covered.list.is_empty()
    }

    /// Whether a flush of both would let [`ActiveMap::clean`] take bits out, now or in a second.
    pub fn unflushed_and_cool(&self, now: Now) -> bool {
        let recent = stamp(now.saturating_sub(COOL));
        let unflushed = self.fresh.list.iter().chain(&self.covered.list);
        unflushed.map(|&e| e as usize).any(|e| self.pending[e] == 0 && self.touched[e] <= recent)
    }

    /// Takes bits out that nothing needs any more; at most `keepdirty` stay because they were
    /// written to lately, none with `all`. Returns how many went.
    pub fn clean(&mut self, now: Now, all: bool) -> usize {
        let recent = stamp(now.saturating_sub(COOL));
        let mut idle: Vec<(u32, usize)> = self
            .wanted
            .iter()
            .filter(|&e| !self.needed(e) && (all || self.touched[e] < recent))
            .map(|e| (self.touched[e], e))
            .collect();
        let keep = if all { 0 } else { self.keepdirty };
        if idle.len() <= keep {
            return 0;
        }
        if keep > 0 {
            idle.select_nth_unstable_by(keep - 1, |a, b| b.cmp(a));
        }
        for &(_, extent) in &idle[keep..] {
            self.wanted.remove(extent);
            self.touched[extent] = 0;
        }
        self.stale = true;
        idle.len() - keep
    }

    fn needed(&self, extent: usize) -> bool {
        self.pending[extent] > 0
            || self.fresh.bits.has(extent)
            || self.covered.bits.has(extent)
            || self.to_peer.has(extent)
            || self.from_peer.has(extent)
    }

    /// Whether what is on disk is not what it should be, and no update is under way.
    pub fn update_due(&self) -> bool {
        !self.updating && self.stale
    }

    /// Begins an update: what is to be written, and its number.
    pub fn begin_update(&mut self) -> (Data, u64) {
        debug_assert!(!self.updating, "one update at a time");
        self.updating = true;
        self.stale = false;
        self.generation += 1;
        self.writing.copy_from(&self.wanted);
        // What the update takes off the disk can no longer be relied on.
        self.durable.keep(&self.writing);
        (Data::from(self.writing.to_bytes(self.size)), self.generation)
    }

    /// It has ended. After a failure only what both the old map and the new one had is relied on.
    pub fn end_update(&mut self, done: bool) -> u64 {
        self.updating = false;
        if done {
            self.durable.copy_from(&self.writing);
        } else {
            self.stale = true;
        }
        self.generation
    }

    /// The number of the last update begun.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of an update that holds all that is wanted now, or nothing if it is on disk.
    pub fn settled(&self) -> Option<u64> {
        if self.stale {
            Some(self.generation + 1)
        } else {
            self.updating.then_some(self.generation)
        }
    }

    /// The lowest extent at or above `from` that is to be synchronised.
    pub fn next_sync(&self, from: usize) -> Option<(usize, SyncSource)> {
        let up = self.to_peer.next(from).map(|e| (e, SyncSource::Primary));
        let down = self.from_peer.next(from).map(|e| (e, SyncSource::Secondary));
        match (up, down) {
            (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Both nodes have the same here, though not on stable storage.
    pub fn synced(&mut self, extent: usize) {
        self.to_peer.remove(extent);
        self.from_peer.remove(extent);
        self.fresh.add(extent);
    }

    /// Which node has what counts, where they differ.
    pub fn source(&self, extent: usize) -> Option<SyncSource> {
        if self.to_peer.has(extent) {
            Some(SyncSource::Primary)
        } else if self.from_peer.has(extent) {
            Some(SyncSource::Secondary)
        } else {
            None
        }
    }

    /// Extents that the other node has to get.
    pub fn to_peer(&self) -> &Bits {
        &self.to_peer
    }

    /// Extents that this node has to get.
    pub fn from_peer(&self) -> &Bits {
        &self.from_peer
    }

    /// Extents marked, or to be marked, on disk.
    pub fn wanted(&self) -> &Bits {
        &self.wanted
    }

    /// Whether the bit is on stable storage, and stays there.
    pub fn is_durable(&self, extent: usize) -> bool {
        self.durable.has(extent)
    }

    /// Writes under way in this extent.
    pub fn pending(&self, extent: usize) -> u32 {
        self.pending.get(extent).copied().unwrap_or_default()
    }

    /// Bytes that the nodes have to be assumed to differ in, by whole extents.
    pub fn dirty_bytes(&self) -> u64 {
        ((self.to_peer.count() + self.from_peer.count()) as u64) << self.shift
    }
}

/// Seconds, never 0, which stands for "not lately".
fn stamp(now: Now) -> u32 {
    (now / 1000) as u32 + 1
}

#[cfg(test)]
mod tests;
