//! fork and execve, with everything between them laid out beforehand: what the child holds, how
//! its signals stand, and how the parent learns that execve itself failed.
//!
//! Between fork and execve only system calls are made: no allocation, no lock, no Rust runtime.

use std::convert::Infallible;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, getpeername, getsockopt, recv, send,
    setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use crate::handle::{self, Handle};
use crate::{CHANNEL_FD, Error, SYSLOG_FD};

/// Where the child keeps its end of the start-up socket until execve closes it.
const START_FD: RawFd = 5;

/// Descriptors are first lifted to here, so that putting one in its place never closes another.
const OUT_OF_THE_WAY: c_int = 10;

/// How long execve may take before the parent gives the child up.
const EXEC_PATIENCE: Duration = Duration::from_secs(10);

/// The number after the last signal's, on every system we know.
const SIGNALS: c_int = 65;

/// What is to be executed, ready for a process that may no longer allocate.
pub(crate) struct Image {
    pub path: CString,
    pub argv: Vec<CString>,
    pub environment: Vec<CString>,
}

/// What the child holds.
pub(crate) struct Held<'a> {
    /// Open for reading and writing; becomes descriptor 0, and whatever of 1 and 2 is not ours.
    pub null: BorrowedFd<'a>,
    /// Becomes descriptor 3.
    pub channel: BorrowedFd<'a>,
    /// Becomes descriptor 4, which is closed without it.
    pub syslog: Option<BorrowedFd<'a>>,
    /// Whether our standard output and error are the child's too. Where they are not it would
    /// keep a terminal, or a pipe whose reader waits for its end, for as long as it lives.
    pub output: bool,
}

/// Executes `image` in a new process and returns when that has succeeded, with the handle that
/// was taken before the child was allowed to go on. (A child that is killed before execve looks
/// like one that is killed right after it: its end tells.)
pub(crate) fn run(image: &Image, held: &Held<'_>) -> Result<(i32, Handle), Error> {
    let what = || format!("start {}", image.path.to_string_lossy());
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Error::system(format!("{}: socketpair", what()), errno))?;
    let patience = TimeVal::new(EXEC_PATIENCE.as_secs() as _, 0);
    setsockopt(&ours, sockopt::ReceiveTimeout, &patience)
        .map_err(|errno| Error::system(format!("{}: SO_RCVTIMEO", what()), errno))?;

    let argv = pointers(&image.argv);
    let environment = pointers(&image.environment);
    let raw = Raw {
        path: image.path.as_ptr(),
        argv: argv.as_ptr(),
        environment: environment.as_ptr(),
        null: held.null.as_raw_fd(),
        channel: held.channel.as_raw_fd(),
        syslog: held.syslog.map_or(-1, |fd| fd.as_raw_fd()),
        output: held.output,
        start: theirs.as_raw_fd(),
    };

    // No handler of ours may run in the child, so signals wait until it has reset them.
    let before = block_all().map_err(|e| Error::system(format!("{}: sigprocmask", what()), e))?;
    // SAFETY: the child calls nothing but `become_image`, which keeps to async-signal-safe calls
    // and the memory prepared above, and never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut start = raw.start;
        // SAFETY: `raw` points into `image`, `argv` and `environment`, alive in this copy of the
        // address space; the vectors are terminated by a null pointer.
        let errno = match unsafe { become_image(&raw, &mut start) } {
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
        return Err(Error::system(format!("{}: fork", what()), forked));
    }

    let mut handle = match Handle::open(pid) {
        Ok(handle) => handle,
        Err(error) => {
            // Without our word the child ends by itself; it is not reaped yet, so the number is its.
            drop(ours);
            handle::reap_blind(pid);
            return Err(error);
        }
    };
    match handshake(&ours) {
        Ok(()) => Ok((pid, handle)),
        Err(source) => {
            let _ = handle.kill(libc::SIGKILL);
            let _ = handle.wait(EXEC_PATIENCE);
            Err(Error::system(what(), source))
        }
    }
}

