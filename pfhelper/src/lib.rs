//! The one process that may touch the firewall: the command it is given.
//!
//! The library is the vocabulary only; what touches a firewall is in the binary.

use std::net::Ipv4Addr;

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
