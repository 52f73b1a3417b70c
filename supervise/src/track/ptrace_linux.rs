//! The calls of ptrace(2) and what is read in /proc while somebody is stopped. What it all means
//! is `ptrace.rs`'s.
//!
//! Whoever is traced may be killed at any moment, stopped or not: that a call finds nobody (ESRCH)
//! is no error, since the end is always told too.

use std::ffi::{c_int, c_uint, c_ulong};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::ProcId;
use super::ptrace::{Action, Kind, Lineage, Tracees, Wait, can_end, decode, judge};
use super::waiter::{Changed, Heard};
use crate::attribution::{Confidence, Seen, Target, Via, Witness};
use crate::reaper::Change;
use crate::sender_source::identify;
use crate::{Error, Exe, Moment, Sender, procfs};

/// How much is heard at once, at most: whoever calls us has other things to do.
const BATCH: usize = 1024;

/// What is wanted of the kernel: that all that is made is traced too, that an execve is told, and
/// that nobody survives us.
const OPTIONS: c_int = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

/// A tracer: the thread that made it.
#[derive(Debug)]
pub(crate) struct Ptrace {
    tracees: Tracees,
    /// Readable when there may be something to do without a SIGCHLD having come.
    timer: TimerFd,
    set: bool,
    us: i32,
    /// ptrace(2) knows a tracer by its thread.
    thread: PhantomData<*const ()>,
}

