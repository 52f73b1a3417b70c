//! An event of a tracker's in words, for people, and in JSON, for programs; and how many there were.

use supervise::Exit;
use supervise::track::{Cause, Event, Parent, ProcId};

/// An event for people.
pub fn line(event: &Event) -> String {
    match event {
        Event::Fork { id, parent, found, at } => {
            let how = if *found { "found" } else { "fork" };
            let parent = match parent {
                Parent::Exact(parent) => format!("of {parent}"),
                Parent::Ancestor(ancestor) => format!("below {ancestor}"),
                Parent::Unknown => "of nobody known".to_owned(),
            };
            format!("{at} {how} {id} {parent}")
        }
        Event::Exec { id, path, at } => match path {
            Some(path) => format!("{at} exec {id} {}", path.display().to_string().escape_debug()),
            None => format!("{at} exec {id}"),
        },
        Event::Session { id, at } => format!("{at} session {id}"),
        Event::Exit { id, exit: Some(exit), at } => format!("{at} exit {id} {exit}"),
        Event::Exit { id, exit: None, at } => format!("{at} exit {id} nobody knows how"),
        Event::Gap { cause, at } => format!("{at} gap {}", why(*cause)),
        Event::Resync { found, vanished, at } => {
            format!("{at} resync {found} found, {vanished} missed")
        }
        Event::Empty { at } => format!("{at} empty"),
    }
}

/// An event for programs.
pub fn json(event: &Event) -> serde_json::Value {
    use serde_json::json;
    let who = |id: &ProcId| json!({"pid": id.pid, "start": id.start.0});
    match event {
        Event::Fork { id, parent, found, at } => {
            let (parent, certain) = match parent {
                Parent::Exact(parent) => (who(parent), "exact"),
                Parent::Ancestor(ancestor) => (who(ancestor), "ancestor"),
                Parent::Unknown => (serde_json::Value::Null, "unknown"),
            };
            json!({"event": "fork", "at": at.0, "process": who(id), "parent": parent,
                "parent_is": certain, "found": found})
        }
        Event::Exec { id, path, at } => {
            let path = path.as_ref().map(|path| path.to_string_lossy());
            json!({"event": "exec", "at": at.0, "process": who(id), "path": path})
        }
        Event::Session { id, at } => json!({"event": "session", "at": at.0, "process": who(id)}),
        Event::Exit { id, exit, at } => {
            let outcome = exit.map(|exit| match exit {
                Exit::Exited(code) => json!({"exited": {"code": code}}),
                Exit::Signaled { signal, core } => {
                    let name = supervise::signal_name(signal);
                    json!({"signaled": {"signal": signal, "name": name, "core": core}})
                }
            });
            json!({"event": "exit", "at": at.0, "process": who(id), "outcome": outcome})
        }
        Event::Gap { cause, at } => {
            let (name, of) = match cause {
                Cause::Overrun { lost } => ("overrun", json!({"lost": lost})),
                Cause::TrackError { parent } => ("track-error", json!({"parent": who(parent)})),
                Cause::Contradiction { pid } => ("contradiction", json!({"pid": pid})),
            };
            json!({"event": "gap", "at": at.0, "cause": {name: of}})
        }
        Event::Resync { found, vanished, at } => {
            json!({"event": "resync", "at": at.0, "found": found, "vanished": vanished})
        }
        Event::Empty { at } => json!({"event": "empty", "at": at.0}),
    }
}

fn why(cause: Cause) -> String {
    match cause {
        Cause::Overrun { lost: Some(lost) } => {
            format!("{lost} events were lost, of all processes of the machine")
        }
        Cause::Overrun { lost: None } => "events were lost, nobody knows how many".to_owned(),
        Cause::TrackError { parent } => format!("the kernel could not follow what {parent} made"),
        Cause::Contradiction { pid } => {
            format!("the kernel's records of ends say something else of {pid}")
        }
    }
}

/// How many there were of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    forks: u64,
    execs: u64,
    exits: u64,
    gaps: u64,
    lost: u64,
}

impl Totals {
    /// Counts one.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Fork { .. } => self.forks += 1,
            Event::Exec { .. } => self.execs += 1,
            Event::Exit { .. } => self.exits += 1,
            Event::Gap { cause, .. } => {
                self.gaps += 1;
                if let Cause::Overrun { lost } = cause {
                    self.lost += lost.unwrap_or(0);
                }
            }
            Event::Session { .. } | Event::Resync { .. } | Event::Empty { .. } => {}
        }
    }

    /// For people, or for programs.
    pub fn told(&self, json: bool) -> String {
        let Totals { forks, execs, exits, gaps, lost } = self;
        if json {
            let totals = serde_json::json!({"event": "totals", "forks": forks, "execs": execs,
                "exits": exits, "gaps": gaps, "lost": lost});
            return totals.to_string();
        }
        format!("{forks} forks, {execs} execs, {exits} exits, {gaps} gaps, {lost} events lost")
    }
}
