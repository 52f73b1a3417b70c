//! The parent of a pair's node when orders cross, workers hang or come and go, and people ask for
//! more than they take.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::lab::binary;
use tests::nbd::Nbd;
use tests::pair::{Node, Options, PORT, Pair, RESOURCE, listens};
use tests::peer::frame::packet;
use tests::peer::nv::List;
use tests::process::{self, until};

/// What hastctl ends with: what was asked for would lose data, and any other failure.
const UNSAFE: i32 = 5;
const FAILED: i32 = 6;

/// Time that a process has had a processor.
fn used(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("a process");
    Duration::from_nanos(text.split(' ').next().unwrap().parse().expect("a number"))
}

/// `b` alone, whose promotion asks a node that does not answer, for as long as it is asked to.
fn unheard() -> Pair {
    let mut pair = Pair::new(&Options::default());
    pair.b.start();
    pair.b.cut();
    pair
}

/// Waits until the node's promotion has begun to ask the other node.
fn wait_starting(node: &Node) {
    until("a worker is about to be primary", LIMIT, || node.worker("primary").is_some());
}

#[test]
fn a_refused_promotion_is_not_tried_again_by_itself() {
    let mut pair = Pair::running(&Options::default());
    let first = pair.b.worker("secondary").expect("a worker");
    process::kill(first, Signal::SIGKILL);
    until("another worker", LIMIT, || pair.b.worker("secondary").is_some_and(|pid| pid != first));
    pair.a.wait_synced();

    let why = pair.b.must_not(UNSAFE, &["role", "primary", RESOURCE]);
    assert!(why.contains("the other node is primary"), "{why}");
    pair.b.wait_status("role", "secondary");
    pair.a.wait_synced();
    // Nobody promotes it now that this would be possible.
    pair.a.kill();
    pair.b.wait_status("connected", "false");
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert!(pair.b.worker("secondary").is_some());
        assert!(!listens(&pair.b.socket()));
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_role_that_was_had_is_had_again_when_the_component_is_back() {
    let mut pair = Pair::running(&Options::default());
    let (disk, away) = (pair.a.component(), pair.a.path("away"));
    fs::rename(&disk, &away).unwrap();
    process::kill(pair.a.worker("primary").expect("a worker"), Signal::SIGKILL);
    pair.a.wait_for("No such file");
    fs::rename(&away, &disk).unwrap();
    until("another worker", LIMIT, || pair.a.worker("primary").is_some());
    pair.a.wait_synced();
    pair.a.client().write(0, &[1; 4096]).expect("write");
}

#[test]
fn a_role_outlives_a_reload_while_the_component_is_away() {
    let mut pair = Pair::running(&Options::default());
    let (disk, away) = (pair.b.component(), pair.b.path("away"));
    fs::rename(&disk, &away).unwrap();
    pair.b.set_timeout(3);
    process::kill(pair.b.pid(), Signal::SIGHUP);
    pair.b.wait_for("No such file");
    fs::rename(&away, &disk).unwrap();
    until("another worker", LIMIT, || pair.b.worker("secondary").is_some());
    pair.a.client().write(0, &[1; 4096]).expect("write");
    pair.a.wait_synced();
    pair.assert_same();
}

#[test]
fn two_who_order_the_same_hear_the_same() {
    let pair = unheard();
    // So that it is refused, and not before the other node was asked.
    pair.b.must(&["discard", RESOURCE]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| pair.b.must_not(UNSAFE, &["role", "primary", RESOURCE]));
        wait_starting(&pair.b);
        pair.b.must_not(UNSAFE, &["role", "primary", RESOURCE]);
        first.join().expect("the first");
    });
    pair.b.wait_status("role", "init");
}

#[test]
fn who_waits_for_a_role_hears_that_another_one_was_ordered() {
    let pair = unheard();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| pair.b.must_not(FAILED, &["role", "primary", RESOURCE]));
        wait_starting(&pair.b);
        pair.b.role("secondary");
        let why = first.join().expect("the first");
        assert!(why.contains("secondary meanwhile"), "{why}");
    });
    pair.b.wait_status("role", "secondary");
}

