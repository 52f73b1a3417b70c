//! The table of leases: one slot an address that was ever used, found by address, by client
//! identifier and by hardware, and in order of who is to be given out next.
//!
//! A slot is in the wheel while its lease lasts, in its network's list of ended (or ended
//! abandoned) leases when it may be given out, and in neither while it is offered only. Slots are
//! never removed, but those that a reconfiguration empties are used again: there are at most as many
//! as the ranges ever had addresses. Policy is not here.

mod moves;

use super::identity::{Client, ClientId, Hw, Keys};
use super::index::{Index, NONE};
use super::lists::Lists;
use super::wheel::{BUCKETS, Wheel};
use std::collections::BTreeSet;

/// One address and who has or had it. Times are seconds of engine time.
///
/// Aligned so that none lies across three cache lines: a renewal is little more than fetching them.
#[derive(Debug)]
#[repr(align(32))]
pub(super) struct Lease {
    pub(super) starts: i64,
    /// 0 if it was never leased.
    pub(super) ends: i64,
    pub(super) id: ClientId,
    /// What the client and the DNS call it: the length of the first, then both.
    names: Option<Box<[u8]>>,
    pub(super) address: u32,
    pub(super) subnet: u32,
    /// The offer of this address, or [`NONE`].
    pub(super) offer: u32,
    /// Second of the monotonic clock, counted from 1, of the last offer or acknowledgement.
    pub(super) touched: u32,
    pub(super) hw: Hw,
    pub(super) abandoned: bool,
    pub(super) dynamic_bootp: bool,
    /// Read from the file and not renewed since: its end is the wall clock's.
    pub(super) loaded: bool,
    /// In the wheel.
    running: bool,
    /// What its own client is found by.
    found: bool,
}

impl Lease {
    /// Of an address that nobody ever had.
    pub(super) fn new(address: u32, subnet: u32) -> Lease {
        Lease {
            starts: 0,
            ends: 0,
            id: ClientId::None,
            names: None,
            address,
            subnet,
            offer: NONE,
            touched: 0,
            hw: Hw::default(),
            abandoned: false,
            dynamic_bootp: false,
            loaded: false,
            running: false,
            found: false,
        }
    }

    /// Whether its slot is of no address.
    fn is_spare(&self) -> bool {
        self.subnet == NONE
    }

    /// Whether somebody holds it, or it is kept away from everybody.
    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn is_held(&self) -> bool {
        self.running && !self.abandoned
    }

    /// When a change of now is to have begun. Other servers tell by that which of two records of an
    /// address is the later one, so of one second's changes none may seem to undo the one before it.
    pub(super) fn changes(&self, now: i64) -> i64 {
        // A clock that was once far ahead must not be followed.
        if (now..now.saturating_add(15)).contains(&self.starts) { self.starts } else { now }
    }

    /// The same for one that is given back now: later than it was given, though that be this second.
    pub(super) fn gives_back(&self, now: i64) -> i64 {
        let starts = self.changes(now);
        if self.starts == starts { starts + 1 } else { starts }
    }

    /// The same for a lease that is given now. What was given back or abandoned is over before.
    pub(super) fn begins(&self, now: i64) -> i64 {
        let starts = self.changes(now);
        if self.starts == starts && !self.is_held() { starts + 1 } else { starts }
    }

    /// What the client calls itself, and what the DNS calls the address.
    pub(super) fn names(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let some = |name| Some(name).filter(|name: &&[u8]| !name.is_empty());
        match self.names.as_deref().and_then(<[u8]>::split_first) {
            Some((len, both)) => {
                let (client, dns) = both.split_at(usize::from(*len).min(both.len()));
                (some(client), some(dns))
            }
            None => (None, None),
        }
    }

    /// The names of another.
    pub(super) fn take_names(&mut self, other: Lease) {
        self.names = other.names;
    }

    pub(super) fn set_names(&mut self, client: Option<&[u8]>, dns: Option<&[u8]>) {
        let client = client.unwrap_or_default();
        let client = &client[..client.len().min(255)];
        let dns = dns.unwrap_or_default();
        self.names = (client.len() + dns.len() > 0)
            .then(|| [&[client.len() as u8], client, dns].concat().into());
    }
}

