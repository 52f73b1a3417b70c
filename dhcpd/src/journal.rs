//! Makes lease records durable, on a thread of its own, many at once.
//!
//! The server gives what a batch of packets changed to [`Journal::commit`], and with it what must wait:
//! the ACKs. The thread takes whatever has come in since its last sync, writes it in one piece, syncs
//! once, and releases what has waited, so that an ACK needs no second thread to wake up; while it
//! does so the server reads the next packets. [`Journal::done`] tells what has become of the records,
//! and gives back what has waited.
//!
//! Not here: what is durable when (`commit`), and the names of files. The server may open nothing:
//! the descriptors come from the parent, and so does the word that a rename has been done.

pub mod commit;
mod file;
#[cfg(test)]
mod kill_tests;
mod queue;
#[cfg(test)]
mod tests;
mod worker;

pub use commit::Failure;
pub use file::LogFile;
pub(crate) use worker::Worker;

use commit::{Commit, Disk};
use queue::{Entry, Shared};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How many bytes of records may wait for the disk, those being written included.
pub const MAX_WAITING: usize = 8 * 1024 * 1024;
/// The most that one [`Journal::commit`] takes, in bytes.
pub const MAX_COMMIT: usize = 1024 * 1024;

/// How much a journal takes: the simulator's has little room, to come to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// As [`MAX_WAITING`].
    pub(crate) waiting: usize,
    /// As [`MAX_COMMIT`].
    pub(crate) commit: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { waiting: MAX_WAITING, commit: MAX_COMMIT }
    }
}

/// Counts commits, from 1.
pub type Seq = u64;

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All commits up to this one that have not been told of yet: on disk, or not.
    Done {
        /// The last of them.
        upto: Seq,
        /// Ok: no crash can lose them. Else none of them may be acknowledged.
        result: Result<(), Failure>,
    },
    /// What was given to [`Journal::snapshot`] has been taken: there may be more.
    SnapshotTaken,
    /// The new file has every lease, durably: it may be renamed. Until the word comes that it has
    /// been, both files get every record.
    Rewritten,
    /// The rewrite had to be given up; the old file goes on.
    RewriteFailed(Failure),
}

/// Why a commit was not taken: too much is waiting for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The server's end of it.
///
/// `B` is what waits for a commit.
pub struct Journal<D = LogFile, B = ()> {
    shared: Arc<Shared<D, B>>,
    wake: PipeReader,
    room: Room,
    last: Seq,
    /// The rewrite that is under way, and how many have been begun.
    rewrite: Option<u64>,
    rewrites: u64,
}

impl<B: Send + 'static> Journal<LogFile, B> {
    /// Starts the thread, which goes on at the end of `file`. There `release` gets what has waited for
    /// commits once they are on disk, with their numbers: those of one sync at once, in the order of
    /// the commits; what waits for one that failed it never gets.
    ///
    /// The thread has the signal mask and the system call filter of its caller: it is started after
    /// signals have been blocked and the process confined.
    ///
    /// # Errors
    /// If there is no reading the end of the file, no pipe or no thread.
    pub fn start(
        file: OwnedFd,
        release: impl FnMut(&[(Seq, B)]) + Send + 'static,
    ) -> io::Result<Self> {
        let file = LogFile::new(file);
        let end = file.end()?;
        let (journal, waker) = Journal::new(Room::default())?;
        let shared = Arc::clone(&journal.shared);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            Worker::new(shared, Commit::new(file, end), waker).run(release);
        })?;
        Ok(journal)
    }
}

impl<D: Disk, B> Journal<D, B> {
    /// A journal that nobody attends to yet, and what wakes the server.
    fn new(room: Room) -> io::Result<(Self, PipeWriter)> {
        let (wake, waker) = io::pipe()?;
        let shared = Arc::new(Shared::new());
        Ok((Journal { shared, wake, room, last: 0, rewrite: None, rewrites: 0 }, waker))
    }

    /// A journal without a thread: the caller takes the worker's turns.
    #[cfg(test)]
    pub(crate) fn by_turns(file: D, room: Room, piece: u64) -> io::Result<(Self, Worker<D, B>)> {
        let end = file.end()?;
        let (journal, waker) = Journal::new(room)?;
        let mut commit = Commit::new(file, end);
        (commit.piece, commit.room) = (piece, piece);
        let worker = Worker::new(Arc::clone(&journal.shared), commit, waker);
        Ok((journal, worker))
    }

    /// Whether the next commit will be taken. Packets should stay where they are while it will not.
    pub fn has_room(&self) -> bool {
        self.shared.queue().waiting <= self.room.waiting - self.room.commit
    }

