//! The rules of replication, without I/O: events and the time come in, actions come out.
//!
//! One engine a role. Neither has a clock, a socket or a file; the same code runs in the daemon's
//! workers and in the simulator. What an engine wants done it says once, in order; what came of it
//! is told back by the token it gave.

pub mod activemap;
pub mod decision;
pub mod primary;
pub mod ranges;
pub mod role;
pub mod secondary;

pub use primary::Primary;

use crate::Data;
use crate::wire::errno::Errno;
use crate::wire::hello::{Handshake, SyncSource};
use crate::wire::request::{Reply, Request};

/// Milliseconds of a clock that never goes back.
pub type Now = u64;

/// What an I/O action is called when its end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What nodes of our own kind tell each other in the handshake (`hl_ext`). A bit counts if both
/// have said it.
pub mod ext {
    /// A keepalive may tell how the secondary's data stands.
    pub const STATE: u64 = 1;
    /// Requests of up to 1 MiB are welcome.
    pub const LARGE: u64 = 2;
    /// What DELETE was asked for reads as zeroes afterwards, on both nodes.
    pub const ZEROES: u64 = 4;
    /// In the secondary's last answer: its data is consistent. Before that: it will tell.
    pub const WHOLE: u64 = 8;
    /// All that we can.
    pub const OURS: u64 = STATE | LARGE | ZEROES | WHOLE;
}

/// What happens on the local component. Offsets and lengths are bytes of the data area.
#[derive(Clone, Debug, PartialEq)]
pub enum Io {
    /// Its data is told with its end, `length` bytes of it.
    Read {
        /// From the start of the data area.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// In the system's hands when done, not on stable storage.
    Write {
        /// From the start of the data area.
        offset: u64,
        /// What is written.
        data: Data,
    },
    /// Zeroes from now on; storage is kept or given back as the medium likes.
    Zero {
        /// From the start of the data area.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// No longer needed: what a later read returns there is nobody's promise.
    Discard {
        /// From the start of the data area.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// All that was done before is on stable storage.
    Flush,
    /// The whole activemap, on stable storage when done.
    Map(Data),
    /// The metadata, on stable storage when done.
    Meta(Box<Metadata>),
}

/// The two connections of a link. C1 is opened first and carries requests; C2 carries replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conn {
    /// To the secondary, but for the handshake's answers.
    C1,
    /// To the primary, but for the second message.
    C2,
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Bytes.
    Read,
    /// Bytes come along.
    Write,
    /// Zeroes are to be there.
    Zero,
    /// The bytes are no longer needed.
    Trim,
    /// Everything answered before is to be on stable storage.
    Flush,
}

/// A client's request. Offset and length lie within the data area: the shell has checked it.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// Echoed with the answer.
    pub tag: u64,
    /// What for.
    pub op: Op,
    /// From the start of the data area.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// On stable storage, on both nodes, before it is answered.
    pub fua: bool,
    /// Of a write.
    pub data: Option<Data>,
}

/// What hooks are called for (hast.conf(5), `exec`) and the log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The link is up.
    Connect,
    /// The link is down, for this reason.
    Disconnect(String),
    /// A resynchronisation begins.
    SyncStart,
    /// It is complete.
    SyncDone,
    /// It was interrupted.
    SyncIntr,
    /// Both nodes have what the other has not.
    SplitBrain,
}

/// How the data of this node stands by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What some moment of the volume's life left.
    Consistent,
    /// Consistent, but the other node has gone on since.
    Outdated,
    /// Partly older, partly newer: the target of a resynchronisation that is not complete.
    Inconsistent,
}

/// What is known about the resource on disk, besides the data and the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Its name.
    pub resource: String,
    /// Usable bytes.
    pub datasize: u64,
    /// Bytes of an extent, a power of two.
    pub extentsize: u32,
    /// How many extents may stay marked though nothing is being written there.
    pub keepdirty: u32,
    /// Where the data area begins on this node's component.
    pub offset: u64,
    /// The resource's unique id; 0 until first connected.
    pub resuid: u64,
    /// Generation of our own data: bumped when we begin to write alone.
    pub localcnt: u64,
    /// The other node's, as we last knew it.
    pub remotecnt: u64,
    /// `init`, `primary` or `secondary`: the role at the last write.
    pub prevrole: Role,
    /// Ours: how the data stands. FreeBSD does not know it.
    pub consistency: Consistency,
}

/// Roles a node can have for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// None: the resource is not in use.
    Init,
    /// Serves clients.
    Primary,
    /// Keeps the replica.
    Secondary,
}

