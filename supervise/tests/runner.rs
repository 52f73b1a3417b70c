//! Runs a list of tests in one thread, each by name, in the manner of the standard harness. It is
//! here because a test that starts itself again as a child needs `main` for itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A test: it fails by panicking.
pub type Test = (&'static str, fn());

/// Runs those whose name contains the first argument that is no option.
pub fn run(tests: &[Test]) -> ExitCode {
    // What is ignored in the background of a shell, or under nohup, is not what is tested.
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: a number, and a disposition that runs no code.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filter = words.iter().find(|word| !word.starts_with('-'));
    let chosen = tests.iter().filter(|(name, _)| filter.is_none_or(|f| name.contains(f.as_str())));
    if words.iter().any(|word| word == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, test) in chosen {
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(*name),
        }
        println!("test {name} ... {}", if failed.contains(name) { "FAILED" } else { "ok" });
    }
    println!("\n{passed} passed, {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until `condition` holds; panics if it does not within ten seconds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "not within ten seconds: {what}");
        std::thread::yield_now();
    }
}
