//! The lease file as the parent has it: found by name, opened, replaced.
//!
//! Everything goes through a handle of its directory, so that a rename and the sync that makes it
//! durable mean the same directory whatever becomes of the path. The file is locked (flock(2)): two
//! that write to it would overwrite what the other has promised. The lock is the open file's, so
//! a server whose parent was killed holds it to its own end. In which order things are done is
//! `succession`'s; what is in the files is the server's business.

use super::succession::{Folder, Succession};
use crate::msg::Renamed;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::poll::{PollTimeout, poll};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a dhcpd that was killed may take to let go of the lease file.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often to look whether it has: nothing tells when a lock becomes free.
const LOOK: u16 = 20;

/// The lease file, and where its successor is written.
pub struct Store(Succession<Place>);

/// The directory that the lease file is in.
struct Place {
    folder: File,
    /// Of the lease file, for messages.
    path: PathBuf,
    name: OsString,
    successor: OsString,
    /// What the file was at start is kept under this name, once.
    original: OsString,
    kept: Cell<bool>,
}

/// What was tried on which file, and what the system said.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(tried: &str, path: &Path, error: impl fmt::Display) -> Self {
        Error(format!("{tried} {}: {error}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl Store {
    /// Opens the lease file; one that is missing is created, with mode 0640. If the name is a
    /// symbolic link, what it leads to is the lease file, and the link stays.
    ///
    /// # Errors
    /// If it cannot be opened for reading and writing, is not a regular file, is in use by another
    /// dhcpd, or its directory cannot be synced.
    pub fn open(path: &Path) -> Result<Store, Error> {
        let path = resolve(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new("open", &path, "not the name of a file"));
        };
        let folder = File::open(parent).map_err(|e| Error::new("open", parent, e))?;
        let deadline = Instant::now() + PATIENCE;
        let file = loop {
            let file = open_in(&folder, name, OFlag::O_CREAT, 0o640)
                .map_err(|e| Error::new("open", &path, e))?;
            let kind = file.metadata().map_err(|e| Error::new("stat", &path, e))?.file_type();
            if !kind.is_file() {
                return Err(Error::new("open", &path, "not a regular file"));
            }
            match lock(&file) {
                // Whoever had it may have put another in its place.
                Ok(()) if has_name(&folder, name, &file).unwrap_or(true) => break file,
                Ok(()) => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    log::warn!("lock {}: {error}", path.display());
                    break file;
                }
                Err(_) if Instant::now() >= deadline => {
                    return Err(Error::new("lock", &path, "another dhcpd is at work with it"));
                }
                Err(_) => {
                    let _ = poll(&mut [], PollTimeout::from(LOOK));
                }
            }
        };
        let mut successor = name.to_owned();
        successor.push(".new");
        let mut original = name.to_owned();
        original.push("~");
        let (name, kept) = (name.to_owned(), Cell::new(false));
        let place = Place { folder, path, name, successor, original, kept };
        Ok(Store(Succession::new(place, file)?))
    }

    /// The lease file, for the server.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn lease_file(&self) -> Result<OwnedFd, Error> {
        copy(self.0.file(), self.0.path())
    }

    /// A new, empty file beside it, with the same owner and mode. One that was made before and has
    /// not taken over is gone then.
    ///
    /// # Errors
    /// If there is no making one, or the one before may have taken over.
    pub fn new_file(&mut self) -> Result<OwnedFd, Error> {
        let path = self.0.path().to_owned();
        self.0.new_file().and_then(|file| copy(file, &path))
    }

    /// Puts the new file in the lease file's place, durably. After [`Renamed::Maybe`] it is to be
    /// called again, and goes on where it failed.
    pub fn replace(&mut self) -> Renamed {
        self.0.replace()
    }
}

fn copy(file: &File, path: &Path) -> Result<OwnedFd, Error> {
    let copy = file.try_clone();
    copy.map(OwnedFd::from).map_err(|e| Error::new("hand over", path, e))
}

