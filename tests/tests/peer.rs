//! The test peer's two roles against each other: what a test of hastlite will rely on.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::peer::data::{Checksum, Compression};
use tests::peer::disk::first_difference;
use tests::peer::pair::{EXTENT, SIZE, SOON, config, disk, listen, pair, same, synced};
use tests::peer::primary::{Config as PrimaryConfig, ConnectError};
use tests::peer::secondary::{Config, Fate, Refusal};
use tests::peer::{Connection, Cut, Direction, Ending, Mode, Primary, Role, cmd, errno};
use tests::random::Random;

fn block(random: &mut Random, length: usize) -> Vec<u8> {
    match random.below(3) {
        0 => vec![0; length],
        1 => vec![random.number() as u8; length],
        _ => (0..length).map(|_| random.number() as u8).collect(),
    }
}

fn work(primary: &Primary, random: &mut Random, count: usize) {
    for _ in 0..count {
        let sectors = 1 + random.below(100);
        let offset = 512 * random.below(SIZE / 512 - sectors);
        match random.below(8) {
            0 => primary.delete(offset, sectors * 512).unwrap(),
            1 => primary.flush().unwrap(),
            2 => {
                let here = primary.read(offset, sectors * 512).unwrap();
                let there = primary.read_remote(offset, sectors * 512).unwrap();
                // While it is being synchronised the secondary may have something older.
                assert!(here == there || !primary.status().synced, "{offset} {sectors}");
            }
            _ => primary.write(offset, &block(random, sectors as usize * 512)).unwrap(),
        }
    }
}

#[test]
fn every_mode_checksum_and_compression() {
    let mut random = Random::new(1);
    for mode in [Mode::Fullsync, Mode::Memsync, Mode::Async] {
        for checksum in [Checksum::None, Checksum::Crc32, Checksum::Sha256] {
            for compression in [Compression::None, Compression::Hole, Compression::Lzf] {
                let (primary, secondary) = pair(|of_secondary, of_primary| {
                    (of_primary.mode, of_primary.checksum) = (mode, checksum);
                    of_primary.compression = compression;
                    (of_secondary.checksum, of_secondary.compression) = (checksum, compression);
                });
                work(&primary, &mut random, 60);
                same(&primary, &secondary);
                let writes: Vec<_> = secondary
                    .status()
                    .requests
                    .into_iter()
                    .filter(|own| own.cmd == cmd::WRITE)
                    .collect();
                assert!(writes.iter().all(|own| own.memsync == (mode == Mode::Memsync)));
                let first = |name| writes.iter().any(|own| own.list.has(name));
                assert_eq!(first("checksum"), checksum != Checksum::None);
                assert_eq!(first("compression"), compression != Compression::None);
            }
        }
    }
}

#[test]
fn a_memsync_write_has_two_replies_and_the_first_is_enough() {
    let (primary, secondary) = pair(|_, _| {});
    secondary.judge(|answer| if answer.last { Fate::Withhold } else { Fate::Send });
    primary.write(0, &[1; 512]).unwrap();
    let before = primary.status().replies;
    secondary.wait("the last withheld", SOON, |status| status.withheld == 1);
    assert_eq!(primary.status().outstanding, 1);
    secondary.release(|_| {});
    primary.wait("both replies", SOON, |status| status.replies == before + 1);
    same(&primary, &secondary);

    let (primary, secondary) = pair(|_, of_primary| of_primary.mode = Mode::Fullsync);
    secondary.judge(|_| Fate::Withhold);
    let ticket = primary.start_write(0, &[1; 512]);
    secondary.wait("withheld", SOON, |status| status.withheld == 1);
    assert!(!ticket.is_answered());
    secondary.release(|_| {});
    ticket.wait().unwrap();

    let (primary, secondary) = pair(|_, of_primary| of_primary.mode = Mode::Async);
    secondary.judge(|_| Fate::Withhold);
    primary.write(0, &[1; 512]).unwrap();
    secondary.wait("withheld", SOON, |status| status.withheld == 1);
    secondary.release(|_| {});
    same(&primary, &secondary);
}

