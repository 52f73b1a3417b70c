//! Scripts that were started once: an interpreter with its script loaded waits behind a socket, and
//! each call forks it. The protocol is that of prefork-interp, of Debian's chiark-utils.

pub mod args;
pub mod client;
pub mod hooks;
pub mod ident;
pub mod protocol;
pub mod rundir;
pub mod server;

mod sha256;
mod signals;

pub use server::{Call, Options, serve};
pub use supervise::Error;
