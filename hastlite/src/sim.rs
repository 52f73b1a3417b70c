//! The simulator: a whole pair in one process, from one seed. It runs the engines that the daemon's
//! workers run, over disks, a network and a client of its own, with a clock of its own: nothing of
//! it touches the system, and a seed gives the same schedule everywhere.
//!
//! In a schedule, links are cut in the middle of what is under way, the network stops for a while,
//! processes are killed, machines lose their power and what their disks had in volatile caches,
//! disks fail, and roles change. At the end everything is well again, the nodes have to come to
//! terms, and their disks have to be equal. What is checked meanwhile is in [`check`].
//!
//! [`Plan::reference`] puts one of the rules of FreeBSD's hastd in the place of ours, around the
//! engines and not in them, to show that the simulator notices what follows from it.

pub mod check;
pub mod client;
pub mod disk;
mod end;
mod faults;
pub mod net;
mod node;
mod primary;
pub mod random;
pub mod reference;
mod secondary;
#[cfg(test)]
mod tests;

use crate::engine::{Consistency, Happening, Metadata, Now, PrimaryAction, Replication, Role};
use crate::engine::{SecondaryAction, Settings};
use check::Check;
use client::Client;
use disk::Disk;
use net::{Net, Way};
use node::Node;
use random::Random;
use reference::{Reference, Shim};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// More events than any schedule needs: an engine turns in circles.
const EVENTS: u64 = 400_000;

/// What a schedule is made of. The seed decides the rest.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of all random numbers.
    pub seed: u64,
    /// When writes are answered.
    pub mode: Replication,
    /// How many requests the client makes before everything is made well.
    pub requests: u32,
    /// How many faults there are.
    pub faults: u32,
    /// How often each kind of fault is among them.
    pub weights: Weights,
    /// The nodes know each other as of our kind.
    pub native: bool,
    /// One of the reference's rules in the place of ours.
    pub reference: Option<Reference>,
    /// Say what happens on standard error.
    pub trace: bool,
}

/// Kinds of faults, and how often each is chosen.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "each is what it is called")]
pub struct Weights {
    pub cut: u32,
    pub block: u32,
    pub kill_primary: u32,
    pub kill_secondary: u32,
    pub power_primary: u32,
    pub power_secondary: u32,
    pub failover: u32,
    pub swap: u32,
    pub isolate: u32,
    pub read_errors: u32,
    pub write_errors: u32,
    pub record_errors: u32,
    pub slow: u32,
    pub replace: u32,
}

impl Plan {
    /// A bit of everything, as the seed says.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut chance = |most: u64| {
            let there = random.permille(500);
            let weight = random.between(1, most) as u32;
            if there { weight } else { 0 }
        };
        let weights = Weights {
            cut: chance(8),
            block: chance(4),
            kill_primary: chance(4),
            kill_secondary: chance(4),
            power_primary: chance(4),
            power_secondary: chance(4),
            failover: chance(4),
            swap: chance(4),
            isolate: chance(3),
            read_errors: chance(3),
            write_errors: chance(2),
            record_errors: chance(2),
            slow: chance(3),
            replace: chance(1),
        };
        let mode = random.pick(&[Replication::Fullsync, Replication::Memsync, Replication::Async]);
        Self {
            seed,
            mode,
            requests: random.between(10, 90) as u32,
            faults: random.between(0, 9) as u32,
            weights,
            native: true,
            reference: None,
            trace: false,
        }
    }
}

/// What a schedule came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Things that happened.
    pub events: u64,
    /// Requests of clients that were answered.
    pub answered: u64,
    /// Links that came up.
    pub links: u64,
    /// Times that no node was sound, and one had to serve by force.
    pub forced: u64,
    /// Milliseconds of the schedule's own time.
    pub time: Now,
}

/// What is to happen.
#[derive(Debug)]
enum Event {
    /// An engine's time has come.
    Tick(usize, u32),
    /// An I/O ends.
    Disk(usize, u32, usize),
    /// A connection is open, or is not to be had.
    Open(usize, u32, usize),
    /// A message arrives.
    Net(u64, Way),
    /// What was cut in silence is noticed.
    Reset(u64, Way),
    /// The client does something.
    Client,
    /// Something goes wrong.
    Fault,
    /// A process, or machine, starts again, with this role.
    Start(usize, u32, Role),
    /// Whoever runs the nodes looks after them.
    Operator,
    /// Disks are well, and fast, again.
    Well(usize),
}

/// See the module.
pub struct Sim {
    plan: Plan,
    random: Random,
    now: Now,
    order: u64,
    events: BinaryHeap<Reverse<(Now, u64, Slot)>>,
    pending: Vec<Option<Event>>,
    vacant: Vec<usize>,
    nodes: [Node; 2],
    net: Net,
    client: Client,
    check: Check,
    shim: Shim,
    settings: Settings,
    faults_left: u32,
    disk_faults: bool,
    ending: bool,
    /// The next node to serve does so whatever it has.
    forced: bool,
    /// Its data was given up while it was the primary.
    discarded: Option<usize>,
    /// The node that is to be primary next.
    wanted: Option<usize>,
    failure: Option<String>,
    summary: Summary,
    primary_out: Vec<PrimaryAction>,
    secondary_out: Vec<SecondaryAction>,
}

