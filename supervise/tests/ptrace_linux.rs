//! What the tracer says of real processes, compared with what they were made to do. Everything is
//! run twice if we are root: as root, and as a user without any right.

#[path = "ptrace_roles.rs"]
mod roles;
#[path = "runner.rs"]
mod runner;
#[path = "ptrace_signals.rs"]
mod signals;
#[path = "ptrace_stage.rs"]
mod stage;

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runner::eventually;
use stage::{Stage, ends, gone, hold, kill, state};
use supervise::Exit;
use supervise::reaper::Change;
use supervise::track::{Backend, Event, Heard, Loss, Parent, ProcId, Tracker, Waiter};

const TERM: Exit = Exit::Signaled { signal: libc::SIGTERM, core: false };

const TESTS: &[runner::Test] = &[
    ("a_burst_is_told_whole", a_burst_is_told_whole),
    ("kills_straight_to_it_are_attributed", signals::kills_straight_to_it_are_attributed),
    ("another_programs_kill_is_attributed", signals::another_programs_kill_is_attributed),
    ("a_number_of_a_thread", signals::a_number_of_a_thread),
    ("the_first_thread_does_not_take_it", signals::the_first_thread_does_not_take_it),
    ("to_one_thread_on_purpose", signals::to_one_thread_on_purpose),
    ("a_forged_sender_only_claims", signals::a_forged_sender_only_claims),
    ("an_alarm_is_the_kernels", signals::an_alarm_is_the_kernels),
    ("stops_and_goes_on", stops_and_goes_on),
    ("job_control_of_its_own_works", job_control_of_its_own_works),
    ("a_code_of_143_stays_one", signals::a_code_of_143_stays_one),
    ("a_daemon_is_followed", a_daemon_is_followed),
    ("vfork_and_exec", vfork_and_exec),
    ("another_thread_executes", another_thread_executes),
    ("another_thread_executes_when_the_first_has_ended", the_first_has_ended_and_another_executes),
    ("the_first_thread_ends_first", the_first_thread_ends_first),
    ("storms_of_threads", storms_of_threads),
    ("killed_at_any_moment", killed_at_any_moment),
    ("nothing_survives_the_tracer", nothing_survives_the_tracer),
    ("traced_already_is_refused", traced_already_is_refused),
    ("only_children_are_traced", only_children_are_traced),
    ("set_user_id_gives_nothing", set_user_id_gives_nothing),
    ("it_reaps_without_tracing", it_reaps_without_tracing),
    ("a_signal_before_execve_holds_nobody_up", a_signal_before_execve_holds_nobody_up),
    ("what_cannot_be_executed_is_heard_of", what_cannot_be_executed_is_heard_of),
    ("a_tracker_by_ptrace", a_tracker_by_ptrace),
    ("from_another_pid_namespace", signals::from_another_pid_namespace),
];

pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, role, rest @ ..] = words.as_slice()
        && let Some(role) = role.strip_prefix("role:")
    {
        return roles::play(role, rest);
    }
    stage::keep_log();
    let _program = nix::unistd::getuid().is_root().then(stage::SetUserId::make);
    if nix::unistd::getuid().is_root() {
        println!("as nobody:");
        let worked = stage::as_nobody(|| runner::run(TESTS) == ExitCode::SUCCESS);
        println!("as root:");
        let code = runner::run(TESTS);
        return if worked { code } else { ExitCode::FAILURE };
    }
    println!("not root: only as this user");
    runner::run(TESTS)
}

fn forks(heard: &Heard) -> Vec<(ProcId, Parent)> {
    let forks = heard.events.iter().filter_map(|event| match event {
        Event::Fork { id, parent, .. } => Some((*id, *parent)),
        _ => None,
    });
    forks.collect()
}

fn exits(heard: &Heard) -> HashMap<ProcId, Exit> {
    let exits = heard.events.iter().filter_map(|event| match event {
        Event::Exit { id, exit, .. } => Some((*id, exit.expect("a status"))),
        _ => None,
    });
    exits.collect()
}

fn executed(heard: &Heard, pid: i32) -> Vec<String> {
    let paths = heard.events.iter().filter_map(|event| match event {
        Event::Exec { id, path, .. } if id.pid == pid => path.as_ref(),
        _ => None,
    });
    paths.map(|path| path.display().to_string()).collect()
}

