//! The text of dhcpd.leases(5): one record a lease, appended; the last record for an address wins.
//!
//! Not here: when a record is durable (`journal`), what two records for one address mean (the
//! engine's conflict rule), and opening or replacing the file.

mod date;
mod write;

pub use write::append_record;

/// The longest hardware address a record holds, in bytes: the size of `chaddr`.
pub const MAX_HARDWARE: usize = 16;
/// The longest client identifier a record holds, in bytes. One option is at most 255; RFC 3396
/// joins several, and no honest client comes near this.
pub const MAX_CLIENT_ID: usize = 1024;
/// The longest host name a record holds, in bytes: what one option can carry.
pub const MAX_NAME: usize = 255;
