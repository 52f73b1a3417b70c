//! Kevents as the seed, the manuals and the kernels' sources have them.

use proptest::prelude::*;

use super::*;

const AT: Moment = Moment(1_000);

fn note(pid: i32, fflags: u32, data: i64, udata: u64) -> Note {
    Note { pid, fflags, data, udata, looked: None }
}

fn exited(code: i32) -> Option<Exit> {
    Some(Exit::Exited(code))
}

/// A decoder that follows 100 already, whose own number is 1.
fn of_100(orphans: Orphans) -> (Decoder, ProcId) {
    let mut decoder = Decoder::new(orphans);
    let (root, act) = decoder.watch(100, AT);
    assert_eq!(act, Act::Register { pid: 100, udata: 1 });
    assert_eq!(told(&mut decoder, &[]).0, [format!("fork {root} of unknown")]);
    (decoder, root)
}

fn text(event: &Event) -> String {
    match event {
        Event::Fork { id, parent, found, .. } => {
            let parent = match parent {
                Parent::Exact(id) => id.to_string(),
                Parent::Ancestor(id) => format!("perhaps {id}"),
                Parent::Unknown => "unknown".to_owned(),
            };
            format!("{} {id} of {parent}", if *found { "found" } else { "fork" })
        }
        Event::Exec { id, .. } => format!("exec {id}"),
        Event::Exit { id, exit: Some(exit), .. } => format!("{id} {exit}"),
        Event::Exit { id, exit: None, .. } => format!("{id} ended"),
        Event::Gap { cause, .. } => format!("gap {cause:?}"),
        Event::Resync { found, vanished, .. } => format!("resync {found} {vanished}"),
        Event::Empty { .. } => "empty".to_owned(),
        Event::Session { .. } => unreachable!("a kqueue does not tell"),
    }
}

fn told(decoder: &mut Decoder, notes: &[Note]) -> (Vec<String>, Vec<Act>) {
    let mut events = Vec::new();
    let acts = decoder.hear(notes, AT, &mut events);
    (events.iter().map(text).collect(), acts)
}

/// The identities that these decoders give: one nanosecond after the other.
fn id(pid: i32, count: u64) -> ProcId {
    ProcId { pid, start: Moment(AT.0 + count) }
}

fn forks(decoder: &mut Decoder, notes: &[Note]) -> Vec<Parent> {
    let mut events = Vec::new();
    decoder.hear(notes, AT, &mut events);
    let forks = events.into_iter().filter_map(|event| match event {
        Event::Fork { parent, .. } => Some(parent),
        _ => None,
    });
    forks.collect()
}

#[test]
fn the_seed() {
    // kern/180385: fork, a failed exec, exit(127), and only then is the kevent read.
    let (mut decoder, root) = of_100(Orphans::ToInit);
    let merged = note(101, NOTE_CHILD | NOTE_EXIT, 127 << 8, 1);
    assert_eq!(merged.data, 32512);
    assert_eq!(merged.data(), Data::Status(exited(127)));
    let (events, acts) = told(&mut decoder, &[note(100, NOTE_FORK, 0, 1), merged]);
    let child = id(101, 1);
    assert_eq!(
        events,
        [format!("fork {child} of {root}"), format!("{child} exited with code 127")]
    );
    assert!(acts.is_empty());
    assert_eq!(decoder.members().collect::<Vec<_>>(), [root]);
}

#[test]
fn a_burst_of_the_seed_has_all_its_parents() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    for round in 0..100 {
        let children = (0..16).map(|at| 200 + (round * 16 + at) % 500);
        let notes: Vec<Note> =
            children.map(|pid| note(pid, NOTE_CHILD | NOTE_EXIT, 127 << 8, 1)).collect();
        assert_eq!(forks(&mut decoder, &notes), vec![Parent::Exact(root); 16]);
    }
    assert!(decoder.ended.len() <= 32 && decoder.nodes.len() < 64, "it does not grow");
}

#[test]
fn each_by_itself() {
    let (mut decoder, root) = of_100(Orphans::ToReaper);
    // FreeBSD from 11 on: one knote for the beginning, of one shot, and then the other one.
    let notes = [
        note(100, NOTE_FORK, 0, 1),
        note(101, NOTE_CHILD, 100, 1),
        note(101, NOTE_EXEC, 0, 1),
        note(101, NOTE_EXIT, 9, 1),
    ];
    let child = id(101, 1);
    let (events, acts) = told(&mut decoder, &notes);
    let expected = [
        format!("fork {child} of {root}"),
        format!("exec {child}"),
        format!("{child} killed by SIGKILL"),
    ];
    assert_eq!(events, expected);
    assert!(acts.is_empty(), "whoever has ended is not registered");
    // And when it lives, it is.
    let (_, acts) = told(&mut decoder, &[note(102, NOTE_CHILD, 100, 1)]);
    assert_eq!(acts, [Act::Register { pid: 102, udata: 3 }]);
    // Exec and exit in one: both, in that order.
    let (events, _) = told(&mut decoder, &[note(102, NOTE_EXIT | NOTE_EXEC, 0, 3)]);
    assert_eq!(
        events,
        [format!("exec {}", id(102, 2)), format!("{} exited with code 0", id(102, 2))]
    );
    let (events, _) = told(&mut decoder, &[note(100, NOTE_EXIT | NOTE_FORK, 3 << 8, 1)]);
    assert_eq!(events, [format!("{root} exited with code 3"), "empty".to_owned()]);
}