/// What a primary hears.
#[derive(Clone, Debug)]
pub enum PrimaryInput {
    /// A client asks.
    Request(ClientRequest),
    /// An I/O action has ended; with data if it was a read.
    Done(Token, Result<Option<Data>, Errno>),
    /// A connection asked for is open.
    Connected(Conn),
    /// An answer of the handshake has come on C1.
    Handshake(Handshake),
    /// A reply has come on C2.
    Reply(Reply),
    /// The link, or the attempt at one, has failed for this reason. Both connections are closed.
    Lost(String),
    /// Time has passed.
    Tick,
    /// Settings have changed. With another address of the peer the shell closes the connections and
    /// says so with [`PrimaryInput::Lost`].
    Settings(Box<Settings>),
    /// No more requests will come, and the role is to end: what is under way is brought to its end,
    /// both nodes are flushed and the map is cleaned, as far as that can be done.
    Stop,
}

/// What a primary wants done.
#[derive(Clone, Debug)]
pub enum PrimaryAction {
    /// On the local component.
    Io(Token, Io),
    /// A new connection to the peer, in place of an older one.
    Connect(Conn),
    /// A message of the handshake.
    Handshake(Conn, Handshake),
    /// A request, on C1.
    Send(Request),
    /// Both connections are to be closed; nothing more comes from them.
    Close(String),
    /// The answer to a client's request, exactly one each.
    Answer(u64, Result<Option<Data>, Errno>),
    /// For hooks and log.
    Tell(Happening),
    /// After [`PrimaryInput::Stop`]: nothing is left to do.
    Stopped,
}

/// Counters since the engine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Clients' reads.
    pub reads: u64,
    /// Clients' writes.
    pub writes: u64,
    /// Clients' trims and writes of zeroes.
    pub deletes: u64,
    /// Clients' flushes.
    pub flushes: u64,
    /// Times that the activemap was written.
    pub map_updates: u64,
    /// Local reads that failed.
    pub read_errors: u64,
    /// Local writes that failed, the map's too.
    pub write_errors: u64,
    /// Local trims and writes of zeroes that failed.
    pub delete_errors: u64,
    /// Local flushes that failed.
    pub flush_errors: u64,
    /// Requests that the other node answered with an error.
    pub remote_errors: u64,
}

/// A resynchronisation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whose data is copied.
    pub source: SyncSource,
    /// Bytes that were to be copied when it began, and have been added since.
    pub total: u64,
    /// Bytes that have been.
    pub done: u64,
    /// When it began.
    pub since: Now,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The role.
    pub role: Role,
    /// The link is up.
    pub connected: bool,
    /// What is wrong with the link, if it is known.
    pub trouble: Option<String>,
    /// How the local data stands.
    pub consistency: Consistency,
    /// The local component is out of use after an error; the other node serves.
    pub detached: bool,
    /// Bytes of extents that the two nodes have to be assumed to differ in.
    pub dirty: u64,
    /// Bytes of extents marked on disk: what a crash now would have resynchronised.
    pub marked: u64,
    /// The resynchronisation, if one is under way.
    pub sync: Option<Progress>,
    /// Since the engine began.
    pub counters: Counters,
    /// Requests of clients that are not yet complete.
    pub requests: u64,
    /// Local I/O not yet complete.
    pub local_queue: u64,
    /// Requests that wait for room on the link.
    pub send_queue: u64,
    /// Requests to the other node without reply.
    pub recv_queue: u64,
}

/// What hast.conf says about a resource, as far as the engines care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When a write is answered.
    pub replication: Replication,
    /// Milliseconds after which a peer that does not answer is given up.
    pub timeout: u64,
    /// Whether there is a peer to connect to.
    pub has_remote: bool,
    /// The most bytes in one request to a peer that is not known to take more.
    pub max_request: u32,
}

/// When a write is answered, a peer being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Stored here and there.
    Fullsync,
    /// Stored here, received there.
    Memsync,
    /// Stored here.
    Async,
}

/// What a secondary hears. Connections are numbered by the shell, and never reused.
#[derive(Clone, Debug)]
pub enum SecondaryInput {
    /// The first or second message of a handshake, on a connection of its own.
    Handshake(u64, Handshake),
    /// A request, on C1.
    Request(Request),
    /// A request that makes no sense, on C1; the stream is still in step.
    Invalid {
        /// Of the request; 0 if it had none.
        seq: u64,
        /// It was to be answered twice.
        memsync: bool,
        /// For the log.
        why: &'static str,
    },
    /// An I/O action has ended; with data if it was a read.
    Done(Token, Result<Option<Data>, Errno>),
    /// A connection has ended or failed for this reason.
    Lost(u64, String),
    /// Time has passed.
    Tick,
    /// Settings have changed.
    Settings(Box<Settings>),
    /// The role is to end: the link is closed, and what was received is stored.
    Stop,
}

/// What a secondary wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondaryAction {
    /// On the local component.
    Io(Token, Io),
    /// A message of the handshake on this connection.
    Handshake(u64, Handshake),
    /// From now on this pair is the link: C1, C2.
    Link(u64, u64),
    /// A reply, on C2.
    Reply(Reply),
    /// This connection is to be closed; nothing more comes from it.
    Close(u64),
    /// For hooks and log.
    Tell(Happening),
    /// After [`SecondaryInput::Stop`]: nothing is left to do.
    Stopped,
}
