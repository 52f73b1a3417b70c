//! A child of ours, from the parent's side (start, hold, reap) and its own (who am I, where is my
//! channel).

use std::ffi::{CString, c_int};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::exec::{self, Held, Image};
use crate::handle::{self, Handle};
use crate::{Error, Exit, logger};

/// The child's end of its channel.
pub const CHANNEL_FD: RawFd = 3;

/// The child's way to syslog, opened before it lost the way there; closed if it logs to stderr.
pub const SYSLOG_FD: RawFd = 4;

/// What a child keeps of our environment; everything else is for the parent only.
const KEPT: &[&str] = &["RUST_BACKTRACE"];

/// What to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Our own executable again; the child finds out by [`role`] what it is to be.
    Myself,
    /// A program of this name beside our own executable, or else in `../libexec`.
    Sibling(&'static str),
}

impl Program {
    fn path(self) -> Result<PathBuf, Error> {
        let name = match self {
            Program::Myself => return handle::own_image(),
            Program::Sibling(name) => name,
        };
        let own =
            std::env::current_exe().map_err(|e| Error::system("find our own executable", e))?;
        let Some(folder) = own.parent() else {
            return Err(Error::says(format!("{}: has no folder", own.display())));
        };
        let beside = folder.join(name);
        if beside.is_file() {
            return Ok(beside);
        }
        let libexec = folder.join("../libexec").join(name);
        if libexec.is_file() {
            return Ok(libexec);
        }
        let (beside, libexec) = (beside.display(), libexec.display());
        Err(Error::says(format!("{name}: neither {beside} nor {libexec} is there")))
    }
}

/// Starts a child and returns it with our end of its channel.
///
/// The child holds `/dev/null` as 0, our standard output and error (or `/dev/null` there too, if we
/// log to syslog), its end of the channel as [`CHANNEL_FD`] and, if we log to syslog, the way there
/// as [`SYSLOG_FD`]: nothing else. Its
/// first argument is `title`, which has the form `program: role`. It leads a session of its own,
/// its signals stand as at boot (a Rust program then ignores SIGPIPE by itself), and its
/// environment is what `extra` says, `TANDEM_LOG` (see [`logger`]) and `RUST_BACKTRACE`.
///
/// When this returns, execve has succeeded.
///
/// # Errors
/// The program is missing or cannot be executed, or the system is out of processes or
/// descriptors. No process is left then.
pub fn start(
    program: Program,
    title: &str,
    extra: &[(&str, &str)],
) -> Result<(Child, OwnedFd), Error> {
    if !title.contains(": ") {
        return Err(Error::says(format!("start \"{title}\": a title reads \"program: role\"")));
    }
    let text = |text: String| {
        CString::new(text).map_err(|_| Error::says(format!("start \"{title}\": a zero byte")))
    };
    let mut environment = Vec::new();
    for (name, value) in extra {
        environment.push(text(format!("{name}={value}"))?);
    }
    if let Some((name, value)) = logger::for_child() {
        environment.push(text(format!("{name}={value}"))?);
    }
    for name in KEPT {
        if let Ok(value) = std::env::var(name) {
            environment.push(text(format!("{name}={value}"))?);
        }
    }
    let path = program.path()?;
    let image = Image {
        path: CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::says(format!("{}: a zero byte", path.display())))?,
        argv: vec![text(title.to_owned())?],
        environment,
    };

    let null = exec::null()?;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Error::system(format!("socketpair for {title}"), errno))?;
    let syslog = logger::descriptor()?;
    let held = Held {
        null: null.as_fd(),
        channel: theirs.as_fd(),
        syslog: syslog.as_ref().map(|fd| fd.as_fd()),
        output: logger::is_on_stderr(),
    };
    let (pid, handle) = exec::run(&image, &held)?;
    let child = Child { handle, pid, title: title.to_owned(), exit: None };
    Ok((child, ours))
}

/// A process we have started and not yet reaped, or reaped and remember.
///
/// Dropping one that still runs kills it: a process that nobody holds any more must not stay.
pub struct Child {
    handle: Handle,
    pid: i32,
    title: String,
    exit: Option<Exit>,
}

impl Child {
    /// Its process id, for people to read; nothing is ever sent to it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The title it was started with.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Reaps it if it has ended. Its end is remembered: asking again gives the same answer.
    ///
    /// # Errors
    /// The kernel refuses to wait, which means that somebody else has reaped our child.
    pub fn try_reap(&mut self) -> Result<Option<Exit>, Error> {
        if self.exit.is_none() {
            self.exit = self.handle.try_wait()?;
        }
        Ok(self.exit)
    }

    /// Waits for its end until a moment, and reaps it. `None` if it still runs then.
    ///
    /// # Errors
    /// As [`Child::try_reap`].
    pub fn wait_until(&mut self, moment: Instant) -> Result<Option<Exit>, Error> {
        if self.exit.is_none() {
            self.exit = self.handle.wait(moment.saturating_duration_since(Instant::now()))?;
        }
        Ok(self.exit)
    }

    /// Sends it a signal. To a child that has ended, nothing is sent and all is well.
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason to.
    pub fn kill(&self, signal: c_int) -> Result<(), Error> {
        if self.exit.is_some() {
            return Ok(());
        }
        self.handle.kill(signal).map_err(|source| {
            let name = crate::signal_name(signal);
            Error::system(format!("send {name} to {self}"), source)
        })
    }
}

impl AsFd for Child {
    /// Readable when the child has ended: for poll(2) with POLLIN, and for nothing else.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.title, self.pid)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.try_reap(), Ok(None)) {
            log::warn!("{self} was let go while it ran; killing it");
            let _ = self.kill(libc::SIGKILL);
            let _ = self.wait_until(Instant::now() + Duration::from_secs(1));
        }
    }
}

/// The title under which [`start`] has made us, or `None` if somebody else has started us.
///
/// It is the first argument, if that has a title's form and [`CHANNEL_FD`] is a channel.
///
/// It is found out once and remembered: a confined process could not ask any more, and says its
/// name in its last log line.
pub fn role() -> Option<String> {
    static ROLE: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let title = String::from_utf8(std::env::args_os().next()?.into_vec()).ok()?;
        (title.contains(": ") && exec::is_channel(CHANNEL_FD)).then_some(title)
    };
    ROLE.get_or_init(ask).clone()
}

/// Leaves SIGHUP and SIGINT to the parent. Both are often sent to all processes of a service, by a
/// terminal or by who reloads it; the parent acts on them, and its children end with their channel.
pub fn leave_signals_to_parent() {
    for signal in [libc::SIGHUP, libc::SIGINT] {
        // SAFETY: no handler is installed: the signal is ignored from here on.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Takes the channel we were started with, once, and gives the process its name.
///
/// # Errors
/// We were not started by [`start`], or it has been taken already.
pub fn inherited_channel() -> Result<OwnedFd, Error> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let Some(title) = role() else {
        return Err(Error::says("descriptor 3 is not a channel: started by hand?"));
    };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Error::says("the channel has been taken already"));
    }
    // SAFETY: descriptor 3 is open and a channel, `start` put it there for us alone, and TAKEN
    // lets nobody else own it.
    let channel = unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) };
    let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
    nix::fcntl::fcntl(&channel, flags)
        .map_err(|errno| Error::system("set close-on-exec on the channel", errno))?;
    handle::set_name(&title);
    handle::remember_maker(&channel);
    Ok(channel)
}
