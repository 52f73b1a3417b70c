//! Reads: from the local component, but from the other node where that one has what counts, or
//! where the local one cannot read.
//!
//! A read is cut into segments, each from one node; nearly all are one segment.

use super::remote::Owner;
use super::wait::Wait;
use super::{About, Key, Parked, Primary, SEGMENT};
use crate::Data;
use crate::engine::ranges;
use crate::engine::{ClientRequest, Io, Now};
use crate::wire::errno::Errno;
use crate::wire::hello::SyncSource;
use crate::wire::request::Cmd;

#[derive(Debug)]
pub struct Read {
    tag: u64,
    offset: u64,
    length: u64,
    since: Now,
    /// Segments that are not there yet.
    left: u64,
    /// What has come, if it came in pieces.
    buffer: Vec<u8>,
    /// What has come, if it came in one.
    whole: Option<Data>,
    error: Option<Errno>,
}

#[derive(Debug)]
pub struct Segment {
    read: Key,
    offset: u64,
    length: u64,
    /// Parts that the other node owes.
    left: u64,
    /// Why it could not be read here.
    pub failed: Option<Errno>,
    lock: Option<ranges::Key>,
    /// For its lock.
    pub waits: Option<Wait>,
}

impl Primary {
    pub(super) fn read(&mut self, request: ClientRequest) {
        let ClientRequest { tag, offset, length, .. } = request;
        let read = self.reads.add(Read {
            tag,
            offset,
            length,
            since: self.now,
            left: 0,
            buffer: Vec::new(),
            whole: None,
            error: None,
        });
        self.read_range(read, offset, length);
    }

