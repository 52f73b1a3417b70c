//! The journal's thread: takes everything that is queued, drives `commit` with it, and releases what
//! has waited for that. It writes one byte to a pipe when there is something that the server must
//! hear now; the rest is heard when the server comes by. It holds the queue's lock only to swap
//! buffers: never over a write, a sync or a send. Without the thread, a simulator does the same turn
//! by turn.
//!
//! Not here: how the thread waits (`queue`).

use super::commit::{Commit, Disk};
use super::queue::{Entry, Lookout, Next, Queue, Shared};
use super::{Event, Seq};
use std::collections::VecDeque;
use std::io::{ErrorKind, PipeWriter, Write};
use std::sync::{Arc, MutexGuard};

/// So many turns without a pause between them are much to do.
const MANY: usize = 32;

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
        let mut lookout = Lookout::default();
        let mut turns = 0;
        loop {
            match self.shared.wait(turns > 0, &mut lookout) {
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
        self.shared.orders(&mut bytes, &mut entries, &mut self.batches);
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
