//! Replicated storage for two machines: the parts of hastlite(8) and hastctl(8).
//!
//! The library exists for the simulator, the fuzzers and the whole-system tests; its users are
//! the two programs.

pub mod args;
pub mod component;
pub mod conf;
pub mod config;
pub mod create;
pub mod ctl;
pub mod data;
pub mod engine;
pub mod layout;
pub mod listener;
pub mod metadata;
pub mod msg;
pub mod nbd;
pub mod nv;
pub mod outbox;
pub mod parent;
pub mod sim;
pub mod storage;
pub mod wire;
pub mod worker;

pub use data::Data;

/// The user that everything but the parent runs as.
pub const USER: &str = "hast";
