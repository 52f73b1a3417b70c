//! One member: its threads, and what their ends say of its own.

use std::collections::{HashMap, HashSet};
use std::ffi::c_int;
use std::time::Duration;

use crate::track::ProcId;
use crate::{Exit, Moment};

/// How much later the end of a thread may be noted than that of another which ended after it: the
/// note is written at the very end, and there is much to do before it.
const OVERTAKING: Duration = Duration::from_secs(1);

/// The bit of a wait status that says a core file was written, and the signal's own.
const CORE: c_int = 0x80;
const SIGNAL: c_int = 0x7f;

/// A member and its threads.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: ProcId,
    /// The last moment it is known to have been there by other means than notes: a FORK from
    /// before it is its own.
    pub(super) since: Moment,
    /// Whether its status may be another one's, which had or has its number.
    pub(super) doubt: bool,
    /// Whether an end was noted under its number of which it is not known whether it was its own.
    pub(super) is_tainted: bool,
    /// Whether it is no member, and only its end is waited for.
    pub(super) is_stranger: bool,
    /// Whether its first thread lives.
    first: bool,
    /// Its other threads. A number is counted twice if it has been used again before the end of
    /// the thread that had it was noted.
    others: HashMap<i32, u32>,
    /// Those of them that have been seen, and whose beginning is yet to be noted.
    foretold: HashSet<i32>,
    /// When the threads were looked up: what happened to them before is no news.
    looked: Option<Moment>,
    /// Whether it was seen to have ended, so that no thread begins any more.
    is_over: bool,
    /// The same of the first thread, whose end is looked for even if it came before.
    looked_first: Option<Moment>,
    /// When it last executed a program, which ends all threads but one.
    execed: Moment,
    verdict: Verdict,
}

impl Node {
    /// One with a single thread.
    pub(super) fn new(id: ProcId, since: Moment) -> Node {
        Node {
            id,
            since,
            doubt: false,
            is_tainted: false,
            is_stranger: false,
            first: true,
            others: HashMap::new(),
            foretold: HashSet::new(),
            looked: None,
            is_over: false,
            looked_first: None,
            execed: Moment::default(),
            verdict: Verdict::default(),
        }
    }

    /// No member. Only its first thread counts.
    pub(super) fn stranger(id: ProcId) -> Node {
        Node { is_stranger: true, ..Node::new(id, id.start) }
    }

    /// Its threads have been looked up at this moment, or a little later; with each whether its
    /// beginning is among the notes to come.
    pub(super) fn look(
        &mut self,
        at: Moment,
        first: First,
        others: impl Iterator<Item = (i32, bool)>,
    ) {
        self.first = first != First::Gone;
        self.others.clear();
        self.foretold.clear();
        for (tid, foretold) in others {
            self.others.insert(tid, 1);
            if foretold {
                self.foretold.insert(tid);
            }
        }
        self.looked = Some(at);
        self.looked_first = (first == First::Alive).then_some(at);
        self.since = self.since.max(at);
    }

    /// It has ended as a whole; the ends of these threads are among the notes to come, and that of
    /// the first if `first`. With the last of them it is over.
    pub(super) fn look_ended(&mut self, at: Moment, first: bool, tids: impl Iterator<Item = i32>) {
        self.first = first;
        self.others = tids.map(|tid| (tid, 1)).collect();
        self.foretold.clear();
        self.is_over = true;
        self.looked_first = None;
        self.since = self.since.max(at);
    }

    /// It will execute a program at this moment, or has: ends of threads before it mean nothing.
    pub(super) fn execs_at(&mut self, at: Moment) {
        self.execed = self.execed.max(at);
    }

    /// The numbers of its threads but the first.
    pub(super) fn others(&self) -> impl Iterator<Item = i32> + use<'_> {
        self.others.keys().copied()
    }

    /// Whether it has a thread of this number.
    pub(super) fn has(&self, tid: i32) -> bool {
        if tid == self.id.pid { self.first } else { self.others.contains_key(&tid) }
    }

    /// A thread began; false if that was known.
    pub(super) fn thread_began(&mut self, tid: i32, at: Moment) -> bool {
        if self.is_over || self.looked.is_some_and(|looked| at < looked) {
            return false;
        }
        if !self.foretold.remove(&tid) {
            *self.others.entry(tid).or_default() += 1;
        }
        true
    }

    /// It executes another program; returns the numbers that its threads had.
    pub(super) fn executed(&mut self, at: Moment) -> Vec<i32> {
        if self.is_over || self.looked.is_some_and(|looked| at < looked) {
            return Vec::new();
        }
        self.first = true;
        self.execs_at(at);
        self.verdict = Verdict::default();
        self.foretold.clear();
        self.others.drain().map(|(tid, _)| tid).collect()
    }

    /// A thread has ended; if it was the last one, how the process has, as far as that is known.
    pub(super) fn thread_ended(
        &mut self,
        tid: i32,
        status: c_int,
        at: Moment,
    ) -> Option<Option<Exit>> {
        // The execve of a thread ends all others, and gives it the first one's number. Their ends
        // may be noted after the execve; then the moment tells which program they were of.
        if at < self.execed || at < self.id.start {
            return None;
        }
        if tid == self.id.pid {
            if !self.first || self.looked_first.is_some_and(|looked| at < looked) {
                return None;
            }
            self.first = false;
        } else {
            if !self.is_over && self.looked.is_some_and(|looked| at < looked) {
                return None;
            }
            let count = self.others.get_mut(&tid)?;
            *count -= 1;
            if *count == 0 {
                self.others.remove(&tid);
            }
        }
        self.verdict.hear(status, at);
        let exit = || Exit::from_wait_status(self.verdict.status()).filter(|_| !self.doubt);
        (!self.first && self.others.is_empty()).then(exit)
    }
}

/// What was seen of a process's first thread when it was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It lives.
    Alive,
    /// It has ended, and the note of that is among those to come.
    Noted,
    /// It has ended, and that was told, or lost.
    Gone,
}

/// The wait status of a process, from those of its threads.
///
/// It is what the whole process was ended with, by exit_group(2) or a signal, and then every
/// thread that was not ending already has the same status; or that of the last thread to end. The
/// notes of threads that end at the same time may come in any order. So the last one noted decides,
/// but for a thread that ended by itself (with 0, as threads do) and is noted after the process's.
#[derive(Debug, Default)]
struct Verdict {
    last: c_int,
    at: Moment,
    /// The last one that was not 0.
    grave: Option<(c_int, Moment)>,
}

impl Verdict {
    fn hear(&mut self, status: c_int, at: Moment) {
        self.last = status;
        self.at = at;
        if status != 0 {
            // Of the threads that a signal ends only the one that writes the core has that bit.
            let core = match self.grave {
                Some((grave, _)) if status & SIGNAL != 0 && (grave ^ status) & !CORE == 0 => {
                    grave & CORE
                }
                _ => 0,
            };
            self.grave = Some((status | core, at));
        }
    }

    fn status(&self) -> c_int {
        match self.grave {
            Some((grave, _)) if self.last != 0 => grave,
            Some((grave, at)) if self.at - at < OVERTAKING => grave,
            _ => self.last,
        }
    }
}
