//! `supervise track`: what becomes of a command or a process, and of all that it makes, one event
//! a line, until the last of them has ended.

mod words;

#[cfg_attr(target_os = "linux", path = "track/check_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "track/check_bsd.rs")]
mod check;

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervise::launch::{Command, Failure, Inherited, Running};
use supervise::logger::{self, Destination};
use supervise::reaper::{self, Change};
use supervise::track::{Changed, Event, Heard, Tracker};
use supervise::{Exit, Moment, Signals};

use super::args::{Style, Track};
use super::{OURS, ending};
use check::Check;
use words::{Totals, json, line};

/// How often, in milliseconds, a second witness that owes us an answer is asked again.
const AGAIN: u16 = 100;

/// What ends us, or is the command's to be ended by.
const READ: &[i32] = &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGCHLD];

/// Tells until there is nobody left.
pub fn track(wanted: &Track) -> ExitCode {
    match tell(wanted) {
        Ok(Some(exit)) => ending::like(exit, Style::Signal),
        Ok(None) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("supervise: {error}");
            ExitCode::from(code)
        }
    }
}

type Failed = (u8, String);

fn ours(error: impl std::fmt::Display) -> Failed {
    (OURS, error.to_string())
}

/// Returns how the command ended; `None` of a process that is not ours.
fn tell(wanted: &Track) -> Result<Option<Exit>, Failed> {
    let inherited = Inherited::take().map_err(ours)?;
    logger::init(Destination::SharedStderr, "supervise", false).map_err(ours)?;
    let signals = Signals::open(READ).map_err(ours)?;
    // Before the tracker: it must know of every end that is told.
    let check = Check::open(wanted.check).map_err(ours)?;
    let mut tracker = Tracker::open(wanted.backend).map_err(ours)?;
    let mut teller = Teller {
        json: wanted.json,
        totals: wanted.count.then(Totals::default),
        check,
        command: None,
        exit: None,
        empty: false,
    };
    let running = match wanted.pid {
        Some(pid) => {
            tracker.attach(pid).map_err(ours)?;
            None
        }
        None => {
            let running = start(wanted, &inherited, &mut tracker, &mut teller);
            Some(running.map_err(|failure| (failure.code(), failure.to_string()))?)
        }
    };
    teller.command = running.as_ref().map(Running::pid);
    loop {
        while let Some(signal) = signals.read().map_err(ours)? {
            match (&running, signal.number) {
                (_, libc::SIGCHLD) => {}
                (Some(running), number) => {
                    log::info!("{signal}; passing it on to pid {}", running.pid());
                    log::logger().flush();
                    running.kill(number).map_err(ours)?;
                }
                (None, number) => return Ok(Some(Exit::Signaled { signal: number, core: false })),
            }
        }
        teller.read(&mut tracker)?;
        log::logger().flush();
        if teller.empty && (running.is_none() || teller.exit.is_some()) && !teller.check.waits() {
            teller.finish()?;
            return Ok(teller.exit);
        }
        let fds = [signals.as_fd(), tracker.as_fd()];
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let timeout = match teller.check.waits() {
            true => PollTimeout::from(AGAIN),
            false => PollTimeout::NONE,
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(ours(format!("poll: {errno}"))),
        }
    }
}

fn start(
    wanted: &Track,
    inherited: &Inherited,
    tracker: &mut Tracker,
    teller: &mut Teller,
) -> Result<Running, Failure> {
    let command = Command { words: wanted.words.clone(), ..Command::default() };
    let held = command.hold(inherited)?;
    teller.command = Some(held.pid());
    tracker.watch(held.pid()).map_err(|error| Failure::from(error.to_string()))?;
    let mut failed = None;
    let running = held.go_attended(|| {
        if let Err((_, error)) = teller.read(tracker) {
            failed = Some(error);
        }
    })?;
    failed.map_or(Ok(running), |error| Err(error.into()))
}

/// Tells what happens.
struct Teller {
    json: bool,
    /// Only at the end, how many there were.
    totals: Option<Totals>,
    check: Check,
    /// The command's number, if there is one.
    command: Option<i32>,
    /// How it ended.
    exit: Option<Exit>,
    /// Whether nobody is left.
    empty: bool,
}

impl Teller {
    /// Reads and tells what there is.
    fn read(&mut self, tracker: &mut Tracker) -> Result<(), Failed> {
        let mut events = Vec::new();
        tracker.read(&mut events).map_err(ours)?;
        self.check.audit(&mut events).map_err(ours)?;
        for Changed { pid, change, .. } in children(tracker)? {
            if let Change::Ended(exit) = change
                && self.command == Some(pid)
                && self.exit.is_none()
            {
                self.exit = Some(exit);
            }
        }
        let mut text = String::new();
        for event in &events {
            match event {
                Event::Empty { .. } => self.empty = true,
                Event::Fork { .. } => self.empty = false,
                _ => {}
            }
            match &mut self.totals {
                Some(totals) => totals.add(event),
                None => {
                    text += &if self.json { json(event).to_string() } else { line(event) };
                    text.push('\n');
                }
            }
        }
        say(&text)
    }

    /// The last words.
    fn finish(&self) -> Result<(), Failed> {
        if let Some(agreed) = self.check.agreed() {
            log::info!("the kernel's own records agree with {agreed} ends");
        }
        self.totals.map_or(Ok(()), |totals| say(&(totals.told(self.json) + "\n")))
    }
}

fn say(text: &str) -> Result<(), Failed> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| ours(format!("write: {error}")))
}

/// What has become of children: the tracker knows, if it waits for them itself.
fn children(tracker: &mut Tracker) -> Result<Vec<Changed>, Failed> {
    if let Some(Heard { changes, .. }) = tracker.heard() {
        return Ok(changes);
    }
    let mut changes = Vec::new();
    while let Some((pid, change)) = reaper::next().map_err(ours)? {
        changes.push(Changed { pid, change, traced: false, at: Moment::now() });
    }
    Ok(changes)
}
