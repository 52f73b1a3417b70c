//! Nodes that are killed, cut off, frozen and promoted at random while clients write: nothing that
//! was acknowledged is missing, nobody waits longer than the timeout, and both nodes are equal when
//! they have met again.
//!
//! `TANDEM_PAIR_ROUNDS` says how many rounds (20), `TANDEM_PAIR_SEED` which (any).

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::pair::{Node, Options, Pair, RESOURCE, field, number};
use tests::process::{self, until};
use tests::random::Random;
use tests::writes::{Clients, Record};

const SIZE: u64 = 8 << 20;

/// Seconds: `timeout` in hast.conf.
const TIMEOUT: u32 = 2;

/// What a busy machine may need besides.
const SLACK: Duration = Duration::from_secs(3);

/// What is done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The primary is killed, and the other one promoted.
    Failover,
    /// The same, and nothing gets out that was still in its sockets: as when the power fails.
    PowerFailure,
    /// The primary's parent is killed, and started again as primary.
    PrimaryRestarted,
    /// The primary's worker is killed.
    PrimaryWorker,
    /// The secondary's parent is killed.
    SecondaryKilled,
    /// The secondary's worker is killed.
    SecondaryWorker,
    /// The wire is cut until that is noticed.
    Cut,
    /// The wire is cut for a moment.
    CutShortly,
    /// The primary is cut off, killed, and is primary again.
    CutAndKilled,
    /// The secondary's worker does nothing for a while.
    Frozen,
    /// The roles change, in order.
    Switchover,
    /// The secondary is to be promoted although the primary serves.
    PromotedTwice,
    /// Both are killed.
    BothKilled,
    /// The secondary is killed while it is resynchronised.
    SecondaryKilledInSync,
    /// The primary is killed while the secondary is resynchronised.
    PrimaryKilledInSync,
}

const EVENTS: [Event; 18] = [
    Event::Failover,
    Event::PowerFailure,
    Event::PowerFailure,
    Event::PrimaryRestarted,
    Event::PrimaryWorker,
    Event::SecondaryKilled,
    Event::SecondaryKilled,
    Event::SecondaryWorker,
    Event::Cut,
    Event::Cut,
    Event::CutShortly,
    Event::CutAndKilled,
    Event::Frozen,
    Event::Switchover,
    Event::PromotedTwice,
    Event::BothKilled,
    Event::SecondaryKilledInSync,
    Event::PrimaryKilledInSync,
];

struct Rounds {
    pair: Pair,
    /// Whether `a` is primary.
    a_leads: bool,
    /// What may be read, while no clients are at work.
    record: Option<Record>,
    random: Random,
    slowest: Duration,
    acknowledged: u64,
}

impl Rounds {
    fn new(random: Random, lines: &str) -> Self {
        let options =
            Options { size: SIZE, extent: 64 << 10, timeout: TIMEOUT, lines: lines.to_owned() };
        Rounds {
            pair: Pair::running(&options),
            a_leads: true,
            record: Some(Record::new(SIZE)),
            random,
            slowest: Duration::ZERO,
            acknowledged: 0,
        }
    }

    fn primary(&mut self) -> &mut Node {
        if self.a_leads { &mut self.pair.a } else { &mut self.pair.b }
    }

    fn secondary(&mut self) -> &mut Node {
        if self.a_leads { &mut self.pair.b } else { &mut self.pair.a }
    }

    fn begin(&mut self) -> Clients {
        let record = self.record.take().expect("no clients at work");
        let (seed, count) = (self.random.number(), 1 + self.random.below(3));
        let patience = Duration::from_secs(TIMEOUT.into()) + SLACK;
        until("the export", LIMIT, || tests::pair::listens(&self.primary().socket()));
        Clients::start(&self.primary().socket(), RESOURCE, record, count, seed, patience)
    }

