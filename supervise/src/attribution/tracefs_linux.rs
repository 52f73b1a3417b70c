//! Tracefs: where it is, and instances of our own in it, which are buffers and settings beside
//! those that other users of tracing see and set. What is recorded is `trace_linux`'s matter.
//!
//! An instance outlives who made it. So its directory is locked while it is in use, and whoever
//! comes next removes those of ours that nobody holds any more.
//!
//! Source: the kernel's Documentation/trace/ftrace.rst ("Instances").

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::{Error, procfs};

/// Where it is mounted, if somebody has.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What the names of our instances begin with; then come our process's number and one more.
const PREFIX: &str = "supervise-";

/// How old an instance must be that is held by nobody, though a process with its maker's number is
/// there: before that, its maker may not have come to lock it.
const YOUNG: Duration = Duration::from_secs(60);

/// The root of a tracefs.
#[derive(Debug)]
pub(super) struct Tracefs {
    root: OwnedFd,
    instances: OwnedFd,
}

impl Tracefs {
    /// The one that is mounted, or one mounted for us alone: in no directory, so that nobody else
    /// comes to see it.
    pub(super) fn open() -> Result<Arc<Tracefs>, Error> {
        for place in PLACES {
            if let Ok(root) = directory(None, place)
                && let Ok(found) = Tracefs::at(root)
            {
                return Ok(found);
            }
        }
        Tracefs::private()
    }

    pub(super) fn private() -> Result<Arc<Tracefs>, Error> {
        Tracefs::at(mount()?)
    }

    fn at(root: OwnedFd) -> Result<Arc<Tracefs>, Error> {
        let instances = directory(Some(&root), "instances")
            .map_err(|errno| Error::system("open the directory instances of tracefs", errno))?;
        Ok(Arc::new(Tracefs { root, instances }))
    }

    /// A whole file.
    pub(super) fn read(&self, path: &str) -> Result<String, Error> {
        read(&self.root, path)
    }

    /// Makes an instance, in use until it is dropped.
    pub(super) fn instance(self: &Arc<Tracefs>) -> Result<Instance, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{next}", std::process::id());
            match mkdirat(&self.instances, name.as_str(), Mode::from_bits_truncate(0o700)) {
                Ok(()) => {}
                // Of one before us who had our number.
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(Error::system(format!("mkdir instances/{name}"), errno)),
            }
            let lock = self.lock(&name);
            let tracefs = Arc::clone(self);
            let made = lock.map(|lock| Instance { tracefs, name: name.clone(), lock });
            return made.map_err(|errno| {
                self.remove(&name);
                Error::system(format!("lock instances/{name}"), errno)
            });
        }
    }

    fn lock(&self, name: &str) -> Result<Flock<OwnedFd>, Errno> {
        let fd = directory(Some(&self.instances), name)?;
        Flock::lock(fd, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)
    }

    fn remove(&self, name: &str) {
        if let Err(errno) = unlinkat(&self.instances, name, UnlinkatFlags::RemoveDir) {
            log::warn!("tracefs: cannot remove instances/{name}: {errno}");
        }
    }

    /// Removes the instances of ours that were left behind.
    pub(super) fn clean(&self) {
        let Ok(fd) = directory(Some(&self.instances), ".") else { return };
        let Ok(mut entries) = Dir::from_fd(fd) else { return };
        for entry in entries.iter().flatten() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            if self.is_left(name)
                && let Ok(_lock) = self.lock(name)
            {
                log::info!("tracefs: removing instances/{name}, which nobody holds any more");
                self.remove(name);
            }
        }
    }

    /// Whether an instance is one of ours whose maker cannot be about to lock it.
    fn is_left(&self, name: &str) -> bool {
        let mut numbers = name.strip_prefix(PREFIX).into_iter().flat_map(|rest| rest.split('-'));
        let (Some(Ok(pid)), Some(Ok(_)), None) = (
            numbers.next().map(str::parse::<i32>),
            numbers.next().map(str::parse::<u32>),
            numbers.next(),
        ) else {
            return false;
        };
        let Ok(fd) = directory(Some(&self.instances), name) else { return false };
        let Ok(about) = File::from(fd).metadata() else { return false };
        let made = Duration::from_secs(about.mtime().try_into().unwrap_or(u64::MAX));
        let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        procfs::stat(pid).is_none() || today.saturating_sub(made) > YOUNG
    }
}

