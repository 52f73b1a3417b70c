//! Clients that write at random, and the record of what was acknowledged to them: what may be read
//! of every sector afterwards, whatever happened to the nodes in between.
//!
//! A write is in flight from its request to its answer, or to the end of its connection. A sector
//! may read as any write that no other write has followed which was acknowledged: one that began
//! after the first had ended. A write that was never acknowledged may have been done, or not.

use crate::nbd::{Nbd, Reply, command};
use crate::random::Random;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a sector: each has one write's bytes, whole.
pub const SECTOR: usize = 512;

/// A write, as one sector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    version: u64,
    zeroes: bool,
    issued: u64,
    ended: Option<u64>,
}

/// What may be in each sector.
pub struct Record {
    sectors: Vec<Vec<Entry>>,
    /// Counts events: what is larger is later.
    clock: u64,
}

/// Some sectors, and what is in flight there.
#[derive(Clone, Copy, Debug)]
struct Span {
    sector: usize,
    count: usize,
    version: u64,
}

impl Record {
    /// Of so many bytes of zeroes.
    pub fn new(size: u64) -> Self {
        let zeroes = Entry { version: 0, zeroes: true, issued: 0, ended: Some(0) };
        Record { sectors: vec![vec![zeroes]; size as usize / SECTOR], clock: 1 }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn begin(&mut self, sector: usize, count: usize, zeroes: bool) -> Span {
        let version = self.tick();
        let entry = Entry { version, zeroes, issued: version, ended: None };
        self.sectors[sector..sector + count].iter_mut().for_each(|own| own.push(entry));
        Span { sector, count, version }
    }

    /// The write has come to its end.
    fn end(&mut self, span: Span, acknowledged: bool) {
        let now = self.tick();
        for own in &mut self.sectors[span.sector..span.sector + span.count] {
            for entry in own.iter_mut().filter(|entry| entry.version == span.version) {
                entry.ended = Some(now);
            }
            if acknowledged {
                // What had ended before this one began has been followed by it.
                own.retain(|entry| entry.ended.is_none_or(|ended| ended >= span.version));
            }
        }
    }

    /// Whether nothing has been in flight there since `since`.
    fn is_still(&self, sector: usize, since: u64) -> bool {
        self.sectors[sector]
            .iter()
            .all(|entry| entry.issued < since && entry.ended.is_some_and(|ended| ended < since))
    }

    /// Looks at what was read where nothing is in flight.
    ///
    /// # Errors
    /// It may not be there.
    fn check(&self, sector: usize, bytes: &[u8]) -> Result<Entry, String> {
        let may = &self.sectors[sector];
        may.iter()
            .rev()
            .find(|entry| match entry.zeroes {
                true => bytes.iter().all(|byte| *byte == 0),
                false => bytes == content(entry.version, sector),
            })
            .copied()
            .ok_or_else(|| {
                let word = |at: usize| {
                    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
                };
                let whole = bytes == content(word(0), sector);
                let (version, of) = (word(0), word(8));
                format!(
                    "sector {sector} reads as write {version} (of sector {of}, whole: {whole}); \
                     it may be one of {may:?}"
                )
            })
    }

    /// Reads all of it, with nobody else at work; from then on what was found is what is there.
    ///
    /// # Errors
    /// Something may not be there, or cannot be read.
    pub fn verify(&mut self, client: &mut Nbd) -> Result<(), String> {
        const PIECE: usize = 2048;
        let mut wrong = Vec::new();
        for first in (0..self.sectors.len()).step_by(PIECE) {
            let count = PIECE.min(self.sectors.len() - first);
            let bytes = client
                .read((first * SECTOR) as u64, count * SECTOR)
                .map_err(|e| format!("read sector {first}: {e}"))?;
            for (at, bytes) in bytes.chunks(SECTOR).enumerate() {
                match self.check(first + at, bytes) {
                    Ok(found) => self.sectors[first + at] = vec![found],
                    Err(why) => wrong.push(why),
                }
            }
        }
        match wrong.len() {
            0 => Ok(()),
            count => {
                wrong.truncate(5);
                Err(format!("{count} sectors are wrong: {}", wrong.join("; ")))
            }
        }
    }
}

/// The bytes of a sector that was written.
fn content(version: u64, sector: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut random = Random::new(version << 20 ^ sector as u64);
    for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
        let number = match at {
            0 => version,
            1 => sector as u64,
            _ => random.number(),
        };
        word.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

struct Shared {
    record: Mutex<Record>,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    slowest: Mutex<Duration>,
    patience: Duration,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How clients have fared.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests that were done.
    pub acknowledged: u64,
    /// Requests that were answered with an error.
    pub refused: u64,
    /// Why connections ended that were to go on.
    pub lost: Vec<String>,
    /// The longest that a request was in flight.
    pub slowest: Duration,
}

/// Some clients at work. They end when told, or when their connection does.
pub struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Clients {
    /// Starts `count` of them at an export. No request may take longer than `patience`.
    pub fn start(
        socket: &Path,
        export: &str,
        record: Record,
        count: u64,
        seed: u64,
        patience: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            record: Mutex::new(record),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            slowest: Mutex::new(Duration::ZERO),
            patience,
        });
        let threads = (0..count)
            .map(|number| {
                let (shared, export) = (shared.clone(), export.to_owned());
                let (socket, random) = (PathBuf::from(socket), Random::new(seed ^ number << 32));
                std::thread::spawn(move || work(&shared, &socket, &export, random))
            })
            .collect();
        Clients { shared, threads }
    }

