//! The stories a tree must get right, and random ones.

mod model;
mod regressions;

use std::time::Duration;

use super::*;
use crate::track::snapshot::{Row, Snapshot};
use model::{Model, ROOT, US, check};
use proptest::prelude::*;

const LOOK: Duration = Duration::from_millis(1);

fn us() -> ProcId {
    ProcId { pid: US, start: Moment(0) }
}

/// A tree that follows the root.
fn tree(out: &mut Vec<Event>) -> Tree {
    let mut tree = Tree::new(us(), std::iter::empty());
    tree.watch(ROOT, Moment(1_000_000_000), Moment(1_000_000_000), out);
    tree
}

/// Gives it what happened, a millisecond apart, and returns what it says.
fn tell(notes: &[What]) -> (Tree, Vec<Event>) {
    let mut out = Vec::new();
    let mut tree = tree(&mut out);
    let mut at = Moment(2_000_000_000);
    for &what in notes {
        at = at.after(Duration::from_millis(1));
        tree.apply(Note { at, what }, &mut out);
    }
    (tree, out)
}

fn fork(parent: i32, pid: i32) -> What {
    What::Fork { parent, tid: pid, pid }
}

fn thread(tid: i32, pid: i32) -> What {
    What::Fork { parent: 1, tid, pid }
}

fn exit(tid: i32, pid: i32, status: i32) -> What {
    What::Exit { tid, pid, status, reaped: false }
}

/// The end of one that had been reaped before it was noted.
fn late(pid: i32, status: i32) -> What {
    What::Exit { tid: pid, pid, status, reaped: true }
}

/// The ends that were told: number and status.
fn ends(events: &[Event]) -> Vec<(i32, Option<Exit>)> {
    let end = |event: &Event| match event {
        Event::Exit { id, exit, .. } => Some((id.pid, *exit)),
        _ => None,
    };
    events.iter().filter_map(end).collect()
}

#[test]
fn a_fork_and_an_end_are_two_things() {
    let (tree, out) = tell(&[fork(ROOT, 20), exit(20, 20, 127 << 8), fork(5, 6), exit(6, 6, 0)]);
    let root = out[0].clone();
    let Event::Fork { id: root, parent, found: false, .. } = root else { panic!("{root:?}") };
    assert_eq!(parent, Parent::Exact(us()));
    let Event::Fork { id, parent, found: false, .. } = out[1] else { panic!("{out:?}") };
    assert_eq!((id.pid, parent), (20, Parent::Exact(root)));
    assert_eq!(ends(&out), [(20, Some(Exit::Exited(127)))]);
    assert_eq!(out.len(), 3);
    assert_eq!(tree.members().collect::<Vec<_>>(), [root]);
}

#[test]
fn a_process_ends_with_its_last_thread() {
    let first = [thread(21, ROOT), thread(22, ROOT), exit(ROOT, ROOT, 0)];
    let (mut tree, mut out) = tell(&first);
    assert_eq!(ends(&out), []);
    assert_eq!(tree.member(22), tree.member(ROOT));
    let at = Moment(9_000_000_000);
    tree.apply(Note { at, what: exit(22, ROOT, 7 << 8) }, &mut out);
    assert_eq!(tree.member(22), None);
    tree.apply(Note { at, what: exit(21, ROOT, 7 << 8) }, &mut out);
    assert_eq!(ends(&out), [(ROOT, Some(Exit::Exited(7)))]);
    assert_eq!(out.last(), Some(&Event::Empty { at }));
}

#[test]
fn a_thread_that_ended_just_before_does_not_decide() {
    let core = libc::SIGSEGV | 0x80;
    for (codes, status) in [
        ([0, 7 << 8, 7 << 8], 7 << 8),
        ([7 << 8, 7 << 8, 0], 7 << 8),
        ([libc::SIGKILL, 0, 0], libc::SIGKILL),
        ([core, libc::SIGSEGV, libc::SIGSEGV], core),
        ([libc::SIGSEGV, core, 0], core),
        ([0, 0, 0], 0),
    ] {
        let notes = [
            thread(21, ROOT),
            thread(22, ROOT),
            exit(21, ROOT, codes[0]),
            exit(ROOT, ROOT, codes[1]),
            exit(22, ROOT, codes[2]),
        ];
        assert_eq!(ends(&tell(&notes).1), [(ROOT, Exit::from_wait_status(status))], "{codes:?}");
    }
}

