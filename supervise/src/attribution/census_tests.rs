//! Who is who, in the order in which a kernel tells it.

use super::*;

fn ms(count: u64) -> Moment {
    Moment(1_000_000_000 + count * 1_000_000)
}

fn found(pid: i32, parent: i32, exe: &str) -> Found {
    Found {
        pid,
        parent,
        start: Moment(pid.unsigned_abs().into()),
        exe: (!exe.is_empty()).then(|| exe.into()),
        name: exe.rsplit('/').next().unwrap_or_default().to_owned(),
        users: Some((0, 0)),
        threads: vec![pid],
    }
}

/// init, a shell of it and a daemon with two threads.
fn census() -> Census {
    let mut census = Census::new(false);
    census.found(ms(0), found(1, 0, "/sbin/init"));
    census.found(ms(0), found(40, 1, "/bin/sh"));
    census.found(ms(0), Found { threads: vec![50, 51], ..found(50, 1, "/usr/sbin/d") });
    census
}

fn exe(census: &Census, pid: i32, at: u64) -> Option<String> {
    Some(census.known(pid, ms(at))?.exe?.display().to_string())
}

#[test]
fn what_is_executed_is_inherited() {
    let mut census = census();
    census.task(ms(1), 40, 60, "sh", Kind::Child);
    assert_eq!(exe(&census, 60, 1).as_deref(), Some("/bin/sh"));
    census.exec(ms(2), 60, 60, "/usr/bin/a-rather-long-name".into());
    let known = census.known(60, ms(3)).expect("known");
    assert_eq!(known.exe.as_deref(), Some("/usr/bin/a-rather-long-name".as_ref()));
    assert_eq!(known.name.as_deref(), Some("a-rather-long-n"));
    assert_eq!(known.parents, [(40, "sh".to_owned())]);
    assert_eq!(known.start, ms(1));
    // Only what was known then.
    assert_eq!(exe(&census, 60, 1), None);
    assert_eq!(exe(&census, 40, 3).as_deref(), Some("/bin/sh"));
    assert_eq!(exe(&census, 70, 3), None);
}

#[test]
fn a_thread_is_of_its_makers_process() {
    let mut census = census();
    census.task(ms(1), 51, 52, "d", Kind::Thread);
    census.task(ms(2), 52, 53, "d", Kind::Thread);
    census.task(ms(3), 53, 54, "d", Kind::Child);
    census.task(ms(3), 54, 55, "d", Kind::Sibling);
    assert_eq!([51, 52, 53, 54].map(|tid| census.process_of(tid)), [50, 50, 50, 54].map(Some));
    assert_eq!(census.known(54, ms(4)).expect("known").parents, [(50, "d".to_owned())]);
    assert_eq!(census.known(55, ms(4)).expect("known").parents, [(50, "d".to_owned())]);
    assert_eq!(census.process_of(99), None);
    // The first thread ends, the process does not; then another one executes and is the first.
    census.exit(ms(5), 50);
    assert!(census.is_ending(50) && !census.is_ending(53));
    census.exit(ms(6), 51);
    census.exit(ms(6), 52);
    census.exec(ms(7), 50, 53, "/bin/next".into());
    assert!(!census.is_ending(50));
    assert_eq!((census.process_of(50), census.process_of(53)), (Some(50), None));
    assert_eq!(exe(&census, 50, 7).as_deref(), Some("/bin/next"));
    census.exit(ms(8), 50);
    assert!(census.is_ending(50));
}

