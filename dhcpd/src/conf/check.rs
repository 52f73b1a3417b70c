//! What can only be seen once everything is read: subnets and ranges that overlap, fixed
//! addresses that no subnet has.

use super::diagnostic::Problem;
use crate::config::{Config, SubnetId};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An offset in one of the files that were read.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Index of the file.
    pub file: usize,
    /// Offset in it.
    pub offset: u32,
}

/// Where things were declared.
#[derive(Debug, Default)]
pub struct Sites {
    /// Each subnet.
    pub subnets: Vec<Site>,
    /// Each range of each subnet.
    pub ranges: Vec<Vec<Site>>,
    /// Each fixed address of each host.
    pub fixed: Vec<Vec<Site>>,
    /// What pools ask of the subnets they are in.
    pub bounds: Vec<Bound>,
}

/// What only a whole subnet can say, said of a part of it.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Which subnet.
    pub subnet: SubnetId,
    /// What.
    pub wants: Wants,
    /// Where it is said.
    pub site: Site,
}

/// Who is to have no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Clients that no host declares.
    KnownOnly,
    /// Clients that a host declares, beside what the host has for itself.
    UnknownOnly,
    /// BOOTP clients.
    NoBootp,
}

/// Said about a place in the file of this index.
pub type Finding = (usize, Problem);

/// What OpenBSD's dhcpd does with subnets and ranges that overlap.
const WARNS: &str = "takes this: it warns of it in its log only";
const NOT_SEEN: &str = "takes this: it does not see it, and both ranges have the addresses";

/// Looks at everything. The configuration's lookup tables must have been built.
pub fn check(config: &Config, sites: &Sites) -> Vec<Finding> {
    let mut findings = Vec::new();
    subnets(config, sites, &mut findings);
    ranges(config, sites, &mut findings);
    fixed_addresses(config, sites, &mut findings);
    bounds(config, sites, &mut findings);
    findings
}

fn subnets(config: &Config, sites: &Sites, findings: &mut Vec<Finding>) {
    let mut order: Vec<SubnetId> = (0..config.subnets.len()).collect();
    let net = |id: SubnetId| config.subnets.get(id).map(|subnet| subnet.net);
    order.sort_by_key(|id| net(*id).map(|net| (net.network(), net.prefix())));
    // Prefixes that overlap are inside each other, so the widest so far meets all of its own.
    let mut widest: Option<SubnetId> = None;
    for id in order {
        let (Some(this), Some(site)) = (net(id), sites.subnets.get(id)) else { continue };
        let around = widest.and_then(|wide| Some((wide, net(wide)?)));
        match around.filter(|(_, wide)| wide.broadcast() >= this.network()) {
            Some((wide_id, wide)) => {
                // Blame the one that was written later.
                let (later, other) = if wide_id > id { (wide_id, this) } else { (id, wide) };
                let site = sites.subnets.get(later).unwrap_or(site);
                let text = format!("this overlaps the subnet {other}");
                findings.push((site.file, Problem::error(site.offset, text).there(WARNS)));
            }
            None => widest = Some(id),
        }
    }
}

fn ranges(config: &Config, sites: &Sites, findings: &mut Vec<Finding>) {
    for (subnet, sites) in config.subnets.iter().zip(&sites.ranges) {
        let mut order: Vec<_> = subnet.ranges.iter().zip(sites).enumerate().collect();
        order.sort_by_key(|(_, (range, _))| (range.low, range.high));
        let mut reach = None;
        for (id, (range, site)) in order {
            let over = reach.filter(|(_, high, _, _): &(usize, Ipv4Addr, _, _)| *high >= range.low);
            if let Some((other_id, high, low, other_site)) = over {
                let (site, low, high) = match other_id > id {
                    true => (other_site, range.low, range.high),
                    false => (site, low, high),
                };
                let text = format!("this overlaps the range {low} {high}");
                findings.push((site.file, Problem::error(site.offset, text).there(NOT_SEEN)));
            }
            if over.is_none_or(|(_, high, _, _)| range.high > high) {
                reach = Some((id, range.high, range.low, site));
            }
            let ends = [subnet.net.network(), subnet.net.broadcast()];
            if subnet.net.prefix() < 31 && ends.iter().any(|a| (range.low..=range.high).contains(a))
            {
                let text = "this range has the subnet's own or its broadcast address in it";
                findings.push((site.file, Problem::warning(site.offset, text)));
            }
        }
    }
}

fn bounds(config: &Config, sites: &Sites, findings: &mut Vec<Finding>) {
    let mut last = None;
    let hosts = config.hosts.iter().map(|host| &host.settings);
    let classes = config.vendor_classes.iter().map(|class| &class.settings);
    let any_bootp = hosts.chain(classes).any(|own| own.dynamic_bootp == Some(true));
    // How many hosts have an address of their own on each network.
    let mut at_home = vec![0usize; config.networks.len()];
    for host in config.hosts.iter().filter(|_| !sites.bounds.is_empty()) {
        let subnet = |address: &Ipv4Addr| config.subnets.get(config.subnet_of(*address)?);
        let homes: BTreeSet<_> = host.fixed.iter().filter_map(subnet).map(|s| s.network).collect();
        for home in homes {
            at_home.iter_mut().skip(home).take(1).for_each(|count| *count += 1);
        }
    }
    for Bound { subnet, wants, site } in &sites.bounds {
        let Some(subnet) = config.subnets.get(*subnet) else { continue };
        let net = subnet.net;
        let text = match wants {
            Wants::KnownOnly if subnet.settings.unknown_clients != Some(false) => format!(
                "only whole subnets can be kept from unknown clients: say so in the subnet {net}"
            ),
            Wants::UnknownOnly if at_home.get(subnet.network) != Some(&config.hosts.len()) => {
                "not all hosts have addresses here; those without would get this pool's".to_owned()
            }
            Wants::NoBootp if subnet.settings.dynamic_bootp == Some(true) => {
                format!("BOOTP clients get this pool's addresses: the subnet {net} allows it")
            }
            Wants::NoBootp if any_bootp => {
                "BOOTP clients get this pool's addresses where their host or \
                                            class says `allow dynamic-bootp`"
                    .to_owned()
            }
            Wants::KnownOnly | Wants::UnknownOnly | Wants::NoBootp => continue,
        };
        if last.replace((site.file, site.offset)) != Some((site.file, site.offset)) {
            findings.push((site.file, Problem::error(site.offset, text)));
        }
    }
}

fn fixed_addresses(config: &Config, sites: &Sites, findings: &mut Vec<Finding>) {
    for (host, sites) in config.hosts.iter().zip(&sites.fixed) {
        for (address, site) in host.fixed.iter().zip(sites) {
            if config.subnet_of(*address).is_none() {
                let text = format!("no subnet has {address}: {} never gets it", host.name);
                findings.push((site.file, Problem::warning(site.offset, text)));
            }
        }
    }
}
