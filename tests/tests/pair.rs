//! The pair as people use it: set up, failed over, brought back, and what is refused on the way.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::time::{Duration, Instant};
use tests::daemon::LIMIT;
use tests::pair::{Node, Options, Pair, field, number};
use tests::process;
use tests::random::Random;

/// Bytes that do not repeat.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length.div_ceil(8)).flat_map(|_| random.number().to_ne_bytes()).take(length).collect()
}

/// Writes `count` pieces of 64 KiB somewhere, remembers what is there.
fn write_some(node: &Node, image: &mut [u8], seed: u64, count: u64) {
    let mut random = Random::new(seed);
    let mut client = node.client();
    for number in 0..count {
        let piece = pattern(seed + number, 64 << 10);
        let at = 4096 * random.below((image.len() - piece.len()) as u64 / 4096) as usize;
        client.write(at as u64, &piece).expect("write");
        image[at..at + piece.len()].copy_from_slice(&piece);
    }
    client.flush().expect("flush");
}

fn assert_reads(node: &Node, image: &[u8]) {
    let mut client = node.client();
    assert_eq!(client.size, image.len() as u64);
    for (at, want) in image.chunks(1 << 20).enumerate() {
        let read = client.read((at << 20) as u64, want.len()).expect("read");
        assert!(read == want, "{}: MiB {at} is not what was written", node.name);
    }
}

#[test]
fn the_test_plan_then_failover_and_back_again() {
    let options = Options::default();
    let mut pair = Pair::new(&options);
    // 1: hastlite on both. 2: one is secondary. 3: the other is primary.
    pair.a.start();
    pair.b.start();
    pair.b.role("secondary");
    assert!(!pair.a.socket().exists());
    let begin = Instant::now();
    pair.a.role("primary");
    // 4: the export is there. 5: whoever looks at it is not blocked.
    assert!(pair.a.socket().exists() && !pair.b.socket().exists());
    let mut client = pair.a.client();
    assert_eq!(client.size, options.size);
    assert_eq!(client.read(0, 4096).expect("read"), [0; 4096]);
    client.write(0, &[0; 4096]).expect("write");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    // 7: connected and synchronized.
    pair.a.wait_synced();
    let status = pair.a.must(&["status", "data"]);
    assert!(status.contains("data\tcomplete") && status.contains("primary"), "{status}");
    let status = pair.b.must(&["status", "data"]);
    assert!(status.contains("data\tcomplete") && status.contains("secondary"), "{status}");
    // 6: a header came whenever one was to come.
    for wrong in ["header", "in time", "WARN", "ERROR"] {
        assert!(!pair.b.log().contains(wrong), "{wrong:?} in the secondary's log");
    }

    let mut image = vec![0; options.size as usize];
    write_some(&pair.a, &mut image, 1, 40);
    pair.assert_same();
    pair.a.kill();
    pair.b.role("primary");
    assert_reads(&pair.b, &image);
    write_some(&pair.b, &mut image, 2, 20);

    // The old primary comes back, as secondary.
    pair.a.start();
    pair.a.role("secondary");
    pair.b.wait_synced();
    assert_reads(&pair.b, &image);
    pair.assert_same();
    assert_eq!(pair.a.contents(), image);
    // And once more, in order: nobody is killed.
    pair.b.role("secondary");
    pair.a.role("primary");
    pair.a.wait_synced();
    write_some(&pair.a, &mut image, 3, 5);
    pair.assert_same();
    assert_eq!(pair.b.contents(), image);
    for node in [&mut pair.a, &mut pair.b] {
        assert!(node.terminate().success());
    }
}

#[test]
fn a_resynchronisation_is_interrupted_and_goes_on() {
    let options = Options { size: 64 << 20, ..Options::default() };
    let mut pair = Pair::running(&options);
    pair.b.kill();
    let mut image = vec![0; options.size as usize];
    write_some(&pair.a, &mut image, 1, 1);
    // All of it, while the other node is away.
    let mut client = pair.a.client();
    for at in (0..options.size).step_by(1 << 20) {
        let piece = pattern(at, 1 << 20);
        client.write(at, &piece).expect("write");
        image[at as usize..][..piece.len()].copy_from_slice(&piece);
    }
    client.flush().expect("flush");
    let dirty = pair.a.count("dirty").expect("what is to be synchronized");
    assert_eq!(dirty, options.size);
    pair.b.start();
    pair.b.role("secondary");
    process::until("a part of the resync", LIMIT, || {
        pair.a.count("dirty").is_some_and(|left| left < dirty)
    });
    pair.b.kill();
    let left = pair.a.count("dirty").expect("what is to be synchronized");
    // The copy that is not whole is not promoted, in numbers.
    pair.b.start();
    let failed = pair.b.must_not(5, &["role", "primary", "data"]);
    if left > 0 {
        assert!(failed.contains("bytes") || failed.contains("alive"), "{failed}");
    }
    pair.b.role("secondary");
    pair.a.wait_synced();
    assert_reads(&pair.a, &image);
    pair.assert_same();
}

