//! prefork-interp(1) as a whole, beside the original: the C client of Debian's chiark-utils-bin and
//! servers of the Perl module in chiark-scripts. What it starts is looked at in /proc.
//!
//! As root, tests run as users who have no account, each with a directory of their own. Otherwise
//! they run as whoever runs them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

#[path = "client/calls.rs"]
mod calls;
#[path = "client/care.rs"]
mod care;
#[path = "client/life.rs"]
mod life;
#[path = "client/world.rs"]
mod world;
