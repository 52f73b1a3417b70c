//! The primary: what becomes of clients' requests, on two nodes of which either may fail.
//!
//! The rules, each in the file that keeps it:
//! - [`change`]: a write, trim or write of zeroes goes to both nodes once its extents are marked on
//!   disk, and is answered as the mode says; or alone, once the disk knows that we are alone.
//! - [`detach`]: when the local component is given up.
//! - [`read`]: from the local component, unless the other node has what counts.
//! - [`flush`]: one flush of both nodes at a time; what it proves lets marks go.
//! - [`link`]: the handshake, and what the end of a link does to all that was on it.
//! - [`remote`]: requests on the link: cut into parts, limited in number and in time.
//! - [`resync`]: copying what differs, in both directions.
//! - [`wait`]: no lock is waited for longer than a client may have to.
//! - [`disk`]: the map and the metadata, one write of each at a time, and who waits for them.
//!
//! Two things are never done: a change that may be on one node only is not answered before its
//! extents are marked for synchronisation; and a change alone is not answered before the counter
//! that proves it is on stable storage.

mod change;
mod detach;
mod disk;
mod flush;
mod link;
mod read;
mod remote;
mod resync;
mod slab;
mod stop;
mod wait;

use super::activemap::ActiveMap;
use super::ranges::{Owner, Ranges};
use super::{
    ClientRequest, Consistency, Counters, Happening, Io, Metadata, Now, Op, PrimaryAction,
    PrimaryInput, Role, Settings, Status, Token,
};
use crate::Data;
use crate::wire::errno::Errno;
use crate::wire::hello::SyncSource;
use slab::{Key, Slab};
use std::collections::BTreeMap;
use std::ops::Range;

/// The most bytes in one request to a peer of our own kind.
const LARGE: u32 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Primary {
    meta: Metadata,
    settings: Settings,
    map: ActiveMap,
    ranges: Ranges,
    changes: Slab<change::Change>,
    reads: Slab<read::Read>,
    segments: Slab<read::Segment>,
    rounds: flush::Rounds,
    link: link::Link,
    remote: remote::Remote,
    resync: resync::Resync,
    disk: disk::Disk,
    parked: BTreeMap<(Now, u64), Parked>,
    parkings: u64,
    /// Changes that only the other node has, for which the local component is to be given up once
    /// the other node has all that was answered before.
    giving_up: Vec<Key>,
    waits: wait::Waits,
    /// That we have gone on alone since both nodes had the same is on disk.
    alone: Mark,
    /// The local component is not used any more, and that is on disk.
    detached: Option<Mark>,
    stop: stop::Stop,
    /// The link has been up.
    met: bool,
    counters: Counters,
    zeroes: Data,
    random: u64,
    now: Now,
    out: Vec<PrimaryAction>,
    ready: Vec<Owner>,
}

/// Something that has to be on disk before anybody is told of what depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Unset,
    /// With this write of the metadata it will be.
    Asked(u64),
    Durable,
    /// It could not be stored; it will be tried again when it is needed.
    Failed,
}

/// Who waits for a write of the metadata, or for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    Change(Key),
    /// A client's flush: its tag, and when it came.
    Client(u64, Now),
    Resync,
    Checkpoint,
    Stop,
}

/// What waits for the link to come back, because the local copy alone is of no use.
#[derive(Clone, Copy, Debug)]
enum Parked {
    Change(Key),
    Segment(Key),
    Flush(u64, Now),
}

/// What a token is about; its upper eight bits.
#[derive(Clone, Copy)]
#[repr(u8)]
enum About {
    Change = 1,
    Segment,
    Chunk,
    Flush,
    Map,
    Meta,
}

impl About {
    fn token(self, key: u64) -> Token {
        Token((self as u64) << 56 | key)
    }
}

/// A lock's owner is a piece of a resynchronisation, not a change.
const CHUNK: Owner = 1 << 63;

/// It is a read.
const SEGMENT: Owner = 1 << 62;