/// Lets the child go on, and waits until execve has closed the socket (success) or an error
/// number has come through it.
fn handshake(ours: &OwnedFd) -> io::Result<()> {
    send(ours.as_raw_fd(), b"!", MsgFlags::MSG_NOSIGNAL)?;
    let mut answer = [0u8; size_of::<c_int>()];
    loop {
        match recv(ours.as_raw_fd(), &mut answer, MsgFlags::empty()) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(io::Error::from_raw_os_error(c_int::from_ne_bytes(answer))),
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "execve did not return"));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// `Image` and `Held` as the child needs them: plain values.
struct Raw {
    path: *const c_char,
    argv: *const *const c_char,
    environment: *const *const c_char,
    null: RawFd,
    channel: RawFd,
    syslog: RawFd,
    output: bool,
    start: RawFd,
}

/// The child's way from fork to execve. Returns only if something failed, with its error number,
/// which is to be sent to `start`.
///
/// # Safety
/// Runs in a process that has just been forked. The pointers are valid C strings and vectors of
/// them, each ended by a null pointer.
unsafe fn become_image(raw: &Raw, start: &mut RawFd) -> Result<Infallible, c_int> {
    // SAFETY: plain system calls on plain values; the sigset and sigaction are locals that the
    // calls initialise or read; the pointers are good by this function's own contract.
    unsafe {
        let null = lift(raw.null)?;
        let channel = lift(raw.channel)?;
        let syslog = if raw.syslog >= 0 { lift(raw.syslog)? } else { -1 };
        *start = lift(raw.start)?;

        put(null, 0)?;
        for standard in [1, 2] {
            if !raw.output || libc::fcntl(standard, libc::F_GETFD) < 0 {
                put(null, standard)?;
            }
        }
        put(channel, CHANNEL_FD)?;
        if syslog >= 0 {
            put(syslog, SYSLOG_FD)?;
        } else {
            libc::close(SYSLOG_FD);
        }
        put(*start, START_FD)?;
        *start = START_FD;
        check(libc::fcntl(START_FD, libc::F_SETFD, libc::FD_CLOEXEC))?;
        handle::close_from(START_FD + 1)?;

        // Signals from a terminal are meant for the parent, who then ends us in order.
        check(libc::setsid())?;

        let mut go = 0u8;
        if libc::recv(START_FD, ptr::from_mut(&mut go).cast(), 1, 0) != 1 {
            // The parent is gone or has given us up.
            libc::_exit(127);
        }

        // Handlers fall back by themselves at execve, but what is ignored stays ignored.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        for signal in 1..SIGNALS {
            // SIGKILL, SIGSTOP and the C library's own refuse, and need nothing.
            libc::sigaction(signal, &default, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()))?;

        libc::execve(raw.path, raw.argv, raw.environment);
        Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }
}

/// # Safety
/// Async-signal-safe; `fd` may be any number.
unsafe fn lift(fd: RawFd) -> Result<RawFd, c_int> {
    // SAFETY: fcntl on a plain number.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) })
}

/// # Safety
/// Async-signal-safe; closes what `to` was.
unsafe fn put(fd: RawFd, to: RawFd) -> Result<(), c_int> {
    // SAFETY: dup2 on plain numbers; the copy has no close-on-exec flag.
    check(unsafe { libc::dup2(fd, to) }).map(drop)
}

fn check(result: c_int) -> Result<c_int, c_int> {
    if result >= 0 {
        return Ok(result);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

fn block_all() -> nix::Result<nix::sys::signal::SigSet> {
    let mut before = nix::sys::signal::SigSet::empty();
    let all = nix::sys::signal::SigSet::all();
    let how = nix::sys::signal::SigmaskHow::SIG_SETMASK;
    nix::sys::signal::pthread_sigmask(how, Some(&all), Some(&mut before))?;
    Ok(before)
}

fn restore(before: &nix::sys::signal::SigSet) {
    // It cannot fail: the set is one the kernel has given us.
    let how = nix::sys::signal::SigmaskHow::SIG_SETMASK;
    let _ = nix::sys::signal::pthread_sigmask(how, Some(before), None);
}

/// `/dev/null`, for a child's standard input.
pub(crate) fn null() -> Result<OwnedFd, Error> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|source| Error::system("open /dev/null", source))?;
    Ok(file.into())
}

/// Whether a descriptor is open and one end of a `SOCK_SEQPACKET` pair.
pub(crate) fn is_channel(fd: RawFd) -> bool {
    // SAFETY: asks about a number; -1 if nothing is open there.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return false;
    }
    // SAFETY: it is open, and is only looked at for the time of this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    getsockopt(&fd, sockopt::SockType) == Ok(SockType::SeqPacket)
        && getpeername::<UnixAddr>(fd.as_raw_fd()).is_ok()
}
