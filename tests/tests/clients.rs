//! Real clients get leases, renew them and give them back, and the firewall's sets follow.

#![cfg(target_os = "linux")]

use std::process::Command;
use tests::client::{ALL, Client, Habits, Kind};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, binary};
use tests::process::until;

const CONFIG: &str = r#"
option domain-name "example.net";
option domain-name-servers 192.0.2.1, 198.51.100.53;
ping-check false;
default-lease-time 600;
max-lease-time 3600;
subnet 192.0.2.0 netmask 255.255.255.0 {
    range 192.0.2.100 192.0.2.199;
    option routers 192.0.2.1;
    option interface-mtu 1400;
}
"#;

const TABLES: [&str; 6] = ["-A", "abandoned", "-C", "changed", "-L", "leased"];

fn lease_and_release(kind: Kind) {
    let lab = Lab::new();
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    let mut client = Client::start(&lab, kind);
    let (address, told) = client.bound();
    assert!((100..200).contains(&address.octets()[3]), "{address}");
    assert_eq!(told["router"], "192.0.2.1");
    assert!(told["dns"].starts_with("192.0.2.1"), "{told:?}");
    assert_eq!(told["domain"], "example.net");
    assert_eq!(told["mtu"], "1400");
    until("the address is in the leased set", LIMIT, || lab.server.set("leased") == [address]);
    assert!(lab.server.set("abandoned").is_empty());
    dhcpd.wait_for(&format!("DHCPACK on {address} to "));
    client.release(&lab);
    dhcpd.wait_for(&format!("DHCPRELEASE of {address} from "));
    until("the address left the leased set", LIMIT, || lab.server.set("leased").is_empty());
    assert!(dhcpd.terminate().success());
}

#[test]
fn udhcpc_gets_a_lease_and_gives_it_back() {
    lease_and_release(Kind::Udhcpc);
}

#[test]
fn dhclient_gets_a_lease_and_gives_it_back() {
    lease_and_release(Kind::Dhclient);
}

#[test]
fn dhcpcd_gets_a_lease_and_gives_it_back() {
    lease_and_release(Kind::Dhcpcd);
}

#[test]
fn networkd_gets_a_lease_and_gives_it_back() {
    lease_and_release(Kind::Networkd);
}

#[test]
fn a_lease_survives_a_restart_and_so_does_its_place_in_the_set() {
    let lab = Lab::new();
    lab.make_sets();
    let dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    let mut client = Client::start(&lab, ALL[0]);
    let (address, _) = client.bound();
    assert!(dhcpd.terminate().success());
    // Somebody flushes the ruleset while nobody is there to see it (Q-1).
    lab.server.nft("flush set inet dhcpd leased; add element inet dhcpd leased { 192.0.2.77 }");
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    until("the set is as the leases say", LIMIT, || lab.server.set("leased") == [address]);
    client.renew();
    dhcpd.wait_for(&format!("DHCPACK on {address} to "));
}

/// RFC 8925 section 3.3: such an offer waits for no ping, though those are on, and may be requested.
#[test]
fn an_address_that_is_offered_with_option_108_is_not_pinged_and_may_be_requested() {
    let lab = Lab::new();
    lab.make_sets();
    let config = "subnet 192.0.2.0 netmask 255.255.255.0 {
        range 192.0.2.100 192.0.2.199; option ipv6-only-preferred 300;
    }";
    let mut dhcpd = Dhcpd::start(&lab, config, &TABLES);
    let habits = Habits { asks_for_ipv6: true, ..Habits::default() };
    let mut client = Client::start_with(&lab, Kind::Udhcpc, &habits);
    let (address, _) = client.bound();
    dhcpd.wait_for(&format!("DHCPACK on {address} to "));
    until("the address is in the leased set", LIMIT, || lab.server.set("leased") == [address]);
    let mut metrics = Command::new(binary("dhcpctl"));
    let output = metrics.arg("-s").arg(lab.path("dhcpd.sock")).arg("metrics").output().unwrap();
    let metrics = String::from_utf8(output.stdout).unwrap();
    assert!(metrics.contains("\ndhcpd_pings_sent_total 0\n"), "{metrics}");
    assert!(dhcpd.terminate().success());
}
