//! Where servers are found: the directory of sockets and locks that a user has on a host, and the
//! names in it. It is the original's, but it is looked at before it is believed: a directory that
//! is somebody else's, or that others may write to, or that is a link to another, is not used.
//!
//! What is pure in here also serves the program that has no standard library at work.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::Error;
use crate::ident::{DIGITS, FEWEST};

/// Where a user's directory is made by whoever logs them in, followed by the user's number.
pub const USERS: &[u8] = b"/var/run/user/";

/// The directory's name there.
pub const NAME: &[u8] = b"prefork-interp";

/// The directory's name in a home directory, where there is one in it for each host.
pub const HIDDEN: &[u8] = b".prefork-interp";

/// How long a host's name may be in there.
const MAX_NODE: usize = 32;

/// What a socket's name begins with, before the identity.
pub const SOCKET: u8 = b's';

/// What a lock's name begins with.
pub const LOCK: u8 = b'l';

/// How long the path of a socket may be.
pub const MAX_PATH: usize =
    size_of::<libc::sockaddr_un>() - std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// The bits of `st_mode` that say what something is, and what a directory has there: the same
/// everywhere.
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// What the original leaves unused of that.
const SPARE: usize = 12;

/// Whether `mode` and `owner` (`st_mode` and `st_uid` as lstat(2) gives them) are those of a
/// directory that only `user` can reach into.
pub fn is_private(mode: u32, owner: u32, user: u32) -> bool {
    mode & KIND == DIRECTORY && owner == user && mode & 0o077 == 0
}

/// How many digits of an identity are used in a directory whose path has this length; `None` if
/// it is too long.
pub fn digits(directory: usize) -> Option<usize> {
    let room = room(directory);
    (room >= FEWEST).then_some(room.min(DIGITS))
}

/// How long an identity of `-g` may be there.
pub fn room(directory: usize) -> usize {
    MAX_PATH.saturating_sub(directory).saturating_sub(SPARE)
}

/// A host's name as the directory has it: without its domain, and not longer than 32 bytes.
pub fn node(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| matches!(byte, b'.' | 0)).unwrap_or(name.len());
    name.get(..end.min(MAX_NODE)).unwrap_or(name)
}

/// A user's directory, which is there and private.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Finds the directory, and makes it if it is missing. `host` is uname(2)'s `nodename`.
    /// `warn` is told of a `/var/run/user/UID` that cannot be used.
    ///
    /// # Errors
    /// It cannot be made, or it is not private.
    pub fn find(user: Uid, host: &CStr, warn: &mut dyn FnMut(&str)) -> Result<RunDirectory, Error> {
        let theirs = Path::new(OsStr::from_bytes(USERS)).join(user.to_string());
        let path = if is_usable(&theirs, user, warn)? {
            theirs.join(OsStr::from_bytes(NAME))
        } else {
            let account = User::from_uid(user)
                .map_err(|e| Error::system(format!("look up user {user}"), e))?
                .ok_or_else(|| {
                    Error::says(format!("user {user} has no account, and no {}", theirs.display()))
                })?;
            let hidden = account.dir.join(OsStr::from_bytes(HIDDEN));
            make(&hidden)?;
            hidden.join(OsStr::from_bytes(node(host.to_bytes())))
        };
        make(&path)?;
        let found = fs::symlink_metadata(&path)
            .map_err(|e| Error::system(format!("look at {}", path.display()), e))?;
        if !is_private(found.mode(), found.uid(), user.as_raw()) {
            return Err(Error::says(format!(
                "{}: mode {:o} and owner {} are not those of a directory that is user {user}'s alone",
                path.display(),
                found.mode(),
                found.uid()
            )));
        }
        Ok(RunDirectory { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which part of these digits (a whole identity) is used here.
    ///
    /// # Errors
    /// The path is so long that too few would be left.
    pub fn identity<'d>(&self, whole: &'d [u8]) -> Result<&'d [u8], Error> {
        digits(self.length())
            .and_then(|digits| whole.get(..digits))
            .ok_or_else(|| self.objection("this path is too long for a socket to be in it"))
    }

    /// Whether an identity of `-g` can be used here.
    ///
    /// # Errors
    /// It is too long.
    pub fn check(&self, ident: &[u8]) -> Result<(), Error> {
        let room = room(self.length());
        if ident.len() > room {
            return Err(self.objection(&format!("an identity may be {room} bytes long here")));
        }
        Ok(())
    }

    /// The path of the socket that has this identity.
    pub fn socket(&self, ident: &[u8]) -> PathBuf {
        self.entry(SOCKET, ident)
    }

    /// The path of the lock that has this identity.
    pub fn lock(&self, ident: &[u8]) -> PathBuf {
        self.entry(LOCK, ident)
    }

    fn entry(&self, kind: u8, ident: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(&[&[kind], ident].concat()))
    }

    fn length(&self) -> usize {
        self.path.as_os_str().len()
    }

    fn objection(&self, what: &str) -> Error {
        Error::says(format!("{}: {what}", self.path.display()))
    }
}

/// Whether `/var/run/user/UID` is there and as it should be.
fn is_usable(theirs: &Path, user: Uid, warn: &mut dyn FnMut(&str)) -> Result<bool, Error> {
    match fs::symlink_metadata(theirs) {
        Ok(found) if is_private(found.mode(), found.uid(), user.as_raw()) => Ok(true),
        Ok(found) => {
            let (path, mode, owner) = (theirs.display(), found.mode(), found.uid());
            warn(&format!("{path} is not used: its mode is {mode:o}, its owner {owner}"));
            Ok(false)
        }
        Err(e) => match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => {
                Ok(false)
            }
            _ => Err(Error::system(format!("look at {}", theirs.display()), e)),
        },
    }
}

/// Makes a directory for its owner alone, unless there is something of that name.
fn make(path: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            Err(Error::system(format!("make {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private() {
        assert!(is_private(DIRECTORY | 0o700, 5, 5));
        assert!(!is_private(DIRECTORY | 0o700, 5, 6), "somebody else's");
        assert!(!is_private(DIRECTORY | 0o710, 5, 5), "the group's too");
        assert!(!is_private(0o120_700, 5, 5), "a link");
        assert!(!is_private(0o100_700, 5, 5), "a file");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn how_much_of_an_identity_is_used() {
        assert_eq!(digits("/var/run/user/1000/prefork-interp".len()), Some(63));
        assert_eq!(digits("/root/.prefork-interp/vm".len()), Some(64));
        assert_eq!(digits(63), Some(33));
        assert_eq!(digits(64), None);
        assert_eq!(room(200), 0);
    }

    #[test]
    fn a_hosts_name_is_cut() {
        assert_eq!(node(b"vm.example.net"), b"vm");
        assert_eq!(node(b"vm\0\0\0"), b"vm");
        assert_eq!(node(&[b'x'; 65]), [b'x'; 32]);
    }
}
