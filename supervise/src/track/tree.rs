//! Who belongs to the processes that are followed: takes what the kernel notes about any process
//! of the machine, and says of the members what a tracker says. No clock, no file, no socket.
//!
//! What it relies on, and what it does not:
//! - A parent is what the FORK says, and it comes before all else that is said of the child.
//! - The EXIT of a thread is not that of its process. A process ends with its last thread, and
//!   its first thread may be gone long before, or be replaced by an execve in another one.
//! - An EXIT is written after the parent could have reaped the process, so another process may
//!   have its number by then. Such a one is owed its EXIT (`late`). The same account is kept of
//!   the strangers that have been heard of or looked up.
//! - After a loss a number proves nothing. Everything is held back until it has been looked up
//!   who is there; `settle` then takes it from that.

mod late;
mod node;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::connector::{Note, What};
use super::{Cause, Event, Parent, ProcId};
use crate::{Exit, Moment};
use late::Parked;
use node::Node;

/// The members, by their numbers.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The tracker's own process.
    us: ProcId,
    /// Those that live.
    nodes: HashMap<i32, Node>,
    /// The numbers of their threads other than the first, and whose they are.
    threads: HashMap<i32, i32>,
    /// Those whose number has been used again before their end was told.
    late: HashMap<i32, VecDeque<Node>>,
    /// Ends that are theirs or that of the member who has the number now, until it is known.
    parked: HashMap<i32, Parked>,
    /// Numbers of processes that are no members, and how many with that number are yet to end.
    strangers: HashMap<i32, u32>,
    /// Our own children, members or not, and when they were made.
    own: HashMap<i32, Moment>,
    /// What has been noted since somebody began to look who is there.
    held: Option<Vec<Note>>,
    /// Whether that is because something was lost.
    lost: bool,
    /// Whether there has been a member since it was last told that there is none.
    peopled: bool,
}

/// The end of a thread, as it was noted.
struct End {
    tid: i32,
    pid: i32,
    status: i32,
    reaped: bool,
    at: Moment,
}

impl Tree {
    /// Nobody is followed yet. `us` is the process that tracks, `own` are the children it has.
    pub(crate) fn new(us: ProcId, own: impl Iterator<Item = ProcId>) -> Tree {
        Tree {
            us,
            nodes: HashMap::new(),
            threads: HashMap::new(),
            late: HashMap::new(),
            parked: HashMap::new(),
            strangers: HashMap::new(),
            own: own.map(|id| (id.pid, id.start)).collect(),
            held: None,
            lost: false,
            peopled: false,
        }
    }

    /// The member that a process's or a thread's number is of.
    pub(crate) fn member(&self, tid: i32) -> Option<ProcId> {
        let node = self.nodes.get(&tid);
        node.or_else(|| self.nodes.get(self.threads.get(&tid)?)).map(|node| node.id)
    }

    /// All members.
    pub(crate) fn members(&self) -> impl Iterator<Item = ProcId> {
        self.nodes.values().map(|node| node.id)
    }

    /// When a child of ours with this number was made, if that has been noted.
    pub(crate) fn born(&self, pid: i32) -> Option<Moment> {
        self.own.get(&pid).copied()
    }

    /// Follows a child of ours that is held and has made nothing yet. `start` is when it was made.
    pub(crate) fn watch(
        &mut self,
        pid: i32,
        start: Moment,
        now: Moment,
        out: &mut Vec<Event>,
    ) -> ProcId {
        if let Some(node) = self.nodes.get(&pid) {
            return node.id;
        }
        let id = ProcId { pid, start };
        self.insert(Node::new(id, now));
        out.push(Event::Fork { id, parent: Parent::Exact(self.us), found: false, at: start });
        id
    }

    /// Something was lost, this many at least. Nothing noted from here on means anything until it
    /// has been looked up who is there.
    pub(crate) fn lose(&mut self, count: u64, at: Moment, out: &mut Vec<Event>) {
        self.give_up_parked(Moment(u64::MAX), out);
        out.push(Event::Gap { cause: Cause::Overrun { lost: Some(count) }, at });
        // What was held back before this loss is from before another hole: nobody can say any
        // more whose numbers those were.
        self.held = Some(Vec::new());
        self.lost = true;
    }

    /// Whether somebody must look who is there.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Somebody is about to look who is there: holds back what is noted until [`Tree::settle`].
    pub(crate) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Takes one note, of whomever.
    pub(crate) fn apply(&mut self, note: Note, out: &mut Vec<Event>) {
        match &mut self.held {
            None => self.take(note, out),
            Some(held) => held.push(note),
        }
    }

