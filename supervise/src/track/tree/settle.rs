//! After something was lost, or before a process that runs already is followed: puts what was
//! looked up and what was noted meanwhile together.
//!
//! What each of them proves:
//! - A member whose number belongs, in /proc, to a process that is not younger is there still, and
//!   was all the time: a number is free only after its process has gone. So all that was noted of
//!   that number since is its own.
//! - A member that is not there has ended. A status that was noted for its number since may be
//!   another process's, which had it for a while: it is not used.
//! - An unknown process whose line of parents reaches a member descends from it, but orphans are
//!   adopted: that member is an ancestor, the parent it may be or not. If its FORK was noted, the
//!   parent is known after all.
//! - Of the threads of a process that was looked up, what was noted before is in that picture.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Tree;
use super::node::{First, Node};
use crate::Moment;
use crate::track::connector::{Note, What};
use crate::track::snapshot::{Row, Snapshot};
use crate::track::{Event, Parent, ProcId};

/// How exact a start time in /proc is, and then some.
const COARSE: Duration = Duration::from_millis(25);

/// How long after a process has its start time its FORK may be noted: the forking one can be made
/// to wait in between. No number is used again so soon.
const LAG: Duration = Duration::from_millis(300);

/// What was noted since somebody began to look, by the numbers that it is about.
struct Held {
    notes: Vec<Note>,
    begun: Moment,
    /// Of the processes that were seen, the FORK: when, and whose child each is.
    births: HashMap<i32, (Moment, i32)>,
    /// The threads that were made, and those that ended: when, which, and whether it was made.
    threads: HashMap<i32, Vec<(Moment, i32, bool)>>,
    /// The ends of other threads than the first.
    ends: HashMap<i32, Vec<(Moment, i32)>>,
    /// What became of the processes that had each number.
    lives: HashMap<i32, Vec<(Moment, Step)>>,
}

/// A step in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Began,
    Executed,
    /// Its first thread ended.
    Ended,
}

impl Tree {
    /// Whether everybody can be known who may be a descendant of a member. Not so if somebody was
    /// made while it was looked, too late to be seen, by one who ended too early to be seen: then
    /// it must be looked again.
    pub(crate) fn is_covered(&self, seen: &Snapshot) -> bool {
        let mut rows: HashMap<i32, &Row> = seen.rows.iter().map(|row| (row.pid, row)).collect();
        // Those of whom it is known whose descendants they are, and since when they are there.
        let traced = |row: &&Row| {
            let older = |parent: &&Row| parent.start <= row.start;
            row.parent <= 0 || rows.get(&row.parent).copied().as_ref().is_some_and(older)
        };
        let traced = seen.rows.iter().filter(traced);
        let mut known: HashMap<i32, Moment> = traced.map(|row| (row.pid, row.start)).collect();
        if !self.lost {
            known.extend(self.nodes.values().map(|node| (node.id.pid, node.id.start)));
        }
        let mut strays = HashSet::new();
        for note in self.held.iter().flatten() {
            let at = note.at;
            match note.what {
                What::Fork { parent, tid, pid } if tid == pid => {
                    let is_known = known.get(&parent).is_some_and(|start| *start <= at);
                    if rows.remove(&pid).is_some_and(|row| row.is_born(at)) || is_known {
                        known.insert(pid, at);
                    } else {
                        known.remove(&pid);
                        if at >= seen.begun {
                            strays.insert(pid);
                        }
                    }
                }
                What::Exit { tid, pid, .. } if tid == pid => _ = strays.remove(&pid),
                _ => {}
            }
        }
        strays.is_empty()
    }