    /// Queues whole records for the next group. Their order is the order of the calls. If they are
    /// taken, so is `batch`, which waits for them.
    ///
    /// What becomes of them is not told at once unless [`Self::ring`] asks for it, or it is a
    /// failure.
    ///
    /// # Errors
    /// [`Full`] when nothing was taken: more than [`MAX_WAITING`] would wait, or these are more than
    /// [`MAX_COMMIT`].
    pub fn commit(&mut self, records: &[u8], batch: &mut Option<B>) -> Result<Seq, Full> {
        let mut queue = self.shared.queue();
        if records.len() > self.room.commit || queue.waiting + records.len() > self.room.waiting {
            return Err(Full);
        }
        self.last += 1;
        let upto = self.last;
        queue.waiting += records.len();
        queue.bytes.extend_from_slice(records);
        queue.batches.extend(batch.take().map(|batch| (upto, batch)));
        let end = queue.bytes.len();
        // Commits that follow one another are one.
        if let Some(Entry::Commit { upto: last, end: last_end }) = queue.entries.last_mut() {
            (*last, *last_end) = (upto, end);
        } else {
            queue.entries.push(Entry::Commit { upto, end });
        }
        self.shared.filled(queue);
        Ok(upto)
    }

    /// Wakes the server when all that has been committed so far is on disk, or is known never to be.
    pub fn ring(&mut self) {
        self.order(Entry::Ring);
    }

    /// Tells what has happened since the last call, in place of what was told then, and gives back
    /// what has waited, in addition to what is in `finished`. To be called when the descriptor is
    /// readable, and at any other time.
    pub fn done(&mut self, events: &mut Vec<Event>, finished: &mut Vec<(Seq, B)>) {
        if self.shared.take(self.rewrite, events, finished) {
            // The one byte that goes with these events; an error could only mean that it is gone.
            let _ = read_byte(&mut self.wake);
        }
        if events.iter().any(|event| matches!(event, Event::RewriteFailed(_))) {
            self.rewrite = None;
        }
    }

    /// Begins to write a new lease file. `file` is empty, and not yet the one that would be found
    /// after a crash. False, and nothing happens, while another is under way.
    ///
    /// Afterwards, in any order and while commits go on: [`Self::snapshot`] until every lease has
    /// been given, [`Self::end_snapshot`], then [`Event::Rewritten`], and [`Self::switch`] or
    /// [`Self::abandon_rewrite`].
    pub fn begin_rewrite(&mut self, file: D) -> bool {
        if self.rewrite.is_some() {
            return false;
        }
        self.rewrites += 1;
        self.rewrite = Some(self.rewrites);
        self.order(Entry::Begin(file, self.rewrites));
        true
    }

    /// Appends leases to the new file only; [`Event::SnapshotTaken`] asks for the next ones.
    ///
    /// They need not be of one moment. Only this: a lease must not be given as it was before a
    /// record that has been committed, because what is given later counts.
    pub fn snapshot(&mut self, records: &[u8]) {
        let mut queue = self.shared.queue();
        queue.bytes.extend_from_slice(records);
        let end = queue.bytes.len();
        queue.entries.push(Entry::Snapshot { end });
        self.shared.filled(queue);
    }

    /// Every lease has been given.
    pub fn end_snapshot(&mut self) {
        self.order(Entry::EndSnapshot);
    }

    /// The new file has the lease file's name, and the directory has been synced: only it is
    /// written from here on.
    ///
    /// Never before both are true. If the directory could not be synced, either file may be found
    /// after a crash, and both must go on to get every record.
    pub fn switch(&mut self) {
        self.rewrite = None;
        self.order(Entry::Switch);
    }

    /// The new file has not got the name and never will: only the old one is written from here on.
    pub fn abandon_rewrite(&mut self) {
        self.rewrite = None;
        self.order(Entry::Abandon);
    }

    /// Has the thread finish what it has been given, and waits for its end: the lease file is text
    /// without room behind it then.
    pub fn end(mut self) {
        self.close();
        // The thread's end of the pipe is closed with it.
        let _ = self.wake.read_to_end(&mut Vec::new());
    }

    fn order(&self, entry: Entry<D>) {
        let mut queue = self.shared.queue();
        queue.entries.push(entry);
        self.shared.filled(queue);
    }
}

impl<D, B> Journal<D, B> {
    fn close(&self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        self.shared.filled(queue);
    }
}

/// Readable when there is something to hear at once.
impl<D, B> AsFd for Journal<D, B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// The thread finishes what it has been given, and ends.
impl<D, B> Drop for Journal<D, B> {
    fn drop(&mut self) {
        self.close();
    }
}

fn read_byte(wake: &mut PipeReader) -> io::Result<()> {
    let mut byte = [0];
    loop {
        match wake.read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            other => return other.map(|_| ()),
        }
    }
}
