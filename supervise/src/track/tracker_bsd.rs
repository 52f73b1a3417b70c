//! The tracker of the BSDs: a kqueue with `NOTE_TRACK`, read for [`Decoder`], which does the
//! thinking.
//!
//! This has never run: it is compiled and linted for FreeBSD, OpenBSD and NetBSD (tools/check-bsd),
//! and written after their manuals. What it knows of a kevent is tested, on Linux, with the
//! decoder.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::kevent::{
    Act, Decoder, NOTE_CHILD, NOTE_EXEC, NOTE_EXIT, NOTE_FORK, NOTE_TRACK, NOTE_TRACKERR, Note,
    Orphans,
};
use super::{Backend, Caps, Event, Limits, Loss, ProcId, Unavailable, list};
use crate::{Error, Moment};

/// The decoder's numbers are the systems', as tools/bsd/abi.c has them from the headers too.
const _: () = {
    assert!(NOTE_EXIT == libc::NOTE_EXIT && NOTE_FORK == libc::NOTE_FORK);
    assert!(NOTE_EXEC == libc::NOTE_EXEC && NOTE_TRACK == libc::NOTE_TRACK);
    assert!(NOTE_TRACKERR == libc::NOTE_TRACKERR && NOTE_CHILD == libc::NOTE_CHILD);
};

/// How often processes are listed in one go before the rest is left for the next one: a tree that
/// forks all the time always has some more.
const LISTS: usize = 8;

const ORPHANS: Orphans =
    if cfg!(target_os = "freebsd") { Orphans::ToReaper } else { Orphans::ToInit };

/// Follows processes and all that they make. Closing it ends no process.
#[derive(Debug)]
pub struct Tracker {
    kqueue: Kqueue,
    decoder: Decoder,
    room: Vec<KEvent>,
}

impl Tracker {
    /// Begins to listen. Nothing is followed yet.
    ///
    /// # Errors
    ///
    /// The back end is not available, and why.
    pub fn open(backend: Backend) -> Result<Tracker, Error> {
        let name = match backend {
            Backend::Auto => None,
            Backend::Connector => Some("connector"),
            Backend::Ptrace => Some("ptrace"),
        };
        if let Some(backend) = name {
            let why = "this system has kqueue, which is auto".to_owned();
            return Err(Unavailable { backend, why }.into());
        }
        let kqueue = Kqueue::new().map_err(|errno| Error::system("kqueue", errno))?;
        let none =
            KEvent::new(0, EventFilter::EVFILT_PROC, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        Ok(Tracker { kqueue, decoder: Decoder::new(ORPHANS), room: vec![none; 256] })
    }

    /// The same: how much is kept is the kernel's affair here.
    ///
    /// # Errors
    ///
    /// As for [`Tracker::open`].
    pub fn with_limits(backend: Backend, _limits: &Limits) -> Result<Tracker, Error> {
        Tracker::open(backend)
    }

    /// What the back end can promise.
    pub fn caps(&self) -> Caps {
        Caps {
            name: "kqueue",
            // FreeBSD from 11 on has a kevent for each; elsewhere a beginning and an end merge.
            parents: cfg!(target_os = "freebsd"),
            statuses: true,
            loss: Loss::Noticed,
            system_wide: false,
        }
    }

    /// Follows a process of ours that has just been forked and is held: it, and all it will make.
    /// Its own [`Event::Fork`] comes with the next [`Tracker::read`].
    ///
    /// # Errors
    ///
    /// There is no such process, or it may not be followed.
    pub fn watch(&mut self, pid: i32) -> Result<ProcId, Error> {
        let mut decoder = self.decoder.clone();
        let (id, act) = decoder.watch(pid, Moment::now());
        self.register(act)?;
        self.decoder = decoder;
        Ok(id)
    }

    /// Follows a process that runs already. It and its descendants are found (forks with `found`)
    /// with the next [`Tracker::read`].
    ///
    /// # Errors
    ///
    /// There is no such process, or it may not be followed.
    pub fn attach(&mut self, pid: i32) -> Result<ProcId, Error> {
        let mut decoder = self.decoder.clone();
        let (id, act) = decoder.attach(pid, Moment::now());
        self.register(act)?;
        self.decoder = decoder;
        Ok(id)
    }

    /// Appends what has happened since the last time. It never blocks.
    ///
    /// # Errors
    ///
    /// The back end has failed for good. A loss is no error but an [`Event::Gap`].
    pub fn read(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        let mut again = self.hear(events)?;
        for _ in 0..LISTS {
            if !again {
                break;
            }
            let taken = Moment::now();
            let list = list::all()?;
            self.hear(events)?;
            let acts = self.decoder.settle(&list, taken, Moment::now(), events);
            again = self.perform(&acts);
        }
        Ok(())
    }

    /// The live member with this number, as of the last [`Tracker::read`]. Threads have no numbers
    /// of their own that kill(2) would take.
    pub fn member(&self, pid: i32) -> Option<ProcId> {
        self.decoder.member(pid)
    }

    /// All live members, in no order.
    pub fn members(&self) -> impl Iterator<Item = ProcId> {
        self.decoder.members()
    }

    /// Stops listening. Dropping it does so too.
    pub fn close(self) {}

    /// What a back end has heard besides that waits for children itself: there is none here.
    pub fn heard(&mut self) -> Option<super::Heard> {
        None
    }

    /// One look at all of the queue. Whether processes are to be listed.
    fn hear(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        let mut notes = Vec::new();
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let got = match self.kqueue.kevent(&[], &mut self.room, Some(at_once)) {
                Ok(got) => got,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::system("kevent", errno)),
            };
            notes.extend(self.room.iter().take(got).map(note));
            // Less than there was room for: that was all.
            if got < self.room.len() {
                break;
            }
        }
        let acts = self.decoder.hear(&notes, Moment::now(), events);
        Ok(self.perform(&acts))
    }

    /// Registers; whether processes are to be listed.
    fn perform(&self, acts: &[Act]) -> bool {
        for act in acts {
            if let Err(error) = self.register(*act) {
                // Its end is in the queue then, or it has gained rights that we have not. It is
                // followed no less than before.
                log::debug!("{error}");
            }
        }
        acts.contains(&Act::Rescan)
    }

    fn register(&self, act: Act) -> Result<(), Error> {
        let Act::Register { pid, udata } = act else { return Ok(()) };
        let change = KEvent::new(
            pid.unsigned_abs() as usize,
            EventFilter::EVFILT_PROC,
            EvFlags::EV_ADD,
            FilterFlag::NOTE_EXIT
                | FilterFlag::NOTE_FORK
                | FilterFlag::NOTE_EXEC
                | FilterFlag::NOTE_TRACK,
            0,
            isize::try_from(udata).unwrap_or(0),
        );
        self.kqueue
            .kevent(&[change], &mut [], None)
            .map(|_| ())
            .map_err(|errno| Error::system(format!("kevent for process {pid}"), errno))
    }
}

impl AsFd for Tracker {
    /// Readable when [`Tracker::read`] has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

/// A kevent in the decoder's terms; with a look at the zombie where the parent's number was lost.
fn note(event: &KEvent) -> Note {
    let pid = i32::try_from(event.ident()).unwrap_or(0);
    let fflags = event.fflags().bits();
    let merged = fflags & NOTE_CHILD != 0 && fflags & NOTE_EXIT != 0;
    let looked = if merged { list::one(pid) } else { None };
    let udata = u64::try_from(event.udata()).unwrap_or(0);
    Note { pid, fflags, data: event.data() as i64, udata, looked }
}
