//! What clients have been promised, and what must therefore be true: a model that knows only what
//! was sent to whom, and the time.
//!
//! Two clocks count. A client lets go of its lease by real time. The server remembers a lease of an
//! earlier life by the wall clock, so a wall clock that was set may cost what was promised before;
//! how much exactly is part of the model.

use crate::lease::LeaseRecord;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Hardware and identifier. Some share the one, some the other.
pub(super) const CLIENTS: [(u16, Option<&[u8]>); 10] = [
    (0, None),
    (0, Some(b"a")),
    (0, Some(b"b")),
    (1, None),
    (1, Some(b"a")),
    (2, Some(b"c")),
    (3, None),
    (4, Some(b"a rather long identifier, kept apart")),
    (5, None),
    (6, Some(b"of the last network")),
];

/// From here on nobody shares anything with another, and none can be told that its lease is
/// another's.
const HONEST: usize = 5;

/// The one that asks only to see whether it is served, on a network of its own.
pub(super) const PROBE: usize = 9;

/// The rule of conflicts: identifiers are compared where both have one, else hardware.
fn same(a: usize, b: usize) -> bool {
    match (CLIENTS[a], CLIENTS[b]) {
        ((_, Some(a)), (_, Some(b))) => a == b,
        ((a, _), (b, _)) => a == b,
    }
}

/// Who may give away what `holder` has.
fn owns(who: usize, holder: usize) -> bool {
    match (CLIENTS[who], CLIENTS[holder]) {
        ((_, ours), (_, Some(theirs))) => ours == Some(theirs),
        ((ours, _), (theirs, None)) => ours == theirs,
    }
}

/// Exactly the same identity.
fn is(a: usize, b: usize) -> bool {
    match (CLIENTS[a], CLIENTS[b]) {
        ((_, Some(a)), (_, Some(b))) => a == b,
        ((a, None), (b, None)) => a == b,
        _ => false,
    }
}

/// A request that was sent, found by its number (xid).
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) client: usize,
    /// The address it is for, if it is for one and comes by the way that address is reached.
    pub(super) address: Option<Ipv4Addr>,
    /// Whether it came by a relay agent, and then which.
    pub(super) relay: Ipv4Addr,
}

/// A decision to give an address to a client. A promise once the client has heard of it.
#[derive(Clone, Debug)]
struct Grant {
    request: u32,
    address: Ipv4Addr,
    client: usize,
    /// Real time at which the client lets go of it, in seconds.
    until: u64,
    /// What the records that may be found say of its end, in wall seconds: the earliest of them.
    recorded: i64,
    /// The server was started since: it knows no more than what is recorded.
    loaded: bool,
    /// The rewrite under way copies it with an end that is right again.
    copied: bool,
    /// The client was told.
    told: bool,
}

/// The time, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) real: u64,
    pub(super) wall: i64,
}

/// All of it.
#[derive(Default)]
pub(super) struct Model {
    requests: Vec<Request>,
    /// Those that still count.
    grants: Vec<Grant>,
    /// The clock was set, and what was written before has not been rewritten since.
    stepped: bool,
    /// The rewrite under way has begun after that.
    rewriting: bool,
    /// How often a client was told it has an address.
    pub(super) told: usize,
}

fn network(address: Ipv4Addr) -> u8 {
    address.octets()[1]
}

impl Model {
    /// A request is on its way. Returns its number.
    pub(super) fn request(&mut self, request: Request) -> u32 {
        self.requests.push(request);
        self.requests.len() as u32 - 1
    }

    pub(super) fn asked(&self, number: u32) -> &Request {
        &self.requests[number as usize]
    }

    /// Forgets what has come to its end. To be called whenever the time has changed.
    pub(super) fn pass(&mut self, time: Time) {
        self.grants.retain(|grant| {
            grant.until > time.real && !(grant.loaded && grant.recorded <= time.wall)
        });
    }

    /// A client gives an address back, or says that it is not free.
    pub(super) fn give_up(&mut self, client: usize, address: Ipv4Addr) {
        self.grants.retain(|grant| grant.address != address || !owns(client, grant.client));
    }

