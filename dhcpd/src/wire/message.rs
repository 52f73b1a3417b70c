//! A BOOTP or DHCP message as received: the fixed fields, borrowed from the packet.
//!
//! Nothing is judged here but what makes it unreadable. Options are `options`' business.

use super::{COOKIE, FILE, FIXED, SNAME};
use std::fmt;
use std::net::Ipv4Addr;

/// The hardware address field's size; no `hlen` may exceed it.
pub const CHADDR: usize = 16;

/// Why bytes are no message, or their options no options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Fewer bytes than the fixed part and a cookie take.
    Short {
        /// How many there were.
        len: usize,
    },
    /// `hlen` is more than the 16 bytes that `chaddr` has.
    HardwareLength(u8),
    /// An option reaches beyond the field that holds it.
    OptionOverrun {
        /// The option's code.
        code: u8,
    },
    /// An option the message cannot be read without has a length or value it must not have.
    OptionValue {
        /// The option's code.
        code: u8,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Short { len } => write!(f, "message of {len} bytes is too short"),
            ParseError::HardwareLength(hlen) => write!(f, "hardware address of {hlen} bytes"),
            ParseError::OptionOverrun { code } => {
                write!(f, "option {code} reaches beyond its field")
            }
            ParseError::OptionValue { code } => write!(f, "option {code} has an impossible value"),
        }
    }
}

impl std::error::Error for ParseError {}

