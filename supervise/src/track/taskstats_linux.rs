//! The taskstats socket: records of all ends on the machine, for an [`Auditor`].
//!
//! It needs CAP_NET_ADMIN and the first pid namespace, and is a witness, not a tracker: of
//! beginnings it knows nothing.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};

use super::auditor::{Auditor, State};
use super::taskstats::{Said, ask_ends, ask_family, ask_thread, decode};
use super::{Event, ProcId, Unavailable};
use crate::{Error, Moment, procfs};

/// Room for some 30,000 ends that nobody has read yet.
const BUFFER: usize = 64 << 20;

/// The kernel answers while the request is being sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a process may be gone before its end has been told. The tracker has heard of it much
/// earlier, unless it never will.
const GONE: Duration = Duration::from_secs(2);

/// How far apart two start times of one process may be: that of a fork that was seen, and that of
/// /proc, in steps of 10 ms.
const SAME: Duration = Duration::from_millis(50);

/// PF_EXITING of linux/sched.h, in the flags of proc_pid_stat(5).
const EXITING: u32 = 4;

/// A subscription to all ends, compared with a tracker's story. Dropping it ends it.
#[derive(Debug)]
pub struct Taskstats {
    socket: OwnedFd,
    family: u16,
    processors: String,
    /// When there was nothing more to be read last.
    emptied: Moment,
    auditor: Auditor,
    room: Vec<u8>,
}

impl Taskstats {
    /// Subscribes; the whole story that is to be audited begins after this.
    ///
    /// # Errors
    ///
    /// It is not available, and why: the right to it, the kernel, or a version of the records that
    /// is not understood.
    pub fn open() -> Result<Taskstats, Error> {
        let before = Moment::now();
        let processors = fs::read_to_string("/sys/devices/system/cpu/possible")
            .map_err(|e| Error::system("read /sys/devices/system/cpu/possible", e))?;
        let mut new = Taskstats {
            socket: open_socket()?,
            family: 0,
            processors: processors.trim().to_owned(),
            emptied: before,
            auditor: Auditor::new(before, GONE),
            room: vec![0; 65536],
        };
        let said = new.ask(&ask_family(1))?;
        let family = said.iter().find_map(|said| match said {
            Said::Family(family) => Some(*family),
            _ => None,
        });
        new.family = family.ok_or_else(|| unavailable("the kernel names no family"))?;
        new.check_version()?;
        new.ask(&ask_ends(new.family, 3, &new.processors, true))?;
        new.auditor = Auditor::new(Moment::now(), GONE);
        Ok(new)
    }

    /// Whether the kernel's record of ourselves, as it is read here, is of ourselves.
    fn check_version(&mut self) -> Result<(), Error> {
        let us = std::process::id().cast_signed();
        let parent = nix::unistd::getppid().as_raw();
        for said in self.ask(&ask_thread(self.family, 2, us))? {
            match said {
                Said::Version(version) => {
                    return Err(unavailable(format!("records of version {version}")));
                }
                Said::Record(it) if it.tid == us && it.pid == us && it.parent == parent => {
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(unavailable("records of another shape, or our pid namespace is not the first one"))
    }

    /// To be called right after each `Tracker::read`, with the events that it has brought, from the
    /// very first on. Appends an [`Event::Gap`] for each contradiction.
    ///
    /// # Errors
    ///
    /// The socket has failed. That records were lost is no error; they are not missed then.
    pub fn audit(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        let told = Moment::now();
        for event in events.iter() {
            self.auditor.story(event, told);
        }
        let reading = Moment::now();
        let mut said = Vec::new();
        let lost = self.read(&mut said)?;
        let now = Moment::now();
        for said in said {
            match said {
                Said::Record(record) => self.auditor.record(record, self.emptied, now),
                // A record that cannot be read is as good as lost.
                Said::Garbled | Said::Version(_) => self.auditor.lost(now),
                Said::Family(_) | Said::Answer(_) => {}
            }
        }
        if lost {
            log::warn!("taskstats: the kernel has dropped records");
            self.auditor.lost(now);
        }
        self.emptied = reading;
        self.auditor.settle(reading, now, &mut state, events);
        Ok(())
    }

    /// How many ends both witnesses have told of alike.
    pub fn agreed(&self) -> u64 {
        self.auditor.agreed()
    }

    /// Whether something is waited for: [`Taskstats::audit`] is to be called again before long,
    /// even if nothing happens.
    pub fn waits(&self) -> bool {
        self.auditor.waits()
    }

    /// Reads all that is there. Whether some was lost.
    fn read(&mut self, said: &mut Vec<Said>) -> Result<bool, Error> {
        let mut lost = false;
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.room, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    decode(self.room.get(..length).unwrap_or_default(), self.family, said);
                }
                Err(Errno::EAGAIN) => return Ok(lost),
                Err(Errno::ENOBUFS) => lost = true,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("taskstats: recv", errno)),
            }
        }
    }

    /// Sends a request and waits for the answer. What else is said meanwhile is before our time.
    fn ask(&mut self, request: &[u8]) -> Result<Vec<Said>, Error> {
        send(self.socket.as_raw_fd(), request, MsgFlags::empty())
            .map_err(|errno| unavailable(format!("send: {errno}")))?;
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            self.read(&mut said)?;
            let answer = said.iter().find_map(|said| match said {
                Said::Answer(errno) => Some(*errno),
                _ => None,
            });
            match answer {
                Some(0) => return Ok(said),
                Some(errno) => return Err(unavailable(Errno::from_raw(errno).desc())),
                None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) => return Err(unavailable("the kernel does not answer")),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("poll", errno)),
            }
        }
    }
}

impl AsFd for Taskstats {
    /// Readable when somebody has ended, on the whole machine: it is better to ask when the
    /// tracker has something than to be woken for it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Taskstats {
    fn drop(&mut self) {
        let request = ask_ends(self.family, 4, &self.processors, false);
        // If it fails the kernel finds out by itself, at the next end.
        let _ = send(self.socket.as_raw_fd(), &request, MsgFlags::empty());
    }
}

fn unavailable(why: impl Into<String>) -> Error {
    Unavailable { backend: "taskstats", why: why.into() }.into()
}

fn open_socket() -> Result<OwnedFd, Error> {
    let failed = |call: &str, errno: Errno| unavailable(format!("{call}: {errno}"));
    let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let socket = socket(AddressFamily::Netlink, kind, flags, SockProtocol::NetlinkGeneric)
        .map_err(|errno| failed("socket", errno))?;
    // Without the right to more there is as much as everybody gets.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
    }
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(|errno| failed("bind", errno))?;
    Ok(socket)
}

/// What there is of a process.
fn state(id: ProcId) -> State {
    let Some(stat) = procfs::stat(id.pid) else { return State::Gone };
    let apart = (stat.start - id.start).max(id.start - stat.start);
    if apart > SAME {
        return State::Gone;
    }
    let threads = procfs::numbers(&format!("{}/task", id.pid));
    match (stat.ended(), threads.len()) {
        (true, ..=1) => State::Gone,
        // The others still run, or are ending.
        (true, _) => State::Ending,
        _ if is_exiting(id.pid) => State::Ending,
        _ => State::Runs,
    }
}

/// Whether the process has entered exit and is still being taken down.
fn is_exiting(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, in which there may be anything: the seventh is the flags.
    let name = line.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    let rest = String::from_utf8_lossy(line.get(name + 1..).unwrap_or_default()).into_owned();
    let flags = rest.split_ascii_whitespace().nth(6).and_then(|word| word.parse::<u32>().ok());
    flags.is_none_or(|flags| flags & EXITING != 0)
}
