//! dhcpctl(8): what it asks the server, and how it shows what is answered.
//!
//! Everything is a request over the daemon's socket; nothing is read or done here.

pub mod args;
pub mod message;
pub mod metrics;
mod render;

use crate::USER;
use args::{Command, Shape, USAGE};
use message::{Answer, Request, Status, octets};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error, connect};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Where the daemon's socket is, unless `-s` says otherwise: of dhcpd(8) too.
pub const SOCKET: &str = "/var/run/dhcpd.sock";

/// The exit codes.
mod exit {
    /// It was refused, or failed.
    pub const FAILED: u8 = 1;
    /// The command line makes no sense.
    pub const USAGE: u8 = 2;
}

/// How long the daemon may be silent.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same while it reloads: it may have to resolve names.
const RELOAD_PATIENCE: Duration = Duration::from_secs(120);

/// Where output goes.
pub struct Output<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What went wrong.
    pub err: &'a mut dyn Write,
}

/// Why it ends early: what to say, if anything.
type Failure = Option<String>;

/// Does what the arguments say, without the program's own name. Returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, output: &mut Output<'_>) -> u8 {
    let args = match args::parse(arguments) {
        Ok(args) => args,
        Err(wrong) => {
            let _ = writeln!(output.err, "dhcpctl: {wrong}\n{USAGE}");
            return exit::USAGE;
        }
    };
    let Command::Ask(requests, shape) = args.command else {
        return match writeln!(output.out, "{USAGE}") {
            Ok(()) => 0,
            Err(_) => exit::FAILED,
        };
    };
    let done = connect(&args.socket)
        .map_err(|e| Some(unconnected(&e)))
        .and_then(|connection| converse(&connection.channel, &requests, shape, output));
    match done {
        Ok(()) => 0,
        Err(why) => {
            for line in why.iter().flat_map(|why| why.lines()) {
                let _ = writeln!(output.err, "dhcpctl: {}", render::quoted(line));
            }
            exit::FAILED
        }
    }
}

/// Why there is nobody to ask, and what may be done about it.
fn unconnected(error: &Error) -> String {
    let kind = match error {
        Error::Path { source, .. } => Some(source.kind()),
        _ => None,
    };
    match kind {
        Some(ErrorKind::PermissionDenied) => {
            format!("{error}; only root and members of the group of {USER} may connect")
        }
        Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            format!("{error}; is dhcpd running?")
        }
        _ => error.to_string(),
    }
}

/// Asks one thing after the other, and shows the answers as they come.
fn converse(
    channel: &Channel<Request, Answer>,
    requests: &[Request],
    shape: Shape,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut show = Show::new(shape);
    let mut failed = None;
    for request in requests {
        channel.send(request).map_err(|e| Some(format!("send the request: {e}")))?;
        let patience = match request {
            Request::Reload => RELOAD_PATIENCE,
            _ => PATIENCE,
        };
        let mut found = false;
        loop {
            match hear(channel, patience)? {
                Answer::End => break,
                Answer::Failed(why) => failed = Some(why),
                answer => {
                    found = true;
                    show.take(answer, output.out).map_err(unwritten)?;
                }
            }
        }
        // An empty list is an answer; somebody nobody has heard of is none.
        if let (Request::ShowHardware(hardware), None, false) = (request, &failed, found) {
            let hardware = octets(hardware);
            failed = Some(format!("nothing is known of {hardware}: no host, lease or offer"));
        }
    }
    if failed.is_none() {
        show.end(output.out).map_err(unwritten)?;
    }
    output.out.flush().map_err(unwritten)?;
    match failed {
        Some(why) => Err(Some(why)),
        None => Ok(()),
    }
}

fn hear(channel: &Channel<Request, Answer>, patience: Duration) -> Result<Answer, Failure> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Some(format!("no answer for {} seconds", patience.as_secs())));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => break,
            Err(e) => return Err(Some(format!("poll: {e}"))),
        }
    }
    channel.recv().map_err(|e| Some(format!("receive the answer: {e}")))
}

/// Whoever has read enough needs no word about it.
fn unwritten(error: io::Error) -> Failure {
    (error.kind() != io::ErrorKind::BrokenPipe).then(|| format!("write: {error}"))
}

/// Turns answers into text, at once where they may be many.
struct Show {
    shape: Shape,
    status: Option<Box<Status>>,
    pools: Vec<crate::engine::inspect::PoolUse>,
    counters: Vec<message::Counter>,
    leases: u64,
}

