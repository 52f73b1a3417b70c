//! Interfaces that come, go, are renamed, go down or change their address while dhcpd runs, and
//! that are not there yet when it starts.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::time::{Duration, Instant};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::Lab;
use tests::process::{self, until};
use tests::wire::{ACK, DISCOVER, Packet, REQUEST, Relay};

const BOTH: &str = "\
subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.250; }
subnet 198.51.100.0 netmask 255.255.255.0 { range 198.51.100.9 198.51.100.200; }
";

/// `srv1` with 198.51.100.1, up.
fn second_wire(lab: &Lab) {
    lab.wire("srv1", "cli1");
    lab.server.run("ip addr add 198.51.100.1/24 dev srv1");
    lab.server.run("ip link set srv1 up");
}

/// How many sockets a process holds: files come and go with the lease file's replacement.
fn sockets(pid: u32) -> usize {
    process::rights(pid).fds.iter().filter(|fd| *fd == "socket").count()
}

#[test]
fn q27_an_interface_that_is_named_is_waited_for() {
    let lab = Lab::new();
    // It is ready all the same: who started it would wait in vain for an interface.
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &["srv1"]);
    dhcpd.wait_for("Can't listen on srv1 - no such interface.");
    dhcpd.wait_for("No interfaces to listen on.");
    lab.wire("srv1", "cli1");
    dhcpd.wait_for("Can't listen on srv1 - it has no IP address.");
    lab.server.run("ip addr add 198.51.100.1/24 dev srv1");
    dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
    // It comes up last of all.
    lab.server.run("ip link set srv1 up");
    assert!(lab.is_served("cli1", 10));
    assert!(!lab.is_served("cli0", 1), "srv0 was not named");
    assert!(dhcpd.terminate().success());
}

#[test]
fn q27_without_names_whatever_comes_to_have_a_subnet_is_served() {
    let lab = Lab::new();
    lab.server.run("ip addr flush dev srv0");
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &[]);
    dhcpd.wait_for("Can't listen on srv0 - it has no IP address.");
    dhcpd.wait_for("No interfaces to listen on.");
    second_wire(&lab);
    dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
    assert!(lab.is_served("cli1", 10));
    lab.server.run("ip addr add 192.0.2.1/24 dev srv0");
    dhcpd.wait_for("Listening on srv0 (192.0.2.1).");
    assert!(lab.is_served("cli0", 10));
    assert!(lab.is_served("cli1", 10));
}

#[test]
fn q27_one_that_is_replaced_by_another_of_its_name_is_served_again() {
    let lab = Lab::new();
    second_wire(&lab);
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &["srv0", "srv1"]);
    dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
    let (parent, server) = (dhcpd.pid(), dhcpd.server());
    assert!(lab.is_served("cli1", 10));
    let fds = sockets;
    let before = (fds(parent), fds(server));
    for _ in 0..3 {
        lab.server.run("ip link del srv1");
        dhcpd.wait_for("Interface srv1 no longer appears valid.");
        assert!(lab.is_served("cli0", 10), "the other one is served all the time");
        second_wire(&lab);
        dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
        assert!(lab.is_served("cli1", 10));
    }
    // Gone and there again between two looks: the same name, and another interface.
    let client = lab.client.name();
    let batch = lab.write(
        "batch",
        &format!(
            "link del srv1\nlink add srv1 type veth peer name cli1 netns {client}\n\
             addr add 198.51.100.1/24 dev srv1\nlink set srv1 up\n"
        ),
    );
    lab.server.run(&format!("ip -batch {}", batch.display()));
    lab.client.run("ip link set cli1 up");
    dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
    assert!(lab.is_served("cli1", 10));
    lab.server.run("ip link del srv1");
    dhcpd.wait_for("Interface srv1 no longer appears valid.");
    until("no descriptor is left behind", LIMIT, || {
        (fds(parent), fds(server)) == (before.0, before.1 - 2)
    });
    assert!(dhcpd.terminate().success());
}

#[test]
fn q27_a_renamed_interface_is_served_by_its_new_name() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &[]);
    lab.server.run("ip link set srv0 down");
    lab.server.run("ip link set srv0 name lan0");
    lab.server.run("ip link set lan0 up");
    dhcpd.wait_for("Listening on lan0 (192.0.2.1).");
    dhcpd.wait_for("Interface srv0 no longer appears valid.");
    assert!(lab.is_served("cli0", 10));
    until("packets are said to come by it", LIMIT, || dhcpd.log().contains(" via lan0"));
}

