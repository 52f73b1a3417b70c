//! The block device as clients see it: the server's side of the NBD protocol, without I/O.
//!
//! A [`Session`] is one connection. It eats the client's bytes as they come, says what is asked,
//! and queues the replies; a shell around it moves the bytes and asks the engine. It does not know
//! what the blocks hold, nor what time it is: that a client which does not come to an end with its
//! options is hung up on is the shell's business ([`Session::is_negotiating`]).
//!
//! ```text
//! poll: readable if wants_bytes(), writable if unsent() > 0
//!   readv into spaces(), filled(n)
//!   while let Some(asked) = next()? { to the engine, or looked up }
//!   answer(tag, ...), answer_status(tag, ...)
//!   gather() into an iovec, writev, sent(n); then next() again: there may be room for more
//!   is_done(): close
//! ```
//!
//! A client never makes us hold more than its limits ([`Limits`]): requests count until the last
//! byte of their replies has left, and past the limits nothing more is read from the connection.
//!
//! Source: "The NBD protocol", doc/proto.md of the NetworkBlockDevice project. Fixed newstyle
//! only, without TLS.

mod blocks;
mod handshake;
mod input;
mod protocol;
mod reply;
#[cfg(test)]
mod tests;
mod transmission;

use crate::Data;
use crate::engine::{ClientRequest, Op};
use crate::wire::errno::Errno;
pub use blocks::{BlockStatus, DIRTY, HOLE, MARKED, MOST_RUNS, Run, ZERO, runs};
use handshake::{Agreed, Handshake, LONGEST_OPTION, Then};
use input::Input;
use reply::{Output, Refusal};
use std::io::IoSlice;
use std::sync::Arc;
use std::{error, fmt};
use transmission::{Head, InFlight, Slot, Wanted, payload};

/// The most data of one read or write, in bytes.
pub const MAX_PAYLOAD: u32 = 32 << 20;

/// While so many bytes wait to be sent, no further option is answered.
const UNSENT_OPTIONS: usize = 64 << 10;

/// What clients see.
#[derive(Clone, Debug)]
pub struct Export {
    name: String,
    description: String,
    bytes: u64,
    block: u32,
    fast_zero: bool,
}

impl Export {
    /// `bytes` of data in blocks of `block` bytes: requests for parts of blocks are refused. A
    /// block that NBD has no way to tell becomes the next one that it has.
    #[must_use]
    pub fn new(name: &str, description: &str, bytes: u64, block: u32) -> Self {
        let block = block.clamp(1, 1 << 16).next_power_of_two();
        Self { name: name.into(), description: description.into(), bytes, block, fast_zero: false }
    }

    /// Zeroes are written in less time than data.
    #[must_use]
    pub fn with_fast_zero(self, fast_zero: bool) -> Self {
        Self { fast_zero, ..self }
    }

    /// Bytes that can be reached: whole blocks.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes - self.bytes % u64::from(self.block)
    }

    /// The block size that clients should use.
    fn preferred(&self) -> u32 {
        self.block.max(4096)
    }

    /// The empty name is that of the only export too.
    fn answers_to(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }
}

/// What a client may have in flight on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests.
    pub requests: usize,
    /// Bytes of data of reads and writes. A single request may have more.
    pub bytes: u64,
    /// Bytes that are read ahead.
    pub buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 256, bytes: 64 << 20, buffer: 256 << 10 }
    }
}

/// Why a connection is at its end though the client has not taken its leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Flags in the handshake that nobody has defined.
    ClientFlags(u32),
    /// No option where one was to come.
    OptionMagic(u64),
    /// An option with more data than any client sends.
    OptionTooLong {
        /// Its number.
        option: u32,
        /// Bytes of data.
        length: u32,
    },
    /// One option after the other, and never a request.
    TooManyOptions,
    /// The export asked for is not here, and the option knows no other way to say so.
    UnknownExport(String),
    /// No request where one was to come.
    RequestMagic(u32),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientFlags(flags) => write!(f, "unknown client flags {flags:#x}"),
            Self::OptionMagic(magic) => write!(f, "{magic:#018x} where an option was to come"),
            Self::OptionTooLong { option, length } => {
                write!(f, "option {option} with {length} bytes of data")
            }
            Self::TooManyOptions => write!(f, "too many options without a request"),
            Self::UnknownExport(name) => write!(f, "no export {name:?} here"),
            Self::RequestMagic(magic) => write!(f, "{magic:#010x} where a request was to come"),
        }
    }
}

