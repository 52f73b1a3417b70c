//! Keeps the directory from filling: where more than [`KEPT`] identities are, those of the longest
//! unused go. What is dead goes first; a server that is alive is only ended for the limit's sake.
//!
//! Whatever goes wrong here is not worth a caller's attention: the next one tries again.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

use super::{lock, remove};
use crate::rundir::{LOCK, RunDirectory, SOCKET};

/// How many identities a directory may have, each with a socket and a lock; and how many of them
/// are looked at when there are more.
const KEPT: usize = 100;

/// What must not have changed since an entry was looked at: when its socket was last used, and
/// which one it was. An identity without a socket has zeros.
type Used = (i64, i64, u64, i64, i64);

/// Removes what is too much.
pub(super) fn preclean(directory: &RunDirectory) {
    let Ok(list) = fs::read_dir(directory.path()) else { return };
    let mut known = BTreeSet::new();
    for entry in list.flatten() {
        if let [SOCKET | LOCK, ident @ ..] = entry.file_name().as_bytes() {
            known.insert(ident.to_vec());
        }
    }
    if known.len() <= KEPT {
        return;
    }
    let mut idents: Vec<(Used, Vec<u8>)> =
        known.into_iter().map(|ident| (used(&directory.socket(&ident)), ident)).collect();
    idents.sort();
    let mut left = idents.len();
    for alive in [false, true] {
        for (seen, ident) in idents.iter().take(KEPT) {
            let socket = directory.socket(ident);
            if alive && left <= KEPT {
                return;
            }
            if is_alive(&socket) == alive && clean(&socket, &directory.lock(ident), seen) {
                left -= 1;
            }
        }
    }
}

/// Removes an identity's names, unless it is locked or has been used since `seen`. Waits for nobody.
fn clean(socket: &Path, path: &Path, seen: &Used) -> bool {
    let Ok(Some(_lock)) = lock::try_acquire(path) else { return false };
    if used(socket) != *seen {
        return false;
    }
    remove(socket).is_ok() && remove(path).is_ok()
}

fn used(socket: &Path) -> Used {
    fs::symlink_metadata(socket).map_or((0, 0, 0, 0, 0), |found| {
        (found.atime(), found.atime_nsec(), found.ino(), found.ctime(), found.ctime_nsec())
    })
}

/// Whether somebody listens there. It is asked by a socket of another kind, which is told the truth
/// but is never accepted, so that the server does not notice.
fn is_alive(path: &Path) -> bool {
    let kind = SockType::Datagram;
    let Ok(socket) = socket::socket(AddressFamily::Unix, kind, SockFlag::empty(), None) else {
        return true;
    };
    let Ok(address) = UnixAddr::new(path) else { return false };
    let answer = socket::connect(socket.as_raw_fd(), &address);
    !matches!(answer, Err(Errno::ECONNREFUSED | Errno::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        /// With a socket, a lock, and what is known of them.
        fn new(name: &str) -> (Folder, PathBuf, PathBuf, Used) {
            let folder =
                std::env::temp_dir().join(format!("preclean-{name}-{}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            let (socket, path) = (folder.join("sx"), folder.join("lx"));
            drop(UnixListener::bind(&socket).unwrap());
            let seen = used(&socket);
            (Folder(folder), socket, path, seen)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_has_not_been_used_since_is_removed() {
        let (folder, socket, path, seen) = Folder::new("unused");
        assert!(!is_alive(&socket));
        assert!(clean(&socket, &path, &seen));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn what_has_been_used_since_stays() {
        let (_folder, socket, path, mut seen) = Folder::new("used");
        seen.0 -= 1;
        assert!(!clean(&socket, &path, &seen));
        assert!(socket.exists() && path.exists());
        // Another server has come.
        let seen = used(&socket);
        fs::remove_file(&socket).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(is_alive(&socket));
        assert!(!clean(&socket, &path, &seen));
        assert!(socket.exists() && path.exists());
    }

    #[test]
    fn what_is_locked_is_not_waited_for() {
        let (_folder, socket, path, seen) = Folder::new("locked");
        let lock = fs::File::create(&path).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        assert!(!clean(&socket, &path, &seen));
        assert!(socket.exists() && path.exists());
        drop(lock);
        assert!(clean(&socket, &path, &seen));
    }
}
