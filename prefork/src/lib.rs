//! Scripts that were started once: an interpreter with its script loaded waits behind a socket, and
//! each call forks it. The protocol is that of prefork-interp, of Debian's chiark-utils.

pub mod hooks;
pub mod protocol;
pub mod server;

mod error;

pub use error::Error;
pub use server::{Call, Options, serve};
