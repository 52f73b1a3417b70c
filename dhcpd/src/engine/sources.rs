//! From where offers are held that nobody has requested, how many for each, and where most are. It
//! knows offers by their places, networks by their numbers, and nothing of addresses.
//!
//! A source is a relay agent or an interface, counted for each network apart. Those of a network
//! stand in classes: one offer, two or three, four to seven, and so on. So where most are held is
//! known to a factor of two, at the price of a list operation when a count doubles or halves.

use super::index::NONE;
use super::lists::Lists;
use std::collections::HashMap;

/// Where packets come from, as far as limits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A relay agent, by its giaddr.
    Relay(u32),
    /// An interface, by the system's index.
    Interface(u32),
}

/// Counts are below 2^32.
const CLASSES: u32 = 32;

#[derive(Debug)]
struct Group {
    network: u32,
    source: Source,
    /// How many offers it has.
    count: u32,
}

/// The offers of each source on each network, by age.
#[derive(Debug)]
pub(super) struct Sources {
    groups: Vec<Group>,
    numbers: HashMap<(u32, Source), u32>,
    /// Numbers of groups that are empty.
    free: Vec<u32>,
    /// A list of offers for each group.
    offers: Lists,
    /// Lists of groups: [`CLASSES`] for each network.
    classes: Lists,
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Network {
    /// How many offers its groups have.
    count: u32,
    /// A bit for each class that somebody is in.
    classes: u32,
}

impl Sources {
    pub(super) fn new() -> Sources {
        Sources {
            groups: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            offers: Lists::new(0),
            classes: Lists::new(0),
            networks: Vec::new(),
        }
    }

    /// Makes room for one more place of an offer, whose number is the count of those before.
    pub(super) fn add_place(&mut self) {
        self.offers.add_slot();
    }

    /// Counts an offer that is new, or of another network now; returns its group.
    pub(super) fn add(&mut self, offer: u32, network: u32, source: Source) -> u32 {
        let number = self.number(network, source);
        self.offers.push_back(number, offer);
        self.count_to(number, |count| count + 1);
        number
    }

    /// Its offer is held anew.
    pub(super) fn renew(&mut self, offer: u32, group: u32) {
        if group != NONE {
            self.offers.push_back(group, offer);
        }
    }

    /// Counts an offer no more; returns whose it was.
    pub(super) fn remove(&mut self, offer: u32, group: u32) -> Option<Source> {
        let Group { network, source, count } = *self.groups.get(group as usize)?;
        self.offers.unlink(offer);
        self.count_to(group, |count| count - 1);
        if count == 1 {
            self.numbers.remove(&(network, source));
            self.free.push(group);
        }
        Some(source)
    }

    /// How many offers a source has on a network.
    pub(super) fn count(&self, network: u32, source: Source) -> u32 {
        let number = self.numbers.get(&(network, source));
        number.and_then(|number| self.groups.get(*number as usize)).map_or(0, |group| group.count)
    }

    /// How many all have.
    pub(super) fn count_all(&self, network: u32) -> u32 {
        self.networks.get(network as usize).map_or(0, |network| network.count)
    }

    /// A source's offers on a network, the oldest first.
    pub(super) fn oldest_of(&self, network: u32, source: Source) -> impl Iterator<Item = u32> {
        let number = self.numbers.get(&(network, source)).copied();
        number.into_iter().flat_map(|number| self.offers_of(number))
    }

    /// The offers on a network, those first whose source has more, to a factor of two; of one source
    /// the oldest first.
    pub(super) fn of_the_greatest(&self, network: u32) -> impl Iterator<Item = u32> {
        let there = self.networks.get(network as usize).map_or(0, |network| network.classes);
        let classes = (0..CLASSES).rev().filter(move |class| there >> class & 1 == 1);
        let groups = classes.flat_map(move |class| {
            let list = network * CLASSES + class;
            let after = move |group: &u32| self.classes.after(list, *group);
            std::iter::successors(self.classes.first(list), after)
        });
        groups.flat_map(|group| self.offers_of(group))
    }

