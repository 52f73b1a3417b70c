//! What all witnesses have seen, put together, and what an end has to do with it. No clock, no
//! /proc: who reads those calls [`Log::add`] and [`Log::explain`].

use std::collections::VecDeque;
use std::time::Duration;

use super::{Confidence, Reason, Seen, Target, Via, Witness};
use crate::track::ProcId;
use crate::{Exe, Exit, Moment, Sender};

/// How many signals are kept. An end is explained within moments of the last one.
const KEPT: usize = 4096;

/// How far apart two witnesses may be in when they saw one signal: the sender's system call and
/// its delivery, which waits until the process runs again.
const ONE: Duration = Duration::from_millis(500);

/// How long after a signal an exit is still said to have come after it.
const GRACE: Duration = Duration::from_secs(90);

/// One signal, as all who saw it say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The best of what was seen.
    pub seen: Seen,
    /// Who saw it, in the order of their tiers.
    pub witnesses: Vec<Witness>,
    /// The signal that was sent to us and that we passed on with this one.
    pub relayed: Option<Box<Seen>>,
}

/// How a process ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which process.
    pub id: ProcId,
    /// How; `None` if that was lost.
    pub exit: Option<Exit>,
    /// When.
    pub at: Moment,
    /// What it was sent, the oldest first: to it and, through us, for it.
    pub signals: Vec<Entry>,
    /// What is to be concluded.
    pub verdict: Verdict,
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This signal killed it: the place in `signals`.
    Killed(usize),
    /// It raised this signal on itself; the second is the one of somebody else that it did so
    /// after, if there was one.
    Raised(usize, Option<usize>),
    /// A signal killed it that nobody has seen.
    Unseen(Reason),
    /// It called exit; after it was sent this one, if it was sent any.
    Left(Option<usize>),
    /// How it ended was lost.
    Lost,
}

/// The signals that were seen lately.
#[derive(Debug)]
pub struct Log {
    us: Sender,
    entries: VecDeque<Entry>,
    lost: Option<Moment>,
}

impl Log {
    /// An empty one of ours, whose own signals others will see.
    pub fn new(us: Sender) -> Log {
        Log { us, entries: VecDeque::new(), lost: None }
    }

    /// Takes what one witness saw.
    pub fn add(&mut self, seen: Seen) {
        // They come nearly in order: what is long past is not looked through.
        let near = |entry: &&mut Entry| seen.at - entry.seen.at < 2 * ONE;
        let mut recent = self.entries.iter_mut().rev().take_while(near);
        match recent.find(|entry| same(&entry.seen, &seen)) {
            Some(known) => known.merge(seen),
            None => self.push(seen, None),
        }
    }

    /// We send a process a signal of our own accord.
    pub fn sent(&mut self, signal: i32, to: i32, at: Moment) {
        self.push(self.ours(signal, to, at), None);
    }

    /// We send a process the signal that somebody else has sent us, which the log takes as well.
    /// Returns what all who saw that one say together.
    pub fn passed_on(&mut self, asked: Seen, to: i32, at: Moment) -> Seen {
        let ours = self.ours(asked.signal, to, at);
        self.add(asked.clone());
        let by_us = |entry: &&Entry| entry.witnesses.contains(&asked.witness);
        let same = |entry: &&Entry| {
            entry.seen.signal == asked.signal && entry.seen.target.pid == asked.target.pid
        };
        let known = self.entries.iter().rev().filter(by_us).find(same);
        let best = known.map_or(asked, |entry| entry.seen.clone());
        self.push(ours, Some(Box::new(best.clone())));
        best
    }

    fn ours(&self, signal: i32, to: i32, at: Moment) -> Seen {
        Seen {
            at,
            signal,
            via: Via::Pidfd,
            target: Target { pid: to, tid: to },
            sender: Some(self.us.clone()),
            confidence: Confidence::Certain,
            witness: Witness::Wrapper,
        }
    }

    fn push(&mut self, seen: Seen, relayed: Option<Box<Seen>>) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { witnesses: vec![seen.witness], seen, relayed });
    }

    /// A witness has lost events.
    pub fn lost(&mut self, at: Moment) {
        self.lost = Some(at);
    }

    /// Why a process ended. `watched` says whether some witness sees every signal that is sent to
    /// it directly, SIGKILL too.
    pub fn explain(
        &self,
        id: ProcId,
        exit: Option<Exit>,
        at: Moment,
        watched: bool,
    ) -> Explanation {
        let of_it = |entry: &&Entry| {
            entry.seen.target.pid == id.pid && entry.seen.at >= id.start && entry.seen.at <= at
        };
        let signals: Vec<Entry> = self.entries.iter().filter(of_it).cloned().collect();
        let verdict = match exit {
            None => Verdict::Lost,
            Some(Exit::Exited(code)) => Verdict::Left(left_after(&signals, code, at)),
            Some(Exit::Signaled { signal, .. }) => match killer(&signals, signal) {
                Some(index) => by_itself_or(&signals, index, id),
                None => Verdict::Unseen(match self.lost {
                    Some(lost) if at - lost < GRACE => Reason::Overrun,
                    _ if watched => Reason::Kernel,
                    _ => Reason::NotObserved,
                }),
            },
        };
        Explanation { id, exit, at, signals, verdict }
    }
}

