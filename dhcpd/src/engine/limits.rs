//! What strangers may take before anybody is sure of them: how many addresses are held for one
//! relay agent or interface by offers that nobody has requested, how many declines are believed, how
//! often the log says so.
//!
//! Who asks under a thousand names, and never requests what it was offered, may keep half of the
//! addresses from others: once it has that share, the oldest of its own offers goes to whoever asks
//! next from there. Nor do many such together keep all of them, be they as many relay agents as one
//! can forge: where no address is left, the oldest offer goes to whoever asks next, of the relay agent
//! or interface for which most are held. So while any address is held by offers alone a DISCOVER is
//! answered the first time.
//!
//! An address that goes to another client is contested; the first who requests it has it. An honest
//! client requests at once, and its address comes to be another honest one's meanwhile only if all
//! others have changed hands before. What cannot be helped is who requests everything: that is seen in
//! the counters.

use super::core::Core;
use super::index::NONE;
use super::packet::Packet;
use super::sources::Source;

/// So many clients may have an offer whatever the pool, and nobody else is offered their addresses
/// (RFC 2131 section 4.3.1: they should not be): of one relay agent or interface, while it is about its
/// share, and of all together where no address is left.
const FEW: u32 = 16;

/// How many offers are looked at for one whose address can go to another client.
const LOOK: usize = 16;

impl Core {
    pub(super) fn source_of(&self, packet: &Packet<'_>) -> Source {
        let giaddr = packet.message.giaddr();
        if !giaddr.is_unspecified() {
            return Source::Relay(u32::from(giaddr));
        }
        let interface = self.interfaces.get(packet.meta.interface);
        Source::Interface(interface.map_or(0, |interface| interface.index))
    }

    /// Whether offers hold all that may be held for where the packet is from: half of the network's
    /// addresses.
    pub(super) fn has_its_share(&self, packet: &Packet<'_>, network: u32) -> bool {
        let most = FEW.max(self.pools.size(network) / 2);
        self.offers.sources.count(network, self.source_of(packet)) >= most
    }

    /// The oldest offer on this network to a client from where this packet is from, as far as it keeps
    /// a free address and nothing else.
    pub(super) fn oldest_offer_there(&self, packet: &Packet<'_>, network: u32) -> Option<u32> {
        self.to_take(self.offers.sources.oldest_of(network, self.source_of(packet)))
    }

    /// The same from where most are held. None while there are few in all.
    pub(super) fn oldest_offer(&self, network: u32) -> Option<u32> {
        let sources = &self.offers.sources;
        let many = sources.count_all(network) >= FEW;
        many.then(|| self.to_take(sources.of_the_greatest(network)))?
    }

    fn to_take(&self, offers: impl Iterator<Item = u32>) -> Option<u32> {
        offers.take(LOOK).map(|offer| self.offers.get(offer).slot).find(|slot| {
            let lease = self.leases.get(*slot);
            !lease.is_running()
                && !lease.abandoned
                && self.pending.get(*slot).is_none()
                && self.share.has(lease.address)
        })
    }

    /// Whether an address is offered to somebody else, but was offered to others before, who have
    /// not had the time that an offer has.
    pub(super) fn is_contested(&self, slot: u32) -> bool {
        let lease = self.leases.get(slot);
        !lease.is_held() && lease.offer != NONE && self.offers.get(lease.offer).contested
    }

    /// Says that a network has run out, once a minute.
    pub(super) fn say_no_free_lease(&mut self, network: u32, now: u64) {
        self.counters.no_free_lease += 1;
        let times = self.starved.get_mut(network as usize).and_then(|seldom| seldom.now(now));
        if let Some(times) = times {
            log::info!("no free leases on subnet {}", self.network_name(network));
            if times > 1 {
                log::warn!(
                    "{} had none for {times} DISCOVERs since that was said last",
                    self.network_name(network)
                );
            }
        }
    }

    /// An offer was taken from one client for another.
    pub(super) fn say_contested(&mut self, packet: &Packet<'_>) {
        self.counters.offers_contested += 1;
        if let Some(times) = self.contests.now(packet.now.mono) {
            log::warn!(
                "{times} offers that nobody requested went to others, the last one via {}: many ask \
                 there and do not take what they are offered",
                self.via_of(packet)
            );
        }
    }
}

/// Something that is said at most once a minute, however often it happens.
#[derive(Clone, Debug, Default)]
pub(super) struct Seldom {
    next: u64,
    unsaid: u64,
}

impl Seldom {
    /// How often it happened since it was said last, if it is to be said now.
    pub(super) fn now(&mut self, now: u64) -> Option<u64> {
        self.unsaid += 1;
        if now < self.next {
            return None;
        }
        self.next = now.saturating_add(60_000);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A network's allowances for declines. Sources share them by their number: one that declines
/// without end uses up its own part, and no number of invented relay agents needs memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Declines([Allowance; 8]);

impl Declines {
    pub(super) fn take(&mut self, source: Source, now: u64) -> bool {
        let number = match source {
            Source::Relay(number) | Source::Interface(number) => number as usize,
        };
        let parts = self.0.len();
        self.0.get_mut(number % parts).is_some_and(|part| part.take(now))
    }
}

/// So many of something at once, and then one every ten seconds.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    left: u64,
    counted: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { left: Allowance::MOST, counted: 0 }
    }
}

impl Allowance {
    pub(super) const MOST: u64 = 32;
    pub(super) const EVERY: u64 = 10_000;

    fn take(&mut self, now: u64) -> bool {
        let more = now.saturating_sub(self.counted) / Allowance::EVERY;
        self.counted += more * Allowance::EVERY;
        self.left = self.left.saturating_add(more).min(Allowance::MOST);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
