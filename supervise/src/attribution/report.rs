//! An end in words, for a log, and in JSON, for programs. Every conclusion says what it is drawn
//! from; 143 and SIGTERM never look alike.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::log::{Entry, Explanation, Verdict};
use super::{Confidence, Reason, Seen, Witness};
use crate::sender::printable;
use crate::{Exe, Exit, Moment, Sender, signal_name};

/// An explained end, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What people call it: the name given to us, or that of the command.
    pub unit: &'a str,
    /// The executable of the process that ended.
    pub exe: Option<&'a Path>,
    /// Whether it is the command itself, and not a descendant.
    pub main: bool,
    /// How it ended, and why.
    pub end: &'a Explanation,
}

impl Report<'_> {
    /// One line a fact, the end first.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.outcome()];
        lines.extend(self.interpretation());
        for index in self.end.verdict.places() {
            let Some(entry) = self.end.signals.get(index) else { continue };
            let witnesses: Vec<&str> = entry.witnesses.iter().map(|by| by.name()).collect();
            lines.push(format!("{}, seen by {}", entry.seen, witnesses.join(" and ")));
            if let Some(asked) = &entry.relayed {
                lines.push(format!("which passes on {asked}"));
            }
            lines.extend(ancestry(entry.origin()));
            if entry.origin().target.is_thread() {
                let target = entry.origin().target;
                lines.push(format!(
                    "{} is no process but a thread of {}: whoever sends to the number in an old \
                     pid file hits like this",
                    target.tid, target.pid
                ));
            }
        }
        lines
    }

    /// Who, how, after how long.
    fn outcome(&self) -> String {
        let Explanation { id, exit, at, .. } = self.end;
        let whose =
            if self.main { self.unit.to_owned() } else { format!("{}: a descendant", self.unit) };
        let exe = self
            .exe
            .map_or(String::new(), |exe| format!(", {}", printable(&exe.to_string_lossy())));
        let end = exit.map_or("ended, nobody knows how".to_owned(), |exit| exit.to_string());
        format!("{whose} (pid {}{exe}) {end} after {}", id.pid, lasted(*at - id.start))
    }

    /// What follows from how it ended and what was seen.
    fn interpretation(&self) -> Option<String> {
        let signals = &self.end.signals;
        let name = |index: usize| {
            signals.get(index).map_or("a signal".into(), |entry| signal_name(entry.seen.signal))
        };
        Some(match (self.end.verdict, self.end.exit) {
            (Verdict::Left(after), Some(Exit::Exited(code))) => {
                let convention = by_convention(code);
                match (after, convention) {
                    (None, None) => return None,
                    (None, Some(signal)) => format!(
                        "code {code} is 128 + {} by the shells' convention, but the process called \
                         exit itself, and no {signal} to it was seen",
                        code - 128
                    ),
                    (Some(index), None) => {
                        format!(
                            "it called exit itself, {} after {}",
                            self.since(index),
                            name(index)
                        )
                    }
                    (Some(index), Some(signal)) if name(index) == signal.as_str() => format!(
                        "code {code} is 128 + {} by the shells' convention: it called exit itself, \
                         {} after {signal}, which it must have caught",
                        code - 128,
                        self.since(index)
                    ),
                    (Some(index), Some(signal)) => format!(
                        "code {code} is 128 + {} by the shells' convention, but no {signal} was \
                         seen: it called exit itself, {} after {}",
                        code - 128,
                        self.since(index),
                        name(index)
                    ),
                }
            }
            (Verdict::Raised(_, Some(_)), _) => {
                "it sent the signal to itself, after one from somebody else".to_owned()
            }
            (Verdict::Raised(_, None), _) => "it sent the signal to itself".to_owned(),
            (Verdict::Unseen(Reason::NotObserved), _) => {
                "who sent it was not observed: that takes --who=trace (as root) or --who=ptrace"
                    .to_owned()
            }
            (Verdict::Unseen(Reason::Overrun), _) => {
                "who sent it is unknown: the witness had lost events".to_owned()
            }
            (Verdict::Unseen(_), _) => {
                "who sent it is unknown: no process was seen to send it".to_owned()
            }
            (Verdict::Lost, _) => "its end fell into a gap of the tracker's".to_owned(),
            (Verdict::Killed(_) | Verdict::Left(_), _) => return None,
        })
    }

    fn since(&self, index: usize) -> String {
        let sent = self.end.signals.get(index).map_or(self.end.at, |entry| entry.seen.at);
        lasted(self.end.at - sent)
    }

    /// One object on one line. `wall` gives the milliseconds since 1970 that a moment stands for.
    pub fn json(&self, wall: &dyn Fn(Moment) -> u64) -> String {
        let Explanation { id, exit, at, signals, verdict } = self.end;
        let view = View {
            event: "ended",
            unit: self.unit,
            main: self.main,
            process: Process {
                pid: id.pid,
                start: wall(id.start),
                exe: self.exe.map(|exe| exe.to_string_lossy().into_owned()),
            },
            ended: wall(*at),
            outcome: exit.map(Outcome::of),
            interpretation: self.interpretation(),
            signal_log: signals.iter().map(|entry| Signal::of(entry, wall)).collect(),
            verdict: verdict.name(),
            signal: verdict.places().first().copied(),
        };
        // Only a map whose keys are no strings could fail, and there is none.
        serde_json::to_string(&view).unwrap_or_default()
    }
}