impl Ptrace {
    pub(crate) fn new() -> Result<Ptrace, Error> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)
            .map_err(|errno| Error::system("timerfd_create", errno))?;
        let us = nix::unistd::gettid().as_raw();
        let tracees = Tracees::default();
        Ok(Ptrace { tracees, timer, set: false, us, thread: PhantomData })
    }

    pub(crate) fn tracees(&self) -> &Tracees {
        &self.tracees
    }

    pub(crate) fn wakes(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    pub(crate) fn seize(&mut self, pid: i32) -> Result<ProcId, Error> {
        let own = std::process::id().cast_signed();
        let us = ProcId { pid: own, start: procfs::stat(own).map_or(Moment(0), |us| us.start) };
        if procfs::stat(pid).is_none_or(|stat| stat.parent != own) {
            return Err(Error::says(format!("trace process {pid}: it is not a child of ours")));
        }
        request(libc::PTRACE_SEIZE, pid, OPTIONS as usize).map_err(|errno| match errno {
            Errno::EPERM => Error::says(format!("trace process {pid}: {}", why_not(pid))),
            errno => Error::system(format!("trace process {pid}"), errno),
        })?;
        Ok(self.tracees.add_root(pid, us, Moment::now()))
    }

    pub(crate) fn read(&mut self, heard: &mut Heard) -> Result<(), Error> {
        let mut more = true;
        for _ in 0..BATCH {
            match look()? {
                Look::One { pid, ended } => self.take(pid, ended, heard)?,
                Look::Nothing => more = false,
                Look::Nobody => {
                    more = false;
                    self.tracees.vanish(Moment::now());
                }
            }
            if !more {
                self.tracees.rest(lineage);
                break;
            }
        }
        self.tracees.give_up(Moment::now());
        self.act();
        heard.events.append(&mut self.tracees.events);
        self.wake_at(if more { Some(Moment(1)) } else { self.tracees.deadline() })
    }

    /// Hears what this one has to say; `ended` is whether that is its end.
    fn take(&mut self, pid: i32, ended: bool, heard: &mut Heard) -> Result<(), Error> {
        // Is it an orphan that we have adopted, or one of whom we have not been told yet that it
        // is traced, a process or a thread? As long as it has not been reaped, /proc knows.
        let ask = ended && self.tracees.process_of(pid).is_none();
        if ended {
            // Whoever ends here may be the maker of one whom he has not named.
            self.tracees.rest(lineage);
        }
        let lineage = if ask { lineage(pid) } else { None };
        let traced = !ask || self.tracees.is_waiting(pid) || self.is_traced(pid);
        let Some(status) = take(pid)? else { return Ok(()) };
        let at = Moment::now();
        match decode(status) {
            Wait::Ended(exit) => {
                let process = self.tracees.process_of(pid);
                let process = process.or(lineage.map(|lineage| lineage.process));
                if process.is_none_or(|process| process == pid) {
                    let change = Change::Ended(exit);
                    heard.changes.push(Changed { pid, change, traced, at });
                }
                if traced {
                    self.tracees.ended(pid, exit, lineage, at);
                }
            }
            Wait::Signal(signal) => {
                if can_end(signal) {
                    heard.seen.extend(self.saw(pid, signal, at));
                }
                self.tracees.stopped(pid, Wait::Signal(signal), at);
            }
            // Its word is lost if it was killed meanwhile; whom it has made is seen all the same.
            Wait::Made => match message(pid) {
                Ok(child) => {
                    let kind = self.kind(pid, child);
                    self.tracees.made(pid, child, kind, at);
                }
                Err(_) => self.tracees.stopped(pid, Wait::Trap, at),
            },
            Wait::Executed => {
                let path = procfs::executable(pid).ok();
                if let Some(path) = &path {
                    warn_of_rights(pid, path);
                }
                self.tracees.executed(pid, message(pid).unwrap_or(pid), path, at);
            }
            how @ (Wait::Group(_) | Wait::Trap) => {
                if let Some(change) = self.tracees.changed(pid, how) {
                    heard.changes.push(Changed { pid, change, traced, at });
                }
                self.tracees.stopped(pid, how, at);
            }
        }
        self.act();
        Ok(())
    }

    fn act(&mut self) {
        while let Some(action) = self.tracees.actions.pop_front() {
            let (tid, result) = match action {
                Action::Resume(tid, signal) => {
                    (tid, request(libc::PTRACE_CONT, tid, usize::try_from(signal).unwrap_or(0)))
                }
                Action::Listen(tid) => (tid, request(libc::PTRACE_LISTEN, tid, 0)),
            };
            match result {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => log::error!("{action:?}: let thread {tid} go on: {errno}"),
            }
        }
    }

    /// Whether somebody of whom nothing is known is traced by us.
    fn is_traced(&self, tid: i32) -> bool {
        procfs::status(tid, "TracerPid").is_some_and(|tracer| tracer == self.us.to_string())
    }

    /// What a traced thread says that it has made.
    fn kind(&self, maker: i32, child: i32) -> Kind {
        let is_of = |process: i32| {
            // SAFETY: a system call on plain numbers; signal 0 only asks.
            let result = unsafe { libc::syscall(libc::SYS_tgkill, process, child, 0) };
            result == 0 || Errno::last() == Errno::EPERM
        };
        if is_of(child) {
            Kind::Process
        } else if self.tracees.process_of(maker).is_some_and(is_of) {
            Kind::Thread
        } else {
            Kind::Gone
        }
    }

    /// The signal that this thread, stopped, is about to be given.
    fn saw(&self, tid: i32, signal: c_int, at: Moment) -> Option<Seen> {
        // SAFETY: an all-zero siginfo_t is a valid one, and it is alive while the kernel fills it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let to = &raw mut info;
        request(libc::PTRACE_GETSIGINFO, tid, to as usize).ok()?;
        let code = info.si_code;
        let from_somebody = code <= 0;
        // SAFETY: they are read wherever they are; a code that goes with other fields has a via
        // that they are not used for.
        let (pid, uid) = unsafe { (info.si_pid(), info.si_uid()) };
        let process = self.tracees.process_of(tid)?;
        let outside = from_somebody && !same_namespace(tid, "pid");
        let (via, confidence) = judge(code, pid, outside);
        let named =
            matches!(confidence, Confidence::Reported | Confidence::Claimed) && via != Via::Kernel;
        let sender = named.then(|| self.sender(pid, same_namespace(tid, "user").then_some(uid)));
        // What nobody but the process itself can have wanted: SIGPIPE, which it ignores.
        if sender.as_ref().is_some_and(|sender| sender.pid == process) && ignores(tid, signal) {
            return None;
        }
        let target = Target { pid: process, tid: self.aimed_at(process, tid, signal, via) };
        Some(Seen { at, signal, via, target, sender, confidence, witness: Witness::Ptrace })
    }

    fn sender(&self, pid: i32, uid: Option<u32>) -> Sender {
        let mut sender = identify(pid);
        // The user is the kernel's word, whatever it may have become since.
        sender.uid = uid.or(sender.uid);
        // One of those we trace: what it executes was seen.
        if matches!(sender.exe, Exe::Ending(_) | Exe::Gone | Exe::Hidden)
            && let Some(path) = self.tracees.executes(pid)
        {
            sender.exe = Exe::Path(path);
        }
        sender
    }

    /// Which number the signal was sent to. tgkill(2) means the thread that is stopped. kill(2)
    /// means the process; but the kernel gives it to the thread whose number it was, if that takes
    /// signals at all, and to another one only if not. So that a thread other than the first has
    /// it, although the first would have taken it, means that its number was the one.
    fn aimed_at(&self, process: i32, tid: i32, signal: c_int, via: Via) -> i32 {
        if via == Via::Thread || via == Via::Kernel || tid == process {
            return tid;
        }
        let running = procfs::stat(process).is_some_and(|stat| !stat.ended() && stat.state != b't');
        if running && !in_mask(process, "SigBlk", signal) { tid } else { process }
    }

    fn wake_at(&mut self, at: Option<Moment>) -> Result<(), Error> {
        let failed = |errno| Error::system("timerfd_settime", errno);
        match at {
            Some(at) => {
                let nanos = i64::try_from(at.0).unwrap_or(i64::MAX);
                let at = TimeSpec::new(nanos / 1_000_000_000, nanos % 1_000_000_000);
                let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
                self.timer.set(Expiration::OneShot(at), flags).map_err(failed)?;
            }
            // Also what it has counted is gone with this.
            None if self.set => self.timer.unset().map_err(failed)?,
            None => {}
        }
        self.set = at.is_some();
        Ok(())
    }
}

