//! What happens to a socket's name, by inotify(7).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::Error;

/// Readable when something has happened.
pub(super) struct Watch {
    queue: OwnedFd,
}

impl Watch {
    /// A name that is removed changes the number of the file's links, which is an attribute.
    pub(super) fn new(path: &Path) -> Result<Watch, Error> {
        let failed = |e: Errno| Error::system(format!("watch {}", path.display()), e);
        let queue =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let what =
            AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        queue.add_watch(path, what).map_err(failed)?;
        Ok(Watch { queue: queue.into() })
    }

    /// Takes away what is in the queue.
    pub(super) fn take(&self) -> Result<(), Error> {
        let mut events = [0; 4096];
        loop {
            match nix::unistd::read(&self.queue, &mut events) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(e) => return Err(Error::system("watcher: read what happened", e)),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
