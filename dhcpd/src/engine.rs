//! Every decision of the protocol: packets and the time come in, actions come out.
//!
//! Pure: no clock, no socket, no file. The daemon, the fuzzer and the simulator run the same engine.
//! Here is its surface; `core` holds what it knows, and each message has a file of its own.

mod access;
mod answer;
mod bootp;
mod clock;
mod core;
pub mod counters;
mod derived;
mod destination;
mod discover;
mod events;
mod identity;
mod index;
mod inform;
pub mod inspect;
mod leasequery;
mod leases;
mod limits;
mod lists;
mod merge;
mod names;
mod offers;
pub mod orders;
mod packet;
mod pending;
mod pool;
mod rapid;
mod reconfigure;
mod relay;
mod release;
mod request;
mod resolve;
mod share;
mod snapshot;
mod sources;
mod udp_mode;
mod wheel;
pub mod why;

#[cfg(test)]
mod tests_abuse;
#[cfg(test)]
mod tests_anything;
#[cfg(test)]
mod tests_bootp;
#[cfg(test)]
mod tests_bootp_leases;
#[cfg(test)]
mod tests_choice;
#[cfg(test)]
mod tests_control;
#[cfg(test)]
mod tests_dora;
#[cfg(test)]
mod tests_hostile;
#[cfg(test)]
pub(crate) mod tests_kit;
#[cfg(test)]
mod tests_log;
#[cfg(test)]
mod tests_model;
#[cfg(test)]
mod tests_quirks;
#[cfg(test)]
mod tests_rare;
#[cfg(test)]
mod tests_reconfigure;
#[cfg(test)]
mod tests_rfc2131;
#[cfg(test)]
mod tests_rfc2132;
#[cfg(test)]
mod tests_rfc3046;
#[cfg(test)]
mod tests_rfc4039;
#[cfg(test)]
mod tests_rfc4361;
#[cfg(test)]
mod tests_rfc4388;
#[cfg(test)]
mod tests_rfc8925;
#[cfg(test)]
mod tests_scopes;

pub use self::merge::{Merged, Word};
pub use self::share::Share;

use self::core::Core;
use self::counters::Counters;
use self::identity::{Client, Hw, MAX_CLIENT_ID};
use self::packet::Packet;
use self::pending::Then;
use crate::config::{Config, NetworkId};
use crate::dotted::Dotted;
use crate::lease::LeaseRecord;
use crate::wire::code::{BOOTREQUEST, message, option};
use crate::wire::message::{Message, ParseError};
use crate::wire::options::OptionTable;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

/// The time, as the shell read it for this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Seconds since the epoch: what leases are written in.
    pub wall: i64,
    /// Milliseconds of a clock that never jumps: what timers run on.
    pub mono: u64,
}

/// Where a packet came from.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Index into the engine's interfaces: the one it came by, or one that speaks for us.
    pub interface: usize,
    /// Whether it came by that interface. What comes by one that is not served is from far away:
    /// from a relay agent, or from a client who has an address and means nobody but us.
    pub served: bool,
    /// IP source.
    pub source: Ipv4Addr,
    /// UDP source port.
    pub source_port: u16,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// Sender of the frame; `None` when it came through the UDP socket.
    pub mac: Option<[u8; 6]>,
}

/// An interface that is served.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name, for the log.
    pub name: String,
    /// The system's index.
    pub index: u32,
    /// Its first address: who we are on this wire.
    pub address: Ipv4Addr,
    /// All its addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The shared network it is on.
    pub network: Option<NetworkId>,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// As a frame of our own making.
    Link {
        /// Index into the engine's interfaces.
        interface: usize,
        /// Link-level destination.
        mac: [u8; 6],
        /// IP destination.
        address: Ipv4Addr,
        /// UDP destination port.
        port: u16,
    },
    /// Through the UDP socket; the system finds the way.
    Udp {
        /// Index into the engine's interfaces it must leave by, if any.
        interface: Option<usize>,
        /// IP destination.
        address: Ipv4Addr,
        /// UDP destination port.
        port: u16,
    },
}

/// One reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Where to.
    pub destination: Destination,
    /// IP source.
    pub source: Ipv4Addr,
    /// The message, in [`Actions::arena`].
    pub bytes: Range<usize>,
    /// Must not leave before this batch's journal records are on disk.
    pub durable: bool,
}

/// What happened to a lease that hooks are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was given to a client, or renewed: its record is on its way to the disk.
    Commit,
    /// Its client has given it back, or was given another one.
    Release,
    /// It has come to its end by itself.
    Expiry,
    /// Somebody unknown uses the address.
    Abandon,
}

/// One of them, and the lease as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEvent {
    /// What happened.
    pub happening: Happening,
    /// To which lease.
    pub lease: LeaseRecord,
}

