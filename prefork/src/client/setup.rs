//! Starting a server: the socket it listens at, the watcher, and the script, until it is ready for
//! calls. Whoever is here holds the identity's lock; the script does not.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::alarm::Alarm;
use super::{Patience, connect, system, watcher};
use crate::protocol::Status;
use crate::{Error, signals};

/// The variable that tells a script what it holds; see prefork-interp(1).
pub(super) const VARIABLE: &str = "PREFORK_INTERP";

/// What a script holds besides its standard descriptors, from this number on: the listening socket,
/// its end of the first call, what keeps the watcher alive, and the watcher's word.
const FIRST: RawFd = 3;

/// Where descriptors are put first, so that none is in another's place.
const OUT_OF_THE_WAY: RawFd = 20;

/// How long a script that was told to end may take for it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Starts a server at `path`, and gives the connection of its first call: it has greeted there. If
/// the script has ended instead, with anything but 0, gives that.
pub(super) fn start(
    path: &Path,
    words: &[OsString],
    patience: &Patience,
) -> Result<Result<OwnedFd, Status>, Error> {
    let until = Instant::now() + patience.setup;
    super::remove(path)?;
    let listener = listen(path)?;
    let found = fs::symlink_metadata(path)
        .map_err(|e| Error::system(format!("look at {}", path.display()), e))?;
    let watch = watcher::start(path, (found.dev(), found.ino()))?;
    let (ours, theirs) = system::pair().map_err(|e| Error::system("make a pair of sockets", e))?;

    let numbers: Vec<String> = (FIRST..).take(4).map(|number| number.to_string()).collect();
    let (seconds, nanos, numbers) = (found.mtime(), found.mtime_nsec(), numbers.join(","));
    let variable = format!("{VARIABLE}=v1,{seconds}.{nanos:09} {numbers}");
    let image = Image::new(words, &variable)?;
    let held = [&listener, &theirs, &watch.alive, &watch.word].map(AsRawFd::as_raw_fd);

    let alarm = Alarm::set(patience.setup)?;
    let child = run(&image, held, &alarm)?;
    drop((listener, theirs, watch));
    let script = Path::new(words.get(1).or(words.first()).map_or(OsStr::new(""), |word| word));
    let late = || {
        Error::says(format!(
            "{}: not ready for calls after {} s ({} may say otherwise): ended",
            script.display(),
            patience.setup.as_secs(),
            super::TIMEOUT
        ))
    };
    match wait(child, &alarm)? {
        Some(Status::Exited(0)) => {}
        Some(status) => return Ok(Err(status)),
        None => {
            end(child);
            return Err(late());
        }
    }
    drop(alarm);
    // Its copy has greeted by now, or is about to.
    let left = until.saturating_duration_since(Instant::now());
    let readable = |e| Error::system("wait for the server's greeting", e);
    if !connect::readable(&ours, left).map_err(readable)? {
        return Err(late());
    }
    if !connect::greeting(&ours)? {
        return Err(Error::says(format!(
            "{}: it has ended, and never said that it was ready for calls",
            script.display()
        )));
    }
    Ok(Ok(ours))
}

fn listen(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |e: Errno| Error::system(format!("listen at {}", path.display()), e);
    let kind = SockType::Stream;
    let listener =
        socket::socket(AddressFamily::Unix, kind, SockFlag::empty(), None).map_err(failed)?;
    system::close_on_exec(&listener).map_err(failed)?;
    let address = UnixAddr::new(path).map_err(failed)?;
    socket::bind(listener.as_raw_fd(), &address).map_err(failed)?;
    socket::listen(&listener, Backlog::MAXCONN).map_err(failed)?;
    fcntl(&listener, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
    Ok(listener)
}

/// What is executed, laid out before the fork.
struct Image {
    words: Vec<CString>,
    variable: CString,
}

impl Image {
    fn new(words: &[OsString], variable: &str) -> Result<Image, Error> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|_| Error::says("a word with a zero byte in it"))
        };
        let words = words.iter().map(|word| text(word.as_bytes())).collect::<Result<_, _>>()?;
        Ok(Image { words, variable: text(variable.as_bytes())? })
    }
}

