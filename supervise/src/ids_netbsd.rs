//! The three user and three group ids on NetBSD, which has no setresuid(2): its setuid(2) sets all
//! three for root. The saved one cannot be read; that it is gone shows in the attempts to regain
//! it.

use nix::unistd::{Gid, Uid};

use crate::Error;

/// Becomes a user: real, effective and saved.
pub(crate) fn set_uid(uid: u32) -> nix::Result<()> {
    nix::unistd::setuid(Uid::from_raw(uid))
}

/// Becomes a group: real, effective and saved.
pub(crate) fn set_gid(gid: u32) -> nix::Result<()> {
    nix::unistd::setgid(Gid::from_raw(gid))
}

/// The real and the effective user, the latter also in the place of the saved one.
pub(crate) fn all_uids() -> Result<[u32; 3], Error> {
    let effective = Uid::effective().as_raw();
    Ok([Uid::current().as_raw(), effective, effective])
}

/// The real and the effective group, the latter also in the place of the saved one.
pub(crate) fn all_gids() -> Result<[u32; 3], Error> {
    let effective = Gid::effective().as_raw();
    Ok([Gid::current().as_raw(), effective, effective])
}
