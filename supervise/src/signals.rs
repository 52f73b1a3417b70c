//! A signal that has come, and who sent it. How it comes is each system's own
//! (`signals_linux.rs`, `signals_bsd.rs`); what to do about it is the loop's that reads it.

use std::ffi::c_int;
use std::fmt;

use crate::attribution::{Confidence, Reason, Seen, Target, Via, Witness};
use crate::sender::Sender;
use crate::sender_source::{CLAIMED, VOUCHED, identify};
use crate::{Moment, signal_name};

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
    /// A process sent it, by kill(2), tgkill(2) or the like: the kernel itself vouches for its
    /// number and user. The rest was looked up when the signal was read.
    Process(Box<Sender>),
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

impl Signal {
    /// What a witness says who is its target: `us`, our own number.
    pub fn seen(&self, us: i32, at: Moment) -> Seen {
        let (via, sender, confidence) = match &self.origin {
            Origin::Process(sender) => {
                (Via::Process, Some((**sender).clone()), Confidence::Reported)
            }
            Origin::Claimed { pid, uid } => {
                let sender = Sender { uid: Some(*uid), ..Sender::of(*pid) };
                (Via::Queue, Some(sender), Confidence::Claimed)
            }
            Origin::Outside { .. } => {
                (Via::Process, None, Confidence::Unknown(Reason::OutOfNamespace))
            }
            Origin::Kernel => (Via::Kernel, None, Confidence::Unknown(Reason::Kernel)),
        };
        Seen {
            at,
            signal: self.number,
            via,
            target: Target { pid: us, tid: us },
            sender,
            confidence,
            witness: Witness::Wrapper,
        }
    }
}

/// What a siginfo_t says about the sender. The executable is looked up here and now.
pub(crate) fn origin(code: c_int, pid: i32, uid: u32) -> Origin {
    if VOUCHED.contains(&code) {
        match pid {
            0 => Origin::Outside { uid },
            // The user is the kernel's word, whatever it may have become since.
            _ => Origin::Process(Box::new(Sender { uid: Some(uid), ..identify(pid) })),
        }
    } else if code == CLAIMED {
        Origin::Claimed { pid, uid }
    } else {
        Origin::Kernel
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&signal_name(self.number))?;
        match &self.origin {
            Origin::Process(sender) => write!(f, " from {sender}"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::Exe;

    #[test]
    fn says_who_sent_it() {
        let text = |origin| Signal { number: libc::SIGTERM, origin }.to_string();
        let process =
            |exe| Origin::Process(Box::new(Sender { uid: Some(0), exe, ..Sender::of(42) }));
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
