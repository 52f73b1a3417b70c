//! One schedule from one seed: what clients send, what goes wrong with the disk and the clock, and
//! when the power goes.

use super::disk::{Faults, SimDirectory};
use super::machine::{FAR, FAR_RELAY, Machine, Seen};
use super::model::{CLIENTS, PROBE, Request};
use super::random::Rng;
use crate::engine::tests_kit::{Ask, OTHER_SERVER, RELAY, SERVER, ask};
use crate::wire::code::message;
use std::net::Ipv4Addr;

/// Seconds after the last fault within which a client must have been served.
const PATIENCE: u64 = 5;

/// Operations of the disk between two crashes, at most.
const MOST: usize = 80;

struct Schedule {
    rng: Rng,
    machine: Machine,
    /// The disk is slow: the server has its turn so many times while a group is written.
    slow: usize,
}

/// Which schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The operation that the first crash comes in, if not any.
    pub(super) operations: Option<usize>,
    /// Tell everything on standard error.
    pub(super) trace: bool,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Plan {
        Plan { seed, operations: None, trace: false }
    }
}

/// Runs a schedule.
pub(super) fn run(plan: &Plan) -> Result<Seen, String> {
    let mut rng = Rng(plan.seed);
    let (seed, operations) = (rng.draw(), rng.below(MOST) + 1);
    let disk = SimDirectory::new(seed, plan.operations.unwrap_or(operations));
    let machine = Machine::new(disk, rng.one_in(4), plan.trace, Rng(!plan.seed));
    let slow = rng.of([1, 2, 8]);
    let mut schedule = Schedule { rng, machine, slow };
    schedule.run()?;
    Ok(schedule.machine.outside.seen)
}

fn network(address: Ipv4Addr) -> Ipv4Addr {
    match address.octets()[1] {
        1 => RELAY,
        2 => FAR_RELAY,
        _ => Ipv4Addr::UNSPECIFIED,
    }
}

