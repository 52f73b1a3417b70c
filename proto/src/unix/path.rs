//! Channels over a path in the file system, for the control programs, with who is at the other end.
//! They carry no descriptors: a message type that does will not compile here. What a peer may ask
//! for is decided by the daemon.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::unistd;

use super::channel::{Channel, Message, make_room};
use super::{Error, credentials};

/// Who is at the other end, as the kernel saw it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Process, where the system says (Linux; 0 there: one outside our pid namespace). For the log
    /// only: it may be another process by now.
    pub pid: Option<i32>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid} (uid {}, gid {})", self.uid, self.gid),
            None => write!(f, "uid {}, gid {}", self.uid, self.gid),
        }
    }
}

/// A channel over a path and who is at its other end.
#[derive(Debug)]
pub struct Connection<Tx: Message, Rx: Message> {
    /// Our end.
    pub channel: Channel<Tx, Rx>,
    /// The other one.
    pub peer: Peer,
}

/// A path others connect to. Removes the path when dropped, if it is still this socket.
#[derive(Debug)]
pub struct Listener {
    // std's type for a stream: its accept(2) knows nothing of what it accepts.
    socket: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Begins to listen at `path`, which only those may connect to whom `mode` gives the right to
    /// write (and the way there the right to pass). A socket nobody answers at is replaced;
    /// anything else there is left alone.
    ///
    /// # Errors
    /// [`Error::Path`]; `EADDRINUSE` where another process answers or the path is no socket.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, Error> {
        let tried = |op, e: Errno| Error::Path { op, path: path.to_owned(), source: e.into() };
        let address = UnixAddr::new(path).map_err(|e| tried("bind", e))?;
        let socket = new_socket(SockFlag::SOCK_NONBLOCK)?;
        match socket::bind(socket.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) if is_stale(path, &address)? => {
                fs::remove_file(path).map_err(|e| at("unlink", path, e))?;
                socket::bind(socket.as_raw_fd(), &address).map_err(|e| tried("bind", e))?;
            }
            bound => bound.map_err(|e| tried("bind", e))?,
        }
        // Nobody can connect before listen(2): the path is never open wider than `mode`.
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|e| at("chmod", path, e))?;
        socket::listen(&socket, Backlog::new(16).unwrap_or(Backlog::MAXCONN))
            .map_err(|e| tried("listen", e))?;
        let found = fs::symlink_metadata(path).map_err(|e| at("stat", path, e))?;
        Ok(Listener {
            socket: socket.into(),
            path: path.to_owned(),
            identity: (found.dev(), found.ino()),
        })
    }

    /// Takes one connection and says whose it is; `None` when nobody waits (any more).
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Io`]. The listener stays as it was.
    pub fn accept<Tx: Message, Rx: Message>(&self) -> Result<Option<Connection<Tx, Rx>>, Error> {
        accept(&self.socket).map_err(|e| match e {
            Refusal::System(e) => at("accept", &self.path, e),
            Refusal::Other(e) => e,
        })
    }

    /// The same socket for another process, which accepts in place of this one
    /// ([`Acceptor::from_fd`]). The path stays this one's.
    ///
    /// # Errors
    /// [`Error::Io`]: no descriptor is left.
    pub fn share(&self) -> Result<OwnedFd, Error> {
        self.socket.as_fd().try_clone_to_owned().map_err(|e| Error::io("dup", e))
    }

    /// Makes `group` the socket's group, so that `mode` is about its members. Done by becoming of
    /// that group for a moment, which needs no right over other people's files: the process must
    /// have one thread.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn set_group(&self, group: u32) -> Result<(), Error> {
        let tried = |op, e: Errno| at(op, &self.path, e.into());
        let before = unistd::getegid();
        let group = unistd::Gid::from_raw(group);
        unistd::setegid(group).map_err(|e| tried("setegid for", e))?;
        let changed = unistd::chown(&self.path, None, Some(group));
        unistd::setegid(before).map_err(|e| tried("setegid after", e))?;
        changed.map_err(|e| tried("chgrp", e))
    }
}

/// A listening socket that another process made and named: it accepts, and knows no path.
#[derive(Debug)]
pub struct Acceptor {
    socket: UnixListener,
}

impl Acceptor {
    /// Takes what [`Listener::share`] gave.
    pub fn from_fd(socket: OwnedFd) -> Self {
        Acceptor { socket: socket.into() }
    }

    /// As [`Listener::accept`].
    ///
    /// # Errors
    /// [`Error::Io`]. The listener stays as it was.
    pub fn accept<Tx: Message, Rx: Message>(&self) -> Result<Option<Connection<Tx, Rx>>, Error> {
        accept(&self.socket).map_err(|e| match e {
            Refusal::System(e) => Error::io("accept", e),
            Refusal::Other(e) => e,
        })
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

enum Refusal {
    System(io::Error),
    Other(Error),
}

fn accept<Tx: Message, Rx: Message>(
    socket: &UnixListener,
) -> Result<Option<Connection<Tx, Rx>>, Refusal> {
    match socket.accept() {
        Ok((connected, _)) => typed(connected.into()).map(Some).map_err(Refusal::Other),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
        Err(e) => Err(Refusal::System(e)),
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            // A path left behind is replaced by the next bind.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to the daemon at `path`, and says as whom it listens.
///
/// ```compile_fail
/// # use std::os::fd::OwnedFd;
/// # use proto::unix::{Error, Message, connect};
/// struct Migrate;
/// impl Message for Migrate {
///     const CARRIES_FD: bool = true;
///     # fn encode(&self, _: &mut Vec<u8>) -> u16 { 0 }
///     # fn decode(_: u16, _: &[u8], _: Option<OwnedFd>) -> Result<Self, Error> { Ok(Migrate) }
/// }
/// connect::<Migrate, Migrate>("/run/dhcpd.sock".as_ref()); // no descriptors over paths
/// ```
///
/// # Errors
/// [`Error::Path`]: `ENOENT` and `ECONNREFUSED` mean that no daemon runs there.
pub fn connect<Tx: Message, Rx: Message>(path: &Path) -> Result<Connection<Tx, Rx>, Error> {
    let socket = new_socket(SockFlag::empty())?;
    UnixAddr::new(path)
        .and_then(|address| socket::connect(socket.as_raw_fd(), &address))
        .map_err(|e| at("connect", path, e.into()))?;
    typed(socket)
}

fn typed<Tx: Message, Rx: Message>(fd: OwnedFd) -> Result<Connection<Tx, Rx>, Error> {
    const { assert!(!Tx::CARRIES_FD && !Rx::CARRIES_FD, "a path socket carries no descriptors") };
    make_room(fd.as_fd())?;
    let peer = credentials::of(fd.as_fd()).map_err(|e| Error::io("peer credentials", e))?;
    Ok(Connection { channel: Channel::from_fd(fd)?, peer })
}

/// Whether a socket is left at `path` that nobody listens at.
fn is_stale(path: &Path, address: &UnixAddr) -> Result<bool, Error> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(false);
    }
    let probe = new_socket(SockFlag::SOCK_NONBLOCK)?;
    Ok(socket::connect(probe.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}

fn new_socket(flags: SockFlag) -> Result<OwnedFd, Error> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
        .map_err(|e| Error::io("socket", e))
}

fn at(op: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Path { op, path: path.to_owned(), source }
}
