//! The lease file as dhcpd finds it: written by OpenBSD's dhcpd or by ISC's, damaged, missing, or
//! not to be read at all. What a crash of our own leaves is `durability`'s.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::Lab;
use tests::leasefile::LeaseFile;
use tests::process::until;
use tests::wire::{ACK, Answer, DISCOVER, NAK, OFFER, Packet, REQUEST, Relay};

const CONFIG: &str = "ping-check false;\n\
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.199; }\n";
const TABLES: [&str; 6] = ["-A", "abandoned", "-C", "changed", "-L", "leased"];

const A: [u8; 6] = [0x00, 0x0d, 0xb9, 0x11, 0x22, 0x33];
const B: [u8; 6] = [0x00, 0x0d, 0xb9, 0x44, 0x55, 0x66];
const C: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const STRANGER: [u8; 6] = [2, 9, 9, 9, 9, 9];

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// A day from now, or the one before today, as a lease file has it.
fn day(when: &str) -> String {
    let date = Command::new("date")
        .args(["-u", "-d", when, "+%w %Y/%m/%d %H:%M:%S"])
        .output()
        .expect("run date");
    assert!(date.status.success());
    String::from_utf8_lossy(&date.stdout).trim_end().to_owned()
}

/// `@yesterday`, `@tomorrow` and `@epoch`, which is tomorrow's in seconds, become times.
fn dated(text: &str) -> String {
    let epoch = Command::new("date").args(["-d", "tomorrow", "+%s"]).output().expect("run date");
    let epoch = String::from_utf8_lossy(&epoch.stdout).trim_end().to_owned();
    text.replace("@yesterday", &day("yesterday"))
        .replace("@tomorrow", &day("tomorrow"))
        .replace("@epoch", &epoch)
}

/// What a client who asks for an address is told.
fn ask(relay: &Relay, mac: [u8; 6], id: Option<&[u8]>, address: Ipv4Addr) -> u8 {
    let packet = Packet::new(REQUEST, mac, 5).option(50, &address.octets());
    let answer = send(relay, packet, id);
    assert!(answer.kind == NAK || answer.yiaddr == address);
    answer.kind
}

/// What a client who asks for nothing is offered.
fn offered(relay: &Relay, mac: [u8; 6], id: Option<&[u8]>) -> Ipv4Addr {
    let answer = send(relay, Packet::new(DISCOVER, mac, 6), id);
    assert_eq!(answer.kind, OFFER);
    answer.yiaddr
}

fn send(relay: &Relay, packet: Packet, id: Option<&[u8]>) -> Answer {
    let xid = u32::from(packet.header[7]);
    relay.send(match id {
        Some(id) => packet.option(61, id),
        None => packet,
    });
    relay.receive(xid)
}

/// Waits for a set to hold these addresses and no others: it does soon, not at once.
fn in_time(lab: &Lab, set: &str, hosts: &[u8]) {
    let wanted: Vec<Ipv4Addr> = hosts.iter().copied().map(host).collect();
    until(&format!("the {set} set is {wanted:?}"), LIMIT, || lab.server.set(set) == wanted);
}

/// The file as dhcpd has rewritten it.
fn rewritten(lab: &Lab, before: &str) -> LeaseFile {
    let path = lab.path("leases");
    until("the lease file is rewritten", LIMIT, || {
        std::fs::read_to_string(&path).expect("read the lease file") != before
    });
    let file = LeaseFile::read(&path);
    assert!(file.strange.is_empty() && file.torn == 0, "{file:?}");
    file
}

/// What OpenBSD's dhcpd leaves: appended records, the last of an address counts, and what older
/// ones wrote.
const OPENBSD: &str = "\
lease 192.0.2.100 {
\tstarts @yesterday UTC;
\tends @yesterday UTC;
\thardware ethernet 00:0d:b9:44:55:66;
\tuid 01:00:0d:b9:44:55:66;
\tclient-hostname \"earlier\";
}
lease 192.0.2.101 {
\tstarts @yesterday UTC;
\tends @yesterday UTC;
\thardware ethernet 00:0d:b9:44:55:66;
\tuid 01:00:0d:b9:44:55:66;
}
lease 192.0.2.102 {
\tstarts @yesterday UTC;
\tends @tomorrow UTC;
\tabandoned;
}
lease 192.0.2.103 {
\tstarts @yesterday;
\tends @tomorrow;
\ttimestamp @yesterday;
\tclass dialup;
\thardware ethernet 52:54:00:12:34:56;
\tdynamic-bootp;
\thostname \"printer.example.net\";
}
lease 192.0.3.7 {
\tstarts @yesterday UTC;
\tends @tomorrow UTC;
\thardware ethernet 02:00:00:00:03:07;
}
lease 192.0.2.100 {
\tstarts @yesterday UTC;
\tends @tomorrow UTC;
\thardware ethernet 00:0d:b9:11:22:33;
\tuid \"laptop\";
\tclient-hostname \"laptop\";
}
";

