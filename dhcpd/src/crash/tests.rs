//! Schedules, the same ones every time and others each time.
//!
//! Unless told otherwise there are 20,000: half of them from seed 0 on, the others from anywhere.
//! `DHCPD_SIM_COUNT` asks for so many from anywhere (0: until one fails), `DHCPD_SIM_FIRST` says from
//! which seed on; `DHCPD_SIM_SEED` names one to be run again, with all that happens in it told on
//! standard error. `DHCPD_SIM_THREADS` says how many run at a time
//! (unset: as many as there are processors).

use super::machine::Seen;
use super::schedule::{Plan, run};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How many schedules are run if nobody says.
const ALWAYS: u64 = 20_000;

/// Tells what the daemon's code logs, when a schedule is run again.
struct Told;

impl log::Log for Told {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("    {}", record.args());
    }

    fn flush(&self) {}
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos() as u64);
    super::random::Rng(nanos ^ u64::from(std::process::id())).draw()
}

/// A panic is a failure like others, and has the seed in front of it.
fn checked(seed: u64) -> Result<Seen, String> {
    let outcome = catch_unwind(|| run(&Plan::new(seed)));
    outcome.unwrap_or_else(|_| Err("something has panicked; see above".to_owned()))
}

#[test]
fn q8_no_crash_costs_what_was_acknowledged() {
    if let Some(seed) = number("DHCPD_SIM_SEED") {
        let _ = log::set_logger(&Told);
        log::set_max_level(log::LevelFilter::Debug);
        run(&Plan { trace: true, ..Plan::new(seed) }).unwrap();
        return;
    }
    let count = number("DHCPD_SIM_COUNT");
    let most = count.unwrap_or(ALWAYS);
    let most = if most == 0 { u64::MAX } else { most };
    let first = number("DHCPD_SIM_FIRST");
    let (same, others) = (if count.is_none() { ALWAYS / 2 } else { 0 }, fresh());
    let seed_of = |number: u64| match first {
        Some(first) => first.wrapping_add(number),
        None if number < same => number,
        None => others.wrapping_add(number),
    };
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let told = Mutex::new((Instant::now(), Seen::default(), 0u64));
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let work = || {
        while failed.lock().unwrap().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= most {
                break;
            }
            let seed = seed_of(number);
            match checked(seed) {
                Err(why) => *failed.lock().unwrap() = Some((seed, why)),
                Ok(mut seen) => {
                    let mut told = told.lock().unwrap();
                    for ((_, total), (_, more)) in told.1.counts().into_iter().zip(seen.counts()) {
                        *total += *more;
                    }
                    told.2 += 1;
                    if most == u64::MAX && told.0.elapsed() > Duration::from_secs(5) {
                        let rate = told.2 as f64 / begun.elapsed().as_secs_f64();
                        eprintln!("{} schedules, {rate:.0} a second", told.2);
                        told.0 = Instant::now();
                    }
                }
            }
        }
    };
    let all = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let threads = number("DHCPD_SIM_THREADS").unwrap_or_else(all).max(1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (_, mut total, done) = told.into_inner().unwrap();
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    let counts: Vec<_> = total.counts().map(|(what, count)| format!("{count} {what}")).into();
    eprintln!("{done} schedules, {rate:.0} a second: {}", counts.join(", "));
    if let Some((seed, why)) = failed.into_inner().unwrap() {
        panic!("DHCPD_SIM_SEED={seed}: {why}");
    }
    // They go everywhere they should.
    for (what, count) in total.counts() {
        assert!(done < 1000 || *count as u64 > done / 50, "{count} {what} in {done} schedules");
    }
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    for seed in 0..20 {
        assert_eq!(run(&Plan::new(seed)), run(&Plan::new(seed)), "seed {seed}");
    }
}

/// A crash at every single operation of a few schedules, whatever the other tests have found.
#[test]
fn no_write_is_the_wrong_one_to_crash_in() {
    for seed in 0..5 {
        let whole = run(&Plan { operations: Some(usize::MAX), ..Plan::new(seed) }).unwrap();
        for operation in 1..=whole.operations {
            let plan = Plan { operations: Some(operation), ..Plan::new(seed) };
            let outcome = run(&plan);
            assert!(outcome.is_ok(), "{plan:?}: {outcome:?}");
        }
    }
}
