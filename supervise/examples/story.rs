//! The two daemons of the demonstration (`make demo-supervise`) and of a test: one with many
//! threads, and an old-fashioned one that trusts its PID file. That is what supervise(8) is for.
//!
//! ```text
//! story first [THREADS]    starts 50 threads, says so, and works on until it is ended
//! story second PIDFILE     ends whom the file names, writes itself there, and works on
//! ```

use std::process::ExitCode;
use std::sync::{Arc, Barrier};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["first"] => first(50),
        ["first", threads] => first(threads.parse().unwrap_or(50)),
        ["second", file] => match second(file) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("second: {file}: {error}");
                return ExitCode::FAILURE;
            }
        },
        _ => {
            eprintln!("usage: story first [threads] | story second pidfile");
            return ExitCode::from(2);
        }
    }
    loop {
        std::thread::park();
    }
}

fn first(threads: usize) {
    let all = Arc::new(Barrier::new(threads + 1));
    for _ in 0..threads {
        let all = Arc::clone(&all);
        std::thread::spawn(move || {
            all.wait();
            loop {
                std::thread::park();
            }
        });
    }
    all.wait();
    println!("first: process {}, {threads} threads", std::process::id());
}

/// What many daemons do at their start, and none should.
fn second(file: &str) -> std::io::Result<()> {
    let me = std::process::id();
    if let Some(number) =
        std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok())
    {
        println!("second: process {me}; my file says that I run already as {number}: ending that");
        let old = nix::unistd::Pid::from_raw(number);
        // It may well be gone, as far as the second daemon cares.
        let _ = nix::sys::signal::kill(old, nix::sys::signal::Signal::SIGTERM);
    }
    std::fs::write(file, format!("{me}\n"))?;
    println!("second: process {me}, as my file says");
    Ok(())
}
