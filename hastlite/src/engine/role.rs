//! When a node may change its role: what a promotion would lose, and what it takes to do it anyway.
//!
//! FreeBSD's hastd promotes whatever it is told to, so that two primaries are one command away
//! (H16), and a copy in the middle of a resynchronisation serves as if it were whole (H7). Here the
//! one who asks is told what is at stake, in numbers, and says `--force` if it is meant.
//!
//! Decided from the local metadata and map, and from what is known of the other node: live, by the
//! link or by a handshake made for the purpose, or from before. Pure: nothing is written here.

use super::activemap::{Bits, extents};
use super::{Consistency, Metadata, Role};
use std::fmt;

/// What is known of the other node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// It answers now; otherwise this is what it was when last heard of.
    pub live: bool,
    /// What it is.
    pub role: Role,
    /// Its unique id of the resource; 0 if it has none, or has not told.
    pub resuid: u64,
    /// Its counters, if it has told them.
    pub counters: Option<(u64, u64)>,
    /// How its data stands, if it has told.
    pub consistency: Option<Consistency>,
    /// Bytes that it has and we have not, if that is known.
    pub ahead: Option<u64>,
}

/// Why a change of role is refused. Texts are for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The other node serves clients: whatever is written here it will not have.
    TwoPrimaries,
    /// A resynchronisation to this node is not complete.
    Inconsistent {
        /// Bytes that are known to be of the wrong age.
        bytes: Option<u64>,
        /// Of so many.
        of: u64,
    },
    /// The other node has gone on since, or this one was given up.
    Outdated {
        /// Bytes known to be only there.
        bytes: Option<u64>,
        /// How many times it has gone on alone that this node does not know of.
        times: u64,
    },
    /// Both have gone on alone.
    SplitBrain {
        /// Times that this node has.
        here: u64,
        /// Times that the other one has.
        there: u64,
    },
    /// The other node has another resource of the same name.
    Resuid {
        /// Ours.
        here: u64,
        /// Its.
        there: u64,
    },
    /// What is asked for makes no sense while this node serves clients.
    IsPrimary,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TwoPrimaries => f.write_str(
                "the other node is primary, and alive: all that is written to either from now on \
                 would be lost on one of them. Make it secondary first",
            ),
            Self::Inconsistent { bytes, of } => {
                match bytes {
                    Some(bytes) => write!(f, "{bytes} of {of} bytes here are older than the rest")?,
                    None => write!(f, "some of {of} bytes here are older than the rest")?,
                }
                f.write_str(": a resynchronisation to this node has not been completed")
            }
            Self::Outdated { bytes, times } => {
                match bytes {
                    Some(bytes) => write!(f, "{bytes} bytes are newer on the other node")?,
                    None => f.write_str("the other node has newer data")?,
                }
                if times > 0 {
                    write!(f, ", which has gone on alone {times} times since")?;
                }
                f.write_str(": they would be lost")
            }
            Self::SplitBrain { here, there } => write!(
                f,
                "both nodes have gone on alone, this one at least {here} times and the other one at \
                 least {there} times: what one of them has written will be lost. Discard one of the two"
            ),
            Self::Resuid { here, there } => write!(
                f,
                "the other node has another resource of this name (unique id {there}, here {here})"
            ),
            Self::IsPrimary => f.write_str("this node is primary: make it secondary first"),
        }
    }
}

/// A promotion that may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// To be stored before the first request is served.
    pub metadata: Metadata,
    /// What was overridden by force.
    pub forced: Option<Refusal>,
    /// The other node was not heard: that nothing is lost is not certain.
    pub unheard: bool,
}

/// Bytes that a map marks.
pub fn marked(metadata: &Metadata, map: &[u8]) -> u64 {
    let extents = extents(metadata.datasize, metadata.extentsize) as usize;
    let count = Bits::from_bytes(map, extents).count() as u64;
    (count * u64::from(metadata.extentsize)).min(metadata.datasize)
}