    fn read_range(&mut self, read: Key, offset: u64, length: u64) {
        if let Some(read) = self.reads.get_mut(read) {
            // So that the first segment, should it end at once, is not taken for the last.
            read.left += 1;
        }
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let there = self.is_there(at);
            let mut to = end;
            if self.detached.is_none() && !self.map.from_peer().is_empty() {
                to = self.extent_end(at).min(end);
                while to < end && self.is_there(to) == there {
                    to = self.extent_end(to).min(end);
                }
            }
            let key = self.segments.add(Segment {
                read,
                offset: at,
                length: to - at,
                left: 0,
                failed: None,
                lock: None,
                waits: None,
            });
            if let Some(read) = self.reads.get_mut(read) {
                read.left += 1;
            }
            self.segment_issue(key, there);
            at = to;
        }
        self.read_checked(read);
    }

    fn extent_end(&self, offset: u64) -> u64 {
        let (start, length) = self.map.bounds(self.map.range(offset, 1).start);
        // Never less than a step, whatever a client asks for.
        (start + length).max(offset + 1)
    }

    /// Whether the other node is to be asked for what is here.
    fn is_there(&self, offset: u64) -> bool {
        self.detached.is_some()
            // A node that was promoted with half a copy does not know which half until it is told.
            || (!self.met && self.needs_peer())
            || (self.map.from_peer().has(self.map.range(offset, 1).start)
                && (self.link.up() || self.needs_peer()))
    }

    /// Once more: what it was waiting for is there, or is gone.
    pub(super) fn segment_goes(&mut self, key: Key) {
        if let Some(segment) = self.segment_gone(key) {
            self.read_range(segment.read, segment.offset, segment.length);
            self.read_checked(segment.read);
        }
    }

    fn segment_issue(&mut self, key: Key, there: bool) {
        let Some(segment) = self.segments.get(key) else { return };
        let (offset, length) = (segment.offset, segment.length);
        if !there {
            return self.io(About::Segment, key, Io::Read { offset, length: length as u32 });
        }
        if self.link.up() {
            return self.segment_asked(key);
        }
        let since = self.reads.get(segment.read).map_or(self.now, |read| read.since);
        self.park(since, Parked::Segment(key));
    }

    /// The other node is to be asked. While both count, a change that has been answered here may
    /// still fail there: what overlaps has to have ended, well, before the other node is believed.
    fn segment_asked(&mut self, key: Key) {
        let Some(segment) = self.segments.get(key) else { return };
        let (offset, length) = (segment.offset, segment.length);
        if self.needs_peer() {
            return self.segment_sent(key);
        }
        let since = self.reads.get(segment.read).map_or(self.now, |read| read.since);
        let (lock, held) = self.ranges.lock(key | SEGMENT, offset, length);
        let waits = (!held).then(|| self.wait_begins(key | SEGMENT, since));
        if let Some(segment) = self.segments.get_mut(key) {
            (segment.lock, segment.waits) = (Some(lock), waits);
        }
        if held {
            self.segment_locked(key);
        }
    }

    pub(super) fn segment_locked(&mut self, key: Key) {
        let Some(segment) = self.segments.get_mut(key) else { return };
        let waits = segment.waits.take();
        self.wait_ends(waits);
        let Some(segment) = self.segments.get(key) else { return };
        let mut extents = self.map.range(segment.offset, segment.length);
        let stale = extents.any(|e| self.map.source(e) == Some(SyncSource::Primary));
        if stale || !self.link.up() {
            self.segment_lost(key);
        } else {
            self.segment_sent(key);
        }
    }

    fn segment_sent(&mut self, key: Key) {
        let Some(segment) = self.segments.get(key) else { return };
        let (offset, length) = (segment.offset, segment.length);
        let parts = self.job(Owner::Segment(key), Cmd::Read, offset, length, None, false, false);
        if let Some(segment) = self.segments.get_mut(key) {
            segment.left = parts;
        }
    }

    fn segment_gone(&mut self, key: Key) -> Option<Segment> {
        let segment = self.segments.remove(key)?;
        self.wait_ends(segment.waits);
        if let Some(lock) = segment.lock {
            self.ranges.release(lock, &mut self.ready);
        }
        Some(segment)
    }

    /// The local component has read it.
    pub(super) fn segment_read(&mut self, key: Key, result: Result<Option<Data>, Errno>) {
        let Some(segment) = self.segments.get_mut(key) else { return };
        let (offset, length) = (segment.offset, segment.length);
        let error = match result {
            Ok(Some(data)) if data.len() as u64 == length => {
                segment.left = 1;
                return self.segment_part(key, offset, data);
            }
            Ok(_) => Errno::EIO,
            Err(error) => error,
        };
        segment.failed = Some(error);
        self.counters.read_errors += 1;
        log::error!("{}: read {length} bytes at {offset}: {error}", self.meta.resource);
        let extents = self.map.range(offset, length);
        let stale = extents.clone().any(|e| self.map.source(e) == Some(SyncSource::Primary));
        if !self.link.up() || stale {
            return self.segment_fails(key, error);
        }
        // The other node has it; what it has is then written here again.
        self.mark(extents, SyncSource::Secondary);
        self.segment_asked(key);
    }

    /// Bytes of it have come, from either node.
    pub(super) fn segment_part(&mut self, key: Key, offset: u64, data: Data) {
        let Some(segment) = self.segments.get_mut(key) else { return };
        segment.left = segment.left.saturating_sub(1);
        let (read_key, over) = (segment.read, segment.left == 0);
        if let Some(read) = self.reads.get_mut(read_key) {
            if data.len() as u64 == read.length {
                read.whole = Some(data);
            } else {
                if read.buffer.is_empty() {
                    read.buffer = vec![0; read.length as usize];
                }
                let at = (offset - read.offset) as usize;
                if let Some(place) = read.buffer.get_mut(at..at + data.len()) {
                    place.copy_from_slice(&data);
                }
            }
        }
        if over {
            self.segment_gone(key);
            self.read_checked(read_key);
        }
    }

    /// The other node could not read it.
    pub(super) fn segment_refused(&mut self, key: Key, error: Errno) {
        if let Some(segment) = self.segments.get(key) {
            // What is wrong here is what the client is to know (H25).
            let error = segment.failed.unwrap_or(error);
            self.segment_fails(key, error);
        }
    }

    pub(super) fn segment_lost(&mut self, key: Key) {
        match self.segments.get(key).map(|segment| segment.failed) {
            Some(Some(error)) => self.segment_fails(key, error),
            Some(None) => self.segment_goes(key),
            None => {}
        }
    }

    pub(super) fn segment_fails(&mut self, key: Key, error: Errno) {
        if let Some(segment) = self.segment_gone(key) {
            if let Some(read) = self.reads.get_mut(segment.read) {
                read.error = read.error.or(Some(error));
            }
            self.read_checked(segment.read);
        }
    }

    /// One of what it waits for has come to its end.
    fn read_checked(&mut self, key: Key) {
        let Some(read) = self.reads.get_mut(key) else { return };
        read.left = read.left.saturating_sub(1);
        if read.left > 0 {
            return;
        }
        if let Some(read) = self.reads.remove(key) {
            let result = match (read.error, read.whole) {
                (Some(error), _) => Err(error),
                (None, Some(data)) => Ok(Some(data)),
                (None, None) => Ok(Some(Data::from(read.buffer))),
            };
            self.answer(read.tag, result);
        }
    }
}
