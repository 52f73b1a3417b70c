//! One end of a wire with nothing of the system's in between: frames of any content are sent, and
//! every UDP datagram of DHCP's ports that passes is seen, in both directions.
//!
//! Frames are built and read with a few lines of its own, not with dhcpd's.

use crate::lab::Namespace;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io::Read;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Everybody's address on Ethernet.
pub const EVERYBODY: [u8; 6] = [0xff; 6];

/// An interface, by a packet socket.
pub struct Tap {
    socket: Socket,
    /// The interface's own address.
    pub mac: [u8; 6],
}

/// A datagram that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Sender of the frame.
    pub source_mac: [u8; 6],
    /// Receiver of the frame.
    pub dest_mac: [u8; 6],
    /// IP source and UDP source port.
    pub source: SocketAddrV4,
    /// IP destination and UDP destination port.
    pub dest: SocketAddrV4,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Tap {
    /// Opens an interface of a namespace.
    ///
    /// # Panics
    /// If it is not there.
    pub fn open(space: &Namespace, interface: &str) -> Tap {
        let name = interface.to_owned();
        space.within(move || {
            let index = nix::net::if_::if_nametoindex(name.as_str()).expect("the interface");
            let all = (libc::ETH_P_ALL as u16).to_be();
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
                .expect("a packet socket");
            let _ = socket.set_recv_buffer_size(4 << 20);
            let mut storage = SockAddrStorage::zeroed();
            // SAFETY: a sockaddr_ll is integers only and smaller than the storage.
            let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = all;
            address.sll_ifindex = index.cast_signed();
            let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: the storage holds a whole sockaddr_ll of that length.
            socket.bind(&unsafe { SockAddr::new(storage, length) }).expect("bind a packet socket");
            let mut bound = socket.local_addr().expect("what it is bound to").as_storage();
            // SAFETY: the kernel filled in the address of a packet socket, a sockaddr_ll.
            let link = unsafe { bound.view_as::<libc::sockaddr_ll>() };
            let mac = *link.sll_addr.first_chunk().expect("an Ethernet address");
            Tap { socket, mac }
        })
    }

    /// Sends a frame as it is.
    ///
    /// # Panics
    /// If the interface does not take it: longer than the wire allows, or no Ethernet header.
    pub fn send(&self, frame: &[u8]) {
        loop {
            match self.socket.send(frame) {
                Ok(_) => return,
                // The wire's queue is full for a moment.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => panic!("send a frame of {} bytes: {error}", frame.len()),
            }
        }
    }

    /// The next datagram to or from port 67, if one passes within `limit`.
    pub fn next(&self, limit: Duration) -> Option<Datagram> {
        let deadline = Instant::now() + limit;
        let mut buffer = [0; 65536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("set a time limit");
            if let Ok(length) = (&self.socket).read(&mut buffer)
                && let Some(datagram) = read(&buffer[..length])
                && (datagram.dest.port() == 67 || datagram.source.port() == 67)
            {
                return Some(datagram);
            }
        }
    }

    /// The next one that `wanted` says yes to.
    ///
    /// # Panics
    /// If none passes within `limit`.
    pub fn wait(&self, limit: Duration, wanted: impl Fn(&Datagram) -> bool) -> Datagram {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let datagram = self.next(left).expect("a datagram on the wire");
            if wanted(&datagram) {
                return datagram;
            }
        }
    }
}

/// Takes a frame apart; `None` if it is no whole UDP datagram. Checksums are not looked at: between
/// two sockets of one machine they are not there.
pub fn read(frame: &[u8]) -> Option<Datagram> {
    let (ethernet, ip) = frame.split_at_checked(14)?;
    if ethernet[12..] != [8, 0] || *ip.first()? >> 4 != 4 || *ip.get(9)? != 17 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let udp = ip.get(..length)?.get(usize::from(ip[0] & 15) * 4..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    let payload = udp.get(8..length)?.to_vec();
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let address = |at: usize| Some(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?.into());
    Some(Datagram {
        dest_mac: ethernet[..6].try_into().ok()?,
        source_mac: ethernet[6..12].try_into().ok()?,
        source: SocketAddrV4::new(address(12)?, port(0)?),
        dest: SocketAddrV4::new(address(16)?, port(2)?),
        payload,
    })
}

impl Datagram {
    /// The frame that carries it, checksums right, as long as it needs to be.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [self.dest_mac, self.source_mac].concat();
        frame.extend([8, 0]);
        let udp_length = u16::try_from(self.payload.len() + 8).expect("a datagram's length");
        let length = udp_length.checked_add(20).expect("a datagram's length");
        frame.extend([0x45, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(self.source.ip().octets());
        frame.extend(self.dest.ip().octets());
        for number in [self.source.port(), self.dest.port(), udp_length, 0] {
            frame.extend(number.to_be_bytes());
        }
        frame.extend(&self.payload);
        mend(&mut frame);
        let pseudo = [&frame[26..34], &[0, 17], &udp_length.to_be_bytes()].concat();
        let sum = match checksum(&[&pseudo, &frame[34..]]) {
            0 => 0xffff,
            sum => sum,
        };
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}

/// Writes the right checksum of the IP header over what a test changed in it.
pub fn mend(frame: &mut [u8]) {
    let end = (14 + usize::from(frame[14] & 15) * 4).clamp(34, frame.len());
    frame[24..26].fill(0);
    let sum = checksum(&[&frame[14..end]]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071) over parts, all but the last of an even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
