//! Addresses offered and not yet requested. They are held apart from leases: an offer never
//! changes what is committed, and what nobody requests lapses by itself.

use super::identity::{Client, ClientId, Hw, Keys};
use super::index::{Index, NONE};
use super::lists::Lists;
use super::sources::{Source, Sources};

/// How long an offer is held, in milliseconds.
pub(super) const HOLD: u64 = 120_000;

#[derive(Debug)]
pub(super) struct Offer {
    /// The lease whose address is offered; [`NONE`] in an unused place.
    pub(super) slot: u32,
    network: u32,
    key: u32,
    /// When it lapses, in milliseconds of the monotonic clock.
    until: u64,
    pub(super) hw: Hw,
    pub(super) id: ClientId,
    /// It was made while the address was offered to another client.
    pub(super) contested: bool,
    /// Its group in [`Offers::sources`]; [`NONE`]: it is not counted.
    group: u32,
}

/// All offers, by client and by age. At most one for a client and network.
#[derive(Debug)]
pub(super) struct Offers {
    all: Vec<Offer>,
    unused: Vec<u32>,
    by_client: Index,
    /// One list: by age, as all are held equally long.
    ages: Lists,
    pub(super) sources: Sources,
}

impl Offer {
    /// When it lapses, in milliseconds of the monotonic clock.
    pub(super) fn until(&self) -> u64 {
        self.until
    }
}

impl Offers {
    pub(super) fn new() -> Offers {
        Offers {
            all: Vec::new(),
            unused: Vec::new(),
            by_client: Index::new(),
            ages: Lists::new(1),
            sources: Sources::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn get(&self, offer: u32) -> &Offer {
        &self.all[offer as usize]
    }

    /// The offer this client has on this network.
    pub(super) fn of(&self, keys: &Keys, network: u32, client: &Client<'_>) -> Option<u32> {
        self.by_client.find(keys.client(network, client), |offer| {
            let o = self.get(offer);
            o.network == network && client.is(&o.hw, o.id.get())
        })
    }

    /// Holds `slot` for a client that has no offer on this network; `source` is where it is counted.
    pub(super) fn add(
        &mut self,
        keys: &Keys,
        network: u32,
        client: &Client<'_>,
        slot: u32,
        now: u64,
        source: Option<Source>,
    ) -> u32 {
        let key = keys.client(network, client);
        let offer = Offer {
            slot,
            network,
            key,
            until: now.saturating_add(HOLD),
            hw: client.hw,
            id: ClientId::new(client.id),
            contested: false,
            group: NONE,
        };
        let place = match self.unused.pop() {
            Some(place) => {
                self.all[place as usize] = offer;
                place
            }
            None => {
                self.all.push(offer);
                self.ages.add_slot();
                self.sources.add_place();
                self.all.len() as u32 - 1
            }
        };
        self.by_client.insert(key, place);
        self.ages.push_back(0, place);
        if let Some(source) = source {
            self.all[place as usize].group = self.sources.add(place, network, source);
        }
        place
    }

    /// Notes that the address was offered to others before.
    pub(super) fn contest(&mut self, offer: u32, contested: bool) {
        self.all[offer as usize].contested = contested;
    }

    /// Holds an offer for its whole time again.
    pub(super) fn renew(&mut self, offer: u32, now: u64) {
        let o = &mut self.all[offer as usize];
        o.until = now.saturating_add(HOLD);
        self.sources.renew(offer, o.group);
        self.ages.push_back(0, offer);
    }

    /// Moves an offer to another network. False, and nothing happens, if its client has one there.
    pub(super) fn rekey(&mut self, keys: &Keys, offer: u32, network: u32) -> bool {
        let o = self.get(offer);
        let client = Client { hw: o.hw, id: o.id.get() };
        if self.of(keys, network, &client).is_some() {
            return false;
        }
        let (old, key) = (o.key, keys.client(network, &client));
        self.by_client.remove(old, offer);
        self.by_client.insert(key, offer);
        let o = &mut self.all[offer as usize];
        (o.network, o.key) = (network, key);
        if let Some(source) = self.sources.remove(offer, o.group) {
            o.group = self.sources.add(offer, network, source);
        }
        true
    }

    /// Forgets an offer and returns whose address it was.
    pub(super) fn remove(&mut self, offer: u32) -> u32 {
        let o = &mut self.all[offer as usize];
        let slot = std::mem::replace(&mut o.slot, NONE);
        o.id = ClientId::None;
        let key = o.key;
        self.sources.remove(offer, std::mem::replace(&mut o.group, NONE));
        self.by_client.remove(key, offer);
        self.ages.unlink(offer);
        self.unused.push(offer);
        slot
    }

    /// The oldest offer, if it has lapsed.
    pub(super) fn lapsed(&self, now: u64) -> Option<u32> {
        self.ages.first(0).filter(|offer| self.get(*offer).until <= now)
    }

    /// When the next one lapses.
    pub(super) fn next(&self) -> Option<u64> {
        self.ages.first(0).map(|offer| self.get(offer).until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_offer_a_client_and_network_and_places_are_used_again() {
        let keys = Keys::new(1);
        let mut offers = Offers::new();
        let a = Client { hw: Hw::new(1, &[1; 6]), id: Some(b"a") };
        let b = Client { hw: Hw::new(1, &[1; 6]), id: None };
        let first = offers.add(&keys, 0, &a, 10, 0, None);
        let second = offers.add(&keys, 0, &b, 11, 1, None);
        let third = offers.add(&keys, 1, &a, 12, 2, None);
        assert_eq!(offers.of(&keys, 0, &a), Some(first));
        assert_eq!(offers.of(&keys, 0, &b), Some(second));
        assert_eq!(offers.of(&keys, 1, &a), Some(third));
        assert_eq!(offers.of(&keys, 1, &b), None);
        offers.renew(first, 3);
        assert_eq!(offers.lapsed(HOLD), None);
        assert_eq!(offers.lapsed(HOLD + 1), Some(second));
        assert_eq!(offers.remove(second), 11);
        assert_eq!(offers.of(&keys, 0, &b), None);
        assert_eq!(offers.add(&keys, 0, &b, 13, 4, None), second);
        assert_eq!(offers.next(), Some(HOLD + 2));
        assert_eq!(offers.all.len(), 3);
    }
}
