//! Schedules from seeds, and schedules that fail with the reference's rules.
//!
//! The same ones every time, unless `HASTLITE_SIM_COUNT` asks for so many from anywhere (0: until one
//! fails); `HASTLITE_SIM_FIRST` says from which seed on. `HASTLITE_SIM_SEED` names one to be run
//! again, with all that happens in it told on standard error. `HASTLITE_SIM_THREADS` says how many
//! run at a time (unset: as many as there are processors).

use super::reference::Reference;
use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.trim().strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.trim().parse().ok(),
    }
}

fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos() as u64);
    Random::new(nanos ^ u64::from(std::process::id())).bits()
}

/// A panic is a failure like others, and has the seed in front of it.
fn checked(plan: Plan) -> Result<Summary, String> {
    let outcome = std::panic::catch_unwind(|| run(plan));
    outcome.unwrap_or_else(|_| Err("an engine has panicked; see above".to_owned()))
}

#[test]
fn schedules_from_seeds() {
    if let Some(seed) = number("HASTLITE_SIM_SEED") {
        let plan = Plan { trace: true, ..Plan::new(seed) };
        eprintln!("{plan:?}");
        eprintln!("{:?}", run(plan).unwrap());
        return;
    }
    let asked = number("HASTLITE_SIM_COUNT");
    let count = asked.unwrap_or(20_000);
    let most = if count == 0 { u64::MAX } else { count };
    let first = || if asked.is_some() { fresh() } else { 0 };
    let first = number("HASTLITE_SIM_FIRST").unwrap_or_else(first);
    let next = AtomicU64::new(0);
    let told = Mutex::new((Instant::now(), Summary::default(), 0u64));
    let begun = Instant::now();
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let work = || {
        while failed.lock().unwrap().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= most {
                break;
            }
            let seed = first.wrapping_add(number);
            match checked(Plan::new(seed)) {
                Err(why) => *failed.lock().unwrap() = Some((seed, why)),
                Ok(summary) => {
                    let mut told = told.lock().unwrap();
                    told.1.events += summary.events;
                    told.1.answered += summary.answered;
                    told.1.links += summary.links;
                    told.1.forced += summary.forced;
                    told.2 += 1;
                    if count == 0 && told.0.elapsed() > Duration::from_secs(5) {
                        let rate = told.2 as f64 / begun.elapsed().as_secs_f64();
                        eprintln!("{} schedules, {rate:.0} a second", told.2);
                        told.0 = Instant::now();
                    }
                }
            }
        }
    };
    let all = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let threads = number("HASTLITE_SIM_THREADS").unwrap_or_else(all).max(1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (_, total, done) = *told.lock().unwrap();
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    eprintln!(
        "{done} schedules, {rate:.0} a second: {} events, {} answers, {} links, {} forced",
        total.events, total.answered, total.links, total.forced
    );
    if let Some((seed, why)) = failed.into_inner().unwrap() {
        panic!("HASTLITE_SIM_SEED={seed}: {why}");
    }
    // They do what they are meant to do.
    assert!(done < 1000 || (total.answered > 20 * done && total.links > done), "{total:?}");
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    for seed in 0..20 {
        assert_eq!(run(Plan::new(seed)), run(Plan::new(seed)), "seed {seed}");
    }
}

/// Finds a schedule that fails with the reference's rule, and wants it to pass with ours.
fn hazard(rule: Reference, plan: impl Fn(u64) -> Plan) -> String {
    for seed in 0..3_000 {
        let reference = Plan { reference: Some(rule), ..plan(seed) };
        if let Err(why) = run(reference) {
            assert_eq!(run(plan(seed)).err(), None, "{rule:?}, seed {seed}, with our rule");
            return why;
        }
    }
    panic!("{rule:?} does no harm");
}

fn only(seed: u64, mode: Replication, weights: Weights) -> Plan {
    Plan { mode, requests: 60, faults: 4, weights, ..Plan::new(seed) }
}

fn none() -> Weights {
    Weights::default()
}

#[test]
fn h1_what_a_cut_swallows_is_synchronised() {
    let why = hazard(Reference::H1, |seed| {
        only(seed, Replication::Memsync, Weights { cut: 1, ..none() })
    });
    assert!(why.contains("the nodes have"), "{why}");
}

#[test]
fn h2_what_the_other_node_could_not_store_is_synchronised() {
    let weights = Weights { write_errors: 1, ..none() };
    hazard(Reference::H2, |seed| only(seed, Replication::Memsync, weights));
}

#[test]
fn h3_what_could_not_be_stored_here_is_read_from_there() {
    let weights = Weights { write_errors: 1, ..none() };
    hazard(Reference::H3, |seed| only(seed, Replication::Fullsync, weights));
}

