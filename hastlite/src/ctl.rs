//! hastctl(8): what it asks the daemon, and what it does to components itself.
//!
//! `role`, `list`, `status`, `discard` and `stop` are requests to the daemon; `create` and `dump`
//! work on the local component, and want it to be in nobody's use.

pub mod args;
mod json;
mod local;
pub mod message;
mod render;
#[cfg(test)]
mod tests;
pub mod watch;

use crate::conf::{self, LoadError};
use crate::config::{Config, this_node};
use args::{Command, USAGE};
use message::{Answer, Request, Selection};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, connect};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use watch::{Screen, Watch, settled};

/// The exit codes of sysexits(3) that are used. A daemon's answer about a resource is another kind:
/// its [`message::Code`].
mod exit {
    pub const USAGE: u8 = 64;
    pub const DATA: u8 = 65;
    pub const NO_INPUT: u8 = 66;
    pub const UNAVAILABLE: u8 = 69;
    pub const SOFTWARE: u8 = 70;
    pub const OS: u8 = 71;
    pub const IO: u8 = 74;
    pub const TEMPORARY: u8 = 75;
}

/// How long the daemon may take to say how things stand.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it may take to change something: a worker brings requests to their end, and the other
/// node may have to be asked.
const LONG_PATIENCE: Duration = Duration::from_secs(180);

/// Where output goes.
pub struct Output<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What went wrong.
    pub err: &'a mut dyn Write,
    /// What `out` is.
    pub screen: Screen,
}

impl Output<'_> {
    /// One line for people; that it cannot be written has no remedy.
    fn complain(&mut self, what: impl Display) {
        let _ = writeln!(self.err, "hastctl: {what}");
    }
}

/// Why it ends early: the exit code, and what to say.
type Failure = (u8, String);

/// Does what the arguments say, without the program's own name. Returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, output: &mut Output<'_>) -> u8 {
    let args = match args::parse(arguments) {
        Ok(args) => args,
        Err(wrong) => {
            output.complain(wrong);
            let _ = writeln!(output.err, "{USAGE}");
            return exit::USAGE;
        }
    };
    if matches!(args.command, Command::Help) {
        return printed(output, &format!("{USAGE}\n")).err().map_or(0, |(code, _)| code);
    }
    let config = match load(&args) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| {
                let _ = writeln!(output.err, "{warning}");
            });
            config
        }
        Err(wrong) => {
            match &wrong {
                LoadError::Read { .. } => output.complain(&wrong),
                LoadError::Wrong(_) => {
                    let _ = writeln!(output.err, "{wrong}");
                }
            }
            return wrong.exit_code();
        }
    };
    match command(args.command, args.debug, &config, output) {
        Ok(code) => code,
        Err((code, why)) => {
            if !why.is_empty() {
                output.complain(why);
            }
            code
        }
    }
}

fn load(args: &args::Args) -> Result<(Config, Vec<conf::Diagnostic>), LoadError> {
    let node = this_node::this_node()
        .map_err(|source| LoadError::Read { path: "the name of this host".into(), source })?;
    conf::load(&args.config, &node)
}

fn command(
    command: Command,
    debug: u32,
    config: &Config,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let mut ask = |request: &Request, patience| {
        Daemon::connect(config, debug, output)?.ask(request, patience)
    };
    match command {
        Command::Help => Ok(0),
        Command::Create { options, names } => Ok(local::create(config, &names, &options, output)),
        Command::Dump { json, of } => local::dump(config, &of, json, output),
        Command::Role { role, force, of } => {
            let answers = ask(&Request::Role { role, force, of }, LONG_PATIENCE)?;
            Ok(failures(&answers, output))
        }
        Command::Discard { names } => {
            let answers = ask(&Request::Discard { of: names }, LONG_PATIENCE)?;
            Ok(failures(&answers, output))
        }
        Command::List { json, of } => {
            let answers = ask(&Request::Status { of }, PATIENCE)?;
            let text = if json { json::resources(&answers) } else { render::list(&answers) };
            printed(output, &text)?;
            Ok(first_code(&answers))
        }
        Command::Status { json, watch: None, wait: None, of } => {
            let answers = ask(&Request::Status { of }, PATIENCE)?;
            let text = if json { json::resources(&answers) } else { render::status(&answers) };
            printed(output, &text)?;
            Ok(first_code(&answers))
        }
        Command::Status { json, watch, wait, of } => {
            let daemon = Daemon::connect(config, debug, output)?;
            follow(&daemon, &Following { json, watch, wait, of }, output)
        }
        Command::Stop => {
            let daemon = Daemon::connect(config, debug, output)?;
            daemon.ask(&Request::Stop, LONG_PATIENCE)?;
            daemon.wait_for_its_end(LONG_PATIENCE)?;
            Ok(0)
        }
    }
}