impl Show {
    fn new(shape: Shape) -> Show {
        Show { shape, status: None, pools: Vec::new(), counters: Vec::new(), leases: 0 }
    }

    fn take(&mut self, answer: Answer, out: &mut dyn Write) -> io::Result<()> {
        let json = self.shape == Shape::Json;
        match answer {
            Answer::Status(status) => self.status = Some(status),
            Answer::Pools(pools) => self.pools.extend(pools),
            Answer::Counters(counters) => self.counters.extend(counters),
            Answer::Leases(entries) => {
                for entry in &entries {
                    if !json && std::mem::replace(&mut self.leases, 1) == 0 {
                        out.write_all(render::LEASE_HEADING.as_bytes())?;
                    }
                    let line = if json { render::lease_json(entry) } else { render::lease(entry) };
                    writeln!(out, "{line}")?;
                }
            }
            Answer::Fact(name, value) if json => line(&render::Fact { name, value }, out)?,
            Answer::Fact(name, value) => {
                writeln!(out, "{name}: {}", render::printable(&value))?;
            }
            Answer::Step(step) if json => line(&render::step_json(&step), out)?,
            Answer::Step(step) => writeln!(out, "{}", render::step(&step))?,
            Answer::Done(what) if json => line(&render::Done { done: what }, out)?,
            Answer::Done(what) => writeln!(out, "{}", render::printable(&what))?,
            Answer::Failed(_) | Answer::End => {}
        }
        Ok(())
    }

    /// What is shown only when it is whole.
    fn end(&self, out: &mut dyn Write) -> io::Result<()> {
        let Show { shape, status, pools, counters, .. } = self;
        match shape {
            Shape::Metrics => {
                let text = metrics::exposition(status.as_deref(), pools, counters);
                out.write_all(text.as_bytes())
            }
            Shape::Json => {
                status.iter().try_for_each(|status| line(status, out))?;
                pools.iter().try_for_each(|pool| line(pool, out))?;
                counters.iter().try_for_each(|counter| line(counter, out))
            }
            Shape::Text => {
                if let Some(status) = status {
                    out.write_all(render::status(status).as_bytes())?;
                }
                out.write_all(render::pools(pools).as_bytes())?;
                out.write_all(render::counters(counters).as_bytes())
            }
        }
    }
}

/// One object, one line.
fn line(value: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", render::json(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::inspect::Filter;
    use std::path::PathBuf;

    #[test]
    fn who_may_not_connect_is_told_so() {
        let said = |kind: ErrorKind| {
            let path = PathBuf::from("/s");
            unconnected(&Error::Path { op: "connect", path, source: kind.into() })
        };
        let denied = said(ErrorKind::PermissionDenied);
        assert!(denied.ends_with("; only root and members of the group of _dhcp may connect"));
        for kind in [ErrorKind::NotFound, ErrorKind::ConnectionRefused] {
            assert!(said(kind).ends_with("; is dhcpd running?"));
        }
        assert!(!said(ErrorKind::OutOfMemory).contains(';'));
    }

    /// What is said on either output to these answers, and why it failed.
    fn told(request: Request, answers: &[Answer]) -> (String, Result<(), Failure>) {
        let (ours, theirs) = proto::unix::pair().expect("a pair");
        let ours = Channel::from_fd(ours).expect("a channel");
        let theirs: Channel<Answer, Request> = Channel::from_fd(theirs).expect("a channel");
        answers.iter().for_each(|answer| theirs.send(answer).expect("answer"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output { out: &mut out, err: &mut err };
        let result = converse(&ours, &[request], Shape::Text, &mut output);
        (String::from_utf8(out).expect("text"), result)
    }

    #[test]
    fn hardware_that_nobody_knows_is_no_success() {
        let show = || Request::ShowHardware(vec![2, 0, 0, 0, 0, 1]);
        let (out, result) = told(show(), &[Answer::End]);
        let why = "nothing is known of 02:00:00:00:00:01: no host, lease or offer";
        assert_eq!((out.as_str(), result), ("", Err(Some(why.to_owned()))));
        let fact = Answer::Fact("host".to_owned(), "pc".to_owned());
        let (out, result) = told(show(), &[fact, Answer::End]);
        assert_eq!((out.as_str(), result), ("host: pc\n", Ok(())));
        let refused = [Answer::Failed("only root".to_owned()), Answer::End];
        assert_eq!(told(show(), &refused).1, Err(Some("only root".to_owned())));
        let (out, result) = told(Request::Leases(Filter::default()), &[Answer::End]);
        assert_eq!((out.as_str(), result), ("", Ok(())), "an empty list");
    }
}
