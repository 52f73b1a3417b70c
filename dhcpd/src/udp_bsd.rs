//! `udp` on the BSDs: IP_RECVDSTADDR and IP_RECVIF say, IP_SENDSRCADDR sets (ip(4)). The way out is
//! the routing table's choice.

use super::Accept;
use crate::control::{self, ROOM};
use crate::socket::{Queue, set_option};
use socket2::Socket;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// Here one socket takes all.
pub(super) fn has_queue_of_discovers(_accept: Accept) -> bool {
    false
}

pub(super) fn prepare(socket: &Socket, _accept: Accept, _queue: Queue) -> io::Result<()> {
    for name in [libc::IP_RECVDSTADDR, libc::IP_RECVIF] {
        set_option(socket.as_fd(), libc::IPPROTO_IP, name, 1 as libc::c_int)?;
    }
    Ok(())
}

/// What is addressed to many comes in by the link as well, and is taken there. OpenBSD does not
/// even show it here.
pub(super) fn is_wanted(accept: Accept, dest: Ipv4Addr) -> bool {
    accept == Accept::All || !(dest.is_broadcast() || dest.is_multicast())
}

/// By which interface (struct sockaddr_dl: length, family, 16 bits of index) and to which address;
/// our address on that interface is not said.
pub(super) fn arrival(control: &[u8]) -> (u32, Ipv4Addr, Ipv4Addr) {
    let link = control::find(control, libc::IPPROTO_IP, libc::IP_RECVIF).unwrap_or_default();
    let index = link.get(2..).and_then(|index| index.first_chunk());
    let dest = control::find(control, libc::IPPROTO_IP, libc::IP_RECVDSTADDR);
    let dest = dest.and_then(|dest| dest.first_chunk::<4>());
    (
        index.map_or(0, |index| u32::from(u16::from_ne_bytes(*index))),
        Ipv4Addr::UNSPECIFIED,
        dest.map_or(Ipv4Addr::UNSPECIFIED, |dest| Ipv4Addr::from(*dest)),
    )
}

pub(super) fn departure(_interface: Option<u32>, source: Ipv4Addr) -> ([u8; ROOM], usize) {
    let mut room = [0; ROOM];
    let used = if source.is_unspecified() {
        0
    } else {
        control::put(&mut room, libc::IPPROTO_IP, libc::IP_SENDSRCADDR, &source.octets())
    };
    (room, used)
}