#[test]
fn forks_are_not_counted() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    // Three children, one NOTE_FORK.
    let notes = [
        note(101, NOTE_CHILD, 100, 1),
        note(100, NOTE_FORK, 0, 1),
        note(102, NOTE_CHILD, 100, 1),
        note(103, NOTE_CHILD, 100, 1),
    ];
    assert_eq!(forks(&mut decoder, &notes), [Parent::Exact(root); 3]);
}

#[test]
fn children_are_told_before_the_ends_of_their_parents() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    // The parent's entry was in the queue before the child's, and its end was merged into it.
    let notes = [note(100, NOTE_EXEC | NOTE_FORK | NOTE_EXIT, 0, 1), note(101, NOTE_CHILD, 100, 1)];
    let (events, _) = told(&mut decoder, &notes);
    let expected = [
        format!("exec {root}"),
        format!("fork {} of {root}", id(101, 1)),
        format!("{root} exited with code 0"),
    ];
    assert_eq!(events, expected);
    // Or the child came just too late for that look at the queue.
    let (mut decoder, root) = of_100(Orphans::ToInit);
    told(&mut decoder, &[note(100, NOTE_FORK | NOTE_EXIT, 0, 1)]);
    assert_eq!(forks(&mut decoder, &[note(101, NOTE_CHILD, 100, 1)]), [Parent::Exact(root)]);
}

#[test]
fn a_lost_parent_is_not_guessed() {
    // 101 is heard of, and may have forked before it was registered with a number of its own.
    let setup = |orphans| {
        let (mut decoder, root) = of_100(orphans);
        told(&mut decoder, &[note(101, NOTE_CHILD, 100, 1)]);
        (decoder, root, id(101, 1))
    };
    let merged = note(102, NOTE_CHILD | NOTE_EXIT, 0, 1);
    let (mut decoder, root, _) = setup(Orphans::ToInit);
    assert_eq!(forks(&mut decoder, &[merged]), [Parent::Ancestor(root)]);
    // Two looks later it can not.
    let (mut decoder, root, _) = setup(Orphans::ToInit);
    told(&mut decoder, &[]);
    assert_eq!(forks(&mut decoder, &[merged]), [Parent::Exact(root)]);
    // With a number of its own it is certain.
    let (mut decoder, _, middle) = setup(Orphans::ToInit);
    assert_eq!(forks(&mut decoder, &[Note { udata: 2, ..merged }]), [Parent::Exact(middle)]);
    // If it ended and had not forked, it is out of the question.
    let (mut decoder, root, _) = setup(Orphans::ToInit);
    assert_eq!(forks(&mut decoder, &[note(101, NOTE_EXIT, 0, 1), merged]), [Parent::Exact(root)]);
    let (mut decoder, root, _) = setup(Orphans::ToInit);
    let forked = note(101, NOTE_EXIT | NOTE_FORK, 0, 1);
    assert_eq!(forks(&mut decoder, &[forked, merged]), [Parent::Ancestor(root)]);
    // Without udata there is nothing.
    let (mut decoder, _, _) = setup(Orphans::ToInit);
    assert_eq!(forks(&mut decoder, &[Note { udata: 77, ..merged }]), [Parent::Unknown]);
}

#[test]
fn a_zombie_can_be_asked() {
    let ask = |orphans, parent, ended| {
        let (mut decoder, root) = of_100(orphans);
        told(&mut decoder, &[note(101, NOTE_CHILD, 100, 1)]);
        let looked = Some(Process { pid: 102, parent, ended });
        let merged = Note { looked, ..note(102, NOTE_CHILD | NOTE_EXIT, 0, 1) };
        let parent = forks(&mut decoder, &[merged]);
        (parent[0], root, id(101, 1))
    };
    let (parent, _, middle) = ask(Orphans::ToInit, 101, true);
    assert_eq!(parent, Parent::Exact(middle));
    let (parent, root, _) = ask(Orphans::ToInit, 100, true);
    assert_eq!(parent, Parent::Exact(root));
    // Who is only a reaper may have adopted it.
    let (parent, _, middle) = ask(Orphans::ToReaper, 101, true);
    assert_eq!(parent, Parent::Ancestor(middle));
    // init has; somebody else has the number; nobody known.
    for (parent, ended) in [(1, true), (101, false), (555, true)] {
        let (parent, root, _) = ask(Orphans::ToInit, parent, ended);
        assert_eq!(parent, Parent::Ancestor(root));
    }
}

