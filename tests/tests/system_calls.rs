//! Every system call that a confined process may make is one that it makes: a dhcpd goes through its
//! life under strace(1), and each row of its filters is seen, or says in `system-calls.txt` why this
//! test cannot bring it about. A call outside the filter ends the process, and the test with it.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tests::calls::{Allowed, made, tables};
use tests::client::{Client, Kind};
use tests::daemon::{Dhcpd, LIMIT};
use tests::dns::{dnsmasq, use_own_dns};
use tests::lab::{Lab, binary};
use tests::load::Load;
use tests::process::{self, until};
use tests::wire::{ACK, DECLINE, DISCOVER, INFORM, Packet, RELEASE, REQUEST, Relay};

/// The table, one row a line: process, call, condition, why it is allowed, and `used` or why it is not
/// always.
const TABLE: &str = include_str!("../system-calls.txt");

const SERVER: &str = "dhcpd: server";
const HANDLER: &str = "dhcpd: pf table handler";
const RESOLVER: &str = "dhcpd: resolver";

const CONFIG: &str = "default-lease-time 600;\nping-check false;\nget-lease-hostnames true;\n\
    subnet 192.0.0.0 netmask 255.255.0.0 { range 192.0.16.0 192.0.31.255; }\n\
    subnet 198.51.100.0 netmask 255.255.255.0 { range 198.51.100.1 198.51.100.9; ping-check true; }\n";

/// What the filters let pass, by process.
fn allowed() -> BTreeMap<&'static str, Vec<Allowed>> {
    let common = tables(include_str!("../../supervise/src/filter_linux.rs"));
    let of = |title, source: &str, with: &[&str]| {
        let own = tables(source);
        let (_, rules) = source.split_once("calls: &[").expect("the tables of a process");
        let rules = rules.split_once(']').expect("their end").0;
        let names: Vec<&str> = rules.split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
        for name in own.keys() {
            assert!(names.contains(&name.as_str()), "{title}: {name} is in no filter");
        }
        let shared: Vec<&str> = names.iter().copied().filter(|n| !own.contains_key(*n)).collect();
        assert_eq!(shared, with, "{title}: tables of others");
        let shared = shared.iter().chain([&"COMMON"]).flat_map(|name| common[*name].clone());
        (title, own.into_values().flatten().chain(shared).collect())
    };
    [
        of(SERVER, include_str!("../../dhcpd/src/server/rules_linux.rs"), &["THREADS"]),
        of(HANDLER, include_str!("../../pfhelper/src/rights_linux.rs"), &[]),
        of(RESOLVER, include_str!("../../dhcpd/src/resolver/rules_linux.rs"), &["THREADS"]),
    ]
    .into()
}

/// The trace of a dhcpd and of all that it started, once each of them has ended.
fn complete(trace: &Path, pids: &[u32]) -> String {
    let mut text = String::new();
    until("the trace is complete", LIMIT, || {
        text = fs::read_to_string(trace).unwrap_or_default();
        pids.iter().all(|pid| {
            let end = |line: &str| {
                let mut words = line.split_whitespace();
                words.next() == Some(&pid.to_string()) && words.next() == Some("+++")
            };
            text.lines().any(end)
        })
    });
    text
}

