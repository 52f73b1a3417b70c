//! What is on the wire: frames, DHCP messages and options. No sockets, and no decisions.
//!
//! `message` and `options` read what a client sent, `reply` writes what it gets, `frame` is the
//! Ethernet, IPv4 and UDP around both, `code` names the numbers.

pub mod code;
pub mod frame;
pub mod message;
pub mod options;
pub mod reply;

/// UDP port of the server and of relay agents.
pub const SERVER_PORT: u16 = 67;
/// UDP port of clients.
pub const CLIENT_PORT: u16 = 68;

/// Length of the fixed part of a BOOTP message, in bytes (RFC 951 section 3, without `vend`).
pub(crate) const FIXED: usize = 236;
/// The four bytes that say that options follow (RFC 2132 section 2).
pub(crate) const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where `sname` lies in the fixed part.
pub(crate) const SNAME: std::ops::Range<usize> = 44..108;
/// Where `file` lies in the fixed part.
pub(crate) const FILE: std::ops::Range<usize> = 108..236;
