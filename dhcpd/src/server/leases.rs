//! Leases on their way to the disk: acknowledgements that wait for it, and the lease file's
//! replacement from time to time.
//!
//! The policy only: the daemon and the simulator of crashes drive the same. How a record becomes
//! durable, and who lets go of what has waited for that, is the journal's; which file is the lease
//! file is the parent's; descriptors and the parent's channel are in `shell`.

mod batch;
mod load;
mod shell;
mod watches;

pub use batch::Batch;
#[cfg(test)]
pub(crate) use batch::RECORD;
pub(crate) use load::load;

use crate::config::Config;
use crate::engine::counters::Counters;
use crate::engine::{Actions, Engine, Interface, Now};
use crate::journal::commit::Disk;
use crate::journal::{Event, Failure, Full, Journal, LogFile, Seq};
use crate::msg::{Renamed, ToParent};
use crate::server::replies::Wires;
use batch::{durable, has_acknowledgements, is_heard_of, is_told, size};
use std::sync::Arc;
use watches::Watches;

/// Milliseconds after which the lease file is rewritten for a single record.
const LONG: u64 = 3_600_000;
/// Milliseconds until a rewrite that failed is tried again.
const AGAIN: u64 = 60_000;
/// The same while the file in use takes nothing and nobody can be acknowledged.
const AGAIN_SOON: u64 = 1_000;

/// Bytes: at the highest rate that is served, what comes in a quarter of a second, should the disk
/// take so long for a sync.
const WAITING: usize = 16 << 20;
/// Emptied batches kept at most: more than that wait only when the disk is slow.
const SPARE: usize = 256;

/// How much is done at once, and how much may wait. The simulator's are small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Records after which the lease file is rewritten, unless there are more leases than that.
    pub(crate) many: usize,
    /// Leases copied into the new file at a time.
    pub(crate) copied: usize,
    /// Bytes of batches that may wait for the disk before no more packets are read.
    pub(crate) waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { many: 1000, copied: 1000, waiting: WAITING }
    }
}

/// Where the rewrite of the lease file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrite {
    Idle,
    /// The parent was asked for a new file.
    Asked,
    /// The leases from here on are still to be copied.
    Copying(u64),
    /// All are copied; the journal makes them durable.
    Syncing,
    /// The new file is as good as the old one.
    Whole,
    /// The parent was asked to put the new file in the old one's place.
    Renaming,
}

/// The journal, and everything that waits for it. `W` are the ways out.
pub struct Leases<D = LogFile, W = Wires> {
    journal: Journal<D, Batch<W>>,
    wires: Arc<W>,
    limits: Limits,
    events: Vec<Event>,
    finished: Vec<(Seq, Batch<W>)>,
    /// The last commit, and the last one of which it is known what became of it.
    committed: Seq,
    told: Seq,
    /// How many bytes of batches wait.
    waiting: usize,
    /// Emptied batches, kept for their memory.
    spare: Vec<Actions>,
    rewrite: Rewrite,
    /// Records since the last rewrite began.
    records: usize,
    /// So many make the next one worth while.
    many: usize,
    /// No rewrite before this time, in milliseconds.
    not_before: u64,
    /// A rewrite at this time even for one record.
    at_last: u64,
    /// A rewrite as soon as may be.
    wanted: bool,
    /// The last commit failed: said once, until one succeeds.
    failing: bool,
    /// Why the last rewrite failed: said once, until one succeeds or fails otherwise.
    complaint: Option<String>,
    copy: Vec<u8>,
    watches: Watches,
    /// What is wrong with the disk, while something is.
    trouble: Option<String>,
    counters: Counters,
    /// Batches that other servers were to be told of, and whose records never came to the disk.
    lost: Vec<Actions>,
}

