//! Requests (C1, to the secondary) and replies (C2, to the primary).

use super::errno::Errno;
use crate::Data;

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
    /// On a write: say so when the data has come, before it is stored.
    pub memsync: bool,
    /// What is written.
    pub data: Option<Data>,
    /// In a keepalive, our own extension.
    pub state: Option<State>,
}

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of the request.
    pub seq: u64,
    /// The first of two replies: the data has come.
    pub received: bool,
    /// Why it failed.
    pub error: Option<Errno>,
    /// What was read.
    pub data: Option<Data>,
}
