//! What is known, for people to see: leases one by one, ranges and how full they are, what an
//! address is.
//!
//! It only reads, and in pieces: whoever asks about a million leases holds up no packet.

use super::core::Core;
use super::events::view;
use super::index::NONE;
use super::leases::Lease;
use super::why::at;
use super::{Engine, Now};
use crate::config::{Config, Hardware, Host};
use serde::Serialize;
use std::net::Ipv4Addr;
use std::ops::Bound;
use std::sync::Arc;

/// Where leases that are kept aside begin among cursors; below are slots.
const ASIDE: u64 = 1 << 32;

/// How an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A client has it.
    Leased,
    /// It is held for a client that has not requested it yet.
    Offered,
    /// Somebody unknown uses it: it is kept from everybody.
    Abandoned,
    /// A client had it.
    Ended,
}

impl State {
    /// All of them, by what they are called.
    pub const NAMES: [(&'static str, State); 4] = [
        ("leased", State::Leased),
        ("offered", State::Offered),
        ("abandoned", State::Abandoned),
        ("ended", State::Ended),
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        State::NAMES.iter().find(|(_, state)| *state == self).map_or("", |(name, _)| name)
    }
}

/// A lease as it is now. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub address: Ipv4Addr,
    /// How it is.
    pub state: State,
    /// When it began; nothing of an offer.
    pub starts: Option<i64>,
    /// When it ends or ended; of an offer, when that lapses.
    pub ends: i64,
    /// Whose it is or was, or to whom it is offered.
    pub hardware: Option<Hardware>,
    /// The same client's option 61.
    pub client_id: Option<Vec<u8>>,
    /// What the client calls itself: any bytes at all.
    pub client_hostname: Option<Vec<u8>>,
    /// The name of the address in the DNS, likewise.
    pub hostname: Option<Vec<u8>>,
    /// The shared network it is of; none if it is in no range (any more).
    pub network: Option<String>,
    /// Given to a BOOTP client.
    pub dynamic_bootp: bool,
}

/// Which leases are meant: all that fit everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// First and last address.
    pub addresses: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Hardware address, of any type.
    pub hardware: Option<Vec<u8>>,
    /// Option 61, all bytes.
    pub client_id: Option<Vec<u8>>,
    /// Either name, in either case.
    pub hostname: Option<String>,
    /// Name of a shared network.
    pub network: Option<String>,
    /// How it is.
    pub state: Option<State>,
}

/// Consecutive addresses of one range, and how many of them are how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolUse {
    /// The shared network.
    pub network: String,
    /// The subnet, as `address/length`.
    pub subnet: String,
    /// First address.
    pub low: Ipv4Addr,
    /// Last address.
    pub high: Ipv4Addr,
    /// Addresses there are.
    pub size: u64,
    /// A host's, or the server's own.
    pub reserved: u64,
    /// Clients have them.
    pub leased: u64,
    /// Held for clients.
    pub offered: u64,
    /// Kept from everybody.
    pub abandoned: u64,
    /// There to be given out.
    pub free: u64,
}

/// A count of all ranges that is under way.
#[derive(Default)]
pub struct PoolCount {
    /// The configuration that the ranges are of.
    config: Option<Arc<Config>>,
    /// Leased, offered and abandoned, by range.
    counts: Vec<[u64; 3]>,
    cursor: u64,
}

impl Engine {
    /// Looks at up to `limit` leases, going on at `cursor` (0 at first), and appends those that fit.
    /// Returns where to go on, `None` at the end.
    pub fn look(
        &self,
        filter: &Filter,
        cursor: u64,
        limit: usize,
        now: Now,
        out: &mut Vec<Entry>,
    ) -> Option<u64> {
        self.core.look(filter, cursor, limit, now, out)
    }

    /// Counts up to `limit` leases into their ranges. True when all are counted. Begins again if
    /// there is another configuration meanwhile.
    pub fn count_pools(&self, count: &mut PoolCount, limit: usize) -> bool {
        self.core.count_pools(count, limit)
    }

    /// Up to `limit` ranges from number `from` on, as they were counted.
    pub fn pools(&self, count: &PoolCount, from: usize, limit: usize) -> Vec<PoolUse> {
        self.core.pool_uses(count, from, limit)
    }

    /// The interfaces that are served: name, address, shared network.
    pub fn served(&self) -> impl Iterator<Item = (&str, Ipv4Addr, Option<&str>)> {
        let core = &self.core;
        core.interfaces.iter().map(|i| {
            let network = i.network.and_then(|id| core.config.networks.get(id));
            (i.name.as_str(), i.address, network.map(|network| network.name.as_str()))
        })
    }