    fn offers_of(&self, group: u32) -> impl Iterator<Item = u32> {
        let after = move |offer: &u32| self.offers.after(group, *offer);
        std::iter::successors(self.offers.first(group), after)
    }

    /// The number of a group, which has one from now on.
    fn number(&mut self, network: u32, source: Source) -> u32 {
        if let Some(number) = self.numbers.get(&(network, source)) {
            return *number;
        }
        while self.networks.len() <= network as usize {
            self.networks.push(Network::default());
            self.classes.resize(self.networks.len() as u32 * CLASSES);
        }
        let group = Group { network, source, count: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.groups[number as usize] = group;
                number
            }
            None => {
                let number = self.groups.len() as u32;
                // Half as many more at a time: each time every link is moved.
                if self.offers.lists() <= number {
                    self.offers.resize(number + number / 2 + 4);
                }
                self.classes.add_slot();
                self.groups.push(group);
                number
            }
        };
        self.numbers.insert((network, source), number);
        number
    }

    /// Changes the count of a group by one.
    fn count_to(&mut self, number: u32, change: impl Fn(u32) -> u32) {
        let group = &mut self.groups[number as usize];
        let (class, network) = (group.count.checked_ilog2(), group.network);
        group.count = change(group.count);
        let new = group.count.checked_ilog2();
        let there = &mut self.networks[network as usize];
        there.count = change(there.count);
        if class == new {
            return;
        }
        self.classes.unlink(number);
        if let Some(class) = class
            && self.classes.first(network * CLASSES + class).is_none()
        {
            there.classes &= !(1 << class);
        }
        if let Some(class) = new {
            self.classes.push_back(network * CLASSES + class, number);
            there.classes |= 1 << class;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list of who holds what.
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((0u8..3, 0u32..60, 0u32..3, 0u32..7), 0..400)
        ) {
            let mut sources = Sources::new();
            (0..60).for_each(|_| sources.add_place());
            let mut model: Vec<(u32, u32, Source, u32)> = Vec::new();
            for (what, offer, network, source) in steps {
                let place = model.iter().position(|held| held.0 == offer);
                match (what, place) {
                    (0, Some(place)) => {
                        let held = model.remove(place);
                        prop_assert_eq!(sources.remove(offer, held.3), Some(held.2));
                    }
                    (1, Some(place)) => {
                        let held = model.remove(place);
                        sources.renew(offer, held.3);
                        model.push(held);
                    }
                    (_, Some(_)) => {}
                    (_, None) => {
                        let source = Source::Relay(source * source / 3);
                        let group = sources.add(offer, network, source);
                        model.push((offer, network, source, group));
                    }
                }
                for network in 0..4 {
                    let here = model.iter().filter(|held| held.1 == network);
                    let count = |source| here.clone().filter(|held| held.2 == source).count();
                    prop_assert_eq!(sources.count_all(network) as usize, here.clone().count());
                    let listed: Vec<u32> = sources.of_the_greatest(network).collect();
                    prop_assert_eq!(listed.len(), here.clone().count());
                    let classes: Vec<u32> = (listed.iter())
                        .filter_map(|offer| here.clone().find(|held| held.0 == *offer))
                        .map(|held| count(held.2).ilog2())
                        .collect();
                    prop_assert!(classes.is_sorted_by(|a, b| a >= b), "{:?}", classes);
                    for source in (0..13).map(Source::Relay) {
                        prop_assert_eq!(sources.count(network, source) as usize, count(source));
                        let its = here.clone().filter(|held| held.2 == source).map(|held| held.0);
                        prop_assert!(sources.oldest_of(network, source).eq(its));
                    }
                }
            }
            // Nothing is kept of a source that has none.
            for (offer, _, _, group) in model {
                sources.remove(offer, group);
            }
            prop_assert!(sources.numbers.is_empty() && sources.networks.iter().all(|n| n.classes == 0));
            prop_assert_eq!(sources.free.len(), sources.groups.len());
            prop_assert!(sources.groups.len() <= 60);
        }
    }
}
