//! Rules of FreeBSD's hastd in the place of ours, so that a schedule can be shown to fail with
//! them. None of it is in the engines: what they do or are told is changed on its way, to what the
//! reference would have left on the disks.

use super::disk::Disk;
use crate::Data;
use crate::engine::{Consistency, Io, Metadata, Op};
use crate::wire::errno::Errno;
use crate::wire::hello::Handshake;
use crate::wire::request::{Cmd, Reply, Request};
use std::collections::{BTreeMap, BTreeSet};

/// The hazard that the rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// What was under way when the link went is not synchronised.
    H1,
    /// What the other node could not store counts as stored there.
    H2,
    /// What the local component could not store counts as stored here.
    H3,
    /// Trims are in no map, take no lock and count for nothing.
    H4,
    /// Metadata is not flushed.
    H5,
    /// Going alone is counted only if the counters were equal in this process's time.
    H6,
    /// Nobody remembers that a copy is incomplete.
    H7,
    /// A piece that could not be copied counts as copied.
    H8,
    /// The length of data is not looked at: what a cut leaves out is what was in the buffer.
    H9,
    /// Metadata has one place, and can be half written.
    H14,
    /// Two new nodes are taken to be the same.
    H23,
    /// With memsync a write that nobody could store is answered well.
    A1,
    /// A link that came up while the primary was starting does not lead to a resynchronisation.
    A2,
    /// Data that a cut leaves out of a reply is what was in the buffer.
    B1,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shim {
    rule: Option<Reference>,
    nodes: [Memory; 2],
}

#[derive(Debug, Default)]
struct Memory {
    /// H1: changes without reply, and extents that nobody thinks of any more.
    sent: BTreeMap<u64, (u64, u64)>,
    forgotten: BTreeSet<u64>,
    extentsize: u64,
    linked: bool,
    /// H5, H6: the metadata as it was last written.
    last: Option<Metadata>,
    known_remotecnt: u64,
    /// H6: what the engine thinks its counter is, and what it is.
    hidden: Option<(u64, u64)>,
    /// A2: that this process has had.
    links: u32,
    /// H8: pieces that could not be read.
    skipped: BTreeSet<(u64, u64)>,
}

impl Shim {
    pub fn new(rule: Option<Reference>) -> Self {
        Self { rule, nodes: [Memory::default(), Memory::default()] }
    }

    fn is(&self, rule: Reference) -> bool {
        self.rule == Some(rule)
    }

    pub fn started(&mut self, node: usize, disk: &mut Disk) {
        if self.is(Reference::H7) {
            disk.meta.consistency = Consistency::Consistent;
        }
        if self.is(Reference::H23) && disk.meta.resuid == 0 {
            disk.map.fill(0);
        }
        self.nodes[node] = Memory { last: Some(disk.meta.clone()), ..Memory::default() };
    }

    /// The power failed during an I/O.
    pub fn interrupted(&self, _: usize, disk: &mut Disk, io: &Io, power: bool, done: u32) {
        if self.is(Reference::H14) && power && done == 500 && matches!(io, Io::Meta(_)) {
            disk.torn = true;
        }
    }

    pub fn disk(
        &mut self,
        node: usize,
        disk: &mut Disk,
        io: &Io,
        result: Result<Option<Data>, Errno>,
    ) -> Result<Option<Data>, Errno> {
        let memory = &mut self.nodes[node];
        let is_primary = memory.extentsize > 0;
        let change = matches!(io, Io::Write { .. } | Io::Zero { .. } | Io::Discard { .. });
        match (self.rule, io, &result) {
            (Some(Reference::H2), _, Err(_)) if change && !is_primary => Ok(None),
            (Some(Reference::H3), _, Err(_)) if change && is_primary => Ok(None),
            (Some(Reference::H8), Io::Read { offset, length }, Err(_)) if is_primary => {
                memory.skipped.insert((*offset, u64::from(*length)));
                Ok(Some(disk.read(*offset, u64::from(*length))))
            }
            (Some(Reference::H5), Io::Meta(meta), Ok(_)) => {
                let before = memory.last.replace((**meta).clone());
                if disk.meta_stable.is_none() {
                    disk.meta_stable = before;
                }
                result
            }
            (Some(Reference::H5), Io::Flush, Ok(_)) => {
                disk.meta_stable = None;
                result
            }
            (Some(Reference::H6), Io::Meta(_), Ok(_)) => {
                memory.uncounted(&mut disk.meta);
                result
            }
            _ => result,
        }
    }

