//! What the sockets of `link`, `udp` and `icmp` share: their error, what became of a batch, options.
//!
//! Opening needs root and is the parent's; everything else works on descriptors it was given.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Most messages that one system call moves.
pub const BATCH: usize = 64;
/// Longest message taken in, in bytes; a longer one is no DHCP message and is dropped.
pub const LONGEST: usize = 4096;
/// Bytes that may wait in a socket each way: some thousand messages, as many as come in a tenth of a
/// second at the highest rate that is served.
const QUEUE: libc::c_int = 8 << 20;

/// Where a message waits to be read. Under a flood one DISCOVER more is no loss, its client asks
/// again; a REQUEST lost is an exchange for nothing. So Linux keeps them apart, and a full queue of
/// DISCOVERs costs the server nothing. On the BSDs all is in one: the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// DHCPDISCOVERs whose type is where it is usual.
    Discovers,
    /// Every other message.
    Others,
}

/// The descriptors of both.
#[derive(Debug)]
pub struct Queues {
    /// Of [`Queue::Others`].
    pub others: OwnedFd,
    /// Of [`Queue::Discovers`], where it is another one.
    pub discovers: Option<OwnedFd>,
}

impl Queues {
    /// The one to read for a queue.
    pub(crate) fn fd(&self, queue: Queue) -> Option<BorrowedFd<'_>> {
        match queue {
            Queue::Discovers => self.discovers.as_ref().map(AsFd::as_fd),
            Queue::Others => Some(self.others.as_fd()),
        }
    }

    /// Both, to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = (Queue, BorrowedFd<'_>)> {
        let queues = [Queue::Others, Queue::Discovers].into_iter();
        queues.filter_map(|queue| Some((queue, self.fd(queue)?)))
    }
}

/// What was tried, on what, and what the system said.
#[derive(Debug)]
pub struct Error {
    tried: String,
    source: io::Error,
}

impl Error {
    pub(crate) fn new(tried: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error { tried: tried.into(), source: source.into() }
    }

    /// The system's error number, if it was the system that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What became of a batch of messages. One that fails does not keep the next from leaving.
#[derive(Debug, Default)]
pub struct Sent {
    /// How many the system took.
    pub sent: usize,
    /// How many it refused.
    pub failed: usize,
    /// The first refusal.
    pub error: Option<Error>,
}

impl Sent {
    /// Notes that a message could not go.
    pub(crate) fn refused(&mut self, tried: impl FnOnce() -> String, source: io::Error) {
        self.failed += 1;
        self.error.get_or_insert_with(|| Error::new(tried(), source));
    }
}

/// Sets a socket option that is a plain C value.
pub(crate) fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: T,
) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`, which lives through the call and is only
    // read; a wrong size is refused by the kernel.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes room for a burst. Less than asked for is no reason not to serve.
pub(crate) fn grow_queues(fd: BorrowedFd<'_>) {
    #[cfg(target_os = "linux")]
    let names = [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)];
    // A BSD refuses what is over its limit: whatever it has must do then.
    #[cfg(not(target_os = "linux"))]
    let names = [(libc::SO_RCVBUF, libc::SO_RCVBUF), (libc::SO_SNDBUF, libc::SO_SNDBUF)];
    for (force, ask) in names {
        if set_option(fd, libc::SOL_SOCKET, force, QUEUE).is_err()
            && let Err(error) = set_option(fd, libc::SOL_SOCKET, ask, QUEUE)
        {
            log::debug!("socket buffer of {QUEUE} bytes: {error}");
        }
    }
}
