//! The handshake: four messages that make two connections a link.

/// How many bytes tie the second connection to the first.
pub const TOKEN: usize = 16;

/// The highest protocol version that we speak.
pub const VERSION: u8 = 2;

/// First on C1, from the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The resource's name, the same on both nodes.
    pub resource: String,
    /// The highest version the primary speaks; 1 if it said nothing.
    pub version: u8,
    /// What a peer of our own kind can do besides (`hl_ext`); 0 from FreeBSD's.
    pub ext: u64,
}

/// The answer to [`Hello`], on C1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstReply {
    /// What both speak.
    pub version: u8,
    /// To be said on C2.
    pub token: [u8; TOKEN],
    /// As in [`Hello`].
    pub ext: u64,
}

/// A refusal, in place of either answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of the texts that FreeBSD's hastd uses.
    pub errmsg: String,
    /// Try again shortly. We never say it (A2), but hear it.
    pub wait: bool,
}

/// First and last on C2, from the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Second {
    /// As in [`Hello`].
    pub resource: String,
    /// As in [`FirstReply`].
    pub token: [u8; TOKEN],
    /// The primary's `resuid` is from this very attempt.
    pub virgin: bool,
    /// The resource's unique id; never 0 here.
    pub resuid: u64,
    /// Primary's.
    pub localcnt: u64,
    /// Primary's.
    pub remotecnt: u64,
    /// As in [`Hello`].
    pub ext: u64,
}

/// Whose data is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncSource {
    /// The primary's: it sends what is dirty.
    Primary = 1,
    /// The secondary's: the primary fetches what is dirty.
    Secondary = 2,
}

/// The answer to [`Second`], on C1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondReply {
    /// Usable bytes of the secondary.
    pub datasize: u64,
    /// Bytes of the secondary's extents.
    pub extentsize: u32,
    /// Secondary's.
    pub localcnt: u64,
    /// Secondary's.
    pub remotecnt: u64,
    /// The secondary had no `resuid` until now.
    pub virgin: bool,
    /// Whose data is newer.
    pub syncsrc: SyncSource,
    /// The secondary's map, one bit an extent, if it has one to tell.
    pub map: Option<Vec<u8>>,
    /// As in [`Hello`].
    pub ext: u64,
}

/// Any message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// C1, to the secondary.
    Hello(Hello),
    /// C1, to the primary.
    FirstReply(FirstReply),
    /// C2, to the secondary.
    Second(Second),
    /// C1, to the primary.
    SecondReply(SecondReply),
    /// C1, or the connection on which the fault came, to the primary.
    Refusal(Refusal),
}
