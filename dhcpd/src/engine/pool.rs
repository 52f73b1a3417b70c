//! Which addresses are given out dynamically, and which of them were never used.
//!
//! Nothing is kept for an address that nobody had: a cursor a network goes up its ranges.

use crate::config::Config;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Consecutive addresses of one range, as far as no range declared earlier has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u32,
    pub(super) high: u32,
    pub(super) subnet: u32,
    pub(super) network: u32,
    /// Whether BOOTP clients may have them too.
    pub(super) bootp: bool,
}

#[derive(Debug)]
pub(super) struct Pools {
    /// Ascending, apart from each other.
    spans: Vec<Span>,
    /// Addresses inside of ranges that belong to hosts or to us, ascending.
    reserved: Vec<u32>,
    cursors: Vec<Cursor>,
    /// The same, of the ranges that are BOOTP clients' too.
    bootp_cursors: Vec<Cursor>,
    /// How many addresses each network's ranges have.
    sizes: Vec<u32>,
}

/// Where a network's never-used addresses begin.
#[derive(Debug, Default)]
struct Cursor {
    /// Low and high ends, in order of declaration.
    ranges: Vec<(u32, u32)>,
    range: usize,
    /// How far into that range.
    offset: u32,
}

impl Cursor {
    /// Goes on where `old` was, if all that it passed by is before this one too.
    fn go_on(&mut self, old: &Cursor) {
        let before = |cursor: &Cursor| cursor.ranges.get(..old.range).map(<[_]>::to_vec);
        let here = |cursor: &Cursor| cursor.ranges.get(old.range).copied();
        let fits = match (here(old), here(self)) {
            (None, _) => true,
            (Some((low, _)), Some((new_low, high))) => low == new_low && high >= low + old.offset,
            (Some(_), None) => false,
        };
        if fits && before(old) == before(self) {
            (self.range, self.offset) = (old.range, old.offset);
        }
    }
}

impl Pools {
    /// `own` are the addresses that are the server's.
    pub(super) fn new(config: &Config, own: &[Ipv4Addr]) -> Pools {
        let mut taken: BTreeMap<u32, Span> = BTreeMap::new();
        let mut cursors: Vec<Cursor> = config.networks.iter().map(|_| Cursor::default()).collect();
        let mut bootp_cursors: Vec<Cursor> = cursors.iter().map(|_| Cursor::default()).collect();
        // By declaration, whatever numbers the networks have.
        for (id, subnet) in config.subnets.iter().enumerate() {
            let network = subnet.network;
            let (Some(cursor), Some(bootp_cursor)) =
                (cursors.get_mut(network), bootp_cursors.get_mut(network))
            else {
                continue;
            };
            for range in &subnet.ranges {
                let (low, high) = (u32::from(range.low), u32::from(range.high));
                if low > high {
                    continue;
                }
                let bootp = range.dynamic_bootp || subnet.settings.dynamic_bootp == Some(true);
                cursor.ranges.push((low, high));
                if bootp {
                    bootp_cursor.ranges.push((low, high));
                }
                let (subnet, network) = (id as u32, network as u32);
                add(&mut taken, Span { low, high, subnet, network, bootp });
            }
        }
        let mut sizes = vec![0u32; config.networks.len()];
        for span in taken.values() {
            if let Some(size) = sizes.get_mut(span.network as usize) {
                *size = size.saturating_add((span.high - span.low).saturating_add(1));
            }
        }
        let spans = taken.into_values().collect();
        let mut pools = Pools { spans, reserved: Vec::new(), cursors, bootp_cursors, sizes };
        let mut reserved: Vec<u32> = (config.hosts.iter())
            .flat_map(|host| &host.fixed)
            .chain(own)
            .map(|address| u32::from(*address))
            .filter(|address| pools.in_range(*address).is_some())
            .collect();
        reserved.sort_unstable();
        reserved.dedup();
        pools.reserved = reserved;
        pools
    }

    /// The span of an address that may be leased.
    pub(super) fn find(&self, address: u32) -> Option<&Span> {
        self.in_range(address).filter(|_| !self.is_reserved(address))
    }

    /// Whether a host, or the server, has this address of a range for itself.
    pub(super) fn is_reserved(&self, address: u32) -> bool {
        !self.reserved.is_empty() && self.reserved.binary_search(&address).is_ok()
    }

    /// How many addresses the ranges of a network have.
    pub(super) fn size(&self, network: u32) -> u32 {
        self.sizes.get(network as usize).copied().unwrap_or_default()
    }

    /// All spans, ascending.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The number of the span that an address is in, reserved or not.
    pub(super) fn number(&self, address: u32) -> Option<usize> {
        let after = self.spans.partition_point(|span| span.low <= address);
        after.checked_sub(1).filter(|number| address <= self.spans[*number].high)
    }

    /// How many addresses of a span are reserved.
    pub(super) fn reserved_in(&self, span: &Span) -> usize {
        let below = self.reserved.partition_point(|address| *address < span.low);
        let upto = self.reserved.partition_point(|address| *address <= span.high);
        upto - below
    }

    /// How many addresses of ranges are reserved.
    pub(super) fn reserved_count(&self) -> usize {
        self.reserved.len()
    }