    /// All there is to say about an address but its lease: names and values.
    pub fn facts(&self, address: Ipv4Addr) -> Vec<(String, String)> {
        self.core.facts(address)
    }

    /// The same about hardware.
    pub fn facts_of_hardware(&self, hardware: &[u8]) -> Vec<(String, String)> {
        let hosts = self.core.config.hosts.iter();
        hosts
            .filter(|host| host.hardware.as_ref().is_some_and(|h| h.addr == hardware))
            .map(|host| ("host".to_owned(), declared(host)))
            .collect()
    }
}

/// A host and what it says about addresses.
pub(super) fn declared(host: &Host) -> String {
    let fixed: Vec<String> = host.fixed.iter().map(Ipv4Addr::to_string).collect();
    let fixed = match &fixed[..] {
        [] => "no fixed address".to_owned(),
        _ => format!("fixed-address {}", fixed.join(", ")),
    };
    format!("{} ({}), {fixed}", host.name, at(&host.at))
}

impl Core {
    fn look(
        &self,
        filter: &Filter,
        cursor: u64,
        limit: usize,
        now: Now,
        out: &mut Vec<Entry>,
    ) -> Option<u64> {
        // One address is found without looking at the others.
        if let Some((low, high)) = filter.addresses
            && low == high
        {
            let address = u32::from(low);
            let slot = self.leases.address(address).map(|slot| self.leases.get(slot));
            let lease = slot.or_else(|| self.quarantine.get(&address));
            out.extend(lease.and_then(|lease| self.entry(lease, filter, now)));
            return None;
        }
        let (mut cursor, mut left) = (cursor, limit.max(1));
        while cursor < self.leases.len() as u64 {
            if left == 0 {
                return Some(cursor);
            }
            let slot = cursor as u32;
            (cursor, left) = (cursor + 1, left - 1);
            if self.leases.is_used(slot) {
                out.extend(self.entry(self.leases.get(slot), filter, now));
            }
        }
        let from = match cursor.checked_sub(ASIDE).map(u32::try_from) {
            Some(Ok(address)) => Bound::Included(address),
            Some(Err(_)) => return None,
            None => Bound::Unbounded,
        };
        for (address, lease) in self.quarantine.range((from, Bound::Unbounded)) {
            if left == 0 {
                return Some(ASIDE + u64::from(*address));
            }
            left -= 1;
            out.extend(self.entry(lease, filter, now));
        }
        None
    }