    /// Puts right what can be. With `root` that process is a member from now on, if it is there.
    pub(crate) fn settle(&mut self, seen: &Snapshot, root: Option<i32>, out: &mut Vec<Event>) {
        let rows: HashMap<i32, &Row> = seen.rows.iter().map(|row| (row.pid, row)).collect();
        let held = Held::new(self.held.take().unwrap_or_default(), seen.begun, &rows);
        let lost = self.lost;
        let mut vanished = if lost { self.verify(&rows, &held, out) } else { 0 };
        let mut found = 0;
        if let Some(row) = root.and_then(|root| rows.get(&root))
            && !self.nodes.contains_key(&row.pid)
        {
            let parent = rows.get(&row.parent).map_or(Parent::Unknown, |parent| {
                Parent::Ancestor(ProcId { pid: parent.pid, start: parent.start })
            });
            self.find(row, parent, &held, out);
            found += 1;
        }
        found += self.search(&rows, seen.adopter.filter(|_| lost), &held, out);
        if lost {
            self.meet(&rows, &held);
        }
        for &note in &held.notes {
            self.take(note, out);
        }
        // Old notes have spoken of numbers that are others' threads by now.
        let others = |node: &Node| node.others().map(|tid| (tid, node.id.pid)).collect::<Vec<_>>();
        self.threads = self.nodes.values().flat_map(others).collect();
        if lost {
            vanished += self.bury(seen.begun, out);
            self.lost = false;
            out.push(Event::Resync { found, vanished, at: seen.begun });
            self.say_if_empty(seen.begun, out);
        }
    }

    /// Looks every member up, and takes those out that are not there.
    fn verify(&mut self, rows: &HashMap<i32, &Row>, held: &Held, out: &mut Vec<Event>) -> usize {
        let at = held.begun;
        let late = self.late.drain().flat_map(|(_, late)| late).filter(|node| !node.is_stranger);
        let mut gone: Vec<ProcId> = late.map(|node| node.id).collect();
        self.threads.clear();
        for (pid, mut node) in std::mem::take(&mut self.nodes) {
            match rows.get(&pid) {
                Some(row) if row.start <= node.id.start.after(COARSE) => {
                    held.look(&mut node, row);
                    self.insert(node);
                }
                _ => gone.push(node.id),
            }
        }
        // The same of our own children: the number of one that is gone says nothing.
        self.own.retain(|pid, _| rows.get(pid).is_some_and(|row| row.parent == self.us.pid));
        gone.sort_unstable_by_key(|id| id.start);
        out.extend(gone.iter().map(|&id| Event::Exit { id, exit: None, at }));
        gone.len()
    }

    /// Finds the descendants of members that nobody knows of, and that no note will tell of.
    fn search(
        &mut self,
        rows: &HashMap<i32, &Row>,
        adopter: Option<i32>,
        held: &Held,
        out: &mut Vec<Event>,
    ) -> usize {
        let mut order: Vec<&Row> = rows.values().copied().collect();
        order.sort_unstable_by_key(|row| (row.start, row.pid));
        let mut found = 0;
        // Each one found may be the parent of others, in /proc or in the notes; so it is done again
        // until nobody is found any more. Those whose parent was noted wait for that one.
        let mut patient = true;
        loop {
            let told = held.tells(&self.nodes);
            let mut news = 0;
            for row in &order {
                let birth = held.births.get(&row.pid);
                if self.nodes.contains_key(&row.pid)
                    || row.pid == self.us.pid
                    || birth.is_some_and(|birth| told.get(&row.pid) == Some(birth))
                    || birth.is_some_and(|&(_, parent)| parent == self.us.pid)
                    || patient && birth.is_some_and(|(_, parent)| rows.contains_key(parent))
                    || row.ended && row.others.is_empty() && !held.ends(held.id(row))
                {
                    continue;
                }
                let Some(mut parent) = self.descent(row, rows, &told, held, adopter) else {
                    continue;
                };
                if let Some(&(at, pid)) = birth
                    && let Some(node) = held.member(&self.nodes, pid, at)
                {
                    parent = Parent::Exact(node.id);
                }
                self.find(row, parent, held, out);
                news += 1;
            }
            found += news;
            if news == 0 && !patient {
                return found;
            }
            patient = news > 0;
        }
    }

