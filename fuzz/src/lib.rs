//! What several fuzz targets start from: a log that formats every line and drops it, and an engine
//! with two small networks, as it is without a word about anything else or with all that there is. Their addresses are those of the wires that seeds are captured on
//! (`tests/tests/captures.rs`), so that what real clients say means something to it.

use dhcpd::config::{Class, Config, Host, Place, Range, Settings, SharedNetwork, Subnet};
use dhcpd::engine::{Engine, EngineOptions, Interface};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Our address on the first network.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The relay agent's, on the second.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// When every story begins, in seconds since the epoch.
pub const START: i64 = 1_700_000_000;

/// An address of the first network (0) or the second (1).
pub fn address(network: u8, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = if network == 0 { SERVER.octets() } else { RELAY.octets() };
    Ipv4Addr::new(a, b, c, last)
}

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

/// `192.0.2.0/24` with .10 to .17, on which we are, and `198.51.100.0/24` with .10 to .13 behind the
/// relay agent; client 02:00:00:00:00:07 has the fixed address 192.0.2.30.
pub fn engine() -> Engine {
    built(false)
}

/// The same with every statement there is: dynamic BOOTP, leasequery, rapid commit, names from the DNS,
/// subnet selection, classes, and clients that are told to do without IPv4.
pub fn engine_with_everything() -> Engine {
    built(true)
}

fn built(everything: bool) -> Engine {
    let at = || Place { file: "fuzz".into(), line: 1, column: 1 };
    let mut settings = Settings {
        default_lease_time: Some(600),
        max_lease_time: Some(3600),
        filename: Some(b"boot".to_vec()),
        ..Settings::default()
    };
    settings.options.set(3, SERVER.octets().to_vec());
    settings.options.set(15, b"fuzz.example".to_vec());
    if everything {
        let on = Some(true);
        settings = Settings {
            min_lease_time: Some(60),
            dynamic_bootp_lease_length: Some(300),
            dynamic_bootp: on,
            get_lease_hostnames: on,
            use_host_decl_names: on,
            use_lease_addr_for_default_route: on,
            always_reply_rfc1048: on,
            rapid_commit: on,
            leasequery: on,
            subnet_selection: on,
            withhold_ipv4: on,
            server_name: Some(b"server".to_vec()),
            next_server: Some(SERVER),
            ..settings
        };
        settings.options.set(108, 300u32.to_be_bytes().to_vec());
        settings.options.set(121, [&[0][..], &SERVER.octets()].concat());
    }
    let class = |value: &[u8], boot: &[u8]| Class {
        value: value.to_vec(),
        settings: Settings { filename: Some(boot.to_vec()), ..Settings::default() },
        at: at(),
    };
    let (vendor, user) = (class(b"PXEClient", b"pxe"), class(b"iPXE", b"ipxe"));
    let subnet = |network: u8, last: u8| Subnet {
        network: usize::from(network),
        net: format!("{}/24", address(network, 0)).parse().expect("a network"),
        ranges: vec![Range {
            low: address(network, 10),
            high: address(network, last),
            dynamic_bootp: everything,
        }],
        settings: settings.clone(),
        at: at(),
    };
    let network = |id: u8| SharedNetwork {
        name: address(id, 0).to_string(),
        authoritative: true,
        subnets: vec![usize::from(id)],
        settings: settings.clone(),
    };
    let host = Host {
        name: "fixed".to_owned(),
        hardware: Some(dhcpd::config::Hardware { htype: 1, addr: vec![2, 0, 0, 0, 0, 7] }),
        client_id: None,
        fixed: vec![address(0, 30)],
        settings: Settings::default(),
        at: at(),
    };
    let mut config = Config {
        networks: vec![network(0), network(1)],
        subnets: vec![subnet(0, 17), subnet(1, 13)],
        hosts: vec![host],
        vendor_classes: if everything { vec![vendor] } else { Vec::new() },
        user_classes: if everything { vec![user] } else { Vec::new() },
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
