//! The hook runner as a process of its own: in order, bounded, unprivileged, never in the way, and
//! with nothing left when its parent is gone. Needs root, to become somebody else.

// Without the standard harness clippy does not see that this is a test.
#![allow(clippy::expect_used)]

#[cfg(target_os = "linux")]
#[path = "hooks/linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("nothing to test here");
}
