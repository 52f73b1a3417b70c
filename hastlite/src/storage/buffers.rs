//! Buffers that have been used and will be again: their pages are there already, and need not be
//! cleared.

use crate::Data;

/// The shortest, bytes. Lengths are powers of two from here.
const SHORTEST: usize = 4096;
/// How many lengths are kept: up to 32 MiB.
const LENGTHS: usize = 14;
/// The most bytes that are kept.
const MOST: usize = 64 << 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Buffers {
    free: [Vec<Vec<u8>>; LENGTHS],
    bytes: usize,
}

/// Which of the lists is for buffers of at least `length`, if one is.
fn list(length: usize) -> Option<usize> {
    let blocks = length.max(SHORTEST).div_ceil(SHORTEST);
    let list = blocks.checked_next_power_of_two()?.trailing_zeros() as usize;
    (list < LENGTHS).then_some(list)
}

impl Buffers {
    /// One of at least `length` bytes, with anything in them.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let Some(list) = list(length) else { return vec![0; length] };
        match self.free[list].pop() {
            Some(buffer) => {
                self.bytes -= buffer.len();
                buffer
            }
            None => vec![0; SHORTEST << list],
        }
    }

    /// Keeps the buffer, if nobody else holds a part of it and it is one of those lengths.
    pub fn recycle(&mut self, data: Data) {
        let Some(buffer) = data.reclaim() else { return };
        let Some(list) = list(buffer.len()) else { return };
        if buffer.len() == SHORTEST << list && self.bytes + buffer.len() <= MOST {
            self.bytes += buffer.len();
            self.free[list].push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back() {
        let mut buffers = Buffers::default();
        let buffer = buffers.take(5000);
        assert_eq!(buffer.len(), 8192);
        let address = buffer.as_ptr();
        let data = Data::from(buffer).slice(0..5000);
        let part = data.slice(1..2);
        buffers.recycle(data);
        assert_eq!(buffers.bytes, 0, "a part is still held");
        buffers.recycle(part);
        assert_eq!(buffers.bytes, 8192);
        let other = buffers.take(4096);
        let same = buffers.take(4097);
        assert!(other.as_ptr() != address && same.as_ptr() == address);
        assert_eq!(buffers.bytes, 0);
    }

    #[test]
    fn lengths() {
        let mut buffers = Buffers::default();
        for (length, got) in [(0, 4096), (1, 4096), (4096, 4096), (1 << 20, 1 << 20)] {
            assert_eq!(buffers.take(length).len(), got);
        }
        assert_eq!(buffers.take((32 << 20) + 1).len(), (32 << 20) + 1);
        buffers.recycle(Data::from(vec![0; 4097]));
        buffers.recycle(Data::from(vec![0; 100]));
        buffers.recycle(Data::from(vec![0; 64 << 20]));
        assert_eq!(buffers.bytes, 0);
        for _ in 0..3 {
            buffers.recycle(Data::from(vec![0; 32 << 20]));
        }
        assert_eq!(buffers.bytes, MOST);
    }
}
