//! What ptrace(2) tells, put together: from wait statuses and event messages to who was forked by
//! whom, what was executed, how each ended and who sent a signal. It calls nothing and reads no
//! clock; `ptrace_linux.rs` asks the kernel and does what is said here.
//!
//! Three things make it less simple than it looks:
//! - A new process's first stop and its maker's word that it has made it come in any order. One
//!   that nobody has named yet is left stopped, so that nothing it does can be told before its
//!   parent is known. Should its maker have been killed with the word on its lips, it is let go
//!   after [`PATIENCE`], with what /proc says of its parents.
//! - A thread that executes a program takes the number of its process, and neither its own number
//!   nor the thread that had that number before is heard of again.
//! - The end of a process is the end of the thread that has its number: the kernel holds it back
//!   until all others are gone, and it has the status of the whole.
//!
//! A descendant that calls clone(2) with `CLONE_UNTRACED` is not followed: the kernel gives no
//! way to.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::attribution::{Confidence, Reason, Via};
use crate::reaper::Change;
use crate::track::{Event, Parent, ProcId};
use crate::{Exit, Moment};

/// How long a new process is left stopped while its maker has not named it.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// What waiting for a traced thread gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It has ended.
    Ended(Exit),
    /// It is about to be given this signal.
    Signal(c_int),
    /// It is stopped with its whole process by this signal: to be left so, and heard.
    Group(c_int),
    /// It has made a process or a thread.
    Made,
    /// It has become another program.
    Executed,
    /// It stands at its very beginning, or a stop of its whole process is over; or another event,
    /// none of which was asked for.
    Trap,
}

/// What a whole wait status of a thread that was seized says, ptrace(2). A number that is not one
/// is taken for a trap, which does no harm.
pub(crate) fn decode(status: c_int) -> Wait {
    if let Some(exit) = Exit::from_wait_status(status) {
        return Wait::Ended(exit);
    }
    let signal = status >> 8 & 0xff;
    match status >> 16 & 0xff {
        0 => Wait::Signal(signal),
        libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Wait::Group(signal),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Wait::Made,
        libc::PTRACE_EVENT_EXEC => Wait::Executed,
        _ => Wait::Trap,
    }
}

/// Whether a signal can end a process. Those that never do are many, and mean nothing.
pub(crate) fn can_end(signal: c_int) -> bool {
    let harmless = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    // 32 and 33 are the C library's own, from thread to thread of one process: glibc's nptl(7).
    !harmless.contains(&signal) && signal != 32 && signal != 33
}

/// How a signal was sent, and what is to be thought of the sender that its siginfo_t names.
/// `outside` is whether the receiver is in another pid namespace: the number is that one's then,
/// and may be anybody's here.
pub(crate) fn judge(code: c_int, pid: i32, outside: bool) -> (Via, Confidence) {
    let named = |confidence| {
        if pid == 0 || outside { Confidence::Unknown(Reason::OutOfNamespace) } else { confidence }
    };
    match code {
        // pidfd_send_signal(2) without a siginfo_t of its own, and killpg(2), look the same.
        libc::SI_USER => (Via::Process, named(Confidence::Reported)),
        libc::SI_TKILL => (Via::Thread, named(Confidence::Reported)),
        libc::SI_QUEUE => (Via::Queue, named(Confidence::Claimed)),
        // A timer or a message queue; or somebody who has written that into rt_sigqueueinfo(2),
        // which takes every other code below zero from anybody.
        ..0 => (Via::Kernel, Confidence::Claimed),
        _ => (Via::Kernel, Confidence::Unknown(Reason::Kernel)),
    }
}

/// What has been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A process.
    Process,
    /// One more thread of the process that made it.
    Thread,
    /// It has ended and been reaped already.
    Gone,
}

/// What is to be done with a stopped thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It goes on, with this signal if it is not 0.
    Resume(i32, c_int),
    /// It stays stopped, and says when that is over.
    Listen(i32),
}

/// Everyone who is traced.
#[derive(Debug, Default)]
pub(crate) struct Tracees {
    processes: HashMap<i32, Process>,
    /// Of which process each thread is.
    threads: HashMap<i32, i32>,
    /// Whom nobody has named yet, oldest first.
    unnamed: VecDeque<Unnamed>,
    /// The first one, as long as there has been only one.
    root: Option<ProcId>,
    roots: usize,
    /// When the last one ended, if that has not been told yet.
    emptied: Option<Moment>,
    /// What has happened, in order.
    pub events: Vec<Event>,
    /// What is to be done now, in order.
    pub actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Process {
    id: ProcId,
    exe: Option<Arc<Path>>,
    /// Its threads that have other numbers than it has.
    others: Vec<i32>,
    /// Whether it is stopped.
    stopped: bool,
}

/// A thread or process that was heard of before its maker has named it.
#[derive(Debug)]
struct Unnamed {
    tid: i32,
    since: Moment,
    state: State,
    /// Its process and that one's parent, as /proc had them while they could be asked for.
    origin: Option<Origin>,
}

#[derive(Clone, Copy, Debug)]
struct Origin {
    process: i32,
    /// An ancestor: a member then.
    ancestor: Option<ProcId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for us to say `action`.
    Held(Action),
    /// It ended like this, before it ever ran.
    Dead(Exit, Moment),
}

/// What /proc says of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// Its process.
    pub process: i32,
    /// That one's parent of today.
    pub parent: i32,
}

