//! One end of a channel, typed by what may be said in each direction. How a record crosses the
//! kernel is `raw`'s business; who is at the other end is the caller's.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt,
    setsockopt, socketpair, sockopt,
};

use super::header::{Header, MAX_MESSAGE, MAX_PAYLOAD, parse_header};
use super::{Error, raw, rest};

/// Everything one end of a channel may say: one type a direction, matched exhaustively by its
/// reader.
pub trait Message: Sized {
    /// Whether any message of this direction may carry a descriptor. Where none may, the receiver
    /// offers the kernel no room for one, and none can arrive.
    const CARRIES_FD: bool;

    /// Appends the payload to `payload` (empty when called); returns the kind.
    fn encode(&self, payload: &mut Vec<u8>) -> u16;

    /// The descriptor that goes with it, if this message has one. It stays the sender's; the
    /// receiver gets its own.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Understands what came. None of it is trusted, and `payload` is at most [`MAX_PAYLOAD`].
    ///
    /// # Errors
    /// [`Error::UnknownKind`]; [`Error::Malformed`] from the [`super::Reader`] or for a value that
    /// cannot be; a message that wants no descriptor must refuse one with [`Error::UnexpectedFd`]
    /// ([`no_fd`](super::no_fd)) and one that wants it must not do without
    /// ([`Error::MissingFd`]). A descriptor that is not kept is closed by being dropped.
    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error>;
}

/// One end of a socket pair or of a connected path socket. Owns its descriptor; closes it when
/// dropped, which is how the other end learns that it is alone.
pub struct Channel<Tx: Message, Rx: Message> {
    socket: OwnedFd,
    // Taken while in use and put back, so that a message costs no allocation.
    outgoing: Cell<Vec<u8>>,
    incoming: Cell<Vec<u8>>,
    direction: PhantomData<fn(Tx) -> Rx>,
}

/// Bytes both socket buffers should have. Linux starts with a little more; the BSDs start with
/// 8 KiB and refuse a record that does not fit, and NetBSD grants no more than 204 KiB.
const BUFFER: usize = 3 * MAX_MESSAGE;