#[test]
fn q27_one_that_goes_down_and_up_is_served_again() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &[]);
    assert!(lab.is_served("cli0", 10));
    for _ in 0..3 {
        lab.server.run("ip link set srv0 down");
        dhcpd.wait_for("receive from srv0");
        lab.server.run("ip link set srv0 up");
        assert!(lab.is_served("cli0", 10));
    }
    assert!(!dhcpd.log().contains("no longer appears valid"));
}

#[test]
fn q27_a_changed_address_is_who_we_are_from_then_on() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &[]);
    let relay = Relay::new(&lab);
    let mac = [2, 0, 0, 0, 0, 1];
    let address = relay.lease(mac, 1);
    let server_id = |xid: u32| {
        relay.send(Packet::new(DISCOVER, [2, 0, 0, 0, 1, xid as u8], xid));
        relay.receive(xid).options[&54].clone()
    };
    assert_eq!(server_id(2), [192, 0, 2, 1]);
    // The old one stays for a moment, as administrators do it.
    lab.server.run("ip addr add 192.0.2.9/24 dev srv0");
    lab.server.run("ip addr del 192.0.2.1/24 dev srv0");
    // Linux takes the second one along, unless told otherwise.
    lab.server.run("ip addr replace 192.0.2.9/24 dev srv0");
    dhcpd.wait_for("Listening on srv0 (192.0.2.9).");
    lab.server.run("ip addr add 192.0.2.1/32 dev lo");
    assert_eq!(server_id(3), [192, 0, 2, 9]);
    relay.send(Packet::new(REQUEST, mac, 4).option(50, &address.octets()));
    assert_eq!(relay.receive(4).kind, ACK);

    // The last one is taken away: not served, and not forgotten.
    lab.server.run("ip addr flush dev srv0");
    dhcpd.wait_for("Can't listen on srv0 - it has no IP address.");
    dhcpd.wait_for("No interfaces to listen on.");
    assert!(!lab.is_served("cli0", 1));
    lab.server.run("ip addr add 192.0.2.1/24 dev srv0");
    dhcpd.wait_for("Listening on srv0 (192.0.2.1).");
    assert!(lab.is_served("cli0", 10));
}

/// As many as a machine that starts containers has, and more: nothing is lost by it, nothing grows,
/// and it costs little.
#[test]
fn many_changes_at_once_cost_little_and_none_is_missed() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, BOTH, &[]);
    let (parent, server) = (dhcpd.pid(), dhcpd.server());
    let fds = || (sockets(parent), sockets(server));
    let ticks = |pid| process::stat(pid).expect("it runs").ticks;
    let before = (fds(), ticks(parent) + ticks(server));
    let mut batch = String::new();
    for round in 0..5 {
        for n in 0..100 {
            let name = format!("c{round}x{n}");
            batch += &format!(
                "link add {name} type veth peer name p{name}\naddr add 10.{round}.{n}.1/24 dev {name}\n"
            );
            batch += &format!("link set {name} up\n");
        }
        for n in 0..100 {
            batch += &format!("link del c{round}x{n}\n");
        }
    }
    let file = lab.write("batch", &batch);
    let begin = Instant::now();
    let mut ip = lab.server.command("ip");
    ip.arg("-batch").arg(&file);
    let ip = std::thread::spawn(move || ip.output().expect("run ip"));
    while !ip.is_finished() {
        assert!(begin.elapsed() < Duration::from_secs(60), "ip takes too long");
        assert!(lab.is_served("cli0", 10), "while interfaces come and go");
    }
    let output = ip.join().expect("what ip said");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    second_wire(&lab);
    dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
    assert!(lab.is_served("cli1", 10));
    lab.server.run("ip link del srv1");
    dhcpd.wait_for("Interface srv1 no longer appears valid.");
    until("no descriptor is left behind", LIMIT, || fds() == before.0);
    let spent = ticks(parent) + ticks(server) - before.1;
    let (elapsed, lines) = (begin.elapsed(), dhcpd.log().lines().count());
    eprintln!("2000 changes within {elapsed:?}: {spent} clock ticks, {lines} lines of log");
    assert!(spent < 200, "{spent} clock ticks");
    assert!(!dhcpd.log().contains("c1x"), "nobody named these");
    assert!(dhcpd.terminate().success());
}