/// One fork before all else, at most one exit after all else, every parent one that lived.
fn in_order(heard: &Heard) {
    let mut live = HashSet::new();
    let mut dead = HashSet::new();
    for event in &heard.events {
        match event {
            Event::Fork { id, parent, .. } => {
                assert!(live.insert(*id) && !dead.contains(id), "{event:?}");
                if let Parent::Exact(parent) | Parent::Ancestor(parent) = parent
                    && parent.pid != std::process::id().cast_signed()
                {
                    assert!(live.contains(parent) || dead.contains(parent), "{event:?}");
                }
            }
            Event::Exec { id, .. } => assert!(live.contains(id), "{event:?}"),
            Event::Exit { id, .. } => assert!(live.remove(id) && dead.insert(*id), "{event:?}"),
            Event::Empty { .. } => assert!(live.is_empty(), "{event:?}: {live:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(live.is_empty(), "{live:?}");
    assert!(matches!(heard.events.last(), Some(Event::Empty { .. })));
}

fn a_burst_is_told_whole() {
    const COUNT: usize = 5000;
    let began = std::time::Instant::now();
    let mut stage = Stage::start("burst", &["5000", "16"]);
    let heard = stage.all_ended();
    println!("{COUNT} in {:?}", began.elapsed());
    in_order(heard);
    let forks = forks(heard);
    let exits = exits(heard);
    let (root, children) = forks.split_first().expect("forks");
    assert!(matches!(root.1, Parent::Exact(us) if us.pid == std::process::id().cast_signed()));
    assert_eq!((children.len(), exits.len()), (COUNT, COUNT + 1));
    assert!(children.iter().all(|(_, parent)| *parent == Parent::Exact(root.0)));
    assert!(children.iter().all(|(id, _)| exits.get(id) == Some(&Exit::Exited(127))));
    assert_eq!(exits.get(&root.0), Some(&Exit::Exited(0)));
    assert_eq!(heard.seen, []);
    assert_eq!(stage.waiter.members().count(), 0);
}

fn stops_and_goes_on() {
    let mut stage = Stage::start("echoes", &["3"]);
    stage.ready();
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGSTOP] {
        stage.say(b"1");
        assert_eq!(stage.hear(), b"1");
        kill(stage.pid, signal);
        let pid = stage.pid;
        stage.until_then("it is stopped", || state(pid) == 't');
        stage.say(b"2");
        // Nothing more comes of it: it is not let go by mistake.
        stage.serve(200);
        assert_eq!(state(stage.pid), 't');
        kill(stage.pid, libc::SIGCONT);
        assert_eq!(stage.hear(), b"2");
    }
    // A stopped one is killed like any other.
    kill(stage.pid, libc::SIGSTOP);
    // It waits for us twice on its way to being stopped: what counts is that it was told.
    stage.until("it is stopped", |heard| heard.changes.len() == 7);
    kill(stage.pid, libc::SIGKILL);
    assert_eq!(stage.end(), Exit::Signaled { signal: libc::SIGKILL, core: false });
    let changes: Vec<_> = stage.heard.changes.iter().map(|changed| changed.change).collect();
    let stopped = Change::Stopped(libc::SIGSTOP);
    let by_key = Change::Stopped(libc::SIGTSTP);
    let goes_on = Change::Continued;
    assert_eq!(changes[..7], [stopped, goes_on, by_key, goes_on, stopped, goes_on, stopped]);
    assert_eq!(changes.len(), 8);
    assert_eq!(stage.heard.seen, [], "neither stopping nor going on ends anybody");
    in_order(&stage.heard);
}

fn job_control_of_its_own_works() {
    let mut stage = Stage::start("jobs", &[]);
    assert_eq!(stage.end(), Exit::Exited(0));
    in_order(&stage.heard);
    let mut shell = Stage::command(&[
        "/bin/sh",
        "-c",
        "sleep 100 & kill -STOP $!; kill -CONT $!; kill -TERM $!; wait $!",
    ]);
    assert_eq!(shell.end(), Exit::Exited(143));
    let target = forks(&shell.heard)[1].0.pid;
    assert_eq!(signals::only(&shell).target.pid, target);
    in_order(&shell.heard);
}

fn a_daemon_is_followed() {
    let mut stage = Stage::start("daemon", &[]);
    let heard = stage.all_ended();
    in_order(heard);
    let forks = forks(heard);
    let exits = exits(heard);
    let [(first, _), (second, made), (third, made_too)] = forks.as_slice() else {
        panic!("{forks:?}")
    };
    assert_eq!((*made, *made_too), (Parent::Exact(*first), Parent::Exact(*second)));
    assert_eq!(exits[first], Exit::Exited(0));
    assert_eq!(exits[second], Exit::Exited(0));
    assert_eq!(exits[third], Exit::Exited(5));
}

fn vfork_and_exec() {
    let mut stage = Stage::start("vfork", &[]);
    assert_eq!(stage.end(), Exit::Exited(0));
    in_order(&stage.heard);
    let forks = forks(&stage.heard);
    assert_eq!(forks[1].1, Parent::Exact(forks[0].0));
    let shell = std::fs::canonicalize("/bin/sh").expect("sh").display().to_string();
    assert_eq!(executed(&stage.heard, forks[1].0.pid), [shell]);
    assert_eq!(exits(&stage.heard)[&forks[1].0], Exit::Exited(7));
}

fn executes(role: &str) {
    for _ in 0..20 {
        let mut stage = Stage::start(role, &[]);
        assert_eq!(stage.end(), Exit::Exited(7));
        in_order(&stage.heard);
        assert_eq!(forks(&stage.heard).len(), 1);
        let shell = std::fs::canonicalize("/bin/sh").expect("sh").display().to_string();
        assert_eq!(executed(&stage.heard, stage.pid).last(), Some(&shell));
        assert_eq!(stage.waiter.members().count(), 0);
    }
}

fn another_thread_executes() {
    executes("thread executes");
}

fn the_first_has_ended_and_another_executes() {
    executes("thread executes, first ended");
}

fn the_first_thread_ends_first() {
    let mut stage = Stage::start("first ends", &[]);
    stage.ready();
    let pid = stage.pid;
    stage.until_then("its first thread is gone", || state(pid) == 'Z');
    assert_eq!(exits(&stage.heard), HashMap::new());
    assert_eq!(stage.waiter.member(stage.pid).map(|id| id.pid), Some(stage.pid));
    stage.say(b"!");
    assert_eq!(stage.end(), Exit::Exited(9));
    in_order(&stage.heard);
}

fn storms_of_threads() {
    let mut stage = Stage::start("storm", &["20", "100"]);
    assert_eq!(stage.end(), Exit::Exited(0));
    in_order(&stage.heard);
    assert_eq!(forks(&stage.heard).len(), 1);
}

fn killed_at_any_moment() {
    let (mut most, mut all, mut inexact, mut unknown) = (0, 0, 0, 0);
    for round in 0..30u64 {
        let mut stage = Stage::start("bomb", &[]);
        stage.ready();
        // Somewhere in the middle of it.
        stage.until("some forks", |heard| heard.events.len() as u64 > round * 13);
        // Until nobody is left who could make another one.
        stage.until_then_do("all are gone", |waiter| {
            let members: Vec<_> = waiter.members().collect();
            for id in &members {
                stage::try_kill(id.pid, libc::SIGKILL);
            }
            members.is_empty()
        });
        in_order(&stage.heard);
        let forks = forks(&stage.heard);
        most = most.max(forks.len());
        // Those whose maker was killed before it could say so.
        inexact += forks.iter().filter(|(_, parent)| !matches!(parent, Parent::Exact(_))).count();
        unknown += forks.iter().filter(|(_, parent)| *parent == Parent::Unknown).count();
        all += forks.len();
    }
    println!("of {all} (at most {most}), {inexact} makers were killed too soon, {unknown} unknown");
    assert!(most > 100 && inexact < all / 5 && unknown < all / 50);
}

fn nothing_survives_the_tracer() {
    let (tracer, pids) = stage::tracer("family");
    assert_eq!(pids.len(), 4);
    let held: Vec<_> = pids.iter().map(|pid| stage::pidfd(*pid)).collect();
    assert!(held.iter().all(|pidfd| !gone(pidfd)));
    kill(tracer, libc::SIGKILL);
    eventually("all are gone", || held.iter().all(gone));
    let mut heard = Heard::default();
    let mut waiter = Waiter::default();
    eventually("the tracer is heard", || {
        waiter.read(&mut heard).expect("reap");
        !ends(&heard, tracer).is_empty()
    });
}

fn traced_already_is_refused() {
    let pid = stage::traced_by_us_already();
    let error = Waiter::default().trace(pid).expect_err("twice").to_string();
    kill(pid, libc::SIGKILL);
    stage::reap(pid);
    let own = std::process::id();
    assert_eq!(error, format!("trace process {pid}: it is traced already, by process {own}"));
}

fn only_children_are_traced() {
    let mut waiter = Waiter::default();
    let error = waiter.trace(1).expect_err("not ours").to_string();
    assert_eq!(error, "trace process 1: it is not a child of ours");
    let held = hold(&["/bin/true"], None);
    let id = waiter.trace(held.pid()).expect("ours");
    drop(held);
    // It was not let go, and who held it has waited for it.
    let mut heard = Heard::default();
    waiter.read(&mut heard).expect("read");
    assert!(matches!(heard.events[1], Event::Exit { id: gone, exit: None, .. } if gone == id));
    assert_eq!(waiter.members().count(), 0);
}

fn a_signal_before_execve_holds_nobody_up() {
    let began = std::time::Instant::now();
    for signal in [libc::SIGWINCH, libc::SIGCONT, libc::SIGTERM] {
        let mut waiter = Waiter::default();
        let mut heard = Heard::default();
        let held = hold(&["/bin/sh", "-c", "exit 6"], None);
        let pid = held.pid();
        waiter.trace(pid).expect("trace it");
        // It is blocked as long as the child is held, and comes right before execve.
        kill(pid, signal);
        held.go_attended(|| waiter.read(&mut heard).expect("read")).expect("go");
        eventually("it ends", || {
            waiter.read(&mut heard).expect("read");
            !ends(&heard, pid).is_empty()
        });
        let end = if signal == libc::SIGTERM { TERM } else { Exit::Exited(6) };
        assert_eq!(ends(&heard, pid), [(end, true)]);
        assert_eq!(heard.seen.len(), usize::from(signal == libc::SIGTERM));
        in_order(&heard);
    }
    assert!(began.elapsed().as_secs() < 10);
}

fn what_cannot_be_executed_is_heard_of() {
    let mut waiter = Waiter::default();
    let mut heard = Heard::default();
    let held = hold(&["/nonexistent/program"], None);
    let pid = held.pid();
    waiter.trace(pid).expect("trace it");
    let failure = held.go_attended(|| waiter.read(&mut heard).expect("read"));
    assert_eq!(failure.expect_err("no such program").code(), 127);
    assert_eq!(ends(&heard, pid).len(), 1);
    in_order(&heard);
    assert_eq!(waiter.members().count(), 0);
}

fn set_user_id_gives_nothing() {
    if nix::unistd::getuid().is_root() {
        return;
    }
    let Some(program) = stage::set_user_id() else {
        println!("not shown: no set-user-ID program is here");
        return;
    };
    let mut stage = Stage::command(&[&program, "-c", "exit 3"]);
    stage.end();
    let log = stage::logged();
    let warning = format!("process {}: {program} does not get the rights of uid 0", stage.pid);
    assert!(log.iter().any(|line| line.starts_with(&warning)), "{log:?}");
}

fn it_reaps_without_tracing() {
    let mut waiter = Waiter::default();
    assert!(waiter.wakes().is_none());
    let pid = hold(&["/bin/sh", "-c", "exit 4"], None).go().expect("sh").pid();
    let mut heard = Heard::default();
    eventually("it is heard", || {
        waiter.read(&mut heard).expect("reap");
        !heard.changes.is_empty()
    });
    assert_eq!(ends(&heard, pid), [(Exit::Exited(4), false)]);
    assert_eq!((heard.events, heard.seen), (vec![], vec![]));
    assert_eq!(waiter.member(pid), None);
}

/// As any other back end, but that it hears of children too.
fn a_tracker_by_ptrace() {
    let mut tracker = Tracker::open(Backend::Ptrace).expect("a tracker");
    assert_eq!((tracker.caps().name, tracker.caps().loss), ("ptrace", Loss::Impossible));
    let refused = tracker.attach(1).expect_err("it did not begin it").to_string();
    assert!(refused.starts_with("follow process 1: ptrace follows only"), "{refused}");
    let held = hold(&["/bin/sh", "-c", "/bin/true; kill -TERM $$"], None);
    let id = tracker.watch(held.pid()).expect("watch it");
    let running = held.go().expect("go");
    let (mut events, mut heard) = (Vec::new(), Heard::default());
    while !matches!(events.last(), Some(Event::Empty { .. })) {
        let mut fds = [PollFd::new(tracker.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(60_000u16)), Ok(1), "{events:?}");
        tracker.read(&mut events).expect("read");
        let more = tracker.heard().expect("it waits for all");
        assert_eq!(more.events, []);
        heard.changes.extend(more.changes);
        heard.seen.extend(more.seen);
        let members: Vec<_> = tracker.members().collect();
        assert_eq!(tracker.member(id.pid), members.contains(&id).then_some(id));
    }
    assert_eq!(ends(&heard, running.pid()), [(TERM, true)]);
    assert_eq!(heard.seen[0].sender.as_ref().map(|sender| sender.pid), Some(id.pid));
    heard.events = events;
    in_order(&heard);
    assert_eq!(forks(&heard).len(), 2);
    assert_eq!(forks(&heard)[1].1, Parent::Exact(id));
}