#[test]
fn replies_in_any_order_and_late() {
    let (primary, secondary) = pair(|_, of_primary| of_primary.mode = Mode::Fullsync);
    secondary.judge(|_| Fate::Withhold);
    let tickets: Vec<_> =
        (0..8).map(|i| primary.start_write(i * 512, &[i as u8 + 1; 512])).collect();
    secondary.wait("all withheld", SOON, |status| status.withheld == 8);
    secondary.release(|withheld| withheld.reverse());
    tickets.iter().for_each(|ticket| ticket.wait().unwrap());
    secondary.judge(|answer| match answer.offset {
        0 => Fate::Delay(Duration::from_millis(100)),
        _ => Fate::Send,
    });
    let late = primary.start_write(0, &[9; 512]);
    primary.write(512, &[9; 512]).unwrap();
    assert!(!late.is_answered());
    late.wait().unwrap();
    same(&primary, &secondary);
}

#[test]
fn versions_of_both_sides() {
    for (theirs, ours, names) in [(1, 2, false), (2, 1, true), (1, 1, false), (1, 2, true)] {
        let (primary, secondary) = pair(|of_secondary, of_primary| {
            if theirs == 1 {
                *of_secondary = Config::version1("data");
            }
            of_secondary.names_version = names;
            of_primary.version = ours;
        });
        work(&primary, &mut Random::new(2), 100);
        same(&primary, &secondary);
        let status = secondary.status();
        assert_eq!((status.version, primary.status().version), (1, 1));
        assert!(status.requests.iter().all(|request| !request.memsync));
        // And once more, with what was negotiated in the first byte.
        primary.connect().unwrap();
        primary.write(0, &[1; 512]).unwrap();
        same(&primary, &secondary);
    }
}

#[test]
fn refusals_word_for_word() {
    let refused = |primary: &Primary| match primary.connect() {
        Err(ConnectError::Refused { errmsg, wait }) => (errmsg, wait),
        other => panic!("{other:?}"),
    };
    let secondary = listen(Config::new("data"), &disk());
    let primary = Primary::start(config(&secondary), disk());
    let other = Primary::start(
        PrimaryConfig { resource: "data2".to_string(), ..config(&secondary) },
        disk(),
    );
    assert_eq!(refused(&other), ("Resource not configured.".to_string(), false));
    for (role, wait) in [(Role::Init, false), (Role::Primary, true)] {
        secondary.set_role(role);
        let text =
            format!("Remote node acts as {} for the resource and not as secondary.", role.name());
        assert_eq!(refused(&primary), (text, wait));
    }
    secondary.set_role(Role::Secondary);
    for late in [false, true] {
        secondary.refuse(Some(Refusal { errmsg: "No.".to_string(), wait: false, late }));
        assert_eq!(refused(&primary), ("No.".to_string(), false));
    }
    secondary.refuse(None);
    primary.connect().unwrap();
    synced(&primary);
    // A third, with another number.
    let third = Primary::start(config(&secondary), disk());
    let (errmsg, _) = refused(&third);
    assert!(errmsg.starts_with("Resource unique ID mismatch (primary="), "{errmsg}");
    primary.wait("its end: a new C1 replaces the old", SOON, |status| {
        !status.connected || status.outstanding == 0
    });
    // Nobody's remote, and another resource's.
    let somebody = "127.0.0.2".parse().unwrap();
    let (mut strange, mut theirs) = (Config::new("data"), Config::new("data"));
    strange.remote = Some(somebody);
    theirs.remote = Some(somebody);
    theirs.others = vec!["127.0.0.1".parse().unwrap()];
    let strange = listen(strange, &disk());
    let primary = Primary::start(config(&strange), disk());
    assert!(matches!(primary.connect(), Err(ConnectError::Broken(_))));
    let theirs = listen(theirs, &disk());
    let primary = Primary::start(config(&theirs), disk());
    assert_eq!(refused(&primary).0, "No access to the resource.");
}