#[test]
fn h4_trims_are_changes() {
    let weights = Weights { cut: 1, ..none() };
    hazard(Reference::H4, |seed| only(seed, Replication::Memsync, weights));
}

#[test]
fn h5_that_we_went_alone_survives_a_loss_of_power() {
    let weights = Weights { isolate: 1, power_primary: 1, failover: 2, cut: 1, ..none() };
    hazard(Reference::H5, |seed| only(seed, Replication::Memsync, weights));
}

/// A pair, step by step.
struct Pair(Sim);

impl Pair {
    fn new(reference: Option<Reference>) -> Self {
        Self::of(1, reference)
    }

    fn of(seed: u64, reference: Option<Reference>) -> Self {
        let plan = Plan { reference, ..only(seed, Replication::Memsync, none()) };
        let trace = number("HASTLITE_SIM_TRACE").is_some();
        let mut sim = Sim::new(Plan { trace, ..plan });
        sim.client.silent = true;
        sim.start(1, Role::Secondary);
        sim.start(0, Role::Primary);
        let mut pair = Self(sim);
        pair.well();
        pair
    }

    fn well(&mut self) {
        self.until("the nodes come to terms", Sim::is_well);
    }

    fn until(&mut self, what: &str, mut until: impl FnMut(&Sim) -> bool) {
        let limit = self.0.now + 100_000;
        self.0.turn(|sim| until(sim) || sim.now > limit);
        assert!(self.0.failure.is_some() || until(&self.0), "{what}");
    }

    fn wait(&mut self, time: Now) {
        let until = self.0.now + time;
        self.0.after(time, Event::Operator);
        self.0.turn(|sim| sim.now >= until);
    }

    fn write(&mut self, node: usize, sector: usize) {
        self.0.ask(node, crate::engine::Op::Write, sector, 1, false);
        self.until("an answer", |sim| sim.client.is_answered());
    }

    /// Changes places, in good order.
    fn swap(&mut self, new: usize) {
        self.0.becomes(1 - new, Role::Secondary);
        self.until("a new secondary", |sim| sim.nodes[1 - new].role() == Some(Role::Secondary));
        self.0.becomes(new, Role::Primary);
        self.well();
    }
}

/// The way to it that section 20 describes.
fn h6(reference: Option<Reference>) -> Pair {
    let mut pair = Pair::new(reference);
    pair.0.dies(1, false);
    pair.write(0, 3);
    pair.0.dies(0, false);
    // Not before the other one is heard: that would count as gone on alone, too.
    pair.0.start(0, Role::Secondary);
    pair.0.start(1, Role::Primary);
    pair.well();
    pair.swap(0);
    pair.0.dies(1, false);
    pair.0.dies(0, false);
    pair.0.start(0, Role::Primary);
    pair.write(0, 4);
    pair.0.dies(0, false);
    pair.0.start(1, Role::Primary);
    pair.write(1, 5);
    pair.0.start(0, Role::Secondary);
    pair.until("they meet", |sim| sim.nodes[1].split || sim.is_linked(1));
    pair.0.turn(|sim| sim.nodes[1].split || sim.summary.links > 3);
    pair
}

#[test]
fn h6_each_process_that_goes_alone_is_counted() {
    let theirs = h6(Some(Reference::H6)).0.failure.unwrap_or_default();
    assert!(theirs.contains("a split brain was not noticed"), "{theirs}");
    let ours = h6(None).0;
    assert!(ours.nodes[1].split && ours.failure.is_none(), "{:?}", ours.failure);
}

#[test]
fn a_new_disk_is_no_source_for_a_primary_that_has_lost_its_own() {
    let mut pair = Pair::new(None);
    pair.write(0, 3);
    pair.0.disk_faults = true;
    pair.0.nodes[0].trouble.writes = 1000;
    pair.write(0, 7);
    assert!(pair.0.nodes[0].primary().is_some_and(|e| e.status().detached));
    pair.0.nodes[0].trouble.writes = 0;
    pair.0.dies(0, false);
    pair.0.start(0, Role::Primary);
    pair.0.dies(1, true);
    let map = pair.0.nodes[1].disk.map.len();
    let meta = Metadata { resuid: 0, ..pair.0.nodes[1].disk.meta.clone() };
    pair.0.nodes[1].disk = Disk::new(meta, map);
    pair.0.start(1, Role::Secondary);
    let links = pair.0.summary.links;
    pair.wait(60_000);
    assert_eq!(pair.0.summary.links, links);
    assert_ne!(pair.0.nodes[0].disk.seen[3], 0);
}

#[test]
fn h7_half_a_copy_does_not_serve() {
    let weights = Weights { failover: 2, cut: 2, kill_secondary: 2, ..none() };
    hazard(Reference::H7, |seed| only(seed, Replication::Memsync, weights));
}

