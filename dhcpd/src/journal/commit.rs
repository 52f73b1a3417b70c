//! The rules of durability, over whatever stands for a disk: a group of records is committed when
//! every file that may turn out to be the lease file after a crash has all of it on disk.
//!
//! No thread, no queue, no clock: the journal's thread drives this over real files and the
//! simulator over simulated ones.

use std::fmt;
use std::io;

/// One open file, as far as the journal needs it.
pub trait Disk {
    /// The file's length in bytes, and whether it ends in the middle of a line.
    ///
    /// # Errors
    /// Any of stat(2) or pread(2).
    fn end(&self) -> io::Result<(u64, bool)>;

    /// Writes all of `bytes` at `offset`, counted in bytes from the beginning of the file.
    ///
    /// # Errors
    /// Any of pwrite(2); any part of `bytes` may have been written then.
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written is on disk, and the size with it.
    ///
    /// # Errors
    /// Any of fdatasync(2). What was written before may be lost then, and a later success says
    /// nothing about it: the system may have forgotten that it still had to be written.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file off at `length` bytes.
    ///
    /// # Errors
    /// Any of ftruncate(2).
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Why records are not on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried, and what the system said.
    pub text: String,
    /// The file cannot be trusted any more: nothing will be committed until the leases have been
    /// rewritten into a new one. If false, the next records may well be committed: a disk that was
    /// full has room again.
    pub needs_rewrite: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A file that is being appended to, and what is known of it.
struct Log<D> {
    disk: D,
    /// What it is called in messages.
    name: &'static str,
    /// Up to here it is on disk, and good.
    good: u64,
    /// Up to here it has been written.
    length: u64,
    /// What is good does not end with a newline, so the next write has to begin with one.
    open: bool,
    /// What went wrong since the last sync.
    failed: Option<Failure>,
    /// What went wrong for good.
    broken: Option<Failure>,
}

/// How far a rewrite has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The snapshot is being written; the file is of no use yet.
    Filling,
    /// The file holds all leases and may take the old one's place at any time.
    Whole,
}

struct Rewrite<D> {
    log: Log<D>,
    phase: Phase,
}

/// The lease file and, while it is being rewritten, its successor.
pub struct Commit<D> {
    log: Log<D>,
    rewrite: Option<Rewrite<D>>,
    lost: Option<Failure>,
    /// A snapshot is synced in pieces of this size, in bytes, so that no group has to wait long for
    /// it.
    pub(crate) piece: u64,
}

/// The size of a piece.
const PIECE: u64 = 1024 * 1024;

impl<D: Disk> Log<D> {
    fn new(disk: D, name: &'static str, length: u64, open: bool) -> Self {
        Log { disk, name, good: length, length, open, failed: None, broken: None }
    }

