//! The executor in a process that may do no more than it says it has to, on Linux. Root is needed.

// Without the standard harness clippy does not see that this is a test.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
#[path = "storage_confined/linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("nothing to test here");
}
