//! The journal's thread, and what it shares with the server.
//!
//! It waits on a condition, takes everything that is queued, drives `commit` with it, and releases
//! what has waited for that. It writes one byte to a pipe when there is something that the server
//! must hear now; the rest is heard when the server comes by. It holds the lock only to swap
//! buffers: never over a write, a sync or a send. Without the thread, a simulator does the same turn
//! by turn.

use super::commit::{Commit, Disk};
use super::{Event, Seq};
use std::collections::VecDeque;
use std::io::{ErrorKind, PipeWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many turns without a pause between them are much to do.
const MANY: usize = 32;
/// A pause: so long there was nothing to do.
const PAUSE: Duration = Duration::from_millis(200);

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
    /// What becomes of all that was queued before is to be heard at once.
    Ring,
}

/// Both directions.
pub(super) struct Queue<D, B> {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry<D>>,
    /// What waits for a commit, oldest first.
    pub(super) batches: VecDeque<(Seq, B)>,
    /// Bytes of commits that have not been told of as done.
    pub(super) waiting: usize,
    pub(super) closed: bool,
    /// Each with the number of the rewrite it belongs to, if it is about one.
    events: Vec<(Option<u64>, Event)>,
    /// What has waited, and does no more: released if its commit succeeded.
    finished: Vec<(Seq, B)>,
    /// A byte is in the pipe, or about to be: never more than one.
    signalled: bool,
}

/// What the thread does next.
enum Next {
    Turn,
    Pause,
    End,
}

pub(super) struct Shared<D, B> {
    queue: Mutex<Queue<D, B>>,
    condition: Condvar,
}