    /// Appends, unless the group has failed already.
    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_some() || self.broken.is_some() || bytes.is_empty() {
            return;
        }
        let close_line = self.open && self.length == self.good;
        let result = if close_line {
            // Only ever the first write to a file that a crash left.
            self.disk.write(&[b"\n", bytes].concat(), self.length)
        } else {
            self.disk.write(bytes, self.length)
        };
        match result {
            Ok(()) => self.length += bytes.len() as u64 + u64::from(close_line),
            Err(error) => {
                let failure = self.failure("write", &error, false);
                self.take_back();
                self.failed = Some(failure);
            }
        }
    }

    /// Makes everything written durable, or says why not.
    fn sync(&mut self) -> Result<(), Failure> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        match self.disk.sync() {
            Ok(()) => {
                self.open &= self.length == self.good;
                self.good = self.length;
                Ok(())
            }
            Err(error) => {
                let failure = self.failure("sync", &error, true);
                self.broken = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Removes what was written since the last sync. Synced itself: or else what is written there
    /// next could, after a crash, be found mixed with what was taken back.
    fn take_back(&mut self) {
        self.length = self.good;
        if let Err(error) = self.disk.truncate(self.good).and_then(|()| self.disk.sync()) {
            self.broken = Some(self.failure("take back a failed write to", &error, true));
        }
    }

    fn failure(&self, what: &str, error: &io::Error, needs_rewrite: bool) -> Failure {
        Failure { text: format!("{what} {}: {error}", self.name), needs_rewrite }
    }
}

impl<D: Disk> Commit<D> {
    /// Goes on at the end of the lease file: `length` bytes long, its last line `open` if it does
    /// not end with a newline.
    ///
    /// The file is synced first. What a predecessor wrote and never synced has been read, and is
    /// about to be relied on.
    pub fn new(disk: D, length: u64, open: bool) -> Self {
        let mut log = Log::new(disk, "the lease file", length, open);
        // A failure is remembered, and told to the first group.
        let _ = log.sync();
        Commit { log, rewrite: None, lost: None, piece: PIECE }
    }

    /// Appends records to the group that is open. Whether that worked is told by [`Self::sync`].
    pub fn write(&mut self, records: &[u8]) {
        self.log.write(records);
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.log.write(records);
            self.check_filling();
        }
    }

    /// Closes the group: Ok if all of it is on disk, wherever a crash leaves us. If not, none of it
    /// counts, though part of it may be found after a crash.
    ///
    /// # Errors
    /// Says what could not be written.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let mut result = self.log.sync();
        if let Some(Rewrite { log, phase: Phase::Whole }) = &mut self.rewrite {
            // Whichever of the two the name is found to mean after a crash, it must hold the group.
            result = result.and(log.sync());
        }
        result
    }

    /// Begins to write a new lease file, which is empty. False, and nothing is begun, if there is one
    /// that is whole: it may have the lease file's name by now.
    ///
    /// What is written from here on goes to both, in the order of the calls. So the snapshot need
    /// not be of one moment: a lease must only not be put into it as it was before a record that
    /// has been given to [`Self::write`].
    pub fn begin_rewrite(&mut self, disk: D) -> bool {
        if self.rewrite.as_ref().is_some_and(|rewrite| rewrite.phase == Phase::Whole) {
            return false;
        }
        let log = Log::new(disk, "the new lease file", 0, false);
        self.rewrite = Some(Rewrite { log, phase: Phase::Filling });
        self.lost = None;
        true
    }

    /// Appends to the new file only.
    pub fn snapshot(&mut self, records: &[u8]) {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.log.write(records);
            if rewrite.log.failed.is_none() && rewrite.log.length - rewrite.log.good > self.piece {
                // A failure is found by the check.
                let _ = rewrite.log.sync();
            }
            self.check_filling();
        }
    }

    /// The new file has all leases: makes it durable. From here on both files get every group,
    /// since either may be the lease file after a crash. True unless the rewrite was lost.
    pub fn end_snapshot(&mut self) -> bool {
        if let Some(rewrite) = &mut self.rewrite {
            if let Err(failure) = rewrite.log.sync() {
                self.lost = Some(failure);
                self.rewrite = None;
                return false;
            }
            rewrite.phase = Phase::Whole;
            return true;
        }
        false
    }

    /// Why the rewrite had to be given up, once, if it had to. The new file is closed then, and
    /// what was committed still counts.
    pub fn lost_rewrite(&mut self) -> Option<Failure> {
        self.lost.take()
    }

    /// The new file has taken the old one's name, and the directory is on disk: goes on with it
    /// alone. Returns whether there was one.
    pub fn switch(&mut self) -> bool {
        match self.rewrite.take() {
            Some(Rewrite { mut log, phase: Phase::Whole }) => {
                log.name = self.log.name;
                self.log = log;
                true
            }
            other => {
                self.rewrite = other;
                false
            }
        }
    }

    /// The new file will never take the old one's name: goes on with the old one alone.
    pub fn abandon_rewrite(&mut self) {
        self.rewrite = None;
    }

    /// A new file that nobody relies on yet is given up at its first failure.
    fn check_filling(&mut self) {
        if let Some(Rewrite { log, phase: Phase::Filling }) = &mut self.rewrite
            && let Some(failure) = log.failed.take().or_else(|| log.broken.clone())
        {
            self.lost = Some(failure);
            self.rewrite = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::disk::{FILE, Faults, NEW, SimDirectory, SimFile};

    fn disk() -> (SimDirectory, Commit<SimFile>) {
        let directory = SimDirectory::new(1, usize::MAX);
        let commit = Commit::new(directory.open().unwrap(), 0, false);
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
        assert_eq!(
            failure.to_string(),
            "write the lease file: No space left on device (os error 28)"
        );
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
        let mut commit = Commit::new(file, 6, true);
        directory.set_room(2);
        group(&mut commit, "three\n").unwrap_err();
        directory.set_room(1000);
        group(&mut commit, "three\n").unwrap();
        group(&mut commit, "four\n").unwrap();
        assert_eq!(text(&directory, FILE), "one\ntw\nthree\nfour\n");
    }
}
