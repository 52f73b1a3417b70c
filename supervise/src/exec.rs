//! A program of ours, executed: what the child holds and how its signals stand. The fork itself,
//! and how the parent hears of failure, is `fork`'s.

use std::convert::Infallible;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::sys::socket::{SockType, UnixAddr, getpeername, getsockopt, sockopt};

use crate::fork::{self, SIGNALS, check, lift, pointers, put, wait_for_go};
use crate::handle::{self, Handle};
use crate::{CHANNEL_FD, Error, SYSLOG_FD};

/// Where the child keeps its end of the start-up socket until execve closes it.
const START_FD: RawFd = 5;

/// How long execve may take before the parent gives the child up.
const EXEC_PATIENCE: Duration = Duration::from_secs(10);

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
/// was taken before the child was allowed to go on.
pub(crate) fn run(image: &Image, held: &Held<'_>) -> Result<(i32, Handle), Error> {
    let what = format!("start {}", image.path.to_string_lossy());
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
    };
    // SAFETY: `become_image` makes only system calls, on `raw`, which points into `image`, `argv`
    // and `environment`, alive in the child's copy of the address space; the vectors are ended by
    // a null pointer.
    let waiting =
        unsafe { fork::hold(what.clone(), EXEC_PATIENCE, |start| become_image(&raw, start)) }?;
    waiting.go().map_err(|source| Error::system(what, source))
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
        *start = lift(*start)?;

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

        wait_for_go(START_FD);

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
