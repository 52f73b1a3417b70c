//! Packets: a version byte, the length of an nv list (32 bits, little-endian), the list, and as
//! many bytes of data as its `size` says. Put together from a stream that comes in pieces of any
//! size; what list and data mean is said elsewhere.
//!
//! A [`Decoder`] never holds more than the longest head and the longest data that it takes (H10).
//! Data that is not in the buffer already is read from the socket into its own place.

use super::WireError;
use super::data::Codec;
use super::hello::VERSION;
use crate::data::{self, Data};
use crate::nv::{self, Nv};

#[cfg(test)]
mod tests;

/// Version and length of the list.
pub const HEADER: usize = 5;

/// The longest head that is taken.
const LONGEST_HEAD: usize = HEADER + nv::MAX;

/// A packet that is whole.
#[derive(Debug)]
pub struct Packet<'a> {
    /// Of the protocol.
    pub version: u8,
    /// What it says.
    pub nv: Nv<'a>,
    /// What follows, as it came: see [`super::data`]. `None` if nothing does.
    pub data: Option<Data>,
}

/// A packet whose head has come.
#[derive(Clone, Copy)]
struct Head {
    version: u8,
    /// Bytes of the list, behind the header.
    list: usize,
    /// Bytes of data.
    size: usize,
}

/// Makes packets of a stream.
///
/// Loop: read into [`Decoder::spaces`] (one `readv`), say how much with [`Decoder::filled`], and
/// take packets by [`Decoder::next`] until there is none. After an error the stream is of no use.
pub struct Decoder {
    limit: u32,
    buffer: Vec<u8>,
    /// What has come and is not used yet: `start..end` of the buffer.
    start: usize,
    end: usize,
    /// At `start`, if its data is still coming. Then the buffer holds nothing behind the head
    /// until all of the data has come.
    head: Option<Head>,
    /// At least as long as the data.
    data: Vec<u8>,
    /// How much of it has come.
    come: usize,
}

impl Decoder {
    /// For packets with at most `limit` bytes of data, through a buffer of `buffer` bytes. That
    /// may be small where a few short messages are expected: it grows to what a head needs, which
    /// is less than 65 KiB. Where requests follow each other, a large one saves system calls.
    pub fn new(limit: u32, buffer: usize) -> Decoder {
        Decoder {
            limit,
            buffer: vec![0; buffer.max(64)],
            start: 0,
            end: 0,
            head: None,
            data: Vec::new(),
            come: 0,
        }
    }

    /// Where the next bytes of the stream belong, first one then the other. Both together are
    /// empty only if there is a packet to be taken.
    pub fn spaces(&mut self) -> [&mut [u8]; 2] {
        let little = self.buffer.len() - self.end < self.buffer.len() / 4;
        if self.start > 0 && (little || self.start == self.end) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() && self.end < LONGEST_HEAD && self.head.is_none() {
            self.buffer.resize((self.end * 2).min(LONGEST_HEAD), 0);
        }
        let size = self.size();
        [self.data.get_mut(self.come..size).unwrap_or_default(), &mut self.buffer[self.end..]]
    }

    /// `bytes` of what [`Decoder::spaces`] gave now hold the stream's next bytes.
    pub fn filled(&mut self, bytes: usize) {
        let direct = bytes.min(self.size() - self.come);
        self.come += direct;
        self.end = (self.end + bytes - direct).min(self.buffer.len());
    }

