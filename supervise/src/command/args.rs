//! The command line of supervise(8). Pure: words in, what is wanted or what is wrong out.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use supervise::logger::Facility;
use supervise::restart::{Limit, Policy};
use supervise::track::Backend;

/// What `supervise --help` prints.
pub const HELP: &str = "\
usage: supervise [-bhqv] [-n name] [--audit] [--exit-code-style=signal|128+n] [--json[=file]]
                 [--keep-rest] [--kill-rest] [--log=stderr|syslog[:facility]] [--log-stderr]
                 [--pidfile file] [--ptrace] [--ready=exec|notify|fd:number]
                 [--restart=no|on-failure|always] [--restart-limit=number/seconds]
                 [--stop-timeout seconds] [--trace] [--track]
                 [--who=auto|siginfo|ptrace|trace|audit[,...]] -- command [argument ...]
       supervise stop [--wait seconds] name
       supervise status [--json] name
       supervise signal name signal
       supervise restart [--wait seconds] name
       supervise track [--check] [--count] [--json] [--backend=auto|connector|ptrace]
                 --pid number | -- command [argument ...]";

/// How long `stop` and `restart` wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// `--help`.
    Help,
    /// To supervise a command.
    Run(Box<Options>),
    /// Something of a supervisor that runs already.
    Ask(Ask),
    /// To say what becomes of a command or process, and of all that it makes.
    Track(Track),
}

/// How a command is to be supervised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The command and its arguments; never empty.
    pub words: Vec<OsString>,
    /// `-n`.
    pub name: Option<String>,
    /// `-b`.
    pub background: bool,
    /// `-v`.
    pub verbose: bool,
    /// `-q`.
    pub quiet: bool,
    /// `--who`, `--ptrace`, `--trace`, `--audit`.
    pub who: Who,
    /// `--track`.
    pub track: bool,
    /// `--json`.
    pub json: Json,
    /// `--pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `--ready`.
    pub ready: Ready,
    /// `--restart`.
    pub restart: Policy,
    /// `--restart-limit`.
    pub limit: Limit,
    /// `--stop-timeout`.
    pub stop_timeout: Option<Duration>,
    /// `--keep-rest`.
    pub keep_rest: bool,
    /// `--log`.
    pub log: Option<Log>,
    /// `--log-stderr`.
    pub log_stderr: bool,
    /// `--exit-code-style`.
    pub style: Style,
}

/// Which witnesses there are to be, besides ourselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Who {
    /// None was named: whatever is to be had without asking.
    pub auto: bool,
    /// ptrace.
    pub ptrace: bool,
    /// tracefs.
    pub trace: bool,
    /// audit.
    pub audit: bool,
}

/// Whether there is to be JSON, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    /// None.
    #[default]
    No,
    /// Instead of lines for people.
    Log,
    /// In this file, besides lines for people.
    File(PathBuf),
}

/// When the command is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Ready {
    /// As `Notify` if our own manager wants to be notified, else as `Exec`.
    #[default]
    Auto,
    /// When it has been executed.
    Exec,
    /// When it says so by sd_notify(3).
    Notify,
    /// When it writes a line to this descriptor.
    Fd(i32),
}

/// Where we log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Log {
    /// Standard error.
    Stderr,
    /// syslog.
    Syslog(Facility),
}

/// How we end when a signal has ended the command.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Style {
    /// By the same signal.
    #[default]
    Signal,
    /// With the code 128 + its number.
    Code,
}

/// A request to a supervisor that runs already.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// What.
    pub verb: Verb,
    /// Of whom.
    pub name: String,
    /// `--wait`.
    pub wait: Duration,
    /// `--json`.
    pub json: bool,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    /// End it.
    Stop,
    /// Say how it is.
    Status,
    /// Send it this signal.
    Signal(i32),
    /// End it and start it again.
    Restart,
}

/// What is to be followed, and how it is to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// A process that runs; a command without one.
    pub pid: Option<i32>,
    /// The command.
    pub words: Vec<OsString>,
    /// One JSON object a line.
    pub json: bool,
    /// `--backend`.
    pub backend: Backend,
    /// `--check`.
    pub check: bool,
    /// `--count`.
    pub count: bool,
}

