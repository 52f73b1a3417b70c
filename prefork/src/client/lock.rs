//! The lock of an identity: a file that is held with flock(2) by who starts or stops its server.
//! It may be removed by who holds it, so one that has been got counts only if it still has its name.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::alarm::Alarm;
use crate::Error;

/// Waits for the lock, but not for ever.
///
/// # Errors
/// The file cannot be made or locked; or somebody else has held it all the time.
pub(super) fn acquire(path: &Path, patience: Duration) -> Result<Flock<File>, Error> {
    let alarm = Alarm::set(patience)?;
    loop {
        let file = open(path)?;
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) if has_its_name(&lock, path)? => return Ok(lock),
            Ok(_) => {}
            Err((_, Errno::EINTR)) => {}
            Err((_, e)) => return Err(Error::system(format!("lock {}", path.display()), e)),
        }
        if alarm.is_over() {
            return Err(Error::says(format!(
                "for {} s another caller has been starting a server for this, and still holds {}",
                patience.as_secs(),
                path.display()
            )));
        }
    }
}

/// Takes the lock if nobody has it.
///
/// # Errors
/// As [`acquire`].
pub(super) fn try_acquire(path: &Path) -> Result<Option<Flock<File>>, Error> {
    match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(has_its_name(&lock, path)?.then_some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, e)) => Err(Error::system(format!("lock {}", path.display()), e)),
    }
}

/// Close-on-exec, as all that Rust opens: the script is not to hold it.
fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| Error::system(format!("open the lock {}", path.display()), e))
}

fn has_its_name(lock: &File, path: &Path) -> Result<bool, Error> {
    let look = |e| Error::system(format!("look at {}", path.display()), e);
    let held = lock.metadata().map_err(look)?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(look(e)),
    }
}
