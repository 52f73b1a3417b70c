//! `udp` on Linux: IP_PKTINFO says and sets interface and address (ip(7)), and the kernel's filter
//! tells what came to us alone.

use super::Accept;
use crate::bpf::{udp_program_linux, udp_queue_program_linux};
use crate::control::{self, ROOM};
use crate::link::{instructions, lock_program};
use crate::socket::{Queue, set_option};
use socket2::Socket;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// Where what comes by the links is read as well, DISCOVERs are few, and all INFORMs.
pub(super) fn has_queue_of_discovers(accept: Accept) -> bool {
    accept == Accept::Unicast
}

pub(super) fn prepare(socket: &Socket, accept: Accept, queue: Queue) -> io::Result<()> {
    if has_queue_of_discovers(accept) {
        socket.set_reuse_port(true)?;
        if queue == Queue::Others {
            // Before the lock, which is for this program too.
            choose_queue(socket)?;
        }
        lock_program(socket, &udp_program_linux(queue))?;
    }
    set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1 as libc::c_int)
}

/// Attaches the program by which sockets of one port share what comes (socket(7),
/// SO_ATTACH_REUSEPORT_CBPF): the group begins with this socket.
fn choose_queue(socket: &Socket) -> io::Result<()> {
    let mut program = instructions(&udp_queue_program_linux());
    let len = program.len() as libc::c_ushort;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr().cast() };
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

/// The filter has decided, by the frame's destination: whoever sent to our card alone meant us.
pub(super) fn is_wanted(_accept: Accept, _dest: Ipv4Addr) -> bool {
    true
}

/// By which interface, our address there, and to which address (struct in_pktinfo).
pub(super) fn arrival(control: &[u8]) -> (u32, Ipv4Addr, Ipv4Addr) {
    let info = control::find(control, libc::IPPROTO_IP, libc::IP_PKTINFO).unwrap_or_default();
    let index = control::int(info).unwrap_or_default().cast_unsigned();
    let address = |at: usize| {
        let bytes = info.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(Ipv4Addr::UNSPECIFIED, |bytes| Ipv4Addr::from(*bytes))
    };
    (index, address(4), address(8))
}

pub(super) fn departure(interface: Option<u32>, source: Ipv4Addr) -> ([u8; ROOM], usize) {
    let mut info = [0; 12];
    info[..4].copy_from_slice(&interface.unwrap_or(0).to_ne_bytes());
    info[4..8].copy_from_slice(&source.octets());
    let mut room = [0; ROOM];
    let used = control::put(&mut room, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
    (room, used)
}
