//! hastlite against a peer that was written from the protocol's description alone: as primary and
//! as secondary, in both versions, with every checksum and compression, and with what goes wrong.
//!
//! The peer fails the test where a FreeBSD node would abort or go on with wrong data.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::nbd::Nbd;
use tests::pair::{Node, Options, PORT, Pair, RESOURCE};
use tests::peer::data::{Checksum, Compression};
use tests::peer::secondary::{Config, Fate};
use tests::peer::{
    Connection, Cut, Direction, Disk, Ending, MAXPHYS_LARGE, MAXPHYS_SMALL, Mode, Primary,
    Secondary, SharedDisk, cmd, errno, primary,
};
use tests::process::until;
use tests::random::Random;

const SIZE: u64 = 8 << 20;
const EXTENT: u32 = 64 << 10;

fn options(lines: &str) -> Options {
    Options { size: SIZE, extent: EXTENT, timeout: 2, lines: lines.to_owned() }
}

fn disk() -> SharedDisk {
    Disk::memory(RESOURCE, SIZE, EXTENT).shared()
}

fn block(random: &mut Random, length: usize) -> Vec<u8> {
    match random.below(4) {
        0 => vec![0; length],
        1 => vec![random.number() as u8; length],
        2 => (0..length).map(|at| (at / 700) as u8).collect(),
        _ => (0..length.div_ceil(8))
            .flat_map(|_| random.number().to_ne_bytes())
            .take(length)
            .collect(),
    }
}

/// A FreeBSD node in `b`'s place, as secondary; it must not be sent more than the oldest take.
fn listen(pair: &Pair, config: Config, disk: &SharedDisk) -> Secondary {
    let (address, disk) = ((pair.b.address, PORT), disk.clone());
    let config = Config { maxphys: MAXPHYS_SMALL, ..config };
    pair.b.space.within(move || {
        let listener = TcpListener::bind(address).expect("listen in the namespace");
        Secondary::start(listener, config, disk)
    })
}

/// A client's work; `image` is what has to be there afterwards. With `trims`, what was trimmed is
/// zeroes.
fn work(client: &mut Nbd, image: &mut [u8], random: &mut Random, count: usize, trims: bool) {
    for _ in 0..count {
        let most = if random.one_in(8) { 1200 } else { 100 };
        let sectors = 1 + random.below(most);
        let offset = 512 * random.below(SIZE / 512 - sectors);
        let length = sectors as usize * 512;
        let there = &mut image[offset as usize..][..length];
        match random.below(8) {
            0 if trims => {
                client.trim(offset, length).expect("trim");
                there.fill(0);
            }
            1 => {
                client.zero(offset, length).expect("zeroes");
                there.fill(0);
            }
            2 => client.flush().expect("flush"),
            3 => assert!(client.read(offset, length).expect("read") == there, "{offset} {length}"),
            _ => {
                let data = block(random, length);
                client.write(offset, &data).expect("write");
                there.copy_from_slice(&data);
            }
        }
    }
}

/// Both have what the client has written.
fn assert_same(node: &Node, peer: &SharedDisk, image: &[u8]) {
    node.client().flush().expect("flush");
    let theirs = peer.lock().unwrap().contents();
    let differ = |one: &[u8]| one.iter().zip(image).position(|(one, other)| one != other);
    assert_eq!(differ(&node.contents()), None, "hastlite's data");
    assert_eq!(differ(&theirs), None, "the peer's data");
}