#[test]
fn an_outage_then_the_other_way_then_split_brain() {
    let (a, b) = (disk(), disk());
    let secondary = listen(Config::new("data"), &b);
    let primary = Primary::start(config(&secondary), a.clone());
    primary.write(0, &[1; 4096]).unwrap();
    primary.connect().unwrap();
    assert_eq!(secondary.status().syncsrc, 1);
    synced(&primary);
    same(&primary, &secondary);
    primary.disconnect();
    primary.write(3 * u64::from(EXTENT), &[2; 4096]).unwrap();
    primary.delete(0, 512).unwrap();
    assert!(first_difference(&a, &b).is_some());
    primary.connect().unwrap();
    synced(&primary);
    same(&primary, &secondary);
    let status = primary.status();
    assert_eq!(status.events[status.events.len() - 3..], ["connect", "syncstart", "syncdone"]);

    // b is promoted and writes alone; a comes back as its secondary, and is out of date.
    drop(primary);
    drop(secondary);
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let promoted = Primary::start(PrimaryConfig::new("data", nobody), b.clone());
    promoted.write(512, &[3; 512]).unwrap();
    drop(promoted);
    let secondary = listen(Config::new("data"), &a);
    let primary = Primary::start(config(&secondary), b.clone());
    primary.connect().unwrap();
    synced(&primary);
    same(&primary, &secondary);
    primary.disconnect();
    primary.write(512, &[4; 512]).unwrap();
    drop(primary);
    drop(secondary);

    // b has what a has not. a as primary must take it from there, and read there until then.
    let secondary = listen(Config::new("data"), &b);
    let config = PrimaryConfig { resync: false, ..config(&secondary) };
    let primary = Primary::start(config.clone(), a.clone());
    primary.connect().unwrap();
    assert_eq!((primary.status().syncsrc, primary.read(512, 512)), (2, Ok(vec![4; 512])));
    drop(primary);
    let primary = Primary::start(PrimaryConfig { resync: true, ..config }, a.clone());
    primary.connect().unwrap();
    synced(&primary);
    same(&primary, &secondary);
    drop(primary);
    drop(secondary);

    // Both write alone.
    for own in [&a, &b] {
        let alone = Primary::start(PrimaryConfig::new("data", nobody), own.clone());
        alone.write(0, &[5; 512]).unwrap();
    }
    let secondary = listen(Config::new("data"), &b);
    let primary = Primary::start(self::config(&secondary), a);
    let refused = primary.connect().unwrap_err();
    let errmsg = "Split-brain condition!".to_string();
    assert_eq!(refused, ConnectError::Refused { errmsg, wait: false });
    assert_eq!(primary.status().events, ["split-brain"]);
}

/// Every byte of every kind of message, on both connections and both ways.
#[test]
fn cut_at_every_byte_then_equal_again() {
    let (primary, secondary) = pair(|_, of_primary| {
        of_primary.mode = Mode::Fullsync;
        of_primary.timeout = Duration::from_millis(500);
    });
    let mut random = Random::new(3);
    let mut fill = 0;
    let mut round = |by_primary: bool, cut: Cut| {
        fill += 1;
        primary.disconnect();
        secondary.wait("nobody", SOON, |status| !status.connected);
        match by_primary {
            true => primary.cut(cut),
            false => secondary.cut(cut),
        }
        if primary.connect().is_ok() {
            let offset = 512 * random.below(SIZE / 512);
            // The map was clean: no resync, so that these are the first requests.
            let _ = primary.write(offset, &[fill as u8; 512]);
            let _ = primary.write(offset ^ 512, &[fill as u8; 512]);
        }
        primary.wait("the cut", SOON, |status| !status.connected);
        // The time-out is short for this machine: once more, if it was too short.
        let deadline = Instant::now() + SOON;
        while primary.connect().is_err() {
            assert!(Instant::now() < deadline, "{:?}", primary.status());
        }
        synced(&primary);
        same(&primary, &secondary);
    };
    use {Connection::*, Direction::*};
    for by_primary in [true, false] {
        // Lengths: somewhat more than each message has.
        for (connection, direction, message, length) in [
            (C1, Sent, 0, 60),
            (C1, Received, 0, 60),
            (C2, if by_primary { Sent } else { Received }, 0, 150),
            (C1, if by_primary { Sent } else { Received }, 1, 660),
            (C2, if by_primary { Received } else { Sent }, 0, 30),
        ] {
            // A C2 that comes to nothing is not told of on C1: the primary waits for the time-out.
            let step = if !by_primary && (connection, message) == (C2, 0) { 17 } else { 1 };
            let mut byte = 0;
            while byte < length {
                let ending = Ending::Close;
                round(by_primary, Cut { connection, direction, message, byte, ending });
                byte += if byte > 150 { 31 } else { step };
            }
        }
    }
}

