//! What `confine` does on FreeBSD only: no-new-privileges, no tracing, the parent's death, and
//! capability mode.

use std::ffi::c_int;

use super::{Confinement, Error};

/// What a process may still do on FreeBSD.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether it can live in capability mode, cap_enter(2): with the descriptors it has, and no
    /// global name of any kind.
    pub capability_mode: bool,
}

pub(super) fn check(_: &Confinement<'_>) -> Result<(), Error> {
    Ok(())
}

pub(super) fn before(_: &Confinement<'_>) -> Result<(), Error> {
    Ok(())
}

pub(super) fn after(_: &Confinement<'_>) -> Result<(), Error> {
    Ok(())
}

pub(super) fn verify(_: &Confinement<'_>) -> Result<(), Error> {
    Ok(())
}

pub(super) fn seal(confinement: &Confinement<'_>) -> Result<(), Error> {
    procctl(libc::PROC_NO_NEW_PRIVS_CTL, libc::PROC_NO_NEW_PRIVS_ENABLE, "no-new-privileges")?;
    procctl(libc::PROC_TRACE_CTL, libc::PROC_TRACE_CTL_DISABLE, "no tracing and no core")?;
    if let Some(signal) = confinement.parent_death {
        procctl(libc::PROC_PDEATHSIG_CTL, signal, "a signal at the parent's death")?;
    }
    if confinement.rules.capability_mode {
        // SAFETY: a call without arguments.
        if unsafe { libc::cap_enter() } != 0 {
            return Err(Error::last("enter capability mode"));
        }
    }
    Ok(())
}

fn procctl(command: c_int, mut value: c_int, what: &str) -> Result<(), Error> {
    let value = std::ptr::from_mut(&mut value).cast();
    // SAFETY: all the commands used here read one int; id 0 is ourselves.
    if unsafe { libc::procctl(libc::P_PID, 0, command, value) } != 0 {
        return Err(Error::last(format!("procctl: {what}")));
    }
    Ok(())
}
