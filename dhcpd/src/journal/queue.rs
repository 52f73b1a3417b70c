//! What the server and the journal's thread share: orders one way, word of them the other, and how the
//! thread waits for orders.
//!
//! A thread that sleeps takes some 30 microseconds until it runs on another processor, and every ACK
//! waits for that. So while orders come one by one, but fast, the thread looks out for the next for a
//! moment before it goes to sleep: at 5,400 leases a second that takes a fifth off the median from
//! DISCOVER to ACK, and costs a sixth of a processor. Where they come slower or many at a
//! time it sleeps: looking out would not be worth it.
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
/// So many bytes are few records: three that are not long.
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
    /// The thread is asleep, or about to be, and nobody has woken it.
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

/// Whether it pays to look out for work: it does while more than one time in three some comes within a
/// moment, and not much. The score goes from 0 to [`Self::MOST`].
#[derive(Debug, Default)]
pub(super) struct Lookout(u8);

impl Lookout {
    /// However long it has paid: after so many moments in vain the thread sleeps.
    const MOST: u8 = 8;

    fn pays(&self) -> bool {
        self.0 > 0
    }

    /// Where there was nothing, so many bytes of records have come after so long.
    fn came(&mut self, bytes: usize, after: Duration) {
        let good = bytes <= FEW && after <= MOMENT;
        self.0 = if good { Self::MOST.min(self.0 + 2) } else { self.0.saturating_sub(1) };
    }
}

pub(super) struct Shared<D, B> {
    queue: Mutex<Queue<D, B>>,
    condition: Condvar,
    /// Something has come since the thread took the orders. Changed under the queue's lock, and
    /// looked at without it.
    fresh: AtomicBool,
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
        Shared { queue, condition, fresh: AtomicBool::new(false) }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<D, B>> {
        // Every change under the lock is whole; there is nothing a panic could leave half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is work in `queue`: lets go of it, and has the thread come.
    pub(super) fn filled(&self, mut queue: MutexGuard<'_, Queue<D, B>>) {
        self.fresh.store(true, Ordering::Relaxed);
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.condition.notify_one();
        }
    }

    fn has_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// Waits for work, or the end of it; if `pause`, not for longer than one.
    pub(super) fn wait(&self, pause: bool, lookout: &mut Lookout) -> Next {
        let (idle, since) = (!self.has_fresh(), Instant::now());
        while lookout.pays() && !self.has_fresh() && since.elapsed() < MOMENT {
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
        // What was there already tells nothing.
        if idle {
            lookout.came(queue.bytes.len(), since.elapsed());
        }
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
        self.fresh.store(false, Ordering::Relaxed);
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
        // However long it has paid.
        let in_vain = (0..).take_while(|_| {
            let pays = lookout.pays();
            lookout.came(0, late);
            pays
        });
        assert_eq!(in_vain.count(), usize::from(Lookout::MOST));
        // Each that comes soon is worth two that do not.
        for (one_in, expected) in [(2, 299), (3, 200), (4, 150), (30, 20)] {
            let mut lookout = Lookout::default();
            let moments = (0..300).filter(|n| {
                let pays = lookout.pays();
                lookout.came(0, if n % one_in == 0 { soon } else { late });
                pays
            });
            assert_eq!(moments.count(), expected, "one in {one_in}");
        }
    }

    /// What comes while the thread looks out, when it has gone to sleep, and in between.
    #[test]
    fn nothing_that_comes_is_slept_over() {
        const ROUNDS: u32 = 20_000;
        let shared = Shared::<(), ()>::new();
        let (given, taken) = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let (mut bytes, mut entries, mut batches) = Default::default();
                let mut taken: u32 = 0;
                loop {
                    // A hundred times it sleeps at once, a hundred times it looks out.
                    let mut lookout = Lookout((taken / 100 % 2) as u8);
                    let Next::Turn = shared.wait(false, &mut lookout) else { return taken };
                    shared.orders(&mut bytes, &mut entries, &mut batches);
                    taken += 1;
                    entries.clear();
                }
            });
            let mut given = 0;
            while given < ROUNDS {
                let mut queue = shared.queue();
                queue.entries.push(Entry::Ring);
                shared.filled(queue);
                let since = Instant::now();
                while shared.has_fresh() && since.elapsed() < Duration::from_secs(20) {
                    std::thread::yield_now();
                }
                if shared.has_fresh() {
                    break;
                }
                given += 1;
                // Then nothing for up to two moments.
                let since = Instant::now();
                while since.elapsed() < MOMENT * (given % 100) / 50 {
                    std::hint::spin_loop();
                }
            }
            let mut queue = shared.queue();
            queue.closed = true;
            shared.filled(queue);
            // One that has slept over something would sleep on.
            shared.condition.notify_one();
            (given, thread.join().unwrap())
        });
        assert_eq!((given, taken), (ROUNDS, ROUNDS));
    }
}