impl<Tx: Message, Rx: Message> Channel<Tx, Rx> {
    /// Wraps one end. It is made close-on-exec: a channel is never inherited by accident.
    ///
    /// # Errors
    /// [`Error::NotSeqpacket`] for any other kind of descriptor, which is then closed.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let domain = getsockname::<SockaddrStorage>(fd.as_raw_fd()).map(|a| a.family());
        let kind = getsockopt(&fd, sockopt::SockType);
        if domain != Ok(Some(AddressFamily::Unix)) || kind != Ok(SockType::SeqPacket) {
            return Err(Error::NotSeqpacket);
        }
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|e| Error::io("fcntl", e))?;
        Ok(Channel {
            socket: fd,
            outgoing: Cell::default(),
            incoming: Cell::default(),
            direction: PhantomData,
        })
    }

    /// Sends one message; waits while the other end's queue is full.
    ///
    /// # Errors
    /// [`Error::Closed`] if there is no other end, [`Error::TooLong`], [`Error::UnexpectedFd`] for
    /// a descriptor in a direction that carries none, [`Error::Io`]. Nothing was sent then.
    pub fn send(&self, message: &Tx) -> Result<(), Error> {
        self.transmit(message, 0).map_err(|e| match e {
            Failure::Refused(e) => e,
            Failure::System(e) => Error::io("sendmsg", e),
        })
    }

    /// Sends one message unless that would have to wait: `false` says that nothing was sent.
    ///
    /// # Errors
    /// As for [`Channel::send`].
    pub fn try_send(&self, message: &Tx) -> Result<bool, Error> {
        match self.transmit(message, libc::MSG_DONTWAIT) {
            Ok(()) => Ok(true),
            Err(Failure::System(e)) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(Failure::System(e)) => Err(Error::io("sendmsg", e)),
            Err(Failure::Refused(e)) => Err(e),
        }
    }

    /// Takes the next message; waits for it.
    ///
    /// # Errors
    /// [`Error::Closed`] when the other end is gone and all it said was taken (an empty record,
    /// which no channel sends, looks the same); any other error is about this one record, which is
    /// gone with its descriptors.
    pub fn recv(&self) -> Result<Rx, Error> {
        self.take(0)?.ok_or_else(|| Error::io("recvmsg", io::ErrorKind::WouldBlock))
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    /// As for [`Channel::recv`].
    pub fn try_recv(&self) -> Result<Option<Rx>, Error> {
        self.take(libc::MSG_DONTWAIT)
    }

    /// Asks for `bytes` of room for what was sent and not yet taken. The system may give less
    /// (Linux: net.core.wmem_max) and counts its own overhead against it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_send_buffer(&self, bytes: usize) -> Result<(), Error> {
        setsockopt(&self.socket, sockopt::SndBuf, &bytes)
            .map_err(|e| Error::io("setsockopt SO_SNDBUF", e))
    }

    /// Gives up the typed end for the descriptor under it.
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    fn transmit(&self, message: &Tx, flags: libc::c_int) -> Result<(), Failure> {
        let mut payload = self.outgoing.take();
        payload.clear();
        let kind = message.encode(&mut payload);
        let result = self.transmit_payload(kind, &payload, message.fd(), flags);
        self.outgoing.set(payload);
        result
    }

    fn transmit_payload(
        &self,
        kind: u16,
        payload: &[u8],
        fd: Option<BorrowedFd<'_>>,
        flags: libc::c_int,
    ) -> Result<(), Failure> {
        if fd.is_some() && !Tx::CARRIES_FD {
            return Err(Failure::Refused(Error::UnexpectedFd));
        }
        let length = match u32::try_from(payload.len()) {
            Ok(length) if payload.len() <= MAX_PAYLOAD => length,
            _ => {
                let too_long = Error::TooLong { payload: payload.len(), limit: MAX_PAYLOAD };
                return Err(Failure::Refused(too_long));
            }
        };
        let head = Header { kind, fd: fd.is_some() }.to_bytes(length);
        match raw::send(self.socket.as_fd(), &head, payload, fd, flags) {
            Ok(sent) => {
                rest::send(self.socket.as_fd(), &head, payload, sent).map_err(Failure::Refused)
            }
            Err(e) if is_gone(&e) => Err(Failure::Refused(Error::Closed)),
            Err(e) => Err(Failure::System(e)),
        }
    }

    fn take(&self, flags: libc::c_int) -> Result<Option<Rx>, Error> {
        let mut buffer = self.incoming.take();
        buffer.resize(MAX_MESSAGE, 0);
        let result = self.take_into(&mut buffer, flags);
        self.incoming.set(buffer);
        result
    }

    fn take_into(&self, buffer: &mut [u8], flags: libc::c_int) -> Result<Option<Rx>, Error> {
        let mut reset = false;
        let mut received = loop {
            match raw::receive(self.socket.as_fd(), buffer, Rx::CARRIES_FD, flags) {
                Ok(received) => break received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // Linux says this once, before what is still queued, when the other end closed
                // with messages of ours unread. What it sent is not less true for that.
                Err(e) if is_gone(&e) && !reset => reset = true,
                Err(e) if is_gone(&e) => return Err(Error::Closed),
                // OpenBSD's word for MSG_CTRUNC; it has closed them all.
                Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) => {
                    return Err(Error::ControlTruncated);
                }
                Err(e) => return Err(Error::io("recvmsg", e)),
            }
        };
        rest::receive(self.socket.as_fd(), buffer, &mut received)?;
        if received.control_truncated {
            return Err(if Rx::CARRIES_FD { Error::ControlTruncated } else { Error::UnexpectedFd });
        }
        if received.more_fds > 0 {
            return Err(Error::TwoFds);
        }
        if received.truncated {
            return Err(Error::Truncated);
        }
        if received.length == 0 {
            return Err(if received.fd.is_some() { Error::BareFd } else { Error::Closed });
        }
        let record = buffer.get(..received.length).unwrap_or_default();
        let (header, payload) = parse_header(record)?;
        match (header.fd, &received.fd) {
            (true, _) if !Rx::CARRIES_FD => return Err(Error::UnexpectedFd),
            (true, None) => return Err(Error::MissingFd),
            (false, Some(_)) => return Err(Error::UnexpectedFd),
            _ => {}
        }
        Rx::decode(header.kind, payload, received.fd).map(Some)
    }
}

impl<Tx: Message, Rx: Message> AsFd for Channel<Tx, Rx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Tx: Message, Rx: Message> fmt::Debug for Channel<Tx, Rx> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Two connected ends, close-on-exec, to be wrapped by [`Channel::from_fd`] or handed to a
/// child.
///
/// # Errors
/// [`Error::Io`] where the system has no descriptor or memory left.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|e| Error::io("socketpair", e))?;
    make_room(a.as_fd())?;
    make_room(b.as_fd())?;
    Ok((a, b))
}

/// For a `decode` whose message has no descriptor.
///
/// # Errors
/// [`Error::UnexpectedFd`] if one came; it is closed.
pub fn no_fd(fd: Option<OwnedFd>) -> Result<(), Error> {
    if fd.is_some() { Err(Error::UnexpectedFd) } else { Ok(()) }
}

/// Why nothing was sent: our own rule, or the system.
enum Failure {
    Refused(Error),
    System(io::Error),
}

fn is_gone(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

/// Sees to it that a message of the longest size fits, and a few more behind it.
pub(super) fn make_room(socket: BorrowedFd<'_>) -> Result<(), Error> {
    let sndbuf = getsockopt(&socket, sockopt::SndBuf);
    if sndbuf.map_err(|e| Error::io("getsockopt SO_SNDBUF", e))? < BUFFER {
        setsockopt(&socket, sockopt::SndBuf, &BUFFER)
            .map_err(|e| Error::io("setsockopt SO_SNDBUF", e))?;
    }
    let rcvbuf = getsockopt(&socket, sockopt::RcvBuf);
    if rcvbuf.map_err(|e| Error::io("getsockopt SO_RCVBUF", e))? < BUFFER {
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)
            .map_err(|e| Error::io("setsockopt SO_RCVBUF", e))?;
    }
    Ok(())
}
