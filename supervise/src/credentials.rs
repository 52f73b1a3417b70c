//! Groups, root directory, group, user: the part of `confine` that is the same on every Unix,
//! and the reading back of it. What each system adds is in `confine_*.rs`.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use crate::ids::{all_gids, all_uids, set_gid, set_uid};
use crate::{Error, Identity};

/// No descriptor beyond this is looked at; a process that is about to be confined holds few.
const DESCRIPTORS: i32 = 1024;

/// Refuses what could not end well: an identity that is root's, a process that is not root, a
/// descriptor through which the new root could be left.
pub(crate) fn check(identity: &Identity, directory: &File) -> Result<(), Error> {
    check_user(identity)?;
    for fd in 0..DESCRIPTORS {
        if fd == directory.as_raw_fd() {
            continue;
        }
        // SAFETY: asks about a number; -1 if nothing is open there.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            continue;
        }
        // SAFETY: it is open, this is the only thread, and it is only looked at.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let stat = nix::sys::stat::fstat(fd).map_err(|errno| Error::system("fstat", errno))?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            let fd = fd.as_raw_fd();
            return Err(Error::says(format!("descriptor {fd} is a directory outside the root")));
        }
    }
    Ok(())
}

/// Refuses an identity that is root's, and a process that is not root.
pub(crate) fn check_user(identity: &Identity) -> Result<(), Error> {
    if identity.uid == 0 || identity.gid == 0 {
        let Identity { uid, gid, .. } = identity;
        return Err(Error::says(format!("become uid {uid} gid {gid}: that is root's")));
    }
    let now = Uid::effective();
    if !now.is_root() {
        let uid = identity.uid;
        return Err(Error::says(format!(
            "become uid {uid} from uid {now}: only root can change its user"
        )));
    }
    Ok(())
}

/// Gives up the supplementary groups, moves into `directory` for good, and becomes `identity`.
pub(crate) fn drop_to(identity: &Identity, directory: &File) -> Result<(), Error> {
    drop_groups(identity.gid)?;
    nix::unistd::fchdir(directory)
        .map_err(|errno| Error::system("fchdir to the empty directory", errno))?;
    nix::unistd::chroot(".")
        .map_err(|errno| Error::system("chroot to the empty directory", errno))?;
    nix::unistd::chdir("/").map_err(|errno| Error::system("chdir /", errno))?;
    become_user(identity)
}

/// Gives up the supplementary groups and becomes `identity`, where the root directory stays.
pub(crate) fn drop_user(identity: &Identity) -> Result<(), Error> {
    drop_groups(identity.gid)?;
    become_user(identity)
}

fn drop_groups(gid: u32) -> Result<(), Error> {
    // Exactly one, because on FreeBSD the first of them is the effective group.
    nix::unistd::setgroups(&[Gid::from_raw(gid)]).map_err(|errno| {
        let hint = match errno {
            Errno::EPERM => " (not root, or /proc/self/setgroups of this user namespace denies it)",
            Errno::EINVAL => " (this user namespace has no such group)",
            _ => "",
        };
        Error::system(format!("setgroups {gid}{hint}"), errno)
    })
}

fn become_user(identity: &Identity) -> Result<(), Error> {
    let &Identity { uid, gid, .. } = identity;
    let unmapped = |errno| match errno {
        Errno::EINVAL => " (this user namespace has no such id)",
        _ => "",
    };
    set_gid(gid)
        .map_err(|errno| Error::system(format!("become gid {gid}{}", unmapped(errno)), errno))?;
    set_uid(uid)
        .map_err(|errno| Error::system(format!("become uid {uid}{}", unmapped(errno)), errno))
}

/// Reads back what [`drop_to`] has done, and tries to undo it.
pub(crate) fn verify(identity: &Identity, directory: &File) -> Result<(), Error> {
    verify_user(identity)?;
    let here = std::env::current_dir().map_err(|e| Error::system("getcwd", e))?;
    if here != Path::new("/") {
        return Err(Error::says(format!("the working directory is {}", here.display())));
    }
    let root = std::fs::metadata("/").map_err(|e| Error::system("stat /", e))?;
    let meant = directory.metadata().map_err(|e| Error::system("fstat the root", e))?;
    if (root.dev(), root.ino()) != (meant.dev(), meant.ino()) {
        return Err(Error::says("the root directory is not the one that was meant"));
    }
    if nix::unistd::chroot(".").is_ok() {
        return Err(Error::says("could change the root again after giving it up"));
    }
    Ok(())
}

/// Reads back what [`drop_user`] has done, and tries to undo it.
pub(crate) fn verify_user(identity: &Identity) -> Result<(), Error> {
    let &Identity { uid, gid, .. } = identity;
    let uids = all_uids()?;
    if uids != [uid; 3] {
        return Err(Error::says(format!("the uids are {uids:?} after becoming {uid}")));
    }
    let gids = all_gids()?;
    if gids != [gid; 3] {
        return Err(Error::says(format!("the gids are {gids:?} after becoming {gid}")));
    }
    let groups = nix::unistd::getgroups().map_err(|errno| Error::system("getgroups", errno))?;
    if groups != [Gid::from_raw(gid)] {
        return Err(Error::says(format!("the groups are {groups:?} after setting {gid}")));
    }
    let attempts = [
        ("become root again", set_uid(0)),
        ("become effectively root again", nix::unistd::seteuid(Uid::from_raw(0))),
        ("take root's group again", set_gid(0)),
        ("take root's group effectively", nix::unistd::setegid(Gid::from_raw(0))),
    ];
    for (what, attempt) in attempts {
        if attempt.is_ok() {
            return Err(Error::says(format!("could {what} after giving it up")));
        }
    }
    Ok(())
}
