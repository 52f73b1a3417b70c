//! A small machine: processes and threads that are made and end at random, in a space of so few
//! numbers that they are used again all the time. It notes what a kernel notes, knows the truth,
//! and can be looked at as /proc can, while it goes on.

use std::collections::HashMap;
use std::ffi::c_int;
use std::ops::Range;

use super::super::*;
use crate::track::snapshot::{Row, Snapshot};

/// The tracker's own process, which adopts orphans, and the one that is followed.
pub const US: i32 = 2;
pub const ROOT: i32 = 10;
/// Somebody else.
const STRANGER: i32 = 11;
const NUMBERS: Range<i32> = 10..26;
const MILLISECOND: u64 = 1_000_000;

/// A process as it really was.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pub start: Moment,
    /// Its place among the processes; the first ones have none.
    pub parent: Option<usize>,
    /// Whether it is the root or below it.
    pub ours: bool,
    /// Its parent of today.
    adopted: i32,
    /// Its live threads.
    tids: Vec<i32>,
    /// How it ended, when it has.
    pub status: Option<c_int>,
    reaped: bool,
    /// Whether its number has been another one's before the end of the first of them was noted.
    pub mixed: bool,
}

impl Process {
    /// Its start as /proc has it.
    fn seen_start(&self) -> Moment {
        Moment(self.start.0 / (10 * MILLISECOND) * (10 * MILLISECOND))
    }
}

pub struct Model {
    now: u64,
    next: i32,
    pub processes: Vec<Process>,
    /// What has been noted and not been read.
    pub notes: Vec<Note>,
    /// Ends of threads that are still to be noted, with the places of their processes.
    late: Vec<(usize, What)>,
    /// Whether ends are noted before the numbers are free. Of whom nobody has heard nobody can
    /// tell his end from that of the next who has his number.
    pub prompt: bool,
}

impl Model {
    pub fn new() -> Model {
        let process = |pid, ours| Process {
            pid,
            start: Moment(1_000 * MILLISECOND),
            parent: None,
            ours,
            adopted: US,
            tids: vec![pid],
            status: None,
            reaped: false,
            mixed: false,
        };
        let mut stranger = process(STRANGER, false);
        stranger.adopted = 1;
        let processes = vec![process(ROOT, true), stranger];
        let (notes, late) = (Vec::new(), Vec::new());
        let now = 2_000 * MILLISECOND;
        Model { now, next: 12, processes, notes, late, prompt: false }
    }

    pub fn now(&self) -> Moment {
        Moment(self.now)
    }

    /// Does something, as the two numbers say.
    pub fn step(&mut self, what: u8, whom: u8) {
        self.now += 37 * MILLISECOND;
        let live: Vec<usize> =
            (0..self.processes.len()).filter(|&p| self.processes[p].status.is_none()).collect();
        if live.is_empty() {
            return self.tell_late(usize::MAX);
        }
        let place = live[usize::from(whom) % live.len()];
        match what % 16 {
            0..6 => self.fork(place),
            6..8 => self.thread(place),
            8 => self.thread_ends(place, usize::from(whom / 16)),
            9..12 => self.ends(place, c_int::from(what) << 8),
            12 => self.ends(place, libc::SIGKILL),
            13 => self.executes(place, usize::from(whom / 16)),
            14 => self.note(What::Session { pid: self.processes[place].pid }),
            _ => {}
        }
        // Some of the ends are noted later than what came after them.
        self.tell_late(usize::from(what / 16 + whom / 32) % 4);
        if self.prompt || what.is_multiple_of(3) {
            self.tell_late(usize::MAX);
        }
    }

    fn note(&mut self, what: What) {
        self.now += MILLISECOND / 7;
        self.notes.push(Note { at: Moment(self.now), what });
    }

    pub fn tell_late(&mut self, count: usize) {
        for _ in 0..count.min(self.late.len()) {
            let (place, mut what) = self.late.remove(0);
            if let What::Exit { reaped, .. } = &mut what {
                *reaped = self.processes[place].reaped;
            }
            self.note(what);
        }
    }

