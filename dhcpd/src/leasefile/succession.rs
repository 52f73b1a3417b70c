//! How the lease file is replaced: in which order, and what is still true when a step fails.
//!
//! The policy only, over whatever stands for a directory: the parent's real one (`store`), or the
//! simulator's. What is in the files, and when they are whole, is the server's business.

use super::store::Error;
use crate::msg::Renamed;
use std::path::Path;

/// The directory of the lease file, with the names of the file and of its successor.
pub(crate) trait Folder {
    /// An open file.
    type File;

    /// The lease file's path, for messages.
    fn path(&self) -> &Path;

    /// Makes the successor, empty, with the owner and mode of `like`.
    ///
    /// # Errors
    /// If there is no making one; also if there is one.
    fn create(&self, like: &Self::File) -> Result<Self::File, Error>;

    /// Removes the successor, if there is one.
    ///
    /// # Errors
    /// If it stays.
    fn remove(&self) -> Result<(), Error>;

    /// Gives the successor the lease file's name.
    ///
    /// # Errors
    /// Any; it may have been done nevertheless.
    fn rename(&self) -> Result<(), Error>;

    /// Whether the lease file's name is this file's.
    ///
    /// # Errors
    /// If there is no telling.
    fn has_name(&self, file: &Self::File) -> Result<bool, Error>;

    /// Returns when the names are on disk.
    ///
    /// # Errors
    /// If they may not be. They are still to be written then, and a later call may do it: what
    /// cannot be true of a file's data is of names, which every file system here either logs or
    /// keeps dirty.
    fn sync(&self) -> Result<(), Error>;
}

/// The lease file, and its successor if there is one.
pub(crate) struct Succession<F: Folder> {
    folder: F,
    file: F::File,
    new: Option<New<F::File>>,
}

/// A successor that has not taken over for good.
struct New<T> {
    file: T,
    /// It has the lease file's name; its directory is still to be synced.
    renamed: bool,
}

impl<F: Folder> Succession<F> {
    /// Begins with the lease file. Its name is made durable, not only because the file may be new:
    /// whoever was here before may have been killed between a rename and its sync, and what is
    /// written from here on must not lose its name.
    ///
    /// # Errors
    /// If the directory cannot be synced.
    pub(crate) fn new(folder: F, file: F::File) -> Result<Self, Error> {
        folder.sync()?;
        Ok(Succession { folder, file, new: None })
    }

    /// The lease file.
    pub(crate) fn file(&self) -> &F::File {
        &self.file
    }

    /// For messages.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new, empty file beside it. One that was made before and has not taken over is gone then.
    ///
    /// # Errors
    /// If there is no making one, or the one before may have taken over.
    pub(crate) fn new_file(&mut self) -> Result<&F::File, Error> {
        if self.new.as_ref().is_some_and(|new| new.renamed) {
            let why = "its directory is still to be synced";
            return Err(Error::new("replace", self.path(), why));
        }
        self.new = None;
        self.folder.remove()?;
        let file = self.folder.create(&self.file)?;
        Ok(&self.new.insert(New { file, renamed: false }).file)
    }

    /// Puts the new file in the lease file's place, durably. After [`Renamed::Maybe`] it is to be
    /// called again, and goes on where it failed.
    pub(crate) fn replace(&mut self) -> Renamed {
        let Some(mut new) = self.new.take() else {
            return Renamed::No(format!("replace {}: there is no new file", self.path().display()));
        };
        if !new.renamed {
            let error = self.folder.rename().err();
            match (error, self.folder.has_name(&new.file)) {
                // A network or a failing disk may report an error for what it did do: to go on with
                // the old file then would be to write where nobody will look.
                (None, _) | (Some(_), Ok(true)) => new.renamed = true,
                (Some(error), Ok(false)) => {
                    // If it stays, the next one removes it.
                    let _ = self.folder.remove();
                    return Renamed::No(error.to_string());
                }
                (Some(error), Err(_)) => {
                    self.new = Some(new);
                    return Renamed::Maybe(error.to_string());
                }
            }
        }
        match self.folder.sync() {
            Ok(()) => {
                self.file = new.file;
                Renamed::Yes
            }
            Err(error) => {
                self.new = Some(new);
                Renamed::Maybe(error.to_string())
            }
        }
    }
}