/// Whether this node may become primary.
///
/// # Errors
/// What would be lost, unless `force`.
pub fn promote(
    own: &Metadata,
    map: &[u8],
    peer: Option<&Peer>,
    force: bool,
) -> Result<Promotion, Refusal> {
    let refusal = objection(own, map, peer);
    if let (Some(refusal), false) = (refusal, force) {
        return Err(refusal);
    }
    let mut metadata = own.clone();
    metadata.prevrole = Role::Primary;
    let unheard = !peer.is_some_and(|peer| peer.live);
    if refusal.is_some() {
        metadata.consistency = Consistency::Consistent;
    }
    // Whoever forces it takes the data as it is, from now on; and the other node can tell. So does
    // whoever serves without having heard the other node: what is here now is what clients see,
    // though they may write nothing; it may be all that is left of what the other one has
    // acknowledged and lost with its power; and it is not to be overwritten by that one later.
    if refusal.is_some() || unheard && own.resuid != 0 {
        metadata.localcnt = metadata.localcnt.saturating_add(1);
    }
    Ok(Promotion { metadata, forced: refusal, unheard })
}

fn objection(own: &Metadata, map: &[u8], peer: Option<&Peer>) -> Option<Refusal> {
    let live = peer.filter(|peer| peer.live);
    if let Some(peer) = live {
        if peer.role == Role::Primary {
            return Some(Refusal::TwoPrimaries);
        }
        if peer.resuid != 0 && own.resuid != 0 && peer.resuid != own.resuid {
            return Some(Refusal::Resuid { here: own.resuid, there: peer.resuid });
        }
    }
    let ahead = peer.and_then(|peer| peer.ahead);
    if let Some((localcnt, remotecnt)) = peer.and_then(|peer| peer.counters) {
        let there = localcnt.saturating_sub(own.remotecnt);
        let here = own.localcnt.saturating_sub(remotecnt);
        // A copy that was given up, or is being replaced, is nobody's rival, whatever it has counted.
        let whole = Some(Consistency::Consistent);
        let usable = peer.is_some_and(|p| p.consistency.is_none() || p.consistency == whole);
        if there > 0 && here > 0 && usable && own.consistency == Consistency::Consistent {
            return Some(Refusal::SplitBrain { here, there });
        }
        if there > 0 && usable {
            return Some(Refusal::Outdated { bytes: ahead, times: there });
        }
    }
    match own.consistency {
        Consistency::Consistent => None,
        Consistency::Outdated => Some(Refusal::Outdated { bytes: ahead, times: 0 }),
        // With a whole copy at hand this one serves by it until it is whole itself.
        Consistency::Inconsistent if live.is_some_and(|p| whole(own, p)) => None,
        Consistency::Inconsistent => {
            let bytes = ahead.or_else(|| Some(marked(own, map)).filter(|&bytes| bytes > 0));
            Some(Refusal::Inconsistent { bytes, of: own.datasize })
        }
    }
}

/// Whether a live secondary has the data that this node's counters speak of.
fn whole(own: &Metadata, peer: &Peer) -> bool {
    peer.consistency == Some(Consistency::Consistent)
        && peer.counters == Some((own.remotecnt, own.localcnt))
}

