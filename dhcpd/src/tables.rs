//! What the pf table handler has yet to be told: the server's side of the firewall's tables.
//!
//! Pure: it only decides which message is next. The rule it keeps is that the tables converge to
//! what the leases say, whatever happens to the handler, and that a slow or dead handler never
//! holds up a packet: the queue is bounded, and when it overflows the events in it are replaced by
//! one whole truth.

use crate::ctl::message::TableState;
use crate::engine::counters::Counters;
use pfhelper::{Command, Condition, FromServer, MAX_COMMANDS, Report, Table, Tables};
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// The most events that wait before they are given up for a whole truth.
const MAX_WAITING: usize = 8 * MAX_COMMANDS;

/// The messages that wait for the handler, and what it has said of earlier ones.
#[derive(Debug, Default)]
pub struct Feed {
    /// Those that were named.
    tables: Tables,
    /// Whether a handler is there to hear us.
    connected: bool,
    /// Whether the handler must be told the whole truth before any more events.
    stale: bool,
    /// The rest of a whole truth that is being told.
    truth: VecDeque<FromServer>,
    /// Events after that truth.
    events: Vec<Command>,
    /// The `Apply` being sent: what `pending` returned and `sent` has not confirmed.
    sending: Option<FromServer>,
    seq: u32,
    /// How it is with them, as the handler has told: abandoned, changed, leased.
    conditions: [Condition; 3],
    /// Sums of all reports.
    totals: Totals,
    /// Events that were given up for a whole truth, and how many of those were told.
    dropped: u64,
    truths: u64,
}

/// What became of all events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Taken by the firewall, or nothing to change.
    pub applied: u64,
    /// Met a table that did not exist.
    pub missing: u64,
    /// Failed otherwise.
    pub failed: u64,
}

impl Feed {
    /// For the tables that were named at start.
    pub fn new(tables: &Tables) -> Self {
        Feed { tables: tables.clone(), ..Feed::default() }
    }

    /// A handler is there, new or again: it knows nothing yet.
    pub fn connect(&mut self) {
        self.connected = !self.tables.is_empty();
        self.conditions = Default::default();
        self.forget();
    }

