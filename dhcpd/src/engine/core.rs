//! What the engine knows, and the steps that every message's handling is made of: holding an
//! offer, committing a lease, ending one, abandoning an address.
//!
//! These keep the invariant: while a lease lasts, its address is committed to nobody else. Who may
//! have which address is decided by the callers (`discover`, `request`, `release`).

use super::clock::Clock;
use super::counters::Counters;
use super::derived::{Derived, networks_of};
use super::identity::{Client, Hw};
use super::index::NONE;
use super::leasequery::Queries;
use super::leases::{Lease, Leases};
use super::limits::{Declines, Seldom};
use super::offers::Offers;
use super::packet::Packet;
use super::pending::{Pending, Then};
use super::pool::Pools;
use super::{Actions, EngineOptions, Happening, Interface, Now, Share, answer};
use crate::config::{Config, NetworkId, SubnetId};
use crate::dotted::Dotted;
use pfhelper::Verb;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// `default-lease-time` where nothing says otherwise, in seconds.
pub(super) const DEFAULT_LEASE_TIME: u32 = 43_200;
/// `max-lease-time` where nothing says otherwise, in seconds.
pub(super) const MAX_LEASE_TIME: u32 = 86_400;

pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) options: EngineOptions,
    pub(super) clock: Clock,
    pub(super) leases: Leases,
    pub(super) pools: Pools,
    pub(super) offers: Offers,
    pub(super) pending: Pending,
    /// Leases that run, of addresses that are in no range (any more), by address.
    pub(super) quarantine: BTreeMap<u32, Lease>,
    /// The addresses of all interfaces, ascending.
    pub(super) own_addresses: Vec<Ipv4Addr>,
    /// These, and the identifiers that the configuration gives us, ascending.
    pub(super) server_ids: Vec<Ipv4Addr>,
    /// The address we have on each network, if any.
    pub(super) network_addresses: Vec<Option<Ipv4Addr>>,
    pub(super) scratch: answer::Scratch,
    /// Whether the order of ended leases is still that of the file.
    pub(super) unsorted: bool,
    /// How many declines are still believed, by network.
    pub(super) declines: Vec<Declines>,
    /// When it was said last that a network has run out, that pings are too many, that an offer went
    /// to another client.
    pub(super) starved: Vec<Seldom>,
    pub(super) ping_room: Seldom,
    pub(super) contests: Seldom,
    pub(super) counters: Counters,
    /// While a message of UDP mode is looked at: the subnet of the interface it came by.
    pub(super) tunnel: Option<SubnetId>,
    /// What of the ranges is ours to give.
    pub(super) share: Share,
    pub(super) queries: Option<Queries>,
    /// What relay agents want their clients to take for our identifier, by the clients' addresses.
    pub(super) overrides: HashMap<u32, Ipv4Addr>,
}

impl Core {
    pub(super) fn new(
        config: Arc<Config>,
        interfaces: Vec<Interface>,
        options: EngineOptions,
    ) -> Core {
        let networks = config.networks.len();
        let Derived { pools, own_addresses, server_ids, network_addresses } =
            Derived::new(&config, &interfaces);
        Core {
            leases: Leases::new(networks_of(&config), networks, pools.for_bootp(), options.seed),
            pools,
            offers: Offers::new(),
            pending: Pending::new(options.max_pending),
            clock: Clock::default(),
            quarantine: BTreeMap::new(),
            own_addresses,
            server_ids,
            network_addresses,
            scratch: answer::Scratch::default(),
            unsorted: false,
            declines: vec![Declines::default(); networks],
            starved: vec![Seldom::default(); networks],
            ping_room: Seldom::default(),
            contests: Seldom::default(),
            counters: Counters::default(),
            tunnel: None,
            share: Share::All,
            queries: None,
            overrides: HashMap::new(),
            config,
            interfaces,
            options,
        }
    }

