//! Whole-system tests: real daemons, real clients, a real wire between two network namespaces.
//!
//! The library is the laboratory; each file in `tests/` is one subject. Everything made here is
//! taken away again when it is dropped, and every wait has a deadline.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

pub mod calls;
pub mod capture;
pub mod client;
pub mod daemon;
pub mod descriptors;
pub mod dns;
pub mod exposition;
pub mod frame;
pub mod hostile;
pub mod lab;
pub mod leasefile;
pub mod load;
pub mod message;
pub mod nbd;
pub mod pair;
pub mod peer;
pub mod process;
pub mod random;
pub mod relayed;
pub mod sync;
pub mod tun;
pub mod wire;
pub mod writes;