/// Reads the words after our own name. The error is one line for stderr.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Wanted, String> {
    let words: Vec<OsString> = words.into_iter().collect();
    let verb = words.first().and_then(|word| word.to_str());
    let rest = || words.iter().skip(1).cloned();
    match verb {
        Some(verb @ ("stop" | "status" | "signal" | "restart")) => ask(verb, rest()),
        Some("track") => track(rest()),
        _ => options(words),
    }
}

fn options(words: Vec<OsString>) -> Result<Wanted, String> {
    let mut parser = Parser::from_args(words);
    let mut o = Options { who: Who { auto: true, ..Who::default() }, ..Options::default() };
    loop {
        if let Some(command) = after_dashes(&mut parser) {
            o.words = command;
            break;
        }
        let Some(arg) = parser.next().map_err(text)? else { break };
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Wanted::Help),
            Arg::Short('b') | Arg::Long("background") => o.background = true,
            Arg::Short('v') | Arg::Long("verbose") => o.verbose = true,
            Arg::Short('q') | Arg::Long("quiet") => o.quiet = true,
            Arg::Short('n') | Arg::Long("name") => {
                let name: String = value(&mut parser, "-n")?;
                supervise::control::path_of(&name)?;
                o.name = Some(name);
            }
            Arg::Long("audit") => o.who = Who { auto: false, audit: true, ..o.who },
            Arg::Long("ptrace") => o.who = Who { auto: false, ptrace: true, ..o.who },
            Arg::Long("trace") => o.who = Who { auto: false, trace: true, ..o.who },
            Arg::Long("who") => o.who = who(&value::<String>(&mut parser, "--who")?)?,
            Arg::Long("track") => o.track = true,
            Arg::Long("json") => {
                o.json = parser.optional_value().map_or(Json::Log, |file| Json::File(file.into()));
            }
            Arg::Long("pidfile") => o.pidfile = Some(parser.value().map_err(text)?.into()),
            Arg::Long("ready") => o.ready = ready(&value::<String>(&mut parser, "--ready")?)?,
            Arg::Long("restart") => o.restart = value(&mut parser, "--restart")?,
            Arg::Long("restart-limit") => o.limit = value(&mut parser, "--restart-limit")?,
            Arg::Long("stop-timeout") => o.stop_timeout = Some(seconds(&mut parser)?),
            Arg::Long("kill-rest") => o.keep_rest = false,
            Arg::Long("keep-rest") => o.keep_rest = true,
            Arg::Long("log") => o.log = Some(log(&value::<String>(&mut parser, "--log")?)?),
            Arg::Long("log-stderr") => o.log_stderr = true,
            Arg::Long("exit-code-style") => {
                o.style = match value::<String>(&mut parser, "--exit-code-style")?.as_str() {
                    "signal" => Style::Signal,
                    "128+n" => Style::Code,
                    other => return Err(format!("--exit-code-style={other}: signal or 128+n")),
                }
            }
            Arg::Value(word) => {
                return Err(format!("put -- before the command: supervise -- {}", shown(&word)));
            }
            other => return Err(text(other.unexpected())),
        }
    }
    if o.words.is_empty() {
        return Err("no command: supervise [options] -- command [argument ...]".to_owned());
    }
    if o.words.first().is_some_and(|word| word.is_empty()) {
        return Err("the command is an empty word".to_owned());
    }
    Ok(Wanted::Run(Box::new(o)))
}

fn ask(verb: &str, words: impl Iterator<Item = OsString>) -> Result<Wanted, String> {
    let mut parser = Parser::from_args(words);
    let (mut wait, mut json, mut names) = (PATIENCE, false, Vec::new());
    while let Some(arg) = parser.next().map_err(text)? {
        match arg {
            Arg::Long("wait") if matches!(verb, "stop" | "restart") => wait = seconds(&mut parser)?,
            Arg::Long("json") if verb == "status" => json = true,
            Arg::Value(word) => {
                names.push(
                    word.into_string().map_err(|word| format!("{} is no name", shown(&word)))?,
                );
            }
            other => return Err(text(other.unexpected())),
        }
    }
    let (name, verb) = match (verb, names.as_slice()) {
        ("stop", [name]) => (name, Verb::Stop),
        ("status", [name]) => (name, Verb::Status),
        ("restart", [name]) => (name, Verb::Restart),
        ("signal", [name, signal]) => (name, Verb::Signal(number(signal)?)),
        ("signal", _) => return Err("supervise signal wants a name and a signal".to_owned()),
        (verb, _) => return Err(format!("supervise {verb} wants one name")),
    };
    supervise::control::path_of(name)?;
    Ok(Wanted::Ask(Ask { verb, name: name.clone(), wait, json }))
}

