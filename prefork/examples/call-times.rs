//! How long commands take, from posix_spawn(3) until they are waited for: in turns, one after the
//! other, so that a noisy moment is everybody's. For bench/prefork; not a shell's own fork, which
//! takes longer than what is measured.
//!
//! ```sh
//! call-times 100 /bin/true -- /usr/bin/perl -e 1
//! ```
//!
//! One line for each command: median, tenth percentile, both in microseconds, and how many of its
//! runs did not exit 0. Standard input and output are /dev/null; one run before the first is not
//! counted.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// One command and how its runs went.
struct Case {
    command: Command,
    nanoseconds: Vec<u128>,
    failed: usize,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let count = words.next().and_then(|word| word.into_string().ok()).and_then(|w| w.parse().ok());
    let count: usize = count.ok_or("usage: call-times COUNT COMMAND ... [-- COMMAND ...]")?;
    let words: Vec<OsString> = words.collect();
    let mut cases = Vec::new();
    for words in words.split(|word| word == "--") {
        let (program, words) = words.split_first().ok_or("a command without words")?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        // With no more than this, the standard library takes posix_spawn(3).
        let mut command = Command::new(program);
        command.args(words).stdin(null.try_clone()?).stdout(null);
        cases.push(Case { command, nanoseconds: Vec::new(), failed: 0 });
    }

    for round in 0..=count {
        // Each time another one comes first: who runs after a long one finds cold caches.
        let length = cases.len();
        for case in (0..length).map(|turn| (round + turn) % length) {
            let Some(case) = cases.get_mut(case) else { continue };
            let began = Instant::now();
            let status = case.command.spawn().and_then(|mut child| child.wait());
            let took = began.elapsed().as_nanos();
            let status = status.map_err(|error| format!("{:?}: {error}", case.command))?;
            // The first one may have had a server to start.
            if round > 0 {
                case.nanoseconds.push(took);
                case.failed += usize::from(!status.success());
            }
        }
    }
    for case in &mut cases {
        case.nanoseconds.sort_unstable();
        let at = |part: usize| case.nanoseconds.get(count * part / 100).copied().unwrap_or(0);
        println!("{} {} {}", at(50) / 1000, at(10) / 1000, case.failed);
    }
    let failed = cases.iter().any(|case| case.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
