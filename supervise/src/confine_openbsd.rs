//! What `confine` does on OpenBSD only: pledge(2). The empty root has made unveil(2) needless.

use std::ffi::CStr;

use super::{Confinement, Error};

/// What a process may still do on OpenBSD.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The promises, as pledge(2) has them: `c"stdio recvfd"`. Breaking one kills with SIGABRT.
    /// `None` is for a process that lives on what no promise allows: ioctls of pf(4).
    pub promises: Option<&'static CStr>,
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
    let Some(promises) = confinement.rules.promises else { return Ok(()) };
    // SAFETY: two strings ended by a zero byte; the second says that nothing may be executed.
    if unsafe { libc::pledge(promises.as_ptr(), c"".as_ptr()) } != 0 {
        return Err(Error::last(format!("pledge {}", promises.to_string_lossy())));
    }
    Ok(())
}
