//! Exactly so many bytes over TCP, by a deadline. It knows no messages and cannot pass descriptors;
//! what the bytes mean is the caller's.
//!
//! Every call works whether or not the socket is set non-blocking, and none raises SIGPIPE. The
//! deadline is for the whole piece: a peer that sends one byte at a time does not move it.
//!
//! Sources: POSIX.1-2024 `recv`, `send`, `poll`; tcp(7), tcp(4).

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt,
    recv, send, sockopt,
};

/// Why a piece did not pass. What did pass is not given back: the stream is out of step and only
/// good for closing, unless [`Error::Closed`] says that nothing of the piece had come.
#[derive(Debug)]
pub enum Error {
    /// The other end closed or reset the connection.
    Closed {
        /// Bytes that passed before. 0 when reading: the peer ended between pieces.
        done: usize,
        /// Bytes there should have been.
        wanted: usize,
    },
    /// Time was up.
    Deadline {
        /// Bytes that passed in time.
        done: usize,
        /// Bytes there should have been.
        wanted: usize,
    },
    /// The descriptor is no TCP connection over IPv4 or IPv6.
    NotTcp,
    /// The system refused.
    Io {
        /// The call.
        op: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed { done, wanted } => {
                write!(f, "connection closed after {done} of {wanted} bytes")
            }
            Error::Deadline { done, wanted } => {
                write!(f, "deadline passed after {done} of {wanted} bytes")
            }
            Error::NotTcp => f.write_str("not a TCP connection"),
            Error::Io { op, source } => write!(f, "{op}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// One TCP connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
}

impl Stream {
    /// Takes over a connection that another process accepted or made.
    ///
    /// # Errors
    /// [`Error::NotTcp`] for any other descriptor, which is then closed.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, Error> {
        let domain = getsockname::<SockaddrStorage>(fd.as_raw_fd()).map(|a| a.family());
        let inet = matches!(domain, Ok(Some(AddressFamily::Inet | AddressFamily::Inet6)));
        if !inet || getsockopt(&fd, sockopt::SockType) != Ok(SockType::Stream) {
            return Err(Error::NotTcp);
        }
        Ok(Stream { socket: TcpStream::from(fd) })
    }

    /// Connects, or gives up at `deadline`.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Io`].
    pub fn connect_by(address: SocketAddr, deadline: Instant) -> Result<Self, Error> {
        let late = Error::Deadline { done: 0, wanted: 0 };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late);
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => Ok(Stream { socket }),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(late),
            Err(source) => Err(Error::Io { op: "connect", source }),
        }
    }

    /// Fills the whole of `buffer`.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Deadline`], [`Error::Io`]; `buffer` then holds what had come.
    pub fn read_exact_by(&self, buffer: &mut [u8], deadline: Instant) -> Result<(), Error> {
        let wanted = buffer.len();
        let mut done = 0;
        while let Some(left) = buffer.get_mut(done..).filter(|left| !left.is_empty()) {
            match recv(self.socket.as_raw_fd(), left, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(Error::Closed { done, wanted }),
                Ok(n) => done += n,
                Err(e) => self.wait(e, "recv", PollFlags::POLLIN, (done, wanted), deadline)?,
            }
        }
        Ok(())
    }

    /// Hands the whole of `bytes` to the system, which is not to say that the peer has it.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Deadline`], [`Error::Io`].
    pub fn write_all_by(&self, bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        let wanted = bytes.len();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let mut done = 0;
        while let Some(left) = bytes.get(done..).filter(|left| !left.is_empty()) {
            match send(self.socket.as_raw_fd(), left, flags) {
                Ok(n) => done += n,
                Err(e) => self.wait(e, "send", PollFlags::POLLOUT, (done, wanted), deadline)?,
            }
        }
        Ok(())
    }

    /// After `call` failed with `errno`: returns when it is worth another try.
    fn wait(
        &self,
        errno: Errno,
        call: &'static str,
        events: PollFlags,
        (done, wanted): (usize, usize),
        deadline: Instant,
    ) -> Result<(), Error> {
        match errno {
            Errno::EINTR => return Ok(()),
            Errno::EAGAIN => {}
            Errno::EPIPE | Errno::ECONNRESET => return Err(Error::Closed { done, wanted }),
            e => return Err(Error::Io { op: call, source: e.into() }),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Deadline { done, wanted });
        }
        match poll(&mut [PollFd::new(self.socket.as_fd(), events)], whole_ms(left)) {
            // Ready, or time is up, or a signal came: the next try or the next wait tells.
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(Error::Io { op: "poll", source: e.into() }),
        }
    }

    /// Sends small pieces at once (TCP_NODELAY).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_nodelay(&self) -> Result<(), Error> {
        self.socket
            .set_nodelay(true)
            .map_err(|source| Error::Io { op: "setsockopt TCP_NODELAY", source })
    }

    /// Gives up the connection for the descriptor under it, to be handed to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.socket.into()
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Stream { socket }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Rounded up, so that the last wait does not turn into a loop without any.
fn whole_ms(left: Duration) -> PollTimeout {
    let ms = left.as_millis().saturating_add(1);
    PollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX))
}
