//! A thousand clients that lie, and some that do not, on one wire and behind one relay agent: the
//! honest ones get addresses and keep them, nobody gets somebody's, and memory stays what it is.

use super::tests_kit::*;
use super::*;
use std::collections::{BTreeMap, HashMap};

/// Of each network; honest clients are fewer, and so are liars who really take leases.
const POOL: usize = 120;
const HONEST: u16 = 20;
const LIARS: u16 = 1000;
/// What is sent in a second, in all.
const FLOOD: u32 = 400;

fn pools() -> Config {
    let mut config = config();
    for (subnet, prefix) in config.subnets.iter_mut().zip(["10.0.0", "10.1.0"]) {
        subnet.ranges[0].low = ip(&format!("{prefix}.10"));
        subnet.ranges[0].high = ip(&format!("{prefix}.{}", 9 + POOL));
        subnet.settings.default_lease_time = Some(60);
    }
    config
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32 % limit
    }
}

#[derive(Default)]
struct Honest {
    offered: Option<Ipv4Addr>,
    held: Option<Ipv4Addr>,
    /// In seconds of the run.
    renew_at: u64,
    /// How often it has asked since it had no address, and the most.
    tries: u32,
    most: u32,
}

struct Abuse {
    bench: Bench,
    random: Random,
    honest: Vec<Honest>,
    /// Who was told last that an address is theirs, and until which second.
    holders: HashMap<Ipv4Addr, (Vec<u8>, u64)>,
    /// Packets of honest clients, to be sent again by others.
    overheard: Vec<Ask>,
    second: u64,
}

/// Odd clients are behind the relay agent.
fn placed(ask: Ask, client: u16) -> Ask {
    if client % 2 == 1 { ask.relayed() } else { ask }
}

/// An honest client has an identifier. (Whose card is forged and who has none cannot be told from
/// who forged it.)
fn honestly(ask: Ask, client: u16) -> Ask {
    placed(ask.id(&mac(client)), client)
}

/// What a client is told apart by.
fn identity(ask: &Ask) -> Vec<u8> {
    let id = ask.options.iter().find(|(code, _)| *code == 61);
    id.map_or_else(|| ask.hw.clone(), |(_, id)| id.clone())
}

impl Abuse {
    fn new(bench: Bench, seed: u64) -> Abuse {
        let honest = (0..HONEST).map(|_| Honest::default()).collect();
        let (holders, overheard) = (HashMap::new(), Vec::new());
        Abuse { bench, random: Random(seed), honest, holders, overheard, second: 0 }
    }

    /// Sends, and notes what is told to whom.
    fn send(&mut self, ask: &Ask) -> Option<Got> {
        // What is sent again by a stranger, or comes from another card, is still the client's answer.
        let got = self.bench.send(ask).pop()?;
        if got.kind() == message::ACK {
            self.acknowledged(identity(ask), got.yours());
        }
        Some(got)
    }

    fn acknowledged(&mut self, who: Vec<u8>, address: Ipv4Addr) {
        let until = self.second + 60;
        if let Some((holder, ends)) = self.holders.insert(address, (who.clone(), until)) {
            assert!(
                holder == who || ends <= self.second,
                "second {}: {address} is {holder:02x?}'s until {ends} and was given to {who:02x?}",
                self.second
            );
        }
    }

    fn honest(&mut self, client: u16) {
        let me = usize::from(client);
        let second = self.second;
        if let Some(address) = self.honest[me].held {
            if second < self.honest[me].renew_at {
                return;
            }
            let ask = honestly(renew(client, address), client);
            let got = self.send(&ask).unwrap_or_else(|| panic!("{client} renews {address}"));
            assert_eq!((got.kind(), got.yours()), (message::ACK, address), "client {client}");
            self.honest[me].renew_at = second + 30;
            self.overheard.push(ask);
            return;
        }
        match self.honest[me].offered.take() {
            None => {
                let ask = honestly(discover(client), client);
                self.honest[me].tries += 1;
                self.honest[me].most = self.honest[me].most.max(self.honest[me].tries);
                // Without pings the answer is there; with them it comes with a later tick.
                self.honest[me].offered = self.send(&ask).map(|got| got.yours());
                self.overheard.push(ask);
            }
            Some(offered) => {
                let ask = honestly(select(client, offered), client);
                if let Some(got) = self.send(&ask).filter(|got| got.kind() == message::ACK) {
                    let renew_at = second + 30;
                    self.honest[me] =
                        Honest { held: Some(got.yours()), renew_at, ..Honest::default() };
                }
                self.overheard.push(ask);
            }
        }
    }

    fn victim(&mut self) -> (u16, Ipv4Addr) {
        let client = self.random.below(u32::from(HONEST)) as u16;
        let address = self.honest[usize::from(client)].held.unwrap_or(ip("10.0.0.12"));
        (client, address)
    }

