//! A moment on the clock that the kernel stamps its events with, so that what it says and what we
//! read ourselves can be put in order. Not the time of day: that is for people, and `wall` has it.

use std::fmt;
use std::ops::Sub;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment(read(ClockId::CLOCK_MONOTONIC))
    }

    /// This long after it.
    pub fn after(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time of day it stands for, as the clocks stand to each other now.
    pub fn wall(self) -> SystemTime {
        let (now, today) = (Moment::now(), SystemTime::now());
        if self <= now { today - (now - self) } else { today + (self - now) }
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// From the earlier one to this; nothing if it is the earlier one.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// A clock's nanoseconds; 0 from a clock that does not exist, which none of ours does.
pub(crate) fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0).saturating_mul(1_000_000_000)
            + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on() {
        let before = Moment::now();
        let later = before.after(Duration::from_millis(3));
        assert_eq!(later - before, Duration::from_millis(3));
        assert_eq!(before - later, Duration::ZERO);
        assert!(before <= Moment::now());
        assert_eq!(Moment(1_234_567_890).to_string(), "1.234567");
        assert!(before.wall() <= SystemTime::now() && later.wall() > before.wall());
    }
}
