//! How it is with each table, as far as the handler's reports tell. Pure.
//!
//! A report has sums and the words of its first failure, which name a table; what met a table that
//! does not exist is a sum only. So what was said is kept until it is reported on: a report without
//! a fault is good news of the tables that it concerned, and of no others. A truth puts right what
//! failed before. What it had no address for might as well not exist, and nothing is said of it.

use crate::ctl::message::TableState;
use pfhelper::{Command, FromServer, Report, Tables, Verb};
use std::collections::VecDeque;

/// What is known of each table, and what was said of them and not reported on.
#[derive(Debug, Default)]
pub(super) struct Ready {
    tables: Vec<Told>,
    said: VecDeque<Said>,
}

/// Which of the three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Abandoned,
    Changed,
    Leased,
}

/// A table, and what the reports tell of it.
#[derive(Debug)]
struct Told {
    role: Role,
    name: String,
    known: Known,
}

#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// Nothing, or no more what it was.
    Nothing,
    /// It holds what it must.
    Kept,
    /// It did not exist, or another one did not: once it does, it gets the whole truth.
    Missing(&'static str),
    /// Something failed, in the words of the report: until a whole truth did not.
    Failed(String),
}

/// One message, or all parts of a truth.
#[derive(Debug)]
struct Said {
    seq: u32,
    truth: bool,
    /// Whether it was said to its end; what was begun again is void.
    whole: bool,
    touched: Vec<Role>,
}

/// Said of a table that no other can be meant for.
const MISSING: &str = "does not exist";

/// A handler reports on what it has heard so far before it hears more than that. From one that never
/// does nothing is known.
const UNREPORTED: usize = 65_536;

impl Ready {
    pub(super) fn new(tables: &Tables) -> Ready {
        let named = [
            (Role::Abandoned, &tables.abandoned),
            (Role::Changed, &tables.changed),
            (Role::Leased, &tables.leased),
        ];
        let told = named.into_iter().filter_map(|(role, table)| {
            let name = table.as_ref()?.as_str().to_owned();
            Some(Told { role, name, known: Known::Nothing })
        });
        Ready { tables: told.collect(), said: VecDeque::new() }
    }

    /// Another handler is there, which has told nothing yet.
    pub(super) fn begin(&mut self) {
        self.said.clear();
        self.tables.iter_mut().for_each(|table| table.known = Known::Nothing);
    }

    /// A message has left, which will be reported on.
    pub(super) fn said(&mut self, message: &FromServer) {
        if self.said.len() >= UNREPORTED {
            self.begin();
        }
        match message {
            FromServer::Apply { seq, commands } => {
                let touched = roles(|role| commands.iter().any(|command| touches(command, role)));
                self.said.push_back(Said { seq: *seq, truth: false, whole: true, touched });
            }
            FromServer::Replace { seq, part, last, leased, abandoned } => {
                if *part == 0 {
                    let touched = Vec::new();
                    self.said.push_back(Said { seq: *seq, truth: true, whole: false, touched });
                }
                let Some(said) = self.said.back_mut() else { return };
                said.whole = *last;
                said.touched.extend((!leased.is_empty()).then_some(Role::Leased));
                said.touched.extend((!abandoned.is_empty()).then_some(Role::Abandoned));
            }
        }
    }

