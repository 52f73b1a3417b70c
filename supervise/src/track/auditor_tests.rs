//! Two witnesses, by hand.

use super::*;

const PATIENCE: Duration = Duration::from_nanos(100);

fn id(pid: i32, start: u64) -> ProcId {
    ProcId { pid, start: Moment(start) }
}

fn record(pid: i32, parent: i32, code: i32) -> Record {
    let exit = Some(Exit::Exited(code));
    Record { tid: pid, pid, parent, exit, last: true, elapsed: Duration::ZERO }
}

struct Case {
    auditor: Auditor,
    /// What is there, to be asked.
    states: HashMap<i32, State>,
    emptied: u64,
}

impl Case {
    /// 100 is followed since 10.
    fn new() -> Case {
        let auditor = Auditor::new(Moment(5), PATIENCE);
        let mut case = Case { auditor, states: HashMap::new(), emptied: 5 };
        case.fork(id(100, 10), None);
        case
    }

    fn tell(&mut self, event: &Event, at: Moment) {
        self.auditor.story(event, at);
    }

    fn fork(&mut self, id: ProcId, parent: Option<ProcId>) {
        let parent = parent.map_or(Parent::Unknown, Parent::Exact);
        self.tell(&Event::Fork { id, parent, found: false, at: id.start }, id.start);
    }

    fn exit(&mut self, id: ProcId, code: i32, at: u64) {
        let exit = Some(Exit::Exited(code));
        self.tell(&Event::Exit { id, exit, at: Moment(at) }, Moment(at));
    }

    /// These records are read at this moment; whom it contradicts.
    fn read(&mut self, records: &[Record], at: u64) -> Vec<i32> {
        for record in records {
            self.auditor.record(*record, Moment(self.emptied), Moment(at));
        }
        self.emptied = at;
        let states = &self.states;
        let mut state = |id: ProcId| states.get(&id.pid).copied().unwrap_or(State::Gone);
        let mut events = Vec::new();
        self.auditor.settle(Moment(at), Moment(at), &mut state, &mut events);
        let pids = events.iter().map(|event| match event {
            Event::Gap { cause: Cause::Contradiction { pid }, .. } => *pid,
            other => panic!("{other:?}"),
        });
        pids.collect()
    }
}

#[test]
fn agreement_is_silent_whoever_is_first() {
    let mut case = Case::new();
    case.fork(id(101, 20), Some(id(100, 10)));
    assert!(case.read(&[record(101, 100, 127)], 30).is_empty());
    case.exit(id(101, 20), 127, 31);
    assert!(case.read(&[], 40).is_empty());
    case.fork(id(102, 50), Some(id(100, 10)));
    case.exit(id(102, 50), 0, 55);
    assert!(case.read(&[record(102, 100, 0)], 60).is_empty());
    assert!(case.read(&[], 1000).is_empty());
    assert!(!case.auditor.waits());
    assert!(case.auditor.records.is_empty() && case.auditor.lives.len() == 1, "it forgets");
}

#[test]
fn another_status_is_one() {
    let mut case = Case::new();
    case.fork(id(101, 20), Some(id(100, 10)));
    case.exit(id(101, 20), 0, 25);
    assert_eq!(case.read(&[record(101, 100, 127)], 30), [101]);
    assert!(case.read(&[], 1000).is_empty(), "it is said once");
    // An old process too, if the number was its own all the time.
    let mut case = Case::new();
    case.auditor.lost(Moment(40));
    assert!(case.read(&[], 45).is_empty());
    case.exit(id(100, 10), 0, 50);
    assert_eq!(case.read(&[record(100, 1, 9)], 60), [100]);
}

#[test]
fn an_end_without_a_record_is_one() {
    let mut case = Case::new();
    case.fork(id(101, 20), Some(id(100, 10)));
    case.exit(id(101, 20), 0, 25);
    // Read before it was told: it may have come since.
    case.emptied = 24;
    let mut events = Vec::new();
    case.auditor.settle(Moment(24), Moment(24), &mut |_| State::Gone, &mut events);
    assert!(events.is_empty() && case.auditor.waits());
    assert_eq!(case.read(&[], 26), [101]);
    // Unless the records are known to be incomplete, or were not read yet when it began.
    for start in [3, 30] {
        case.fork(id(102, start), Some(id(100, 10)));
        case.auditor.lost(Moment(35));
        case.exit(id(102, start), 0, 40);
        assert!(case.read(&[], 45).is_empty());
    }
}

