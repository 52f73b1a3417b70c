//! Giving up every right that a process does not need, in one order, once, for good.
//!
//! [`confine`] does, in this order:
//! 1. checks that it can end well: one thread, root now and not root later, no open directory;
//! 2. finds an empty directory (see [`Confinement::identity`]);
//! 3. drops the supplementary groups, changes root into the empty directory, becomes the group
//!    and the user (real, effective and saved), keeping the capabilities that were asked for;
//! 4. empties the bounding, ambient and inheritable capability sets;
//! 5. reads all of it back from the kernel, and tries to become root again, which must fail;
//! 6. sets no-new-privileges and makes the process undumpable, so that nobody of the same user
//!    can trace it;
//! 7. asks for a signal at the parent's death, if wanted;
//! 8. puts the system call filter on, last, for all threads there will ever be.
//!
//! Anything that fails is an error, and the process must end: it never runs half confined. What
//! steps 4 and 8 are is each system's own, and so is the type [`Rules`]: a process has its rules
//! in a `*_linux.rs`, `*_openbsd.rs` and so on beside each other.

use std::ffi::c_int;

use crate::{Error, Identity, credentials, empty};

#[cfg_attr(target_os = "linux", path = "confine_linux.rs")]
#[cfg_attr(target_os = "openbsd", path = "confine_openbsd.rs")]
#[cfg_attr(target_os = "freebsd", path = "confine_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "confine_netbsd.rs")]
mod system;

pub use system::Rules;

#[cfg(target_os = "linux")]
#[path = "filter_linux.rs"]
mod filter;

#[cfg(target_os = "linux")]
#[path = "landlock_linux.rs"]
mod landlock;

#[cfg(target_os = "linux")]
pub use caps::Capability;
#[cfg(target_os = "linux")]
pub use filter::{COMMON, Call, THREADS, When};

/// What is to be left of a process's rights.
pub struct Confinement<'a> {
    /// Whom to become. The root directory becomes the user's home if that is an empty directory
    /// of root's that nobody else may write to, else `/var/empty` if that is one, else
    /// `/run/tandem/empty` (on the BSDs below `/var/run`), which is made.
    pub identity: &'a Identity,
    /// A signal to get when the parent's thread that started us ends; Linux and FreeBSD, beside
    /// the end of the channel, never instead of it. Not for a process that has something to
    /// finish at the end of its channel.
    pub parent_death: Option<c_int>,
    /// What stays allowed, in the system's own terms.
    pub rules: &'a Rules,
}

/// Confines this process as described above. It must have one thread.
///
/// # Errors
/// Any step failed, or did not have the effect it should have. The caller must exit.
pub fn confine(confinement: &Confinement<'_>) -> Result<(), Error> {
    let identity = confinement.identity;
    system::check(confinement)?;
    let directory = empty::open(identity)?;
    credentials::check(identity, &directory)?;
    system::before(confinement)?;
    credentials::drop_to(identity, &directory)?;
    system::after(confinement)?;
    credentials::verify(identity, &directory)?;
    system::verify(confinement)?;
    drop(directory);
    system::seal(confinement)
}

/// The same for a process that has files to open later: the root directory stays, and of what its
/// user may do there, it may still open for reading what is below `readable`. That is Linux's
/// landlock(7), where the kernel has it; OpenBSD's pledge(2) has promises that name files; elsewhere
/// it is what the user may do.
///
/// # Errors
/// Any step failed, or did not have the effect it should have. The caller must exit.
pub fn confine_reading(
    confinement: &Confinement<'_>,
    readable: &[&std::path::Path],
) -> Result<(), Error> {
    let identity = confinement.identity;
    system::check(confinement)?;
    credentials::check_user(identity)?;
    system::before(confinement)?;
    credentials::drop_user(identity)?;
    system::after(confinement)?;
    credentials::verify_user(identity)?;
    system::verify(confinement)?;
    std::env::set_current_dir("/").map_err(|error| Error::system("chdir /", error))?;
    #[cfg(target_os = "linux")]
    if !landlock::only_read_below(readable)? {
        log::debug!("this kernel has no landlock: files are what the user may read");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = readable;
    system::seal(confinement)
}

/// Becomes `identity` and nothing else: for a process whose work is to run programs of the
/// administrator's, which need the file system, and may need the system's own ways to more rights
/// (sudo(8), doas(1)). Root's rights are gone for good; no capability is left.
///
/// # Errors
/// Any step failed, or did not have the effect it should have. The caller must exit.
pub fn account(identity: &Identity) -> Result<(), Error> {
    credentials::check_user(identity)?;
    credentials::drop_user(identity)?;
    credentials::verify_user(identity)
}