    /// What the handler says of messages up to a number.
    pub(super) fn report(&mut self, report: &Report) {
        let (mut touched, mut truth) = (Vec::new(), false);
        // Numbers go round.
        let covered = |said: &Said| report.seq.wrapping_sub(said.seq) < u32::MAX / 2;
        let count = self.said.iter().take_while(|said| covered(said)).count();
        for said in self.said.drain(..count).filter(|said| said.whole) {
            truth |= said.truth;
            touched.extend(said.touched);
        }
        let others = self.tables.iter().filter(|table| {
            touched.contains(&table.role) && trouble(report, &table.name).is_none()
        });
        let missing = match others.count() {
            1 => MISSING,
            _ => "does not exist, or another table does not",
        };
        for table in &mut self.tables {
            let concerned = touched.contains(&table.role);
            if let Some(words) = trouble(report, &table.name) {
                table.known = Known::Failed(words);
            } else if concerned && report.missing > 0 {
                table.known = Known::Missing(missing);
            } else if report.failed > 0 {
                // Only the first failure is told: it may have failed as well.
                if concerned && table.known == Known::Kept {
                    table.known = Known::Nothing;
                }
            } else if concerned {
                let repaired = truth || table.role == Role::Changed;
                if repaired || !matches!(table.known, Known::Failed(_)) {
                    table.known = Known::Kept;
                }
            } else if truth && table.role != Role::Changed && table.known != Known::Kept {
                table.known = Known::Nothing;
            }
        }
    }

    /// How it is with each table now that there is a handler, or none.
    pub(super) fn states(&self, connected: bool) -> Vec<TableState> {
        let state = |table: &Told| {
            let (ready, state) = match &table.known {
                _ if !connected => (Some(false), "waiting for the table handler"),
                Known::Nothing => (None, "no report tells"),
                Known::Kept => (Some(true), "kept"),
                // One of several: no alarm for those that are in order.
                Known::Missing(words) => ((*words == MISSING).then_some(false), *words),
                Known::Failed(words) => (Some(false), &**words),
            };
            TableState { name: table.name.clone(), ready, state: state.to_owned() }
        };
        self.tables.iter().map(state).collect()
    }
}

/// The words of a report on this table, without its name, if they are on this one: those of
/// nftables begin with `table NAME: ` or `table NAME `, those of pf with `WHAT on table NAME: `.
fn trouble(report: &Report, name: &str) -> Option<String> {
    let (what, words) = report.detail.split_once("table ")?;
    let words = words.strip_prefix(name)?;
    let words = words.strip_prefix(": ").or_else(|| words.strip_prefix(' '))?;
    match what.strip_suffix(" on ") {
        Some(what) => Some(format!("{what}: {words}")),
        None => what.is_empty().then(|| words.to_owned()),
    }
}

fn roles(wanted: impl Fn(Role) -> bool) -> Vec<Role> {
    let all = [Role::Abandoned, Role::Changed, Role::Leased];
    all.into_iter().filter(|role| wanted(*role)).collect()
}

