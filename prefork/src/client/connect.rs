//! Connecting to a server that may be there: it greets, or it does not.
//!
//! A server that is not accepting may have as many calls as it wants to have at a time, and then
//! waiting is right, as long as it takes. It may also be stopped (SIGSTOP), or hung; then it would be
//! wrong. So when a greeting is late, whoever holds the listening socket is looked at.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, setsockopt};
use nix::sys::time::TimeVal;

use super::{Patience, holder, say};
use crate::Error;
use crate::protocol;

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The server is ready for our request.
    Greeted(OwnedFd),
    /// There is no server, or it is just ending.
    None,
    /// There is one at the socket of this device and inode, and it will not answer.
    Hung(Inode),
}

/// Which file a socket is: device and inode.
pub(super) type Inode = (u64, u64);

/// Connects, and waits for the greeting as long as there is hope of one.
pub(super) fn connect(path: &Path, patience: &Patience) -> Result<Answer, Error> {
    let what = || format!("connect to {}", path.display());
    let failed = |e: Errno| Error::system(what(), e);
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)
        .map_err(failed)?;
    super::system::close_on_exec(&socket).map_err(failed)?;
    limit(&socket, patience.send).map_err(failed)?;
    let inode = inode(path)?;
    let address = UnixAddr::new(path).map_err(failed)?;
    match socket::connect(socket.as_raw_fd(), &address) {
        Ok(()) => {}
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => return Ok(Answer::None),
        // As many wait already as can.
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(inode.map_or(Answer::None, Answer::Hung)),
        Err(e) => return Err(failed(e)),
    }
    let since = Instant::now();
    let mut told = false;
    loop {
        if readable(&socket, patience.greeting).map_err(failed)? {
            let greeted = greeting(&socket).map_err(|e| Error::says(format!("{}: {e}", what())))?;
            return Ok(if greeted { Answer::Greeted(socket) } else { Answer::None });
        }
        let Some(inode) = inode else { return Ok(Answer::None) };
        match holder::look(path) {
            holder::Look::Stopped(pid) => {
                say(&format!("the server, process {pid}, is stopped: another takes its place"));
                return Ok(Answer::Hung(inode));
            }
            holder::Look::Busy => {}
            holder::Look::Idle if since.elapsed() < patience.idle => {}
            holder::Look::Idle => {
                say(&format!(
                    "the server has not answered for {} s: another takes its place",
                    patience.idle.as_secs()
                ));
                return Ok(Answer::Hung(inode));
            }
        }
        if !told && since.elapsed() >= patience.idle {
            told = true;
            say("the server has as many calls as it makes at a time: waiting");
        }
    }
}

/// Has sending to it fail when nothing of it is read for this long.
pub(super) fn limit(socket: &OwnedFd, patience: Duration) -> nix::Result<()> {
    setsockopt(socket, SendTimeout, &TimeVal::new(patience.as_secs() as _, 0))
}

/// Waits until something can be read (or the other side is gone), at most this long.
pub(super) fn readable(socket: &impl AsFd, patience: Duration) -> nix::Result<bool> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if !left.is_zero() => {}
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads the greeting; `false` if the server has ended instead.
pub(super) fn greeting(server: &OwnedFd) -> Result<bool, Error> {
    let mut greeting = [0; protocol::GREETING.len()];
    if !read(server, &mut greeting)? {
        return Ok(false);
    }
    let extra = protocol::greeting(greeting).map_err(|e| Error::says(e.to_string()))?;
    let mut extra = vec![0; extra as usize];
    read(server, &mut extra)
}

/// Fills the buffer; `false` if the other side has ended before it was full.
pub(super) fn read(server: &OwnedFd, mut buffer: &mut [u8]) -> Result<bool, Error> {
    while !buffer.is_empty() {
        match nix::unistd::read(server, buffer) {
            Ok(0) | Err(Errno::ECONNRESET) => return Ok(false),
            Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::system("read from the server", e)),
        }
    }
    Ok(true)
}

/// Which socket has this name, if any has.
pub(super) fn inode(path: &Path) -> Result<Option<Inode>, Error> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::system(format!("look at {}", path.display()), e)),
    }
}
