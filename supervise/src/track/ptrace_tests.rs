//! What a traced process does, as notes and signals: stories, and a kernel made up.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const US: ProcId = ProcId { pid: 1, start: Moment(0) };
const DONE: Exit = Exit::Exited(0);
const KILLED: Exit = Exit::Signaled { signal: libc::SIGKILL, core: false };

#[test]
fn statuses_are_told_apart() {
    let event = |event: c_int, signal: c_int| event << 16 | signal << 8 | 0x7f;
    assert_eq!(decode(143 << 8), Wait::Ended(Exit::Exited(143)));
    assert_eq!(decode(15), Wait::Ended(Exit::Signaled { signal: 15, core: false }));
    assert_eq!(decode(event(0, libc::SIGSTOP)), Wait::Signal(libc::SIGSTOP));
    assert_eq!(decode(event(0, libc::SIGTRAP)), Wait::Signal(libc::SIGTRAP));
    assert_eq!(decode(event(128, libc::SIGSTOP)), Wait::Group(libc::SIGSTOP));
    assert_eq!(decode(event(128, libc::SIGTRAP)), Wait::Trap);
    for made in 1..=3 {
        assert_eq!(decode(event(made, libc::SIGTRAP)), Wait::Made);
    }
    assert_eq!(decode(event(4, libc::SIGTRAP)), Wait::Executed);
    assert_eq!(decode(event(5, libc::SIGTRAP)), Wait::Trap);
}

#[test]
fn senders_are_believed_as_far_as_the_kernel_vouches() {
    let outside = Confidence::Unknown(Reason::OutOfNamespace);
    assert_eq!(judge(libc::SI_USER, 7, false), (Via::Process, Confidence::Reported));
    assert_eq!(judge(libc::SI_TKILL, 7, false), (Via::Thread, Confidence::Reported));
    assert_eq!(judge(libc::SI_QUEUE, 7, false), (Via::Queue, Confidence::Claimed));
    assert_eq!(judge(libc::SI_USER, 0, false), (Via::Process, outside));
    assert_eq!(judge(libc::SI_USER, 7, true), (Via::Process, outside));
    assert_eq!(judge(libc::SI_QUEUE, 7, true), (Via::Queue, outside));
    assert_eq!(judge(libc::SI_TIMER, 7, false), (Via::Kernel, Confidence::Claimed));
    for code in [libc::SI_KERNEL, 1, 2] {
        assert_eq!(judge(code, 7, false), (Via::Kernel, Confidence::Unknown(Reason::Kernel)));
    }
}

#[test]
fn only_what_can_end_somebody_counts() {
    let all: Vec<_> = (1..65).filter(|&signal| !can_end(signal)).collect();
    assert_eq!(all, [17, 18, 19, 20, 21, 22, 23, 28, 32, 33]);
}

fn tracees() -> Tracees {
    let mut tracees = Tracees::default();
    tracees.add_root(10, US, Moment(0));
    tracees
}

fn actions(tracees: &mut Tracees) -> Vec<Action> {
    tracees.actions.drain(..).collect()
}

#[test]
fn a_child_waits_for_its_makers_word() {
    let mut tracees = tracees();
    tracees.stopped(11, Wait::Trap, Moment(1));
    assert_eq!(actions(&mut tracees), []);
    assert!(tracees.is_waiting(11) && tracees.member(11).is_none());
    tracees.made(10, 11, Kind::Process, Moment(2));
    assert_eq!(actions(&mut tracees), [Action::Resume(10, 0), Action::Resume(11, 0)]);
    let root = ProcId { pid: 10, start: Moment(0) };
    let id = ProcId { pid: 11, start: Moment(2) };
    let fork = Event::Fork { id, parent: Parent::Exact(root), found: false, at: Moment(2) };
    assert_eq!(tracees.events.last(), Some(&fork));
    assert_eq!(tracees.deadline(), None);

    // The other way round, it does not wait.
    tracees.made(11, 12, Kind::Thread, Moment(3));
    tracees.stopped(12, Wait::Trap, Moment(4));
    let resumed = [Action::Resume(11, 0), Action::Resume(12, 0)];
    assert_eq!(actions(&mut tracees), resumed);
    assert_eq!(tracees.member(12), Some(id));
}

