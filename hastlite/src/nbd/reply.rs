//! The replies to a client, as they wait to be sent.
//!
//! It is remembered where each of them ends, so that a request counts as in flight until its reply
//! has left: a client that does not read is not allowed to ask on.

use super::protocol::{
    CHUNK_MAGIC, OPTION_REPLY_MAGIC, SIMPLE_REPLY_MAGIC, chunk, error, error_number,
};
use crate::Data;
use crate::outbox::Outbox;
use crate::wire::errno::Errno;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::IoSlice;

/// An error as the client is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// NBD's number.
    pub number: u32,
    /// For a human being. Only structured replies carry it.
    pub text: String,
}

impl Refusal {
    pub fn new(number: u32, text: impl Into<String>) -> Self {
        Self { number, text: text.into() }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::new(error_number(errno), errno.to_string())
    }
}

/// The queue.
#[derive(Default)]
pub struct Output {
    out: Outbox,
    /// Where replies end, counted in bytes since the beginning, and the bytes of data in each.
    ends: VecDeque<(u64, u64)>,
}

impl Output {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Fills `slices` from the front with what is to be sent next, and says how many it has used.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.out.gather(slices)
    }

    /// `bytes` of it have been sent. Tells of how many requests, with how much data, the replies
    /// have left with them.
    pub fn sent(&mut self, bytes: usize) -> (usize, u64) {
        self.out.sent(bytes);
        let (mut requests, mut data) = (0, 0);
        while let Some((end, bytes)) = self.ends.front()
            && *end <= self.out.reached()
        {
            requests += 1;
            data += bytes;
            self.ends.pop_front();
        }
        (requests, data)
    }

    /// Appends what `write` writes.
    pub fn head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(write, None);
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>), data: Option<Data>) {
        let Ok(()) = self.out.push(|out| {
            write(out);
            Ok::<_, Infallible>(data)
        });
    }

    /// The reply to a request ends here.
    fn end(&mut self, data: u64) {
        self.ends.push_back((self.out.end(), data));
    }

    /// One answer to an option.
    pub fn option(&mut self, option: u32, kind: u32, data: &[&[u8]]) {
        self.head(|out| {
            out.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
            out.extend_from_slice(&option.to_be_bytes());
            out.extend_from_slice(&kind.to_be_bytes());
            let length: usize = data.iter().map(|part| part.len()).sum();
            out.extend_from_slice(&(length as u32).to_be_bytes());
            data.iter().for_each(|part| out.extend_from_slice(part));
        });
    }

    /// The reply to a request that has nothing to say but how it went.
    pub fn done(&mut self, cookie: u64) {
        self.simple(cookie, 0);
        self.end(0);
    }

    fn simple(&mut self, cookie: u64, number: u32) {
        self.head(|out| {
            out.extend_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&cookie.to_be_bytes());
        });
    }

    fn chunk(&mut self, flags: u16, kind: u16, cookie: u64, length: usize, start: &[&[u8]]) {
        self.head(|out| {
            out.extend_from_slice(&CHUNK_MAGIC.to_be_bytes());
            out.extend_from_slice(&flags.to_be_bytes());
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&cookie.to_be_bytes());
            out.extend_from_slice(&(length as u32).to_be_bytes());
            start.iter().for_each(|part| out.extend_from_slice(part));
        });
    }

    /// The reply to a read. All of the data is there, so the one chunk is the last one.
    pub fn read(&mut self, structured: bool, cookie: u64, offset: u64, data: Data) {
        let length = data.len();
        if !structured {
            self.simple(cookie, 0);
        } else if length == 0 {
            self.chunk(chunk::DONE, chunk::NONE, cookie, 0, &[]);
        } else {
            let offset = offset.to_be_bytes();
            self.chunk(chunk::DONE, chunk::OFFSET_DATA, cookie, 8 + length, &[&offset]);
        }
        self.push(|_| {}, Some(data));
        self.end(length as u64);
    }

    /// One context of the reply to a status query; with the last one the reply ends.
    pub fn status(&mut self, cookie: u64, context: u32, runs: &[u8], last: bool) {
        let flags = if last { chunk::DONE } else { 0 };
        let start: [&[u8]; 2] = [&context.to_be_bytes(), runs];
        self.chunk(flags, chunk::BLOCK_STATUS, cookie, 4 + runs.len(), &start);
        if last {
            self.end(0);
        }
    }

    /// The reply to a request that has failed.
    pub fn failed(&mut self, structured: bool, cookie: u64, refusal: &Refusal) {
        // Zero would say that it has not.
        let number = if refusal.number == 0 { error::EIO } else { refusal.number };
        if structured {
            let text = refusal.text.as_bytes();
            let text = &text[..text.len().min(1000)];
            let start: [&[u8]; 3] =
                [&number.to_be_bytes(), &(text.len() as u16).to_be_bytes(), text];
            self.chunk(chunk::DONE, chunk::ERROR, cookie, 6 + text.len(), &start);
        } else {
            self.simple(cookie, number);
        }
        self.end(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let used = output.gather(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    fn filled() -> Output {
        let mut output = Output::default();
        output.option(7, 1, &[b"ab", b"c"]);
        output.done(1);
        output.read(true, 2, 4096, Data::from(vec![9; 700]));
        output.read(false, 3, 0, Data::from(vec![8; 5]));
        output.failed(true, 4, &Refusal::new(22, "no"));
        output.failed(false, 5, &Refusal::new(28, "no"));
        output.status(6, 1, &[0; 8], false);
        output.status(6, 2, &[1; 16], true);
        output
    }

    #[test]
    fn what_is_sent_in_pieces_is_the_same() {
        let whole = all(&filled());
        assert_eq!(whole.len(), filled().len());
        for step in 1..=whole.len() {
            let mut output = filled();
            let mut sent = Vec::new();
            let mut replies = (0, 0);
            while output.len() > 0 {
                let now = step.min(output.len());
                sent.extend_from_slice(&all(&output)[..now]);
                let (requests, data) = output.sent(now);
                replies = (replies.0 + requests, replies.1 + data);
            }
            assert_eq!(sent, whole, "in steps of {step}");
            assert_eq!(replies, (6, 705));
            assert!(output.out.is_empty() && output.ends.is_empty());
        }
    }

    #[test]
    fn a_reply_counts_until_its_last_byte_has_left() {
        let mut output = Output::default();
        output.read(false, 1, 0, Data::from(vec![0; 100]));
        assert_eq!(output.sent(115), (0, 0));
        assert_eq!(output.sent(1), (1, 100));
        assert_eq!(output.sent(1000), (0, 0));
    }

    #[test]
    fn short_pieces_are_one_slice() {
        let mut output = Output::default();
        (0..100).for_each(|cookie| output.done(cookie));
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(output.gather(&mut slices), 1);
        assert_eq!(slices[0].len(), 1600);
    }

    #[test]
    fn the_bytes_of_the_replies() {
        let mut output = Output::default();
        output.done(0x0102_0304_0506_0708);
        assert_eq!(all(&output), [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);

        let mut output = Output::default();
        output.read(true, 1, 512, Data::from(vec![0xaa]));
        let mut want = vec![0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9];
        want.extend_from_slice(&[0, 0, 0, 0, 0, 0, 2, 0, 0xaa]);
        assert_eq!(all(&output), want);

        let mut output = Output::default();
        output.failed(true, 1, &Refusal::new(0, "?"));
        let mut want = vec![0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        want.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 5, 0, 1, b'?']);
        assert_eq!(all(&output), want);
    }
}
