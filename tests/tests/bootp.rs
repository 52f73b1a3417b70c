//! BOOTP on a real wire: Debian's bootpc, and frames of our own that say what it does not.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tests::daemon::{Dhcpd, LIMIT};
use tests::frame::{Datagram, EVERYBODY, Tap};
use tests::lab::{Lab, SERVER};
use tests::process::until;

fn config(mac: &str) -> String {
    format!(
        "subnet 192.0.2.0 netmask 255.255.255.0 {{
           range 192.0.2.100 192.0.2.109;
           range dynamic-bootp 192.0.2.200 192.0.2.201;
           option routers 192.0.2.1; option domain-name \"bootp.example\"; filename \"pxe\";
           host known {{ hardware ethernet {mac}; fixed-address 192.0.2.7; filename \"known\"; }}
         }}"
    )
}

/// What bootpc was told: one `NAME='value'` a line.
fn bootpc(lab: &Lab) -> String {
    // It wants a way for what it broadcasts, and would wait for a second answer.
    lab.client.run("ip route replace default dev cli0");
    lab.client
        .run("bootpc --dev cli0 --serverbcast --timeoutwait 15 --waitformore 0 --returniffail")
}

fn own_mac(lab: &Lab) -> String {
    lab.client.run("cat /sys/class/net/cli0/address").trim().to_owned()
}

/// A request of RFC 951's 300 bytes.
fn request(mac: [u8; 6], vendor: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 300];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[4..8].copy_from_slice(&[9, 8, 7, 6]);
    message[28..34].copy_from_slice(&mac);
    message[236..236 + vendor.len()].copy_from_slice(vendor);
    message
}

/// Sends it as a machine without an address does, and returns the answer to it.
fn exchange(tap: &Tap, mac: [u8; 6], payload: Vec<u8>) -> Datagram {
    let request = Datagram {
        source_mac: mac,
        dest_mac: EVERYBODY,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        dest: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        payload,
    };
    tap.send(&request.frame());
    tap.wait(LIMIT, |d| d.source.port() == 67 && d.payload[28..34] == mac)
}

fn yiaddr(datagram: &Datagram) -> Ipv4Addr {
    let bytes: [u8; 4] = datagram.payload[16..20].try_into().expect("four bytes");
    bytes.into()
}

#[test]
fn a_real_client_gets_what_its_host_says() {
    let lab = Lab::new();
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(&lab, &config(&own_mac(&lab)), &["-L", "leased"]);
    let told = bootpc(&lab);
    for line in [
        "IPADDR='192.0.2.7'",
        "NETMASK='255.255.255.0'",
        "SERVER='192.0.2.1'",
        "BOOTFILE='known'",
        "GATEWAYS='192.0.2.1'",
        "DOMAIN='bootp.example'",
    ] {
        assert!(told.contains(line), "no {line} in\n{told}");
    }
    let via = format!("{} via srv0", own_mac(&lab));
    dhcpd.wait_for(&format!("BOOTREQUEST from {via}"));
    dhcpd.wait_for(&format!("BOOTREPLY for 192.0.2.7 to known ({}) via srv0", own_mac(&lab)));
    assert_eq!(lab.server.set("leased"), [Ipv4Addr::UNSPECIFIED; 0], "it is no lease");
}

#[test]
fn a_real_client_leases_what_survives_the_server() {
    let lab = Lab::new();
    lab.make_sets();
    let config = config("2:0:0:0:0:99");
    let leased = [Ipv4Addr::new(192, 0, 2, 200)];
    for _ in 0..2 {
        let mut dhcpd = Dhcpd::start(&lab, &config, &["-L", "leased"]);
        let told = bootpc(&lab);
        assert!(told.contains("IPADDR='192.0.2.200'"), "{told}");
        // What the client has heard is on disk.
        let text = fs::read_to_string(lab.path("leases")).expect("the lease file");
        let record = text.rsplit("lease ").next().expect("a record");
        assert!(record.starts_with("192.0.2.200 {"), "{text}");
        assert!(record.contains("\tdynamic-bootp;\n"), "{text}");
        assert!(record.contains("2038/01/19 03:14:07"), "{text}");
        let mac = own_mac(&lab);
        dhcpd.wait_for(&format!("BOOTREPLY on 192.0.2.200 to {mac} via srv0"));
        until("the address is in the set", LIMIT, || lab.server.set("leased") == leased);
        dhcpd.kill();
    }
    // Nobody else gets it, then or ever.
    let _dhcpd = Dhcpd::start(&lab, &config, &["-L", "leased"]);
    let tap = Tap::open(&lab.client, "cli0");
    let mac = [2, 0, 0, 0, 5, 1];
    let got = exchange(&tap, mac, request(mac, &[99, 130, 83, 99, 255]));
    assert_eq!(yiaddr(&got), Ipv4Addr::new(192, 0, 2, 201));
}

#[test]
fn what_is_on_the_wire() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, &config("2:0:0:0:5:7"), &[]);
    let tap = Tap::open(&lab.client, "cli0");
    let vendor: [u8; 64] = std::array::from_fn(|i| i as u8 + 1);
    let server: Ipv4Addr = SERVER.parse().expect("an address");
    for (last, address) in [(7, 7), (8, 200)] {
        let mac = [2, 0, 0, 0, 5, last];
        let got = exchange(&tap, mac, request(mac, &vendor));
        let address = Ipv4Addr::new(192, 0, 2, address);
        assert_eq!((yiaddr(&got), got.payload[0], got.payload.len()), (address, 2, 300));
        assert_eq!(got.payload[236..], vendor, "before RFC 1048 it is the client's own");
        // from an address, of a machine that has one, to the client itself.
        assert_eq!(got.source, SocketAddrV4::new(server, 67));
        assert_eq!((got.dest, got.dest_mac), (SocketAddrV4::new(address, 68), mac));
        let mut loud = request(mac, &[99, 130, 83, 99, 255]);
        loud[10] = 0x80;
        let got = exchange(&tap, mac, loud);
        assert_eq!(got.dest, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
        assert_eq!(got.dest_mac, EVERYBODY);
        assert_eq!(got.payload[236..242], [99, 130, 83, 99, 1, 4]);
        assert_eq!(got.payload.len(), 300);
    }
    dhcpd.wait_for("BOOTREQUEST from 02:00:00:00:05:07 via srv0 (non-rfc1048)");
    // Two addresses are two clients', and DHCP's others are not theirs.
    let mac = [2, 0, 0, 0, 5, 9];
    exchange(&tap, mac, request(mac, &vendor));
    let mac = [2, 0, 0, 0, 5, 10];
    let asked = Datagram {
        source_mac: mac,
        dest_mac: EVERYBODY,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        dest: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
        payload: request(mac, &vendor),
    };
    tap.send(&asked.frame());
    dhcpd.wait_for("No applicable record for BOOTP host 02:00:00:00:05:0a via srv0");
    while let Some(passed) = tap.next(Duration::from_millis(1)) {
        assert!(passed.source.port() != 67 || passed.payload[28..34] != mac);
    }
}
