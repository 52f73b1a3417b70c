//! A DHCP server whose firewall tables follow every lease: the parts of dhcpd(8).
//!
//! The library exists for the fuzzers and the whole-system tests; its one user is `main.rs`.

pub mod conf;
pub mod config;
pub mod engine;
pub mod lease;
pub mod leasefile;
pub mod wire;
