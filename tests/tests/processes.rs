//! The life of dhcpd's processes: who is there, and that nobody is left. Their rights are
//! `privileges.rs`'s.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::signal::Signal;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::{Lab, binary};
use tests::process::{self, alive, until};
use tests::wire::{DISCOVER, Packet, Relay};

const CONFIG: &str = "subnet 192.0.2.0 netmask 255.255.255.0 { range 192.0.2.100 192.0.2.250; }\n";
const TABLES: [&str; 6] = ["-A", "abandoned", "-C", "changed", "-L", "leased"];

#[test]
fn start_stop_and_nobody_is_left() {
    let lab = Lab::new();
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    let all = process::descendants(dhcpd.pid());
    assert_eq!(all.len(), 2);
    process::kill(dhcpd.pid(), Signal::SIGTERM);
    assert!(dhcpd.ended().success());
    let left: Vec<String> =
        all.iter().filter(|pid| alive(**pid)).map(|p| process::title(*p)).collect();
    assert!(left.is_empty(), "{left:?}");
    // Who did it is in the log: our own process.
    let line = format!("SIGTERM from pid {} (uid 0, ", std::process::id());
    let log = dhcpd.whole_log();
    assert!(log.contains(&line), "{log}");
}

#[test]
fn in_the_background_the_start_returns_when_it_serves() {
    let lab = Lab::new();
    let config = lab.write("dhcpd.conf", CONFIG);
    // Whoever starts it may hold more than the standard three, and none of it is dhcpd's.
    let zero = fs::File::open("/dev/zero").expect("open /dev/zero");
    let _open_across_exec = nix::unistd::dup(&zero).expect("dup");
    let mut start = lab.server.command(binary("dhcpd"));
    start.arg("-c").arg(&config).arg("-l").arg(lab.path("leases"));
    start.arg("-s").arg(lab.path("dhcpd.sock"));
    let output = start.output().expect("start dhcpd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mine = |pid: &u32| process::title(*pid).contains(&config.display().to_string());
    let parents: Vec<u32> = process::all().into_iter().filter(mine).collect();
    assert_eq!(parents.len(), 1, "the parent in the background");
    // It serves already.
    let relay = Relay::new(&lab);
    relay.send(Packet::new(DISCOVER, [2, 0, 0, 0, 0, 1], 7));
    relay.receive(7);
    let mut all = process::descendants(parents[0]);
    all.push(parents[0]);
    for pid in &all {
        let fds = process::rights(*pid).fds;
        assert!(!fds.contains(&"/dev/zero".to_owned()), "{}: {fds:?}", process::title(*pid));
    }
    process::kill(parents[0], Signal::SIGTERM);
    until("all of it ends", LIMIT, || all.iter().all(|pid| !alive(*pid)));
}

#[test]
fn without_a_firewall_it_refuses_to_start_and_says_why() {
    let lab = Lab::new();
    let mut dhcpd = Dhcpd::launch(&lab, CONFIG, &["-L", "bridge/no/such/table"]);
    assert_eq!(dhcpd.ended().code(), Some(1));
    let mut dhcpd = Dhcpd::launch(&lab, CONFIG, &["-L", "leased"]);
    // A set that is missing is no reason: it may come.
    dhcpd.wait_for("leased");
    drop(dhcpd);
}

#[test]
fn the_parent_killed_200_times_under_load_leaves_nobody() {
    let lab = Lab::new();
    lab.make_sets();
    let relay = Arc::new(Relay::new(&lab));
    let stop = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let (relay, stop) = (relay.clone(), stop.clone());
        move || {
            let mut number = 0u32;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let [_, a, b, c] = number.to_be_bytes();
                relay.send(Packet::new(DISCOVER, [2, 0, 0, a, b, c], number));
                // Paced by the answers, and by this where nobody is there to answer.
                relay.try_receive(Duration::from_millis(1));
            }
        }
    });
    let mut slowest = Duration::ZERO;
    for round in 0..200u64 {
        let dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
        let all = process::descendants(dhcpd.pid());
        assert_eq!(all.len(), 2, "round {round}");
        // A moment that differs each time, some of them in the middle of what start leaves to do.
        std::thread::park_timeout(Duration::from_micros(round * 7919 % 20_000));
        let before: Vec<u64> =
            all.iter().filter_map(|p| process::stat(*p)).map(|s| s.ticks).collect();
        let killed = Instant::now();
        dhcpd.kill();
        until("helper and server are gone", Duration::from_secs(1), || {
            for (pid, before) in all.iter().zip(&before) {
                if let Some(stat) = process::stat(*pid) {
                    assert!(stat.ticks - before < 50, "{} burns", process::title(*pid));
                }
            }
            all.iter().all(|pid| !alive(*pid))
        });
        slowest = slowest.max(killed.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    load.join().expect("the load");
    println!("slowest end after the parent's death: {slowest:?}");
}

#[test]
fn a_killed_server_ends_all_of_it_with_the_reason() {
    let lab = Lab::new();
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    let all = process::descendants(dhcpd.pid());
    process::kill(dhcpd.server(), Signal::SIGKILL);
    assert_eq!(dhcpd.ended().code(), Some(1));
    let log = dhcpd.whole_log();
    assert!(log.contains("dhcpd: server killed by SIGKILL"), "{log}");
    assert!(all.iter().all(|pid| !alive(*pid)));
}

/// What the manual promises: the service goes on, the next handler is started with back-off, and
/// the tables are right again whatever happened to them meanwhile.
#[test]
fn a_killed_handler_is_noticed_at_once_and_replaced_while_service_goes_on() {
    let lab = Lab::new();
    lab.make_sets();
    let mut dhcpd = Dhcpd::start(&lab, CONFIG, &TABLES);
    let relay = Relay::new(&lab);
    let mut held = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 0..5u8 {
        held.push(relay.lease([2, 0, 0, 0, 1, round], u32::from(round) + 1));
        until("the lease is in the set", LIMIT, || lab.server.set("leased") == held);
        let handler = dhcpd.helper().expect("the handler");
        lab.server.nft("flush set inet dhcpd leased");
        let killed = Instant::now();
        process::kill(handler, Signal::SIGKILL);
        let line = dhcpd.wait_for("pf table handler is gone");
        slowest = slowest.max(killed.elapsed());
        assert!(line.contains("pf table handler is gone: killed by SIGKILL"), "{line}");
        // There may be no handler now, and for longer each time.
        held.push(relay.lease([2, 0, 0, 0, 2, round], u32::from(round) + 100));
        dhcpd.wait_for("pf table handler is back");
        until("the set is as the leases say", LIMIT, || lab.server.set("leased") == held);
        assert_ne!(dhcpd.helper(), Some(handler));
    }
    assert!(slowest < Duration::from_millis(100), "noticed after {slowest:?}");
    assert!(dhcpd.terminate().success());
}
