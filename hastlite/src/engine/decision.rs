//! Who has the newer data: what a secondary concludes from the counters of both nodes, and answers.
//!
//! Taken once a handshake, from the primary's second message and the secondary's metadata alone.

use super::{Consistency, Metadata};
use crate::wire::hello::{Second, SyncSource};
use std::cmp::Ordering;

/// The text that primaries know a split brain by.
pub const SPLIT_BRAIN: &str = "Split-brain condition!";

/// What the counters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both have the same, but for what a crash left.
    InSync,
    /// The primary has gone on alone.
    SecondaryOld,
    /// The secondary has gone on alone, as primary.
    PrimaryOld,
    /// Neither has known the other: no counters to compare.
    Virgin,
    /// Counters that nothing known leads to.
    Strange,
    /// The secondary has gone on alone too, but its data was given up by whoever runs it.
    Discarded,
}

/// The map that goes with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapToSend {
    /// None: `mapsize` 0.
    None,
    /// The one on the secondary's disk.
    Own,
    /// All ones: everything is to be copied.
    Full,
}

/// What the secondary answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub verdict: Verdict,
    /// Whose data is copied to the other node.
    pub source: SyncSource,
    /// Which extents, besides those that the primary knows of.
    pub map: MapToSend,
    /// The secondary had no `resuid`: it takes the primary's and stores it before it answers, with
    /// both counters 0, and says `virgin`.
    pub adopt: bool,
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another resource of the same name.
    Resuid {
        /// The primary's.
        primary: u64,
        /// The secondary's.
        secondary: u64,
    },
    /// Both nodes have what the other has not.
    SplitBrain,
}

impl Refused {
    /// As FreeBSD's hastd says it.
    pub fn errmsg(self) -> String {
        match self {
            Self::Resuid { primary, secondary } => {
                format!("Resource unique ID mismatch (primary={primary}, secondary={secondary}).")
            }
            Self::SplitBrain => SPLIT_BRAIN.to_owned(),
        }
    }
}

/// Decides. `own` is the secondary's metadata.
///
/// A secondary whose data is not consistent is never taken for the source, whatever the counters
/// say: FreeBSD's hastd cannot know (H7).
///
/// # Errors
/// Where the nodes must not be linked.
pub fn decide(own: &Metadata, second: &Second) -> Result<Decision, Refused> {
    let given_up = own.consistency != Consistency::Consistent;
    if own.resuid == 0 {
        // Written as a primary that never met anybody: nobody else has that.
        if own.localcnt != 0 && !given_up {
            return Err(Refused::SplitBrain);
        }
        let map = if second.virgin { MapToSend::None } else { MapToSend::Full };
        return Ok(Decision {
            verdict: Verdict::Virgin,
            source: SyncSource::Primary,
            map,
            adopt: true,
        });
    }
    if own.resuid != second.resuid {
        return Err(Refused::Resuid { primary: second.resuid, secondary: own.resuid });
    }
    let (verdict, source, map) = table(own, second)?;
    if given_up && source == SyncSource::Secondary {
        return Ok(discarded(verdict));
    }
    Ok(Decision { verdict, source, map, adopt: false })
}

fn table(own: &Metadata, second: &Second) -> Result<(Verdict, SyncSource, MapToSend), Refused> {
    use Ordering::{Equal, Greater, Less};
    let mine = own.localcnt.cmp(&second.remotecnt);
    let theirs = own.remotecnt.cmp(&second.localcnt);
    Ok(match (mine, theirs) {
        (Equal, Equal) => (Verdict::InSync, SyncSource::Primary, MapToSend::Own),
        (Equal, Less) => (Verdict::SecondaryOld, SyncSource::Primary, MapToSend::Own),
        (Greater, Equal) => (Verdict::PrimaryOld, SyncSource::Secondary, MapToSend::Own),
        (Greater, Less) if own.consistency != Consistency::Consistent => {
            (Verdict::Discarded, SyncSource::Primary, MapToSend::Own)
        }
        (Greater, Less) => return Err(Refused::SplitBrain),
        (Less, _) | (Equal, Greater) => (Verdict::Strange, SyncSource::Primary, MapToSend::Full),
        (Greater, Greater) => (Verdict::Strange, SyncSource::Secondary, MapToSend::Full),
    })
}