    fn liar(&mut self) {
        let liar = HONEST + self.random.below(u32::from(LIARS)) as u16;
        let (client, address) = self.victim();
        match self.random.below(10) {
            // Another name each time.
            0..=4 => {
                let mut ask = discover(liar);
                ask.hw[..4].copy_from_slice(&self.random.below(u32::MAX).to_be_bytes());
                if self.random.below(2) == 0 {
                    let wish = 10 + self.random.below(POOL as u32) as u8;
                    ask = ask.with(50, [10, (liar % 2) as u8, 0, wish]);
                }
                self.send(&placed(ask, liar));
            }
            // The same card under other names.
            5 => {
                let id = [b'x', self.random.below(40) as u8];
                self.send(&placed(discover(client).id(&id), client));
                self.send(&placed(reboot(client, address).id(&id), client));
            }
            6 => {
                let ask = placed(decline(liar, address), client);
                self.send(&ask);
                self.send(&placed(decline(client, address).id(b"not mine"), client));
            }
            7 => {
                self.send(&placed(release(liar, address), client));
                self.send(&placed(release(client, address).id(b"not mine"), client));
            }
            8 => {
                self.send(&placed(select(liar, address), client));
                self.send(&placed(renew(liar, address), client));
            }
            _ => {
                let heard = self.overheard.len().min(200) as u32;
                if heard > 0 {
                    let back = 1 + self.random.below(heard) as usize;
                    let again = self.overheard[self.overheard.len() - back].clone();
                    self.send(&again);
                }
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            for turn in 0..FLOOD {
                if turn % (FLOOD / u32::from(HONEST)) == 0 {
                    let client = (turn * u32::from(HONEST) / FLOOD) as u16;
                    self.honest(client);
                } else {
                    self.liar();
                }
            }
            self.second += 1;
            for got in self.bench.pass(1) {
                self.answered_late(&got);
            }
            self.bench.engine.core.check();
            self.bounded();
        }
    }

    /// An offer that waited for a ping.
    fn answered_late(&mut self, got: &Got) {
        let hw = got.message().chaddr().to_vec();
        let own = |client: &u16| hw == mac(*client) && got.options.get(61) == Some(&mac(*client));
        let honest = (0..HONEST).find(own);
        if let Some(client) = honest
            && self.honest[usize::from(client)].held.is_none()
        {
            self.honest[usize::from(client)].offered = Some(got.yours());
        }
    }

    fn bounded(&self) {
        let core = &self.bench.engine.core;
        assert!(core.leases.len() <= 2 * POOL);
        assert!(core.offers.len() <= 2 * POOL);
    }
}

fn every_honest_client_is_served(bench: Bench, seed: u64, tries: u32) {
    let mut abuse = Abuse::new(bench, seed);
    abuse.run(90);
    let mut addresses = BTreeMap::new();
    for (client, honest) in abuse.honest.iter().enumerate() {
        let held = honest.held.unwrap_or_else(|| panic!("seed {seed}: client {client} has none"));
        assert!(honest.most <= tries, "seed {seed}: client {client} asked {} times", honest.most);
        assert_eq!(addresses.insert(held, client), None, "seed {seed}");
    }
    let counters = abuse.bench.engine.counters();
    assert!(counters.offers_contested > 1000, "{counters:?}");
    assert!(counters.not_theirs > 100 && counters.nak_taken > 100, "{counters:?}");
}

#[test]
fn a_thousand_liars_keep_no_honest_client_from_its_address() {
    for seed in 1..=4 {
        every_honest_client_is_served(Bench::with(pools()), seed, 3);
    }
}

#[test]
fn nor_while_addresses_are_pinged() {
    every_honest_client_is_served(Bench::pinging(pools()), 5, 8);
}

#[test]
fn a_flood_from_one_relay_agent_takes_half_a_pool_from_the_others() {
    let mut config = pools();
    // Two relay agents in one network, which has clients of its own.
    config.subnets[0].ranges[0].high = ip("10.0.0.109");
    let mut bench = Bench::with(config);
    let by = |relay: &str, ask: Ask| Ask { giaddr: ip(relay), ..ask };
    for client in 0..500 {
        bench.send(&by("10.0.0.200", discover(client)));
    }
    assert_eq!(bench.engine.core.offers.len(), 50);
    assert_eq!(bench.engine.counters().offers_contested, 450);
    // The others have the rest, at once.
    for client in 1000..1025 {
        let ask = by("10.0.0.201", discover(client));
        let offered = bench.one(&ask).yours();
        let ack = bench.one(&by("10.0.0.201", select(client, offered)));
        assert_eq!(ack.kind(), message::ACK);
        bench.dora(client + 1000);
    }
    assert_eq!(bench.engine.counters().no_free_lease, 0);
    // And now nothing is left but what the first relay agent's clients were offered: of that
    // whoever asks has the oldest.
    let ask = by("10.0.0.201", discover(1100));
    let offered = bench.one(&ask).yours();
    assert_eq!(bench.one(&by("10.0.0.201", select(1100, offered))).kind(), message::ACK);
    bench.one(&by("10.0.0.200", discover(1101)));
    assert_eq!(bench.engine.counters().no_free_lease, 0);
}

/// A hundred addresses, and as many relay agents as anybody cares to forge; after each packet of an
/// honest client so many of theirs.
fn nobody_waits_behind_forged_relay_agents(forged: u8, flood: u32) {
    let mut config = pools();
    config.subnets[0].ranges[0].high = ip("10.0.0.109");
    let mut bench = Bench::with(config);
    let by = |relay: u8, ask: Ask| Ask { giaddr: Ipv4Addr::new(10, 0, 0, relay), ..ask };
    let mut sent = 0;
    let mut lie = |bench: &mut Bench, count: u32| {
        for _ in 0..count {
            sent += 1;
            let mut ask = by(110 + (sent % u32::from(forged)) as u8, discover(0));
            ask.hw[2..].copy_from_slice(&sent.to_be_bytes());
            // There is always one whose address it can have.
            bench.one(&ask);
        }
    };
    lie(&mut bench, 1000);
    let mut held = std::collections::BTreeSet::new();
    // Five at a time behind an agent of theirs, and one on the wire.
    for group in 0..8 {
        let clients: Vec<u16> = (0..6).map(|client| 1000 + group * 6 + client).collect();
        let place = |client: u16, ask: Ask| if client.is_multiple_of(6) { ask } else { by(9, ask) };
        let mut offered = Vec::new();
        for &client in &clients {
            offered.push(bench.one(&place(client, discover(client))).yours());
            lie(&mut bench, flood);
        }
        for (&client, &offered) in clients.iter().zip(&offered) {
            let got = bench.one(&place(client, select(client, offered)));
            assert_eq!((got.kind(), got.yours()), (message::ACK, offered), "{forged} {client}");
            assert!(held.insert(offered));
            lie(&mut bench, flood);
        }
    }
    bench.engine.core.check();
    assert_eq!(bench.engine.counters().no_free_lease, 0);
    assert!(bench.engine.core.offers.len() <= 100 - held.len());
}

#[test]
fn forged_relay_agents_keep_no_honest_client_waiting() {
    // Each with many offers, with some, and with one or none.
    for forged in [2, 3, 30, 140] {
        nobody_waits_behind_forged_relay_agents(forged, 3);
    }
}

#[test]
fn of_those_who_were_offered_an_address_the_first_to_request_it_has_it() {
    let mut config = config();
    config.subnets[1].ranges[0].high = ip("10.1.0.25");
    let mut bench = Bench::with(config);
    let first = bench.one(&discover(1).relayed()).yours();
    for client in 3..18 {
        assert_ne!(bench.one(&discover(client).relayed()).yours(), first);
    }
    assert_eq!(bench.engine.counters().offers_contested, 0);
    assert_eq!(bench.one(&discover(2).relayed()).yours(), first);
    assert_eq!(bench.engine.counters().offers_contested, 1);
    let ack = bench.one(&select(1, first).relayed());
    assert_eq!((ack.kind(), ack.yours()), (message::ACK, first));
    assert_eq!(bench.one(&select(2, first).relayed()).kind(), message::NAK);
    // A lease is never contested.
    bench.silent(&discover(2).relayed());
    assert_eq!(bench.one(&select(2, first).relayed()).kind(), message::NAK);
    assert_eq!(bench.one(&renew(1, first).relayed()).kind(), message::ACK);
    bench.engine.core.check();
}

#[test]
fn declines_from_one_relay_agent_are_bounded_and_others_are_still_believed() {
    let mut bench = Bench::with(pools());
    let mut ignored = 0;
    for client in 0..60 {
        let offered = bench.one(&discover(client).relayed()).yours();
        bench.one(&select(client, offered).relayed());
        let before = bench.engine.counters().abandoned_declined;
        bench.send(&decline(client, offered).relayed());
        ignored += u32::from(bench.engine.counters().abandoned_declined == before);
    }
    assert_eq!(ignored, 60 - 32);
    let by_other = |ask: Ask| Ask { giaddr: ip("10.1.0.2"), ..ask };
    let offered = bench.one(&by_other(discover(200))).yours();
    bench.one(&by_other(select(200, offered)));
    bench.send(&by_other(decline(200, offered)));
    assert_eq!(bench.engine.counters().abandoned_declined, 33);
}
