//! One way to lay out a payload, so that every crate's messages look alike: integers big-endian,
//! variable bytes behind their length as u16. What the fields mean is each crate's.

use std::net::Ipv4Addr;

use super::Error;

/// Takes a payload apart from its beginning. Every step is checked: past the end is
/// [`Error::Malformed`], and nothing panics.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins at the first byte of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Reader { left: payload }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there are fewer, as for every step below.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, left) = self.left.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.left = left;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (chunk, left) = self.left.split_first_chunk::<N>().ok_or(ENDS_EARLY)?;
        self.left = left;
        Ok(*chunk)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.chunk().map(u8::from_be_bytes)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.chunk().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.chunk().map(u64::from_be_bytes)
    }

    /// Eight bytes, big-endian, two's complement.
    pub fn i64(&mut self) -> Result<i64, Error> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// One byte that is 0 or 1; any other is an error.
    pub fn bool(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Malformed("neither yes nor no")),
        }
    }

    /// Four bytes in network order.
    pub fn ipv4(&mut self) -> Result<Ipv4Addr, Error> {
        self.chunk::<4>().map(Ipv4Addr::from)
    }

    /// Bytes behind their length (u16).
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// The same, which must be UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Malformed("text is not UTF-8"))
    }

    /// Everything that is left, maybe nothing.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The last step of every `decode`: bytes that nobody asked for are an error.
    pub fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::Malformed("bytes after its end")) }
    }
}

const ENDS_EARLY: Error = Error::Malformed("the payload ends early");

/// Appends the fields of a payload, in the layout [`Reader`] takes apart.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `payload`.
    pub fn new(payload: &'a mut Vec<u8>) -> Self {
        Writer { out: payload }
    }

    /// Bytes as they are; the reader must know how many.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Eight bytes, big-endian, two's complement.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Four bytes in network order.
    pub fn ipv4(&mut self, value: Ipv4Addr) -> &mut Self {
        self.put(&value.octets())
    }

    /// Bytes behind their length (u16). More than 65,535 have no length to say; they are put all
    /// the same, because a payload that long is over [`super::MAX_PAYLOAD`] and is never sent.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u16(u16::try_from(value.len()).unwrap_or(u16::MAX)).put(value)
    }

    /// Text behind its length (u16), as [`Writer::bytes`].
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }
}
