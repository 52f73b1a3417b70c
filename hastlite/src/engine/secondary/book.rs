//! The secondary's own records: metadata and activemap, written one after the other in the order
//! in which they were asked for. What they say counts from when they are on stable storage.

use super::super::{Consistency, Io, Metadata, SecondaryAction, Token};
use super::Secondary;
use crate::Data;
use crate::wire::errno::Errno;
use std::collections::VecDeque;

/// What is being written, and what will be.
#[derive(Debug, Default)]
pub struct Book {
    at: Option<(Token, Entry)>,
    queue: VecDeque<Entry>,
    /// The metadata's last write failed: the disk may have the old or the new.
    unsure: bool,
}

/// One record.
#[derive(Debug)]
pub enum Entry {
    /// The whole map as it is at that time; it is taken from memory when its turn comes.
    Map,
    Meta(Box<Metadata>),
}

impl Book {
    pub fn is_idle(&self) -> bool {
        self.at.is_none() && self.queue.is_empty()
    }

    pub fn is_at(&self, token: Token) -> bool {
        self.at.as_ref().is_some_and(|at| at.0 == token)
    }

    /// The last metadata that was asked for and is not yet on disk.
    pub fn latest_meta(&self) -> Option<&Metadata> {
        self.metas().last()
    }

    fn metas(&self) -> impl Iterator<Item = &Metadata> {
        let at = self.at.as_ref().map(|at| &at.1);
        at.into_iter().chain(&self.queue).filter_map(|entry| match entry {
            Entry::Meta(meta) => Some(&**meta),
            Entry::Map => None,
        })
    }

    /// Whether a map that is not begun yet will be written.
    fn has_map(&self) -> bool {
        self.queue.iter().any(|entry| matches!(entry, Entry::Map))
    }
}

impl Secondary {
    /// Has the metadata written, if it is not what is on disk, or will be, anyway.
    pub(super) fn write_meta(&mut self, meta: Metadata, out: &mut Vec<SecondaryAction>) {
        let known = !self.book.unsure || self.book.latest_meta().is_some();
        if !known || self.book.latest_meta().unwrap_or(&self.meta) != &meta {
            self.book.queue.push_back(Entry::Meta(Box::new(meta)));
            self.next_entry(out);
        }
    }

    /// Has the map written.
    pub(super) fn write_map(&mut self, out: &mut Vec<SecondaryAction>) {
        if !self.book.has_map() {
            self.book.queue.push_back(Entry::Map);
            self.next_entry(out);
        }
    }

    fn next_entry(&mut self, out: &mut Vec<SecondaryAction>) {
        if self.book.at.is_some() {
            return;
        }
        let Some(entry) = self.book.queue.pop_front() else { return };
        let io = match &entry {
            Entry::Map => {
                self.counters.map_updates += 1;
                Io::Map(Data::from(self.map.clone()))
            }
            Entry::Meta(meta) => Io::Meta(meta.clone()),
        };
        let token = self.token();
        self.book.at = Some((token, entry));
        out.push(SecondaryAction::Io(token, io));
    }

    /// Whether the data is said to be inconsistent, on disk, and nothing that is being written says
    /// otherwise.
    pub(super) fn says_inconsistent(&self) -> bool {
        let all = self.book.metas().chain([&self.meta]);
        !self.book.unsure
            && all.into_iter().all(|meta| meta.consistency == Consistency::Inconsistent)
    }

    /// The record under way has ended.
    pub(super) fn booked(&mut self, result: Result<(), Errno>, out: &mut Vec<SecondaryAction>) {
        let Some((_, entry)) = self.book.at.take() else { return };
        if let Err(error) = result {
            return self.book_failed(&entry, error, out);
        }
        if let Entry::Meta(meta) = entry {
            self.meta = *meta;
            self.book.unsure = false;
        }
        if self.says_inconsistent() {
            self.release_held(out);
        } else if self.book.is_idle() && self.holds() {
            self.write_meta(self.with(Consistency::Inconsistent), out);
        }
        self.next_entry(out);
        if self.book.is_idle() {
            self.answer(out);
        }
    }

    /// What could not be recorded must not happen: there is no link without it, and what waited for
    /// it is not done. What is on disk now may be the old record or the new one.
    fn book_failed(&mut self, entry: &Entry, error: Errno, out: &mut Vec<SecondaryAction>) {
        self.counters.write_errors += 1;
        self.book.queue.clear();
        let what = match entry {
            Entry::Map => "activemap",
            Entry::Meta(_) => {
                self.book.unsure = true;
                "metadata"
            }
        };
        let why = format!("write {what}: {error}");
        self.refuse_answer(&why, out);
        self.drop_held();
        self.end_link(&why, out);
    }
}
