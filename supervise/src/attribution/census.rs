//! Who is who: which process a thread is of, and what a process is executing, who made it and
//! under what name, at any moment that events are told of. It looks nothing up: a snapshot of /proc
//! and the trace's records are put in, in the order of time.
//!
//! It is there because /proc cannot be asked afterwards: of a small program that has sent a signal
//! nothing is left when its victim hears of that. Nothing in it is guessed: what was not there when
//! a process began, or was lost since, is `None`.

use std::collections::{HashMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::tracepoint::Kind;
use crate::{Exe, Moment, Sender};

/// How long who has ended is remembered: its parent's death may still send a signal, and so may
/// its terminal.
const KEPT: Duration = Duration::from_secs(10);

/// How many who have ended are remembered.
const MOST_KEPT: usize = 32_768;

/// How many parents are told.
const PARENTS: usize = 8;

/// How much later than it was a start time of /proc may seem: it counts in steps of 10 ms, and so
/// does the difference between the two clocks.
const STEP: Duration = Duration::from_millis(20);

/// A process, as a look at /proc found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// When it began.
    pub start: Moment,
    /// What it is executing; `None` if it was ending.
    pub exe: Option<PathBuf>,
    /// Its name.
    pub name: String,
    /// Its real and its effective user id.
    pub users: Option<(u32, u32)>,
    /// All its threads.
    pub threads: Vec<i32>,
}

/// What is known of a process at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub pid: i32,
    /// When it began.
    pub start: Moment,
    /// What it was executing.
    pub exe: Option<Arc<Path>>,
    /// Whether that is certain: it has not changed its name since, as it would have done, too, in
    /// executing a file with too long a path to be recorded.
    pub sure: bool,
    /// Its name.
    pub name: Option<String>,
    /// Its real and its effective user id, if changes of these are told as well.
    pub users: Option<(u32, u32)>,
    /// Those who made it, the nearest first, each with its name; pid 1 is left out.
    pub parents: Vec<(i32, String)>,
}

/// All processes and threads.
#[derive(Debug, Default)]
pub struct Census {
    threads: HashMap<i32, Thread>,
    processes: HashMap<i32, Process>,
    /// Threads that have ended, in that order.
    ended: VecDeque<(Moment, i32)>,
    follows_users: bool,
}

#[derive(Debug)]
struct Thread {
    pid: i32,
    /// Since when that is known.
    since: Moment,
    ended: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Process {
    start: Moment,
    parent: i32,
    program: Program,
    users: Option<(u32, u32)>,
    /// Since when those are known.
    users_since: Moment,
    /// Whether it is the kernel's own.
    kernel: bool,
    /// How many threads live.
    live: usize,
    ended: Option<Moment>,
}

/// What a process is executing.
#[derive(Clone, Debug)]
struct Program {
    exe: Option<Arc<Path>>,
    name: Arc<str>,
    /// Since when that is known.
    since: Moment,
    /// Whether the name has been the same since.
    sure: bool,
}

impl Census {
    /// An empty one. `follows_users` says that [`Census::users`] will be told of every change;
    /// without that nobody's user ids are known for long, and none are told.
    pub fn new(follows_users: bool) -> Census {
        Census { follows_users, ..Census::default() }
    }

    /// Takes a process that a look at /proc has found, which began at this moment: what is told
    /// later of earlier events it has seen the results of already.
    pub fn found(&mut self, at: Moment, found: Found) {
        let Found { pid, parent, start, exe, name, users, threads } = found;
        // kthreadd, and what it has made.
        let kernel = pid == 2 || parent == 2;
        let exe: Option<Arc<Path>> = exe.map(Into::into);
        let program = Program { exe, name: name.into(), since: at, sure: true };
        let (users_since, live, ended) = (at, 0, None);
        let process = Process { start, parent, program, users, users_since, kernel, live, ended };
        self.begin(pid, process);
        for tid in threads.into_iter().chain([pid]) {
            self.lives(at, tid, pid);
        }
    }

    /// Takes a whole look at /proc in place of what was known, because some of that may have been
    /// missed. What a process was executing before is known all the same if it is the same now.
    pub fn renew(&mut self, follows_users: bool, all: Vec<(Moment, Found)>) {
        let old = std::mem::replace(self, Census::new(follows_users));
        for (at, found) in all {
            let pid = found.pid;
            self.found(at, found);
            let Some(process) = self.processes.get_mut(&pid) else { continue };
            let apart = |one: Moment, other: Moment| (one - other).max(other - one);
            let same = |before: &&Process| {
                apart(before.start, process.start) <= STEP
                    && before.program.exe == process.program.exe
            };
            if let Some(before) = old.processes.get(&pid).filter(same) {
                process.start = before.start;
                process.parent = before.parent;
                process.program.since = before.program.since;
            }
        }
    }

