//! A DHCP server whose firewall tables follow every lease: the parts of dhcpd(8).
//!
//! The library exists for the fuzzers and the whole-system tests; its one user is `main.rs`.

pub mod args;
mod batch;
pub mod bpf;
mod clock;
pub mod conf;
pub mod config;
mod control;
#[cfg(test)]
mod crash;
pub mod ctl;
mod dotted;
pub mod doubts;
pub mod engine;
pub mod hooks;
pub mod icmp;
pub mod interfaces;
pub mod journal;
pub mod lease;
pub mod leasefile;
pub mod link;
pub mod listen;
pub mod msg;
pub mod parent;
pub mod resolver;
pub mod server;
pub mod socket;
pub mod sync;
pub mod tables;
pub mod udp;
pub mod watch;
pub mod wire;

/// The user that everything but the parent runs as.
pub const USER: &str = "_dhcp";