/// What ISC's dhcpd 4.4 leaves.
const ISC: &str = r#"# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

server-duid "\000\001\000\001,\255\014\231RT\000\0224V";

lease 192.0.2.101 {
  starts @yesterday;
  ends @yesterday;
  tstp @yesterday;
  cltt @yesterday;
  binding state free;
  hardware ethernet 00:0d:b9:44:55:66;
  uid "\001\000\015\271DUf";
}
lease 192.0.2.102 {
  starts @yesterday;
  ends @tomorrow;
  tstp @tomorrow;
  cltt @yesterday;
  binding state abandoned;
  next binding state free;
  rewind binding state free;
}
lease 192.0.2.103 {
  starts epoch 1782813600; # Tue Jun 30 10:00:00 2026
  ends epoch @epoch; # tomorrow
  cltt epoch 1782813600;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 52:54:00:12:34:56;
  option agent.circuit-id "eth0/1; }";
  set vendor-class-identifier = "udhcp 1.35 { ";
  on expiry { log(info, "gone"); }
}
lease 192.0.3.7 {
  starts @yesterday;
  ends never;
  cltt @yesterday;
  binding state active;
  next binding state free;
  hardware ethernet 02:00:00:00:03:07;
}
lease 192.0.2.100 {
  starts @yesterday;
  ends @tomorrow;
  cltt @yesterday;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 00:0d:b9:11:22:33;
  uid "laptop";
  client-hostname "laptop";
}
"#;

/// Both files say the same: .100 is A's under an identifier, .101 was B's, .102 is in conflict,
/// .103 is C's, and somebody has an address that no range has any more.
fn serves_as_the_file_says(text: &str, records: usize) {
    let lab = Lab::new();
    lab.make_sets();
    let text = dated(text);
    lab.write("leases", &text);
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    let line = dhcpd.wait_for(" leases from ");
    assert!(line.contains(&format!("from {records} records")));
    assert!(!dhcpd.log().contains("Corrupt"));

    // Q-1: the firewall hears of what was leased before.
    in_time(&lab, "leased", &[100, 103]);
    assert_eq!(lab.server.set("abandoned"), [host(102)]);

    let file = rewritten(&lab, &text);
    assert_eq!(file.holder(host(100)), Some(A));
    assert_eq!(file.leases[&host(100)].uid.as_deref(), Some("6c:61:70:74:6f:70"));
    assert_eq!(file.holder(host(101)), Some(B));
    assert_eq!(file.leases[&host(101)].uid.as_deref(), Some("01:00:0d:b9:44:55:66"));
    assert!(file.leases[&host(102)].abandoned);
    assert_eq!(file.holder(host(103)), Some(C));
    // Q-9: a range may come back.
    assert_eq!(file.holder([192, 0, 3, 7].into()), Some([2, 0, 0, 0, 3, 7]));
    assert_eq!(file.records, 5);

    let relay = Relay::new(&lab);
    let (laptop, id_of_b) = (&b"laptop"[..], &[&[1][..], &B].concat()[..]);
    for taken in [100, 103] {
        assert_eq!(ask(&relay, STRANGER, None, host(taken)), NAK, "{taken}");
    }
    assert_eq!(ask(&relay, A, Some(b"another"), host(100)), NAK);
    assert_eq!(ask(&relay, A, Some(laptop), host(100)), ACK);
    assert_eq!(ask(&relay, C, None, host(103)), ACK);
    assert_eq!(offered(&relay, B, Some(id_of_b)), host(101));
    // Whoever was never here gets an address that nobody has had.
    assert!(offered(&relay, STRANGER, None) > host(103));
    // Whoever knows better gets an address in conflict.
    assert_eq!(ask(&relay, STRANGER, None, host(102)), ACK);
    dhcpd.wait_for("Reclaiming REQUESTed abandoned IP address 192.0.2.102.");
    in_time(&lab, "leased", &[100, 101, 102, 103]);
    assert!(lab.server.set("abandoned").is_empty());
}

