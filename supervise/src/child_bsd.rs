//! A child held by a kqueue that waits for its exit. Nobody but us can reap it, so its number is
//! its own until we do.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::{Error, Exit};

/// The kernel's own kevent, as tools/bsd/abi.c has it from the systems' headers.
const _: () = {
    use std::mem::offset_of;
    let netbsd = cfg!(target_os = "netbsd");
    assert!(offset_of!(libc::kevent, ident) == 0);
    assert!(offset_of!(libc::kevent, filter) == 8);
    assert!(offset_of!(libc::kevent, flags) == if netbsd { 12 } else { 10 });
    assert!(offset_of!(libc::kevent, fflags) == if netbsd { 16 } else { 12 });
    assert!(offset_of!(libc::kevent, data) == if netbsd { 24 } else { 16 });
    assert!(offset_of!(libc::kevent, udata) == if netbsd { 32 } else { 24 });
    assert!(EvFlags::EV_ADD.bits() == 1);
    assert!(FilterFlag::NOTE_EXIT.bits() == 0x8000_0000);
};

/// The one thing through which a child is waited for and signalled.
#[derive(Debug)]
pub(crate) struct Handle {
    kqueue: Kqueue,
    pid: i32,
}

impl Handle {
    /// Takes hold of a child that waits for our word before execve, and so cannot have ended.
    pub(crate) fn open(pid: i32) -> Result<Handle, Error> {
        let kqueue = Kqueue::new().map_err(|errno| Error::system("kqueue", errno))?;
        let change = KEvent::new(
            pid.unsigned_abs() as usize,
            EventFilter::EVFILT_PROC,
            EvFlags::EV_ADD,
            FilterFlag::NOTE_EXIT,
            0,
            0,
        );
        kqueue
            .kevent(&[change], &mut [], None)
            .map_err(|errno| Error::system(format!("kevent for process {pid}"), errno))?;
        Ok(Handle { kqueue, pid })
    }

    /// Readable when the child has ended: its event is never taken out.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }

    /// Reaps the child if it has ended.
    pub(crate) fn try_wait(&mut self) -> Result<Option<Exit>, Error> {
        let mut status = 0;
        loop {
            // SAFETY: a number, a live local to be filled, and a flag.
            match unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } {
                0 => return Ok(None),
                -1 if Errno::last() == Errno::EINTR => {}
                -1 => return Err(Error::last(format!("waitpid for process {}", self.pid))),
                _ => break,
            }
        }
        Ok(Some(if libc::WIFEXITED(status) {
            Exit::Exited(libc::WEXITSTATUS(status))
        } else {
            Exit::Signaled { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
        }))
    }

    /// Waits for the end, at most this long.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Option<Exit>, Error> {
        let until = Instant::now() + patience;
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.kqueue.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("poll", errno)),
            }
        }
    }

    /// Sends a signal; a child that has ended is not an error.
    pub(crate) fn kill(&self, signal: c_int) -> io::Result<()> {
        // SAFETY: numbers; the process is ours and unreaped, or this is not called.
        match unsafe { libc::kill(self.pid, signal) } {
            0 => Ok(()),
            _ if Errno::last() == Errno::ESRCH => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Reaps a child that we failed to take hold of and that is about to end by itself.
pub(crate) fn reap_blind(pid: i32) {
    // SAFETY: waitpid may be given a null status pointer; the child is ours and unreaped.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// Closes every descriptor from `first` on, which nobody uses any more. Safe between fork and
/// execve.
pub(crate) fn close_from(first: c_int) -> Result<(), c_int> {
    // SAFETY: a number; the caller knows that nobody uses these any more. That there is nothing to
    // close is the only error, and none.
    unsafe { libc::closefrom(first) };
    Ok(())
}

/// In a child that has just been forked: has it killed when its parent ends, where there is such a
/// thing.
pub(crate) fn die_with_parent() -> Result<(), c_int> {
    #[cfg(target_os = "freebsd")]
    {
        let mut signal = libc::SIGKILL;
        let value = std::ptr::from_mut(&mut signal).cast();
        // SAFETY: the command reads one int; id 0 is ourselves.
        if unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, value) } != 0 {
            return Err(Errno::last_raw());
        }
    }
    Ok(())
}

/// The title is the first argument, which is what ps shows here.
pub(crate) fn set_name(_title: &str) {}

/// Who has made our channel is not asked for here: the end of the channel says when it is gone.
pub(crate) fn remember_maker(_channel: &OwnedFd) {}

/// Our own executable. OpenBSD knows only what we were called, which may be a bare name that
/// whoever started us had found in PATH.
pub(crate) fn own_image() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|e| Error::system("find our own executable", e))?;
    if own.components().count() > 1 {
        return Ok(own);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(&own)).find(|p| p.is_file());
    found.ok_or_else(|| Error::says(format!("{}: not found in PATH", own.display())))
}
