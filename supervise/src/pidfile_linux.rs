//! A process held by its pidfd, on Linux, and what /proc says of it meanwhile.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::time::ClockId;

use super::rules::{Clock, Image, Process};
use crate::moment::read;
use crate::procfs;

/// What the kernel writes behind the name of an executable that is not there any more.
const DELETED: &str = " (deleted)";

/// A process, and never another one.
#[derive(Debug)]
pub(crate) struct Hold {
    pidfd: OwnedFd,
    pid: i32,
}

impl Hold {
    /// Takes hold of the process of this number. That of a thread is refused: kill(2) would have
    /// taken it.
    pub(crate) fn open(pid: i32) -> Result<Hold, String> {
        // SAFETY: a system call on two plain numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd >= 0 {
            // SAFETY: the kernel has just made this descriptor (close-on-exec) and only we know it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
            return Ok(Hold { pidfd, pid });
        }
        let errno = Errno::last();
        Err(match (errno, procfs::process_of(pid)) {
            (_, Some(process)) if process != pid => {
                let name = procfs::stat(process).map(|stat| stat.name).unwrap_or_default();
                format!("{pid} is a thread of process {process} ({name}), not a process")
            }
            (Errno::ESRCH, _) => format!("there is no process {pid}: it has ended"),
            // As kernels call a thread's number, which may have gone since.
            (Errno::EINVAL | Errno::ENOENT, _) => format!("{pid} is not a process, but a thread"),
            (errno, _) => format!("pidfd_open {pid}: {errno}"),
        })
    }

    /// What it is. All of it is about the process held: that one was there before the first
    /// question, and was still there after the last one.
    pub(crate) fn look(&self) -> Result<Process, String> {
        let pid = self.pid;
        // In a pid namespace without a /proc of its own the numbers there are other processes'.
        let own = std::fs::read_link("/proc/self").ok();
        if own.and_then(|own| own.to_str()?.parse().ok()) != Some(std::process::id()) {
            return Err(format!("nothing is known of process {pid}: /proc is not our namespace's"));
        }
        let stat = procfs::stat(pid);
        let users = procfs::users(pid);
        let leader = procfs::process_of(pid);
        let exe = image(pid);
        match self.send(0) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                return Err(format!("process {pid} has just ended"));
            }
            _ => {}
        }
        let (Some(stat), Some((user, _)), Some(leader)) = (stat, users, leader) else {
            return Err(format!("/proc says nothing of process {pid}"));
        };
        if stat.ended() {
            return Err(format!("process {pid} ({}) has ended, and waits to be reaped", stat.name));
        }
        if leader != pid {
            return Err(format!("{pid} is a thread of process {leader} ({})", stat.name));
        }
        let Some(exe) = exe else {
            return Err(format!("process {pid} ({}) is the kernel's, or ending", stat.name));
        };
        let began = clock().boot.saturating_add(nanoseconds(stat.since_boot));
        Ok(Process { pid, name: stat.name, began, user, exe })
    }

    /// Sends a signal; 0 only asks.
    pub(crate) fn send(&self, signal: c_int) -> io::Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a system call on plain numbers and a null pointer, which stands for "as kill(2)".
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, none, 0)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for its end, and says whether it has ended.
    pub(crate) fn ends_within(&self, patience: Duration) -> io::Result<bool> {
        let since = Instant::now();
        loop {
            let left = patience.saturating_sub(since.elapsed());
            let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(0) if since.elapsed() >= patience => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// What it executes; `None` of one that executes nothing.
fn image(pid: i32) -> Option<Image> {
    let path = match procfs::executable(pid) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Some(Image::Hidden);
        }
        Err(_) => return None,
    };
    let Some(name) = path.to_str().and_then(|path| path.strip_suffix(DELETED)) else {
        return Some(Image::Path(path));
    };
    // Unless that is its real name.
    let inode =
        |path: &std::path::Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let there = inode(&path);
    if there.is_some() && there == inode(&PathBuf::from(format!("/proc/{pid}/exe"))) {
        return Some(Image::Path(path));
    }
    Some(Image::Replaced(name.into()))
}

/// The time of day, and that of the boot.
pub(crate) fn clock() -> Clock {
    let now = nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    Clock { now, boot: now.saturating_sub(read(ClockId::CLOCK_BOOTTIME)) }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