#[derive(Debug)]
pub(super) struct Leases {
    slots: Vec<Lease>,
    /// By subnet.
    networks: Vec<u32>,
    /// First and last addresses of what BOOTP clients may have, ascending.
    bootp: Vec<(u32, u32)>,
    pub(super) keys: Keys,
    by_address: Index,
    /// By network and client identifier.
    by_id: Index,
    /// By network and hardware, of clients without an identifier.
    by_hw: Index,
    /// By network and hardware, of clients with one: the latest of them.
    by_hw_of_id: Index,
    /// Every slot by its hardware, whatever the network and identifier: where queries are allowed.
    by_any_hw: Option<BTreeSet<(Hw, u32)>>,
    lists: Lists,
    wheel: Wheel,
    /// Slots that are of no address.
    spare: Vec<u32>,
}

impl Leases {
    /// `networks` says which network each subnet is part of, `count` how many there are, and
    /// `bootp` which addresses BOOTP clients may have, ascending and apart from each other.
    pub(super) fn new(
        networks: Vec<u32>,
        count: usize,
        bootp: Vec<(u32, u32)>,
        seed: u64,
    ) -> Leases {
        Leases {
            networks,
            bootp,
            slots: Vec::new(),
            keys: Keys::new(seed),
            by_address: Index::new(),
            by_id: Index::new(),
            by_hw: Index::new(),
            by_hw_of_id: Index::new(),
            by_any_hw: None,
            lists: Lists::new(BUCKETS + FREE_LISTS * count as u32),
            wheel: Wheel::new(0),
            spare: Vec::new(),
        }
    }

    /// Says what time it is, before any lease runs.
    pub(super) fn start(&mut self, now: i64) {
        self.wheel = Wheel::new(now);
    }