impl<D: Disk, W> Leases<D, W> {
    /// Goes on where the journal does, and rewrites the lease file at once: a crash may have left
    /// anything at its end, and the copy has each lease once.
    pub(crate) fn new(
        journal: Journal<D, Batch<W>>,
        wires: Arc<W>,
        limits: Limits,
        now: Now,
    ) -> Self {
        Leases {
            journal,
            wires,
            limits,
            events: Vec::new(),
            finished: Vec::new(),
            committed: 0,
            told: 0,
            waiting: 0,
            spare: Vec::new(),
            rewrite: Rewrite::Idle,
            records: 0,
            many: limits.many,
            not_before: now.mono,
            at_last: now.mono + LONG,
            wanted: true,
            failing: false,
            complaint: None,
            copy: Vec::new(),
            watches: Watches::default(),
            trouble: None,
            counters: Counters::default(),
            lost: Vec::new(),
        }
    }

    /// Whether so much waits for the disk that no more packets should be read.
    pub fn is_congested(&self) -> bool {
        self.waiting >= self.limits.waiting || !self.journal.has_room()
    }

    /// When [`Leases::step`] is due even if nothing happens, in milliseconds.
    pub fn next_step(&self) -> Option<u64> {
        match self.rewrite {
            Rewrite::Whole => Some(self.not_before),
            Rewrite::Idle if self.wanted || self.records > self.many => Some(self.not_before),
            Rewrite::Idle if self.records > 0 => Some(self.at_last.max(self.not_before)),
            _ => None,
        }
    }

    /// Gives a batch's records to the journal and takes the batch, if any of its replies or hooks
    /// must wait for them; `actions` is empty afterwards in any case.
    pub fn commit(&mut self, actions: &mut Actions, now: Now) {
        self.wanted |= actions.rewrite;
        if actions.journal.is_empty() {
            actions.clear();
            return;
        }
        if self.records == 0 {
            self.at_last = now.mono + LONG;
        }
        self.records += actions.records;
        self.counters.journal_records += actions.records as u64;
        self.counters.journal_commits += 1;
        let urgent = is_heard_of(actions) || is_told(actions);
        let mut records = std::mem::take(&mut actions.journal);
        let mut batch = match urgent || has_acknowledgements(actions) {
            true => {
                let mut next = self.spare.pop().unwrap_or_default();
                next.hooks = actions.hooks.is_some().then(Vec::new);
                next.sync = actions.sync.is_some().then(|| next.sync.take().unwrap_or_default());
                let actions = std::mem::replace(actions, next);
                Some(Batch { actions, wires: Arc::clone(&self.wires) })
            }
            false => None,
        };
        let waits = batch.as_ref().map_or(0, |batch| size(&batch.actions));
        match self.journal.commit(&records, &mut batch) {
            Ok(seq) => {
                self.committed = seq;
                self.waiting += waits;
                // Who hears of it when the server comes by hears of it soon enough, unless somebody
                // waits for that, or the server will not come by.
                if urgent || self.is_congested() {
                    self.journal.ring();
                }
            }
            Err(Full) => {
                log::error!("commit_leases: unable to commit: too much waits for the disk");
                // The engine's leases are ahead of the file now: the next file has them.
                self.wanted = true;
                self.counters.journal_full += 1;
                if let Some(Batch { actions, .. }) = batch {
                    self.counters.replies_suppressed += durable(&actions);
                    self.give_up(actions);
                }
            }
        }
        records.clear();
        actions.clear();
        actions.journal = records;
    }

    /// What a batch changed will not be found after a crash: other servers are not to be told.
    fn give_up(&mut self, batch: Actions) {
        match is_told(&batch) {
            true => self.lost.push(batch),
            false => self.keep(batch),
        }
    }

    /// Keeps a batch for its memory.
    fn keep(&mut self, mut batch: Actions) {
        if self.spare.len() < SPARE {
            batch.clear();
            self.spare.push(batch);
        }
    }

