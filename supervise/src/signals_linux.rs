//! Signals as a readable descriptor: signalfd(2), which also says who sent each.

use std::ffi::c_int;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use crate::handle::Handle;
use crate::{Error, Exe, Origin, Signal};

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
                    return Ok(Some(Signal { number, origin: origin(&info) }));
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

fn origin(info: &siginfo) -> Origin {
    // A signal that is waiting to be read fits in the kernel's pid_t, so these cannot wrap.
    let pid = info.ssi_pid.cast_signed();
    let uid = info.ssi_uid;
    match info.ssi_code {
        libc::SI_USER | libc::SI_TKILL if pid == 0 => Origin::Outside { uid },
        libc::SI_USER | libc::SI_TKILL => Origin::Process { pid, uid, exe: executable(pid) },
        libc::SI_QUEUE => Origin::Claimed { pid, uid },
        _ => Origin::Kernel,
    }
}

/// What `pid` is executing now. The pidfd, taken first, makes sure that all answers are about
/// one process; only the kernel's word that `pid` was the sender is older than it.
fn executable(pid: i32) -> Exe {
    let held = Handle::open(pid);
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    let still_there = || held.as_ref().is_ok_and(|handle| handle.exists());
    match path {
        Ok(path) if still_there() => Exe::Path(path),
        Ok(_) => Exe::Gone,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Exe::Hidden,
        // A process that is ending has no executable any more, but still a name.
        Err(_) => match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) if still_there() => Exe::Ending(name.trim_end().to_owned()),
            _ if held.is_ok() => Exe::Hidden,
            _ => Exe::Gone,
        },
    }
}
