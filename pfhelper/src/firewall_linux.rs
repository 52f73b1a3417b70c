//! The firewall of Linux: sets of nf_tables for the tables, conntrack for the states.
//!
//! This is the back end: what the loop in `handler.rs` asks for, in terms of transactions and
//! lists. What the bytes are is in `nft.rs` and `conntrack.rs`.
//!
//! Three facts decide how it is done. One failing message undoes its whole transaction, so when
//! one fails each table is tried by itself. Deleting an element that is missing fails with ENOENT,
//! as does anything on a missing set; so elements are destroyed (Linux 6.3), or before that added
//! and deleted in the same transaction, and then ENOENT can only mean the set. Adding an element
//! that exists does not renew its time, so where elements fade they are taken out and put in again
//! in one transaction, which no packet can see.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use pfhelper::table_nft::{Family, Set};
use pfhelper::{Condition, Tables};

use crate::changes::{Changes, Outcome, ROLES, Role, Verdict};
use crate::complaint::Complaint;
use crate::kept::{Kept, Plan, State};
use crate::netlink::{Failure, Netlink};
use crate::nft::{self, Operation};
use crate::{standing, states};

/// Addresses in one transaction, where the buffer is too small for all.
const PIECE: usize = 1_000;

/// How often a list that cannot be trusted is asked for again.
const ATTEMPTS: u32 = 5;

/// The firewall, opened.
#[derive(Debug)]
pub struct Firewall {
    netlink: Netlink,
    kept: Vec<Kept>,
    /// Milliseconds.
    element_timeout: Option<u64>,
    /// Whether the kernel can delete what may be missing.
    destroys: bool,
    /// The number of the ruleset when the sets were last looked at.
    generation: Option<u32>,
    /// Whether somebody has made or emptied a set since that was last asked.
    wanting: bool,
    /// Failures of conntrack, said.
    complaint: Complaint,
}

impl Firewall {
    /// Opens the way to the firewall; wants CAP_NET_ADMIN, and nothing is asked yet.
    ///
    /// # Errors
    /// Says what failed.
    pub fn open() -> Result<Firewall, String> {
        Ok(Firewall {
            netlink: Netlink::open()
                .map_err(|e| format!("nftables: open netlink: {e}{}", hint(&e)))?,
            kept: Vec::new(),
            element_timeout: None,
            destroys: false,
            generation: None,
            wanting: false,
            complaint: Complaint::default(),
        })
    }

    /// Checks that the firewall answers with the rights that are left, and looks at the tables.
    /// One that is missing is no error: it is said, and looked for from time to time.
    ///
    /// # Errors
    /// There is no access, or no nf_tables, or a table is of a kind that cannot hold addresses.
    pub fn set_up(&mut self, tables: &Tables, element_timeout: Option<u32>) -> Result<(), String> {
        self.element_timeout = element_timeout.map(|seconds| u64::from(seconds) * 1000);
        self.generation().map_err(|e| match e {
            e if e.is(libc::EINVAL) => "nftables: this kernel has no nf_tables".to_owned(),
            e => format!("nftables: no access: {e}{}", hint(&e)),
        })?;
        self.destroys = self.can_destroy()?;
        let named = [&tables.abandoned, &tables.changed, &tables.leased];
        for (role, table) in ROLES.into_iter().zip(named) {
            self.kept.extend(table.clone().map(|name| Kept::new(role, name)));
        }
        self.look();
        for Kept { name, state, .. } in &self.kept {
            match state {
                State::Unfit(why) => return Err(format!("table {name} cannot be used: {why}")),
                State::Unknown => return Err(format!("table {name} cannot be looked at")),
                State::Missing | State::There { .. } => {}
            }
        }
        Ok(())
    }

    /// Carries out what a row of commands comes to.
    pub fn apply(&mut self, changes: &Changes) -> Outcome {
        let mut plans = Vec::new();
        for (index, kept) in self.kept.iter().enumerate() {
            let add = changes.addresses(kept.role, true);
            let mut remove = changes.addresses(kept.role, false);
            if kept.renewed() {
                remove.extend_from_slice(&add);
            }
            plans.push(Plan { kept: index, clear: false, remove, add });
        }
        let tables = self.carry_out(&plans);
        // After the tables: no new state can come past a rule that sees the address.
        let states = self.kill(&changes.kill());
        changes.outcome(tables, states)
    }

