//! The kernel's own records of ends beside what the proc connector tells: they agree on real
//! processes, and do not when something of the story is hidden or changed on purpose.

#[allow(dead_code, reason = "some roles only speak to the other tests")]
#[path = "track_roles_linux.rs"]
mod roles;
#[allow(dead_code, reason = "not every test waits")]
#[path = "runner.rs"]
mod runner;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Uid, setuid};
use roles::Held;
use supervise::Exit;
use supervise::track::{Backend, Cause, Event, Taskstats, Tracker};

pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "role") {
        if words.get(1).is_some_and(|word| word == "nobody") {
            return as_nobody();
        }
        roles::play(&words[1..]);
    }
    if let Err(error) = Taskstats::open() {
        println!("these tests need taskstats and the proc connector, as root: {error}");
        return ExitCode::FAILURE;
    }
    runner::run(&[
        ("burst_of_5000_agrees", burst_of_5000_agrees),
        ("burst_of_50000_agrees", burst_of_50000_agrees),
        ("threads_are_not_processes", threads_are_not_processes),
        ("orphans_and_sessions_agree", orphans_and_sessions_agree),
        ("hidden_end_is_found", hidden_end_is_found),
        ("hidden_process_is_found", hidden_process_is_found),
        ("changed_status_is_found", changed_status_is_found),
        ("invented_end_is_found", invented_end_is_found),
        ("needs_the_right", needs_the_right),
    ])
}

