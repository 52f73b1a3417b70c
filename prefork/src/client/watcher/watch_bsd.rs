//! What happens to a socket's name, by kqueue(2). A socket cannot be opened as a file, so it is the
//! directory that is watched: names come and go by writing to it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::Error;

/// Readable when something has happened.
pub(super) struct Watch {
    queue: Kqueue,
    /// Watched as long as it is open.
    _directory: File,
}

impl Watch {
    pub(super) fn new(path: &Path) -> Result<Watch, Error> {
        let failed = |e: std::io::Error| Error::system(format!("watch {}", path.display()), e);
        let queue = Kqueue::new().map_err(|e| failed(e.into()))?;
        let directory = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        let change = KEvent::new(
            directory.as_raw_fd() as usize,
            EventFilter::EVFILT_VNODE,
            EvFlags::EV_ADD | EvFlags::EV_CLEAR,
            FilterFlag::NOTE_WRITE | FilterFlag::NOTE_DELETE | FilterFlag::NOTE_RENAME,
            0,
            0,
        );
        queue.kevent(&[change], &mut [], None).map_err(|e| failed(e.into()))?;
        Ok(Watch { queue, _directory: directory })
    }

    /// Takes away what is in the queue.
    pub(super) fn take(&self) -> Result<(), Error> {
        let nothing =
            KEvent::new(0, EventFilter::EVFILT_VNODE, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        let mut events = [nothing];
        match self.queue.kevent(&[], &mut events, Some(libc::timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(Error::system("watcher: read what happened", e)),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
