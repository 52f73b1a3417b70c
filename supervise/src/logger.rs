//! Where log lines go: gathered in memory, written in one piece when the loop comes round.
//!
//! Lines are made with the `log` macros anywhere; a loop calls `log::logger().flush()` once an
//! iteration. `error!` and [`fatal`] do not wait for that. Levels become syslog's: error LOG_ERR,
//! warn LOG_WARNING, info LOG_INFO, debug and trace LOG_DEBUG, [`fatal`] LOG_CRIT; the facility
//! is daemon unless another one is given.
//!
//! On stderr a line is its text and nothing else, or begins with the program's name if others
//! write there as well. To syslog it goes as a datagram
//! `<PRI>tag[pid]: text` (RFC 3164, the local form, without a time: syslogd adds that), over a
//! socket that was opened before the process was confined and that never blocks. What syslogd
//! does not take is kept, up to 256 KiB, and tried again at the next flush; what is lost beyond
//! that is counted, and said.
//!
//! A control character in a line is written as `\ooo`: much of what is logged was said by
//! strangers, and none of it may end a line or speak to a terminal. A text of several lines is
//! therefore logged a line at a time.
//!
//! The environment variable `TANDEM_LOG`, set by [`crate::start`] for its child and by nobody
//! else, holds the destination and the level: `stderr:info`, `syslog:debug`.

mod facility;

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};

pub use self::facility::{DAEMON, Facility};
use crate::syslog::Transport;
use crate::{Error, role};

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error, as it is.
    Stderr,
    /// Standard error, where others write too: each line begins with `tag: `.
    SharedStderr,
    /// The system's log.
    Syslog,
    /// The system's log, as another part of the system.
    SyslogAs(Facility),
}

/// The variable that tells a child where to log.
const VARIABLE: &str = "TANDEM_LOG";

/// So much is gathered before it is written without being asked for.
const GATHER: usize = 32 * 1024;

/// So much is kept for a syslogd that does not take it.
const KEEP: usize = 256 * 1024;

/// A longer text is cut: syslogd's own limits are not far.
const LONGEST: usize = 2048;

/// How soon lines are tried again that syslogd did not take.
const RETRY: Duration = Duration::from_millis(100);

/// How long the last lines of a process may wait for syslogd.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The `log` target of a line at LOG_CRIT, a level that `log` does not have.
const CRITICAL: &str = "supervise::critical";

static LINES: OnceLock<Mutex<Lines>> = OnceLock::new();
static LOGGER: OnceLock<Logger> = OnceLock::new();

thread_local! {
    /// The line that is being made. Taken while in use: what makes it may log as well.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Sends the log to `destination` from now on. `tag` names the program in syslog; `verbose` lets
/// debug lines through.
///
/// A syslogd that is not there is no error: the lines wait for it.
///
/// # Errors
/// The process has a logger already, or no socket can be made.
pub fn init(destination: Destination, tag: &str, verbose: bool) -> Result<(), Error> {
    once()?;
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Info };
    let mut lines = match destination {
        Destination::Stderr | Destination::SharedStderr => Lines::new(Out::Stderr, tag),
        Destination::Syslog | Destination::SyslogAs(_) => {
            Lines::new(Out::Syslog(Transport::open()?), tag)
        }
    };
    match destination {
        Destination::SharedStderr => lines.head = format!("{tag}: "),
        Destination::SyslogAs(facility) => lines.facility = facility,
        Destination::Stderr | Destination::Syslog => {}
    }
    install(lines, level)
}

/// Logs as the parent that started us does. With nothing said about it, to stderr.
///
/// # Errors
/// As [`init`]; or what the parent said makes no sense.
pub fn inherit(tag: &str) -> Result<(), Error> {
    once()?;
    let said = std::env::var(VARIABLE).unwrap_or_else(|_| "stderr:info".to_owned());
    let bad = || Error::says(format!("{VARIABLE}={said}: not DESTINATION:LEVEL"));
    let (destination, level) = said.split_once(':').ok_or_else(bad)?;
    let level = level.parse().map_err(|_| bad())?;
    let out = match destination {
        "stderr" => Out::Stderr,
        "syslog" => Out::Syslog(Transport::inherit()?),
        _ => return Err(bad()),
    };
    install(Lines::new(out, tag), level)
}

