//! Messages in and out of a socket, many at a time, over buffers made at start.
//!
//! Knows nothing of what is in them.

use crate::control::ROOM;
use std::net::SocketAddrV4;

#[cfg(target_os = "linux")]
#[path = "batch_linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "batch_bsd.rs"]
mod system;

pub(crate) use system::{Inbox, send};

/// One message that came in.
pub(crate) struct Received<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The control messages with it, none of them cut short.
    pub control: &'a [u8],
    /// Who sent it; unspecified if that is no IPv4 address.
    pub source: SocketAddrV4,
}

/// One message that is to go out.
pub(crate) struct Outgoing<'a, const HEADER: usize> {
    /// What stands before the payload.
    pub header: [u8; HEADER],
    /// The rest of it.
    pub payload: &'a [u8],
    /// Where to, if the socket is not bound to that.
    pub dest: Option<SocketAddrV4>,
    /// Control messages and how much of them is used.
    pub control: ([u8; ROOM], usize),
}
