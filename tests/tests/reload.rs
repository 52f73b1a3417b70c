//! Another configuration while dhcpd serves, after SIGHUP: what a good one changes, that a bad one
//! changes nothing, and that no lease is lost by either.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, binary};
use tests::load::Load;
use tests::process::{self, until};
use tests::wire::{ACK, DISCOVER, NAK, Packet, REQUEST, Relay};

const IN_EFFECT: &str = "read again, and in effect";
const STAYS: &str = "Configuration file errors encountered: the old configuration stays";

fn config(more: &str, first: u8, last: u8) -> String {
    format!(
        "{more}\nsubnet 192.0.2.0 netmask 255.255.255.0 {{ range 192.0.2.{first} 192.0.2.{last}; }}\n"
    )
}

/// What a client is told its domain is.
fn domain(relay: &Relay, xid: u32) -> String {
    let [_, a, b, c] = xid.to_be_bytes();
    relay.send(Packet::new(DISCOVER, [2, 9, 9, a, b, c], xid).option(55, &[15]));
    let answer = relay.receive(xid);
    String::from_utf8_lossy(answer.options.get(&15).map_or(b"", Vec::as_slice)).into_owned()
}

fn keep(relay: &Relay, mac: [u8; 6], address: Ipv4Addr, xid: u32) -> u8 {
    relay.send(Packet::new(REQUEST, mac, xid).option(50, &address.octets()));
    relay.receive(xid).kind
}

#[test]
fn a_bad_configuration_changes_nothing_and_every_error_is_said() {
    let lab = Lab::new();
    let old = config("option domain-name \"old.example\";", 100, 250);
    let mut dhcpd = Dhcpd::start(&lab, &old, &[]);
    let relay = Relay::new(&lab);
    assert_eq!(domain(&relay, 1), "old.example");

    dhcpd.reload(&lab, "option domain-name \"new.example\";\nsubnet 192.0.2.0 netmask 255.255.255.0 {\n  range 192.0.2.300;\n}\nauthoritive;\n");
    let file = lab.path("dhcpd.conf").display().to_string();
    dhcpd.wait_for(&format!("{file}:3:17: "));
    dhcpd.wait_for(&format!("{file}:5:1: "));
    dhcpd.wait_for(STAYS);
    assert_eq!(domain(&relay, 2), "old.example");

    std::fs::remove_file(lab.path("dhcpd.conf")).expect("remove the configuration");
    process::kill(dhcpd.pid(), Signal::SIGHUP);
    dhcpd.wait_for("No such file");
    dhcpd.wait_for(STAYS);
    assert_eq!(domain(&relay, 3), "old.example");

    dhcpd.reload(&lab, &old.replace("old", "new"));
    dhcpd.wait_for(IN_EFFECT);
    assert_eq!(domain(&relay, 4), "new.example");
    // Who did it is in the log: our own process.
    let line = format!("SIGHUP from pid {} (uid 0, ", std::process::id());
    assert!(dhcpd.log().contains(&line));
    assert!(dhcpd.terminate().success());
}

#[test]
fn the_service_manager_is_told_when_it_begins_and_ends() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, &config("", 100, 250), &[]);
    for (text, status) in [
        ("", "STATUS=Configuration read again."),
        ("not a statement", "STATUS=The old configuration stays: see the log."),
    ] {
        dhcpd.reload(&lab, &config(text, 100, 250));
        let begun = dhcpd.notified();
        let time = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("that it begins");
        let time: u64 = time.parse().expect("a time");
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("the time");
        let now = now.tv_sec() as u64 * 1_000_000;
        assert!(time > 0 && time.abs_diff(now) < 60_000_000, "{time} at {now}");
        assert_eq!(dhcpd.notified(), format!("READY=1\n{status}"));
    }
    dhcpd.wait_for(STAYS);
}