    /// The nearest member in a process's line of parents; `None` if it is none of ours.
    fn descent(
        &self,
        row: &Row,
        rows: &HashMap<i32, &Row>,
        told: &HashMap<i32, (Moment, i32)>,
        held: &Held,
        adopter: Option<i32>,
    ) -> Option<Parent> {
        let (mut pid, mut start) = (row.pid, held.id(row).start);
        // Bounded, because /proc was not read in one moment and could show a circle.
        for _ in 0..rows.len() {
            // The notes will tell of it, or /proc has.
            let is_told = told.get(&pid).filter(|(at, _)| *at <= start.after(COARSE));
            let parent = match is_told {
                Some(&(_, parent)) => parent,
                None => rows.get(&pid)?.parent,
            };
            if Some(parent) == adopter && is_told.is_none() && !self.own.contains_key(&pid) {
                return Some(Parent::Unknown);
            }
            // One that is younger has the number of a parent that ended meanwhile, and one that
            // lost the number before was not the parent.
            let latest = start.after(COARSE);
            let node = self.nodes.get(&parent).filter(|node| node.id.start <= latest);
            let node = node.filter(|node| held.keeps(parent, node.since, start));
            let node = node.map(|node| node.id);
            let its = node.map(|id| id.start);
            let its = its.or_else(|| Some(told.get(&parent)?.0).filter(|at| *at <= latest));
            let its = its.or_else(|| {
                let since = held.id(rows.get(&parent)?).start;
                (since <= latest && held.keeps(parent, since, start)).then_some(since)
            })?;
            if let Some(id) = node {
                return Some(Parent::Ancestor(id));
            }
            (pid, start) = (parent, its);
        }
        None
    }

    /// Begins the account of strangers anew, with those who are yet to end: of whom the notes will
    /// tell, and who may have ended before it was listened again, is left out.
    fn meet(&mut self, rows: &HashMap<i32, &Row>, held: &Held) {
        let began = |pid: i32| {
            held.lives
                .get(&pid)
                .is_some_and(|steps| steps.iter().any(|&(_, step)| step == Step::Began))
        };
        let strangers = rows
            .values()
            .filter(|row| !row.ended && !self.nodes.contains_key(&row.pid) && !began(row.pid));
        self.strangers = strangers.map(|row| (row.pid, 1)).collect();
    }

    fn find(&mut self, row: &Row, parent: Parent, held: &Held, out: &mut Vec<Event>) {
        let id = held.id(row);
        let mut node = Node::new(id, id.start);
        held.look(&mut node, row);
        self.insert(node);
        out.push(Event::Fork { id, parent, found: true, at: held.begun });
    }

    /// Takes those out that had ended when they were looked up and whose end nobody noted.
    fn bury(&mut self, at: Moment, out: &mut Vec<Event>) -> usize {
        let ended = |node: &&Node| !node.has(node.id.pid) && node.others().next().is_none();
        let ended: Vec<ProcId> = self.nodes.values().filter(ended).map(|node| node.id).collect();
        for &id in &ended {
            self.remove(id.pid);
            out.push(Event::Exit { id, exit: None, at });
        }
        ended.len()
    }
}

impl Row {
    /// Whether a FORK of its number, noted at this moment, can be its own.
    fn is_born(&self, at: Moment) -> bool {
        self.start <= at.after(COARSE) && at - self.start < LAG
    }
}

impl Held {
    fn new(notes: Vec<Note>, begun: Moment, rows: &HashMap<i32, &Row>) -> Held {
        let mut births = HashMap::new();
        let mut threads: HashMap<i32, Vec<(Moment, i32, bool)>> = HashMap::new();
        let mut ends: HashMap<i32, Vec<(Moment, i32)>> = HashMap::new();
        let mut lives: HashMap<i32, Vec<(Moment, Step)>> = HashMap::new();
        let mut step = |pid, at, step| lives.entry(pid).or_default().push((at, step));
        for note in &notes {
            let at = note.at;
            if let What::Fork { tid, pid, .. } | What::Exit { tid, pid, .. } = note.what
                && tid != pid
            {
                let made = matches!(note.what, What::Fork { .. });
                threads.entry(pid).or_default().push((at, tid, made));
            }
            match note.what {
                What::Fork { parent, tid, pid } if tid == pid => {
                    step(pid, at, Step::Began);
                    if rows.get(&pid).is_some_and(|row| row.is_born(at)) {
                        births.entry(pid).or_insert((at, parent));
                    }
                }
                What::Exit { tid, pid, .. } if tid == pid => step(pid, at, Step::Ended),
                What::Exit { tid, pid, .. } => {
                    ends.entry(pid).or_default().push((at, tid));
                }
                What::Exec { pid } => step(pid, at, Step::Executed),
                _ => {}
            }
        }
        Held { notes, begun, births, threads, ends, lives }
    }

