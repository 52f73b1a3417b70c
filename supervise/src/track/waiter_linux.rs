//! Waiting for children on Linux: wait(2) alone, or together with ptrace(2).

use std::os::fd::BorrowedFd;

use super::{Changed, Heard};
use crate::track::ptrace_linux::Ptrace;
use crate::track::{Caps, Loss, ProcId};
use crate::{Error, Moment, reaper};

/// Waits for all children, without blocking; and traces those it is told to.
///
/// It cannot be sent to another thread: to the kernel, the tracer is a thread.
#[derive(Debug, Default)]
pub struct Waiter {
    ptrace: Option<Ptrace>,
}

impl Waiter {
    /// What following by ptrace(2) can promise.
    ///
    /// A descendant that calls clone(2) with `CLONE_UNTRACED` gets away, and nothing tells.
    pub fn caps() -> Caps {
        Caps {
            name: "ptrace",
            parents: true,
            statuses: true,
            loss: Loss::Impossible,
            system_wide: false,
        }
    }

    /// Traces a child of ours that has been forked and is held, and all that it will make, until
    /// they end. When this thread ends they are killed, however it ends.
    ///
    /// What is traced cannot be debugged meanwhile, and set-user-ID programs and those with file
    /// capabilities get none of their rights there unless we are root: that is logged.
    ///
    /// # Errors
    /// It is no child of ours, is traced already, or the system forbids it; and which.
    pub fn trace(&mut self, pid: i32) -> Result<ProcId, Error> {
        match &mut self.ptrace {
            Some(ptrace) => ptrace.seize(pid),
            None => {
                let mut ptrace = Ptrace::new()?;
                let id = ptrace.seize(pid)?;
                self.ptrace = Some(ptrace);
                Ok(id)
            }
        }
    }

    /// Appends all that there is to be heard. Call it for every SIGCHLD, and when
    /// [`Waiter::wakes`] is readable. It never blocks.
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason to.
    pub fn read(&mut self, heard: &mut Heard) -> Result<(), Error> {
        if let Some(ptrace) = &mut self.ptrace {
            return ptrace.read(heard);
        }
        while let Some((pid, change)) = reaper::next()? {
            heard.changes.push(Changed { pid, change, traced: false, at: Moment::now() });
        }
        Ok(())
    }

    /// A descriptor to be polled beside SIGCHLD, once somebody is traced.
    pub fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.ptrace.as_ref().map(Ptrace::wakes)
    }

    /// The live traced process that this number is of: its own, or one of its threads'.
    pub fn member(&self, tid: i32) -> Option<ProcId> {
        self.ptrace.as_ref()?.tracees().member(tid)
    }

    /// All live traced processes, in no order.
    pub fn members(&self) -> impl Iterator<Item = ProcId> {
        self.ptrace.iter().flat_map(|ptrace| ptrace.tracees().members())
    }
}