impl error::Error for Violation {}

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Of the engine; to be answered with [`Session::answer`].
    Io {
        /// Its range lies within the export and is not empty, but for flushes. A read or write has
        /// at most [`MAX_PAYLOAD`] bytes, the others less than 4 GiB.
        request: ClientRequest,
        /// Of [`Op::Zero`]: the storage is to be there afterwards, so that a later write cannot
        /// fail for want of it. Otherwise it may be given back.
        provision: bool,
    },
    /// How blocks are; to be answered with [`Session::answer_status`].
    Status {
        /// Echoed with the answer.
        tag: u64,
        /// From the start of the export, in bytes.
        offset: u64,
        /// Bytes.
        length: u64,
        /// Only the first run of equal blocks is of interest.
        one: bool,
        /// Whether it is of interest what is allocated.
        allocation: bool,
        /// Whether it is of interest where the nodes differ.
        dirty: bool,
    },
    /// Will be read soon. It is answered already, and may be passed over.
    WillNeed {
        /// From the start of the export, in bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

enum Phase {
    Handshake(Handshake),
    Transmission,
    /// No more requests will come.
    Over,
}

/// A connection.
pub struct Session {
    connection: u32,
    export: Arc<Export>,
    phase: Phase,
    /// In the handshake.
    agreed: Agreed,
    shutdown: bool,
    input: Input,
    /// The request whose data is coming.
    receiving: Option<Head>,
    /// A write that is told so when all of its data has gone by: clients that are still sending
    /// take a reply for one to nothing of theirs.
    refused: Option<(u64, Refusal)>,
    in_flight: InFlight,
    output: Output,
}

impl Session {
    /// Greets a client. `connection` is the upper half of the tags of its requests.
    #[must_use]
    pub fn new(connection: u32, export: Arc<Export>, limits: Limits) -> Self {
        let mut output = Output::default();
        let phase = Phase::Handshake(Handshake::begin(&mut output));
        Self {
            connection,
            export,
            phase,
            agreed: Agreed::default(),
            shutdown: false,
            // The longest option must fit.
            input: Input::new(limits.buffer.max(2 * LONGEST_OPTION)),
            receiving: None,
            refused: None,
            in_flight: InFlight::new(limits),
            output,
        }
    }

    /// The connection that a request has come from.
    #[must_use]
    pub fn connection(tag: u64) -> u32 {
        (tag >> 32) as u32
    }

    /// Where the client's next bytes belong, first one then the other. Both are empty if nothing
    /// is to be read now.
    pub fn spaces(&mut self) -> [&mut [u8]; 2] {
        match self.phase {
            Phase::Over => [&mut [], &mut []],
            _ => self.input.spaces(),
        }
    }

    /// Whether there is anything to be read for.
    pub fn wants_bytes(&mut self) -> bool {
        self.spaces().iter().any(|space| !space.is_empty())
    }

    /// `bytes` of what [`Session::spaces`] gave now hold what the client has sent.
    pub fn filled(&mut self, bytes: usize) {
        self.input.filled(bytes);
    }

    /// What the client asks for next. `None`: nothing more until bytes have come or replies have
    /// left.
    ///
    /// # Errors
    /// The client does not speak NBD. The connection is to be closed.
    #[allow(clippy::should_implement_trait)] // It can fail, and goes on after `None`.
    pub fn next(&mut self) -> Result<Option<Asked>, Violation> {
        let next = self.try_next();
        if next.is_err() {
            self.phase = Phase::Over;
        }
        next
    }

    fn try_next(&mut self) -> Result<Option<Asked>, Violation> {
        while !self.input.is_skipping() {
            match &mut self.phase {
                Phase::Over => break,
                Phase::Transmission => {}
                Phase::Handshake(handshake) => {
                    if self.output.len() > UNSENT_OPTIONS {
                        break;
                    }
                    let pending = self.input.pending();
                    match handshake.step(pending, &self.export, self.shutdown, &mut self.output)? {
                        Then::More => break,
                        Then::Step { used, skip } => {
                            self.input.used(used);
                            self.input.skip(u64::from(skip));
                        }
                        Then::Transmission { used } => {
                            self.agreed = handshake.agreed();
                            self.phase = Phase::Transmission;
                            self.input.used(used);
                        }
                        Then::End => self.phase = Phase::Over,
                    }
                    continue;
                }
            }
            let agreed = self.agreed;
            if let Some((cookie, refusal)) = self.refused.take() {
                self.output.failed(agreed.structured, cookie, &refusal);
            }
            if let Some(head) = self.receiving {
                let Some(data) = self.input.take_payload() else { break };
                self.receiving = None;
                return Ok(Some(self.ask(Wanted::Write, &head, Some(data))));
            }
            let Some(head) = Head::parse(self.input.pending())? else { break };
            let wanted = match head.check(&self.export, agreed) {
                Ok(Wanted::Disconnect) => {
                    self.phase = Phase::Over;
                    break;
                }
                Ok(_) if self.shutdown => {
                    Err(Refusal::new(protocol::error::ESHUTDOWN, "the export is about to go away"))
                }
                wanted => wanted,
            };
            let bytes = wanted.as_ref().map_or(0, |wanted| payload(*wanted, head.length));
            if !self.in_flight.has_room(bytes) {
                break;
            }
            self.in_flight.take(bytes);
            self.input.used(protocol::REQUEST_HEADER);
            match wanted {
                Ok(Wanted::Write) => {
                    self.input.begin_payload(head.length as usize);
                    self.receiving = Some(head);
                    continue;
                }
                Ok(Wanted::Nothing) => self.output.done(head.cookie),
                Ok(Wanted::Read) if head.length == 0 => {
                    self.output.read(agreed.structured, head.cookie, head.offset, Data::default());
                }
                Ok(Wanted::Cache) => {
                    self.output.done(head.cookie);
                    let length = u64::from(head.length);
                    return Ok(Some(Asked::WillNeed { offset: head.offset, length }));
                }
                Ok(wanted) => {
                    self.input.expect_small();
                    return Ok(Some(self.ask(wanted, &head, None)));
                }
                Err(refusal) => {
                    self.refused = Some((head.cookie, refusal));
                    self.input.skip(u64::from(head.follows()));
                }
            }
        }
        Ok(None)
    }

    fn ask(&mut self, wanted: Wanted, head: &Head, data: Option<Data>) -> Asked {
        let slot = self.in_flight.insert(Slot::new(wanted, head));
        let tag = u64::from(self.connection) << 32 | u64::from(slot);
        let (offset, length) = (head.offset, u64::from(head.length));
        let op = match wanted {
            Wanted::Status { one } => {
                let contexts = self.agreed.contexts;
                let (allocation, dirty) = (contexts.allocation, contexts.dirty);
                return Asked::Status { tag, offset, length, one, allocation, dirty };
            }
            Wanted::Write => Op::Write,
            Wanted::Flush => Op::Flush,
            Wanted::Trim => Op::Trim,
            Wanted::Zero { .. } => Op::Zero,
            Wanted::Read | Wanted::Cache | Wanted::Nothing | Wanted::Disconnect => Op::Read,
        };
        let fua = head.fua() && matches!(op, Op::Write | Op::Trim | Op::Zero);
        let provision = wanted == Wanted::Zero { provision: true };
        Asked::Io { request: ClientRequest { tag, op, offset, length, fua, data }, provision }
    }

    /// Replies to a request for the engine; with the data if it was a read. `false`: nobody has
    /// asked that, or it is answered already.
    pub fn answer(&mut self, tag: u64, result: Result<Option<Data>, Errno>) -> bool {
        let Some(slot) = self.remove(tag, false) else { return false };
        let structured = self.agreed.structured;
        // A write's data counts no longer, nor does that of a read which failed.
        let mut freed = slot.bytes();
        match (slot.wanted, result) {
            (Wanted::Read, Ok(Some(data))) if data.len() == slot.length as usize => {
                freed = 0;
                self.output.read(structured, slot.cookie, slot.offset, data);
            }
            (Wanted::Read, Ok(_)) => {
                log::error!("a read of {} bytes at {} lacks data", slot.length, slot.offset);
                self.output.failed(structured, slot.cookie, &Errno::EIO.into());
            }
            (_, Ok(_)) => self.output.done(slot.cookie),
            (_, Err(errno)) => self.output.failed(structured, slot.cookie, &errno.into()),
        }
        self.in_flight.release(0, freed);
        true
    }

    /// Replies to [`Asked::Status`]. `false`: nobody has asked that, or it is answered already.
    pub fn answer_status(&mut self, tag: u64, result: Result<BlockStatus, Errno>) -> bool {
        let Some(slot) = self.remove(tag, true) else { return false };
        let agreed = self.agreed;
        let one = slot.wanted == Wanted::Status { one: true };
        match result {
            Ok(status) => {
                let mut contexts = agreed.contexts.iter().peekable();
                while let Some(context) = contexts.next() {
                    let runs = status.encode(&context, slot.length, one);
                    let last = contexts.peek().is_none();
                    self.output.status(slot.cookie, context.id, &runs, last);
                }
            }
            Err(errno) => self.output.failed(agreed.structured, slot.cookie, &errno.into()),
        }
        true
    }

    fn remove(&mut self, tag: u64, status: bool) -> Option<Slot> {
        if Self::connection(tag) != self.connection {
            return None;
        }
        let kind = |slot: &Slot| matches!(slot.wanted, Wanted::Status { .. }) == status;
        self.in_flight.remove(tag as u32, kind)
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Fills `slices` with what is to be sent next, and says how many of them it has used.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.gather(slices)
    }

    /// `bytes` of what [`Session::gather`] gave have been sent. There may be room for more
    /// requests afterwards: see [`Session::next`].
    pub fn sent(&mut self, bytes: usize) {
        let (requests, data) = self.output.sent(bytes);
        self.in_flight.release(requests, data);
    }

    /// Changes [`Limits::bytes`]; what is in flight already stays.
    pub fn set_limit(&mut self, bytes: u64) {
        self.in_flight.set_limit(bytes);
    }

    /// From now on everything new is refused, with the error that tells clients to leave.
    pub fn shut_down(&mut self) {
        self.shutdown = true;
    }

    /// Whether the client is still at its options.
    #[must_use]
    pub fn is_negotiating(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_))
    }

    /// Whether the client has taken its leave and has been told everything: close.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.in_flight.all_answered() && self.output.len() == 0
    }

    /// Requests whose replies have not left, and the bytes of data that they hold.
    #[must_use]
    pub fn in_flight(&self) -> (usize, u64) {
        (self.in_flight.requests(), self.in_flight.bytes())
    }
}
