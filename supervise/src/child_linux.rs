//! A child held by its pidfd: the number of a process may be given to another one, the
//! descriptor never means another one.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::{Error, Exit};

/// The process that has made our channel; 0 if we have none.
static MAKER: AtomicI32 = AtomicI32::new(0);

/// The one thing through which a child is waited for and signalled.
#[derive(Debug)]
pub(crate) struct Handle {
    pidfd: OwnedFd,
    pid: i32,
}

impl Handle {
    /// Takes hold of a child that has not been reaped, so that `pid` cannot be anyone else's.
    pub(crate) fn open(pid: i32) -> Result<Handle, Error> {
        // SAFETY: a system call on two plain numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(Error::last(format!("pidfd_open {pid}")));
        }
        // SAFETY: the kernel has just made this descriptor (close-on-exec) and only we know it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
        Ok(Handle { pidfd, pid })
    }

    /// Holds what a pidfd means already: perhaps no child of ours, which is not waited for then.
    pub(crate) fn of(pidfd: OwnedFd, pid: i32) -> Handle {
        Handle { pidfd, pid }
    }

    /// Waits for the end, at most this long, and leaves it to be reaped by whose child it is.
    /// Whether it has come.
    pub(crate) fn ended_within(&self, patience: Duration) -> Result<bool, Error> {
        let until = std::time::Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(1..) => return Ok(true),
                Ok(_) if left.is_zero() => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("poll", errno)),
            }
        }
    }

    /// Readable when the child has ended.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Reaps the child if it has ended.
    pub(crate) fn try_wait(&mut self) -> Result<Option<Exit>, Error> {
        // SAFETY: an all-zero siginfo_t is a valid one.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: `info` is a live siginfo_t for the kernel to fill; the rest are numbers.
            let result = unsafe {
                libc::waitid(
                    libc::P_PIDFD,
                    self.pidfd.as_raw_fd() as libc::id_t,
                    &mut info,
                    libc::WEXITED | libc::WNOHANG,
                )
            };
            if result == 0 {
                break;
            }
            if Errno::last() != Errno::EINTR {
                return Err(Error::last(format!("waitid for process {}", self.pid)));
            }
        }
        // SAFETY: after a successful waitid the fields of SIGCHLD are the ones that are filled, or
        // all are zero because nothing has ended.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        Ok(Some(match info.si_code {
            libc::CLD_EXITED => Exit::Exited(status),
            code => Exit::Signaled { signal: status, core: code == libc::CLD_DUMPED },
        }))
    }

    /// Waits for the end, at most this long.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Option<Exit>, Error> {
        let until = std::time::Instant::now() + patience;
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("poll", errno)),
            }
        }
    }

    /// Sends a signal; a child that has ended is not an error.
    pub(crate) fn kill(&self, signal: c_int) -> io::Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a system call on plain numbers and a null pointer, which stands for "as kill(2)".
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, none, 0)
        };
        match result {
            0 => Ok(()),
            _ if Errno::last() == Errno::ESRCH => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the process is there, if only as one that nobody has reaped yet.
    pub(crate) fn exists(&self) -> bool {
        // SAFETY: as in `kill`; signal 0 only asks.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                0,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        result == 0 || Errno::last() == Errno::EPERM
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
    // SAFETY: a system call on plain numbers; the caller knows that nobody uses these any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// In a child that has just been forked: has it killed when its parent's thread ends.
pub(crate) fn die_with_parent() -> Result<(), c_int> {
    // SAFETY: one number, and the rest as zero.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// Gives the process its name in `ps -o comm` and top, which execve had set to the file's. The
/// kernel keeps 15 bytes.
pub(crate) fn set_name(title: &str) {
    let mut name = [0u8; 16];
    for (to, from) in name.iter_mut().zip(title.bytes().take(15)) {
        *to = from;
    }
    // SAFETY: PR_SET_NAME reads a string of at most 16 bytes ended by a zero, which `name` is.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Our own executable, as something that can be executed: the running file even if another one
/// has been put in its place meanwhile.
pub(crate) fn own_image() -> Result<std::path::PathBuf, Error> {
    Ok("/proc/self/exe".into())
}

/// Keeps in mind who has made our channel, which the kernel knows: the process that is to be our
/// parent.
pub(crate) fn remember_maker(channel: &OwnedFd) {
    let credentials = nix::sys::socket::sockopt::PeerCredentials;
    if let Ok(maker) = nix::sys::socket::getsockopt(channel, credentials) {
        MAKER.store(maker.pid(), Ordering::Relaxed);
    }
}

/// Whether our parent is not the process that has made our channel: it has died. Never true of a
/// process without a channel.
pub(crate) fn orphaned() -> bool {
    let maker = MAKER.load(Ordering::Relaxed);
    maker != 0 && nix::unistd::getppid().as_raw() != maker
}
