//! What was acknowledged is never lost: dhcpd is killed under load, its disk fills up.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::daemon::{Dhcpd, LIMIT};
use tests::lab::Lab;
use tests::leasefile::LeaseFile;
use tests::load::Load;
use tests::process::{self, until};
use tests::random::Random;
use tests::wire::{ACK, Packet, REQUEST, Relay};

const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 16, 0);

/// A pool of so many addresses from [`FIRST`] on.
fn config(size: u32) -> String {
    let last = Ipv4Addr::from(u32::from(FIRST) + size - 1);
    format!(
        "default-lease-time 86400;\nmax-lease-time 86400;\nping-check false;\n\
         subnet 192.0.0.0 netmask 255.255.0.0 {{ range {FIRST} {last}; }}\n"
    )
}

/// Everything that was acknowledged is in the file, and what is not as dhcpd writes it was torn by
/// a kill.
fn check_file(path: &Path, promised: &BTreeMap<Ipv4Addr, [u8; 6]>) -> LeaseFile {
    let file = LeaseFile::read(path);
    for (address, mac) in promised {
        let holder = file.holder(*address);
        assert_eq!(holder, Some(*mac), "{address} was acknowledged");
    }
    assert!(file.strange.len() <= file.torn, "{:?}", file.strange);
    file
}

/// dhcpd read all of it but the records that a kill had torn.
fn check_loaded(dhcpd: &mut Dhcpd, file: &LeaseFile) {
    dhcpd.wait_for(" leases from ");
    let log = dhcpd.log();
    let ours = log.lines().filter_map(|line| line.split_once("/leases:"));
    let (problems, told): (Vec<_>, Vec<_>) =
        ours.map(|(_, text)| text).partition(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    assert!(problems.len() <= file.torn, "{} torn records: {problems:#?}", file.torn);
    let wanted = format!(" {} leases from ", file.leases.len());
    assert!(told.len() == 1 && told[0].starts_with(&wanted), "{told:?}, not{wanted}");
}

/// Kills it in one of several ways: the parent, or the server, or both at once.
fn kill(dhcpd: Dhcpd, random: &mut Random) {
    let server = dhcpd.server();
    match random.below(3) {
        0 => dhcpd.kill(),
        1 => {
            process::kill(server, Signal::SIGKILL);
            let mut dhcpd = dhcpd;
            dhcpd.wait_for("dhcpd: server killed by SIGKILL");
            assert!(!dhcpd.ended().success());
        }
        _ => {
            process::kill(server, Signal::SIGKILL);
            dhcpd.kill();
        }
    }
}

/// What a power failure may leave at the end of the file: part of a record that was never
/// acknowledged.
fn tear(path: &Path, random: &mut Random) {
    let record = format!(
        "lease {FIRST} {{\n\tstarts 2 2026/06/30 10:00:00 UTC;\n\tends 2 2036/06/30 10:00:00 UTC;\n\t\
         hardware ethernet 02:ff:ff:ff:ff:ff;\n}}\n"
    );
    // Without its last two bytes it is not whole.
    let length = 1 + random.below(record.len() as u64 - 2) as usize;
    let mut file = OpenOptions::new().append(true).open(path).expect("open the lease file");
    file.write_all(&record.as_bytes()[..length]).expect("write to the lease file");
}

#[test]
fn no_acknowledged_lease_is_lost_in_100_kills_under_load() {
    const KILLS: u32 = 100;
    const SIZE: u32 = 2048;
    let lab = Lab::new();
    let leases = lab.path("leases");
    let relay = Relay::new(&lab);
    let mut random = Random::new(1);
    let mut load = Load::new(&relay, FIRST, SIZE, 2);
    let (mut torn, mut before) = (0, None);
    for _ in 0..KILLS {
        let mut dhcpd = Dhcpd::start(&lab, &config(SIZE), &[]);
        if let Some(file) = &before {
            check_loaded(&mut dhcpd, file);
        }
        load.check_last(64);
        let end = Instant::now() + Duration::from_millis(random.below(200));
        load.run(|_| Instant::now() >= end);
        kill(dhcpd, &mut random);
        load.server_is_gone();
        if random.one_in(3) {
            tear(&leases, &mut random);
        }
        let file = check_file(&leases, &load.promised);
        torn += file.torn;
        before = Some(file);
    }
    eprintln!(
        "{} promises, {} of them by DISCOVER; {} given back, {} refusals, {torn} torn records",
        load.order.len(),
        load.leased,
        load.released,
        load.refusals
    );
    assert!(load.order.len() > 5000 && load.leased > 2000 && load.refusals > 100 && torn > 10);
}

#[test]
fn killed_while_the_lease_file_is_replaced_it_loses_nothing() {
    const SIZE: u32 = 2000;
    let lab = Lab::new();
    let leases = lab.path("leases");
    let relay = Relay::new(&lab);
    let mut random = Random::new(3);
    let mut load = Load::new(&relay, FIRST, SIZE, 4);
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK).expect("inotify");
    let events = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(&lab.path(""), events).expect("watch the folder");
    let new = |wanted: AddWatchFlags| {
        let events = inotify.read_events().unwrap_or_default();
        events.iter().any(|event| event.mask == wanted)
    };
    // Killed after as many steps as it takes to have come upon it half done a few times.
    let (mut left_over, mut round) = (0, 0);
    while round < 24 || left_over < 5 {
        assert!(round < 200, "killed {left_over} times in {round} with a new file there");
        let mut dhcpd = Dhcpd::start(&lab, &config(SIZE), &[]);
        let server = dhcpd.server();
        dhcpd.wait_for(" leases from ");
        if round % 2 == 1 {
            // The one at the start is finished. The next is for the records that came since.
            load.run(|_| new(AddWatchFlags::IN_MOVED_TO));
            load.run(|_| new(AddWatchFlags::IN_CREATE));
        }
        let end = Instant::now() + Duration::from_micros(random.below(6000));
        load.run(|_| Instant::now() >= end);
        process::kill(server, Signal::SIGKILL);
        dhcpd.kill();
        load.server_is_gone();
        left_over += u32::from(lab.path("leases.new").exists());
        check_file(&leases, &load.promised);
        let _ = inotify.read_events();
        round += 1;
    }
    eprintln!("{} promises; {left_over} of {round} kills left a new file", load.order.len());
    // Whatever the last one left, the next puts it right.
    lab.write("leases.new", "lease nonsense");
    let _dhcpd = Dhcpd::start(&lab, &config(SIZE), &[]);
    until("the lease file is rewritten", LIMIT, || new(AddWatchFlags::IN_MOVED_TO));
    assert!(!lab.path("leases.new").exists());
    let file = check_file(&leases, &load.promised);
    assert_eq!((file.records, file.torn), (file.leases.len(), 0));
    load.check_last(100);
}