    /// Requests that were done so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether all have ended already.
    pub fn are_gone(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for so many more requests to be done, or for the clients' end.
    ///
    /// # Panics
    /// If neither comes within `limit`.
    pub fn wait_for(&self, more: u64, limit: Duration) {
        let until = self.acknowledged() + more;
        crate::process::until(&format!("{more} more requests are done"), limit, || {
            self.acknowledged() >= until || self.are_gone()
        });
    }

    /// Has them bring to an end what they have begun. What they did, and what may be read now.
    pub fn end(self) -> (Record, Outcome) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut lost = Vec::new();
        for thread in self.threads {
            if let Err(error) = thread.join().unwrap_or_else(|_| Err(io::Error::other("panic"))) {
                lost.push(error.to_string());
            }
        }
        let shared = self.shared;
        let record = std::mem::replace(&mut *shared.record(), Record::new(0));
        let slowest = *shared.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = Outcome {
            acknowledged: shared.acknowledged.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            lost,
            slowest,
        };
        (record, outcome)
    }
}

/// What a request is, until it is answered.
struct Flying {
    since: Instant,
    what: What,
}

enum What {
    Change(Span),
    Read { sector: usize, issued: u64 },
    Flush,
}

fn work(shared: &Shared, socket: &Path, export: &str, mut random: Random) -> io::Result<()> {
    let mut client = Nbd::connect(socket, export, shared.patience)?;
    let mut flying = HashMap::new();
    let result = requests(shared, &mut client, &mut flying, &mut random);
    // Nobody will answer these.
    for (_, flying) in flying.drain() {
        note(shared, flying.since);
        if let What::Change(span) = flying.what {
            shared.record().end(span, false);
        }
    }
    result
}

fn note(shared: &Shared, since: Instant) {
    let mut slowest = shared.slowest.lock().unwrap_or_else(PoisonError::into_inner);
    *slowest = slowest.max(since.elapsed());
}

fn requests(
    shared: &Shared,
    client: &mut Nbd,
    flying: &mut HashMap<u64, Flying>,
    random: &mut Random,
) -> io::Result<()> {
    loop {
        let depth = 1 + random.below(24) as usize;
        while flying.len() < depth && !shared.stop.load(Ordering::Relaxed) {
            request(shared, client, flying, random)?;
        }
        if flying.is_empty() {
            return Ok(());
        }
        let reply = client.reply()?;
        let Some(Flying { since, what }) = flying.remove(&reply.cookie) else {
            return Err(io::Error::other(format!("a reply to nothing: {}", reply.cookie)));
        };
        note(shared, since);
        answered(shared, what, &reply)?;
    }
}

