//! A PID file that cannot be stale: its process holds a lock on it for as long as it lives, and
//! the kernel ends the lock with the process, whatever is left in the file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{geteuid, getpid};

use super::{Holder, TRIES, facts, hold, holder, rules, whole};
use crate::Error;

/// A PID file with our number in it, locked by us. It is removed when this is dropped.
///
/// A POSIX lock belongs to the process that took it: take it in the process that is to be killed,
/// after the last fork; a child does not have it. It is lost when *any* descriptor of the file is
/// closed, so nothing else in the process may open the file, and there must be only one of these.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    file: File,
    /// Who holds the lock: a child that has a copy of this must leave the file alone.
    pid: i32,
}

impl Locked {
    /// Makes the file, or takes over one whose process has died, locks it, and writes our number
    /// into it.
    ///
    /// # Errors
    /// Another process holds it (which is named), it is not a file that `safe-kill` would rely on,
    /// or the system refuses.
    pub fn create(path: &Path) -> Result<Locked, Error> {
        let failed = |what: &str, error: io::Error| {
            Error::system(format!("{what} {}", path.display()), error)
        };
        let refused = |why: String| Error::says(format!("{}: {why}", path.display()));
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(path)
                .map_err(|error| match path.is_symlink() {
                    true => refused("is a symbolic link".into()),
                    false => failed("open", error),
                })?;
            match fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    match holder(&file).map_err(|error| failed("ask for the lock on", error))? {
                        // It was let go in between.
                        Holder::Nobody => continue,
                        Holder::Outside => {
                            let why = "is locked by a process outside our pid namespace";
                            return Err(refused(why.into()));
                        }
                        Holder::Process(pid) => return Err(refused(in_use(pid))),
                    }
                }
                Err(errno) => return Err(failed("lock", errno.into())),
            }
            // Whoever held it until now has removed it before letting go: then what we have
            // locked is not what others find under this name.
            if !is_at(&file, path) {
                continue;
            }
            let facts = facts(&file).map_err(|error| failed("examine", error))?;
            if facts.owner != geteuid().as_raw() && facts.owner != 0 {
                return Err(refused(format!("belongs to uid {}", facts.owner)));
            }
            rules::file(&facts).map_err(refused)?;
            let locked = Locked { path: path.into(), file, pid: getpid().as_raw() };
            locked.write().map_err(|error| failed("write", error))?;
            return Ok(locked);
        }
        Err(refused("is made and removed by others, again and again".into()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whoever reads it meanwhile finds the old number, or ours, perhaps with the old one's last
    /// digits in a line of their own; but never nothing.
    fn write(&self) -> io::Result<()> {
        let line = format!("{}\n", self.pid);
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.set_len(line.len() as u64)?;
        // A creation mask may have taken away that others can ask for the lock.
        if self.file.metadata()?.uid() == geteuid().as_raw() {
            self.file.set_permissions(Permissions::from_mode(0o644))?;
        }
        Ok(())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.pid != getpid().as_raw() {
            return;
        }
        // Removed while it is still locked: nobody can have taken it over. One who is no longer
        // allowed to remove it leaves it empty.
        if is_at(&self.file, &self.path) && fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

/// Whether this file is the one of that name.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn in_use(pid: i32) -> String {
    match hold::Hold::open(pid).and_then(|hold| hold.look()) {
        Ok(process) => format!("is locked by {process}"),
        Err(_) => format!("is locked by process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("tandem-{name}-{}", std::process::id()));
            fs::create_dir(&path).expect("a directory");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn takes_over_what_is_left_and_removes_it() {
        let folder = Folder::new("locked");
        let path = folder.0.join("pid");
        fs::write(&path, "123456789\nand more").expect("written");
        let locked = Locked::create(&path).expect("locked");
        let ours = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(locked.path()).expect("read"), ours);
        drop(locked);
        assert!(!path.exists());
    }

    #[test]
    fn leaves_another_file_of_its_name_alone() {
        let folder = Folder::new("moved");
        let path = folder.0.join("pid");
        let locked = Locked::create(&path).expect("locked");
        fs::rename(&path, folder.0.join("old")).expect("renamed");
        fs::write(&path, "another's").expect("written");
        drop(locked);
        assert_eq!(fs::read_to_string(&path).expect("still there"), "another's");
    }

    #[test]
    fn refuses_what_cannot_be_relied_on() {
        let folder = Folder::new("refused");
        let (path, link) = (folder.0.join("pid"), folder.0.join("link"));
        fs::write(&path, "12").expect("written");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let error = Locked::create(&link).expect_err("a link");
        assert!(error.to_string().ends_with("link: is a symbolic link"), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("permissions");
        let error = Locked::create(&path).expect_err("writable by all");
        assert!(error.to_string().contains("can be written by everybody"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("untouched"), "12");
        assert!(Locked::create(&folder.0).is_err());
        assert!(Locked::create(&folder.0.join("no/such")).is_err());
    }
}