#[test]
fn who_waits_for_a_role_hears_that_the_resource_is_gone() {
    let pair = unheard();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| pair.b.must_not(FAILED, &["role", "primary", RESOURCE]));
        wait_starting(&pair.b);
        pair.b.write_config("");
        process::kill(pair.b.pid(), Signal::SIGHUP);
        let why = first.join().expect("the first");
        assert!(why.contains("in no configuration"), "{why}");
    });
}

#[test]
fn who_asks_and_goes_away_does_not_keep_the_parent_busy() {
    let pair = unheard();
    let mut asks = Command::new(binary("hastctl"))
        .args(["role", "-c"])
        .arg(pair.b.config())
        .args(["primary", RESOURCE])
        .stdin(Stdio::null())
        .spawn()
        .expect("hastctl");
    wait_starting(&pair.b);
    asks.kill().expect("kill");
    asks.wait().expect("wait");
    let (begin, before) = (Instant::now(), used(pair.b.pid()));
    until("it is primary", LIMIT, || listens(&pair.b.socket()) && pair.b.count("pid").is_some());
    let (took, used) = (begin.elapsed(), used(pair.b.pid()) - before);
    assert!(took > Duration::from_secs(1), "nothing was seen: {took:?}");
    assert!(used < took / 5, "{used:?} of {took:?}");
}

#[test]
fn settings_that_change_during_a_promotion_are_taken_over() {
    let mut pair = Pair::new(&Options { timeout: 30, ..Options::default() });
    pair.a.start();
    pair.b.start();
    pair.b.role("secondary");
    pair.b.cut();
    std::thread::scope(|scope| {
        let a = &pair.a;
        let role = scope.spawn(|| a.role("primary"));
        wait_starting(a);
        let text = fs::read_to_string(a.config()).unwrap();
        fs::write(a.config(), format!("replication async\n{text}")).unwrap();
        process::kill(a.pid(), Signal::SIGHUP);
        role.join().expect("the role");
    });
    pair.b.heal();
    pair.a.wait_synced();
    // In another mode a write would wait for the other node.
    let silent = pair.b.worker("secondary").expect("a worker");
    process::kill(silent, Signal::SIGSTOP);
    let mut client = Nbd::connect(&pair.a.socket(), RESOURCE, LIMIT / 2).expect("connect");
    let written = client.write(0, &[1; 4096]);
    process::kill(silent, Signal::SIGCONT);
    written.expect("a write that does not wait");
}

#[test]
fn a_socket_by_another_name_leaves_none_by_the_old_one() {
    let mut pair = Pair::running(&Options::default());
    let old = pair.a.socket();
    let new = pair.a.path("new");
    let text = fs::read_to_string(pair.a.config()).unwrap();
    let text = text.replace(old.to_str().unwrap(), new.to_str().unwrap());
    fs::write(pair.a.config(), text).unwrap();
    process::kill(pair.a.pid(), Signal::SIGHUP);
    until("it listens by the new name", LIMIT, || listens(&new));
    assert!(!old.exists());
    pair.a.wait_for("connected to the other node");
}

#[test]
fn a_worker_that_hears_nothing_holds_up_nobody_else() {
    let mut pair = Pair::new(&Options::default());
    pair.b.start();
    pair.b.role("secondary");
    let silent = pair.b.worker("secondary").expect("a worker");
    process::kill(silent, Signal::SIGSTOP);
    let mut hello = List::new();
    hello.put_text("resource", RESOURCE);
    hello.put_uint8("version", 2);
    let hello = packet(1, &hello, &[]);
    let address = (pair.b.address, PORT);
    pair.a.space.within(move || {
        for _ in 0..1000 {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream.write_all(&hello).expect("send");
        }
    });
    pair.b.must(&["status", RESOURCE]);
    let begin = Instant::now();
    assert!(pair.b.terminate().success());
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    assert!(process::gone(silent));
}

