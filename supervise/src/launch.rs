//! Anybody's command, started as a shell would start it, but held until it has been placed: in its
//! cgroup, under its tracker, in the hands of ptrace. Nothing it does can then be missed.
//!
//! A program of ours, which is given a channel and nothing else, is `start`'s.
//!
//! The command gets what we were given ourselves: working directory, descriptors, environment,
//! limits, ignored signals and signal mask. Two things must be set right for that, because they are
//! not as they were any more: the mask, in which we have blocked what we read from a descriptor, and
//! SIGPIPE, which Rust's runtime ignores. ([`Inherited`] must be taken before the first.)

mod words;

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString, c_char, c_int};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

use crate::fork::{self, SIGNALS, Waiting, check, pointers, put, wait_for_go};
use crate::handle::{self, Handle};
use crate::{Error, Exit, signal_name};

/// How long execve may take. A file on a slow network is no reason to give up.
const EXEC_PATIENCE: Duration = Duration::from_secs(60);

/// Where execvp(3) looks without `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// What executes a file that the kernel does not know how to execute; execvp(3).
const SHELL: &std::ffi::CStr = c"/bin/sh";

/// How signals stood when we were started.
#[derive(Clone, Debug)]
pub struct Inherited {
    mask: libc::sigset_t,
    ignored: [bool; SIGNALS as usize],
}

impl Inherited {
    /// Notes how signals stand. Call it before [`crate::Signals::open`], which changes that.
    ///
    /// SIGCHLD is set to its default on the way: whoever ignores it cannot wait for children. The
    /// command will ignore it if we did.
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason to.
    pub fn take() -> Result<Inherited, Error> {
        // SAFETY: all-zero values of these types are valid; the calls fill live locals, and the
        // action set is the default one, no code of ours.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            check(libc::sigprocmask(libc::SIG_SETMASK, ptr::null(), &mut mask))
                .map_err(|_| Error::last("read the signal mask"))?;
            let mut ignored = [false; SIGNALS as usize];
            for (signal, ignored) in (0..SIGNALS).zip(&mut ignored) {
                let mut action: libc::sigaction = std::mem::zeroed();
                // Numbers that are not signals are refused, and not ignored.
                *ignored = signal != libc::SIGPIPE
                    && libc::sigaction(signal, ptr::null(), &mut action) == 0
                    && action.sa_sigaction == libc::SIG_IGN;
            }
            let mut default: libc::sigaction = std::mem::zeroed();
            default.sa_sigaction = libc::SIG_DFL;
            check(libc::sigaction(libc::SIGCHLD, &default, ptr::null_mut()))
                .map_err(|_| Error::last("reset SIGCHLD"))?;
            Ok(Inherited { mask, ignored })
        }
    }

    /// Whether this signal was ignored, as SIGHUP is under nohup(1).
    pub fn ignores(&self, signal: c_int) -> bool {
        usize::try_from(signal).ok().and_then(|at| self.ignored.get(at)).copied().unwrap_or(false)
    }
}

/// A command and what it is to find.
#[derive(Debug, Default)]
pub struct Command {
    /// Its words; the first is looked for in `PATH` if there is no slash in it.
    pub words: Vec<OsString>,
    /// Variables that are not as ours: another value, or none.
    pub environment: Vec<(OsString, Option<OsString>)>,
    /// Variables whose value is to be the number of the command's own process, as `LISTEN_PID`.
    pub pid_in: Vec<OsString>,
    /// Descriptors that are not as ours: each under the number it is to have.
    pub descriptors: Vec<(RawFd, OwnedFd)>,
    /// A terminal: the command is to have a process group of its own, in the foreground of it.
    pub terminal: Option<OwnedFd>,
    /// Whether it leads a session of its own, so that [`Running::kill_group`] reaches what it
    /// starts, and is killed when the thread that started it ends (Linux, FreeBSD; not of a
    /// program with the setuid bit).
    pub session: bool,
}

