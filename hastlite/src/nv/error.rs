//! What can be wrong with an nv list: one error a rule.

use super::Kind;
use std::fmt;

/// Why a list cannot be read, does not hold what is asked for, or cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvError {
    /// More bytes than [`super::MAX`].
    TooLong(usize),
    /// Bytes are left, but too few for an entry.
    Truncated,
    /// The type byte says "host order", which must not leave a host.
    HostOrder,
    /// No such type.
    UnknownKind(u8),
    /// A name has at least one byte and its NUL.
    NameLength(u8),
    /// The name reaches beyond the list.
    NameTruncated,
    /// The name has no NUL at its end.
    NameEnd,
    /// The name has a NUL before its end.
    NameNul,
    /// No value has no bytes.
    EmptyValue,
    /// The value, of so many bytes, reaches beyond the list.
    ValueTruncated(u32),
    /// A number of so many bytes.
    ScalarLength {
        /// What it is said to be.
        kind: Kind,
        /// Bytes.
        length: usize,
    },
    /// An array of so many bytes, which are not whole elements.
    ArrayLength {
        /// What it is said to be.
        kind: Kind,
        /// Bytes.
        length: usize,
    },
    /// The string has no NUL at its end.
    StringEnd,
    /// The string has a NUL before its end.
    StringNul,
    /// The name is there, with another type.
    WrongKind {
        /// The name.
        name: String,
        /// What is asked for.
        wanted: Kind,
        /// What is there.
        found: Kind,
    },
    /// The text of that name is no UTF-8.
    NotUtf8(String),
    /// A name that cannot be written: empty, longer than 254 bytes, or with a NUL.
    Name(String),
}

impl fmt::Display for NvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NvError::TooLong(bytes) => {
                write!(f, "nv list of {bytes} bytes, at most {} are taken", super::MAX)
            }
            NvError::Truncated => write!(f, "nv list ends within an entry's header"),
            NvError::HostOrder => write!(f, "nv entry in host byte order"),
            NvError::UnknownKind(number) => write!(f, "nv entry of unknown type {number}"),
            NvError::NameLength(length) => write!(f, "nv name of length {length}"),
            NvError::NameTruncated => write!(f, "nv list ends within a name"),
            NvError::NameEnd => write!(f, "nv name does not end with NUL"),
            NvError::NameNul => write!(f, "nv name with a NUL inside"),
            NvError::EmptyValue => write!(f, "nv value without bytes"),
            NvError::ValueTruncated(length) => {
                write!(f, "nv list ends within a value of {length} bytes")
            }
            NvError::ScalarLength { kind, length } => {
                write!(f, "nv value of type {kind:?} with {length} bytes")
            }
            NvError::ArrayLength { kind, length } => {
                write!(f, "nv value of type {kind:?} with {length} bytes, no whole elements")
            }
            NvError::StringEnd => write!(f, "nv string does not end with NUL"),
            NvError::StringNul => write!(f, "nv string with a NUL inside"),
            NvError::WrongKind { name, wanted, found } => {
                write!(f, "nv value \"{name}\" is of type {found:?}, not {wanted:?}")
            }
            NvError::NotUtf8(name) => write!(f, "nv string \"{name}\" is not UTF-8"),
            NvError::Name(name) => write!(f, "\"{name}\" cannot be a name in an nv list"),
        }
    }
}

impl std::error::Error for NvError {}
