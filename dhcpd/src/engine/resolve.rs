//! Which of two records of one address counts, where servers have told each other of leases.
//!
//! Pure, and the same answer in whatever order the two come and however often: so servers that have
//! seen the same records have the same leases. The rules, for two records of one address:
//!
//! 1. One abandoned, the other not: the one that began later. Who reclaims an abandoned address
//!    begins a lease; who meets a stranger at a leased one abandons it.
//! 2. Of one client, or both abandoned: the one that began later; of the same second, the one that
//!    was not given back (a server that gives and takes back in one second says so by the next);
//!    then the one that ends later.
//! 3. Of two clients, one of them over: the one that still runs.
//! 4. Of two clients, both over: the one that began later.
//! 5. Of two clients, both running: a conflict. While apart, two servers gave one address to two
//!    clients. The one that began later counts, but until the later of both ends: nobody else gets
//!    the address while either client may believe that it has it.
//!
//! What is still equal then is decided by what else the records say, in a fixed order; a client
//! identifier counts more than none. A lease was given back if it does not end after it began: that is
//! how such records are written.

use super::identity::{Client, Hw};
use crate::lease::LeaseView;
use std::cmp::Ordering;

/// Which record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Winner {
    Ours,
    Theirs,
    /// There is no difference.
    Both,
}

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) winner: Winner,
    /// When it ends, in wall time.
    pub(super) ends: i64,
    /// Two clients hold the address.
    pub(super) conflict: bool,
}

/// Who a record says has or had the address.
pub(super) fn client<'a>(lease: &LeaseView<'a>) -> Client<'a> {
    let hw = lease.hardware.map_or(Hw::default(), |(htype, addr)| Hw::new(htype, addr));
    Client { hw, id: lease.client_id.filter(|id| !id.is_empty()) }
}

/// Whether both are of one client, or both abandoned.
pub(super) fn same_holder(a: &LeaseView<'_>, b: &LeaseView<'_>) -> bool {
    if a.abandoned || b.abandoned {
        return a.abandoned && b.abandoned;
    }
    let (a, b) = (client(a), client(b));
    a.same(&b.hw, b.id) || (a.hw.is_empty() && b.hw.is_empty() && a.id == b.id)
}

/// The rules above; `now` is wall time.
pub(super) fn resolve(ours: &LeaseView<'_>, theirs: &LeaseView<'_>, now: i64) -> Outcome {
    let began = ours.starts.cmp(&theirs.starts);
    let ended = ours.ends.cmp(&theirs.ends);
    let given_back = |lease: &LeaseView<'_>| lease.ends <= lease.starts;
    let (mut ends, mut conflict) = (None, false);
    let order = if ours.abandoned != theirs.abandoned {
        began.then(ours.abandoned.cmp(&theirs.abandoned))
    } else if same_holder(ours, theirs) {
        let back = given_back(theirs).cmp(&given_back(ours));
        began.then(back).then(ended)
    } else {
        let runs = |lease: &LeaseView<'_>| lease.ends > now && !given_back(lease);
        match (runs(ours), runs(theirs)) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => began.then(ended),
            (true, true) => {
                conflict = true;
                ends = Some(ours.ends.max(theirs.ends));
                began.then(ended)
            }
        }
    };
    let winner = match order.then_with(|| rest(ours).cmp(&rest(theirs))) {
        Ordering::Greater => Winner::Ours,
        Ordering::Less => Winner::Theirs,
        Ordering::Equal => Winner::Both,
    };
    let own = if winner == Winner::Theirs { theirs.ends } else { ours.ends };
    Outcome { winner, ends: ends.unwrap_or(own), conflict }
}

