//! What can be wrong with what a peer sent, or with what we are about to send it.

use crate::nv::NvError;
use std::fmt;

/// Why a packet cannot be taken. All of these mean the end of the connection: either the stream is
/// out of step, or what came is not what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The packet is of a protocol version above ours.
    Version(u8),
    /// The packet's list has more bytes than we take.
    ListTooLong(u32),
    /// The packet's data has more bytes than we take.
    DataTooLong {
        /// Bytes announced.
        size: u32,
        /// Bytes taken.
        limit: u32,
    },
    /// The list is malformed, or a value of the wrong type.
    Nv(NvError),
    /// A value that there must be.
    Missing(&'static str),
    /// A value that means nothing.
    Value {
        /// Its name.
        name: &'static str,
        /// What it is.
        value: i128,
    },
    /// A token of another length than 16 bytes.
    TokenLength(usize),
    /// The data's `checksum` is none that we know.
    Checksum(String),
    /// The data's `compression` is none that we know.
    Compression(String),
    /// The data's `hash` has not its checksum's length.
    HashLength(usize),
    /// The data is not what its checksum was made of.
    Corrupt,
    /// `hole` with other than four bytes of data, or `lzf` without a stream.
    PackedLength(usize),
    /// The length before compression is not what it must be, or more than can be.
    Length {
        /// As announced, or found.
        length: u64,
        /// What it must be, or at most.
        limit: u64,
    },
    /// The LZF stream is damaged.
    Lzf,
    /// Ours: what must not be sent, since it means nothing or makes FreeBSD's hastd abort.
    Unsendable(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Version(version) => write!(f, "packet of protocol version {version}"),
            WireError::ListTooLong(length) => write!(f, "packet with an nv list of {length} bytes"),
            WireError::DataTooLong { size, limit } => {
                write!(f, "packet with {size} bytes of data, at most {limit} are taken")
            }
            WireError::Nv(error) => error.fmt(f),
            WireError::Missing(name) => write!(f, "message without \"{name}\""),
            WireError::Value { name, value } => write!(f, "message with \"{name}\" {value}"),
            WireError::TokenLength(length) => write!(f, "token of {length} bytes"),
            WireError::Checksum(name) => write!(f, "unknown checksum \"{name}\""),
            WireError::Compression(name) => write!(f, "unknown compression \"{name}\""),
            WireError::HashLength(length) => write!(f, "hash of {length} bytes"),
            WireError::Corrupt => write!(f, "data does not match its checksum"),
            WireError::PackedLength(length) => write!(f, "compressed data of {length} bytes"),
            WireError::Length { length, limit } => {
                write!(f, "data of {length} bytes before compression, where {limit} can be")
            }
            WireError::Lzf => write!(f, "damaged LZF stream"),
            WireError::Unsendable(what) => write!(f, "not sent: {what}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<NvError> for WireError {
    fn from(error: NvError) -> WireError {
        WireError::Nv(error)
    }
}
