//! Ethernet, IPv4 and UDP around a DHCP message: taken apart on the way in, built on the way out.
//!
//! Which sockets the frames come from is `link`'s business, what is inside them `message`'s.

use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::udp::UdpPacket;
use std::fmt;
use std::net::Ipv4Addr;

/// Length of the headers that [`headers`] builds, in bytes: Ethernet, IPv4 without options, UDP.
pub const HEADERS: usize = ETHERNET + IPV4 + UDP;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// Of a reply: it is for this wire or one behind a near relay agent.
const TTL: u8 = 16;
/// Of a reply: low delay.
const TOS: u8 = 0x10;
const DONT_FRAGMENT: u8 = 0b010;

/// What the kernel says about a frame's UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpChecksum {
    /// Nothing: it is verified here.
    Unknown,
    /// It is right, or was left for a network card to fill in and the frame never met one.
    Settled,
}

/// A UDP datagram in a frame. Ports are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Hardware address of the sender of the frame.
    pub mac: [u8; 6],
    /// IP source.
    pub source: Ipv4Addr,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub dest_port: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why a frame is not one to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Not UDP over IPv4 over Ethernet.
    Foreign,
    /// Part of a datagram: a DHCP message on the wire comes whole.
    Fragment,
    /// A length that does not fit the others or the frame.
    Length,
    /// The IPv4 header's checksum is wrong.
    IpChecksum,
    /// The UDP checksum is there and wrong.
    UdpChecksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::Foreign => "not UDP over IPv4",
            FrameError::Fragment => "a fragment",
            FrameError::Length => "lengths that do not agree",
            FrameError::IpChecksum => "bad IP checksum",
            FrameError::UdpChecksum => "bad UDP checksum",
        })
    }
}

impl std::error::Error for FrameError {}

/// Takes a frame apart. Bytes behind the IP datagram (Ethernet's padding) are ignored.
///
/// # Errors
/// Every [`FrameError`]. A UDP checksum of zero means that there is none (RFC 768).
pub fn parse(frame: &[u8], checksum: UdpChecksum) -> Result<Datagram<'_>, FrameError> {
    let ethernet = EthernetPacket::new(frame).ok_or(FrameError::Foreign)?;
    if ethernet.get_ethertype() != EtherTypes::Ipv4 {
        return Err(FrameError::Foreign);
    }
    let bytes = frame.get(ETHERNET..).unwrap_or_default();
    let ip = Ipv4Packet::new(bytes).ok_or(FrameError::Length)?;
    if ip.get_version() != 4 || ip.get_next_level_protocol() != IpNextHeaderProtocols::Udp {
        return Err(FrameError::Foreign);
    }
    let header_len = usize::from(ip.get_header_length()) * 4;
    let datagram = bytes.get(..usize::from(ip.get_total_length())).ok_or(FrameError::Length)?;
    let (header, bytes) = datagram.split_at_checked(header_len).ok_or(FrameError::Length)?;
    if header_len < IPV4 {
        return Err(FrameError::Length);
    }
    if sum(header, 0) != VALID {
        return Err(FrameError::IpChecksum);
    }
    if ip.get_flags() & !DONT_FRAGMENT != 0 || ip.get_fragment_offset() != 0 {
        return Err(FrameError::Fragment);
    }
    let udp = UdpPacket::new(bytes).ok_or(FrameError::Length)?;
    let bytes = bytes.get(..usize::from(udp.get_length())).ok_or(FrameError::Length)?;
    let payload = bytes.get(UDP..).ok_or(FrameError::Length)?;
    let (source, dest) = (ip.get_source(), ip.get_destination());
    if checksum == UdpChecksum::Unknown
        && udp.get_checksum() != 0
        && sum(bytes, pseudo_header(source, dest, bytes.len())) != VALID
    {
        return Err(FrameError::UdpChecksum);
    }
    Ok(Datagram {
        mac: ethernet.get_source().octets(),
        source,
        dest,
        source_port: udp.get_source(),
        dest_port: udp.get_destination(),
        payload,
    })
}

/// Where a frame is from and where it goes. Ports are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressing {
    /// Hardware address it is from.
    pub source_mac: [u8; 6],
    /// Hardware address it goes to.
    pub dest_mac: [u8; 6],
    /// IP source.
    pub source: Ipv4Addr,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub dest_port: u16,
}

