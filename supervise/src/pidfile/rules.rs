//! What speaks against a PID file, or against the process of the number in it. Everything is a
//! comparison of facts that somebody else has collected.

use std::fmt;
use std::path::{Path, PathBuf};

/// The longest file that is looked into, in bytes. The number has ten digits at most.
pub(crate) const LONGEST: usize = 64;

/// How much earlier than a process's true start its file may seem to have been written. The start
/// is known in steps of 10 ms, rounded down, and so is harmless; the file is stamped with a clock
/// that stands still for up to 10 ms, and so may carry a time before that of its writing.
const STEP: u64 = 20_000_000;

/// What of a file decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether it is an ordinary file.
    pub regular: bool,
    /// Its owner's user id.
    pub owner: u32,
    /// Who may do what, as stat(2) has it.
    pub mode: u32,
    /// How many bytes are in it.
    pub size: u64,
    /// When it was written: nanoseconds of the epoch.
    pub modified: u64,
}

/// The clocks, when the questions were asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Now: nanoseconds of the epoch.
    pub now: u64,
    /// When the machine was booted, likewise.
    pub boot: u64,
}

/// What of a process decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number.
    pub pid: i32,
    /// Its name, which it chooses itself.
    pub name: String,
    /// When it began: nanoseconds of the epoch.
    pub began: u64,
    /// Its real user id.
    pub user: u32,
    /// What it executes.
    pub exe: Image,
}

/// What a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// This file.
    Path(PathBuf),
    /// A file that was there under this name and is no more.
    Replaced(PathBuf),
    /// We may not see it, or the system does not tell.
    Hidden,
}

/// Where in a file something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From 1.
    pub line: usize,
    /// Bytes, from 1.
    pub column: usize,
    /// What.
    pub why: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.why)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String =
            self.name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        write!(f, "process {} ({name}, uid {}", self.pid, self.user)?;
        match &self.exe {
            Image::Path(path) | Image::Replaced(path) => write!(f, ", {})", path.display()),
            Image::Hidden => f.write_str(")"),
        }
    }
}

/// The number in a file: decimal digits, and white space around them if it must be.
pub(crate) fn number(bytes: &[u8]) -> Result<i32, Fault> {
    let (mut line, mut column) = (1, 1);
    let mut place = (1, 1);
    let mut value: Option<i64> = None;
    let mut over = false;
    let at = |(line, column): (usize, usize), why| Err(Fault { line, column, why });
    for (index, &byte) in bytes.iter().enumerate() {
        let here = (line, column);
        if index >= LONGEST {
            return at(here, "too long for a PID file");
        }
        match byte {
            b'0'..=b'9' if !over => {
                if value.is_none() {
                    place = here;
                }
                let next = value.unwrap_or(0) * 10 + i64::from(byte - b'0');
                if next > i64::from(i32::MAX) {
                    return at(place, "no process has so large a number");
                }
                value = Some(next);
            }
            b' ' | b'\t' | b'\r' | b'\n' => over = value.is_some(),
            b'0'..=b'9' => return at(here, "a second number"),
            b'-' if value.is_none() => return at(here, "a negative number: a process group's"),
            _ if value.is_none() => return at(here, "not a number"),
            _ => return at(here, "something behind the number"),
        }
        (line, column) = if byte == b'\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    match value.map(i32::try_from) {
        None if bytes.is_empty() => at((1, 1), "the file is empty"),
        None => at((line, column), "no number in the file"),
        Some(Ok(0)) => at(place, "0: to kill it means one's own process group"),
        Some(Ok(1)) => at(place, "1: that is init"),
        Some(Ok(pid)) => Ok(pid),
        Some(Err(_)) => at(place, "no process has so large a number"),
    }
}

/// Whether a file can be relied on at all.
pub(crate) fn file(facts: &Facts) -> Result<(), String> {
    if !facts.regular {
        return Err("is not a regular file".into());
    }
    let others = match facts.mode & 0o022 {
        0 => return Ok(()),
        0o020 => "its group",
        _ => "everybody",
    };
    Err(format!("can be written by {others} (mode {:04o})", facts.mode & 0o7777))
}

/// Whether a process that began then can have been meant when the file was written.
pub(crate) fn age(facts: &Facts, began: u64, clock: &Clock) -> Result<(), String> {
    let written = facts.modified;
    if written.saturating_add(STEP) < clock.boot {
        let by = seconds(clock.boot - written);
        return Err(format!("the file was written {by} before the machine was booted"));
    }
    if written > clock.now.saturating_add(STEP) {
        let by = seconds(written - clock.now);
        return Err(format!("the file was written {by} from now, if the clock is right"));
    }
    if began > written.saturating_add(STEP) {
        let by = seconds(began - written);
        return Err(format!(
            "it began {by} after the file was written: the number has been used again"
        ));
    }
    Ok(())
}

fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:02} s", nanoseconds / 1_000_000_000, nanoseconds / 10_000_000 % 100)
}

/// Whether the file's owner has a say in the life of this process. Root has, and one who is
/// expected has been named by whoever asks.
pub(crate) fn owner(facts: &Facts, process: &Process, user: Option<u32>) -> Result<(), String> {
    if facts.owner == 0 || facts.owner == process.user || user.is_some() {
        return Ok(());
    }
    Err(format!("belongs to uid {}, who cannot speak for {process}", facts.owner))
}

/// Whether it is what was expected. `exe` has no symbolic links in it.
pub(crate) fn expected(
    process: &Process,
    exe: Option<&Path>,
    user: Option<u32>,
) -> Result<(), String> {
    if let Some(user) = user.filter(|&user| user != process.user) {
        return Err(format!("{process} is not uid {user}'s"));
    }
    let Some(exe) = exe else { return Ok(()) };
    match &process.exe {
        Image::Path(path) | Image::Replaced(path) if path == exe => Ok(()),
        Image::Hidden => {
            Err(format!("whether {process} executes {} cannot be seen", exe.display()))
        }
        _ => Err(format!("{process} does not execute {}", exe.display())),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
