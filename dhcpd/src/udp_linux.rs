//! `udp` on Linux: IP_PKTINFO says and sets interface and address (ip(7)), and the kernel's filter
//! tells what came to us alone.

use super::Accept;
use crate::bpf::udp_program_linux;
use crate::control::{self, ROOM};
use crate::link::lock_program;
use crate::socket::set_option;
use socket2::Socket;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

pub(super) fn prepare(socket: &Socket, accept: Accept) -> io::Result<()> {
    if accept == Accept::Unicast {
        lock_program(socket, &udp_program_linux())?;
    }
    set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1 as libc::c_int)
}

/// The filter has decided.
pub(super) fn is_wanted(_accept: Accept, _dest: Ipv4Addr) -> bool {
    true
}

/// By which interface and to which address (struct in_pktinfo: index, our address, header's).
pub(super) fn arrival(control: &[u8]) -> (u32, Ipv4Addr) {
    let info = control::find(control, libc::IPPROTO_IP, libc::IP_PKTINFO).unwrap_or_default();
    let index = control::int(info).unwrap_or_default().cast_unsigned();
    let dest = info.get(8..).and_then(|dest| dest.first_chunk::<4>());
    (index, dest.map_or(Ipv4Addr::UNSPECIFIED, |dest| Ipv4Addr::from(*dest)))
}

pub(super) fn departure(interface: Option<u32>, source: Ipv4Addr) -> ([u8; ROOM], usize) {
    let mut info = [0; 12];
    info[..4].copy_from_slice(&interface.unwrap_or(0).to_ne_bytes());
    info[4..8].copy_from_slice(&source.octets());
    let mut room = [0; ROOM];
    let used = control::put(&mut room, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
    (room, used)
}
