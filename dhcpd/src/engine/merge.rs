//! Leases that other servers tell of (`dhcpd -y`), and leases as they are told to others.
//!
//! Which record counts is `resolve`'s; how it travels is `sync`'s. What is taken is journalled and
//! shown to tables and hooks like a lease of our own; no reply waits for it, and it is not told on
//! as ours.

use super::core::Core;
use super::events::view;
use super::identity::Client;
use super::index::NONE;
use super::resolve::{Outcome, Winner, client, resolve, same_holder};
use super::{Actions, Change, Engine, Happening, Now};
use crate::lease::{LeaseView, NEVER};
use pfhelper::Verb;
use std::net::Ipv4Addr;

/// Most leases of others for addresses that are in no range here.
const MOST_ASIDE: usize = 65_536;

/// The latest time that is believed: an endless lease's, however its server's clock was set.
const LATEST: i64 = 2 * NEVER;

/// How much the teller knows of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Address, hardware and times: what OpenBSD's datagrams carry.
    Part,
    /// Everything.
    Whole,
}

/// What became of a lease that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// Known already.
    Same,
    /// Taken; its record is in the actions.
    Taken,
    /// Taken in part: who told it has to hear what it is now.
    Joined,
    /// Ours is newer: who told it has to hear that.
    Older,
    /// Not taken, and there is nothing to say.
    Refused,
}

impl Engine {
    /// Something came from another server, or from who claims to be one, and is not believed.
    pub fn refuse_word(&mut self) {
        self.core.counters.sync_refused += 1;
    }

    /// Takes a lease as another server has it, in wall time, if it is to be preferred to ours.
    pub fn merge(
        &mut self,
        told: &LeaseView<'_>,
        word: Word,
        now: Now,
        out: &mut Actions,
    ) -> Merged {
        let time = self.core.advance(now, out);
        // Times that no calendar has would not come out of our clock as they went in, and be news
        // again whenever they are told.
        let sane = |time: i64| time.clamp(-LATEST, LATEST);
        let told = LeaseView { starts: sane(told.starts), ends: sane(told.ends), ..*told };
        self.core.merge(&told, word, time, out)
    }

    /// The lease of an address of a range, running or over, in wall time.
    pub fn lease(&self, address: Ipv4Addr) -> Option<LeaseView<'_>> {
        let core = &self.core;
        let slot = core.leases.address(address.into())?;
        Some(view(core.leases.get(slot), &core.clock)).filter(is_somebodys)
    }

    /// The next lease from `cursor` on (0 at first), and where to go on. In no particular order;
    /// one that changes meanwhile is found once.
    pub fn next_lease(&self, cursor: u32) -> Option<(LeaseView<'_>, u32)> {
        let core = &self.core;
        (cursor..core.leases.len() as u32).find_map(|slot| {
            let lease = view(core.leases.get(slot), &core.clock);
            is_somebodys(&lease).then_some((lease, slot + 1))
        })
    }
}

/// Whether a record says anything: an address that was only ever offered says nothing.
fn is_somebodys(lease: &LeaseView<'_>) -> bool {
    lease.abandoned || lease.hardware.is_some() || lease.client_id.is_some()
}

impl Core {
    fn merge(&mut self, told: &LeaseView<'_>, word: Word, time: i64, out: &mut Actions) -> Merged {
        if !is_somebodys(told) {
            return Merged::Refused;
        }
        let address = u32::from(told.address);
        let Some(span) = self.pools.find(address).copied() else {
            return self.set_aside(told, time, out);
        };
        let now = self.clock.wall(time);
        let ours = self.leases.address(address);
        let known = ours.map(|slot| view(self.leases.get(slot), &self.clock)).filter(is_somebodys);
        let Some(known) = known else {
            let slot = ours.unwrap_or_else(|| self.leases.add(address, span.subnet));
            self.put_told(slot, told, time, out);
            return Merged::Taken;
        };
        let told = &match word {
            Word::Whole => *told,
            Word::Part => filled_in(&known, told),
        };
        let mut outcome = match word {
            Word::Whole => resolve(&known, told, now),
            Word::Part => judge(&known, told, now),
        };
        if outcome.conflict {
            self.counters.sync_conflicts += 1;
            let (one, other) = (client(&known).hw, client(told).hw);
            // Of a part of a record nothing can be made that its teller would take.
            let taken = word == Word::Whole && outcome.winner == Winner::Theirs;
            let winner = if taken { other } else { one };
            log::error!(
                "Lease conflict at {}: {one} has it here, {other} by another server; \
                 it is {winner}'s",
                told.address
            );
            if word == Word::Part {
                return Merged::Refused;
            }
        }
        let theirs = outcome.winner == Winner::Theirs;
        if outcome.winner == Winner::Both {
            outcome.ends = known.ends;
        }
        let (won, lost) = if theirs { (told, &known) } else { (&known, told) };
        if !theirs && outcome.ends == known.ends {
            // Who ends earlier with OpenBSD's would be answered for ever.
            let tell = match word {
                Word::Whole => outcome.winner == Winner::Ours,
                Word::Part => known.ends > told.ends,
            };
            return if tell { Merged::Older } else { Merged::Same };
        }
        let joined = outcome.ends != won.ends || (!theirs && lost.ends != outcome.ends);
        let record = LeaseView { ends: outcome.ends, ..*won }.to_owned();
        if let Some(slot) = ours {
            self.put_told(slot, &record.view(), time, out);
        }
        if joined { Merged::Joined } else { Merged::Taken }
    }

