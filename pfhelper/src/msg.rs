//! Every message that the pf table handler hears or says, one type a direction.
//!
//! Only what they are and how they look as bytes. The order in which they come:
//! the parent sends `Setup`, the handler answers `Ready` or `Refused` (and ends), the parent sends
//! `Commands` with the other end of the server's channel, and from then on the server sends
//! `Apply` and `Replace` and is answered by `Report`. Nobody waits for an answer: a report covers
//! everything up to its number. `Tables` comes whenever it is not as it was with a table.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use crate::{Command, Tables};

/// The most commands in one `Apply`.
pub const MAX_COMMANDS: usize = 12_000;

/// The most addresses, of both tables together, in one `Replace`.
pub const MAX_ADDRESSES: usize = 15_000;

/// What the parent says on the handler's own channel.
#[derive(Debug)]
pub enum FromParent {
    /// Once, first: what to keep up to date.
    Setup {
        /// The tables that were named.
        tables: Tables,
        /// Seconds after which an entry that is not renewed fades, where the table can do that.
        element_timeout: Option<u32>,
    },
    /// Once, second: the channel on which the server will speak.
    Commands(OwnedFd),
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// Events, in the order in which they happened.
    Apply {
        /// The server's number for this message; goes up (and round).
        seq: u32,
        /// At most [`MAX_COMMANDS`].
        commands: Vec<Command>,
    },
    /// A part of the whole truth: what the tables must hold, and nothing else.
    ///
    /// The parts of one truth follow each other with nothing between them and share a number. The
    /// leases may go on meanwhile: then the next truth begins, and what came of the first is void.
    Replace {
        /// As in `Apply`.
        seq: u32,
        /// 0, 1, 2...
        part: u32,
        /// Whether the truth is complete with this part.
        last: bool,
        /// Addresses offered or leased.
        leased: Vec<Ipv4Addr>,
        /// Addresses in use by somebody they were not given to.
        abandoned: Vec<Ipv4Addr>,
    },
}

impl FromServer {
    /// The whole truth as the messages that say it, at least one, none too long to send.
    pub fn replace(seq: u32, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) -> Vec<FromServer> {
        let count = (leased.len() + abandoned.len()).div_ceil(MAX_ADDRESSES).max(1);
        let (mut leased, mut abandoned) = (leased, abandoned);
        (1..=count)
            .map(|number| {
                let (mine, rest) = leased.split_at(leased.len().min(MAX_ADDRESSES));
                leased = rest;
                let room = MAX_ADDRESSES - mine.len();
                let (theirs, rest) = abandoned.split_at(abandoned.len().min(room));
                abandoned = rest;
                FromServer::Replace {
                    seq,
                    part: u32::try_from(number - 1).unwrap_or(u32::MAX),
                    last: number == count,
                    leased: mine.to_vec(),
                    abandoned: theirs.to_vec(),
                }
            })
            .collect()
    }
}

/// What became of the changes of one or several messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of the last message that this covers, and with it all before.
    pub seq: u32,
    /// Commands that the firewall has taken, or that had nothing to change.
    pub applied: u32,
    /// Commands that met a table that does not exist (yet).
    pub missing: u32,
    /// Commands that failed for another reason.
    pub failed: u32,
}

/// How it is with a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It is not named, or there and has yet to be told the whole truth.
    #[default]
    Unfilled,
    /// It holds what it must.
    Kept,
    /// It does not exist; once it does it is told the whole truth.
    Missing,
    /// Something failed, for this reason, and there was no whole truth since.
    Failed(String),
}

/// What the handler says to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToServer {
    /// How far the handler is.
    Report(Report),
    /// How it is with the tables of abandoned, changed and leased addresses, before the report on
    /// what made it so.
    Tables([Condition; 3]),
    /// Somebody emptied or made a table: please send the whole truth.
    Flushed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_truth_is_cut_in_order_and_nothing_is_lost() {
        let address = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
        let leased: Vec<_> = (0..40_000).map(address).collect();
        let abandoned: Vec<_> = (100_000..120_000).map(address).collect();
        let parts = FromServer::replace(7, &leased, &abandoned);
        assert_eq!(parts.len(), 4);
        let (mut l, mut a) = (Vec::new(), Vec::new());
        for (n, message) in parts.iter().enumerate() {
            let FromServer::Replace { seq, part, last, leased, abandoned } = message else {
                panic!("{message:?}");
            };
            assert_eq!((*seq, *part as usize, *last), (7, n, n == 3));
            assert!(leased.len() + abandoned.len() <= MAX_ADDRESSES);
            l.extend_from_slice(leased);
            a.extend_from_slice(abandoned);
        }
        assert_eq!((l, a), (leased, abandoned));
    }

    #[test]
    fn an_empty_truth_is_one_message() {
        let parts = FromServer::replace(1, &[], &[]);
        assert!(matches!(&parts[..], [FromServer::Replace { part: 0, last: true, .. }]));
    }
}
