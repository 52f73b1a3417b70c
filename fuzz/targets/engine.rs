//! Stories: eight clients that do what clients may do, in any order, while time passes. Whatever
//! they do, no address is acknowledged to two of them at once, the events that the firewall was
//! told add up to what the tables must hold, and what was journalled brings back every lease that
//! was acknowledged.
//!
//! Input: four bytes a step: what, who, which address (from 128: what the client was last told), how
//! much.

#![no_main]

use dhcpd::engine::{Actions, Engine, Meta, Now};
use dhcpd::leasefile;
use dhcpd::wire::message::Message;
use dhcpd::wire::options::OptionTable;
use fuzz::{RELAY, SERVER, START, engine, log_to_nowhere};
use libfuzzer_sys::fuzz_target;
use pfhelper::Verb;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Who holds an address, as far as clients were told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    chaddr: Vec<u8>,
    id: Option<Vec<u8>>,
    ends: i64,
}

struct Story {
    engine: Engine,
    now: Now,
    out: Actions,
    journal: Vec<u8>,
    held: BTreeMap<Ipv4Addr, Held>,
    leased: BTreeSet<Ipv4Addr>,
    abandoned: BTreeSet<Ipv4Addr>,
    /// What each client was last offered or given.
    told: [Ipv4Addr; 8],
    /// By transaction, what the client said it is.
    asked: BTreeMap<u32, Option<Vec<u8>>>,
}

fuzz_target!(init: log_to_nowhere(), |input: &[u8]| {
    let mut story = Story {
        engine: engine(),
        now: Now { wall: START, mono: 1_000_000 },
        out: Actions::default(),
        journal: Vec::new(),
        held: BTreeMap::new(),
        leased: BTreeSet::new(),
        abandoned: BTreeSet::new(),
        told: [Ipv4Addr::UNSPECIFIED; 8],
        asked: BTreeMap::new(),
    };
    for (number, step) in input.chunks_exact(4).take(200).enumerate() {
        story.out.clear();
        story.step(number as u32, step[0], step[1], step[2], step[3]);
        story.check();
    }
    story.crash();
});

impl Story {
    fn step(&mut self, number: u32, what: u8, who: u8, which: u8, much: u8) {
        let net = (what >> 3) & 1;
        let address = match which {
            0..128 => fuzz::address(net, 10 + which % 10),
            _ => self.told[usize::from(who & 7)],
        };
        if what & 7 == 7 {
            match who % 3 {
                0 => self.engine.echo_reply(address, self.now, &mut self.out),
                1 => self.pass(u64::from(much) * 1000),
                _ => self.pass(u64::from(much)),
            }
            return;
        }
        let kind = [1, 3, 3, 3, 4, 7, 8][usize::from(what & 7)];
        let mut packet = vec![0; 236];
        packet[..3].copy_from_slice(&[1, 1, 6]);
        packet[4..8].copy_from_slice(&number.to_be_bytes());
        if matches!(what & 7, 3 | 5 | 6) {
            packet[12..16].copy_from_slice(&address.octets());
        }
        if net == 1 {
            packet[24..28].copy_from_slice(&RELAY.octets());
        }
        packet[28..34].copy_from_slice(&[2, 0, 0, 0, 0, who & 7]);
        packet.extend([99, 130, 83, 99, 53, 1, kind]);
        if matches!(what & 7, 1 | 2 | 4) || what & 7 == 0 && much & 1 != 0 {
            packet.extend([50, 4]);
            packet.extend(address.octets());
        }
        if matches!(what & 7, 1 | 4 | 5) {
            packet.extend([54, 4]);
            let server = if what & 16 == 0 { SERVER } else { fuzz::address(0, 9) };
            packet.extend(server.octets());
        }
        let id = (what & 32 != 0).then(|| vec![0, who >> 3]);
        if let Some(id) = &id {
            packet.extend([61, id.len() as u8]);
            packet.extend(id);
        }
        if much & 2 != 0 {
            packet.extend([51, 4, 0, 0, much, 0]);
        }
        packet.push(255);
        self.asked.insert(number, id);
        let meta = Meta {
            interface: 0,
            served: true,
            source: if net == 1 { RELAY } else { Ipv4Addr::UNSPECIFIED },
            source_port: 68,
            dest: Ipv4Addr::BROADCAST,
            mac: (net == 0).then_some([2, 0, 0, 0, 0, who & 7]),
        };
        self.engine.input(&packet, &meta, self.now, &mut self.out);
    }

    /// Time passes, with a tick whenever the engine asks for one.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now.mono + milliseconds;
        for _ in 0..1000 {
            let next = self.engine.next_tick().filter(|next| *next <= end);
            let mono = next.unwrap_or(end).max(self.now.mono);
            self.now = Now { wall: START + (mono / 1000) as i64 - 1000, mono };
            self.engine.tick(self.now, &mut self.out);
            if next.is_none() {
                return;
            }
        }
        panic!("the engine asks for ticks without end");
    }

    fn check(&mut self) {
        for command in &self.out.tables {
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
                Verb::Changed => {}
            }
            if matches!(command.verb, Verb::Released | Verb::Abandoned) {
                self.held.remove(&address);
            }
        }
        self.journal.extend_from_slice(&self.out.journal);
        let (leased, abandoned) = self.engine.tables(self.now);
        assert_eq!(self.leased, leased.into_iter().collect(), "leased, by events and as it is");
        assert_eq!(self.abandoned, abandoned.into_iter().collect(), "abandoned, likewise");

        let mut options = OptionTable::new();
        for reply in &self.out.replies {
            let bytes = &self.out.arena[reply.bytes.clone()];
            let message = Message::parse(bytes).expect("a reply can be read");
            options.parse(&message).expect("its options too");
            self.told[usize::from(message.chaddr()[5] & 7)] = message.yiaddr();
            let (address, time) = (message.yiaddr(), options.u32(51));
            if options.message_type() != Some(5) || address.is_unspecified() || time.is_none() {
                continue;
            }
            if address.octets()[3] == 30 {
                continue; // fixed: it is no lease
            }
            assert!(reply.durable, "an ACK of {address} that waits for no disk");
            let now = Held {
                chaddr: message.chaddr().to_vec(),
                id: self.asked.get(&message.xid()).cloned().flatten(),
                ends: self.now.wall + i64::from(time.unwrap_or_default()),
            };
            if let Some(before) = self.held.insert(address, now.clone()) {
                let same =
                    before.chaddr == now.chaddr || before.id.is_some() && before.id == now.id;
                assert!(
                    same || before.ends <= self.now.wall,
                    "{address}: {before:?}, then {now:?}"
                );
            }
        }
    }

    /// Only the journal is left: whoever was told of a lease still has it.
    fn crash(self) {
        let mut again = engine();
        for record in leasefile::read(&self.journal) {
            again.load(record.expect("what we wrote can be read"), self.now);
        }
        let (leased, _) = again.tables(self.now);
        for (address, held) in &self.held {
            assert!(
                held.ends <= self.now.wall || leased.contains(address),
                "{address} of {held:?} is forgotten:\n{}",
                String::from_utf8_lossy(&self.journal)
            );
        }
    }
}