    /// Makes the tables of leased and abandoned addresses equal to the truth, in one transaction.
    ///
    /// They are emptied and filled again, and no packet sees them in between. To list them first
    /// and change what differs would save little: the kernel finds each part of a list by counting
    /// from its start, so that a million addresses would take half a minute.
    pub fn replace(&mut self, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) -> Outcome {
        let truth = |role| match role {
            Role::Leased => Some(leased),
            Role::Abandoned => Some(abandoned),
            Role::Changed => None,
        };
        let plan = |(index, kept): (usize, &Kept)| {
            let add = truth(kept.role)?.to_vec();
            Some(Plan { kept: index, clear: true, remove: Vec::new(), add })
        };
        let plans: Vec<Plan> = self.kept.iter().enumerate().filter_map(plan).collect();
        let verdicts = self.carry_out(&plans);
        let mut outcome = Outcome::default();
        for (role, verdict) in ROLES.into_iter().zip(verdicts) {
            let count = truth(role).map_or(0, <[Ipv4Addr]>::len);
            outcome.count(verdict, u32::try_from(count).unwrap_or(u32::MAX));
        }
        outcome
    }

    /// Looks whether somebody has made or emptied a table that we keep; if so, the truth is wanted.
    ///
    /// A change of the ruleset changes its number, so most of the time this is one question.
    pub fn watch(&mut self) -> bool {
        match self.generation() {
            Ok(generation) if Some(generation) == self.generation => {}
            Ok(generation) => {
                self.generation = Some(generation);
                self.look();
            }
            Err(failure) => self.complaint.say(&format!("nftables: watch the rules: {failure}")),
        }
        std::mem::take(&mut self.wanting)
    }

    /// How it is with the tables, in the order of [`ROLES`].
    pub fn conditions(&self) -> [Condition; 3] {
        standing::conditions(self.kept.iter().map(|kept| (kept.role, &kept.standing)))
    }

    fn look(&mut self) {
        for kept in &mut self.kept {
            self.wanting |= kept.look(&mut self.netlink, self.element_timeout.is_some());
        }
    }

    fn generation(&mut self) -> Result<u32, Failure> {
        self.netlink.ask(nft::get_generation, nft::parse_generation)?.ok_or(Failure::Lost)
    }

    /// Whether this kernel knows how to destroy: asked with a set that nobody has.
    fn can_destroy(&mut self) -> Result<bool, String> {
        let set = Set { family: Family::Inet, table: "dhcpd-asks", set: "nothing" };
        let nothing = [Ipv4Addr::UNSPECIFIED];
        match self.netlink.transact(|b| b.elements(&set, Operation::Destroy, &nothing)) {
            Ok(()) => Ok(true),
            Err(failure) if failure.is(libc::ENOENT) => Ok(true),
            Err(failure) if failure.is(libc::EINVAL) => Ok(false),
            Err(failure) => Err(format!("nftables: begin a transaction: {failure}")),
        }
    }

    /// Lists a set.
    ///
    /// A list is told in parts, and where its next part begins is counted from the start; when the
    /// kernel sorts the set into a larger table meanwhile, as it does behind a large change, some
    /// elements are told twice and as many not at all. Nothing in the answer says so but that.
    fn members(&mut self, index: usize) -> Result<HashSet<Ipv4Addr>, Failure> {
        let Some(set) = self.kept.get(index).and_then(Kept::set) else {
            return Ok(HashSet::new());
        };
        for _ in 0..ATTEMPTS {
            let mut told = Vec::new();
            let end = self.netlink.list(
                |out, seq| nft::get_elements(out, seq, &set),
                |message| nft::parse_elements(message, &mut told),
            );
            match (end, without_doubles(&told)) {
                (Ok(()), Some(members)) => return Ok(members),
                (Ok(()), None) | (Err(Failure::Interrupted), _) => {}
                (Err(failure), _) => return Err(failure),
            }
        }
        Err(Failure::Interrupted)
    }

    /// A plan that names what it takes out, in the place of one that empties the set.
    fn spelt_out(&mut self, plan: &Plan) -> Result<Plan, Failure> {
        let mut remove = plan.remove.clone();
        if plan.clear {
            let stays: HashSet<Ipv4Addr> = match self.kept.get(plan.kept).map(Kept::renewed) {
                Some(true) => HashSet::new(),
                _ => plan.add.iter().copied().collect(),
            };
            let members = self.members(plan.kept)?;
            remove = members.into_iter().filter(|address| !stays.contains(address)).collect();
            remove.sort_unstable();
        }
        Ok(Plan { kept: plan.kept, clear: false, remove, add: plan.add.clone() })
    }

