//! How a process ended. A code and a signal are two different things and stay so: 143 is what a
//! program chose to return, SIGTERM is what was done to it.

use std::borrow::Cow;
use std::ffi::c_int;
use std::fmt;

use nix::sys::signal::Signal;

/// How a process ended, from the whole wait status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this code (0 to 255).
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core file.
        core: bool,
    },
}

impl Exit {
    /// What a whole wait status says, as wait(2) has it; `None` for one that is not of an end but
    /// of a stop.
    pub fn from_wait_status(status: c_int) -> Option<Exit> {
        if libc::WIFEXITED(status) {
            Some(Exit::Exited(libc::WEXITSTATUS(status)))
        } else if libc::WIFSIGNALED(status) {
            let core = libc::WCOREDUMP(status);
            Some(Exit::Signaled { signal: libc::WTERMSIG(status), core })
        } else {
            None
        }
    }

    /// Whether it ended by itself with code 0.
    pub fn success(self) -> bool {
        self == Exit::Exited(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Exited(code) => write!(f, "exited with code {code}"),
            Exit::Signaled { signal, core } => {
                write!(f, "killed by {}", signal_name(signal))?;
                // The only way our own processes meet SIGSYS, and it says nothing by itself.
                if signal == libc::SIGSYS {
                    f.write_str(" (a system call its filter does not allow)")?;
                }
                if core { f.write_str(" (core dumped)") } else { Ok(()) }
            }
        }
    }
}

/// A signal's name, `SIGTERM`; or `signal 35` where it has none.
pub fn signal_name(number: c_int) -> Cow<'static, str> {
    match Signal::try_from(number) {
        Ok(signal) => Cow::Borrowed(signal.as_str()),
        Err(_) => Cow::Owned(format!("signal {number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_never_reads_like_a_signal() {
        assert_eq!(Exit::Exited(143).to_string(), "exited with code 143");
        let term = Exit::Signaled { signal: libc::SIGTERM, core: false };
        assert_eq!(term.to_string(), "killed by SIGTERM");
        let segv = Exit::Signaled { signal: libc::SIGSEGV, core: true };
        assert_eq!(segv.to_string(), "killed by SIGSEGV (core dumped)");
        let real_time = Exit::Signaled { signal: 40, core: false };
        assert_eq!(real_time.to_string(), "killed by signal 40");
        assert_eq!(Exit::from_wait_status(143 << 8), Some(Exit::Exited(143)));
        assert_eq!(Exit::from_wait_status(15), Some(term));
        assert_eq!(Exit::from_wait_status(0x80 | 11), Some(segv));
        assert_eq!(Exit::from_wait_status(0x7f | 19 << 8), None);
        assert!(Exit::Exited(0).success() && !Exit::Exited(1).success());
    }
}