    /// Makes a slot what a record says.
    fn put_told(&mut self, slot: u32, told: &LeaseView<'_>, time: i64, out: &mut Actions) {
        self.counters.sync_taken += 1;
        let ends = self.clock.engine(told.ends);
        let runs = ends > time && told.ends > told.starts;
        let who = client(told);
        let address = u32::from(told.address);
        let lease = self.leases.get(slot);
        let (was_held, was_abandoned) = (lease.is_held(), lease.abandoned);
        match (runs, told.abandoned) {
            (true, false) => self.say_leased(slot, &who.hw, out),
            (_, true) if !was_abandoned => {
                out.table(Verb::Leased, address);
                out.table(Verb::Changed, address);
                out.table(Verb::Abandoned, address);
            }
            (false, false) if was_abandoned => {
                out.table(Verb::Leased, address);
                out.table(Verb::Released, address);
            }
            (false, false) if was_held && lease.offer == NONE => {
                out.table(Verb::Released, address);
            }
            _ => {}
        }
        if runs || told.abandoned {
            // Whoever is about to be offered it, or to lose it, is not asked about any more. What
            // was offered is refused when it is requested.
            self.drop_pending(slot);
            self.forget_offer(slot);
        }
        if runs {
            self.leases.run(slot, ends);
        } else {
            self.leases.stop(slot, ends);
        }
        let starts = self.clock.engine(told.starts);
        if told.abandoned {
            self.leases.unbind(slot);
        } else {
            self.bind_told(slot, &who, starts);
        }
        let lease = self.leases.get_mut(slot);
        lease.starts = starts;
        lease.abandoned = told.abandoned;
        lease.dynamic_bootp = told.dynamic_bootp;
        // Its end is a wall clock's, as that of one from the file.
        lease.loaded = true;
        lease.set_names(told.client_hostname, told.hostname);
        let offered = lease.offer != NONE;
        if !runs && !offered {
            self.leases.free(slot);
        }
        let lease = self.leases.get(slot);
        out.record_merged(lease, &self.clock);
        let happening = match (runs, told.abandoned) {
            (true, false) => Some(Happening::Commit),
            (true, true) => Some(Happening::Abandon),
            (false, _) => was_held.then_some(Happening::Release),
        };
        if let Some(happening) = happening {
            out.hook(happening, lease, &self.clock);
        }
    }

    /// Makes a client the holder of a slot. Of several leases of a client it is found by the one
    /// that began last, wherever that was given.
    fn bind_told(&mut self, slot: u32, who: &Client<'_>, starts: i64) {
        let Some(other) = self.leases.bind(slot, who) else { return };
        let lease = self.leases.get(other);
        if lease.starts > starts && !lease.abandoned {
            let (hw, id) = (lease.hw, lease.id.clone());
            self.leases.bind(other, &Client { hw, id: id.get() });
        }
    }

    /// A lease of an address that is in no range here, such as the fixed one of another's client.
    fn set_aside(&mut self, told: &LeaseView<'_>, time: i64, out: &mut Actions) -> Merged {
        let address = u32::from(told.address);
        let ours = self.config.subnet_of(told.address).is_some();
        let known = self.quarantine.get(&address);
        let ends = self.clock.engine(told.ends);
        let newer = known.is_none_or(|known| known.ends < ends);
        if !ours || ends <= time || !newer {
            return Merged::Refused;
        }
        if known.is_none() && self.quarantine.len() >= MOST_ASIDE {
            self.quarantine.retain(|_, lease| lease.ends > time);
            if self.quarantine.len() >= MOST_ASIDE {
                return Merged::Refused;
            }
        }
        let record = told.to_owned();
        crate::leasefile::append_record(&mut out.journal, &record.view());
        out.records += 1;
        let lease = self.lease_of(&record);
        self.quarantine.insert(address, lease);
        Merged::Taken
    }
}

/// What OpenBSD's datagrams do not carry is what it was, if the lease is still the same client's.
fn filled_in<'a>(known: &LeaseView<'a>, told: &LeaseView<'a>) -> LeaseView<'a> {
    match same_holder(known, told) {
        true => LeaseView { starts: told.starts, ends: told.ends, ..*known },
        false => *told,
    }
}

/// OpenBSD's rule: the later end counts, but what somebody else holds is not taken from it, and
/// what its client gave back here does not run again because others have not heard of it.
fn judge(known: &LeaseView<'_>, told: &LeaseView<'_>, now: i64) -> Outcome {
    let outcome = resolve(known, told, now);
    if outcome.conflict || known.abandoned {
        return outcome;
    }
    let given_back = known.ends <= known.starts && told.starts <= known.starts;
    let winner = match known.ends.cmp(&told.ends) {
        std::cmp::Ordering::Less if given_back => Winner::Ours,
        std::cmp::Ordering::Less => Winner::Theirs,
        std::cmp::Ordering::Equal => Winner::Both,
        std::cmp::Ordering::Greater => Winner::Ours,
    };
    let ends = if winner == Winner::Theirs { told.ends } else { known.ends };
    Outcome { winner, ends, conflict: false }
}

impl Change {
    /// A lease of a fixed address, of which the engine keeps nothing.
    pub(super) fn fixed(client: &Client<'_>, address: Ipv4Addr, starts: i64, ends: i64) -> Change {
        let mut hardware = [0; 16];
        let addr = client.hw.addr();
        hardware[..addr.len()].copy_from_slice(addr);
        let length = addr.len() as u8;
        Change::Fixed { address, starts, ends, htype: client.hw.htype(), length, hardware }
    }
}