impl Primary {
    /// From what is on disk. `seed` is from the system's random numbers: the resource's unique id
    /// is made from it.
    pub fn new(mut meta: Metadata, map: &[u8], settings: Settings, seed: u64) -> Self {
        meta.prevrole = Role::Primary;
        let mut map = ActiveMap::new(meta.datasize, meta.extentsize, meta.keepdirty, map);
        if meta.consistency == Consistency::Inconsistent {
            map.redirect(SyncSource::Secondary);
        }
        Self {
            meta,
            settings,
            map,
            ranges: Ranges::new(),
            changes: Slab::new(),
            reads: Slab::new(),
            segments: Slab::new(),
            rounds: flush::Rounds::default(),
            link: link::Link::default(),
            remote: remote::Remote::default(),
            resync: resync::Resync::default(),
            disk: disk::Disk::default(),
            parked: BTreeMap::new(),
            parkings: 0,
            giving_up: Vec::new(),
            waits: wait::Waits::default(),
            alone: Mark::Unset,
            detached: None,
            stop: stop::Stop::default(),
            met: false,
            counters: Counters::default(),
            zeroes: Data::from(vec![0; LARGE as usize]),
            random: seed,
            now: 0,
            out: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Something has happened: what is to be done is added to `out`, to be done in this order.
    pub fn on(&mut self, input: PrimaryInput, now: Now, out: &mut Vec<PrimaryAction>) {
        self.now = self.now.max(now);
        std::mem::swap(&mut self.out, out);
        match input {
            PrimaryInput::Request(request) => self.request(request),
            PrimaryInput::Done(token, result) => self.done(token, result),
            PrimaryInput::Connected(conn) => self.connected(conn),
            PrimaryInput::Handshake(message) => self.handshake(message),
            PrimaryInput::Reply(reply) => self.reply(reply),
            PrimaryInput::Lost(why) => self.link_down(&why, link::Ended::ByPeer),
            PrimaryInput::Tick => self.tick(),
            PrimaryInput::Settings(settings) => self.settle_settings(*settings),
            PrimaryInput::Stop => self.stop_asked(),
        }
        self.pump();
        std::mem::swap(&mut self.out, out);
    }

    /// When [`PrimaryInput::Tick`] is due next.
    pub fn next_tick(&self) -> Option<Now> {
        if self.stop == stop::Stop::Over {
            return None;
        }
        let times = [
            self.link_time(),
            self.remote_time(),
            self.parked.first_key_value().map(|((at, _), _)| *at),
            self.wait_time(),
            self.flush_time(),
            self.resync_time(),
            self.disk_time(),
        ];
        times.into_iter().flatten().min()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        Status {
            role: Role::Primary,
            connected: self.link.up(),
            trouble: self.link.trouble.clone(),
            consistency: self.meta.consistency,
            detached: self.detached.is_some(),
            dirty: self.map.dirty_bytes(),
            marked: (self.map.wanted().count() as u64) * u64::from(self.meta.extentsize),
            sync: self.progress(),
            counters: self.counters,
            requests: (self.changes.len() + self.reads.len() + self.rounds.clients()) as u64,
            local_queue: self.disk.under_way,
            send_queue: self.remote.waiting() as u64,
            recv_queue: self.remote.sent() as u64,
        }
    }

    /// The metadata as it is, or is being written.
    pub fn metadata(&self) -> &Metadata {
        &self.meta
    }

    /// The activemap, for those who ask which extents differ.
    pub fn map(&self) -> &ActiveMap {
        &self.map
    }

    fn request(&mut self, request: ClientRequest) {
        self.resync.last_request = Some(self.now);
        match request.op {
            Op::Read => self.counters.reads += 1,
            Op::Write => self.counters.writes += 1,
            Op::Zero | Op::Trim => self.counters.deletes += 1,
            Op::Flush => self.counters.flushes += 1,
        }
        if self.stop.asked() {
            return self.answer(request.tag, Err(Errno(libc::ESHUTDOWN)));
        }
        match request.op {
            Op::Flush => self.join(Waiter::Client(request.tag, self.now)),
            _ if request.length == 0 => self.answer(request.tag, Ok(None)),
            Op::Read => self.read(request),
            Op::Write if request.data.as_ref().map(|d| d.len() as u64) != Some(request.length) => {
                self.answer(request.tag, Err(Errno::EINVAL));
            }
            Op::Write | Op::Zero | Op::Trim => self.change(request),
        }
    }

    fn done(&mut self, token: Token, result: Result<Option<Data>, Errno>) {
        self.disk.under_way = self.disk.under_way.saturating_sub(1);
        let key = token.0 & ((1 << 56) - 1);
        let unit = result.as_ref().map(|_| ()).map_err(|e| *e);
        match (token.0 >> 56) as u8 {
            a if a == About::Change as u8 => self.change_stored(key, unit),
            a if a == About::Segment as u8 => self.segment_read(key, result),
            a if a == About::Chunk as u8 => self.chunk_done(key, result),
            a if a == About::Flush as u8 => self.flushed_here(key, unit),
            a if a == About::Map as u8 => self.map_done(unit),
            a if a == About::Meta as u8 => self.meta_done(key, unit),
            _ => log::error!("{}: an I/O ended that nobody began", self.meta.resource),
        }
    }

    fn tick(&mut self) {
        self.remote_tick();
        self.link_tick();
        self.parked_tick();
        self.wait_tick();
        self.flush_tick();
    }

    /// Whatever the last event made possible.
    fn pump(&mut self) {
        loop {
            self.give_up_pump();
            self.granted();
            self.resync_pump();
            self.tell_state();
            self.stop_pump();
            self.start_round();
            self.transmit();
            if self.ready.is_empty() {
                break;
            }
        }
        self.update_map();
        self.write_meta();
    }

    /// Locks that have come to be held.
    fn granted(&mut self) {
        while !self.ready.is_empty() {
            let mut batch = std::mem::take(&mut self.ready);
            for owner in batch.drain(..) {
                if owner & CHUNK != 0 {
                    self.chunk_locked(owner & !CHUNK);
                } else if owner & SEGMENT != 0 {
                    self.segment_locked(owner & !SEGMENT);
                } else {
                    self.change_locked(owner);
                }
            }
            if self.ready.is_empty() {
                self.ready = batch;
            }
        }
    }

    /// Whether nothing of ours counts unless the other node has it too: the local copy is not
    /// complete, or not in use.
    fn needs_peer(&self) -> bool {
        self.detached.is_some() || self.meta.consistency == Consistency::Inconsistent
    }

    /// Marks extents for synchronisation, also those that are being synchronised just now.
    fn mark(&mut self, extents: Range<usize>, source: SyncSource) {
        self.resync_again(&extents);
        self.map.mark(extents, source);
    }

    fn io(&mut self, about: About, key: u64, io: Io) {
        self.disk.under_way += 1;
        self.out.push(PrimaryAction::Io(about.token(key), io));
    }

    fn answer(&mut self, tag: u64, result: Result<Option<Data>, Errno>) {
        self.out.push(PrimaryAction::Answer(tag, result));
    }

    fn tell(&mut self, happening: Happening) {
        self.out.push(PrimaryAction::Tell(happening));
    }

    fn park(&mut self, since: Now, parked: Parked) {
        self.parkings += 1;
        self.parked.insert((since + self.settings.timeout, self.parkings), parked);
    }

    fn parked_tick(&mut self) {
        while let Some(entry) = self.parked.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Parked::Change(key) => self.change_fails(key, Errno::EIO),
                Parked::Segment(key) => self.segment_fails(key, Errno::EIO),
                Parked::Flush(tag, _) => self.answer(tag, Err(Errno::EIO)),
            }
        }
    }

    /// The link is back.
    fn unpark(&mut self) {
        for parked in std::mem::take(&mut self.parked).into_values() {
            match parked {
                Parked::Change(key) => self.change_goes(key),
                Parked::Segment(key) => self.segment_goes(key),
                Parked::Flush(tag, since) => self.join(Waiter::Client(tag, since)),
            }
        }
    }

    /// 64 random bits (splitmix64 of the seed).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests;