#[test]
fn as_primary_with_every_version_mode_checksum_and_compression() {
    let mut random = Random::new(1);
    let mut round = 0;
    for (checksum, of_peer) in
        [("none", Checksum::Sha256), ("crc32", Checksum::None), ("sha256", Checksum::Crc32)]
    {
        for (compression, of_peer2) in
            [("none", Compression::Lzf), ("hole", Compression::None), ("lzf", Compression::Hole)]
        {
            let mode = ["memsync", "fullsync", "async"][round * 2 / 3 % 3];
            let version = 1 + round as u8 % 2;
            round += 1;
            let lines =
                format!("\treplication {mode}\n\tchecksum {checksum}\n\tcompression {compression}");
            let mut pair = Pair::new(&options(&lines));
            let config = match version {
                1 => Config::version1(RESOURCE),
                _ => Config::new(RESOURCE),
            };
            let config = Config { checksum: of_peer, compression: of_peer2, ..config };
            let disk = disk();
            let secondary = listen(&pair, config, &disk);
            pair.a.start();
            pair.a.role("primary");
            pair.a.wait_synced();
            let mut image = vec![0; SIZE as usize];
            let mut client = pair.a.client();
            work(&mut client, &mut image, &mut random, 60, true);
            assert_same(&pair.a, &disk, &image);
            let status = secondary.status();
            assert_eq!(status.version, version, "{lines}");
            let writes = || status.requests.iter().filter(|own| own.cmd == cmd::WRITE);
            let memsync = mode == "memsync" && version == 2;
            assert!(writes().all(|own| own.memsync == memsync), "{lines}");
            assert_eq!(writes().any(|own| own.list.has("checksum")), checksum != "none");
            assert_eq!(writes().any(|own| own.list.has("compression")), compression != "none");
            // An outage, and what was written meanwhile.
            let sessions = status.sessions;
            secondary.drop_connection();
            work(&mut client, &mut image, &mut random, 20, true);
            secondary.wait("again", LIMIT, |status| status.sessions > sessions);
            pair.a.wait_synced();
            assert_same(&pair.a, &disk, &image);
            secondary.faults().check("secondary");
        }
    }
}

#[test]
fn as_primary_of_a_peer_that_fails() {
    let mut random = Random::new(2);
    let mut pair = Pair::new(&options("\treplication fullsync"));
    let disk = disk();
    let secondary = listen(&pair, Config::new(RESOURCE), &disk);
    pair.a.start();
    pair.a.role("primary");
    pair.a.wait_synced();
    let mut image = vec![0; SIZE as usize];
    let mut client = pair.a.client();
    work(&mut client, &mut image, &mut random, 40, true);

    // It has no volatile cache, and cannot delete (B5).
    {
        let mut disk = disk.lock().unwrap();
        (disk.flush_error, disk.delete_error) = (Some(errno::EOPNOTSUPP), Some(errno::ENOTTY));
    }
    work(&mut client, &mut image, &mut random, 60, true);
    assert_same(&pair.a, &disk, &image);
    assert!(secondary.status().connected, "{:?}", secondary.status().ends);

    // Its disk does not take every write (H2): what it has not got is copied once it does.
    let mut failing = Random::new(3);
    disk.lock()
        .unwrap()
        .fail(move |access| (access.cmd == cmd::WRITE && failing.one_in(5)).then_some(errno::EIO));
    work(&mut client, &mut image, &mut random, 60, false);
    disk.lock().unwrap().heal();
    secondary.drop_connection();
    client.write(0, &image[..512]).expect("write");
    pair.a.wait_synced();
    assert_same(&pair.a, &disk, &image);

    // It does not answer: nobody waits longer than the timeout, and nothing is lost.
    secondary.judge(|_| Fate::Withhold);
    let begin = Instant::now();
    work(&mut client, &mut image, &mut random, 10, false);
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?} with a timeout of 2 s");
    pair.a.wait_status("connected", "false");
    secondary.judge_no_more();
    secondary.release(Vec::clear);
    pair.a.wait_synced();
    assert_same(&pair.a, &disk, &image);

    // Replies in any order.
    let mut order = Random::new(4);
    secondary.judge(move |_| Fate::Delay(Duration::from_millis(order.below(8))));
    let data = block(&mut random, 4096);
    let cookies: Vec<u64> = (0..64)
        .map(|at| client.send(tests::nbd::command::WRITE, 0, at * 8192, 4096, &data).expect("send"))
        .collect();
    for _ in &cookies {
        assert_eq!(client.reply().expect("a reply").error, 0);
    }
    for at in 0..64 {
        image[at * 8192..][..4096].copy_from_slice(&data);
    }
    secondary.judge_no_more();
    assert_same(&pair.a, &disk, &image);
}

