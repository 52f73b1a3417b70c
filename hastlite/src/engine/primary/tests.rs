//! The primary's rules, and every hazard of the reference that bears on them, against a model of
//! the disk and of the other node ([`world`]).

mod degraded;
mod detach;
mod errors;
mod handshake;
mod modes;
mod random;
mod resyncs;
mod world;
