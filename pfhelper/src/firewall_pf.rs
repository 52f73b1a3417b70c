//! The firewall of OpenBSD and FreeBSD: tables and states of pf(4), by an open /dev/pf.
//!
//! Thin on purpose: it has been compiled and linked, and has never met a pf. What the bytes are is
//! in `pf.rs`, which is tested; what differs between the two is in `pf_openbsd.rs` and
//! `pf_freebsd.rs`.
//!
//! Adding what is there and deleting what is not is no error to pf, and a whole table is set by
//! one request. A table that does not exist is ESRCH. pf tells nobody that it was changed, so once
//! in a while the tables are counted.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use pfhelper::{Condition, Table, Tables, table_pf};

use crate::changes::{Changes, Outcome, ROLES, Role, Verdict};
use crate::complaint::Complaint;
use crate::pf::{self, TableRequest};
use crate::standing::{self, Standing};
use crate::tally::Tally;

#[cfg_attr(target_os = "openbsd", path = "pf_openbsd.rs")]
#[cfg_attr(target_os = "freebsd", path = "pf_freebsd.rs")]
mod system;

/// Addresses in one request to add or delete. FreeBSD's kernel takes about twice as many
/// (net.pf.request_maxcount), OpenBSD's any number.
const CHUNK: usize = 32_768;

/// The firewall, opened.
#[derive(Debug)]
pub struct Firewall {
    device: File,
    kept: Vec<Kept>,
    wanting: bool,
    complaint: Complaint,
}

/// One table that we keep.
#[derive(Debug)]
struct Kept {
    role: Role,
    name: Table,
    field: [u8; table_pf::NAME_FIELD],
    tally: Tally,
    complaint: Complaint,
    /// What the server is told of it.
    standing: Standing,
}

