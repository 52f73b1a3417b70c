//! The proc connector on real processes. What it says is checked against what is known: the roles
//! do exactly what they are told, and a second tracker hears the same machine.

#[path = "track_roles_linux.rs"]
mod roles;
#[allow(dead_code, reason = "not every test waits")]
#[path = "runner.rs"]
mod runner;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use roles::Held;
use supervise::Exit;
use supervise::track::connector::What;
use supervise::track::{Backend, Cause, Event, Limits, Parent, ProcId, Tracker};

pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "role") {
        roles::play(&words[1..]);
    }
    if let Err(error) = Tracker::open(Backend::Connector) {
        println!("these tests need the proc connector, as root: {error}");
        return ExitCode::FAILURE;
    }
    runner::run(&[
        ("burst_of_50000", burst_of_50000),
        ("slow_reader_is_told_what_it_missed", slow_reader_is_told_what_it_missed),
        ("numbers_used_again", numbers_used_again),
        ("vfork", vfork),
        ("daemon_by_double_fork", daemon_by_double_fork),
        ("session_is_no_escape", session_is_no_escape),
        ("first_thread_ends_first", first_thread_ends_first),
        ("threads_end_with_the_process", threads_end_with_the_process),
        ("thread_executes", thread_executes),
        ("killed_with_threads", killed_with_threads),
        ("attached_while_it_forks", attached_while_it_forks),
        ("attach_to_nobody", attach_to_nobody),
        ("unavailable_in_a_pid_namespace", unavailable_in_a_pid_namespace),
        ("nothing_is_left_when_closed", nothing_is_left_when_closed),
    ])
}

fn open() -> Tracker {
    Tracker::open(Backend::Connector).expect("connector")
}

/// Waits until there is something to read; panics after twenty seconds.
fn ready(tracker: &Tracker) {
    let mut fds = [PollFd::new(tracker.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(20_000u16)), Ok(1), "nothing to read");
}

/// Reads until this is true of the last event; panics after a minute.
fn read_until(tracker: &mut Tracker, events: &mut Vec<Event>, last: impl Fn(&Event) -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !events.iter().rev().any(&last) {
        assert!(Instant::now() < until, "not within a minute");
        ready(tracker);
        tracker.read(events).expect("read");
    }
}

fn is_empty(event: &Event) -> bool {
    matches!(event, Event::Empty { .. })
}

/// What has been told, by process. It checks what holds of every story.
#[derive(Default)]
struct Story {
    parents: HashMap<ProcId, Parent>,
    exits: HashMap<ProcId, Option<Exit>>,
    execs: HashMap<ProcId, usize>,
    sessions: Vec<ProcId>,
    order: Vec<ProcId>,
    lost: u64,
    resyncs: usize,
}

impl Story {
    fn of(events: &[Event]) -> Story {
        let mut story = Story::default();
        for event in events {
            match event {
                Event::Fork { id, parent, .. } => {
                    assert_eq!(story.parents.insert(*id, *parent), None, "two forks of {id}");
                    story.order.push(*id);
                    if let Parent::Exact(parent) | Parent::Ancestor(parent) = parent
                        && parent.pid != std::process::id().cast_signed()
                        && story.order.len() > 1
                    {
                        assert!(story.parents.contains_key(parent), "{parent} is not known");
                        assert!(parent.start <= id.start, "{id} is older than {parent}");
                    }
                }
                Event::Exec { id, .. } => {
                    story.alive(id);
                    *story.execs.entry(*id).or_default() += 1;
                }
                Event::Exit { id, exit, .. } => {
                    story.alive(id);
                    story.exits.insert(*id, *exit);
                }
                Event::Session { id, .. } => {
                    story.alive(id);
                    story.sessions.push(*id);
                }
                Event::Gap { cause: Cause::Overrun { lost }, .. } => {
                    story.lost += lost.expect("a count");
                }
                Event::Resync { .. } => story.resyncs += 1,
                Event::Empty { .. } => {
                    assert_eq!(story.parents.len(), story.exits.len(), "some are left");
                }
                other => panic!("{other:?}"),
            }
        }
        story
    }