#[test]
fn who_ended_is_remembered_for_a_while() {
    let mut census = census();
    census.task(ms(1), 40, 60, "sh", Kind::Child);
    census.exit(ms(2), 60);
    assert_eq!(exe(&census, 60, 3).as_deref(), Some("/bin/sh"));
    // A successor of the same number is not forgotten in its place.
    census.task(ms(3), 40, 61, "sh", Kind::Child);
    census.exit(ms(4), 61);
    census.task(ms(5), 50, 61, "d", Kind::Child);
    census.exit(ms(20_000), 99);
    census.task(ms(20_000), 40, 62, "sh", Kind::Child);
    census.exit(ms(20_000), 62);
    assert_eq!(census.process_of(60), None);
    assert!(census.known(60, ms(20_000)).is_none());
    assert_eq!(exe(&census, 61, 20_000).as_deref(), Some("/usr/sbin/d"));
    assert_eq!(exe(&census, 62, 20_000).as_deref(), Some("/bin/sh"));
}

#[test]
fn it_does_not_grow() {
    let mut census = census();
    for number in 0..200_000u64 {
        let pid = 100 + i32::try_from(number).expect("small");
        census.task(Moment(ms(0).0 + number), 40, pid, "sh", Kind::Child);
        census.exit(Moment(ms(0).0 + number), pid);
    }
    assert!(census.len() <= MOST_KEPT + 4, "{}", census.len());
    assert!(census.processes.len() <= MOST_KEPT + 4);
    assert!(census.ended.len() <= MOST_KEPT);
}

#[test]
fn what_is_older_than_the_look_is_in_it() {
    let mut census = Census::new(false);
    census.found(ms(10), found(40, 1, "/bin/new"));
    census.found(ms(10), found(60, 40, "/bin/newer"));
    // 40 has forked 60 and 61, and executed; 60 has executed as well.
    census.task(ms(1), 40, 60, "old", Kind::Child);
    census.task(ms(1), 40, 61, "old", Kind::Child);
    census.exec(ms(2), 40, 40, "/bin/old".into());
    census.exit(ms(3), 60);
    assert_eq!(exe(&census, 40, 20).as_deref(), Some("/bin/new"));
    assert_eq!(exe(&census, 60, 20).as_deref(), Some("/bin/newer"));
    assert!(!census.is_ending(60));
    // What 40 was when it made this one is not known.
    assert_eq!(exe(&census, 61, 20), None);
}

#[test]
fn after_a_loss() {
    let mut census = census();
    census.task(ms(1), 50, 60, "d", Kind::Child);
    census.task(ms(1), 50, 61, "d", Kind::Child);
    let again = |at, found| (ms(at), found);
    census.renew(
        false,
        vec![
            again(9, found(40, 1, "/bin/sh")),
            again(9, found(50, 1, "/bin/other")),
            // Begun in the same 10 ms; and one that has its number since.
            again(900, Found { start: Moment(ms(0).0 - 1), ..found(60, 1, "/usr/sbin/d") }),
            again(900, Found { start: ms(500), ..found(61, 1, "/usr/sbin/d") }),
        ],
    );
    // What is the same now was so all the time; of the others that is not known.
    assert_eq!(exe(&census, 40, 3).as_deref(), Some("/bin/sh"));
    assert_eq!(exe(&census, 50, 3), None);
    assert_eq!(exe(&census, 50, 9).as_deref(), Some("/bin/other"));
    assert_eq!(exe(&census, 60, 3).as_deref(), Some("/usr/sbin/d"));
    assert_eq!(census.known(60, ms(3)).expect("known").parents, [(50, "other".to_owned())]);
    assert_eq!(census.known(61, ms(3)), None);
    assert_eq!(exe(&census, 61, 900).as_deref(), Some("/usr/sbin/d"));
    assert_eq!(census.process_of(1), None);
}