#[test]
fn h8_a_piece_that_could_not_be_read_is_tried_again() {
    let weights = Weights { cut: 2, read_errors: 2, ..none() };
    let why = hazard(Reference::H8, |seed| only(seed, Replication::Memsync, weights));
    assert!(why.contains("the nodes have"), "{why}");
}

/// The link is cut within a write, and the other node takes over.
fn h9(seed: u64, reference: Option<Reference>) -> Option<String> {
    let mut pair = Pair::of(seed, reference);
    pair.0.ask(0, crate::engine::Op::Write, 1, 2, false);
    let c1 = pair.0.nodes[0].conns[0].unwrap_or_default();
    pair.until("a request on its way", |sim| sim.net.under_way(c1, Way::There) > 0);
    pair.0.cut();
    pair.wait(100);
    pair.0.dies(0, true);
    pair.0.becomes(1, Role::Primary);
    pair.until("a new primary", |sim| sim.nodes[1].role() == Some(Role::Primary));
    pair.0.failure
}

#[test]
fn h9_half_a_message_is_no_message() {
    let fails = (0..100).find(|&seed| h9(seed, Some(Reference::H9)).is_some());
    let seed = fails.expect("it does harm");
    assert_eq!(h9(seed, None), None, "seed {seed}");
}

#[test]
fn h14_metadata_is_never_half_written() {
    let weights = Weights { power_primary: 1, power_secondary: 1, ..none() };
    let why = hazard(Reference::H14, |seed| only(seed, Replication::Memsync, weights));
    assert!(why.contains("cannot read its metadata"), "{why}");
}

/// Two new nodes whose disks had something on them: their maps say that nothing is known to be
/// the same, and that is what the other node is told.
fn h23(reference: Option<Reference>) -> bool {
    let plan = Plan { reference, ..only(1, Replication::Memsync, none()) };
    let mut sim = Sim::new(plan);
    sim.client.silent = true;
    sim.nodes[0].disk.litter(0);
    sim.nodes[1].disk.litter(7);
    sim.start(1, Role::Secondary);
    sim.start(0, Role::Primary);
    let mut pair = Pair(sim);
    pair.well();
    assert_eq!(pair.0.failure, None);
    pair.0.nodes[0].disk.seen == pair.0.nodes[1].disk.seen
}

#[test]
fn h23_new_nodes_are_the_same_only_where_that_is_known() {
    assert!(!h23(Some(Reference::H23)));
    assert!(h23(None));
}

#[test]
fn a1_what_nobody_has_stored_is_not_answered_well() {
    let weights = Weights { cut: 1, write_errors: 2, ..none() };
    hazard(Reference::A1, |seed| only(seed, Replication::Memsync, weights));
}

/// The first link of a process is as good as any: what was written alone is copied.
fn a2(reference: Option<Reference>) -> Option<String> {
    let mut pair = Pair::new(reference);
    pair.0.dies(1, false);
    pair.write(0, 3);
    pair.0.dies(0, false);
    pair.0.start(1, Role::Secondary);
    pair.0.start(0, Role::Primary);
    pair.well();
    pair.0.dies(0, true);
    pair.0.becomes(1, Role::Primary);
    pair.until("a new primary", |sim| sim.nodes[1].role() == Some(Role::Primary));
    pair.0.failure
}

#[test]
fn a2_the_first_link_of_a_process_leads_to_a_resynchronisation() {
    let theirs = a2(Some(Reference::A2)).unwrap_or_default();
    assert!(theirs.contains("not what was promised"), "{theirs}");
    assert_eq!(a2(None), None);
}

/// What cannot be read here is read there, and the link is cut within the reply.
fn b1(seed: u64, reference: Option<Reference>) -> Option<String> {
    let mut pair = Pair::of(seed, reference);
    pair.write(0, 1);
    pair.0.disk_faults = true;
    pair.0.nodes[0].trouble.reads = 1000;
    pair.0.ask(0, crate::engine::Op::Read, 1, 2, false);
    let c2 = pair.0.nodes[0].conns[1].unwrap_or_default();
    pair.until("a reply on its way", |sim| sim.net.under_way(c2, Way::Back) > 0);
    pair.0.cut();
    pair.until("an answer", |sim| sim.client.is_answered());
    pair.0.failure
}

#[test]
fn b1_half_a_reply_is_no_reply() {
    let fails = (0..100).find_map(|seed| Some((seed, b1(seed, Some(Reference::B1))?)));
    let (seed, why) = fails.expect("it does harm");
    assert!(why.contains("has read"), "{why}");
    assert_eq!(b1(seed, None), None, "seed {seed}");
}