/// Reloads of every kind, many a second, while clients lease, renew, steal and give back.
#[test]
fn no_lease_is_lost_by_reloads_under_load() {
    const SIZE: u32 = 2000;
    let lab = Lab::new();
    lab.make_sets();
    let pool = |more: &str| {
        format!(
            "{more}\nsubnet 10.0.0.0 netmask 255.0.0.0 {{ range 10.1.0.0 10.1.7.207; }}\n\
             subnet 192.0.2.0 netmask 255.255.255.0 {{}}\n"
        )
    };
    // The load's relay agent is in 192.0.2.0/24: both are one wire.
    let pool = |more: &str| format!("shared-network wire {{ {} }}\n", pool(more));
    let good = [
        pool(""),
        pool("default-lease-time 7000; ping-check off;"),
        pool("subnet 198.51.100.0 netmask 255.255.255.0 {}")
            + "host printer { hardware ethernet 00:00:5e:00:53:01; fixed-address 192.0.2.77; }",
        "subnet 203.0.113.0 netmask 255.255.255.0 {}".to_owned() + &pool(""),
    ];
    let bad = ["subnet 10.0.0.0 netmask 255.0.0.0 { range 11.0.0.1; }", "}", "include \"/none\";"];
    let relay = Relay::new(&lab);
    let mut load = Load::new(&relay, Ipv4Addr::new(10, 1, 0, 0), SIZE, 5);
    let mut dhcpd = Dhcpd::start(&lab, &good[1], &["-L", "leased"]);
    let (mut reloads, mut refused) = (0, 0);
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        let next = Instant::now() + Duration::from_millis(20);
        load.run(|_| Instant::now() >= next);
        // Pings would make the load slow; one of the four has them for a moment.
        let number = reloads + refused;
        while dhcpd.has_notified() {}
        if number % 3 == 2 {
            dhcpd.reload(&lab, bad[refused % bad.len()]);
            dhcpd.wait_for(STAYS);
            refused += 1;
        } else {
            dhcpd.reload(
                &lab,
                &good[reloads % good.len()].replace("wire {", "wire { ping-check off;"),
            );
            dhcpd.wait_for(IN_EFFECT);
            reloads += 1;
        }
    }
    load.check_last(usize::MAX);
    eprintln!("{} promises, {reloads} reloads, {refused} refused", load.order.len());
    assert!(load.order.len() > 1000 && reloads > 20 && refused > 10);
    let held: Vec<Ipv4Addr> = load.promised.keys().copied().collect();
    until("the set holds every lease", LIMIT, || {
        let set = lab.server.set("leased");
        held.iter().all(|address| set.binary_search(address).is_ok())
    });
    assert!(dhcpd.terminate().success());
}

/// Q-9 while it runs: also across a restart in between, by the lease file.
#[test]
fn q09_a_lease_in_no_range_any_more_is_kept_aside_and_comes_back() {
    let lab = Lab::new();
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(&lab, &config("", 100, 150), &["-L", "leased"]);
    let relay = Relay::new(&lab);
    let mac = [2, 0, 0, 0, 0, 1];
    let address = relay.lease(mac, 1);
    until("the lease is in the set", LIMIT, || lab.server.set("leased") == [address]);

    dhcpd.reload(&lab, &config("", 200, 250));
    dhcpd.wait_for(IN_EFFECT);
    until("the lease is in no set", LIMIT, || lab.server.set("leased").is_empty());
    let other = relay.lease([2, 0, 0, 0, 0, 2], 2);
    assert!(other.octets()[3] >= 200, "{other}");
    assert!(dhcpd.terminate().success());

    let mut dhcpd = Dhcpd::start(&lab, &config("", 200, 250), &["-L", "leased"]);
    dhcpd.reload(&lab, &config("", 100, 250));
    dhcpd.wait_for(IN_EFFECT);
    until("both are in the set", LIMIT, || lab.server.set("leased") == [address, other]);
    assert_eq!(keep(&relay, mac, address, 3), ACK);
    assert_eq!(keep(&relay, [2, 0, 0, 0, 0, 3], address, 4), NAK);

    // A host's own address, from now on.
    let host = format!("host h {{ hardware ethernet 2:0:0:0:0:9; fixed-address {address}; }}");
    dhcpd.reload(&lab, &config(&host, 100, 250));
    dhcpd.wait_for(IN_EFFECT);
    assert_eq!(keep(&relay, mac, address, 5), NAK);
    relay.send(Packet::new(DISCOVER, [2, 0, 0, 0, 0, 9], 6));
    assert_eq!(relay.receive(6).yiaddr, address);
}

