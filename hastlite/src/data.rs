//! The bytes of a request on their way: shared, never copied, and cut into parts without copying.
//! When the last part of a buffer is dropped it is kept for the next one that is wanted.

mod pool;

pub use pool::take as buffer;

use std::ops::{Deref, Range};
use std::sync::Arc;

/// A range of a buffer that others may hold parts of too. Engines pass it on and never look inside.
#[derive(Clone, Default)]
pub struct Data {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

#[derive(Default)]
struct Buffer(Vec<u8>);

impl Drop for Buffer {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.0));
    }
}

impl Data {
    /// A part of it; what lies outside of it is not there.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let at = self.range.start;
        Self { buffer: Arc::clone(&self.buffer), range: at + start..at + end }
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.0.get(self.range.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Data {
    fn from(buffer: Vec<u8>) -> Self {
        let range = 0..buffer.len();
        Self { buffer: Arc::new(Buffer(buffer)), range }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Data {}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_buffer_and_never_reach_beyond_it() {
        let whole = Data::from((0..100).collect::<Vec<u8>>());
        let part = whole.slice(10..20);
        assert_eq!(&part[..], &(10..20).collect::<Vec<u8>>()[..]);
        assert_eq!(&part.slice(5..50)[..], &[15, 16, 17, 18, 19]);
        assert!(part.slice(50..60).is_empty());
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_holds_a_part_of_it() {
        // No other test has buffers of this length.
        let length = 16 << 20;
        let whole = Data::from(buffer(length));
        let (part, address) = (whole.slice(5..7), whole.as_ptr());
        drop(whole);
        let other = buffer(length);
        assert_ne!(other.as_ptr(), address);
        drop(part);
        let same = buffer(length);
        assert_eq!(same.as_ptr(), address);
    }
}
