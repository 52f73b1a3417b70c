//! A DHCP server whose firewall tables follow every lease: the parts of dhcpd(8).
//!
//! The library exists for the fuzzers and the whole-system tests; its one user is `main.rs`.

mod batch;
pub mod bpf;
pub mod conf;
pub mod config;
mod control;
pub mod engine;
pub mod icmp;
pub mod interfaces;
pub mod journal;
pub mod lease;
pub mod leasefile;
pub mod link;
pub mod socket;
pub mod udp;
pub mod wire;
