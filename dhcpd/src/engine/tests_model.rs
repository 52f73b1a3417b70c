//! Uniqueness under abuse: no address is acknowledged to two clients while the first one's lease
//! lasts, whatever clients say, however the clock is set, and across restarts.
//!
//! Many clients, some of them liars, do random things over virtual time. A model that knows only
//! what was acknowledged to whom, and real time, judges every reply; the engine's tables must be
//! what its events made them, and its own bookkeeping must add up after every step. Meanwhile the
//! configuration changes again and again.

use super::identity::{Client, Hw};
use super::tests_kit::*;
use super::*;
use crate::leasefile;
use pfhelper::Verb;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// How long a BOOTP client has an address, in seconds.
const BOOTP: u32 = 800;

/// Hardware and identifier. Some share the one, some the other.
const CLIENTS: [(u16, Option<&[u8]>); 9] = [
    (0, None),
    (0, Some(b"a")),
    (0, Some(b"b")),
    (1, None),
    (1, Some(b"a")),
    (2, Some(b"c")),
    (3, None),
    (4, Some(b"a rather long identifier, kept apart")),
    (5, None),
];

#[derive(Clone, Debug)]
enum Step {
    Discover {
        client: usize,
        wish: Option<u8>,
        relayed: bool,
    },
    Take {
        client: usize,
    },
    Reboot {
        client: usize,
        last: u8,
        relayed: bool,
    },
    Renew {
        client: usize,
        last: u8,
        far: bool,
    },
    Elsewhere {
        client: usize,
        last: u8,
    },
    Release {
        client: usize,
        last: u8,
        far: bool,
    },
    Bootp {
        client: usize,
        relayed: bool,
    },
    Decline {
        client: usize,
        last: u8,
        far: bool,
    },
    Echo {
        last: u8,
        far: bool,
    },
    Pass(u64),
    SetClock(i64),
    Rewrite,
    Restart,
    Reconfigure(u8),
    /// With what it has already.
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS.len();
    let last = || 10u8..14;
    let far = any::<bool>;
    prop_oneof![
        4 => (client(), prop::option::of(last()), far())
            .prop_map(|(client, wish, relayed)| Step::Discover { client, wish, relayed }),
        8 => client().prop_map(|client| Step::Take { client }),
        3 => (client(), last(), far())
            .prop_map(|(client, last, relayed)| Step::Reboot { client, last, relayed }),
        3 => (client(), last(), far()).prop_map(|(client, last, far)| Step::Renew { client, last, far }),
        1 => (client(), last()).prop_map(|(client, last)| Step::Elsewhere { client, last }),
        2 => (client(), last(), far()).prop_map(|(client, last, far)| Step::Release { client, last, far }),
        1 => (client(), last(), far()).prop_map(|(client, last, far)| Step::Decline { client, last, far }),
        2 => (client(), far()).prop_map(|(client, relayed)| Step::Bootp { client, relayed }),
        1 => (last(), far()).prop_map(|(last, far)| Step::Echo { last, far }),
        4 => prop_oneof![Just(1), Just(2), 3u64..200, 200u64..900].prop_map(Step::Pass),
        1 => (-2000i64..2000).prop_map(Step::SetClock),
        1 => Just(Step::Rewrite),
        1 => Just(Step::Restart),
        2 => (0..VARIANTS).prop_map(Step::Reconfigure),
        1 => Just(Step::Again),
    ]
}

fn address(last: u8, far: bool) -> Ipv4Addr {
    if far { Ipv4Addr::new(10, 1, 0, last) } else { Ipv4Addr::new(10, 0, 0, last) }
}

const VARIANTS: u8 = 8;

