//! What real clients say, as it passed on the wire, what dhcpd answered and wrote down, and what its
//! processes say to each other: fuzzing starts from it (`tools/fuzz seeds`).
//!
//! The addresses are those that the fuzz targets' engine serves.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use dhcpd::conf::RecordedSources;
use dhcpd::msg;
use nix::sys::socket::{MsgFlags, recv};
use pfhelper::{Condition, FromParent, FromServer, Report, Tables, Verb};
use proto::unix::{Channel, MAX_MESSAGE, Message, pair};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use tests::capture::{as_options, keep, kind, passed};
use tests::client::{Client, Kind};
use tests::daemon::Dhcpd;
use tests::frame::Tap;
use tests::lab::Lab;
use tests::relayed::{Agent, Program, Relayed};

/// Short leases: every client renews by its own clock, at half of it.
const CONFIG: &str = r#"
ping-check false;
default-lease-time 16;
option domain-name "fuzz.example";
option domain-name-servers 192.0.2.1, 198.51.100.53;
option routers 192.0.2.1;
option domain-search "fuzz.example", "example";
option classless-static-routes 10/8 192.0.2.1, 0/0 192.0.2.1;
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.10 192.0.2.17; }
subnet 198.51.100.0 netmask 255.255.255.0 { range 198.51.100.10 198.51.100.13; }
"#;

/// Has a client say all that it can, and keeps each kind of message once.
fn capture(kind_of_client: Kind, wanted: &[&str]) {
    let lab = Lab::new();
    let name = format!("{kind_of_client:?}").to_lowercase();
    lab.client.run("ip link set cli0 address 02:00:00:00:00:01");
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let tap = Tap::open(&lab.server, "srv0");
    let mut client = Client::start(&lab, kind_of_client);
    let (address, _) = client.bound();
    if kind_of_client == Kind::Dhclient {
        // With its lease in a file, it asks for the same address when it starts.
        drop(client);
        client = Client::start(&lab, kind_of_client);
        client.bound();
    }
    if kind_of_client == Kind::Udhcpc {
        client.renew();
    }
    client.bound();
    client.release(&lab);
    dhcpd.wait_for(&format!("DHCPRELEASE of {address} from "));

    let mut messages = BTreeMap::new();
    let mut answer = Vec::new();
    for datagram in passed(&tap) {
        match kind(&datagram.payload) {
            Some(kind) => {
                messages.entry(kind).or_insert(datagram.payload);
            }
            None => {
                answer = datagram.payload;
            }
        }
    }
    assert_eq!(messages.keys().copied().collect::<Vec<_>>(), wanted, "of {name}");
    for (kind, message) in &messages {
        keep("packet", &format!("{name}-{kind}"), message);
    }
    keep("options", &format!("{name}-ack"), &as_options(&answer));
    let leases = std::fs::read(lab.path("leases")).unwrap_or_default();
    assert!(!leases.is_empty());
    keep("leases", &name, &leases);
}

#[test]
fn of_udhcpc() {
    capture(Kind::Udhcpc, &["discover", "release", "renewing", "selecting"]);
}

#[test]
fn of_dhclient() {
    capture(Kind::Dhclient, &["discover", "reboot", "release", "renewing", "selecting"]);
}

#[test]
fn of_dhcpcd() {
    capture(Kind::Dhcpcd, &["discover", "release", "renewing", "selecting"]);
}