    /// Engine time, after everything that was due by now.
    pub(super) fn advance(&mut self, now: Now, out: &mut Actions) -> i64 {
        let time = self.read_clock(now);
        if let Some(step) = self.clock.take_step() {
            self.clock_was_set(step, time, out);
            out.rewrite = true;
        }
        if std::mem::take(&mut self.unsorted) {
            self.leases.sort(self.config.networks.len());
        }
        while let Some(slot) = self.leases.pop_ended(time) {
            self.ended(slot, out);
        }
        while let Some(offer) = self.offers.lapsed(now.mono) {
            self.counters.offers_lapsed += 1;
            self.withdraw(offer, out);
        }
        time
    }

    pub(super) fn read_clock(&mut self, now: Now) -> i64 {
        let first = self.clock.is_new();
        let time = self.clock.read(now);
        if first {
            self.leases.start(time);
        }
        time
    }

    /// Leases of an earlier life end by the wall clock; ours by engine time, as their clients do.
    fn clock_was_set(&mut self, step: i64, time: i64, out: &mut Actions) {
        log::warn!("the clock was set by {step} s; leases given last as long as was said");
        for lease in self.quarantine.values_mut().filter(|lease| lease.loaded) {
            lease.ends = lease.ends.saturating_sub(step);
            lease.starts = lease.starts.saturating_sub(step);
        }
        for slot in 0..self.leases.len() as u32 {
            let lease = self.leases.get_mut(slot);
            if !lease.loaded {
                continue;
            }
            let ends = lease.ends.saturating_sub(step);
            lease.starts = lease.starts.saturating_sub(step);
            if lease.is_running() {
                self.leases.run(slot, ends);
            } else if ends > time && lease.offer == NONE {
                // A clock that was ahead had ended it.
                if !lease.abandoned {
                    out.table(Verb::Leased, lease.address);
                }
                self.leases.run(slot, ends);
            } else {
                lease.ends = ends;
            }
        }
    }

    /// A lease came to its end by itself.
    fn ended(&mut self, slot: u32, out: &mut Actions) {
        let lease = self.leases.get(slot);
        if lease.offer == NONE {
            if !lease.abandoned {
                out.table(Verb::Released, lease.address);
                out.hook(Happening::Expiry, lease, &self.clock);
                self.counters.expired += 1;
            }
            self.leases.free(slot);
        }
    }

    /// Takes an offer back.
    pub(super) fn withdraw(&mut self, offer: u32, out: &mut Actions) {
        let slot = self.offers.remove(offer);
        let lease = self.leases.get_mut(slot);
        lease.offer = NONE;
        if !lease.is_running() {
            out.table(Verb::Released, lease.address);
            self.leases.free(slot);
        }
        if matches!(self.pending.get(slot), Some(Then::Offer(_))) {
            self.drop_pending(slot);
        }
    }

    /// Forgets the offer of an address, if there is one; nothing else changes.
    pub(super) fn forget_offer(&mut self, slot: u32) {
        let offer = std::mem::replace(&mut self.leases.get_mut(slot).offer, NONE);
        if offer != NONE {
            self.offers.remove(offer);
        }
    }

    /// Calls off what waits for a ping of this address.
    pub(super) fn drop_pending(&mut self, slot: u32) {
        if let Some(Then::Offer(held)) = self.pending.take(slot) {
            self.pending.recycle(held);
        }
    }

    /// Who had the address last, as the tables were told.
    fn last_holder(&self, slot: u32) -> Hw {
        let lease = self.leases.get(slot);
        match lease.offer {
            NONE => lease.hw,
            offer => self.offers.get(offer).hw,
        }
    }

    pub(super) fn say_leased(&self, slot: u32, hw: &Hw, out: &mut Actions) {
        let address = self.leases.get(slot).address;
        out.table(Verb::Leased, address);
        let last = self.last_holder(slot);
        if last.is_empty() || last != *hw {
            out.table(Verb::Changed, address);
        }
    }

