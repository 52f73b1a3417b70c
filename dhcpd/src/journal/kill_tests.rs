//! A writer with a real journal on a real disk is killed with SIGKILL at any moment, rewrites
//! included. Whatever it had acknowledged is found by the next one, which goes on.

use super::tests::{Folder, start, wait};
use super::{Event, LogFile};
use crate::config::Hardware;
use crate::crash::random::Rng;
use crate::lease::LeaseRecord;
use crate::leasefile;
use crate::leasefile::store::Store;
use crate::msg::Renamed;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ADDRESSES: u32 = 300;
/// Tells the writer which file.
const FILE: &str = "DHCPD_TEST_KILL_FILE";
const SEED: &str = "DHCPD_TEST_KILL_SEED";

type Versions = BTreeMap<u32, u64>;

/// The record of an address in its `version`th state: each is unlike every other.
fn record(address: u32, version: u64) -> LeaseRecord {
    let mut rng = Rng(u64::from(address) << 32 | version);
    let addr = (0..6).map(|_| rng.draw() as u8).collect();
    LeaseRecord {
        starts: version as i64,
        ends: version as i64 + 3600,
        hardware: Some(Hardware { htype: 1, addr }),
        client_id: rng
            .one_in(2)
            .then(|| (0..rng.below(30) + 1).map(|_| rng.draw() as u8).collect()),
        abandoned: rng.one_in(10),
        client_hostname: rng.one_in(2).then(|| format!("client-{}", rng.draw()).into_bytes()),
        ..LeaseRecord::new(Ipv4Addr::from(address))
    }
}

/// Reads the file and makes sure that each record in it was written just so.
fn read(path: &Path) -> Versions {
    let mut versions = Versions::new();
    for lease in leasefile::read_from(File::open(path).unwrap()).flatten() {
        let (address, version) = (u32::from(lease.address), lease.starts as u64);
        assert_eq!(lease, record(address, version));
        versions.insert(address, version);
    }
    versions
}

/// The process that is killed.
fn writer(path: &Path, seed: u64) -> ! {
    let mut rng = Rng(seed);
    let mut store = Store::open(path).unwrap();
    let mut memory = read(path);
    let mut journal = start(store.lease_file().unwrap());
    let mut waiting = VecDeque::new();
    let mut cursor = None;
    let mut out = std::io::stdout();
    loop {
        let mut text = Vec::new();
        let mut acks = String::new();
        for _ in 0..rng.below(30) + 1 {
            let address = rng.below(ADDRESSES as usize) as u32;
            let version = memory.entry(address).and_modify(|v| *v += 1).or_insert(1);
            leasefile::append_record(&mut text, &record(address, *version).view());
            acks.push_str(&format!("ack {address} {version}\n"));
        }
        waiting.push_back((journal.commit(&text, &mut None).unwrap(), acks));
        if cursor.is_none() {
            assert!(journal.begin_rewrite(LogFile::new(store.new_file().unwrap())));
            cursor = Some(0);
            journal.snapshot(b"");
        }
        let mut wanted = waiting.len() > 4;
        while wanted {
            for event in wait(&mut journal) {
                match event {
                    Event::Done { upto, result } => {
                        result.unwrap();
                        while waiting.front().is_some_and(|(seq, _)| *seq <= upto) {
                            let (_, acks) = waiting.pop_front().unwrap();
                            out.write_all(acks.as_bytes()).unwrap();
                        }
                    }
                    Event::SnapshotTaken => {
                        let from = cursor.unwrap();
                        let mut text = Vec::new();
                        for (address, version) in memory.range(from..from + 20) {
                            leasefile::append_record(&mut text, &record(*address, *version).view());
                        }
                        cursor = Some(from + 20);
                        if from > ADDRESSES {
                            journal.end_snapshot();
                        } else {
                            journal.snapshot(&text);
                        }
                    }
                    Event::Rewritten => {
                        assert_eq!(store.replace(), Renamed::Yes);
                        journal.switch();
                        cursor = None;
                    }
                    Event::RewriteFailed(failure) => panic!("{failure}"),
                }
            }
            wanted = waiting.len() > 4;
        }
    }
}

#[test]
fn no_kill_loses_what_was_acknowledged() {
    // The writer is this test again, told which file.
    if let (Ok(file), Ok(seed)) = (std::env::var(FILE), std::env::var(SEED)) {
        writer(&PathBuf::from(file), seed.parse().unwrap());
    }
    let folder = Folder::new("kill");
    let path = folder.0.join("leases");
    let mut rng = Rng(std::process::id().into());
    let mut acknowledged = Versions::new();
    let (mut sizes, mut shrank) = (Vec::new(), 0);
    for round in 0..50 {
        // Some are killed soon after they have made the file, and the others while it is replaced.
        let fresh = round % 5 == 4;
        if fresh {
            std::fs::remove_file(&path).unwrap();
            acknowledged.clear();
            sizes.clear();
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["journal::kill_tests::no_kill_loses_what_was_acknowledged", "--exact"])
            .arg("--nocapture")
            .env(FILE, &path)
            .env(SEED, rng.draw().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        let kill_after = rng.below(if fresh { 40 } else { 3000 }) + 1;
        // To the end: what was said before the kill may still be in the pipe.
        for line in lines {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ack", address, version] = words[..] {
                acknowledged.insert(address.parse().unwrap(), version.parse().unwrap());
                heard += 1;
            }
            if heard == kill_after {
                child.kill().unwrap();
                heard += 1;
            }
        }
        child.wait().unwrap();
        assert!(heard > kill_after, "round {round}: the writer ended by itself");
        let found = read(&path);
        for (address, version) in &acknowledged {
            let got = found.get(address);
            assert!(got >= Some(version), "round {round}: {address} is {got:?}, not {version}");
        }
        sizes.push(std::fs::metadata(&path).unwrap().len());
        shrank += usize::from(sizes.last_chunk().is_some_and(|[before, after]| after < before));
    }
    // The file was rewritten: appended to all the time, it would only grow.
    assert!(shrank > 0, "{sizes:?}");
}
