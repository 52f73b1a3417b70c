//! fork, with the child held at a socket until its parent has done all that is to be done to a
//! process before it runs; and how the parent learns that execve itself failed. What the child
//! makes of itself is `exec`'s (a program of ours) and `launch`'s (anybody's command).
//!
//! Between fork and execve only system calls are made: no allocation, no lock, no Rust runtime.

use std::convert::Infallible;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use crate::Error;
use crate::handle::{self, Handle};

/// Descriptors are lifted to here and above, so that putting one in its place never closes another.
const OUT_OF_THE_WAY: c_int = 10;

/// The number after the last signal's, on every system we know.
pub(crate) const SIGNALS: c_int = 65;

/// A child that has been forked and waits for our word. Dropping it ends it: without our word it
/// exits by itself.
#[derive(Debug)]
pub(crate) struct Waiting {
    what: String,
    pid: i32,
    /// Taken before the child could do anything; `None` once it was handed on.
    handle: Option<Handle>,
    ours: Option<OwnedFd>,
    patience: Duration,
}

/// Forks. In the child all signals are blocked and `child` is called with the number of its end of
/// the start-up socket, which it may move: it does what it has to, calls [`wait_for_go`] and then
/// execve. What it returns is the error number that the parent is told.
///
/// # Safety
/// `child` keeps to async-signal-safe calls and to memory that was laid out before.
pub(crate) unsafe fn hold(
    what: String,
    patience: Duration,
    child: impl FnOnce(&mut RawFd) -> Result<Infallible, c_int>,
) -> Result<Waiting, Error> {
    let tried = |step: &str| format!("{what}: {step}");
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Error::system(tried("socketpair"), errno))?;
    let limit = TimeVal::new(patience.as_secs() as _, 0);
    setsockopt(&ours, sockopt::ReceiveTimeout, &limit)
        .map_err(|errno| Error::system(tried("SO_RCVTIMEO"), errno))?;

    // No handler of ours may run in the child, so signals wait until it has reset them.
    let before = block_all().map_err(|errno| Error::system(tried("sigprocmask"), errno))?;
    // SAFETY: the child calls nothing but `child`, which keeps to async-signal-safe calls by this
    // function's contract, and then ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // Ours is inherited too, and would keep the child waiting for a parent that has died.
        // SAFETY: closes a number in the child, where nobody uses it.
        unsafe { libc::close(ours.as_raw_fd()) };
        let mut start = theirs.as_raw_fd();
        let errno = match child(&mut start) {
            Ok(never) => match never {},
            Err(errno) => errno,
        };
        // SAFETY: both only take plain values and a pointer to a live local; _exit never returns.
        unsafe {
            libc::send(start, ptr::from_ref(&errno).cast(), size_of_val(&errno), 0);
            libc::_exit(127);
        }
    }
    let forked = io::Error::last_os_error();
    restore(&before);
    drop(theirs);
    if pid < 0 {
        return Err(Error::system(tried("fork"), forked));
    }
    match Handle::open(pid) {
        Ok(handle) => Ok(Waiting { what, pid, handle: Some(handle), ours: Some(ours), patience }),
        Err(error) => {
            // Without our word the child ends by itself; it is not reaped yet, so the number is its.
            drop(ours);
            handle::reap_blind(pid);
            Err(error)
        }
    }
}

impl Waiting {
    /// Its number.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the child go on, and returns when execve has succeeded. (A child that is killed before
    /// execve looks like one that is killed right after it: its end tells.)
    ///
    /// # Errors
    /// What execve, or a step before it, said. The child has been reaped then.
    pub(crate) fn go(mut self) -> Result<(i32, Handle), io::Error> {
        let (Some(ours), Some(mut handle)) = (self.ours.take(), self.handle.take()) else {
            return Err(io::Error::from_raw_os_error(libc::ECHILD));
        };
        match handshake(&ours) {
            Ok(()) => Ok((self.pid, handle)),
            Err(source) => {
                let _ = handle.kill(libc::SIGKILL);
                let _ = handle.wait(self.patience);
                Err(source)
            }
        }
    }

