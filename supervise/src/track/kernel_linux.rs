//! The back end that the kernel itself tells: brings the connector's socket, the account of
//! losses, the tree of members and the look into /proc together.

use std::os::fd::BorrowedFd;

use super::connector::{Heard, Ledger, Note, What, decode};
use super::connector_linux::{Batch, Connector, Part};
use super::tree::Tree;
use super::{Caps, Event, Limits, Loss, ProcId, snapshot_linux};
use crate::{Error, Moment, procfs};

/// How often it is looked again because something was lost or could not be seen meanwhile.
const MOST_LOOKS: usize = 5;

/// A tracker by the process connector.
#[derive(Debug)]
pub(super) struct Kernel {
    connector: Connector,
    ledger: Ledger,
    tree: Tree,
    /// Kept for its memory.
    batch: Batch,
    /// What is to be read next.
    events: Vec<Event>,
    /// What has been noted while nobody was reading.
    notes: Vec<Note>,
}

impl Kernel {
    pub(super) fn open(limits: &Limits) -> Result<Kernel, Error> {
        let connector = Connector::open(limits)?;
        let us = std::process::id().cast_signed();
        let start = |pid| procfs::stat(pid).map_or(Moment::default(), |stat| stat.start);
        // Whoever is our child now is not an orphan that we have adopted later.
        let rows = snapshot_linux::look().rows;
        let own = rows.iter().filter(|row| row.parent == us);
        let own = own.map(|row| ProcId { pid: row.pid, start: row.start });
        let tree = Tree::new(ProcId { pid: us, start: start(us) }, own);
        let (ledger, batch) = (Ledger::default(), Batch::default());
        Ok(Kernel { connector, ledger, tree, batch, events: Vec::new(), notes: Vec::new() })
    }

    pub(super) fn caps(&self) -> Caps {
        Caps {
            name: "connector",
            parents: true,
            statuses: true,
            loss: Loss::Counted,
            system_wide: true,
        }
    }

    pub(super) fn watch(&mut self, pid: i32) -> Result<ProcId, Error> {
        // The FORK was told before fork(2) returned. It says when the process was made.
        self.hear_meanwhile(Self::hear)?;
        let start = match self.tree.born(pid) {
            Some(start) => start,
            None => found(pid)?.start,
        };
        let id = self.tree.watch(pid, start, Moment::now(), &mut self.events);
        self.connector.nudge();
        Ok(id)
    }

    pub(super) fn attach(&mut self, pid: i32) -> Result<ProcId, Error> {
        self.hear_meanwhile(Self::hear)?;
        for _ in 0..MOST_LOOKS {
            found(pid)?;
            if self.hear_meanwhile(|kernel, each| kernel.look(Some(pid), each))? {
                break;
            }
        }
        self.connector.nudge();
        let none = || Error::says(format!("follow process {pid}: it ended while it was looked up"));
        self.tree.member(pid).filter(|id| id.pid == pid).ok_or_else(none)
    }

    pub(super) fn read(
        &mut self,
        events: &mut Vec<Event>,
        each: &mut dyn FnMut(&Note),
    ) -> Result<(), Error> {
        self.notes.drain(..).for_each(|note| each(&note));
        self.hear(each)?;
        if self.tree.is_lost() && !self.look(None, each)? {
            // More was lost meanwhile. Others have their turn before it is tried again.
            self.connector.nudge();
        }
        events.append(&mut self.events);
        Ok(())
    }

    pub(super) fn member(&self, tid: i32) -> Option<ProcId> {
        self.tree.member(tid)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = ProcId> {
        self.tree.members()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.connector.as_fd()
    }

    /// Does something in which notes are heard, and keeps them for the next who reads.
    fn hear_meanwhile(
        &mut self,
        mut what: impl FnMut(&mut Kernel, &mut dyn FnMut(&Note)) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let mut notes = std::mem::take(&mut self.notes);
        let result = what(self, &mut |note| notes.push(*note));
        self.notes = notes;
        result
    }

    /// Takes in all that has been told by now. Returns whether nothing was lost.
    fn hear(&mut self, each: &mut dyn FnMut(&Note)) -> Result<bool, Error> {
        self.connector.take(&mut self.batch)?;
        let mut whole = true;
        for part in self.batch.parts() {
            match part {
                Part::Datagram(bytes) => {
                    for heard in decode(bytes) {
                        let (cpu, seq, note) = match heard {
                            Heard::Event { cpu, seq, note } => (cpu, seq, note),
                            // It counts as an event, as its loss would.
                            Heard::Ack { at, cpu, seq, .. } => {
                                (cpu, seq, Note { at, what: What::Other })
                            }
                        };
                        self.ledger.hear(cpu, seq);
                        if let Some(lost) = self.ledger.untold() {
                            whole = false;
                            self.tree.lose(lost, note.at, &mut self.events);
                        }
                        each(&note);
                        self.tree.apply(note, &mut self.events);
                    }
                }
                Part::Drops(count) => {
                    self.ledger.dropped(count);
                    if let Some(lost) = self.ledger.untold() {
                        whole = false;
                        self.tree.lose(lost, Moment::now(), &mut self.events);
                    }
                }
            }
        }
        Ok(whole)
    }

    /// Looks up who is there, and brings the members in line with it. Returns false if that has
    /// to be done again, because something was lost in between.
    fn look(&mut self, root: Option<i32>, each: &mut dyn FnMut(&Note)) -> Result<bool, Error> {
        self.tree.hold();
        for look in 1.. {
            let seen = snapshot_linux::look();
            // All that happened before and while it was looked has been told by now.
            if !self.hear(each)? {
                return Ok(false);
            }
            if look == MOST_LOOKS || self.tree.is_covered(&seen) {
                self.tree.settle(&seen, root, &mut self.events);
                break;
            }
        }
        Ok(true)
    }
}

fn found(pid: i32) -> Result<procfs::Stat, Error> {
    let none = || Error::says(format!("follow process {pid}: no such process"));
    procfs::stat(pid).filter(|stat| !stat.ended() || stat.threads > 1).ok_or_else(none)
}
