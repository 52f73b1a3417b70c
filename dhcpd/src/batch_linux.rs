//! `batch` on Linux: recvmmsg(2) and sendmmsg(2), up to 64 messages by one system call.

use super::{Outgoing, Received};
use crate::control::ROOM;
use crate::socket::{BATCH, LONGEST, Sent};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for a batch of incoming messages.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Inbox {
    /// Room for [`BATCH`] messages of [`LONGEST`] bytes.
    pub fn new() -> Inbox {
        Inbox { bytes: vec![0; BATCH * LONGEST], control: vec![0; BATCH * ROOM] }
    }

    /// Takes what waits, at most [`BATCH`] messages, without waiting for more, and returns how
    /// many there were. A message that was cut short is counted and not shown.
    pub fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        let mut names = [NO_NAME; BATCH];
        let mut parts = [NO_PART; BATCH];
        let mut headers = [NO_MESSAGE; BATCH];
        let bytes = self.bytes.chunks_exact_mut(LONGEST);
        let control = self.control.chunks_exact_mut(ROOM);
        for ((((header, part), name), bytes), control) in
            headers.iter_mut().zip(&mut parts).zip(&mut names).zip(bytes).zip(control)
        {
            *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: LONGEST };
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = ROOM;
        }
        let count = loop {
            // SAFETY: every header points to one part, one name and one control buffer of its own,
            // all of the lengths given, all alive until `headers` was read below, and none of them
            // is touched otherwise in between. No timeout is given.
            let count = unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                break count;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(error),
            }
        };
        let bytes = self.bytes.chunks_exact(LONGEST);
        let control = self.control.chunks_exact(ROOM);
        for (((header, name), bytes), control) in
            headers.iter().take(count).zip(&names).zip(bytes).zip(control)
        {
            if header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
                continue;
            }
            each(Received {
                bytes: bytes.get(..header.msg_len as usize).unwrap_or_default(),
                control: control.get(..header.msg_hdr.msg_controllen).unwrap_or_default(),
                source: from_name(name),
            });
        }
        Ok(count)
    }
}

/// Sends all messages, [`BATCH`] at a time, and never waits: one that finds the socket's buffer
/// full is refused like any other.
pub(crate) fn send<'a, const HEADER: usize>(
    fd: BorrowedFd<'_>,
    messages: impl IntoIterator<Item = Outgoing<'a, HEADER>>,
    tried: impl Fn() -> String,
) -> Sent {
    let mut messages = messages.into_iter().peekable();
    let mut sent = Sent::default();
    while messages.peek().is_some() {
        let mut batch: [Option<Outgoing<'a, HEADER>>; BATCH] = [const { None }; BATCH];
        for (slot, message) in batch.iter_mut().zip(&mut messages) {
            *slot = Some(message);
        }
        send_batch(fd, &mut batch, &tried, &mut sent);
    }
    sent
}

/// Sends what is in the first slots of `batch`.
fn send_batch<const HEADER: usize>(
    fd: BorrowedFd<'_>,
    batch: &mut [Option<Outgoing<'_, HEADER>>; BATCH],
    tried: &impl Fn() -> String,
    sent: &mut Sent,
) {
    let mut names = [NO_NAME; BATCH];
    let mut parts = [[NO_PART; 2]; BATCH];
    let mut headers = [NO_MESSAGE; BATCH];
    let mut count = 0;
    for (((message, header), parts), name) in
        batch.iter_mut().flatten().zip(&mut headers).zip(&mut parts).zip(&mut names)
    {
        parts[0] = part(&message.header);
        parts[1] = part(message.payload);
        header.msg_hdr.msg_iov = parts.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2;
        if let Some(dest) = message.dest {
            *name = to_name(dest);
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        }
        let (control, used) = &mut message.control;
        if *used > 0 {
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = (*used).min(ROOM);
        }
        count += 1;
    }
    let mut rest = headers.get_mut(..count).unwrap_or_default();
    while !rest.is_empty() {
        // SAFETY: every header in `rest` points to two parts, and where lengths are not 0 to a
        // name and a control buffer, all of the lengths given and alive until this function
        // returns; the kernel only reads them.
        let taken = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        let done = match usize::try_from(taken) {
            Ok(taken) => {
                sent.sent += taken;
                taken
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                // Sending reports the first message's failure only: go on behind it.
                sent.refused(tried, error);
                1
            }
        };
        rest = rest.get_mut(done..).unwrap_or_default();
    }
}

const NO_PART: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
const NO_NAME: libc::sockaddr_in = libc::sockaddr_in {
    sin_family: 0,
    sin_port: 0,
    sin_addr: libc::in_addr { s_addr: 0 },
    sin_zero: [0; 8],
};
// SAFETY: integers and pointers only, for all of which zero is a value (padding, if any, aside).
const NO_MESSAGE: libc::mmsghdr = unsafe { std::mem::zeroed() };

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
