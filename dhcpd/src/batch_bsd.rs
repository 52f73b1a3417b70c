//! `batch` on the BSDs: recvmsg(2) and sendmsg(2), one message by one call.

use super::{Outgoing, Received};
use crate::control::ROOM;
use crate::socket::{BATCH, LONGEST, Sent};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for one incoming message.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    control: [u8; ROOM],
}

impl Inbox {
    /// Room for a message of [`LONGEST`] bytes.
    pub fn new() -> Inbox {
        Inbox { bytes: vec![0; LONGEST], control: [0; ROOM] }
    }

    /// Takes what waits, at most [`BATCH`] messages, without waiting for more, and returns how
    /// many there were. A message that was cut short is counted and not shown.
    pub fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        let mut count = 0;
        while count < BATCH {
            let mut name = NO_NAME;
            let mut part =
                libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len: LONGEST };
            // SAFETY: integers and pointers only, for all of which zero is a value.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_name = (&raw mut name).cast();
            header.msg_namelen = size_of_val(&name) as libc::socklen_t;
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            header.msg_control = self.control.as_mut_ptr().cast();
            header.msg_controllen = ROOM as libc::socklen_t;
            // SAFETY: the header points to one part, a name and a control buffer, of the lengths
            // given, alive through the call and not touched otherwise in between.
            let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
            let Ok(len) = usize::try_from(len) else {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => break,
                    _ if count > 0 => break,
                    _ => return Err(error),
                }
            };
            count += 1;
            if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
                continue;
            }
            let used = header.msg_controllen as usize;
            each(Received {
                bytes: self.bytes.get(..len).unwrap_or_default(),
                control: self.control.get(..used).unwrap_or_default(),
                source: from_name(&name),
            });
        }
        Ok(count)
    }
}

/// Sends all messages and never waits: one that finds the socket's buffer full is refused like any
/// other.
pub(crate) fn send<'a, const HEADER: usize>(
    fd: BorrowedFd<'_>,
    messages: impl IntoIterator<Item = Outgoing<'a, HEADER>>,
    tried: impl Fn() -> String,
) -> Sent {
    let mut sent = Sent::default();
    for mut message in messages {
        match send_one(fd, &mut message) {
            Ok(()) => sent.sent += 1,
            Err(error) => sent.refused(&tried, error),
        }
    }
    sent
}

fn send_one<const HEADER: usize>(
    fd: BorrowedFd<'_>,
    message: &mut Outgoing<'_, HEADER>,
) -> io::Result<()> {
    let mut name = message.dest.map_or(NO_NAME, to_name);
    let mut parts = [part(&message.header), part(message.payload)];
    // SAFETY: integers and pointers only, for all of which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = 2;
    if message.dest.is_some() {
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = size_of_val(&name) as libc::socklen_t;
    }
    let (control, used) = &mut message.control;
    if *used > 0 {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = (*used).min(ROOM) as libc::socklen_t;
    }
    loop {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the header points to two parts, and where lengths are not 0 to a name and a
        // control buffer, all alive through the call; the kernel only reads them.
        let done = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, flags) };
        if done >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

const NO_NAME: libc::sockaddr_in = libc::sockaddr_in {
    sin_len: size_of::<libc::sockaddr_in>() as u8,
    sin_family: 0,
    sin_port: 0,
    sin_addr: libc::in_addr { s_addr: 0 },
    sin_zero: [0; 8],
};

fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn to_name(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        ..NO_NAME
    }
}

fn from_name(name: &libc::sockaddr_in) -> SocketAddrV4 {
    if libc::c_int::from(name.sin_family) != libc::AF_INET {
        return SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    }
    let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
    SocketAddrV4::new(address, u16::from_be(name.sin_port))
}
