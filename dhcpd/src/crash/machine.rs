//! One machine: a disk, a clock, and the daemon's own code on them, turn by turn. What the daemon
//! does by threads, descriptors and channels is a step here: the journal's thread, the parent.
//!
//! What the packets are, and what goes wrong when, is `schedule`'s; what must be true, `model`'s.

use super::disk::{FILE, SimDirectory, SimFile};
use super::model::{Model, Request, Time};
use super::random::Rng;
use crate::config::{Config, Range};
use crate::engine::tests_kit::{Ask, SERVER, START, config, interfaces};
use crate::engine::{Actions, Engine, EngineOptions, Meta, Now};
use crate::journal::{Journal, Room, Worker};
use crate::leasefile;
use crate::leasefile::succession::Succession;
use crate::msg::{Renamed, ToParent};
use crate::server::leases::{Batch, Leases, Limits, RECORD, load};
use crate::wire::code::{message, option};
use crate::wire::message::Message;
use crate::wire::options::OptionTable;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

/// The relay agent of the network that only the probe is on.
pub(super) const FAR_RELAY: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// The only address there.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);

/// Small, so that every bound is met.
const LIMITS: Limits = Limits { many: 8, copied: 2, waiting: 3 * RECORD };
const ROOM: Room = Room { waiting: 1500, commit: 800 };
const PIECE: u64 = 300;

/// Two configurations: the second one gives out less.
fn configs() -> &'static [Arc<Config>; 2] {
    static CONFIGS: OnceLock<[Arc<Config>; 2]> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        [13, 11].map(|last| {
            let mut config = config();
            let mut far = config.subnets[1].clone();
            far.net = "10.2.0.0/24".parse().unwrap();
            far.network = 2;
            far.ranges = vec![Range { low: FAR, high: FAR, dynamic_bootp: false }];
            let mut network = config.networks[1].clone();
            (network.name, network.subnets) = ("10.2.0.0".to_owned(), vec![2]);
            config.networks.push(network);
            config.subnets.push(far);
            config.subnets[0].ranges[0].high = Ipv4Addr::new(10, 0, 0, last);
            for subnet in &mut config.subnets {
                subnet.settings.default_lease_time = Some(600);
                subnet.settings.max_lease_time = Some(900);
            }
            config.build_lookup();
            Arc::new(config)
        })
    })
}

/// What became of schedules, to see that they went everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) told: usize,
    pub(crate) refused: usize,
    pub(crate) offers: usize,
    pub(crate) lives: usize,
    pub(crate) crashes: usize,
    pub(crate) crashes_in_rewrite: usize,
    pub(crate) rewrites: usize,
    pub(crate) rewrites_failed: usize,
    pub(crate) maybe: usize,
    pub(crate) congested: usize,
    pub(crate) torn: usize,
    pub(crate) gaps: usize,
    pub(crate) rooms: usize,
    pub(crate) promised: usize,
    pub(crate) reloads: usize,
    /// Operations of the disk until the first crash.
    pub(crate) operations: usize,
}

