//! The power goes, or the process is killed, at every moment of random traffic, on a disk that may
//! have lost or torn whatever was not synced. What is found afterwards holds every lease that was
//! acknowledged, as it was, and can be read; and the server goes on from there until the next time.

use super::commit::Commit;
use super::sim::{Faults, Rng, SimDirectory, SimFile};
use crate::config::Hardware;
use crate::lease::LeaseRecord;
use crate::leasefile;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const ADDRESSES: u32 = 12;
const FILE: &str = "dhcpd.leases";
const NEW: &str = "dhcpd.leases.new";

/// What became of all schedules, to see that they went where they should.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: usize,
    failed: usize,
    needed_rewrite: usize,
    switched: usize,
    rewrites_lost: usize,
    abandoned: usize,
    crashed_while_filling: usize,
    crashed_while_both: usize,
    torn: usize,
}

/// Which step the rewrite has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Idle,
    Filling(u32),
    Whole,
    Renamed,
}

/// The record of an address in its `version`th state: each is unlike every other.
pub(super) fn record(address: u32, version: u64) -> LeaseRecord {
    let mut rng = Rng(u64::from(address) << 32 | version);
    let addr = (0..6).map(|_| rng.draw() as u8).collect();
    LeaseRecord {
        starts: version as i64,
        ends: version as i64 + 3600,
        hardware: Some(Hardware { htype: 1, addr }),
        client_id: rng
            .one_in(2)
            .then(|| (0..rng.below(30) + 1).map(|_| rng.draw() as u8).collect()),
        abandoned: rng.one_in(10),
        client_hostname: rng.one_in(2).then(|| format!("client-{}", rng.draw()).into_bytes()),
        ..LeaseRecord::new(Ipv4Addr::from(address))
    }
}

/// A server in the small: leases in memory, by version, and what of them it has acknowledged.
struct Server<'a> {
    rng: &'a mut Rng,
    directory: &'a SimDirectory,
    commit: Commit<SimFile>,
    memory: BTreeMap<u32, u64>,
    acknowledged: BTreeMap<u32, u64>,
    step: Step,
    /// The file must not be trusted any more.
    broken: bool,
    seen: &'a mut Seen,
}

impl Server<'_> {
    /// Runs until the power goes.
    fn run(&mut self) {
        while !self.directory.crashed() {
            if self.rng.one_in(200) {
                self.directory.set_capacity([3_000, 8_000, 1_000_000][self.rng.below(3)]);
            }
            match self.rng.below(3) {
                0 | 1 => self.group(),
                _ => self.rewrite(),
            }
        }
        match self.step {
            Step::Idle => (),
            Step::Filling(_) => self.seen.crashed_while_filling += 1,
            Step::Whole | Step::Renamed => self.seen.crashed_while_both += 1,
        }
    }

    fn group(&mut self) {
        let mut changed = Vec::new();
        for _ in 0..self.rng.below(3) + 1 {
            let mut text = Vec::new();
            for _ in 0..self.rng.below(3) + 1 {
                let address = self.rng.below(ADDRESSES as usize) as u32;
                let version = self.memory.entry(address).and_modify(|v| *v += 1).or_insert(1);
                leasefile::append_record(&mut text, &record(address, *version).view());
                changed.push((address, *version));
            }
            self.commit.write(&text);
            // The thread may find a piece of the snapshot between two commits of a group.
            if self.rng.one_in(3) && matches!(self.step, Step::Filling(_)) {
                self.rewrite();
            }
        }
        match self.commit.sync() {
            Ok(()) => {
                assert!(!self.broken, "committed to a file that is not to be trusted");
                self.acknowledged.extend(changed);
                self.seen.acknowledged += 1;
            }
            Err(failure) => {
                self.seen.failed += 1;
                self.broken |= failure.needs_rewrite && self.step == Step::Idle;
                if failure.needs_rewrite && self.step == Step::Idle {
                    self.seen.needed_rewrite += 1;
                    self.directory.set_capacity(1_000_000);
                    self.rewrite();
                }
            }
        }
        self.notice_loss();
    }

    /// One step of a rewrite, as the parent and the server do it together.
    fn rewrite(&mut self) {
        match self.step {
            Step::Idle => {
                if let Ok(file) = self.directory.create(NEW) {
                    assert!(self.commit.begin_rewrite(file));
                    self.step = Step::Filling(0);
                }
            }
            Step::Filling(cursor) if cursor < ADDRESSES => {
                let mut text = Vec::new();
                for (address, version) in self.memory.range(cursor..cursor + 3) {
                    leasefile::append_record(&mut text, &record(*address, *version).view());
                }
                self.commit.snapshot(&text);
                self.step = Step::Filling(cursor + 3);
            }
            Step::Filling(_) => {
                if self.commit.end_snapshot() {
                    self.step = Step::Whole;
                }
            }
            Step::Whole if self.rng.one_in(5) => {
                self.commit.abandon_rewrite();
                self.seen.abandoned += 1;
                self.step = Step::Idle;
            }
            Step::Whole => {
                let _ = self.directory.rename(NEW, FILE);
                self.step = Step::Renamed;
            }
            Step::Renamed => {
                if self.directory.sync().is_ok() {
                    assert!(self.commit.switch());
                    self.broken = false;
                    self.seen.switched += 1;
                    self.step = Step::Idle;
                }
            }
        }
        self.notice_loss();
    }

    fn notice_loss(&mut self) {
        if self.commit.lost_rewrite().is_some() {
            self.seen.rewrites_lost += 1;
            self.step = Step::Idle;
        }
    }
}