impl Verdict {
    /// The signals it rests on, the nearest first.
    fn places(self) -> Vec<usize> {
        match self {
            Verdict::Killed(index) | Verdict::Left(Some(index)) => vec![index],
            Verdict::Raised(index, before) => before.into_iter().chain([index]).collect(),
            Verdict::Unseen(_) | Verdict::Left(None) | Verdict::Lost => Vec::new(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verdict::Killed(_) => "killed",
            Verdict::Raised(..) => "raised",
            Verdict::Unseen(Reason::Overrun) => "unseen-overrun",
            Verdict::Unseen(Reason::NotObserved) => "unseen-not-observed",
            Verdict::Unseen(_) => "unseen",
            Verdict::Left(None) => "exited",
            Verdict::Left(Some(_)) => "exited-after-signal",
            Verdict::Lost => "lost",
        }
    }
}

impl Witness {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Witness::Wrapper => "supervise",
            Witness::Ptrace => "ptrace",
            Witness::Trace => "tracefs",
            Witness::Audit => "audit",
        }
    }
}

/// The signal that an exit code stands for where a shell has made it: 128 and the number.
fn by_convention(code: i32) -> Option<String> {
    let name = signal_name(code - 128);
    (code > 128 && !name.starts_with("signal ")).then(|| name.into_owned())
}

/// Where the sender comes from.
fn ancestry(seen: &Seen) -> Option<String> {
    let sender = seen.sender.as_ref()?;
    let mut line = String::new();
    for (pid, name) in &sender.parents {
        line.push_str(if line.is_empty() { "started by " } else { ", that by " });
        line.push_str(&format!("{} ({pid})", printable(name)));
    }
    if let Some(cgroup) = sender.cgroup.as_ref().filter(|group| group.as_os_str() != "/") {
        line.push_str(if line.is_empty() { "in " } else { "; in " });
        line.push_str(&format!("cgroup {}", printable(&cgroup.to_string_lossy())));
    }
    (!line.is_empty()).then(|| format!("pid {}: {line}", sender.pid))
}

/// A length of time as people say it: two units at most.
fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds}.{} s", time.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// A signal that was seen, as in [`Report::json`]'s `signal_log`.
pub fn signal_json(seen: &Seen, wall: &dyn Fn(Moment) -> u64) -> serde_json::Value {
    let entry = Entry { seen: seen.clone(), witnesses: vec![seen.witness], relayed: None };
    serde_json::to_value(Signal::of(&entry, wall)).unwrap_or_default()
}

