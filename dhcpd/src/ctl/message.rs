//! What dhcpctl(8) and the server say to each other, over a `SOCK_SEQPACKET` path socket: requests
//! down, answers up.
//!
//! A connection carries any number of requests, one after the other. Each is answered by any number
//! of answers and then by [`Answer::End`]; or by [`Answer::Failed`] as the last but that one.
//! Nothing of a request is trusted.

mod encoding;
#[cfg(test)]
mod tests;
mod words;

use crate::engine::counters::{Counters, FAMILIES};
use crate::engine::inspect::{Entry, Filter, PoolUse};
use crate::engine::orders::Order;
use crate::engine::why::{Question, Step};
use crate::msg::Process;
use serde::Serialize;
use std::net::Ipv4Addr;

pub use words::octets;

/// What dhcpctl asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How the daemon is.
    Status,
    /// Leases.
    Leases(Filter),
    /// All about an address.
    ShowAddress(Ipv4Addr),
    /// All about hardware.
    ShowHardware(Vec<u8>),
    /// What a client would be offered, and why.
    Why(Question),
    /// Do something to a lease.
    Order(Order, Ipv4Addr),
    /// Read the configuration again.
    Reload,
    /// How full the ranges are.
    Pools,
    /// What has happened so far.
    Counters,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// Some leases.
    Leases(Vec<Entry>),
    /// A name and its value.
    Fact(String, String),
    /// Something that was looked at.
    Step(Step),
    /// Some ranges.
    Pools(Vec<PoolUse>),
    /// Some counters.
    Counters(Vec<Counter>),
    /// It was done: what.
    Done(String),
    /// It was not, or not all of it, and why: one line or more.
    Failed(String),
    /// That was the last answer to the request.
    End,
}

/// How the daemon is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it began to serve: seconds since the epoch.
    pub started: i64,
    /// For how long it has, in seconds.
    pub uptime: u64,
    /// Name of the configuration.
    pub config: String,
    /// Name of the lease file.
    pub leases: String,
    /// Addresses that were ever leased or offered.
    pub addresses: u64,
    /// What is wrong with writing leases, if something is.
    pub trouble: Option<String>,
    /// Interfaces that are served: name, address, shared network.
    pub interfaces: Vec<Served>,
    /// The daemon's processes, its parent first.
    pub processes: Vec<Child>,
    /// Whether there is a table handler to hear us; nothing where no table is kept.
    pub tables: Option<bool>,
    /// How it is with each table.
    pub table_states: Vec<TableState>,
    /// Servers that leases are told to, each as it is written.
    pub peers: Vec<String>,
}

/// An interface that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Who we are on it.
    pub address: Ipv4Addr,
    /// The shared network it is on.
    pub network: Option<String>,
}

/// A table of the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableState {
    /// Its name.
    pub name: String,
    /// Whether it holds what it must.
    pub ready: bool,
    /// The same in words: what is wrong, if something is.
    pub state: String,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Child {
    /// As it calls itself.
    pub title: String,
    /// Its number; 0 while it is being started again.
    pub pid: u32,
}

impl From<Process> for Child {
    fn from(process: Process) -> Child {
        Child { title: process.title, pid: process.pid }
    }
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// What a metric of it is called.
    pub name: String,
    /// What it counts.
    pub help: String,
    /// The label that tells it from others of that name; empty if there are none.
    pub label: String,
    /// That label's value.
    pub value: String,
    /// How many.
    pub count: u64,
}

impl Counter {
    /// Each of them, in the order in which they are shown.
    pub fn all(counters: &Counters) -> Vec<Counter> {
        let rows = FAMILIES.iter().flat_map(|family| {
            family.rows.iter().map(|(value, get)| Counter {
                name: family.name.to_owned(),
                help: family.help.to_owned(),
                label: family.label.to_owned(),
                value: (*value).to_owned(),
                count: get(counters),
            })
        });
        rows.collect()
    }
}

impl Request {
    /// Whether it changes nothing and says nothing about single clients: then whoever may connect
    /// may ask for it.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Request::Status | Request::Pools | Request::Counters)
    }
}

/// The most bytes of leases in one answer, as [`size`] counts them.
pub const MAX_LEASES: usize = 40_000;

/// At least as many bytes as an entry takes.
pub fn size(entry: &Entry) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let network = entry.network.as_ref().map_or(0, String::len);
    80 + len(&entry.client_id) + len(&entry.client_hostname) + len(&entry.hostname) + network
}
