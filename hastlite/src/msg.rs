//! Every message between hastlite's processes, by direction.
//!
//! Parent and listener: the parent sends a [`ToListener::Listen`] for each address, then
//! [`ToListener::Start`]; the listener answers [`FromListener::Ready`] and from then on says
//! [`FromListener::Arrival`] for each connection that has introduced itself.
//!
//! Parent and worker: [`ToWorker::Component`], on a primary [`ToWorker::Export`], then
//! [`ToWorker::Start`]; the worker answers [`FromWorker::Ready`], or [`FromWorker::Refused`] and
//! ends. Then connections go down, wishes and news come up, in any order, until
//! [`ToWorker::Stop`] and [`FromWorker::Stopped`].
//!
//! A connection migrates in one message: the name of its protocol and its descriptor together.

pub(crate) mod encoding;
#[cfg(test)]
mod tests;

use crate::ctl::message::{Objection, Volume};
use crate::engine::{Conn, Happening, Role, Settings, Status};
use crate::wire::data::{Checksum, Compression};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// The only protocol there is. It is said all the same: what arrives is what it says it is.
pub const TCP: &str = "tcp";

/// The longest reason that is told; what is longer loses its end.
pub const LONGEST_REASON: usize = 4096;

/// What the parent tells the listener.
#[derive(Debug)]
pub enum ToListener {
    /// A listening socket.
    Listen(OwnedFd),
    /// That was all of them: begin.
    Start,
}

/// What the listener tells the parent.
#[derive(Debug)]
pub enum FromListener {
    /// It accepts connections.
    Ready,
    /// A connection has introduced itself.
    Arrival(Arrival),
}

/// A connection that migrates up, with what it said first.
#[derive(Debug)]
pub struct Arrival {
    /// [`TCP`].
    pub protocol: String,
    /// Whom it comes from.
    pub peer: IpAddr,
    /// The resource that it names.
    pub resource: String,
    /// Its first packet, whole, for the worker to understand.
    pub packet: Vec<u8>,
    /// The connection, non-blocking.
    pub socket: OwnedFd,
}

/// What the parent tells a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// The local component, opened and locked.
    Component(OwnedFd),
    /// Where clients connect.
    Export(OwnedFd),
    /// That was all: what to be.
    Start(Box<Start>),
    /// A connection from the other node, with its first packet.
    Arrival {
        /// [`TCP`].
        protocol: String,
        /// As in [`Arrival`].
        packet: Vec<u8>,
        /// The connection, non-blocking.
        socket: OwnedFd,
    },
    /// A connection that was asked for, perhaps not established yet.
    Connection {
        /// [`TCP`].
        protocol: String,
        /// Which it is to be.
        conn: Conn,
        /// The connection, non-blocking.
        socket: OwnedFd,
    },
    /// No connection that was asked for, for this reason.
    NoConnection {
        /// Which it was to be.
        conn: Conn,
        /// What failed.
        why: String,
    },
    /// The configuration has changed.
    Settings(Box<WorkerSettings>),
    /// Somebody asks how things stand.
    Report,
    /// The role is to end.
    Stop,
}

/// What a worker is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The resource.
    pub resource: String,
    /// Primary or secondary.
    pub role: Role,
    /// Whatever the promotion may lose.
    pub force: bool,
    /// How.
    pub settings: WorkerSettings,
}

/// What hast.conf says about the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// For the engine.
    pub engine: Settings,
    /// For what we send.
    pub checksum: Checksum,
    /// For what we send.
    pub compression: Compression,
    /// Whether map and metadata are flushed when written.
    pub metaflush: bool,
    /// Whether the other node's address has changed: an older link is of no use.
    pub moved: bool,
}

/// What a worker tells the parent.
#[derive(Debug)]
pub enum FromWorker {
    /// It is what it was to be.
    Ready,
    /// It cannot be, with this exit code (sysexits) and for this reason.
    Refused {
        /// Of sysexits.
        code: u8,
        /// Bytes that would have been lost, if that is why and it is known.
        loses: Option<u64>,
        /// What failed.
        why: String,
    },
    /// It needs a connection to the other node.
    Connect(Conn),
    /// For hooks; the log has it already.
    Happening(Happening),
    /// The answer to [`ToWorker::Report`].
    Report(Box<Report>),
    /// The answer to [`ToWorker::Stop`], the last word.
    Stopped,
}

/// How things stand with a worker's resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As its engine says.
    pub status: Status,
    /// Milliseconds since the resynchronisation began, if there is one: its `since` is of a clock
    /// that only the worker has.
    pub syncing: u64,
    /// What the metadata says.
    pub volume: Volume,
    /// What speaks against a promotion.
    pub objection: Option<Objection>,
}