#[test]
fn an_execve_ends_the_other_threads_only() {
    for old in [ROOT, 22] {
        // The first thread's end, under its own number or that of the one that executes.
        let notes = [
            thread(21, ROOT),
            thread(22, ROOT),
            exit(old, ROOT, 0),
            exit(21, ROOT, 0),
            What::Exec { pid: ROOT },
            exit(22, ROOT, 0),
        ];
        let (mut tree, mut out) = tell(&notes);
        assert_eq!(ends(&out), []);
        assert_eq!((tree.member(21), tree.member(22)), (None, None));
        // One that was written before the execve and arrives after it.
        let before = Moment(2_000_000_000);
        tree.apply(Note { at: before, what: exit(ROOT, ROOT, 0) }, &mut out);
        assert_eq!(ends(&out), []);
        let at = Moment(3_000_000_000);
        tree.apply(Note { at, what: exit(ROOT, ROOT, 8 << 8) }, &mut out);
        assert_eq!(ends(&out), [(ROOT, Some(Exit::Exited(8)))]);
    }
}

#[test]
fn a_number_used_again_before_its_end_was_told() {
    // By another member, who does something after the first end or not, by a stranger, and by a
    // thread, whose end is another one.
    let told = |code: Option<i32>| (20, code.map(Exit::Exited));
    let (again, exec) = (fork(ROOT, 20), What::Exec { pid: 20 });
    let (one, two, three) = (late(20, 1 << 8), late(20, 2 << 8), late(20, 3 << 8));
    let own = exit(20, 20, 4 << 8);
    for (notes, told) in [
        (vec![again, one, two], vec![told(None), told(None)]),
        (vec![again, exec, one, two], vec![told(None), told(None)]),
        (vec![again, one, exec, two], vec![told(Some(1)), told(Some(2))]),
        (
            vec![again, one, fork(20, 21), two, exit(21, 21, 0)],
            vec![told(Some(1)), told(Some(2)), (21, Some(Exit::Exited(0)))],
        ),
        // It was there until after its end had been written, and nobody else can have been.
        (vec![again, one, own], vec![told(Some(1)), told(Some(4))]),
        (vec![again, own, one], vec![told(Some(4)), told(Some(1))]),
        // Of three.
        (vec![again, one, again, two, own], vec![told(None), told(None), told(Some(4))]),
        (vec![again, again, own, one, two], vec![told(Some(4)), told(None), told(None)]),
        (vec![again, again, one, two, three], vec![told(None), told(None), told(None)]),
        // Of one with threads the end of the first may be written when it executes.
        (vec![again, thread(22, 20), one, exec, own], vec![told(None), told(Some(4))]),
        (vec![fork(5, 20), one, two], vec![told(None)]),
        (vec![thread(20, ROOT), exit(20, 20, 1 << 8), exit(20, ROOT, 0)], vec![told(Some(1))]),
    ] {
        let notes: Vec<_> = std::iter::once(again).chain(notes).collect();
        let (tree, out) = tell(&notes);
        assert_eq!(ends(&out), told);
        assert_eq!(tree.member(20), None);
        assert_eq!(tree.members().count(), 1);
    }
}

#[test]
fn what_was_written_before_the_successor_was_there_is_not_the_successors() {
    let (mut tree, mut out) = tell(&[fork(ROOT, 20), fork(ROOT, 20)]);
    let before = Moment(2_001_500_000);
    tree.apply(Note { at: before, what: late(20, 1 << 8) }, &mut out);
    tree.apply(Note { at: Moment(2_500_000_000), what: late(20, 2 << 8) }, &mut out);
    assert_eq!(ends(&out), [(20, Some(Exit::Exited(1))), (20, Some(Exit::Exited(2)))]);
}

