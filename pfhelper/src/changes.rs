//! What a row of commands comes to: for each table the addresses that must be in it and those that
//! must not, whatever happened in between.
//!
//! Pure, and the same for every firewall. This is where it says which event does what to which
//! table.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use pfhelper::{Command, Verb};

/// Which of the three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// -A
    Abandoned = 0,
    /// -C
    Changed = 1,
    /// -L
    Leased = 2,
}

/// All of them, in the order in which results are kept.
pub const ROLES: [Role; 3] = [Role::Abandoned, Role::Changed, Role::Leased];

/// What an event does to a table: true puts the address in, false takes it out.
///
/// | event     | abandoned | changed | leased | also                              |
/// |-----------|-----------|---------|--------|-----------------------------------|
/// | abandoned | add       |         | delete | kill states from, to the address  |
/// | changed   | delete    | delete  |        |                                   |
/// | leased    | delete    |         | add    |                                   |
/// | released  |           |         | delete |                                   |
pub fn effect(verb: Verb, role: Role) -> Option<bool> {
    match (verb, role) {
        (Verb::Abandoned, Role::Abandoned) | (Verb::Leased, Role::Leased) => Some(true),
        (Verb::Abandoned | Verb::Released, Role::Leased)
        | (Verb::Changed, Role::Abandoned | Role::Changed)
        | (Verb::Leased, Role::Abandoned) => Some(false),
        (Verb::Abandoned | Verb::Leased | Verb::Released, Role::Changed)
        | (Verb::Released, Role::Abandoned)
        | (Verb::Changed, Role::Leased) => None,
    }
}

const VERBS: [Verb; 4] = [Verb::Leased, Verb::Released, Verb::Abandoned, Verb::Changed];

/// What became of what was to be done to one table, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The table is as it must be, or was not named.
    Done,
    /// It does not exist.
    Missing,
    /// It failed, for so many addresses if not for all.
    Failed(Option<u32>),
}

/// What became of commands or addresses, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Done, or nothing was to be done.
    pub applied: u32,
    /// The table does not exist.
    pub missing: u32,
    /// Anything else.
    pub failed: u32,
}

impl Outcome {
    /// Counts `count` things of which became `verdict`.
    pub fn count(&mut self, verdict: Verdict, count: u32) {
        let failed = match verdict {
            Verdict::Done => return self.applied = self.applied.saturating_add(count),
            Verdict::Missing => return self.missing = self.missing.saturating_add(count),
            Verdict::Failed(some) => some.map_or(count, |some| some.min(count)),
        };
        self.failed = self.failed.saturating_add(failed);
        self.applied = self.applied.saturating_add(count.saturating_sub(failed));
    }
}

/// Commands, the later ones weighing more.
#[derive(Debug, Default)]
pub struct Changes {
    /// For each address what must become of it in each table.
    wanted: HashMap<Ipv4Addr, [Option<bool>; 3]>,
    /// Addresses whose states must go.
    kill: Vec<Ipv4Addr>,
    /// How many commands of each verb there were.
    counts: [u32; 4],
}