/// A line of another program's, whose output goes through us: under its own `tag`, at `severity`
/// (0 to 7, syslog's). It is written with the next flush.
pub fn relay(severity: u8, tag: &str, text: &[u8]) {
    if let Some(lines) = LINES.get() {
        lock(lines).add_as(severity, &format!("{tag}: "), text);
    }
}

/// Says `fatal in NAME: text` at LOG_CRIT, writes what is waiting and exits with code 1. NAME is
/// the process's part in its title, or the tag.
pub fn fatal(text: fmt::Arguments<'_>) -> ! {
    if let Some(lines) = LINES.get() {
        let name = lock(lines).name.clone();
        log::error!(target: CRITICAL, "fatal in {name}: {text}");
    } else {
        let _ = writeln!(io::stderr(), "fatal at start: {text}");
    }
    std::process::exit(1)
}

/// Whether lines are waiting: there has been no flush since they came, or syslogd did not take them
/// at the last one. A loop with nothing else to do should come round again soon.
pub fn backlog() -> bool {
    LINES.get().is_some_and(|lines| !lock(lines).ends.is_empty())
}

/// When a loop that starts children should flush even if nothing happens: their way to syslogd is
/// found by us alone. `None` where there is none to be found.
pub fn due() -> Option<Instant> {
    let lines = lock(LINES.get()?);
    match &lines.out {
        Out::Stderr => None,
        // Lines that wait for a syslogd that is busy.
        Out::Syslog(transport) if !lines.ends.is_empty() => {
            let soon = Instant::now() + RETRY;
            Some(transport.due().map_or(soon, |due| due.min(soon)))
        }
        Out::Syslog(transport) => transport.due(),
    }
}

/// Whether the log goes to stderr, as it does before there is a logger.
pub(crate) fn is_on_stderr() -> bool {
    LINES.get().is_none_or(|lines| matches!(lock(lines).out, Out::Stderr))
}

/// What a child needs to know in order to [`inherit`].
pub(crate) fn for_child() -> Option<(&'static str, String)> {
    let destination = match lock(LINES.get()?).out {
        Out::Stderr => "stderr",
        Out::Syslog(_) => "syslog",
    };
    Some((VARIABLE, format!("{destination}:{}", log::max_level())))
}

/// A copy of the socket that a child needs in order to [`inherit`].
pub(crate) fn descriptor() -> Result<Option<OwnedFd>, Error> {
    match LINES.get().map(lock) {
        Some(lines) => match &lines.out {
            Out::Stderr => Ok(None),
            Out::Syslog(transport) => transport.descriptor(),
        },
        None => Ok(None),
    }
}

/// Before anything is opened or taken over: the descriptor of the first time must stay.
fn once() -> Result<(), Error> {
    if LINES.get().is_some() { Err(again()) } else { Ok(()) }
}

fn again() -> Error {
    Error::says("start logging: it has been started already")
}

fn install(lines: Lines, level: LevelFilter) -> Result<(), Error> {
    LINES.set(Mutex::new(lines)).map_err(|_| again())?;
    let inner = Builder::new()
        .filter_level(level)
        .write_style(WriteStyle::Never)
        .format(|line, record| {
            // In one piece: a line is made of many, and each of them costs there.
            let mut text = TEXT.take();
            text.clear();
            text.push(char::from(severity(record)));
            let made = text.write_fmt(*record.args());
            let written = line.write_all(text.as_bytes());
            TEXT.set(text);
            made.map_err(io::Error::other).and(written)
        })
        .target(Target::Pipe(Box::new(Gather)))
        .build();
    LOGGER.set(Logger { inner }).map_err(|_| again())?;
    let logger = LOGGER.get().ok_or_else(again)?;
    log::set_logger(logger).map_err(|_| again())?;
    log::set_max_level(level);
    std::panic::set_hook(Box::new(panicked));
    extern "C" fn at_exit() {
        last_words();
    }
    // SAFETY: `at_exit` is an extern "C" function without arguments that does not unwind: it
    // takes a lock and writes.
    if unsafe { libc::atexit(at_exit) } != 0 {
        return Err(Error::says("start logging: atexit: out of memory"));
    }
    Ok(())
}