impl Seen {
    /// Everything, to be added up or compared.
    pub(crate) fn counts(&mut self) -> [(&'static str, &mut usize); 16] {
        [
            ("acknowledgements", &mut self.told),
            ("refusals", &mut self.refused),
            ("offers", &mut self.offers),
            ("lives", &mut self.lives),
            ("crashes", &mut self.crashes),
            ("crashes in a rewrite", &mut self.crashes_in_rewrite),
            ("rewrites", &mut self.rewrites),
            ("rewrites that failed", &mut self.rewrites_failed),
            ("renames in doubt", &mut self.maybe),
            ("congestions", &mut self.congested),
            ("torn records", &mut self.torn),
            ("records with gaps", &mut self.gaps),
            ("files with room", &mut self.rooms),
            ("promises held against files", &mut self.promised),
            ("reloads", &mut self.reloads),
            ("operations until the first crash", &mut self.operations),
        ]
    }
}

/// What the parent answers.
enum Answer {
    File(Result<SimFile, String>),
    Renamed(Renamed),
}

/// The daemon between a start and its end.
struct Life {
    engine: Engine,
    leases: Leases<SimFile, ()>,
    worker: Worker<SimFile, Batch<()>>,
    parent: Succession<SimDirectory>,
    wish: Option<ToParent>,
    answer: Option<Answer>,
    actions: Actions,
}

/// Everybody but the server, and what they know.
pub(super) struct Outside {
    pub(super) model: Model,
    pub(super) seen: Seen,
    pub(super) trace: bool,
    /// By client: what it was offered, and by which relay agent if any.
    pub(super) offered: BTreeMap<usize, (Ipv4Addr, Ipv4Addr)>,
    /// The configuration in force.
    config: usize,
    /// The options of the reply at hand.
    options: OptionTable,
}

/// See above.
pub(super) struct Machine {
    pub(super) disk: SimDirectory,
    pub(super) outside: Outside,
    /// Pings that nobody has answered.
    pub(super) pings: Vec<Ipv4Addr>,
    pinging: bool,
    /// When the journal's thread has much to do, and when nothing.
    load: Rng,
    real: u64,
    /// Wall time less real time, in seconds.
    offset: i64,
    life: Option<Life>,
}

/// A reply, as far as it matters.
struct Heard {
    kind: u8,
    number: u32,
    address: Ipv4Addr,
    seconds: u32,
}

impl Outside {
    fn read(&mut self, bytes: &[u8]) -> Result<Heard, String> {
        let message = Message::parse(bytes).map_err(|e| format!("a reply: {e}"))?;
        self.options.parse(&message).map_err(|e| format!("a reply's options: {e}"))?;
        Ok(Heard {
            kind: self.options.message_type().ok_or("a reply without a type")?,
            number: message.xid(),
            address: message.yiaddr(),
            seconds: self.options.u32(option::LEASE_TIME).unwrap_or(0),
        })
    }

    /// Whether an address is one to give out.
    fn is_given(config: usize, address: Ipv4Addr) -> bool {
        let subnets = &configs()[config].subnets;
        subnets.iter().flat_map(|s| &s.ranges).any(|r| (r.low..=r.high).contains(&address))
    }

    /// What was decided by the replies from this one on.
    fn judge(&mut self, actions: &Actions, from: usize, time: Time) -> Result<(), String> {
        for reply in actions.replies[from..].iter().filter(|reply| reply.durable) {
            let heard = self.read(&actions.arena[reply.bytes.clone()])?;
            if actions.records == 0 {
                return Err("an acknowledgement that waits for nothing".to_owned());
            }
            self.model.decided(heard.number, heard.address, heard.seconds, time)?;
        }
        Ok(())
    }

    /// Replies leave: those that had to wait for the disk, or the others.
    fn deliver(&mut self, batch: &Actions, durable: bool) -> Result<(), String> {
        for reply in batch.replies.iter().filter(|reply| reply.durable == durable) {
            let heard = self.read(&batch.arena[reply.bytes.clone()])?;
            let Heard { kind, number, address, seconds } = heard;
            let Request { client, relay, .. } = *self.model.asked(number);
            if self.trace {
                eprintln!("  a reply of type {kind} to {client}: {address} for {seconds} s");
            }
            match kind {
                message::ACK if !durable => {
                    return Err(format!("{address} is acknowledged before it is on disk"));
                }
                message::ACK => {
                    self.seen.told += 1;
                    self.model.told(number)?;
                }
                message::OFFER => {
                    self.seen.offers += 1;
                    self.offered.insert(client, (address, relay));
                }
                _ => {
                    self.seen.refused += 1;
                    let config = self.config;
                    self.model.refused(number, |address| Self::is_given(config, address))?;
                }
            }
        }
        Ok(())
    }
}

impl Machine {
    pub(super) fn new(disk: SimDirectory, pinging: bool, trace: bool, load: Rng) -> Machine {
        disk.set_trace(trace);
        Machine {
            disk,
            outside: Outside {
                model: Model::default(),
                seen: Seen::default(),
                trace,
                offered: BTreeMap::new(),
                config: 0,
                options: OptionTable::new(),
            },
            pings: Vec::new(),
            pinging,
            load,
            real: 5000,
            offset: START,
            life: None,
        }
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.outside.trace {
            eprintln!("{}: {}", self.real, what());
        }
    }

    pub(super) fn time(&self) -> Time {
        Time { real: self.real, wall: self.real as i64 + self.offset }
    }

    fn now(&self) -> Now {
        Now { wall: self.time().wall, mono: self.real * 1000 }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.real += seconds;
        self.say(|| format!("{seconds} s later"));
        self.outside.model.pass(self.time());
    }

