//! The way to syslogd where it is a datagram socket: Linux, FreeBSD, NetBSD.
//!
//! The socket is one for the parent and its children: when the parent connects it again, after
//! syslogd was restarted, that holds for the children too, who could not find it from where they
//! are confined.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::{Error, SYSLOG_FD};

#[cfg(target_os = "linux")]
const PATH: &str = "/dev/log";
#[cfg(not(target_os = "linux"))]
const PATH: &str = "/var/run/log";

/// How often a missing syslogd is looked for.
const AGAIN: Duration = Duration::from_secs(1);

/// Lines a system call.
const BATCH: usize = 64;

/// A socket that leads to syslogd, now or later.
pub(crate) struct Transport {
    fd: OwnedFd,
    /// Whether we can see the path, or must wait for the parent to connect.
    finder: bool,
    connected: bool,
    tried: Option<Instant>,
    path: &'static str,
}

impl Transport {
    /// Opens the way for this process and its children.
    pub(crate) fn open() -> Result<Transport, Error> {
        Transport::open_at(PATH)
    }

    pub(crate) fn open_at(path: &'static str) -> Result<Transport, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)
            .map_err(|errno| Error::system("make a socket for syslog", errno))?;
        let mut transport = Transport { fd, finder: true, connected: false, tried: None, path };
        transport.find();
        Ok(transport)
    }

    /// Takes the way that the parent has opened.
    pub(crate) fn inherit() -> Result<Transport, Error> {
        // SAFETY: asks about a number; -1 if nothing is open there.
        if unsafe { libc::fcntl(SYSLOG_FD, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(Error::last("the socket for syslog, descriptor 4"));
        }
        // SAFETY: it is open, `start` put it there for us, and the logger is installed only once.
        let fd = unsafe { OwnedFd::from_raw_fd(SYSLOG_FD) };
        Ok(Transport { fd, finder: false, connected: true, tried: None, path: PATH })
    }

    /// A copy for a child.
    pub(crate) fn descriptor(&self) -> Result<Option<OwnedFd>, Error> {
        let copy = self.fd.try_clone();
        copy.map(Some).map_err(|source| Error::system("copy the socket for syslog", source))
    }

    /// Sends the lines of `bytes`, each ending at one of `ends`, until syslogd takes no more;
    /// returns how many it took.
    pub(crate) fn send(&mut self, bytes: &[u8], ends: &[usize]) -> usize {
        if !self.connected && !self.find() {
            return 0;
        }
        let mut done = 0;
        while done < ends.len() {
            let rest = ends.get(done..).unwrap_or_default();
            let start = done.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0);
            match send_some(self.fd.as_fd(), bytes, start, rest) {
                Ok(sent) => done += sent,
                Err(Errno::EINTR) => {}
                // One that can never be sent must not stop those behind it.
                Err(Errno::EMSGSIZE) => done += 1,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return done,
                Err(_) => {
                    self.connected = !self.finder;
                    if !self.finder || !self.find() {
                        return done;
                    }
                }
            }
        }
        done
    }

    /// Waits until syslogd takes a line again.
    pub(crate) fn wait(&self, patience: Duration) {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        let _ = nix::poll::poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)], timeout);
    }

    fn find(&mut self) -> bool {
        if !self.finder || self.tried.is_some_and(|tried| tried.elapsed() < AGAIN) {
            return false;
        }
        self.tried = Some(Instant::now());
        self.connected = UnixAddr::new(self.path)
            .is_ok_and(|address| connect(self.fd.as_raw_fd(), &address).is_ok());
        self.connected
    }
}

/// Sends up to [`BATCH`] lines in one system call and returns how many went.
fn send_some(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    mut start: usize,
    ends: &[usize],
) -> Result<usize, Errno> {
    let mut slices = [IoSlice::new(&[]); BATCH];
    let mut count = 0;
    for (slice, &end) in slices.iter_mut().zip(ends) {
        *slice = IoSlice::new(bytes.get(start..end).unwrap_or_default());
        start = end;
        count += 1;
    }
    // SAFETY: an all-zero mmsghdr is a valid one: no name, no data, no control message.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for (header, slice) in headers.iter_mut().zip(&slices) {
        // IoSlice has the layout of iovec; the kernel only reads through this pointer.
        header.msg_hdr.msg_iov = std::ptr::from_ref(slice).cast_mut().cast();
        header.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` headers each point at one live slice, and those at live bytes.
    let sent =
        unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count as _, flags as _) };
    usize::try_from(sent).map_err(|_| Errno::last())
}