impl Changes {
    /// Takes one more command.
    pub fn push(&mut self, command: Command) {
        for (verb, count) in VERBS.iter().zip(&mut self.counts) {
            *count = count.saturating_add(u32::from(*verb == command.verb));
        }
        let wanted = self.wanted.entry(command.address).or_default();
        for (role, wanted) in ROLES.iter().zip(wanted) {
            *wanted = effect(command.verb, *role).or(*wanted);
        }
        if command.verb == Verb::Abandoned {
            self.kill.push(command.address);
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// How many commands these are.
    pub fn total(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What became of the commands, when it is known what became of the tables they touch (in the
    /// order of [`ROLES`]) and whether the states could be killed: each counts by its worst part.
    pub fn outcome(&self, tables: [Verdict; 3], states: Verdict) -> Outcome {
        let mut outcome = Outcome::default();
        for (&verb, &count) in VERBS.iter().zip(&self.counts) {
            let states = if verb == Verb::Abandoned { states } else { Verdict::Done };
            let touched = |role: &Role| effect(verb, *role).is_some();
            let parts = ROLES.iter().zip(tables).filter(|(role, _)| touched(role));
            let worst = parts.fold(states, |worst, (_, verdict)| worst.max(verdict));
            outcome.count(worst, count);
        }
        outcome
    }

    /// The addresses that must be in a table (`true`) or must not, in rising order.
    pub fn addresses(&self, role: Role, present: bool) -> Vec<Ipv4Addr> {
        let wanted = |states: &[Option<bool>; 3]| states.get(role as usize) == Some(&Some(present));
        let mut addresses: Vec<_> =
            self.wanted.iter().filter(|(_, w)| wanted(w)).map(|(a, _)| *a).collect();
        addresses.sort_unstable();
        addresses
    }

    /// The addresses whose states must go, each once.
    pub fn kill(&self) -> Vec<Ipv4Addr> {
        let mut kill = self.kill.clone();
        kill.sort_unstable();
        kill.dedup();
        kill
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.wanted.clear();
        self.kill.clear();
        self.counts = [0; 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn changes(verbs: &[Verb]) -> Changes {
        let mut changes = Changes::default();
        for &verb in verbs {
            changes.push(Command { verb, address: ADDRESS });
        }
        changes
    }

    fn state(changes: &Changes, role: Role) -> Option<bool> {
        [true, false].into_iter().find(|&p| !changes.addresses(role, p).is_empty())
    }

    #[test]
    fn the_last_event_decides_in_each_table() {
        let sequence = changes(&[Verb::Leased, Verb::Changed, Verb::Abandoned]);
        assert_eq!(state(&sequence, Role::Abandoned), Some(true));
        assert_eq!(state(&sequence, Role::Changed), Some(false));
        assert_eq!(state(&sequence, Role::Leased), Some(false));
        assert_eq!(sequence.kill(), [ADDRESS]);
        let sequence = changes(&[Verb::Abandoned, Verb::Abandoned, Verb::Leased]);
        assert_eq!(state(&sequence, Role::Abandoned), Some(false));
        assert_eq!(state(&sequence, Role::Changed), None);
        assert_eq!(state(&sequence, Role::Leased), Some(true));
        assert_eq!(sequence.kill(), [ADDRESS]);
    }

    #[test]
    fn a_command_counts_by_the_worst_of_the_tables_it_touches() {
        let sequence = changes(&[Verb::Leased, Verb::Released, Verb::Released, Verb::Changed]);
        assert_eq!(sequence.total(), 4);
        let [done, missing] = [Verdict::Done, Verdict::Missing];
        let outcome = |applied, missing, failed| Outcome { applied, missing, failed };
        assert_eq!(sequence.outcome([done; 3], Verdict::Failed(None)), outcome(4, 0, 0));
        assert_eq!(sequence.outcome([done, done, missing], done), outcome(1, 3, 0));
        let failed = Verdict::Failed(None);
        assert_eq!(sequence.outcome([failed, done, missing], done), outcome(0, 2, 2));
        assert_eq!(
            sequence.outcome([done, done, Verdict::Failed(Some(1))], done),
            outcome(2, 0, 2)
        );
        let abandoned = changes(&[Verb::Abandoned]);
        assert_eq!(abandoned.outcome([done; 3], failed), outcome(0, 0, 1));
    }

    #[test]
    fn nothing_is_left_after_a_clear() {
        let mut changes = changes(&[Verb::Abandoned]);
        changes.clear();
        assert!(changes.is_empty());
        assert!(changes.kill().is_empty());
        assert!(ROLES.iter().all(|&role| changes.addresses(role, true).is_empty()));
    }

    proptest! {
        /// Against a model that carries out one command after the other.
        #[test]
        fn the_sum_is_what_one_by_one_would_give(
            commands in prop::collection::vec((0usize..4, 0u32..5), 0..40),
        ) {
            let verbs = [Verb::Leased, Verb::Released, Verb::Abandoned, Verb::Changed];
            let mut changes = Changes::default();
            let mut model: [HashMap<Ipv4Addr, bool>; 3] = Default::default();
            for (verb, address) in commands {
                let command = Command { verb: verbs[verb], address: Ipv4Addr::from(address) };
                changes.push(command);
                for role in ROLES {
                    if let Some(present) = effect(command.verb, role) {
                        model[role as usize].insert(command.address, present);
                    }
                }
            }
            for role in ROLES {
                for present in [true, false] {
                    for address in changes.addresses(role, present) {
                        prop_assert_eq!(model[role as usize].get(&address), Some(&present));
                    }
                }
                let count = changes.addresses(role, true).len()
                    + changes.addresses(role, false).len();
                prop_assert_eq!(count, model[role as usize].len());
            }
        }
    }
}
