//! What the server and the journal's thread share: orders one way, word of them the other, and how the
//! thread waits for orders.
//!
//! A thread that sleeps takes some 30 microseconds until it runs on another processor, a sixth of the
//! time an ACK takes. So while orders come one by one, but fast, the thread looks out for the next for
//! a moment before it goes to sleep: with 5,400 leases a second that takes a fifth off the median.
//! Where many come at once it would only keep a processor from whoever has more of them to send.
//!
//! Not here: what an order means (`worker`).

use super::{Event, Seq};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A pause: so long there was nothing to do.
const PAUSE: Duration = Duration::from_millis(200);
/// So long the thread looks out for work.
const MOMENT: Duration = Duration::from_micros(100);
/// So many bytes of records are few: three of them.
const FEW: usize = 512;

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
    pub(super) events: Vec<(Option<u64>, Event)>,
    /// What has waited, and does no more: released if its commit succeeded.
    pub(super) finished: Vec<(Seq, B)>,
    /// A byte is in the pipe, or about to be: never more than one.
    pub(super) signalled: bool,
    /// The thread is asleep, or about to be.
    asleep: bool,
}

impl<D, B> Queue<D, B> {
    fn is_idle(&self) -> bool {
        self.entries.is_empty() && !self.closed
    }
}

/// What the thread does next.
pub(super) enum Next {
    Turn,
    Pause,
    End,
}

/// Whether it pays to look out for work: it does while more often than not little of it comes, and
/// that within a moment.
#[derive(Debug, Default)]
pub(super) struct Lookout(u8);

impl Lookout {
    /// Beyond this, more of it means nothing: so many moments in vain, and it is over.
    const MOST: u8 = 8;

    fn pays(&self) -> bool {
        self.0 > 0
    }

    /// So many bytes of records have come after so long.
    fn came(&mut self, bytes: usize, after: Duration) {
        let good = bytes <= FEW && after <= MOMENT;
        self.0 = if good { Self::MOST.min(self.0 + 1) } else { self.0.saturating_sub(1) };
    }
}

pub(super) struct Shared<D, B> {
    queue: Mutex<Queue<D, B>>,
    condition: Condvar,
    /// There is something in the queue. Changed under its lock, and looked at without it.
    filled: AtomicBool,
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
            asleep: false,
        };
        let (queue, condition) = (Mutex::new(queue), Condvar::new());
        Shared { queue, condition, filled: AtomicBool::new(false) }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<D, B>> {
        // Every change under the lock is whole; there is nothing a panic could leave half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is work in `queue`: lets go of it, and has the thread come.
    pub(super) fn filled(&self, queue: MutexGuard<'_, Queue<D, B>>) {
        self.filled.store(true, Ordering::Relaxed);
        let asleep = queue.asleep;
        drop(queue);
        if asleep {
            self.condition.notify_one();
        }
    }

    /// Waits for work, or the end of it; if `pause`, not for longer than one.
    pub(super) fn wait(&self, pause: bool, lookout: &mut Lookout) -> Next {
        let since = Instant::now();
        while lookout.pays() && !self.filled.load(Ordering::Relaxed) && since.elapsed() < MOMENT {
            std::hint::spin_loop();
        }
        let (mut queue, condition) = (self.queue(), &self.condition);
        queue.asleep = true;
        let mut queue = if pause {
            let waited = condition.wait_timeout_while(queue, PAUSE, |queue| queue.is_idle());
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let waited = condition.wait_while(queue, |queue| queue.is_idle());
            waited.unwrap_or_else(PoisonError::into_inner)
        };
        queue.asleep = false;
        lookout.came(queue.bytes.len(), since.elapsed());
        match (queue.entries.is_empty(), queue.closed) {
            (false, _) => Next::Turn,
            (true, true) => Next::End,
            (true, false) => Next::Pause,
        }
    }

    /// Moves the orders, and the bytes they are about, into what is given, which is empty; what waits
    /// for them goes behind what has waited longer.
    pub(super) fn orders(
        &self,
        bytes: &mut Vec<u8>,
        entries: &mut Vec<Entry<D>>,
        batches: &mut VecDeque<(Seq, B)>,
    ) {
        let mut queue = self.queue();
        std::mem::swap(bytes, &mut queue.bytes);
        std::mem::swap(entries, &mut queue.entries);
        batches.append(&mut queue.batches);
        self.filled.store(false, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_look_out_pays_while_it_is_worth_it() {
        let (soon, late) = (MOMENT, MOMENT + Duration::from_nanos(1));
        let mut lookout = Lookout::default();
        assert!(!lookout.pays());
        lookout.came(FEW, late);
        lookout.came(FEW + 1, soon);
        assert!(!lookout.pays());
        for _ in 0..1000 {
            lookout.came(FEW, soon);
            assert!(lookout.pays());
        }
        // However long it has been worth it, few moments are given to an end of that.
        let in_vain = (0..).take_while(|_| {
            let paid = lookout.pays();
            lookout.came(0, late);
            paid
        });
        assert_eq!(in_vain.count(), usize::from(Lookout::MOST));
        // Seldom is not enough: one in three.
        let mut moments = 0;
        for n in 0..300 {
            moments += usize::from(lookout.pays());
            lookout.came(0, if n % 3 == 0 { soon } else { late });
        }
        assert_eq!(moments, 100);
    }

    /// What comes while the thread looks out, and when it has gone to sleep, and in between.
    #[test]
    fn nothing_that_comes_is_slept_over() {
        let shared = Shared::<(), ()>::new();
        let taken = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut lookout = Lookout::default();
                let (mut bytes, mut entries, mut batches) = Default::default();
                let mut turns = 0;
                while let Next::Turn = shared.wait(false, &mut lookout) {
                    shared.orders(&mut bytes, &mut entries, &mut batches);
                    turns += entries.len();
                    entries.clear();
                    // Often enough the server comes when the thread is about to look out or sleep.
                    lookout = Lookout((turns % 2) as u8);
                }
                turns
            });
            let mut given = 0;
            let deadline = Instant::now() + Duration::from_secs(60);
            for n in 0..20_000 {
                let mut queue = shared.queue();
                queue.entries.push(Entry::Ring);
                shared.filled(queue);
                // Waits until it has been taken, every time a little longer: up to two moments.
                given += 1;
                while shared.filled.load(Ordering::Relaxed) && Instant::now() < deadline {
                    std::hint::spin_loop();
                }
                let since = Instant::now();
                while since.elapsed() < MOMENT * (n % 100) / 50 {
                    std::hint::spin_loop();
                }
            }
            let mut queue = shared.queue();
            queue.closed = true;
            shared.filled(queue);
            // A thread that slept over something is to come to an end.
            let late = Instant::now() >= deadline;
            shared.condition.notify_one();
            assert!(!late, "{given} were given");
            thread.join().unwrap()
        });
        assert_eq!(taken, 20_000);
    }
}
