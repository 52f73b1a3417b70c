//! IPv4 addresses as text where that is made for every message: in log lines and lease records.
//!
//! Everywhere else std's own `Display` does; what it takes for width and digits of four numbers was
//! a tenth of what a log line costs.

use std::fmt;
use std::net::Ipv4Addr;

/// The longest address, in bytes.
pub(crate) const LONGEST: usize = "255.255.255.255".len();

/// An address that is written as std's `Display` does, without width or fill.
#[derive(Clone, Copy)]
pub(crate) struct Dotted(pub(crate) Ipv4Addr);

impl Dotted {
    /// The text, in `room`.
    pub(crate) fn text(self, room: &mut [u8; LONGEST]) -> &str {
        let mut used = 0;
        for (number, octet) in self.0.octets().into_iter().enumerate() {
            if number > 0 {
                room[used] = b'.';
                used += 1;
            }
            let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
            let skip = usize::from(octet < 100) + usize::from(octet < 10);
            for digit in &digits[skip..] {
                room[used] = *digit;
                used += 1;
            }
        }
        room.get(..used).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; LONGEST]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_in_every_place_is_as_std_writes_it() {
        for octet in 0..=255 {
            for octets in [
                [octet, 0, 10, 255],
                [9, octet, 100, 99],
                [255, 255, octet, 255],
                [1, 20, 0, octet],
                [octet; 4],
            ] {
                let address = Ipv4Addr::from(octets);
                assert_eq!(Dotted(address).to_string(), address.to_string());
            }
        }
    }
}