impl Place {
    fn make(&self, like: &File) -> io::Result<File> {
        let like = like.metadata()?;
        let file = open_in(&self.folder, &self.successor, OFlag::O_CREAT | OFlag::O_EXCL, 0o600)?;
        let is = file.metadata()?;
        if (is.uid(), is.gid()) != (like.uid(), like.gid()) {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(like.mode() & 0o777))?;
        // Where that is not possible it was said at start.
        let _ = lock(&file);
        Ok(file)
    }

    /// Keeps what was there when we came: it may have been no lease file, or a damaged one. If that
    /// cannot be, service goes on.
    fn keep_original(&self) {
        let gone = match unlinkat(&self.folder, &*self.original, UnlinkatFlags::NoRemoveDir) {
            Err(nix::errno::Errno::ENOENT) => Ok(()),
            other => other,
        };
        let kept = gone.and_then(|()| {
            let to = &*self.original;
            linkat(&self.folder, &*self.name, &self.folder, to, AtFlags::empty())
        });
        if let Err(error) = kept {
            let path = self.path.with_file_name(&self.original);
            log::warn!("keep what was in the lease file as {}: {error}", path.display());
        }
    }

    fn successor_path(&self) -> PathBuf {
        self.path.with_file_name(&self.successor)
    }
}

impl Folder for Place {
    type File = File;

    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, like: &File) -> Result<File, Error> {
        self.make(like).map_err(|e| Error::new("create", &self.successor_path(), e))
    }

    fn remove(&self) -> Result<(), Error> {
        match unlinkat(&self.folder, &*self.successor, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
            Err(error) => Err(Error::new("remove", &self.successor_path(), error)),
        }
    }

    fn rename(&self) -> Result<(), Error> {
        if !self.kept.replace(true) {
            self.keep_original();
        }
        renameat(&self.folder, &*self.successor, &self.folder, &*self.name)
            .map_err(|e| Error::new("rename", &self.successor_path(), e))
    }

    fn has_name(&self, file: &File) -> Result<bool, Error> {
        has_name(&self.folder, &self.name, file).map_err(|e| Error::new("stat", &self.path, e))
    }

    fn sync(&self) -> Result<(), Error> {
        self.folder.sync_all().map_err(|e| Error::new("sync the directory of", &self.path, e))
    }
}

/// The path without symbolic links; the file itself may be missing.
fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let failed = |error| Error::new("find", path, error);
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let name = path.file_name().ok_or(error).map_err(failed)?;
            match fs::canonicalize(parent) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let missing = format!("the directory {} does not exist", parent.display());
                    Err(Error::new("create", path, missing))
                }
                parent => Ok(parent.map_err(failed)?.join(name)),
            }
        }
        other => other.map_err(failed),
    }
}

/// Whether the name in this directory is this file's.
fn has_name(folder: &File, name: &OsStr, file: &File) -> io::Result<bool> {
    let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let file = file.metadata()?;
    Ok(found.st_ino as u64 == file.ino() && found.st_dev as u64 == file.dev())
}

