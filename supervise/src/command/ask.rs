//! `supervise stop`, `status`, `signal` and `restart`: what is asked of a supervisor that runs.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Error, connect};
use supervise::control::{Listening, Reply, Request, Status, path_of};

use super::args::{Ask, Verb};

/// It was not done, or not in time.
const FAILED: u8 = 1;

/// There is no supervisor of that name; as the LSB has it for `status`.
const NOBODY: u8 = 3;

/// How long the answer to a question may take, that needs nobody else.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks, and says what was answered.
pub fn ask(ask: &Ask) -> ExitCode {
    match done(ask) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            eprintln!("supervise: {why}");
            ExitCode::from(code)
        }
    }
}

fn done(ask: &Ask) -> Result<(), (u8, String)> {
    let failed = |why: String| (FAILED, why);
    let path = path_of(&ask.name).map_err(failed)?;
    let reply = match ask.verb {
        Verb::Stop => return stop(&path, ask),
        Verb::Status => question(&path, &Request::Status, ANSWER, &ask.name)?,
        Verb::Signal(number) => question(&path, &Request::Signal(number), ANSWER, &ask.name)?,
        Verb::Restart => question(&path, &Request::Restart, ask.wait, &ask.name)?,
    };
    match reply {
        Reply::Done => Ok(()),
        Reply::Refused(why) => Err(failed(why)),
        Reply::Status(status) if ask.json => {
            println!("{}", serde_json::to_string(&status).map_err(|e| failed(e.to_string()))?);
            Ok(())
        }
        Reply::Status(status) => {
            print!("{}", lines(&status));
            Ok(())
        }
    }
}

fn stop(path: &Path, ask: &Ask) -> Result<(), (u8, String)> {
    let name = &ask.name;
    let failed = |why: String| (FAILED, format!("{name}: {why}"));
    probe(path, name)?;
    let supervisor = Listening::at(path).map_err(failed)?;
    supervisor.end().map_err(failed)?;
    match supervisor.ended_within(ask.wait) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let waited = ask.wait.as_secs_f64();
            Err(failed(format!("still runs {waited} s after SIGTERM")))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Whether there is anybody at all.
fn probe(path: &Path, name: &str) -> Result<(), (u8, String)> {
    connect::<Request, Reply>(path).map(drop).map_err(|error| whom(&error, name))
}

fn question(
    path: &Path,
    request: &Request,
    patience: Duration,
    name: &str,
) -> Result<Reply, (u8, String)> {
    let failed = |why: String| (FAILED, format!("{name}: {why}"));
    let connection = connect::<Request, Reply>(path).map_err(|error| whom(&error, name))?;
    connection.channel.send(request).map_err(|error| failed(error.to_string()))?;
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(connection.channel.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(0) => Err(failed(format!("no answer within {} s", patience.as_secs_f64()))),
        Ok(_) => connection.channel.recv().map_err(|error| match error {
            Error::Closed => failed("it has ended".to_owned()),
            error => failed(error.to_string()),
        }),
        Err(errno) => Err(failed(format!("poll: {errno}"))),
    }
}

fn whom(error: &Error, name: &str) -> (u8, String) {
    let nobody = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    match error {
        Error::Path { source, .. } if nobody.contains(&source.kind()) => {
            (NOBODY, format!("{name}: nobody supervises anything of this name"))
        }
        error => (FAILED, format!("{name}: {error}")),
    }
}

/// A status as people read it.
fn lines(status: &Status) -> String {
    let Status { name, state, supervisor, restarts, command, .. } = status;
    let mut text = format!("{name}: {state}");
    if let Some(pid) = status.pid {
        text.push_str(&format!(", pid {pid}, since {}", clock(status.since)));
    }
    let ready = if status.ready { "" } else { "; not ready" };
    text.push_str(&format!("{ready}\n  command     {command}\n"));
    text.push_str(&format!("  supervisor  pid {supervisor}\n  restarts    {restarts}\n"));
    let members: Vec<String> = status.members.iter().map(i32::to_string).collect();
    text.push_str(&format!("  members     {}\n", members.join(" ")));
    text.push_str(&format!("  last end    {}\n", status.last_end.as_deref().unwrap_or("none")));
    text
}

/// Seconds since 1970 as a date in UTC; RFC 3339.
fn clock(seconds: u64) -> String {
    let days = seconds / 86400;
    // Civil from days: years of 400 that begin in March have one length.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let second = seconds % 86400;
    format!(
        "{year:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendar_s() {
        assert_eq!(clock(0), "1970-01-01T00:00:00Z");
        assert_eq!(clock(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(clock(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(clock(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(clock(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_status_is_for_people() {
        let status = Status {
            name: "web".into(),
            state: "running".into(),
            supervisor: 40,
            pid: Some(42),
            members: vec![42, 43],
            command: "sleep 1".into(),
            ..Status::default()
        };
        let text = lines(&status);
        assert!(text.starts_with("web: running, pid 42, since 1970-01-01T00:00:00Z; not ready\n"));
        assert!(text.contains("members     42 43\n") && text.contains("last end    none\n"));
    }
}
