//! Whose end it is that was noted, when a number has been used again before the end of the one who
//! had it was told. It does not look anything up.
//!
//! The kernel writes an EXIT after the parent could have reaped the process (exit_notify() comes
//! before proc_exit_connector()), and an interrupt in between is enough for the parent to make
//! another process of the same number. What tells two such ends apart:
//! - What was written before the successor was there is not the successor's.
//! - What was written after that, of one that had not been reaped, is the successor's: the other one
//!   had been reaped before its number was free.
//! - Of one that had been reaped it may be either's. It is parked. If the successor then does
//!   something, or its own end is told by the rule above, it was not the successor's. Otherwise, and
//!   after a while in any case, neither has a status.

use std::time::Duration;

use super::{End, Event, ProcId, Tree};
use crate::{Exit, Moment};

/// How long the end of a process may go untold so that it can be told with its status.
const PATIENCE: Duration = Duration::from_secs(1);

/// An end, and whose it is if not that of the member who has the number.
#[derive(Debug)]
pub(super) struct Parked {
    id: ProcId,
    is_member: bool,
    exit: Option<Exit>,
    at: Moment,
}

impl Tree {
    /// The number belongs to a new thread or process. If it was a member's, that one has ended,
    /// and the note of it is yet to come.
    pub(super) fn given_away(&mut self, number: i32, at: Moment, out: &mut Vec<Event>) {
        if !self.threads.is_empty() {
            self.threads.remove(&number);
        }
        if self.nodes.get(&number).is_some_and(|node| node.since < at) {
            // What is parked was that one's, or the one's before it.
            self.give_up(number, out);
            if let Some(node) = self.remove(number) {
                self.late.entry(number).or_default().push_back(node);
            }
        }
    }

    /// A member did something. If all ends are told that were owed under its number, its own is
    /// yet to come.
    pub(super) fn acted(&mut self, pid: i32, out: &mut Vec<Event>) {
        if self.late.contains_key(&pid) {
            return;
        }
        self.release(pid, out);
        if let Some(node) = self.nodes.get_mut(&pid) {
            node.doubt = false;
            node.is_tainted = false;
        }
    }

    /// Whether it was the end of a thread whose process has lost its number already.
    pub(super) fn exited_late(&mut self, end: &End, out: &mut Vec<Event>) -> bool {
        let &End { tid, pid, status, reaped, at } = end;
        let doubt = self.nodes.get(&pid).is_some_and(|node| node.doubt);
        if !doubt && self.late.is_empty() && self.parked.is_empty() {
            return false;
        }
        // The member who has the number, and whose end it may be.
        let rival = self.nodes.get(&pid).filter(|node| tid == pid && node.has(tid));
        let since = rival.map(|node| node.since);
        if since.is_some_and(|since| !reaped && at > since) {
            self.is_its_own(pid, out);
            return false;
        }
        let Some(queue) = self.late.get_mut(&pid) else {
            // The second of two that may both be either's.
            if since.is_some() {
                self.give_up(pid, out);
            }
            return false;
        };
        let is_sole = queue.len() == 1;
        let Some(node) = queue.iter_mut().find(|node| node.has(tid)) else { return false };
        // Nobody but these two can be mixed up here.
        let is_clear = is_sole && !node.is_tainted && node.others().next().is_none();
        let is_certain = since.map_or(!node.doubt, |since| is_clear && at <= since);
        let may_park = is_clear && !is_certain && since.is_some();
        let doubt = std::mem::replace(&mut node.doubt, !is_certain && !may_park);
        let ended = node.thread_ended(tid, status, at);
        node.doubt = doubt;
        let (id, is_member) = (node.id, !node.is_stranger);
        if ended.is_some() {
            if let Some(place) = queue.iter().position(|node| node.id == id) {
                queue.remove(place);
            }
            if queue.is_empty() {
                self.late.remove(&pid);
            }
        }
        match ended {
            Some(exit) if may_park => {
                self.parked.insert(pid, Parked { id, is_member, exit, at });
            }
            Some(exit) => {
                if !is_certain {
                    self.taint(pid);
                } else if let Some(node) = self.nodes.get_mut(&pid).filter(|_| is_sole) {
                    node.doubt = node.is_tainted;
                }
                if is_member {
                    self.ended(id, exit, at, out);
                }
            }
            None if !is_certain => self.taint(pid),
            None => {}
        }
        true
    }

    /// An end has been noted that is that of the member who has the number, and nobody else's.
    fn is_its_own(&mut self, pid: i32, out: &mut Vec<Event>) {
        self.release(pid, out);
        if let Some(node) = self.nodes.get_mut(&pid) {
            node.doubt = false;
        }
        // So what is yet to come is that of the one before it.
        if let Some(queue) = self.late.get_mut(&pid)
            && let [node] = queue.make_contiguous()
        {
            node.doubt = node.is_tainted;
        }
    }

    /// An end has been taken for one's that may have been another one's of all who had the number.
    fn taint(&mut self, pid: i32) {
        let late = self.late.get_mut(&pid).into_iter().flatten();
        late.chain(self.nodes.get_mut(&pid)).for_each(|node| node.is_tainted = true);
    }

    /// What is parked is not that of the member who has the number.
    fn release(&mut self, pid: i32, out: &mut Vec<Event>) {
        if let Some(Parked { id, is_member: true, exit, at }) = self.parked.remove(&pid) {
            self.ended(id, exit, at, out);
        }
    }

    /// Nobody will know whose end is parked.
    pub(super) fn give_up(&mut self, pid: i32, out: &mut Vec<Event>) {
        let Some(parked) = self.parked.remove(&pid) else { return };
        self.taint(pid);
        if parked.is_member {
            self.ended(parked.id, None, parked.at, out);
        }
    }

    /// Gives up what has been parked for long by now.
    pub(super) fn give_up_parked(&mut self, now: Moment, out: &mut Vec<Event>) {
        let old = |(pid, parked): (&i32, &Parked)| (now - parked.at > PATIENCE).then_some(*pid);
        for pid in self.parked.iter().filter_map(old).collect::<Vec<_>>() {
            self.give_up(pid, out);
        }
    }
}