    pub(super) fn set_clock(&mut self, by: i64) {
        self.offset += by;
        self.say(|| format!("the clock is set by {by} s"));
        self.outside.model.clock_was_set(self.time());
    }

    /// Starts the daemon, as the parent and the server do it. False if it would not.
    pub(super) fn start(&mut self) -> Result<bool, String> {
        let config = Arc::clone(&configs()[self.outside.config]);
        let ping_wait = self.pinging.then_some(1000);
        let options = EngineOptions { seed: 7, ping_wait, ..EngineOptions::default() };
        let mut engine = Engine::new(config, interfaces(), options);
        let file = self.disk.open().ok_or("the lease file is gone")?;
        let Ok(parent) = Succession::new(self.disk.clone(), file.clone()) else {
            self.say(|| "it does not start".to_owned());
            return Ok(false);
        };
        let now = self.now();
        let text = self.disk.read(FILE).ok_or("the lease file is gone")?;
        load(&mut engine, &text[..], FILE, now)?;
        let (journal, worker) = Journal::by_turns(file, ROOM, PIECE).map_err(|e| e.to_string())?;
        let (leased, _) = engine.tables(now);
        for address in self.outside.model.promised() {
            if Outside::is_given(self.outside.config, address) && !leased.contains(&address) {
                return Err(format!("{address} is promised, and was not loaded"));
            }
        }
        self.say(|| format!("it starts with {} leases", engine.len()));
        self.outside.seen.lives += 1;
        self.life = Some(Life {
            engine,
            leases: Leases::new(journal, Arc::new(()), LIMITS, now),
            worker,
            parent,
            wish: None,
            answer: None,
            actions: Actions::default(),
        });
        Ok(true)
    }

    /// A packet comes, if packets are read just now.
    pub(super) fn send(&mut self, ask: &Ask, request: Request) -> Result<(), String> {
        let Some(life) = &mut self.life else { return Ok(()) };
        if life.leases.is_congested() {
            self.outside.seen.congested += 1;
            return Ok(());
        }
        let number = self.outside.model.request(request);
        let mut bytes = ask.bytes();
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
        let hw = <[u8; 6]>::try_from(&ask.hw[..]).ok();
        let meta = Meta {
            interface: 0,
            served: true,
            source: if ask.giaddr.is_unspecified() { ask.ciaddr } else { ask.giaddr },
            source_port: 68,
            // Who has an address and knows no better speaks to us.
            dest: if ask.ciaddr.is_unspecified() { Ipv4Addr::BROADCAST } else { SERVER },
            mac: hw.filter(|_| ask.giaddr.is_unspecified()),
        };
        let (now, time) = (self.now(), self.time());
        let Some(life) = &mut self.life else { return Ok(()) };
        let from = life.actions.replies.len();
        life.engine.input(&bytes, &meta, now, &mut life.actions);
        self.outside.judge(&life.actions, from, time)
    }

    /// Somebody answers a ping.
    pub(super) fn echo(&mut self, address: Ipv4Addr) {
        let now = self.now();
        if let Some(life) = &mut self.life {
            life.engine.echo_reply(address, now, &mut life.actions);
        }
    }

    /// Another configuration.
    pub(super) fn reload(&mut self) {
        self.outside.config = 1 - self.outside.config;
        self.outside.seen.reloads += 1;
        self.say(|| format!("configuration {}", self.outside.config));
        let now = self.now();
        if let Some(life) = &mut self.life {
            let config = Arc::clone(&configs()[self.outside.config]);
            let Life { engine, leases, actions, .. } = life;
            leases.reconfigure(engine, config, interfaces(), now, actions);
        }
    }

