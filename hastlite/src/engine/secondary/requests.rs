//! The secondary's requests: checked, ordered, carried out and answered.
//!
//! Disks are asked for as much at once as the primary asks for, but what overlaps runs in the order
//! of arrival, so that both nodes end with the same; a read waits for what it overlaps; a flush is
//! begun when all that was received before it is stored.

use super::super::ranges::{Key, Ranges};
use super::super::{Consistency, Io, Now, SecondaryAction, Token, ext};
use super::unflushed::mark;
use super::{LONGEST, Secondary};
use crate::Data;
use crate::wire::errno::Errno;
use crate::wire::request::{Cmd, Reply, Request, State};
use std::collections::{BTreeMap, VecDeque};

/// Requests that are not answered for good.
#[derive(Debug)]
pub struct Queue {
    /// By the token of their I/O.
    ops: BTreeMap<u64, Op>,
    ranges: Ranges,
    flushes: Vec<WaitingFlush>,
    /// Changes that are not stored yet.
    unstored: usize,
    at_disk: u64,
    /// Not begun, because this node's metadata has to say first what they make of its data.
    held: VecDeque<(u64, Request)>,
    ready: Vec<u64>,
}

#[derive(Debug)]
struct Op {
    link: u64,
    request: Request,
    /// Deleted bytes are to read as zeroes.
    zeroes: bool,
    key: Option<Key>,
}

#[derive(Debug)]
struct WaitingFlush {
    id: u64,
    /// Changes received before it that are not stored.
    waits: usize,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            ops: BTreeMap::new(),
            ranges: Ranges::new(),
            flushes: Vec::new(),
            unstored: 0,
            at_disk: 0,
            held: VecDeque::new(),
            ready: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.held.is_empty()
    }

    pub fn len(&self) -> u64 {
        (self.ops.len() + self.held.len()) as u64
    }

    pub fn at_disk(&self) -> u64 {
        self.at_disk
    }
}

fn changes(cmd: Cmd) -> bool {
    matches!(cmd, Cmd::Write | Cmd::Delete)
}

/// A disk that cannot forget bytes is not broken.
fn unsupported(error: Errno) -> bool {
    [libc::EOPNOTSUPP, libc::ENOTTY, libc::ENOSYS].contains(&error.0)
}

impl Secondary {
    pub(super) fn request(&mut self, request: Request, now: Now, out: &mut Vec<SecondaryAction>) {
        let Some(link) = &mut self.link else { return };
        link.heard = now;
        if request.cmd == Cmd::Keepalive {
            return self.told(request.state, out);
        }
        if let Err(why) = self.check(&request) {
            return self.invalid(request.seq, request.memsync, why, now, out);
        }
        self.proven(out);
        if request.memsync {
            self.reply(self.links, Reply { received: true, ..plain(request.seq) }, out);
        }
        let link = self.links;
        if changes(request.cmd) && self.is_target() {
            self.write_meta(self.with(Consistency::Inconsistent), out);
        }
        if self.must_wait(request.cmd) {
            self.queue.held.push_back((link, request));
        } else {
            self.begin(link, request, out);
        }
    }

    /// Whether a request has to wait until this node's data is said to be inconsistent.
    fn must_wait(&self, cmd: Cmd) -> bool {
        !self.queue.held.is_empty() || changes(cmd) && self.is_target() && !self.says_inconsistent()
    }

    /// A request that makes no sense. Nothing of it is done, and it proves nothing (A6). For a write
    /// with two replies FreeBSD's primary expects the first one, and no second (A3, B3).
    pub(super) fn invalid(
        &mut self,
        seq: u64,
        memsync: bool,
        why: &str,
        now: Now,
        out: &mut Vec<SecondaryAction>,
    ) {
        let Some(link) = &mut self.link else { return };
        link.heard = now;
        log::warn!("{}: request {seq} of the primary: {why}", self.meta.resource);
        let reply = Reply { received: memsync, error: Some(Errno::EINVAL), ..plain(seq) };
        self.reply(self.links, reply, out);
    }

