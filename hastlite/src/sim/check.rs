//! The checker: what every sector may be, whom it was promised on, and what has become of it.
//!
//! Time here is a count of events. A write is an entry of the history of each of its sectors; it is
//! begun, and ends with an answer, or with the process that was to answer. An entry replaces those
//! that had ended when it was begun, once it has been acknowledged. A read may return any entry
//! that at some moment of the read had not been replaced.
//!
//! A promise says that an acknowledged write is on a node: in its cache, or on stable storage. It is
//! made at the acknowledgement, by mode and by whether the primary took the other node for complete
//! there; and at the end of a flush or of a resynchronisation.

/// Where a write is to be found on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Nowhere that anybody answers for.
    No,
    /// As long as that node keeps its power.
    Cached,
    /// Always.
    Stable,
}

/// A write, or zeroes, to one sector.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the sector reads as.
    pub value: u64,
    begun: u64,
    ended: u64,
    acked: bool,
    replaced: u64,
    /// The node that acknowledged it while nobody took the other node for complete.
    alone: Option<usize>,
    /// On either node.
    pub on: [Promise; 2],
}

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    /// On either node.
    pub on: [Promise; 2],
    /// The node whose primary did not take the other node for complete.
    pub alone: Option<usize>,
}

const NEVER: u64 = u64::MAX;

/// Of all sectors.
pub type Sectors = Vec<Vec<Entry>>;

/// What one node's clients believe while the other node has acknowledged more.
#[derive(Clone, Debug)]
pub struct Fork {
    /// The node that has acknowledged what is not known here.
    pub from: usize,
    sectors: Sectors,
    at: u64,
    /// A sector of which the other node has more.
    why: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Check {
    sectors: Sectors,
    clock: u64,
    /// Two truths.
    pub fork: Option<Fork>,
    /// Both have acknowledged what the other has not: they must never be linked.
    pub diverged: bool,
    /// The node that served last.
    last: usize,
}

impl Check {
    /// All zeroes, on both nodes.
    pub fn new(sectors: usize) -> Self {
        let zero = Entry {
            value: 0,
            begun: 0,
            ended: 0,
            acked: true,
            replaced: NEVER,
            alone: None,
            on: [Promise::Stable; 2],
        };
        let sectors = vec![vec![zero]; sectors];
        Self { sectors, clock: 1, fork: None, diverged: false, last: 0 }
    }