/// Whether the report on a command depends on a table: the handler changes these.
fn touches(command: &Command, role: Role) -> bool {
    match command.verb {
        Verb::Leased | Verb::Abandoned => matches!(role, Role::Abandoned | Role::Leased),
        Verb::Released => role == Role::Leased,
        Verb::Changed => matches!(role, Role::Abandoned | Role::Changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn ready() -> Ready {
        let named = |name: &str| Some(name.parse().unwrap());
        Ready::new(&Tables {
            abandoned: named("bad"),
            changed: named("changed"),
            leased: named("leased"),
        })
    }

    fn truth(seq: u32, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) -> FromServer {
        FromServer::replace(seq, leased, abandoned).remove(0)
    }

    fn apply(seq: u32, verb: Verb) -> FromServer {
        FromServer::Apply { seq, commands: vec![Command { verb, address: A }] }
    }

    fn hear(ready: &mut Ready, message: &FromServer, missing: u32, detail: &str) {
        let seq = match message {
            FromServer::Apply { seq, .. } | FromServer::Replace { seq, .. } => *seq,
        };
        ready.said(message);
        let failed = u32::from(!detail.is_empty());
        ready.report(&Report { seq, applied: 1, missing, failed, detail: detail.to_owned() });
    }

    fn states(ready: &Ready) -> Vec<(Option<bool>, String)> {
        ready.states(true).into_iter().map(|table| (table.ready, table.state)).collect()
    }

    fn is(ready: &Ready, expected: [&str; 3]) {
        let words: Vec<String> = states(ready).into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn a_table_is_kept_once_a_report_was_about_it() {
        let mut ready = ready();
        is(&ready, ["no report tells"; 3]);
        hear(&mut ready, &truth(1, &[A], &[]), 0, "");
        is(&ready, ["no report tells", "no report tells", "kept"]);
        hear(&mut ready, &apply(2, Verb::Leased), 0, "");
        is(&ready, ["kept", "no report tells", "kept"]);
        hear(&mut ready, &apply(3, Verb::Changed), 0, "");
        assert!(
            states(&ready).iter().all(|(ready, words)| (*ready, &**words) == (Some(true), "kept"))
        );
        ready.begin();
        is(&ready, ["no report tells"; 3]);
        assert!(ready.states(false).iter().all(|table| table.ready == Some(false)));
    }

    #[test]
    fn a_failure_is_told_in_its_words_until_a_truth_was_taken() {
        let mut ready = ready();
        let full = "table leased: it is full, 3 addresses are not in it";
        hear(&mut ready, &truth(1, &[A], &[A]), 0, full);
        is(&ready, ["no report tells", "no report tells", "it is full, 3 addresses are not in it"]);
        assert_eq!(states(&ready)[2].0, Some(false));
        hear(&mut ready, &apply(2, Verb::Leased), 0, "");
        is(&ready, ["kept", "no report tells", "it is full, 3 addresses are not in it"]);
        hear(&mut ready, &truth(3, &[A], &[]), 0, "");
        is(&ready, ["kept", "no report tells", "kept"]);
        hear(&mut ready, &apply(4, Verb::Released), 0, "table leased cannot be used: no addresses");
        is(&ready, ["kept", "no report tells", "cannot be used: no addresses"]);
        hear(&mut ready, &apply(5, Verb::Released), 0, "DIOCRADDADDRS on table leased: no room");
        is(&ready, ["kept", "no report tells", "DIOCRADDADDRS: no room"]);
    }

    #[test]
    fn a_failure_that_names_no_table_of_ours_is_none_of_a_table() {
        let mut ready = ready();
        hear(&mut ready, &truth(1, &[A], &[A]), 0, "");
        // Its name only begins like one of ours.
        hear(&mut ready, &apply(2, Verb::Abandoned), 0, "table leased2: change it: no");
        is(&ready, ["no report tells", "no report tells", "no report tells"]);
    }

    #[test]
    fn what_does_not_exist_is_one_of_those_that_the_report_is_about() {
        let mut ready = ready();
        hear(&mut ready, &truth(1, &[A], &[]), 1, "");
        is(&ready, ["no report tells", "no report tells", "does not exist"]);
        hear(&mut ready, &apply(2, Verb::Leased), 1, "");
        let either = "does not exist, or another table does not";
        is(&ready, [either, "no report tells", either]);
        hear(&mut ready, &truth(3, &[A], &[]), 0, "");
        is(&ready, ["no report tells", "no report tells", "kept"]);
    }

    #[test]
    fn a_report_covers_all_before_it_and_a_truth_in_parts_is_one() {
        let mut ready = ready();
        let many: Vec<_> = (0..40_000).map(Ipv4Addr::from_bits).collect();
        // Begun, and begun again: of the first nothing is told.
        ready.said(&FromServer::replace(u32::MAX - 1, &[], &many)[0]);
        for part in &FromServer::replace(u32::MAX, &many, &[]) {
            ready.said(part);
        }
        ready.said(&apply(0, Verb::Changed));
        ready.report(&Report { seq: u32::MAX, applied: 40_000, ..Report::default() });
        is(&ready, ["no report tells", "no report tells", "kept"]);
        ready.report(&Report { seq: 0, applied: 1, ..Report::default() });
        is(&ready, ["kept", "kept", "kept"]);
        assert!(ready.said.is_empty());
    }
}
