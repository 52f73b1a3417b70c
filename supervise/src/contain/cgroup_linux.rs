//! A cgroup of our own in the unified hierarchy, below the one we are in; cgroups(7).
//!
//! Its name is `supervise.NAME.PID`. While we live we hold a flock(2) on its directory; so
//! whoever comes next with the same NAME can tell those of dead supervisors, whatever has become
//! of their numbers, and remove the empty ones.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::{Error, procfs};

/// A cgroup that is ours alone. Dropping it removes it, if nothing is in it.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    events: File,
    /// Says that its supervisor lives. Never read.
    _lock: Flock<File>,
}

impl Cgroup {
    /// Makes one and removes those that dead supervisors of this name have left.
    pub(super) fn make(name: &str) -> Result<Cgroup, Error> {
        let above = ours()?;
        let stem = stem(name);
        sweep(&above, &stem);
        let pid = std::process::id();
        // One process may have several, and a dead one's of our number may be in use still.
        for more in 1..100 {
            let last = if more == 1 { format!("{pid}") } else { format!("{pid}-{more}") };
            if let Some(made) = Cgroup::claim(above.join(format!("{stem}{last}")))? {
                return Ok(made);
            }
        }
        Err(Error::says(format!("{}: too many cgroups named {stem}{pid}", above.display())))
    }

    /// Makes this one; `None` if somebody has it.
    fn claim(path: PathBuf) -> Result<Option<Cgroup>, Error> {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            made => made.map_err(|e| Error::system(format!("mkdir {}", path.display()), e))?,
        }
        let claimed = Cgroup::lock(&path);
        if !matches!(claimed, Ok(Some(_))) {
            let _ = fs::remove_dir(&path);
        }
        claimed
    }

    fn lock(path: &Path) -> Result<Option<Cgroup>, Error> {
        // Between mkdir and flock another one's sweep may have taken it for a dead one's.
        let Some(lock) = try_lock(path)? else { return Ok(None) };
        // One that can hold threads only would take no process.
        let kind = read(&path.join("cgroup.type"))?;
        if kind.trim_end() != "domain" {
            return Err(Error::says(format!("{} is {}", path.display(), kind.trim_end())));
        }
        let events = path.join("cgroup.events");
        let events = File::open(&events)
            .map_err(|error| Error::system(format!("open {}", events.display()), error))?;
        let made = Cgroup { path: path.to_owned(), events, _lock: lock };
        Ok(Some(made))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a process into it, and so all that it makes from now on.
    pub(super) fn place(&self, pid: i32) -> Result<(), Error> {
        self.write("cgroup.procs", &pid.to_string())
            .map_err(|error| self.error(&format!("place process {pid} in"), error))
    }

    /// Whether anything in it, or in one below it, has not ended.
    pub(super) fn populated(&self) -> Result<bool, Error> {
        let mut file = &self.events;
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_string(&mut text))
            .map_err(|error| self.error("read cgroup.events of", error))?;
        text.lines()
            .find_map(|line| line.strip_prefix("populated "))
            .map(|value| value != "0")
            .ok_or_else(|| Error::says(format!("{}: no \"populated\"", self.path.display())))
    }

    /// Has POLLPRI when [`Cgroup::populated`] may say something else than when it was last asked.
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Kills everything in it, what is just being forked too. Whether the kernel can do that: it
    /// is from Linux 5.14 on.
    pub(super) fn kill(&self) -> Result<bool, Error> {
        match self.write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.error("kill all in", error)),
        }
    }

    /// The processes in it and below it, as far as they can be listed.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for path in tree(&self.path) {
            let Ok(text) = fs::read_to_string(path.join("cgroup.procs")) else { continue };
            // 0 is one that has no number in our namespace.
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        found.retain(|&pid| pid > 0);
        found
    }

    /// Never makes the file: it is there, or the kernel does not have it.
    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        fs::OpenOptions::new().write(true).open(self.path.join(file))?.write_all(text.as_bytes())
    }

    fn error(&self, tried: &str, error: std::io::Error) -> Error {
        Error::system(format!("{tried} cgroup {}", self.path.display()), error)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            log::warn!("rmdir {}: {error}", self.path.display());
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::system(format!("read {}", path.display()), e))
}

/// The beginning of the names of all cgroups that are made for NAME.
fn stem(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("supervise.{}.", name.chars().take(64).map(plain).collect::<String>())
}

