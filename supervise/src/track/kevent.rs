//! What a kqueue says of a tree of processes (`EVFILT_PROC` with `NOTE_TRACK`), put in order: a
//! pure function of the kevents, the same for all BSDs; kqueue(2).
//!
//! Nothing here meets a kernel, and it is tested on Linux. What is known of the kernels is from
//! reading their source and their manuals; no BSD has ever run this.
//!
//! A kevent has one `data` and a set of flags that are merged until it is read, so these are kept
//! apart here:
//! - With `NOTE_EXIT`, `data` is a wait status whatever else is set. Only without it, and with
//!   `NOTE_CHILD`, it is the parent's number ([`Data`]). FreeBSD from 11 on has a kevent for each;
//!   all others merge them, and what is merged has lost its parent.
//! - The parent is then looked for without guessing. `udata` is copied from a parent's knote to
//!   its child's, so each process that is heard of is registered again with a number of its own
//!   ([`Act::Register`]). Who has inherited the number of N was made by N, or by one of those that
//!   have inherited it too and were not registered again yet. If that can only be one, it is the
//!   parent; if the zombie was still there to be asked, its parent is, if it is among them;
//!   otherwise all that is said is that N is an ancestor.
//! - Flags are a set: forks are not counted, and of what is in one kevent, or in one look at the
//!   queue, beginnings are told first and ends last.
//! - `NOTE_TRACKERR` is a [`Event::Gap`] and asks for a look at what is there ([`Act::Rescan`]).

use std::collections::BTreeMap;
use std::ffi::c_int;

use super::{Cause, Event, Parent, ProcId};
use crate::{Exit, Moment};

#[path = "kevent_settle.rs"]
mod settle;

#[cfg(test)]
#[path = "kevent_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "kevent_kernel_tests.rs"]
mod kernel_tests;

/// It has ended. `data` is its wait status.
pub const NOTE_EXIT: u32 = 0x8000_0000;
/// It has forked, at least once.
pub const NOTE_FORK: u32 = 0x4000_0000;
/// It has become another program, at least once.
pub const NOTE_EXEC: u32 = 0x2000_0000;
/// Follow its children too.
pub const NOTE_TRACK: u32 = 1;
/// A child of it could not be followed.
pub const NOTE_TRACKERR: u32 = 2;
/// It is a child that is followed from its beginning. `data` is its parent's number.
pub const NOTE_CHILD: u32 = 4;

/// One kevent of `EVFILT_PROC`, as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// `ident`: which process.
    pub pid: i32,
    /// What has happened.
    pub fflags: u32,
    /// One number, for whichever flag uses it: see [`Data`].
    pub data: i64,
    /// What this process was registered with, or what its parent was.
    pub udata: u64,
    /// What sysctl(3) said of the process when the kevent had been read; wanted only where
    /// `NOTE_CHILD` and `NOTE_EXIT` are both set.
    pub looked: Option<Process>,
}

/// A process as sysctl(3) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent of today.
    pub parent: i32,
    /// Whether it is a zombie.
    pub ended: bool,
}

/// What the `data` of a kevent is: one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// A wait status; `None` if it is of no end, which no kernel should say.
    Status(Option<Exit>),
    /// The number of the parent.
    Parent(i32),
    /// Nothing.
    Unused,
}

impl Note {
    /// What `data` is here.
    pub fn data(&self) -> Data {
        if self.has(NOTE_EXIT) {
            let status = c_int::try_from(self.data).ok();
            Data::Status(status.and_then(Exit::from_wait_status))
        } else if self.has(NOTE_CHILD) {
            // One that is no number of a process is nobody's.
            Data::Parent(i32::try_from(self.data).unwrap_or(0))
        } else {
            Data::Unused
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.fflags & flag != 0
    }
}

/// What is to be done before the queue is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Register the process again (`EV_ADD`) with this `udata`. That it is not there any more is
    /// no error.
    Register {
        /// Which.
        pid: i32,
        /// Its own number.
        udata: u64,
    },
    /// List all processes, look at the queue once more, and say both: [`Decoder::hear`] and then
    /// [`Decoder::settle`].
    Rescan,
}

/// To whom the kernel gives those whose parent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// Always to init: whoever else is the parent has forked.
    ToInit,
    /// To the nearest ancestor that has asked for it (FreeBSD, DragonFly).
    ToReaper,
}

/// A tree of processes, by what a kqueue says of it.
#[derive(Clone, Debug)]
pub struct Decoder {
    orphans: Orphans,
    live: BTreeMap<i32, Member>,
    nodes: BTreeMap<u64, Node>,
    /// Who ended in this look at the queue or the one before, in that order.
    ended: Vec<Ended>,
    /// How many looks there were.
    look: u64,
    /// The last number given, as `udata` and as a start.
    last_node: u64,
    last_start: Moment,
    /// What is to be told at the next opportunity.
    early: Vec<Event>,
    /// When something was lost last that has not been looked up yet.
    gap: Option<Moment>,
    /// A list of all processes is wanted, for that reason or another one.
    rescan: bool,
    /// What the lists since the first loss have brought.
    found: usize,
    vanished: usize,
    was_empty: bool,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: ProcId,
    node: u64,
    forked: bool,
}

