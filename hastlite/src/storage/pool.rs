//! The threads that wait for the disk, and what passes between them and the worker's own.

use super::Completion;
use super::scribe::Order;
use crate::Data;
use crate::component::Component;
use crate::engine::Token;
use crate::wire::errno::Errno;
use std::collections::VecDeque;
use std::io::{PipeWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The most writes that a thread takes at a time.
const SHARE: usize = 8;

/// One thing to do. `at` is from the component's start, and has been checked.
#[derive(Debug)]
pub struct Job {
    pub token: Token,
    pub task: Task,
}

impl Job {
    fn is_write(&self) -> bool {
        matches!(self.task, Task::Write { .. })
    }
}

#[derive(Debug)]
pub enum Task {
    /// The buffer is at least as long.
    Read {
        buffer: Vec<u8>,
        length: usize,
        at: u64,
    },
    Write {
        data: Data,
        at: u64,
    },
    Zero {
        at: u64,
        length: u64,
    },
    Discard {
        at: u64,
        length: u64,
    },
}

/// What all threads have in common.
#[derive(Debug)]
pub struct Shared {
    pub component: Component,
    /// How often something was changed, counted after it was.
    changes: AtomicU64,
    pub metaflush: AtomicBool,
    threads: usize,
    jobs: Mutex<Queue<VecDeque<Job>>>,
    job: Condvar,
    orders: Mutex<Queue<Vec<(Token, Order)>>>,
    order: Condvar,
    /// The pipe holds a byte if and only if there is something here.
    finished: Mutex<Vec<Completion>>,
    waker: PipeWriter,
}

#[derive(Debug, Default)]
struct Queue<T> {
    waiting: T,
    idle: usize,
    closing: bool,
}

/// No thread of ours panics while it holds a lock, and what it guards is always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(component: Component, waker: PipeWriter, threads: usize) -> Self {
        Self {
            component,
            changes: AtomicU64::new(0),
            metaflush: AtomicBool::new(true),
            threads,
            jobs: Mutex::default(),
            job: Condvar::new(),
            orders: Mutex::default(),
            order: Condvar::new(),
            finished: Mutex::default(),
            waker,
        }
    }

    /// Something has been changed that a flush has to cover.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub fn hand_over(&self, jobs: &mut Vec<Job>) {
        let count = jobs.len();
        let mut queue = lock(&self.jobs);
        queue.waiting.extend(jobs.drain(..));
        let wake = count.min(queue.idle);
        drop(queue);
        for _ in 0..wake {
            self.job.notify_one();
        }
    }

    pub fn order(&self, orders: &mut Vec<(Token, Order)>) {
        lock(&self.orders).waiting.append(orders);
        self.order.notify_one();
    }

    /// The next orders, all that there are; none when it is time to end.
    pub fn next_orders(&self, orders: &mut Vec<(Token, Order)>) {
        let mut queue = lock(&self.orders);
        while queue.waiting.is_empty() && !queue.closing {
            queue = wait(&self.order, queue);
        }
        std::mem::swap(&mut queue.waiting, orders);
    }

    /// All that is waiting is still done; then the threads end.
    pub fn close(&self) {
        lock(&self.jobs).closing = true;
        self.job.notify_all();
        lock(&self.orders).closing = true;
        self.order.notify_all();
    }

    /// Tells the worker's thread; nothing is left in `finished`.
    pub fn finish(&self, finished: &mut Vec<Completion>) {
        if finished.is_empty() {
            return;
        }
        let mut all = lock(&self.finished);
        if all.is_empty() {
            // Never blocks: it is the only byte. If the other end is gone nobody wants to know.
            let _ = (&self.waker).write(&[0]);
        }
        all.append(finished);
    }

    /// Takes all that is finished, into an empty vector. True if the byte in the pipe is to go.
    pub fn take(&self, into: &mut Vec<Completion>) -> bool {
        std::mem::swap(&mut *lock(&self.finished), into);
        !into.is_empty()
    }

    fn perform(&self, Job { token, task }: Job) -> Completion {
        let component = &self.component;
        let result = match task {
            Task::Read { mut buffer, length, at } => {
                let result = component.read(&mut buffer[..length], at);
                let result = result.map(|()| Some(Data::from(buffer).slice(0..length)));
                return Completion { token, result: result.map_err(Errno::from) };
            }
            Task::Write { data, at } => component.write(&data, at),
            Task::Zero { at, length } => component.zero(at, length),
            Task::Discard { at, length } => component.discard(at, length),
        };
        // A failed one may have changed something too.
        self.changed();
        Completion { token, result: result.map(|()| None).map_err(Errno::from) }
    }
}

/// What a thread does until it is time to end.
pub fn work(shared: &Shared) {
    let (mut mine, mut finished) = (Vec::new(), Vec::new());
    let mut queue = lock(&shared.jobs);
    loop {
        let Some(first) = queue.waiting.pop_front() else {
            if queue.closing {
                return;
            }
            queue.idle += 1;
            queue = wait(&shared.job, queue);
            queue.idle -= 1;
            continue;
        };
        mine.push(first);
        // Writes mostly are copies in memory: several for the price of one. What has to wait for
        // the disk is shared among all threads.
        let share = queue.waiting.len().div_ceil(shared.threads).min(SHARE);
        while mine.len() < share
            && mine.last().is_some_and(Job::is_write)
            && queue.waiting.front().is_some_and(Job::is_write)
            && let Some(next) = queue.waiting.pop_front()
        {
            mine.push(next);
        }
        drop(queue);
        finished.extend(mine.drain(..).map(|job| shared.perform(job)));
        shared.finish(&mut finished);
        queue = lock(&shared.jobs);
    }
}
