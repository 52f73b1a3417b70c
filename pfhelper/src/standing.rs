//! How it is with each table, as the server is told. Pure, and the same for every firewall.

use pfhelper::Condition;

use crate::changes::{ROLES, Role, Verdict};

/// How it is with the tables that are kept, in the order of [`ROLES`].
pub fn conditions<'a>(kept: impl Iterator<Item = (Role, &'a Standing)> + Clone) -> [Condition; 3] {
    ROLES.map(|role| {
        let standing = kept.clone().find_map(|(of, standing)| (of == role).then_some(standing));
        standing.map(|standing| standing.condition().clone()).unwrap_or_default()
    })
}

/// The condition of one table, and what led to it.
#[derive(Debug, Default)]
pub struct Standing {
    condition: Condition,
    /// Why something failed since the last verdict: the first reason of several.
    why: Option<String>,
}

impl Standing {
    /// What is known of it.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// It is there, and nothing is known of what it holds. In the table of changed addresses
    /// nothing has to be: it is as it must be.
    pub fn found(&mut self, role: Role) {
        self.condition = match role {
            Role::Changed => Condition::Kept,
            Role::Abandoned | Role::Leased => Condition::Unfilled,
        };
    }

    /// It does not exist.
    pub fn missed(&mut self) {
        self.condition = Condition::Missing;
    }

    /// Something failed: what, and why.
    pub fn fails(&mut self, why: &str) {
        self.why.get_or_insert_with(|| why.to_owned());
    }

    /// What was done to it came to this; `whole` if it was to put right whatever failed before: a
    /// whole truth, or anything at all where there is none.
    pub fn settle(&mut self, verdict: Verdict, whole: bool) {
        let why = self.why.take();
        self.condition = match verdict {
            Verdict::Done if whole => Condition::Kept,
            Verdict::Done => return,
            Verdict::Missing => Condition::Missing,
            Verdict::Failed(_) => Condition::Failed(why.unwrap_or_default()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_truth_makes_it_what_it_must_be() {
        let mut table = Standing::default();
        table.found(Role::Leased);
        assert_eq!(table.condition(), &Condition::Unfilled);
        table.settle(Verdict::Done, false);
        assert_eq!(table.condition(), &Condition::Unfilled);
        table.settle(Verdict::Done, true);
        table.settle(Verdict::Done, false);
        assert_eq!(table.condition(), &Condition::Kept);
        table.found(Role::Changed);
        assert_eq!(table.condition(), &Condition::Kept);
        let only = [(Role::Changed, &table)].into_iter();
        assert_eq!(conditions(only), [Condition::Unfilled, Condition::Kept, Condition::Unfilled]);
    }

    #[test]
    fn the_first_reason_is_told_until_a_truth_was_taken() {
        let mut table = Standing::default();
        table.fails("it is full");
        table.fails("list it: no memory");
        table.settle(Verdict::Failed(Some(1)), true);
        let full = Condition::Failed("it is full".to_owned());
        assert_eq!(table.condition(), &full);
        table.settle(Verdict::Done, false);
        assert_eq!(table.condition(), &full);
        table.fails("change it: no memory");
        table.settle(Verdict::Failed(None), false);
        assert_eq!(table.condition(), &Condition::Failed("change it: no memory".to_owned()));
        table.settle(Verdict::Done, true);
        assert_eq!(table.condition(), &Condition::Kept);
    }

    #[test]
    fn one_that_is_gone_or_of_no_use_is_not_kept() {
        let mut table = Standing::default();
        table.settle(Verdict::Done, true);
        table.missed();
        assert_eq!(table.condition(), &Condition::Missing);
        table.found(Role::Leased);
        table.settle(Verdict::Missing, true);
        assert_eq!(table.condition(), &Condition::Missing);
        table.fails("cannot be used");
        table.settle(Verdict::Failed(None), false);
        assert_eq!(table.condition(), &Condition::Failed("cannot be used".to_owned()));
    }
}
