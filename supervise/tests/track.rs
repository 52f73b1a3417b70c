//! Real processes, followed: every fork with its parent, every end with its status, every loss
//! with its size.

// Without the standard harness clippy does not see that this is a test.
#![allow(clippy::expect_used)]

#[cfg(target_os = "linux")]
#[path = "track_linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("nothing to test here");
}