    /// Holds the address for a client; the committed lease is not touched.
    pub(super) fn offer(&mut self, packet: &Packet<'_>, slot: u32, out: &mut Actions) {
        self.want_name(slot, &packet.client, out);
        self.say_leased(slot, &packet.client.hw, out);
        let network = self.leases.network(slot);
        let client = &packet.client;
        if let Some(other) = self.offers.of(&self.leases.keys, network, client) {
            if self.offers.get(other).slot == slot {
                self.offers.renew(other, packet.now.mono);
                self.leases.get_mut(slot).touched = touched(packet.now);
                return;
            }
            self.withdraw(other, out);
        }
        let contested = !self.is_open(slot, client);
        if contested {
            self.say_contested(packet);
        }
        // The same client may have been offered it under its hardware alone.
        self.forget_offer(slot);
        // What its holder is offered keeps nothing from others.
        let source = Some(self.source_of(packet)).filter(|_| !self.leases.get(slot).is_running());
        let keys = &self.leases.keys;
        let offer = self.offers.add(keys, network, client, slot, packet.now.mono, source);
        self.offers.contest(offer, contested);
        self.leases.keep(slot);
        let lease = self.leases.get_mut(slot);
        lease.offer = offer;
        lease.touched = touched(packet.now);
    }

    /// Gives the address to a client for so many seconds; the record is in `out`.
    pub(super) fn commit(
        &mut self,
        packet: &Packet<'_>,
        slot: u32,
        seconds: u32,
        out: &mut Actions,
    ) {
        let ends = self.clock.begins().saturating_add(i64::from(seconds));
        self.commit_until(packet, slot, ends, false, out);
    }

    /// The same until `ends`, in engine time; `bootp`: to a BOOTP client.
    pub(super) fn commit_until(
        &mut self,
        packet: &Packet<'_>,
        slot: u32,
        ends: i64,
        bootp: bool,
        out: &mut Actions,
    ) {
        if self.leases.get(slot).offer == NONE {
            // Otherwise it was asked for with the offer.
            self.want_name(slot, &packet.client, out);
        }
        self.say_leased(slot, &packet.client.hw, out);
        let network = self.leases.network(slot);
        self.forget_offer(slot);
        if let Some(other) = self.offers.of(&self.leases.keys, network, &packet.client) {
            self.withdraw(other, out);
        }
        let starts = self.leases.get(slot).begins(self.clock.begins());
        self.leases.run(slot, ends);
        let lease = self.leases.get_mut(slot);
        lease.starts = starts;
        lease.abandoned = false;
        lease.dynamic_bootp = bootp;
        lease.loaded = false;
        lease.touched = touched(packet.now);
        let (client_name, dns_name) = lease.names();
        let said = packet.host_name();
        if client_name != said {
            let dns = dns_name.map(<[u8]>::to_vec);
            lease.set_names(said, dns.as_deref());
        }
        self.counters.committed += 1;
        let other = self.leases.bind(slot, &packet.client);
        out.record(self.leases.get(slot), &self.clock);
        out.hook(Happening::Commit, self.leases.get(slot), &self.clock);
        let Some(other) = other else { return };
        if self.leases.get(other).is_held() {
            log::error!(
                "client {} has duplicate leases on {}",
                packet.client.hw,
                self.network_name(network)
            );
            self.counters.duplicate += 1;
            self.release(other, packet.time, out);
        }
        // Nor does it come back, should the clock be set.
        self.leases.get_mut(other).loaded = false;
    }

    /// Ends a lease before its time.
    pub(super) fn release(&mut self, slot: u32, time: i64, out: &mut Actions) {
        let address = self.leases.get(slot).address;
        out.table(Verb::Leased, address);
        out.table(Verb::Released, address);
        self.drop_pending(slot);
        self.leases.stop(slot, time);
        let begins = self.clock.begins();
        let lease = self.leases.get_mut(slot);
        lease.starts = lease.gives_back(begins);
        lease.loaded = false;
        out.record(self.leases.get(slot), &self.clock);
        out.hook(Happening::Release, self.leases.get(slot), &self.clock);
        self.forget_offer(slot);
        self.leases.free(slot);
    }

