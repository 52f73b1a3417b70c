//! How many addresses a table of pf should have: pf tells its counts with every change, and a table
//! that has fewer than it should was emptied by somebody else.
//!
//! Pure, so that it is tested where no pf is. Numbers only; nothing is asked here.

/// The count of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// None where nothing is known, as before the first truth.
    expected: Option<usize>,
}

impl Tally {
    /// It has just this many now.
    pub fn is(&mut self, count: usize) {
        self.expected = Some(count);
    }

    /// So many came and so many went by our own doing.
    pub fn changed(&mut self, added: usize, deleted: usize) {
        self.expected =
            self.expected.map(|count| count.saturating_add(added).saturating_sub(deleted));
    }

    /// Nothing is known of it any more.
    pub fn forget(&mut self) {
        self.expected = None;
    }

    /// Whether some have gone that we did not delete, now that `found` are there. Said once.
    pub fn lost_some(&mut self, found: usize) -> bool {
        let lost = self.expected.is_some_and(|expected| found < expected);
        self.expected = self.expected.map(|_| found);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_changes_are_no_loss() {
        let mut tally = Tally::default();
        tally.is(10);
        tally.changed(3, 0);
        tally.changed(0, 13);
        assert!(!tally.lost_some(0));
        tally.changed(5, 0);
        assert!(!tally.lost_some(5));
    }

    #[test]
    fn what_others_take_out_is_one_loss() {
        let mut tally = Tally::default();
        tally.is(2);
        tally.changed(5, 1);
        assert!(tally.lost_some(0));
        assert!(!tally.lost_some(0));
    }

    #[test]
    fn what_others_put_in_is_none() {
        let mut tally = Tally::default();
        tally.is(2);
        assert!(!tally.lost_some(9));
        // That they take it out again cannot be told from a loss; a truth too many does no harm.
        assert!(tally.lost_some(2));
    }

    #[test]
    fn nothing_is_lost_that_was_never_counted() {
        let mut tally = Tally::default();
        tally.changed(5, 0);
        assert!(!tally.lost_some(0));
        tally.is(3);
        tally.forget();
        assert!(!tally.lost_some(0));
    }
}