#[test]
fn an_end_that_was_never_told_is_one() {
    let mut case = Case::new();
    case.fork(id(101, 20), Some(id(100, 10)));
    assert!(case.read(&[record(101, 100, 1)], 30).is_empty());
    // It is being taken down, for long.
    case.states.insert(101, State::Ending);
    assert!(case.read(&[], 130).is_empty() && case.auditor.waits());
    assert!(case.read(&[], 5000).is_empty() && case.auditor.waits());
    // And then is gone, which may just have happened.
    case.states.insert(101, State::Gone);
    assert!(case.read(&[], 5100).is_empty());
    assert_eq!(case.read(&[], 5200), [101]);
    assert!(case.read(&[], 9000).is_empty());
    // If it runs, it was somebody else's end.
    case.fork(id(102, 9010), Some(id(100, 10)));
    case.states.insert(102, State::Runs);
    assert!(case.read(&[record(102, 100, 0)], 9020).is_empty());
    assert!(case.read(&[], 9999).is_empty() && !case.auditor.waits());
}

#[test]
fn a_child_that_was_never_told_of_is_one() {
    let mut case = Case::new();
    assert!(case.read(&[], 20).is_empty());
    assert!(case.read(&[record(101, 100, 1)], 30).is_empty());
    assert_eq!(case.read(&[], 131), [101]);
    // Not if the parent's number became its own only meanwhile, or was not so any more.
    case.fork(id(102, 140), None);
    assert!(case.read(&[record(103, 102, 1)], 150).is_empty());
    case.exit(id(102, 140), 0, 155);
    assert!(case.read(&[record(102, 1, 0), record(104, 102, 1)], 160).is_empty());
    assert!(case.read(&[], 999).is_empty());
}

#[test]
fn strangers_and_threads_are_nobody() {
    let mut case = Case::new();
    let thread = Record { tid: 111, pid: 100, last: false, ..record(100, 1, 0) };
    let records = [record(7, 1, 0), record(8, 7, 9), thread, record(9, 0, 0)];
    assert!(case.read(&[], 20).is_empty());
    assert!(case.read(&records, 30).is_empty());
    assert!(case.read(&[], 500).is_empty());
    assert!(case.read(&[], 1000).is_empty());
    // An end of somebody whose beginning was not told.
    case.exit(id(55, 1), 0, 1010);
    assert!(case.read(&[], 1020).is_empty());
}

#[test]
fn one_number_may_have_many_owners() {
    let mut case = Case::new();
    assert!(case.read(&[], 15).is_empty());
    // A stranger ends, a member gets its number and ends, all between two looks.
    let records = [record(101, 1, 127), record(101, 100, 127), record(101, 1, 3)];
    case.fork(id(101, 20), Some(id(100, 10)));
    case.exit(id(101, 20), 127, 25);
    assert!(case.read(&records, 30).is_empty());
    assert!(case.read(&[], 1000).is_empty());
    for round in 0..10 {
        let start = 2000 + round * 10;
        case.fork(id(101, start), Some(id(100, 10)));
        case.exit(id(101, start), 127, start + 5);
    }
    assert!(case.read(&[record(101, 100, 127); 10], 3000).is_empty());
    assert!(case.read(&[], 4000).is_empty());
}

#[test]
fn what_the_story_knows_to_be_lost_is_not_said_again() {
    let mut case = Case::new();
    case.fork(id(101, 20), Some(id(100, 10)));
    assert!(case.read(&[record(101, 100, 1), record(102, 100, 1)], 30).is_empty());
    let cause = Cause::Overrun { lost: Some(3) };
    case.tell(&Event::Gap { cause, at: Moment(35) }, Moment(35));
    assert!(case.read(&[record(103, 100, 1)], 40).is_empty());
    assert!(case.read(&[], 400).is_empty());
    case.tell(&Event::Exit { id: id(101, 20), exit: None, at: Moment(410) }, Moment(410));
    case.tell(&Event::Resync { found: 0, vanished: 1, at: Moment(410) }, Moment(410));
    assert!(case.read(&[], 1000).is_empty());
    // From then on all is as before.
    assert!(case.read(&[record(104, 100, 1)], 1010).is_empty());
    assert_eq!(case.read(&[], 1200), [104]);
}
