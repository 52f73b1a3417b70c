//! DISCOVER: which address a client is offered, and whether that is pinged first.

use super::access::Known;
use super::answer::Grant;
use super::core::Core;
use super::packet::Packet;
use super::pending::{Held, Then};
use super::pool::Span;
use super::why::{Nobody, Step, Witness};
use super::{Actions, Share};
use crate::config::SubnetId;
use crate::dotted::Dotted;
use crate::wire::code::message;
use std::net::Ipv4Addr;

/// An address handled this recently, in seconds, is not pinged again.
const REMEMBERED: u32 = 60;

/// What a client may be offered: a slot, or an address that has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Slot(u32),
    New { address: u32, subnet: u32 },
}

/// What a DISCOVER leads to. Nothing has happened yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    /// The host's own address.
    Fixed { known: Known, address: Ipv4Addr, subnet: SubnetId },
    /// An address of a pool, after a ping that is waited for so many milliseconds, if any.
    Pool { known: Known, choice: Choice, ping: Option<u32> },
    /// An address of a pool that stays free for everybody: the client may do without IPv4, and will
    /// hardly request it.
    Unheld { known: Known, address: Ipv4Addr, subnet: SubnetId },
    /// An offer of nothing: the client may do without IPv4 (RFC 8925).
    Withhold { known: Known, subnet: SubnetId },
    /// No answer.
    Silence(Silence),
}

/// Why a DISCOVER is not answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Silence {
    /// It comes from no network of ours.
    UnknownNetwork,
    /// The client is not served in the subnet.
    Denied { known: Known, subnet: SubnetId },
    /// Every address of the network is taken.
    NoFreeLease(u32),
    /// This address is being pinged for this very client.
    Busy(Ipv4Addr),
    /// No more addresses can be pinged at once.
    TooManyPings,
}

impl Core {
    pub(super) fn discover(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        log::info!("DHCPDISCOVER from {} via {}", packet.client.hw, self.via_of(packet));
        self.answer_discover(packet, out);
    }

    pub(super) fn answer_discover(&mut self, packet: &Packet<'_>, out: &mut Actions) {
        match self.decide(packet, &mut Nobody) {
            Decision::Fixed { known, address, subnet } => {
                self.offer_fixed(packet, known, address, subnet, out);
            }
            Decision::Pool { known, choice, ping } => {
                let slot = match choice {
                    Choice::Slot(slot) => slot,
                    Choice::New { address, subnet } => self.leases.add(address, subnet),
                };
                self.offer_pool(packet, known, slot, ping, out);
            }
            Decision::Unheld { known, address, subnet } => {
                let seconds = Some(self.lease_time(packet, known.host, subnet));
                let host = known.host;
                let grant = Grant { kind: message::OFFER, address, subnet, host, seconds };
                self.send_offer(packet, &grant, out);
            }
            Decision::Withhold { known, subnet } => self.withhold(packet, known, subnet, out),
            Decision::Silence(why) => self.do_not_offer(packet, why),
        }
    }

    /// What is to be done about a DISCOVER, told to a witness step by step. Nothing changes but
    /// where the search for unused addresses goes on.
    pub(super) fn decide(&mut self, packet: &Packet<'_>, witness: &mut impl Witness) -> Decision {
        let Some(network) = self.origin(packet) else {
            return Decision::Silence(Silence::UnknownNetwork);
        };
        let known = self.known_seen(packet, network, witness);
        if let Some(subnet) = self.withholds(packet, known, network) {
            return match self.admission(packet, known, subnet) {
                Ok(()) => Decision::Withhold { known, subnet },
                Err(_) => Decision::Silence(Silence::Denied { known, subnet }),
            };
        }
        if let Some((address, subnet)) = known.fixed {
            return match self.admission(packet, known, subnet) {
                Ok(()) => Decision::Fixed { known, address, subnet },
                Err(_) => Decision::Silence(Silence::Denied { known, subnet }),
            };
        }
        let Some(choice) = self.choose(packet, network, witness) else {
            return match self.can_do_without(packet, known, network) {
                Some(subnet) => Decision::Withhold { known, subnet },
                None => Decision::Silence(Silence::NoFreeLease(network)),
            };
        };
        let (address, subnet) = self.place_of(choice);
        let subnet = subnet as SubnetId;
        if self.admission(packet, known, subnet).is_err() {
            return Decision::Silence(Silence::Denied { known, subnet });
        }
        let waits = match choice {
            Choice::Slot(slot) => self.pending.get(slot),
            Choice::New { .. } => None,
        };
        if matches!(waits, Some(Then::Offer(_))) {
            return Decision::Silence(Silence::Busy(address));
        }
        if self.hears_of_ipv6(packet, known.host, subnet) {
            // An abandoned address, or one that is held for another client, is not for who needs none.
            let free = match choice {
                Choice::Slot(slot) => {
                    !self.leases.get(slot).abandoned && self.is_open(slot, &packet.client)
                }
                Choice::New { .. } => true,
            };
            return match free {
                true => Decision::Unheld { known, address, subnet },
                false => Decision::Withhold { known, subnet },
            };
        }
        let ping = self.ping_wait(subnet).filter(|_| self.must_ping(packet, choice));
        // A release that waits for the same ping makes room for this one.
        if ping.is_some() && waits.is_none() && self.pending.is_full() {
            return Decision::Silence(Silence::TooManyPings);
        }
        Decision::Pool { known, choice, ping }
    }

