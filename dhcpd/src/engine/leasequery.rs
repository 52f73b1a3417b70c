//! LEASEQUERY (RFC 4388): a relay agent asks who has an address, or which one a client has.
//!
//! Only who may ask is answered: the giaddr must be of a subnet that allows it, and each network
//! is answered so often a second. Beside that the giaddr is where the answer goes, and nothing
//! else. What is not in the table of leases is not known here: fixed addresses have no lease.
//!
//! Nothing of this costs anything where no subnet allows it.

use super::Actions;
use super::answer::header;
use super::core::Core;
use super::packet::Packet;
use crate::config::NetworkId;
use crate::wire::SERVER_PORT;
use crate::wire::code::{message, option};
use crate::wire::reply::{self, Header};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// A longer option 82 is not kept, in bytes. One option holds no more.
const LONGEST: usize = 255;
/// How many addresses of one client are told: what option 92 holds.
const MOST_ADDRESSES: usize = 63;

/// What is kept for queries alone.
#[derive(Debug)]
pub(super) struct Queries {
    /// The relay agent's option of the last REQUEST for each lease, by address.
    relays: HashMap<u32, Box<[u8]>>,
    /// How many answers are left, by network.
    rates: Vec<Rate>,
}

/// So many at once, and as many a second.
#[derive(Clone, Debug)]
struct Rate {
    left: u64,
    counted: u64,
}

impl Rate {
    /// RFC 4388 section 6.6 has an access concentrator ask 100 or 200 things at once.
    const MOST: u64 = 200;