impl Firewall {
    /// Opens /dev/pf; wants root.
    ///
    /// # Errors
    /// Says what failed.
    pub fn open() -> Result<Firewall, String> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open("/dev/pf")
            .map_err(|e| format!("open /dev/pf: {e}"))?;
        let complaint = Complaint::default();
        Ok(Firewall { device, kept: vec![], wanting: false, complaint })
    }

    /// Checks that pf answers, and looks at the tables. One that is missing is no error: it is
    /// said, and looked for from time to time.
    ///
    /// # Errors
    /// pf cannot be asked.
    pub fn set_up(&mut self, tables: &Tables, element_timeout: Option<u32>) -> Result<(), String> {
        if element_timeout.is_some() {
            log::warn!("pf's tables have no timeouts: their addresses do not fade");
        }
        let named = [&tables.abandoned, &tables.changed, &tables.leased];
        for (role, table) in ROLES.into_iter().zip(named) {
            let Some(name) = table.clone() else { continue };
            let field = table_pf::parse(name.as_str()).map_err(|e| e.to_string())?;
            let missing = match request(&self.device, pf::GET, &field, &[]) {
                Ok(_) => false,
                Err(e) if is_missing(&e) => true,
                Err(e) => return Err(format!("DIOCRGETADDRS on table {name}: {e}")),
            };
            let (tally, complaint) = (Tally::default(), Complaint::default());
            let standing = Standing::default();
            let mut kept = Kept { role, name, field, tally, complaint, standing };
            if missing {
                kept.has_gone();
            } else {
                kept.standing.found(role);
            }
            self.kept.push(kept);
        }
        Ok(())
    }

    /// Carries out what a row of commands comes to.
    pub fn apply(&mut self, changes: &Changes) -> Outcome {
        let mut verdicts = [Verdict::Done; 3];
        for index in 0..self.kept.len() {
            let Some(role) = self.kept.get(index).map(|kept| kept.role) else { continue };
            let (gone, come) = (changes.addresses(role, false), changes.addresses(role, true));
            let deleted = self.change(index, pf::DELETE, &gone);
            let verdict = deleted.max(self.change(index, pf::ADD, &come));
            put(&mut verdicts, role, verdict);
            if !gone.is_empty() || !come.is_empty() {
                self.settle(index, verdict, role == Role::Changed);
            }
        }
        let states = self.kill(&changes.kill());
        changes.outcome(verdicts, states)
    }

    /// Makes the tables of leased and abandoned addresses equal to the truth, each by one request.
    pub fn replace(&mut self, leased: &[Ipv4Addr], abandoned: &[Ipv4Addr]) -> Outcome {
        let mut outcome = Outcome::default();
        for (role, truth) in [(Role::Leased, leased), (Role::Abandoned, abandoned)] {
            let index = self.kept.iter().position(|kept| kept.role == role);
            let verdict = index.map_or(Verdict::Done, |index| self.set(index, truth));
            if let Some(index) = index {
                self.settle(index, verdict, true);
            }
            outcome.count(verdict, u32::try_from(truth.len()).unwrap_or(u32::MAX));
        }
        outcome
    }

    /// Looks whether somebody has made or emptied a table; if so, the truth is wanted.
    pub fn watch(&mut self) -> bool {
        for kept in &mut self.kept {
            match request(&self.device, pf::GET, &kept.field, &[]) {
                Ok(told) => {
                    let made = kept.is_gone();
                    let emptied = kept.tally.lost_some(told.found());
                    if made || emptied {
                        let what = if made { "been made" } else { "lost addresses" };
                        log::info!("table {}: it has {what}", kept.name);
                        kept.standing.found(kept.role);
                        self.wanting |= kept.role != Role::Changed;
                    }
                }
                Err(e) if is_missing(&e) => kept.has_gone(),
                Err(e) => kept.complaint.say(&format!("DIOCRGETADDRS on table {}: {e}", kept.name)),
            }
        }
        std::mem::take(&mut self.wanting)
    }

    /// How it is with the tables, in the order of [`ROLES`].
    pub fn conditions(&self) -> [Condition; 3] {
        standing::conditions(self.kept.iter().map(|kept| (kept.role, &kept.standing)))
    }

    fn settle(&mut self, index: usize, verdict: Verdict, whole: bool) {
        if let Some(kept) = self.kept.get_mut(index) {
            kept.standing.settle(verdict, whole);
        }
    }

    fn change(&mut self, index: usize, what: u32, addresses: &[Ipv4Addr]) -> Verdict {
        addresses
            .chunks(CHUNK)
            .map(|chunk| self.ask(index, what, chunk))
            .fold(Verdict::Done, Verdict::max)
    }

    fn set(&mut self, index: usize, addresses: &[Ipv4Addr]) -> Verdict {
        let Some(kept) = self.kept.get_mut(index) else { return Verdict::Done };
        match request(&self.device, pf::SET, &kept.field, addresses) {
            // More than the kernel takes at once: those behind the first are out for a moment.
            Err(e) if addresses.len() > CHUNK && is_too_much(&e) => {
                let (first, rest) = addresses.split_at(CHUNK);
                self.ask(index, pf::SET, first).max(self.change(index, pf::ADD, rest))
            }
            told => self.judge(index, pf::SET, addresses.len(), told),
        }
    }

    fn ask(&mut self, index: usize, what: u32, addresses: &[Ipv4Addr]) -> Verdict {
        let Some(kept) = self.kept.get_mut(index) else { return Verdict::Done };
        let told = request(&self.device, what, &kept.field, addresses);
        self.judge(index, what, addresses.len(), told)
    }

    fn judge(
        &mut self,
        index: usize,
        what: u32,
        count: usize,
        told: io::Result<TableRequest>,
    ) -> Verdict {
        let Some(kept) = self.kept.get_mut(index) else { return Verdict::Done };
        match told {
            Ok(told) => {
                // It was made since we looked, and its truth is not in it.
                if kept.is_gone() {
                    self.wanting |= what != pf::SET;
                    kept.standing.found(kept.role);
                }
                match what {
                    pf::ADD => kept.tally.changed(told.added(), 0),
                    pf::DELETE => kept.tally.changed(0, told.deleted()),
                    _ => kept.tally.is(count),
                }
                Verdict::Done
            }
            Err(e) if is_missing(&e) => {
                kept.has_gone();
                Verdict::Missing
            }
            Err(e) => {
                let name = match what {
                    pf::ADD => "DIOCRADDADDRS",
                    pf::DELETE => "DIOCRDELADDRS",
                    _ => "DIOCRSETADDRS",
                };
                kept.complaint.say(&format!("{name} on table {}: {e}", kept.name));
                kept.standing.fails(&format!("{name}: {e}"));
                Verdict::Failed(None)
            }
        }
    }

    /// Kills all states from, then to, the addresses.
    fn kill(&mut self, addresses: &[Ipv4Addr]) -> Verdict {
        let mut verdict = Verdict::Done;
        for &address in addresses {
            for to in [false, true] {
                if let Err(e) = system::kill(&self.device, address, to) {
                    self.complaint.say(&format!("DIOCKILLSTATES failed: {e}"));
                    verdict = Verdict::Failed(None);
                }
            }
        }
        verdict
    }
}

impl Kept {
    /// Whether it did not exist when that was last known.
    fn is_gone(&self) -> bool {
        *self.standing.condition() == Condition::Missing
    }

    /// Notes, and says once, that it does not exist.
    fn has_gone(&mut self) {
        if !self.is_gone() {
            log::warn!("table {}: no such table, waiting for it", self.name);
        }
        self.tally.forget();
        self.standing.missed();
    }
}

/// What FreeBSD says to more addresses than it takes, or has memory for.
fn is_too_much(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOMEM))
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// Sends a request about a table: what it became by the kernel's hand.
fn request(
    device: &File,
    what: u32,
    name: &[u8; table_pf::NAME_FIELD],
    addresses: &[Ipv4Addr],
) -> io::Result<TableRequest> {
    let mut buffer = pf::addresses(system::LAYOUT, addresses);
    let place = buffer.as_mut_ptr() as usize;
    let mut request = TableRequest::new(name, system::LAYOUT, place, addresses.len());
    // SAFETY: each of these requests reads and writes one structure of just this size, and at most
    // as many elements as it says, which are those of `buffer`.
    let result = unsafe {
        libc::ioctl(device.as_raw_fd(), libc::c_ulong::from(what), request.0.as_mut_ptr())
    };
    let error = io::Error::last_os_error();
    drop(buffer);
    if result < 0 { Err(error) } else { Ok(request) }
}

fn put(verdicts: &mut [Verdict; 3], role: Role, verdict: Verdict) {
    if let Some(slot) = verdicts.get_mut(role as usize) {
        *slot = (*slot).max(verdict);
    }
}
