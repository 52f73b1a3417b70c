//! `get-lease-hostnames` with the whole of dhcpd: names from a real DNS server, and one that never
//! answers.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};
use tests::daemon::{Dhcpd, LIMIT};
use tests::dns::{dnsmasq, use_own_dns};
use tests::lab::Lab;
use tests::process::{self, until};
use tests::wire::{ACK, Packet, REQUEST, Relay};

const CONFIG: &str = "ping-check false; get-lease-hostnames on;\n\
    host own { hardware ethernet 02:00:00:00:00:03; option host-name \"own\"; }\n\
    subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.110; }\n";

const RESOLVER: &str = "dhcpd: resolver";

fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

/// The name that a renewal brings, if any.
fn renewed(relay: &Relay, n: u8, address: Ipv4Addr) -> Option<String> {
    relay.send(Packet::new(REQUEST, mac(n), u32::from(n)).option(50, &address.octets()));
    let answer = relay.receive(u32::from(n));
    assert_eq!((answer.kind, answer.yiaddr), (ACK, address));
    answer.options.get(&12).map(|name| String::from_utf8_lossy(name).into_owned())
}

fn record_says(lab: &Lab, text: &str) -> bool {
    std::fs::read_to_string(lab.path("leases")).unwrap_or_default().contains(text)
}

#[test]
fn q25_names_come_from_the_dns_and_stay_with_the_lease() {
    let lab = Lab::new();
    use_own_dns(&lab, "");
    let dns = dnsmasq(&lab);
    let dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let relay = Relay::new(&lab);
    let [pc, nameless, own, bad] = [1, 2, 3, 4].map(|n| relay.lease(mac(n), n.into()));
    assert_eq!(pc, Ipv4Addr::new(192, 0, 2, 100));
    until("the name is on record", LIMIT, || record_says(&lab, "\thostname \"pc.example.org\";"));
    until("the other one, too", LIMIT, || record_says(&lab, "\thostname \"other.example.org\";"));
    assert_eq!(renewed(&relay, 1, pc).as_deref(), Some("pc.example.org"));
    assert_eq!(renewed(&relay, 2, nameless), None);
    assert_eq!(renewed(&relay, 3, own).as_deref(), Some("own"), "what is configured comes first");
    assert_eq!(renewed(&relay, 4, bad), None);
    assert!(!record_says(&lab, "-rf"));

    let resolver = process::child_titled(dhcpd.pid(), RESOLVER).expect("the resolver");
    process::rights(resolver).assert_unprivileged("_dhcp", "0000000000000000");
    assert!(dhcpd.terminate().success());
    assert!(process::gone(resolver));

    // It is known without the DNS, from the first answer on.
    drop(dns);
    let _dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    assert_eq!(renewed(&relay, 1, pc).as_deref(), Some("pc.example.org"));
}

#[test]
fn q25_a_resolver_that_dies_is_started_again() {
    let lab = Lab::new();
    // Over TCP, as for answers that are too long for UDP.
    use_own_dns(&lab, "options use-vc");
    let _dns = dnsmasq(&lab);
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let relay = Relay::new(&lab);
    let find = |dhcpd: &Dhcpd| process::child_titled(dhcpd.pid(), RESOLVER);
    relay.lease(mac(9), 9);
    until("a name", LIMIT, || record_says(&lab, "pc.example.org"));
    let first = find(&dhcpd);
    process::kill(first.expect("the resolver"), Signal::SIGKILL);
    dhcpd.wait_for("dhcpd: resolver is gone: killed by SIGKILL");
    until("another resolver", LIMIT, || find(&dhcpd).is_some_and(|pid| Some(pid) != first));
    let [_, other] = [1, 2].map(|n| relay.lease(mac(n), n.into()));
    assert_eq!(other, Ipv4Addr::new(192, 0, 2, 102));
    until("its name", LIMIT, || {
        // What was asked in between is asked again.
        renewed(&relay, 2, other).as_deref() == Some("other.example.org")
    });
}

#[test]
fn q25_no_answer_waits_for_a_dns_that_never_does() {
    let lab = Lab::new();
    use_own_dns(&lab, "");
    // It hears, and says nothing.
    let silent = lab.server.within(|| UdpSocket::bind("127.0.0.1:53").expect("port 53"));
    let dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let relay = Relay::new(&lab);
    let began = Instant::now();
    for n in 1..=11 {
        relay.lease(mac(n), n.into());
    }
    // The C library waits 5 seconds for each answer, before it asks once more.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    silent.set_read_timeout(Some(LIMIT)).expect("set a time limit");
    silent.recv(&mut [0; 512]).expect("a question that gets no answer");
    assert!(!record_says(&lab, "\thostname"));
    let resolver = process::child_titled(dhcpd.pid(), RESOLVER).expect("the resolver");
    let began = Instant::now();
    assert!(dhcpd.terminate().success());
    assert!(process::gone(resolver), "it does not wait for the DNS, either");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn nobody_is_there_to_look_up_what_is_not_wanted() {
    let lab = Lab::new();
    let config = CONFIG.replace("get-lease-hostnames on", "get-lease-hostnames off");
    let dhcpd = Dhcpd::start(&lab, &config, &[]);
    Relay::new(&lab).lease(mac(1), 1);
    assert_eq!(process::child_titled(dhcpd.pid(), RESOLVER), None);
}
