//! safe-kill and the locked PID file, with real processes, on Linux: it needs /proc to see who is
//! there, and namespaces.

// Without the standard harness clippy does not see that this is a test.
#![allow(clippy::expect_used)]

#[cfg(target_os = "linux")]
#[path = "safe_kill_linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("nothing to test here");
}
