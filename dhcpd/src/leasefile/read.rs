//! Reads a lease file of any length through a bounded buffer, record by record.
//!
//! No content makes it fail: what cannot be read is told and passed over, and the next line that
//! begins with `lease` is read again. What a record means is `record`'s business.

use super::lex::{Lexer, Stop};
use super::record::{self, Item};
use super::{Problem, ProblemKind};
use crate::lease::LeaseRecord;
use std::io::Read;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;
/// The longest item, in bytes: a record of ours is at most 4 KiB, ISC's with all they can hold
/// not much longer.
const MAX_ITEM: usize = 64 * 1024;

/// The records of a file, in its order, and what was wrong with it. Of records with the same
/// address the last is the one that counts.
pub struct Records<R> {
    source: R,
    chunk: usize,
    buffer: Vec<u8>,
    start: usize,
    line: u64,
    ended: bool,
    seeking: bool,
    /// In what has been called corrupt already; said once.
    lost: bool,
    next: Option<LeaseRecord>,
    /// Why the source could not be read to its end.
    failed: Option<Problem>,
}

/// Reads records from memory.
pub fn read(bytes: &[u8]) -> Records<&[u8]> {
    read_from(bytes)
}

/// Reads records from a file, from where it stands. Memory stays bounded whatever is in it.
pub fn read_from<R: Read>(source: R) -> Records<R> {
    with_chunk(source, CHUNK)
}

/// The same, so many bytes at once.
pub(super) fn with_chunk<R: Read>(source: R, chunk: usize) -> Records<R> {
    Records {
        source,
        chunk,
        buffer: Vec::new(),
        start: 0,
        line: 1,
        ended: false,
        seeking: false,
        lost: false,
        next: None,
        failed: None,
    }
}

impl<R: Read> Records<R> {
    /// Appends what the source has next.
    fn fill(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        let mut source = self.source.by_ref().take(self.chunk as u64);
        match source.read_to_end(&mut self.buffer) {
            Ok(count) => self.ended = count < self.chunk,
            Err(error) => {
                self.ended = true;
                let text = format!("read: {error}");
                self.failed = Some(Problem { line: 0, kind: ProblemKind::Unreadable, text });
            }
        }
    }

    /// What comes next, or `None` for nothing worth telling.
    fn step(&mut self) -> Option<Result<LeaseRecord, Problem>> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let window = &rest[..rest.len().min(MAX_ITEM)];
        let full = window.len() == MAX_ITEM;
        let last = self.ended && window.len() == rest.len();
        let mut lexer = Lexer::new(window, last, self.line);
        if self.seeking {
            self.seeking = !lexer.seek_record();
            let fruitless = self.seeking && lexer.at == 0 && !last;
            self.pass(lexer.at, lexer.line);
            if fruitless {
                self.fill();
            }
            return None;
        }
        lexer.skip_blank();
        if lexer.at > 0 || window.is_empty() {
            let empty = lexer.at == rest.len();
            self.pass(lexer.at, lexer.line);
            if empty && !self.ended {
                self.fill();
            }
            return None;
        }
        match record::item(&mut lexer) {
            Ok(item) => {
                self.pass(lexer.at, lexer.line);
                self.take(item)
            }
            Err(Stop::End) if !full && !last => {
                self.fill();
                None
            }
            Err(_) if full => {
                self.seeking = true;
                let blank = window.iter().rev().take_while(|&&byte| byte == b'\n').count();
                if blank > MAX_ITEM / 2 {
                    // Room for records to come, written ahead.
                    return Some(Err(self.problem(ProblemKind::Torn, "cut off by empty lines")));
                }
                Some(Err(self.problem(ProblemKind::Corrupt, "longer than any record")))
            }
            Err(_) => {
                let problem = self.problem(ProblemKind::Torn, "cut off by the end of the file");
                self.pass(window.len(), lexer.line);
                // That the file could not be read on is told instead.
                self.failed.is_none().then_some(Err(problem))
            }
        }
    }

    fn take(&mut self, item: Item) -> Option<Result<LeaseRecord, Problem>> {
        let flaw = match item {
            Item::Nothing => return None,
            Item::Elsewhere(flaw) => flaw,
            Item::Junk(_) if self.lost => return None,
            Item::Junk(flaw) => {
                self.lost = true;
                flaw
            }
            Item::Lease(record, flaw) => {
                self.lost = false;
                match (record, flaw) {
                    (record, None) => return record.map(Ok),
                    (record, Some(flaw)) => {
                        self.next = record;
                        flaw
                    }
                }
            }
        };
        Some(Err(Problem { line: flaw.line, kind: flaw.kind, text: flaw.text }))
    }

    fn problem(&self, kind: ProblemKind, text: &str) -> Problem {
        Problem { line: self.line, kind, text: text.to_owned() }
    }

    fn pass(&mut self, length: usize, line: u64) {
        self.start += length;
        self.line = line;
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = Result<LeaseRecord, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.next.take() {
            return Some(Ok(record));
        }
        loop {
            if let Some(told) = self.step() {
                return Some(told);
            }
            if self.ended && self.start == self.buffer.len() {
                return self
                    .failed
                    .take()
                    .map(|problem| Err(Problem { line: self.line, ..problem }));
            }
        }
    }
}