    fn take(&mut self, Note { at, what }: Note, out: &mut Vec<Event>) {
        if !self.parked.is_empty() {
            self.give_up_parked(at, out);
        }
        match what {
            What::Fork { parent, tid, pid } if tid == pid => self.forked(parent, pid, at, out),
            What::Fork { tid, pid, .. } => {
                self.given_away(tid, at, out);
                if let Some(node) = self.nodes.get_mut(&pid)
                    && node.thread_began(tid, at)
                {
                    self.threads.insert(tid, pid);
                }
            }
            What::Exit { tid, pid, status, reaped } => {
                self.exited(&End { tid, pid, status, reaped, at }, out);
            }
            What::Exec { pid } => {
                let Some(node) = self.nodes.get_mut(&pid) else {
                    // It is there, even if its first thread has ended before.
                    self.strangers.entry(pid).or_insert(1);
                    return;
                };
                if at < node.id.start {
                    return;
                }
                let ended = node.executed(at);
                // Of one with several threads the end of the first may be that which was noted.
                match ended.is_empty() {
                    true => self.acted(pid, out),
                    false => self.give_up(pid, out),
                }
                for tid in ended {
                    self.forget_thread(tid, pid);
                }
                let Some(node) = self.nodes.get(&pid) else { return };
                out.push(Event::Exec { id: node.id, path: None, at });
            }
            What::Session { pid } => {
                if let Some(node) = self.at(pid, at) {
                    out.push(Event::Session { id: node.id, at });
                }
            }
            What::User { .. } | What::Other => {}
        }
    }

    /// The member that had this number then. One that was found may be younger than what was noted
    /// of its number before.
    fn at(&self, pid: i32, at: Moment) -> Option<&Node> {
        self.nodes.get(&pid).filter(|node| node.id.start <= at)
    }

    fn forked(&mut self, parent: i32, pid: i32, at: Moment, out: &mut Vec<Event>) {
        if parent == self.us.pid {
            self.own.insert(pid, at);
        } else if !self.own.is_empty() {
            // Somebody else has the number now, and our child's end is yet to be told.
            self.own.remove(&pid);
        }
        if self.nodes.get(&pid).is_some_and(|node| at <= node.since) {
            return;
        }
        self.given_away(pid, at, out);
        let parent = self.at(parent, at).map(|node| node.id);
        if parent.is_some() {
            for _ in 0..self.strangers.remove(&pid).unwrap_or_default() {
                let stranger = Node::stranger(ProcId { pid, start: Moment::default() });
                self.late.entry(pid).or_default().push_back(stranger);
            }
        } else {
            *self.strangers.entry(pid).or_default() += 1;
        }
        // If others are owed their end under this number, nobody can tell theirs from its own.
        let mut doubt = false;
        for node in self.late.get_mut(&pid).into_iter().flatten() {
            node.doubt = true;
            doubt = true;
        }
        let Some(parent) = parent else { return };
        self.acted(parent.pid, out);
        let id = ProcId { pid, start: at };
        let mut node = Node::new(id, at);
        node.doubt = doubt;
        self.insert(node);
        out.push(Event::Fork { id, parent: Parent::Exact(parent), found: false, at });
    }

    fn exited(&mut self, end: &End, out: &mut Vec<Event>) {
        let &End { tid, pid, status, at, .. } = end;
        if self.exited_late(end, out) {
            return;
        }
        if !self.own.is_empty() && tid == pid {
            self.own.remove(&pid);
        }
        let Some(node) = self.nodes.get_mut(&pid) else {
            if tid == pid
                && let Entry::Occupied(mut count) = self.strangers.entry(pid)
            {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            return;
        };
        let (id, end) = (node.id, node.thread_ended(tid, status, at));
        if let Some(exit) = end {
            self.remove(pid);
            self.ended(id, exit, at, out);
        }
        if tid != pid {
            self.forget_thread(tid, pid);
        }
    }

    fn ended(&mut self, id: ProcId, exit: Option<Exit>, at: Moment, out: &mut Vec<Event>) {
        out.push(Event::Exit { id, exit, at });
        // While it is being settled more may be found.
        if !self.lost {
            self.say_if_empty(at, out);
        }
    }

    fn say_if_empty(&mut self, at: Moment, out: &mut Vec<Event>) {
        let mut late = self.late.values().flatten();
        if self.peopled && self.nodes.is_empty() && late.all(|node| node.is_stranger) {
            self.peopled = false;
            out.push(Event::Empty { at });
        }
    }

    /// Takes a member in, with its threads.
    fn insert(&mut self, mut node: Node) {
        let pid = node.id.pid;
        // It may have been a stranger, and others with its number before it.
        for _ in 1..self.strangers.remove(&pid).unwrap_or_default() {
            let stranger = Node::stranger(ProcId { pid, start: Moment::default() });
            self.late.entry(pid).or_default().push_back(stranger);
            node.doubt = true;
        }
        self.threads.extend(node.others().map(|tid| (tid, pid)));
        self.nodes.insert(pid, node);
        self.peopled = true;
    }

    /// Takes a member out, with its threads.
    fn remove(&mut self, pid: i32) -> Option<Node> {
        let node = self.nodes.remove(&pid)?;
        for tid in node.others() {
            self.forget_thread(tid, pid);
        }
        Some(node)
    }

    /// The number may be another member's by now.
    fn forget_thread(&mut self, tid: i32, pid: i32) {
        if self.threads.get(&tid) == Some(&pid) {
            self.threads.remove(&tid);
        }
    }
}
