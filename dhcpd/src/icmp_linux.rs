//! `icmp` on Linux: the kernel keeps everything but echo replies away (raw(7), ICMP_FILTER).

use crate::socket::set_option;
use socket2::Socket;
use std::io;
use std::os::fd::AsFd;

/// ICMP_FILTER of linux/icmp.h, an option of the level SOL_RAW.
const ICMP_FILTER: libc::c_int = 1;
/// A bit set keeps messages of that type out.
const ALL_BUT_REPLIES: u32 = !1;

pub(super) fn only_replies(socket: &Socket) -> io::Result<()> {
    set_option(socket.as_fd(), libc::SOL_RAW, ICMP_FILTER, ALL_BUT_REPLIES)
}