    /// The rest of the server's turn: what it does when it has read what there was.
    pub(super) fn act(&mut self) -> Result<(), String> {
        let now = self.now();
        let Some(life) = &mut self.life else { return Ok(()) };
        life.engine.tick(now, &mut life.actions);
        self.pings.extend(&life.actions.pings);
        self.outside.deliver(&life.actions, false)?;
        life.leases.commit(&mut life.actions, now);
        life.leases.hear(&life.engine, now, |_| {});
        match life.answer.take() {
            Some(Answer::File(file)) => {
                match file {
                    Ok(_) => self.outside.model.rewrite_began(),
                    Err(_) => self.outside.seen.rewrites_failed += 1,
                }
                life.leases.new_file(file, &life.engine, now);
            }
            Some(Answer::Renamed(answer)) => life.leases.renamed(answer, now),
            None => {}
        }
        let twice = life.wish.is_some();
        match life.leases.wish(now) {
            Some(_) if twice => Err("the parent is asked for two things at once".to_owned()),
            Some(wish) => {
                life.wish = Some(wish);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The journal's thread does what it was given, and lets go of what has waited for that.
    pub(super) fn write(&mut self) -> Result<(), String> {
        let Machine { life, outside, load, .. } = self;
        let Some(life) = life else { return Ok(()) };
        match load.below(8) {
            0 | 1 => life.worker.busy(),
            2 => life.worker.calm(),
            _ => {}
        }
        let mut result = Ok(());
        life.worker.turn(&mut |waited: &[(_, Batch<()>)]| {
            for (_, batch) in waited {
                if result.is_ok() {
                    result = outside.deliver(&batch.actions, true);
                }
            }
        });
        result
    }

    /// The parent does what it was asked.
    pub(super) fn parent(&mut self) {
        let time = self.time();
        let Some(life) = &mut self.life else { return };
        if life.answer.is_some() {
            return;
        }
        match life.wish.take() {
            Some(ToParent::WantNewFile) => {
                let file = life.parent.new_file().cloned().map_err(|e| e.to_string());
                life.answer = Some(Answer::File(file));
            }
            Some(ToParent::WantRename) => {
                let answer = life.parent.replace();
                match &answer {
                    Renamed::Yes => {
                        self.outside.seen.rewrites += 1;
                        self.outside.model.rewrite_ended(time);
                    }
                    Renamed::No(_) => self.outside.seen.rewrites_failed += 1,
                    Renamed::Maybe(_) => self.outside.seen.maybe += 1,
                }
                life.answer = Some(Answer::Renamed(answer));
            }
            _ => {}
        }
    }

    /// It is told to end: what was asked for is still answered.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.act()?;
        self.write()?;
        let now = self.now();
        let Some(life) = &mut self.life else { return Ok(()) };
        life.leases.hear(&life.engine, now, |_| {});
        match &self.life {
            Some(life) if !life.leases.is_settled() => Err("it would never end".to_owned()),
            _ => Ok(()),
        }
    }

    /// The power goes, or the process is killed. What is found is held against what was promised.
    pub(super) fn crash(&mut self, rng: &mut Rng, operations: usize) -> Result<(), String> {
        if self.outside.seen.crashes == 0 {
            self.outside.seen.operations = self.disk.operations();
        }
        self.outside.seen.crashes += 1;
        if let Some(life) = self.life.take() {
            self.outside.seen.crashes_in_rewrite += usize::from(life.leases.is_rewriting());
        }
        self.pings.clear();
        self.outside.model.crashed(self.time());
        let killed = rng.one_in(3);
        let other = self.disk.power_cut(1);
        self.say(|| "it might be found like this".to_owned());
        self.check(&other)?;
        self.disk =
            if killed { self.disk.kill(operations) } else { self.disk.power_cut(operations) };
        self.say(|| if killed { "killed" } else { "the power goes" }.to_owned());
        let disk = self.disk.clone();
        self.check(&disk)
    }

    /// Reads the lease file and holds it against what was promised.
    pub(super) fn check(&mut self, disk: &SimDirectory) -> Result<(), String> {
        let text = disk.read(FILE).ok_or("the lease file is gone")?;
        let mut found = BTreeMap::new();
        let mut canonical = Vec::new();
        for told in leasefile::read(&text) {
            match told {
                Ok(record) => {
                    canonical.clear();
                    leasefile::append_record(&mut canonical, &record.view());
                    if !disk.was_written(&canonical) {
                        return Err(format!("a record that nobody wrote: {record:?}"));
                    }
                    found.insert(record.address, record);
                }
                Err(problem) => {
                    self.outside.seen.torn += 1;
                    self.outside.seen.gaps += usize::from(problem.text.contains("has a gap"));
                }
            }
        }
        self.outside.seen.rooms += usize::from(text.ends_with(b"\n\n"));
        self.outside.seen.promised += self.outside.model.promised().count();
        let result = self.outside.model.check_file(&found);
        if result.is_err() {
            eprintln!("{}", String::from_utf8_lossy(&text).replace('\0', "\u{2400}"));
        }
        result
    }
}