#[test]
fn a_new_name_is_a_doubt() {
    let mut census = census();
    assert!(census.known(40, ms(1)).expect("known").sure);
    census.rename(ms(1), 51, "worker");
    assert!(census.known(50, ms(1)).expect("known").sure);
    census.rename(ms(1), 40, "kill");
    census.task(ms(2), 40, 60, "kill", Kind::Child);
    let known = census.known(60, ms(3)).expect("known");
    assert!(!known.sure);
    let now =
        |exe: Exe, name: &str| Some(Sender { exe, name: Some(name.into()), ..Sender::of(60) });
    let path = |path: &str| Exe::Path(path.into());
    let told = |now, same| known.clone().sender(now, same).exe;
    assert_eq!(told(None, false), Exe::Ending("kill".into()));
    assert_eq!(told(now(path("/bin/sh"), "kill"), true), path("/bin/sh"));
    assert_eq!(told(now(path("/bin/kill"), "kill"), false), path("/bin/kill"));
    assert_eq!(told(now(path("/bin/sleep"), "sleep"), false), Exe::Ending("kill".into()));
    census.exec(ms(4), 60, 60, "/bin/x".into());
    assert!(census.known(60, ms(4)).expect("known").sure);
}

#[test]
fn users_are_told_only_if_they_are_followed() {
    let mut census = census();
    census.users(ms(1), 40, 7, 7);
    assert_eq!(census.known(40, ms(1)).expect("known").users, None);
    let mut census = Census::new(true);
    census.found(ms(1), found(40, 1, "/bin/su"));
    let users = |census: &Census, pid| census.known(pid, ms(9)).expect("known").users;
    // What was found is newer than this.
    census.users(ms(0), 40, 7, 7);
    assert_eq!(users(&census, 40), Some((0, 0)));
    census.users(ms(2), 40, 7, 0);
    census.task(ms(3), 40, 60, "su", Kind::Child);
    census.users(ms(4), 60, 7, 8);
    assert_eq!((users(&census, 40), users(&census, 60)), (Some((7, 0)), Some((7, 8))));
    // Threads of one process that are not of one user; and again of one.
    census.task(ms(5), 60, 61, "su", Kind::Thread);
    census.users(ms(6), 61, 9, 9);
    assert_eq!(users(&census, 60), None);
    census.users(ms(7), 60, 9, 9);
    assert_eq!(users(&census, 60), Some((9, 9)));
    census.users(ms(8), 61, 9, 9);
    assert_eq!(users(&census, 60), Some((9, 9)));
}

#[test]
fn the_kernels_own() {
    let mut census = census();
    census.found(ms(0), found(2, 0, ""));
    census.found(ms(0), found(9, 2, ""));
    census.task(ms(1), 2, 60, "kthreadd", Kind::Child);
    assert!([0, 2, 9, 60].into_iter().all(|pid| census.is_kernel(pid)));
    // A helper that the kernel starts is a process like any other.
    census.exec(ms(2), 60, 60, "/sbin/modprobe".into());
    assert!([1, 40, 60].into_iter().all(|pid| !census.is_kernel(pid)));
}

#[test]
fn who_is_there_now_may_be_another_one() {
    let census = census();
    let known = census.known(40, ms(1)).expect("known");
    let now = Sender {
        start: Some(known.start),
        uid: Some(5),
        euid: Some(5),
        exe: Exe::Path("/usr/bin/dash".into()),
        command: Some(vec!["sh".into()]),
        cgroup: Some("/a".into()),
        ..Sender::of(40)
    };
    assert!(known.is_still(&now, ms(1)));
    assert!(!known.is_still(&Sender { start: Some(ms(500)), ..now.clone() }, ms(1)));
    assert!(!known.is_still(&Sender::of(40), ms(1)));
    let sender = known.clone().sender(Some(now.clone()), true);
    assert_eq!((sender.uid, sender.command.is_some()), (Some(5), true));
    assert_eq!(sender.exe, Exe::Path("/bin/sh".into()));
    // It has ended: what it executed last has no words any more.
    let dead = Sender { exe: Exe::Ending("sh".into()), command: None, ..now.clone() };
    let sender = known.clone().sender(Some(dead), false);
    assert_eq!((sender.uid, sender.exe), (Some(5), Exe::Path("/bin/sh".into())));
    // It executes something else by now: of that one the words and ids are.
    let sender = known.sender(Some(now), false);
    assert_eq!((sender.uid, sender.command), (None, None));
    assert_eq!(sender.cgroup, Some("/a".into()));
}