fn track(words: impl Iterator<Item = OsString>) -> Result<Wanted, String> {
    let mut parser = Parser::from_args(words);
    let mut track = Track::default();
    loop {
        if let Some(command) = after_dashes(&mut parser) {
            track.words = command;
            break;
        }
        let Some(arg) = parser.next().map_err(text)? else { break };
        match arg {
            Arg::Long("json") => track.json = true,
            Arg::Long("check") => track.check = true,
            Arg::Long("count") => track.count = true,
            Arg::Long("backend") => track.backend = value(&mut parser, "--backend")?,
            Arg::Long("pid") => {
                let pid: i32 = value(&mut parser, "--pid")?;
                track.pid = Some(pid).filter(|pid| *pid > 0);
                if track.pid.is_none() {
                    return Err(format!("--pid {pid}: no process has this number"));
                }
            }
            Arg::Value(word) => {
                return Err(format!("put -- before the command: -- {}", shown(&word)));
            }
            other => return Err(text(other.unexpected())),
        }
    }
    match (track.pid, track.words.is_empty()) {
        (Some(_), true) | (None, false) => Ok(Wanted::Track(track)),
        _ => Err("supervise track wants either --pid or -- and a command".to_owned()),
    }
}

/// All words after `--`, if that is what comes next.
fn after_dashes(parser: &mut Parser) -> Option<Vec<OsString>> {
    let mut raw = parser.try_raw_args()?;
    if raw.peek()? != "--" {
        return None;
    }
    raw.next();
    Some(raw.collect())
}

fn value<T: std::str::FromStr>(parser: &mut Parser, flag: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    let word = parser.value().map_err(text)?;
    let told = word.string().map_err(text)?;
    told.parse().map_err(|error: T::Err| format!("{flag}: {error}"))
}

fn seconds(parser: &mut Parser) -> Result<Duration, String> {
    let told = parser.value().and_then(ValueExt::string).map_err(text)?;
    let seconds: f64 = told.parse().map_err(|_| format!("{told}: not a number of seconds"))?;
    let bounded = Some(seconds).filter(|seconds| (0.0..=1e9).contains(seconds));
    bounded.map(Duration::from_secs_f64).ok_or_else(|| format!("{told}: not a number of seconds"))
}

fn who(list: &str) -> Result<Who, String> {
    let mut who = Who::default();
    for word in list.split(',') {
        match word {
            "auto" => who.auto = true,
            // We hear of what is sent to us in any case.
            "siginfo" => {}
            "ptrace" => who.ptrace = true,
            "trace" => who.trace = true,
            "audit" => who.audit = true,
            _ => return Err(format!("--who: {word}: auto, siginfo, ptrace, trace or audit")),
        }
    }
    Ok(who)
}

fn ready(word: &str) -> Result<Ready, String> {
    match (word, word.strip_prefix("fd:").map(str::parse)) {
        ("exec", _) => Ok(Ready::Exec),
        ("notify", _) => Ok(Ready::Notify),
        (_, Some(Ok(number @ 0..=1023))) => Ok(Ready::Fd(number)),
        _ => Err(format!("--ready={word}: exec, notify or fd:NUMBER")),
    }
}

fn log(word: &str) -> Result<Log, String> {
    match word.split_once(':').unwrap_or((word, "daemon")) {
        ("stderr", _) if word == "stderr" => Ok(Log::Stderr),
        ("syslog", facility) => Ok(Log::Syslog(facility.parse()?)),
        _ => Err(format!("--log={word}: stderr or syslog[:FACILITY]")),
    }
}

/// A signal by its name, with or without SIG, or by its number.
fn number(word: &str) -> Result<i32, String> {
    let known = |number: &i32| {
        let name = supervise::signal_name(*number);
        name.strip_prefix("SIG").is_some_and(|short| {
            short.eq_ignore_ascii_case(word) || name.eq_ignore_ascii_case(word)
        })
    };
    let number = word.parse().ok().or_else(|| (1..65).find(known));
    number.filter(|number| (1..65).contains(number)).ok_or_else(|| format!("{word}: no signal"))
}

fn text(error: lexopt::Error) -> String {
    error.to_string()
}

fn shown(word: &OsStr) -> String {
    word.as_bytes().escape_ascii().to_string()
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