#[derive(Serialize)]
struct View<'a> {
    event: &'static str,
    unit: &'a str,
    main: bool,
    process: Process,
    ended: u64,
    outcome: Option<Outcome>,
    interpretation: Option<String>,
    signal_log: Vec<Signal>,
    verdict: &'static str,
    /// The place in `signal_log` of the signal that the verdict is about.
    signal: Option<usize>,
}

#[derive(Serialize)]
struct Process {
    pid: i32,
    start: u64,
    exe: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Exited { code: i32 },
    Signaled { signal: i32, name: String, core: bool },
}

impl Outcome {
    fn of(exit: Exit) -> Outcome {
        match exit {
            Exit::Exited(code) => Outcome::Exited { code },
            Exit::Signaled { signal, core } => {
                Outcome::Signaled { signal, name: signal_name(signal).into_owned(), core }
            }
        }
    }
}

#[derive(Serialize)]
struct Signal {
    at: u64,
    signal: i32,
    name: String,
    via: String,
    target_pid: i32,
    target_tid: i32,
    sender: Option<By>,
    confidence: &'static str,
    witnesses: Vec<&'static str>,
    /// The signal to supervise that this one passes on.
    passes_on: Option<Box<Signal>>,
}

impl Signal {
    fn of(entry: &Entry, wall: &dyn Fn(Moment) -> u64) -> Signal {
        let passes_on = entry.relayed.as_ref().map(|seen| {
            let witnesses = vec![seen.witness];
            let asked = Entry { seen: (**seen).clone(), witnesses, relayed: None };
            Box::new(Signal::of(&asked, wall))
        });
        let seen = &entry.seen;
        Signal {
            at: wall(seen.at),
            signal: seen.signal,
            name: signal_name(seen.signal).into_owned(),
            via: seen.via.to_string(),
            target_pid: seen.target.pid,
            target_tid: seen.target.tid,
            sender: seen.sender.as_ref().map(|sender| By::of(sender, wall)),
            confidence: match seen.confidence {
                Confidence::Certain => "certain",
                Confidence::Reported => "reported",
                Confidence::Claimed => "claimed",
                Confidence::Unknown(Reason::OutOfNamespace) => "unknown-out-of-namespace",
                Confidence::Unknown(Reason::Kernel) => "unknown-kernel",
                Confidence::Unknown(Reason::NotObserved) => "unknown-not-observed",
                Confidence::Unknown(Reason::Overrun) => "unknown-overrun",
            },
            witnesses: entry.witnesses.iter().map(|witness| witness.name()).collect(),
            passes_on,
        }
    }
}

#[derive(Serialize)]
struct By {
    pid: i32,
    start: Option<u64>,
    uid: Option<u32>,
    euid: Option<u32>,
    auid: Option<u32>,
    exe: Option<String>,
    /// `known`, `ending`, `gone` or `hidden`: why `exe` may be missing.
    exe_state: &'static str,
    name: Option<String>,
    command: Option<Vec<String>>,
    parents: Vec<Ancestor>,
    cgroup: Option<String>,
}

#[derive(Serialize)]
struct Ancestor {
    pid: i32,
    name: String,
}

impl By {
    fn of(sender: &Sender, wall: &dyn Fn(Moment) -> u64) -> By {
        let (exe, exe_state) = match &sender.exe {
            Exe::Path(path) => (Some(path.to_string_lossy().into_owned()), "known"),
            Exe::Ending(_) => (None, "ending"),
            Exe::Gone => (None, "gone"),
            Exe::Hidden => (None, "hidden"),
        };
        let words = |words: &Vec<std::ffi::OsString>| {
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        let ancestor = |(pid, name): &(i32, String)| Ancestor { pid: *pid, name: name.clone() };
        By {
            pid: sender.pid,
            start: sender.start.map(wall),
            uid: sender.uid,
            euid: sender.euid,
            auid: sender.auid,
            exe,
            exe_state,
            name: sender.name.clone(),
            command: sender.command.as_ref().map(words),
            parents: sender.parents.iter().map(ancestor).collect(),
            cgroup: sender.cgroup.as_ref().map(|path| path.to_string_lossy().into_owned()),
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
