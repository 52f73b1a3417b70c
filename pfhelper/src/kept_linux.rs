//! One table that we keep, as a set of nf_tables: whether it is there, which one it is, whether it
//! was emptied.
//!
//! What is put into it and taken out is decided and sent in `firewall_linux.rs`.

use std::net::Ipv4Addr;

use pfhelper::Table;
use pfhelper::table_nft::{self, Set};

use crate::changes::{Role, Verdict};
use crate::complaint::Complaint;
use crate::netlink::{Failure, Netlink};
use crate::nft;
use crate::standing::Standing;

/// A table that was named.
#[derive(Debug)]
pub struct Kept {
    /// Which of the three it is.
    pub role: Role,
    /// Its name.
    pub name: Table,
    /// What is known of it.
    pub state: State,
    /// Failures, said.
    pub complaint: Complaint,
    /// What the server is told of it.
    pub standing: Standing,
    /// An address that must be in it: if it is not, somebody has emptied the set.
    witness: Option<Ipv4Addr>,
}

/// What is known of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Unknown,
    /// It does not exist.
    Missing,
    /// It exists and cannot hold addresses.
    Unfit(&'static str),
    /// It is there.
    There {
        /// The numbers of its table and its own: another set of the same name has others.
        identity: (u64, u64),
        /// Whether an element must be put in again or it will fade.
        renewed: bool,
    },
}

/// What is to be done to a set: first `clear`, then `remove`, then `add`.
#[derive(Debug, Default)]
pub struct Plan {
    /// Which one of those that are kept.
    pub kept: usize,
    /// Whether it is to be emptied.
    pub clear: bool,
    /// What must not be in it, or is in it and to be put in again.
    pub remove: Vec<Ipv4Addr>,
    /// What must be in it.
    pub add: Vec<Ipv4Addr>,
}

impl Plan {
    /// Whether it leaves the set as it is.
    pub fn is_empty(&self) -> bool {
        !self.clear && self.remove.is_empty() && self.add.is_empty()
    }
}

impl Kept {
    /// A table of which nothing is known yet.
    pub fn new(role: Role, name: Table) -> Self {
        let (complaint, standing) = (Complaint::default(), Standing::default());
        Kept { role, name, state: State::Unknown, complaint, standing, witness: None }
    }

    /// Which set it is; its name was checked when it was made.
    pub fn set(&self) -> Option<Set<'_>> {
        table_nft::parse(self.name.as_str()).ok()
    }

    /// Whether it is there and can be used.
    pub fn usable(&self) -> bool {
        matches!(self.state, State::There { .. })
    }

    /// Whether an element must be put in again or it will fade.
    pub fn renewed(&self) -> bool {
        matches!(self.state, State::There { renewed: true, .. })
    }

    /// Looks at it. True if its whole truth is wanted: it was made since, or emptied.
    pub fn look(&mut self, netlink: &mut Netlink, timeouts: bool) -> bool {
        let Some(state) = self.inspect(netlink, timeouts) else { return false };
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return self.emptied(netlink);
        }
        self.witness = None;
        let name = &self.name;
        match state {
            State::Unknown => {}
            State::Missing => self.standing.missed(),
            State::Unfit(why) => {
                self.standing.fails(&format!("cannot be used: {why}"));
                self.standing.settle(Verdict::Failed(None), false);
            }
            State::There { .. } => self.standing.found(self.role),
        }
        match state {
            State::Missing => log::warn!("table {name}: no such set, waiting for it"),
            State::Unfit(why) if before != State::Unknown => {
                log::error!("table {name} cannot be used: {why}");
            }
            State::There { .. } if before != State::Unknown => {
                log::info!("table {name}: the set has been made");
            }
            _ => {}
        }
        if self.usable() && timeouts && !self.renewed() && self.role != Role::Changed {
            log::warn!("table {name}: the set lacks the flag timeout, its addresses do not fade");
        }
        self.usable() && before != State::Unknown && self.role != Role::Changed
    }

    /// Notes that a plan was carried out.
    pub fn carried_out(&mut self, plan: &Plan) {
        let has = |list: &[Ipv4Addr], address| list.contains(&address);
        let goes = |witness| plan.clear || has(&plan.remove, witness);
        self.witness = self.witness.filter(|w| !goes(*w) || has(&plan.add, *w));
        self.witness = self.witness.or(plan.add.first().copied());
    }

    /// Notes that nothing is known of what it holds.
    pub fn forget(&mut self) {
        self.witness = None;
    }

    fn inspect(&mut self, netlink: &mut Netlink, timeouts: bool) -> Option<State> {
        let set = table_nft::parse(self.name.as_str()).ok()?;
        let table = netlink.ask(|out, seq| nft::get_table(out, seq, &set), nft::parse_table);
        let info = netlink.ask(|out, seq| nft::get_set(out, seq, &set), nft::parse_set);
        match table.and_then(|table| Ok((table, info?))) {
            Ok((Some(table), Some(info))) => Some(match info.unfit() {
                Some(why) => State::Unfit(why),
                None => State::There {
                    identity: (table, info.handle),
                    renewed: info.fades() || timeouts && info.takes_timeouts(),
                },
            }),
            Err(failure) if failure.is(libc::ENOENT) => Some(State::Missing),
            other => {
                let failure = other.err().unwrap_or(Failure::Lost);
                self.complaint.say(&format!("table {}: look at it: {failure}", self.name));
                None
            }
        }
    }

    fn emptied(&mut self, netlink: &mut Netlink) -> bool {
        let (Some(witness), Some(set)) = (self.witness, self.set()) else { return false };
        let ask = netlink.ask(|out, seq| nft::get_element(out, seq, &set, witness), |_| Ok(()));
        let gone = ask.is_err_and(|failure| failure.is(libc::ENOENT));
        if gone {
            log::info!("table {}: somebody has emptied it", self.name);
            self.witness = None;
            self.standing.found(self.role);
        }
        gone
    }
}
