//! What a configuration means, once read: networks, subnets, hosts, classes and their settings.
//!
//! Everything here is resolved: names are addresses, options are bytes as they go on the wire,
//! inheritance has been applied. How it was written is `conf`'s business.

mod lookup;

pub use lookup::Lookup;

use ipnetwork::Ipv4Network;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Index into [`Config::networks`].
pub type NetworkId = usize;
/// Index into [`Config::subnets`].
pub type SubnetId = usize;
/// Index into [`Config::hosts`].
pub type HostId = usize;

/// Where something was written: file, line and column, both counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name as it was opened.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Shared networks, the implicit one of a lone subnet included.
    pub networks: Vec<SharedNetwork>,
    /// Subnets, in order of declaration.
    pub subnets: Vec<Subnet>,
    /// Hosts, in order of declaration.
    pub hosts: Vec<Host>,
    /// Exact matches on option 60.
    pub vendor_classes: Vec<Class>,
    /// Exact matches on option 77.
    pub user_classes: Vec<Class>,
    /// What the outermost scope says, built-in defaults below it.
    pub root: Settings,
    /// Finds the above by what a packet says; made by [`Config::build_lookup`].
    pub lookup: Lookup,
}

/// Subnets on one wire; one address pool.
#[derive(Clone, Debug)]
pub struct SharedNetwork {
    /// As declared; the network address for an implicit one.
    pub name: String,
    /// Whether to refuse what is wrong on this network (RFC 2131 section 4.3.2).
    pub authoritative: bool,
    /// Its subnets, in order of declaration.
    pub subnets: Vec<SubnetId>,
    /// Effective settings: shared-network, groups around it, root.
    pub settings: Settings,
}

/// One subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// The network it is part of.
    pub network: NetworkId,
    /// Address and mask.
    pub net: Ipv4Network,
    /// Dynamic addresses, in order of declaration.
    pub ranges: Vec<Range>,
    /// Effective settings: subnet, groups around it, shared-network, root, built-in defaults.
    pub settings: Settings,
    /// Where it was declared.
    pub at: Place,
}

/// Dynamic addresses from `low` to `high`, both included; `low <= high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub low: Ipv4Addr,
    /// Last address.
    pub high: Ipv4Addr,
    /// Also for BOOTP clients.
    pub dynamic_bootp: bool,
}

/// A hardware address with its type (RFC 1700 "htype").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hardware {
    /// 1 is Ethernet.
    pub htype: u8,
    /// At most 16 bytes.
    pub addr: Vec<u8>,
}

/// A known client.
#[derive(Clone, Debug)]
pub struct Host {
    /// As declared.
    pub name: String,
    /// `hardware`.
    pub hardware: Option<Hardware>,
    /// `option dhcp-client-identifier`, all bytes of option 61.
    pub client_id: Option<Vec<u8>>,
    /// `fixed-address`, in order.
    pub fixed: Vec<Ipv4Addr>,
    /// What the host and the groups around it say, and nothing from further out.
    pub settings: Settings,
    /// Where it was declared.
    pub at: Place,
}

/// A vendor or user class, matched exactly.
#[derive(Clone, Debug)]
pub struct Class {
    /// The bytes of option 60 or 77.
    pub value: Vec<u8>,
    /// What the class and the groups around it say, and nothing from further out.
    pub settings: Settings,
    /// Where it was declared.
    pub at: Place,
}

/// What a scope says. `None`: it says nothing about that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the dhcpd.conf(5) statement of the same name")]
pub struct Settings {
    /// Seconds.
    pub default_lease_time: Option<u32>,
    /// Seconds.
    pub max_lease_time: Option<u32>,
    /// Seconds (ISC).
    pub min_lease_time: Option<u32>,
    /// Seconds.
    pub dynamic_bootp_lease_length: Option<u32>,
    /// Seconds since the epoch.
    pub dynamic_bootp_lease_cutoff: Option<i64>,
    pub unknown_clients: Option<bool>,
    pub bootp: Option<bool>,
    pub booting: Option<bool>,
    pub dynamic_bootp: Option<bool>,
    pub authoritative: Option<bool>,
    pub get_lease_hostnames: Option<bool>,
    pub use_host_decl_names: Option<bool>,
    pub use_lease_addr_for_default_route: Option<bool>,
    pub always_reply_rfc1048: Option<bool>,
    pub echo_client_id: Option<bool>,
    /// At most 128 bytes.
    pub filename: Option<Vec<u8>>,
    /// At most 64 bytes.
    pub server_name: Option<Vec<u8>>,
    pub next_server: Option<Ipv4Addr>,
    /// Options as they go on the wire.
    pub options: Options,
}

/// Options by code, each value encoded as it goes on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(Vec<(u8, Box<[u8]>)>);

impl Options {
    /// The value of an option, if set.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        let at = self.0.binary_search_by_key(&code, |(c, _)| *c).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Sets an option; an earlier value is replaced.
    pub fn set(&mut self, code: u8, value: Vec<u8>) {
        match self.0.binary_search_by_key(&code, |(c, _)| *c) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (code, value.into())),
        }
    }

    /// All options, by ascending code.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, &**value))
    }
}