#[test]
fn a_child_whose_maker_was_killed_is_let_go_in_the_end() {
    let mut tracees = tracees();
    tracees.stopped(11, Wait::Trap, Moment(1));
    tracees.rest(|tid| (tid == 11).then_some(Lineage { process: 11, parent: 10 }));
    tracees.give_up(Moment(2));
    assert_eq!(actions(&mut tracees), []);
    tracees.ended(10, KILLED, None, Moment(3));
    assert!(!tracees.events.contains(&Event::Empty { at: Moment(3) }), "{tracees:?}");
    let deadline = tracees.deadline().expect("a deadline");
    assert_eq!(deadline, Moment(1).after(PATIENCE));
    tracees.give_up(deadline);
    assert_eq!(actions(&mut tracees), [Action::Resume(11, 0)]);
    let id = ProcId { pid: 11, start: deadline };
    let parent = Parent::Ancestor(ProcId { pid: 10, start: Moment(0) });
    let fork = Event::Fork { id, parent, found: true, at: deadline };
    assert_eq!(tracees.events.last(), Some(&fork));
}

#[test]
fn one_that_never_ran_is_told_too() {
    let root = ProcId { pid: 10, start: Moment(0) };
    let id = ProcId { pid: 11, start: Moment(2) };
    let fork = Event::Fork { id, parent: Parent::Exact(root), found: false, at: Moment(2) };
    let exit = Event::Exit { id, exit: Some(KILLED), at: Moment(1) };
    for stopped_before in [false, true] {
        let mut tracees = tracees();
        if stopped_before {
            tracees.stopped(11, Wait::Trap, Moment(1));
        }
        tracees.ended(11, KILLED, Some(Lineage { process: 11, parent: 10 }), Moment(1));
        // By then its number is nobody's.
        tracees.made(10, 11, Kind::Gone, Moment(2));
        assert_eq!(tracees.events[1..], [fork.clone(), exit.clone()]);
        assert_eq!(actions(&mut tracees), [Action::Resume(10, 0)]);
        assert!(!tracees.is_waiting(11));
    }
    // But a thread that has gone is nothing.
    let mut tracees = tracees();
    tracees.ended(12, DONE, Some(Lineage { process: 10, parent: 1 }), Moment(1));
    tracees.made(10, 12, Kind::Gone, Moment(2));
    assert_eq!(tracees.events.len(), 1);
}

#[test]
fn who_executes_takes_the_processs_number() {
    let mut tracees = tracees();
    tracees.made(10, 11, Kind::Thread, Moment(1));
    tracees.made(10, 12, Kind::Thread, Moment(1));
    tracees.ended(12, DONE, None, Moment(2));
    tracees.executed(10, 11, Some("/bin/true".into()), Moment(3));
    assert_eq!(tracees.member(11), None);
    assert_eq!(tracees.executes(10), Some("/bin/true".into()));
    // The number may be a new process's now.
    tracees.made(10, 11, Kind::Process, Moment(4));
    tracees.ended(10, DONE, None, Moment(5));
    assert_eq!(tracees.members().map(|id| id.pid).collect::<Vec<_>>(), [11]);
    assert_eq!(tracees.executes(11), Some("/bin/true".into()));
    tracees.ended(11, DONE, None, Moment(6));
    // Nobody says so yet who knows; when somebody does, it was then.
    let empty = Event::Empty { at: Moment(6) };
    assert_ne!(tracees.events.last(), Some(&empty));
    tracees.vanish(Moment(7));
    assert_eq!(tracees.events.last(), Some(&empty));
    assert_eq!(tracees.deadline(), None);
}

#[test]
fn stops_and_continuing_are_told_once_a_process() {
    let mut tracees = tracees();
    tracees.made(10, 11, Kind::Thread, Moment(1));
    let stop = Wait::Group(libc::SIGSTOP);
    assert_eq!(tracees.changed(11, stop), None);
    assert_eq!(tracees.changed(10, Wait::Trap), None);
    assert_eq!(tracees.changed(10, stop), Some(Change::Stopped(libc::SIGSTOP)));
    assert_eq!(tracees.changed(10, Wait::Trap), Some(Change::Continued));
    assert_eq!(tracees.changed(10, Wait::Trap), None);
    actions(&mut tracees);
    tracees.stopped(11, stop, Moment(2));
    assert_eq!(actions(&mut tracees), [Action::Listen(11)]);
    tracees.stopped(11, Wait::Signal(40), Moment(2));
    assert_eq!(actions(&mut tracees), [Action::Resume(11, 40)]);
}