    /// Carries out all plans in one transaction, or, if that fails, each in one of its own.
    fn carry_out(&mut self, plans: &[Plan]) -> [Verdict; 3] {
        let mut verdicts = [Verdict::Done; 3];
        let mut possible = Vec::new();
        for plan in plans {
            let Some(kept) = self.kept.get_mut(plan.kept) else { continue };
            match kept.state {
                State::There { .. } => possible.push(plan),
                State::Unknown | State::Missing => put(&mut verdicts, kept.role, Verdict::Missing),
                State::Unfit(why) => {
                    put(&mut verdicts, kept.role, Verdict::Failed(None));
                    kept.complaint.say(&format!("table {} cannot be used: {why}", kept.name));
                }
            }
        }
        let all = self.transact(&possible);
        if let Err(failure) = &all {
            log::debug!("nftables: a transaction failed: {failure}; now each table by itself");
        }
        for plan in possible {
            let verdict = match all {
                Ok(()) => Verdict::Done,
                Err(_) => self.carry_out_alone(plan),
            };
            if let Some(kept) = self.kept.get_mut(plan.kept) {
                put(&mut verdicts, kept.role, verdict);
                if verdict != Verdict::Done || !plan.is_empty() {
                    kept.standing.settle(verdict, plan.clear || kept.role == Role::Changed);
                }
                match verdict {
                    Verdict::Done => kept.carried_out(plan),
                    Verdict::Missing | Verdict::Failed(_) => kept.forget(),
                }
            }
        }
        verdicts
    }

    fn carry_out_alone(&mut self, plan: &Plan) -> Verdict {
        match self.transact(&[plan]) {
            Ok(()) => Verdict::Done,
            Err(failure) if failure.is(libc::ENFILE) => self.squeeze(plan),
            Err(failure) if failure.is_for_size() => self.in_pieces(plan),
            Err(failure) => self.failed(plan.kept, "change it", &failure),
        }
    }

    /// The buffer is too small for one transaction (see `netlink.rs`): several. What must be in the
    /// set and was is in it at every moment all the same.
    fn in_pieces(&mut self, plan: &Plan) -> Verdict {
        let plan = match self.spelt_out(plan) {
            Ok(plan) => plan,
            Err(failure) => return self.failed(plan.kept, "list it", &failure),
        };
        let adds: HashSet<Ipv4Addr> = plan.add.iter().copied().collect();
        let (again, gone): (Vec<Ipv4Addr>, Vec<Ipv4Addr>) =
            plan.remove.iter().partition(|address| adds.contains(address));
        let again = HashSet::<Ipv4Addr>::from_iter(again);
        let removals = gone.chunks(PIECE).map(|piece| (piece.to_vec(), Vec::new()));
        let additions = plan.add.chunks(PIECE).map(|piece| {
            let first = piece.iter().copied().filter(|address| again.contains(address));
            (first.collect(), piece.to_vec())
        });
        let pieces: Vec<Plan> = removals
            .chain(additions)
            .map(|(remove, add)| Plan { kept: plan.kept, clear: false, remove, add })
            .collect();
        let mut verdict = Verdict::Done;
        for piece in &pieces {
            match self.transact(&[piece]) {
                Ok(()) => {}
                Err(failure) if failure.is(libc::ENFILE) => return self.squeeze(&plan),
                Err(failure) => {
                    verdict = verdict.max(self.failed(plan.kept, "change it", &failure));
                }
            }
        }
        verdict
    }

    /// Sends plans as one transaction.
    fn transact(&mut self, plans: &[&Plan]) -> Result<(), Failure> {
        let Firewall { netlink, kept, destroys, element_timeout, .. } = self;
        netlink.transact(|batch| {
            for plan in plans {
                let Some(kept) = kept.get(plan.kept) else { continue };
                let Some(set) = kept.set() else { continue };
                if plan.clear {
                    batch.clear(&set);
                }
                if *destroys {
                    batch.elements(&set, Operation::Destroy, &plan.remove);
                } else {
                    batch.elements(&set, Operation::Add { timeout: None }, &plan.remove);
                    batch.elements(&set, Operation::Delete, &plan.remove);
                }
                let timeout = element_timeout.filter(|_| kept.renewed());
                batch.elements(&set, Operation::Add { timeout }, &plan.add);
            }
        })
    }