impl Tracees {
    /// The first one, which we have made ourselves.
    pub(crate) fn add_root(&mut self, pid: i32, us: ProcId, at: Moment) -> ProcId {
        let id = self.begin(pid, Parent::Exact(us), false, None, at);
        self.root = (self.roots == 0).then_some(id);
        self.roots += 1;
        id
    }

    /// Whether this thread has been heard of, and nobody has named it yet.
    pub(crate) fn is_waiting(&self, tid: i32) -> bool {
        self.unnamed.iter().any(|one| one.tid == tid)
    }

    /// The process that this thread is of.
    pub(crate) fn process_of(&self, tid: i32) -> Option<i32> {
        self.threads.get(&tid).copied()
    }

    /// The live process that has this number, or this thread.
    pub(crate) fn member(&self, tid: i32) -> Option<ProcId> {
        Some(self.processes.get(self.threads.get(&tid)?)?.id)
    }

    /// All live processes.
    pub(crate) fn members(&self) -> impl Iterator<Item = ProcId> {
        self.processes.values().map(|process| process.id)
    }

    /// What a live process executes, if that was seen.
    pub(crate) fn executes(&self, pid: i32) -> Option<PathBuf> {
        Some(self.processes.get(&pid)?.exe.as_deref()?.to_owned())
    }

    /// What has become of a process when its first thread does this: it is stopped, or goes on.
    pub(crate) fn changed(&mut self, tid: i32, how: Wait) -> Option<Change> {
        let process = self.processes.get_mut(&tid)?;
        let change = match how {
            Wait::Group(signal) => Change::Stopped(signal),
            Wait::Trap if process.stopped => Change::Continued,
            _ => return None,
        };
        process.stopped = change != Change::Continued;
        Some(change)
    }

    /// A thread has stopped, for nothing more than `how` says.
    pub(crate) fn stopped(&mut self, tid: i32, how: Wait, at: Moment) {
        let action = match how {
            Wait::Group(_) => Action::Listen(tid),
            Wait::Signal(signal) => Action::Resume(tid, signal),
            _ => Action::Resume(tid, 0),
        };
        if self.threads.contains_key(&tid) {
            self.actions.push_back(action);
        } else if let Some(one) = self.unnamed.iter_mut().find(|one| one.tid == tid) {
            one.state = State::Held(action);
        } else {
            let state = State::Held(action);
            self.unnamed.push_back(Unnamed { tid, since: at, state, origin: None });
        }
    }

    /// Somebody is about to be reaped, or there is nothing more to be heard: whom nobody has named
    /// by then is looked up, while its maker may still be there.
    pub(crate) fn rest(&mut self, look_up: impl Fn(i32) -> Option<Lineage>) {
        let mut unnamed = std::mem::take(&mut self.unnamed);
        for one in unnamed.iter_mut().filter(|one| one.origin.is_none()) {
            one.origin = look_up(one.tid).map(|lineage| self.origin(lineage));
        }
        self.unnamed = unnamed;
    }

    fn origin(&self, lineage: Lineage) -> Origin {
        // One whose parent has ended has been adopted by somebody else. But all descend from the
        // first one.
        let ancestor = self.member(lineage.parent).or(self.root);
        Origin { process: lineage.process, ancestor }
    }

    /// A thread says that it has made another one. It goes on.
    pub(crate) fn made(&mut self, maker: i32, child: i32, kind: Kind, at: Moment) {
        self.actions.push_back(Action::Resume(maker, 0));
        let known = self.threads.get(&maker).and_then(|pid| self.processes.get(pid));
        let Some(parent) = known.map(|process| (process.id, process.exe.clone())) else { return };
        let waiting = self.unnamed.iter().position(|one| one.tid == child);
        let waiting = waiting.and_then(|at| self.unnamed.remove(at));
        match kind {
            // It was let go before, with a parent less exact than this.
            _ if self.threads.contains_key(&child) => {}
            Kind::Thread => self.join(parent.0.pid, child),
            Kind::Process => {
                self.begin(child, Parent::Exact(parent.0), false, parent.1, at);
            }
            Kind::Gone => {
                if let Some(Unnamed { state: State::Dead(..), origin, .. }) = waiting
                    && origin.is_none_or(|origin| origin.process == child)
                {
                    self.begin(child, Parent::Exact(parent.0), false, parent.1, at);
                }
            }
        }
        self.settle(waiting);
    }

