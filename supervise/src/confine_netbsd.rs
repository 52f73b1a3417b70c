//! What `confine` does on NetBSD only: nothing. There the change of user and root is all there is.

use super::{Confinement, Error};

/// What a process may still do on NetBSD: what its user may.
#[derive(Clone, Copy, Debug)]
pub struct Rules;

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

pub(super) fn seal(_: &Confinement<'_>) -> Result<(), Error> {
    Ok(())
}
