//! The process that listens at a socket we are connected to, held by its pidfd: no number is ever
//! taken from a file, and what is signalled is that process or nobody.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use proto::unix::{Connection, connect};

use super::{Reply, Request};
use crate::handle::Handle;
use crate::{Error, signal_name};

/// The option that gives the pidfd of whoever listens; Linux 6.5, unix(7).
const SO_PEERPIDFD: c_int = 77;

/// A supervisor.
pub struct Listening {
    handle: Handle,
    // It is the proof that the process is there, and closed when we are done.
    _connection: Connection<Request, Reply>,
}

impl Listening {
    /// Takes hold of the process that listens at `path`.
    ///
    /// # Errors
    /// Nobody does, or the kernel cannot tell who.
    pub fn at(path: &Path) -> Result<Listening, String> {
        let connection = connect::<Request, Reply>(path).map_err(|error| error.to_string())?;
        let handle = match peer(connection.channel.as_fd(), connection.peer.pid.unwrap_or(0)) {
            Some(handle) => handle,
            None => by_number(path, &connection)?,
        };
        Ok(Listening { handle, _connection: connection })
    }

    /// Asks it to end, and its command with it: SIGTERM.
    ///
    /// # Errors
    /// We may not.
    pub fn end(&self) -> Result<(), String> {
        let sent = self.handle.kill(libc::SIGTERM);
        sent.map_err(|error| format!("send {}: {error}", signal_name(libc::SIGTERM)))
    }

    /// Waits for its end; whether that has come.
    ///
    /// # Errors
    /// The system refuses.
    pub fn ended_within(&self, patience: Duration) -> Result<bool, Error> {
        self.handle.ended_within(patience)
    }
}

/// What SO_PEERPIDFD says; `None` if this kernel does not know it.
fn peer(socket: BorrowedFd<'_>, pid: i32) -> Option<Handle> {
    let mut pidfd: c_int = -1;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: a live number of that size for the kernel to fill.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut pidfd).cast::<c_void>(),
            &mut length,
        )
    };
    if result != 0 || pidfd < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor, close-on-exec, and only we know it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Some(Handle::of(pidfd, pid))
}

/// On an older kernel: the number that listened, a pidfd of that number, and then a second
/// connection. That one is accepted by the same socket, which has not been closed meanwhile; so its
/// process had not ended when the pidfd was made, and the pidfd is of it.
fn by_number(path: &Path, first: &Connection<Request, Reply>) -> Result<Handle, String> {
    let unsure = || format!("{}: who listens there cannot be told for certain", path.display());
    let pid = first.peer.pid.filter(|pid| *pid > 0).ok_or_else(unsure)?;
    let handle = Handle::open(pid).map_err(|error| error.to_string())?;
    let second = connect::<Request, Reply>(path).map_err(|error| error.to_string())?;
    if second.peer.pid == Some(pid) && handle.exists() { Ok(handle) } else { Err(unsure()) }
}

#[cfg(test)]
mod tests {
    use proto::unix::Listener;

    use super::*;

    #[test]
    fn both_ways_find_who_listens() {
        let path = std::env::temp_dir().join(format!("supervise-who-{}", std::process::id()));
        let listener = Listener::bind(&path, 0o600).expect("bind");
        let connection = connect::<Request, Reply>(&path).expect("connect");
        let us = std::process::id().cast_signed();
        let held = by_number(&path, &connection).expect("by its number");
        assert!(held.exists());
        assert_eq!(connection.peer.pid, Some(us));
        if let Some(held) = peer(connection.channel.as_fd(), us) {
            assert!(held.exists());
            assert!(!held.ended_within(Duration::ZERO).expect("ask"));
        }
        drop(listener);
        assert!(by_number(&path, &connection).is_err(), "nobody listens any more");
    }
}