    /// A set is full: takes out what must go, renews what is there, then adds what fits.
    fn squeeze(&mut self, plan: &Plan) -> Verdict {
        let spelt_out = self.spelt_out(plan);
        let told = spelt_out.and_then(|spelt_out| Ok((spelt_out, self.members(plan.kept)?)));
        let (plan, members) = match told {
            Ok(told) => told,
            Err(failure) => return self.failed(plan.kept, "list it", &failure),
        };
        let (there, new): (Vec<Ipv4Addr>, Vec<Ipv4Addr>) =
            plan.add.iter().partition(|address| members.contains(address));
        // What is to be renewed is in both lists, and in the set.
        let remove: Vec<Ipv4Addr> =
            plan.remove.iter().copied().filter(|address| members.contains(address)).collect();
        let known = Plan { kept: plan.kept, clear: false, remove, add: there };
        if let Err(failure) = self.transact(&[&known]) {
            return self.failed(plan.kept, "change it", &failure);
        }
        // Ever smaller parts, until the next address does not fit; nothing behind it is tried.
        let (mut fits, mut step) = (0, new.len());
        while fits < new.len() && step > 0 {
            let end = new.len().min(fits + step);
            let add = new.get(fits..end).unwrap_or_default().to_vec();
            let some = Plan { kept: plan.kept, clear: false, remove: Vec::new(), add };
            match self.transact(&[&some]) {
                Ok(()) => fits = end,
                Err(failure) if failure.is(libc::ENFILE) => step /= 2,
                Err(failure) => return self.failed(plan.kept, "add to it", &failure),
            }
        }
        let left = new.len() - fits;
        if left == 0 {
            return Verdict::Done;
        }
        self.note(plan.kept, &format!("it is full, {left} addresses are not in it"));
        Verdict::Failed(Some(u32::try_from(left).unwrap_or(u32::MAX)))
    }

    /// What a failure on one table means: that it is missing, or anything else, which is said.
    fn failed(&mut self, index: usize, what: &str, failure: &Failure) -> Verdict {
        let Some(kept) = self.kept.get_mut(index) else { return Verdict::Failed(None) };
        if failure.is(libc::ENOENT) {
            self.wanting |= kept.look(&mut self.netlink, self.element_timeout.is_some());
            if kept.state == State::Missing {
                return Verdict::Missing;
            }
        }
        self.note(index, &format!("{what}: {failure}"));
        Verdict::Failed(None)
    }

    fn note(&mut self, index: usize, why: &str) {
        if let Some(kept) = self.kept.get_mut(index) {
            kept.complaint.say(&format!("table {}: {why}", kept.name));
            kept.standing.fails(why);
        }
    }

    /// Deletes every state from or to the addresses.
    fn kill(&mut self, addresses: &[Ipv4Addr]) -> Verdict {
        if addresses.is_empty() {
            return Verdict::Done;
        }
        match states::kill(&mut self.netlink, addresses) {
            Ok(count) => {
                log::debug!("conntrack: {count} states of {addresses:?} deleted");
                Verdict::Done
            }
            Err(failure) => {
                let text = format!("conntrack: delete the states of {addresses:?}: {failure}");
                self.complaint.say(&text);
                Verdict::Failed(None)
            }
        }
    }
}

/// What was told, if nothing was told twice.
fn without_doubles(told: &[Ipv4Addr]) -> Option<HashSet<Ipv4Addr>> {
    let members: HashSet<Ipv4Addr> = told.iter().copied().collect();
    (members.len() == told.len()).then_some(members)
}

/// What an administrator can do about it.
fn hint(failure: &Failure) -> &'static str {
    if failure.is_for_rights() { " (CAP_NET_ADMIN is needed)" } else { "" }
}

fn put(verdicts: &mut [Verdict; 3], role: Role, verdict: Verdict) {
    if let Some(slot) = verdicts.get_mut(role as usize) {
        *slot = (*slot).max(verdict);
    }
}

#[cfg(test)]
#[path = "firewall_linux_tests.rs"]
mod tests;