/// What is compared last.
#[allow(clippy::type_complexity, reason = "it is only ever compared")]
fn rest<'a>(
    lease: &LeaseView<'a>,
) -> (Option<&'a [u8]>, Option<(u8, &'a [u8])>, bool, Option<&'a [u8]>, Option<&'a [u8]>) {
    let LeaseView { client_id, hardware, dynamic_bootp, client_hostname, hostname, .. } = *lease;
    (client_id, hardware, dynamic_bootp, client_hostname, hostname)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hardware;
    use crate::lease::LeaseRecord;
    use proptest::prelude::*;

    fn lease(client: u8, id: Option<u8>, starts: i64, ends: i64, abandoned: bool) -> LeaseRecord {
        let mut lease = LeaseRecord::new([10, 0, 0, 10].into());
        (lease.starts, lease.ends, lease.abandoned) = (starts, ends, abandoned);
        if !abandoned {
            lease.hardware = Some(Hardware { htype: 1, addr: vec![2, 0, 0, 0, 0, client] });
            lease.client_id = id.map(|id| vec![id]);
        }
        lease
    }

    fn any_lease() -> impl Strategy<Value = LeaseRecord> {
        (0u8..3, prop::option::of(0u8..2), 0i64..6, 0i64..6, prop::bool::weighted(0.2)).prop_map(
            |(client, id, starts, length, abandoned)| {
                lease(client, id, starts, starts + length, abandoned)
            },
        )
    }

    /// What is kept, as a record.
    fn kept(a: &LeaseRecord, b: &LeaseRecord, now: i64) -> LeaseRecord {
        let outcome = resolve(&a.view(), &b.view(), now);
        let winner = if outcome.winner == Winner::Theirs { b } else { a };
        LeaseRecord { ends: outcome.ends, ..winner.clone() }
    }

    proptest! {
        #[test]
        fn order_and_repetition_make_no_difference(
            a in any_lease(),
            b in any_lease(),
            now in 0i64..12,
        ) {
            let first = kept(&a, &b, now);
            prop_assert_eq!(&first, &kept(&b, &a, now));
            prop_assert_eq!(&kept(&a, &a, now), &a);
            // Either again changes nothing more.
            prop_assert_eq!(&kept(&first, &a, now), &first);
            prop_assert_eq!(&kept(&first, &b, now), &first);
        }

        /// Nobody else can get the address before both would have it end, unless one of them was
        /// overtaken by what its own client did later, or by a conflict with a stranger.
        #[test]
        fn what_runs_is_never_free(a in any_lease(), b in any_lease(), now in 0i64..12) {
            let kept = kept(&a, &b, now);
            for lease in [&a, &b] {
                let overtaken = same_holder(&a.view(), &b.view()) || a.abandoned != b.abandoned;
                let over = lease.ends <= now || lease.ends <= lease.starts;
                prop_assert!(overtaken || over || kept.ends >= lease.ends);
            }
        }
    }

    #[test]
    fn who_counts() {
        let now = 500;
        let wins = |winner: &LeaseRecord, loser: &LeaseRecord| {
            let outcome = resolve(&winner.view(), &loser.view(), now);
            assert_eq!(outcome.winner, Winner::Ours, "{winner:?} over {loser:?}");
            outcome
        };
        let first = lease(1, None, 100, 1000, false);
        wins(&lease(1, None, 400, 1300, false), &first); // renewed
        wins(&lease(1, None, 450, 450, false), &first); // given back
        wins(&lease(1, None, 101, 100, false), &first); // given back at once
        wins(&first, &lease(1, None, 100, 100, false)); // given back elsewhere, and taken again
        wins(&lease(1, Some(7), 100, 1000, false), &first); // the same, and its identifier
        wins(&first, &lease(2, None, 200, 300, false)); // running before over
        wins(&lease(0, None, 300, 900, true), &first); // a stranger was met there
        wins(&lease(1, None, 400, 700, false), &lease(0, None, 300, 900, true)); // reclaimed
        let conflict = wins(&lease(2, None, 200, 700, false), &first);
        assert!(conflict.conflict);
        assert_eq!(conflict.ends, 1000);
    }
}
