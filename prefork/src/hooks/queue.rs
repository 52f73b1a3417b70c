//! Which hook runs when: how many at a time, in which order, and for how long. Pure: events and the
//! time come in, what is to be done comes out.
//!
//! Hooks of one key (an address, a resource) run one after the other, in the order in which their
//! events came, or the last one to write would not be the one that is true. Those of different keys
//! run side by side. Nothing grows without a bound: what does not fit is dropped, and counted.

use std::collections::VecDeque;

/// What is kept within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many run at a time.
    pub at_once: usize,
    /// How many may wait.
    pub waiting: usize,
    /// How long one may run, in milliseconds; then it is told to end (SIGTERM).
    pub time: u64,
    /// How long after that it may go on, in milliseconds; then it is killed.
    pub grace: u64,
}

/// A hook that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<E> {
    /// Start this one, and say [`Queue::ended`] when it has ended, or could not be started.
    Start(Ticket, E),
    /// Ask it, and all that it has started, to end.
    Terminate(Ticket),
    /// Kill it, and all that it has started.
    Kill(Ticket),
    /// So many events have been dropped since this was last told.
    Dropped(u64),
}

struct Running {
    ticket: Ticket,
    key: Vec<u8>,
    /// When the next thing happens to it.
    due: u64,
    told: bool,
}

/// The hooks that run and those that wait.
pub struct Queue<E> {
    limits: Limits,
    running: Vec<Running>,
    waiting: VecDeque<(Vec<u8>, E)>,
    dropped: u64,
    next: u64,
}

impl<E> Queue<E> {
    /// An empty one.
    pub fn new(limits: Limits) -> Queue<E> {
        Queue { limits, running: Vec::new(), waiting: VecDeque::new(), dropped: 0, next: 0 }
    }

    /// An event, and what it is about.
    pub fn push(&mut self, key: Vec<u8>, event: E, now: u64, actions: &mut Vec<Action<E>>) {
        if self.waiting.len() >= self.limits.waiting {
            self.dropped += 1;
        } else {
            self.waiting.push_back((key, event));
        }
        self.start(now, actions);
    }

    /// One has ended.
    pub fn ended(&mut self, ticket: Ticket, now: u64, actions: &mut Vec<Action<E>>) {
        self.running.retain(|running| running.ticket != ticket);
        self.start(now, actions);
    }

    /// Whatever the time brings.
    pub fn tick(&mut self, now: u64, actions: &mut Vec<Action<E>>) {
        for running in &mut self.running {
            if now < running.due {
                continue;
            }
            actions.push(if running.told {
                // Nothing survives this; should the shell be slow to hear of it, ask again.
                Action::Kill(running.ticket)
            } else {
                Action::Terminate(running.ticket)
            });
            running.told = true;
            running.due = now.saturating_add(self.limits.grace);
        }
        if self.dropped > 0 {
            actions.push(Action::Dropped(std::mem::take(&mut self.dropped)));
        }
    }

    /// When [`Queue::tick`] is due: a hook's time ends, or a loss is to be told.
    pub fn due(&self, now: u64) -> Option<u64> {
        let told = (self.dropped > 0).then_some(now.saturating_add(1_000));
        self.running.iter().map(|running| running.due).chain(told).min()
    }

    /// How many run, and how many wait.
    pub fn lengths(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    fn start(&mut self, now: u64, actions: &mut Vec<Action<E>>) {
        while self.running.len() < self.limits.at_once {
            let busy = |key: &[u8]| self.running.iter().any(|running| running.key == key);
            let Some(at) = self.waiting.iter().position(|(key, _)| !busy(key)) else { return };
            let Some((key, event)) = self.waiting.remove(at) else { return };
            let ticket = Ticket(self.next);
            self.next += 1;
            let due = now.saturating_add(self.limits.time);
            self.running.push(Running { ticket, key, due, told: false });
            actions.push(Action::Start(ticket, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { at_once: 2, waiting: 3, time: 1000, grace: 100 };

    fn push(queue: &mut Queue<u32>, key: &str, event: u32, now: u64) -> Vec<Action<u32>> {
        let mut actions = Vec::new();
        queue.push(key.into(), event, now, &mut actions);
        actions
    }

    fn tick(queue: &mut Queue<u32>, now: u64) -> Vec<Action<u32>> {
        let mut actions = Vec::new();
        queue.tick(now, &mut actions);
        actions
    }

    #[test]
    fn one_key_after_the_other() {
        let mut queue = Queue::new(LIMITS);
        assert_eq!(push(&mut queue, "a", 1, 0), [Action::Start(Ticket(0), 1)]);
        assert_eq!(push(&mut queue, "a", 2, 0), []);
        assert_eq!(push(&mut queue, "b", 3, 0), [Action::Start(Ticket(1), 3)]);
        assert_eq!(push(&mut queue, "c", 4, 0), []);
        let mut actions = Vec::new();
        queue.ended(Ticket(1), 1, &mut actions);
        assert_eq!(actions, [Action::Start(Ticket(2), 4)]);
        actions.clear();
        queue.ended(Ticket(0), 1, &mut actions);
        assert_eq!(actions, [Action::Start(Ticket(3), 2)]);
        assert_eq!(queue.lengths(), (2, 0));
    }

    #[test]
    fn who_hangs_is_ended() {
        let mut queue = Queue::new(LIMITS);
        push(&mut queue, "a", 1, 0);
        assert_eq!(queue.due(0), Some(1000));
        assert_eq!(tick(&mut queue, 999), []);
        assert_eq!(tick(&mut queue, 1000), [Action::Terminate(Ticket(0))]);
        assert_eq!(tick(&mut queue, 1000), []);
        assert_eq!(tick(&mut queue, 1100), [Action::Kill(Ticket(0))]);
        assert_eq!(tick(&mut queue, 1200), [Action::Kill(Ticket(0))]);
        queue.ended(Ticket(0), 1200, &mut Vec::new());
        assert_eq!((queue.due(1200), tick(&mut queue, 9999)), (None, vec![]));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut queue = Queue::new(LIMITS);
        for event in 0..10 {
            push(&mut queue, "a", event, 0);
        }
        assert_eq!(queue.lengths(), (1, 3));
        assert_eq!(queue.due(0), Some(1000));
        assert_eq!(tick(&mut queue, 500), [Action::Dropped(6)]);
        assert_eq!(tick(&mut queue, 501), []);
    }

    proptest! {
        #[test]
        fn never_two_of_a_key_never_out_of_order(steps in prop::collection::vec((0u8..4, any::<bool>()), 0..200)) {
            let mut queue = Queue::new(Limits { at_once: 3, waiting: 50, ..LIMITS });
            let (mut running, mut last) = (Vec::new(), [0u32; 4]);
            for (number, (key, push)) in (1u32..).zip(steps) {
                let mut actions = Vec::new();
                if push {
                    queue.push(vec![key], (key, number), 0, &mut actions);
                } else if !running.is_empty() {
                    let (ticket, _) = running.remove(0);
                    queue.ended(ticket, 0, &mut actions);
                }
                for action in actions {
                    let Action::Start(ticket, (key, number)) = action else { panic!("{action:?}") };
                    prop_assert!(running.iter().all(|(_, other)| *other != key));
                    prop_assert!(last[usize::from(key)] < number);
                    last[usize::from(key)] = number;
                    running.push((ticket, key));
                }
                prop_assert_eq!(queue.lengths().0, running.len());
                prop_assert!(running.len() <= 3);
            }
        }
    }
}
