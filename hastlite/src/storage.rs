//! A worker's disk: does what an engine asks for, and tells what came of it.
//!
//! What needs no waiting is done at once, by the caller's own thread: reads of what is in the
//! system's memory, and small writes into it (see [`Pace`] for why and when not). All else is handed
//! to a few threads, in batches. Metadata, activemap and flushes have a thread of their own, which
//! does one after the other.
//!
//! Requests are done in any order: an engine does not ask for two that overlap at the same time. A
//! flush covers all that was told to be done before it was asked for. All offsets are checked:
//! nothing reaches what lies in front of the data or behind it, but map and metadata.
//!
//! Threads have the signal mask and the system call filter of who calls [`Storage::start`], so it is
//! called when the process has been confined. Nothing is opened from then on.

mod book;
mod load;
mod pace;
mod pool;
#[cfg(target_os = "linux")]
mod rules_linux;
mod scribe;
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

pub use book::Book;
pub use load::{LoadError, Loaded, dump, load};
#[cfg(target_os = "linux")]
pub use rules_linux::CALLS;

use crate::component::Component;
use crate::data::{self, Data};
use crate::engine::{Io, Token};
use crate::layout::Layout;
use crate::wire::errno::Errno;
use pace::Pace;
use pool::{Job, Shared, Task};
use scribe::{Order, Scribe};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// The longest read, bytes.
pub const LONGEST: usize = 64 << 20;

/// How it goes about its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads for what has to be waited for, besides the one for metadata.
    pub threads: usize,
    /// Reads of up to so many bytes are tried at once; 0: none.
    pub read_at_once: usize,
    /// Writes of up to so many bytes are done at once; 0: none.
    pub write_at_once: usize,
    /// Whether an activemap is on stable storage when it is done (hast.conf(5), `metaflush`).
    pub metaflush: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 4, read_at_once: 128 << 10, write_at_once: 128 << 10, metaflush: true }
    }
}

/// What has come of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The request's.
    pub token: Token,
    /// With data if it was a read.
    pub result: Result<Option<Data>, Errno>,
}

/// See the module.
#[derive(Debug)]
pub struct Storage {
    layout: Layout,
    shared: Arc<Shared>,
    wake: PipeReader,
    threads: Vec<JoinHandle<()>>,
    /// Not yet handed over.
    jobs: Vec<Job>,
    orders: Vec<(Token, Order)>,
    /// Done at once, not yet told.
    done: Vec<Completion>,
    /// Taken from the threads; kept for its room.
    taken: Vec<Completion>,
    reads: Pace,
    writes: Pace,
    pending: usize,
}

impl Storage {
    /// Starts the threads. `layout` and `book` are as [`load`] found them.
    ///
    /// # Errors
    /// There is no pipe or no thread to be had.
    pub fn start(
        component: Component,
        layout: Layout,
        book: Book,
        options: Options,
    ) -> io::Result<Self> {
        let (wake, waker) = io::pipe()?;
        let writes = if component.is_cached() { options.write_at_once } else { 0 };
        let shared = Arc::new(Shared::new(component, waker, options.threads.max(1)));
        shared.metaflush.store(options.metaflush, Ordering::Relaxed);
        let mut storage = Self {
            layout,
            shared,
            wake,
            threads: Vec::new(),
            jobs: Vec::new(),
            orders: Vec::new(),
            done: Vec::new(),
            taken: Vec::new(),
            reads: Pace::new(options.read_at_once),
            writes: Pace::new(writes),
            pending: 0,
        };
        // If one cannot be started, dropping it ends those that were.
        for _ in 0..options.threads.max(1) {
            storage.thread("disk", pool::work)?;
        }
        let scribe = Scribe::new(layout, book);
        storage.thread("metadata", move |shared| scribe.run(shared))?;
        Ok(storage)
    }

    fn thread(&mut self, name: &str, run: impl FnOnce(&Shared) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(builder.spawn(move || run(&shared))?);
        Ok(())
    }