/// Reads what is left, and holds it against what was promised.
fn recover(
    text: &[u8],
    written: &BTreeMap<u32, u64>,
    acknowledged: &BTreeMap<u32, u64>,
    seen: &mut Seen,
) -> BTreeMap<u32, u64> {
    let mut found = BTreeMap::new();
    for told in leasefile::read(text) {
        match told {
            Ok(lease) => {
                let address = u32::from(lease.address);
                let version = lease.starts as u64;
                assert_eq!(lease, record(address, version), "a record that nobody wrote");
                assert!(Some(&version) <= written.get(&address), "a record from nowhere");
                found.insert(address, version);
            }
            Err(_) => seen.torn += 1,
        }
    }
    for (address, version) in acknowledged {
        assert!(
            found.get(address) >= Some(version),
            "address {address}: acknowledged {version}, found {:?}",
            found.get(address)
        );
    }
    found
}

fn schedule(seed: u64, seen: &mut Seen) {
    let mut rng = Rng(seed);
    let fault = |rng: &mut Rng| [0, 0, 20, 100][rng.below(4)];
    let faults =
        Faults { write: fault(&mut rng), sync: fault(&mut rng), truncate: fault(&mut rng) };
    let mut directory = SimDirectory::new(rng.draw(), 5, 1_000_000, faults);
    directory.create(FILE).unwrap();
    directory.sync().unwrap();
    directory = directory.power_cut(rng.below(120) + 1);

    let (mut found, mut relied) = (BTreeMap::new(), BTreeMap::new());
    let mut written: BTreeMap<u32, u64> = BTreeMap::new();
    for _ in 0..4 {
        // As the parent does: a predecessor may have been killed between a rename and this.
        let _ = directory.sync();
        let text = directory.read(FILE).unwrap();
        let file = directory.open(FILE).unwrap();
        let open = text.last().is_some_and(|&last| last != b'\n');
        let commit = Commit::new(file, text.len() as u64, open);
        if faults.sync == 0 && !directory.crashed() {
            // What has been read has been synced, and is relied on as if it had been acknowledged.
            relied = found.clone();
        }
        let mut server = Server {
            rng: &mut rng,
            directory: &directory,
            commit,
            memory: found,
            acknowledged: relied,
            step: Step::Idle,
            broken: false,
            seen,
        };
        server.run();
        let (memory, acknowledged) = (server.memory, server.acknowledged);
        for (address, version) in memory {
            let highest = written.entry(address).or_default();
            *highest = version.max(*highest);
        }
        let left = rng.below(120) + 1;
        let killed = rng.one_in(3);
        let next = if killed { directory.kill(left) } else { directory.power_cut(left) };
        let text = next.read(FILE).expect("the lease file");
        found = recover(&text, &written, &acknowledged, seen);
        // After a kill, what a failed sync has cost cannot be seen: a start after one relies on what
        // it reads only once that has been rewritten.
        relied = if killed { acknowledged } else { found.clone() };
        directory = next;
    }
}

#[test]
fn no_crash_loses_what_was_acknowledged() {
    let mut seen = Seen::default();
    for seed in 0..1_500 {
        let told =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| schedule(seed, &mut seen)));
        if let Err(panic) = told {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
    // The schedules went everywhere they should.
    for count in [
        seen.acknowledged / 10,
        seen.failed,
        seen.needed_rewrite,
        seen.switched,
        seen.rewrites_lost,
        seen.abandoned,
        seen.crashed_while_filling,
        seen.crashed_while_both,
        seen.torn,
    ] {
        assert!(count > 100, "{seen:?}");
    }
}