    /// A process has become another program. `former` is the number of the thread that did it.
    pub(crate) fn executed(&mut self, pid: i32, former: i32, path: Option<PathBuf>, at: Moment) {
        self.actions.push_back(Action::Resume(pid, 0));
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.exe = path.as_deref().map(Arc::from);
        let id = process.id;
        for other in std::mem::take(&mut process.others).into_iter().chain([former]) {
            if other != pid && self.threads.get(&other) == Some(&pid) {
                self.threads.remove(&other);
            }
        }
        self.events.push(Event::Exec { id, path, at });
    }

    /// A thread has ended, and if it has the number of its process, that has. Its lineage is wanted
    /// if it has no name yet: nobody can ask any more.
    pub(crate) fn ended(&mut self, tid: i32, exit: Exit, lineage: Option<Lineage>, at: Moment) {
        let Some(&pid) = self.threads.get(&tid) else {
            let origin = lineage.map(|lineage| self.origin(lineage));
            let state = State::Dead(exit, at);
            match self.unnamed.iter_mut().find(|one| one.tid == tid) {
                Some(one) => (one.state, one.origin) = (state, one.origin.or(origin)),
                None => self.unnamed.push_back(Unnamed { tid, since: at, state, origin }),
            }
            return;
        };
        self.threads.remove(&tid);
        if tid != pid {
            if let Some(process) = self.processes.get_mut(&pid) {
                process.others.retain(|&other| other != tid);
            }
            return;
        }
        let Some(process) = self.processes.remove(&pid) else { return };
        for other in process.others {
            self.threads.remove(&other);
        }
        self.events.push(Event::Exit { id: process.id, exit: Some(exit), at });
        self.maybe_empty(at);
    }

    /// There are no children, and nobody is traced. Whoever was still here has been waited for by
    /// somebody else: one that was held, and was not let go after all.
    pub(crate) fn vanish(&mut self, at: Moment) {
        self.unnamed.retain(|one| matches!(one.state, State::Dead(..)));
        self.threads.clear();
        for (_, process) in std::mem::take(&mut self.processes) {
            self.events.push(Event::Exit { id: process.id, exit: None, at });
            self.maybe_empty(at);
        }
        if self.unnamed.is_empty() {
            self.tell_empty();
        }
    }

    /// When [`Tracees::give_up`] is to be called, if nothing comes before.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let first = self.unnamed.front().map(|one| one.since);
        Some(first.or(self.emptied)?.after(PATIENCE))
    }

    /// Lets go whom nobody has named in time: its maker was killed before it could. And tells that
    /// nobody is left: as long as we have children that are not traced, only the time that has
    /// passed says that there is none of whom, for the same reason, nothing has been heard at all.
    pub(crate) fn give_up(&mut self, now: Moment) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let Some(one) = self.unnamed.pop_front() else { return self.tell_empty() };
            match one.origin {
                Some(origin) if origin.process != one.tid => {
                    // A thread: of that process, whoever in it has made it.
                    if self.processes.contains_key(&origin.process) {
                        self.join(origin.process, one.tid);
                    }
                }
                origin => {
                    let ancestor = origin.and_then(|origin| origin.ancestor);
                    let parent = ancestor.map_or(Parent::Unknown, Parent::Ancestor);
                    self.begin(one.tid, parent, true, None, now);
                }
            }
            self.settle(Some(one));
            self.maybe_empty(now);
        }
    }

    fn begin(
        &mut self,
        pid: i32,
        parent: Parent,
        found: bool,
        exe: Option<Arc<Path>>,
        at: Moment,
    ) -> ProcId {
        let id = ProcId { pid, start: at };
        self.emptied = None;
        self.threads.insert(pid, pid);
        self.processes.insert(pid, Process { id, exe, others: Vec::new(), stopped: false });
        self.events.push(Event::Fork { id, parent, found, at });
        id
    }

    fn join(&mut self, pid: i32, tid: i32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.others.push(tid);
        self.threads.insert(tid, pid);
    }

    /// What was to happen to one that has a name now.
    fn settle(&mut self, one: Option<Unnamed>) {
        match one {
            Some(Unnamed { state: State::Held(action), .. }) => self.actions.push_back(action),
            Some(Unnamed { tid, state: State::Dead(exit, at), .. })
                if self.threads.contains_key(&tid) =>
            {
                self.ended(tid, exit, None, at);
            }
            _ => {}
        }
    }

    fn maybe_empty(&mut self, at: Moment) {
        if self.processes.is_empty() && self.unnamed.is_empty() {
            self.emptied = Some(at);
        }
    }

    fn tell_empty(&mut self) {
        if let Some(at) = self.emptied.take() {
            self.events.push(Event::Empty { at });
        }
    }
}

#[cfg(test)]
#[path = "ptrace_tests.rs"]
mod tests;