    /// First and last addresses of all that BOOTP clients may have, ascending, apart from each other.
    pub(super) fn for_bootp(&self) -> Vec<(u32, u32)> {
        self.spans.iter().filter(|span| span.bootp).map(|span| (span.low, span.high)).collect()
    }

    /// The lowest address of a network, by order of ranges, that was never used. It stays the
    /// lowest until `used` says otherwise. With `bootp`, of those that BOOTP clients may have.
    pub(super) fn fresh(
        &mut self,
        network: u32,
        bootp: bool,
        used: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let wanted = |span: &Span| span.network == network && (span.bootp || !bootp);
        loop {
            let cursors = if bootp { &self.bootp_cursors } else { &self.cursors };
            let cursor = cursors.get(network as usize)?;
            let &(low, high) = cursor.ranges.get(cursor.range)?;
            let address = low + cursor.offset;
            if !used(address) && self.find(address).is_some_and(wanted) {
                return Some(address);
            }
            let cursors = if bootp { &mut self.bootp_cursors } else { &mut self.cursors };
            let cursor = cursors.get_mut(network as usize)?;
            if address == high {
                cursor.range += 1;
                cursor.offset = 0;
            } else {
                cursor.offset += 1;
            }
        }
    }

    /// Goes on where the pools of an earlier configuration are, as far as ranges are what they were.
    pub(super) fn go_on(&mut self, old: &Pools) {
        for network in 0..self.cursors.len() {
            if !(self.is_apart(network) && old.is_apart(network)) {
                continue;
            }
            for (new, old) in
                [(&mut self.cursors, &old.cursors), (&mut self.bootp_cursors, &old.bootp_cursors)]
            {
                if let Some((new, old)) = new.get_mut(network).zip(old.get(network)) {
                    new.go_on(old);
                }
            }
        }
    }

    /// Whether no range of this network has addresses of another range.
    fn is_apart(&self, network: usize) -> bool {
        let size = |low: u32, high: u32| u64::from(high - low) + 1;
        let spans = self.spans.iter().filter(|span| span.network as usize == network);
        let all = self.cursors.get(network).map_or(&[][..], |cursor| &cursor.ranges);
        spans.map(|span| size(span.low, span.high)).sum::<u64>()
            == all.iter().map(|(low, high)| size(*low, *high)).sum::<u64>()
    }

    /// Whether exactly the same addresses are of the same subnets.
    pub(super) fn same_as(&self, other: &Pools) -> bool {
        self.spans == other.spans && self.reserved == other.reserved
    }

    /// Addresses of ranges that hosts, or the server, have for themselves.
    pub(super) fn reserved(&self) -> &[u32] {
        &self.reserved
    }

    /// Looks for never-used addresses from the beginning again.
    pub(super) fn rewind(&mut self) {
        for cursor in self.cursors.iter_mut().chain(&mut self.bootp_cursors) {
            (cursor.range, cursor.offset) = (0, 0);
        }
    }

    fn in_range(&self, address: u32) -> Option<&Span> {
        self.spans.get(self.number(address)?)
    }
}

/// Adds what of `span` is not taken yet.
fn add(taken: &mut BTreeMap<u32, Span>, span: Span) {
    let mut low = span.low;
    let before = taken.range(..=low).next_back().map(|(_, s)| s.high);
    if let Some(high) = before.filter(|high| *high >= low) {
        match high.checked_add(1) {
            Some(next) => low = next,
            None => return,
        }
    }
    while low <= span.high {
        let next = taken.range(low..=span.high).next().map(|(_, s)| (s.low, s.high));
        let Some((next_low, next_high)) = next else {
            taken.insert(low, Span { low, ..span });
            return;
        };
        if low < next_low {
            taken.insert(low, Span { low, high: next_low - 1, ..span });
        }
        match next_high.checked_add(1) {
            Some(next) => low = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However ranges overlap, every address belongs to the first that has it.
        #[test]
        fn the_first_declared_wins(
            ranges in prop::collection::vec((0u32..60, 0u32..60), 1..10),
            top in any::<bool>(),
        ) {
            let base = if top { u32::MAX - 59 } else { 0 };
            let mut taken = BTreeMap::new();
            for (subnet, (a, b)) in ranges.iter().enumerate() {
                let (low, high) = (base + a.min(b), base + a.max(b));
                let (subnet, bootp) = (subnet as u32, subnet % 2 == 0);
                add(&mut taken, Span { low, high, subnet, network: 0, bootp });
            }
            let spans: Vec<Span> = taken.into_values().collect();
            let pools = Pools {
                spans,
                reserved: Vec::new(),
                cursors: Vec::new(),
                bootp_cursors: Vec::new(),
                sizes: Vec::new(),
            };
            for n in 0..60 {
                let want = ranges.iter().position(|(a, b)| (a.min(b)..=a.max(b)).contains(&&n));
                let found = pools.find(base + n).map(|span| span.subnet as usize);
                prop_assert_eq!(found, want);
                let bootp = pools.for_bootp().iter().any(|(a, b)| (*a..=*b).contains(&(base + n)));
                prop_assert_eq!(bootp, want.is_some_and(|range| range % 2 == 0));
            }
        }
    }
}
