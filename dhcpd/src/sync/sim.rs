//! Two servers and their clients over links that lose, double and reorder datagrams, are cut and
//! mended, while servers are killed and started again: all from one seed, in virtual time.
//!
//! What must hold: two servers that have been connected for a while never give one address to two
//! clients, and once everything is mended both have the same leases, and all that clients hold.

mod kit;

use super::machine::Outbox;
use super::{Options, Sync, open};
use crate::engine::{Actions, Change, Engine, EngineOptions, Interface, Meta, Now, Share};
use crate::lease::LeaseRecord;
use crate::leasefile;
use kit::{Random, config, ip, mac, option, packet};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

const START: i64 = 1_700_000_000;
const LEASE: u64 = 300;
const POOL: u8 = 24;
const CLIENTS: u16 = 30;
/// After this long without a cut or a death nothing is forgiven, in milliseconds.
const CALM: u64 = 40_000;

struct Node {
    engine: Engine,
    sync: Sync,
    out: Actions,
    /// Batches on their way to the disk.
    writing: VecDeque<Batch>,
}

/// Records, what they are of, and the replies that wait for them.
type Batch = (Vec<u8>, Vec<Change>, Vec<Vec<u8>>);

enum Event {
    Datagram { to: usize, from: usize, bytes: Vec<u8> },
    Written { node: usize, life: u64 },
    Packet { to: usize, bytes: Vec<u8> },
    Reply { bytes: Vec<u8> },
    Client,
    Chaos,
}

#[derive(Clone, Copy, Default)]
struct Client {
    address: Option<Ipv4Addr>,
    /// Until when it holds it, in milliseconds.
    until: u64,
    /// When it was last acknowledged.
    acknowledged: u64,
    /// Its transaction: what belongs to an earlier one is ignored.
    xid: u32,
    /// It does nothing before: what it said last may still be on its way.
    rests: u64,
    /// It has taken an offer in this transaction.
    chosen: bool,
}

