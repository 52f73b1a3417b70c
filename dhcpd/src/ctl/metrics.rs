//! Metrics as Prometheus reads them: the text exposition format, version 0.0.4. Pure.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Each family begins with
//! its HELP and TYPE, and all its samples follow; label values are escaped; counters end in `_total`,
//! and names have their unit.

use super::message::{Counter, Status};
use crate::engine::inspect::PoolUse;
use std::collections::BTreeMap;
use std::fmt::Write;

/// All of it.
pub fn exposition(status: Option<&Status>, pools: &[PoolUse], counters: &[Counter]) -> String {
    let mut out = String::new();
    if let Some(status) = status {
        about_daemon(status, &mut out);
    }
    about_pools(pools, &mut out);
    let mut last = "";
    for Counter { name, help, label, value, count } in counters {
        if name != last {
            family(name, help, "counter", &mut out);
            last = name;
        }
        let labels = [(label.as_str(), value.as_str())];
        sample(name, if label.is_empty() { &[] } else { &labels }, *count, &mut out);
    }
    out
}

fn about_daemon(status: &Status, out: &mut String) {
    let name = "dhcpd_build_info";
    family(name, "Which version serves, always 1", "gauge", out);
    sample(name, &[("version", &status.version)], 1, out);
    let name = "dhcpd_start_time_seconds";
    family(name, "When it began to serve, in seconds since the epoch", "gauge", out);
    sample(name, &[], u64::try_from(status.started).unwrap_or(0), out);
    let name = "dhcpd_addresses_used";
    family(name, "Addresses that were ever leased or offered", "gauge", out);
    sample(name, &[], status.addresses, out);
    let name = "dhcpd_lease_file_writable";
    family(name, "Whether leases reach the disk: 0 while they do not", "gauge", out);
    sample(name, &[], u64::from(status.trouble.is_none()), out);
    let name = "dhcpd_interface_info";
    family(name, "Interfaces that are served, always 1", "gauge", out);
    for served in &status.interfaces {
        let address = served.address.to_string();
        let network = served.network.as_deref().unwrap_or("");
        let labels = [("interface", &*served.name), ("address", &address), ("network", network)];
        sample(name, &labels, 1, out);
    }
    if let Some(connected) = status.tables {
        let name = "dhcpd_table_handler_up";
        family(name, "Whether there is a table handler to keep the firewall tables", "gauge", out);
        sample(name, &[], u64::from(connected), out);
        let name = "dhcpd_table_ready";
        family(name, "Whether a firewall table holds what it must", "gauge", out);
        // One table may be named for two purposes, and a sample must not be there twice.
        let mut tables = BTreeMap::new();
        for table in &status.table_states {
            let ready = tables.entry(&table.name).or_insert(true);
            *ready &= table.ready;
        }
        for (table, ready) in tables {
            sample(name, &[("table", table)], u64::from(ready), out);
        }
    }
}

fn about_pools(pools: &[PoolUse], out: &mut String) {
    let name = "dhcpd_pool_addresses";
    family(name, "Addresses of a range by state, which together are all of them", "gauge", out);
    for pool in pools {
        let (low, high) = (pool.low.to_string(), pool.high.to_string());
        for (state, count) in [
            ("free", pool.free),
            ("leased", pool.leased),
            ("offered", pool.offered),
            ("abandoned", pool.abandoned),
            ("reserved", pool.reserved),
        ] {
            let labels = [
                ("network", &*pool.network),
                ("subnet", &*pool.subnet),
                ("first", &*low),
                ("last", &*high),
                ("state", state),
            ];
            sample(name, &labels, count, out);
        }
    }
}

fn family(name: &str, help: &str, kind: &str, out: &mut String) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a string does not fail, here and below.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(name: &str, labels: &[(&str, &str)], value: u64, out: &mut String) {
    out.push_str(name);
    for (number, (label, value)) in labels.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let before = if number == 0 { '{' } else { ',' };
        let _ = write!(out, "{before}{label}=\"{value}\"");
    }
    let after = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(out, "{after} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::message::TableState;
    use crate::engine::counters::Counters;

    #[test]
    fn a_table_that_is_named_twice_is_ready_if_it_is_for_both() {
        let table = |name: &str, ready| TableState {
            name: name.to_owned(),
            ready,
            state: "it is full".to_owned(),
        };
        let status = Status {
            tables: Some(true),
            table_states: vec![
                table("inet/a/leased", true),
                table("both", true),
                table("both", false),
            ],
            ..Status::default()
        };
        let text = exposition(Some(&status), &[], &[]);
        let samples: Vec<&str> = text.lines().filter(|l| l.starts_with("dhcpd_table")).collect();
        assert_eq!(
            samples,
            [
                "dhcpd_table_handler_up 1",
                "dhcpd_table_ready{table=\"both\"} 0",
                "dhcpd_table_ready{table=\"inet/a/leased\"} 1",
            ]
        );
    }

    #[test]
    fn frames_that_were_passed_over_are_rows_of_one_family() {
        let counters = Counters {
            malformed: 1,
            no_identity: 2,
            frames_bad_ip: 3,
            frames_bad_udp: 4,
            frames_malformed: 5,
            frames_tagged: 6,
            ..Counters::default()
        };
        let text = exposition(None, &[], &Counter::all(&counters));
        let name = "dhcpd_packets_ignored_total";
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(name)).collect();
        assert_eq!(
            lines,
            [
                "# HELP dhcpd_packets_ignored_total Packets that are no request one could answer",
                "# TYPE dhcpd_packets_ignored_total counter",
                "dhcpd_packets_ignored_total{reason=\"malformed\"} 1",
                "dhcpd_packets_ignored_total{reason=\"no_identity\"} 2",
                "dhcpd_packets_ignored_total{reason=\"bad_ip_checksum\"} 3",
                "dhcpd_packets_ignored_total{reason=\"bad_udp_checksum\"} 4",
                "dhcpd_packets_ignored_total{reason=\"malformed_frame\"} 5",
                "dhcpd_packets_ignored_total{reason=\"other_vlan\"} 6",
            ]
        );
    }
}