type Slot = usize;

/// Runs a schedule to its end.
///
/// # Errors
/// What went wrong, and when.
pub fn run(plan: Plan) -> Result<Summary, String> {
    Sim::new(plan).run()
}

impl Sim {
    fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let extentsize = random.pick(&[2048u32, 4096, 8192]);
        let extents = random.between(3, 20);
        let datasize = extents * u64::from(extentsize) - random.below(3) * disk::SECTOR;
        let meta = Metadata {
            resource: "data".to_owned(),
            datasize,
            extentsize,
            keepdirty: random.between(1, 6) as u32,
            offset: 1 << 20,
            resuid: 0,
            localcnt: 0,
            remotecnt: 0,
            prevrole: Role::Init,
            consistency: Consistency::Consistent,
        };
        let map = crate::engine::activemap::map_size(datasize, extentsize, 512) as usize;
        let settings = Settings {
            replication: plan.mode,
            timeout: random.pick(&[3_000, 20_000]),
            has_remote: true,
            max_request: random.pick(&[512, 2048, 131_072]),
        };
        let nodes = [(); 2].map(|()| Node::new(Disk::new(meta.clone(), map)));
        let sectors = (datasize / disk::SECTOR) as usize;
        let client = Client::new(&mut random, sectors);
        Self {
            random,
            now: 1_000_000,
            order: 0,
            events: BinaryHeap::new(),
            pending: Vec::new(),
            vacant: Vec::new(),
            nodes,
            net: Net::default(),
            client,
            check: Check::new(sectors),
            shim: Shim::new(plan.reference),
            settings,
            faults_left: plan.faults,
            disk_faults: false,
            ending: false,
            forced: false,
            discarded: None,
            wanted: None,
            failure: None,
            summary: Summary::default(),
            primary_out: Vec::new(),
            secondary_out: Vec::new(),
            plan,
        }
    }

    fn run(mut self) -> Result<Summary, String> {
        let begun = self.now;
        self.start(1, Role::Secondary);
        self.start(0, Role::Primary);
        self.after(1, Event::Client);
        self.after(5_000, Event::Operator);
        if self.faults_left > 0 {
            let at = self.random.between(1, 30_000);
            self.after(at, Event::Fault);
        }
        self.turn(|sim| sim.client.is_through() && sim.faults_left == 0);
        self.end();
        self.summary.time = self.now - begun;
        match self.failure.take() {
            None => Ok(self.summary),
            Some(why) => Err(format!("at {} ms: {why}", self.now - begun)),
        }
    }

    /// Lets things happen until this is so, or something is wrong.
    fn turn(&mut self, mut until: impl FnMut(&mut Self) -> bool) {
        while self.failure.is_none() && !until(self) {
            let Some(Reverse((at, _, slot))) = self.events.pop() else {
                return self.fail("nothing is left to happen");
            };
            let Some(event) = self.pending[slot].take() else { continue };
            self.vacant.push(slot);
            self.now = self.now.max(at);
            self.summary.events += 1;
            if self.summary.events > EVENTS {
                return self.fail(format!("it does not come to an end: {}", self.standing()));
            }
            self.happens(event);
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Tick(node, process) => self.tick(node, process),
            Event::Disk(node, process, io) => self.io_ends(node, process, io),
            Event::Open(node, process, conn) => self.opens(node, process, conn),
            Event::Net(id, way) => self.arrives(id, way),
            Event::Reset(id, way) => {
                self.net.reset(id, way);
                self.arrives(id, way);
            }
            Event::Client => self.client_acts(),
            Event::Fault => self.fault(),
            Event::Start(node, process, role) => {
                if self.nodes[node].process == process {
                    self.start(node, role);
                }
            }
            Event::Operator => self.operator(),
            Event::Well(node) => self.nodes[node].trouble = node::Trouble::default(),
        }
    }

    /// It happens so many milliseconds from now.
    fn after(&mut self, delay: Now, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Now, event: Event) {
        self.order += 1;
        let slot = match self.vacant.pop() {
            Some(slot) => slot,
            None => {
                self.pending.push(None);
                self.pending.len() - 1
            }
        };
        self.pending[slot] = Some(event);
        self.events.push(Reverse((at, self.order, slot)));
    }

    fn fail(&mut self, why: impl Into<String>) {
        let why = why.into();
        self.say(|| format!("FAILED: {why}"));
        self.failure.get_or_insert(why);
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.plan.trace {
            eprintln!("{:>9} {}", self.now - 1_000_000, what());
        }
    }

    fn told(&mut self, node: usize, happening: &Happening) {
        self.say(|| format!("node {node}: {happening:?}"));
        if *happening == Happening::SplitBrain {
            self.nodes[node].split = true;
        }
    }
}
