//! Whether, and when, what has ended is started again. Pure: ends and moments in, delays out.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Exit, Moment};

/// After the first end, and doubled with each of those that follow it closely.
const FIRST: Duration = Duration::from_millis(100);

/// Never longer than that.
const LONGEST: Duration = Duration::from_secs(30);

/// Whoever ran so long is not said to have failed at once: the next delay is the first again.
const GOOD: Duration = Duration::from_secs(30);

/// When to start again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    #[default]
    No,
    /// After every end but exit code 0.
    OnFailure,
    /// After every end.
    Always,
}

/// How many restarts are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many restarts ...
    pub count: usize,
    /// ... within this time are still allowed.
    pub within: Duration,
}

impl Default for Limit {
    /// Ten in two minutes: what fails at once is given up after some eighty seconds.
    fn default() -> Limit {
        Limit { count: 10, within: Duration::from_secs(120) }
    }
}

/// What is to follow an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: that was all.
    Stay,
    /// Another start, after this delay.
    After(Duration),
    /// Nothing: there have been too many restarts.
    GiveUp(Limit),
}

/// The restarts of one command.
#[derive(Clone, Debug)]
pub struct Restarts {
    policy: Policy,
    limit: Limit,
    /// When there was one, as far as it matters to the limit.
    past: VecDeque<Moment>,
    /// How many ends in a row came soon.
    soon: u32,
    total: u64,
}

impl Restarts {
    /// None yet.
    pub fn new(policy: Policy, limit: Limit) -> Restarts {
        Restarts { policy, limit, past: VecDeque::new(), soon: 0, total: 0 }
    }

    /// How many there have been.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What has run since `since` has ended.
    pub fn ended(&mut self, exit: Option<Exit>, since: Moment, now: Moment) -> Next {
        let wanted = match self.policy {
            Policy::No => false,
            Policy::OnFailure => !exit.is_some_and(Exit::success),
            Policy::Always => true,
        };
        if !wanted {
            return Next::Stay;
        }
        while self.past.front().is_some_and(|&old| now - old > self.limit.within) {
            self.past.pop_front();
        }
        if self.past.len() >= self.limit.count {
            return Next::GiveUp(self.limit);
        }
        self.soon = if now - since >= GOOD { 0 } else { self.soon.saturating_add(1) };
        self.past.push_back(now);
        self.total += 1;
        Next::After(delay(self.soon))
    }

    /// Somebody asks for a restart: it is at once, and counts for nothing.
    pub fn asked(&mut self) {
        self.past.clear();
        self.soon = 0;
        self.total += 1;
    }
}

fn delay(soon: u32) -> Duration {
    let doublings = soon.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        match text {
            "no" => Ok(Policy::No),
            "on-failure" => Ok(Policy::OnFailure),
            "always" => Ok(Policy::Always),
            _ => Err(format!("{text}: not one of no, on-failure, always")),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    /// `N/SECONDS`.
    fn from_str(text: &str) -> Result<Limit, String> {
        let read = || {
            let (count, seconds) = text.split_once('/')?;
            let seconds: u32 = seconds.parse().ok().filter(|&seconds| seconds > 0)?;
            // More than anybody means, and a bound for what is remembered.
            let count = count.parse().ok().filter(|count| (1..=10_000).contains(count))?;
            Some(Limit { count, within: Duration::from_secs(seconds.into()) })
        };
        read().ok_or_else(|| format!("{text}: not N/SECONDS"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s", self.count, self.within.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE_1: Option<Exit> = Some(Exit::Exited(1));
    const START: Moment = Moment(1_000_000_000);

    fn after(next: Next) -> Duration {
        let Next::After(delay) = next else { panic!("{next:?}") };
        delay
    }

    #[test]
    fn who_is_started_again() {
        let term = Some(Exit::Signaled { signal: libc::SIGTERM, core: false });
        let ends = [Some(Exit::Exited(0)), Some(Exit::Exited(143)), term, None];
        for (policy, again) in [
            (Policy::No, [false; 4]),
            (Policy::OnFailure, [false, true, true, true]),
            (Policy::Always, [true; 4]),
        ] {
            for (exit, again) in ends.into_iter().zip(again) {
                let next = Restarts::new(policy, Limit::default()).ended(exit, START, START);
                assert_eq!(next != Next::Stay, again, "{policy:?} {exit:?}");
            }
        }
    }

    #[test]
    fn later_and_later_until_it_has_run_well() {
        let limit = Limit { count: 100, within: Duration::from_secs(1000) };
        let mut restarts = Restarts::new(Policy::Always, limit);
        let mut now = START;
        let mut delays = Vec::new();
        for _ in 0..11 {
            let delay = after(restarts.ended(CODE_1, now, now));
            delays.push(delay.as_millis());
            now = now.after(delay);
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        let later = now.after(GOOD);
        assert_eq!(after(restarts.ended(CODE_1, now, later)), FIRST);
        assert_eq!(restarts.total(), 12);
    }

    #[test]
    fn too_many_are_too_many() {
        let limit: Limit = "3/60".parse().expect("a limit");
        let mut restarts = Restarts::new(Policy::OnFailure, limit);
        for _ in 0..3 {
            after(restarts.ended(CODE_1, START, START));
        }
        assert_eq!(restarts.ended(CODE_1, START, START), Next::GiveUp(limit));
        // The old ones count no more after a while, and not at all if somebody asks for another.
        let later = START.after(Duration::from_secs(61));
        after(restarts.clone().ended(CODE_1, later, later));
        restarts.asked();
        after(restarts.ended(CODE_1, START, START));
    }

    #[test]
    fn a_limit_has_two_numbers() {
        for bad in ["", "3", "3/", "/3", "0/60", "3/0", "3/-1", "a/b", "10001/60", "3/60/1"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }
}