/// A configuration: 0 is what there is at first.
fn variant(number: u8) -> Config {
    let mut config = config();
    config.subnets[0].ranges[0].high = address(12, false);
    config.subnets[1].ranges[0].high = address(12, true);
    match number {
        0 => {}
        1 => config.subnets[0].ranges[0].high = address(11, false),
        2 => {
            config.subnets[0].ranges[0].low = address(11, false);
            config.subnets[0].ranges[0].high = address(13, false);
        }
        3 => config.hosts = vec![host("printer", mac(99), &["10.0.0.11"])],
        4 => {
            config.networks.pop();
            config.subnets.pop();
        }
        5 => {
            config.networks.pop();
            config.networks[0].subnets = vec![0, 1];
            config.subnets[1].network = 0;
        }
        6 => {
            config.networks.swap(0, 1);
            (config.subnets[0].network, config.subnets[1].network) = (1, 0);
        }
        _ => config.subnets.iter_mut().for_each(|subnet| subnet.ranges.clear()),
    }
    for subnet in &mut config.subnets {
        subnet.settings.dynamic_bootp = Some(true);
        subnet.settings.dynamic_bootp_lease_length = Some(BOOTP);
        subnet.settings.default_lease_time = Some(600);
        subnet.settings.rapid_commit = Some(true);
        subnet.settings.leasequery = Some(number % 2 == 1);
        subnet.settings.max_lease_time = Some(900);
    }
    config.build_lookup();
    config
}

/// What a holder was told.
struct Holder {
    client: usize,
    /// Real time, in seconds.
    until: u64,
    /// It gave the address back, or took another one instead.
    given_up: bool,
}

struct World {
    bench: Bench,
    config: Config,
    file: Vec<u8>,
    offered: BTreeMap<usize, (Ipv4Addr, bool)>,
    holders: BTreeMap<Ipv4Addr, Holder>,
    leased: BTreeSet<Ipv4Addr>,
    abandoned: BTreeSet<Ipv4Addr>,
    restarted: bool,
}

fn identity(client: usize) -> Client<'static> {
    let (hw, id) = CLIENTS[client];
    Client { hw: Hw::new(1, &mac(hw)), id }
}

impl World {
    fn new() -> World {
        let config = variant(0);
        World {
            bench: Bench::pinging(config.clone()),
            config,
            file: Vec::new(),
            offered: BTreeMap::new(),
            holders: BTreeMap::new(),
            leased: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            restarted: false,
        }
    }

    fn real(&self) -> u64 {
        self.bench.now.mono / 1000
    }

    fn ask(&self, kind: u8, client: usize, relayed: bool) -> Ask {
        let (hw, id) = CLIENTS[client];
        let ask = ask(kind, hw);
        let ask = if relayed { ask.relayed() } else { ask };
        match id {
            Some(id) => ask.id(id),
            None => ask,
        }
    }

    fn step(&mut self, step: Step) {
        let none = Ipv4Addr::UNSPECIFIED;
        match step {
            Step::Discover { client, wish, relayed } => {
                let ask = self.ask(message::DISCOVER, client, relayed);
                let ask = match wish {
                    Some(last) => ask.with(50, address(last, relayed).octets()),
                    None => ask,
                };
                // Some clients want their lease at once, now and then.
                let rapid = client % 2 == 1 && wish.is_none_or(|last| last % 2 == 0);
                self.send(client, &if rapid { ask.with(80, []) } else { ask });
            }
            Step::Take { client } => {
                let Some(&(address, relayed)) = self.offered.get(&client) else { return };
                let ask = self.ask(message::REQUEST, client, relayed);
                self.send(client, &ask.with(50, address.octets()).with(54, SERVER.octets()));
            }
            Step::Reboot { client, last, relayed } => {
                let ask = self.ask(message::REQUEST, client, relayed);
                self.send(client, &ask.with(50, address(last, relayed).octets()));
            }
            Step::Renew { client, last, far } => {
                let ask = self.ask(message::REQUEST, client, false);
                self.send(client, &Ask { ciaddr: address(last, far), ..ask });
            }
            Step::Elsewhere { client, last } => {
                let ask = self.ask(message::REQUEST, client, false);
                let ask = ask.with(50, address(last, false).octets());
                self.send(client, &ask.with(54, OTHER_SERVER.octets()));
            }
            Step::Release { client, last, far } => {
                let at = address(last, far);
                self.give_up(client, at);
                let ask = Ask { ciaddr: at, ..self.ask(message::RELEASE, client, false) };
                self.send(client, &ask.with(54, SERVER.octets()));
            }
            Step::Decline { client, last, far } => {
                let at = address(last, far);
                self.give_up(client, at);
                let ask = self.ask(message::DECLINE, client, far);
                self.send(client, &ask.with(50, at.octets()).with(54, SERVER.octets()));
            }
            Step::Bootp { client, relayed } => {
                self.send(client, &self.ask(0, client, relayed));
            }
            Step::Echo { last, far } => {
                self.bench.echo(address(last, far));
                self.after(None, none, vec![]);
            }
            Step::Pass(seconds) => {
                let got = self.bench.pass(seconds);
                self.after(None, none, got);
            }
            Step::SetClock(by) => {
                // After a restart nobody can tell a wall clock that is wrong from one that was.
                self.bench.now.wall += if self.restarted { -by.abs() } else { by };
                let got = self.bench.tick();
                self.after(None, none, got);
            }
            Step::Rewrite => self.rewrite(),
            Step::Restart => {
                let config = self.config.clone();
                let now = self.bench.now;
                self.bench = Bench::pinging(config.clone());
                self.bench.now = now;
                self.bench.reconfigure(config, interfaces()); // its interface's network
                for record in leasefile::read(&self.file) {
                    let record = record.expect("what we wrote can be read");
                    self.bench.engine.load(record, now);
                }
                self.restarted = true;
                self.bench.tick();
                let (leased, abandoned) = self.bench.engine.tables(now);
                self.leased = leased.into_iter().collect();
                self.abandoned = abandoned.into_iter().collect();
            }
            Step::Reconfigure(number) => {
                self.config = variant(number);
                self.bench.reconfigure(self.config.clone(), interfaces());
                self.after(None, none, vec![]);
            }
            Step::Again => {
                let got = self.bench.tick();
                self.after(None, none, got);
                let before = self.bench.everything();
                self.bench.reconfigure(self.config.clone(), interfaces());
                assert!(self.bench.out.tables.is_empty() && self.bench.out.replies.is_empty());
                assert_eq!(before, self.bench.everything());
            }
        }
        self.bench.engine.core.check();
        let (leased, abandoned) = self.bench.engine.tables(self.bench.now);
        assert_eq!(leased.into_iter().collect::<BTreeSet<_>>(), self.leased);
        assert_eq!(abandoned.into_iter().collect::<BTreeSet<_>>(), self.abandoned);
    }

