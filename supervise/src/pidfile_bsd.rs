//! A process watched by a kqueue, on the BSDs, and what sysctl(3) says of it meanwhile.
//!
//! There is no pidfd here. A kqueue that has waited for the process's end since before the first
//! question says at the last moment whether it has come; between that and kill(2) a process could
//! still end and its number be used again. The numbers of threads are no trap: kill(2) does not
//! take them.

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::rules::{Clock, Image, Process};
use crate::sender::Exe;
use crate::sender_source;

#[cfg(target_os = "freebsd")]
use libc::kinfo_proc as Info;
#[cfg(target_os = "openbsd")]
use libc::kinfo_proc as Info;
#[cfg(target_os = "netbsd")]
use libc::kinfo_proc2 as Info;

/// What the systems call a process that has ended.
const ZOMBIE: i32 = 5;

/// A process, and never another one but for the last moment.
#[derive(Debug)]
pub(crate) struct Hold {
    kqueue: Kqueue,
    pid: i32,
}

impl Hold {
    /// Takes hold of the process of this number.
    pub(crate) fn open(pid: i32) -> Result<Hold, String> {
        let change = KEvent::new(
            pid.unsigned_abs() as usize,
            EventFilter::EVFILT_PROC,
            EvFlags::EV_ADD,
            FilterFlag::NOTE_EXIT,
            0,
            0,
        );
        let kqueue = Kqueue::new().map_err(|errno| format!("kqueue: {errno}"))?;
        match kqueue.kevent(&[change], &mut [], None) {
            Ok(_) => Ok(Hold { kqueue, pid }),
            Err(Errno::ESRCH) => Err(format!("there is no process {pid}: it has ended")),
            Err(errno) => Err(format!("kevent for process {pid}: {errno}")),
        }
    }

    /// What it is. All of it is about the process held.
    pub(crate) fn look(&self) -> Result<Process, String> {
        let pid = self.pid;
        let info = info(pid).map_err(|errno| format!("sysctl for process {pid}: {errno}"))?;
        let exe = match sender_source::identify(pid).exe {
            Exe::Path(path) if !path.exists() => Image::Replaced(path),
            Exe::Path(path) => Image::Path(path),
            _ => Image::Hidden,
        };
        match self.ends_within(Duration::ZERO) {
            Ok(false) => {}
            Ok(true) => return Err(format!("process {pid} has just ended")),
            Err(error) => return Err(format!("kevent for process {pid}: {error}")),
        }
        let told = told(&info);
        if told.pid != pid {
            return Err(format!("{pid} is a thread of process {}", told.pid));
        }
        if told.state == ZOMBIE {
            return Err(format!("process {pid} ({}) has ended, and waits to be reaped", told.name));
        }
        Ok(Process { pid, name: told.name, began: told.began, user: told.user, exe })
    }

    /// Sends a signal; 0 only asks.
    pub(crate) fn send(&self, signal: c_int) -> io::Result<()> {
        if self.ends_within(Duration::ZERO)? {
            return Err(Errno::ESRCH.into());
        }
        // SAFETY: two numbers.
        let result = unsafe { libc::kill(self.pid, signal) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for its end, and says whether it has ended. The event is never taken out.
    pub(crate) fn ends_within(&self, patience: Duration) -> io::Result<bool> {
        let since = Instant::now();
        loop {
            let left = patience.saturating_sub(since.elapsed());
            let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.kqueue.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(0) if since.elapsed() >= patience => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// What we take from the kernel's record.
struct Told {
    pid: i32,
    state: i32,
    user: u32,
    began: u64,
    name: String,
}

#[cfg(target_os = "freebsd")]
fn told(info: &Info) -> Told {
    Told {
        pid: info.ki_pid,
        state: i32::from(info.ki_stat),
        user: info.ki_ruid,
        began: nanoseconds(info.ki_start.tv_sec, info.ki_start.tv_usec),
        name: text(&info.ki_comm),
    }
}

#[cfg(not(target_os = "freebsd"))]
fn told(info: &Info) -> Told {
    #[cfg(target_os = "netbsd")]
    let began = nanoseconds(i64::from(info.p_ustart_sec), info.p_ustart_usec);
    #[cfg(target_os = "openbsd")]
    let began = nanoseconds(info.p_ustart_sec.cast_signed(), info.p_ustart_usec);
    Told {
        pid: info.p_pid,
        state: i32::from(info.p_stat),
        user: info.p_ruid,
        began,
        name: text(&info.p_comm),
    }
}

/// A field that holds a name and at least one zero behind it.
fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|&byte| byte as u8).collect();
    let name = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn nanoseconds(seconds: i64, micros: impl Into<i64>) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let micros = u64::try_from(micros.into()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1000))
}

/// The kernel's record of a process.
fn info(pid: i32) -> Result<Box<Info>, Errno> {
    let length = size_of::<Info>();
    #[cfg(target_os = "freebsd")]
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid];
    #[cfg(target_os = "openbsd")]
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid, length as c_int, 1];
    #[cfg(target_os = "netbsd")]
    let name = [libc::CTL_KERN, libc::KERN_PROC2, libc::KERN_PROC_PID, pid, length as c_int, 1];
    // SAFETY: the record is numbers, names and pointers that we never follow; zero is one of each.
    let mut info: Box<Info> = Box::new(unsafe { std::mem::zeroed() });
    ask(&name, (&raw mut *info).cast(), length)?;
    Ok(info)
}

/// Asks a sysctl for exactly this many bytes; fewer mean that there is no such process.
fn ask(name: &[c_int], to: *mut u8, length: usize) -> Result<(), Errno> {
    let mut filled = length;
    // SAFETY: the callers pass a live object of `length` bytes; nothing is to be set.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as _,
            to.cast(),
            &mut filled,
            std::ptr::null_mut(),
            0,
        )
    };
    match result {
        0 if filled == length => Ok(()),
        0 => Err(Errno::ESRCH),
        _ => Err(Errno::last()),
    }
}

/// The time of day, and that of the boot.
pub(crate) fn clock() -> Clock {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let mut boot = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let name = [libc::CTL_KERN, libc::KERN_BOOTTIME];
    // A boot that is not known is put at the end of time: no file is new enough then.
    let told = ask(&name, (&raw mut boot).cast(), size_of::<libc::timeval>());
    let boot = told.map_or(u64::MAX, |()| nanoseconds(boot.tv_sec, boot.tv_usec));
    Clock { now, boot }
}