/// Locks the file for as long as it is open, in whatever process; does not wait.
fn lock(file: &File) -> io::Result<()> {
    // SAFETY: numbers only; the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open_in(folder: &File, name: &OsStr, flags: OFlag, mode: u32) -> io::Result<File> {
    let flags = flags | OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mode = Mode::from_bits_truncate(mode as libc::mode_t);
    Ok(File::from(openat(folder, name, flags, mode)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory that is gone after the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("dhcpd-store-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let name = |e: io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
            let mut names: Vec<String> = entries.map(name).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_missing_file_is_created() {
        let folder = Folder::new();
        let path = folder.0.join("leases");
        let store = Store::open(&path).unwrap();
        assert_eq!(mode(&path) & !0o640, 0);
        let mut file = File::from(store.lease_file().unwrap());
        file.write_all(b"text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let folder = Folder::new();
        let path = folder.0.join("none/leases");
        let why = Store::open(&path).err().map(|error| error.to_string()).unwrap();
        let parent = folder.0.join("none");
        let (path, parent) = (path.display(), parent.display());
        assert_eq!(why, format!("create {path}: the directory {parent} does not exist"));
    }

    #[test]
    fn the_new_file_takes_over_with_owner_and_mode() {
        let folder = Folder::new();
        let path = folder.0.join("leases");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let is_root = fs::metadata(&path).unwrap().uid() == 0;
        if is_root {
            std::os::unix::fs::chown(&path, Some(12), Some(34)).unwrap();
        }
        // What a crash in the middle of a rewrite leaves.
        fs::write(folder.0.join("leases.new"), "stale").unwrap();
        let mut store = Store::open(&path).unwrap();
        for text in ["first", "second"] {
            let before = fs::read(&path).unwrap();
            let mut new = File::from(store.new_file().unwrap());
            new.write_all(text.as_bytes()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), before);
            assert_eq!(store.replace(), Renamed::Yes);
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
            assert_eq!(mode(&path), 0o604);
            let held = fs::metadata(&path).unwrap();
            assert!(!is_root || (held.uid(), held.gid()) == (12, 34));
        }
        assert_eq!(folder.names(), ["leases", "leases~"]);
    }

    #[test]
    fn a_new_file_may_be_forgotten() {
        let folder = Folder::new();
        let path = folder.0.join("leases");
        fs::write(&path, "old").unwrap();
        let mut store = Store::open(&path).unwrap();
        assert!(matches!(store.replace(), Renamed::No(_)));
        store.new_file().unwrap();
        store.new_file().unwrap();
        fs::remove_file(folder.0.join("leases.new")).unwrap();
        let Renamed::No(why) = store.replace() else { panic!("renamed") };
        assert!(why.contains("leases.new: ") && why.contains("ENOENT") || why.contains("No such"));
        assert!(matches!(store.replace(), Renamed::No(_)));
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    /// What looks like a failure may have been done; the next try must not undo that.
    #[test]
    fn a_rename_that_happened_counts() {
        let folder = Folder::new();
        let path = folder.0.join("leases");
        fs::write(&path, "old").unwrap();
        let mut store = Store::open(&path).unwrap();
        let mut new = File::from(store.new_file().unwrap());
        new.write_all(b"new").unwrap();
        fs::rename(folder.0.join("leases.new"), &path).unwrap();
        assert_eq!(store.replace(), Renamed::Yes);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn two_do_not_share_a_file() {
        let folder = Folder::new();
        let path = folder.0.join("leases");
        let mut store = Store::open(&path).unwrap();
        let refused = || Store::open(&path).err().unwrap().to_string();
        assert!(refused().ends_with("/leases: another dhcpd is at work with it"));
        // Nor when another file has taken its place, nor while a server is left that has it.
        let server = store.new_file().unwrap();
        assert_eq!(store.replace(), Renamed::Yes);
        assert!(refused().contains("another dhcpd"));
        drop(store);
        assert!(refused().contains("another dhcpd"));
        drop(server);
        Store::open(&path).unwrap();
    }

    /// It may be gone in a moment.
    #[test]
    fn whoever_is_about_to_end_is_waited_for() {
        let folder = Folder::new();
        let path = folder.0.join("leases");
        let store = Store::open(&path).unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| Store::open(&path).map(drop));
            let mut store = store;
            let _server = store.new_file().unwrap();
            assert_eq!(store.replace(), Renamed::Yes);
            drop((store, _server));
            next.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = Folder::new();
        let (link, path) = (folder.0.join("link"), folder.0.join("leases"));
        fs::write(&path, "old").unwrap();
        symlink("leases", &link).unwrap();
        let mut store = Store::open(&link).unwrap();
        File::from(store.new_file().unwrap()).write_all(b"new").unwrap();
        assert_eq!(store.replace(), Renamed::Yes);
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("leases"));
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = Folder::new();
        symlink("nowhere", folder.0.join("dangling")).unwrap();
        nix::unistd::mkfifo(&folder.0.join("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        fs::create_dir(folder.0.join("folder")).unwrap();
        for name in ["dangling", "fifo", "folder", "missing/leases"] {
            let path = folder.0.join(name);
            let error = Store::open(&path).err().unwrap_or_else(|| panic!("{name} was opened"));
            assert!(error.to_string().contains(folder.0.to_str().unwrap()), "{error}");
        }
        assert_eq!(folder.names(), ["dangling", "fifo", "folder"]);
    }
}