impl<D, B> Shared<D, B> {
    pub(super) fn new() -> Self {
        let queue = Queue {
            bytes: Vec::new(),
            entries: Vec::new(),
            batches: VecDeque::new(),
            waiting: 0,
            closed: false,
            events: Vec::new(),
            finished: Vec::new(),
            signalled: false,
        };
        Shared { queue: Mutex::new(queue), condition: Condvar::new() }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<D, B>> {
        // Every change under the lock is whole; there is nothing a panic could leave half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is work.
    pub(super) fn filled(&self) {
        self.condition.notify_one();
    }

    /// Waits for work, or the end of it; if `pause`, not for longer than one.
    fn wait(&self, pause: bool) -> Next {
        let idle = |queue: &mut Queue<D, B>| queue.entries.is_empty() && !queue.closed;
        let (queue, condition) = (self.queue(), &self.condition);
        let queue = if pause {
            let waited = condition.wait_timeout_while(queue, PAUSE, idle);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            condition.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner)
        };
        match (queue.entries.is_empty(), queue.closed) {
            (false, _) => Next::Turn,
            (true, true) => Next::End,
            (true, false) => Next::Pause,
        }
    }

    /// Moves the events out, but for those of a rewrite that is not under way any more, and what has
    /// waited. True if a byte has to be read from the pipe.
    pub(super) fn take(
        &self,
        rewrite: Option<u64>,
        events: &mut Vec<Event>,
        finished: &mut Vec<(Seq, B)>,
    ) -> bool {
        let mut queue = self.queue();
        finished.append(&mut queue.finished);
        let current = queue.events.drain(..).filter(|(of, _)| of.is_none() || *of == rewrite);
        events.clear();
        events.extend(current.map(|(_, event)| event));
        std::mem::take(&mut queue.signalled)
    }
}

/// What the thread does.
pub(crate) struct Worker<D, B> {
    shared: Arc<Shared<D, B>>,
    commit: Commit<D>,
    waker: PipeWriter,
    /// The number of the rewrite that was begun last.
    rewrite: u64,
    /// The group that is open: its last commit, and its bytes.
    group: Option<(Seq, usize)>,
    /// The server is to hear of what this turn does.
    ring: bool,
    /// What waits for commits that are not done, oldest first.
    batches: VecDeque<(Seq, B)>,
    /// What was taken from the queue, kept for its memory.
    bytes: Vec<u8>,
    entries: Vec<Entry<D>>,
    finished: Vec<(Seq, B)>,
}

impl<D: Disk, B> Worker<D, B> {
    pub(super) fn new(shared: Arc<Shared<D, B>>, commit: Commit<D>, waker: PipeWriter) -> Self {
        Worker {
            shared,
            commit,
            waker,
            rewrite: 0,
            group: None,
            ring: false,
            batches: VecDeque::new(),
            bytes: Vec::new(),
            entries: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Does whatever comes, until the queue is closed and empty. `release` gets what has waited for
    /// commits once they are on disk: those of one sync at once, in the order of the commits.
    pub(super) fn run(mut self, mut release: impl FnMut(&[(Seq, B)])) {
        let mut turns = 0;
        loop {
            match self.shared.wait(turns > 0) {
                Next::Turn => {
                    turns += 1;
                    if turns == MANY {
                        self.busy();
                    }
                    self.turn(&mut release);
                }
                Next::Pause => {
                    turns = 0;
                    self.calm();
                }
                Next::End => {
                    self.calm();
                    return;
                }
            }
        }
    }

    /// There is much to do from here on.
    pub(crate) fn busy(&mut self) {
        self.commit.busy();
    }

    /// There is nothing to do.
    pub(crate) fn calm(&mut self) {
        self.commit.calm();
    }

    /// Does what is queued; see [`Self::run`].
    pub(crate) fn turn(&mut self, release: &mut impl FnMut(&[(Seq, B)])) {
        let (mut bytes, mut entries) =
            (std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
        {
            let mut queue = self.shared.queue();
            std::mem::swap(&mut bytes, &mut queue.bytes);
            std::mem::swap(&mut entries, &mut queue.entries);
            self.batches.append(&mut queue.batches);
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
                Entry::Ring => self.ring = true,
                order => {
                    self.close_group(release);
                    self.obey(order);
                }
            }
            if let Some(failure) = self.commit.lost_rewrite() {
                self.tell(Event::RewriteFailed(failure), 0);
            }
        }
        self.close_group(release);
        bytes.clear();
        (self.bytes, self.entries) = (bytes, entries);
        if std::mem::take(&mut self.ring) {
            let queue = self.shared.queue();
            self.signal(queue);
        }
    }

    fn close_group(&mut self, release: &mut impl FnMut(&[(Seq, B)])) {
        let Some((upto, size)) = self.group.take() else { return };
        let result = self.commit.sync();
        let of_these = self.batches.partition_point(|(seq, _)| *seq <= upto);
        // Whatever was there from an earlier group was taken away when that was told of.
        self.finished.extend(self.batches.drain(..of_these));
        if result.is_ok() && !self.finished.is_empty() {
            release(&self.finished);
        }
        self.tell(Event::Done { upto, result }, size);
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
            Entry::Commit { .. } | Entry::Snapshot { .. } | Entry::Ring => (),
        }
    }

    /// Tells the server, at once unless a group is on disk and nobody asked; `size` bytes wait no
    /// longer.
    fn tell(&mut self, event: Event, size: usize) {
        let mut queue = self.shared.queue();
        queue.waiting = queue.waiting.saturating_sub(size);
        queue.finished.append(&mut self.finished);
        let (of, can_wait) = match event {
            Event::Done { ref result, .. } => (None, result.is_ok()),
            Event::SnapshotTaken | Event::Rewritten | Event::RewriteFailed(_) => {
                (Some(self.rewrite), false)
            }
        };
        queue.events.push((of, event));
        if !can_wait {
            self.signal(queue);
        }
    }

    fn signal(&self, mut queue: MutexGuard<'_, Queue<D, B>>) {
        let signal = !std::mem::replace(&mut queue.signalled, true);
        drop(queue);
        while signal
            && let Err(error) = (&self.waker).write_all(&[1])
            && error.kind() == ErrorKind::Interrupted
        {}
    }
}