/// Section 7's table, as far as two nodes that live can come to it: who has gone on alone.
#[test]
fn who_has_gone_on_alone_is_known_when_they_meet() {
    let options = Options::default();
    let mut image = vec![0; options.size as usize];

    // The primary has: regular, from it.
    let mut pair = Pair::running(&options);
    pair.b.kill();
    write_some(&pair.a, &mut image, 1, 5);
    pair.b.start();
    pair.b.role("secondary");
    pair.a.wait_synced();
    pair.assert_same();
    let log = pair.a.log();
    assert!(log.contains("resynchronisation is complete"), "no resync");

    // The secondary has, as primary: the one that was primary is refused now, in numbers.
    pair.a.kill();
    pair.b.role("primary");
    write_some(&pair.b, &mut image, 2, 5);
    pair.b.role("secondary");
    pair.a.start();
    let refused = pair.a.must_not(5, &["role", "primary", "data"]);
    let bytes: u64 = refused
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no number in {refused:?}"));
    assert!((320 << 10..=16 << 20).contains(&bytes), "{refused}");
    assert!(refused.contains("newer on the other node"), "{refused}");
    // While the other one is not there, nobody can know.
    assert_eq!(field(&pair.a.status(), "role"), Some("init"));
    // The way to go: the other one serves, this one follows.
    pair.b.role("primary");
    pair.a.role("secondary");
    pair.b.wait_synced();
    assert_reads(&pair.b, &image);
    pair.assert_same();

    // In sync, and the roles change.
    pair.b.role("secondary");
    pair.a.role("primary");
    pair.a.wait_synced();
    assert_reads(&pair.a, &image);
    pair.assert_same();
}

#[test]
fn force_throws_away_what_was_said_and_the_other_one_follows() {
    let options = Options::default();
    let mut pair = Pair::running(&options);
    let mut image = vec![0; options.size as usize];
    write_some(&pair.a, &mut image, 1, 5);
    pair.a.kill();
    pair.b.role("primary");
    let mut lost = image.clone();
    write_some(&pair.b, &mut lost, 2, 5);
    pair.b.role("secondary");
    pair.a.start();
    pair.a.must_not(5, &["role", "primary", "data"]);
    pair.a.must(&["role", "--force", "primary", "data"]);
    assert_reads(&pair.a, &image);
    write_some(&pair.a, &mut image, 3, 5);
    // Both have gone on alone now: a split brain, which says so on both.
    pair.a.wait_for("split brain");
    pair.b.wait_for("split brain");
    pair.b.must_not(5, &["role", "primary", "data"]);
    let refused = pair.b.must_not(2, &["discard", "data"]);
    assert!(refused.contains("set it to init first"), "{refused}");
    pair.b.role("init");
    pair.b.must(&["discard", "data"]);
    assert_eq!(field(&pair.b.status(), "role"), Some("init"));
    let refused = pair.b.must_not(5, &["role", "primary", "data"]);
    assert!(refused.contains("other node"), "{refused}");
    pair.b.role("secondary");
    pair.a.wait_synced();
    assert_reads(&pair.a, &image);
    pair.assert_same();
}

/// Both are cut off and written on; then one side is given up, without making it anew.
fn a_split_brain_is_healed(keep_a: bool) {
    let options = Options::default();
    let pair = Pair::running(&options);
    let mut of_a = vec![0; options.size as usize];
    write_some(&pair.a, &mut of_a, 1, 5);
    let mut of_b = of_a.clone();
    pair.a.cut();
    // Nobody hears the other one: the administrator must know what he does.
    pair.b.role("primary");
    write_some(&pair.a, &mut of_a, 2, 5);
    write_some(&pair.b, &mut of_b, 3, 7);
    pair.a.heal();
    let (kept, given, image) =
        if keep_a { (&pair.a, &pair.b, &of_a) } else { (&pair.b, &pair.a, &of_b) };
    // Two primaries never talk; and there is no other promotion while one of them lives.
    assert_reads(kept, image);
    given.role("init");
    let refused = given.must_not(5, &["role", "primary", "data"]);
    assert!(refused.contains("primary, and alive"), "{refused}");
    given.role("secondary");
    for node in [kept, given] {
        process::until("a split brain", LIMIT, || node.log().contains("split brain"));
    }
    kept.must_not(2, &["discard", "data"]);
    given.role("init");
    given.must(&["discard", "data"]);
    given.role("secondary");
    kept.wait_synced();
    assert_reads(kept, image);
    pair.assert_same();
    // And all is well from then on.
    kept.role("secondary");
    given.role("primary");
    given.wait_synced();
    assert_reads(given, image);
}

#[test]
fn a_split_brain_is_healed_by_discarding_the_new_primary() {
    a_split_brain_is_healed(true);
}

#[test]
fn a_split_brain_is_healed_by_discarding_the_old_primary() {
    a_split_brain_is_healed(false);
}

#[test]
fn two_primaries_are_refused() {
    let options = Options::default();
    let pair = Pair::running(&options);
    let refused = pair.b.must_not(5, &["role", "primary", "data"]);
    assert!(refused.contains("alive"), "{refused}");
    let status = pair.b.status();
    assert_eq!(number(&status, "error"), Some(0), "{status}");
    // What was refused has done no harm: it is what it was.
    assert_eq!(field(&status, "role"), Some("secondary"), "{status}");
    let mut image = vec![0; options.size as usize];
    write_some(&pair.a, &mut image, 1, 5);
    pair.a.wait_synced();
    pair.assert_same();
}
