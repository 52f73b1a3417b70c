//! The engine's time: seconds that never jump, whatever is done to the wall clock.
//!
//! A client counts its lease by its own clock, so a lease given must last as long here, even if
//! the wall clock is set meanwhile. Leases therefore end in engine time, which starts as the wall's
//! and then runs with the monotonic clock. Records are written in wall time, with the difference
//! there is when they are written.

use super::Now;

/// How much the two may differ in a second's rounding before it counts as a step.
const SLACK: i64 = 1;

#[derive(Debug, Default)]
pub(super) struct Clock {
    base: Option<i64>,
    /// Wall time less engine time.
    offset: i64,
    /// Engine time when last read.
    last: i64,
    /// The second had begun before that.
    within: bool,
    /// How far the wall clock was set since that was last asked for.
    step: i64,
}

impl Clock {
    /// Whether it was never read.
    pub(super) fn is_new(&self) -> bool {
        self.base.is_none()
    }

    /// The engine time of `now`.
    pub(super) fn read(&mut self, now: Now) -> i64 {
        // Wall times the calendar cannot say are as good as the nearest it can.
        let wall = now.wall.clamp(-crate::lease::NEVER, crate::lease::NEVER);
        let seconds = (now.mono / 1000) as i64;
        let base = *self.base.get_or_insert(wall - seconds);
        let time = base + seconds;
        self.last = time;
        self.within = !now.mono.is_multiple_of(1000);
        let step = wall - (time + self.offset);
        if step.abs() > SLACK {
            self.offset += step;
            self.step += step;
        }
        time
    }

    /// How far the wall clock was set since the last call, if it was.
    pub(super) fn take_step(&mut self) -> Option<i64> {
        Some(std::mem::take(&mut self.step)).filter(|step| *step != 0)
    }

    /// The engine time last read.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// When what is done to a lease now is to have begun: a client counts whole seconds from within
    /// one of ours, and must not find that its lease has ended before.
    pub(super) fn begins(&self) -> i64 {
        self.last.saturating_add(i64::from(self.within))
    }

    /// The wall time of an engine time, as the clocks stand now.
    pub(super) fn wall(&self, time: i64) -> i64 {
        time.saturating_add(self.offset)
    }

    /// The engine time of a wall time, as the clocks stand now.
    pub(super) fn engine(&self, wall: i64) -> i64 {
        wall.saturating_sub(self.offset)
    }

    /// When an engine second begins, in milliseconds of the monotonic clock.
    pub(super) fn mono(&self, time: i64) -> u64 {
        let seconds = time.saturating_sub(self.base.unwrap_or_default());
        u64::try_from(seconds).unwrap_or_default().saturating_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_seen_once_and_rounding_never() {
        let mut clock = Clock::default();
        let read = |clock: &mut Clock, wall, mono| clock.read(Now { wall, mono });
        assert_eq!(read(&mut clock, 5_000, 10_900), 5_000);
        assert_eq!(read(&mut clock, 5_001, 10_999), 5_000);
        assert_eq!(read(&mut clock, 5_001, 11_950), 5_001);
        assert_eq!(clock.take_step(), None);
        assert_eq!(read(&mut clock, 1_402, 12_000), 5_002);
        assert_eq!(read(&mut clock, 1_403, 13_000), 5_003);
        assert_eq!((clock.take_step(), clock.take_step()), (Some(-3_600), None));
        assert_eq!((clock.wall(5_003), clock.engine(1_403), clock.last()), (1_403, 5_003, 5_003));
        assert_eq!(clock.mono(5_003), 13_000);
        assert_eq!(clock.mono(0), 0);
    }

    #[test]
    fn no_time_overflows() {
        for wall in [i64::MIN, -1, 0, i64::MAX] {
            let mut clock = Clock::default();
            clock.read(Now { wall, mono: u64::MAX });
            clock.read(Now { wall: wall.wrapping_neg(), mono: 0 });
            clock.wall(i64::MAX);
            clock.engine(i64::MIN);
            clock.mono(i64::MAX);
            clock.mono(i64::MIN);
        }
    }
}
