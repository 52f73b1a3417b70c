//! What a configuration asks of the system: files, addresses of host names, /etc/ethers.
//!
//! dhcpd.conf is read twice: by the parent, which may open files, and by the server, which may
//! not. The parent's answers are recorded and the server is given the same ones.

mod ethers;
mod recorded;
mod system;

pub use recorded::{DecodeError, RecordedSources};
pub use system::SystemSources;

use std::net::Ipv4Addr;
use std::sync::Arc;

/// Answers what a configuration asks. An error says what was tried, on what, and why not.
pub trait Sources {
    /// The bytes of a file.
    fn file(&mut self, path: &str) -> Result<Arc<[u8]>, String>;

    /// The IPv4 addresses of a host name, at least one.
    fn addresses(&mut self, name: &str) -> Result<Vec<Ipv4Addr>, String>;

    /// The Ethernet address that ethers(5) gives a host name.
    fn ethernet(&mut self, name: &str) -> Result<[u8; 6], String>;
}
