//! The journal's thread, and what it shares with the server.
//!
//! It waits on a condition, takes everything that is queued, drives `commit` with it, and writes one
//! byte to a pipe when there is something to tell. It holds the lock only to swap buffers: never
//! over a write or a sync. Without the thread, a simulator does the same turn by turn.

use super::commit::{Commit, Disk};
use super::{Event, Seq};
use std::io::{ErrorKind, PipeWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// One order, for the bytes of the queue from the previous entry's end to its own.
pub(super) enum Entry<D> {
    Commit {
        upto: Seq,
        end: usize,
    },
    Snapshot {
        end: usize,
    },
    /// With the number of the rewrite.
    Begin(D, u64),
    EndSnapshot,
    Switch,
    Abandon,
}

/// Both directions.
pub(super) struct Queue<D> {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry<D>>,
    /// Bytes of commits that have not been told of as done.
    pub(super) waiting: usize,
    pub(super) closed: bool,
    /// Each with the number of the rewrite it belongs to, if it is about one.
    events: Vec<(Option<u64>, Event)>,
    /// A byte is in the pipe, or about to be: never more than one.
    signalled: bool,
}

pub(super) struct Shared<D> {
    queue: Mutex<Queue<D>>,
    condition: Condvar,
}

impl<D> Shared<D> {
    pub(super) fn new() -> Self {
        let queue = Queue {
            bytes: Vec::new(),
            entries: Vec::new(),
            waiting: 0,
            closed: false,
            events: Vec::new(),
            signalled: false,
        };
        Shared { queue: Mutex::new(queue), condition: Condvar::new() }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<D>> {
        // Every change under the lock is whole; there is nothing a panic could leave half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is work.
    pub(super) fn filled(&self) {
        self.condition.notify_one();
    }

    /// Moves the events out, but for those of a rewrite that is not under way any more. True if a
    /// byte has to be read from the pipe.
    pub(super) fn take(&self, rewrite: Option<u64>, events: &mut Vec<Event>) -> bool {
        let mut queue = self.queue();
        let current = queue.events.drain(..).filter(|(of, _)| of.is_none() || *of == rewrite);
        events.clear();
        events.extend(current.map(|(_, event)| event));
        std::mem::take(&mut queue.signalled)
    }
}

/// What the thread does.
pub(crate) struct Worker<D> {
    shared: Arc<Shared<D>>,
    commit: Commit<D>,
    waker: PipeWriter,
    /// The number of the rewrite that was begun last.
    rewrite: u64,
    /// The group that is open: its last commit, and its bytes.
    group: Option<(Seq, usize)>,
    /// What was taken from the queue, kept for its memory.
    bytes: Vec<u8>,
    entries: Vec<Entry<D>>,
}

impl<D: Disk> Worker<D> {
    pub(super) fn new(shared: Arc<Shared<D>>, commit: Commit<D>, waker: PipeWriter) -> Self {
        let (bytes, entries) = (Vec::new(), Vec::new());
        Worker { shared, commit, waker, rewrite: 0, group: None, bytes, entries }
    }

    /// Does whatever comes, until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            {
                let mut queue = self.shared.queue();
                while queue.entries.is_empty() {
                    if queue.closed {
                        return;
                    }
                    let condition = &self.shared.condition;
                    queue = condition.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            }
            self.turn();
        }
    }

    /// Does what is queued.
    pub(crate) fn turn(&mut self) {
        let (mut bytes, mut entries) =
            (std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
        {
            let mut queue = self.shared.queue();
            std::mem::swap(&mut bytes, &mut queue.bytes);
            std::mem::swap(&mut entries, &mut queue.entries);
        }
        let mut start = 0;
        for entry in entries.drain(..) {
            match entry {
                Entry::Commit { upto, end } => {
                    let records = bytes.get(start..end).unwrap_or_default();
                    self.commit.write(records);
                    let (_, size) = self.group.unwrap_or_default();
                    self.group = Some((upto, size + records.len()));
                    start = end;
                }
                Entry::Snapshot { end } => {
                    self.commit.snapshot(bytes.get(start..end).unwrap_or_default());
                    self.tell(Event::SnapshotTaken, 0);
                    start = end;
                }
                order => {
                    self.close_group();
                    self.obey(order);
                }
            }
            if let Some(failure) = self.commit.lost_rewrite() {
                self.tell(Event::RewriteFailed(failure), 0);
            }
        }
        self.close_group();
        bytes.clear();
        (self.bytes, self.entries) = (bytes, entries);
    }

    fn close_group(&mut self) {
        if let Some((upto, size)) = self.group.take() {
            let result = self.commit.sync();
            self.tell(Event::Done { upto, result }, size);
        }
    }

    fn obey(&mut self, order: Entry<D>) {
        match order {
            Entry::Begin(file, rewrite) => {
                self.rewrite = rewrite;
                // The server has been kept from beginning another while one is whole.
                self.commit.begin_rewrite(file);
            }
            Entry::EndSnapshot => {
                if self.commit.end_snapshot() {
                    self.tell(Event::Rewritten, 0);
                }
            }
            Entry::Switch => {
                self.commit.switch();
            }
            Entry::Abandon => self.commit.abandon_rewrite(),
            Entry::Commit { .. } | Entry::Snapshot { .. } => (),
        }
    }

    /// Tells the server; `finished` bytes wait no longer.
    fn tell(&mut self, event: Event, finished: usize) {
        let mut queue = self.shared.queue();
        queue.waiting = queue.waiting.saturating_sub(finished);
        let of = match event {
            Event::Done { .. } => None,
            Event::SnapshotTaken | Event::Rewritten | Event::RewriteFailed(_) => Some(self.rewrite),
        };
        queue.events.push((of, event));
        let signal = !std::mem::replace(&mut queue.signalled, true);
        drop(queue);
        while signal
            && let Err(error) = self.waker.write_all(&[1])
            && error.kind() == ErrorKind::Interrupted
        {}
    }
}