/// What there is to be heard.
enum Look {
    /// This one has something to say, and whether it is its end. It is not taken yet.
    One { pid: i32, ended: bool },
    /// There are children, or who is traced, and they have nothing to say.
    Nothing,
    /// There is neither.
    Nobody,
}

fn look() -> Result<Look, Error> {
    // SAFETY: an all-zero siginfo_t is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // WSTOPPED is not among them: it is for children that nobody traces.
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        // SAFETY: `info` is a live siginfo_t for the kernel to fill; the rest are numbers.
        if unsafe { libc::waitid(libc::P_ALL, 0, &mut info, flags) } == 0 {
            break;
        }
        match Errno::last() {
            Errno::EINTR => {}
            Errno::ECHILD => return Ok(Look::Nobody),
            errno => return Err(Error::system("wait for children", errno)),
        }
    }
    // SAFETY: after a successful waitid the fields of SIGCHLD are the ones that are filled, or all
    // are zero because there is nothing.
    let pid = unsafe { info.si_pid() };
    let ends = [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED];
    Ok(match pid {
        0 => Look::Nothing,
        pid => Look::One { pid, ended: ends.contains(&info.si_code) },
    })
}

/// The number that goes with an event: who was made, or who has executed.
fn message(tid: i32) -> Result<i32, Errno> {
    let mut message: c_ulong = 0;
    let to = &raw mut message;
    request(libc::PTRACE_GETEVENTMSG, tid, to as usize)?;
    i32::try_from(message).map_err(|_| Errno::ERANGE)
}

/// One of the requests whose answer is only whether it succeeded.
fn request(request: c_uint, tid: i32, data: usize) -> Result<(), Errno> {
    // SAFETY: of the requests used here, those that read or write our memory are given, as `data`,
    // a live object of their type; the others take numbers.
    let result = unsafe { libc::ptrace(request, tid, 0usize, data) };
    if result == -1 { Err(Errno::last()) } else { Ok(()) }
}

/// Who a thread is, as /proc has it.
fn lineage(tid: i32) -> Option<Lineage> {
    let process = procfs::process_of(tid)?;
    let parent = procfs::stat(tid)?.parent;
    Some(Lineage { process, parent })
}

/// Why a child of ours cannot be traced.
fn why_not(pid: i32) -> String {
    match procfs::status(pid, "TracerPid").as_deref() {
        Some("0") | None => {}
        Some(tracer) => return format!("it is traced already, by process {tracer}"),
    }
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    match yama.as_deref().map(str::trim) {
        Ok("2") => "only root may trace (/proc/sys/kernel/yama/ptrace_scope is 2)".to_owned(),
        Ok("3") => "nobody may trace (/proc/sys/kernel/yama/ptrace_scope is 3)".to_owned(),
        _ => "the system forbids it (another user's, or a system call filter)".to_owned(),
    }
}

/// Says so if a program would have got another user's rights, and has not because it is traced.
fn warn_of_rights(pid: i32, path: &Path) {
    let Ok(file) = std::fs::metadata(format!("/proc/{pid}/exe")) else { return };
    if file.permissions().mode() & libc::S_ISUID == 0 {
        return;
    }
    if procfs::users(pid).is_some_and(|(_, effective)| effective != file.uid()) {
        log::warn!(
            "process {pid}: {} does not get the rights of uid {} because it is traced",
            path.display(),
            file.uid()
        );
    }
}

/// Whether a thread is in the same namespace of this kind as we are.
fn same_namespace(tid: i32, kind: &str) -> bool {
    let of = |who: &str| -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{who}/ns/{kind}")).ok()
    };
    of("self") == of(&tid.to_string())
}

fn ignores(tid: i32, signal: c_int) -> bool {
    in_mask(tid, "SigIgn", signal)
}

/// Whether a signal is in one of the masks of /proc/TID/status.
fn in_mask(tid: i32, field: &str, signal: c_int) -> bool {
    let mask = procfs::status(tid, field);
    let mask = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

/// What this one has to say, which is taken with it. It never blocks.
fn take(pid: i32) -> Result<Option<c_int>, Error> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live number for the kernel to fill. (nix's waitpid drops what it
        // has no name for, the death by a real-time signal for one.)
        let found = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG | libc::__WALL) };
        return match (found, Errno::last()) {
            (1.., _) => Ok(Some(status)),
            (0, _) | (_, Errno::ECHILD) => Ok(None),
            (_, Errno::EINTR) => continue,
            (_, errno) => Err(Error::system(format!("wait for process {pid}"), errno)),
        };
    }
}