    fn alive(&self, id: &ProcId) {
        assert!(self.parents.contains_key(id), "{id} has not begun");
        assert!(!self.exits.contains_key(id), "{id} has ended");
    }

    fn children(&self, parent: ProcId) -> Vec<ProcId> {
        let mine = |id: &&ProcId| self.parents[id] == Parent::Exact(parent);
        self.order.iter().filter(mine).copied().collect()
    }

    fn code(&self, id: ProcId) -> i32 {
        match self.exits[&id] {
            Some(Exit::Exited(code)) => code,
            other => panic!("{id}: {other:?}"),
        }
    }
}

/// Follows a role from its beginning to the end of all its descendants.
fn whole(words: &[&str]) -> (ProcId, Story) {
    let mut tracker = open();
    let mut held = Held::start(words);
    let root = tracker.watch(held.pid).expect("watch");
    held.go();
    held.input = None;
    let mut events = Vec::new();
    read_until(&mut tracker, &mut events, is_empty);
    let code = held.reap();
    let story = Story::of(&events);
    assert_eq!(story.lost, 0);
    match story.exits[&root] {
        Some(Exit::Exited(seen)) => assert_eq!(seen, code),
        Some(Exit::Signaled { signal, .. }) => assert_eq!(-signal, code),
        None => panic!("the root's status is not known"),
    }
    assert_eq!(tracker.members().count(), 0);
    (root, story)
}

fn burst_of_50000() {
    let (root, story) = whole(&["burst", "50000", "16"]);
    assert_eq!(story.children(root).len(), 50_000);
    assert_eq!(story.exits.len(), 50_001);
    for child in story.children(root) {
        assert_eq!(story.exits[&child], Some(Exit::Exited(127)), "{child}");
    }
    assert_eq!(story.code(root), 0);
    assert_eq!(story.execs.values().sum::<usize>(), 1, "only the root's own");
    let most = fs::read_to_string("/proc/sys/kernel/pid_max").expect("pid_max");
    let numbers: BTreeSet<_> = story.order.iter().map(|id| id.pid).collect();
    if most.trim().parse::<usize>().expect("a number") <= 40_000 {
        assert!(numbers.len() < 40_000, "the numbers have not been used again");
    }
}

/// Two hear the machine, and one of them does not read. What that one is told it missed is exactly
/// what the other heard more; and then it knows again who is there.
fn slow_reader_is_told_what_it_missed() {
    let limits = Limits { buffer: 1 << 20, queue: 100_000 };
    let mut slow = Tracker::with_limits(Backend::Connector, &limits).expect("connector");
    let mut quick = open();
    let (mut all, mut few) = (Heard::default(), Heard::default());
    let before = mark(&mut all, &mut quick, &mut few, &mut slow);
    let mut held = Held::start(&["burst and stay", "20000"]);
    let root = slow.watch(held.pid).expect("watch");
    quick.watch(held.pid).expect("watch");
    held.go();
    assert_eq!(held.hear(), "there");
    let resync = |e: &Event| matches!(e, Event::Resync { .. });
    let gap = |e: &Event| matches!(e, Event::Gap { .. });
    few.read(&mut slow);
    // On a busy machine more may be lost while it is looked who is there.
    while few.events.iter().rposition(resync) < few.events.iter().rposition(gap) {
        ready(&slow);
        few.read(&mut slow);
    }
    let there = Story::of(&few.events);
    assert!(there.lost > before.lost + 10_000 && there.resyncs > 0, "{} lost", there.lost);
    let below = descendants(held.pid);
    assert_eq!(below.len(), 5, "{below:?}");
    assert_eq!(slow.members().map(|id| id.pid).collect::<BTreeSet<_>>(), below);
    for tid in below.iter().flat_map(|pid| threads(*pid)) {
        assert!(slow.member(tid).is_some(), "thread {tid}");
    }
    assert_eq!(there.exits.get(&root), None);

    let after = mark(&mut all, &mut quick, &mut few, &mut slow);
    assert_eq!(Story::of(&all.events).lost, 0, "the witness is no witness");
    let (sent, heard) = (after.all - before.all, after.few - before.few);
    let lost = after.lost - before.lost;
    assert_eq!(heard + lost, sent, "{heard} heard, {lost} lost");

    held.input = None;
    read_until(&mut slow, &mut few.events, is_empty);
    assert_eq!(held.reap(), 10);
    let story = Story::of(&few.events);
    let mut stayed = BTreeMap::new();
    for (id, exit) in &story.exits {
        match exit {
            Some(Exit::Exited(127)) => assert_eq!(story.parents[id], Parent::Exact(root)),
            Some(exit) => _ = stayed.insert(id.pid, *exit),
            None => assert!(!below.contains(&id.pid)),
        }
    }
    let codes: Vec<_> = (10..15).map(Exit::Exited).collect();
    let mut seen: Vec<_> = stayed.values().copied().collect();
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, codes);
    assert_eq!(stayed.keys().copied().collect::<BTreeSet<_>>(), below);
}