    /// The clients come to their end; `survives`: nobody has taken their primary away.
    fn end(&mut self, clients: Clients, survives: bool) {
        let (record, outcome) = clients.end();
        self.record = Some(record);
        self.slowest = self.slowest.max(outcome.slowest);
        self.acknowledged += outcome.acknowledged;
        let patience = Duration::from_secs(TIMEOUT.into()) + SLACK;
        assert!(outcome.slowest < patience, "a request took {:?}", outcome.slowest);
        if survives {
            assert!(outcome.lost.is_empty() && outcome.refused == 0, "{outcome:?}");
        }
        // A client that has read what it may not says so.
        assert!(!outcome.lost.iter().any(|why| why.contains("sector")), "{outcome:?}");
    }

    fn some(&mut self, clients: &Clients, most: u64) {
        let more = self.random.below(most);
        clients.wait_for(more, LIMIT);
    }

    /// The primary goes on alone; it has noticed.
    fn wait_degraded(&mut self, clients: &Clients) {
        let primary = self.primary();
        until("it goes on alone", LIMIT, || {
            assert!(!clients.are_gone(), "the clients have ended");
            field(&primary.status(), "connected") == Some("false")
        });
    }

    fn restart_secondary(&mut self) {
        self.secondary().start();
        self.secondary().role("secondary");
    }

    /// The primary was killed. It is primary again.
    fn restart_primary(&mut self) {
        self.primary().start();
        self.primary().role("primary");
    }

    fn round(&mut self, event: Event) {
        let clients = self.begin();
        self.some(&clients, 600);
        let before = self.primary().count("localcnt").expect("a counter");
        match event {
            Event::Failover | Event::PowerFailure => {
                if event == Event::PowerFailure {
                    self.primary().cut();
                }
                self.primary().kill();
                self.end(clients, false);
                // What it has done alone is on its disk only: a machine that was too busy for the
                // timeout has cut the link by itself.
                let dump = self.primary().must(&["dump", "--json", RESOURCE]);
                let alone = number(&dump, "localcnt") != Some(before);
                if !alone {
                    self.secondary().role("primary");
                }
                if event == Event::PowerFailure {
                    self.primary().heal();
                }
                if alone {
                    println!("the primary was alone before it was killed");
                    return self.restart_primary();
                }
                self.a_leads = !self.a_leads;
                let clients = self.begin();
                self.some(&clients, 300);
                self.restart_secondary();
                self.some(&clients, 300);
                self.end(clients, true);
            }
            Event::PrimaryRestarted => {
                self.primary().kill();
                self.end(clients, false);
                self.restart_primary();
            }
            Event::PrimaryWorker => {
                let worker = self.primary().worker("primary").expect("a worker");
                process::kill(worker, Signal::SIGKILL);
                self.end(clients, false);
            }
            Event::SecondaryKilled => {
                self.secondary().kill();
                self.some(&clients, 300);
                self.restart_secondary();
                self.some(&clients, 300);
                self.end(clients, true);
            }
            Event::SecondaryWorker => {
                let worker = self.secondary().worker("secondary").expect("a worker");
                process::kill(worker, Signal::SIGKILL);
                self.some(&clients, 600);
                self.end(clients, true);
            }
            Event::Cut => {
                self.secondary().cut();
                self.wait_degraded(&clients);
                self.some(&clients, 600);
                self.secondary().heal();
                self.some(&clients, 300);
                self.end(clients, true);
            }
            Event::CutShortly => {
                self.secondary().cut();
                self.some(&clients, 3);
                self.secondary().heal();
                self.some(&clients, 300);
                self.end(clients, true);
            }
            Event::CutAndKilled => {
                self.secondary().cut();
                self.wait_degraded(&clients);
                self.some(&clients, 300);
                self.primary().kill();
                self.end(clients, false);
                self.secondary().heal();
                self.restart_primary();
            }
            Event::Frozen => {
                let worker = self.secondary().worker("secondary").expect("a worker");
                process::kill(worker, Signal::SIGSTOP);
                self.wait_degraded(&clients);
                self.some(&clients, 300);
                process::kill(worker, Signal::SIGCONT);
                self.some(&clients, 300);
                self.end(clients, true);
            }
            Event::Switchover => {
                self.primary().role("secondary");
                self.end(clients, false);
                self.secondary().role("primary");
                self.a_leads = !self.a_leads;
            }
            Event::PromotedTwice => {
                self.secondary().must_not(5, &["role", "primary", RESOURCE]);
                self.some(&clients, 300);
                self.end(clients, true);
            }
            Event::BothKilled => {
                self.primary().kill();
                self.secondary().kill();
                self.end(clients, false);
                self.restart_primary();
                self.restart_secondary();
            }
            Event::SecondaryKilledInSync => {
                self.secondary().kill();
                self.some(&clients, 600);
                self.restart_secondary();
                self.wait_syncing();
                self.secondary().kill();
                self.some(&clients, 100);
                self.restart_secondary();
                self.end(clients, true);
            }
            Event::PrimaryKilledInSync => {
                self.secondary().cut();
                self.wait_degraded(&clients);
                self.some(&clients, 600);
                self.secondary().heal();
                self.wait_syncing();
                self.primary().kill();
                self.end(clients, false);
                // Either it has all of it, or it is not promoted.
                let promoted = self.secondary().ctl(&["role", "primary", RESOURCE]);
                match promoted.status.code() {
                    Some(0) => {
                        self.a_leads = !self.a_leads;
                        self.restart_secondary();
                    }
                    Some(5) => self.restart_primary(),
                    _ => panic!("{promoted:?}"),
                }
            }
        }
    }

