//! Signals as a readable descriptor: a handler that writes what it is told into a pipe. (kqueue's
//! EVFILT_SIGNAL counts signals but does not say who sent them.) Nothing in it is a BSD's own, so
//! that it is tested on Linux too.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction};

use crate::sender_source::SENDER_AT;
use crate::signals::origin;
use crate::{Error, Signal};

/// The pipe's end for the handler; -1 while there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// A signal in the pipe: number, code, process id, user id. Shorter than PIPE_BUF, so that it is
/// written whole or not at all.
type Record = [c_int; 4];

/// The signals we have asked for, readable when one is waiting.
pub struct Signals {
    reader: OwnedFd,
    /// Held for the handler, which knows only the number.
    _writer: OwnedFd,
    numbers: Vec<nix::sys::signal::Signal>,
}

impl Signals {
    /// Catches these signals from now on and opens a descriptor that they can be read from.
    ///
    /// A process started by [`crate::start`] does not inherit any of it.
    ///
    /// # Errors
    /// A number is not a signal's or cannot be caught, there is another of these, or no descriptor
    /// is left.
    pub fn open(numbers: &[c_int]) -> Result<Signals, Error> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|errno| Error::system("make a pipe for signals", errno))?;
        let taken =
            PIPE.compare_exchange(-1, writer.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst);
        if taken.is_err() {
            return Err(Error::says("signals are being read already"));
        }
        let mut signals = Signals { reader, _writer: writer, numbers: Vec::new() };
        let flags = SaFlags::SA_SIGINFO | SaFlags::SA_RESTART;
        let action = SigAction::new(SigHandler::SigAction(caught), flags, SigSet::all());
        for &number in numbers {
            let bad = |errno| Error::system(format!("catch signal {number}"), errno);
            let signal = nix::sys::signal::Signal::try_from(number).map_err(bad)?;
            // SAFETY: `caught` keeps to async-signal-safe calls and atomics.
            unsafe { sigaction(signal, &action) }.map_err(bad)?;
            signals.numbers.push(signal);
        }
        // Whoever started us may have blocked them.
        let set: SigSet = signals.numbers.iter().copied().collect();
        nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None)
            .map_err(|errno| Error::system("unblock signals", errno))?;
        Ok(signals)
    }

    /// The next signal, if one is waiting. The sender's executable is looked up at once, since
    /// most senders end as soon as they have sent.
    ///
    /// # Errors
    /// The descriptor cannot be read, which it has no reason to.
    pub fn read(&self) -> Result<Option<Signal>, Error> {
        let mut bytes = [0u8; size_of::<Record>()];
        loop {
            match nix::unistd::read(&self.reader, &mut bytes) {
                Ok(_) => break,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("read signals", errno)),
            }
        }
        let mut record: Record = [0; 4];
        for (value, bytes) in record.iter_mut().zip(bytes.chunks_exact(size_of::<c_int>())) {
            *value = c_int::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        let [number, code, pid, uid] = record;
        Ok(Some(Signal { number, origin: origin(code, pid, uid.cast_unsigned()) }))
    }
}

impl AsFd for Signals {
    /// Readable when a signal is waiting.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        for &signal in &self.numbers {
            // SAFETY: the default action is no code of ours.
            let _ = unsafe { sigaction(signal, &default) };
        }
        // Only now: no handler of ours starts any more, and one that runs has read the number.
        PIPE.store(-1, Ordering::SeqCst);
    }
}

extern "C" fn caught(number: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    let before = Errno::last_raw();
    let [pid_at, uid_at] = SENDER_AT;
    // SAFETY: the kernel hands a valid siginfo_t to a handler with SA_SIGINFO, in which these are
    // aligned numbers, whatever they mean under this code.
    let record: Record = unsafe {
        let (pid, uid) = (info.byte_add(pid_at).cast(), info.byte_add(uid_at).cast());
        [number, (*info).si_code, *pid, *uid]
    };
    let fd = PIPE.load(Ordering::SeqCst);
    if fd >= 0 {
        // A full pipe holds thousands of signals nobody has read: one more says nothing new.
        // SAFETY: write(2) on a number, from a live local; async-signal-safe.
        unsafe { libc::write(fd, record.as_ptr().cast(), size_of::<Record>()) };
    }
    Errno::set_raw(before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exe, Origin};

    #[test]
    fn the_handler_says_who_sent_it() {
        let signals = Signals::open(&[libc::SIGUSR2, libc::SIGWINCH]).expect("open");
        assert!(Signals::open(&[libc::SIGUSR2]).is_err(), "two of them");
        assert_eq!(signals.read().expect("read"), None);
        let us = std::process::id().cast_signed();
        // SAFETY: signals to ourselves that are caught.
        unsafe {
            libc::kill(us, libc::SIGUSR2);
            libc::kill(us, libc::SIGWINCH);
        }
        let mut seen = Vec::new();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while seen.len() < 2 {
            assert!(std::time::Instant::now() < until, "only {seen:?}");
            seen.extend(signals.read().expect("read"));
        }
        seen.sort_by_key(|signal| signal.number);
        assert_eq!([seen[0].number, seen[1].number], [libc::SIGUSR2, libc::SIGWINCH]);
        let uid = nix::unistd::getuid().as_raw();
        for signal in &seen {
            let Origin::Process(sender) = &signal.origin else {
                panic!("{signal}");
            };
            assert_eq!((sender.pid, sender.uid), (us, Some(uid)));
            assert!(matches!(sender.exe, Exe::Path(_)), "{signal}");
        }
    }
}
