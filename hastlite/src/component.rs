//! A local component: the file or disk that holds a resource's data on this node. What the kernel
//! calls, and no more; offsets are bytes from its start.
//!
//! Who opens it has it alone: a disk is opened with O_EXCL, so that nothing that is mounted or
//! otherwise claimed can be opened, and both kinds are locked with flock(2), which keeps every other
//! hastlite and FreeBSD's hastd out. Lock and claim go with the descriptor wherever it is passed.

#[cfg_attr(target_os = "linux", path = "component/system_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "component/system_bsd.rs")]
mod system;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use crate::layout::Medium;
use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of zeroes that are written at a time where nothing better works.
const ZEROES: usize = 1 << 20;

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A disk, a partition, a volume.
    Device,
}

/// An open component.
#[derive(Debug)]
pub struct Component {
    file: File,
    kind: Kind,
    medium: Medium,
}

impl Component {
    /// Opens it to be used: for reading and writing, and for nobody else at the same time.
    ///
    /// # Errors
    /// What failed, on which path; [`io::ErrorKind::ResourceBusy`] if somebody else has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |what| move |source| OpenError { path: path.to_owned(), what, source };
        let before = std::fs::metadata(path).map_err(failed("open"))?;
        let kind = kind(before.file_type()).map_err(failed("open"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(match kind {
            Kind::Device => libc::O_EXCL,
            // To a regular file O_EXCL means nothing good without O_CREAT.
            Kind::File => 0,
        });
        let file = options.open(path).map_err(failed("open"))?;
        let after = file.metadata().map_err(failed("stat"))?;
        if (before.dev(), before.ino(), before.mode()) != (after.dev(), after.ino(), after.mode()) {
            return Err(failed("open")(io::Error::other("it was replaced meanwhile")));
        }
        match system::lock(file.as_fd()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                log::warn!("lock {}: {error}; it is used without", path.display());
            }
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => {
                let busy = io::Error::new(io::ErrorKind::ResourceBusy, "somebody else uses it");
                return Err(failed("lock")(busy));
            }
            Err(error) => return Err(failed("lock")(error)),
        }
        Self::from_fd(file.into()).map_err(failed("measure"))
    }

    /// Opens it only to look, whoever else uses it.
    ///
    /// # Errors
    /// What failed, on which path.
    pub fn open_to_look(path: &Path) -> Result<Self, OpenError> {
        let failed = |what| move |source| OpenError { path: path.to_owned(), what, source };
        let metadata = std::fs::metadata(path).map_err(failed("open"))?;
        kind(metadata.file_type()).map_err(failed("open"))?;
        let file = File::open(path).map_err(failed("open"))?;
        Self::from_fd(file.into()).map_err(failed("measure"))
    }

    /// One that was opened by [`Component::open`], here or in another process.
    ///
    /// # Errors
    /// It is neither file nor disk, or does not say how large it is.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let metadata = file.metadata()?;
        let kind = kind(metadata.file_type())?;
        let medium = match kind {
            // 512 as on FreeBSD: from the sector's size follows the map's, and where the data is.
            Kind::File => Medium { size: metadata.len(), sector: 512 },
            Kind::Device => system::measure(file.as_fd())?,
        };
        Ok(Self { file, kind, medium })
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How large it was when it was opened.
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// Whether a write usually ends in the system's memory, without waiting for the disk.
    pub fn is_cached(&self) -> bool {
        system::is_cached(self.kind)
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    /// pread(2)'s, and [`io::ErrorKind::UnexpectedEof`].
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Fills `buffer` if that needs no waiting; otherwise, or after any error, says false, and what
    /// is in it means nothing. Never true where the system cannot tell.
    pub fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> bool {
        system::read_at_once(self.file.as_fd(), buffer, offset)
    }

    /// Writes all of it, into the system's memory.
    ///
    /// # Errors
    /// pwrite(2)'s.
    pub fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Writes all of it onto stable storage. What was written elsewhere need not be there.
    ///
    /// # Errors
    /// pwrite(2)'s and fdatasync(2)'s.
    pub fn write_durably(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        system::write_durably(&self.file, self.kind, bytes, offset)
    }

    /// Brings all that was written onto stable storage.
    ///
    /// The system tells of a write that it could not store once, to whoever asks first, and forgets
    /// about it. After an error nothing that was written since the last success may be relied on,
    /// whatever a later call says.
    ///
    /// # Errors
    /// fdatasync(2)'s.
    pub fn sync(&self) -> io::Result<()> {
        system::sync(&self.file, self.kind)
    }

    /// Has the range read as zeroes from now on.
    ///
    /// # Errors
    /// fallocate(2)'s or pwrite(2)'s.
    pub fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 || system::zero(self.file.as_fd(), offset, length)? {
            return Ok(());
        }
        let zeroes = vec![0; ZEROES.min(usize::try_from(length).unwrap_or(ZEROES))];
        let mut done = 0;
        while done < length {
            let part = (length - done).min(zeroes.len() as u64);
            self.write(&zeroes[..part as usize], offset + done)?;
            done += part;
        }
        Ok(())
    }

    /// Gives the range back, if the medium can. What is read there afterwards is nobody's promise.
    ///
    /// # Errors
    /// fallocate(2)'s or ioctl(2)'s, but for those that say that it cannot.
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        match system::discard(self.file.as_fd(), self.kind, offset, length) {
            Err(error) if cannot(&error) => Ok(()),
            done => done,
        }
    }
}

impl AsFd for Component {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Component> for OwnedFd {
    fn from(component: Component) -> Self {
        component.file.into()
    }
}

/// Whether an error says that the medium, or the file system, does not do such a thing, or not with
/// a range like that.
fn cannot(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL | libc::ENODEV)
    )
}

fn kind(file_type: FileType) -> io::Result<Kind> {
    if file_type.is_file() {
        return Ok(Kind::File);
    }
    if system::is_disk(file_type) {
        return Ok(Kind::Device);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a disk"))
}

/// Why a component cannot be used.
#[derive(Debug)]
pub struct OpenError {
    /// Which.
    pub path: PathBuf,
    /// What was tried.
    pub what: &'static str,
    /// What came of it.
    pub source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.what, self.path.display(), self.source)
    }
}

impl std::error::Error for OpenError {}