/// A panic is a bug; it must be found in the log, in one line. (The standard hook would write to
/// a standard error that nobody reads, and open files for its backtrace.)
fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
    let (text, place) = (text.unwrap_or("?"), place.unwrap_or_default());
    log::error!(target: CRITICAL, "panic{place}: {text}");
}

/// The `log::Log` of the process.
struct Logger {
    inner: env_logger::Logger,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.inner.log(record);
        if record.level() == Level::Error {
            self.flush();
        }
    }

    fn flush(&self) {
        if let Some(lines) = LINES.get() {
            lock(lines).write();
        }
    }
}

fn severity(record: &Record<'_>) -> u8 {
    match record.level() {
        Level::Error if record.target() == CRITICAL => 2,
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    // A panic while it was held leaves at worst half a line.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn last_words() {
    if let Some(lines) = LINES.get() {
        let mut lines = lock(lines);
        lines.write();
        if let Out::Syslog(transport) = &lines.out
            && !lines.ends.is_empty()
        {
            transport.wait(LAST_WORDS);
            lines.write();
        }
    }
}

/// What env_logger writes a finished line to: one call a line, its severity in front.
struct Gather;

impl Write for Gather {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let (Some(lines), Some((&severity, text))) = (LINES.get(), line.split_first()) {
            let mut lines = lock(lines);
            lines.add(severity, text);
            if lines.bytes.len() >= GATHER {
                lines.write();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Out {
    Stderr,
    Syslog(Transport),
}

/// The lines that wait to be written.
struct Lines {
    out: Out,
    /// What this process is in a line about its end.
    name: String,
    /// `tag[pid]: `; on stderr nothing, or `tag: `.
    head: String,
    facility: Facility,
    /// So much is written at a time, whole lines if they are not longer.
    piece: usize,
    bytes: Vec<u8>,
    /// Where in `bytes` each line ends.
    ends: Vec<usize>,
    lost: u64,
}

impl Lines {
    fn new(out: Out, tag: &str) -> Lines {
        let head = match out {
            Out::Stderr => String::new(),
            Out::Syslog(_) => format!("{tag}[{}]: ", std::process::id()),
        };
        // Now, because a confined process may not look at its descriptors any more.
        let title = role();
        let name = title.as_ref().and_then(|title| title.split_once(": ")).map(|(_, name)| name);
        let name = name.unwrap_or(tag).to_owned();
        let facility = DAEMON;
        let piece = piece();
        Lines { out, name, head, facility, piece, bytes: Vec::new(), ends: Vec::new(), lost: 0 }
    }

    fn add(&mut self, severity: u8, text: &[u8]) {
        let head = std::mem::take(&mut self.head);
        self.add_as(severity, &head, text);
        self.head = head;
    }

    fn add_as(&mut self, severity: u8, head: &str, text: &[u8]) {
        if self.bytes.len() >= KEEP {
            self.lost += 1;
            return;
        }
        let syslog = matches!(self.out, Out::Syslog(_));
        if syslog {
            let _ = write!(self.bytes, "<{}>", self.facility.priority(severity));
        }
        self.bytes.extend_from_slice(head.as_bytes());
        let (text, cut) = match text.get(..LONGEST) {
            Some(start) if text.len() > LONGEST => (start, true),
            _ => (text, false),
        };
        clean(text, &mut self.bytes);
        if cut {
            self.bytes.extend_from_slice(b"...");
        }
        if !syslog {
            self.bytes.push(b'\n');
        }
        self.ends.push(self.bytes.len());
    }

    /// Writes as many lines as the destination takes at once, and keeps the others.
    fn write(&mut self) {
        if self.lost > 0 && self.bytes.len() < KEEP / 2 {
            let mut text = String::new();
            let _ = write!(text, "{} log lines were lost: nobody took them in time", self.lost);
            self.lost = 0;
            self.add(4, text.as_bytes());
        }
        let written = match &mut self.out {
            Out::Stderr => {
                to_stderr(&self.bytes, &self.ends, self.piece);
                self.ends.len()
            }
            Out::Syslog(transport) => transport.send(&self.bytes, &self.ends),
        };
        if written == self.ends.len() {
            self.bytes.clear();
            self.ends.clear();
        } else if let Some(&gone) = written.checked_sub(1).and_then(|last| self.ends.get(last)) {
            self.bytes.drain(..gone);
            self.ends.drain(..written);
            for end in &mut self.ends {
                *end -= gone;
            }
        }
    }
}

/// How much standard error takes in one piece, even if several processes share it: a file anything,
/// what may be a pipe no more than that.
fn piece() -> usize {
    let is_file = nix::sys::stat::fstat(io::stderr())
        .is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFREG);
    if is_file { usize::MAX } else { libc::PIPE_BUF }
}

/// Writes whole lines, no more at a time than `piece`. There is nobody to tell if it fails.
fn to_stderr(bytes: &[u8], ends: &[usize], piece: usize) {
    let mut from = 0;
    let mut to = 0;
    let put = |from: usize, to: usize| {
        let _ = io::stderr().write_all(bytes.get(from..to).unwrap_or_default());
    };
    for &end in ends {
        if end - from > piece && to > from {
            put(from, to);
            from = to;
        }
        to = end;
    }
    if to > from {
        put(from, to);
    }
}

/// Appends `text` with its control characters, of ASCII and of Unicode's second set, as `\ooo`.
fn clean(text: &[u8], out: &mut Vec<u8>) {
    let suspect = |byte: u8| byte < 0x20 || byte == 0x7f || byte == 0xc2;
    // To the end in any case: nearly every line is clean, and so it is many bytes at a time.
    if !text.iter().fold(false, |found, &byte| found | suspect(byte)) {
        out.extend_from_slice(text);
        return;
    }
    let mut previous = 0;
    for &byte in text {
        let second_set = previous == 0xc2 && (0x80..0xa0).contains(&byte);
        if second_set {
            // The 0xc2 before it has gone out as it was.
            out.pop();
            let _ = write!(out, "\\302\\{byte:03o}");
        } else if byte < 0x20 || byte == 0x7f {
            let _ = write!(out, "\\{byte:03o}");
        } else {
            out.push(byte);
        }
        previous = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        let mut out = Vec::new();
        clean(text.as_bytes(), &mut out);
        String::from_utf8(out).expect("still UTF-8")
    }

    #[test]
    fn strangers_neither_end_lines_nor_speak_to_terminals() {
        assert_eq!(cleaned("DHCPACK on 10.0.0.1"), "DHCPACK on 10.0.0.1");
        assert_eq!(cleaned("a\nb\x1b[31m\x7f"), "a\\012b\\033[31m\\177");
        assert_eq!(cleaned("\u{9b}x é"), "\\302\\233x é");
    }

    #[test]
    fn a_syslog_line_has_its_priority_and_tag() {
        let mut lines = Lines::new(Out::Stderr, "dhcpd");
        lines.add(6, b"hello");
        assert_eq!(lines.bytes, b"hello\n");
        lines.add(6, &[b'x'; LONGEST + 1]);
        assert_eq!(lines.bytes.len(), 6 + LONGEST + 4);
        assert!(lines.bytes.ends_with(b"x...\n"));
        lines.head = "supervise: ".into();
        lines.add(6, b"hello");
        lines.add_as(3, "sh[42]: ", b"hello");
        assert!(lines.bytes.ends_with(b"supervise: hello\nsh[42]: hello\n"));
    }
}