/// A kernel, as far as a tracer sees it.
#[derive(Debug, Default)]
struct Kernel {
    last: i32,
    threads: BTreeMap<i32, Thread>,
    /// Who has made each process that there ever was, and whether he was killed before he said so.
    makers: BTreeMap<i32, (i32, bool)>,
}

#[derive(Debug)]
struct Thread {
    process: i32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    Says(Word),
    /// It has said it, and stands still.
    Stands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Trap,
    Made(i32),
    Executed(i32),
    Ended,
}

impl Kernel {
    fn begin(&mut self, process: Option<i32>, state: State) -> i32 {
        self.last += 1;
        let process = process.unwrap_or(self.last);
        self.threads.insert(self.last, Thread { process, state });
        self.last
    }

    fn some(&self, choice: usize, which: impl Fn(i32, &Thread) -> bool) -> Option<i32> {
        let able: Vec<_> =
            self.threads.iter().filter(|(tid, thread)| which(**tid, thread)).collect();
        able.get(choice % able.len().max(1)).map(|(tid, _)| **tid)
    }

    /// One that runs does something; or anybody is killed, whatever he was about to say.
    fn act(&mut self, choice: usize, what: u8) {
        if what == 0 {
            if let Some(tid) = self.some(choice, |_, _| true) {
                self.kill(self.threads[&tid].process, None);
            }
            return;
        }
        let Some(tid) = self.some(choice, |_, thread| thread.state == State::Runs) else { return };
        let process = self.threads[&tid].process;
        let word = match what {
            1..=4 => {
                let child = self.begin(None, State::Says(Word::Trap));
                self.makers.insert(child, (process, false));
                Word::Made(child)
            }
            5 | 6 => Word::Made(self.begin(Some(process), State::Says(Word::Trap))),
            7 => {
                // The others are killed; it will have their place when they are gone.
                self.kill(process, Some(tid));
                Word::Executed(tid)
            }
            _ => Word::Ended,
        };
        self.threads.entry(tid).and_modify(|thread| thread.state = State::Says(word));
    }

    fn kill(&mut self, process: i32, but: Option<i32>) {
        for (_, thread) in self
            .threads
            .iter_mut()
            .filter(|(tid, thread)| thread.process == process && Some(**tid) != but)
        {
            if let State::Says(Word::Made(child)) = thread.state
                && let Some(maker) = self.makers.get_mut(&child)
            {
                maker.1 = true;
            }
            thread.state = State::Says(Word::Ended);
        }
    }

    /// Whether it can be heard now: the last of a process's threads ends under its number, and who
    /// executes waits until it is alone.
    fn audible(&self, tid: i32) -> bool {
        let thread = &self.threads[&tid];
        let of = |other: &&Thread| other.process == thread.process;
        match thread.state {
            State::Says(Word::Ended) if tid == thread.process => {
                self.threads.values().filter(of).count() == 1
            }
            State::Says(Word::Executed(_)) => {
                let others = self.threads.iter().filter(|(other, thread)| {
                    of(thread) && **other != tid && **other != thread.process
                });
                others.count() == 0
            }
            State::Says(_) => true,
            _ => false,
        }
    }

    /// What /proc says of a thread, and of a parent that has ended.
    fn lineage(&self, tid: i32) -> Option<Lineage> {
        let process = self.threads.get(&tid)?.process;
        let maker = self.makers.get(&process).map_or(1, |maker| maker.0);
        let parent = if self.threads.contains_key(&maker) { maker } else { 1 };
        Some(Lineage { process, parent })
    }

    /// One of those who have something to say is heard, and what is to be done about it is done.
    fn hear(&mut self, choice: usize, tracees: &mut Tracees, at: Moment) -> bool {
        let Some(mut tid) = self.some(choice, |tid, _| self.audible(tid)) else { return false };
        let thread = &self.threads[&tid];
        let State::Says(word) = thread.state else { return false };
        let process = thread.process;
        match word {
            Word::Trap => tracees.stopped(tid, Wait::Trap, at),
            Word::Made(child) => {
                let kind = match self.threads.get(&child) {
                    Some(made) if made.process == child => Kind::Process,
                    Some(_) => Kind::Thread,
                    None => Kind::Gone,
                };
                tracees.made(tid, child, kind, at);
            }
            Word::Executed(former) => {
                self.threads.remove(&tid);
                tid = process;
                tracees.executed(tid, former, None, at);
                self.threads.insert(tid, Thread { process, state: State::Runs });
            }
            Word::Ended => {
                let lineage =
                    if tracees.process_of(tid).is_some() { None } else { self.lineage(tid) };
                tracees.ended(tid, DONE, lineage, at);
                self.threads.remove(&tid);
            }
        }
        self.threads.entry(tid).and_modify(|thread| thread.state = State::Stands);
        self.let_go(tracees);
        true
    }

