//! Where a client's bytes go as they come: messages into a buffer, the data of a write into its
//! own place, what is refused nowhere. It knows lengths, not meanings.
//!
//! A connection that sends large writes is read such that nearly all of their bytes come straight
//! from the socket into the vector that the engine is given. Small ones come many at a time into
//! the buffer and are copied out of it.

use crate::data::{self, Data};

/// From this many bytes on a write counts as large.
const LARGE: usize = 64 << 10;
/// How much of the buffer is offered while large writes follow each other: their headers fit, and
/// little of their data has to be copied.
const BETWEEN_LARGE: usize = 1 << 10;

pub struct Input {
    buffer: Vec<u8>,
    /// What has come and is not used yet: `start..end` of the buffer.
    start: usize,
    end: usize,
    /// For the data of a write, `length` bytes of which `come` have come. While some are missing,
    /// the buffer holds nothing.
    payload: Option<Vec<u8>>,
    length: usize,
    come: usize,
    /// So many bytes that come are to be thrown away. Until then the buffer holds nothing.
    skip: u64,
    /// The last write was a large one.
    large: bool,
}

impl Input {
    pub fn new(buffer: usize) -> Self {
        Self {
            buffer: vec![0; buffer],
            start: 0,
            end: 0,
            payload: None,
            length: 0,
            come: 0,
            skip: 0,
            large: false,
        }
    }

    /// Where the next bytes belong, first one then the other. Both are empty if what has come must
    /// be used first.
    pub fn spaces(&mut self) -> [&mut [u8]; 2] {
        let little = self.buffer.len() - self.end < self.buffer.len() / 4;
        if self.start > 0 && (little || self.start == self.end) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut room = self.buffer.len() - self.end;
        if self.large && self.skip == 0 {
            room = room.min(BETWEEN_LARGE);
        }
        let payload = match &mut self.payload {
            Some(payload) => payload.get_mut(self.come..self.length).unwrap_or_default(),
            None => &mut [],
        };
        [payload, &mut self.buffer[self.end..self.end + room]]
    }

    /// `bytes` of what [`Input::spaces`] gave have been filled.
    pub fn filled(&mut self, bytes: usize) {
        let missing = self.payload.as_ref().map_or(0, |_| self.length - self.come);
        let direct = bytes.min(missing);
        self.come += direct;
        self.end = (self.end + bytes - direct).min(self.buffer.len());
        self.throw_away();
    }

    /// What has come and is not used yet.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// So many of the pending bytes have been used.
    pub fn used(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// The next `bytes` are of no interest.
    pub fn skip(&mut self, bytes: u64) {
        self.skip += bytes;
        self.throw_away();
    }

    /// Whether bytes are still being thrown away.
    pub fn is_skipping(&self) -> bool {
        self.skip > 0
    }

    fn throw_away(&mut self) {
        let now = self.skip.min((self.end - self.start) as u64);
        self.skip -= now;
        self.start += now as usize;
    }

    /// The next `length` bytes are data of a write: [`Input::take_payload`] gives them when they
    /// have come.
    pub fn begin_payload(&mut self, length: usize) {
        let here = length.min(self.end - self.start);
        let have = &self.buffer[self.start..self.start + here];
        self.large = length >= LARGE;
        let mut payload = data::buffer(length);
        payload[..here].copy_from_slice(have);
        self.start += here;
        self.come = here;
        self.length = length;
        self.payload = Some(payload);
    }

    /// The data of the write, if all of it has come.
    pub fn take_payload(&mut self) -> Option<Data> {
        let payload = self.payload.take_if(|_| self.come == self.length)?;
        self.come = 0;
        Some(Data::from(payload).slice(0..self.length))
    }

    /// A message that is no large write has been seen: more of the kind are expected.
    pub fn expect_small(&mut self) {
        self.large = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(input: &mut Input, bytes: &[u8]) -> usize {
        let mut fed = 0;
        for space in input.spaces() {
            let length = space.len().min(bytes.len() - fed);
            space[..length].copy_from_slice(&bytes[fed..fed + length]);
            fed += length;
        }
        input.filled(fed);
        fed
    }

    #[test]
    fn data_comes_partly_from_the_buffer_and_partly_straight() {
        let mut input = Input::new(64);
        assert_eq!(feed(&mut input, b"HEADabc"), 7);
        input.used(4);
        input.begin_payload(6);
        assert!(input.take_payload().is_none() && input.pending().is_empty());
        assert_eq!(feed(&mut input, b"defNEXT"), 7);
        assert_eq!(input.take_payload().as_deref(), Some(&b"abcdef"[..]));
        assert_eq!(input.pending(), b"NEXT");
        assert!(input.take_payload().is_none());
    }

    #[test]
    fn what_is_skipped_takes_no_room() {
        let mut input = Input::new(8);
        assert_eq!(feed(&mut input, b"01234567"), 8);
        input.used(2);
        input.skip(20);
        assert!(input.is_skipping() && input.pending().is_empty());
        assert_eq!(feed(&mut input, b"xxxxxxxx"), 8);
        assert_eq!(feed(&mut input, b"yyyyyyZZ"), 8);
        assert!(!input.is_skipping());
        assert_eq!(input.pending(), b"ZZ");
    }

    #[test]
    fn a_full_buffer_takes_no_more_until_some_is_used() {
        let mut input = Input::new(8);
        assert_eq!(feed(&mut input, b"0123456789"), 8);
        assert_eq!(feed(&mut input, b"89"), 0);
        input.used(3);
        assert_eq!(feed(&mut input, b"89"), 2);
        assert_eq!(input.pending(), b"3456789");
    }
}