/// Why a command was not started.
#[derive(Debug)]
pub enum Failure {
    /// There is no such file.
    NotFound(Error),
    /// There is one, and it cannot be executed.
    CannotExecute(Error),
    /// It did not come to that.
    System(Error),
}

impl Failure {
    /// The code that a shell exits with for this: 127, 126; and 125, which is env(1)'s and
    /// timeout(1)'s for a failure of their own.
    pub fn code(&self) -> u8 {
        match self {
            Failure::NotFound(_) => 127,
            Failure::CannotExecute(_) => 126,
            Failure::System(_) => 125,
        }
    }
}

impl From<String> for Failure {
    /// What whoever starts a command could not do before.
    fn from(why: String) -> Failure {
        Failure::System(Error::says(why))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::NotFound(error) | Failure::CannotExecute(error) | Failure::System(error)) =
            self;
        error.fmt(f)
    }
}

/// A command's process, forked, which waits until it is let go. Dropping it ends it.
#[derive(Debug)]
pub struct Held {
    waiting: Waiting,
    name: String,
    candidates: Vec<CString>,
    own_group: bool,
}

/// A command that runs, or has ended and not been reaped.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    pid: i32,
    own_group: bool,
    candidates: Vec<CString>,
}

impl Command {
    /// Forks, and holds the child. What it is to execute is laid out before that, so that nothing
    /// is left to be done in the child but system calls.
    ///
    /// # Errors
    /// [`Failure::System`]: there is no word, or a zero byte in one; or the system is out of
    /// processes or descriptors.
    pub fn hold(&self, inherited: &Inherited) -> Result<Held, Failure> {
        let Some(program) = self.words.first() else {
            return Err(Failure::System(Error::says("no command to start")));
        };
        let name = program.to_string_lossy().into_owned();
        let bad = |_| Failure::System(Error::says(format!("start {name}: a zero byte")));
        let mut argv = Vec::new();
        for word in &self.words {
            argv.push(CString::new(word.as_bytes()).map_err(bad)?);
        }
        let path = self.value("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let mut candidates = Vec::new();
        for candidate in words::search(program, &path) {
            candidates.push(CString::new(candidate).map_err(bad)?);
        }
        let mut environment = Vec::new();
        for entry in self.entries() {
            environment.push(CString::new(entry).map_err(bad)?);
        }
        let mut pids: Vec<Vec<u8>> =
            self.pid_in.iter().map(|name| words::pid_entry(name)).collect();

        let argv = pointers(&argv);
        let mut shell_argv = vec![SHELL.as_ptr(), ptr::null()];
        shell_argv.extend(argv.iter().skip(1));
        let mut all = pointers(&environment);
        all.pop();
        all.extend(pids.iter().map(|entry| entry.as_ptr().cast::<c_char>()));
        all.push(ptr::null());
        let descriptors: Vec<(RawFd, RawFd)> =
            self.descriptors.iter().map(|(to, fd)| (*to, fd.as_raw_fd())).collect();
        let mut raw = Raw {
            candidates: &candidates,
            argv: &argv,
            shell_argv: &mut shell_argv,
            environment: &all,
            pids: &mut pids,
            descriptors: &descriptors,
            above: descriptors.iter().map(|(to, _)| to + 1).max().unwrap_or(0).max(10),
            terminal: self.terminal.as_ref().map_or(-1, |fd| fd.as_raw_fd()),
            session: self.session,
            inherited,
        };
        // SAFETY: `become_command` makes only system calls, on `raw`, all of whose parts are alive
        // in the child's copy of the address space.
        let waiting = unsafe {
            fork::hold(format!("start {name}"), EXEC_PATIENCE, |start| {
                become_command(&mut raw, start)
            })
        };
        let own_group = self.terminal.is_some() || self.session;
        Ok(Held { waiting: waiting.map_err(Failure::System)?, name, candidates, own_group })
    }

    /// A variable's value as the command will find it.
    fn value(&self, name: &str) -> Option<OsString> {
        match self.environment.iter().rev().find(|(changed, _)| changed == name) {
            Some((_, value)) => value.clone(),
            None => std::env::var_os(name),
        }
    }

    /// `NAME=value`, for every variable but those of `pid_in`.
    fn entries(&self) -> Vec<Vec<u8>> {
        let changed = |name: &OsStr| {
            self.environment.iter().any(|(changed, _)| changed == name)
                || self.pid_in.iter().any(|changed| changed == name)
        };
        let kept = std::env::vars_os().filter(|(name, _)| !changed(name));
        let set = self.environment.iter().cloned();
        let set = set.filter_map(|(name, value)| Some((name, value?)));
        kept.chain(set)
            .map(|(name, value)| {
                let mut entry = name.into_vec();
                entry.push(b'=');
                entry.extend(value.into_vec());
                entry
            })
            .collect()
    }
}

impl Held {
    /// Its number. It is a child of ours and not reaped: the number is its own.
    pub fn pid(&self) -> i32 {
        self.waiting.pid()
    }

