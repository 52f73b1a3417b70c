//! Whether the caller's own thread does a request at once, or leaves it to another.
//!
//! To copy 4 KiB into the system's memory takes about two microseconds; to have another thread do
//! it and tell of it costs ten, and on a machine with few processors that thread has nowhere better
//! to run. But a write can take long: when too many pages are not on the disk yet the system lets
//! writers sleep, up to 200 ms at a time, and a file system's journal may be full. While the worker
//! sleeps it hears nobody. So:
//! * a request that took [`LONG`] is the last one for ten times as long as it took: of the time that
//!   such waits last the worker spends a tenth asleep, the threads all of it;
//! * of a few requests two may take more than [`SLOW`] (one can be bad luck: another process had the
//!   processor), then nothing is done at once for [`REST`];
//! * between two drains no more than [`MOST`] bytes are done at once.
//!
//! A disk that does not answer at all holds the worker in its first such write, as it would hold the
//! request anyway; the other node gives the link up after its timeout.

use std::time::{Duration, Instant};

/// What takes longer may have waited for something.
pub const SLOW: Duration = Duration::from_micros(300);
/// What takes longer has.
pub const LONG: Duration = Duration::from_millis(100);
/// How long nothing is done at once after slow requests.
pub const REST: Duration = Duration::from_millis(200);
/// Bytes done at once between two drains.
pub const MOST: usize = 1 << 20;

/// What one slow request counts; each quick one takes 1 off.
const WEIGHT: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    limit: usize,
    bytes: usize,
    score: u32,
    rest: Option<Instant>,
}

impl Pace {
    /// For requests of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, score: 0, rest: None }
    }

    /// Calls `request`, which is for `bytes` bytes, unless it is too large, or too much was done.
    /// It must be one that never waits.
    pub fn attempt_quick<T>(&mut self, bytes: usize, request: impl FnOnce() -> T) -> Option<T> {
        if bytes > self.limit || self.bytes > MOST {
            return None;
        }
        self.bytes += bytes;
        Some(request())
    }

    /// The same for one that may wait.
    pub fn attempt<T>(&mut self, bytes: usize, request: impl FnOnce() -> T) -> Option<T> {
        if bytes > self.limit || self.bytes > MOST {
            return None;
        }
        let begin = Instant::now();
        if self.rest.is_some_and(|until| begin < until) {
            return None;
        }
        self.bytes += bytes;
        let result = request();
        let end = Instant::now();
        self.took(end - begin, end);
        Some(result)
    }

    fn took(&mut self, took: Duration, now: Instant) {
        if took <= SLOW {
            self.score = self.score.saturating_sub(1);
            return;
        }
        self.score += WEIGHT;
        if took > LONG {
            self.score = 0;
            self.rest = now.checked_add(took.saturating_mul(10));
        } else if self.score > WEIGHT {
            self.score = 0;
            self.rest = now.checked_add(REST);
        }
    }

    /// What was done has been told.
    pub fn drained(&mut self) {
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(pace: &mut Pace, took: Duration, now: Instant) -> Option<Duration> {
        pace.took(took, now);
        pace.rest.take().map(|until| until - now)
    }

    #[test]
    fn a_long_wait_is_the_last_for_ten_times_as_long() {
        let (mut pace, now) = (Pace::new(4096), Instant::now());
        assert_eq!(rests(&mut pace, 2 * LONG, now), Some(20 * LONG));
        assert_eq!(rests(&mut pace, SLOW, now), None);
    }

    #[test]
    fn one_slow_request_may_be_bad_luck() {
        let (mut pace, now) = (Pace::new(4096), Instant::now());
        for _ in 0..5 {
            assert_eq!(rests(&mut pace, 2 * SLOW, now), None);
            for _ in 0..WEIGHT {
                assert_eq!(rests(&mut pace, SLOW / 2, now), None);
            }
        }
        assert_eq!(rests(&mut pace, 2 * SLOW, now), None);
        assert_eq!(rests(&mut pace, SLOW / 2, now), None);
        assert_eq!(rests(&mut pace, 2 * SLOW, now), Some(REST));
        assert_eq!(rests(&mut pace, 2 * SLOW, now), None);
    }

    #[test]
    fn what_rests_does_nothing() {
        let mut pace = Pace::new(4096);
        assert_eq!(pace.attempt(4096, || 1), Some(1));
        assert_eq!(pace.attempt(4097, || 2), None);
        pace.rest = Some(Instant::now() + Duration::from_secs(3600));
        assert_eq!(pace.attempt(1, || 3), None);
        assert_eq!(pace.attempt_quick(1, || 4), Some(4));
        pace.rest = Some(Instant::now());
        assert_eq!(pace.attempt(1, || 5), Some(5));
    }

    #[test]
    fn many_at_once_do_not_add_up() {
        let mut pace = Pace::new(4096);
        let done = (0..1000).filter(|_| pace.attempt_quick(4096, || ()).is_some()).count();
        assert_eq!(done, MOST / 4096 + 1);
        assert_eq!(pace.attempt(4096, || ()), None);
        pace.drained();
        assert!(pace.attempt(4096, || ()).is_some());
    }
}