    fn let_go(&mut self, tracees: &mut Tracees) {
        while let Some(Action::Resume(tid, _) | Action::Listen(tid)) = tracees.actions.pop_front() {
            self.threads.entry(tid).and_modify(|thread| match thread.state {
                State::Stands => thread.state = State::Runs,
                State::Says(Word::Ended) => {}
                state => panic!("{tid} is let go and {state:?}"),
            });
        }
    }

    /// Everything is heard, and all patience is over.
    fn quiet(&mut self, tracees: &mut Tracees, now: &mut Moment) {
        loop {
            while self.hear(0, tracees, *now) {}
            tracees.rest(|tid| self.lineage(tid));
            let Some(deadline) = tracees.deadline() else { return };
            *now = deadline;
            tracees.give_up(*now);
            self.let_go(tracees);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is done, killed and heard in whatever order: every process begins once and ends
    /// once, in this order, nobody is left standing, and no parent is a wrong one.
    #[test]
    fn any_story_is_told_whole(
        steps in prop::collection::vec((any::<bool>(), 0..64usize, 0..10u8), 1..300),
    ) {
        let mut kernel = Kernel { last: 9, ..Kernel::default() };
        let mut tracees = Tracees::default();
        let root = kernel.begin(None, State::Runs);
        tracees.add_root(root, US, Moment(0));
        let mut now = Moment(0);
        for (acts, choice, what) in steps {
            now = now.after(Duration::from_millis(1));
            if acts {
                kernel.act(choice, what);
            } else {
                kernel.hear(choice, &mut tracees, now);
            }
        }
        kernel.quiet(&mut tracees, &mut now);
        let standing = kernel.some(0, |_, thread| thread.state == State::Stands);
        prop_assert_eq!(standing, None, "{:?}", tracees);
        let live: BTreeSet<_> = kernel.threads.values().map(|thread| thread.process).collect();
        let members: BTreeSet<_> = tracees.members().map(|id| id.pid).collect();
        prop_assert_eq!(&live, &members);
        for (tid, thread) in &kernel.threads {
            prop_assert_eq!(tracees.process_of(*tid), Some(thread.process));
        }
        live.iter().for_each(|process| kernel.kill(*process, None));
        kernel.quiet(&mut tracees, &mut now);

        let last = tracees.events.last();
        prop_assert!(matches!(last, Some(Event::Empty { .. })), "{:?}", last);
        let mut begun = BTreeMap::new();
        let mut ended = BTreeSet::new();
        for event in &tracees.events {
            match event {
                Event::Fork { id, parent, found, .. } => {
                    prop_assert_eq!(begun.insert(id.pid, *id), None);
                    let maker = kernel.makers.get(&id.pid);
                    match parent {
                        Parent::Exact(parent) if *parent == US => prop_assert_eq!(id.pid, root),
                        Parent::Exact(parent) => {
                            prop_assert_eq!(begun.get(&parent.pid), Some(parent));
                            prop_assert_eq!(Some(parent.pid), maker.map(|maker| maker.0));
                        }
                        Parent::Ancestor(parent) => {
                            prop_assert_eq!(begun.get(&parent.pid), Some(parent));
                            let one_up = |pid: &i32| kernel.makers.get(pid).map(|maker| maker.0);
                            let mut line = std::iter::successors(Some(id.pid), one_up).skip(1);
                            prop_assert!(line.any(|pid| pid == parent.pid), "{:?}", event);
                        }
                        Parent::Unknown => prop_assert!(false, "{:?}", event),
                    }
                    let exact = matches!(parent, Parent::Exact(_));
                    prop_assert_eq!(exact, !found);
                    prop_assert!(exact || maker.is_some_and(|maker| maker.1), "{:?}", event);
                }
                Event::Exec { id, .. } | Event::Exit { id, .. } => {
                    prop_assert_eq!(begun.get(&id.pid), Some(id));
                    prop_assert!(!ended.contains(id));
                    if matches!(event, Event::Exit { .. }) {
                        ended.insert(*id);
                    }
                }
                Event::Empty { .. } => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(begun.len(), kernel.makers.len() + 1);
        prop_assert_eq!(ended.len(), begun.len());
    }
}
