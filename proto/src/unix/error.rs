//! Everything that can go wrong on a channel, each by its own name. What to do about it is the
//! caller's: most channels are over after any of these.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a message was not sent or not taken. No variant holds a descriptor: what came is closed.
#[derive(Debug)]
pub enum Error {
    /// The other end is gone; every message it had sent was taken first.
    Closed,
    /// The message to be sent is longer than a message may be. Nothing was sent.
    TooLong {
        /// Bytes the payload has.
        payload: usize,
        /// Bytes it may have: [`super::MAX_PAYLOAD`].
        limit: usize,
    },
    /// The record received is longer than a message may be, and was cut (`MSG_TRUNC`).
    Truncated,
    /// More descriptors came than the control buffer has room for or this process may still open,
    /// and were cut (`MSG_CTRUNC`).
    ControlTruncated,
    /// More than one descriptor came with one message.
    TwoFds,
    /// A descriptor came without any message.
    BareFd,
    /// A descriptor goes with a message that has none, or over a channel that carries none.
    UnexpectedFd,
    /// A message that has a descriptor came without it.
    MissingFd,
    /// No message of this direction has this kind.
    UnknownKind(u16),
    /// The record cannot be what its sender would have sent: what is wrong with it.
    Malformed(&'static str),
    /// The descriptor is not a `SOCK_SEQPACKET` socket of the unix domain.
    NotSeqpacket,
    /// The system refused.
    Io {
        /// The call.
        op: &'static str,
        /// What it answered.
        source: io::Error,
    },
    /// The system refused something about a socket in the file system.
    Path {
        /// The call.
        op: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(op: &'static str, source: impl Into<io::Error>) -> Self {
        Error::Io { op, source: source.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => f.write_str("channel closed by its other end"),
            Error::TooLong { payload, limit } => {
                write!(f, "send: a payload of {payload} bytes, the limit is {limit}")
            }
            Error::Truncated => f.write_str("receive: a message over the limit"),
            Error::ControlTruncated => {
                f.write_str("receive: more descriptors than there is room for")
            }
            Error::TwoFds => f.write_str("receive: more than one descriptor with one message"),
            Error::BareFd => f.write_str("receive: a descriptor without a message"),
            Error::UnexpectedFd => f.write_str("a descriptor where none belongs"),
            Error::MissingFd => f.write_str("receive: a message without its descriptor"),
            Error::UnknownKind(kind) => write!(f, "receive: unknown kind of message {kind}"),
            Error::Malformed(what) => write!(f, "receive: malformed message: {what}"),
            Error::NotSeqpacket => f.write_str("not a SOCK_SEQPACKET socket of the unix domain"),
            Error::Io { op, source } => write!(f, "{op} on a channel: {source}"),
            Error::Path { op, path, source } => write!(f, "{op} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Path { source, .. } => Some(source),
            _ => None,
        }
    }
}
