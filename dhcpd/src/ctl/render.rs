//! What dhcpctl(8) prints, for people and for programs. Pure.

use super::message::{Counter, Status, octets};
use crate::engine::inspect::{Entry, PoolUse};
use crate::engine::why::Step;
use crate::leasefile::date;
use serde::Serialize;
use std::fmt::Write;

/// Above the leases.
pub const LEASE_HEADING: &str =
    "address          state      hardware           until                name\n";

/// Text without what could do something to a terminal.
pub fn printable(text: &str) -> String {
    let clean =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(clean).collect()
}

/// The same of a line that quotes a file: a caret under a line that begins with a tab stands behind
/// one too.
pub fn quoted(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}

/// Names are any bytes at all.
fn name(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

/// One line about a lease, without its end.
pub fn lease(entry: &Entry) -> String {
    let hardware = entry.hardware.as_ref().map_or_else(|| "-".to_owned(), |h| octets(&h.addr));
    let names = [&entry.client_hostname, &entry.hostname];
    let called = names.into_iter().flatten().next().map_or_else(|| "-".to_owned(), |n| name(n));
    let (address, state) = (entry.address.to_string(), entry.state.name());
    let until = date::plain(entry.ends);
    let mut line = format!("{address:<16} {state:<10} {hardware:<18} {until:<20} {called}");
    // Writing to a string does not fail, here and below.
    if let Some(id) = &entry.client_id {
        let _ = write!(line, " id {}", octets(id));
    }
    if entry.dynamic_bootp {
        line.push_str(" bootp");
    }
    if entry.network.is_none() {
        line.push_str(" in-no-range");
    }
    line
}

#[derive(Serialize)]
struct LeaseObject<'a> {
    address: String,
    state: &'a str,
    starts: Option<i64>,
    ends: i64,
    hardware: Option<String>,
    hardware_type: Option<u8>,
    client_id: Option<String>,
    client_hostname: Option<String>,
    hostname: Option<String>,
    network: Option<&'a str>,
    bootp: bool,
}

/// The same for programs.
pub fn lease_json(entry: &Entry) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    json(&LeaseObject {
        address: entry.address.to_string(),
        state: entry.state.name(),
        starts: entry.starts,
        ends: entry.ends,
        hardware: entry.hardware.as_ref().map(|h| octets(&h.addr)),
        hardware_type: entry.hardware.as_ref().map(|h| h.htype),
        client_id: entry.client_id.as_ref().map(|id| octets(id)),
        client_hostname: text(&entry.client_hostname),
        hostname: text(&entry.hostname),
        network: entry.network.as_deref(),
        bootp: entry.dynamic_bootp,
    })
}

/// A name and its value, for programs.
#[derive(Serialize)]
pub struct Fact {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What was done, for programs.
#[derive(Serialize)]
pub struct Done {
    /// In words.
    pub done: String,
}

#[derive(Serialize)]
struct StepObject<'a> {
    rule: &'a str,
    applies: bool,
    why: &'a str,
}

/// Something that was looked at, for programs.
pub fn step_json(step: &Step) -> impl Serialize + '_ {
    StepObject { rule: &step.rule, applies: step.applies, why: &step.why }
}

/// The same for people, as one line.
pub fn step(step: &Step) -> String {
    let mark = if step.applies { "applies" } else { "passed over" };
    format!("{mark:<12} {}: {}", printable(&step.rule), printable(&step.why))
}

/// One object, as one line without its end.
pub fn json(value: &impl Serialize) -> String {
    // Maps with keys that are no text, which could fail, are in none of our types.
    serde_json::to_string(value).unwrap_or_default()
}

/// How the daemon is.
pub fn status(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}: {}", printable(value));
    };
    line("version", &status.version);
    line("started", &date::plain(status.started));
    line("uptime", &format!("{} s", status.uptime));
    line("config", &status.config);
    line("leases", &status.leases);
    line("addresses", &status.addresses.to_string());
    if let Some(trouble) = &status.trouble {
        line("trouble", trouble);
    }
    for interface in &status.interfaces {
        let network = interface.network.as_deref().unwrap_or("none");
        line("interface", &format!("{} {} network {network}", interface.name, interface.address));
    }
    for process in &status.processes {
        match process.pid {
            0 => line("process", &format!("{}, being started", process.title)),
            pid => line("process", &format!("{} pid {pid}", process.title)),
        }
    }
    for table in &status.table_states {
        line("table", &format!("{}: {}", table.name, table.state));
    }
    for peer in &status.peers {
        line("peer", peer);
    }
    out
}

/// How full ranges are, one a line, and what their networks come to.
pub fn pools(pools: &[PoolUse]) -> String {
    let mut out = String::new();
    if pools.is_empty() {
        return out;
    }
    out.push_str("range                            size     free   leased  offered abandoned reserved  used\n");
    let mut subnets: Vec<(String, [u64; 6])> = Vec::new();
    let mut networks: Vec<(String, [u64; 6])> = Vec::new();
    for pool in pools {
        let numbers =
            [pool.size, pool.free, pool.leased, pool.offered, pool.abandoned, pool.reserved];
        row(&format!("{} {}", pool.low, pool.high), numbers, &mut out);
        add(&mut subnets, &format!("subnet {}", pool.subnet), numbers);
        add(&mut networks, &format!("network {}", printable(&pool.network)), numbers);
    }
    for (name, numbers) in subnets.iter().chain(&networks) {
        row(name, *numbers, &mut out);
    }
    out
}

fn add(sums: &mut Vec<(String, [u64; 6])>, name: &str, numbers: [u64; 6]) {
    // Ranges of one subnet, and of one network, mostly follow each other.
    match sums.iter_mut().rev().find(|(known, _)| known == name) {
        Some((_, sum)) => sum.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n),
        None => sums.push((name.to_owned(), numbers)),
    }
}

fn row(name: &str, numbers: [u64; 6], out: &mut String) {
    let [size, free, leased, offered, abandoned, reserved] = numbers;
    let percent = size.saturating_sub(free).saturating_mul(100).checked_div(size).unwrap_or(0);
    let _ = writeln!(
        out,
        "{name:<31} {size:>8} {free:>8} {leased:>8} {offered:>8} {abandoned:>8} {reserved:>9} {percent:>4}%"
    );
}

/// One counter a line.
pub fn counters(counters: &[Counter]) -> String {
    let mut out = String::new();
    for Counter { name, value, count, .. } in counters {
        let name = name.trim_start_matches("dhcpd_").trim_end_matches("_total");
        let value = if value.is_empty() { String::new() } else { format!(" {value}") };
        let _ = writeln!(out, "{:<48} {count}", printable(&format!("{name}{value}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_something_to_a_terminal_is_shown() {
        assert_eq!(printable("a\tb\x1b[2J"), "a\\tb\\u{1b}[2J");
        // But a quoted line stands above its caret.
        assert_eq!(quoted("\t\trange\x1b x;"), "\t\trange\\u{1b} x;");
    }
}