    fn give_up(&mut self, client: usize, address: Ipv4Addr) {
        if let Some(holder) = self.holders.get_mut(&address) {
            let held = identity(holder.client);
            holder.given_up |= identity(client).owns(&held.hw, held.id);
        }
    }

    fn send(&mut self, client: usize, ask: &Ask) {
        let got = self.bench.send(ask);
        self.after(Some(client), ask.giaddr, got);
    }

    /// Judges replies, follows the events, and keeps the journal.
    fn after(&mut self, client: Option<usize>, relay: Ipv4Addr, replies: Vec<Got>) {
        let now = self.real();
        for got in replies {
            let (kind, address) = (got.options.message_type(), got.yours());
            // An offer that was held back comes by itself; its hardware says for whom it is.
            let to = client.unwrap_or_else(|| {
                let hw = got.message().chaddr().to_vec();
                let id = got.options.get(61).map(<[u8]>::to_vec);
                let is = |(n, i): &(u16, Option<&[u8]>)| mac(*n)[..] == hw && *i == id.as_deref();
                CLIENTS.iter().position(is).expect("a reply to somebody")
            });
            let relayed = if client.is_some() {
                !relay.is_unspecified()
            } else {
                !got.message().giaddr().is_unspecified()
            };
            if kind == Some(message::NAK) {
                continue;
            }
            if let Some(holder) = self.holders.get(&address) {
                let held = identity(holder.client);
                assert!(
                    holder.given_up || holder.until <= now || identity(to).same(&held.hw, held.id),
                    "{address}, held by {} until {}, goes to {to} at {now}",
                    holder.client,
                    holder.until
                );
            }
            if kind == Some(message::OFFER) {
                self.offered.insert(to, (address, relayed));
                continue;
            }
            assert!(got.reply.durable && self.bench.out.records > 0, "an ACK without record");
            for (other, holder) in &mut self.holders {
                let same = identity(holder.client).is(&identity(to).hw, identity(to).id);
                let network = |a: &Ipv4Addr| {
                    self.config.subnet_of(*a).map(|s| self.config.subnets[s].network)
                };
                holder.given_up |= same && network(other) == network(&address);
            }
            let until = now + u64::from(kind.map_or(Some(BOOTP), |_| got.options.u32(51)).unwrap());
            self.holders.insert(address, Holder { client: to, until, given_up: false });
        }
        for command in &self.bench.out.tables {
            let address = command.address;
            match command.verb {
                Verb::Leased => {
                    self.leased.insert(address);
                    self.abandoned.remove(&address);
                }
                Verb::Released => {
                    self.leased.remove(&address);
                }
                Verb::Abandoned => {
                    self.leased.remove(&address);
                    self.abandoned.insert(address);
                }
                Verb::Changed => {
                    self.abandoned.remove(&address);
                }
            }
        }
        self.file.extend_from_slice(&self.bench.out.journal);
        if self.bench.out.rewrite {
            self.rewrite();
        }
    }