    /// Now.
    pub fn time(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A change of these sectors begins; when it did.
    pub fn begin(&mut self, first: usize, count: usize, value: u64) -> u64 {
        let begun = self.time();
        for sector in &mut self.sectors[first..first + count] {
            let (ended, replaced) = (NEVER, NEVER);
            let on = [Promise::No; 2];
            let (acked, alone) = (false, None);
            sector.push(Entry { value, begun, ended, acked, replaced, alone, on });
        }
        begun
    }

    /// It has been answered, or never will be. `on` is asked for each sector's promises.
    pub fn end(
        &mut self,
        first: usize,
        count: usize,
        begun: u64,
        acked: bool,
        mut on: impl FnMut(usize) -> Promised,
    ) {
        let now = self.time();
        let mut alone = false;
        for number in first..first + count {
            let sector = &mut self.sectors[number];
            if acked {
                for entry in sector.iter_mut().filter(|entry| entry.ended < begun) {
                    entry.replaced = entry.replaced.min(now);
                }
            }
            if let Some(entry) = sector.iter_mut().find(|entry| entry.begun == begun) {
                entry.ended = now;
                entry.acked = acked;
                if acked {
                    let promised = on(number);
                    (entry.on, entry.alone) = (promised.on, promised.alone);
                    alone |= promised.alone.is_some();
                }
            }
        }
        if alone && self.fork.is_some() {
            self.diverged = true;
        }
    }

    /// Nobody has heard of an answer, nor will: it may have been done or not, but will not be now.
    pub fn end_unanswered(&mut self, first: usize, count: usize, begun: u64) {
        let now = self.time();
        let fork = self.fork.as_mut().map(|fork| &mut fork.sectors);
        for sectors in [Some(&mut self.sectors), fork].into_iter().flatten() {
            for entry in sectors[first..first + count].iter_mut().flatten() {
                if entry.begun == begun && entry.ended == NEVER {
                    entry.ended = now;
                }
            }
        }
    }

    /// Whether a read of this sector, begun at `since`, may return this.
    pub fn may_read(&self, sector: usize, value: u64, since: u64) -> bool {
        self.sectors[sector].iter().any(|entry| entry.value == value && entry.replaced > since)
    }

    /// What may be in the sector, for a message.
    pub fn known(&self, sector: usize) -> String {
        let mut text = format!("at {}:", self.clock);
        for e in &self.sectors[sector] {
            let (ended, replaced) = (brief(e.ended), brief(e.replaced));
            let acked = if e.acked { "acked" } else { "not acked" };
            text += &format!(
                " [{} begun {} ended {ended} {acked} replaced {replaced} on {:?}]",
                e.value, e.begun, e.on
            );
        }
        text
    }

    /// A flush that began at `since` has been acknowledged: what had ended by then is stable where
    /// `on` says so.
    pub fn flushed(&mut self, since: u64, mut on: impl FnMut(usize) -> [bool; 2]) {
        for (number, sector) in self.sectors.iter_mut().enumerate() {
            let on = on(number);
            for entry in sector.iter_mut().filter(|e| e.acked && e.ended <= since) {
                for (promise, stable) in entry.on.iter_mut().zip(on) {
                    if stable {
                        *promise = Promise::Stable;
                    }
                }
            }
        }
    }

    /// The node has been brought up to date where `at` says so.
    pub fn synced(&mut self, node: usize, mut at: impl FnMut(usize) -> bool) {
        for (number, sector) in self.sectors.iter_mut().enumerate() {
            if at(number) {
                for entry in sector.iter_mut().filter(|entry| entry.acked) {
                    entry.alone = entry.alone.filter(|alone| *alone == node);
                    entry.on[node] = entry.on[node].max(Promise::Cached);
                }
            }
        }
    }

    /// The node has lost what was only promised up to this.
    pub fn forget(&mut self, node: usize, up_to: Promise) {
        let forks = self.fork.iter_mut().flat_map(|fork| &mut fork.sectors);
        for entry in self.sectors.iter_mut().chain(forks).flatten() {
            if entry.on[node] <= up_to {
                entry.on[node] = Promise::No;
            }
        }
    }

    /// A node serves from now on, with this on its disk. What was promised on it has to be there;
    /// what else was acknowledged may be on the other node only. `held` if promises count.
    pub fn serves(&mut self, node: usize, disk: &[u64], held: bool) -> Result<(), String> {
        let ours = self.fork.as_ref().is_some_and(|fork| fork.from == node);
        if ours && let Some(fork) = self.fork.take() {
            // What this node had acknowledged is the truth again; the other one's may be another.
            let theirs = std::mem::replace(&mut self.sectors, fork.sectors);
            if self.diverged {
                let (from, at, why) = (1 - node, self.clock, String::new());
                self.fork = Some(Fork { from, sectors: theirs, at, why });
            } else {
                // Nobody relies on what was begun there, but it may be on the disk.
                self.begun_since(fork.at, theirs);
            }
        }
        if held {
            for (sector, &value) in disk.iter().enumerate() {
                self.promised(node, sector, value)?;
            }
        }
        let theirs = |entry: &Entry| entry.acked && entry.only_on(1 - node);
        let other = std::mem::replace(&mut self.last, node) != node;
        if other && self.fork.is_none() && self.sectors.iter().flatten().any(theirs) {
            let (from, sectors, at) = (1 - node, self.sectors.clone(), self.clock);
            let sector = self.sectors.iter().position(|sector| sector.iter().any(theirs));
            let sector = sector.unwrap_or_default();
            let why = format!("sector {sector}, {}", self.known(sector));
            self.fork = Some(Fork { from, sectors, at, why });
            self.diverged = false;
        }
        self.settle(node, disk);
        Ok(())
    }

    /// The node has lost its power, and some of what it had. What nobody promises any more, on
    /// either node, may be lost for good; where only this node counts, what it promised no more.
    pub fn reverted(&mut self, node: usize, disk: &[u64], counts: bool) {
        for (sector, &value) in self.sectors.iter_mut().zip(disk) {
            let Some(kept) = sector.iter().rposition(|entry| entry.value == value) else {
                continue;
            };
            let lost = |e: &Entry| {
                !e.acked || e.on == [Promise::No; 2] || (counts && e.on[node] == Promise::No)
            };
            if sector[kept + 1..].iter().any(|entry| entry.ended != NEVER && !lost(entry)) {
                continue;
            }
            sector[kept].replaced = NEVER;
            for entry in sector[kept + 1..].iter_mut().filter(|entry| entry.ended != NEVER) {
                entry.acked = false;
                entry.on = [Promise::No; 2];
            }
        }
    }

    /// Whether what was promised of a sector on a node is there, if `value` is.
    pub fn promised(&self, node: usize, sector: usize, value: u64) -> Result<(), String> {
        let entries = &self.sectors[sector];
        let fits = |entry: &Entry| {
            entry.value == value
                && !entries.iter().any(|must| {
                    must.acked && must.on[node] != Promise::No && entry.ended < must.begun
                })
        };
        if entries.iter().any(fits) {
            return Ok(());
        }
        let known = self.known(sector);
        Err(format!("node {node} has {value} in sector {sector}, not what was promised; {known}"))
    }

    /// What is on this disk is what there is; what is not was lost.
    fn settle(&mut self, node: usize, disk: &[u64]) {
        let now = self.time();
        for (sector, &value) in self.sectors.iter_mut().zip(disk) {
            let here = |entry: &Entry| entry.value == value && !entry.only_on(1 - node);
            let any = |entry: &Entry| entry.value == value;
            let kept = sector.iter().rposition(here).or_else(|| sector.iter().rposition(any));
            for (index, entry) in sector.iter_mut().enumerate() {
                if Some(index) == kept {
                    entry.acked = true;
                    entry.ended = entry.ended.min(now);
                    entry.replaced = NEVER;
                } else if entry.ended != NEVER {
                    entry.replaced = entry.replaced.min(now);
                    if kept.is_none_or(|kept| index > kept) {
                        entry.acked = false;
                        entry.on = [Promise::No; 2];
                    }
                }
            }
            if kept.is_none() {
                // Of a history that was given up.
                let on = [Promise::No; 2];
                let (replaced, alone) = (NEVER, None);
                let (begun, ended) = (now, now);
                sector.push(Entry { value, begun, ended, acked: true, replaced, alone, on });
            }
        }
    }

    /// The nodes have linked. Where one has acknowledged more, its data has to win from now on;
    /// where both have, they must not have linked at all. `disk` is the given node's.
    pub fn linked(&mut self, disk: [&[u64]; 2]) -> Result<(), String> {
        if self.diverged {
            let why = self.fork.as_ref().map_or("", |fork| &fork.why);
            return Err(format!("a split brain was not noticed: {why}"));
        }
        let Some(fork) = self.fork.take() else { return Ok(()) };
        let here = std::mem::replace(&mut self.sectors, fork.sectors);
        self.settle(fork.from, disk[fork.from]);
        self.begun_since(fork.at, here);
        Ok(())
    }

    /// What was begun since `at` in another history is part of this one.
    fn begun_since(&mut self, at: u64, history: Sectors) {
        for (sector, mut entries) in self.sectors.iter_mut().zip(history) {
            entries.retain(|entry| entry.begun > at);
            sector.append(&mut entries);
        }
    }

    /// The node that serves takes the other one's data, though nobody has acknowledged anything
    /// there that is not known here: a bump of the counters that could not be taken back. Nothing
    /// may be lost by that.
    pub fn follows(
        &mut self,
        source: usize,
        disk: &[u64],
        quiet: bool,
        at: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        for (number, &value) in disk.iter().enumerate().filter(|(number, _)| at(*number)) {
            let sector = &mut self.sectors[number];
            let Some(kept) = sector.iter().rposition(|entry| entry.value == value) else {
                continue;
            };
            sector[kept].replaced = NEVER;
            let thrown = |entry: &Entry| {
                // What the source has received may not be on its disk yet.
                let there = quiet && entry.on[source] != Promise::No;
                let promised = entry.only_on(1 - source) || there;
                entry.acked && promised && entry.value != value
            };
            if sector[kept + 1..].iter().any(thrown) {
                return Err(format!("sector {number} is thrown away; {}", self.known(number)));
            }
            let known = |entry: &&mut Entry| entry.ended != NEVER && quiet;
            for entry in sector[kept + 1..].iter_mut().filter(known) {
                entry.acked = false;
                entry.on = [Promise::No; 2];
            }
        }
        Ok(())
    }

    /// Whoever runs the nodes has given this one's data up.
    pub fn given_up(&mut self, node: usize) {
        self.fork = None;
        self.diverged = false;
        self.forget(node, Promise::Stable);
    }
}

impl Entry {
    /// The other node has never had it.
    fn only_on(&self, node: usize) -> bool {
        self.alone == Some(node)
    }
}

fn brief(time: u64) -> String {
    if time == NEVER { "never".to_owned() } else { time.to_string() }
}