#[test]
fn a_subnet_and_its_interface_come_and_go() {
    let lab = Lab::new();
    lab.wire("srv1", "cli1");
    lab.server.run("ip addr add 198.51.100.1/24 dev srv1");
    lab.server.run("ip link set srv1 up");
    let one = config("", 100, 250);
    let two = format!(
        "subnet 198.51.100.0 netmask 255.255.255.0 {{ range 198.51.100.9 198.51.100.20; }} {one}"
    );
    let mut dhcpd = Dhcpd::start(&lab, &one, &[]);
    dhcpd.wait_for("Can't listen on srv1 - dhcpd.conf has no subnet declaration for 198.51.100.1.");
    assert!(!lab.is_served("cli1", 1));
    let before = process::rights(dhcpd.server()).fds;
    for _ in 0..2 {
        dhcpd.reload(&lab, &two);
        dhcpd.wait_for("Listening on srv1 (198.51.100.1).");
        dhcpd.wait_for(IN_EFFECT);
        assert!(lab.is_served("cli1", 5));
        dhcpd.reload(&lab, &one);
        dhcpd.wait_for("Can't listen on srv1 - dhcpd.conf has no subnet");
        dhcpd.wait_for(IN_EFFECT);
        assert!(!lab.is_served("cli1", 1));
        assert!(lab.is_served("cli0", 5));
    }
    let after = process::rights(dhcpd.server()).fds;
    assert_eq!(after.len(), before.len(), "{after:?}");
}

/// dhcpctl(8) waits for what comes of it, and says it.
#[test]
fn dhcpctl_is_told_what_came_of_a_reload() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, &config("", 100, 250), &[]);
    let reload = || {
        let mut command = lab.server.command(binary("dhcpctl"));
        command.arg("-s").arg(lab.path("dhcpd.sock")).arg("reload");
        command.output().expect("run dhcpctl")
    };
    lab.write("dhcpd.conf", &config("option domain-name \"new.example\";", 100, 250));
    let output = reload();
    assert!(output.status.success(), "{output:?}");
    dhcpd.wait_for(IN_EFFECT);
    let relay = Relay::new(&lab);
    assert_eq!(domain(&relay, 1), "new.example");
    lab.write("dhcpd.conf", "}");
    let output = reload();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success() && said.contains("dhcpd.conf:1:1: "), "{said}");
    dhcpd.wait_for(STAYS);
    assert_eq!(domain(&relay, 2), "new.example");
}

/// The working directory of a daemon is not that of the command that started it.
#[test]
fn in_the_background_relative_names_are_what_they_were_at_the_start() {
    let lab = Lab::new();
    let old = config("include \"more.conf\";", 100, 250);
    lab.write("dhcpd.conf", &old);
    lab.write("more.conf", "option domain-name \"old.example\";");
    let mut start = lab.server.command(binary("dhcpd"));
    start.current_dir(lab.path("")).args(["-c", "dhcpd.conf", "-l", "leases"]);
    let output = start.output().expect("start dhcpd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let parents: Vec<u32> = lab
        .server
        .pids()
        .into_iter()
        .filter(|pid| process::title(*pid).contains("-c dhcpd.conf"))
        .collect();
    assert_eq!(parents.len(), 1, "the parent in the background");
    let relay = Relay::new(&lab);
    let before = domain(&relay, 1);
    lab.write("more.conf", "option domain-name \"new.example\";");
    process::kill(parents[0], Signal::SIGHUP);
    let mut xid = 1;
    until("it is read again", LIMIT, || {
        xid += 1;
        domain(&relay, xid) != before
    });
    process::kill(parents[0], Signal::SIGTERM);
    until("it ends", LIMIT, || !process::alive(parents[0]));
}
