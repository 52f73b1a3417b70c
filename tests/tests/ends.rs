//! What dhcpd's processes still do when the end comes: told to stop under load, before service has
//! begun, with the interface gone.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::signal::Signal;
use std::fmt::Write;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, binary};
use tests::leasefile::LeaseFile;
use tests::process::{self, until};
use tests::wire::{ACK, DISCOVER, Packet, RELEASE, REQUEST, Relay};

const CONFIG: &str = "subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.250; }\n";
const TABLES: [&str; 6] = ["-A", "abandoned", "-C", "changed", "-L", "leased"];

fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, n)
}

fn request(n: u8) -> Packet {
    let mac = [2, 0, 0, 0, 0, n];
    Packet::new(REQUEST, mac, u32::from(n)).option(50, &address(n).octets())
}

/// Whoever has been acknowledged is in the set, whoever has given back is not, when all is over.
#[test]
fn the_tables_hold_what_the_last_packets_were_answered() {
    for round in 0..5u8 {
        let lab = Lab::new();
        lab.make_sets();
        let config = format!("ping-check false;\n{CONFIG}");
        let mut dhcpd = Dhcpd::start(&lab, &config, &TABLES);
        let relay = Relay::new(&lab);
        let given_back = relay.lease([2, 0, 0, 0, 1, 1], 1000);
        let mut all: Vec<u8> = (100..250).collect();
        all.retain(|n| address(*n) != given_back);
        let (before, after) = all.split_at(usize::from(round) * 30);
        before.iter().for_each(|n| relay.send(request(*n)));
        let release = Packet::new(RELEASE, [2, 0, 0, 0, 1, 1], 1001).ciaddr(given_back);
        relay.send_bytes(&release.bytes());
        process::kill(dhcpd.pid(), Signal::SIGTERM);
        after.iter().for_each(|n| relay.send(request(*n)));
        assert!(dhcpd.ended().success());
        let mut acknowledged = Vec::new();
        while let Some(answer) = relay.poll() {
            if answer.kind == ACK && answer.xid < 1000 {
                acknowledged.push(answer.yiaddr);
            }
        }
        acknowledged.sort();
        let held = lab.server.set("leased");
        let missing: Vec<_> = acknowledged.iter().filter(|a| !held.contains(a)).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {acknowledged:?}");
        let file = LeaseFile::read(&lab.path("leases"));
        for (n, address) in acknowledged.iter().map(|a| (a.octets()[3], a)) {
            assert_eq!(file.holder(*address), Some([2, 0, 0, 0, 0, n]));
        }
        let log = dhcpd.log();
        assert!(!log.contains("pf table handler: channel closed"), "{log}");
        let heard = log.contains("Released lease for IP address");
        assert!(!heard || !held.contains(&given_back), "{given_back} was given back: {log}");
    }
}

/// Whoever waits for the start must not be told that it serves when it never did.
#[test]
fn an_end_before_the_start_is_no_start() {
    let lab = Lab::new();
    let mut text = String::new();
    for n in 0..200_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let lease = "starts 2 2026/06/30 10:00:00 UTC;\n\tends 2 2036/06/30 10:00:00 UTC;";
        let _ = write!(
            text,
            "lease 10.{a}.{b}.{c} {{\n\t{lease}\n\thardware ethernet 02:ff:ff:{a:02x}:{b:02x}:{c:02x};\n}}\n"
        );
    }
    lab.write("leases", &text);
    let notify = UnixDatagram::bind(lab.path("notify")).expect("bind the notify socket");
    notify.set_nonblocking(true).expect("do not wait");
    let config = lab.write("dhcpd.conf", CONFIG);
    let log = lab.write("log", "");
    let mut start = lab.server.command(binary("dhcpd"));
    start.arg("-d").arg("-c").arg(config).arg("-l").arg(lab.path("leases"));
    start.arg("-s").arg(lab.path("dhcpd.sock"));
    start.env("NOTIFY_SOCKET", lab.path("notify")).stdin(Stdio::null()).stdout(Stdio::null());
    start.stderr(File::create(&log).expect("a log"));
    let mut dhcpd = start.spawn().expect("start dhcpd");
    until("the server is there", LIMIT, || {
        process::child_titled(dhcpd.id(), "dhcpd: server").is_some()
    });
    process::kill(dhcpd.id(), Signal::SIGTERM);
    let status = dhcpd.wait().expect("its end");
    let log = std::fs::read_to_string(log).expect("its log");
    assert!(status.success() && log.contains(": ending"), "{log}");
    assert!(!log.contains("fatal"), "{log}");
    assert!(notify.recv(&mut [0; 64]).is_err(), "it said that it was ready: {log}");
}

#[test]
fn in_the_background_a_lease_file_is_where_it_was_meant() {
    let lab = Lab::new();
    let config = lab.write("dhcpd.conf", CONFIG);
    let name = format!("tandem-ends-{}.leases", std::process::id());
    let mut start = lab.server.command(binary("dhcpd"));
    start.current_dir(lab.path("")).arg("-c").arg(&config).arg("-l").arg(&name);
    start.arg("-s").arg(lab.path("dhcpd.sock"));
    let output = start.output().expect("start dhcpd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for pid in lab.server.pids() {
        if !process::title(pid).starts_with("dhcpd: ") {
            process::kill(pid, Signal::SIGTERM);
        }
    }
    until("all of it ends", LIMIT, || lab.server.pids().is_empty());
    let astray = std::path::Path::new("/").join(&name);
    let is_astray = std::fs::remove_file(astray).is_ok();
    assert!(!is_astray && lab.path(&name).is_file(), "astray: {is_astray}");
}

#[test]
fn an_interface_that_goes_away_takes_no_processor_time_and_no_other_service() {
    let lab = Lab::new();
    lab.server.run("ip link add other0 type veth peer name other1");
    lab.server.run("ip addr add 198.51.100.1/24 dev other0");
    lab.server.run("ip link set other0 up");
    lab.server.run("ip link set other1 up");
    let config = format!(
        "{CONFIG}subnet 198.51.100.0 netmask 255.255.255.0 {{ range 198.51.100.9 198.51.100.99; }}\n"
    );
    let mut dhcpd = Dhcpd::start(&lab, &config, &[]);
    let server = dhcpd.server();
    lab.server.run("ip link del other0");
    dhcpd.wait_for("receive from other0: ");
    let before = process::stat(server).expect("the server").ticks;
    let relay = Relay::new(&lab);
    relay.lease([2, 0, 0, 0, 0, 1], 1);
    relay.try_receive(Duration::from_secs(1));
    let ticks = process::stat(server).expect("the server").ticks - before;
    assert!(ticks < 20, "{ticks} clock ticks in a second");
    relay.send(Packet::new(DISCOVER, [2, 0, 0, 0, 0, 2], 2));
    relay.receive(2);
    assert!(dhcpd.terminate().success());
}
