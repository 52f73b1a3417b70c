//! The watcher: a process that outlives us, and ends when the server has (nobody holds what keeps it
//! alive any more) or when the socket is no longer the one the server listens at. The server sees
//! its end and ends too.
//!
//! ```text
//!  0  alive   the other end is held by the script and its server
//!  1  word    what it has to complain of, for the server's log; its end is the message
//!  2  word
//!  3  what tells that something happened to the socket (on the BSDs its directory is 4)
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::{UNUSUAL, connect, system};
use crate::Error;

#[cfg_attr(target_os = "linux", path = "watcher/watch_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "watcher/watch_bsd.rs")]
mod watch;

use watch::Watch;

/// What a server holds of its watcher.
pub(super) struct Ends {
    /// Keeps the watcher alive.
    pub alive: OwnedFd,
    /// The watcher's word, and its end.
    pub word: OwnedFd,
}

/// Starts a watcher for the socket of this name, which is this one. Nothing that happens to it from
/// now on is missed: what happens before it is watched is seen when it is.
pub(super) fn start(path: &Path, socket: connect::Inode) -> Result<Ends, Error> {
    let pipe = || system::pipe().map_err(|e| Error::system("make the watcher's pipes", e));
    let (alive_read, alive) = pipe()?;
    let (word, word_write) = pipe()?;
    system::set_nonblocking(&word).map_err(|e| Error::system("make the watcher's pipes", e))?;
    // SAFETY: there is one thread, so that the child may do whatever we may.
    match unsafe { fork() } {
        Err(e) => Err(Error::system("fork for the watcher", e)),
        Ok(ForkResult::Parent { child }) => {
            orphaned(child)?;
            Ok(Ends { alive, word })
        }
        Ok(ForkResult::Child) => {
            drop((alive, word));
            // The watcher is nobody's child, so that nobody has to wait for it.
            // SAFETY: as above.
            let code = match unsafe { fork() } {
                Ok(ForkResult::Parent { .. }) => 0,
                Ok(ForkResult::Child) => {
                    i32::from(watcher(path, socket, [&alive_read, &word_write]))
                }
                Err(_) => UNUSUAL.into(),
            };
            // SAFETY: ends the child without running what is the parent's.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for the process in between.
fn orphaned(between: Pid) -> Result<(), Error> {
    loop {
        match waitpid(between, None) {
            Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
            Err(Errno::EINTR) => {}
            other => return Err(Error::says(format!("the watcher did not start: {other:?}"))),
        }
    }
}

/// The process. Gives its exit code.
fn watcher(path: &Path, socket: connect::Inode, ends: [&OwnedFd; 2]) -> u8 {
    let outcome = (|| -> Result<(), Error> {
        let tried = |e: Errno| Error::system("watcher: become a process of its own", e);
        setsid().map_err(tried)?;
        nix::unistd::chdir("/").map_err(tried)?;
        system::set_process_name(c"prefork-watch");
        only_descriptors(ends).map_err(tried)?;
        let watch = Watch::new(path)?;
        // SAFETY: `only_descriptors` has put it there, and it stays.
        let alive = unsafe { BorrowedFd::borrow_raw(0) };
        follow(path, socket, &watch, alive)
    })();
    let Err(error) = outcome else { return 0 };
    eprintln!("{error}");
    UNUSUAL
}

fn follow(
    path: &Path,
    socket: connect::Inode,
    watch: &Watch,
    alive: BorrowedFd<'_>,
) -> Result<(), Error> {
    // It may have been replaced before it was watched.
    while connect::inode(path)? == Some(socket) {
        let mut list =
            [PollFd::new(alive, PollFlags::POLLIN), PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut list, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(Error::system("watcher: poll", e)),
        }
        let [of_server, of_socket] = list.map(|fd| fd.any().unwrap_or(true));
        if of_server {
            let mut bytes = [0; 64];
            match nix::unistd::read(alive, &mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::system("watcher: read from the server", e)),
            }
        }
        if of_socket {
            // Whatever it was: it is taken away, or it would be told again and again.
            watch.take()?;
        }
    }
    Ok(())
}

/// Leaves the process with the first three of the descriptors that it is said to have.
fn only_descriptors(ends: [&OwnedFd; 2]) -> nix::Result<()> {
    // SAFETY: on plain numbers.
    let lift = |fd| Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) });
    let [alive, word] = [lift(ends[0].as_raw_fd())?, lift(ends[1].as_raw_fd())?];
    for (from, to) in [(alive, 0), (word, 1), (word, 2)] {
        // SAFETY: on plain numbers; what was there is not needed in this process any more.
        Errno::result(unsafe { libc::dup2(from, to) })?;
    }
    system::close_from(3)
}