/// What a `udata` stands for.
#[derive(Clone, Debug)]
struct Node {
    id: ProcId,
    /// Those that have inherited it, and in which look they were heard of.
    heirs: Vec<(u64, ProcId)>,
    /// The look in which it ended or was last inherited.
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    look: u64,
    at: Moment,
    id: ProcId,
    forked: bool,
}

impl Decoder {
    /// Of nobody yet.
    pub fn new(orphans: Orphans) -> Decoder {
        Decoder {
            orphans,
            live: BTreeMap::new(),
            nodes: BTreeMap::new(),
            ended: Vec::new(),
            look: 0,
            last_node: 0,
            last_start: Moment(0),
            early: Vec::new(),
            gap: None,
            rescan: false,
            found: 0,
            vanished: 0,
            was_empty: true,
        }
    }

    /// Follows a process that is held and has not run yet, which is told with the next
    /// [`Decoder::hear`]. It is to be registered as this says.
    pub fn watch(&mut self, pid: i32, now: Moment) -> (ProcId, Act) {
        self.root(pid, false, now)
    }

    /// Follows a process that runs already. It is to be registered as this says, and its
    /// descendants are to be looked for as by [`Act::Rescan`].
    pub fn attach(&mut self, pid: i32, now: Moment) -> (ProcId, Act) {
        self.rescan = true;
        self.root(pid, true, now)
    }

    fn root(&mut self, pid: i32, found: bool, now: Moment) -> (ProcId, Act) {
        if let Some(known) = self.live.get(&pid) {
            return (known.id, Act::Register { pid, udata: known.node });
        }
        let id = self.new_id(pid, now);
        self.early.push(Event::Fork { id, parent: Parent::Unknown, found, at: now });
        (id, self.join(id))
    }

    /// The live member with this number.
    pub fn member(&self, pid: i32) -> Option<ProcId> {
        self.live.get(&pid).map(|member| member.id)
    }

    /// All live members.
    pub fn members(&self) -> impl Iterator<Item = ProcId> {
        self.live.values().map(|member| member.id)
    }

    /// Takes what one look at the queue has brought: all that was in it, in its order. What
    /// happened is appended to `events`, what is to be done before the next look is returned.
    pub fn hear(&mut self, notes: &[Note], now: Moment, events: &mut Vec<Event>) -> Vec<Act> {
        let mut acts = Vec::new();
        self.look += 1;
        self.forget();
        events.append(&mut self.early);
        // Ends wait until all beginnings have been told: a queue keeps its order between
        // processes, but what is merged into an old entry is read too early.
        let mut ends: Vec<(ProcId, Option<Exit>)> = Vec::new();
        for note in notes {
            let data = note.data();
            if note.has(NOTE_CHILD) {
                self.make_room(note.pid, &mut ends, now, events);
                let id = self.new_id(note.pid, now);
                let parent = match data {
                    Data::Parent(pid) => self.told_parent(pid, note.udata),
                    _ => self.lost_parent(note),
                };
                events.push(Event::Fork { id, parent, found: false, at: now });
                let look = self.look;
                if let Some(node) = self.nodes.get_mut(&note.udata) {
                    node.heirs.push((look, id));
                    node.last = look;
                }
                let register = self.join(id);
                if !note.has(NOTE_EXIT) {
                    acts.push(register);
                }
            }
            // Others were given up on before.
            let Some(member) = self.live.get_mut(&note.pid) else { continue };
            member.forked |= note.has(NOTE_FORK);
            let id = member.id;
            if note.has(NOTE_TRACKERR) {
                events.push(Event::Gap { cause: Cause::TrackError { parent: id }, at: now });
                (self.gap, self.rescan) = (Some(now), true);
            }
            if note.has(NOTE_EXEC) {
                events.push(Event::Exec { id, path: None, at: now });
            }
            if let Data::Status(exit) = data {
                self.part(id, now);
                ends.push((id, exit));
            }
        }
        events.extend(ends.into_iter().map(|(id, exit)| Event::Exit { id, exit, at: now }));
        // Registering those that have ended meanwhile would be asking for nobody.
        acts.retain(|act| match act {
            Act::Register { pid, udata } => self.live.get(pid).is_some_and(|m| m.node == *udata),
            Act::Rescan => true,
        });
        if self.rescan {
            acts.push(Act::Rescan);
        } else {
            self.tell_empty(now, events);
        }
        acts
    }

