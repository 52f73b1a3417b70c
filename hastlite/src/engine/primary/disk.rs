//! The activemap and the metadata on disk: one write of each at a time, the next one takes all that
//! has come meanwhile, and who waits for them.

use super::{About, Key, Mark, Now, Primary, Waiter};
use crate::engine::Io;
use crate::wire::errno::Errno;
use std::collections::VecDeque;

/// After a failed write of the map, this long until the next.
const RETRY: Now = 1_000;

#[derive(Debug, Default)]
pub struct Disk {
    /// Local I/O not yet complete.
    pub under_way: u64,
    /// Changes that wait for the update of the map that is under way, and for the next.
    map_waiters: Vec<Key>,
    next_waiters: Vec<Key>,
    /// Not before.
    map_at: Now,
    meta_asked: u64,
    meta_writing: bool,
    /// The last write failed: the disk may have the old or the new.
    pub meta_unsure: bool,
    /// Of the last write that has ended.
    meta_done: u64,
    meta_waiters: VecDeque<(u64, Waiter)>,
}

impl Primary {
    pub(super) fn wait_for_map(&mut self, update: u64, key: Key) {
        if update > self.map.generation() {
            self.disk.next_waiters.push(key);
        } else {
            self.disk.map_waiters.push(key);
        }
    }

    pub(super) fn update_map(&mut self) {
        if self.map.update_due() && self.now >= self.disk.map_at {
            let (bytes, _) = self.map.begin_update();
            std::mem::swap(&mut self.disk.map_waiters, &mut self.disk.next_waiters);
            self.counters.map_updates += 1;
            self.io(About::Map, 0, Io::Map(bytes));
        }
    }

    pub(super) fn map_done(&mut self, result: Result<(), Errno>) {
        let update = self.map.end_update(result.is_ok());
        if let Err(error) = result {
            self.counters.write_errors += 1;
            self.disk.map_at = self.now + RETRY;
            log::error!("{}: write the activemap: {error}", self.meta.resource);
        }
        let mut waiters = std::mem::take(&mut self.disk.map_waiters);
        for key in waiters.drain(..) {
            match result {
                Ok(()) => self.change_goes(key),
                Err(error) => self.change_fails(key, error),
            }
        }
        self.disk.map_waiters = waiters;
        self.link_stored_map(update, result);
        self.stop_stored_map(update, result);
    }

    pub(super) fn disk_time(&self) -> Option<Now> {
        self.map.update_due().then_some(self.disk.map_at)
    }

    /// The metadata is to be written as it is now; the number of the write that does it.
    pub(super) fn store(&mut self) -> u64 {
        // One under way was given what was then; the next takes what is now.
        self.disk.meta_asked = self.disk.meta_done + 1 + u64::from(self.disk.meta_writing);
        self.disk.meta_asked
    }

    pub(super) fn wait_for_meta(&mut self, write: u64, waiter: Waiter) {
        self.disk.meta_waiters.push_back((write, waiter));
    }

    pub(super) fn write_meta(&mut self) {
        if !self.disk.meta_writing && self.disk.meta_asked > self.disk.meta_done {
            self.disk.meta_writing = true;
            let meta = Box::new(self.meta.clone());
            self.io(About::Meta, self.disk.meta_asked, Io::Meta(meta));
        }
    }

    pub(super) fn meta_done(&mut self, write: u64, result: Result<(), Errno>) {
        self.disk.meta_writing = false;
        self.disk.meta_done = write;
        self.disk.meta_unsure = result.is_err();
        if let Err(error) = result {
            self.counters.write_errors += 1;
            log::error!("{}: write the metadata: {error}", self.meta.resource);
        }
        let settle = |mark: &mut Mark| {
            if matches!(*mark, Mark::Asked(asked) if asked <= write) {
                *mark = if result.is_ok() { Mark::Durable } else { Mark::Failed };
            }
        };
        settle(&mut self.alone);
        self.detached.as_mut().map(settle);
        while let Some(&(wanted, waiter)) = self.disk.meta_waiters.front() {
            if wanted > write {
                break;
            }
            self.disk.meta_waiters.pop_front();
            match waiter {
                Waiter::Change(key) => self.change_proven(key, result),
                Waiter::Client(tag, since) => match result {
                    Ok(()) => self.flush_answer(tag, since),
                    Err(error) => self.answer(tag, Err(error)),
                },
                Waiter::Resync => self.resync_stored(result),
                Waiter::Checkpoint => {}
                Waiter::Stop => self.stop_stored_meta(),
            }
        }
        self.link_stored_meta(write, result);
    }

    /// Whether it is on disk that we go on alone (H5, H6). If not, `waiter` will hear.
    pub(super) fn is_alone(&mut self, waiter: Waiter) -> bool {
        let asked = match self.alone {
            Mark::Durable => return true,
            Mark::Asked(asked) => asked,
            Mark::Unset => {
                self.meta.localcnt = self.meta.localcnt.saturating_add(1);
                self.store()
            }
            Mark::Failed => self.store(),
        };
        self.alone = Mark::Asked(asked);
        self.wait_for_meta(asked, waiter);
        false
    }

    /// Whether it is on disk that the local copy is of no use. If not, `waiter` will hear.
    pub(super) fn is_detached(&mut self, waiter: Waiter) -> bool {
        let asked = match self.detached {
            None | Some(Mark::Durable) => return true,
            Some(Mark::Asked(asked)) => asked,
            Some(Mark::Unset | Mark::Failed) => self.store(),
        };
        self.detached = Some(Mark::Asked(asked));
        self.wait_for_meta(asked, waiter);
        false
    }
}
