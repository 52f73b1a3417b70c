//! Requests (C1, to the secondary) and replies (C2, to the primary). Both ways, as a test's peer
//! needs the other one too.
//!
//! This is what there is most of on the wire, so nothing is built in between: a head is written
//! straight into a buffer that the shell uses again, and data is handed on as it is, to be sent
//! behind its head by one `writev`.

use super::WireError;
use super::data::{Attributes, Codec};
use super::errno::Errno;
use super::packet::{self, Packet};
use crate::Data;
use crate::nv;
use std::fmt;

#[cfg(test)]
mod tests;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmd {
    /// Bytes of the data area.
    Read = 1,
    /// Its data comes along.
    Write = 2,
    /// The bytes are no longer needed (TRIM).
    Delete = 3,
    /// Everything before it is to be on stable storage.
    Flush = 4,
    /// We are still here. Has no reply.
    Keepalive = 5,
}

impl Cmd {
    fn of(number: u8) -> Option<Cmd> {
        match number {
            1 => Some(Cmd::Read),
            2 => Some(Cmd::Write),
            3 => Some(Cmd::Delete),
            4 => Some(Cmd::Flush),
            5 => Some(Cmd::Keepalive),
            _ => None,
        }
    }
}

/// What the primary says of the replica's state in a keepalive, to a peer of our own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A resynchronisation is going on: the target alone is of no use.
    Inconsistent = 1,
    /// Both have the same.
    Consistent = 2,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub cmd: Cmd,
    /// Chosen by the primary, echoed; not 0 except in a keepalive.
    pub seq: u64,
    /// Bytes from the start of the data area.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// On a write: say so when the data has come, before it is stored. Not told to a peer of
    /// version 1, which would not understand.
    pub memsync: bool,
    /// What is written.
    pub data: Option<Data>,
    /// In a keepalive, our own extension.
    pub state: Option<State>,
}

/// Why what came is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The stream is still in step, and all of the packet's data is off it: a reply with EINVAL is
    /// due, and nothing has been done.
    Invalid {
        /// Of the request; 0 if it had none.
        seq: u64,
        /// It was to be answered twice: FreeBSD's own reply has `received` along with `error` (A3).
        memsync: bool,
        /// For the log.
        why: &'static str,
    },
    /// Nothing that follows can be trusted: the connection is to be closed.
    Broken(WireError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Invalid { seq, why, .. } => write!(f, "request {seq}: {why}"),
            RequestError::Broken(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

impl<E: Into<WireError>> From<E> for RequestError {
    fn from(error: E) -> RequestError {
        RequestError::Broken(error.into())
    }
}

/// The number of an entry, unless the name has been met before: the first holds.
macro_rules! first {
    ($place:ident, $entry:ident . $get:ident) => {
        if $place.is_none() {
            $place = Some($entry.$get()?);
        }
    };
}

impl Request {
    /// A sign of life.
    pub fn keepalive(state: Option<State>) -> Request {
        let cmd = Cmd::Keepalive;
        Request { cmd, seq: 0, offset: 0, length: 0, memsync: false, data: None, state }
    }

    /// Appends the packet's head to `out` and returns what is to be sent behind it.
    ///
    /// # Errors
    /// [`WireError::Unsendable`] if the request contradicts itself; nothing is appended then.
    pub fn encode(
        &self,
        codec: &Codec,
        version: u8,
        out: &mut Vec<u8>,
    ) -> Result<Option<Data>, WireError> {
        let length = self.data.as_ref().map(|data| data.len() as u64);
        if length != (self.cmd == Cmd::Write).then_some(self.length) {
            return Err(WireError::Unsendable("a write without its data, or data without a write"));
        }
        if (self.seq == 0) != (self.cmd == Cmd::Keepalive) {
            return Err(WireError::Unsendable(
                "a request without a number, or a numbered keepalive",
            ));
        }
        let start = packet::begin(out, version);
        nv::put_u8(out, "cmd", self.cmd as u8);
        if self.cmd == Cmd::Keepalive {
            if let Some(state) = self.state {
                nv::put_u8(out, "hl_state", state as u8);
            }
        } else {
            nv::put_u64(out, "seq", self.seq);
            nv::put_u64(out, "offset", self.offset);
            nv::put_u64(out, "length", self.length);
            if self.memsync && self.cmd == Cmd::Write && version >= 2 {
                nv::put_u8(out, "memsync", 1);
            }
        }
        packet::finish_with(out, start, codec, self.data.as_ref())
    }

    /// Understands a packet that came on C1. What a request may ask for (sectors, the data area's
    /// end, sizes) is for the engine to judge; `limit` is the longest data that may come of it.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn decode(packet: Packet<'_>, limit: u32) -> Result<Request, RequestError> {
        let (mut cmd, mut seq, mut offset, mut length) = (None, None, None, None);
        let (mut memsync, mut state) = (false, None);
        let mut attributes = Attributes::default();
        for entry in packet.nv.entries() {
            match entry.name {
                b"cmd" => first!(cmd, entry.u8),
                b"seq" => first!(seq, entry.u64),
                b"offset" => first!(offset, entry.u64),
                b"length" => first!(length, entry.u64),
                b"memsync" => memsync = true,
                b"hl_state" => state = state.or(entry.u8().ok()),
                _ => attributes.note(&entry)?,
            }
        }
        let seq = seq.unwrap_or(0);
        let invalid = |why| Err(RequestError::Invalid { seq, memsync, why });
        let data = match packet.data {
            Some(data) => Some(attributes.unpack(data, limit.into())?),
            None => None,
        };
        let Some(cmd) = Cmd::of(cmd.unwrap_or(0)) else {
            return invalid("unknown command");
        };
        let length = length.unwrap_or(0);
        match (&data, cmd) {
            (Some(data), Cmd::Write) if data.len() as u64 != length => {
                return invalid("data of another length than the request");
            }
            (None, Cmd::Write) => return invalid("write without data"),
            (Some(_), Cmd::Read | Cmd::Delete | Cmd::Flush | Cmd::Keepalive) => {
                return invalid("data that belongs to nothing");
            }
            _ => {}
        }
        if seq == 0 && cmd != Cmd::Keepalive {
            return invalid("no number");
        }
        let state = match state {
            Some(1) if cmd == Cmd::Keepalive => Some(State::Inconsistent),
            Some(2) if cmd == Cmd::Keepalive => Some(State::Consistent),
            _ => None,
        };
        Ok(Request {
            cmd,
            seq,
            offset: offset.unwrap_or(0),
            length,
            memsync: memsync && cmd == Cmd::Write,
            data,
            state,
        })
    }
}

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of the request.
    pub seq: u64,
    /// The first of two replies: the data has come. With an `error` there is no second (A3).
    pub received: bool,
    /// Why it failed.
    pub error: Option<Errno>,
    /// What was read.
    pub data: Option<Data>,
}