    /// How many slots there are, those included that are of no address now: as these, they hold
    /// nobody's lease.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Every lease, those that ended too.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.slots.iter().filter(|lease| !lease.is_spare())
    }

    pub(super) fn get(&self, slot: u32) -> &Lease {
        &self.slots[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Lease {
        &mut self.slots[slot as usize]
    }

    /// The network that the lease's address is of.
    pub(super) fn network(&self, slot: u32) -> u32 {
        self.network_of(self.get(slot))
    }

    fn network_of(&self, lease: &Lease) -> u32 {
        self.networks[lease.subnet as usize]
    }

    pub(super) fn address(&self, address: u32) -> Option<u32> {
        let hash = self.keys.address(address);
        self.by_address.find(hash, |slot| self.get(slot).address == address)
    }

    /// The lease under this identifier, held or ended.
    pub(super) fn id(&self, network: u32, id: &[u8]) -> Option<u32> {
        self.by_id.find(self.keys.id(network, id), |slot| {
            let lease = self.get(slot);
            self.network_of(lease) == network && lease.id.get() == Some(id)
        })
    }

    /// The lease under this hardware without an identifier, held or ended.
    pub(super) fn hw(&self, network: u32, hw: &Hw) -> Option<u32> {
        self.by_hw.find(self.keys.hw(network, hw), |slot| {
            let lease = self.get(slot);
            self.network_of(lease) == network && lease.hw == *hw
        })
    }

    /// The latest lease under this hardware with some identifier, held or ended.
    pub(super) fn hw_of_id(&self, network: u32, hw: &Hw) -> Option<u32> {
        self.by_hw_of_id.find(self.keys.hw(network, hw), |slot| {
            let lease = self.get(slot);
            self.network_of(lease) == network && lease.hw == *hw
        })
    }

    /// Whether [`Leases::by_hardware`] knows any.
    pub(super) fn list_by_hardware(&mut self, list: bool) {
        if list && self.by_any_hw.is_none() {
            let all = self.slots.iter().enumerate().filter(|(_, lease)| !lease.hw.is_empty());
            self.by_any_hw = Some(all.map(|(slot, lease)| (lease.hw, slot as u32)).collect());
        } else if !list {
            self.by_any_hw = None;
        }
    }

    /// All slots under this hardware, held or ended, on all networks; the first of them where they
    /// are so many that only somebody who lies can have them.
    pub(super) fn by_hardware(&self, hw: &Hw) -> Vec<u32> {
        let all = self.by_any_hw.iter().flat_map(|all| all.range((*hw, 0)..=(*hw, u32::MAX)));
        all.map(|(_, slot)| *slot).take(MOST_OF_ONE).collect()
    }

    /// Makes the slot of an address that has none. It is in no list.
    pub(super) fn add(&mut self, address: u32, subnet: u32) -> u32 {
        let lease = Lease::new(address, subnet);
        let slot = match self.spare.pop() {
            Some(slot) => {
                self.slots[slot as usize] = lease;
                slot
            }
            None => {
                self.slots.push(lease);
                self.lists.add_slot();
                self.slots.len() as u32 - 1
            }
        };
        self.by_address.insert(self.keys.address(address), slot);
        slot
    }

    /// Lets the lease run until `ends`.
    pub(super) fn run(&mut self, slot: u32, ends: i64) {
        let lease = &mut self.slots[slot as usize];
        let earlier = ends < lease.ends;
        lease.ends = ends;
        if !lease.running || earlier {
            lease.running = true;
            self.wheel.insert(&mut self.lists, slot, ends);
        }
    }

    /// Ends the lease at `ends`, which has come; it is in no list then.
    pub(super) fn stop(&mut self, slot: u32, ends: i64) {
        let lease = &mut self.slots[slot as usize];
        lease.ends = ends;
        lease.running = false;
        self.lists.unlink(slot);
    }

    /// A slot whose lease has ended by now. It is in no list then.
    pub(super) fn pop_ended(&mut self, now: i64) -> Option<u32> {
        let Leases { slots, lists, wheel, .. } = self;
        let slot = wheel.pop(lists, now, |slot| slots[slot as usize].ends)?;
        slots[slot as usize].running = false;
        Some(slot)
    }

    /// The next second at which a lease may end.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.wheel.next()
    }

    /// Puts a slot that nobody holds behind all others to be given out.
    pub(super) fn free(&mut self, slot: u32) {
        let lease = &self.slots[slot as usize];
        let bootp = self.is_for_bootp(lease.address);
        let network = self.network_of(lease);
        let list = FreeList { network, abandoned: lease.abandoned, bootp };
        self.lists.push_back(list.number(), slot);
    }

    /// Takes a slot out of the order of those to be given out.
    pub(super) fn keep(&mut self, slot: u32) {
        if !self.slots[slot as usize].running {
            self.lists.unlink(slot);
        }
    }

    /// Whether BOOTP clients may have an address.
    pub(super) fn is_for_bootp(&self, address: u32) -> bool {
        let after = self.bootp.partition_point(|(low, _)| *low <= address);
        let before = after.checked_sub(1).and_then(|at| self.bootp.get(at));
        before.is_some_and(|(_, high)| address <= *high)
    }

    /// The slot of a list to be given out next: who ended longest ago.
    pub(super) fn first(&self, list: FreeList) -> Option<u32> {
        self.lists.first(list.number())
    }

    /// The slot that follows one of those of a list.
    pub(super) fn after(&self, slot: u32, list: FreeList) -> Option<u32> {
        self.lists.after(list.number(), slot)
    }

    /// Orders what may be given out by end: once, when all are loaded.
    pub(super) fn sort(&mut self, networks: usize) {
        let Leases { slots, lists, .. } = self;
        for network in 0..networks as u32 {
            for (abandoned, bootp) in [(false, false), (false, true), (true, false), (true, true)] {
                let list = FreeList { network, abandoned, bootp };
                lists.sort_by_key(list.number(), |slot| slots[slot as usize].ends);
            }
        }
    }

    /// Makes `client` who the lease belongs to. Returns another slot that exactly this client was
    /// found by until now.
    pub(super) fn bind(&mut self, slot: u32, client: &Client<'_>) -> Option<u32> {
        let lease = self.get(slot);
        if lease.found && lease.hw == client.hw && lease.id.get() == client.id {
            return None;
        }
        self.unbind(slot);
        let network = self.network(slot);
        let lease = self.get_mut(slot);
        lease.hw = client.hw;
        lease.id = ClientId::new(client.id);
        lease.found = client.id.is_some() || !client.hw.is_empty();
        if let Some(all) = self.by_any_hw.as_mut().filter(|_| !client.hw.is_empty()) {
            all.insert((client.hw, slot));
        }
        let hw_key = self.keys.hw(network, &client.hw);
        let other = match client.id {
            Some(id) => {
                let other = self.id(network, id);
                replace(&mut self.by_id, self.keys.id(network, id), other, slot);
                if !client.hw.is_empty() {
                    let latest = self.hw_of_id(network, &client.hw);
                    replace(&mut self.by_hw_of_id, hw_key, latest, slot);
                }
                other
            }
            None if client.hw.is_empty() => None,
            None => {
                let other = self.hw(network, &client.hw);
                replace(&mut self.by_hw, hw_key, other, slot);
                other
            }
        };
        if let Some(other) = other {
            self.get_mut(other).found = false;
        }
        other
    }

    /// Makes the lease nobody's.
    pub(super) fn unbind(&mut self, slot: u32) {
        self.unlist(slot);
        let lease = self.get_mut(slot);
        lease.hw = Hw::default();
        lease.id = ClientId::None;
        lease.found = false;
    }

    /// Nobody finds the lease by its client any more.
    fn unlist(&mut self, slot: u32) {
        let network = self.network(slot);
        let Leases { slots, keys, by_id, by_hw, by_hw_of_id, by_any_hw, .. } = self;
        let lease = &slots[slot as usize];
        if lease.hw.is_empty() && lease.id.get().is_none() {
            return;
        }
        if let Some(all) = by_any_hw {
            all.remove(&(lease.hw, slot));
        }
        let hw_key = keys.hw(network, &lease.hw);
        match lease.id.get() {
            Some(id) => {
                by_id.remove(keys.id(network, id), slot);
                by_hw_of_id.remove(hw_key, slot);
            }
            None => {
                by_hw.remove(hw_key, slot);
            }
        }
    }
}