    /// Takes bytes that were read elsewhere, and says how many there was room for.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut fed = 0;
        for space in self.spaces() {
            let length = space.len().min(bytes.len() - fed);
            space[..length].copy_from_slice(&bytes[fed..fed + length]);
            fed += length;
        }
        self.filled(fed);
        fed
    }

    /// What has come behind the last packet taken, to be handed on with the connection. `None` if
    /// it is the beginning of a packet with data, which has its own place already.
    pub fn rest(&self) -> Option<&[u8]> {
        match self.head {
            None => Some(&self.buffer[self.start..self.end]),
            Some(_) => None,
        }
    }

    /// Whether a packet has begun: the stream must not end here.
    pub fn is_within(&self) -> bool {
        self.start != self.end
    }

    /// The next packet, if all of it has come.
    ///
    /// # Errors
    /// The stream is not what a peer sends, or more than is taken.
    #[allow(clippy::should_implement_trait)] // It lends what it returns.
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, WireError> {
        let head = match self.head {
            Some(head) => head,
            None => match self.head()? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        let list = self.start + HEADER..self.start + HEADER + head.list;
        let data = if head.size == 0 {
            None
        } else if self.head.is_some() {
            if self.come < head.size {
                return Ok(None);
            }
            self.come = 0;
            Some(Data::from(std::mem::take(&mut self.data)).slice(0..head.size))
        } else if let Some(data) = self.buffer[..self.end].get(list.end..list.end + head.size) {
            let mut copy = data::buffer(head.size);
            copy[..head.size].copy_from_slice(data);
            self.start += head.size;
            Some(Data::from(copy).slice(0..head.size))
        } else {
            self.begin_data(head, list.end);
            return Ok(None);
        };
        self.head = None;
        self.start += HEADER + head.list;
        let nv = Nv::checked(&self.buffer[list]);
        Ok(Some(Packet { version: head.version, nv, data }))
    }

    /// Reads the head at `start`, if it is whole.
    fn head(&self) -> Result<Option<Head>, WireError> {
        let Some((header, rest)) = self.buffer[self.start..self.end].split_first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        let [version, length @ ..] = *header;
        if version > VERSION {
            return Err(WireError::Version(version));
        }
        let length = u32::from_le_bytes(length);
        let list = length as usize;
        if list > nv::MAX {
            return Err(WireError::ListTooLong(length));
        }
        let Some(bytes) = rest.get(..list) else { return Ok(None) };
        let size = Nv::decode(bytes)?.get_u32("size")?.unwrap_or(0);
        if size > self.limit {
            return Err(WireError::DataTooLong { size, limit: self.limit });
        }
        Ok(Some(Head { version, list, size: size as usize }))
    }

    /// Bytes of data that are being read into their own place.
    fn size(&self) -> usize {
        self.head.map_or(0, |head| head.size)
    }

    /// Makes a place for data of which a part is still to come.
    fn begin_data(&mut self, head: Head, data_at: usize) {
        self.data = data::buffer(head.size);
        let come = &self.buffer[data_at..self.end];
        self.data[..come.len()].copy_from_slice(come);
        self.come = come.len();
        self.end = data_at;
        self.head = Some(head);
    }
}

/// Begins a packet at the end of `out`. Its list is to be appended, and then [`finish`] called
/// with what this returns.
#[inline]
pub(super) fn begin(out: &mut Vec<u8>, version: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[version, 0, 0, 0, 0]);
    start
}

/// Says how long the list of the packet is that began at `start`.
///
/// # Errors
/// An empty list would make FreeBSD's hastd abort (A10), and a too long one is not taken by ours.
/// Nothing is left of the packet then.
#[inline]
pub(super) fn finish(out: &mut Vec<u8>, start: usize) -> Result<(), WireError> {
    let length = out.len() - start - HEADER;
    if length == 0 || length > nv::MAX {
        out.truncate(start);
        return Err(WireError::Unsendable("a packet whose list is empty or too long"));
    }
    out[start + 1..start + HEADER].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// [`finish`], after saying what must be said of `data`; returns what is to be sent behind it.
#[inline]
pub(super) fn finish_with(
    out: &mut Vec<u8>,
    start: usize,
    codec: &Codec,
    data: Option<&Data>,
) -> Result<Option<Data>, WireError> {
    let payload = match data {
        Some(data) => Some(codec.pack(data, out).inspect_err(|_| out.truncate(start))?),
        None => None,
    };
    finish(out, start)?;
    Ok(payload)
}