/// Follows a role to its end and until nothing is waited for; `change` may falsify what the
/// auditor is told. How many ends it was told, and how many of them it saw too; whom it contradicts.
fn audited(words: &[&str], mut change: impl FnMut(&mut Vec<Event>)) -> (u64, u64, Vec<i32>) {
    let mut taskstats = Taskstats::open().expect("taskstats");
    let mut tracker = Tracker::open(Backend::Connector).expect("connector");
    let mut held = Held::start(words);
    tracker.watch(held.pid).expect("watch");
    let mut events = Vec::new();
    tracker.read(&mut events).expect("read");
    taskstats.audit(&mut events).expect("audit");
    held.go();
    // Some roles have children that end when nobody is there to hear them.
    held.input = None;
    let until = Instant::now() + Duration::from_secs(90);
    let (mut empty, mut told, mut contradicted) = (false, 0, Vec::new());
    while !empty || taskstats.waits() {
        assert!(Instant::now() < until, "not within ninety seconds");
        let mut fds = [PollFd::new(tracker.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(50u16)).expect("poll");
        let mut events = Vec::new();
        tracker.read(&mut events).expect("read");
        empty |= events.iter().any(|event| matches!(event, Event::Empty { .. }));
        change(&mut events);
        told += events.iter().filter(|event| matches!(event, Event::Exit { .. })).count() as u64;
        taskstats.audit(&mut events).expect("audit");
        contradicted.extend(events.iter().filter_map(|event| match event {
            Event::Gap { cause: Cause::Contradiction { pid }, .. } => Some(*pid),
            Event::Gap { cause, .. } => panic!("{cause:?}"),
            _ => None,
        }));
    }
    held.reap();
    (told, taskstats.agreed(), contradicted)
}

fn agrees(words: &[&str], ends: u64) {
    let began = Instant::now();
    let (told, agreed, contradicted) = audited(words, |_| {});
    println!("{words:?}: {agreed} of {told} agree, {} ms", began.elapsed().as_millis());
    assert!(contradicted.is_empty(), "{contradicted:?} of {told}");
    assert_eq!((told, agreed), (ends, ends));
}

fn burst_of_5000_agrees() {
    agrees(&["burst", "5000", "16"], 5001);
}

fn burst_of_50000_agrees() {
    agrees(&["burst", "50000", "16"], 50_001);
}

fn threads_are_not_processes() {
    for words in [
        &["leader ends first"][..],
        &["threads end with it", "20"],
        &["thread executes"],
        &["killed with threads", "20"],
    ] {
        let (told, agreed, contradicted) = audited(words, |_| {});
        assert!(contradicted.is_empty(), "{words:?}: {contradicted:?}");
        assert!(told > 0 && told == agreed, "{words:?}: {agreed} of {told}");
    }
}

fn orphans_and_sessions_agree() {
    for words in [&["daemon"][..], &["session"]] {
        let (told, agreed, contradicted) = audited(words, |_| {});
        assert!(contradicted.is_empty(), "{words:?}: {contradicted:?}");
        assert!(told > 1 && told == agreed, "{words:?}: {agreed} of {told}");
    }
}

fn ended(event: &Event) -> Option<i32> {
    match event {
        Event::Exit { id, .. } => Some(id.pid),
        _ => None,
    }
}

/// The pid of the hundredth to end, once it has.
fn hundredth(events: &[Event], count: &mut usize) -> Option<i32> {
    let before = *count;
    let ends: Vec<i32> = events.iter().filter_map(ended).collect();
    *count += ends.len();
    100usize.checked_sub(before).and_then(|at| ends.get(at).copied())
}

fn hidden_end_is_found() {
    let (mut count, mut hidden) = (0, None);
    let (told, agreed, contradicted) = audited(&["burst", "5000", "16"], |events| {
        if let Some(pid) = hundredth(events, &mut count) {
            let at = events.iter().position(|event| ended(event) == Some(pid));
            events.remove(at.expect("an end"));
            hidden = Some(pid);
        }
    });
    assert_eq!((told, agreed), (5000, 5000));
    assert_eq!(contradicted, [hidden.expect("something was hidden")]);
}

fn hidden_process_is_found() {
    let (mut count, mut hidden) = (0, None);
    let (_, _, contradicted) = audited(&["burst", "10000", "16"], |events| {
        let begun = |event: &Event| match event {
            Event::Fork { id, .. } => Some(id.pid),
            _ => None,
        };
        // One that begins and ends in one look, so that nothing of it has been told.
        for pid in events.iter().filter_map(begun).collect::<Vec<_>>() {
            count += 1;
            if count > 500 && hidden.is_none() && events.iter().any(|it| ended(it) == Some(pid)) {
                events.retain(|event| begun(event) != Some(pid) && ended(event) != Some(pid));
                hidden = Some(pid);
            }
        }
    });
    assert_eq!(contradicted, [hidden.expect("something was hidden")]);
}

fn changed_status_is_found() {
    let (mut count, mut changed) = (0, None);
    let (told, agreed, contradicted) = audited(&["burst", "5000", "16"], |events| {
        if let Some(pid) = hundredth(events, &mut count) {
            for event in events.iter_mut().filter(|event| ended(event) == Some(pid)) {
                if let Event::Exit { exit, .. } = event {
                    assert_eq!(*exit, Some(Exit::Exited(127)));
                    *exit = Some(Exit::Signaled { signal: 15, core: false });
                }
            }
            changed = Some(pid);
        }
    });
    assert_eq!((told, agreed), (5001, 5000));
    assert_eq!(contradicted, [changed.expect("something was changed")]);
}

/// Told of one that has not ended: what a number mistaken for another one would look like.
fn invented_end_is_found() {
    let (mut count, mut invented) = (0, None);
    let (_, _, contradicted) = audited(&["burst", "2000", "16"], |events| {
        if let Some(pid) = hundredth(events, &mut count) {
            let at = events.iter().position(|event| ended(event) == Some(pid)).expect("an end");
            let Event::Exit { id, exit, at: moment } = events[at] else { panic!("an end") };
            let twin = supervise::track::ProcId { pid: 4_000_000, ..id };
            let parent = supervise::track::Parent::Unknown;
            events.push(Event::Fork { id: twin, parent, found: false, at: moment });
            events.push(Event::Exit { id: twin, exit, at: moment });
            invented = Some(twin.pid);
        }
    });
    assert_eq!(contradicted, [invented.expect("something was invented")]);
}

fn as_nobody() -> ExitCode {
    setuid(Uid::from_raw(65534)).expect("setuid");
    match Taskstats::open() {
        Ok(_) => println!("it was given"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

fn needs_the_right() {
    let us = std::env::current_exe().expect("our own path");
    let output = std::process::Command::new(us).args(["role", "nobody"]).output().expect("run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "back end taskstats is not available: Operation not permitted";
    assert_eq!(said.trim(), expected);
}