#[test]
fn what_could_not_be_followed_is_looked_for() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    let (events, acts) = told(&mut decoder, &[note(100, NOTE_FORK | NOTE_TRACKERR, 0, 1)]);
    assert_eq!(events, [format!("gap TrackError {{ parent: {root:?} }}")]);
    assert_eq!(acts, [Act::Rescan]);
    // 100 has a child that has one, of which one is a zombie; 50 is somebody else's.
    let process = |pid, parent, ended| Process { pid, parent, ended };
    let list = [
        process(0, 0, false),
        process(1, 0, false),
        process(50, 1, false),
        process(90, 101, true),
        process(100, 7, false),
        process(101, 100, false),
        process(300, 301, false),
        process(301, 300, false),
    ];
    let (taken, later) = (Moment(2_000), Moment(3_000));
    let mut events = Vec::new();
    decoder.hear(&[], later, &mut events);
    let acts = decoder.settle(&list, taken, later, &mut events);
    let found = ProcId { pid: 101, start: later };
    let zombie = ProcId { pid: 90, start: Moment(3_001) };
    let texts: Vec<String> = events.iter().map(text).collect();
    let expected = [
        format!("found {found} of perhaps {root}"),
        format!("found {zombie} of perhaps {found}"),
        format!("{zombie} ended"),
    ];
    assert_eq!(texts, expected);
    assert_eq!(acts, [Act::Register { pid: 101, udata: 2 }, Act::Rescan]);
    // Once more, for those that 101 made before it was registered: none. 100 has gone.
    let (taken, later) = (Moment(4_000), Moment(5_000));
    let mut events = Vec::new();
    assert_eq!(decoder.hear(&[], later, &mut events), [Act::Rescan]);
    let acts = decoder.settle(&[process(101, 1, false)], taken, later, &mut events);
    let texts: Vec<String> = events.iter().map(text).collect();
    assert_eq!(texts, [format!("{root} ended"), "resync 2 1".to_owned()]);
    assert!(acts.is_empty());
    assert_eq!(told(&mut decoder, &[]), (vec![], vec![]));
}

#[test]
fn what_happens_during_the_list_is_no_loss() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    told(&mut decoder, &[note(101, NOTE_CHILD, 100, 1), note(100, NOTE_TRACKERR, 0, 1)]);
    let (taken, later) = (Moment(2_000), Moment(3_000));
    // On the list: 101, which then ended, and its child 102 that nobody had followed. Not on it:
    // 103, which began later.
    let list = [(100, 1), (101, 100), (102, 101)];
    let list = list.map(|(pid, parent)| Process { pid, parent, ended: false });
    let mut events = Vec::new();
    let notes = [note(101, NOTE_EXIT, 0, 2), note(103, NOTE_CHILD, 100, 1)];
    decoder.hear(&notes, later, &mut events);
    events.clear();
    let acts = decoder.settle(&list, taken, later, &mut events);
    let texts: Vec<String> = events.iter().map(text).collect();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("found 102@") && texts[0].ends_with(&id(101, 1).to_string()));
    assert_eq!(acts.last(), Some(&Act::Rescan));
    assert_eq!(decoder.members().map(|id| id.pid).collect::<Vec<_>>(), [100, 102, 103]);
    // A loss after the list was made is not made good by it.
    let mut events = Vec::new();
    decoder.hear(&[note(100, NOTE_TRACKERR, 0, 1)], Moment(5_000), &mut events);
    let list = [100, 102, 103].map(|pid| Process { pid, parent: 1, ended: false });
    assert_eq!(decoder.settle(&list, Moment(4_000), Moment(5_000), &mut events), [Act::Rescan]);
    assert!(decoder.settle(&list, Moment(6_000), Moment(6_000), &mut events).is_empty());
    assert_eq!(events.last().map(text), Some("resync 1 0".to_owned()));
    assert_eq!(decoder.member(100), Some(root));
}

