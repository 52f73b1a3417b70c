//! safe-kill(8): `kill $(cat PIDFILE)` that hits the process meant, or none. What may be relied on
//! is the library's `pidfile` to say; here are only the words.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use nix::sys::signal::Signal;
use supervise::pidfile::{self, Expect, Named};
use supervise::{signal_name, user};

const USAGE: &str = "usage: safe-kill [-s SIGNAL | -SIGNAL | -n] [--exe PATH] [--user NAME] \
                     [--wait SECONDS] PIDFILE";

/// Every number of a signal is below this one.
const SIGNALS: i32 = 128;

/// What is to be done.
#[derive(Debug, PartialEq)]
struct Order {
    file: PathBuf,
    signal: i32,
    only_say: bool,
    exe: Option<PathBuf>,
    user: Option<OsString>,
    wait: Option<Duration>,
}

fn main() -> ExitCode {
    let order = match parse(Parser::from_env()) {
        Ok(Some(order)) => order,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("safe-kill: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match obey(&order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("safe-kill: {error}");
            ExitCode::FAILURE
        }
    }
}

fn obey(order: &Order) -> Result<(), String> {
    let text = |error: supervise::Error| error.to_string();
    let user = order.user.as_deref().map(number_of).transpose()?;
    let expect = Expect { exe: order.exe.clone(), user };
    let found = pidfile::find(&order.file, &expect).map_err(text)?;
    if let Some(remark) = found.remark() {
        eprintln!("safe-kill: process {}: {remark}", found.pid());
    }
    let signal = if order.signal == 0 { "signal 0".into() } else { signal_name(order.signal) };
    if order.only_say {
        let why = match found.named() {
            Named::Lock => "which holds the lock on it",
            Named::Number => "whose number is in it",
        };
        println!("would send {signal} to {}, {why}", found.describe());
        return Ok(());
    }
    found.send(order.signal).map_err(text)?;
    match order.wait {
        Some(wait) if !found.ends_within(wait).map_err(text)? => {
            let seconds = wait.as_secs_f64();
            Err(format!("{} has not ended {seconds} s after {signal}", found.describe()))
        }
        _ => Ok(()),
    }
}

/// A user's number, given as a number or as a name.
fn number_of(name: &OsStr) -> Result<u32, String> {
    let text = name.to_str().ok_or("user: not a name")?;
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => user(text).map(|user| user.uid).map_err(|error| error.to_string()),
    }
}

/// The command line; nothing if it only asks how it is used.
fn parse(mut parser: Parser) -> Result<Option<Order>, lexopt::Error> {
    let (mut file, mut signal) = (None, None);
    let (mut only_say, mut exe, mut user, mut wait) = (false, None, None, None);
    let mut options = true;
    loop {
        // -TERM and -15 are not letters in a row, as options otherwise are.
        if options && let Some(mut rest) = parser.try_raw_args() {
            let next = rest.peek().and_then(OsStr::to_str).unwrap_or_default();
            options = next != "--";
            let name = next.strip_prefix('-').filter(|name| {
                name.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
            });
            if let Some(number) = name.map(number_of_signal).transpose()? {
                once(&mut signal, number, "signal")?;
                rest.next();
                continue;
            }
        }
        match parser.next()? {
            None => break,
            Some(Arg::Short('s') | Arg::Long("signal")) => {
                let name = parser.value()?.string()?;
                once(&mut signal, number_of_signal(&name)?, "signal")?;
            }
            Some(Arg::Short('n')) => only_say = true,
            Some(Arg::Long("exe")) => once(&mut exe, PathBuf::from(parser.value()?), "--exe")?,
            Some(Arg::Long("user")) => once(&mut user, parser.value()?, "--user")?,
            Some(Arg::Long("wait")) => {
                let seconds = parser.value()?.parse_with(seconds)?;
                once(&mut wait, seconds, "--wait")?;
            }
            Some(Arg::Short('h') | Arg::Long("help")) => return Ok(None),
            Some(Arg::Value(path)) => once(&mut file, PathBuf::from(path), "PIDFILE")?,
            Some(other) => return Err(other.unexpected()),
        }
    }
    let file = file.filter(|path| !path.as_os_str().is_empty()).ok_or("which PIDFILE?")?;
    let signal = signal.unwrap_or(libc::SIGTERM);
    Ok(Some(Order { file, signal, only_say, exe, user, wait }))
}

fn once<T>(place: &mut Option<T>, value: T, what: &str) -> Result<(), lexopt::Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("more than one {what}").into()),
    }
}

/// A signal's number: 15, TERM and SIGTERM are the same one.
fn number_of_signal(name: &str) -> Result<i32, lexopt::Error> {
    if let Ok(number) = name.parse()
        && (0..SIGNALS).contains(&number)
    {
        return Ok(number);
    }
    let whole = name.to_ascii_uppercase();
    let whole = if whole.starts_with("SIG") { whole } else { format!("SIG{whole}") };
    match Signal::from_str(&whole) {
        Ok(signal) => Ok(signal as i32),
        Err(_) => Err(format!("{name}: no such signal").into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(words: &str) -> Result<Order, String> {
        let order = parse(Parser::from_args(words.split(' ').filter(|word| !word.is_empty())));
        order.map(|order| order.expect("not help")).map_err(|error| error.to_string())
    }

    #[test]
    fn all_ways_to_name_a_signal() {
        for words in ["f", "-TERM f", "-SIGTERM f", "-15 f", "-s term f", "-sSIGTERM f", "f -s 15"]
        {
            let order = given(words).expect(words);
            assert_eq!((order.signal, order.file.to_str()), (15, Some("f")), "{words}");
        }
        assert_eq!(given("-0 f").map(|order| order.signal), Ok(0));
        assert_eq!(given("-n -KILL f").map(|order| (order.signal, order.only_say)), Ok((9, true)));
        assert_eq!(given("-- -TERM").map(|order| order.file), Ok("-TERM".into()));
    }

    #[test]
    fn the_rest() {
        let order = given("--exe /bin/x --user 7 --wait 1.5 -n f").expect("an order");
        assert_eq!(order.exe, Some("/bin/x".into()));
        assert_eq!(order.user, Some("7".into()));
        assert_eq!(order.wait, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn what_makes_no_sense() {
        for words in [
            "",
            "f g",
            "-NOSUCH f",
            "-128 f",
            "-s",
            "-s -1 f",
            "-9 -15 f",
            "--wait x f",
            "--wait -1 f",
            "--wait nan f",
            "-x f",
            "--exe a --exe b f",
            "--wait 1e99 f",
        ] {
            assert!(given(words).is_err(), "{words}");
        }
    }
}