/// How far two trackers had come at the same event, and how much one of them had lost by then.
struct Mark {
    all: u64,
    few: u64,
    lost: u64,
}

/// Sets a mark that both hear. On a machine where others are busy too a loss may have happened
/// before it that is told after it; so it is one that nothing has been lost since the one before.
fn mark(all: &mut Heard, quick: &mut Tracker, few: &mut Heard, slow: &mut Tracker) -> Mark {
    let mut last = None;
    for _ in 0..200 {
        let mut process = Held::start(&["exit", "0"]);
        process.go();
        process.reap();
        let all = all.until_end_of(process.pid, quick);
        let few_heard = few.until_end_of(process.pid, slow);
        let lost = Story::of(&few.events).lost;
        if last == Some(lost) {
            return Mark { all, few: few_heard, lost };
        }
        last = Some(lost);
    }
    panic!("others are too busy");
}

/// What one tracker has heard, of all processes.
#[derive(Default)]
struct Heard {
    count: u64,
    /// How much had been heard when a process ended.
    ends: HashMap<i32, u64>,
    events: Vec<Event>,
}

impl Heard {
    fn read(&mut self, tracker: &mut Tracker) {
        let Heard { count, ends, events } = self;
        let read = tracker.read_all(events, &mut |note| {
            *count += 1;
            if let What::Exit { pid, .. } = note.what {
                ends.insert(pid, *count);
            }
        });
        read.expect("read");
    }

    /// How much it had heard when this process ended.
    fn until_end_of(&mut self, pid: i32, tracker: &mut Tracker) -> u64 {
        loop {
            if let Some(count) = self.ends.remove(&pid) {
                return count;
            }
            ready(tracker);
            self.read(tracker);
        }
    }
}

/// A process and all below it, from /proc.
fn descendants(root: i32) -> BTreeSet<i32> {
    let mut all = BTreeSet::from([root]);
    let mut news = vec![root];
    while let Some(pid) = news.pop() {
        for tid in threads(pid) {
            let path = format!("/proc/{pid}/task/{tid}/children");
            for child in fs::read_to_string(path).unwrap_or_default().split_ascii_whitespace() {
                let child = child.parse().expect("a number");
                all.insert(child);
                news.push(child);
            }
        }
    }
    all
}

fn threads(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).expect("task");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries.filter_map(name).map(|name| name.parse().expect("a number")).collect()
}

fn numbers_used_again() {
    let (root, story) = whole(&["same number", "300"]);
    let children = story.children(root);
    assert_eq!(children.len(), 300);
    for (code, child) in children.iter().enumerate() {
        assert_eq!(story.code(*child), code as i32 % 100, "{child}");
    }
    let numbers: BTreeSet<_> = children.iter().map(|id| id.pid).collect();
    assert!(numbers.len() < 100, "{} numbers", numbers.len());
}

fn vfork() {
    let (root, story) = whole(&["spawn", "20"]);
    let children = story.children(root);
    assert_eq!(children.len(), 20);
    for child in children {
        assert_eq!(story.code(child), 5);
        assert_eq!(story.execs[&child], 1);
    }
}

