//! Going to the background and saying that service has begun, on Linux: what is left of whoever
//! started it is seen in /proc.

// Without the standard harness clippy does not see that this is a test.
#![allow(clippy::expect_used)]

#[cfg(target_os = "linux")]
#[path = "daemon_linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("nothing to test here");
}
