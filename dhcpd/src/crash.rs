//! The daemon's engine, its policy of leases and its journal through crashes, on a simulated disk:
//! the very code that the daemon runs, turn by turn in one thread, from one seed. Tests only.
//!
//! A schedule has one to four lives of a daemon. In each, clients (some of them share hardware or
//! identifier) DISCOVER, REQUEST, renew, RELEASE and DECLINE; time passes, the clock is set, the
//! configuration is reloaded, the lease file is rewritten again and again and has room written ahead
//! and cut off; the disk fills up, fails and is slow. Then the power goes or the process is killed, in the middle of any operation of the
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
//! What it does not see: threads (the journal's thread does a whole turn at a time, though what has
//! left counts even if the crash comes before its turn has ended), real descriptors (`journal`'s
//! own tests and the kills of `tests/tests/durability.rs` do), and times within a second. Two things
//! are the clients' risk and not counted: a lease whose client asked for a shorter one ends with the
//! shorter one even if the answer was lost, and a wall clock set forward ends leases early if the
//! power goes before the lease file has been rewritten, or if they are of an earlier life.
//!
//! That it sees what it should was tried by breaking the product, one fault at a time. From seed 0
//! on, the first schedule that failed was (but for the reload's row, as schedules went before a reload
//! had a copy begin anew here too):
//!
//! | fault | schedule |
//! |---|---|
//! | an acknowledgement leaves before its sync | 1 |
//! | a group is not synced | 1 |
//! | the replies of a group that failed are sent | 1 |
//! | an acknowledgement does not wait for the disk at all | 1 |
//! | the new file takes over unsynced | 8 |
//! | the directory is not synced after the rename | 1 |
//! | the directory is not synced at start | 210 |
//! | a rename in doubt is taken for done | 1878 |
//! | after a rename that failed the new file is kept on | 450 |
//! | during a rewrite only the old file gets records | 1 |
//! | once the new file is whole, only it gets records | 3 |
//! | once it is whole, it is not synced with each group | 4 |
//! | a group counts if either file has it | 47 |
//! | leases are copied behind the records that came later | 24 |
//! | leases kept aside are not copied | 3 |
//! | a copy that a reload finds under way goes on where it was | 17 |
//! | a line that a crash left open is not closed | 43 |
//! | a record with a gap in it is believed | 46 |
//! | a failed sync is trusted later | 268 |
//! | what a failed write has left is not taken back | 502 |
//! | it is taken back by a sync without a truncation | 308 |
//! | its truncation is not synced | 18043 |
//! | of two records for an address the first one counts | 3 |
//! | no rewrite after a failure | 55 |
//! | the rewrite after a failure waits for a minute | 103 |
//! | no rewrite when the clock was set | 1 |
//! | newlines within a record are no gap | 140 |
//! | a group that fits into the room is not synced | 2 |
//! | records and room that could not be written count as written | 5 |
//! | where there is room, what a failed write has left is not taken back | 1402 |
//! | with the room the end of the last record is cut off | 1 |
//! | behind room that a crash left, records go on without a newline before them | 680 |
//!
//! Four faults do no harm here and are not seen: what was found at start is not synced (the first
//! group does it), a RELEASE is not recorded (the address stays taken), records go on behind the room
//! that a crash left, and room that could not be written is not cut off before the group is written
//! without it. Where the rule of newlines is only too lenient, `leasefile`'s own tests see it.

pub(crate) mod disk;
mod inode;
mod machine;
mod model;
pub(crate) mod random;
mod schedule;
mod tests;