    /// A thread or a process has begun.
    pub fn task(&mut self, at: Moment, by: i32, tid: i32, name: &str, kind: Kind) {
        if self.is_newer(tid, at) {
            return;
        }
        let maker = self.process_of(by);
        if kind == Kind::Thread {
            if let Some(pid) = maker {
                self.lives(at, tid, pid);
            }
            return;
        }
        let known = maker.and_then(|pid| Some((pid, self.processes.get(&pid)?)));
        let process = Process {
            start: at,
            parent: match known {
                Some((_, maker)) if kind == Kind::Sibling => maker.parent,
                Some((pid, _)) => pid,
                None => 0,
            },
            program: Program {
                // Found later than this, its maker may have executed something else before.
                exe: known
                    .filter(|(_, maker)| maker.program.since <= at)
                    .and_then(|(_, maker)| maker.program.exe.clone()),
                name: name.into(),
                since: at,
                sure: known.is_none_or(|(_, maker)| maker.program.sure),
            },
            users: known.and_then(|(_, maker)| maker.users),
            users_since: at,
            kernel: known.is_some_and(|(_, maker)| maker.kernel),
            live: 0,
            ended: None,
        };
        self.begin(tid, process);
        self.lives(at, tid, tid);
    }

    /// A process has become another program. `by` is the thread that called execve; it has the
    /// process's number now, and the others have ended.
    pub fn exec(&mut self, at: Moment, pid: i32, by: i32, path: PathBuf) {
        if by != pid && !self.is_newer(by, at) {
            self.threads.remove(&by);
        }
        if self.is_newer(pid, at) {
            return;
        }
        // The kernel names it after the file, in 15 bytes.
        let name = path.file_name().unwrap_or_default().as_bytes();
        let name = String::from_utf8_lossy(name.get(..15).unwrap_or(name)).into();
        let program = Program { exe: Some(path.into()), name, since: at, sure: true };
        if let Some(process) = self.processes.get_mut(&pid) {
            process.program = program;
            process.kernel = false;
            process.live = 0;
            process.ended = None;
        } else {
            // It began while nobody looked: when and by whom is not known.
            let process = Process {
                start: at,
                parent: 0,
                program,
                users: None,
                users_since: at,
                kernel: false,
                live: 0,
                ended: None,
            };
            self.processes.insert(pid, process);
        }
        self.threads.remove(&pid);
        self.lives(at, pid, pid);
    }

    /// A thread has another name. A process has that of its first one.
    pub fn rename(&mut self, at: Moment, tid: i32, name: &str) {
        let process = self.processes.get_mut(&tid).filter(|process| process.program.since <= at);
        if let Some(process) = process {
            process.program.name = name.into();
            process.program.sure = false;
        }
    }

    /// A better path for what a process has executed at this moment, if it has not again since.
    pub fn path(&mut self, at: Moment, pid: i32, path: PathBuf) {
        let process = self.processes.get_mut(&pid).filter(|process| process.program.since == at);
        if let Some(process) = process {
            process.program.exe = Some(path.into());
        }
    }

    /// A thread ends; the last one ends its process.
    pub fn exit(&mut self, at: Moment, tid: i32) {
        self.forget(at);
        let lives = |thread: &&mut Thread| thread.ended.is_none() && thread.since <= at;
        let Some(thread) = self.threads.get_mut(&tid).filter(lives) else {
            return;
        };
        thread.ended = Some(at);
        self.ended.push_back((at, tid));
        if let Some(process) = self.processes.get_mut(&thread.pid) {
            process.live = process.live.saturating_sub(1);
            if process.live == 0 {
                process.ended = Some(at);
            }
        }
    }

    /// A thread has other user ids, real and effective. A process has those of its first one,
    /// unless another one has others: then it is not known whose it acted with.
    pub fn users(&mut self, at: Moment, tid: i32, real: u32, effective: u32) {
        let Some(pid) = self.process_of(tid) else { return };
        if let Some(process) = self.processes.get_mut(&pid).filter(|it| it.users_since <= at) {
            let now = Some((real, effective));
            process.users = now.filter(|_| tid == pid || process.users == now);
            process.users_since = at;
        }
    }

    /// The process that a thread is or was of.
    pub fn process_of(&self, tid: i32) -> Option<i32> {
        Some(self.threads.get(&tid)?.pid)
    }

    /// Whether it is told of every change of user ids.
    pub fn follows_users(&self) -> bool {
        self.follows_users
    }

    /// Whether a thread is on its way out, or gone.
    pub fn is_ending(&self, tid: i32) -> bool {
        self.threads.get(&tid).is_some_and(|thread| thread.ended.is_some())
    }