/// Starts the script.
fn run(image: &Image, held: [RawFd; 4], alarm: &Alarm) -> Result<Pid, Error> {
    let words: Vec<*const c_char> =
        image.words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    let parent = Pid::this();
    // SAFETY: there is one thread, so that the child may do whatever we may.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => return Ok(child),
        Ok(ForkResult::Child) => {}
        Err(e) => return Err(Error::system("fork for the script", e)),
    }
    alarm.undo_in_child();
    let tried = |what: &str, e: Errno| Error::system(format!("for the script: {what}"), e);
    let outcome = (|| -> Result<(), Error> {
        // Should we be ended while it sets up, nobody waits for it any more.
        system::die_with(parent).map_err(|e| tried("have it end with us", e))?;
        place(held).map_err(|e| tried("lay out its descriptors", e))?;
        // A caller in the background of a shell ignores SIGINT, by which calls are hung up.
        signals::forget_caller()?;
        // SAFETY: one thread; the strings stay until execvp has taken them.
        unsafe {
            libc::putenv(image.variable.as_ptr().cast_mut());
            let name = words.first().copied().unwrap_or(ptr::null());
            libc::execvp(name, words.as_ptr());
        }
        let e = Errno::last();
        let name = image.words.first().map(|name| name.to_string_lossy()).unwrap_or_default();
        Err(Error::system(format!("execute {name}"), e))
    })();
    if let Err(error) = outcome {
        super::say(&error.to_string());
    }
    // SAFETY: ends the child without running what is the parent's.
    unsafe { libc::_exit(super::UNUSUAL.into()) }
}

/// Puts descriptors where the script is told that they are, and closes all others: what our caller
/// happened to hold would otherwise stay open in the server, and in every later call.
fn place(held: [RawFd; 4]) -> nix::Result<()> {
    let copy = |from: RawFd| {
        // SAFETY: on plain numbers.
        Errno::result(unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) })
    };
    let put = |from: RawFd, to: RawFd| {
        // SAFETY: on plain numbers; whatever was at `to` is not needed in this process any more.
        Errno::result(unsafe { libc::dup2(from, to) }).map(drop)
    };
    let mut lifted = [0; 4];
    for (high, fd) in lifted.iter_mut().zip(held) {
        *high = copy(fd)?;
    }
    // SAFETY: a C string.
    let null = Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) })?;
    let null = copy(null)?;
    // What it prints as it starts is not part of any call's output.
    put(2, 1)?;
    put(null, 0)?;
    for (to, high) in (FIRST..).zip(lifted) {
        put(high, to)?;
    }
    system::close_from(FIRST + 4)
}

/// Waits for the end of the child; `None` when the time is over.
fn wait(child: Pid, alarm: &Alarm) -> Result<Option<Status>, Error> {
    loop {
        if alarm.is_over() {
            return Ok(None);
        }
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            other => return ended(other),
        }
    }
}

fn ended(waited: nix::Result<WaitStatus>) -> Result<Option<Status>, Error> {
    match waited {
        Ok(WaitStatus::Exited(_, code)) => Ok(Some(Status::Exited(code as u8))),
        Ok(WaitStatus::Signaled(_, signal, core)) => {
            Ok(Some(Status::Signaled { signal: signal as u8, core }))
        }
        Ok(_) => Ok(None),
        Err(e) => Err(Error::system("wait for the script to be ready", e)),
    }
}

/// Ends a script that takes too long. It is our child and not reaped, so the number is its own.
fn end(child: Pid) {
    let _ = kill(child, Signal::SIGTERM);
    if let Ok(alarm) = Alarm::set(LAST_WORDS)
        && let Ok(Some(_)) = wait(child, &alarm)
    {
        return;
    }
    let _ = kill(child, Signal::SIGKILL);
    while waitpid(child, None::<WaitPidFlag>) == Err(Errno::EINTR) {}
}
