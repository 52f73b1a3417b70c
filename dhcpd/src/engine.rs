//! Every decision of the protocol: packets and the time come in, actions come out.
//!
//! Pure: no clock, no socket, no file. The daemon, the fuzzer and the simulator run the same engine.

use crate::config::NetworkId;
use std::net::Ipv4Addr;
use std::ops::Range;

/// The time, as the shell read it for this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Seconds since the epoch: what leases are written in.
    pub wall: i64,
    /// Milliseconds of a clock that never jumps: what timers run on.
    pub mono: u64,
}

/// Where a packet came from.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Index into the engine's interfaces.
    pub interface: usize,
    /// IP source.
    pub source: Ipv4Addr,
    /// UDP source port.
    pub source_port: u16,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// Sender of the frame; `None` when it came through the UDP socket.
    pub mac: Option<[u8; 6]>,
}

/// An interface that is served.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name, for the log.
    pub name: String,
    /// The system's index.
    pub index: u32,
    /// Its first address: who we are on this wire.
    pub address: Ipv4Addr,
    /// All its addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The shared network it is on.
    pub network: Option<NetworkId>,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// As a frame of our own making.
    Link {
        /// Index into the engine's interfaces.
        interface: usize,
        /// Link-level destination.
        mac: [u8; 6],
        /// IP destination.
        address: Ipv4Addr,
        /// UDP destination port.
        port: u16,
    },
    /// Through the UDP socket; the system finds the way.
    Udp {
        /// Index into the engine's interfaces it must leave by, if any.
        interface: Option<usize>,
        /// IP destination.
        address: Ipv4Addr,
        /// UDP destination port.
        port: u16,
    },
}

/// One reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Where to.
    pub destination: Destination,
    /// IP source.
    pub source: Ipv4Addr,
    /// The message, in [`Actions::arena`].
    pub bytes: Range<usize>,
    /// Must not leave before this batch's journal records are on disk.
    pub durable: bool,
}

/// What the engine wants done. One is made at start and cleared for each batch.
#[derive(Debug, Default)]
pub struct Actions {
    /// The bytes of all replies.
    pub arena: Vec<u8>,
    /// Messages to send, in order.
    pub replies: Vec<Reply>,
    /// Records for the journal, as text.
    pub journal: Vec<u8>,
    /// How many records `journal` holds.
    pub records: usize,
    /// Changes to the firewall's tables, in order.
    pub tables: Vec<pfhelper::Command>,
    /// Addresses to ping.
    pub pings: Vec<Ipv4Addr>,
}

impl Actions {
    /// Empties everything and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.replies.clear();
        self.journal.clear();
        self.records = 0;
        self.tables.clear();
        self.pings.clear();
    }
}
