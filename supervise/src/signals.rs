//! A signal that has come, and who sent it. How it comes is each system's own
//! (`signals_linux.rs`, `signals_bsd.rs`); what to do about it is the loop's that reads it.

use std::ffi::c_int;
use std::fmt;
use std::path::PathBuf;

use crate::sender::{self, executable};
use crate::signal_name;

/// A signal that was sent to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number: SIGTERM and so on.
    pub number: c_int,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a signal came from, as far as can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A process sent it, by kill(2), tgkill(2) or the like: the kernel itself vouches for this.
    Process {
        /// Its process id.
        pid: i32,
        /// Its real user id.
        uid: u32,
        /// What it was executing.
        exe: Exe,
    },
    /// A process sent it by sigqueue(3) or the like, where the sender writes these itself.
    Claimed {
        /// Whom it claims to be.
        pid: i32,
        /// And which user's.
        uid: u32,
    },
    /// A process that our process id namespace has no number for.
    Outside {
        /// Its real user id, as our user namespace has it.
        uid: u32,
    },
    /// No process: a key on the terminal, a timer, a limit.
    Kernel,
}

/// What a sender was executing when its signal was read, which is a moment after it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exe {
    /// The path of its executable.
    Path(PathBuf),
    /// It was ending already; this is its name, at most 15 bytes.
    Ending(String),
    /// It had ended and been reaped.
    Gone,
    /// We were not allowed to see it, or have no /proc.
    Hidden,
}

/// What a siginfo_t says about the sender. The executable is looked up here and now.
pub(crate) fn origin(code: c_int, pid: i32, uid: u32) -> Origin {
    if sender::VOUCHED.contains(&code) {
        match pid {
            0 => Origin::Outside { uid },
            _ => Origin::Process { pid, uid, exe: executable(pid) },
        }
    } else if code == sender::CLAIMED {
        Origin::Claimed { pid, uid }
    } else {
        Origin::Kernel
    }
}

/// What the sysctl of this name says, which is the path of an executable and a zero byte.
#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
pub(crate) fn executable_by_sysctl(name: &[c_int; 4]) -> Exe {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut path = [0u8; libc::PATH_MAX as usize];
    let mut length = path.len();
    // SAFETY: four numbers as the name, a buffer and its length to be filled, nothing to be set.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            4,
            path.as_mut_ptr().cast(),
            &mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if result != 0 {
        return match nix::errno::Errno::last() {
            nix::errno::Errno::ESRCH => Exe::Gone,
            _ => Exe::Hidden,
        };
    }
    let path = path.get(..length).and_then(|path| path.split(|&byte| byte == 0).next());
    match path {
        Some(path) if !path.is_empty() => Exe::Path(OsStr::from_bytes(path).into()),
        _ => Exe::Hidden,
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&signal_name(self.number))?;
        match &self.origin {
            Origin::Process { pid, uid, exe } => {
                write!(f, " from pid {pid} (uid {uid}, {exe})")
            }
            Origin::Claimed { pid, uid } => {
                write!(f, " from somebody who claims to be pid {pid} (uid {uid})")
            }
            Origin::Outside { uid } => {
                write!(f, " from outside our process id namespace (uid {uid})")
            }
            Origin::Kernel => f.write_str(" from the kernel (terminal, timer or limit)"),
        }
    }
}

impl fmt::Display for Exe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exe::Path(path) => write!(f, "{}", path.display()),
            Exe::Ending(name) => write!(f, "{name}, ending"),
            Exe::Gone => f.write_str("gone"),
            Exe::Hidden => f.write_str("hidden from us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_sent_it() {
        let text = |origin| Signal { number: libc::SIGTERM, origin }.to_string();
        let process = |exe| Origin::Process { pid: 42, uid: 0, exe };
        assert_eq!(
            text(process(Exe::Path("/usr/bin/kill".into()))),
            "SIGTERM from pid 42 (uid 0, /usr/bin/kill)"
        );
        assert_eq!(text(process(Exe::Gone)), "SIGTERM from pid 42 (uid 0, gone)");
        assert_eq!(
            text(process(Exe::Ending("kill".into()))),
            "SIGTERM from pid 42 (uid 0, kill, ending)"
        );
        assert_eq!(text(Origin::Kernel), "SIGTERM from the kernel (terminal, timer or limit)");
    }
}
