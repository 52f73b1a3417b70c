//! What the engine works out once from configuration and interfaces: at start, and again whenever
//! either of them changes. Nothing in here depends on leases or packets.

use super::Interface;
use super::pool::Pools;
use crate::config::{Config, Settings};
use std::net::Ipv4Addr;

/// Each part is a field of `Core` of the same name.
pub(super) struct Derived {
    pub(super) pools: Pools,
    pub(super) own_addresses: Vec<Ipv4Addr>,
    pub(super) server_ids: Vec<Ipv4Addr>,
    pub(super) network_addresses: Vec<Option<Ipv4Addr>>,
}

impl Derived {
    pub(super) fn new(config: &Config, interfaces: &[Interface]) -> Derived {
        let network_addresses = (0..config.networks.len())
            .map(|id| interfaces.iter().find(|i| i.network == Some(id)).map(|i| i.address))
            .collect();
        let mut own_addresses: Vec<Ipv4Addr> = (interfaces.iter())
            .flat_map(|i| i.addresses.iter().copied().chain([i.address]))
            .collect();
        own_addresses.sort_unstable();
        let mut server_ids: Vec<Ipv4Addr> =
            own_addresses.iter().copied().chain(configured_ids(config)).collect();
        server_ids.sort_unstable();
        server_ids.dedup();
        let pools = Pools::new(config, &server_ids);
        if pools.reserved_count() > 0 {
            log::info!(
                "{} addresses of ranges are hosts' or our own, and not given out dynamically",
                pools.reserved_count()
            );
        }
        Derived { pools, own_addresses, server_ids, network_addresses }
    }
}

/// Which network each subnet is part of.
pub(super) fn networks_of(config: &Config) -> Vec<u32> {
    config.subnets.iter().map(|subnet| subnet.network as u32).collect()
}

/// Every server-identifier that the configuration makes us use.
fn configured_ids(config: &Config) -> impl Iterator<Item = Ipv4Addr> {
    use crate::wire::code::option::SERVER_IDENTIFIER;
    let id = |s: &Settings| {
        let value: [u8; 4] = s.options.get(SERVER_IDENTIFIER)?.try_into().ok()?;
        Some(Ipv4Addr::from(value))
    };
    let subnets = config.subnets.iter().map(|s| &s.settings);
    let hosts = config.hosts.iter().map(|h| &h.settings);
    let classes = config.vendor_classes.iter().chain(&config.user_classes).map(|c| &c.settings);
    subnets.chain(hosts).chain(classes).filter_map(id)
}