    /// Hears what the journal has done: `tell` gets each batch whose records are on disk, in order;
    /// its acknowledgements have left. The batches of a commit that failed are dropped, and their
    /// clients ask again.
    pub fn hear(&mut self, engine: &Engine, now: Now, mut tell: impl FnMut(&Actions)) {
        let mut events = std::mem::take(&mut self.events);
        self.journal.done(&mut events, &mut self.finished);
        for event in events.drain(..) {
            match event {
                Event::Done { upto, result } => self.done(upto, result, now, &mut tell),
                Event::SnapshotTaken => self.copy(engine),
                Event::Rewritten => self.rewrite = Rewrite::Whole,
                Event::RewriteFailed(failure) => self.failed(&failure, now),
            }
        }
        self.events = events;
    }

    fn done(
        &mut self,
        upto: Seq,
        result: Result<(), Failure>,
        now: Now,
        tell: &mut impl FnMut(&Actions),
    ) {
        match &result {
            Ok(()) if std::mem::take(&mut self.failing) => {
                log::warn!("commit_leases: leases are on disk again");
            }
            Ok(()) => {}
            Err(failure) => {
                self.counters.journal_failures += 1;
                self.trouble = Some(failure.to_string());
                if !std::mem::replace(&mut self.failing, true) {
                    log::error!("commit_leases: unable to commit: {failure}");
                }
                // The engine is ahead of the file now; the next one has everything. Not in a while,
                // because an earlier rewrite failed: nobody may be acknowledged until then.
                self.wanted = true;
                self.not_before = self.not_before.min(now.mono + AGAIN_SOON);
            }
        }
        if result.is_ok() {
            self.counters.journal_syncs += 1;
            self.trouble = None;
        }
        self.watches.hear(upto, &result);
        self.told = upto;
        let mut finished = std::mem::take(&mut self.finished);
        let of_these = finished.iter().take_while(|(seq, _)| *seq <= upto).count();
        let size = finished[..of_these].iter().map(|(_, batch)| size(&batch.actions)).sum();
        self.waiting = self.waiting.saturating_sub(size);
        for (_, Batch { actions, .. }) in finished.drain(..of_these) {
            if result.is_ok() {
                tell(&actions);
                self.keep(actions);
            } else {
                self.counters.replies_suppressed += durable(&actions);
                self.give_up(actions);
            }
        }
        self.finished = finished;
    }

    /// Takes the batches that other servers will not be told of, after all.
    pub fn lost(&mut self) -> Vec<Actions> {
        std::mem::take(&mut self.lost)
    }

    /// Takes the next step of a rewrite, if one is due: what to ask of the parent.
    pub(crate) fn wish(&mut self, now: Now) -> Option<ToParent> {
        match self.rewrite {
            Rewrite::Idle if self.next_step().is_some_and(|at| at <= now.mono) => {
                self.rewrite = Rewrite::Asked;
                Some(ToParent::WantNewFile)
            }
            Rewrite::Whole if now.mono >= self.not_before => {
                self.rewrite = Rewrite::Renaming;
                Some(ToParent::WantRename)
            }
            _ => None,
        }
    }

    /// The parent's answer to a wish for a new file.
    pub fn new_file(&mut self, answer: Result<D, String>, engine: &Engine, now: Now) {
        match answer {
            Ok(file) if self.rewrite == Rewrite::Asked => {
                // Never two at once: one is asked for only when none is under way.
                self.journal.begin_rewrite(file);
                self.records = 0;
                self.many = self.limits.many.max(engine.len());
                self.wanted = false;
                self.rewrite = Rewrite::Copying(0);
                self.copy(engine);
            }
            Ok(_) => self.failed(&"a new file that nobody asked for", now),
            Err(why) => self.failed(&why, now),
        }
    }

    /// Copies the next leases. One piece at a time is with the journal, so that packets and their
    /// records come between.
    fn copy(&mut self, engine: &Engine) {
        let Rewrite::Copying(from) = self.rewrite else { return };
        self.copy.clear();
        let next = engine.snapshot_from(from, self.limits.copied, &mut self.copy);
        self.journal.snapshot(&self.copy);
        self.rewrite = match next {
            Some(next) => Rewrite::Copying(next),
            None => {
                self.journal.end_snapshot();
                Rewrite::Syncing
            }
        };
    }