impl Schedule {
    fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.below(3) + 1 {
            self.misbehave();
            self.start()?;
            for _ in 0..self.rng.below(40) + 5 {
                self.step()?;
                if self.machine.disk.crashed() {
                    break;
                }
            }
            if self.rng.one_in(8) && !self.machine.disk.crashed() {
                self.machine.say(|| "it is told to end".to_owned());
                self.machine.finish()?;
            }
            let operations = self.rng.below(MOST) + 1;
            self.machine.crash(&mut self.rng, operations)?;
        }
        self.heal()
    }

    /// Until it starts: whoever runs it tries again.
    fn start(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            if self.machine.start()? {
                return Ok(());
            }
            if self.machine.disk.crashed() {
                self.machine.crash(&mut self.rng, MOST)?;
            }
        }
        self.machine.disk.set_faults(Faults::default());
        while !self.machine.start()? {
            self.machine.crash(&mut self.rng, MOST)?;
        }
        Ok(())
    }

    /// Faults from here on, or none.
    fn misbehave(&mut self) {
        let often = |rng: &mut Rng| rng.of([0, 0, 5, 30]);
        let faults = match self.rng.below(2) {
            0 => Faults::default(),
            _ => Faults {
                write: often(&mut self.rng),
                sync: often(&mut self.rng),
                truncate: often(&mut self.rng),
                names: often(&mut self.rng),
            },
        };
        self.machine.say(|| format!("{faults:?}"));
        self.machine.disk.set_faults(faults);
        if self.rng.one_in(3) {
            let room = self.rng.of([0, 90, 400, 2000]);
            self.machine.say(|| format!("room for {room} bytes"));
            self.machine.disk.set_room(room);
        } else {
            self.machine.disk.set_room(usize::MAX);
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let client = self.rng.below(PROBE);
        match self.rng.below(44) {
            0..6 => self.discover(client)?,
            6..16 => self.take(client)?,
            16..20 => self.reboot(client)?,
            20..25 => self.renew(client)?,
            25 => self.elsewhere(client)?,
            26 | 27 => self.release(client)?,
            28 => self.decline(client)?,
            29..32 => {
                let seconds = self.rng.of([1, 1, 2, 10, 60, 300, 599, 600, 1000]);
                self.machine.pass(seconds);
            }
            32 => {
                let by = self.rng.of([-4000, -700, -50, 50, 700, 4000]);
                self.machine.set_clock(by);
                // Set back before the server has seen it, it would not have been set.
                self.machine.act()?;
            }
            33 => self.misbehave(),
            34 => self.machine.reload(),
            35 => {
                let at = self.rng.below(self.machine.pings.len());
                if at < self.machine.pings.len() {
                    let address = self.machine.pings.swap_remove(at);
                    self.machine.say(|| format!("{address} answers a ping"));
                    self.machine.echo(address);
                }
            }
            _ => {}
        }
        if self.rng.one_in(4) {
            // More comes before the server has done with this.
            return Ok(());
        }
        self.machine.act()?;
        if self.rng.one_in(self.slow) {
            self.machine.write()?;
        }
        if self.rng.one_in(2) {
            self.machine.parent();
        }
        Ok(())
    }

    fn address(&mut self) -> Ipv4Addr {
        let rng = &mut self.rng;
        match rng.below(3) {
            0 => Ipv4Addr::new(10, 1, 0, 10 + rng.below(3) as u8),
            _ => Ipv4Addr::new(10, 0, 0, 10 + rng.below(4) as u8),
        }
    }

    /// An address that the client may well have.
    fn own(&mut self, client: usize) -> Ipv4Addr {
        match self.machine.outside.offered.get(&client) {
            Some((address, _)) if !self.rng.one_in(4) => *address,
            _ => self.address(),
        }
    }

    fn ask(&mut self, kind: u8, client: usize, relay: Ipv4Addr) -> Ask {
        let (hw, id) = CLIENTS[client];
        let ask = Ask { giaddr: relay, ..ask(kind, hw) };
        match id {
            Some(id) => ask.id(id),
            None => ask,
        }
    }

    /// Some want more or less than is usual.
    fn wish(&mut self, ask: Ask) -> Ask {
        match self.rng.one_in(6) {
            true => ask.with(51, self.rng.of([20u32, 300, 900, 0]).to_be_bytes()),
            false => ask,
        }
    }

    fn send(
        &mut self,
        what: &str,
        client: usize,
        address: Option<Ipv4Addr>,
        relay: Ipv4Addr,
        ask: Ask,
    ) -> Result<(), String> {
        self.machine.say(|| format!("{client} sends {what} {address:?} by {relay}"));
        self.machine.send(&ask, Request { client, address, relay })
    }

    fn discover(&mut self, client: usize) -> Result<(), String> {
        let relay = self.rng.of([Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, RELAY]);
        let ask = self.ask(message::DISCOVER, client, relay);
        let ask = match self.rng.one_in(3) {
            true => ask.with(50, self.address().octets()),
            false => ask,
        };
        self.send("DISCOVER", client, None, relay, ask)
    }

    fn take(&mut self, client: usize) -> Result<(), String> {
        let Some(&(address, relay)) = self.machine.outside.offered.get(&client) else {
            return self.discover(client);
        };
        let ask = self.ask(message::REQUEST, client, relay);
        let ask = self.wish(ask.with(50, address.octets()).with(54, SERVER.octets()));
        self.send("REQUEST", client, Some(address), relay, ask)
    }

    fn reboot(&mut self, client: usize) -> Result<(), String> {
        let address = self.own(client);
        let relay = network(address);
        let ask = self.ask(message::REQUEST, client, relay);
        let ask = self.wish(ask.with(50, address.octets()));
        self.send("REQUEST", client, Some(address), relay, ask)
    }

    fn renew(&mut self, client: usize) -> Result<(), String> {
        let address = self.own(client);
        let direct = Ipv4Addr::UNSPECIFIED;
        let ask = self.ask(message::REQUEST, client, direct);
        let ask = self.wish(Ask { ciaddr: address, ..ask });
        self.send("REQUEST (renewing)", client, Some(address), direct, ask)
    }

    fn elsewhere(&mut self, client: usize) -> Result<(), String> {
        let direct = Ipv4Addr::UNSPECIFIED;
        let ask = self.ask(message::REQUEST, client, direct);
        let ask = ask.with(50, self.address().octets()).with(54, OTHER_SERVER.octets());
        self.send("REQUEST to another", client, None, direct, ask)
    }

    fn release(&mut self, client: usize) -> Result<(), String> {
        let address = self.own(client);
        let direct = Ipv4Addr::UNSPECIFIED;
        let ask = Ask { ciaddr: address, ..self.ask(message::RELEASE, client, direct) };
        let ask = ask.with(54, SERVER.octets());
        self.machine.outside.model.give_up(client, address);
        self.send("RELEASE", client, Some(address), direct, ask)
    }

    fn decline(&mut self, client: usize) -> Result<(), String> {
        let address = self.own(client);
        let relay = network(address);
        let ask = self.ask(message::DECLINE, client, relay);
        let ask = ask.with(50, address.octets()).with(54, SERVER.octets());
        self.machine.outside.model.give_up(client, address);
        self.send("DECLINE", client, Some(address), relay, ask)
    }

    /// Nothing goes wrong any more: somebody must be served soon, and all of it is kept.
    fn heal(&mut self) -> Result<(), String> {
        self.start()?;
        let waits = self.rng.below(30);
        for _ in 0..waits {
            self.step()?;
            if self.machine.disk.crashed() {
                self.machine.crash(&mut self.rng, usize::MAX)?;
                self.start()?;
                break;
            }
        }
        self.machine.say(|| "the disk is well again".to_owned());
        self.machine.disk.set_faults(Faults::default());
        self.machine.disk.set_room(usize::MAX);
        self.machine.disk.set_left(usize::MAX);
        for _ in 0..PATIENCE * 4 {
            self.machine.act()?;
            self.machine.write()?;
            self.machine.parent();
        }
        let before = self.machine.outside.seen.told;
        for turn in 0.. {
            if turn > PATIENCE {
                return Err("nobody is served".to_owned());
            }
            let ask = self.ask(message::REQUEST, PROBE, FAR_RELAY).with(50, FAR.octets());
            self.send("REQUEST", PROBE, Some(FAR), FAR_RELAY, ask)?;
            for _ in 0..4 {
                self.machine.act()?;
                self.machine.write()?;
                self.machine.parent();
            }
            if self.machine.outside.seen.told > before {
                break;
            }
            self.machine.pass(1);
        }
        self.rewrite_for_the_clock()?;
        self.machine.crash(&mut self.rng, usize::MAX)?;
        self.start()
    }

    /// If the clock was set, the lease file has its times soon; it takes a minute after a failure.
    fn rewrite_for_the_clock(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            if !self.machine.outside.model.is_behind() {
                return Ok(());
            }
            self.machine.pass(30);
            for _ in 0..20 {
                self.machine.act()?;
                self.machine.write()?;
                self.machine.parent();
            }
        }
        match self.machine.outside.model.is_behind() {
            true => Err("the lease file keeps the times of a clock that was set".to_owned()),
            false => Ok(()),
        }
    }
}