    /// Takes a request; it may be done when this returns. What has to be waited for begins with the
    /// next [`Storage::submit`].
    pub fn push(&mut self, token: Token, io: Io) {
        self.pending += 1;
        match io {
            Io::Read { offset, length } => self.read(token, offset, length as usize),
            Io::Write { offset, data } => self.write(token, offset, data),
            Io::Zero { offset, length } => match self.layout.place(offset, length) {
                Some(at) => self.jobs.push(Job { token, task: Task::Zero { at, length } }),
                None => self.refuse(token),
            },
            Io::Discard { offset, length } => match self.layout.place(offset, length) {
                Some(at) => self.jobs.push(Job { token, task: Task::Discard { at, length } }),
                None => self.refuse(token),
            },
            Io::Flush => self.orders.push((token, Order::Flush)),
            Io::Map(map) => self.orders.push((token, Order::Map(map))),
            Io::Meta(meta) => self.orders.push((token, Order::Meta(meta))),
        }
    }

    fn read(&mut self, token: Token, offset: u64, length: usize) {
        let Some(at) = self.layout.place(offset, length as u64).filter(|_| length <= LONGEST)
        else {
            return self.refuse(token);
        };
        let mut buffer = data::buffer(length);
        let component = &self.shared.component;
        let read = || component.read_at_once(&mut buffer[..length], at);
        if self.reads.attempt_quick(length, read).unwrap_or(false) {
            let data = Data::from(buffer).slice(0..length);
            return self.done.push(Completion { token, result: Ok(Some(data)) });
        }
        self.jobs.push(Job { token, task: Task::Read { buffer, length, at } });
    }

    fn write(&mut self, token: Token, offset: u64, data: Data) {
        let Some(at) = self.layout.place(offset, data.len() as u64) else {
            return self.refuse(token);
        };
        // Of a page that is only partly written the rest may have to be read first.
        let whole = at.is_multiple_of(4096) && data.len().is_multiple_of(4096);
        let shared = &self.shared;
        let length = if whole { data.len() } else { usize::MAX };
        match self.writes.attempt(length, || shared.component.write(&data, at)) {
            Some(done) => {
                shared.changed();
                let result = done.map(|()| None).map_err(Errno::from);
                self.done.push(Completion { token, result });
            }
            None => self.jobs.push(Job { token, task: Task::Write { data, at } }),
        }
    }

    fn refuse(&mut self, token: Token) {
        self.done.push(Completion { token, result: Err(Errno::EINVAL) });
    }

    /// Hands over what has been taken since the last time.
    pub fn submit(&mut self) {
        if !self.jobs.is_empty() {
            self.shared.hand_over(&mut self.jobs);
        }
        if !self.orders.is_empty() {
            self.shared.order(&mut self.orders);
        }
    }

    /// Appends what has been done since the last time. To be called after [`Storage::submit`], and
    /// when the descriptor is readable; harmless at any other time.
    pub fn drain(&mut self, out: &mut Vec<Completion>) {
        let before = out.len();
        out.append(&mut self.done);
        self.reads.drained();
        self.writes.drained();
        if self.shared.take(&mut self.taken) {
            // The one byte that goes with them; an error could only mean that it is gone.
            let _ = self.wake.read(&mut [0]);
        }
        out.append(&mut self.taken);
        self.pending -= out.len() - before;
    }

    /// Whether [`Storage::drain`] has something that the descriptor does not tell of.
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Requests taken whose end has not been told.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Changes [`Options::metaflush`].
    pub fn set_metaflush(&mut self, metaflush: bool) {
        self.shared.metaflush.store(metaflush, Ordering::Relaxed);
    }
}

/// Readable when something is done that was handed over.
impl AsFd for Storage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// What was taken is done, and waited for.
impl Drop for Storage {
    fn drop(&mut self) {
        self.submit();
        self.shared.close();
        for thread in self.threads.drain(..) {
            // One that panicked has said so already.
            let _ = thread.join();
        }
    }
}
