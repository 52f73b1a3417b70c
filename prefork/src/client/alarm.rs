//! A limit to system calls that have none of their own, flock(2) and waitpid(2): while an [`Alarm`]
//! is on, SIGALRM interrupts them every now and then, so that the caller can look at the clock.
//! That it repeats is what makes it sure: one that comes just before the call is not the last.

use std::ptr;
use std::time::{Duration, Instant};

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};

use crate::Error;

/// How often calls are interrupted, in microseconds.
const BEAT: libc::suseconds_t = 100_000;

/// Interrupts system calls until it is dropped.
pub(super) struct Alarm {
    until: Instant,
    before: (SigAction, SigSet),
}

extern "C" fn heard(_: libc::c_int) {}

impl Alarm {
    pub(super) fn set(patience: Duration) -> Result<Alarm, Error> {
        let failed = |e| Error::system("set an alarm", e);
        let action = SigAction::new(SigHandler::Handler(heard), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing at all.
        let old = unsafe { sigaction(Signal::SIGALRM, &action) }.map_err(failed)?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGALRM);
        let mut blocked = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&mask), Some(&mut blocked)).map_err(failed)?;
        beat(BEAT);
        Ok(Alarm { until: Instant::now() + patience, before: (old, blocked) })
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Makes a child's signals what ours were. Only system calls.
    pub(super) fn undo_in_child(&self) {
        self.undo();
    }

    fn undo(&self) {
        beat(0);
        let (action, mask) = &self.before;
        // They cannot fail: both are as the kernel gave them.
        // SAFETY: what was there before may be there again.
        let _ = unsafe { sigaction(Signal::SIGALRM, action) };
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.undo();
    }
}

fn beat(every: libc::suseconds_t) {
    let every = libc::timeval { tv_sec: 0, tv_usec: every };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the kernel reads the structure; nothing is to be written.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
}