/// Two lives of a server, in which everything happens that it may have to see to, under strace. The
/// first ends as it should, and the second by its parent's death. The traces are returned.
fn lives() -> String {
    let lab = Lab::new();
    lab.server.nft(
        "add table inet dhcpd; \
         add set inet dhcpd leased { type ipv4_addr; flags timeout; }; \
         add set inet dhcpd abandoned { type ipv4_addr; flags timeout; }; \
         add set inet dhcpd changed { type ipv4_addr; }",
    );
    use_own_dns(&lab, "");
    let _dns = dnsmasq(&lab);
    let disk = lab.disk("disk", 2048);
    let leases = disk.path("leases").display().to_string();
    let hook = lab.write("hook", "#!/bin/sh\necho heard\n");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("chmod");
    let traces = ["first", "second"].map(|name| lab.path(name));
    let names = [&traces[0], &traces[1]].map(|path| path.display().to_string());
    let hook = hook.display().to_string();
    // The tracer is not the parent: who is started is dhcpd.
    let by = |name| ["strace", "-D", "-f", "-s", "64", "-o", name];
    let flags = [
        "-A",
        "abandoned",
        "-C",
        "changed",
        "-L",
        "leased",
        "-T",
        "60",
        "-E",
        &hook,
        "-l",
        &leases,
    ];
    let mut dhcpd = Dhcpd::start_by(&lab, &by(&names[0]), CONFIG, &flags);

    // Frames.
    let mut client = Client::start(&lab, Kind::Udhcpc);
    let (first, _) = client.bound();
    client.renew();
    dhcpd.wait_for("DHCPREQUEST");
    client.release(&lab);
    dhcpd.wait_for(&format!("DHCPRELEASE of {first}"));

    let relay = Relay::new(&lab);
    let mac = [2, 0, 0, 0, 0, 1];
    // A ping before the offer.
    relay.send(Packet::new(DISCOVER, mac, 1).option(82, &[5, 4, 198, 51, 100, 0]));
    relay.receive(1);
    relay.send(Packet::new(INFORM, mac, 2).ciaddr(Ipv4Addr::new(192, 0, 2, 2)));
    relay.receive(2);
    let one = relay.lease(mac, 3);
    until("it is in the set", LIMIT, || lab.server.set("leased").contains(&one));
    relay.send(Packet::new(DECLINE, mac, 4).option(50, &one.octets()));
    until("it is abandoned", LIMIT, || lab.server.set("abandoned") == [one]);
    let two = relay.lease(mac, 5);
    relay.send_bytes(&Packet::new(RELEASE, mac, 6).ciaddr(two).bytes());

    // More records than a file is let grow by: it is written anew.
    let mut load = Load::new(&relay, Ipv4Addr::new(192, 0, 18, 0), 60, 7);
    load.run(|load| load.order.len() >= 1100);

    // Others die and are replaced, the sets are emptied.
    for title in [HANDLER, RESOLVER, "dhcpd: hooks"] {
        let pid = process::child_titled(dhcpd.pid(), title).expect("it");
        process::kill(pid, Signal::SIGKILL);
        until("there is another", LIMIT, || {
            process::child_titled(dhcpd.pid(), title).is_some_and(|new| new != pid)
        });
        relay.lease([2, 0, 0, 0, 1, title.len() as u8], 10 + title.len() as u32);
    }
    lab.server.nft("flush set inet dhcpd leased");
    until("it is filled again", LIMIT, || !lab.server.set("leased").is_empty());

    // Both stopped in their loops, and continued.
    for pid in [dhcpd.server(), dhcpd.helper().expect("the handler")] {
        process::kill(pid, Signal::SIGSTOP);
        until("it is stopped", LIMIT, || {
            process::stat(pid).is_some_and(|stat| "tT".contains(stat.state))
        });
        process::kill(pid, Signal::SIGCONT);
    }

    // The disk is full: nothing is acknowledged, what was half written is taken back.
    disk.fill();
    let mut number = 0;
    let mut ask = |limit| {
        number += 1;
        let [a, b] = u16::try_from(number).expect("a small number").to_be_bytes();
        let wanted = Ipv4Addr::new(192, 0, 20 + a, b);
        let packet = Packet::new(REQUEST, [2, 0, 0, 3, a, b], 1000 + number);
        relay.send(packet.option(50, &wanted.octets()));
        relay.try_receive(Duration::from_millis(limit)).is_some_and(|answer| answer.kind == ACK)
    };
    until("nobody is acknowledged any more", LIMIT, || {
        !ask(300) && dhcpd.log().contains("unable to commit")
    });
    disk.make_room();
    until("there is room again", LIMIT, || ask(300));

    // Somebody asks for all of it, and the configuration is read again.
    let mut ctl = lab.server.command(binary("dhcpctl"));
    let said = ctl.arg("-s").arg(lab.path("dhcpd.sock")).arg("leases").output().expect("run it");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    dhcpd.reload(&lab, CONFIG);
    dhcpd.wait_for("SIGHUP");
    let everybody = |dhcpd: &Dhcpd| {
        let mut all = process::children(dhcpd.pid());
        all.push(dhcpd.pid());
        all
    };
    let all = everybody(&dhcpd);
    assert!(dhcpd.terminate().success());
    let first = complete(&traces[0], &all);

    // There are leases, one of them torn; then the wire goes, and the parent is killed.
    let mut file = OpenOptions::new().append(true).open(&leases).expect("open the lease file");
    file.write_all(b"lease 192.0.30.1 {\n\tstarts").expect("write to it");
    // The DNS over TCP, as for answers that are too long for UDP.
    lab.write("resolv.conf", "nameserver 127.0.0.1\noptions use-vc\n");
    let mut dhcpd = Dhcpd::start_by(&lab, &by(&names[1]), CONFIG, &flags);
    for number in 1..20u8 {
        relay.lease([2, 0, 0, 0, 5, number], 3000 + u32::from(number));
    }
    until("the DNS was asked over TCP", LIMIT, || {
        let text = fs::read_to_string(&traces[1]).unwrap_or_default();
        text.contains("socket(AF_INET, SOCK_STREAM")
    });
    lab.server.run("ip link set srv0 down");
    lab.server.run("ip link set srv0 up");
    lab.server.run("ip link del srv0");
    dhcpd.wait_for("srv0: ");
    let all = everybody(&dhcpd);
    dhcpd.kill();
    first + &complete(&traces[1], &all)
}

#[test]
fn every_call_that_is_allowed_is_made_or_says_why_not() {
    let allowed = allowed();
    let conditional: BTreeSet<String> = allowed
        .values()
        .flatten()
        .filter(|row| !row.when.is_empty())
        .map(|row| row.name.clone())
        .collect();
    let trace = lives();
    let made = made(&trace, &conditional);
    assert_eq!(
        made.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>(),
        "a process with a filter that has no row here"
    );
    let known: BTreeMap<&str, &str> =
        TABLE.lines().filter_map(|line| line.rsplit_once(" | ")).collect();
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (title, rows) in &allowed {
        let calls = &made[*title];
        for call in calls {
            assert!(rows.iter().any(|row| row.is_for(call)), "{title} made {call:?}");
        }
        for row in rows {
            let used = calls.iter().any(|call| row.is_for(call));
            let key = format!("{title} | {} | {} | {}", row.name, row.when, row.reason);
            let said = known.get(key.as_str()).copied();
            match (said, used) {
                (Some("used"), false) => wrong.push(format!("not used: {key}")),
                (None, _) => wrong.push(format!("not in the table: {key}")),
                _ => {}
            }
            let now = said.unwrap_or(if used { "used" } else { "NOT USED" });
            table += &format!("{key} | {now}\n");
        }
    }
    let stale = TABLE.lines().filter(|line| !line.starts_with('#') && !table.contains(*line));
    wrong.extend(stale.map(|line| format!("no row of a filter: {line}")));
    println!("{table}");
    assert!(wrong.is_empty(), "tests/system-calls.txt:\n{}", wrong.join("\n"));
}