#[test]
fn numbers_are_used_again() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    let merged = note(101, NOTE_CHILD | NOTE_EXIT, 1 << 8, 1);
    let second = note(101, NOTE_CHILD | NOTE_EXIT, 2 << 8, 1);
    let (events, _) = told(&mut decoder, &[merged, second, note(101, NOTE_CHILD, 100, 1)]);
    let (a, b, c) = (id(101, 1), id(101, 2), id(101, 3));
    let expected = [
        format!("fork {a} of {root}"),
        format!("{a} exited with code 1"),
        format!("fork {b} of {root}"),
        format!("{b} exited with code 2"),
        format!("fork {c} of {root}"),
    ];
    assert_eq!(events, expected);
    // One whose end was never said: that is a loss, and is said before its number's next life.
    let (events, acts) = told(&mut decoder, &[note(101, NOTE_CHILD, 100, 1)]);
    assert_eq!(events[0], "gap Overrun { lost: None }");
    assert_eq!(events[1..], [format!("{c} ended"), format!("fork {} of {root}", id(101, 4))]);
    assert_eq!(acts.last(), Some(&Act::Rescan));
    // A parent's number that two have had: udata says which of them is meant.
    let (mut decoder, _) = of_100(Orphans::ToInit);
    told(&mut decoder, &[note(101, NOTE_CHILD, 100, 1)]);
    let first = id(101, 1);
    let notes = [
        note(101, NOTE_EXIT | NOTE_FORK, 0, 2),
        note(101, NOTE_CHILD, 100, 1),
        note(102, NOTE_CHILD, 101, 2),
    ];
    let parents = forks(&mut decoder, &notes);
    assert_eq!(parents[1], Parent::Exact(first));
}

#[test]
fn strangers_and_nonsense_are_nobody() {
    let (mut decoder, root) = of_100(Orphans::ToInit);
    let notes = [
        note(7, NOTE_EXIT, 0, 1),
        note(7, NOTE_EXEC | NOTE_FORK | NOTE_TRACKERR, 0, 0),
        note(100, 0, 5, 1),
        note(101, NOTE_CHILD, i64::MAX, 1),
        note(102, NOTE_CHILD | NOTE_EXIT, i64::MIN, 1),
    ];
    let (events, _) = told(&mut decoder, &notes);
    let expected = [
        format!("fork {} of perhaps {root}", id(101, 1)),
        format!("fork {} of perhaps {root}", id(102, 2)),
        format!("{} ended", id(102, 2)),
    ];
    assert_eq!(events, expected);
}

fn any_note() -> impl Strategy<Value = Note> {
    let flags = prop::sample::subsequence(
        vec![NOTE_EXIT, NOTE_FORK, NOTE_EXEC, NOTE_TRACKERR, NOTE_CHILD],
        0..=5,
    );
    let data = prop_oneof![95i64..110, Just(32512), any::<i64>()];
    let looked = prop::option::of((95i32..110, any::<bool>()));
    (95i32..110, flags, data, 0u64..20, looked).prop_map(|(pid, flags, data, udata, looked)| Note {
        pid,
        fflags: flags.into_iter().fold(0, |all, flag| all | flag),
        data,
        udata,
        looked: looked.map(|(parent, ended)| Process { pid, parent, ended }),
    })
}

proptest! {
    #[test]
    fn every_story_is_a_story(
        looks in prop::collection::vec(prop::collection::vec(any_note(), 0..20), 0..20),
        list in prop::collection::vec((95i32..110, 95i32..110, any::<bool>()), 0..20),
    ) {
        let mut decoder = Decoder::new(Orphans::ToInit);
        let mut events = Vec::new();
        decoder.watch(100, Moment(1));
        let list: Vec<Process> =
            list.into_iter().map(|(pid, parent, ended)| Process { pid, parent, ended }).collect();
        for (at, notes) in (1..).zip(&looks) {
            let now = Moment(at * 100);
            if decoder.hear(notes, now, &mut events).contains(&Act::Rescan) {
                let again = Moment(at * 100 + 10);
                decoder.hear(&[], again, &mut events);
                decoder.settle(&list, Moment(at * 100 + 5), again, &mut events);
            }
        }
        decoder.hear(&[], Moment(10_000), &mut events);
        check(&events, &decoder)?;
    }
}

/// What `track` promises of every story.
fn check(events: &[Event], decoder: &Decoder) -> Result<(), TestCaseError> {
    let mut live = Vec::new();
    let mut all = Vec::new();
    for event in events {
        match event {
            Event::Fork { id, parent, .. } => {
                prop_assert!(!all.contains(id), "{} has begun twice", id);
                if let Parent::Exact(parent) | Parent::Ancestor(parent) = parent {
                    prop_assert!(all.contains(parent), "a parent that was never told: {}", parent);
                }
                live.push(*id);
                all.push(*id);
            }
            Event::Exec { id, .. } => prop_assert!(live.contains(id)),
            Event::Exit { id, .. } => {
                prop_assert!(live.contains(id), "{} is not there to end", id);
                live.retain(|it| it != id);
            }
            Event::Empty { .. } => prop_assert!(live.is_empty()),
            Event::Gap { .. } | Event::Resync { .. } | Event::Session { .. } => {}
        }
    }
    live.sort();
    prop_assert_eq!(live, decoder.members().collect::<Vec<_>>());
    Ok(())
}
