//! The text of dhcpd.leases(5): one record a lease, appended; the last record for an address wins.
//!
//! Not here: when a record is durable (`journal`), and opening or replacing the file.

pub(crate) mod date;
mod lex;
mod read;
mod record;
pub mod store;
pub(crate) mod succession;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use read::{Records, read, read_from};
pub use write::append_record;

use std::fmt;

/// The longest hardware address a record holds, in bytes: the size of `chaddr`.
pub const MAX_HARDWARE: usize = 16;
/// The longest client identifier a record holds, in bytes. One option is at most 255; RFC 3396
/// joins several, and no honest client comes near this.
pub const MAX_CLIENT_ID: usize = 1024;
/// The longest host name a record holds, in bytes: what one option can carry.
pub const MAX_NAME: usize = 255;

/// Something about a lease file that its reader has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, from 1.
    pub line: u64,
    /// How bad it is.
    pub kind: ProblemKind,
    /// What it is.
    pub text: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Well-formed, and without effect here.
    Ignored,
    /// The last record is not whole: a crash came while it was being written. It was never
    /// acknowledged.
    Torn,
    /// Something that should have been a record, or part of one, was lost.
    Corrupt,
    /// The file could not be read on; nothing follows.
    Unreadable,
}

/// `LINE: TEXT`: to be shown behind the file's name and a colon.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.kind {
            ProblemKind::Corrupt => "Corrupt lease file - possible data loss! ",
            ProblemKind::Ignored | ProblemKind::Torn | ProblemKind::Unreadable => "",
        };
        write!(f, "{}: {before}{}", self.line, self.text)
    }
}
