//! The container on the BSDs. FreeBSD has procctl(2): we are the reaper of all our descendants, and
//! the kernel kills them for us. OpenBSD and NetBSD have nothing that holds a tree together.
//!
//! None of this has ever run: it is compiled and linted only.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::Left;
use crate::Error;

/// What holds our descendants, as far as the system can.
#[derive(Debug)]
pub struct Container {
    reaper: bool,
    description: String,
}

impl Container {
    /// Makes us the reaper where there is such a thing; [`Container::describe`] says whether.
    pub fn new(_name: &str) -> Container {
        Container::subreaper()
    }

    /// The same: there are no cgroups here.
    pub fn subreaper() -> Container {
        match reaper::acquire() {
            Ok(()) => Container { reaper: true, description: "reaper".to_owned() },
            Err(error) => Container { reaper: false, description: format!("none: {error}") },
        }
    }

    /// Which containment this is, for a line in the log.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Whether there is a cgroup: never.
    pub fn has_cgroup(&self) -> bool {
        false
    }

    /// Children are held by birth.
    pub fn place(&self, _pid: i32) -> Result<(), Error> {
        Ok(())
    }

    /// There is none: [`Container::is_empty`] is to be asked after every end of a child.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether we have no descendants, zombies that are not reaped yet included; or, where they
    /// cannot be known, that this is so.
    pub fn is_empty(&self) -> Result<bool, Error> {
        if self.reaper { Ok(reaper::descendants()? == 0) } else { Err(self.cannot("look")) }
    }

    /// Who is in it is not looked up here.
    pub fn members(&self) -> Vec<(i32, String)> {
        Vec::new()
    }

    /// Kills all that is left, with SIGKILL, and waits until it is gone or the deadline has come.
    /// `reap` is called again and again: it is to reap what has ended and must not block.
    pub fn kill_all(&self, deadline: Instant, reap: &mut dyn FnMut()) -> Result<Left, Error> {
        if !self.reaper {
            return Err(self.cannot("kill"));
        }
        loop {
            reap();
            if reaper::descendants()? == 0 {
                return Ok(Left::default());
            }
            if Instant::now() >= deadline {
                return Ok(Left { processes: Vec::new(), unnamed: true });
            }
            reaper::kill()?;
            // An end cannot be waited for without reaping it. It is not far.
            std::thread::yield_now();
        }
    }

    fn cannot(&self, tried: &str) -> Error {
        Error::says(format!("{tried} after our descendants: containment is {}", self.description))
    }
}

#[cfg(target_os = "freebsd")]
mod reaper {
    use std::ffi::c_int;

    use nix::errno::Errno;

    use crate::Error;

    /// `struct procctl_reaper_status` of sys/procctl.h, which the libc crate does not have.
    #[repr(C)]
    #[derive(Default)]
    struct Status {
        flags: u32,
        children: u32,
        descendants: u32,
        reaper: i32,
        pid: i32,
        pad: [u32; 15],
    }

    /// `struct procctl_reaper_kill` of sys/procctl.h.
    #[repr(C)]
    #[derive(Default)]
    struct Kill {
        signal: c_int,
        flags: u32,
        subtree: i32,
        killed: u32,
        failed: i32,
        pad: [u32; 15],
    }

    // As tools/bsd/abi.c has them from the system's header.
    const _: () = assert!(size_of::<Status>() == 80 && size_of::<Kill>() == 80);

    pub(super) fn acquire() -> Result<(), Error> {
        control::<u8>(libc::PROC_REAP_ACQUIRE, "acquire reaping", None)
    }

    /// How many there are, zombies too.
    pub(super) fn descendants() -> Result<u32, Error> {
        let mut status = Status::default();
        control(libc::PROC_REAP_STATUS, "ask for descendants", Some(&mut status))?;
        Ok(status.descendants)
    }

    pub(super) fn kill() -> Result<(), Error> {
        let mut kill = Kill { signal: libc::SIGKILL, subtree: -1, ..Kill::default() };
        match control(libc::PROC_REAP_KILL, "kill descendants", Some(&mut kill)) {
            // Nothing but zombies.
            Err(_) if Errno::last() == Errno::ESRCH => Ok(()),
            result => result,
        }
    }

    fn control<T>(command: c_int, tried: &str, about: Option<&mut T>) -> Result<(), Error> {
        let us = libc::id_t::from(std::process::id());
        let about = about.map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: numbers, and either null or the structure that goes with this command, to be
        // read and filled.
        match unsafe { libc::procctl(libc::P_PID, us, command, about.cast()) } {
            0 => Ok(()),
            _ => Err(Error::last(format!("procctl: {tried}"))),
        }
    }
}

#[cfg(not(target_os = "freebsd"))]
mod reaper {
    use crate::Error;

    pub(super) fn acquire() -> Result<(), Error> {
        Err(Error::says("this system cannot hold a tree of processes together"))
    }

    pub(super) fn descendants() -> Result<u32, Error> {
        acquire().map(|()| 0)
    }

    pub(super) fn kill() -> Result<(), Error> {
        acquire()
    }
}