/// The last signal of this number: an earlier one was handled, or it would not have lived on.
fn killer(signals: &[Entry], number: i32) -> Option<usize> {
    signals.iter().rposition(|entry| entry.seen.signal == number)
}

/// A program that catches a signal, tidies up and sends it to itself was not killed by itself.
fn by_itself_or(signals: &[Entry], index: usize, id: ProcId) -> Verdict {
    let Some(entry) = signals.get(index) else { return Verdict::Killed(index) };
    let own = |entry: &Entry| entry.seen.sender.as_ref().is_some_and(|by| by.pid == id.pid);
    if !own(entry) {
        return Verdict::Killed(index);
    }
    let recent = |other: &Entry| entry.seen.at - other.seen.at < GRACE;
    let before = signals.get(..index).unwrap_or_default();
    Verdict::Raised(index, before.iter().rposition(|other| !own(other) && recent(other)))
}

/// The signal that an exit came after. Of several it is the one whose number the code stands for
/// by the shells' convention, else the last one.
fn left_after(signals: &[Entry], code: i32, at: Moment) -> Option<usize> {
    let recent = |entry: &Entry| at - entry.seen.at < GRACE;
    let meant = |entry: &Entry| recent(entry) && entry.seen.signal + 128 == code;
    signals.iter().rposition(meant).or_else(|| signals.iter().rposition(recent))
}

/// Whether two witnesses mean one signal.
fn same(known: &Seen, other: &Seen) -> bool {
    let apart = if known.at < other.at { other.at - known.at } else { known.at - other.at };
    // What a sender writes itself need not be true: then only the rest can be compared.
    let word = |seen: &Seen| match (seen.confidence, seen.via, &seen.sender) {
        (Confidence::Claimed, ..) | (_, _, None) => None,
        (_, _, Some(sender)) => Some(sender.pid),
    };
    let agree = match (word(known), word(other)) {
        (Some(one), Some(another)) => one == another,
        _ => true,
    };
    known.witness != other.witness
        && known.signal == other.signal
        && known.target.pid == other.target.pid
        && agree
        && apart < ONE
}

impl Entry {
    /// Takes from another witness of the same signal what it knows better.
    fn merge(&mut self, other: Seen) {
        if !self.witnesses.contains(&other.witness) {
            self.witnesses.push(other.witness);
            self.witnesses.sort();
        }
        let (mut better, worse) = if rank(other.confidence) > rank(self.seen.confidence) {
            (other, std::mem::replace(&mut self.seen, blank()))
        } else {
            (std::mem::replace(&mut self.seen, blank()), other)
        };
        better.at = better.at.min(worse.at);
        better.via = plainer(better.via, worse.via);
        better.sender = match (better.sender, worse.sender) {
            (Some(sure), Some(more)) if sure.pid == more.pid => Some(together(sure, more)),
            (None, sender) if rank(worse.confidence) == rank(better.confidence) => sender,
            (sender, _) => sender,
        };
        self.seen = better;
    }

    /// Who is behind it: who sent it to us, if we have only passed it on.
    pub fn origin(&self) -> &Seen {
        self.relayed.as_deref().unwrap_or(&self.seen)
    }
}

/// What stands in an entry's place while it is put together.
fn blank() -> Seen {
    Seen {
        at: Moment(0),
        signal: 0,
        via: Via::Unknown,
        target: Target { pid: 0, tid: 0 },
        sender: None,
        confidence: Confidence::Unknown(Reason::NotObserved),
        witness: Witness::Wrapper,
    }
}

fn rank(confidence: Confidence) -> u8 {
    match confidence {
        Confidence::Certain => 3,
        Confidence::Reported => 2,
        Confidence::Claimed => 1,
        Confidence::Unknown(_) => 0,
    }
}

/// The one of two answers to "how" that says more.
fn plainer(one: Via, other: Via) -> Via {
    match (one, other) {
        (Via::Unknown, other) => other,
        (Via::Process, Via::Kill | Via::Pidfd | Via::Group | Via::Cgroup) => other,
        (one, _) => one,
    }
}

/// What two witnesses know of one sender.
fn together(sure: Sender, more: Sender) -> Sender {
    let exe = match (sure.exe, more.exe) {
        (exe @ Exe::Path(_), _) | (_, exe @ Exe::Path(_)) => exe,
        (exe @ Exe::Ending(_), _) | (_, exe @ Exe::Ending(_)) => exe,
        (exe, _) => exe,
    };
    Sender {
        pid: sure.pid,
        start: sure.start.or(more.start),
        uid: sure.uid.or(more.uid),
        euid: sure.euid.or(more.euid),
        auid: sure.auid.or(more.auid),
        exe,
        name: sure.name.or(more.name),
        command: sure.command.or(more.command),
        parents: if sure.parents.is_empty() { more.parents } else { sure.parents },
        cgroup: sure.cgroup.or(more.cgroup),
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