    /// The lease, if there is one and it fits.
    fn entry(&self, lease: &Lease, filter: &Filter, now: Now) -> Option<Entry> {
        let address = Ipv4Addr::from(lease.address);
        if filter.addresses.is_some_and(|(low, high)| address < low || high < address) {
            return None;
        }
        let state = self.state(lease)?;
        if filter.state.is_some_and(|wanted| wanted != state) {
            return None;
        }
        let offer = (state == State::Offered).then(|| self.offers.get(lease.offer));
        let (hw, id) = match offer {
            Some(offer) => (&offer.hw, offer.id.get()),
            None => (&lease.hw, lease.id.get()),
        };
        if filter.hardware.as_ref().is_some_and(|wanted| hw.addr() != &wanted[..])
            || filter.client_id.as_ref().is_some_and(|wanted| id != Some(&wanted[..]))
        {
            return None;
        }
        let (client_hostname, hostname) = match offer {
            Some(_) => (None, None),
            None => lease.names(),
        };
        if let Some(wanted) = &filter.hostname {
            let fits = |name: Option<&[u8]>| {
                name.is_some_and(|name| name.eq_ignore_ascii_case(wanted.as_bytes()))
            };
            if !fits(client_hostname) && !fits(hostname) {
                return None;
            }
        }
        let network = self.pools.find(lease.address).map(|span| self.network_name(span.network));
        if filter.network.is_some() && filter.network.as_deref() != network {
            return None;
        }
        let seen = view(lease, &self.clock);
        let lapses = |until: u64| {
            let seconds = until.saturating_sub(now.mono) / 1000;
            now.wall.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX))
        };
        Some(Entry {
            address,
            state,
            starts: offer.is_none().then_some(seen.starts),
            ends: offer.map_or(seen.ends, |offer| lapses(offer.until())),
            hardware: (!hw.is_empty())
                .then(|| Hardware { htype: hw.htype(), addr: hw.addr().to_vec() }),
            client_id: id.map(<[u8]>::to_vec),
            client_hostname: client_hostname.map(<[u8]>::to_vec),
            hostname: hostname.map(<[u8]>::to_vec),
            network: network.map(str::to_owned),
            dynamic_bootp: lease.dynamic_bootp && offer.is_none(),
        })
    }

    /// How a lease is; nothing if it is nobody's and never was.
    pub(super) fn state(&self, lease: &Lease) -> Option<State> {
        // What is kept aside is in no wheel, and has its end only.
        let runs = lease.is_running()
            || (lease.ends > self.clock.last() && self.quarantine.contains_key(&lease.address));
        if lease.abandoned {
            Some(State::Abandoned)
        } else if runs {
            Some(State::Leased)
        } else if lease.offer != NONE {
            Some(State::Offered)
        } else {
            (!lease.hw.is_empty() || lease.id.get().is_some()).then_some(State::Ended)
        }
    }

    fn count_pools(&self, count: &mut PoolCount, limit: usize) -> bool {
        if !count.config.as_ref().is_some_and(|config| Arc::ptr_eq(config, &self.config)) {
            count.config = Some(Arc::clone(&self.config));
            count.counts = vec![[0; 3]; self.pools.spans().len()];
            count.cursor = 0;
        }
        let all = self.leases.len() as u64;
        let end = all.min(count.cursor.saturating_add(limit.max(1) as u64));
        for slot in count.cursor..end {
            let slot = slot as u32;
            if !self.leases.is_used(slot) {
                continue;
            }
            let lease = self.leases.get(slot);
            let place = match self.state(lease) {
                Some(State::Leased) => 0,
                Some(State::Offered) => 1,
                Some(State::Abandoned) => 2,
                Some(State::Ended) | None => continue,
            };
            let number = self.pools.number(lease.address);
            if let Some(counts) = number.and_then(|number| count.counts.get_mut(number)) {
                counts[place] += 1;
            }
        }
        count.cursor = end;
        end == all
    }

    fn pool_uses(&self, count: &PoolCount, from: usize, limit: usize) -> Vec<PoolUse> {
        let spans = self.pools.spans().iter().zip(&count.counts).skip(from).take(limit);
        spans
            .map(|(span, &[leased, offered, abandoned])| {
                let size = u64::from(span.high - span.low) + 1;
                let reserved = self.pools.reserved_in(span) as u64;
                let subnet = self.config.subnets.get(span.subnet as usize);
                PoolUse {
                    network: self.network_name(span.network).to_owned(),
                    subnet: subnet.map(|subnet| subnet.net.to_string()).unwrap_or_default(),
                    low: span.low.into(),
                    high: span.high.into(),
                    size,
                    reserved,
                    leased,
                    offered,
                    abandoned,
                    free: size.saturating_sub(reserved + leased + offered + abandoned),
                }
            })
            .collect()
    }

    /// The hosts that have this address as a fixed one, in order of declaration.
    pub(super) fn hosts_at(&self, address: Ipv4Addr) -> impl Iterator<Item = &Host> {
        self.config.hosts.iter().filter(move |host| host.fixed.contains(&address))
    }

    fn facts(&self, address: Ipv4Addr) -> Vec<(String, String)> {
        let mut facts = vec![("address".to_owned(), address.to_string())];
        let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
        let number = u32::from(address);
        match self.config.subnet_of(address).and_then(|subnet| self.config.subnets.get(subnet)) {
            None => say("subnet", "none: it is not served".to_owned()),
            Some(subnet) => {
                say("subnet", format!("{} ({})", subnet.net, at(&subnet.at)));
                say("network", self.network_name(subnet.network as u32).to_owned());
            }
        }
        match self.pools.number(number).and_then(|number| self.pools.spans().get(number)) {
            None => say("range", "none: it is not given out dynamically".to_owned()),
            Some(span) => {
                say("range", format!("{} {}", Ipv4Addr::from(span.low), Ipv4Addr::from(span.high)));
            }
        }
        for host in self.hosts_at(address) {
            say("host", declared(host));
        }
        if self.own_addresses.binary_search(&address).is_ok() {
            say("own", "it is this server's".to_owned());
        }
        match self.leases.address(number).and_then(|slot| self.pending.get(slot)) {
            Some(super::pending::Then::Offer(_)) => {
                say("ping", "an offer waits for whether somebody answers".to_owned());
            }
            Some(super::pending::Then::Release) => {
                say("ping", "a release waits for whether somebody answers".to_owned());
            }
            None => {}
        }
        if self.leases.address(number).is_none() && self.quarantine.contains_key(&number) {
            say("aside", "its lease is kept until it ends; nobody else gets it".to_owned());
        }
        facts
    }
}