fn replace(index: &mut Index, key: u32, old: Option<u32>, new: u32) {
    if let Some(old) = old {
        index.remove(key, old);
    }
    index.insert(key, new);
}

/// The most slots that a question for one hardware address looks at.
const MOST_OF_ONE: usize = 1024;

/// How many lists a network has of what may be given out.
const FREE_LISTS: u32 = 4;

/// One of them, each in order of end.
#[derive(Clone, Copy)]
pub(super) struct FreeList {
    pub(super) network: u32,
    pub(super) abandoned: bool,
    /// Of addresses that BOOTP clients may have too.
    pub(super) bootp: bool,
}

impl FreeList {
    fn number(self) -> u32 {
        let FreeList { network, abandoned, bootp } = self;
        BUCKETS + FREE_LISTS * network + 2 * u32::from(bootp) + u32::from(abandoned)
    }
}

#[cfg(test)]
#[test]
fn a_lease_is_three_half_cache_lines() {
    assert_eq!(size_of::<Lease>(), 96);
}

#[cfg(test)]
impl Leases {
    /// Asserts that every slot is where its state says, and found by all that it is to be found by.
    pub(super) fn check(&self) {
        for (slot, lease) in self.slots.iter().enumerate() {
            let slot = slot as u32;
            assert_eq!(lease.is_spare(), self.spare.contains(&slot));
            if lease.is_spare() {
                assert!(!self.lists.is_linked(slot) && !lease.running && lease.hw.is_empty());
                continue;
            }
            let linked = self.lists.is_linked(slot);
            assert_eq!(linked, lease.running || lease.offer == NONE, "{lease:?}");
            assert_eq!(self.address(lease.address), Some(slot));
            let found = match lease.id.get() {
                Some(id) => self.id(self.network_of(lease), id),
                None => self.hw(self.network_of(lease), &lease.hw),
            };
            assert_eq!(lease.found, found == Some(slot));
            if lease.abandoned {
                assert!(lease.hw.is_empty() && lease.id.get().is_none() && lease.offer == NONE);
            }
        }
        if let Some(all) = &self.by_any_hw {
            let slots = self.slots.iter().enumerate().filter(|(_, lease)| !lease.hw.is_empty());
            let want: BTreeSet<_> = slots.map(|(slot, lease)| (lease.hw, slot as u32)).collect();
            assert_eq!(*all, want);
        }
        for (index, count) in [(&self.by_id, 0), (&self.by_hw, 1), (&self.by_hw_of_id, 2)] {
            let listed = self.slots.iter().enumerate().filter(|(slot, lease)| {
                if lease.is_spare() {
                    return false;
                }
                let found = match (count, lease.id.get()) {
                    (0, Some(id)) => self.id(self.network_of(lease), id),
                    (1, None) => self.hw(self.network_of(lease), &lease.hw),
                    (2, Some(_)) => self.hw_of_id(self.network_of(lease), &lease.hw),
                    _ => None,
                };
                found == Some(*slot as u32)
            });
            assert_eq!(index.len(), listed.count());
        }
    }
}
