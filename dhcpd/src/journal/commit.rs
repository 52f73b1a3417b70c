//! The rules of durability, over whatever stands for a disk: a group of records is committed when
//! every file that may turn out to be the lease file after a crash has all of it on disk.
//!
//! A sync that changes the size of a file has to record that, and where the new blocks are: on ext4
//! it takes half as long again. So while there is much to do, room is written ahead: newlines behind
//! the records, which mean nothing to any reader of a lease file, and the groups to come overwrite
//! them. Nothing relies on the room: what a crash leaves out of a group reads as newlines where
//! there was room, as NULs or nothing where there was none, and `leasefile` believes no record with
//! either in it. When there is nothing to do the room is cut off again.
//!
//! No thread, no queue, no clock: the journal's thread drives this over real files and the
//! simulator over simulated ones.

use std::fmt;
use std::io;

/// How a lease file ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Where the next record belongs, in bytes: behind the newline that follows the last byte that
    /// is none, or behind that byte.
    pub length: u64,
    /// That byte is the file's last: the line it is on has not been ended.
    pub open: bool,
    /// The file's length in bytes. From `length` on it has only newlines.
    pub size: u64,
}

/// One open file, as far as the journal needs it.
pub trait Disk {
    /// How the file ends.
    ///
    /// # Errors
    /// Any of stat(2) or pread(2).
    fn end(&self) -> io::Result<End>;

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
    /// Up to here there is room behind that: newlines.
    end: u64,
    /// There was no writing ahead, and shall be none until there is nothing to do.
    refused: bool,
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
    /// There is much to do: room is written ahead.
    busy: bool,
    /// A snapshot is synced in pieces of this size, in bytes, so that no group has to wait long for
    /// it.
    pub(crate) piece: u64,
    /// How much room is written ahead, in bytes.
    pub(crate) room: u64,
}

/// The size of a piece.
const PIECE: u64 = 1024 * 1024;

/// The size of a room: some six hundred records. The group that comes with it takes twice as long as
/// one that is appended, which is half a millisecond; with eight times as much it was five.
const ROOM: u64 = 128 * 1024;

impl<D: Disk> Log<D> {
    fn new(disk: D, name: &'static str, end: End) -> Self {
        let End { length, open, size } = end;
        let (good, end) = (length, size);
        Log { disk, name, good, length, end, refused: false, open, failed: None, broken: None }
    }

    /// Writes behind what has been written, unless the group has failed already. If there is no room
    /// for it, writes `room` bytes of it behind.
    fn write(&mut self, bytes: &[u8], room: u64) {
        if self.failed.is_some() || self.broken.is_some() || bytes.is_empty() {
            return;
        }
        // Only ever the first write to a file that a crash left.
        let close_line = self.open && self.length == self.good;
        let end = self.length + bytes.len() as u64 + u64::from(close_line);
        if end > self.end && room > 0 && !self.refused && self.write_ahead(bytes, close_line, room)
        {
            self.length = end;
            return;
        }
        let result = if close_line {
            self.disk.write(&[b"\n", bytes].concat(), self.length)
        } else {
            self.disk.write(bytes, self.length)
        };
        match result {
            Ok(()) => {
                self.length = end;
                self.end = self.end.max(end);
            }
            Err(error) => {
                let failure = self.failure("write", &error, false);
                self.take_back();
                self.failed = Some(failure);
            }
        }
    }

    /// Writes `bytes` and room behind them, in one piece. If that fails the file is as it was.
    fn write_ahead(&mut self, bytes: &[u8], close_line: bool, room: u64) -> bool {
        let mut text = [if close_line { &b"\n"[..] } else { b"" }, bytes].concat();
        text.resize(text.len() + room as usize, b'\n');
        match self.disk.write(&text, self.length) {
            Ok(()) => {
                self.end = self.length + text.len() as u64;
                true
            }
            Err(_) => {
                // No room for room must not cost the group. What may be there of it, should this
                // fail too, is the beginning of what is written there next, or room.
                let _ = self.disk.truncate(self.length);
                self.end = self.length;
                self.refused = true;
                false
            }
        }
    }

    /// Cuts the room off. Not synced: if it is still there after a crash, it is room.
    fn trim(&mut self) {
        self.refused = false;
        if self.end > self.length
            && self.broken.is_none()
            && self.disk.truncate(self.length).is_ok()
        {
            self.end = self.length;
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
        (self.length, self.end) = (self.good, self.good);
        if let Err(error) = self.disk.truncate(self.good).and_then(|()| self.disk.sync()) {
            self.broken = Some(self.failure("take back a failed write to", &error, true));
        }
    }

    fn failure(&self, what: &str, error: &io::Error, needs_rewrite: bool) -> Failure {
        Failure { text: format!("{what} {}: {error}", self.name), needs_rewrite }
    }
}

impl<D: Disk> Commit<D> {
    /// Goes on at the end of the lease file. Room that a crash left there is cut off.
    ///
    /// The file is synced first. What a predecessor wrote and never synced has been read, and is
    /// about to be relied on.
    pub fn new(disk: D, end: End) -> Self {
        let mut log = Log::new(disk, "the lease file", end);
        log.trim();
        // A failure is remembered, and told to the first group.
        let _ = log.sync();
        Commit { log, rewrite: None, lost: None, busy: false, piece: PIECE, room: ROOM }
    }

    /// There is much to do from here on: the files get room ahead of their records.
    pub fn busy(&mut self) {
        self.busy = true;
    }

    /// There is nothing to do: the room is cut off, and there will be no more of it.
    pub fn calm(&mut self) {
        self.busy = false;
        self.log.trim();
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.log.trim();
        }
    }

    /// Appends records to the group that is open. Whether that worked is told by [`Self::sync`].
    pub fn write(&mut self, records: &[u8]) {
        let room = if self.busy { self.room } else { 0 };
        self.log.write(records, room);
        if let Some(rewrite) = &mut self.rewrite {
            // While it is being filled nobody waits for it.
            let room = if rewrite.phase == Phase::Whole { room } else { 0 };
            rewrite.log.write(records, room);
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
        let log = Log::new(disk, "the new lease file", End::default());
        self.rewrite = Some(Rewrite { log, phase: Phase::Filling });
        self.lost = None;
        true
    }

    /// Appends to the new file only.
    pub fn snapshot(&mut self, records: &[u8]) {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.log.write(records, 0);
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
                // It may have another name, under which somebody keeps it.
                self.log.trim();
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
mod tests;
