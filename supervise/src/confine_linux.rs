//! What `confine` does on Linux only: capabilities, no-new-privileges, the parent's death, and
//! putting the filter on (which `filter_linux.rs` makes).

use std::collections::HashSet;
use std::ffi::{c_int, c_ulong};

use caps::{CapSet, Capability};

use super::filter::{self, Call};
use super::{Confinement, Error};

/// What a process may still do on Linux.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Capabilities that it keeps, permitted and effective; usually none.
    pub keep: &'static [Capability],
    /// System calls that it makes, each with the reason, in as many tables as is readable.
    /// [`super::COMMON`] is always added.
    pub calls: &'static [&'static [Call]],
}

/// No exec gives root's rights back, and no ambient capability can be raised; both for good. The
/// capabilities asked for survive the change of user.
const SECURE_BITS: c_int = libc::SECBIT_NOROOT
    | libc::SECBIT_NOROOT_LOCKED
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

pub(super) fn check(confinement: &Confinement<'_>) -> Result<(), Error> {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|e| Error::system("count our threads in /proc/self/task", e))?
        .count();
    if threads != 1 {
        return Err(Error::says(format!("confine a process that has {threads} threads, not one")));
    }
    // A mistake in a table shows now, not when the rights are gone.
    filter::program(confinement.rules.calls).map(drop)
}

/// While we are still root: what only root can give up.
pub(super) fn before(_: &Confinement<'_>) -> Result<(), Error> {
    let mut capability: c_ulong = 0;
    // Up to the last one this kernel knows, which may be later than the last one we know.
    while prctl(libc::PR_CAPBSET_READ, capability) >= 0 {
        if prctl(libc::PR_CAPBSET_DROP, capability) < 0 {
            return Err(Error::last(format!(
                "drop capability {capability} from the bounding set (needs CAP_SETPCAP)"
            )));
        }
        capability += 1;
    }
    let bits = SECURE_BITS | libc::SECBIT_KEEP_CAPS;
    if prctl(libc::PR_SET_SECUREBITS, bits as c_ulong) < 0 {
        return Err(Error::last("set the secure bits (needs CAP_SETPCAP)"));
    }
    Ok(())
}

/// With the new user: exactly the capabilities asked for, out of all that were kept.
pub(super) fn after(confinement: &Confinement<'_>) -> Result<(), Error> {
    let keep: HashSet<Capability> = confinement.rules.keep.iter().copied().collect();
    // Effective first grows within the permitted set, then the permitted one shrinks to it.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &keep)
            .map_err(|e| Error::says(format!("keep {keep:?} as {set:?} capabilities: {e}")))?;
    }
    caps::clear(None, CapSet::Inheritable)
        .map_err(|e| Error::says(format!("clear the inheritable capabilities: {e}")))?;
    caps::clear(None, CapSet::Ambient)
        .map_err(|e| Error::says(format!("clear the ambient capabilities: {e}")))?;
    if prctl(libc::PR_SET_KEEPCAPS, 0) < 0 {
        return Err(Error::last("stop keeping capabilities"));
    }
    Ok(())
}

pub(super) fn verify(confinement: &Confinement<'_>) -> Result<(), Error> {
    let keep: HashSet<Capability> = confinement.rules.keep.iter().copied().collect();
    let none = HashSet::new();
    let wanted = [
        (CapSet::Permitted, &keep),
        (CapSet::Effective, &keep),
        (CapSet::Inheritable, &none),
        (CapSet::Ambient, &none),
        (CapSet::Bounding, &none),
    ];
    for (set, wanted) in wanted {
        let is = caps::read(None, set)
            .map_err(|e| Error::says(format!("read the {set:?} capabilities: {e}")))?;
        if is != *wanted {
            return Err(Error::says(format!("the {set:?} capabilities are {is:?}")));
        }
    }
    let bits = prctl(libc::PR_GET_SECUREBITS, 0);
    if bits != SECURE_BITS {
        return Err(Error::says(format!("the secure bits are {bits:#x}, not {SECURE_BITS:#x}")));
    }
    Ok(())
}

/// Nothing can be gained from here on.
pub(super) fn seal(confinement: &Confinement<'_>) -> Result<(), Error> {
    if prctl(libc::PR_SET_NO_NEW_PRIVS, 1) < 0 || prctl(libc::PR_GET_NO_NEW_PRIVS, 0) != 1 {
        return Err(Error::last("set no-new-privileges"));
    }
    if prctl(libc::PR_SET_DUMPABLE, 0) < 0 || prctl(libc::PR_GET_DUMPABLE, 0) != 0 {
        return Err(Error::last("make the process undumpable"));
    }
    if let Some(signal) = confinement.parent_death {
        // Only now: the change of user has cleared whatever was set before.
        if prctl(libc::PR_SET_PDEATHSIG, signal as c_ulong) < 0 {
            return Err(Error::last("ask for a signal at the parent's death"));
        }
        // A parent that died before this sends nothing. Then the channel is at its end, which
        // the caller sees next; but if there is a parent that is not ours, it is too late.
        if crate::handle::orphaned() {
            return Err(Error::says("the parent has died already"));
        }
    }
    filter::put_on(confinement.rules.calls)
}

fn prctl(what: c_int, argument: c_ulong) -> c_int {
    let zero: c_ulong = 0;
    // SAFETY: every option used in this file takes one number, and the rest as zero.
    unsafe { libc::prctl(what, argument, zero, zero, zero) }
}
