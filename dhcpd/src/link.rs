//! The wire itself: frames to and from one interface, past the system's own IP stack.
//!
//! The parent, as root, opens it with its filter attached and locked; the server reads and writes
//! batches of frames through the descriptor. What came to everybody comes in here, what came to
//! us alone through `udp`: every message once.

use crate::wire::frame::FrameError;
use std::net::Ipv4Addr;

#[cfg(target_os = "linux")]
#[path = "link_linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "link_bpf.rs"]
mod system;

pub use system::{Link, Wire, open};
#[cfg(target_os = "linux")]
pub(crate) use system::{instructions, lock_program};

/// A reply that leaves as a frame, from the server's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutFrame<'a> {
    /// Hardware address it goes to.
    pub mac: [u8; 6],
    /// IP source.
    pub source: Ipv4Addr,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// UDP destination port, in host order.
    pub dest_port: u16,
    /// The message.
    pub payload: &'a [u8],
}

/// What a link has seen since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came past the filter.
    pub frames: u64,
    /// Of these: IPv4 header checksum wrong.
    pub bad_ip: u64,
    /// Of these: UDP checksum wrong.
    pub bad_udp: u64,
    /// Of these: fragments, lengths that do not agree, or no UDP at all.
    pub malformed: u64,
    /// Of these: tagged for a VLAN, which is another interface's.
    pub tagged: u64,
}

impl Counters {
    fn refuse(&mut self, error: FrameError) {
        match error {
            FrameError::IpChecksum => self.bad_ip += 1,
            FrameError::UdpChecksum => self.bad_udp += 1,
            FrameError::Foreign | FrameError::Fragment | FrameError::Length => self.malformed += 1,
        }
    }
}
