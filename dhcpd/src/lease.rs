//! One lease as it is remembered across restarts.

use crate::config::Hardware;
use std::net::Ipv4Addr;

/// A record of dhcpd.leases(5). Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The address leased.
    pub address: Ipv4Addr,
    /// When it began.
    pub starts: i64,
    /// When it ends or ended.
    pub ends: i64,
    /// Who holds it.
    pub hardware: Option<Hardware>,
    /// Option 61, all bytes.
    pub client_id: Option<Vec<u8>>,
    /// Given to a BOOTP client.
    pub dynamic_bootp: bool,
    /// In use by somebody unknown: not to be given out.
    pub abandoned: bool,
    /// Option 12 as the client sent it.
    pub client_hostname: Option<Vec<u8>>,
    /// The name the address has in the DNS.
    pub hostname: Option<Vec<u8>>,
}