#[test]
fn an_end_that_may_be_anothers_is_not_kept_for_ever() {
    let (mut tree, mut out) = tell(&[fork(ROOT, 20), fork(ROOT, 20), late(20, 1 << 8)]);
    assert_eq!(ends(&out), []);
    let mut at = Moment(2_003_000_000).after(Duration::from_secs(1));
    tree.apply(Note { at, what: fork(5, 6) }, &mut out);
    assert_eq!(ends(&out), []);
    at = at.after(LOOK);
    tree.apply(Note { at, what: fork(5, 7) }, &mut out);
    assert_eq!(ends(&out), [(20, None)]);
    tree.apply(Note { at, what: exit(20, 20, 2 << 8) }, &mut out);
    assert_eq!(ends(&out), [(20, None), (20, Some(Exit::Exited(2)))]);

    let (mut tree, mut out) = tell(&[fork(ROOT, 20), fork(ROOT, 20), late(20, 1 << 8)]);
    tree.lose(1, at, &mut out);
    assert_eq!(ends(&out), [(20, None)]);
}

#[test]
fn its_own_fork_is_no_second_process() {
    let mut out = Vec::new();
    let mut tree = Tree::new(us(), std::iter::empty());
    let at = Moment(1_000_000_000);
    let note = Note { at, what: fork(US, ROOT) };
    tree.apply(note, &mut out);
    assert_eq!(tree.born(ROOT), Some(at));
    tree.watch(ROOT, at, at.after(LOOK), &mut out);
    tree.watch(ROOT, at, at.after(LOOK), &mut out);
    tree.apply(note, &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn after_a_loss_a_number_proves_nothing() {
    let (mut tree, mut out) = tell(&[fork(ROOT, 20), fork(ROOT, 21), fork(ROOT, 22)]);
    let at = Moment(5_000_000_000);
    tree.lose(100, at, &mut out);
    // 20 is somebody else by now, 21 has ended with nobody knowing how, 22 is itself.
    for (pid, status) in [(20, 1), (21, 2), (22, 3)] {
        tree.apply(Note { at: at.after(LOOK), what: exit(pid, pid, status << 8) }, &mut out);
    }
    assert_eq!(ends(&out), []);
    let row = |pid, start, ended| Row {
        pid,
        parent: ROOT,
        start: Moment(start),
        ended,
        others: Vec::new(),
    };
    let mut rows = vec![row(20, 4_000_000_000, true), row(22, 2_000_000_000, true)];
    rows.push(Row { parent: US, ..row(ROOT, 1_000_000_000, false) });
    // An orphan that we have adopted; a stranger.
    rows.push(Row { parent: US, ..row(23, 4_500_000_000, false) });
    rows.push(Row { parent: 1, ..row(24, 4_500_000_000, false) });
    let begun = at.after(LOOK).after(LOOK);
    tree.settle(&Snapshot { begun, rows, adopter: Some(US) }, None, &mut out);
    assert_eq!(
        ends(&out),
        [(20, None), (21, None), (20, Some(Exit::Exited(1))), (22, Some(Exit::Exited(3)))]
    );
    let unknown =
        |e: &&Event| matches!(e, Event::Fork { parent: Parent::Unknown, found: true, .. });
    assert_eq!(out.iter().filter(unknown).count(), 1);
    let mut members: Vec<_> = tree.members().map(|id| id.pid).collect();
    members.sort_unstable();
    assert_eq!(members, [ROOT, 23]);
    assert_eq!(out.last(), Some(&Event::Resync { found: 2, vanished: 2, at: begun }));
}

fn steps(most: usize) -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec(any::<(u8, u8)>(), 0..most)
}

/// Hands the tree what the model has noted.
fn hear(tree: &mut Tree, model: &mut Model, out: &mut Vec<Event>) {
    for note in model.notes.drain(..) {
        tree.apply(note, out);
    }
}

fn members(tree: &Tree, model: &Model) -> Vec<usize> {
    let mut members: Vec<_> = tree.members().map(|id| model.find(id)).collect();
    members.sort_unstable();
    members
}

fn truth(model: &Model) -> Vec<usize> {
    let ours =
        |place: &usize| model.processes[*place].ours && model.processes[*place].status.is_none();
    (0..model.processes.len()).filter(ours).collect()
}

/// Without a loss everything is known.
fn nothing_is_missed_in(steps: &[(u8, u8)]) {
    let (mut model, mut out) = (Model::new(), Vec::new());
    let mut tree = tree(&mut out);
    for &(what, whom) in steps {
        model.step(what, whom);
        hear(&mut tree, &mut model, &mut out);
    }
    model.tell_late(usize::MAX);
    hear(&mut tree, &mut model, &mut out);
    check(&model, &out);
    // Only of those who may have been mixed up with another one it is not known how they ended.
    for event in &out {
        if let Event::Exit { id, exit: None, .. } = event {
            assert!(model.processes[model.find(*id)].mixed, "{id} has a status");
        }
    }
    assert_eq!(members(&tree, &model), truth(&model));
    let told = out.iter().filter(|e| matches!(e, Event::Fork { .. })).count();
    assert_eq!(told, model.processes.iter().filter(|p| p.ours).count());
}

type Steps = Vec<(u8, u8)>;

/// Whatever is lost, nothing that is told is wrong; and after a look all are known again.
fn a_loss_is_no_lie_in(rounds: &[(Steps, Steps, Steps, Steps)]) {
    let (mut model, mut out) = (Model::new(), Vec::new());
    let mut tree = tree(&mut out);
    for (heard, missed, held, looked) in rounds {
        for &(what, whom) in heard {
            model.step(what, whom);
            hear(&mut tree, &mut model, &mut out);
        }
        model.prompt = true;
        missed.iter().for_each(|&(what, whom)| model.step(what, whom));
        let lost = model.notes.len() as u64;
        model.notes.clear();
        if lost == 0 {
            continue;
        }
        tree.lose(lost, model.now(), &mut out);
        for &(what, whom) in held {
            model.step(what, whom);
            hear(&mut tree, &mut model, &mut out);
        }
        let mut seen = model.look(looked);
        hear(&mut tree, &mut model, &mut out);
        if !tree.is_covered(&seen) {
            seen = model.look(&[]);
        }
        tree.settle(&seen, None, &mut out);
        model.prompt = false;
        check(&model, &out);
        let (members, truth) = (members(&tree, &model), truth(&model));
        assert!(members.iter().all(|member| truth.contains(member)));
        if looked.is_empty() {
            assert_eq!(members, truth);
        }
        model.reap();
    }
}

/// Whoever is attached to while it forks is found with all below it.
fn attached_in(before: &[(u8, u8)], looked: &[(u8, u8)], after: &[(u8, u8)]) {
    let (mut model, mut out) = (Model::new(), Vec::new());
    let mut tree = Tree::new(us(), std::iter::empty());
    for &(what, whom) in before {
        model.step(what, whom);
        hear(&mut tree, &mut model, &mut out);
    }
    model.tell_late(usize::MAX);
    hear(&mut tree, &mut model, &mut out);
    if model.processes[0].status.is_some() {
        return;
    }
    model.prompt = true;
    tree.hold();
    let seen = model.look(looked);
    hear(&mut tree, &mut model, &mut out);
    tree.settle(&seen, Some(ROOT), &mut out);
    for &(what, whom) in after {
        model.step(what, whom);
        hear(&mut tree, &mut model, &mut out);
    }
    // Not all of those below it are found, because orphans are nobody's.
    for event in &out {
        match event {
            Event::Exit { id, exit: None, .. } => {
                assert!(model.processes[model.find(*id)].mixed, "{id} has a status");
            }
            Event::Gap { .. } => panic!("nothing is lost"),
            _ => {}
        }
    }
    check(&model, &out);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed(steps in steps(200)) {
        nothing_is_missed_in(&steps);
    }

    #[test]
    fn a_loss_never_makes_it_lie(
        rounds in prop::collection::vec((steps(40), steps(60), steps(10), steps(16)), 1..6)
    ) {
        a_loss_is_no_lie_in(&rounds);
    }

    #[test]
    fn attached_at_any_time(before in steps(60), looked in steps(16), after in steps(40)) {
        attached_in(&before, &looked, &after);
    }
}
