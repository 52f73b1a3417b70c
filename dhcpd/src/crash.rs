//! The daemon's engine, its policy of leases and its journal through crashes, on a simulated disk:
//! the very code that the daemon runs, turn by turn in one thread, from one seed. Tests only.
//!
//! A schedule has one to four lives of a daemon. In each, clients (some of them share hardware or
//! identifier) DISCOVER, REQUEST, renew, RELEASE and DECLINE; time passes, the clock is set, the
//! configuration is reloaded, the lease file is rewritten again and again; the disk fills up, fails
//! and is slow. Then the power goes or the process is killed, in the middle of any operation of the
//! disk. After each crash, in whatever way unsynced writes and names may be found:
//!
//! - every lease that was acknowledged and is neither over, given back nor taken over by its own
//!   client is in the lease file, ends no sooner than was said, and is loaded;
//! - no record is found that was not written just so;
//! - no address goes to a client while another one was promised it, and no honest client is refused
//!   what it was promised;
//! - no acknowledgement leaves but by way of the disk;
//! - once nothing goes wrong any more, somebody is served within seconds.
//!
//! What it does not see: threads (the journal's thread does a whole turn at a time, though what it
//! has told counts even if the crash comes before its turn has ended), real descriptors (`journal`'s
//! own tests and the kills of `tests/tests/durability.rs` do), and times within a second. Two things
//! are the clients' risk and not counted: a lease whose client asked for a shorter one ends with the
//! shorter one even if the answer was lost, and a wall clock set forward ends leases early if the
//! power goes before the lease file has been rewritten, or if they are of an earlier life.

pub(crate) mod disk;
mod inode;
mod machine;
mod model;
pub(crate) mod random;
mod schedule;
mod tests;
