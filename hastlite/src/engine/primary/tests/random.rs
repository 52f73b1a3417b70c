//! Random schedules, each from one seed, judged sector by sector.
//!
//! Every write has a number, in the order in which they came, and fills its sectors with it. A read
//! must return nothing older than the last write that was answered before it came. Links are cut,
//! either node loses its power or its process, media fail; at the end all is healed, and both
//! nodes must have the same, and nothing older than what was answered.

use super::world::*;
use crate::Data;
use crate::engine::*;
use crate::wire::errno::Errno;
use crate::wire::request::Cmd;
use std::collections::BTreeMap;

const SECTORS: usize = (SIZE / SECTOR) as usize;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A request under way.
struct Asked {
    op: Op,
    fua: bool,
    first: usize,
    version: u64,
    /// What was answered, in these sectors, when it came.
    floors: Vec<u64>,
}

struct Run {
    w: World,
    r: Random,
    faults: bool,
    mode: Replication,
    version: u64,
    /// The last write answered.
    floor: Vec<u64>,
    /// The last write that was answered before a flush that has been.
    durable: Vec<u64>,
    /// Writes of zeroes and trims.
    zeroes: Vec<Vec<u64>>,
    asked: BTreeMap<u64, Asked>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let modes = [Replication::Fullsync, Replication::Memsync, Replication::Async];
        let mode = modes[r.below(3)];
        let mut w = World::new(mode);
        w.peer.ext = if r.one_in(2) { ext::OURS } else { 0 };
        w.peer.version = if r.one_in(5) { 1 } else { 2 };
        let faults = r.one_in(2);
        Self {
            w,
            r,
            faults,
            mode,
            version: 0,
            floor: vec![0; SECTORS],
            durable: vec![0; SECTORS],
            zeroes: vec![Vec::new(); SECTORS],
            asked: BTreeMap::new(),
        }
    }

    fn ask(&mut self) {
        let op = [Op::Write, Op::Write, Op::Read, Op::Read, Op::Flush, Op::Zero, Op::Trim];
        let op = op[self.r.below(op.len())];
        // Few places, so that much overlaps.
        let first = if self.r.one_in(2) { self.r.below(24) } else { self.r.below(SECTORS) };
        let longest = if self.r.one_in(8) { 40 } else { 4 };
        let count = (1 + self.r.below(longest)).min(SECTORS - first);
        let (first, count) = if op == Op::Flush { (0, SECTORS) } else { (first, count) };
        self.version += 1;
        let version = self.version;
        if matches!(op, Op::Zero | Op::Trim) {
            self.zeroes[first..first + count].iter_mut().for_each(|z| z.push(version));
        }
        let fua = self.r.one_in(10);
        let floors = self.floor[first..first + count].to_vec();
        self.w.tag += 1;
        let tag = self.w.tag;
        self.asked.insert(tag, Asked { op, fua, first, version, floors });
        let length = if op == Op::Flush { 0 } else { count as u64 * SECTOR };
        let data = (op == Op::Write)
            .then(|| Data::from(version.to_le_bytes().repeat(count * SECTOR as usize / 8)));
        let offset = first as u64 * SECTOR;
        let request = ClientRequest { tag, op, offset, length, fua, data };
        self.w.on(PrimaryInput::Request(request));
    }

    fn answers(&mut self) {
        for (tag, result) in std::mem::take(&mut self.w.answers) {
            let asked = self.asked.remove(&tag).expect("an answer to nothing");
            let Ok(data) = result else { continue };
            for (index, before) in asked.floors.iter().enumerate() {
                let sector = asked.first + index;
                match asked.op {
                    Op::Flush => self.durable[sector] = self.durable[sector].max(*before),
                    Op::Read => {
                        let bytes = data.as_ref().expect("a read without data");
                        self.judge(sector, *before, &bytes[index * SECTOR as usize..], "read");
                    }
                    _ => {
                        self.floor[sector] = self.floor[sector].max(asked.version);
                        if asked.fua {
                            self.durable[sector] = self.durable[sector].max(asked.version);
                        }
                    }
                }
            }
        }
    }

    fn judge(&self, sector: usize, floor: u64, bytes: &[u8], what: &str) {
        let found = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let whole = bytes[..SECTOR as usize].chunks(8).all(|c| c == &bytes[..8]);
        assert!(whole, "{what}: sector {sector} is torn");
        let good = match found {
            0 => floor == 0 || self.zeroes[sector].iter().any(|z| *z >= floor),
            version => version >= floor,
        };
        assert!(good, "{what}: sector {sector} has {found}, answered was {floor}");
    }

    /// What only a cache had may be lost: nobody can expect it any more.
    fn forget(&mut self) {
        self.floor.clone_from(&self.durable);
        for asked in self.asked.values_mut() {
            for (floor, durable) in asked.floors.iter_mut().zip(&self.durable[asked.first..]) {
                *floor = (*floor).min(*durable);
            }
        }
    }

    fn power_fails(&mut self, here: bool) {
        let disk = if here { &mut self.w.disk } else { &mut self.w.peer.disk };
        for sector in 0..SECTORS {
            let range = sector * SECTOR as usize..(sector + 1) * SECTOR as usize;
            if self.r.one_in(2) {
                let old = disk.stable[range.clone()].to_vec();
                disk.now[range].copy_from_slice(&old);
            }
        }
        disk.flush();
    }

    fn peer_ends(&mut self) {
        // What is on its way is received in part.
        for _ in 0..self.r.below(3) {
            self.w.peer_one();
        }
        if self.r.one_in(3) {
            // While only the other node counts, its cache was the only place.
            let status = self.w.engine.status();
            if status.detached || status.consistency == Consistency::Inconsistent {
                self.forget();
            }
            self.power_fails(false);
        }
        self.w.peer.away = self.r.one_in(2);
        self.w.cut();
    }

    fn primary_ends(&mut self) {
        for _ in 0..self.r.below(3) {
            self.w.peer_one();
        }
        for (_, io) in std::mem::take(&mut self.w.ios) {
            if self.r.one_in(2) {
                self.applied(io);
            }
        }
        self.answers();
        if self.r.one_in(2) {
            self.forget();
            self.power_fails(true);
        }
        self.w.peer.requests.clear();
        self.w.peer.replies.clear();
        self.w.inputs.clear();
        self.w.connected = false;
        self.asked.clear();
        self.mode = [Replication::Fullsync, Replication::Memsync][self.r.below(2)];
        let settings = settings(self.mode);
        let seed = self.r.next();
        self.w.engine = Primary::new(self.w.meta.clone(), &self.w.map, settings, seed);
    }

    fn applied(&mut self, io: Io) {
        match io {
            Io::Write { offset, data } => self.w.disk.write(offset, &data),
            Io::Zero { offset, length } | Io::Discard { offset, length } => {
                self.w.disk.write(offset, &vec![0; length as usize]);
            }
            Io::Map(bytes) => self.w.map = bytes.to_vec(),
            Io::Meta(meta) => self.w.meta = *meta,
            Io::Read { .. } | Io::Flush => {}
        }
    }

    fn disk_fails(&mut self) {
        let index = self.r.below(self.w.ios.len());
        if let Some((token, io)) = self.w.ios.remove(index) {
            if matches!(io, Io::Flush) && !self.r.one_in(8) {
                return self.w.ios.push_front((token, io));
            }
            if self.r.one_in(2) {
                self.applied(io);
            }
            self.w.on(PrimaryInput::Done(token, Err(Errno::EIO)));
        }
    }

    /// The other node does what it likes first, except where it may not.
    fn peer_does(&mut self) {
        let requests = &self.w.peer.requests;
        let mut index = self.r.below(requests.len());
        let fits = |index: usize| {
            requests.get(index).is_some_and(|one| {
                matches!(one.cmd, Cmd::Read | Cmd::Write | Cmd::Delete)
                    && requests.iter().take(index).all(|other| {
                        other.cmd == Cmd::Keepalive
                            || other.offset >= one.offset + one.length
                            || one.offset >= other.offset + other.length
                    })
            })
        };
        if !fits(index) {
            index = 0;
        }
        if let Some(request) = self.w.peer.requests.remove(index) {
            self.w.peer.requests.push_front(request);
        }
        if self.faults && self.r.one_in(60) {
            let cmd = [Cmd::Write, Cmd::Read, Cmd::Delete, Cmd::Flush][self.r.below(4)];
            // With "not supported" a flush would say that there is no cache: here there is one.
            let errno =
                [libc::EIO, libc::EOPNOTSUPP][self.r.below(if cmd == Cmd::Flush { 1 } else { 2 })];
            self.w.peer.fail = Some((cmd, Errno(errno), 1));
        }
        self.w.peer_one();
    }

    fn reply_comes(&mut self) {
        let replies = &self.w.peer.replies;
        let index = self.r.below(replies.len());
        let seq = replies.get(index).map(|r| r.seq);
        let first = replies.iter().position(|r| Some(r.seq) == seq);
        self.w.reply_one(first.unwrap_or(0));
    }

    fn step(&mut self) {
        match self.r.below(100) {
            0..25 => self.ask(),
            25..50 => {
                let index = self.r.below(self.w.ios.len());
                self.w.disk_one(index);
            }
            50..70 => self.peer_does(),
            70..88 => self.reply_comes(),
            88..95 => self.w.input_one(),
            95..97 => {
                self.w.now += self.r.next() % 2_000;
                self.w.tick();
            }
            97 if self.faults && self.r.one_in(6) => self.disk_fails(),
            98 if self.r.one_in(5) => self.peer_ends(),
            99 if self.r.one_in(8) => self.primary_ends(),
            _ => self.w.peer.away = false,
        }
        self.answers();
        if self.r.one_in(10) {
            self.replica();
        }
    }

    /// While both are said to have the same, the other node has all that its mode promised.
    fn replica(&self) {
        let settled = self.w.connected && self.w.engine.map().to_peer().is_empty();
        if self.mode == Replication::Async || !settled {
            return;
        }
        for sector in 0..SECTORS {
            let at = sector * SECTOR as usize;
            self.judge(sector, self.floor[sector], &self.w.peer.disk.now[at..], "there");
        }
    }

    fn heal(&mut self) {
        self.w.peer.away = false;
        self.w.peer.fail = None;
        self.w.pass(120_000);
        self.answers();
        assert!(self.asked.is_empty(), "not answered: {:?}", self.asked.keys());
        if self.w.engine.status().detached {
            self.w.inputs.clear();
            self.primary_ends();
            self.w.pass(120_000);
        }
        let status = self.w.engine.status();
        assert!(status.connected && status.dirty == 0 && status.sync.is_none(), "{status:?}");
        assert_eq!(status.consistency, Consistency::Consistent);
        assert_eq!((status.requests, status.local_queue, status.recv_queue), (0, 0, 0));
        for sector in 0..SECTORS {
            let at = sector * SECTOR as usize;
            self.judge(sector, self.floor[sector], &self.w.disk.now[at..], "here");
        }
        for sector in 0..SECTORS {
            let range = sector * SECTOR as usize..(sector + 1) * SECTOR as usize;
            let (here, there) = (&self.w.disk.now[range.clone()], &self.w.peer.disk.now[range]);
            assert_eq!(here[..8], there[..8], "sector {sector} differs");
        }
        assert_eq!(self.w.meta.localcnt, self.w.peer.meta.remotecnt);
    }
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    run.w.tick();
    for _ in 0..1 + run.r.below(600) {
        run.step();
    }
    run.heal();
}

/// The same ones every time, unless the environment names another beginning and number (0: until
/// one fails).
#[test]
fn random_schedules() {
    let number = |name: &str, otherwise| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
    };
    let first: u64 = number("HASTLITE_SEED", 1);
    let last = match number("HASTLITE_RUNS", 1_000) {
        0 => u64::MAX,
        runs => first + runs,
    };
    for seed in first..last {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("failed with HASTLITE_SEED={seed} HASTLITE_RUNS=1");
            std::panic::resume_unwind(panic);
        }
    }
}