    /// Whether a promotion without the other node leaves a trace: not where processes do not.
    pub fn counts_promotions(&self) -> bool {
        self.rule != Some(Reference::H6)
    }

    /// The primary says something in a handshake.
    pub fn says(&mut self, node: usize, message: &mut Handshake) {
        if let Handshake::Second(second) = message
            && let Some((thought, real)) = self.nodes[node].hidden
            && second.localcnt == thought
        {
            second.localcnt = real;
        }
    }

    /// The primary hears something in a handshake.
    pub fn hears(&mut self, node: usize, message: &Handshake) {
        if let Handshake::SecondReply(reply) = message {
            self.nodes[node].known_remotecnt = reply.remotecnt;
            self.nodes[node].linked = true;
            self.nodes[node].links += 1;
        }
    }

    /// The primary sends a request; the reply, if the reference would not have sent it.
    pub fn sends(&mut self, node: usize, request: &Request) -> Option<Reply> {
        let memory = &mut self.nodes[node];
        let range = (request.offset, request.length);
        let swallowed = match self.rule {
            Some(Reference::H1) if request.cmd == Cmd::Write && !request.memsync => {
                let extent = request.offset / memory.extentsize.max(1);
                memory.forgotten.contains(&extent)
            }
            Some(Reference::H8) if request.cmd == Cmd::Write && !request.memsync => {
                memory.skipped.remove(&range)
            }
            Some(Reference::A2) if request.cmd == Cmd::Write && !request.memsync => {
                memory.links == 1
            }
            _ => false,
        };
        if swallowed {
            let (received, error, data) = (false, None, None);
            return Some(Reply { seq: request.seq, received, error, data });
        }
        if matches!(request.cmd, Cmd::Write | Cmd::Delete) {
            memory.sent.insert(request.seq, range);
        }
        None
    }

    pub fn replied(&mut self, node: usize, reply: &Reply) {
        if !reply.received {
            self.nodes[node].sent.remove(&reply.seq);
        }
    }

    /// The link of this primary is gone.
    pub fn link_lost(&mut self, node: usize, extentsize: u32) {
        let memory = &mut self.nodes[node];
        memory.linked = false;
        let extentsize = u64::from(extentsize);
        for (offset, length) in std::mem::take(&mut memory.sent).into_values() {
            memory.forgotten.extend(offset / extentsize..=(offset + length - 1) / extentsize);
        }
    }

    /// A client asks: what is written alone is remembered.
    pub fn asked(&mut self, node: usize, op: Op, offset: u64, length: u64, extentsize: u32) {
        let memory = &mut self.nodes[node];
        memory.extentsize = u64::from(extentsize);
        if !memory.linked && op == Op::Write {
            let first = offset / memory.extentsize;
            for extent in first..=(offset + length - 1) / memory.extentsize {
                memory.forgotten.remove(&extent);
            }
        }
    }

    pub fn is_untracked(&self, op: Op) -> bool {
        self.is(Reference::H4) && matches!(op, Op::Trim | Op::Zero)
    }

    /// What a client hears of a change.
    pub fn answered(&self, result: Result<Option<Data>, Errno>) -> Result<Option<Data>, Errno> {
        if self.is(Reference::A1) { result.or(Ok(None)) } else { result }
    }

    pub fn is_short(&self) -> bool {
        self.is(Reference::H9)
    }

    pub fn is_short_back(&self) -> bool {
        self.is(Reference::B1)
    }
}

impl Memory {
    /// Takes a bump back that the reference would not have made.
    fn uncounted(&mut self, meta: &mut Metadata) {
        let Some(last) = &self.last else { return };
        if self.hidden.is_none()
            && meta.resuid == last.resuid
            && meta.localcnt == last.localcnt + 1
            && last.localcnt != self.known_remotecnt
        {
            self.hidden = Some((meta.localcnt, last.localcnt));
        }
        if let Some((thought, real)) = self.hidden
            && meta.localcnt == thought
        {
            meta.localcnt = real;
        }
        self.last = Some(meta.clone());
    }
}
