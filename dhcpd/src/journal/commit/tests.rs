//! Tests of what is durable when, on a simulated disk; crashes of all kinds are `crash`'s.

use super::*;
use crate::crash::disk::{FILE, Faults, NEW, SimDirectory, SimFile};

fn disk() -> (SimDirectory, Commit<SimFile>) {
    let directory = SimDirectory::new(1, usize::MAX);
    let commit = Commit::new(directory.open().unwrap(), End::default());
    (directory, commit)
}

fn group(commit: &mut Commit<SimFile>, text: &str) -> Result<(), Failure> {
    commit.write(text.as_bytes());
    commit.sync()
}

fn text(directory: &SimDirectory, name: &str) -> String {
    String::from_utf8(directory.read(name).unwrap()).unwrap()
}

#[test]
fn a_full_disk_costs_the_group_and_no_more() {
    let (directory, mut commit) = disk();
    group(&mut commit, "one\n").unwrap();
    directory.set_room(2);
    commit.write(b"two\n");
    commit.write(b"three\n");
    let failure = commit.sync().unwrap_err();
    assert!(!failure.needs_rewrite);
    assert_eq!(failure.to_string(), "write the lease file: No space left on device (os error 28)");
    assert_eq!(text(&directory, FILE), "one\n");
    directory.set_room(1000);
    group(&mut commit, "four\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\nfour\n");
}

#[test]
fn after_a_failed_sync_only_a_new_file_will_do() {
    let (directory, mut commit) = disk();
    directory.set_faults(Faults { sync: 1, ..Faults::default() });
    assert!(group(&mut commit, "one\n").unwrap_err().needs_rewrite);
    directory.set_faults(Faults::default());
    assert!(group(&mut commit, "two\n").unwrap_err().needs_rewrite);

    assert!(commit.begin_rewrite(directory.make()));
    commit.snapshot(b"all\n");
    assert!(group(&mut commit, "three\n").is_err());
    assert!(commit.end_snapshot());
    assert!(group(&mut commit, "four\n").is_err(), "the old name is still the broken file's");
    assert!(!commit.begin_rewrite(directory.open().unwrap()));
    assert!(commit.switch());
    group(&mut commit, "five\n").unwrap();
    assert_eq!(text(&directory, NEW), "all\nthree\nfour\nfive\n");
}

#[test]
fn a_rewrite_that_fails_early_is_given_up() {
    let (directory, mut commit) = disk();
    group(&mut commit, "one\n").unwrap();
    assert!(commit.begin_rewrite(directory.make()));
    directory.set_room(16);
    commit.snapshot(b"more than there is room for\n");
    assert!(!commit.lost_rewrite().unwrap().needs_rewrite);
    assert_eq!(commit.lost_rewrite(), None);
    assert!(!commit.end_snapshot());
    assert!(!commit.switch());
    directory.set_room(1000);
    group(&mut commit, "two\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\ntwo\n");
}

/// Either file may be the one that is found: a group that is not in both does not count.
#[test]
fn while_there_are_two_files_both_must_take_a_group() {
    let (directory, mut commit) = disk();
    assert!(commit.begin_rewrite(directory.make()));
    assert!(!commit.switch(), "the new file is not whole");
    commit.snapshot(b"all\n");
    assert!(commit.end_snapshot());
    directory.set_room(4 + 2); // room in the old file, none in the new one
    assert!(group(&mut commit, "one\n").is_err());
    directory.set_room(1000);
    group(&mut commit, "two\n").unwrap();
    commit.abandon_rewrite();
    group(&mut commit, "three\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\ntwo\nthree\n");
    assert_eq!(text(&directory, NEW), "all\ntwo\n");
}

#[test]
fn a_line_a_crash_left_open_is_closed() {
    let directory = SimDirectory::new(1, usize::MAX);
    let mut file = directory.open().unwrap();
    file.write(b"one\ntw", 0).unwrap();
    let end = file.end().unwrap();
    assert_eq!(end, End { length: 6, open: true, size: 6 });
    let mut commit = Commit::new(file, end);
    directory.set_room(2);
    group(&mut commit, "three\n").unwrap_err();
    directory.set_room(1000);
    group(&mut commit, "three\n").unwrap();
    group(&mut commit, "four\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\ntw\nthree\nfour\n");
}

/// A disk and a commit that writes 16 bytes of room.
fn busy() -> (SimDirectory, Commit<SimFile>) {
    let (directory, mut commit) = disk();
    commit.room = 16;
    commit.busy();
    (directory, commit)
}

fn room(directory: &SimDirectory, name: &str) -> usize {
    let text = text(directory, name);
    text.len() - text.trim_end_matches('\n').len() - usize::from(!text.trim().is_empty())
}