    /// Lets it go on, and returns when it is the command.
    ///
    /// # Errors
    /// It cannot be executed. The process is gone then, and reaped.
    pub fn go(self) -> Result<Running, Failure> {
        let Held { waiting, name, candidates, own_group } = self;
        match waiting.go() {
            Ok((pid, handle)) => Ok(Running { handle, pid, own_group, candidates }),
            Err(source) => Err(words::why(&name, &candidates, source)),
        }
    }

    /// The same for one that is traced: whatever stops it on its way, as a signal does, would
    /// otherwise stop us too. `attend` is called every few milliseconds and is to read the
    /// [`crate::track::Waiter`] or [`crate::track::Tracker`] that traces it; there its end is heard
    /// of if it cannot be executed.
    ///
    /// # Errors
    /// It cannot be executed.
    pub fn go_attended(self, mut attend: impl FnMut()) -> Result<Running, Failure> {
        let Held { waiting, name, candidates, own_group } = self;
        match waiting.go_attended(&mut attend) {
            Ok((pid, handle)) => Ok(Running { handle, pid, own_group, candidates }),
            Err(source) => Err(words::why(&name, &candidates, source)),
        }
    }
}

impl Running {
    /// Its number: for people, and for whoever reaps it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The file it was executed from, as it is found now.
    pub fn program(&self) -> Option<PathBuf> {
        let path = |candidate: &CString| Path::new(OsStr::from_bytes(candidate.as_bytes())).into();
        let mut found = self.candidates.iter().map(path).filter(|path: &PathBuf| path.is_file());
        found.next()?.canonicalize().ok()
    }

    /// Whether it has a process group of its own.
    pub fn has_own_group(&self) -> bool {
        self.own_group
    }

    /// Sends it a signal. To one that has ended nothing is sent, and all is well. (On the BSDs it
    /// must not have been reaped.)
    ///
    /// # Errors
    /// The kernel refuses: it may have become another user's.
    pub fn kill(&self, signal: c_int) -> Result<(), Error> {
        self.handle.kill(signal).map_err(|source| {
            Error::system(format!("send {} to pid {}", signal_name(signal), self.pid), source)
        })
    }
}

impl Running {
    /// Reaps it if it has ended: for a process that reaps each of its children by itself, and
    /// asks no more of one that was reaped.
    ///
    /// # Errors
    /// Somebody else has reaped it.
    pub fn try_reap(&mut self) -> Result<Option<Exit>, Error> {
        self.handle.try_wait()
    }