struct World {
    random: Random,
    now: u64,
    number: u64,
    events: BTreeMap<(u64, u64), Event>,
    nodes: [Option<Node>; 2],
    lives: [u64; 2],
    files: [Vec<u8>; 2],
    cut: bool,
    /// The last cut, mending, death or start.
    disturbed: u64,
    clients: Vec<Client>,
    /// Addresses given to two clients while that was nobody's fault.
    forgiven: Vec<Ipv4Addr>,
    loss: u64,
    acks: usize,
    outbox: Outbox,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: 1_000,
            number: 0,
            events: BTreeMap::new(),
            nodes: [None, None],
            lives: [0, 0],
            files: [Vec::new(), Vec::new()],
            cut: false,
            disturbed: 0,
            clients: vec![Client::default(); CLIENTS.into()],
            forgiven: Vec::new(),
            loss: 10,
            acks: 0,
            outbox: Outbox::default(),
        };
        world.start(0);
        world.start(1);
        world.at(10, Event::Client);
        world.at(60_000, Event::Chaos);
        world
    }

    fn at(&mut self, after: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now + after, self.number), event);
    }

    fn time(&self) -> Now {
        Now { wall: START + (self.now / 1000) as i64, mono: self.now }
    }

    fn source(node: usize) -> SocketAddrV4 {
        SocketAddrV4::new([10, 0, 0, 1 + node as u8].into(), super::PORT)
    }

    fn start(&mut self, node: usize) {
        let interface = Interface {
            name: "em0".into(),
            index: 1,
            address: *World::source(node).ip(),
            addresses: vec![*World::source(node).ip()],
            mac: [6; 6],
            network: Some(0),
        };
        let options = EngineOptions { ping_wait: None, ..EngineOptions::default() };
        let mut engine = Engine::new(Arc::new(config()), vec![interface], options);
        for record in leasefile::read_from(&self.files[node][..]) {
            engine.load(record.expect("a record"), self.time());
        }
        engine.tick(self.time(), &mut Actions::default());
        self.lives[node] += 1;
        let options = Options {
            targets: vec![World::source(1 - node)],
            listens: true,
            keys: Some(open::keys(b"a secret of both")),
            own_addresses: vec![*World::source(node).ip()],
            epoch: self.random.below(u64::MAX),
        };
        let sync = Sync::new(options, &engine, self.time());
        let out = Actions { sync: Some(Vec::new()), ..Actions::default() };
        let mut new = Node { engine, sync, out, writing: VecDeque::new() };
        new.engine.set_share(Share::Nothing);
        self.nodes[node] = Some(new);
        self.disturbed = self.now;
    }

    /// What the shell does after the engine was shown something.
    fn act(&mut self, node: usize) {
        let now = self.time();
        let delay = self.random.below(20);
        let Some(at) = &mut self.nodes[node] else { return };
        let mut replies = Vec::new();
        let mut waiting = Vec::new();
        for reply in &at.out.replies {
            let bytes = at.out.arena[reply.bytes.clone()].to_vec();
            if reply.durable { waiting.push(bytes) } else { replies.push(bytes) }
        }
        let changes = at.out.sync.clone().unwrap();
        at.sync.committing(&changes);
        let written = !at.out.journal.is_empty();
        if written {
            at.writing.push_back((at.out.journal.clone(), changes, waiting));
        }
        at.out.clear();
        at.sync.tick(&at.engine, now, &mut self.outbox);
        at.engine.set_share(at.sync.share(now));
        let datagrams: Vec<Vec<u8>> = self.outbox.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        self.outbox.clear();
        let life = self.lives[node];
        if written {
            self.at(delay, Event::Written { node, life });
        }
        for bytes in replies {
            self.at(0, Event::Reply { bytes });
        }
        for bytes in datagrams {
            let copies = if self.random.one_in(8) { 2 } else { 1 };
            for _ in 0..copies {
                if !self.cut && self.random.below(100) >= self.loss {
                    let delay = 1 + self.random.below(60);
                    let bytes = bytes.clone();
                    self.at(delay, Event::Datagram { to: 1 - node, from: node, bytes });
                }
            }
        }
    }

    /// Lets everything happen that happens until then.
    fn run(&mut self, until: u64) {
        loop {
            let due = (0..2).filter_map(|node| {
                let at = self.nodes[node].as_ref()?;
                let due =
                    [at.engine.next_tick(), at.sync.next_tick()].into_iter().flatten().min()?;
                Some((due.max(self.now + 1), node))
            });
            let tick = due.min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let next = tick.map(|(at, _)| at).into_iter().chain(event).min().unwrap_or(until);
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            if event == Some(next) {
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event);
            } else if let Some((_, node)) = tick {
                let now = self.time();
                if let Some(at) = &mut self.nodes[node] {
                    at.engine.tick(now, &mut at.out);
                }
                self.act(node);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.time();
        match event {
            Event::Datagram { to, from, bytes } => {
                if let Some(at) = &mut self.nodes[to] {
                    at.sync.input(&bytes, World::source(from), &mut at.engine, now, &mut at.out);
                    self.act(to);
                }
            }
            Event::Written { node, life } => {
                if self.lives[node] != life {
                    return;
                }
                let Some(at) = &mut self.nodes[node] else { return };
                let (journal, changes, replies) = at.writing.pop_front().unwrap();
                self.files[node].extend(journal);
                at.sync.committed(&changes, true, &at.engine);
                for bytes in replies {
                    self.at(0, Event::Reply { bytes });
                }
                self.act(node);
            }
            Event::Packet { to, bytes } => {
                if let Some(at) = &mut self.nodes[to] {
                    let meta = Meta {
                        interface: 0,
                        served: true,
                        source: Ipv4Addr::UNSPECIFIED,
                        source_port: 68,
                        dest: Ipv4Addr::BROADCAST,
                        mac: Some([9; 6]),
                    };
                    at.engine.input(&bytes, &meta, now, &mut at.out);
                    self.act(to);
                }
            }
            Event::Reply { bytes } => self.reply(&bytes),
            Event::Client => {
                self.client();
                let pause = self.random.below(400);
                self.at(pause, Event::Client);
            }
            Event::Chaos => {
                self.chaos();
                let pause = 5_000 + self.random.below(120_000);
                self.at(pause, Event::Chaos);
            }
        }
    }

    /// A broadcast of a client reaches either server, or both at different times, or none.
    fn broadcast(&mut self, bytes: &[u8]) {
        for to in 0..2 {
            if !self.random.one_in(6) {
                let delay = self.random.below(30);
                self.at(delay, Event::Packet { to, bytes: bytes.to_vec() });
            }
        }
    }

    fn client(&mut self) {
        let number = self.random.below(CLIENTS.into()) as u16;
        let client = &mut self.clients[usize::from(number)];
        if client.rests > self.now {
            return;
        }
        client.xid += 1;
        client.chosen = false;
        let client = *client;
        let who = (number, client.xid);
        let holds = client.address.filter(|_| client.until > self.now);
        let none = Ipv4Addr::UNSPECIFIED;
        match (holds, self.random.below(10)) {
            (Some(address), 0) => {
                let client = &mut self.clients[usize::from(number)];
                client.address = None;
                client.rests = self.now + 100;
                let bytes = packet(7, who, address, None, None);
                self.broadcast(&bytes);
            }
            (Some(address), 1..=3) => {
                let to = self.random.below(2) as usize;
                self.at(1, Event::Packet { to, bytes: packet(3, who, address, None, None) });
            }
            (Some(address), 4) => self.broadcast(&packet(3, who, address, None, None)),
            (Some(address), 5) => self.broadcast(&packet(3, who, none, Some(address), None)),
            (Some(_), _) => {}
            (None, 0) => {
                let wish = ip(10 + self.random.below(POOL.into()) as u8);
                self.broadcast(&packet(3, who, none, Some(wish), None));
            }
            (None, 1) => {
                let wish = ip(10 + self.random.below(POOL.into()) as u8);
                self.broadcast(&packet(1, who, none, Some(wish), None));
            }
            (None, _) => self.broadcast(&packet(1, who, none, None, None)),
        }
    }

    fn reply(&mut self, bytes: &[u8]) {
        let number = u16::from_be_bytes([bytes[32], bytes[33]]);
        let yours = Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]);
        let kind = option(bytes, 53).unwrap()[0];
        let xid = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let client = &mut self.clients[usize::from(number)];
        if xid != client.xid {
            return;
        }
        let who = (number, xid);
        match kind {
            2 if !client.chosen && !self.random.one_in(8) => {
                client.chosen = true;
                let server = option(bytes, 54);
                self.broadcast(&packet(3, who, Ipv4Addr::UNSPECIFIED, Some(yours), server));
            }
            5 => {
                let seconds = u32::from_be_bytes(option(bytes, 51).unwrap());
                let now = self.now;
                client.address = Some(yours);
                client.until = now + u64::from(seconds) * 1000;
                client.acknowledged = now;
                self.acks += 1;
                self.judge(number, yours);
            }
            6 => client.address = None,
            _ => {}
        }
    }

    /// An address was acknowledged: does somebody else hold it?
    fn judge(&mut self, number: u16, address: Ipv4Addr) {
        let calm = self.disturbed + CALM;
        for (other, client) in self.clients.iter().enumerate() {
            let holds = client.address == Some(address) && client.until > self.now;
            if other == usize::from(number) || !holds {
                continue;
            }
            let both_calm = client.acknowledged > calm && self.now > calm;
            assert!(
                !both_calm || self.cut || self.forgiven.contains(&address),
                "{address} is held by {other} and {number} at {}",
                self.now
            );
            self.forgiven.push(address);
        }
    }

    fn chaos(&mut self) {
        self.disturbed = self.now;
        let node = self.random.below(2) as usize;
        match self.random.below(4) {
            0 => self.cut = !self.cut,
            1 => self.cut = false,
            2 => self.nodes[node] = None,
            _ => {}
        }
        for node in 0..2 {
            if self.nodes[node].is_none() && self.random.one_in(2) {
                self.start(node);
            }
        }
        self.loss = self.random.below(40);
    }

    fn leases(&self, node: usize) -> BTreeMap<Ipv4Addr, LeaseRecord> {
        let engine = &self.nodes[node].as_ref().unwrap().engine;
        let mut leases = BTreeMap::new();
        let mut cursor = 0;
        while let Some((lease, next)) = engine.next_lease(cursor) {
            leases.insert(lease.address, lease.to_owned());
            cursor = next;
        }
        leases
    }

    /// Everything is mended and everybody silent: both come to the same.
    fn settle(&mut self) {
        self.events.retain(|_, event| !matches!(event, Event::Client | Event::Chaos));
        self.cut = false;
        self.loss = 20;
        for node in 0..2 {
            if self.nodes[node].is_none() {
                self.start(node);
            }
        }
        self.run(self.now + 90_000);
        let (one, other) = (self.leases(0), self.leases(1));
        for (address, lease) in &one {
            assert_eq!(Some(lease), other.get(address));
        }
        assert_eq!(one.len(), other.len());
        let digest = |node: usize| self.nodes[node].as_ref().unwrap().sync.digest();
        assert_eq!(digest(0), digest(1));
        for (number, client) in self.clients.iter().enumerate() {
            let holds = client.address.filter(|_| client.until > self.now + 1000);
            if let Some(address) = holds.filter(|address| !self.forgiven.contains(address)) {
                let lease = &one[&address];
                let hardware = lease.hardware.as_ref().map(|h| h.addr.clone());
                assert_eq!(hardware, Some(mac(number as u16).to_vec()), "{address}");
                let ends = (lease.ends - START) as u64 * 1000;
                assert!(ends + 1500 >= client.until, "{address} is {number}'s for longer");
            }
        }
    }
}

fn story(seed: u64, length: u64) -> World {
    let mut world = World::new(seed);
    world.run(length);
    world.settle();
    world
}

#[test]
fn servers_converge_and_while_connected_nobody_shares_an_address() {
    let (mut acks, mut conflicts) = (0, 0);
    for seed in 0..16 {
        let world = story(seed, 600_000);
        acks += world.acks;
        conflicts += world.forgiven.len();
    }
    // A simulation in which nothing happens shows nothing.
    assert!(acks > 3_000, "{acks} acknowledgements, {conflicts} conflicts while apart");
    assert!(conflicts > 0);
}

/// The same without cuts and deaths: nothing at all is forgiven after the start.
#[test]
fn connected_servers_share_no_address_whatever_is_lost() {
    let mut acks = 0;
    for seed in 1000..1008 {
        let mut world = World::new(seed);
        world.events.retain(|_, event| !matches!(event, Event::Chaos));
        world.loss = 30;
        world.run(CALM);
        let early = world.forgiven.clone();
        world.run(500_000);
        assert_eq!(world.forgiven.len(), early.len());
        world.settle();
        acks += world.acks;
    }
    assert!(acks > 1_500, "{acks}");
}
