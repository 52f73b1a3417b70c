//! Scripts that were started once: an interpreter with its script loaded waits behind a socket, and
//! each call forks it. The protocol is that of prefork-interp, of Debian's chiark-utils.

pub mod protocol;

#[allow(dead_code, reason = "client and server are to use it")]
mod error;

pub use error::Error;