fn daemon_by_double_fork() {
    let (root, story) = whole(&["daemon"]);
    let middle = story.children(root);
    let [middle] = middle[..] else { panic!("{middle:?}") };
    let last = story.children(middle);
    let [last] = last[..] else { panic!("{last:?}") };
    assert_eq!([root, middle, last].map(|id| story.code(id)), [41, 42, 43]);
    assert_eq!(story.sessions, [middle]);
}

fn session_is_no_escape() {
    let (root, story) = whole(&["session"]);
    let children = story.children(root);
    assert_eq!(story.sessions, children);
    assert_eq!(story.code(children[0]), 2);
}

fn first_thread_ends_first() {
    let (root, story) = whole(&["leader ends first"]);
    assert_eq!(story.code(root), 7);
    assert_eq!(story.children(root).len(), 1, "made by the second thread");
}

fn threads_end_with_the_process() {
    for _ in 0..20 {
        let (root, story) = whole(&["threads end with it", "20"]);
        assert_eq!(story.code(root), 9);
        assert_eq!(story.order.len(), 1, "threads are no processes");
    }
}

fn thread_executes() {
    for _ in 0..20 {
        let (root, story) = whole(&["thread executes"]);
        assert_eq!(story.code(root), 8);
        assert_eq!(story.execs[&root], 2);
        assert_eq!(story.order, [root]);
    }
}

fn killed_with_threads() {
    let (root, story) = whole(&["killed with threads"]);
    let killed = Exit::Signaled { signal: libc::SIGKILL, core: false };
    assert_eq!(story.exits[&root], Some(killed));
}

fn attached_while_it_forks() {
    for _ in 0..5 {
        let mut held = Held::start(&["forest", "6"]);
        held.go();
        assert_eq!(held.hear(), "there");
        let mut tracker = open();
        let root = tracker.attach(held.pid).expect("attach");
        let mut events = Vec::new();
        // Until it has seen some of them from beginning to end.
        let forks = |events: &[Event]| {
            events.iter().filter(|e| matches!(e, Event::Fork { found: false, .. })).count()
        };
        while forks(&events) < 500 {
            ready(&tracker);
            tracker.read(&mut events).expect("read");
        }
        held.input = None;
        read_until(&mut tracker, &mut events, is_empty);
        assert_eq!(held.reap(), 2);
        let story = Story::of(&events);
        assert_eq!((story.lost, story.code(root)), (0, 2));
        let workers = story.order.iter().filter(|id| story.code(**id) == 3);
        assert_eq!(workers.count(), 6);
        for id in story.order.iter().skip(1) {
            let code = story.code(*id);
            match story.parents[id] {
                Parent::Exact(parent) => assert_eq!(story.code(parent) + 1, code, "{id}"),
                Parent::Ancestor(parent) => assert!(story.code(parent) < code, "{id}"),
                Parent::Unknown => panic!("{id}"),
            }
        }
    }
}

fn attach_to_nobody() {
    let mut tracker = open();
    let mut held = Held::start(&["exit", "0"]);
    held.go();
    held.reap();
    let error = tracker.attach(held.pid).expect_err("it is gone").to_string();
    assert!(error.ends_with("no such process"), "{error}");
    assert_eq!(tracker.members().count(), 0);
}

fn unavailable_in_a_pid_namespace() {
    let mut held = Held::start(&["namespace"]);
    held.go();
    let said = held.hear();
    assert_eq!(held.reap(), 0, "{said}");
    assert!(said.contains("does not answer"), "{said}");
}

fn nothing_is_left_when_closed() {
    let us = std::process::id().cast_signed();
    let count = || fs::read_dir("/proc/self/fd").expect("fd").count();
    let before = count();
    for _ in 0..20 {
        let tracker = open();
        assert_eq!(threads(us).len(), 2);
        tracker.close();
        assert_eq!(threads(us), [us]);
    }
    assert_eq!(count(), before);
}