#[test]
fn every_one_of_many_resources_is_told_of() {
    const MANY: usize = 600;
    let mut pair = Pair::new(&Options::default());
    let text: String = (0..MANY)
        .map(|n| {
            let (local, host) = (pair.a.path(&format!("disk{n}")), tests::pair::host());
            format!("resource r{n} {{ local {} on {host} {{ remote none }} }}\n", local.display())
        })
        .collect();
    pair.a.write_config(&text);
    pair.a.start();
    assert_eq!(pair.a.must(&["status"]).lines().count(), 1 + MANY);
}

#[test]
fn a_hello_of_the_longest_length_ends_nobody() {
    let mut pair = Pair::new(&Options::default());
    pair.b.start();
    pair.b.role("secondary");
    let before = process::descendants(pair.b.pid());
    let address = (pair.b.address, PORT);
    for length in [15_000, 16_384, 32_768, 65_000, 65_472] {
        let mut hello = List::new();
        hello.put_text("resource", RESOURCE);
        hello.put_uint8("version", 2);
        hello.put_array("padding", &vec![1; length]);
        let mut long = List::new();
        long.put_text("resource", &"x".repeat(length));
        for bytes in [packet(1, &hello, &[]), packet(1, &long, &[])] {
            let mut stream =
                pair.a.space.within(move || TcpStream::connect(address).expect("connect"));
            stream.set_read_timeout(Some(LIMIT)).expect("a limit");
            // It may be closed before all of it was sent.
            let _ = stream.write_all(&bytes);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }
    pair.a.start();
    pair.a.role("primary");
    pair.a.wait_synced();
    assert_eq!(process::descendants(pair.b.pid()), before, "the same processes");
}

#[test]
fn a_client_that_has_left_does_not_keep_the_worker_busy() {
    let pair = Pair::running(&Options { timeout: 4, ..Options::default() });
    let silent = pair.b.worker("secondary").expect("a worker");
    let worker = pair.a.worker("primary").expect("a worker");
    process::kill(silent, Signal::SIGSTOP);
    let mut client = pair.a.client();
    // NBD_CMD_WRITE, and NBD_CMD_DISC.
    client.send(1, 0, 0, 4096, &[1; 4096]).expect("send");
    client.send(2, 0, 0, 0, &[]).expect("send");
    drop(client);
    let (begin, before) = (Instant::now(), used(worker));
    pair.a.wait_status("connected", "false");
    let (took, used) = (begin.elapsed(), used(worker) - before);
    process::kill(silent, Signal::SIGCONT);
    assert!(took > Duration::from_secs(1), "nothing was seen: {took:?}");
    assert!(used < took / 5, "{used:?} of {took:?}");
}

#[test]
fn many_clients_have_no_more_in_flight_than_a_few() {
    let pair = Pair::running(&Options { timeout: 30, ..Options::default() });
    let silent = pair.b.worker("secondary").expect("a worker");
    let worker = pair.a.worker("primary").expect("a worker");
    // Nothing is answered from now on.
    process::kill(silent, Signal::SIGSTOP);
    let data = vec![1; 1 << 20];
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let mut client =
                Nbd::connect(&pair.a.socket(), RESOURCE, Duration::from_secs(1)).expect("connect");
            let data = &data;
            // Until it takes no more.
            scope.spawn(move || {
                (0..24).try_for_each(|_| client.send(1, 0, 0, 1 << 20, data).map(drop))
            });
        }
    });
    let status = process::rights(worker).status;
    process::kill(silent, Signal::SIGCONT);
    let resident: u64 = status["VmHWM"].trim_end_matches(" kB").parse().expect("a number");
    assert!(resident < 500 << 10, "{resident} KiB");
}

#[test]
fn a_client_that_takes_no_replies_does_not_hold_the_role() {
    let pair = Pair::running(&Options::default());
    let mut deaf = pair.a.client();
    for at in 0..16 {
        deaf.send(0, 0, at << 20, 1 << 20, &[]).expect("send");
    }
    // The first byte has come: the others wait.
    until("replies wait", LIMIT, || pair.a.count("reads").is_some_and(|reads| reads >= 8));
    let begin = Instant::now();
    pair.a.role("init");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(!pair.a.log().contains("did not come to its end"));
}