    /// Sets a member's threads to what was looked up.
    fn look(&self, node: &mut Node, row: &Row) {
        let id = node.id;
        let first = match row.ended {
            false => First::Alive,
            true if self.ends(id) => First::Noted,
            true => First::Gone,
        };
        // Whatever ended before its last execve was not the process, be that one seen or not.
        let executed = self.life(id).filter(|&(_, step)| step == Step::Executed).last();
        let executed = executed.map_or(id.start, |(at, _)| at);
        node.execs_at(executed);
        let at = self.begun.max(id.start);
        if row.ended && row.others.is_empty() {
            let steps = self.lives.get(&row.pid).into_iter().flatten();
            let next = steps.filter(|&&(at, step)| step == Step::Began && at > id.start);
            let next = next.map(|&(at, _)| at).min();
            let ends = self.ends.get(&row.pid).into_iter().flatten();
            let its = ends.filter(|&&(at, _)| at >= executed && next.is_none_or(|next| at < next));
            node.look_ended(at, first == First::Noted, its.map(|&(_, tid)| tid));
        } else {
            // One that ends first was there when it was begun to look, and whoever has its number
            // later is another one.
            let mut told = HashMap::new();
            for &(then, tid, made) in self.threads.get(&row.pid).into_iter().flatten() {
                if then >= at {
                    told.entry(tid).or_insert(made);
                }
            }
            let is_told = |tid: &i32| told.get(tid) == Some(&true);
            node.look(at, first, row.others.iter().map(|tid| (*tid, is_told(tid))));
        }
    }

    /// What has been noted of a process, and not of another one that had its number.
    fn life(&self, id: ProcId) -> impl Iterator<Item = (Moment, Step)> {
        let all = self.lives.get(&id.pid).into_iter().flatten().copied();
        all.skip_while(move |&(at, _)| at <= id.start).take_while(|&(_, step)| step != Step::Began)
    }

    /// Whether a number that was somebody's since the one moment was still the same one's at the
    /// other: no other process had been given it.
    fn keeps(&self, pid: i32, since: Moment, at: Moment) -> bool {
        let mut steps = self.lives.get(&pid).into_iter().flatten();
        !steps.any(|&(then, step)| step == Step::Began && then > since && then <= at)
    }

    /// The member that had this number then.
    fn member<'a>(&self, nodes: &'a HashMap<i32, Node>, pid: i32, at: Moment) -> Option<&'a Node> {
        let node = nodes.get(&pid).filter(|node| node.id.start <= at);
        node.filter(|node| self.keeps(pid, node.since, at))
    }

    /// Since when a process is there that was seen, as exactly as can be said.
    fn id(&self, row: &Row) -> ProcId {
        let start = self.births.get(&row.pid).map_or(row.start, |&(at, _)| at);
        ProcId { pid: row.pid, start }
    }

    /// Whether the end of its first thread has been noted.
    fn ends(&self, id: ProcId) -> bool {
        self.life(id).any(|(_, step)| step == Step::Ended)
    }

    /// Who will be a member through the notes alone: since when, and whose child each is.
    fn tells(&self, nodes: &HashMap<i32, Node>) -> HashMap<i32, (Moment, i32)> {
        let mut told = HashMap::new();
        for note in &self.notes {
            if let What::Fork { parent, tid, pid } = note.what
                && tid == pid
            {
                let known = nodes.get(&pid).is_some_and(|node| note.at <= node.since);
                let member = self.member(nodes, parent, note.at).is_some();
                if !known && (member || told.contains_key(&parent)) {
                    told.insert(pid, (note.at, parent));
                } else {
                    told.remove(&pid);
                }
            }
        }
        told
    }
}
