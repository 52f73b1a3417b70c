//! Requests: what one says, whether it may be asked, and what has to be remembered of it until its
//! reply has left. Nothing is carried out here.

use super::handshake::Agreed;
use super::protocol::{REQUEST_MAGIC, Reader, command, command_flag, error};
use super::reply::Refusal;
use super::{Export, Limits, MAX_PAYLOAD, Violation};

/// A request without its data.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    flags: u16,
    command: u16,
    /// Echoed with the reply.
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Read,
    Write,
    Flush,
    Trim,
    /// Zeroes, and storage behind them if `provision` is set.
    Zero {
        provision: bool,
    },
    Status {
        one: bool,
    },
    /// That a later read is fast.
    Cache,
    /// Nothing at all: a range without blocks.
    Nothing,
    /// The client has taken its leave.
    Disconnect,
}

impl Head {
    /// The request that `bytes` begin with, if it has come.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let mut reader = Reader(bytes);
        match reader.u32() {
            Some(REQUEST_MAGIC) => Ok(Self::behind_magic(reader)),
            Some(magic) => Err(Violation::RequestMagic(magic)),
            None => Ok(None),
        }
    }

    fn behind_magic(mut reader: Reader<'_>) -> Option<Self> {
        Some(Self {
            flags: reader.u16()?,
            command: reader.u16()?,
            cookie: reader.u64()?,
            offset: reader.u64()?,
            length: reader.u32()?,
        })
    }

    /// Bytes of data that follow, whether or not they are wanted.
    pub fn follows(&self) -> u32 {
        if self.command == command::WRITE { self.length } else { 0 }
    }

    /// To be on stable storage before it is answered.
    pub fn fua(&self) -> bool {
        self.flags & command_flag::FUA != 0
    }

    /// What the request asks for.
    ///
    /// # Errors
    /// It makes no sense, or may not be asked; the connection can go on.
    pub fn check(&self, export: &Export, agreed: Agreed) -> Result<Wanted, Refusal> {
        let refuse = |number, text: &str| Err(Refusal::new(number, text));
        let flag = |flag| self.flags & flag != 0;
        // FUA may be set with any command, and is passed over where nothing is written.
        let (wanted, flags) = match self.command {
            command::READ if agreed.structured => (Wanted::Read, command_flag::DF),
            command::READ => (Wanted::Read, 0),
            command::WRITE => (Wanted::Write, 0),
            command::DISC => return Ok(Wanted::Disconnect),
            command::FLUSH => (Wanted::Flush, 0),
            command::TRIM => (Wanted::Trim, 0),
            command::CACHE => (Wanted::Cache, 0),
            command::WRITE_ZEROES => {
                let provision = flag(command_flag::NO_HOLE);
                let flags = command_flag::NO_HOLE | command_flag::FAST_ZERO;
                (Wanted::Zero { provision }, flags)
            }
            command::BLOCK_STATUS => {
                (Wanted::Status { one: flag(command_flag::REQ_ONE) }, command_flag::REQ_ONE)
            }
            _ => return refuse(error::EINVAL, "no such command here"),
        };
        if self.flags & !(flags | command_flag::FUA) != 0 {
            return refuse(error::EINVAL, "a flag that the command does not have");
        }
        if wanted == Wanted::Flush {
            if self.offset != 0 || self.length != 0 {
                return refuse(error::EINVAL, "a flush has no range");
            }
            return Ok(wanted);
        }
        if matches!(wanted, Wanted::Status { .. }) {
            if agreed.contexts.is_empty() {
                return refuse(error::EINVAL, "no metadata context was selected");
            }
            if self.length == 0 {
                return refuse(error::EINVAL, "the status of no block");
            }
        }
        let block = u64::from(export.block);
        if !self.offset.is_multiple_of(block) || !u64::from(self.length).is_multiple_of(block) {
            let text = format!("offset and length are to be multiples of {block}");
            return Err(Refusal::new(error::EINVAL, text));
        }
        match self.offset.checked_add(u64::from(self.length)) {
            Some(end) if end <= export.size() => {}
            _ => {
                let writes = matches!(wanted, Wanted::Write | Wanted::Zero { .. });
                let number = if writes { error::ENOSPC } else { error::EINVAL };
                return refuse(number, "beyond the end of the export");
            }
        }
        if self.length > MAX_PAYLOAD && matches!(wanted, Wanted::Read | Wanted::Write) {
            let large_read = wanted == Wanted::Read && agreed.structured;
            let number = if large_read { error::EOVERFLOW } else { error::EINVAL };
            return refuse(number, "larger than the largest payload");
        }
        if self.length == 0 && wanted != Wanted::Read {
            return Ok(Wanted::Nothing);
        }
        if flag(command_flag::FAST_ZERO) && !export.fast_zero {
            return refuse(error::ENOTSUP, "zeroes are not faster than data here");
        }
        Ok(wanted)
    }
}

/// What a reply needs to know of its request.
#[derive(Debug)]
pub struct Slot {
    pub wanted: Wanted,
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

impl Slot {
    pub fn new(wanted: Wanted, head: &Head) -> Self {
        let Head { cookie, offset, length, .. } = *head;
        Self { wanted, cookie, offset, length }
    }

    /// Bytes of data that the request and its reply hold at most.
    pub fn bytes(&self) -> u64 {
        payload(self.wanted, self.length)
    }
}

/// Bytes of data that go one way or the other.
pub fn payload(wanted: Wanted, length: u32) -> u64 {
    match wanted {
        Wanted::Read | Wanted::Write => u64::from(length),
        _ => 0,
    }
}

/// The requests of a connection that are in flight: until their replies have left.
pub struct InFlight {
    limits: Limits,
    /// Requests whose replies have not left, and the bytes of data that they hold.
    requests: usize,
    bytes: u64,
    /// Those that have not been answered.
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

impl InFlight {
    pub fn new(limits: Limits) -> Self {
        Self { limits, requests: 0, bytes: 0, slots: Vec::new(), free: Vec::new() }
    }

    /// Changes [`Limits::bytes`].
    pub fn set_limit(&mut self, bytes: u64) {
        self.limits.bytes = bytes;
    }

    /// Whether a request that holds so many bytes may be taken now. One is always taken.
    pub fn has_room(&self, bytes: u64) -> bool {
        let fits = self.bytes.checked_add(bytes).is_some_and(|all| all <= self.limits.bytes);
        self.requests == 0 || self.requests < self.limits.requests && (fits || self.bytes == 0)
    }

    /// One more.
    pub fn take(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
    }

    /// Replies of so many have left, and they hold so many bytes less. Bytes without a request are
    /// those that an answered one does not need any more.
    pub fn release(&mut self, requests: usize, bytes: u64) {
        self.requests = self.requests.saturating_sub(requests);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Remembers a request, and says where.
    pub fn insert(&mut self, slot: Slot) -> u32 {
        if let Some(free) = self.free.pop()
            && let Some(place) = self.slots.get_mut(free as usize)
        {
            *place = Some(slot);
            return free;
        }
        self.slots.push(Some(slot));
        (self.slots.len() - 1) as u32
    }

    /// What was remembered there, if `which` agrees: it is not any more.
    pub fn remove(&mut self, at: u32, which: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        let slot = self.slots.get_mut(at as usize)?.take_if(|slot| which(slot))?;
        self.free.push(at);
        Some(slot)
    }

    /// Whether every request has been answered.
    pub fn all_answered(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Requests whose replies have not left.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Bytes of data that they hold.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