/// Gives up what this node has written alone: at the next handshake it takes the other one's data,
/// wherever the two differ. What has been written on both since they were last the same is in their
/// maps, so that no more than that is copied.
///
/// # Errors
/// Not while it is primary.
pub fn discard(own: &Metadata, role: Role) -> Result<Metadata, Refusal> {
    if role == Role::Primary {
        return Err(Refusal::IsPrimary);
    }
    let consistency = match own.consistency {
        Consistency::Inconsistent => Consistency::Inconsistent,
        Consistency::Consistent | Consistency::Outdated => Consistency::Outdated,
    };
    Ok(Metadata { consistency, ..own.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::{Verdict, decide};
    use crate::wire::hello::{Second, SyncSource, TOKEN};

    fn own(localcnt: u64, remotecnt: u64, consistency: Consistency) -> Metadata {
        Metadata {
            resource: "data".to_owned(),
            datasize: 1 << 30,
            extentsize: 2 << 20,
            keepdirty: 64,
            offset: 1 << 20,
            resuid: 7,
            localcnt,
            remotecnt,
            prevrole: Role::Secondary,
            consistency,
        }
    }

    fn peer(live: bool, role: Role, localcnt: u64, remotecnt: u64) -> Peer {
        Peer {
            live,
            role,
            resuid: 7,
            counters: Some((localcnt, remotecnt)),
            consistency: Some(Consistency::Consistent),
            ahead: None,
        }
    }

    #[test]
    fn h16_never_two_primaries_by_mistake() {
        let me = own(0, 0, Consistency::Consistent);
        let other = peer(true, Role::Primary, 0, 0);
        assert_eq!(promote(&me, &[], Some(&other), false), Err(Refusal::TwoPrimaries));
        let forced = promote(&me, &[], Some(&other), true).unwrap();
        assert_eq!(forced.forced, Some(Refusal::TwoPrimaries));
        assert_eq!(forced.metadata.localcnt, 1, "they will know each other for what they are");
    }

    #[test]
    fn a_consistent_secondary_of_a_dead_primary_is_promoted() {
        let me = own(0, 1, Consistency::Consistent);
        for other in [None, Some(peer(false, Role::Primary, 1, 0))] {
            let done = promote(&me, &[], other.as_ref(), false).unwrap();
            assert_eq!((done.unheard, done.forced), (true, None));
            // What it has may be all that is left of what was acknowledged.
            assert_eq!((done.metadata.localcnt, done.metadata.prevrole), (1, Role::Primary));
        }
    }

    #[test]
    fn h7_an_incomplete_copy_is_refused_in_numbers() {
        let me = own(0, 1, Consistency::Inconsistent);
        let mut map = vec![0; 512];
        map[3] = 0b111;
        let refusal = promote(&me, &map, None, false).unwrap_err();
        let text = refusal.to_string();
        assert!(text.starts_with("6291456 of 1073741824 bytes here are older"), "{text}");
        let forced = promote(&me, &map, None, true).unwrap();
        assert_eq!(forced.metadata.consistency, Consistency::Consistent);
        // The one that has all is there: it is served by that one.
        let other = peer(true, Role::Secondary, 1, 0);
        let done = promote(&me, &map, Some(&other), false).unwrap();
        assert_eq!(done.metadata.consistency, Consistency::Inconsistent);
    }

    #[test]
    fn newer_data_there_is_not_thrown_away() {
        let me = own(0, 0, Consistency::Consistent);
        let mut other = peer(true, Role::Secondary, 2, 0);
        other.ahead = Some(4 << 20);
        let text = promote(&me, &[], Some(&other), false).unwrap_err().to_string();
        assert!(text.contains("4194304 bytes") && text.contains("2 times"), "{text}");
        let me = own(1, 0, Consistency::Consistent);
        let both = promote(&me, &[], Some(&other), false);
        assert_eq!(both, Err(Refusal::SplitBrain { here: 1, there: 2 }));
        let me = own(0, 0, Consistency::Outdated);
        assert!(promote(&me, &[], None, false).is_err());
        let mut stranger = peer(true, Role::Secondary, 0, 0);
        stranger.resuid = 8;
        let me = own(0, 0, Consistency::Consistent);
        assert!(promote(&me, &[], Some(&stranger), false).is_err());
    }

    #[test]
    fn a_split_brain_is_healed_by_discarding_one_side() {
        let me = own(1, 0, Consistency::Consistent);
        let second = Second {
            resource: "data".to_owned(),
            token: [0; TOKEN],
            virgin: false,
            resuid: 7,
            localcnt: 2,
            remotecnt: 0,
            ext: 0,
        };
        assert!(decide(&me, &second).is_err());
        assert_eq!(discard(&me, Role::Primary), Err(Refusal::IsPrimary));
        let given_up = discard(&me, Role::Secondary).unwrap();
        let found = decide(&given_up, &second).unwrap();
        assert_eq!((found.verdict, found.source), (Verdict::Discarded, SyncSource::Primary));
        // Nor is it promoted by mistake before it has the other one's data.
        assert!(promote(&given_up, &[], None, false).is_err());
        // The other one is, before and while it is copied, without force.
        let kept = own(2, 0, Consistency::Consistent);
        let mut other = peer(true, Role::Secondary, 1, 0);
        assert_eq!(
            promote(&kept, &[], Some(&other), false),
            Err(Refusal::SplitBrain { here: 2, there: 1 })
        );
        for consistency in [Consistency::Outdated, Consistency::Inconsistent] {
            other.consistency = Some(consistency);
            let done = promote(&kept, &[], Some(&other), false).unwrap();
            assert_eq!((done.forced, done.metadata.localcnt), (None, 2));
        }
    }
}