    fn check(&self, request: &Request) -> Result<(), &'static str> {
        let &Request { cmd, offset, length, .. } = request;
        if cmd == Cmd::Flush {
            return Ok(());
        }
        if length == 0 {
            return Err("nothing is asked for");
        }
        if !offset.is_multiple_of(self.sector) || !length.is_multiple_of(self.sector) {
            return Err("not whole sectors");
        }
        if length > LONGEST && cmd != Cmd::Delete {
            return Err("longer than 1 MiB");
        }
        if offset.checked_add(length).is_none_or(|end| end > self.meta.datasize) {
            return Err("beyond the end");
        }
        let data = request.data.as_ref().map(|data| data.len() as u64);
        if data != (cmd == Cmd::Write).then_some(length) {
            return Err("data of another length than the request");
        }
        Ok(())
    }

    /// The primary sends requests only once it has stored the map that it was told, so that it need
    /// not be remembered here as well.
    fn proven(&mut self, out: &mut Vec<SecondaryAction>) {
        let Some(link) = self.link.as_mut().filter(|link| !link.proven) else { return };
        link.proven = true;
        if self.map.iter().any(|byte| *byte != 0) {
            self.map.fill(0);
            self.write_map(out);
        }
    }

    /// A keepalive may tell how the data here stands.
    fn told(&mut self, state: Option<State>, out: &mut Vec<SecondaryAction>) {
        if !self.is_native() {
            return;
        }
        let (target, consistency) = match state {
            Some(State::Inconsistent) => (true, Consistency::Inconsistent),
            Some(State::Consistent) => (false, Consistency::Consistent),
            None => return,
        };
        if let Some(link) = &mut self.link {
            link.target = target;
        }
        self.write_meta(self.with(consistency), out);
        if !target {
            // What still waits came when the primary had copied everything.
            self.release_held(out);
        }
    }

    /// The metadata says what it has to: what waited for that may begin.
    pub(super) fn release_held(&mut self, out: &mut Vec<SecondaryAction>) {
        for (link, request) in std::mem::take(&mut self.queue.held) {
            self.begin(link, request, out);
        }
    }

    pub(super) fn holds(&self) -> bool {
        !self.queue.held.is_empty()
    }

    pub(super) fn drop_held(&mut self) {
        self.queue.held.clear();
    }

    fn begin(&mut self, link: u64, request: Request, out: &mut Vec<SecondaryAction>) {
        let Token(id) = self.token();
        let zeroes = self.link.as_ref().is_some_and(|link| link.ext & ext::ZEROES != 0);
        let cmd = request.cmd;
        let mut op = Op { link, request, zeroes, key: None };
        let now = if cmd == Cmd::Flush {
            let waits = self.queue.unstored;
            if waits > 0 {
                self.queue.flushes.push(WaitingFlush { id, waits });
            }
            waits == 0
        } else {
            let (key, held) = self.queue.ranges.lock(id, op.request.offset, op.request.length);
            op.key = Some(key);
            self.queue.unstored += usize::from(changes(cmd));
            held
        };
        self.queue.ops.insert(id, op);
        if now {
            self.start(id, out);
        }
    }

    fn start(&mut self, id: u64, out: &mut Vec<SecondaryAction>) {
        let Some(op) = self.queue.ops.get_mut(&id) else { return };
        let &mut Request { cmd, offset, length, .. } = &mut op.request;
        let io = match cmd {
            Cmd::Read => Io::Read { offset, length: length as u32 },
            Cmd::Write => match op.request.data.take() {
                Some(data) => Io::Write { offset, data },
                None => return,
            },
            Cmd::Delete if op.zeroes => Io::Zero { offset, length },
            Cmd::Delete => Io::Discard { offset, length },
            Cmd::Flush | Cmd::Keepalive => Io::Flush,
        };
        if cmd == Cmd::Flush {
            self.unflushed.begins(id);
        }
        self.queue.at_disk += 1;
        out.push(SecondaryAction::Io(Token(id), io));
    }

    /// The disk has done it, or not.
    pub(super) fn finished(
        &mut self,
        id: u64,
        result: Result<Option<Data>, Errno>,
        out: &mut Vec<SecondaryAction>,
    ) {
        let Some(op) = self.queue.ops.remove(&id) else { return };
        self.queue.at_disk -= 1;
        let Request { cmd, seq, offset, length, memsync, .. } = op.request;
        if let Some(key) = op.key {
            self.queue.ranges.release(key, &mut self.queue.ready);
        }
        let result = match (cmd, result) {
            (Cmd::Read, Ok(Some(data))) if data.len() as u64 == length => Ok(Some(data)),
            (Cmd::Read, Ok(_)) => Err(Errno::EIO),
            (_, result) => result.map(|_| None),
        };
        self.count(cmd, result.is_err());
        let error = result.as_ref().err().copied();
        let reply = Reply { error, data: result.ok().flatten(), ..plain(seq) };
        self.reply(op.link, reply, out);
        let error = error.filter(|&error| cmd == Cmd::Write || !unsupported(error));
        if changes(cmd) {
            self.stored(id);
            let (first, last) = self.extents(offset, length);
            match error {
                Some(error) => self.not_stored(offset, length, memsync, error, out),
                None => self.unflushed.changed(first, last),
            }
        } else if cmd == Cmd::Flush {
            match error {
                Some(error) => self.not_flushed(error, out),
                None => self.unflushed.succeeded(id),
            }
        }
        let mut ready = std::mem::take(&mut self.queue.ready);
        for id in ready.drain(..) {
            self.start(id, out);
        }
        self.queue.ready = ready;
    }

    /// A change has come to its end: flushes that waited for the last one begin.
    fn stored(&mut self, id: u64) {
        let Queue { flushes, ready, unstored, .. } = &mut self.queue;
        *unstored -= 1;
        flushes.retain_mut(|flush| {
            flush.waits -= usize::from(flush.id > id);
            if flush.waits == 0 {
                ready.push(flush.id);
            }
            flush.waits > 0
        });
    }

    /// This node lacks what the primary may think it has. The map and the metadata say so, and the
    /// link ends after the reply: FreeBSD's primary takes the error for a success (H2), but not the
    /// map that it is told next.
    fn not_stored(
        &mut self,
        offset: u64,
        length: u64,
        received: bool,
        error: Errno,
        out: &mut Vec<SecondaryAction>,
    ) {
        let (first, last) = self.extents(offset, length);
        mark(&mut self.map, first, last);
        self.write_map(out);
        if received {
            // Somebody may rely on it already.
            self.write_meta(self.with(Consistency::Inconsistent), out);
        }
        let why = format!("write {length} bytes at {offset} of the data area: {error}");
        log::error!("{}: {why}", self.meta.resource);
        self.end_link(&why, out);
    }

    /// What was said to be stored since the disk last brought everything onto stable storage may not
    /// be there: it says so once, and nobody knows of what.
    fn not_flushed(&mut self, error: Errno, out: &mut Vec<SecondaryAction>) {
        self.unflushed.failed(&mut self.map);
        self.write_map(out);
        self.write_meta(self.with(Consistency::Inconsistent), out);
        let why = format!("flush: {error}");
        log::error!("{}: {why}", self.meta.resource);
        self.end_link(&why, out);
    }

    /// The first and the last that a change is in.
    fn extents(&self, offset: u64, length: u64) -> (u64, u64) {
        let extentsize = u64::from(self.meta.extentsize.max(1));
        (offset / extentsize, (offset + length.max(1) - 1) / extentsize)
    }

    fn count(&mut self, cmd: Cmd, failed: bool) {
        let c = &mut self.counters;
        let (count, errors) = match cmd {
            Cmd::Read => (&mut c.reads, &mut c.read_errors),
            Cmd::Write => (&mut c.writes, &mut c.write_errors),
            Cmd::Delete => (&mut c.deletes, &mut c.delete_errors),
            Cmd::Flush | Cmd::Keepalive => (&mut c.flushes, &mut c.flush_errors),
        };
        *count += 1;
        *errors += u64::from(failed);
    }

    /// Sends a reply by the link that the request came by, if that is still there.
    fn reply(&self, link: u64, reply: Reply, out: &mut Vec<SecondaryAction>) {
        if self.link.is_some() && link == self.links {
            out.push(SecondaryAction::Reply(reply));
        }
    }
}

fn plain(seq: u64) -> Reply {
    Reply { seq, received: false, error: None, data: None }
}
