//! What waits to be sent on a connection, to the other node or to a client: heads of messages one
//! behind the other in a buffer, and data by reference. Sent in large batches, however little of it
//! the socket takes.

use crate::Data;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// When so many bytes at the front of the buffer have been sent, it is moved up.
const COMPACT: usize = 64 << 10;

/// The most pieces that go out by one system call.
const SLICES: usize = 64;

enum Piece {
    /// So many bytes of `heads`.
    Head(usize),
    Data(Data),
}

/// The queue.
#[derive(Default)]
pub struct Outbox {
    /// From `sent_heads` on: what the pieces of that kind hold.
    heads: Vec<u8>,
    sent_heads: usize,
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have been sent, if it is data.
    sent_data: usize,
    /// Bytes in the queue.
    length: usize,
    /// Bytes that have been in the queue since the beginning.
    total: u64,
}

impl Outbox {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that have been in the queue since the beginning: where what is pushed next begins.
    pub fn end(&self) -> u64 {
        self.total
    }

    /// How many of them have been sent.
    pub fn reached(&self) -> u64 {
        self.total - self.length as u64
    }

    /// Appends what `write` appends, and the data that it returns behind it.
    ///
    /// # Errors
    /// What `write` failed with; it must have appended nothing then.
    pub fn push<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<Data>, E>,
    ) -> Result<(), E> {
        let before = self.heads.len();
        let data = write(&mut self.heads)?;
        let length = self.heads.len() - before;
        match self.pieces.back_mut() {
            _ if length == 0 => {}
            Some(Piece::Head(last)) => *last += length,
            _ => self.pieces.push_back(Piece::Head(length)),
        }
        self.length += length;
        self.total += length as u64;
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            self.length += data.len();
            self.total += data.len() as u64;
            self.pieces.push_back(Piece::Data(data));
        }
        Ok(())
    }

    /// Writes as much as `to` takes without waiting. Returns how many bytes that was.
    ///
    /// # Errors
    /// As `to` says; that it would have to wait is none.
    pub fn send(&mut self, mut to: impl Write) -> io::Result<usize> {
        let before = self.length;
        while self.length > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.gather(&mut slices);
            match to.write_vectored(slices.get(..used).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.sent(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(before - self.length)
    }

    /// Fills `slices` from the front with what is to be sent next, and says how many it has used.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut head = self.sent_heads;
        let mut skip = self.sent_data;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(match piece {
                Piece::Head(length) => {
                    let at = head;
                    head += length;
                    self.heads.get(at..head).unwrap_or_default()
                }
                Piece::Data(data) => data.get(std::mem::take(&mut skip)..).unwrap_or_default(),
            });
            used += 1;
        }
        used
    }

    /// `bytes` of it have been sent.
    pub fn sent(&mut self, bytes: usize) {
        let mut left = bytes.min(self.length);
        self.length -= left;
        while left > 0 {
            match self.pieces.front_mut() {
                Some(Piece::Head(length)) => {
                    let now = left.min(*length);
                    *length -= now;
                    left -= now;
                    self.sent_heads += now;
                    if *length == 0 {
                        self.pieces.pop_front();
                    }
                }
                Some(Piece::Data(data)) => {
                    let now = left.min(data.len() - self.sent_data);
                    self.sent_data += now;
                    left -= now;
                    if self.sent_data == data.len() {
                        self.sent_data = 0;
                        self.pieces.pop_front();
                    }
                }
                None => break,
            }
        }
        if self.sent_heads == self.heads.len() {
            self.heads.clear();
            self.sent_heads = 0;
        } else if self.sent_heads >= COMPACT {
            self.heads.drain(..self.sent_heads);
            self.sent_heads = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes as many bytes as it is told, one call after the other, then none.
    struct Narrow {
        takes: VecDeque<usize>,
        got: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            match self.takes.pop_front() {
                None | Some(0) => Err(io::ErrorKind::WouldBlock.into()),
                Some(most) => {
                    let count = most.min(all.len());
                    self.got.extend_from_slice(&all[..count]);
                    Ok(count)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn the_stream_is_what_was_pushed_however_little_is_taken(
            packets in prop::collection::vec((0usize..200, prop::option::of(0usize..3000)), 1..100),
            takes in prop::collection::vec(0usize..5000, 0..200),
        ) {
            let mut outbox = Outbox::default();
            let mut narrow = Narrow { takes: takes.into(), got: Vec::new() };
            let mut wanted = Vec::new();
            for (number, (head, data)) in packets.into_iter().enumerate() {
                let head = vec![number as u8; head];
                let data = data.map(|length| Data::from(vec![!(number as u8); length]));
                wanted.extend_from_slice(&head);
                wanted.extend_from_slice(data.as_deref().unwrap_or_default());
                outbox.push(|out| {
                    out.extend_from_slice(&head);
                    Ok::<_, ()>(data)
                }).unwrap();
                outbox.send(&mut narrow).unwrap();
                prop_assert_eq!(outbox.len(), wanted.len() - narrow.got.len());
            }
            narrow.takes = vec![usize::MAX; 1000].into();
            outbox.send(&mut narrow).unwrap();
            prop_assert!(outbox.is_empty());
            prop_assert_eq!(narrow.got, wanted);
        }
    }
}
