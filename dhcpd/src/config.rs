//! What a configuration means, once read: networks, subnets, hosts, classes and their settings.
//!
//! Everything here is resolved: names are addresses, options are bytes as they go on the wire,
//! inheritance has been applied. How it was written is `conf`'s business.

mod lookup;
mod renumber;

pub use lookup::{Lookup, MAX_HARDWARE};

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
    pub ping_check: Option<bool>,
    pub rapid_commit: Option<bool>,
    pub leasequery: Option<bool>,
    pub subnet_selection: Option<bool>,
    pub withhold_ipv4: Option<bool>,
    /// At most 128 bytes.
    pub filename: Option<Vec<u8>>,
    /// At most 64 bytes.
    pub server_name: Option<Vec<u8>>,
    pub next_server: Option<Ipv4Addr>,
    /// Options as they go on the wire.
    pub options: Options,
}

impl Settings {
    /// What holds where nothing is said: OpenBSD's defaults.
    pub fn built_in() -> Settings {
        Settings {
            default_lease_time: Some(43_200),
            max_lease_time: Some(86_400),
            min_lease_time: None,
            dynamic_bootp_lease_length: Some(0),
            dynamic_bootp_lease_cutoff: Some(i32::MAX.into()),
            unknown_clients: Some(true),
            bootp: Some(true),
            booting: Some(true),
            dynamic_bootp: Some(false),
            authoritative: Some(true),
            get_lease_hostnames: Some(false),
            use_host_decl_names: Some(false),
            use_lease_addr_for_default_route: Some(false),
            always_reply_rfc1048: Some(false),
            echo_client_id: Some(true),
            ping_check: Some(true),
            rapid_commit: Some(false),
            leasequery: Some(false),
            subnet_selection: Some(false),
            withhold_ipv4: Some(false),
            filename: None,
            server_name: None,
            next_server: None,
            options: Options::default(),
        }
    }

    /// Takes over everything that `inner` says.
    pub fn overlay(&mut self, inner: &Settings) {
        // Taken apart, so that a field added later is not forgotten here.
        let Settings {
            default_lease_time,
            max_lease_time,
            min_lease_time,
            dynamic_bootp_lease_length,
            dynamic_bootp_lease_cutoff,
            unknown_clients,
            bootp,
            booting,
            dynamic_bootp,
            authoritative,
            get_lease_hostnames,
            use_host_decl_names,
            use_lease_addr_for_default_route,
            always_reply_rfc1048,
            echo_client_id,
            ping_check,
            rapid_commit,
            leasequery,
            subnet_selection,
            withhold_ipv4,
            filename,
            server_name,
            next_server,
            options,
        } = inner;
        take_over(&mut self.default_lease_time, default_lease_time);
        take_over(&mut self.max_lease_time, max_lease_time);
        take_over(&mut self.min_lease_time, min_lease_time);
        take_over(&mut self.dynamic_bootp_lease_length, dynamic_bootp_lease_length);
        take_over(&mut self.dynamic_bootp_lease_cutoff, dynamic_bootp_lease_cutoff);
        take_over(&mut self.unknown_clients, unknown_clients);
        take_over(&mut self.bootp, bootp);
        take_over(&mut self.booting, booting);
        take_over(&mut self.dynamic_bootp, dynamic_bootp);
        take_over(&mut self.authoritative, authoritative);
        take_over(&mut self.get_lease_hostnames, get_lease_hostnames);
        take_over(&mut self.use_host_decl_names, use_host_decl_names);
        take_over(&mut self.use_lease_addr_for_default_route, use_lease_addr_for_default_route);
        take_over(&mut self.always_reply_rfc1048, always_reply_rfc1048);
        take_over(&mut self.echo_client_id, echo_client_id);
        take_over(&mut self.ping_check, ping_check);
        take_over(&mut self.rapid_commit, rapid_commit);
        take_over(&mut self.leasequery, leasequery);
        take_over(&mut self.subnet_selection, subnet_selection);
        take_over(&mut self.withhold_ipv4, withhold_ipv4);
        take_over(&mut self.filename, filename);
        take_over(&mut self.server_name, server_name);
        take_over(&mut self.next_server, next_server);
        self.options.overlay(options);
    }
}

fn take_over<T: Clone>(outer: &mut Option<T>, inner: &Option<T>) {
    if inner.is_some() {
        outer.clone_from(inner);
    }
}

/// Options by code, each value encoded as it goes on the wire. Values are shared by the scopes
/// that inherit them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(Vec<(u8, Arc<[u8]>)>);

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

    /// Sets every option that `inner` sets.
    pub fn overlay(&mut self, inner: &Options) {
        for (code, value) in &inner.0 {
            match self.0.binary_search_by_key(code, |(c, _)| *c) {
                Ok(at) => self.0[at].1 = value.clone(),
                Err(at) => self.0.insert(at, (*code, value.clone())),
            }
        }
    }

    /// All options, by ascending code.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, &**value))
    }
}
