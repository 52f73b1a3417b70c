//! What is told about the command: lines for people and JSON for programs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use supervise::attribution::Seen;
use supervise::attribution::log::{Log, Verdict};
use supervise::attribution::report::{Report, signal_json};
use supervise::track::ProcId;
use supervise::{Exit, Moment, Sender};

use super::wall;
use super::witnesses::News;
use crate::command::args::{self, Json, Options};

/// That a process has ended.
pub struct End<'a> {
    /// Which.
    pub id: ProcId,
    /// What it executed.
    pub exe: Option<&'a Path>,
    /// Whether it is the command itself.
    pub main: bool,
    /// How it ended, if that is known.
    pub exit: Option<Exit>,
    /// When.
    pub at: Moment,
}

/// Gathers what witnesses say, and tells of ends.
pub struct Reporter<'a> {
    unit: String,
    log: Log,
    options: &'a Options,
    file: Option<File>,
}

impl<'a> Reporter<'a> {
    /// One that has nothing to tell yet.
    ///
    /// # Errors
    /// The file for JSON cannot be opened.
    pub fn new(options: &'a Options, us: Sender) -> Result<Reporter<'a>, String> {
        let word = options.words.first().map(Path::new).and_then(Path::file_name);
        let word = word.unwrap_or_default().to_string_lossy().into_owned();
        let unit = options.name.clone().unwrap_or(word);
        let file = match &options.json {
            Json::File(path) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
                Some(file.map_err(|error| format!("open {}: {error}", path.display()))?)
            }
            Json::No | Json::Log => None,
        };
        Ok(Reporter { unit, log: Log::new(us), options, file })
    }

    /// What people call the command.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What others have seen.
    pub fn hear(&mut self, news: &mut News) {
        news.lost.drain(..).for_each(|at| self.log.lost(at));
        news.seen.drain(..).for_each(|seen| self.log.add(seen));
    }

    /// A signal to us is passed on. Returns what is known of it.
    pub fn passed_on(&mut self, seen: Seen, to: i32) -> Seen {
        let seen = self.log.passed_on(seen, to, Moment::now());
        let json = serde_json::json!({
            "event": "signal", "unit": self.unit, "passed_on_to": to,
            "signal": signal_json(&seen, &wall),
        });
        self.json(&json);
        seen
    }

    /// We send a signal of our own accord.
    pub fn sent(&mut self, signal: i32, to: i32) {
        self.log.sent(signal, to, Moment::now());
    }

    /// The command runs.
    pub fn started(&mut self, pid: i32, restarts: u64) {
        log::debug!("{} started as pid {pid}", self.unit);
        self.json(&serde_json::json!({
            "event": "started", "unit": self.unit, "at": wall(Moment::now()),
            "pid": pid, "restarts": restarts,
        }));
    }

    /// Why the command would be said to have ended.
    pub fn is_explained(&self, id: ProcId, exit: Exit, at: Moment) -> bool {
        !matches!(self.log.explain(id, Some(exit), at, true).verdict, Verdict::Unseen(_))
    }

    /// The command, or a descendant of it, has ended. `watched`: whoever sent it a signal was seen.
    pub fn ended(&mut self, end: &End<'_>, watched: bool) {
        let &End { id, exe, main, exit, at } = end;
        let success = exit.is_some_and(Exit::success);
        let end = self.log.explain(id, exit, at, watched);
        let report = Report { unit: &self.unit, exe, main, end: &end };
        let lines = report.lines();
        let json = report.json(&wall);
        if self.speaks() {
            for (index, line) in lines.iter().enumerate() {
                let indent = if index == 0 { "" } else { "  " };
                match success {
                    true => log::info!("{indent}{line}"),
                    false => log::warn!("{indent}{line}"),
                }
            }
        }
        self.write(&json);
    }

    /// Whether lines for people go where JSON does not.
    fn speaks(&self) -> bool {
        let syslog = matches!(self.options.log, Some(args::Log::Syslog(_)));
        self.options.json != Json::Log || syslog
    }

    fn json(&mut self, value: &serde_json::Value) {
        if self.options.json != Json::No {
            self.write(&value.to_string());
        }
    }

    /// A line of JSON, in one piece.
    fn write(&mut self, json: &str) {
        let line = format!("{json}\n");
        let result = match (&self.options.json, &mut self.file) {
            (Json::No, _) => return,
            (_, Some(file)) => file.write_all(line.as_bytes()),
            (_, None) => {
                log::logger().flush();
                std::io::stderr().write_all(line.as_bytes())
            }
        };
        if let Err(error) = result {
            log::error!("write JSON: {error}");
        }
    }
}
