//! A DHCP message as a bystander sees it pass: who says what to whom. Read with a few lines of the
//! tests' own, not with dhcpd's codec.

use crate::frame::Datagram;
use crate::hostile::options_of;
use crate::wire::REQUEST;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A message as it passed.
#[derive(Clone, Debug)]
pub struct Message {
    /// DHCP message type.
    pub kind: u8,
    /// Whether it is a server's (BOOTREPLY).
    pub answer: bool,
    /// IP source.
    pub from: Ipv4Addr,
    /// IP destination.
    pub to: Ipv4Addr,
    /// Transaction.
    pub xid: u32,
    /// The address that the client has.
    pub ciaddr: Ipv4Addr,
    /// The address that it is given.
    pub yiaddr: Ipv4Addr,
    /// The relay agent's.
    pub giaddr: Ipv4Addr,
    /// All options, those that come in parts put together.
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// Takes a datagram's payload apart.
    ///
    /// # Panics
    /// If it is no DHCP message.
    pub fn of(datagram: &Datagram) -> Message {
        let bytes = &datagram.payload;
        let options = options_of(bytes).expect("a DHCP message");
        let address = |at: usize| Ipv4Addr::from(*bytes[at..].first_chunk().expect("four bytes"));
        Message {
            kind: options[&53][0],
            answer: bytes[0] == 2,
            from: *datagram.source.ip(),
            to: *datagram.dest.ip(),
            xid: u32::from_be_bytes(*bytes[4..].first_chunk().expect("four bytes")),
            ciaddr: address(12),
            yiaddr: address(16),
            giaddr: address(24),
            options,
        }
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let bytes = self.options.get(&code)?;
        Some(Ipv4Addr::from(*bytes.first_chunk().expect("an address")))
    }

    /// Option 50.
    pub fn requested(&self) -> Option<Ipv4Addr> {
        self.address(50)
    }

    /// Option 54.
    pub fn server(&self) -> Option<Ipv4Addr> {
        self.address(54)
    }

    /// Sent to everybody.
    pub fn is_broadcast(&self) -> bool {
        self.to == Ipv4Addr::BROADCAST
    }

    /// A REQUEST of somebody who has this address: neither requested address nor server.
    pub fn is_extension(&self, address: Ipv4Addr) -> bool {
        self.kind == REQUEST
            && self.ciaddr == address
            && self.requested().is_none()
            && self.server().is_none()
    }
}