#[test]
fn openbsd_s_is_read() {
    serves_as_the_file_says(OPENBSD, 6);
}

#[test]
fn isc_s_is_read() {
    serves_as_the_file_says(ISC, 5);
}

/// One record as OpenBSD's dhcpd writes it.
fn record(last: u8, mac: &str, statements: &str) -> String {
    dated(&format!(
        "lease 192.0.2.{last} {{\n\tstarts @yesterday UTC;\n\tends @tomorrow UTC;\n\
         \thardware ethernet {mac};\n{statements}}}\n"
    ))
}

/// Section 8 of the manual: it is told, with its line, and what is whole counts.
#[test]
fn damage_is_told_and_costs_nothing_else() {
    let lab = Lab::new();
    lab.make_sets();
    let text = [
        record(100, "00:0d:b9:11:22:33", ""),
        "\0\0\0\0garbage } of; a \"disk\n".to_owned(),
        record(101, "00:0d:b9:44:55:66", "").replace("ends ", "ends 9"),
        record(102, "52:54:00:12:34:56", ""),
        // Q-7: a client that called itself `x"; abandoned; hostname "y`.
        record(103, "02:00:00:00:00:03", "\tclient-hostname \"x\"; abandoned; hostname \"y\";\n"),
        // A crash came while this one was written; who had the address before has it.
        record(102, "02:00:00:00:00:02", "")[..70].to_owned(),
    ]
    .concat();
    lab.write("leases", &text);
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    dhcpd.wait_for(" leases from ");
    let log = dhcpd.log();
    let said = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(said("/leases:6: Corrupt lease file - possible data loss!"), 1, "{log}");
    assert_eq!(said("/leases:9: Corrupt lease file - possible data loss!"), 1, "{log}");
    assert_eq!(said(": cut off by the end of the file"), 1, "{log}");
    in_time(&lab, "leased", &[100, 102, 103]);
    assert!(lab.server.set("abandoned").is_empty());
    let file = rewritten(&lab, &text);
    assert_eq!(file.holder(host(102)), Some(C));
    let relay = Relay::new(&lab);
    assert_eq!(ask(&relay, A, None, host(100)), ACK);
    assert_eq!(ask(&relay, C, None, host(102)), ACK);
    assert_eq!(ask(&relay, STRANGER, None, host(102)), NAK);
}

#[test]
fn one_that_is_missing_is_made() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    dhcpd.wait_for(" 0 leases from 0 records");
    let mode = std::fs::metadata(lab.path("leases")).expect("a lease file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let relay = Relay::new(&lab);
    assert_eq!(ask(&relay, A, None, host(100)), ACK);
    assert_eq!(LeaseFile::read(&lab.path("leases")).holder(host(100)), Some(A));
}

/// Without its leases it would give addresses out twice: it does not serve.
fn refuses(lab: &Lab, leases: &Path, reason: &str) {
    lab.make_sets();
    let flags = [&TABLES[..], &["-l", leases.to_str().expect("a name")]].concat();
    let mut dhcpd = Dhcpd::launch(lab, CONFIG, &flags);
    assert_eq!(dhcpd.ended().code(), Some(1));
    let log = dhcpd.whole_log();
    assert!(log.lines().last().is_some_and(|line| line.contains(reason)), "{log}");
    assert_eq!(lab.server.pids(), [], "{log}");
}

#[test]
fn one_that_cannot_be_opened_is_fatal() {
    let lab = Lab::new();
    let folder = lab.path("no").join("such");
    refuses(&lab, &folder, "no does not exist");
    let folder = lab.path("folder");
    std::fs::create_dir(&folder).expect("make a folder");
    refuses(&lab, &folder, "Is a directory");
    let pipe = lab.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("make a FIFO");
    refuses(&lab, &pipe, "not a regular file");
}

#[test]
fn one_that_cannot_be_read_is_fatal() {
    let lab = Lab::new();
    let leases = lab.path("leases");
    std::fs::write(&leases, "").expect("write the lease file");
    // The memory of this process can be opened, and has nothing at its beginning.
    lab.own_mounts();
    let none: Option<&str> = None;
    let memory = format!("/proc/{}/mem", std::process::id());
    mount(Some(&*memory), &leases, none, MsFlags::MS_BIND, none).expect("bind a file");
    refuses(&lab, &leases, "/leases:1: read: Input/output error");
    nix::mount::umount(&leases).expect("unmount");
}