    /// Keeps an address away from everybody: somebody unknown uses it.
    pub(super) fn abandon(&mut self, slot: u32, why: &str, out: &mut Actions) {
        let lease = self.leases.get(slot);
        let (address, subnet) = (lease.address, lease.subnet as SubnetId);
        let default = self.config.subnets.get(subnet).and_then(|s| s.settings.default_lease_time);
        let seconds = default.filter(|s| *s > 0).unwrap_or(DEFAULT_LEASE_TIME);
        log::error!(
            "Abandoning IP address {} for {seconds} seconds: {why}",
            Ipv4Addr::from(address)
        );
        out.table(Verb::Leased, address);
        out.table(Verb::Changed, address);
        out.table(Verb::Abandoned, address);
        self.drop_pending(slot);
        self.forget_offer(slot);
        self.leases.unbind(slot);
        let begins = self.clock.begins();
        self.leases.run(slot, begins.saturating_add(i64::from(seconds)));
        let lease = self.leases.get_mut(slot);
        lease.starts = lease.changes(begins);
        lease.abandoned = true;
        lease.loaded = false;
        lease.dynamic_bootp = false;
        lease.set_names(None, None);
        out.record(self.leases.get(slot), &self.clock);
        out.hook(Happening::Abandon, self.leases.get(slot), &self.clock);
    }

    /// An abandoned address is tried again; nothing is committed yet.
    pub(super) fn reclaim(&mut self, slot: u32, time: i64, out: &mut Actions) {
        self.counters.reclaimed += 1;
        out.table(Verb::Leased, self.leases.get(slot).address);
        self.leases.stop(slot, time);
        let lease = self.leases.get_mut(slot);
        lease.abandoned = false;
        lease.loaded = false;
    }

    /// Whether nobody but this client holds or was offered the address.
    pub(super) fn is_open(&self, slot: u32, client: &Client<'_>) -> bool {
        let lease = self.leases.get(slot);
        let offered_to_other = lease.offer != NONE && {
            let offer = self.offers.get(lease.offer);
            !client.same(&offer.hw, offer.id.get())
        };
        let held_by_other = lease.is_held() && !client.same(&lease.hw, lease.id.get());
        !offered_to_other && !held_by_other
    }

    /// The lease a client holds on a network.
    pub(super) fn current(&self, network: u32, client: &Client<'_>) -> Option<u32> {
        let held = |slot: &u32| self.leases.get(*slot).is_held();
        let by_id = client.id.and_then(|id| self.leases.id(network, id)).filter(held);
        if by_id.is_some() || client.hw.is_empty() {
            return by_id;
        }
        let by_hw = self.leases.hw(network, &client.hw).filter(held);
        if by_hw.is_some() || client.id.is_some() {
            return by_hw;
        }
        self.leases.hw_of_id(network, &client.hw).filter(held)
    }

    /// Whether an identifier of a server is one of ours.
    pub(super) fn is_ours(&self, server: Ipv4Addr) -> bool {
        self.server_ids.binary_search(&server).is_ok()
    }

    pub(super) fn network_name(&self, network: u32) -> &str {
        self.config.networks.get(network as NetworkId).map_or("", |n| &n.name)
    }

    /// How a packet came, as the log has it.
    pub(super) fn via(&self, giaddr: Ipv4Addr, interface: usize) -> Via<'_> {
        if giaddr.is_unspecified() {
            Via::Interface(self.interfaces.get(interface).map_or("", |i| &i.name))
        } else {
            Via::Relay(giaddr)
        }
    }
}

#[cfg(test)]
impl Core {
    /// Asserts that offers and leases know of each other.
    pub(super) fn check(&self) {
        self.leases.check();
        let offers = self.leases.iter().filter(|lease| lease.offer != NONE);
        let mut count = 0;
        for lease in offers {
            let offer = self.offers.get(lease.offer);
            assert_eq!(self.leases.get(offer.slot).address, lease.address);
            count += 1;
        }
        assert_eq!(self.offers.len(), count);
    }
}

/// The second of an action, never 0.
fn touched(now: Now) -> u32 {
    (now.mono / 1000).saturating_add(1).min(u64::from(u32::MAX)) as u32
}

/// A relay agent's address, or an interface's name.
pub(super) enum Via<'a> {
    Relay(Ipv4Addr),
    Interface(&'a str),
}

impl fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Relay(address) => Dotted(*address).fmt(f),
            Via::Interface(name) => f.write_str(name),
        }
    }
}