#[test]
fn of_iscs_relay_agent() {
    let relayed = Relayed::new();
    relayed.lab.client.run("ip link set cli0 address 02:00:00:00:00:01");
    let _dhcpd = Dhcpd::start(&relayed.lab, CONFIG, &[]);
    let tap = Tap::open(&relayed.lab.server, "srv0");
    for (name, arguments) in [("dhcrelay", &[][..]), ("dhcrelay-link-selection", &["-U", "up0"])] {
        let relay = Agent::start(&relayed, Program::Dhcrelay(arguments));
        let mut client = Client::start(&relayed.lab, Kind::Udhcpc);
        client.bound();
        drop(client);
        drop(relay);
        let mut messages = BTreeMap::new();
        for datagram in passed(&tap) {
            match kind(&datagram.payload) {
                Some(kind) => messages.insert(kind, datagram.payload),
                None => messages.insert("answer", datagram.payload),
            };
        }
        for kind in ["discover", "selecting"] {
            keep("packet", &format!("{name}-{kind}"), &messages[kind]);
        }
        keep("options", name, &as_options(&messages["answer"]));
    }
}

/// Sends it over a channel as our processes do, and returns the record as it went.
fn record<M: Message>(message: &M) -> Vec<u8> {
    let (ours, theirs) = pair().expect("a channel");
    Channel::<M, M>::from_fd(ours).expect("one end").send(message).expect("send");
    let mut bytes = vec![0; MAX_MESSAGE];
    let length = recv(theirs.as_raw_fd(), &mut bytes, MsgFlags::empty()).expect("receive");
    bytes.truncate(length);
    bytes
}

#[test]
fn of_our_own_processes() {
    let mut sources = RecordedSources::default();
    sources.add_file("/etc/dhcpd.conf", CONFIG.as_bytes());
    sources.add_addresses("ns.fuzz.example", &["192.0.2.1".parse().expect("an address")]);
    sources.add_ethernet("printer", [2, 0, 0, 0, 0, 7]);
    keep("answers", "small", &sources.encode());

    let null = || OwnedFd::from(File::open("/dev/null").expect("open /dev/null"));
    let tables = Tables {
        leased: Some("leased".parse().expect("a table")),
        abandoned: Some("inet/filter/abandoned".parse().expect("a table")),
        ..Tables::default()
    };
    let interface = msg::Interface {
        name: "em0".to_owned(),
        index: 3,
        mac: [2, 0, 0, 0, 0, 9],
        addresses: vec!["192.0.2.1".parse().expect("an address")],
    };
    let start = msg::Start {
        config: "/etc/dhcpd.conf".to_owned(),
        leases: "/var/db/dhcpd.leases".to_owned(),
        tables: tables.clone(),
        element_timeout: Some(90),
        hooks: false,
    };
    let address = |last| Ipv4Addr::new(192, 0, 2, last);
    let commands = [Verb::Leased, Verb::Released, Verb::Abandoned, Verb::Changed]
        .map(|verb| pfhelper::Command { verb, address: address(10) });
    let (leased, abandoned) = ((10..18).map(address).collect(), vec![address(18)]);
    let truth = FromServer::Replace { seq: 7, part: 0, last: true, leased, abandoned };
    let report = Report { seq: 7, applied: 4, missing: 1, failed: 1 };
    let conditions = [Condition::Kept, Condition::Missing, Condition::Failed("why".to_owned())];
    for (name, bytes) in [
        ("sources", record(&msg::ToServer::Sources { bytes: b"part".to_vec(), last: true })),
        ("interface", record(&msg::ToServer::Interface(interface, null()))),
        ("start", record(&msg::ToServer::Start(start))),
        ("new-file", record(&msg::ToServer::NewFile(null()))),
        ("renamed", record(&msg::ToServer::Renamed(msg::Renamed::Maybe("why".to_owned())))),
        ("refused", record(&msg::ToParent::Refused("why".to_owned()))),
        ("setup", record(&FromParent::Setup { tables, element_timeout: Some(90) })),
        ("commands", record(&FromParent::Commands(null()))),
        ("apply", record(&FromServer::Apply { seq: 6, commands: commands.to_vec() })),
        ("replace", record(&truth)),
        ("report", record(&pfhelper::ToServer::Report(report))),
        ("tables", record(&pfhelper::ToServer::Tables(conditions))),
    ] {
        keep("channel", name, &bytes);
    }
}
