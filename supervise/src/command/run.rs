//! The loop of a supervised command: one thread, one poll(2). What happens to the command is in
//! `run/command.rs`, what signals do in `run/relay.rs`.

mod command;
mod relay;
mod report;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervise::launch::Inherited;
use supervise::logger::{self, Destination};
use supervise::restart::Restarts;
use supervise::{Exit, Moment, Sender, Signals};

use super::args::{Log, Options};
use super::terminal::Terminal;
use super::{OURS, ending};
use command::Main;
use report::Reporter;

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
    /// The command, while it runs.
    main: Option<Main>,
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
    match set_up(options) {
        Ok(mut run) => match run.go() {
            Ok(Over::Like(exit)) => ending::like(exit, options.style),
            Ok(Over::Code(code)) => ExitCode::from(code),
            Err(error) => {
                log::error!("{error}");
                ExitCode::from(OURS)
            }
        },
        Err(error) => {
            eprintln!("supervise: {error}");
            ExitCode::from(OURS)
        }
    }
}

fn set_up(options: &Options) -> Result<Run<'_>, String> {
    let inherited = Inherited::take().map_err(text)?;
    let destination = match options.log {
        Some(Log::Syslog(facility)) => Destination::SyslogAs(facility),
        Some(Log::Stderr) | None => Destination::SharedStderr,
    };
    logger::init(destination, "supervise", options.verbose).map_err(text)?;
    if options.quiet {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let signals = Signals::open(READ).map_err(text)?;
    let us = std::process::id().cast_signed();
    Ok(Run {
        options,
        inherited,
        signals,
        us,
        terminal: Terminal::open(),
        reporter: Reporter::new(options, Sender::look_up(us))?,
        restarts: Restarts::new(options.restart, options.limit),
        main: None,
        due: None,
        stop: None,
        last: None,
        over: None,
    })
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
            self.read_signals()?;
            self.reap()?;
            let now = Instant::now();
            if self.due.is_some_and(|due| due <= now) {
                self.due = None;
                self.start();
            }
            self.insist(now);
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Result<(), String> {
        let deadline = self.stop.and_then(|stop| stop.deadline);
        let next = [self.due, deadline, logger::due()].into_iter().flatten().min();
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up, or the last fraction of a millisecond would be spent spinning.
            let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
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