/// What other servers are to be told of (`dhcpd -Y`), once it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A lease of a pool's address is another one now: see [`Engine::lease`].
    Lease {
        /// Its address.
        address: Ipv4Addr,
        /// It was changed here. Otherwise another server has told of it.
        here: bool,
    },
    /// A fixed address was acknowledged, of which no lease is kept. Times are the wall clock's.
    Fixed {
        /// Which one.
        address: Ipv4Addr,
        /// Now.
        starts: i64,
        /// For so long.
        ends: i64,
        /// Its client's hardware: type, length, address.
        htype: u8,
        /// At most 16.
        length: u8,
        /// The rest is 0.
        hardware: [u8; 16],
    },
}

/// What the engine wants done. One is made at start and cleared for each batch.
#[derive(Debug, Default)]
pub struct Actions {
    /// The bytes of all replies.
    pub arena: Vec<u8>,
    /// Messages to send, in order.
    pub replies: Vec<Reply>,
    /// Records for the journal, as text.
    pub journal: Vec<u8>,
    /// How many records `journal` holds.
    pub records: usize,
    /// Changes to the firewall's tables, in order.
    pub tables: Vec<pfhelper::Command>,
    /// What hooks are to be told; `None` where there are none.
    pub hooks: Option<Vec<LeaseEvent>>,
    /// What other servers are to be told; `None` where there are none.
    pub sync: Option<Vec<Change>>,
    /// Addresses to ping.
    pub pings: Vec<Ipv4Addr>,
    /// Addresses whose names are wanted.
    pub names: Vec<Ipv4Addr>,
    /// The lease file is to be rewritten soon: its times are those of a clock that was wrong.
    pub rewrite: bool,
}

impl Actions {
    /// Empties everything and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.replies.clear();
        self.journal.clear();
        self.records = 0;
        self.tables.clear();
        self.hooks.iter_mut().for_each(Vec::clear);
        self.sync.iter_mut().for_each(Vec::clear);
        self.pings.clear();
        self.names.clear();
        self.rewrite = false;
    }
}

/// What is decided once, at start.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Anything a client cannot guess: keeps it from choosing what collides in our tables.
    pub seed: u64,
    /// How long an answer to a ping is waited for, in milliseconds; `None`: nobody is pinged.
    pub ping_wait: Option<u32>,
    /// The most pings waited for at once. DISCOVERs beyond that are dropped.
    pub max_pending: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions { seed: 0, ping_wait: Some(1000), max_pending: 65_536 }
    }
}

/// All leases, offers and what is needed to decide about them.
pub struct Engine {
    core: Core,
    /// The options of the packet at hand.
    options: OptionTable,
}

impl Engine {
    /// An engine without leases. `config` must have its lookup tables made.
    pub fn new(config: Arc<Config>, interfaces: Vec<Interface>, options: EngineOptions) -> Engine {
        let mut core = Core::new(config, interfaces, options);
        core.prepare_for_queries();
        Engine { core, options: OptionTable::new() }
    }

    /// Takes over another configuration and other interfaces, in one step: an interface is the same
    /// as before if its name is. `config` must have its lookup tables made; where its networks have
    /// the numbers they had ([`Config::keep_numbers`]), this is quick.
    ///
    /// Leases, offers and pings go on. A lease whose address is not to be given out any more is kept
    /// aside while it runs, and comes back if its address does.
    ///
    /// False if every lease is where it was: the same addresses are given out on the same networks.
    pub fn reconfigure(
        &mut self,
        config: Arc<Config>,
        interfaces: Vec<Interface>,
        now: Now,
        out: &mut Actions,
    ) -> bool {
        self.core.reconfigure(config, interfaces, now, out)
    }

    /// The configuration it works with.
    pub fn config(&self) -> &Arc<Config> {
        &self.core.config
    }

    /// The interfaces it works with, by their numbers.
    pub fn interfaces(&self) -> &[Interface] {
        &self.core.interfaces
    }

    /// Takes a lease from the lease file; a later one for the same address replaces it. All of
    /// them come before the first packet, and lead to no table events: see [`Engine::tables`].
    pub fn load(&mut self, lease: LeaseRecord, now: Now) {
        self.core.load(lease, now);
    }