#[test]
fn what_the_reference_forgets_and_this_primary_does_not() {
    for reference in [false, true] {
        let (primary, secondary) = pair(|_, of_primary| {
            (of_primary.mode, of_primary.reference) = (Mode::Async, reference);
        });
        // H1: sent, and lost with the link.
        secondary.cut(Cut {
            connection: Connection::C1,
            direction: Direction::Received,
            message: 1 + secondary.status().requests.len(),
            byte: 20,
            ending: Ending::Close,
        });
        primary.write(0, &[1; 512]).unwrap();
        primary.wait("the cut", SOON, |status| !status.connected);
        primary.connect().unwrap();
        synced(&primary);
        assert_eq!(first_difference(primary.disk(), secondary.disk()).is_some(), reference, "H1");
        // H2: answered with an error.
        secondary
            .disk()
            .lock()
            .unwrap()
            .fail(|access| (access.cmd == cmd::WRITE).then_some(errno::EIO));
        primary.write(0, &[2; 512]).unwrap();
        primary.wait("answered", SOON, |status| status.outstanding == 0);
        assert_eq!(primary.status().dirty, usize::from(!reference), "H2");
        secondary.disk().lock().unwrap().heal();
        primary.connect().unwrap();
        synced(&primary);
        assert_eq!(first_difference(primary.disk(), secondary.disk()).is_some(), reference, "H2");
    }
}

#[test]
fn a_cut_inside_data_writes_what_was_there_before() {
    let (primary, secondary) = pair(|_, _| {});
    primary.write(0, &[1; 1024]).unwrap();
    same(&primary, &secondary);
    let list_and_half = 5 + 132 + 512;
    secondary.cut(Cut {
        connection: Connection::C1,
        direction: Direction::Received,
        message: 1 + secondary.status().requests.len(),
        byte: list_and_half,
        ending: Ending::Close,
    });
    let _ = primary.write(0, &[2; 1024]);
    secondary.wait("the end", SOON, |status| !status.connected);
    let there = secondary.disk().lock().unwrap().read(0, 1024).unwrap();
    assert_eq!(there, [[2; 512], [1; 512]].concat());
    assert!(secondary.status().requests.last().unwrap().stale);
}

#[test]
fn a_link_without_requests_is_kept_alive_and_a_silent_one_is_not() {
    for keepalive in [30, 10_000] {
        let (primary, secondary) = pair(|of_secondary, of_primary| {
            of_secondary.idle = Duration::from_millis(600);
            of_primary.keepalive = Duration::from_millis(keepalive);
        });
        if keepalive == 30 {
            secondary.wait("many keepalives", SOON, |status| status.keepalives > 40);
            assert!(secondary.status().connected, "{:?}", secondary.status().ends);
        } else {
            let status = secondary.wait("the end", SOON, |status| !status.connected);
            assert!(status.ends[0].contains("waited too long"), "{:?}", status.ends);
        }
        drop(primary);
    }
}

#[test]
fn it_connects_again_by_itself() {
    let (primary, secondary) =
        pair(|_, of_primary| of_primary.reconnect = Some(Duration::from_millis(20)));
    secondary.drop_connection();
    // Nothing is read while nothing is outstanding: it shows at the next request.
    let _ = primary.write(0, &[1; 512]);
    primary.wait("a second session", SOON, |status| status.sessions == 2 && status.synced);
    same(&primary, &secondary);
}

