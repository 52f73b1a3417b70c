//! One `sendmsg` and one `recvmsg` with at most one descriptor beside the data. The only unsafe code
//! of the crate; what a record means is decided above.
//!
//! nix has both calls, but will not list the control messages of a record whose control data was
//! cut, so the descriptors that did arrive could not be closed; and it allocates for every send.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

const FD_BYTES: u32 = size_of::<RawFd>() as u32;

/// Room for control data, aligned as its header wants. On a 64-bit system the padding behind one
/// descriptor holds a second one, so "room for one" cannot be had; with room for several, two
/// descriptors and too many are told apart by counting.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Descriptors a sender can put beside one message that are still counted, not cut.
pub(super) const COUNTED: u32 = 8;

const _: () = {
    // SAFETY: arithmetic on its argument, nothing else.
    let needed = unsafe { libc::CMSG_SPACE(COUNTED * FD_BYTES) };
    assert!(needed as usize <= size_of::<Control>());
    assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>());
};

/// What one `recvmsg` brought.
pub(super) struct Received {
    /// Bytes in the caller's buffer.
    pub length: usize,
    /// The record's end is among them. Only FreeBSD has records without (see `rest`).
    pub ended: bool,
    /// The record was longer than the buffer.
    pub truncated: bool,
    /// There was more control data than could be taken.
    pub control_truncated: bool,
    /// The descriptor, if any came.
    pub fd: Option<OwnedFd>,
    /// How many came after it. They are closed.
    pub more_fds: usize,
}

/// Sends `head` and `body` as one record, with `fd` beside it. Returns the bytes sent. A signal
/// does not interrupt it, and SIGPIPE is never raised.
///
/// `MSG_EOR` ends the record on FreeBSD 15, where a seqpacket socket keeps to POSIX and joins what
/// is not marked; elsewhere each send is a record anyway.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    head: &[u8],
    body: &[u8],
    fd: Option<BorrowedFd<'_>>,
    flags: libc::c_int,
) -> io::Result<usize> {
    let mut parts = [iovec(head), iovec(body)];
    let mut control = Control([0; 64]);
    // SAFETY: msghdr is plain data for which all zeroes are "nothing given".
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    if let Some(fd) = fd {
        message.msg_control = (&raw mut control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only count. The header and the descriptor behind it lie
        // inside `control`, which has that much room and the alignment (asserted above) and lives
        // until the call returns; the descriptor is written unaligned, so no more is asked.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(FD_BYTES) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(FD_BYTES) as _;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast::<RawFd>(), fd.as_raw_fd());
        }
    }
    loop {
        // SAFETY: `message` points to `parts` and `control`, which outlive the call, and they to
        // the caller's slices, which are only read.
        let sent = unsafe {
            libc::sendmsg(
                socket.as_raw_fd(),
                &raw const message,
                flags | libc::MSG_NOSIGNAL | libc::MSG_EOR,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
}

/// Takes one record into `buffer`. Without `with_control` no descriptor can arrive at all: the
/// kernel closes what was sent. A signal does not interrupt it.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    with_control: bool,
    flags: libc::c_int,
) -> io::Result<Received> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: msghdr is plain data for which all zeroes are "nothing given".
    let mut message: libc::msghdr = unsafe { zeroed() };
    let length = loop {
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if with_control {
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: `message` points to `part` and `control` with their true sizes; both and the
        // caller's buffer outlive the call and nobody else holds them.
        let length = unsafe {
            libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags | libc::MSG_CMSG_CLOEXEC)
        };
        match usize::try_from(length) {
            Ok(length) => break length,
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    };
    let mut received = Received {
        length,
        ended: !cfg!(target_os = "freebsd") || message.msg_flags & libc::MSG_EOR != 0,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        control_truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
        fd: None,
        more_fds: 0,
    };
    if with_control {
        claim(&message, &mut received);
    }
    Ok(received)
}

/// Takes ownership of every descriptor in the control data of a record just received.
#[allow(clippy::unnecessary_cast, reason = "these lengths are size_t on Linux, u32 on the BSDs")]
fn claim(message: &libc::msghdr, received: &mut Received) {
    let end = message.msg_control as usize + message.msg_controllen as usize;
    // SAFETY: `message` is as recvmsg left it: its control data is the kernel's, in a buffer that
    // is alive and `msg_controllen` bytes of which are filled.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: FIRSTHDR and NXTHDR return null or a header that lies whole inside the control
        // data, aligned as the buffer is; CMSG_DATA only adds to the pointer.
        let (level, kind, length, data) = unsafe {
            let h = &*header;
            (h.cmsg_level, h.cmsg_type, h.cmsg_len as usize, libc::CMSG_DATA(header))
        };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // A header may claim more than was copied out: what counts is what is there.
            let stop = (header as usize).saturating_add(length).min(end);
            let count = stop.saturating_sub(data as usize) / size_of::<RawFd>();
            for i in 0..count {
                // SAFETY: the i-th descriptor ends at or before `stop`, inside the filled part. The
                // kernel has just opened it for us and told nobody else, so we are its one owner.
                let fd = unsafe {
                    OwnedFd::from_raw_fd(ptr::read_unaligned(data.cast::<RawFd>().add(i)))
                };
                if received.fd.is_none() {
                    received.fd = Some(fd);
                } else {
                    received.more_fds += 1;
                }
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR; `header` is one of this message's.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

fn iovec(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}
