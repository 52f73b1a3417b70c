//! Who sent a signal, to whom, how, and how sure we are.
//!
//! What is here is what all witnesses have in common: [`Seen`], one signal as one of them saw it.
//! There are four, each in a file of its own, none of them a guess:
//!
//! | witness | sees | does not see |
//! |---|---|---|
//! | our own signalfd (tier 0) | what is sent to `supervise` itself | what goes straight to the command |
//! | ptrace (tier 1) | what is delivered to the command and its descendants | SIGKILL |
//! | a private tracefs instance (tier 2) | every signal that is generated, SIGKILL too | the sender's command line |
//! | keyed audit rules (tier 2, on request) | every system call that sends one | cgroup.kill, the kernel's own |
//!
//! `Log` puts them together and explains an end with them. It has no clock and reads
//! nothing.

pub mod audit;
pub mod census;
pub mod log;
pub mod report;
pub mod ring;
pub mod tracepoint;

#[cfg(target_os = "linux")]
mod look_linux;

#[cfg(target_os = "linux")]
mod trace_linux;

#[cfg(target_os = "linux")]
mod tracefs_linux;

#[cfg(target_os = "linux")]
pub use trace_linux::{Buffers, Lost, Trace};

#[cfg(target_os = "linux")]
mod audit_linux;

#[cfg(target_os = "linux")]
pub use audit_linux::Audit;

use std::fmt;

use crate::{Moment, Sender, signal_name};

/// One signal, as one witness saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was sent, or seen if that is all the witness knows.
    pub at: Moment,
    /// Its number.
    pub signal: i32,
    /// How it was sent.
    pub via: Via,
    /// Whom it was for.
    pub target: Target,
    /// Who sent it; `None` if nobody did, or nobody knows.
    pub sender: Option<Sender>,
    /// How far this can be relied on.
    pub confidence: Confidence,
    /// Who says so.
    pub witness: Witness,
}

/// How a signal was sent, as far as the witness can tell one way from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// kill(2), to one process.
    Kill,
    /// kill(2) or pidfd_send_signal(2): to a process, the kernel does not say by which.
    Process,
    /// kill(2) or killpg(2), to a process group.
    Group,
    /// tkill(2) or tgkill(2): to one thread, on purpose.
    Thread,
    /// sigqueue(3), rt_sigqueueinfo(2): the sender writes who it is.
    Queue,
    /// pidfd_send_signal(2).
    Pidfd,
    /// Written into cgroup.kill, or otherwise sent from within the kernel at a process's request.
    Cgroup,
    /// The parent's death (PR_SET_PDEATHSIG).
    ParentDeath,
    /// A request over our control socket.
    Request,
    /// The kernel: a fault, a timer, a key on a terminal, a limit, out of memory.
    Kernel,
    /// Not known.
    Unknown,
}

/// Whom a signal was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The process.
    pub pid: i32,
    /// The thread whose number was given. kill(2) takes a thread's number too, and then means its
    /// whole process: that is how a stale number hits a daemon that has never had it.
    pub tid: i32,
}

impl Target {
    /// Whether a thread's number was used that is not the process's own.
    pub fn is_thread(self) -> bool {
        self.tid != self.pid
    }
}

/// How far a statement about a sender can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The kernel recorded it in the sender's own system call.
    Certain,
    /// The kernel filled it into the signal's siginfo_t.
    Reported,
    /// The sender wrote it itself (sigqueue).
    Claimed,
    /// Nothing is known, for this reason.
    Unknown(Reason),
}

/// Why nothing is known about a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is in a pid namespace that ours has no numbers for.
    OutOfNamespace,
    /// No process sent it.
    Kernel,
    /// No witness that could have seen it was there.
    NotObserved,
    /// The witness has lost events.
    Overrun,
}

/// Which witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// Our own signals (tier 0).
    Wrapper,
    /// ptrace (tier 1).
    Ptrace,
    /// tracefs (tier 2).
    Trace,
    /// audit (tier 2).
    Audit,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Via::Kill => "kill",
            Via::Process => "kill or pidfd_send_signal",
            Via::Group => "kill to a process group",
            Via::Thread => "tgkill",
            Via::Queue => "sigqueue",
            Via::Pidfd => "pidfd_send_signal",
            Via::Cgroup => "cgroup.kill",
            Via::ParentDeath => "the parent's death",
            Via::Request => "a request to supervise",
            Via::Kernel => "the kernel",
            Via::Unknown => "unknown means",
        })
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confidence::Certain => "certain",
            Confidence::Reported => "reported",
            Confidence::Claimed => "claimed",
            Confidence::Unknown(Reason::OutOfNamespace) => {
                "unknown: from outside our pid namespace"
            }
            Confidence::Unknown(Reason::Kernel) => "unknown: no process sent it",
            Confidence::Unknown(Reason::NotObserved) => "unknown: not observed",
            Confidence::Unknown(Reason::Overrun) => "unknown: the witness has lost events",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_thread() {
            write!(f, "thread {} of process {}", self.tid, self.pid)
        } else {
            write!(f, "process {}", self.pid)
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} by {}", signal_name(self.signal), self.target, self.via)?;
        match &self.sender {
            Some(sender) => write!(f, " from {sender} ({})", self.confidence),
            None => write!(f, " ({})", self.confidence),
        }
    }
}
