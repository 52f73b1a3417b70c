//! Which addresses this server may newly give out, where others give out the same ranges.
//!
//! Two servers that hear one another late would give one address to two clients. So while they are
//! connected each address is one server's to give: every server works out the same division from who
//! is there. It is about clients that are new to an address only: whoever holds a lease renews it
//! with any of them. Who is there is decided by `sync`.

use super::Engine;
use super::core::Core;
use super::identity::{Client, Hw};
use super::leases::FreeList;

/// The part that is ours to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// All addresses: nobody else is there.
    #[default]
    All,
    /// One part of several, equally large as far as chance allows.
    Part {
        /// Which of them, from 0.
        mine: u32,
        /// How many there are.
        of: u32,
    },
    /// No address: what the others have given is not known yet.
    Nothing,
}

/// How many ended leases are looked at for one that is ours to give.
const LOOKED_AT: usize = 256;

impl Share {
    /// Whether an address that its client does not hold already is ours to give.
    pub fn has(self, address: u32) -> bool {
        match self {
            Share::All => true,
            Share::Nothing => false,
            Share::Part { mine, of } => {
                // Neighbours go to different servers: a range of two addresses serves both.
                let mixed = address.wrapping_mul(0x9e37_79b1) >> 16;
                mixed.checked_rem(of) == Some(mine)
            }
        }
    }
}

/// How long a lease must be over, in seconds, before its address is given to another client: by then
/// the others have heard of whatever one of them did last.
const OVER: i64 = 20;

impl Engine {
    /// Says which addresses are ours to give from now on.
    pub fn set_share(&mut self, share: Share) {
        if self.core.share != share {
            self.core.share = share;
            // What was passed over as another's may be ours now.
            self.core.pools.rewind();
        }
    }
}

impl Core {
    /// The lowest address of a network that was never used and is ours to give; with `bootp`, of
    /// those that BOOTP clients may have.
    pub(super) fn fresh(&mut self, network: u32, bootp: bool) -> Option<u32> {
        if self.share == Share::Nothing {
            return None;
        }
        let (leases, share) = (&self.leases, self.share);
        self.pools.fresh(network, bootp, |a| leases.address(a).is_some() || !share.has(a))
    }

    /// Whether an address that nobody holds may be given to a client now.
    pub(super) fn may_give(&self, slot: u32, client: &Client<'_>) -> bool {
        let lease = self.leases.get(slot);
        let settled = self.share == Share::All
            || client.same(&lease.hw, lease.id.get())
            || lease.ends.saturating_add(OVER) <= self.clock.last();
        settled && self.share.has(lease.address)
    }

    /// The slot to be given out next of those that ended, or were abandoned, and are ours to give.
    pub(super) fn oldest(&self, network: u32, abandoned: bool) -> Option<u32> {
        let lists = [false, true].map(|bootp| FreeList { network, abandoned, bootp });
        let firsts = lists.into_iter().filter_map(|list| self.oldest_of(list));
        firsts.min_by_key(|slot| self.leases.get(*slot).ends)
    }

    /// The same, of one list.
    pub(super) fn oldest_of(&self, list: FreeList) -> Option<u32> {
        match self.share {
            Share::All => self.leases.first(list),
            Share::Nothing => None,
            Share::Part { .. } => {
                let nobody = Client { hw: Hw::default(), id: None };
                let first = self.leases.first(list);
                let after = |slot: &u32| self.leases.after(*slot, list);
                let mut looked_at = std::iter::successors(first, after).take(LOOKED_AT);
                looked_at.find(|slot| self.may_give(*slot, &nobody))
            }
        }
    }
}