    /// [`Engine::reconfigure`]. Leases may be elsewhere in the order of a copy then: one that is
    /// under way begins anew; what it has copied twice is read twice.
    pub(crate) fn reconfigure(
        &mut self,
        engine: &mut Engine,
        config: Arc<Config>,
        interfaces: Vec<Interface>,
        now: Now,
        actions: &mut Actions,
    ) -> bool {
        let moved = engine.reconfigure(config, interfaces, now, actions);
        if moved && matches!(self.rewrite, Rewrite::Copying(_)) {
            self.rewrite = Rewrite::Copying(0);
        }
        moved
    }

    /// Interfaces have other numbers from here on. What waits leaves by what it was meant for.
    pub fn set_wires(&mut self, wires: Arc<W>) {
        self.wires = wires;
    }

    /// The parent's answer to a wish to put the new file in the old one's place.
    pub fn renamed(&mut self, answer: Renamed, now: Now) {
        match answer {
            Renamed::Yes => {
                self.journal.switch();
                self.rewrite = Rewrite::Idle;
                self.complaint = None;
                self.counters.rewrites += 1;
            }
            Renamed::No(why) => {
                self.journal.abandon_rewrite();
                self.failed(&why, now);
            }
            // Either file may be found after a crash: both go on to get every record.
            Renamed::Maybe(why) => {
                log::error!("replace the lease file: {why}");
                self.rewrite = Rewrite::Whole;
                self.not_before = now.mono + AGAIN_SOON;
            }
        }
    }

    fn failed(&mut self, why: &dyn std::fmt::Display, now: Now) {
        self.counters.rewrite_failures += 1;
        let why = why.to_string();
        if self.complaint.as_ref() != Some(&why) {
            log::error!("rewrite the lease file: {why}");
            self.complaint = Some(why);
        }
        self.rewrite = Rewrite::Idle;
        self.wanted = true;
        self.not_before = now.mono + if self.failing { AGAIN_SOON } else { AGAIN };
    }

    /// The last commit.
    pub fn committed(&self) -> Seq {
        self.committed
    }

    /// Remembers what becomes of the last commit until [`Leases::outcome`] has told it.
    pub fn watch(&mut self) -> u64 {
        self.journal.ring();
        // It may be known already.
        let known = self.is_settled();
        let outcome = known.then(|| self.trouble.clone().map_or(Ok(()), Err));
        self.watches.add(self.committed, outcome)
    }

    /// What became of a commit that was watched, once it is known, and once.
    pub fn outcome(&mut self, number: u64) -> Option<Result<(), String>> {
        self.watches.outcome(number)
    }

    /// What is wrong with writing leases, if something is.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.clone().or_else(|| self.complaint.clone())
    }

    /// Fills in what happened here.
    pub fn count(&self, all: &mut Counters) {
        let own = &self.counters;
        all.journal_records = own.journal_records;
        all.journal_commits = own.journal_commits;
        all.journal_syncs = own.journal_syncs;
        all.journal_failures = own.journal_failures;
        all.journal_full = own.journal_full;
        all.replies_suppressed = own.replies_suppressed;
        all.rewrites = own.rewrites;
        all.rewrite_failures = own.rewrite_failures;
    }

    /// Whether the lease file is being rewritten.
    #[cfg(test)]
    pub(crate) fn is_rewriting(&self) -> bool {
        self.rewrite != Rewrite::Idle
    }

    /// Whether it is known of everything that was committed what became of it. What nobody waits
    /// for, such as a lease that was given back, counts too.
    pub(crate) fn is_settled(&self) -> bool {
        self.told >= self.committed
    }
}

#[cfg(test)]
mod tests;
