//! What several fuzz targets start from: a log that formats every line and drops it, and an engine
//! with two small networks.

use dhcpd::config::{Config, Host, Place, Range, Settings, SharedNetwork, Subnet};
use dhcpd::engine::{Engine, EngineOptions, Interface};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Our address on the first network.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The relay agent's, on the second.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// When every story begins, in seconds since the epoch.
pub const START: i64 = 1_700_000_000;

struct Sink;

impl log::Log for Sink {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut line = String::new();
        let _ = write!(line, "{}", record.args());
        assert!(!line.contains(['\n', '\0']), "a client wrote a line of the log: {line:?}");
    }

    fn flush(&self) {}
}

/// Has every log line formatted from now on: what prints a packet's contents is tested too.
pub fn log_to_nowhere() {
    static SINK: Sink = Sink;
    if log::set_logger(&SINK).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

/// `10.0.0.0/24` with .10 to .17, on which we are, and `10.1.0.0/24` with .10 to .13 behind the
/// relay agent; client 02:00:00:00:00:07 has the fixed address 10.0.0.30.
pub fn engine() -> Engine {
    let at = || Place { file: "fuzz".into(), line: 1, column: 1 };
    let mut settings = Settings {
        default_lease_time: Some(600),
        max_lease_time: Some(3600),
        filename: Some(b"boot".to_vec()),
        ..Settings::default()
    };
    settings.options.set(3, vec![10, 0, 0, 1]);
    settings.options.set(15, b"fuzz.example".to_vec());
    let subnet = |network: usize, last: u8| Subnet {
        network,
        net: format!("10.{network}.0.0/24").parse().expect("a network"),
        ranges: vec![Range {
            low: Ipv4Addr::new(10, network as u8, 0, 10),
            high: Ipv4Addr::new(10, network as u8, 0, last),
            dynamic_bootp: false,
        }],
        settings: settings.clone(),
        at: at(),
    };
    let network = |id: usize| SharedNetwork {
        name: format!("10.{id}.0.0"),
        authoritative: true,
        subnets: vec![id],
        settings: settings.clone(),
    };
    let host = Host {
        name: "fixed".to_owned(),
        hardware: Some(dhcpd::config::Hardware { htype: 1, addr: vec![2, 0, 0, 0, 0, 7] }),
        client_id: None,
        fixed: vec![Ipv4Addr::new(10, 0, 0, 30)],
        settings: Settings::default(),
        at: at(),
    };
    let mut config = Config {
        networks: vec![network(0), network(1)],
        subnets: vec![subnet(0, 17), subnet(1, 13)],
        hosts: vec![host],
        root: settings.clone(),
        ..Config::default()
    };
    config.build_lookup();
    let interface = Interface {
        name: "em0".to_owned(),
        index: 3,
        address: SERVER,
        addresses: vec![SERVER],
        mac: [6; 6],
        network: Some(0),
    };
    Engine::new(Arc::new(config), vec![interface], EngineOptions::default())
}
