//! Which process a PID file means, and whether that can be relied on.
//!
//! We write no PID file ourselves, and need none: `supervise stop` asks a socket. This is for files
//! that others write ([`find`], which `safe-kill` is made of), and for rc scripts that insist on
//! one ([`Locked`]).
//!
//! A number in a file says nothing about now. The process that wrote it may have died, and the
//! number may be another process's, or that of a thread of one: kill(2) takes a thread's number
//! and then means its process. So:
//! - If a process holds a lock on the file, it is meant, whatever the file says: whose lock it is
//!   is the kernel's word, and the lock ends with its holder.
//! - Otherwise the process of that number must have begun before the file was written, and the
//!   file must have been written since the machine was booted, by somebody who may.
//! - Whatever is done is done through a hold on the process (Linux: a pidfd) that is older than
//!   every one of these questions.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};

use crate::{Error, signal_name};

mod locked;
mod rules;

#[cfg_attr(target_os = "linux", path = "pidfile_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "pidfile_bsd.rs")]
mod hold;

pub use locked::Locked;

use hold::Hold;
use rules::{Facts, Image, Process};

/// How often a file that changes under our eyes is looked at again.
const TRIES: usize = 10;

/// What is expected of the process, besides what the file itself asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The file it executes.
    pub exe: Option<PathBuf>,
    /// Its real user id.
    pub user: Option<u32>,
}

/// Why we believe that it is this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It holds a lock on the file.
    Lock,
    /// Its number is in the file, and nothing speaks against it.
    Number,
}

/// The process that a PID file means, held so that it cannot become another one.
#[derive(Debug)]
pub struct Found {
    hold: Hold,
    process: Process,
    named: Named,
}

/// The process that the file means.
///
/// # Errors
/// The file cannot be read, is not to be relied on, or means no process that is there; or the
/// process is not the one expected. The text says what and why, for people.
pub fn find(path: &Path, expect: &Expect) -> Result<Found, Error> {
    let refused = |why: String| Error::says(format!("{}: {why}", path.display()));
    // Not even by its last name may the file be chosen by somebody else, and a pipe must not
    // make us wait.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(_) if path.is_symlink() => return Err(refused("is a symbolic link".into())),
        Err(error) => return Err(Error::system(format!("open {}", path.display()), error)),
    };
    let exe = expect.exe.as_deref().map(|exe| exe.canonicalize().unwrap_or_else(|_| exe.into()));
    for _ in 0..TRIES {
        let look = |what: &str, error| Error::system(format!("{what} {}", path.display()), error);
        let facts = facts(&file).map_err(|error| look("examine", error))?;
        rules::file(&facts).map_err(refused)?;
        let holder = holder(&file).map_err(|error| look("ask for the lock on", error))?;
        let (pid, named) = match holder {
            Holder::Process(pid) => (pid, Named::Lock),
            Holder::Outside => {
                let why = "is locked by a process that our pid namespace has no number for";
                return Err(refused(why.into()));
            }
            Holder::Nobody => {
                let bytes = content(&file).map_err(|error| look("read", error))?;
                (rules::number(&bytes).map_err(|fault| refused(fault.to_string()))?, Named::Number)
            }
        };
        let held = Hold::open(pid).and_then(|hold| Ok((hold.look()?, hold)));
        // What we have learnt is only worth something if the file still says so.
        let same = match named {
            Named::Lock => self::holder(&file).ok() == Some(Holder::Process(pid)),
            Named::Number => {
                self::facts(&file).ok().as_ref() == Some(&facts)
                    && self::holder(&file).ok() == Some(Holder::Nobody)
            }
        };
        if !same {
            continue;
        }
        let (process, hold) = held.map_err(refused)?;
        if named == Named::Number {
            rules::age(&facts, process.began, &hold::clock())
                .map_err(|why| refused(format!("{process}: {why}")))?;
            rules::owner(&facts, &process, expect.user).map_err(refused)?;
        }
        rules::expected(&process, exe.as_deref(), expect.user).map_err(refused)?;
        return Ok(Found { hold, process, named });
    }
    Err(refused("changes while it is being looked at, again and again".into()))
}

impl Found {
    /// Its number.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Why we believe that it is this process.
    pub fn named(&self) -> Named {
        self.named
    }

    /// The process in words: number, name, user and executable.
    pub fn describe(&self) -> String {
        self.process.to_string()
    }

    /// What is worth saying of it although it is no reason to refuse: its executable has been
    /// deleted or replaced since it was started.
    pub fn remark(&self) -> Option<String> {
        match &self.process.exe {
            Image::Replaced(path) => Some(format!(
                "{} has been deleted or replaced since it was started",
                path.display()
            )),
            _ => None,
        }
    }

    /// Sends a signal to it and to no other; 0 only asks whether that could be done.
    ///
    /// # Errors
    /// It has ended meanwhile, or we have no right to.
    pub fn send(&self, signal: i32) -> Result<(), Error> {
        self.hold.send(signal).map_err(|error| {
            let name = if signal == 0 { "signal 0".into() } else { signal_name(signal) };
            Error::system(format!("send {name} to {}", self.process), error)
        })
    }

    /// Waits for its end, at most this long, and says whether it has ended.
    ///
    /// # Errors
    /// The system does not let us wait.
    pub fn ends_within(&self, patience: Duration) -> Result<bool, Error> {
        self.hold
            .ends_within(patience)
            .map_err(|error| Error::system(format!("wait for {}", self.process), error))
    }
}

/// Who holds a lock on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// This process.
    Process(i32),
    /// A process that has no number here.
    Outside,
    /// Nobody, or nobody whom the kernel would name: flock(2) and open file description locks
    /// belong to no process.
    Nobody,
}

/// Who holds a POSIX write lock on the file. Read locks do not count: whoever may read the file
/// could place one, and would then be taken for its process.
fn holder(file: &File) -> std::io::Result<Holder> {
    let mut lock = whole(libc::F_RDLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok(match lock.l_pid {
        _ if lock.l_type == whole(libc::F_UNLCK).l_type => Holder::Nobody,
        pid @ 1.. => Holder::Process(pid),
        0 => Holder::Outside,
        _ => Holder::Nobody,
    })
}

/// A lock of this kind on a whole file.
fn whole(kind: impl Into<i32>) -> libc::flock {
    // SAFETY: a flock is numbers, for all of which zero is one.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind.into() as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock
}

/// What of the file decides whether it can be relied on.
fn facts(file: &File) -> std::io::Result<Facts> {
    let about = file.metadata()?;
    Ok(Facts {
        regular: about.is_file(),
        owner: about.uid(),
        mode: about.mode(),
        size: about.len(),
        modified: nanoseconds(about.mtime(), about.mtime_nsec()),
    })
}

/// A time of the epoch's, of which none of ours is before it.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(nanoseconds).unwrap_or(0))
}

/// What is in it, and a byte more than may be.
fn content(file: &File) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; rules::LONGEST + 1];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
