//! The loop of a supervised command: one thread, one poll(2). What happens to the command is in
//! `run/command.rs`, what signals do in `run/relay.rs`.

mod command;
mod control;
mod descendants;
mod ready;
mod relay;
mod report;
mod requests;
mod rest;
mod stderr;

#[cfg_attr(target_os = "linux", path = "run/notify_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "run/notify_bsd.rs")]
mod notify;

#[cfg_attr(target_os = "linux", path = "run/witnesses_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "run/witnesses_bsd.rs")]
mod witnesses;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervise::contain::Container;
use supervise::launch::Inherited;
use supervise::logger::{self, Destination};
use supervise::pidfile::Locked;
use supervise::restart::Restarts;
use supervise::track::{Changed, ProcId};
use supervise::{Exit, Moment, Sender, Signals, daemon};

use super::args::{Log, Options};
use super::terminal::Terminal;
use super::{OURS, ending};
use command::Main;
use control::{Asker, Control};
use ready::Readying;
use report::Reporter;
use rest::Rest;
use stderr::Stderr;
use witnesses::Witnesses;

/// What we pass on, and SIGCHLD. Each of them would end us if it came unread, and leave the
/// command behind.
const READ: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    #[cfg(target_os = "linux")]
    libc::SIGPWR,
];

/// What we know and hold.
struct Run<'a> {
    options: &'a Options,
    inherited: Inherited,
    signals: Signals,
    /// Our own number.
    us: i32,
    terminal: Terminal,
    reporter: Reporter<'a>,
    restarts: Restarts,
    container: Rc<Container>,
    witnesses: Witnesses,
    /// What has become of children, and has not been looked at.
    changes: Vec<Changed>,
    /// What descendants execute, as far as they are followed.
    programs: HashMap<ProcId, PathBuf>,
    readying: Readying,
    stderr: Option<Stderr>,
    control: Option<Control>,
    /// Held, so that it is locked.
    _pidfile: Option<Locked>,
    /// Who waits for the next start.
    askers: Vec<Asker>,
    /// Who waits for our end.
    leaving: Vec<Asker>,
    /// The command, while it runs.
    main: Option<Main>,
    /// The number it had the last time.
    ended_last: Option<i32>,
    /// What it has left behind, after its end.
    rest: Option<Rest>,
    /// When it is to be started again.
    due: Option<Instant>,
    /// That it is to end, and what then.
    stop: Option<Stop>,
    /// How it ended the last time.
    last: Option<Exit>,
    /// That we are to end, and how.
    over: Option<Over>,
}

/// The command has been asked to end.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// When we insist.
    deadline: Option<Instant>,
    /// Whether it is to be started again.
    again: bool,
}

/// How we are to end.
#[derive(Clone, Copy, Debug)]
enum Over {
    /// As the command.
    Like(Exit),
    /// With a code of our own.
    Code(u8),
}

/// Supervises a command until that is over.
pub fn run(options: &Options) -> ExitCode {
    let over = match set_up(options) {
        // Nothing of ours is left when we end, which may be by a signal.
        Ok(mut run) => run.go(),
        Err(error) => {
            eprintln!("supervise: {error}");
            return ExitCode::from(OURS);
        }
    };
    match over {
        Ok(Over::Like(exit)) => ending::like(exit, options.style),
        Ok(Over::Code(code)) => ExitCode::from(code),
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(OURS)
        }
    }
}

fn set_up(options: &Options) -> Result<Run<'_>, String> {
    let inherited = Inherited::take().map_err(text)?;
    let before = std::process::id();
    let readiness = match options.background {
        true => behind()?,
        false => daemon::foreground(),
    };
    let destination = match options.log {
        Some(Log::Syslog(facility)) => Destination::SyslogAs(facility),
        Some(Log::Stderr) => Destination::SharedStderr,
        None if options.background || options.log_stderr => Destination::Syslog,
        None => Destination::SharedStderr,
    };
    logger::init(destination, "supervise", options.verbose).map_err(text)?;
    if options.quiet {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let signals = Signals::open(READ).map_err(text)?;
    let us = std::process::id().cast_signed();
    let reporter = Reporter::new(options, Sender::look_up(us))?;
    let control = options.name.as_deref().map(Control::open).transpose()?;
    let container = match options.keep_rest {
        true => Container::subreaper(),
        false => Container::new(reporter.unit()),
    };
    log::debug!("what the command makes is held by: {}", container.describe());
    Ok(Run {
        options,
        inherited,
        signals,
        us,
        terminal: Terminal::open(),
        reporter,
        restarts: Restarts::new(options.restart, options.limit),
        container: Rc::new(container),
        witnesses: Witnesses::open(options)?,
        changes: Vec::new(),
        programs: HashMap::new(),
        readying: Readying::new(options, readiness, before)?,
        stderr: options.log_stderr.then(Stderr::open).transpose()?,
        control,
        _pidfile: options.pidfile.as_deref().map(Locked::create).transpose().map_err(text)?,
        askers: Vec::new(),
        leaving: Vec::new(),
        main: None,
        ended_last: None,
        rest: None,
        due: None,
        stop: None,
        last: None,
        over: None,
    })
}

/// Goes to the background. The working directory stays what it was, for the command.
fn behind() -> Result<daemon::Readiness, String> {
    let here = File::open(".");
    let readiness = daemon::background().map_err(|e| format!("go to the background: {e}"))?;
    if let Ok(here) = here {
        nix::unistd::fchdir(&here).map_err(|e| format!("return to the working directory: {e}"))?;
    }
    Ok(readiness)
}

/// Reading from it, or writing to it, is never to wait.
fn nonblocking(fd: impl AsFd) -> Result<(), String> {
    let set = fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    set.map(drop).map_err(|errno| format!("set a pipe to non-blocking: {errno}"))
}

impl Run<'_> {
    fn go(&mut self) -> Result<Over, String> {
        self.start();
        loop {
            if let Some(over) = self.over {
                return Ok(over);
            }
            log::logger().flush();
            self.wait()?;
            // Before the command's end is heard of: what it said last is said before that.
            if let Some(stderr) = &mut self.stderr {
                stderr.read();
            }
            self.readying.read(self.us);
            self.read_signals()?;
            self.reap()?;
            self.hear(&[]);
            self.requests();
            self.settle()?;
            let now = Instant::now();
            if self.due.is_some_and(|due| due <= now) {
                self.due = None;
                self.start();
            }
            self.insist(now);
            if let Some(main) =
                self.main.as_mut().filter(|main| main.look.is_some_and(|at| at <= now))
            {
                main.look_again();
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> Result<(), String> {
        let deadline = self.stop.and_then(|stop| stop.deadline);
        let rest = self.rest.as_ref().map(Rest::until);
        let look = self.main.as_ref().and_then(|main| main.look);
        let next = [self.due, deadline, rest, look, logger::due()].into_iter().flatten().min();
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let input = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![input(self.signals.as_fd())];
        fds.extend(self.readying.descriptor().map(input));
        fds.extend(self.witnesses.descriptors().map(input));
        fds.extend(self.control.iter().flat_map(Control::descriptors).map(input));
        fds.extend(
            self.stderr.as_mut().and_then(|stderr| stderr.descriptor(Instant::now())).map(input),
        );
        if self.rest.is_some() {
            let urgent = |fd| PollFd::new(fd, PollFlags::POLLPRI);
            fds.extend(self.container.events().map(urgent));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(format!("poll: {errno}")),
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Milliseconds since 1970.
fn wall(moment: Moment) -> u64 {
    let since = moment.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
