//! Messages between processes of one host: a kind, a bounded payload and at most one descriptor,
//! over `SOCK_SEQPACKET`. Not a stream, and not a way to say anything to another host.
//!
//! One [`Channel::send`] is one `sendmsg`, one [`Channel::recv`] is one `recvmsg`: a message and
//! its descriptor arrive together or not at all, and whatever came with a refused message is closed
//! before the error is returned. The record is [`header`]'s 8 bytes, then the payload.
//!
//! Sources: unix(7) and cmsg(3) of Linux, unix(4) and recv(2) of the BSDs, POSIX.1-2024 `recvmsg`.

mod channel;
#[cfg_attr(target_os = "linux", path = "unix/credentials_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "unix/credentials_bsd.rs")]
mod credentials;
mod error;
pub mod header;
mod path;
mod payload;
mod raw;
#[cfg_attr(target_os = "freebsd", path = "unix/rest_freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "unix/rest_others.rs")]
mod rest;
#[cfg(all(test, not(target_os = "freebsd")))]
#[path = "unix/rest_freebsd.rs"]
mod rest_freebsd;

pub use channel::{Channel, Message, no_fd, pair};
pub use error::Error;
pub use header::{HEADER, Header, MAX_MESSAGE, MAX_PAYLOAD, parse_header};
pub use path::{Acceptor, Connection, Listener, Peer, connect};
pub use payload::{Reader, Writer, cut};
