//! Setting right what a kqueue could not follow, by a list of all processes.

use std::collections::BTreeMap;

use super::{Act, Decoder, Process};
use crate::Moment;
use crate::track::{Event, Parent, ProcId};

impl Decoder {
    /// Compares what is known with the list `there`, which was made at `taken`, and after which
    /// the queue has been heard once more. Whoever is not known and has a known ancestor is found,
    /// and to be registered; whoever is known and not there has ended unheard.
    ///
    /// Between the list and the registration, children of those found may have been made unseen:
    /// if anything is returned, one more list has to be settled.
    pub fn settle(
        &mut self,
        there: &[Process],
        taken: Moment,
        now: Moment,
        events: &mut Vec<Event>,
    ) -> Vec<Act> {
        events.append(&mut self.early);
        let mut acts = Vec::new();
        let all: BTreeMap<i32, Process> = there.iter().map(|it| (it.pid, *it)).collect();
        // Those that were heard of after the list was made cannot be in it.
        let older = self.members().filter(|id| id.start < taken);
        let vanished: Vec<ProcId> = older.filter(|id| !all.contains_key(&id.pid)).collect();
        for id in &vanished {
            events.push(Event::Exit { id: *id, exit: None, at: now });
            self.part(*id, now);
        }
        self.vanished += vanished.len();
        // From the top down, so that each has its parent before it.
        let mut line = Vec::new();
        for process in all.values() {
            self.unknown_line(process, &all, taken, &mut line);
            while let Some(process) = line.pop() {
                let Some(above) = self.known(process.parent, taken) else { break };
                let id = self.new_id(process.pid, now);
                // It may have been adopted: an ancestor it is for certain.
                let parent = Parent::Ancestor(above);
                events.push(Event::Fork { id, parent, found: true, at: now });
                self.found += 1;
                let register = self.join(id);
                if process.ended {
                    events.push(Event::Exit { id, exit: None, at: now });
                    self.part(id, now);
                } else {
                    acts.push(register);
                }
            }
        }
        // What was lost after the list was made cannot be in it either.
        if !acts.is_empty() || self.gap.is_some_and(|at| at >= taken) {
            acts.push(Act::Rescan);
            return acts;
        }
        let (found, vanished) =
            (std::mem::take(&mut self.found), std::mem::take(&mut self.vanished));
        self.rescan = false;
        if self.gap.take().is_some() {
            events.push(Event::Resync { found, vanished, at: now });
        }
        self.tell_empty(now, events);
        acts
    }

    /// Who had this number when the list was made: a member, or one that was until then.
    fn known(&self, pid: i32, taken: Moment) -> Option<ProcId> {
        let since = self.ended.iter().find(|it| it.id.pid == pid && it.at >= taken);
        self.member(pid).or(since.map(|it| it.id))
    }

    /// From this process up to below the nearest member, if there is one and all are unknown.
    fn unknown_line(
        &self,
        process: &Process,
        all: &BTreeMap<i32, Process>,
        taken: Moment,
        line: &mut Vec<Process>,
    ) {
        line.clear();
        let mut at = Some(process);
        while let Some(process) = at {
            if self.known(process.pid, taken).is_some() {
                return;
            }
            line.push(*process);
            // A list is not made in one moment, and may have a ring in it.
            at = all.get(&process.parent).filter(|_| line.len() < all.len() && process.parent > 1);
        }
        line.clear();
    }
}