#[test]
fn room_is_written_ahead_while_there_is_much_to_do() {
    let (directory, mut commit) = disk();
    commit.room = 16;
    group(&mut commit, "one\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\n");
    commit.busy();
    group(&mut commit, "two\n").unwrap();
    assert_eq!(text(&directory, FILE), format!("one\ntwo\n{}", "\n".repeat(16)));
    // The size stays what it is for as long as there is room.
    for left in [12, 8, 4, 0] {
        group(&mut commit, "abc\n").unwrap();
        assert_eq!(room(&directory, FILE), left);
    }
    group(&mut commit, "abc\n").unwrap();
    assert_eq!(room(&directory, FILE), 16);
    group(&mut commit, "too long for that\n").unwrap();
    assert_eq!(room(&directory, FILE), 16);
    commit.calm();
    assert_eq!(room(&directory, FILE), 0);
    group(&mut commit, "abc\n").unwrap();
    assert_eq!(room(&directory, FILE), 0);
    commit.busy();
    group(&mut commit, "abc\n").unwrap();
    assert_eq!(room(&directory, FILE), 16);
    let records = format!("one\ntwo\n{}too long for that\nabc\nabc\n", "abc\n".repeat(5));
    assert_eq!(text(&directory, FILE), records + &"\n".repeat(16));
}

#[test]
fn a_disk_without_room_for_room_still_takes_records() {
    let (directory, mut commit) = busy();
    directory.set_room(10);
    commit.write(b"one\n");
    commit.write(b"two\n");
    commit.sync().unwrap();
    assert_eq!(text(&directory, FILE), "one\ntwo\n");
    directory.set_room(1000);
    group(&mut commit, "three\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\ntwo\nthree\n", "not tried again");
    commit.calm();
    commit.busy();
    group(&mut commit, "four\n").unwrap();
    assert_eq!(text(&directory, FILE), format!("one\ntwo\nthree\nfour\n{}", "\n".repeat(16)));
}

#[test]
fn what_failed_takes_its_room_along() {
    let (directory, mut commit) = busy();
    group(&mut commit, "one\n").unwrap();
    directory.set_room(2);
    commit.write(b"two\n");
    commit.write(b"and more than there is room for\n");
    assert!(!commit.sync().unwrap_err().needs_rewrite);
    assert_eq!(text(&directory, FILE), "one\n");
    directory.set_room(1000);
    group(&mut commit, "four\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\nfour\n");

    // The next group has to write room again.
    let (directory, mut commit) = busy();
    group(&mut commit, "one\n").unwrap();
    directory.set_faults(Faults { write: 1, ..Faults::default() });
    group(&mut commit, "two\n").unwrap_err();
    directory.set_faults(Faults::default());
    group(&mut commit, "four\n").unwrap();
    assert_eq!(text(&directory, FILE), format!("one\nfour\n{}", "\n".repeat(16)));
}

#[test]
fn the_new_file_gets_room_once_it_is_whole() {
    let (directory, mut commit) = busy();
    assert!(commit.begin_rewrite(directory.make()));
    commit.snapshot(b"all\n");
    group(&mut commit, "one\n").unwrap();
    assert_eq!((room(&directory, FILE), room(&directory, NEW)), (16, 0));
    assert!(commit.end_snapshot());
    group(&mut commit, "two\n").unwrap();
    assert_eq!((room(&directory, FILE), room(&directory, NEW)), (12, 16));
    commit.calm();
    assert_eq!((room(&directory, FILE), room(&directory, NEW)), (0, 0));
    commit.busy();
    group(&mut commit, "three\n").unwrap();
    assert_eq!((room(&directory, FILE), room(&directory, NEW)), (16, 16));
    assert!(commit.switch());
    assert_eq!((room(&directory, FILE), room(&directory, NEW)), (0, 16));
    group(&mut commit, "four\n").unwrap();
    assert_eq!((room(&directory, FILE), room(&directory, NEW)), (0, 11));
    assert!(text(&directory, NEW).starts_with("all\none\ntwo\nthree\nfour\n\n"));
}

#[test]
fn what_a_crash_left_of_the_room_is_cut_off() {
    for (found, kept) in [
        ("one\n\n\n\n", "one\n"),
        ("one\ntw\n\n", "one\ntw\n"),
        ("one", "one"),
        ("one\n", "one\n"),
        ("\n\n\n", ""),
        ("", ""),
    ] {
        let directory = SimDirectory::new(1, usize::MAX);
        let mut file = directory.open().unwrap();
        file.write(found.as_bytes(), 0).unwrap();
        let end = file.end().unwrap();
        let mut commit = Commit::new(file, end);
        assert_eq!(text(&directory, FILE), kept);
        let newline = if end.open { "\n" } else { "" };
        group(&mut commit, "new\n").unwrap();
        assert_eq!(text(&directory, FILE), format!("{kept}{newline}new\n"));
    }
    // Where it cannot be cut off, it is used.
    let directory = SimDirectory::new(1, usize::MAX);
    let mut file = directory.open().unwrap();
    file.write(b"one\n\n\n\n\n\n", 0).unwrap();
    directory.set_faults(Faults { truncate: 1, ..Faults::default() });
    let end = file.end().unwrap();
    let mut commit = Commit::new(file, end);
    group(&mut commit, "new\n").unwrap();
    assert_eq!(text(&directory, FILE), "one\nnew\n\n");
}