    /// The handler is gone. Nothing is kept for the next one: it will be told the whole truth.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.forget();
    }

    /// The tables may hold anything: tell the whole truth again.
    pub fn forget(&mut self) {
        self.stale = true;
        self.truth.clear();
        self.events.clear();
        self.sending = None;
    }

    /// Takes the events of one batch.
    pub fn push(&mut self, commands: &[Command]) {
        // What a handler does not know yet it learns from the truth.
        if !self.connected || self.stale {
            return;
        }
        if self.events.len() + commands.len() > MAX_WAITING {
            log::warn!(
                "pf table handler is slow: {} table changes become one reconciliation",
                self.events.len() + commands.len()
            );
            self.dropped += (self.events.len() + commands.len()) as u64;
            self.forget();
        } else {
            self.events.extend_from_slice(commands);
        }
    }

    /// Whether [`Feed::tell`] should be called with what the leases say now.
    pub fn wants_truth(&self) -> bool {
        self.connected && self.stale
    }

    /// Queues the whole truth.
    pub fn tell(&mut self, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) {
        self.forget();
        self.stale = false;
        self.truths += 1;
        self.seq = self.seq.wrapping_add(1);
        self.truth = FromServer::replace(self.seq, leased, abandoned).into();
    }

    /// The message to send next, until [`Feed::sent`].
    pub fn pending(&mut self) -> Option<&FromServer> {
        if self.sending.is_none() && self.connected {
            self.sending = self.truth.pop_front().or_else(|| {
                let count = self.events.len().min(MAX_COMMANDS);
                (count > 0).then(|| {
                    self.seq = self.seq.wrapping_add(1);
                    FromServer::Apply {
                        seq: self.seq,
                        commands: self.events.drain(..count).collect(),
                    }
                })
            });
        }
        self.sending.as_ref()
    }

    /// The message that `pending` returned has been sent.
    pub fn sent(&mut self) {
        self.sending = None;
    }

    /// What the handler says of messages sent earlier.
    pub fn report(&mut self, report: &Report) {
        self.totals.applied += u64::from(report.applied);
        self.totals.missing += u64::from(report.missing);
        self.totals.failed += u64::from(report.failed);
    }

    /// How the handler says it is with the tables.
    pub fn found(&mut self, conditions: [Condition; 3]) {
        self.conditions = conditions;
    }

    /// The same for people.
    pub fn states(&self) -> Vec<TableState> {
        let Tables { abandoned, changed, leased } = &self.tables;
        let named = [abandoned, changed, leased].into_iter().zip(&self.conditions);
        let state = |(name, condition): (&Option<Table>, &Condition)| {
            let state = match condition {
                _ if !self.connected => "waiting for the table handler",
                Condition::Unfilled => "not filled yet",
                Condition::Kept => "kept",
                Condition::Missing => "does not exist",
                Condition::Failed(why) => why,
            };
            let ready = self.connected && *condition == Condition::Kept;
            Some(TableState { name: name.as_ref()?.to_string(), ready, state: state.to_owned() })
        };
        named.filter_map(state).collect()
    }

    /// Fills in what happened here.
    pub fn count(&self, all: &mut Counters) {
        all.table_applied = self.totals.applied;
        all.table_missing = self.totals.missing;
        all.table_failed = self.totals.failed;
        all.table_drops = self.dropped;
        all.table_truths = self.truths;
    }

    /// Sums of all reports.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pfhelper::Verb;

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + n)
    }

    fn leased(n: u32) -> Command {
        Command { verb: Verb::Leased, address: address(n) }
    }

    fn feed() -> Feed {
        let tables = Tables { leased: Some("leased".parse().unwrap()), ..Tables::default() };
        Feed::new(&tables)
    }

    fn drain(feed: &mut Feed) -> Vec<FromServer> {
        let mut all = Vec::new();
        while let Some(message) = feed.pending() {
            all.push(message.clone());
            feed.sent();
        }
        all
    }

    #[test]
    fn without_tables_nothing_is_ever_said() {
        let mut feed = Feed::new(&Tables::default());
        feed.connect();
        feed.push(&[leased(1)]);
        assert!(!feed.wants_truth());
        assert_eq!(feed.pending(), None);
    }

    #[test]
    fn a_new_handler_hears_the_truth_first_and_events_after_it() {
        let mut feed = feed();
        assert!(!feed.wants_truth());
        feed.connect();
        feed.push(&[leased(1)]); // in the truth already
        assert!(feed.wants_truth());
        assert_eq!(feed.pending(), None);
        feed.tell(&[address(1)], &[address(9)]);
        feed.push(&[leased(2), leased(3)]);
        let said = drain(&mut feed);
        assert!(
            matches!(&said[0], FromServer::Replace { seq: 1, last: true, leased, abandoned, .. }
            if leased == &[address(1)] && abandoned == &[address(9)])
        );
        assert_eq!(said[1], FromServer::Apply { seq: 2, commands: vec![leased(2), leased(3)] });
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn a_table_is_ready_only_if_the_handler_that_is_there_says_so() {
        let mut feed = Feed::new(&Tables {
            abandoned: None,
            changed: Some("changed".parse().unwrap()),
            leased: Some("leased".parse().unwrap()),
        });
        let told = |feed: &Feed, changed: (bool, &str), leased: (bool, &str)| {
            let named = [("changed", changed), ("leased", leased)];
            let expected = named.map(|(name, (ready, state))| TableState {
                name: name.to_owned(),
                ready,
                state: state.to_owned(),
            });
            assert_eq!(feed.states(), expected);
        };
        let waits = (false, "waiting for the table handler");
        told(&feed, waits, waits);
        feed.connect();
        let unfilled = (false, "not filled yet");
        told(&feed, unfilled, unfilled);
        feed.found([Condition::Unfilled, Condition::Kept, Condition::Missing]);
        told(&feed, (true, "kept"), (false, "does not exist"));
        let full = "it is full, 3 addresses are not in it";
        feed.found([Condition::Unfilled, Condition::Kept, Condition::Failed(full.to_owned())]);
        told(&feed, (true, "kept"), (false, full));
        feed.disconnect();
        told(&feed, waits, waits);
        feed.connect();
        told(&feed, unfilled, unfilled);
    }

    #[test]
    fn a_message_stays_until_it_was_sent() {
        let mut feed = feed();
        feed.connect();
        feed.tell(&[], &[]);
        drain(&mut feed);
        feed.push(&[leased(1)]);
        let first = feed.pending().cloned();
        feed.push(&[leased(2)]);
        assert_eq!(feed.pending().cloned(), first);
        feed.sent();
        assert_eq!(feed.pending(), Some(&FromServer::Apply { seq: 3, commands: vec![leased(2)] }));
    }

    #[test]
    fn a_handler_that_died_is_forgotten_and_the_next_one_told_everything() {
        let mut feed = feed();
        feed.connect();
        feed.tell(&[], &[]);
        feed.push(&[leased(1)]);
        feed.disconnect();
        assert_eq!(feed.pending(), None);
        feed.push(&[leased(2)]);
        assert_eq!(feed.pending(), None);
        feed.connect();
        assert!(feed.wants_truth());
    }

    #[test]
    fn q18_a_wedged_handler_costs_bounded_memory_and_then_one_truth() {
        let mut feed = feed();
        feed.connect();
        feed.tell(&[], &[]);
        drain(&mut feed);
        for n in 0..1_000_000 {
            feed.push(&[leased(n)]);
            assert!(feed.events.len() <= MAX_WAITING);
        }
        assert!(feed.wants_truth());
        feed.tell(&[address(1)], &[]);
        assert!(matches!(drain(&mut feed)[..], [FromServer::Replace { .. }]));
    }

    #[test]
    fn a_truth_that_becomes_stale_halfway_is_begun_again() {
        let mut feed = feed();
        feed.connect();
        let many: Vec<_> = (0..40_000).map(address).collect();
        feed.tell(&many, &[]);
        assert!(feed.pending().is_some());
        feed.sent();
        feed.forget();
        feed.tell(&many, &[]);
        assert!(matches!(feed.pending(), Some(FromServer::Replace { seq: 2, part: 0, .. })));
    }
}