    /// The same for a child that we trace: it may stop on its way, and only goes on if `attend`
    /// hears of that. It is `attend` that hears of its end too, and reaps it.
    ///
    /// # Errors
    /// As [`Waiting::go`].
    pub(crate) fn go_attended(
        mut self,
        attend: &mut dyn FnMut(),
    ) -> Result<(i32, Handle), io::Error> {
        let (Some(ours), Some(handle)) = (self.ours.take(), self.handle.take()) else {
            return Err(io::Error::from_raw_os_error(libc::ECHILD));
        };
        let deadline = Instant::now() + self.patience;
        send(ours.as_raw_fd(), b"!", MsgFlags::MSG_NOSIGNAL)?;
        while !readable(ours.as_fd()) && Instant::now() < deadline {
            attend();
        }
        match answer(&ours, MsgFlags::MSG_DONTWAIT) {
            Ok(()) => Ok((self.pid, handle)),
            Err(source) => {
                let _ = handle.kill(libc::SIGKILL);
                while !readable(handle.as_fd()) && Instant::now() < deadline {
                    attend();
                }
                attend();
                Err(source)
            }
        }
    }
}

/// Waits for this, but not for long.
fn readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(10u8)).is_ok_and(|ready| ready > 0)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.ours.take());
        if let Some(mut handle) = self.handle.take()
            && !matches!(handle.wait(self.patience), Ok(Some(_)))
        {
            log::error!("{}: the child does not end", self.what);
        }
    }
}

/// Lets the child go on, and waits until execve has closed the socket (success) or an error
/// number has come through it.
fn handshake(ours: &OwnedFd) -> io::Result<()> {
    send(ours.as_raw_fd(), b"!", MsgFlags::MSG_NOSIGNAL)?;
    answer(ours, MsgFlags::empty())
}

/// What comes through the socket.
fn answer(ours: &OwnedFd, flags: MsgFlags) -> io::Result<()> {
    let mut answer = [0u8; size_of::<c_int>()];
    loop {
        match recv(ours.as_raw_fd(), &mut answer, flags) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(io::Error::from_raw_os_error(c_int::from_ne_bytes(answer))),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "execve did not return"));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// In the child: waits until the parent lets it go on; ends it if the parent is gone, or has given
/// it up.
///
/// # Safety
/// Async-signal-safe; only for a child of [`hold`], with its end of the socket.
pub(crate) unsafe fn wait_for_go(start: RawFd) {
    let mut go = 0u8;
    // SAFETY: a live local to be filled, and numbers; _exit never returns.
    unsafe {
        if libc::recv(start, ptr::from_mut(&mut go).cast(), 1, 0) != 1 {
            libc::_exit(127);
        }
    }
}

/// In the child: a copy of `fd` that is out of the way of 0 to 9 and closed by execve.
///
/// # Safety
/// Async-signal-safe; `fd` may be any number.
pub(crate) unsafe fn lift(fd: RawFd) -> Result<RawFd, c_int> {
    // SAFETY: fcntl on a plain number.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) })
}

/// In the child: makes `to` a copy of `fd` that stays open across execve.
///
/// # Safety
/// Async-signal-safe; closes what `to` was.
pub(crate) unsafe fn put(fd: RawFd, to: RawFd) -> Result<(), c_int> {
    // SAFETY: dup2 on plain numbers; the copy has no close-on-exec flag.
    check(unsafe { libc::dup2(fd, to) }).map(drop)
}

/// What a system call returned, or its error number.
pub(crate) fn check(result: c_int) -> Result<c_int, c_int> {
    if result >= 0 {
        return Ok(result);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// As execve wants them: ended by a null pointer, and good for as long as `strings` are.
pub(crate) fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

fn block_all() -> nix::Result<SigSet> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    Ok(before)
}

fn restore(before: &SigSet) {
    // It cannot fail: the set is one the kernel has given us.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
}
