//! The thread that brings things onto stable storage: metadata, activemap and flushes, one after
//! the other.
//!
//! One after the other also because the system tells of data that it could not store only once, to
//! whoever asks first: of two that asked at the same time one would hear that all is well. From then
//! on no flush succeeds; what has been lost nobody can tell.

use super::Completion;
use super::book::Book;
use super::pool::Shared;
use crate::Data;
use crate::engine::Metadata;
use crate::layout::{BLOCK, Layout};
use crate::wire::errno::Errno;
use std::io;
use std::sync::atomic::Ordering;

/// What it is asked for.
#[derive(Debug)]
pub enum Order {
    Flush,
    Map(Data),
    Meta(Box<Metadata>),
}

/// See the module.
#[derive(Debug)]
pub struct Scribe {
    layout: Layout,
    book: Book,
    /// The map as it is on stable storage, if that is known.
    map: Option<Vec<u8>>,
    /// The changes that the last flush covered.
    covered: Option<u64>,
    lost: Option<Errno>,
}

impl Scribe {
    pub fn new(layout: Layout, book: Book) -> Self {
        Self { layout, book, map: None, covered: None, lost: None }
    }

    pub fn run(mut self, shared: &Shared) {
        let (mut orders, mut flushes, mut finished) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            shared.next_orders(&mut orders);
            if orders.is_empty() {
                return;
            }
            // Clients wait for map and metadata; whoever flushes is used to waiting.
            for (token, order) in orders.drain(..) {
                let result = match order {
                    Order::Flush => {
                        flushes.push(token);
                        continue;
                    }
                    Order::Map(map) => self.write_map(shared, &map),
                    Order::Meta(meta) => self.write_meta(shared, &meta),
                };
                let result = result.map(|()| None);
                finished.push(Completion { token, result });
                shared.finish(&mut finished);
            }
            if !flushes.is_empty() {
                // One for all: each covers what was done before it was asked for.
                let result = self.flush(shared);
                finished.extend(
                    flushes
                        .drain(..)
                        .map(|token| Completion { token, result: result.map(|()| None) }),
                );
                shared.finish(&mut finished);
            }
        }
    }

    /// Writes what differs from the map that is there.
    fn write_map(&mut self, shared: &Shared, map: &Data) -> Result<(), Errno> {
        let size = map.len().min(self.layout.map_size as usize);
        let new = map.get(..size).unwrap_or_default();
        let old = self.map.take().filter(|old| old.len() == new.len());
        let Some(range) = differing(old.as_deref(), new) else {
            self.map = old;
            return Ok(());
        };
        let at = BLOCK + range.start as u64;
        let part = &new[range];
        if !shared.metaflush.load(Ordering::Relaxed) {
            shared.component.write(part, at)?;
            shared.changed();
            return Ok(());
        }
        let done = shared.component.write_durably(part, at);
        self.durable(done)?;
        let mut known = old.unwrap_or_default();
        known.clear();
        known.extend_from_slice(new);
        self.map = Some(known);
        Ok(())
    }

    fn write_meta(&mut self, shared: &Shared, meta: &Metadata) -> Result<(), Errno> {
        let done = self.book.write(&shared.component, meta);
        // Refused before anything was written: it is not the system that says so.
        if let Err(error) = &done
            && error.raw_os_error().is_none()
            && error.kind() == io::ErrorKind::InvalidInput
        {
            log::error!("write metadata: {error}");
            return Err(Errno::EINVAL);
        }
        self.durable(done)
    }

    fn flush(&mut self, shared: &Shared) -> Result<(), Errno> {
        if let Some(lost) = self.lost {
            return Err(lost);
        }
        let changes = shared.changes();
        if self.covered == Some(changes) {
            return Ok(());
        }
        let done = shared.component.sync();
        self.durable(done)?;
        self.covered = Some(changes);
        Ok(())
    }

    /// What failed may have been the data of anybody.
    fn durable(&mut self, done: io::Result<()>) -> Result<(), Errno> {
        let done = done.map_err(Errno::from);
        if let Err(error) = done {
            self.lost.get_or_insert(error);
        }
        done
    }
}

/// The blocks of `new` that are not as in `old`, from the first to the last; all of it if there is
/// no old one, nothing if there is no difference.
fn differing(old: Option<&[u8]>, new: &[u8]) -> Option<std::ops::Range<usize>> {
    let Some(old) = old else { return Some(0..new.len()) };
    let block = BLOCK as usize;
    let differ = |(index, (a, b)): (usize, (&[u8], &[u8]))| (a != b).then_some(index);
    let mut blocks = old.chunks(block).zip(new.chunks(block)).enumerate().filter_map(differ);
    let first = blocks.next()?;
    let last = blocks.next_back().unwrap_or(first);
    Some(first * block..((last + 1) * block).min(new.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs() {
        let old = vec![0; 5 * 4096 + 512];
        let change = |at: &[usize]| {
            let mut new = old.clone();
            at.iter().for_each(|at| new[*at] = 1);
            differing(Some(&old), &new)
        };
        assert_eq!(change(&[]), None);
        assert_eq!(change(&[0]), Some(0..4096));
        assert_eq!(change(&[4096, 12_287]), Some(4096..12_288));
        assert_eq!(change(&[20_480]), Some(20_480..20_992));
        assert_eq!(change(&[0, 20_991]), Some(0..20_992));
        assert_eq!(differing(None, &old), Some(0..20_992));
    }
}
