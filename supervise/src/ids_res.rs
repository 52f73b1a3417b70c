//! The three user and three group ids, where setresuid(2) sets and getresuid(2) reads them all.

use nix::unistd::{Gid, Uid};

use crate::Error;

/// Becomes a user: real, effective and saved.
pub(crate) fn set_uid(uid: u32) -> nix::Result<()> {
    let uid = Uid::from_raw(uid);
    nix::unistd::setresuid(uid, uid, uid)
}

/// Becomes a group: real, effective and saved.
pub(crate) fn set_gid(gid: u32) -> nix::Result<()> {
    let gid = Gid::from_raw(gid);
    nix::unistd::setresgid(gid, gid, gid)
}

/// The real, effective and saved user.
pub(crate) fn all_uids() -> Result<[u32; 3], Error> {
    let ids = nix::unistd::getresuid().map_err(|errno| Error::system("getresuid", errno))?;
    Ok([ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()])
}

/// The real, effective and saved group.
pub(crate) fn all_gids() -> Result<[u32; 3], Error> {
    let ids = nix::unistd::getresgid().map_err(|errno| Error::system("getresgid", errno))?;
    Ok([ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()])
}