#[test]
fn the_numbers_of_freebsd_share_1() {
    let (primary, secondary) = pair(|_, of_primary| of_primary.reference_seq = true);
    primary.disconnect();
    for extent in 0..10 {
        primary.write(extent * u64::from(EXTENT), &[extent as u8 + 1; 512]).unwrap();
    }
    primary.connect().unwrap();
    synced(&primary);
    same(&primary, &secondary);
    assert!(secondary.status().requests.iter().any(|own| own.seq == 1));
    secondary.faults().take();
}

#[test]
fn clients_write_while_the_resync_runs() {
    let (primary, secondary) = pair(|_, of_primary| of_primary.maxphys = 4096);
    let mut random = Random::new(4);
    for _ in 0..5 {
        primary.disconnect();
        work_alone(&primary, &mut random);
        primary.connect().unwrap();
        work(&primary, &mut random, 50);
        synced(&primary);
        same(&primary, &secondary);
    }
}

fn work_alone(primary: &Primary, random: &mut Random) {
    for extent in 0..10 {
        let data = block(random, 8192);
        primary.write(extent * u64::from(EXTENT) + 512, &data).unwrap();
    }
}

#[test]
fn the_first_valid_request_clears_the_map_and_nothing_before_it_does() {
    let (primary, secondary) = pair(|_, of_primary| {
        of_primary.resync = false;
        of_primary.keepalive = Duration::from_millis(20);
    });
    let (map, stored) = (|| secondary.disk().lock().unwrap().map(), vec![1; 512]);
    secondary.disk().lock().unwrap().store_map(&stored);
    primary.connect().unwrap();
    assert_eq!(primary.status().dirty, 2, "bits 0 and 8 of eleven");
    secondary.wait("a keepalive", SOON, |status| status.keepalives > 0);
    assert_eq!(primary.read_remote(0, 511), Err(errno::EINVAL));
    assert_eq!(map(), stored);
    primary.read_remote(0, 512).unwrap();
    assert_eq!(map(), vec![0; 512]);
}

#[test]
fn a_client_and_the_resync_wait_for_each_other() {
    let extent = u64::from(EXTENT);
    let (primary, secondary) = pair(|_, of_primary| of_primary.timeout = SOON);
    primary.disconnect();
    for at in [0, extent] {
        primary.write(at, &[1; 512]).unwrap();
    }
    secondary.judge(|answer| if answer.last { Fate::Withhold } else { Fate::Send });
    primary.connect().unwrap();
    let of_resync = |at: u64| {
        let requests = secondary.status().requests;
        requests.iter().any(|own| own.cmd == cmd::WRITE && !own.memsync && own.offset == at)
    };
    // The first chunk is in flight, and so is a client's write to what will be the second.
    secondary.wait("the first chunk", SOON, |status| status.withheld == 1);
    assert!(of_resync(0));
    primary.write(extent, &[2; 512]).unwrap();
    secondary.wait("both", SOON, |status| status.withheld == 2);
    std::thread::scope(|scope| {
        let (told, tells) = std::sync::mpsc::channel();
        let primary = &primary;
        scope.spawn(move || {
            primary.write(512, &[3; 512]).unwrap();
            told.send(()).unwrap();
        });
        let waits = tells.recv_timeout(Duration::from_millis(200));
        assert!(waits.is_err(), "a client's write into the chunk that is in flight");
        // The chunk is done; the client's other write is still not, and holds up the next.
        let mut kept = None;
        secondary.release(|withheld| kept = Some(withheld.remove(1)));
        tells.recv_timeout(SOON).unwrap();
        secondary.judge_no_more();
        secondary.release(|_| {});
        let until = Instant::now() + Duration::from_millis(200);
        while Instant::now() < until {
            primary.flush().unwrap();
            assert!(!of_resync(extent), "a chunk over a client's write that is in flight");
        }
        secondary.release(|withheld| withheld.extend(kept));
    });
    synced(&primary);
    same(&primary, &secondary);
}
