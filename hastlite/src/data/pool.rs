//! Buffers that have been used and will be again: their pages are there already, and need not be
//! cleared. One for the whole process, because a buffer is filled by one thread, sent by another and
//! dropped by whoever needed it longest.

use std::sync::{Mutex, PoisonError};

/// The shortest, bytes. Lengths are powers of two from here; what is longer than the longest is not
/// kept.
const SHORTEST: usize = 4096;
/// How many lengths are kept: up to 32 MiB.
const LENGTHS: usize = 14;
/// The most bytes that are kept.
const MOST: usize = 64 << 20;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

#[derive(Debug)]
struct Pool {
    free: [Vec<Vec<u8>>; LENGTHS],
    bytes: usize,
}

/// A buffer of at least `length` bytes, with anything in them.
pub fn take(length: usize) -> Vec<u8> {
    let Some(list) = list(length) else { return vec![0; length] };
    let kept = POOL.lock().unwrap_or_else(PoisonError::into_inner).take(list);
    kept.unwrap_or_else(|| vec![0; SHORTEST << list])
}

/// Keeps it, if it is of one of the lengths.
pub(super) fn give(buffer: Vec<u8>) {
    let Some(list) = list(buffer.len()) else { return };
    if buffer.len() == SHORTEST << list {
        // What is too much is freed without the lock.
        let _much = POOL.lock().unwrap_or_else(PoisonError::into_inner).give(list, buffer);
    }
}

/// Which of the lists is for buffers of at least `length`, if one is.
fn list(length: usize) -> Option<usize> {
    let blocks = length.max(SHORTEST).div_ceil(SHORTEST);
    let list = blocks.checked_next_power_of_two()?.trailing_zeros() as usize;
    (list < LENGTHS).then_some(list)
}

impl Pool {
    const fn new() -> Self {
        Self { free: [const { Vec::new() }; LENGTHS], bytes: 0 }
    }

    fn take(&mut self, list: usize) -> Option<Vec<u8>> {
        let buffer = self.free.get_mut(list)?.pop()?;
        self.bytes -= buffer.len();
        Some(buffer)
    }

    /// Returns it if it is too much.
    fn give(&mut self, list: usize, buffer: Vec<u8>) -> Option<Vec<u8>> {
        let free = self.free.get_mut(list).filter(|_| self.bytes + buffer.len() <= MOST);
        let Some(free) = free else { return Some(buffer) };
        self.bytes += buffer.len();
        free.push(buffer);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back() {
        let mut pool = Pool::new();
        assert!(pool.take(1).is_none());
        let buffer = vec![0; 8192];
        let address = buffer.as_ptr();
        assert!(pool.give(1, buffer).is_none());
        assert_eq!(pool.bytes, 8192);
        assert!(pool.take(0).is_none());
        assert_eq!(pool.take(1).map(|same| same.as_ptr()), Some(address));
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn no_more_is_kept_than_that() {
        let mut pool = Pool::new();
        let much = (0..3).filter_map(|_| pool.give(13, vec![0; 32 << 20])).count();
        assert_eq!((much, pool.bytes), (1, MOST));
    }

    #[test]
    fn lengths() {
        for (length, got) in [(0, 4096), (1, 4096), (4096, 4096), (4097, 8192), (1 << 20, 1 << 20)]
        {
            assert_eq!(take(length).len(), got);
        }
        assert_eq!(take((32 << 20) + 1).len(), (32 << 20) + 1);
        assert_eq!(list(64 << 20), None);
    }
}