#[test]
fn as_primary_of_a_link_that_is_cut_at_any_byte() {
    let mut random = Random::new(5);
    let mut pair = Pair::new(&options(""));
    let disk = disk();
    let secondary = listen(&pair, Config::new(RESOURCE), &disk);
    pair.a.start();
    pair.a.role("primary");
    pair.a.wait_synced();
    let mut image = vec![0; SIZE as usize];
    let mut client = pair.a.client();
    for round in 0..8 {
        let connection = if random.one_in(2) { Connection::C1 } else { Connection::C2 };
        let direction = match connection {
            Connection::C1 => Direction::Received,
            Connection::C2 => Direction::Sent,
        };
        let ending = if round % 4 == 3 { Ending::Silence } else { Ending::Close };
        let messages = match connection {
            Connection::C1 => 1 + secondary.status().requests.len(),
            Connection::C2 => secondary.status().answered,
        };
        let message = messages + random.below(20) as usize;
        let byte = random.below(700) as usize;
        let before = secondary.status().ends.len();
        secondary.cut(Cut { connection, direction, message, byte, ending });
        let begin = Instant::now();
        while secondary.status().ends.len() == before && begin.elapsed() < LIMIT {
            work(&mut client, &mut image, &mut random, 5, false);
        }
        pair.a.wait_synced();
        assert_same(&pair.a, &disk, &image);
    }
}

/// The other node has gone on alone; what it has is served from there at once, and copied.
#[test]
fn as_primary_that_is_out_of_date() {
    let mut pair = Pair::new(&options(""));
    let disk = disk();
    let secondary = listen(&pair, Config::new(RESOURCE), &disk);
    pair.a.start();
    pair.a.role("primary");
    pair.a.wait_synced();
    let mut image = vec![0; SIZE as usize];
    work(&mut pair.a.client(), &mut image, &mut Random::new(6), 40, true);
    assert_same(&pair.a, &disk, &image);
    pair.a.role("init");
    drop(secondary);
    // Alone, as primary.
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let alone = Primary::start(primary::Config::new(RESOURCE, nobody), disk.clone());
    let mut random = Random::new(7);
    let ours = image.clone();
    for at in (0..SIZE).step_by(1 << 20) {
        let data = block(&mut random, 100 << 10);
        alone.write(at, &data).unwrap();
        image[at as usize..][..data.len()].copy_from_slice(&data);
    }
    drop(alone);
    // Our node hears of that, and is not promoted.
    let secondary = listen(&pair, Config::new(RESOURCE), &disk);
    let refused = pair.a.must_not(5, &["role", "primary", "data"]);
    assert!(refused.contains("newer on the other node"), "{refused}");
    drop(secondary);
    // While nobody hears it can serve; that is to have gone on alone, though nothing is written.
    pair.a.role("primary");
    assert!(pair.a.client().read(0, SIZE as usize).expect("read") == ours);
    let _secondary = listen(&pair, Config::new(RESOURCE), &disk);
    until("they know each other for what they are", LIMIT, || pair.a.log().contains("split brain"));
    // Nothing of either is overwritten until somebody decides.
    assert!(pair.a.client().read(0, SIZE as usize).expect("read") == ours);
    assert!(disk.lock().unwrap().contents() == image);
}

/// A FreeBSD node in `a`'s place, as primary.
fn primary(pair: &Pair, config: primary::Config, disk: &SharedDisk) -> Arc<Primary> {
    let disk = disk.clone();
    pair.a.space.within(move || Arc::new(Primary::start(config, disk)))
}