    /// A number that nobody has; `None` if there is none left.
    fn number(&mut self) -> Option<i32> {
        let taken = |number| {
            self.processes
                .iter()
                .any(|p| !p.reaped && (p.pid == number || p.tids.contains(&number)))
        };
        let count = NUMBERS.len() as i32;
        let from = self.next - NUMBERS.start;
        let number = (0..count).map(|i| NUMBERS.start + (from + i) % count).find(|n| !taken(*n))?;
        // Numbers are not used again within the time that a start is exact to.
        if number < self.next {
            self.now += 400 * MILLISECOND;
        }
        self.next = number + 1;
        Some(number)
    }

    fn fork(&mut self, place: usize) {
        let Some(pid) = self.number() else { return };
        let parent = &self.processes[place];
        let (ours, adopted) = (parent.ours, parent.pid);
        let owed =
            |(_, what): &(usize, What)| matches!(what, What::Exit { pid: its, .. } if *its == pid);
        let mixed = self.late.iter().any(owed);
        if mixed {
            let last = self.processes.iter_mut().rfind(|p| p.pid == pid);
            last.expect("somebody is owed it").mixed = true;
        }
        self.note(What::Fork { parent: adopted, tid: pid, pid });
        self.processes.push(Process {
            pid,
            start: Moment(self.now),
            parent: Some(place),
            ours,
            adopted,
            tids: vec![pid],
            status: None,
            reaped: false,
            mixed,
        });
    }

    fn thread(&mut self, place: usize) {
        let Some(tid) = self.number() else { return };
        let (pid, parent) = (self.processes[place].pid, self.processes[place].adopted);
        self.note(What::Fork { parent, tid, pid });
        self.processes[place].tids.push(tid);
    }

    /// A thread ends by itself, perhaps the first, perhaps the last.
    fn thread_ends(&mut self, place: usize, which: usize) {
        let process = &mut self.processes[place];
        let tid = process.tids.remove(which % process.tids.len());
        let what = What::Exit { tid, pid: process.pid, status: 0, reaped: true };
        self.late.push((place, what));
        if process.tids.is_empty() {
            self.gone(place, 0);
        }
    }

    fn ends(&mut self, place: usize, status: c_int) {
        let process = &mut self.processes[place];
        let pid = process.pid;
        for tid in std::mem::take(&mut process.tids) {
            self.late.push((place, What::Exit { tid, pid, status, reaped: true }));
        }
        // They end at the same time on several CPUs.
        let middle = self.late.len() / 2;
        self.late.get_mut(middle..).unwrap_or_default().reverse();
        self.gone(place, status);
    }

    fn gone(&mut self, place: usize, status: c_int) {
        self.processes[place].status = Some(status);
        let (pid, ours) = (self.processes[place].pid, self.processes[place].ours);
        for child in &mut self.processes {
            if child.adopted == pid && !child.reaped {
                child.adopted = if ours { US } else { 1 };
            }
        }
        // Every other one is reaped at once, and its number free before its end is noted; but not
        // the stranger that nobody has heard of, because it is older than the tracker.
        self.processes[place].reaped = place != 1 && !place.is_multiple_of(2);
        if !self.processes[place].reaped {
            self.tell_late(usize::MAX);
            self.processes[place].reaped = place.is_multiple_of(4);
        }
    }

    /// Whoever has ended and was not reaped is.
    pub fn reap(&mut self) {
        for process in &mut self.processes {
            process.reaped |= process.status.is_some();
        }
    }

    /// One of the threads executes a program, and becomes the first one.
    fn executes(&mut self, place: usize, which: usize) {
        let process = &mut self.processes[place];
        let pid = process.pid;
        let one = process.tids[which % process.tids.len()];
        for tid in std::mem::replace(&mut process.tids, vec![pid]) {
            if tid != one {
                // The first one may have the other's number already when it is noted.
                let tid = if tid == pid && which.is_multiple_of(2) { one } else { tid };
                self.note(What::Exit { tid, pid, status: 0, reaped: true });
            }
        }
        // The number of one whose end is written later has been changed by then.
        for (_, what) in &mut self.late {
            if let What::Exit { tid, pid: its, .. } = what
                && (*tid, *its) == (pid, pid)
            {
                *tid = one;
            }
        }
        self.note(What::Exec { pid });
    }

