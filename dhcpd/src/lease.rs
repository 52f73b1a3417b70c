//! One lease as it is remembered across restarts, owned and borrowed.
//!
//! Not the engine's own table of leases, and not the text of the file: that is `leasefile`.

use crate::config::Hardware;
use std::net::Ipv4Addr;

/// The latest time a lease file can say, 9999/12/31 23:59:59 UTC, in seconds since the epoch: what
/// an endless lease ends at.
pub const NEVER: i64 = 253_402_300_799;

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

/// The same, borrowed from wherever its owner keeps it: what the writer takes, so that a record
/// costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView<'a> {
    /// The address leased.
    pub address: Ipv4Addr,
    /// When it began.
    pub starts: i64,
    /// When it ends or ended.
    pub ends: i64,
    /// Hardware type (1 is Ethernet) and address of who holds it; an empty address says nothing.
    pub hardware: Option<(u8, &'a [u8])>,
    /// Option 61, all bytes; empty says nothing.
    pub client_id: Option<&'a [u8]>,
    /// Given to a BOOTP client.
    pub dynamic_bootp: bool,
    /// In use by somebody unknown: not to be given out.
    pub abandoned: bool,
    /// Option 12 as the client sent it: any bytes at all.
    pub client_hostname: Option<&'a [u8]>,
    /// The name the address has in the DNS: any bytes at all.
    pub hostname: Option<&'a [u8]>,
}

impl LeaseRecord {
    /// A record that says nothing but its address.
    pub fn new(address: Ipv4Addr) -> Self {
        LeaseRecord {
            address,
            starts: 0,
            ends: 0,
            hardware: None,
            client_id: None,
            dynamic_bootp: false,
            abandoned: false,
            client_hostname: None,
            hostname: None,
        }
    }

    /// Lends the record to the writer.
    pub fn view(&self) -> LeaseView<'_> {
        LeaseView {
            address: self.address,
            starts: self.starts,
            ends: self.ends,
            hardware: self.hardware.as_ref().map(|h| (h.htype, h.addr.as_slice())),
            client_id: self.client_id.as_deref(),
            dynamic_bootp: self.dynamic_bootp,
            abandoned: self.abandoned,
            client_hostname: self.client_hostname.as_deref(),
            hostname: self.hostname.as_deref(),
        }
    }
}

impl LeaseView<'_> {
    /// A record of its own.
    pub fn to_owned(&self) -> LeaseRecord {
        let hardware = self.hardware.map(|(htype, addr)| Hardware { htype, addr: addr.to_vec() });
        LeaseRecord {
            address: self.address,
            starts: self.starts,
            ends: self.ends,
            hardware,
            client_id: self.client_id.map(<[u8]>::to_vec),
            dynamic_bootp: self.dynamic_bootp,
            abandoned: self.abandoned,
            client_hostname: self.client_hostname.map(<[u8]>::to_vec),
            hostname: self.hostname.map(<[u8]>::to_vec),
        }
    }
}
