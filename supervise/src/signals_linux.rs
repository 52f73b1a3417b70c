//! Signals as a readable descriptor: signalfd(2), which also says who sent each.

use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::signals::origin;
use crate::{Error, Signal};

/// The signals we have asked for, readable when one is waiting.
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks these signals in this thread, and in every thread it starts from now on, and opens
    /// a descriptor that they can be read from.
    ///
    /// Call it before any thread is started: one that does not block them would be killed by them.
    /// A process started by [`crate::start`] does not inherit the mask.
    ///
    /// # Errors
    /// A number is not a signal's, or no descriptor is left.
    pub fn open(numbers: &[c_int]) -> Result<Signals, Error> {
        let mut set = SigSet::empty();
        for &number in numbers {
            let signal = nix::sys::signal::Signal::try_from(number)
                .map_err(|errno| Error::system(format!("block signal {number}"), errno))?;
            set.add(signal);
        }
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None)
            .map_err(|errno| Error::system("block signals", errno))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| Error::system("signalfd", errno))?;
        Ok(Signals { fd })
    }

    /// The next signal, if one is waiting. The sender's executable is looked up at once, since
    /// most senders end as soon as they have sent.
    ///
    /// Of two equal signals that come before the first is read, the kernel keeps only the first.
    ///
    /// # Errors
    /// The descriptor cannot be read, which it has no reason to.
    pub fn read(&self) -> Result<Option<Signal>, Error> {
        loop {
            match self.fd.read_signal() {
                Ok(Some(info)) => {
                    let number = c_int::try_from(info.ssi_signo).unwrap_or(0);
                    // The kernel's pid_t, which signalfd has as unsigned.
                    let pid = info.ssi_pid.cast_signed();
                    let origin = origin(info.ssi_code, pid, info.ssi_uid);
                    return Ok(Some(Signal { number, origin }));
                }
                Ok(None) | Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("read signals", errno)),
            }
        }
    }
}

impl AsFd for Signals {
    /// Readable when a signal is waiting.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