    /// A number is taken by a new process: whoever had it must have ended.
    fn make_room(
        &mut self,
        pid: i32,
        ends: &mut Vec<(ProcId, Option<Exit>)>,
        now: Moment,
        events: &mut Vec<Event>,
    ) {
        if let Some(id) = self.member(pid) {
            let cause = Cause::Overrun { lost: None };
            events.push(Event::Gap { cause, at: now });
            events.push(Event::Exit { id, exit: None, at: now });
            self.part(id, now);
            (self.gap, self.rescan) = (Some(now), true);
        }
        if let Some(at) = ends.iter().position(|(id, _)| id.pid == pid) {
            let (id, exit) = ends.remove(at);
            events.push(Event::Exit { id, exit, at: now });
        }
    }

    /// The parent with this number, which the kernel has named.
    fn told_parent(&self, pid: i32, udata: u64) -> Parent {
        let mut known = self.numbered(pid);
        if known.len() > 1 {
            let heirs = self.heirs(udata);
            known.retain(|id| heirs.contains(id));
        }
        match known[..] {
            [one] => Parent::Exact(one),
            _ => self.ancestor(udata),
        }
    }

    /// The parent of one that has begun and ended in one kevent.
    fn lost_parent(&self, note: &Note) -> Parent {
        let possible = self.heirs(note.udata);
        if let [one] = possible[..] {
            return Parent::Exact(one);
        }
        if let Some(looked) = note.looked.filter(|it| it.pid == note.pid && it.ended) {
            let mut known = self.numbered(looked.parent);
            known.retain(|id| possible.contains(id));
            if let [one] = known[..] {
                return match self.orphans {
                    Orphans::ToInit => Parent::Exact(one),
                    Orphans::ToReaper => Parent::Ancestor(one),
                };
            }
        }
        self.ancestor(note.udata)
    }

    fn ancestor(&self, udata: u64) -> Parent {
        self.nodes.get(&udata).map_or(Parent::Unknown, |node| Parent::Ancestor(node.id))
    }

    /// Who has this number, or had it so late that children of it may still be heard of.
    fn numbered(&self, pid: i32) -> Vec<ProcId> {
        let ended = self.ended.iter().map(|ended| ended.id).filter(|id| id.pid == pid);
        self.member(pid).into_iter().chain(ended).collect()
    }

    /// Who can have made somebody that is heard of now and has inherited this `udata`: whose own
    /// it is; and who inherited it so late that it made that child before it was registered again.
    /// (What is made before that is in the queue by then, and so in the next look at it.) Nobody
    /// is among them who has ended and, by what was said of its end, had never forked.
    fn heirs(&self, udata: u64) -> Vec<ProcId> {
        let Some(node) = self.nodes.get(&udata) else { return Vec::new() };
        let late = node.heirs.iter().filter(|(look, _)| look + 1 >= self.look);
        let heirs = late.map(|(_, id)| *id).chain([node.id]);
        heirs.filter(|id| self.may_have_forked(*id)).collect()
    }

    fn may_have_forked(&self, id: ProcId) -> bool {
        self.member(id.pid) == Some(id) || self.ended.iter().any(|it| it.id == id && it.forked)
    }

    /// Forgets what nobody can refer to any more.
    fn forget(&mut self) {
        let look = self.look;
        self.ended.retain(|ended| ended.look + 1 >= look);
        let live = &self.live;
        self.nodes.retain(|_, node| {
            node.heirs.retain(|(heard, _)| heard + 1 >= look);
            live.get(&node.id.pid).is_some_and(|m| m.id == node.id) || node.last + 2 >= look
        });
    }

    /// Never the same twice, though many are heard of at one moment.
    fn new_id(&mut self, pid: i32, now: Moment) -> ProcId {
        self.last_start = now.max(Moment(self.last_start.0.saturating_add(1)));
        ProcId { pid, start: self.last_start }
    }

    fn join(&mut self, id: ProcId) -> Act {
        self.last_node += 1;
        let udata = self.last_node;
        self.live.insert(id.pid, Member { id, node: udata, forked: false });
        self.nodes.insert(udata, Node { id, heirs: Vec::new(), last: self.look });
        self.was_empty = false;
        Act::Register { pid: id.pid, udata }
    }

    fn part(&mut self, id: ProcId, now: Moment) {
        if let Some(member) = self.live.remove(&id.pid) {
            let (look, forked) = (self.look, member.forked);
            self.ended.push(Ended { look, at: now, id, forked });
            if let Some(node) = self.nodes.get_mut(&member.node) {
                node.last = self.look;
            }
        }
    }

    fn tell_empty(&mut self, now: Moment, events: &mut Vec<Event>) {
        if self.live.is_empty() && !self.was_empty {
            self.was_empty = true;
            events.push(Event::Empty { at: now });
        }
    }
}
