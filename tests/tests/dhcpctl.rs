//! dhcpctl(8) with a running dhcpd: every command, who may use which, and that none of them holds up
//! a packet.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::unistd::User;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::Instant;
use tests::daemon::Dhcpd;
use tests::exposition;
use tests::lab::{Lab, binary};
use tests::leasefile::LeaseFile;
use tests::load::Load;
use tests::wire::{DISCOVER, Packet, Relay};

const CONFIG: &str = "ping-check false;\n\
    shared-network lan {\n\
    subnet 192.0.2.0 netmask 255.255.255.0 {\n\
    range 192.0.2.100 192.0.2.103; range 192.0.2.150 192.0.2.151; }\n\
    }\n\
    host printer { hardware ethernet 02:00:00:00:00:09; fixed-address 192.0.2.9; }\n";

fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

fn command(lab: &Lab, words: &str) -> Command {
    let mut command = Command::new(binary("dhcpctl"));
    command.arg("-s").arg(lab.path("dhcpd.sock")).args(words.split_whitespace());
    command
}

fn output(lab: &Lab, words: &str) -> Output {
    command(lab, words).output().expect("run dhcpctl")
}

/// What it prints when it is done.
fn ask(lab: &Lab, words: &str) -> String {
    let output = output(lab, words);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{words}: {}: {err}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// What it complains of, with this exit code.
fn refused(lab: &Lab, words: &str, code: i32) -> String {
    let output = output(lab, words);
    assert_eq!(output.status.code(), Some(code), "{words}");
    String::from_utf8(output.stderr).expect("text")
}

fn json(lab: &Lab, words: &str) -> Vec<Value> {
    let text = ask(lab, &format!("{words} --json"));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn lease(relay: &Relay, last: u8) -> Ipv4Addr {
    relay.lease(mac(last), last.into())
}

/// Whether anything is leased or not: it is the firewall that is looked at.
#[test]
fn status_says_how_it_is_with_each_table_of_the_firewall() {
    let lab = Lab::new();
    let _dhcpd = Dhcpd::start(&lab, CONFIG, &["-L", "leased", "-C", "changed"]);
    let becomes = |changed: &str, leased: &str| {
        let expected = [format!("table: changed: {changed}"), format!("table: leased: {leased}")];
        tests::process::until(&format!("{expected:?}"), tests::daemon::LIMIT, || {
            let status = ask(&lab, "status");
            status.lines().filter(|line| line.starts_with("table: ")).eq(&expected)
        });
        for (table, state) in [("changed", changed), ("leased", leased)] {
            let sample =
                format!("dhcpd_table_ready{{table=\"{table}\"}} {}", u8::from(state == "kept"));
            assert!(ask(&lab, "metrics").contains(&sample), "{sample}");
        }
    };
    becomes("does not exist", "does not exist");
    lab.make_sets();
    becomes("kept", "kept");
    lab.server.nft("delete set inet dhcpd leased");
    becomes("kept", "does not exist");
    lab.server.nft("add set inet dhcpd leased { type ipv6_addr; }");
    becomes("kept", "cannot be used: its key is not ipv4_addr");
    lab.server.nft("delete set inet dhcpd leased; add set inet dhcpd leased { type ipv4_addr; }");
    becomes("kept", "kept");
}

#[test]
fn every_command_says_and_does_what_it_should() {
    let lab = Lab::new();
    lab.make_sets();
    let dhcpd = Dhcpd::start(&lab, CONFIG, &["-L", "leased", "-A", "abandoned"]);
    let relay = Relay::new(&lab);
    let first = lease(&relay, 1);
    let second = lease(&relay, 2);

    let status = &json(&lab, "status")[0];
    assert_eq!(status["processes"][1]["pid"], dhcpd.server());
    assert_eq!(status["addresses"], 2);
    assert_eq!(status["tables"], true);
    assert_eq!(status["interfaces"][0]["network"], "lan");
    assert!(ask(&lab, "status").contains("process: dhcpd: server pid "));

    let leases = json(&lab, "leases");
    assert_eq!(leases.len(), 2);
    let own = json(&lab, "leases --mac 02:00:00:00:00:01 --state leased --network lan");
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["address"], first.to_string());
    assert_eq!(own[0]["hardware"], "02:00:00:00:00:01");
    assert!(json(&lab, "leases --state abandoned").is_empty());
    assert_eq!(json(&lab, &format!("leases --address {second}")).len(), 1);
    assert_eq!(json(&lab, "leases --address 192.0.2.0/24").len(), 2);
    assert!(ask(&lab, "leases").contains(&first.to_string()));

    let shown = ask(&lab, "show 192.0.2.9");
    assert!(shown.contains("host: printer ("), "{shown}");
    assert!(ask(&lab, "show 02:00:00:00:00:02").contains(&second.to_string()));

    assert!(refused(&lab, "show 02:00:00:00:00:77", 1).contains("nothing is known of 02:"));

    let why = ask(&lab, "why 02:00:00:00:00:01");
    assert!(why.contains(&format!("yiaddr: {first}")), "{why}");
    assert!(ask(&lab, "why 02:00:00:00:00:09").contains("yiaddr: 192.0.2.9"));
    let steps = json(&lab, "why 02:00:00:00:00:77");
    let passed = |step: &Value| step["rule"] == "the address it holds" && step["applies"] == false;
    assert!(steps.iter().any(passed), "{steps:?}");

    let pools = json(&lab, "pools");
    assert_eq!(pools.len(), 2);
    assert_eq!((&pools[0]["leased"], &pools[0]["free"]), (&2.into(), &2.into()));
    assert!(ask(&lab, "pools").contains("network lan"));
    assert!(ask(&lab, "counters").contains("messages_sent ack"));
    let acks = json(&lab, "counters").into_iter().find(|c| c["value"] == "ack").expect("acks");
    assert_eq!(acks["count"], 2);

    // Done means: on disk, and told to the firewall.
    assert!(lab.server.set("leased").contains(&first));
    let done = ask(&lab, &format!("release {first}"));
    assert_eq!(done, format!("lease of {first} to 02:00:00:00:00:01 released\n"));
    let file = LeaseFile::read(&lab.path("leases"));
    assert_eq!(file.holder(first), Some(mac(1)));
    assert_eq!(json(&lab, &format!("leases --address {first}"))[0]["state"], "ended");
    tests::process::until("the set follows", tests::daemon::LIMIT, || {
        !lab.server.set("leased").contains(&first)
    });
    assert_eq!(lease(&relay, 1), first, "whose it was is remembered");
    ask(&lab, &format!("delete {first}"));
    assert!(json(&lab, &format!("leases --address {first}")).is_empty());
    let file = LeaseFile::read(&lab.path("leases"));
    assert_eq!(file.holder(first), None, "deleted on disk before it was said");

    assert!(refused(&lab, "release 192.0.2.9", 1).contains("fixed address, of host printer ("));
    assert!(refused(&lab, "delete 192.0.2.103", 1).contains("nobody has 192.0.2.103"));
    assert!(refused(&lab, "delete 203.0.113.1", 1).contains("in no range"));
    assert!(refused(&lab, "delete", 2).contains("usage: dhcpctl"));

    assert_eq!(ask(&lab, "reload"), "reloaded\n");
    lab.write("dhcpd.conf", "subnet 192.0.2.0 netmask 255.255.255.0 { range 1; }\nnonsense;\n");
    let wrong = refused(&lab, "reload", 1);
    assert!(wrong.contains("dhcpd.conf:1:") && wrong.contains("dhcpd.conf:2:"), "{wrong}");
    assert_eq!(lease(&relay, 2), second, "the old configuration is in use");
    assert_eq!(dhcpd.terminate().code(), Some(0));
    assert!(!lab.path("dhcpd.sock").exists());
    assert!(refused(&lab, "status", 1).contains("is dhcpd running?"));
}

#[test]
fn metrics_are_as_prometheus_reads_them() {
    let lab = Lab::new();
    let _dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let relay = Relay::new(&lab);
    for last in 1..=6 {
        lease(&relay, last);
    }
    relay.send(Packet::new(DISCOVER, mac(7), 3));
    let mut samples = Default::default();
    let value = |samples: &exposition::Samples, name: &str, label: &str| {
        let fits = |(known, labels): &&(String, Vec<(String, String)>)| {
            known == name && labels.iter().any(|(_, value)| value == label)
        };
        let found: Vec<f64> = samples.keys().filter(fits).map(|key| samples[key]).collect();
        assert!(!found.is_empty(), "{name} {label}");
        found.iter().sum::<f64>()
    };
    tests::process::until("exhaustion is counted", tests::daemon::LIMIT, || {
        samples = exposition::parse(&ask(&lab, "metrics"));
        value(&samples, "dhcpd_requests_refused_total", "no_free_lease") == 1.0
    });
    assert_eq!(value(&samples, "dhcpd_pool_addresses", "free"), 0.0);
    assert_eq!(value(&samples, "dhcpd_pool_addresses", "leased"), 6.0);
    assert_eq!(value(&samples, "dhcpd_messages_sent_total", "ack"), 6.0);
}

#[test]
fn who_is_not_root_may_read_what_tells_of_no_client() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let account = User::from_name("_dhcp").expect("look up").expect("_dhcp");
    let socket = std::fs::metadata(lab.path("dhcpd.sock")).expect("the socket");
    assert_eq!((socket.uid(), socket.gid()), (0, account.gid.as_raw()));
    assert_eq!(socket.permissions().mode() & 0o777, 0o660);
    let folder = std::fs::metadata(lab.path("")).expect("the folder").permissions();
    std::fs::set_permissions(lab.path(""), PermissionsExt::from_mode(folder.mode() | 0o011))
        .expect("let others pass");
    // By way of a copy, which every user can execute. It is another process that writes it: what
    // another test forks meanwhile would hold ours open too, and it could not be executed.
    let program = lab.path("dhcpctl");
    let copied = Command::new("cp").arg(binary("dhcpctl")).arg(&program).status();
    assert!(copied.expect("run cp").success());
    let socket = lab.path("dhcpd.sock");
    let as_user = |uid: u32, gid: u32, words: &str| {
        let mut command = Command::new(&program);
        command.arg("-s").arg(&socket).args(words.split_whitespace());
        command.uid(uid).gid(gid).output().expect("run dhcpctl")
    };
    let member = |words: &str| as_user(65_530, account.gid.as_raw(), words);
    for words in ["status", "pools", "counters", "metrics"] {
        let output = member(words);
        assert!(output.status.success(), "{words}: {output:?}");
    }
    for words in [
        "leases",
        "show 192.0.2.100",
        "show 02:00:00:00:00:01",
        "why 02:00:00:00:00:01",
        "release 192.0.2.100",
        "delete 192.0.2.100",
        "reload",
    ] {
        let output = member(words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(err.contains("only root may ask for that"), "{words}: {err}");
    }
    dhcpd.wait_for("(uid 65530, gid ");
    let stranger = as_user(65_530, 65_530, "status");
    assert_eq!(stranger.status.code(), Some(1));
    let err = String::from_utf8_lossy(&stranger.stderr);
    assert!(err.contains("Permission denied") && err.contains("only root and members"), "{err}");
    assert!(!err.contains("is dhcpd running?"), "{err}");
}

#[test]
fn a_second_dhcpd_is_refused_the_socket_and_a_dead_one_s_is_replaced() {
    let lab = Lab::new();
    let dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    let socket = lab.path("dhcpd.sock");
    let other = Lab::new();
    let flags = ["-s", socket.to_str().expect("a name")];
    let mut second = Dhcpd::launch(&other, CONFIG, &flags);
    assert_eq!(second.ended().code(), Some(1));
    assert!(second.log().contains("dhcpd.sock"));
    ask(&lab, "status");
    dhcpd.kill();
    assert!(socket.exists());
    let dhcpd = Dhcpd::start(&lab, CONFIG, &[]);
    ask(&lab, "status");
    drop(dhcpd);
    let _none = Dhcpd::start(&lab, CONFIG, &["-s", "none"]);
    refused(&lab, "status", 1);
}

#[test]
fn all_of_64_k_leases_are_listed_while_others_are_given() {
    let lab = Lab::new();
    let text: String = (0..65_536u32)
        .map(|n| {
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 8, 0, 0)) + n);
            let [_, _, c, d] = n.to_be_bytes();
            format!(
                "lease {address} {{\n\tstarts 4 2026/01/01 00:00:00 UTC;\n\tends never;\n\t\
                 hardware ethernet 02:11:00:00:{c:02x}:{d:02x};\n}}\n"
            )
        })
        .collect();
    lab.write("leases", &text);
    let config = "default-lease-time 86400; ping-check false;\n\
        shared-network lan {\n\
        subnet 10.8.0.0 netmask 255.255.0.0 { range 10.8.0.0 10.8.255.255; }\n\
        subnet 192.0.0.0 netmask 255.255.0.0 { range 192.0.16.0 192.0.17.255; }\n}\n";
    let _dhcpd = Dhcpd::start(&lab, config, &[]);
    let relay = Relay::new(&lab);
    let mut load = Load::new(&relay, Ipv4Addr::new(192, 0, 16, 0), 512, 7);
    // Somebody else reads nothing of what he asked for: it is his own loss.
    let slow = proto::unix::connect::<dhcpd::ctl::message::Request, dhcpd::ctl::message::Answer>(
        &lab.path("dhcpd.sock"),
    )
    .expect("connect");
    let everything = dhcpd::engine::inspect::Filter::default();
    slow.channel.send(&dhcpd::ctl::message::Request::Leases(everything)).expect("ask");
    let started = Instant::now();
    let listing = command(&lab, "leases --json --address 10.8.0.0/16")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("run dhcpctl");
    let reader = std::thread::spawn(move || listing.wait_with_output().expect("its output"));
    load.run(|_| reader.is_finished());
    let told = reader.join().expect("the reader");
    let took = started.elapsed();
    assert!(told.status.success());
    let text = String::from_utf8(told.stdout).expect("text");
    let addresses: BTreeSet<String> = (text.lines())
        .map(|line| serde_json::from_str::<Value>(line).expect(line)["address"].to_string())
        .collect();
    assert_eq!(addresses.len(), 65_536);
    assert!(!load.order.is_empty(), "nobody was served in {took:?}");
    println!("65536 leases in {took:?}, and {} acknowledgements meanwhile", load.order.len());
    let served = load.order.len();
    load.run(|load| load.order.len() > served + 50);
}