    /// The secondary is being resynchronised, or has been.
    fn wait_syncing(&mut self) {
        let primary = self.primary();
        until("a resync", LIMIT, || field(&primary.status(), "connected") == Some("true"));
    }

    /// They have met again: nothing is missing, and they are equal.
    fn settle(&mut self) {
        self.primary().wait_synced();
        let mut client = self.primary().client();
        client.flush().expect("flush");
        let mut record = self.record.take().expect("no clients at work");
        let found = record.verify(&mut client);
        found.unwrap_or_else(|wrong| panic!("by {}, as primary: {wrong}", self.primary().name));
        self.record = Some(record);
        self.pair.assert_same();
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_whatever_is_killed_or_cut() {
    let count = variable("TANDEM_PAIR_ROUNDS").unwrap_or(20);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = variable("TANDEM_PAIR_SEED").unwrap_or(time.as_micros() as u64 & 0xffff_ffff);
    println!("TANDEM_PAIR_SEED={seed} TANDEM_PAIR_ROUNDS={count}");
    let mut random = Random::new(seed);
    let modes = ["\treplication memsync", "\treplication fullsync\n\tchecksum crc32"];
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    let mut times: BTreeMap<Event, (u32, Duration)> = BTreeMap::new();
    let begin = Instant::now();
    let (mut done, mut events) = (0, Vec::new());
    for lines in modes.into_iter().cycle() {
        let mut rounds = Rounds::new(Random::new(random.number()), lines);
        for _ in 0..10.min(count - done) {
            // All of them, in some order, before one comes again.
            if events.is_empty() {
                events = EVENTS.to_vec();
            }
            let event = events.swap_remove(random.below(events.len() as u64) as usize);
            println!("round {done}: {event:?}");
            let begin = Instant::now();
            rounds.round(event);
            rounds.settle();
            let took = times.entry(event).or_default();
            *took = (took.0 + 1, took.1 + begin.elapsed());
            done += 1;
        }
        acknowledged += rounds.acknowledged;
        slowest = slowest.max(rounds.slowest);
        if done == count {
            break;
        }
    }
    println!(
        "{done} rounds in {:?}, {acknowledged} requests acknowledged, slowest {slowest:?}",
        begin.elapsed()
    );
    for (event, (times, took)) in times {
        println!("{event:?}: {times} times, {:?} each", took / times);
    }
}