fn toward(pair: &Pair) -> primary::Config {
    let remote = SocketAddr::new(pair.b.address.parse().unwrap(), PORT);
    primary::Config { timeout: Duration::from_secs(5), ..primary::Config::new(RESOURCE, remote) }
}

fn connect(pair: &Pair, primary: &Arc<Primary>) -> Result<(), primary::ConnectError> {
    let primary = primary.clone();
    pair.a.space.within(move || primary.connect())
}

fn write(primary: &Primary, random: &mut Random, count: usize) {
    for _ in 0..count {
        let most = if random.one_in(8) { 1200 } else { 100 };
        let sectors = 1 + random.below(most);
        let offset = 512 * random.below(SIZE / 512 - sectors);
        let length = sectors * 512;
        match random.below(8) {
            0 => primary.delete(offset, length).unwrap(),
            1 => primary.flush().unwrap(),
            2 if primary.status().connected && primary.status().synced => {
                let piece = length.min(64 << 10);
                let here = primary.read(offset, piece).unwrap();
                assert!(here == primary.read_remote(offset, piece).unwrap(), "{offset} {piece}");
            }
            _ => primary.write(offset, &block(random, length as usize)).unwrap(),
        }
    }
}

/// The peer has synchronised, and hastlite has the same.
fn synced(pair: &Pair, primary: &Primary) {
    primary.wait("synchronised", LIMIT, |status| status.synced && status.outstanding == 0);
    let ours = pair.b.contents();
    let theirs = primary.disk().lock().unwrap().contents();
    assert_eq!(ours.iter().zip(&theirs).position(|(one, other)| one != other), None);
}

#[test]
fn as_secondary_with_every_version_mode_checksum_and_compression() {
    let mut random = Random::new(8);
    let mut round = 0;
    for checksum in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
        for compression in [Compression::None, Compression::Hole, Compression::Lzf] {
            let mut pair = Pair::new(&options("\tchecksum sha256\n\tcompression lzf"));
            pair.b.start();
            pair.b.role("secondary");
            let mode = [Mode::Memsync, Mode::Fullsync, Mode::Async][round * 2 / 3 % 3];
            let version = 1 + round as u8 % 2;
            round += 1;
            let large = round % 2 == 0;
            let config = primary::Config {
                version,
                mode,
                checksum,
                compression,
                maxphys: if large { MAXPHYS_LARGE } else { MAXPHYS_SMALL },
                reference_seq: round % 4 == 1,
                ..toward(&pair)
            };
            let disk = disk();
            let primary = primary(&pair, config, &disk);
            // Some of it before they have met.
            write(&primary, &mut random, 10);
            connect(&pair, &primary).unwrap();
            synced(&pair, &primary);
            write(&primary, &mut random, 60);
            synced(&pair, &primary);
            assert_eq!(primary.status().version, version);
            primary.disconnect();
            write(&primary, &mut random, 20);
            connect(&pair, &primary).unwrap();
            write(&primary, &mut random, 20);
            synced(&pair, &primary);
            primary.faults().check("primary");

            // A FreeBSD node does not say when a resync is complete: that shows when they
            // meet the next time, and until then it takes force to be primary here.
            primary.disconnect();
            let refused = pair.b.must_not(5, &["role", "primary", RESOURCE]);
            assert!(refused.contains("has not been completed"), "{refused}");
            until("a link", LIMIT, || connect(&pair, &primary).is_ok());
            synced(&pair, &primary);
            // The primary is gone: its data is here, and goes on here.
            drop(primary);
            pair.b.role("primary");
            let image = disk.lock().unwrap().contents();
            let mut client = pair.b.client();
            for (at, piece) in image.chunks(1 << 20).enumerate() {
                assert!(client.read((at << 20) as u64, piece.len()).expect("read") == piece);
            }
        }
    }
}

