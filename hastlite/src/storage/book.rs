//! Writes metadata, so that at every moment what was there before or what is new can be read.
//!
//! A record is written onto stable storage first, over the older one of the two, and the block after
//! it. On top of a block of FreeBSD's there is more to do: first the mark that says where the
//! records are; then a record that names that block; then the block; then a record that names no
//! block, so that should FreeBSD ever write the same block again it is not taken for that one.

use crate::component::Component;
use crate::engine::Metadata;
use crate::layout::{BLOCK, Layout};
use crate::metadata::{Block, Body, MetadataError, Record, mark};
use std::io;

/// See the module.
#[derive(Clone, Debug)]
pub struct Book {
    layout: Layout,
    /// The block as it is on disk, as far as we know.
    block: Vec<u8>,
    marked: bool,
    /// FreeBSD's block that is there; 0 if it is ours.
    foreign: u64,
    /// The highest number that may be on disk.
    sequence: u64,
    /// The record that is written next.
    slot: usize,
}

impl Book {
    /// Of a component in use: the block that is there, the number of what was found, and which
    /// record may be written next.
    pub fn new(layout: Layout, bytes: Vec<u8>, block: &Block, sequence: u64, slot: usize) -> Self {
        let foreign = match block.body {
            Ok(Body::Foreign(_)) => block.fingerprint,
            _ => 0,
        };
        Self { layout, block: bytes, marked: block.marked, foreign, sequence, slot }
    }

    /// Of a new component: nothing is there, and what was has been overwritten.
    pub fn create(layout: Layout) -> Self {
        Self { layout, block: Vec::new(), marked: true, foreign: 0, sequence: 0, slot: 0 }
    }

    /// Writes it onto stable storage. After an error either what was there before holds, or this.
    ///
    /// # Errors
    /// The component's; `InvalidInput` if it is of another resource, or of another shape.
    pub fn write(&mut self, component: &Component, meta: &Metadata) -> io::Result<()> {
        let invalid = |error: MetadataError| io::Error::new(io::ErrorKind::InvalidInput, error);
        if (meta.offset, meta.datasize) != (self.layout.offset, self.layout.datasize) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "metadata of another shape"));
        }
        if self.layout.records.is_some() && !self.marked {
            mark(&mut self.block, self.layout.offset);
            component.write_durably(&self.block, 0)?;
            self.marked = true;
        }
        self.record(component, meta)?;
        let block = Block::encode(meta, self.sequence).map_err(invalid)?;
        component.write_durably(&block, 0)?;
        self.block = block;
        if std::mem::take(&mut self.foreign) != 0 {
            self.record(component, meta)?;
        }
        Ok(())
    }

    /// Numbers what is written next, and writes it into the record that is not the newest.
    fn record(&mut self, component: &Component, meta: &Metadata) -> io::Result<()> {
        // What failed may have reached the disk: its number is not used again.
        self.sequence += 1;
        let Some(at) = self.layout.records else { return Ok(()) };
        let record =
            Record { meta: meta.clone(), sequence: self.sequence, base: self.foreign }.encode();
        let record = record.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        component.write_durably(&record, at + BLOCK * self.slot as u64)?;
        self.slot ^= 1;
        Ok(())
    }
}