/// A message whose fixed fields can be read (RFC 2131 section 2). Numbers are in host order.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    fixed: &'a [u8; FIXED],
    /// What follows the fixed fields, cookie included.
    vendor: &'a [u8],
    /// What follows the cookie; `None` without one.
    options: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// A view of `packet`, the payload of a UDP datagram.
    ///
    /// # Errors
    /// [`ParseError::Short`] and [`ParseError::HardwareLength`].
    pub fn parse(packet: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let short = ParseError::Short { len: packet.len() };
        let (fixed, vendor) = packet.split_first_chunk::<FIXED>().ok_or(short)?;
        let (cookie, options) = vendor.split_first_chunk::<4>().ok_or(short)?;
        let message = Message { fixed, vendor, options: (*cookie == COOKIE).then_some(options) };
        if usize::from(message.hlen()) > CHADDR {
            return Err(ParseError::HardwareLength(message.hlen()));
        }
        Ok(message)
    }

    /// 1 from a client, 2 from a server.
    pub fn op(&self) -> u8 {
        self.fixed[0]
    }

    /// Hardware type; 1 is Ethernet.
    pub fn htype(&self) -> u8 {
        self.fixed[1]
    }

    /// Length of the hardware address, at most 16.
    pub fn hlen(&self) -> u8 {
        self.fixed[2]
    }

    /// How many relay agents it went through, by their own account.
    pub fn hops(&self) -> u8 {
        self.fixed[3]
    }

    /// The transaction's number.
    pub fn xid(&self) -> u32 {
        u32::from_be_bytes(self.four(4))
    }

    /// Seconds since the client began.
    pub fn secs(&self) -> u16 {
        u16::from_be_bytes([self.fixed[8], self.fixed[9]])
    }

    /// `flags`; the top bit asks for broadcasts.
    pub fn flags(&self) -> u16 {
        u16::from_be_bytes([self.fixed[10], self.fixed[11]])
    }

    /// The client's address, if it has one and can use it.
    pub fn ciaddr(&self) -> Ipv4Addr {
        self.four(12).into()
    }

    /// "Your" address.
    pub fn yiaddr(&self) -> Ipv4Addr {
        self.four(16).into()
    }

    /// Address of the next server.
    pub fn siaddr(&self) -> Ipv4Addr {
        self.four(20).into()
    }

    /// Address of the relay agent.
    pub fn giaddr(&self) -> Ipv4Addr {
        self.four(24).into()
    }

    /// The hardware address: `hlen` bytes.
    pub fn chaddr(&self) -> &'a [u8] {
        let field: &'a [u8; FIXED] = self.fixed;
        &field[28..28 + usize::from(self.hlen())]
    }

    /// All of the hardware address field, as a reply returns it.
    pub fn chaddr_field(&self) -> [u8; CHADDR] {
        let mut field = [0; CHADDR];
        field.copy_from_slice(&self.fixed[28..28 + CHADDR]);
        field
    }

    /// The 64 bytes of `sname`.
    pub fn sname(&self) -> &'a [u8] {
        let field: &'a [u8; FIXED] = self.fixed;
        &field[SNAME]
    }

    /// The 128 bytes of `file`.
    pub fn file(&self) -> &'a [u8] {
        let field: &'a [u8; FIXED] = self.fixed;
        &field[FILE]
    }

    /// Whether options follow (RFC 2132's cookie). Without, it is BOOTP as before RFC 1048.
    pub fn has_cookie(&self) -> bool {
        self.options.is_some()
    }

    /// Everything behind the fixed fields, a cookie included: RFC 951's vendor area, at least 4 bytes.
    pub fn vendor_area(&self) -> &'a [u8] {
        self.vendor
    }

    /// The options field behind the cookie, unread; empty without a cookie.
    pub fn options_field(&self) -> &'a [u8] {
        self.options.unwrap_or_default()
    }

    fn four(&self, at: usize) -> [u8; 4] {
        [self.fixed[at], self.fixed[at + 1], self.fixed[at + 2], self.fixed[at + 3]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbered() -> Vec<u8> {
        let mut packet: Vec<u8> = (0..236).map(|i| i as u8).collect();
        packet[2] = 6;
        packet.extend([99, 130, 83, 99, 255]);
        packet
    }

    #[test]
    fn every_field_is_where_rfc_2131_puts_it() {
        let packet = numbered();
        let m = Message::parse(&packet).unwrap();
        assert_eq!((m.op(), m.htype(), m.hlen(), m.hops()), (0, 1, 6, 3));
        assert_eq!((m.xid(), m.secs(), m.flags()), (0x0405_0607, 0x0809, 0x0a0b));
        assert_eq!(m.ciaddr(), Ipv4Addr::new(12, 13, 14, 15));
        assert_eq!(m.yiaddr(), Ipv4Addr::new(16, 17, 18, 19));
        assert_eq!(m.siaddr(), Ipv4Addr::new(20, 21, 22, 23));
        assert_eq!(m.giaddr(), Ipv4Addr::new(24, 25, 26, 27));
        assert_eq!(m.chaddr(), &[28, 29, 30, 31, 32, 33]);
        assert_eq!(m.chaddr_field()[15], 43);
        assert_eq!((m.sname()[0], m.sname().len()), (44, 64));
        assert_eq!((m.file()[0], m.file().len()), (108, 128));
        assert!(m.has_cookie());
        assert_eq!(m.options_field(), &[255]);
        assert_eq!(m.vendor_area(), &[99, 130, 83, 99, 255]);
    }

    #[test]
    fn too_short_or_too_long_a_hardware_address_is_refused() {
        let packet = numbered();
        for len in 0..240 {
            assert_eq!(Message::parse(&packet[..len]).unwrap_err(), ParseError::Short { len });
        }
        assert!(Message::parse(&packet[..240]).is_ok());
        let mut packet = numbered();
        packet[2] = 16;
        assert_eq!(Message::parse(&packet).unwrap().chaddr().len(), 16);
        packet[2] = 17;
        assert_eq!(Message::parse(&packet).unwrap_err(), ParseError::HardwareLength(17));
    }

    #[test]
    fn another_cookie_is_none() {
        let mut packet = numbered();
        packet[239] = 98;
        let m = Message::parse(&packet).unwrap();
        assert!(!m.has_cookie());
        assert!(m.options_field().is_empty());
        assert_eq!(m.vendor_area(), &[99, 130, 83, 98, 255]);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(packet in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(m) = Message::parse(&packet) {
                prop_assert!(m.chaddr().len() <= CHADDR);
            }
        }
    }
}