/// The directory of the cgroup that we are in.
fn ours() -> Result<PathBuf, Error> {
    let pid = std::process::id().cast_signed();
    let own = procfs::cgroup(pid).ok_or_else(|| Error::says("no unified cgroup hierarchy"))?;
    let mounts = fs::read("/proc/self/mountinfo")
        .map_err(|error| Error::system("read /proc/self/mountinfo", error))?;
    directory(&mounts, &own)
        .ok_or_else(|| Error::says(format!("our cgroup {} is mounted nowhere", own.display())))
}

/// Where the cgroup `own` is, by the lines of /proc/self/mountinfo; proc_pid_mountinfo(5).
fn directory(mounts: &[u8], own: &Path) -> Option<PathBuf> {
    mounts.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let root = unescaped(fields.nth(3)?);
        let point = unescaped(fields.next()?);
        // Between the options and the type there is any number of fields, and then a dash.
        fields.find(|field| *field == b"-")?;
        if fields.next()? != b"cgroup2" {
            return None;
        }
        // A part of the hierarchy may be mounted alone, and ours need not be in it.
        Some(point.join(own.strip_prefix(root).ok()?))
    })
}

/// A path in which spaces and the like are written as `\040`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(value.unwrap_or(byte));
        rest = value.and_then(|_| after.get(3..)).unwrap_or(after);
    }
    std::ffi::OsString::from_vec(plain).into()
}

/// Locks the directory of a cgroup; `None` if it is locked, or not there any more.
fn try_lock(path: &Path) -> Result<Option<Flock<File>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::system(format!("open {}", path.display()), error)),
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            let (held, there) = (lock.metadata(), fs::metadata(path));
            let same = held.is_ok_and(|held| there.is_ok_and(|there| there.ino() == held.ino()));
            Ok(same.then_some(lock))
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(Error::system(format!("flock {}", path.display()), errno)),
    }
}

/// Removes what dead supervisors of this name have left, unless something is in it.
fn sweep(above: &Path, stem: &str) {
    let Ok(entries) = fs::read_dir(above) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_bytes().strip_prefix(stem.as_bytes()).and_then(<[u8]>::first);
        if !number.is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let path = entry.path();
        // The lock is held while it is removed: nobody has it.
        let Ok(Some(_lock)) = try_lock(&path) else { continue };
        match remove(&path) {
            Ok(()) => log::info!("removed {}, whose supervisor is dead", path.display()),
            Err(error) => {
                log::warn!(
                    "{}: its supervisor is dead, what it ran is not: {error}",
                    path.display()
                );
            }
        }
    }
}

/// This cgroup and all below it, the lowest last.
fn tree(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    let mut next = 0;
    while let Some(path) = all.get(next) {
        let below = fs::read_dir(path).into_iter().flatten().flatten();
        let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let folders: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
        all.extend(folders);
        next += 1;
    }
    all
}

/// Removes a cgroup, and those that supervisors within it have left there. One that is not there
/// any more is no error.
fn remove(path: &Path) -> std::io::Result<()> {
    for path in tree(path).iter().rev() {
        match fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_wherever_it_is_mounted() {
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw shared:3 master:1 - cgroup2 cgroup2 rw\n";
        let found = |mounts: &[u8], own: &str| directory(mounts, Path::new(own));
        assert_eq!(found(hybrid, "/"), Some("/sys/fs/cgroup/uni fied/".into()));
        assert_eq!(found(hybrid, "/a/b"), Some("/sys/fs/cgroup/uni fied/a/b".into()));
        let part = b"9 8 0:1 /a /mnt rw - cgroup2 none rw\n7 8 0:1 /b /cg rw - cgroup2 none rw";
        assert_eq!(found(part, "/b/c"), Some("/cg/c".into()));
        assert_eq!(found(part, "/bc"), None);
        for bad in
            [&b""[..], b"1 2 3", b"\n", b"1 2 3 / /x rw - cgroup2x", b"1 2 3 / /x rw cgroup2"]
        {
            assert_eq!(found(bad, "/"), None);
        }
        assert_eq!(unescaped(br"\1345\09"), Path::new(r"\5\09"));
    }

    #[test]
    fn a_name_may_be_anything() {
        assert_eq!(stem("dhcpd-2"), "supervise.dhcpd-2.");
        assert_eq!(stem("../a.b/\n"), "supervise.___a_b__.");
        assert_eq!(stem(&"x".repeat(300)).len(), 64 + 11);
    }
}