#[test]
fn as_secondary_that_has_gone_on_alone_meanwhile() {
    let mut random = Random::new(9);
    let mut pair = Pair::new(&options(""));
    pair.b.start();
    pair.b.role("secondary");
    let disk = disk();
    let old = primary(&pair, toward(&pair), &disk);
    connect(&pair, &old).unwrap();
    write(&old, &mut random, 20);
    synced(&pair, &old);
    drop(old);
    pair.b.role("primary");
    let mut image = disk.lock().unwrap().contents();
    work(&mut pair.b.client(), &mut image, &mut random, 40, true);
    pair.b.role("secondary");
    // The old primary is told, reads from us, and copies from us.
    let old = primary(&pair, primary::Config { resync: false, ..toward(&pair) }, &disk);
    connect(&pair, &old).unwrap();
    assert_eq!(old.status().syncsrc, 2);
    for (at, piece) in image.chunks(64 << 10).enumerate() {
        let read = old.read(at as u64 * (64 << 10), piece.len() as u64).unwrap();
        assert!(read == piece, "piece {at}");
    }
    drop(old);
    let old = primary(&pair, toward(&pair), &disk);
    connect(&pair, &old).unwrap();
    synced(&pair, &old);
    assert!(disk.lock().unwrap().contents() == image);
    // From then on it is what it was.
    write(&old, &mut random, 20);
    synced(&pair, &old);

    // Both alone: a split brain, in FreeBSD's words.
    drop(old);
    pair.b.role("primary");
    pair.b.client().write(0, &[1; 512]).expect("write");
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let old = Primary::start(primary::Config::new(RESOURCE, nobody), disk.clone());
    old.write(512, &[2; 512]).unwrap();
    drop(old);
    pair.b.role("secondary");
    let old = primary(&pair, toward(&pair), &disk);
    let refused = |outcome| match outcome {
        Err(primary::ConnectError::Refused { errmsg, wait }) => (errmsg, wait),
        other => panic!("{other:?}"),
    };
    let split = ("Split-brain condition!".to_owned(), false);
    assert_eq!(refused(connect(&pair, &old)), split);
    assert_eq!(old.status().events.last(), Some(&"split-brain"));
    // And another resource of the same name.
    let third = primary(&pair, toward(&pair), &self::disk());
    let (errmsg, _) = refused(connect(&pair, &third));
    assert!(errmsg.starts_with("Resource unique ID mismatch (primary="), "{errmsg}");
    pair.b.role("primary");
    let text = "Remote node acts as primary for the resource and not as secondary.";
    // Without `wait`: FreeBSD would connect then, and forget to synchronise (A2).
    assert_eq!(refused(connect(&pair, &old)), (text.to_owned(), false));
}

#[test]
fn as_secondary_of_a_link_that_is_cut_at_any_byte() {
    let mut random = Random::new(10);
    let mut pair = Pair::new(&options("\tcompression none"));
    pair.b.start();
    pair.b.role("secondary");
    let disk = disk();
    let config = primary::Config { timeout: Duration::from_secs(2), ..toward(&pair) };
    let primary = primary(&pair, config, &disk);
    connect(&pair, &primary).unwrap();
    synced(&pair, &primary);
    for _ in 0..60 {
        primary.disconnect();
        let (connection, direction) = match random.below(4) {
            0 => (Connection::C1, Direction::Sent),
            1 => (Connection::C1, Direction::Received),
            2 => (Connection::C2, Direction::Sent),
            _ => (Connection::C2, Direction::Received),
        };
        let message = random.below(5) as usize;
        let most = if random.one_in(2) { 100 } else { 5000 };
        let byte = random.below(most) as usize;
        primary.cut(Cut { connection, direction, message, byte, ending: Ending::Close });
        if connect(&pair, &primary).is_ok() {
            for _ in 0..5 {
                let offset = 512 * random.below(SIZE / 512 - 8);
                let _ = primary.write(offset, &block(&mut random, 4096));
            }
        }
        primary.disconnect();
        until("a link", LIMIT, || connect(&pair, &primary).is_ok());
        synced(&pair, &primary);
    }
    assert!(!pair.b.log().contains("is gone"), "a worker has died");
}