/// A buffer of our own.
#[derive(Debug)]
pub(super) struct Instance {
    tracefs: Arc<Tracefs>,
    name: String,
    /// Its directory.
    lock: Flock<OwnedFd>,
}

impl Instance {
    /// Writes a setting.
    pub(super) fn set(&self, path: &str, value: &str) -> Result<(), Error> {
        let tried = || format!("write {value} to {path} of tracefs");
        let file = openat(&*self.lock, path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut file = File::from(file.map_err(|errno| Error::system(tried(), errno))?);
        file.write_all(value.as_bytes()).map_err(|error| Error::system(tried(), error))
    }

    /// Writes a setting that older kernels do not have, and can do without.
    pub(super) fn set_if_there(&self, path: &str, value: &str) {
        if let Err(error) = self.set(path, value) {
            log::debug!("{error}");
        }
    }

    /// Opens the pages of a CPU, to be read without waiting; only we read them.
    pub(super) fn pages(&self, cpu: usize) -> Result<File, Error> {
        let path = format!("per_cpu/cpu{cpu}/trace_pipe_raw");
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        openat(&*self.lock, path.as_str(), flags, Mode::empty())
            .map(File::from)
            .map_err(|errno| Error::system(format!("open {path} of tracefs"), errno))
    }
}

impl Drop for Instance {
    /// All its pages must be closed by now.
    fn drop(&mut self) {
        self.tracefs.remove(&self.name);
    }
}

fn directory(at: Option<&OwnedFd>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match at {
        Some(at) => openat(at, path, flags, Mode::empty()),
        None => nix::fcntl::open(path, flags, Mode::empty()),
    }
}

fn read(at: &OwnedFd, path: &str) -> Result<String, Error> {
    let tried = || format!("read {path} of tracefs");
    let file = openat(at, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let mut file = File::from(file.map_err(|errno| Error::system(tried(), errno))?);
    // Some of these files have all to say in the first read(2), and nothing in a second one.
    let mut bytes = vec![0; 65536];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..)
        && !rest.is_empty()
    {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) => return Err(Error::system(tried(), error)),
        }
    }
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

/// Mounts a tracefs nowhere: only the descriptor leads there. There is one tracefs in a kernel,
/// with one set of instances, however often and wherever it is mounted. fsopen(2), Linux 5.2.
fn mount() -> Result<OwnedFd, Error> {
    const CREATE: libc::c_uint = 6;
    const CLOEXEC: libc::c_uint = 1;
    const NOSUID_NODEV_NOEXEC: libc::c_uint = 2 | 4 | 8;
    // SAFETY: a system call on a text of ours that ends with NUL, and a number.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), CLOEXEC) };
    let context = owned(context, "fsopen tracefs")?;
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: a system call on a live descriptor, numbers, and two pointers that it demands be null.
    let created = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, nothing, nothing, 0)
    };
    if created < 0 {
        return Err(Error::last("fsconfig tracefs"));
    }
    // SAFETY: a system call on a live descriptor and numbers.
    let mounted = unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, NOSUID_NODEV_NOEXEC)
    };
    owned(mounted, "fsmount tracefs")
}

fn owned(result: libc::c_long, tried: &str) -> Result<OwnedFd, Error> {
    match i32::try_from(result) {
        // SAFETY: the kernel has just made this descriptor, and only we know it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(Error::last(tried)),
    }
}

/// One page, or part of it; `None` if there is nothing, for now or because there is no such CPU.
pub(super) fn read_page<'a>(pages: &File, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
    loop {
        match (&*pages).read(buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => return Ok(buffer.get(..length)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