    /// Sends a signal to all of its own process group, if it has one; otherwise to it. It must not
    /// have been reaped: as long as it is there, if only as a zombie, the group's number is its.
    ///
    /// # Errors
    /// As [`Running::kill`]. That nobody is left is none.
    pub fn kill_group(&self, signal: c_int) -> Result<(), Error> {
        if !self.own_group {
            return self.kill(signal);
        }
        // SAFETY: kill(2) on plain numbers.
        if unsafe { libc::kill(-self.pid, signal) } == 0 || Errno::last() == Errno::ESRCH {
            return Ok(());
        }
        Err(Error::last(format!("send {} to process group {}", signal_name(signal), self.pid)))
    }
}

impl AsFd for Running {
    /// Readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// A command as the child needs it.
struct Raw<'a> {
    candidates: &'a [CString],
    argv: &'a [*const c_char],
    /// The second word is the file's.
    shell_argv: &'a mut [*const c_char],
    environment: &'a [*const c_char],
    pids: &'a mut [Vec<u8>],
    descriptors: &'a [(RawFd, RawFd)],
    /// No number from here on is one that a descriptor is to have.
    above: RawFd,
    terminal: RawFd,
    session: bool,
    inherited: &'a Inherited,
}

/// The child's way from fork to execve. Returns only if something failed, with its error number,
/// which is to be sent to `start`.
///
/// # Safety
/// Runs in a process that has just been forked. The vectors of pointers are ended by a null
/// pointer each and point at strings.
unsafe fn become_command(raw: &mut Raw<'_>, start: &mut RawFd) -> Result<Infallible, c_int> {
    // SAFETY: plain system calls on plain values; the sigset and sigaction are locals that the
    // calls read or fill, or parts of `raw`; the pointers are good by this function's contract.
    unsafe {
        *start = check(libc::fcntl(*start, libc::F_DUPFD_CLOEXEC, raw.above))?;
        if raw.terminal >= 0 {
            check(libc::setpgid(0, 0))?;
            // SIGTTOU, which this is answered with in the background, is blocked.
            check(libc::tcsetpgrp(raw.terminal, libc::getpid()))?;
        }
        if raw.session {
            check(libc::setsid())?;
            handle::die_with_parent()?;
        }
        // All are lifted first, in a copy of `raw` that is ours alone: one may stand where another
        // is to be. What is closed by execve needs no closing.
        let mut lifted = [(-1, -1); MOST_DESCRIPTORS];
        if raw.descriptors.len() > lifted.len() {
            return Err(libc::EMFILE);
        }
        for (lifted, (to, fd)) in lifted.iter_mut().zip(raw.descriptors) {
            *lifted = (*to, check(libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, raw.above))?);
        }
        for (to, fd) in lifted.into_iter().take_while(|(to, _)| *to >= 0) {
            put(fd, to)?;
        }
        for entry in raw.pids.iter_mut() {
            words::write_pid(entry, libc::getpid());
        }

        wait_for_go(*start);

        let mut action: libc::sigaction = std::mem::zeroed();
        for (signal, ignored) in (1..SIGNALS).zip(raw.inherited.ignored.iter().skip(1)) {
            action.sa_sigaction = if *ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            // SIGKILL, SIGSTOP and the C library's own refuse, and need nothing.
            libc::sigaction(signal, &action, ptr::null_mut());
        }
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw.inherited.mask, ptr::null_mut()))?;

        let mut found = libc::ENOENT;
        for path in raw.candidates {
            libc::execve(path.as_ptr(), raw.argv.as_ptr(), raw.environment.as_ptr());
            let mut errno = Errno::last_raw();
            if errno == libc::ENOEXEC
                && let Some(word) = raw.shell_argv.get_mut(1)
            {
                *word = path.as_ptr();
                libc::execve(SHELL.as_ptr(), raw.shell_argv.as_ptr(), raw.environment.as_ptr());
                errno = Errno::last_raw();
            }
            match errno {
                // As execvp(3): the next folder may have one that will do.
                libc::ENOENT | libc::ENOTDIR if raw.candidates.len() > 1 => {}
                libc::EACCES => found = errno,
                _ => return Err(errno),
            }
        }
        Err(found)
    }
}

/// So many descriptors at most may be other than ours.
const MOST_DESCRIPTORS: usize = 8;