    /// The server has decided to give an address to who asked, if the disk agrees.
    pub(super) fn decided(
        &mut self,
        number: u32,
        address: Ipv4Addr,
        seconds: u32,
        time: Time,
    ) -> Result<(), String> {
        let client = self.asked(number).client;
        let until = time.real + u64::from(seconds);
        let recorded = time.wall + i64::from(seconds);
        for grant in &mut self.grants {
            if grant.address != address {
                continue;
            }
            if !same(grant.client, client) {
                if grant.told {
                    return Err(format!(
                        "{address}, promised to {} until {}, goes to {client} at {time:?}",
                        grant.client, grant.until
                    ));
                }
            } else if grant.client == client {
                // Who asks for less has less, whether or not it hears of it.
                grant.until = grant.until.min(until);
                grant.recorded = grant.recorded.min(recorded);
                grant.loaded = false;
            }
        }
        self.grants.retain(|grant| {
            if grant.address == address {
                // One machine that shows another identity takes over from itself.
                grant.client == client || !same(grant.client, client)
            } else {
                // Nobody has two addresses of a network.
                network(grant.address) != network(address) || !is(grant.client, client)
            }
        });
        self.grants.push(Grant {
            request: number,
            address,
            client,
            until,
            recorded,
            loaded: false,
            copied: false,
            told: false,
        });
        Ok(())
    }

    /// The acknowledgement has left.
    pub(super) fn told(&mut self, number: u32) -> Result<(), String> {
        self.told += 1;
        let Some(at) = self.grants.iter().position(|grant| grant.request == number) else {
            // Given up meanwhile, or over.
            return Ok(());
        };
        let mut grant = self.grants.remove(at);
        grant.told = true;
        for other in &self.grants {
            if other.told && other.address == grant.address && !same(other.client, grant.client) {
                return Err(format!("{} has two holders: {other:?}, {grant:?}", grant.address));
            }
        }
        self.grants.retain(|other| {
            !(other.told && other.address == grant.address && is(other.client, grant.client))
        });
        self.grants.push(grant);
        Ok(())
    }

    /// The client was refused what it asked for.
    pub(super) fn refused(
        &self,
        number: u32,
        is_given: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<(), String> {
        let request = self.asked(number);
        let honest = request.client >= HONEST;
        let Some(address) = request.address.filter(|address| honest && is_given(*address)) else {
            return Ok(());
        };
        match self.grants.iter().find(|grant| {
            grant.told && grant.address == address && is(grant.client, request.client)
        }) {
            Some(grant) => Err(format!("refused what was promised: {grant:?}")),
            None => Ok(()),
        }
    }

    /// The wall clock was set. What is not of an earlier life is to be written anew.
    pub(super) fn clock_was_set(&mut self, time: Time) {
        for grant in self.grants.iter_mut().filter(|grant| !grant.loaded) {
            let left = grant.until.saturating_sub(time.real);
            grant.recorded = grant.recorded.min(time.wall + left as i64);
        }
        (self.stepped, self.rewriting) = (true, false);
        self.pass(time);
    }

    /// Whether the lease file still has the times of a clock that has been set since.
    pub(super) fn is_behind(&self) -> bool {
        self.stepped
    }

    /// The server was given a new lease file to write.
    pub(super) fn rewrite_began(&mut self) {
        self.rewriting = true;
        self.grants.iter_mut().for_each(|grant| grant.copied = !grant.loaded);
    }

    /// It has taken the old one's place.
    pub(super) fn rewrite_ended(&mut self, time: Time) {
        if !std::mem::take(&mut self.rewriting) || !std::mem::take(&mut self.stepped) {
            return;
        }
        for grant in self.grants.iter_mut().filter(|grant| grant.copied) {
            let left = grant.until.saturating_sub(time.real);
            grant.recorded = time.wall + left as i64;
        }
    }

    /// The server is gone, and whatever was not said will not be.
    pub(super) fn crashed(&mut self, time: Time) {
        self.grants.retain(|grant| grant.told);
        self.grants.iter_mut().for_each(|grant| grant.loaded = true);
        (self.stepped, self.rewriting) = (false, false);
        self.pass(time);
    }

    /// Holds what is found in a lease file against what was promised.
    pub(super) fn check_file(&self, found: &BTreeMap<Ipv4Addr, LeaseRecord>) -> Result<(), String> {
        for grant in self.grants.iter().filter(|grant| grant.told) {
            let record = found.get(&grant.address);
            let kept = record.is_some_and(|record| {
                record.ends >= grant.recorded
                    && !record.abandoned
                    && client_of(record).is_some_and(|client| same(client, grant.client))
            });
            if !kept {
                return Err(format!("promised {grant:?}, found {record:?}"));
            }
        }
        Ok(())
    }

    /// The addresses that are promised.
    pub(super) fn promised(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.grants.iter().filter(|grant| grant.told).map(|grant| grant.address)
    }
}

fn client_of(record: &LeaseRecord) -> Option<usize> {
    let hardware = &record.hardware.as_ref()?.addr;
    CLIENTS.iter().position(|(number, id)| {
        crate::engine::tests_kit::mac(*number)[..] == hardware[..]
            && *id == record.client_id.as_deref()
    })
}