fn request(
    shared: &Shared,
    client: &mut Nbd,
    flying: &mut HashMap<u64, Flying>,
    random: &mut Random,
) -> io::Result<()> {
    let longest = if random.one_in(16) { 512 } else { 24 };
    let mut record = shared.record();
    let count = 1 + random.below(longest.min(record.sectors.len() as u64)) as usize;
    let sector = random.below((record.sectors.len() - count + 1) as u64) as usize;
    let (offset, length) = ((sector * SECTOR) as u64, count * SECTOR);
    let flags = if random.one_in(20) { command::FUA } else { 0 };
    let (command, flags, data, what) = match random.below(20) {
        0 => (command::FLUSH, 0, Vec::new(), What::Flush),
        1 => {
            let span = record.begin(sector, count, true);
            (command::WRITE_ZEROES, flags, Vec::new(), What::Change(span))
        }
        2..=4 => {
            let issued = record.tick();
            (command::READ, 0, Vec::new(), What::Read { sector, issued })
        }
        _ => {
            let span = record.begin(sector, count, false);
            let data = (sector..sector + count).flat_map(|at| content(span.version, at)).collect();
            (command::WRITE, flags, data, What::Change(span))
        }
    };
    drop(record);
    let (offset, length) = match what {
        What::Flush => (0, 0),
        _ => (offset, length as u32),
    };
    let since = Instant::now();
    match client.send(command, flags, offset, length, &data) {
        Ok(cookie) => {
            flying.insert(cookie, Flying { since, what });
            Ok(())
        }
        Err(error) => {
            // Some of it may have been understood.
            flying.insert(u64::MAX, Flying { since, what });
            Err(error)
        }
    }
}

fn answered(shared: &Shared, what: What, reply: &Reply) -> io::Result<()> {
    let done = reply.error == 0;
    let counter = if done { &shared.acknowledged } else { &shared.refused };
    match what {
        What::Change(span) => shared.record().end(span, done),
        What::Read { sector, issued } if done => {
            let record = shared.record();
            for (at, bytes) in reply.data.chunks(SECTOR).enumerate() {
                if record.is_still(sector + at, issued) {
                    record.check(sector + at, bytes).map_err(io::Error::other)?;
                }
            }
        }
        What::Read { .. } | What::Flush => {}
    }
    counter.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read() {
        let mut record = Record::new(4 * SECTOR as u64);
        let zero = [0; SECTOR];
        let first = record.begin(0, 2, false);
        // In flight: either.
        assert!(record.check(0, &zero).is_ok());
        assert!(record.check(0, &content(first.version, 0)).is_ok());
        assert!(record.check(0, &content(first.version, 1)).is_err());
        record.end(first, true);
        assert!(record.check(0, &zero).is_err());
        assert!(record.check(2, &zero).is_ok());
        // Two at a time, in whichever order.
        let second = record.begin(1, 1, false);
        let third = record.begin(1, 1, true);
        record.end(third, true);
        record.end(second, true);
        assert!(record.check(1, &content(first.version, 1)).is_err());
        assert!(record.check(1, &content(second.version, 1)).is_ok());
        assert!(record.check(1, &zero).is_ok());
        // Never answered: done or not, until another one is acknowledged.
        let fourth = record.begin(1, 1, false);
        record.end(fourth, false);
        assert!(record.check(1, &content(second.version, 1)).is_ok());
        assert!(record.check(1, &content(fourth.version, 1)).is_ok());
        let fifth = record.begin(1, 1, false);
        record.end(fifth, true);
        assert!(record.check(1, &content(fourth.version, 1)).is_err());
        assert!(record.check(1, &content(fifth.version, 1)).is_ok());
    }
}