    /// The address of a choice, and the subnet it is in.
    pub(super) fn place_of(&self, choice: Choice) -> (Ipv4Addr, u32) {
        let (address, subnet) = match choice {
            Choice::Slot(slot) => {
                let lease = self.leases.get(slot);
                (lease.address, lease.subnet)
            }
            Choice::New { address, subnet } => (address, subnet),
        };
        (Ipv4Addr::from(address), subnet)
    }

    fn do_not_offer(&mut self, packet: &Packet<'_>, why: Silence) {
        match why {
            Silence::UnknownNetwork => {
                log::debug!("unknown network via {}", self.via_of(packet));
                self.counters.unknown_network += 1;
            }
            Silence::Denied { known, subnet } => {
                self.admits(packet, known, subnet, "boot");
            }
            Silence::NoFreeLease(_) if self.share == Share::Nothing => {
                log::debug!("DHCPDISCOVER ignored: what other servers gave is not known yet");
                self.counters.not_ours_to_give += 1;
            }
            Silence::NoFreeLease(network) => {
                self.say_no_free_lease(network, packet.now.mono);
            }
            Silence::Busy(address) => {
                log::info!("already acking lease {address}");
                self.counters.busy += 1;
            }
            Silence::TooManyPings => {
                self.counters.too_many_pings += 1;
                if let Some(times) = self.ping_room.now(packet.now.mono) {
                    log::warn!("too many addresses are being pinged: {times} DISCOVERs ignored");
                }
            }
        }
    }

    fn offer_fixed(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        address: Ipv4Addr,
        subnet: SubnetId,
        out: &mut Actions,
    ) {
        if self.is_rapid(packet, known.host, subnet) {
            self.request_fixed(packet, known, address, subnet, out);
            return;
        }
        let seconds = Some(self.lease_time(packet, known.host, subnet));
        let grant = Grant { kind: message::OFFER, address, subnet, host: known.host, seconds };
        self.send_offer(packet, &grant, out);
    }

    fn offer_pool(
        &mut self,
        packet: &Packet<'_>,
        known: Known,
        slot: u32,
        ping: Option<u32>,
        out: &mut Actions,
    ) {
        let lease = self.leases.get(slot);
        let address = Ipv4Addr::from(lease.address);
        let subnet = lease.subnet as SubnetId;
        // Its holder is back: there is nothing to release.
        self.drop_pending(slot);
        if self.leases.get(slot).abandoned {
            log::error!("Reclaiming abandoned IP address {address}.");
            self.reclaim(slot, packet.time, out);
        }
        let rapid = self.is_rapid(packet, known.host, subnet);
        if rapid && ping.is_none() {
            self.acknowledge(packet, known, slot, subnet as u32, out);
            return;
        }
        self.offer(packet, slot, out);

        let seconds = Some(self.lease_time(packet, known.host, subnet));
        let grant = Grant { kind: message::OFFER, address, subnet, host: known.host, seconds };
        let Some(wait) = ping else {
            self.send_offer(packet, &grant, out);
            return;
        };
        let held = match rapid {
            true => Some(self.hold_request(packet)),
            false => self.hold_answer(packet, &grant),
        };
        if let Some(held) = held {
            let due = packet.now.mono.saturating_add(u64::from(wait));
            if self.pending.begin(slot, due, Then::Offer(held)) {
                self.counters.pings += 1;
                out.pings.push(address);
            }
        }
    }

    /// An offer that waits for nothing.
    pub(super) fn send_offer(&mut self, packet: &Packet<'_>, grant: &Grant, out: &mut Actions) {
        if let Some(reply) = self.answer(packet, grant, &mut out.arena) {
            log::info!(
                "DHCPOFFER on {} to {} via {}",
                Dotted(grant.address),
                packet.client.hw,
                self.via_of(packet)
            );
            self.counters.offer += 1;
            out.replies.push(reply);
        }
    }

    fn hold_answer(&mut self, packet: &Packet<'_>, grant: &Grant) -> Option<Held> {
        let mut bytes = self.pending.buffer();
        let reply = self.answer(packet, grant, &mut bytes)?;
        Some(Held {
            destination: reply.destination,
            source: reply.source,
            bytes,
            hw: packet.client.hw,
            relay: packet.message.giaddr(),
            interface: packet.meta.interface,
            again: None,
        })
    }

    /// How long to wait for an answer to a ping in this subnet, in milliseconds; `None` if nobody is
    /// pinged there.
    pub(super) fn ping_wait(&self, subnet: SubnetId) -> Option<u32> {
        let subnet = self.config.subnets.get(subnet);
        self.options
            .ping_wait
            .filter(|_| subnet.is_none_or(|s| s.settings.ping_check != Some(false)))
    }