#[test]
fn a_full_disk_stops_acknowledgements_until_there_is_room() {
    let lab = Lab::new();
    let disk = lab.disk("disk", 256);
    let leases = disk.path("leases");
    let flags = ["-l", leases.to_str().expect("a name")];
    let relay = Relay::new(&lab);
    let mut dhcpd = Dhcpd::start(&lab, &config(4096), &flags);
    let mut promised = BTreeMap::new();
    let mut number = 0;
    let mut ask = |wait: Duration| {
        number += 1;
        let [a, b] = u16::try_from(number).expect("a small number").to_be_bytes();
        let mac = [2, 8, 0, 0, a, b];
        let address = Ipv4Addr::from(u32::from(FIRST) + 1000 + number);
        relay.send(Packet::new(REQUEST, mac, number).option(50, &address.octets()));
        let answer = relay.try_receive(wait)?;
        assert_eq!((answer.kind, answer.yiaddr, answer.mac), (ACK, address, mac));
        promised.insert(address, mac);
        Some(address)
    };
    assert!(ask(LIMIT).is_some());
    disk.fill();
    // What is left of the last page is used up: a record is longer than 64 bytes.
    let last = (0..4096 / 64).find(|_| ask(Duration::from_millis(500)).is_none());
    assert!(last.is_some(), "acknowledged more than there was room for");
    dhcpd.wait_for("commit_leases: unable to commit");
    for _ in 0..20 {
        assert_eq!(ask(Duration::from_millis(100)), None, "acknowledged on a full disk");
    }
    disk.make_room();
    until("there are leases again", LIMIT, || ask(Duration::from_millis(500)).is_some());
    dhcpd.wait_for("leases are on disk again");
    assert!(ask(LIMIT).is_some());
    let log = dhcpd.log();
    let said = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(said("unable to commit"), 1, "{log}");
    assert!(said("rewrite the lease file") <= 1, "{log}");
    dhcpd.kill();
    let file = check_file(&leases, &promised);
    let mut dhcpd = Dhcpd::start(&lab, &config(4096), &flags);
    check_loaded(&mut dhcpd, &file);
    for (address, mac) in promised {
        relay.send(Packet::new(REQUEST, mac, 1).option(50, &address.octets()));
        let answer = relay.receive(1);
        assert_eq!((answer.kind, answer.yiaddr, answer.mac), (ACK, address, mac));
    }
}