impl Reply {
    /// Appends the packet's head to `out` and returns what is to be sent behind it.
    ///
    /// # Errors
    /// [`WireError::Unsendable`] if the reply contradicts itself; nothing is appended then.
    pub fn encode(
        &self,
        codec: &Codec,
        version: u8,
        out: &mut Vec<u8>,
    ) -> Result<Option<Data>, WireError> {
        if self.data.is_some() && (self.received || self.error.is_some()) {
            return Err(WireError::Unsendable("data with what is no answer to a read"));
        }
        let start = packet::begin(out, version);
        nv::put_u64(out, "seq", self.seq);
        if self.received {
            nv::put_i8(out, "received", 1);
        }
        if let Some(error) = self.error {
            nv::put_i16(out, "error", error.to_wire());
        }
        packet::finish_with(out, start, codec, self.data.as_ref())
    }

    /// Understands a packet that came on C2, with `limit` bytes of data at most. That a read's data
    /// has the length asked for (H9) is for the engine to see, which knows what it asked.
    ///
    /// # Errors
    /// Any of them means that the connection is to be closed.
    pub fn decode(packet: Packet<'_>, limit: u32) -> Result<Reply, WireError> {
        let (mut seq, mut error, mut received) = (None, None, false);
        let mut attributes = Attributes::default();
        for entry in packet.nv.entries() {
            match entry.name {
                b"seq" => first!(seq, entry.u64),
                b"error" => first!(error, entry.i16),
                b"received" => received = true,
                _ => attributes.note(&entry)?,
            }
        }
        let data = match packet.data {
            Some(data) => Some(attributes.unpack(data, limit.into())?),
            None => None,
        };
        Ok(Reply {
            // Without a number it answers nothing that anyone asked (B8).
            seq: seq.unwrap_or(0),
            received,
            error: error.filter(|error| *error != 0).map(Errno::from_wire),
            data,
        })
    }
}
