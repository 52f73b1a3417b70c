//! The sender of a signal, as far as anybody could see it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::Moment;

/// A process that has sent a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its number. It may be somebody else's by now.
    pub pid: i32,
    /// When it began, if it could still be asked.
    pub start: Option<Moment>,
    /// Its real user id.
    pub uid: Option<u32>,
    /// Its effective user id.
    pub euid: Option<u32>,
    /// The user who had logged in, of whom it is a process; audit knows it.
    pub auid: Option<u32>,
    /// What it was executing.
    pub exe: Exe,
    /// Its name, at most 15 bytes, which every process chooses itself.
    pub name: Option<String>,
    /// The words it was started with.
    pub command: Option<Vec<OsString>>,
    /// Its parent, that one's parent and so on, each with its name; pid 1 is left out.
    pub parents: Vec<(i32, String)>,
    /// Its cgroup, from the root of the unified hierarchy.
    pub cgroup: Option<PathBuf>,
}

/// What a sender was executing when it sent, or (of the wrapper's own signals and ptrace's) a
/// moment later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exe {
    /// The path of its executable.
    Path(PathBuf),
    /// It was ending already; this is its name, at most 15 bytes.
    Ending(String),
    /// It had ended and been reaped.
    Gone,
    /// We were not allowed to see it, or have no /proc.
    Hidden,
}

impl Sender {
    /// One of which nothing is known but its number.
    pub fn of(pid: i32) -> Sender {
        Sender {
            pid,
            start: None,
            uid: None,
            euid: None,
            auid: None,
            exe: Exe::Gone,
            name: None,
            command: None,
            parents: Vec::new(),
            cgroup: None,
        }
    }

    /// What a process is now, as far as the system tells.
    pub fn look_up(pid: i32) -> Sender {
        crate::sender_source::identify(pid)
    }

    /// The words it was started with, as a line that a shell would take, shortened to a few
    /// hundred bytes.
    pub fn command_line(&self) -> Option<String> {
        const LONGEST: usize = 300;
        let words = self.command.as_ref()?;
        let mut line = String::new();
        for word in words {
            let word = word.to_string_lossy();
            if !line.is_empty() {
                line.push(' ');
            }
            let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                line.push_str(&word);
            } else {
                line.push('\'');
                let escaped = |c: char| if c.is_control() { '?' } else { c };
                line.extend(word.replace('\'', "'\\''").chars().map(escaped));
                line.push('\'');
            }
            if line.len() > LONGEST {
                let end = (0..=LONGEST).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
                line.truncate(end);
                line.push_str("...");
                break;
            }
        }
        Some(line)
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} (", self.pid)?;
        if let Some(uid) = self.uid {
            write!(f, "uid {uid}, ")?;
        }
        write!(f, "{}", self.exe)?;
        if let Some(line) = self.command_line() {
            write!(f, ": {line}")?;
        }
        f.write_str(")")
    }
}

/// What a process chose itself, as a log can take it: no line of it must look like one of ours.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl fmt::Display for Exe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exe::Path(path) => f.write_str(&printable(&path.to_string_lossy())),
            Exe::Ending(name) => write!(f, "{}, ending", printable(name)),
            Exe::Gone => f.write_str("gone"),
            Exe::Hidden => f.write_str("hidden from us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_shell_would_take() {
        let command = |words: &[&str]| Sender {
            command: Some(words.iter().map(OsString::from).collect()),
            ..Sender::of(42)
        };
        let line = |words: &[&str]| command(words).command_line().expect("a command");
        assert_eq!(line(&["kill", "-TERM", "42"]), "kill -TERM 42");
        assert_eq!(line(&["sh", "-c", "it's", "", "a\nb"]), r"sh -c 'it'\''s' '' 'a?b'");
        let long = line(&["é".repeat(400).as_str()]);
        assert!(long.ends_with("...") && long.len() < 310);
        assert_eq!(Sender::of(42).command_line(), None);
        let sender =
            Sender { uid: Some(0), exe: Exe::Path("/bin/kill".into()), ..command(&["kill", "7"]) };
        assert_eq!(sender.to_string(), "pid 42 (uid 0, /bin/kill: kill 7)");
        assert_eq!(Sender::of(42).to_string(), "pid 42 (gone)");
        let liar =
            Sender { exe: Exe::Path("/tmp/a\nsupervise: all is well".into()), ..Sender::of(42) };
        assert_eq!(liar.to_string(), "pid 42 (/tmp/a?supervise: all is well)");
    }
}
