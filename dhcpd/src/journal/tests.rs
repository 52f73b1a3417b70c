//! Tests of the journal as the server has it: the thread, its queue and its events, over real files.

use super::commit::End;
use super::queue::Shared;
use super::*;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory that is gone after the test.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Beside the test, not in /tmp, which may be no disk at all.
        let path = std::env::current_exe().unwrap();
        let path = path.with_file_name(format!("{what}-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> OwnedFd {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.0.join(name)).unwrap().into()
    }

    fn log(&self, name: &str) -> LogFile {
        LogFile::new(self.file(name))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A journal that nothing but records is given to.
pub(super) fn start(file: OwnedFd) -> Journal {
    Journal::start(file, |_| ()).unwrap()
}

/// Waits until the journal has something to tell; a test that waits for ever has failed.
pub(super) fn wait(journal: &mut Journal) -> Vec<Event> {
    let mut events = Vec::new();
    while events.is_empty() {
        journal.ring();
        let mut fds = [PollFd::new(journal.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000u16)), Ok(1), "the journal says nothing");
        journal.done(&mut events, &mut Vec::new());
    }
    events
}

fn wait_for(journal: &mut Journal, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(wait(journal));
    }
    events
}

fn done(upto: Seq) -> Event {
    Event::Done { upto, result: Ok(()) }
}

#[test]
fn commits_are_written_in_order_and_told() {
    let folder = Folder::new("order");
    fs::write(folder.0.join("leases"), "0\n").unwrap();
    let mut journal = start(folder.file("leases"));
    let mut expected = "0\n".to_owned();
    let mut told = 0;
    for n in 1..=500 {
        let text = format!("{n}\n");
        assert_eq!(journal.commit(text.as_bytes(), &mut None), Ok(n));
        expected.push_str(&text);
        if n % 7 == 0 {
            for event in wait(&mut journal) {
                let Event::Done { upto, result: Ok(()) } = event else { panic!("{event:?}") };
                assert!(upto > told && upto <= n);
                told = upto;
            }
            assert!(folder.text("leases").lines().count() as u64 > told);
        }
    }
    while told < 500 {
        for event in wait(&mut journal) {
            let Event::Done { upto, result: Ok(()) } = event else { panic!("{event:?}") };
            told = upto;
        }
    }
    // Nothing is left to tell, and asking is no harm.
    let mut events = vec![Event::SnapshotTaken];
    journal.done(&mut events, &mut Vec::new());
    assert_eq!(events, []);
    let mut fds = [PollFd::new(journal.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0));
    journal.end();
    assert_eq!(folder.text("leases"), expected);
}

/// A file that is not written to seldom has room behind its records, until there is a pause.
#[test]
fn room_comes_and_goes() {
    let folder = Folder::new("room");
    let mut journal = start(folder.file("leases"));
    let mut expected = String::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let in_time = || assert!(Instant::now() < deadline, "{:?}", folder.text("leases").len());
    for round in 0..2 {
        while folder.text("leases").len() <= expected.len() {
            in_time();
            expected.push_str("a\n");
            journal.commit(b"a\n", &mut None).unwrap();
            wait(&mut journal);
        }
        assert!(folder.text("leases").len() >= expected.len() + 60_000);
        if round == 0 {
            while folder.text("leases").len() > expected.len() {
                in_time();
                let mut fds = [PollFd::new(journal.as_fd(), PollFlags::POLLIN)];
                assert_eq!(poll(&mut fds, PollTimeout::from(20u8)), Ok(0));
            }
            assert_eq!(folder.text("leases"), expected);
        }
    }
    journal.end();
    assert_eq!(folder.text("leases"), expected);
}

/// How a file ends is found behind however much room.
#[test]
fn the_last_record_is_found_behind_any_room() {
    let folder = Folder::new("end");
    for (text, room) in [("", 0), ("", 3), ("", 65_536), ("", 200_000), ("a", 0), ("a", 1)] {
        for (text, room) in [(text, room), ("abc\nd", room), ("abc\n\nd", room + 65_530)] {
            for more in 0..9 {
                let room = room + more;
                fs::write(folder.0.join("leases"), text.to_owned() + &"\n".repeat(room)).unwrap();
                let (size, newline) =
                    (text.len() + room, usize::from(!text.is_empty() && room > 0));
                let expected = End {
                    length: (text.len() + newline) as u64,
                    open: !text.is_empty() && room == 0,
                    size: size as u64,
                };
                assert_eq!(folder.log("leases").end().unwrap(), expected, "{text:?}, {room}");
            }
        }
    }
}

