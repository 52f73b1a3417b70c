//! The lease file as the parent has it: found by name, opened, replaced.

use crate::msg::Renamed;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The lease file, and where its successor is written.
pub struct Store {
    path: PathBuf,
    successor: PathBuf,
    folder: File,
    file: File,
}

/// What was tried on which file, and what the system said.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    fn new(tried: &str, path: &Path, error: &io::Error) -> Self {
        Error(format!("{tried} {}: {error}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Store {
    /// Opens the lease file; one that is missing is created, with mode 0640.
    pub fn open(path: &Path, _gid: u32) -> Result<Store, Error> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = File::open(folder).map_err(|e| Error::new("open", folder, &e))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path)
            .map_err(|e| Error::new("open", path, &e))?;
        let mut successor = path.as_os_str().to_owned();
        successor.push(".new");
        Ok(Store { path: path.to_owned(), successor: successor.into(), folder, file })
    }

    /// The lease file, for the server.
    pub fn lease_file(&self) -> Result<OwnedFd, Error> {
        let copy = self.file.try_clone();
        copy.map(OwnedFd::from).map_err(|e| Error::new("hand over", &self.path, &e))
    }

    /// A new, empty file beside it.
    pub fn new_file(&mut self) -> Result<OwnedFd, Error> {
        match fs::remove_file(&self.successor) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::new("remove", &self.successor, &e));
            }
            _ => {}
        }
        let mut new = OpenOptions::new();
        new.read(true).write(true).create_new(true).mode(0o640);
        let file = new.open(&self.successor);
        file.map(OwnedFd::from).map_err(|e| Error::new("create", &self.successor, &e))
    }

    /// Puts the new file in the lease file's place, durably.
    pub fn replace(&mut self) -> Renamed {
        if let Err(e) = fs::rename(&self.successor, &self.path) {
            return Renamed::No(format!("rename {}: {e}", self.successor.display()));
        }
        match self.folder.sync_all() {
            Ok(()) => Renamed::Yes,
            Err(e) => Renamed::Maybe(format!("sync the directory of {}: {e}", self.path.display())),
        }
    }
}