    fn take(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.counted);
        let more = (passed * Rate::MOST / 1000).min(Rate::MOST);
        if more > 0 {
            self.counted = now;
            self.left = (self.left + more).min(Rate::MOST);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// What there is to say.
enum Finding {
    /// This lease lasts, and these are all that its client has, it included.
    Active(u32, Vec<u32>),
    /// Nobody has this address of ours.
    Unassigned(Ipv4Addr),
    /// Not ours, or nobody's.
    Unknown,
}

impl Core {
    /// Prepares for queries if the configuration allows any; to be called whenever it changes.
    pub(super) fn prepare_for_queries(&mut self) {
        let config = &self.config;
        let allowed = config.subnets.iter().any(|s| s.settings.leasequery == Some(true));
        self.leases.list_by_hardware(allowed);
        if !allowed {
            self.queries = None;
            return;
        }
        let rates = vec![Rate { left: Rate::MOST, counted: 0 }; config.networks.len()];
        match &mut self.queries {
            Some(queries) => queries.rates = rates,
            none => *none = Some(Queries { relays: HashMap::new(), rates }),
        }
    }

    /// Keeps what the relay agent says, just before the lease is committed to this client. A
    /// renewal that went past the agent changes nothing.
    pub(super) fn note_relay(&mut self, packet: &Packet<'_>, slot: u32) {
        let Some(queries) = &mut self.queries else { return };
        let lease = self.leases.get(slot);
        let address = lease.address;
        let value = packet.options.get(option::RELAY_AGENT);
        match value.filter(|value| packet.is_relayed() && value.len() <= LONGEST) {
            Some(value) => match queries.relays.get_mut(&address) {
                Some(kept) if **kept == *value => {}
                _ => {
                    queries.relays.insert(address, value.into());
                }
            },
            None if !packet.client.is(&lease.hw, lease.id.get()) => {
                queries.relays.remove(&address);
            }
            None => {}
        }
    }

    pub(super) fn lease_query(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        let giaddr = packet.message.giaddr();
        let subnet = self.config.subnet_of(giaddr).filter(|_| packet.is_relayed());
        let subnet = subnet.and_then(|subnet| self.config.subnets.get(subnet));
        let allowed = subnet.filter(|subnet| subnet.settings.leasequery == Some(true));
        let Some(network) = allowed.map(|subnet| subnet.network) else {
            log::debug!("DHCPLEASEQUERY from {giaddr} ignored: not allowed there");
            self.counters.query_denied += 1;
            return;
        };
        let rate = self.queries.as_mut().and_then(|queries| queries.rates.get_mut(network));
        if !rate.is_some_and(|rate| rate.take(packet.now.mono)) {
            log::debug!("DHCPLEASEQUERY from {giaddr} ignored: too many");
            self.counters.query_rate += 1;
            return;
        }
        let ciaddr = packet.message.ciaddr();
        let finding =
            match (!ciaddr.is_unspecified(), packet.client.hw.is_empty(), packet.client.id) {
                (true, true, None) => self.query_address(ciaddr),
                (false, false, None) => self.query_client(packet, |core| {
                    let hw = &packet.client.hw;
                    core.leases.by_hardware(hw)
                }),
                (false, true, Some(id)) => self.query_client(packet, |core| {
                    let networks = 0..core.config.networks.len() as NetworkId;
                    networks.filter_map(|network| core.leases.id(network as u32, id)).collect()
                }),
                _ => {
                    log::debug!("DHCPLEASEQUERY from {giaddr} ignored: not one thing is asked for");
                    self.counters.malformed += 1;
                    return;
                }
            };
        self.tell_lease(packet, network, finding, out);
    }

    fn query_address(&self, address: Ipv4Addr) -> Finding {
        if self.pools.find(u32::from(address)).is_none() {
            return Finding::Unknown;
        }
        let slot = self.leases.address(u32::from(address));
        match slot.filter(|slot| self.leases.get(*slot).is_held()) {
            Some(slot) => Finding::Active(slot, self.leases_of_holder(slot)),
            None => Finding::Unassigned(address),
        }
    }

    /// All that the holder of a lease has: what its identifier is known by, else its hardware.
    fn leases_of_holder(&self, slot: u32) -> Vec<u32> {
        let lease = self.leases.get(slot);
        let held = |slot: &u32| self.leases.get(*slot).is_held();
        let same = |slot: &u32| self.leases.get(*slot).id == lease.id;
        match lease.id.get() {
            Some(id) => (0..self.config.networks.len() as u32)
                .filter_map(|network| self.leases.id(network, id))
                .filter(held)
                .collect(),
            None => {
                self.leases.by_hardware(&lease.hw).into_iter().filter(held).filter(same).collect()
            }
        }
    }

    fn query_client(&self, packet: &Packet<'_>, find: impl Fn(&Core) -> Vec<u32>) -> Finding {
        let mut slots = find(self);
        slots.retain(|slot| self.leases.get(*slot).is_held());
        let latest = slots.iter().min_by_key(|slot| self.silence(packet, **slot)).copied();
        match latest {
            Some(slot) => Finding::Active(slot, slots),
            None => Finding::Unknown,
        }
    }

    /// For how long nothing was heard about a lease, in seconds.
    fn silence(&self, packet: &Packet<'_>, slot: u32) -> u32 {
        let lease = self.leases.get(slot);
        let since_start = packet.time.saturating_sub(lease.starts).max(0);
        let since_start = u32::try_from(since_start).unwrap_or(u32::MAX);
        if lease.touched == 0 {
            return since_start;
        }
        let second = u32::try_from(packet.now.mono / 1000 + 1).unwrap_or(u32::MAX);
        second.saturating_sub(lease.touched).min(since_start)
    }

    fn tell_lease(
        &mut self,
        packet: &Packet<'_>,
        network: NetworkId,
        finding: Finding,
        out: &mut Actions,
    ) {
        let giaddr = packet.message.giaddr();
        let interface = self.interfaces.get(packet.meta.interface).map(|i| i.address);
        let here = self.network_addresses.get(network).copied().flatten();
        let Some(own) = here.or(interface) else { return };
        let base = Header { htype: 0, hlen: 0, chaddr: [0; 16], ..header(packet) };
        let limit = reply::limit(packet.options.u16(option::MAX_MESSAGE_SIZE));
        let start = out.arena.len();
        match finding {
            Finding::Unknown | Finding::Unassigned(_) => {
                // Section 6.4: no other options.
                let (kind, header) = match finding {
                    Finding::Unassigned(address) => {
                        (message::LEASEUNASSIGNED, Header { ciaddr: address, ..base })
                    }
                    _ => {
                        // What was asked about, as it was asked.
                        let (htype, hlen) = (packet.message.htype(), packet.message.hlen());
                        let chaddr = packet.message.chaddr_field();
                        let ciaddr = packet.message.ciaddr();
                        (message::LEASEUNKNOWN, Header { htype, hlen, chaddr, ciaddr, ..base })
                    }
                };
                let options = [(option::MESSAGE_TYPE, &[kind][..])];
                reply::encode(&mut out.arena, &header, None, None, &options, limit, None);
            }
            Finding::Active(slot, all) => {
                self.encode_active(packet, slot, &all, own, limit, base, &mut out.arena);
            }
        }
        log::debug!("DHCPLEASEQUERY from {giaddr} answered");
        let (destination, source) = self.to(packet, giaddr, SERVER_PORT, own);
        let bytes = start..out.arena.len();
        self.counters.lease_told += 1;
        out.replies.push(super::Reply { destination, source, bytes, durable: false });
    }

    #[allow(clippy::too_many_arguments, reason = "one reply's parts, used once")]
    fn encode_active(
        &self,
        packet: &Packet<'_>,
        slot: u32,
        all: &[u32],
        own: Ipv4Addr,
        limit: usize,
        base: Header,
        arena: &mut Vec<u8>,
    ) {
        let lease = self.leases.get(slot);
        let mut chaddr = [0; 16];
        let addr = lease.hw.addr();
        chaddr[..addr.len()].copy_from_slice(addr);
        let ciaddr = Ipv4Addr::from(lease.address);
        let header =
            Header { htype: lease.hw.htype(), hlen: addr.len() as u8, chaddr, ciaddr, ..base };
        let seconds = |n: i64| u32::try_from(n.max(0)).unwrap_or(u32::MAX).to_be_bytes();
        let whole = lease.ends.saturating_sub(lease.starts);
        let until = |end: i64| end.saturating_sub(packet.time);
        let (t1, t2) = (
            until(lease.starts.saturating_add(whole / 2)),
            until(lease.starts.saturating_add(whole.saturating_mul(7) / 8)),
        );
        let left = seconds(until(lease.ends).min(whole));
        let (t1_left, t2_left) = (seconds(t1), seconds(t2));
        let silence = self.silence(packet, slot).to_be_bytes();
        let (own, room) = (own.octets(), (limit / 2 / 4).min(MOST_ADDRESSES));
        let addresses: Vec<u8> = (all.iter().take(room))
            .flat_map(|slot| self.leases.get(*slot).address.to_be_bytes())
            .collect();
        // Who says nothing gets what an ACK would say of the lease itself.
        const USUAL: [u8; 5] = [
            option::LEASE_TIME,
            option::RENEWAL_TIME,
            option::REBINDING_TIME,
            option::CLIENT_IDENTIFIER,
            option::CLIENT_LAST_TRANSACTION_TIME,
        ];
        let asked = packet.options.get(option::PARAMETER_REQUEST_LIST).unwrap_or(&USUAL);
        let wants = |code: u8| asked.contains(&code);
        let mut options: Vec<(u8, &[u8])> = vec![
            (option::MESSAGE_TYPE, &[message::LEASEACTIVE]),
            (option::SERVER_IDENTIFIER, &own),
        ];
        let told: [(u8, &[u8], bool); 5] = [
            (option::LEASE_TIME, &left, true),
            (option::RENEWAL_TIME, &t1_left, t1 > 0),
            (option::REBINDING_TIME, &t2_left, t2 > 0),
            (
                option::CLIENT_IDENTIFIER,
                lease.id.get().unwrap_or_default(),
                lease.id.get().is_some(),
            ),
            (option::CLIENT_LAST_TRANSACTION_TIME, &silence, true),
        ];
        let told = told.iter().filter(|(code, _, there)| *there && wants(*code));
        options.extend(told.map(|(code, value, _)| (*code, *value)));
        if all.len() > 1 {
            options.push((option::ASSOCIATED_IP, &addresses));
        }
        let relay = self.queries.as_ref().and_then(|queries| queries.relays.get(&lease.address));
        let relay = relay.filter(|_| wants(option::RELAY_AGENT)).map(|value| &**value);
        reply::encode(arena, &header, None, None, &options, limit, relay);
    }
}