    /// Whether a process is the kernel's own. The idle task, 0, is nobody's.
    pub fn is_kernel(&self, pid: i32) -> bool {
        pid == 0 || self.processes.get(&pid).is_some_and(|process| process.kernel)
    }

    /// What is known of a process at a moment not before the last event that was told.
    pub fn known(&self, pid: i32, at: Moment) -> Option<Known> {
        let process = self.processes.get(&pid).filter(|process| process.start - at <= STEP)?;
        // What was found after that moment may be the successor of what was there.
        let program = Some(&process.program).filter(|program| program.since <= at);
        Some(Known {
            pid,
            start: process.start,
            exe: program.and_then(|program| program.exe.clone()),
            sure: program.is_some_and(|program| program.sure),
            name: program.map(|program| program.name.to_string()),
            users: process.users.filter(|_| self.follows_users && process.users_since <= at),
            parents: self.parents(process),
        })
    }

    /// The line of those who made it, as far as their numbers still mean them.
    fn parents(&self, process: &Process) -> Vec<(i32, String)> {
        let mut line = Vec::new();
        let (mut pid, mut before) = (process.parent, process.start);
        while pid > 1 && line.len() < PARENTS {
            let Some(parent) = self.processes.get(&pid) else { break };
            if parent.start - before > STEP {
                break;
            }
            line.push((pid, parent.program.name.to_string()));
            (pid, before) = (parent.parent, parent.start);
        }
        line
    }

    /// How many are remembered, living or not.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    fn begin(&mut self, pid: i32, process: Process) {
        self.processes.insert(pid, process);
        self.threads.remove(&pid);
    }

    /// Whether what is known of a thread or process was looked up after this moment.
    fn is_newer(&self, tid: i32, at: Moment) -> bool {
        self.threads.get(&tid).is_some_and(|thread| thread.ended.is_none() && thread.since > at)
    }

    /// A thread lives; it may be known already.
    fn lives(&mut self, at: Moment, tid: i32, pid: i32) {
        let before = self.threads.insert(tid, Thread { pid, since: at, ended: None });
        let known = before.is_some_and(|thread| thread.pid == pid && thread.ended.is_none());
        if let Some(process) = self.processes.get_mut(&pid).filter(|_| !known) {
            process.live += 1;
            process.ended = None;
        }
    }

    /// Drops who ended long ago, or is too many.
    fn forget(&mut self, now: Moment) {
        while let Some(&(at, tid)) = self.ended.front() {
            if now - at < KEPT && self.ended.len() < MOST_KEPT {
                break;
            }
            self.ended.pop_front();
            let Some(thread) = self.threads.get(&tid).filter(|thread| thread.ended == Some(at))
            else {
                continue;
            };
            let pid = thread.pid;
            self.threads.remove(&tid);
            if self.processes.get(&pid).is_some_and(|process| process.ended == Some(at)) {
                self.processes.remove(&pid);
            }
        }
    }
}

impl Known {
    /// Whether what was looked up now is still this process. Not whether it still executes the
    /// same.
    pub fn is_still(&self, now: &Sender, at: Moment) -> bool {
        let limit = if self.start > at { self.start } else { at };
        now.pid == self.pid && now.start.is_some_and(|start| start - limit <= STEP)
    }

    /// The sender: what was known, and what could still be looked up of the same process. The
    /// command line and the user ids are of a program, and told only if it still is the same one.
    pub fn sender(self, now: Option<Sender>, same_program: bool) -> Sender {
        let now = now.unwrap_or_else(|| Sender::of(self.pid));
        // Who has ended executes nothing any more, but still has user ids.
        let ended = matches!(&now.exe, Exe::Ending(name) if Some(name) == self.name.as_ref());
        let now_users = now.uid.zip(now.euid).filter(|_| same_program || ended);
        let exe = match (self.exe, now.exe) {
            (Some(path), _) if self.sure || same_program => Exe::Path(path.to_path_buf()),
            // It may have become another program unheard. If it is what it was called then, it is
            // that one still.
            (Some(_), exe @ Exe::Path(_)) if now.name == self.name => exe,
            (Some(_), _) => self.name.clone().map_or(Exe::Gone, Exe::Ending),
            (None, _) => Exe::Gone,
        };
        let users = self.users.or(now_users);
        Sender {
            pid: self.pid,
            start: now.start.or(Some(self.start)),
            uid: users.map(|(real, _)| real),
            euid: users.map(|(_, effective)| effective),
            auid: None,
            exe,
            name: now.name.filter(|_| same_program).or(self.name),
            command: now.command.filter(|_| same_program),
            parents: if self.parents.is_empty() { now.parents } else { self.parents },
            cgroup: now.cgroup,
        }
    }
}

#[cfg(test)]
#[path = "census_tests.rs"]
mod tests;
