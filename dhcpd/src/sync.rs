//! Lease synchronisation (`dhcpd -Y`, `-y`): several servers that know each other's leases.
//!
//! Two forms of datagrams share a port. `openbsd` is that of OpenBSD's dhcpd, one lease each, for
//! servers that speak nothing else. `own` is ours, used between two of us that share a key: it
//! carries all of a lease, cannot be replayed, and finds out and repairs what was lost. A server of
//! the other kind ignores ours silently: its first byte is no version that it knows.
//!
//! [`Sync`] decides, and is pure: datagrams, the time, and what became durable come in, datagrams
//! and merges go out. Which of two records of an address counts is the engine's (`engine::resolve`).
//! Sockets, the key and names are in `open`, which is the parent's.

mod digest;
mod hmac;
mod machine;
pub mod open;
pub mod openbsd;
pub mod own;
mod peers;
pub mod record;
mod repair;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use machine::{Outbox, Sync};
pub use peers::Window;

use std::net::{Ipv4Addr, SocketAddrV4};

/// The port, unless the services database knows `dhcpd-sync` by another.
pub const PORT: u16 = 8067;
/// Where datagrams to an interface go.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 240);
/// The longest datagram of either form, in bytes.
pub const LONGEST: usize = 1408;

/// What the key file comes to. The file itself stays with the parent.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// OpenBSD's: the SHA-1 of the file in hexadecimal, as text.
    pub openbsd: [u8; 40],
    /// Ours.
    pub own: [u8; 32],
}

/// Not what they are: this may end in a log.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// How a server takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whom to tell (`-Y`); [`GROUP`] among them for an interface.
    pub targets: Vec<SocketAddrV4>,
    /// Whether to hear others (`-y`).
    pub listens: bool,
    /// Without one nothing is authenticated, and our own form is not used.
    pub keys: Option<Keys>,
    /// Our addresses: what comes from one of them is our own.
    pub own_addresses: Vec<Ipv4Addr>,
    /// Anything that no other run of any server has: it names this one.
    pub epoch: u64,
}