    /// Decides about one message, the payload of a UDP datagram to port 67.
    pub fn input(&mut self, packet: &[u8], meta: &Meta, now: Now, out: &mut Actions) {
        let Engine { core, options } = self;
        let time = core.advance(now, out);
        let message = match Message::parse(packet) {
            Ok(message) => message,
            Err(ParseError::HardwareLength(_)) => {
                core.counters.malformed += 1;
                log::info!("Discarding packet with invalid hlen.");
                return;
            }
            Err(error) => {
                core.counters.malformed += 1;
                log::debug!("packet from {} ignored: {error}", meta.source);
                return;
            }
        };
        // what is no request is not answered, whatever its options say.
        if message.op() != BOOTREQUEST || core.interfaces.get(meta.interface).is_none() {
            core.counters.malformed += 1;
            return;
        }
        if let Err(error) = options.parse(&message) {
            core.counters.malformed += 1;
            log::debug!("packet from {} ignored: {error}", meta.source); // every time
            return;
        }
        let id = options.get(option::CLIENT_IDENTIFIER).filter(|id| !id.is_empty());
        let hw = Hw::new(message.htype(), message.chaddr());
        let client = Client { hw, id };
        let packet = Packet { raw: packet, message, options, meta, client, now, time };
        let Some(kind) = options.message_type() else {
            core.bootp(&packet, out);
            return;
        };
        // Who only informs itself, perhaps through a tunnel, need not be told from others.
        let usable = id.map_or(!hw.is_empty(), |id| id.len() <= MAX_CLIENT_ID);
        core.counters.received(kind);
        let asks_only = matches!(kind, message::INFORM | message::LEASEQUERY);
        if !usable && !asks_only {
            core.counters.no_identity += 1;
            log::debug!("packet from {} ignored: no usable identity", meta.source);
            return;
        }
        match kind {
            message::DISCOVER => core.discover(&packet, out),
            message::REQUEST => core.request(&packet, out),
            message::DECLINE => core.decline(&packet, out),
            message::RELEASE => core.release_asked(&packet, out),
            message::INFORM => core.inform(&packet, out),
            message::LEASEQUERY => core.lease_query(&packet, out),
            _ => log::debug!("message of type {kind} from {} ignored", meta.source),
        }
    }

    /// Somebody answered a ping.
    pub fn echo_reply(&mut self, address: Ipv4Addr, now: Now, out: &mut Actions) {
        let core = &mut self.core;
        core.advance(now, out);
        let Some(slot) = core.leases.address(u32::from(address)) else {
            core.counters.ping_strays += 1;
            log::warn!("unexpected ICMP Echo Reply from {address}");
            return;
        };
        match core.pending.take(slot) {
            Some(Then::Offer(held)) => {
                core.pending.recycle(held);
                core.counters.ping_conflicts += 1;
                core.counters.abandoned_pinged += 1;
                core.abandon(slot, "pinged before offer", out);
            }
            Some(Then::Release) => {
                core.counters.ping_spoofs += 1;
                log::warn!("Possible release spoof - Not releasing address {address}");
            }
            None => {
                core.counters.ping_strays += 1;
                log::warn!("ICMP Echo Reply for {address} arrived late or is spurious.");
            }
        }
    }

    /// Does what is due by now: leases and offers that end, pings that nobody answered.
    pub fn tick(&mut self, now: Now, out: &mut Actions) {
        let Engine { core, options } = self;
        let time = core.advance(now, out);
        while let Some((slot, then)) = core.pending.pop(now.mono) {
            match then {
                Then::Release => core.released(slot, time, out),
                Then::Offer(held) if held.again.is_some() => {
                    core.take_up_again(&held, options, now, time, out);
                    core.pending.recycle(held);
                }
                Then::Offer(held) => {
                    log::info!(
                        "DHCPOFFER on {} to {} via {}",
                        Dotted(core.leases.get(slot).address.into()),
                        held.hw,
                        core.via(held.relay, held.interface)
                    );
                    let reply = held.reply(&mut out.arena);
                    core.counters.offer += 1;
                    out.replies.push(reply);
                    core.pending.recycle(held);
                }
            }
        }
    }

    /// When [`Engine::tick`] is to be called, in milliseconds of the monotonic clock; `None` if
    /// nothing is due before the next packet. It may be early, never late.
    pub fn next_tick(&self) -> Option<u64> {
        let core = &self.core;
        let lease = core.leases.next_end().map(|second| core.clock.mono(second));
        [core.pending.next(), core.offers.next(), lease].into_iter().flatten().min()
    }

    /// What the firewall's tables must hold: addresses leased or offered, and those abandoned.
    pub fn tables(&mut self, now: Now) -> (Vec<Ipv4Addr>, Vec<Ipv4Addr>) {
        self.core.read_clock(now);
        self.core.tables()
    }

    /// Appends up to `limit` records of the lease file to `out`, going on at `cursor` (0 at first).
    /// Returns where to go on, `None` at the end. Leases may change meanwhile: what is journalled
    /// during a snapshot must follow it.
    pub fn snapshot_from(&self, cursor: u64, limit: usize, out: &mut Vec<u8>) -> Option<u64> {
        self.core.snapshot_from(cursor, limit, out)
    }

    /// What has happened so far, as far as the engine knows.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// How many addresses were ever used.
    pub fn len(&self) -> usize {
        self.core.leases.len()
    }

    /// Whether no address was ever used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
