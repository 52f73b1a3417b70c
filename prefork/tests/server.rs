//! The server library, driven by the C client of Debian's chiark-utils-bin and by hand, on Linux:
//! what it is made of is seen in /proc.

// Without the standard harness clippy does not see that this is a test.
#![allow(clippy::expect_used, clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod server {
    pub mod caller;
    pub mod calls;
    pub mod life;
    pub mod proc;
    pub mod processes;
    pub mod program;
    #[allow(dead_code, reason = "waiting is done in our own way here")]
    #[path = "../../../supervise/tests/runner.rs"]
    pub mod runner;
    pub mod tests;
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    server::tests::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("nothing to test here");
}
