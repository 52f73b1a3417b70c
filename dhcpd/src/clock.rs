//! The one place where dhcpd reads the time.

use crate::engine::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Milliseconds are counted from now.
    #[allow(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        Clock { start: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            // A clock before 1970: as good as the epoch itself.
            Err(_) => 0,
        };
        Now { wall, mono: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX) }
    }
}
