//! Where a client's bytes go as they come: messages into a buffer, the data of a write into its
//! own place, what is refused nowhere. It knows lengths, not meanings.
//!
//! A connection that sends large writes is read such that nearly all of their bytes come straight
//! from the socket into the vector that the engine is given. Small ones come many at a time into
//! the buffer and are copied out of it.

/// From this many bytes on a write counts as large.
const LARGE: usize = 64 << 10;
/// How much of the buffer is offered while large writes follow each other: their headers fit, and
/// little of their data has to be copied.
const BETWEEN_LARGE: usize = 1 << 10;
/// The most buffers, and bytes of them, that are kept for the next large writes.
const SPARE: usize = 16;
const SPARE_BYTES: usize = 32 << 20;

pub struct Input {
    buffer: Vec<u8>,
    /// What has come and is not used yet: `start..end` of the buffer.
    start: usize,
    end: usize,
    /// The data of a write, of which `come` bytes have come. While some are missing, the buffer
    /// holds nothing.
    payload: Option<Vec<u8>>,
    come: usize,
    /// So many bytes that come are to be thrown away. Until then the buffer holds nothing.
    skip: u64,
    /// The last write was a large one.
    large: bool,
    spare: Vec<Vec<u8>>,
}

impl Input {
    pub fn new(buffer: usize) -> Self {
        Self {
            buffer: vec![0; buffer],
            start: 0,
            end: 0,
            payload: None,
            come: 0,
            skip: 0,
            large: false,
            spare: Vec::new(),
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
            Some(payload) => payload.get_mut(self.come..).unwrap_or_default(),
            None => &mut [],
        };
        [payload, &mut self.buffer[self.end..self.end + room]]
    }

    /// `bytes` of what [`Input::spaces`] gave have been filled.
    pub fn filled(&mut self, bytes: usize) {
        let missing = self.payload.as_ref().map_or(0, |payload| payload.len() - self.come);
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
        let payload = if here == length {
            have.to_vec()
        } else {
            let mut payload = take_spare(&mut self.spare, length);
            payload[..here].copy_from_slice(have);
            payload
        };
        self.start += here;
        self.come = here;
        self.payload = Some(payload);
    }

    /// The data of the write, if all of it has come.
    pub fn take_payload(&mut self) -> Option<Vec<u8>> {
        if self.payload.as_ref().is_some_and(|payload| self.come == payload.len()) {
            self.come = 0;
            return self.payload.take();
        }
        None
    }

    /// A message that is no large write has been seen: more of the kind are expected.
    pub fn expect_small(&mut self) {
        self.large = false;
    }

    /// Takes back a buffer that a write was in, which saves clearing a new one.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        let kept: usize = self.spare.iter().map(Vec::capacity).sum();
        let fits = kept.saturating_add(buffer.capacity()) <= SPARE_BYTES;
        if buffer.capacity() >= LARGE && self.spare.len() < SPARE && fits {
            self.spare.push(buffer);
        }
    }
}

/// A buffer of `length` bytes, a used one if one is near in size.
fn take_spare(spare: &mut Vec<Vec<u8>>, length: usize) -> Vec<u8> {
    let fits = |buffer: &Vec<u8>| buffer.capacity() >= length && buffer.capacity() / 4 <= length;
    match spare.iter().rposition(fits) {
        Some(at) => {
            let mut buffer = spare.swap_remove(at);
            buffer.resize(length, 0);
            buffer
        }
        None => vec![0; length],
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

    #[test]
    fn buffers_are_used_again_for_writes_of_their_size() {
        let mut input = Input::new(64);
        input.recycle(vec![7; LARGE]);
        input.recycle(vec![7; 16]);
        assert_eq!(input.spare.len(), 1, "a small one is not worth it");
        input.begin_payload(LARGE);
        assert!(input.spare.is_empty());
        for _ in 0..100 {
            input.recycle(vec![0; 8 << 20]);
        }
        assert_eq!(input.spare.len(), SPARE_BYTES / (8 << 20));
        input.payload = None;
        input.begin_payload(LARGE);
        assert_eq!(input.spare.len(), 4, "much too large for this one");
    }
}