    fn rewrite(&mut self) {
        self.file.clear();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = self.bench.engine.snapshot_from(at, 2, &mut self.file);
        }
    }
}

proptest! {
    #[test]
    fn no_address_has_two_holders(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
    }
}

/// The same with honest clients only: each always gets an address, and keeps it.
#[test]
fn honest_clients_keep_their_addresses_for_ever() {
    let mut config = config();
    config.subnets[0].settings.default_lease_time = Some(600);
    let mut b = Bench::with(config);
    let addresses: Vec<_> = (0..10).map(|client| b.dora(client)).collect();
    for round in 0..500 {
        b.pass(300);
        for (client, address) in addresses.iter().enumerate() {
            let client = client as u16;
            let got = if round % 7 == 3 {
                b.dora(client)
            } else {
                b.one(&renew(client, *address)).yours()
            };
            assert_eq!(got, *address);
        }
        // Meanwhile somebody floods.
        for n in 0..50 {
            b.silent(&discover(1000 + 50 * round + n));
        }
    }
    assert_eq!(b.engine.len(), 10);
}

#[test]
fn a_flood_of_discovers_is_bounded_and_lapses() {
    let mut config = config();
    config.subnets[0].net = "10.0.0.0/16".parse().unwrap();
    config.subnets[0].ranges[0].high = ip("10.0.7.255");
    let mut b = Bench::with(config);
    for client in 0..20_000 {
        b.send(&discover(client));
    }
    // Half of the pool, for one wire.
    assert_eq!((b.engine.len(), b.engine.core.offers.len()), (1019, 1019));
    b.one(&discover(30_000));
    assert_eq!(b.engine.len(), 1019);
    b.pass(120);
    assert_eq!(b.engine.tables(b.now).0.len(), 0);
    for client in 0..2038 {
        b.one(&discover(40_000 + client));
    }
    assert_eq!((b.engine.len(), b.engine.core.offers.len()), (2038, 1019));
}

#[test]
fn leases_last_as_long_as_was_said_however_the_clock_is_set() {
    for by in [-100_000i64, -3_600, 3_600, 100_000] {
        let mut b = Bench::new();
        let address = b.dora(1);
        b.now.wall += by;
        b.tick();
        assert!(b.out.rewrite, "{by}");
        let mut file = Vec::new();
        b.engine.snapshot_from(0, 10, &mut file);
        let record = leasefile::read(&file).next().unwrap().unwrap();
        assert_eq!((record.starts, record.ends), (START + by, START + by + 43_200));
        b.pass(43_199);
        assert_eq!((b.events(address).as_str(), b.out.rewrite), ("", false));
        b.pass(1);
        assert_eq!(b.events(address), "R");
    }
}

#[test]
fn leases_of_an_earlier_life_end_by_the_wall_clock() {
    // A machine without a battery starts in 1970 and is told the time later.
    let mut b = Bench::new();
    b.now.wall = 1000;
    for (last, ends) in [(10, START - 50), (11, START + 50)] {
        let record = LeaseRecord {
            starts: START - 1000,
            ends,
            hardware: Some(crate::config::Hardware { htype: 1, addr: mac(last).to_vec() }),
            ..LeaseRecord::new(Ipv4Addr::new(10, 0, 0, last as u8))
        };
        b.engine.load(record, b.now);
    }
    b.tick();
    assert_eq!(b.engine.tables(b.now).0.len(), 2);
    b.one(&renew(12, ip("10.0.0.12")));
    b.now.wall = START;
    b.tick();
    assert_eq!(b.events(ip("10.0.0.10")), "R");
    b.pass(50);
    assert_eq!(b.events(ip("10.0.0.11")), "R");
    b.pass(43_149);
    assert_eq!(b.events(ip("10.0.0.12")), "");
    b.pass(1);
    assert_eq!(b.events(ip("10.0.0.12")), "R");
}