/// The headers that stand before `payload`, checksums filled in: TTL 16, low delay, IP id 0.
///
/// `None` if the payload does not fit in one IPv4 datagram.
pub fn headers(to: &Addressing, payload: &[u8]) -> Option<[u8; HEADERS]> {
    let udp_len = u16::try_from(payload.len() + UDP).ok()?;
    let total = udp_len.checked_add(IPV4 as u16)?;
    let mut out = [0; HEADERS];
    let (ethernet, rest) = out.split_at_mut(ETHERNET);
    ethernet[..6].copy_from_slice(&to.dest_mac);
    ethernet[6..12].copy_from_slice(&to.source_mac);
    ethernet[12..].copy_from_slice(&EtherTypes::Ipv4.0.to_be_bytes());

    let (ip, udp) = rest.split_at_mut(IPV4);
    ip[0] = 0x45; // version 4, five words of header
    ip[1] = TOS;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[8] = TTL;
    ip[9] = IpNextHeaderProtocols::Udp.0;
    ip[12..16].copy_from_slice(&to.source.octets());
    ip[16..20].copy_from_slice(&to.dest.octets());
    let ip_sum = !sum(ip, 0);
    ip[10..12].copy_from_slice(&ip_sum.to_be_bytes());

    udp[..2].copy_from_slice(&to.source_port.to_be_bytes());
    udp[2..4].copy_from_slice(&to.dest_port.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    let pseudo = pseudo_header(to.source, to.dest, usize::from(udp_len));
    let udp_sum = match !sum(payload, pseudo + u64::from(sum(udp, 0))) {
        0 => 0xffff, // zero would say that there is none
        sum => sum,
    };
    udp[6..].copy_from_slice(&udp_sum.to_be_bytes());
    Some(out)
}

/// What [`sum`] gives over bytes that hold their own, right checksum.
pub(crate) const VALID: u16 = 0xffff;

/// The Internet checksum's sum (RFC 1071), not complemented, in host order, on top of `start`.
pub(crate) fn sum(bytes: &[u8], start: u64) -> u16 {
    let (words, tail) = bytes.as_chunks::<4>();
    let mut sum = start;
    for word in words {
        sum += u64::from(u32::from_be_bytes(*word));
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    sum += u64::from(u32::from_be_bytes(last));
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The sum of what UDP's checksum covers beside the datagram (RFC 768).
fn pseudo_header(source: Ipv4Addr, dest: Ipv4Addr, len: usize) -> u64 {
    u64::from(u32::from(source))
        + u64::from(u32::from(dest))
        + u64::from(IpNextHeaderProtocols::Udp.0)
        + len as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet::packet::{ipv4, udp};
    use proptest::prelude::*;

    fn addressing() -> Addressing {
        Addressing {
            source_mac: [2, 0, 0, 0, 0, 1],
            dest_mac: [0xff; 6],
            source: Ipv4Addr::new(192, 0, 2, 1),
            dest: Ipv4Addr::BROADCAST,
            source_port: 67,
            dest_port: 68,
        }
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&headers(&addressing(), payload).unwrap()[..], payload].concat()
    }

    /// Writes a right IP checksum over what a test changed.
    fn mend(frame: &mut [u8]) {
        let end = (14 + usize::from(frame[14] & 15) * 4).clamp(34, frame.len());
        frame[24..26].fill(0);
        let sum = !sum(&frame[14..end], 0);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn headers_are_byte_for_byte_what_they_should_be() {
        let f = frame(b"abc");
        let expected = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
            0x45, 0x10, 0, 31, 0, 0, 0, 0, 16, 17, 0xe8, 0xbd, 192, 0, 2, 1, 255, 255, 255, 255, 0,
            67, 0, 68, 0, 11, 0x78, 0xed, b'a', b'b', b'c',
        ];
        assert_eq!(f, expected);
        // pnet's sums, which share nothing with ours.
        let ip = Ipv4Packet::new(&f[14..]).unwrap();
        assert_eq!(ipv4::checksum(&ip), ip.get_checksum());
        let u = UdpPacket::new(&f[34..]).unwrap();
        let want = udp::ipv4_checksum(&u, &ip.get_source(), &ip.get_destination());
        assert_eq!(want, u.get_checksum());
        assert_eq!(headers(&addressing(), &[0; 65508]), None);
        assert!(headers(&addressing(), &[0; 65507]).is_some());
    }

    #[test]
    fn a_sum_of_zero_is_sent_as_ones() {
        let a = addressing();
        let found = (0..=u16::MAX).map(u16::to_be_bytes).find(|payload| {
            let h = headers(&a, payload).unwrap();
            h[40..] == [255, 255]
        });
        let payload = found.unwrap();
        assert!(parse(&frame(&payload), UdpChecksum::Unknown).is_ok());
    }

    #[test]
    fn ip_options_and_padding_are_passed_over() {
        let mut f = frame(b"hello");
        f.splice(34..34, [1, 1, 1, 0]);
        f[14] = 0x46;
        f[17] += 4;
        mend(&mut f);
        f.extend([0xee; 30]); // Ethernet's padding is not always zero
        let d = parse(&f, UdpChecksum::Unknown).unwrap();
        assert_eq!((d.payload, d.source_port, d.dest_port), (&b"hello"[..], 67, 68));
        assert_eq!(
            (d.mac, d.source, d.dest.is_broadcast()),
            ([2, 0, 0, 0, 0, 1], addressing().source, true)
        );
    }

    #[test]
    fn checksums_are_verified_unless_they_are_settled() {
        let mut f = frame(b"hello");
        f[44] ^= 1;
        assert_eq!(parse(&f, UdpChecksum::Unknown), Err(FrameError::UdpChecksum));
        assert!(parse(&f, UdpChecksum::Settled).is_ok());
        f[40..42].fill(0);
        assert!(parse(&f, UdpChecksum::Unknown).is_ok(), "zero is none");
        f[22] ^= 1; // TTL
        assert_eq!(parse(&f, UdpChecksum::Settled), Err(FrameError::IpChecksum));
    }

    #[test]
    fn what_is_not_a_whole_datagram_is_refused() {
        let good = frame(b"hello");
        let cases: [(usize, u8, FrameError); 10] = [
            (12, 0x86, FrameError::Foreign),
            (14, 0x65, FrameError::Foreign),
            (23, 6, FrameError::Foreign),
            (20, 0x20, FrameError::Fragment), // more to come
            (20, 0x80, FrameError::Fragment), // reserved bit
            (21, 1, FrameError::Fragment),    // a later one
            (14, 0x44, FrameError::Length),
            (17, 34, FrameError::Length), // beyond the frame
            (39, 14, FrameError::Length), // UDP beyond IP
            (39, 7, FrameError::Length),
        ];
        for (at, value, error) in cases {
            let mut f = good.clone();
            f[at] = value;
            mend(&mut f);
            assert_eq!(parse(&f, UdpChecksum::Settled), Err(error), "byte {at} = {value}");
        }
        let mut f = good.clone();
        f[20] = 0x40; // "do not fragment" is no fragment
        mend(&mut f);
        assert!(parse(&f, UdpChecksum::Unknown).is_ok());
        for len in 0..good.len() {
            assert!(parse(&good[..len], UdpChecksum::Settled).is_err(), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_back(
            payload in prop::collection::vec(any::<u8>(), 0..600),
            bytes in any::<([u8; 6], [u8; 6], [u8; 4], [u8; 4])>(),
            ports in any::<(u16, u16)>(),
        ) {
            let a = Addressing {
                source_mac: bytes.0,
                dest_mac: bytes.1,
                source: bytes.2.into(),
                dest: bytes.3.into(),
                source_port: ports.0,
                dest_port: ports.1,
            };
            let f = [&headers(&a, &payload).unwrap()[..], &payload].concat();
            let d = parse(&f, UdpChecksum::Unknown).unwrap();
            prop_assert_eq!((d.mac, d.source, d.dest), (a.source_mac, a.source, a.dest));
            prop_assert_eq!((d.source_port, d.dest_port), (a.source_port, a.dest_port));
            prop_assert_eq!(d.payload, &payload);
        }

        #[test]
        fn random_bytes_never_panic(
            mut f in prop::collection::vec(any::<u8>(), 0..120),
            plausible: bool,
        ) {
            if plausible && f.len() > 34 {
                f[12..14].copy_from_slice(&[8, 0]);
                f[14] = 0x40 | f[14] & 15;
                f[16] = 0;
                f[20..22].fill(0);
                f[23] = 17;
                mend(&mut f);
            }
            let _ = parse(&f, UdpChecksum::Settled);
            let _ = parse(&f, UdpChecksum::Unknown);
        }
    }
}
