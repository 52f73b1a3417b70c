//! The container on Linux: we are a subreaper, and have a cgroup if we may.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Left;
use super::cgroup::Cgroup;
use super::descend::{self, Alive};
use crate::{Error, procfs};

/// How long is waited for those that were killed before it is looked for new ones.
const ROUND: Duration = Duration::from_millis(20);

/// How long those in the cgroup may take to end before each is gone after singly. Two SIGKILLs
/// would do no harm, but look odd in the report of who killed whom.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What holds our descendants, all of them: it is for a process whose every child is to be held.
///
/// The cgroup is removed when this is dropped, unless something is still in it.
#[derive(Debug)]
pub struct Container {
    cgroup: Option<Cgroup>,
    description: String,
}

impl Container {
    /// Makes us the subreaper, and a cgroup named after `name` if we may have one. What could not
    /// be had is in [`Container::describe`].
    pub fn new(name: &str) -> Container {
        Container::with(Cgroup::make(name))
    }

    /// The same without a cgroup, for those who want none of it.
    pub fn subreaper() -> Container {
        Container::with(Err(Error::says("not asked for")))
    }

    fn with(cgroup: Result<Cgroup, Error>) -> Container {
        // SAFETY: numbers only.
        let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        let subreaper = match result {
            0 => "subreaper".to_owned(),
            _ => Error::last("no subreaper: prctl").to_string(),
        };
        let (cgroup, description) = match cgroup {
            Ok(cgroup) => {
                let description = format!("cgroup {}; {subreaper}", cgroup.path().display());
                (Some(cgroup), description)
            }
            Err(error) => (None, format!("{subreaper}; no cgroup: {error}")),
        };
        Container { cgroup, description }
    }

    /// Which containment this is, for a line in the log.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Whether there is a cgroup.
    pub fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    /// Puts a child into it that has been forked but not yet let go: what it makes is in it too.
    pub fn place(&self, pid: i32) -> Result<(), Error> {
        self.cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.place(pid))
    }

    /// Has POLLPRI (not POLLIN) when [`Container::is_empty`] is to be asked again; `None` without
    /// a cgroup: then it is after every end of a child.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().map(Cgroup::events)
    }

    /// Whether nothing is left but zombies, which are the caller's to reap.
    pub fn is_empty(&self) -> Result<bool, Error> {
        if let Some(cgroup) = &self.cgroup
            && cgroup.populated()?
        {
            return Ok(false);
        }
        // Without a cgroup, or when somebody has left it.
        Ok(descend::childless() || descend::list().is_empty())
    }

    /// Kills all that is left, with SIGKILL, and waits until it is gone or the deadline has come.
    /// What it then reports as left may have been killed, and be stuck in the kernel.
    ///
    /// `reap` is called again and again: it is to reap what has ended and must not block. Without
    /// a cgroup it is what makes this sure, because only a process without any children knows that
    /// it has no descendants; and a tree that forks fast would fill the machine with zombies.
    pub fn kill_all(&self, deadline: Instant, reap: &mut dyn FnMut()) -> Result<Left, Error> {
        if let Some(cgroup) = &self.cgroup
            && cgroup.populated()?
            && cgroup.kill()?
        {
            let patience = deadline.min(Instant::now() + AT_ONCE);
            while cgroup.populated()? && Instant::now() < patience {
                reap();
                wait(patience, &[], Some(cgroup))?;
            }
        }
        // Between two looks something may have hidden behind its parent's end: if zombies are not
        // reaped, so that it is not known for sure, one look more has to do.
        let mut looks = 0;
        loop {
            reap();
            let alive = if descend::childless() { Vec::new() } else { descend::kill() };
            let inside = self.cgroup.as_ref().map_or(Ok(false), Cgroup::populated)?;
            looks = if alive.is_empty() && !inside { looks + 1 } else { 0 };
            if looks > 0 && (looks > 1 || descend::childless()) {
                return Ok(Left::default());
            }
            if Instant::now() >= deadline {
                return Ok(self.left());
            }
            if let Some(cgroup) = self.cgroup.as_ref().filter(|_| inside) {
                cgroup.kill()?;
            }
            if looks == 0 {
                wait(deadline.min(Instant::now() + ROUND), &alive, self.cgroup.as_ref())?;
            }
        }
    }

    /// Who is in it now: numbers and names.
    pub fn members(&self) -> Vec<(i32, String)> {
        self.left().processes
    }

    fn left(&self) -> Left {
        let mut processes = descend::list();
        for pid in self.cgroup.iter().flat_map(Cgroup::processes) {
            if let Some(stat) = procfs::stat(pid)
                && !processes.iter().any(|(known, _)| *known == pid)
            {
                processes.push((pid, stat.name));
            }
        }
        processes.sort();
        // The last of them may just have gone: only the cgroup itself can tell then.
        let populated =
            self.cgroup.as_ref().is_some_and(|cgroup| cgroup.populated().unwrap_or(true));
        let unnamed = processes.is_empty() && populated;
        Left { processes, unnamed }
    }
}

/// Waits until one of these has ended or the cgroup has changed, or that moment has come.
fn wait(until: Instant, alive: &[Alive], cgroup: Option<&Cgroup>) -> Result<(), Error> {
    let mut fds: Vec<PollFd<'_>> =
        alive.iter().map(|alive| PollFd::new(alive.handle.as_fd(), PollFlags::POLLIN)).collect();
    fds.extend(cgroup.map(|cgroup| PollFd::new(cgroup.events(), PollFlags::POLLPRI)));
    let left = until.saturating_duration_since(Instant::now());
    // Rounded up, or the last fraction of a millisecond would be spent spinning.
    let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
    match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::system("poll", errno)),
    }
}