#[test]
fn a_rewrite_goes_on_beside_commits() {
    let folder = Folder::new("rewrite");
    let mut journal = start(folder.file("leases"));
    journal.commit(b"a\n", &mut None).unwrap();
    assert_eq!(wait(&mut journal), [done(1)]);

    assert!(journal.begin_rewrite(folder.log("new")));
    assert!(!journal.begin_rewrite(folder.log("newer")), "one at a time");
    journal.snapshot(b"A\n");
    assert_eq!(wait(&mut journal), [Event::SnapshotTaken]);
    journal.commit(b"b\n", &mut None).unwrap();
    journal.snapshot(b"B\n");
    let events = wait_for(&mut journal, 2);
    assert!(events.contains(&done(2)) && events.contains(&Event::SnapshotTaken));
    journal.end_snapshot();
    assert_eq!(wait(&mut journal), [Event::Rewritten]);
    journal.commit(b"c\n", &mut None).unwrap();
    assert_eq!(wait(&mut journal), [done(3)]);
    assert_eq!(folder.text("leases"), "a\nb\nc\n");
    assert_eq!(folder.text("new"), "A\nb\nB\nc\n");

    journal.switch();
    journal.commit(b"d\n", &mut None).unwrap();
    assert_eq!(wait(&mut journal), [done(4)]);
    assert_eq!(folder.text("leases"), "a\nb\nc\n");
    assert_eq!(folder.text("new"), "A\nb\nB\nc\nd\n");
    assert!(journal.begin_rewrite(folder.log("newer")));
}

/// What is still told of a rewrite that was abandoned must not be taken for the next one's.
#[test]
fn an_abandoned_rewrite_is_not_heard_of_again() {
    let folder = Folder::new("abandoned");
    let mut journal = start(folder.file("leases"));
    assert!(journal.begin_rewrite(folder.log("new")));
    journal.snapshot(b"A\n");
    journal.end_snapshot();
    journal.abandon_rewrite();
    assert!(journal.begin_rewrite(folder.log("newer")));
    journal.commit(b"a\n", &mut None).unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        events = wait(&mut journal);
    }
    assert_eq!(events, [done(1)]);
    journal.end_snapshot();
    assert_eq!(wait(&mut journal), [Event::Rewritten]);
}

/// A device that is always full, and cannot be truncated either.
#[test]
#[cfg(target_os = "linux")]
fn a_failure_is_told_and_a_new_file_ends_it() {
    let folder = Folder::new("failure");
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let mut journal = start(full.into());
    for n in 1..3 {
        journal.commit(b"a\n", &mut None).unwrap();
        let events = wait(&mut journal);
        let [Event::Done { upto, result: Err(failure) }] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(*upto, n);
        assert!(failure.needs_rewrite, "{failure}");
    }
    let full = fs::File::options().read(true).write(true).open("/dev/full").unwrap();
    assert!(journal.begin_rewrite(LogFile::new(full.into())));
    journal.snapshot(b"A\n");
    let events = wait_for(&mut journal, 2);
    assert!(matches!(events.as_slice(), [Event::SnapshotTaken, Event::RewriteFailed(_)]));

    assert!(journal.begin_rewrite(folder.log("new")));
    journal.snapshot(b"A\n");
    journal.end_snapshot();
    assert_eq!(wait_for(&mut journal, 2), [Event::SnapshotTaken, Event::Rewritten]);
    journal.switch();
    journal.commit(b"b\n", &mut None).unwrap();
    assert_eq!(wait(&mut journal), [done(3)]);
    assert_eq!(folder.text("new"), "A\nb\n");
}

#[test]
fn what_waits_is_bounded() {
    // Nobody takes anything here.
    let (wake, _waker) = io::pipe().unwrap();
    let shared = Arc::new(Shared::new());
    let room = Room::default();
    let mut journal: Journal = Journal { shared, wake, room, last: 0, rewrite: None, rewrites: 0 };
    let most = vec![b'\n'; MAX_COMMIT];
    assert_eq!(journal.commit(&vec![b'\n'; MAX_COMMIT + 1], &mut None), Err(Full));
    let mut taken = 0;
    while journal.has_room() {
        taken += 1;
        assert_eq!(journal.commit(&most, &mut None), Ok(taken), "there was room");
    }
    assert_eq!(taken as usize * MAX_COMMIT, MAX_WAITING);
    assert_eq!(journal.commit(b"\n", &mut None), Err(Full));
}

/// What is queued when the journal is dropped is still written.
#[test]
fn a_dropped_journal_finishes() {
    let folder = Folder::new("dropped");
    let mut journal = start(folder.file("leases"));
    journal.commit(b"a\n", &mut None).unwrap();
    let Journal { wake, .. } = &journal;
    let mut wake = wake.try_clone().unwrap();
    drop(journal);
    // Nothing but the end: the thread is gone.
    let mut bytes = Vec::new();
    wake.read_to_end(&mut bytes).unwrap();
    assert!(bytes.is_empty());
    assert_eq!(folder.text("leases"), "a\n");
}
