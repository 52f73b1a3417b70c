//! The one process that may touch the firewall: what others say to it and hear from it.
//!
//! The library is the vocabulary only: the four events, the tables they end in, and the messages.
//! What touches a firewall is in the binary, and nothing here opens, reads or changes one.

mod codec;
mod msg;
mod table;
pub mod table_nft;
pub mod table_pf;

use std::net::Ipv4Addr;

/// The title of its process.
pub const TITLE: &str = "dhcpd: pf table handler";

pub use msg::{Condition, FromParent, FromServer, MAX_ADDRESSES, MAX_COMMANDS, Report, ToServer};
/// What the handler answers to `Setup`.
pub use supervise::Answer as ToParent;
pub use table::{InvalidTable, Table, Tables};

/// What happened to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Offered or leased.
    Leased,
    /// Given back, or its lease ended.
    Released,
    /// In use by somebody it was not given to.
    Abandoned,
    /// Leased by other hardware than before.
    Changed,
}

/// One event for the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What happened.
    pub verb: Verb,
    /// To which address.
    pub address: Ipv4Addr,
}

/// The handler as its parent keeps it, with the tables to keep and the seconds that an element of
/// them lasts.
pub fn role(
    tables: &Tables,
    element_timeout: Option<u32>,
) -> supervise::attendant::Role<FromParent> {
    supervise::attendant::Role {
        program: supervise::Program::Sibling("pfhelper"),
        title: TITLE,
        setup: FromParent::Setup { tables: tables.clone(), element_timeout },
        client: FromParent::Commands,
    }
}