    /// What /proc shows, while things go on: each pair of numbers is a step in between.
    pub fn look(&mut self, steps: &[(u8, u8)]) -> Snapshot {
        let mut seen = Snapshot { begun: self.now(), rows: Vec::new(), adopter: Some(US) };
        let us = Row { pid: US, parent: 1, start: Moment(0), ended: false, others: Vec::new() };
        seen.rows.push(us);
        let mut steps = steps.iter();
        for pid in NUMBERS {
            if let Some(&(what, whom)) = steps.next() {
                self.step(what, whom);
            }
            let Some(process) = self.processes.iter().rfind(|p| p.pid == pid && !p.reaped) else {
                continue;
            };
            seen.rows.push(Row {
                pid,
                parent: process.adopted,
                start: process.seen_start(),
                ended: !process.tids.contains(&pid),
                others: process.tids.iter().copied().filter(|&tid| tid != pid).collect(),
            });
        }
        // An orphan's parent is looked up once more.
        let starts: HashMap<i32, Moment> = seen.rows.iter().map(|r| (r.pid, r.start)).collect();
        let older = |row: &Row| starts.get(&row.parent).is_some_and(|&start| start <= row.start);
        for row in seen.rows.iter_mut().filter(|row| !older(row)) {
            let its = |p: &&Process| p.pid == row.pid && !p.reaped && p.seen_start() == row.start;
            if let Some(process) = self.processes.iter().rfind(its) {
                row.parent = process.adopted;
            }
        }
        seen
    }

    /// Which process a tracker means.
    pub fn find(&self, id: ProcId) -> usize {
        let near = |p: &Process| p.start.0.abs_diff(id.start.0) < 12 * MILLISECOND;
        let mut found = (0..self.processes.len())
            .filter(|&place| self.processes[place].pid == id.pid && near(&self.processes[place]));
        let place = found.next().unwrap_or_else(|| panic!("{id} has never been"));
        assert_eq!(found.next(), None, "{id} is ambiguous");
        place
    }

    pub fn is_ancestor(&self, ancestor: usize, mut of: usize) -> bool {
        while let Some(parent) = self.processes[of].parent {
            if parent == ancestor {
                return true;
            }
            of = parent;
        }
        false
    }
}

/// Compares what has been told with the truth.
pub fn check(model: &Model, events: &[Event]) {
    let mut told: HashMap<ProcId, bool> = HashMap::new();
    for event in events {
        match event {
            Event::Fork { id, parent, .. } => {
                let place = model.find(*id);
                assert!(model.processes[place].ours, "{id} is a stranger");
                assert!(told.keys().all(|other| model.find(*other) != place), "{id} again");
                assert_eq!(told.insert(*id, true), None);
                match parent {
                    Parent::Exact(parent) | Parent::Ancestor(parent) if parent.pid == US => {
                        assert_eq!(id.pid, ROOT);
                    }
                    Parent::Exact(parent) => {
                        let parent = model.find(*parent);
                        assert_eq!(model.processes[place].parent, Some(parent), "{id}'s parent");
                    }
                    Parent::Ancestor(parent) => {
                        assert!(model.is_ancestor(model.find(*parent), place), "{id}'s ancestor");
                    }
                    Parent::Unknown => {}
                }
            }
            Event::Exit { id, exit, .. } => {
                assert_eq!(told.insert(*id, false), Some(true), "{id} has ended twice, or before");
                let truth = model.processes[model.find(*id)].status;
                assert!(truth.is_some(), "{id} lives");
                if exit.is_some() {
                    assert_eq!(*exit, truth.and_then(Exit::from_wait_status), "{id}'s status");
                }
            }
            Event::Exec { id, .. } | Event::Session { id, .. } => {
                assert_eq!(told.get(id), Some(&true), "{id} is not there");
            }
            Event::Empty { .. } => assert!(told.values().all(|alive| !alive), "some are left"),
            Event::Gap { .. } | Event::Resync { .. } => {}
        }
    }
}