/// What `status --watch` and `--wait` are about.
struct Following {
    json: bool,
    watch: Option<Duration>,
    wait: Option<Duration>,
    of: Selection,
}

/// Looks again and again, until all is well if that is waited for.
fn follow(daemon: &Daemon, what: &Following, output: &mut Output<'_>) -> Result<u8, Failure> {
    let begin = Instant::now();
    let pause = what.watch.unwrap_or(Duration::from_millis(200));
    let request = Request::Status { of: what.of.clone() };
    let mut watch = Watch::default();
    loop {
        let answers = daemon.ask(&request, PATIENCE)?;
        let waited = what.wait.is_some_and(|wait| begin.elapsed() >= wait);
        let done = what.wait.is_some() && settled(&answers);
        let unknown = what.wait.is_some() && first_code(&answers) != 0;
        let last = done || waited || unknown;
        if what.watch.is_some() || last {
            let text = match (what.json, what.watch) {
                (true, _) => json::resources(&answers),
                (false, Some(_)) => watch.frame(&answers, output.screen),
                (false, None) => render::status(&answers),
            };
            printed(output, &text)?;
        }
        match (done, unknown, waited) {
            (true, ..) => return Ok(0),
            (_, true, _) => return Ok(failures(&answers, output)),
            (.., true) => return Ok(exit::TEMPORARY),
            _ => {}
        }
        let left = what.wait.map_or(pause, |wait| wait.saturating_sub(begin.elapsed()).min(pause));
        // Nothing comes unasked: readable means that the daemon has gone.
        if readable(daemon, left)? {
            return Err((exit::UNAVAILABLE, "the daemon has ended".to_owned()));
        }
    }
}

/// The daemon at the other end.
struct Daemon {
    channel: Channel<Request, Answer>,
}

impl Daemon {
    fn connect(config: &Config, debug: u32, output: &mut Output<'_>) -> Result<Self, Failure> {
        let connected = connect(&config.control).map_err(|e| (exit::OS, e.to_string()))?;
        if debug > 0 {
            let path = config.control.display();
            output.complain(format_args!("connected to {path}: {}", connected.peer));
        }
        Ok(Daemon { channel: connected.channel })
    }

    /// All answers to a request, without the end.
    fn ask(&self, request: &Request, patience: Duration) -> Result<Vec<Answer>, Failure> {
        let failed = |what: &str, e: &dyn Display| (exit::UNAVAILABLE, format!("{what}: {e}"));
        self.channel.send(request).map_err(|e| failed("send the request", &e))?;
        let mut answers = Vec::new();
        loop {
            if !readable(self, patience)? {
                let seconds = patience.as_secs();
                return Err((exit::UNAVAILABLE, format!("no answer for {seconds} seconds")));
            }
            match self.channel.recv().map_err(|e| failed("receive the answer", &e))? {
                Answer::End => return Ok(answers),
                Answer::Refused(why) => return Err((exit::SOFTWARE, render::printable(&why))),
                answer => answers.push(answer),
            }
        }
    }

    fn wait_for_its_end(&self, patience: Duration) -> Result<(), Failure> {
        if readable(self, patience)? {
            return Ok(());
        }
        let seconds = patience.as_secs();
        Err((exit::UNAVAILABLE, format!("the daemon has not ended within {seconds} seconds")))
    }
}

/// Whether there is something to be read, or nobody left to write, within this time.
fn readable(daemon: &Daemon, within: Duration) -> Result<bool, Failure> {
    let end = Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Not less than asked for: a part of a millisecond is one.
        let left = left.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(daemon.channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if Instant::now() >= end => return Ok(false),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err((exit::OS, format!("poll: {e}"))),
        }
    }
}

/// Names what failed; the exit code is the first one's.
fn failures(answers: &[Answer], output: &mut Output<'_>) -> u8 {
    for answer in answers {
        if let Answer::Failed { resource, why, .. } = answer {
            output.complain(format_args!("{resource}: {}", render::printable(why)));
        }
    }
    first_code(answers)
}

fn first_code(answers: &[Answer]) -> u8 {
    let failed = answers.iter().find_map(|answer| match answer {
        Answer::Failed { code, .. } => Some(*code as u8),
        _ => None,
    });
    failed.unwrap_or(0)
}

fn printed(output: &mut Output<'_>, text: &str) -> Result<(), Failure> {
    let written = output.out.write_all(text.as_bytes()).and_then(|()| output.out.flush());
    written.map_err(|e| match e.kind() {
        // Whoever has read enough needs no word about it.
        io::ErrorKind::BrokenPipe => (exit::IO, String::new()),
        _ => (exit::IO, format!("write: {e}")),
    })
}