/// The secondary's data was given up, so it is overwritten where either node has written.
fn discarded(verdict: Verdict) -> Decision {
    let map = if verdict == Verdict::Strange { MapToSend::Full } else { MapToSend::Own };
    Decision { verdict: Verdict::Discarded, source: SyncSource::Primary, map, adopt: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Role;
    use crate::wire::hello::TOKEN;

    fn own(resuid: u64, localcnt: u64, remotecnt: u64) -> Metadata {
        Metadata {
            resource: "data".to_owned(),
            datasize: 1 << 20,
            extentsize: 1 << 16,
            keepdirty: 4,
            offset: 4608,
            resuid,
            localcnt,
            remotecnt,
            prevrole: Role::Secondary,
            consistency: Consistency::Consistent,
        }
    }

    fn second(resuid: u64, localcnt: u64, remotecnt: u64) -> Second {
        Second {
            resource: "data".to_owned(),
            token: [0; TOKEN],
            virgin: false,
            resuid,
            localcnt,
            remotecnt,
            ext: 0,
        }
    }

    /// Section 7's worked values: the secondary is (3, 3).
    #[test]
    fn the_table_by_its_worked_values() {
        use {MapToSend::*, SyncSource::*, Verdict::*};
        let cases = [
            ((2, 2), Strange, Secondary, Full),
            ((2, 3), Strange, Primary, Full),
            ((2, 4), Strange, Primary, Full),
            ((3, 4), Strange, Primary, Full),
            ((4, 4), Strange, Primary, Full),
            ((3, 2), PrimaryOld, Secondary, Own),
            ((3, 3), InSync, Primary, Own),
            ((4, 3), SecondaryOld, Primary, Own),
        ];
        for ((l, r), verdict, source, map) in cases {
            let found = decide(&own(7, 3, 3), &second(7, l, r)).unwrap();
            assert_eq!(found, Decision { verdict, source, map, adopt: false }, "P ({l},{r})");
        }
        assert_eq!(decide(&own(7, 3, 3), &second(7, 4, 2)), Err(Refused::SplitBrain));
    }

    #[test]
    fn virgin_rules() {
        let mut p = second(9, 0, 0);
        let full = decide(&own(0, 0, 0), &p).unwrap();
        assert_eq!(
            (full.map, full.adopt, full.source),
            (MapToSend::Full, true, SyncSource::Primary)
        );
        p.virgin = true;
        let none = decide(&own(0, 0, 0), &p).unwrap();
        assert_eq!((none.map, none.adopt), (MapToSend::None, true));
        let other = decide(&own(8, 0, 0), &p).unwrap_err();
        assert_eq!(other.errmsg(), "Resource unique ID mismatch (primary=9, secondary=8).");
        // Written alone before it ever met anybody.
        assert_eq!(decide(&own(0, 1, 0), &p), Err(Refused::SplitBrain));
    }

    #[test]
    fn h7_a_copy_that_is_not_consistent_is_never_the_source() {
        for consistency in [Consistency::Inconsistent, Consistency::Outdated] {
            for l in 0..4 {
                for r in 0..4 {
                    let mut me = own(7, 2, 2);
                    me.consistency = consistency;
                    let found = decide(&me, &second(7, l, r)).unwrap();
                    assert_eq!(found.source, SyncSource::Primary);
                }
            }
        }
    }

    #[test]
    fn a_discarded_side_of_a_split_brain_takes_the_other_sides_data() {
        let mut me = own(7, 3, 3);
        me.consistency = Consistency::Outdated;
        let found = decide(&me, &second(7, 4, 2)).unwrap();
        assert_eq!((found.verdict, found.map), (Verdict::Discarded, MapToSend::Own));
    }
}