    /// Whether the address is to be pinged. Not when the client holds it: it would answer itself.
    fn must_ping(&self, packet: &Packet<'_>, choice: Choice) -> bool {
        let Choice::Slot(slot) = choice else { return true };
        let lease = self.leases.get(slot);
        let second = (packet.now.mono / 1000).saturating_add(1);
        let idle = second.saturating_sub(u64::from(lease.touched));
        let handled = lease.touched != 0 && idle <= u64::from(REMEMBERED);
        !handled && !lease.is_held()
    }

    /// The address for a client, the first there is of: what it holds, what it was offered, what
    /// it had (Q-10: these before what it asks for), what it asks for, one never used, the one
    /// that ended longest ago, the abandoned one that ended longest ago, the one that was offered to
    /// another client longest ago, of where most are held. Its own relay agent's or interface's at once
    /// if that has its share already.
    fn choose(
        &mut self,
        packet: &Packet<'_>,
        network: u32,
        witness: &mut impl Witness,
    ) -> Option<Choice> {
        let client = &packet.client;
        let held = self.current(network, client);
        let chosen = held.filter(|slot| self.is_open(*slot, client));
        witness.saw(|| self.step("the address it holds", held, chosen));
        if let Some(slot) = chosen {
            return Some(Choice::Slot(slot));
        }
        // The offer may be to the same identifier on hardware that shares its lease with another.
        let offer = self.offers.of(&self.leases.keys, network, client);
        let offered = offer.map(|offer| self.offers.get(offer).slot);
        let ours = |slot: &u32| self.share.has(self.leases.get(*slot).address);
        let chosen = offered.filter(|slot| self.is_open(*slot, client)).filter(ours);
        witness.saw(|| self.step("the address it was offered", offered, chosen));
        if let Some(slot) = chosen {
            return Some(Choice::Slot(slot));
        }
        let chosen = self.previous(packet, network);
        witness.saw(|| self.step_of_previous(network, client, chosen));
        if let Some(slot) = chosen {
            return Some(Choice::Slot(slot));
        }
        if self.has_its_share(packet, network) {
            let oldest = self.oldest_offer_there(packet, network);
            let rule = "its relay agent, or interface, has more offers than it may: the oldest one";
            witness.saw(|| self.step(rule, oldest, oldest));
            return oldest.map(Choice::Slot);
        }
        let chosen = self.asked_for(packet, network);
        witness.saw(|| self.step_of_request(packet, network, chosen));
        if chosen.is_some() {
            return chosen;
        }
        let fresh = self.fresh(network, false);
        witness.saw(|| Step::address("an address never used", fresh.map(Ipv4Addr::from)));
        if let Some(address) = fresh {
            let subnet = self.pools.find(address)?.subnet;
            return Some(Choice::New { address, subnet });
        }
        let oldest = self.oldest(network, false);
        witness.saw(|| self.step("the address whose lease ended longest ago", oldest, oldest));
        if let Some(slot) = oldest {
            return Some(Choice::Slot(slot));
        }
        let abandoned = self.oldest(network, true);
        witness.saw(|| self.step("the abandoned address that is longest so", abandoned, abandoned));
        if let Some(slot) = abandoned {
            return Some(Choice::Slot(slot));
        }
        let oldest = self.oldest_offer(network);
        witness.saw(|| {
            self.step("the oldest offer that nobody has requested, where most are", oldest, oldest)
        });
        oldest.map(Choice::Slot)
    }

    /// An ended lease that this client was the last to have.
    pub(super) fn previous(&self, packet: &Packet<'_>, network: u32) -> Option<u32> {
        let client = &packet.client;
        let free = |slot: &u32| {
            let lease = self.leases.get(*slot);
            let free = !lease.is_running() && !lease.abandoned;
            free && self.is_open(*slot, client) && self.may_give(*slot, client)
        };
        let by_id = client.id.and_then(|id| self.leases.id(network, id)).filter(free);
        if by_id.is_some() || client.hw.is_empty() {
            return by_id;
        }
        (self.leases.hw(network, &client.hw).filter(free))
            .or_else(|| self.leases.hw_of_id(network, &client.hw).filter(free))
    }

    /// The address the client asks for, if it is one to give.
    fn asked_for(&self, packet: &Packet<'_>, network: u32) -> Option<Choice> {
        let address = packet.requested().unwrap_or(packet.message.ciaddr());
        let ours = |span: &&Span| span.network == network && self.share.has(u32::from(address));
        let span = self.pools.find(u32::from(address)).filter(ours)?;
        let Some(slot) = self.leases.address(u32::from(address)) else {
            return Some(Choice::New { address: u32::from(address), subnet: span.subnet });
        };
        let lease = self.leases.get(slot);
        let free = !lease.abandoned && self.is_open(slot, &packet.client);
        (free && (lease.is_held() || self.may_give(slot, &packet.client)))
            .then_some(Choice::Slot(slot))
    }
}
