//! How a link comes to be, and what it is refused for.

use super::world::*;
use crate::engine::decision::SPLIT_BRAIN;
use crate::engine::*;
use crate::wire::hello::{Refusal, SyncSource};
use crate::wire::request::{Cmd, State};

fn start(meta: Metadata, map: Vec<u8>) -> World {
    World::with(meta, map, settings(Replication::Memsync))
}

#[test]
fn two_virgins_have_the_same() {
    let mut w = start(meta(0, 0, 0), vec![0; MAP]);
    w.tick();
    w.settle();
    assert!(w.connected && w.meta.resuid != 0 && w.meta.resuid == w.peer.meta.resuid);
    assert_eq!((w.engine.status().dirty, w.told.len()), (0, 1));
}

#[test]
fn the_unique_id_is_stored_before_it_is_told() {
    let mut w = start(meta(0, 0, 0), vec![0; MAP]);
    w.tick();
    for _ in 0..3 {
        w.input_one();
    }
    assert_eq!(w.trace, ["meta"]);
    assert!(w.inputs.is_empty(), "the second message waits");
    w.broken = Some((|io| matches!(io, Io::Meta(_)), crate::wire::errno::Errno::EIO));
    w.settle();
    assert!(!w.connected && w.peer.meta.resuid == 0);
    w.broken = None;
    w.pass(20_000);
    assert!(w.connected && w.peer.meta.resuid == w.meta.resuid);
}

#[test]
fn a_used_primary_copies_all_to_a_virgin() {
    let mut w = start(meta(7, 0, 0), vec![0; MAP]);
    w.peer.meta = meta(0, 0, 0);
    w.disk.now.fill(5);
    w.tick();
    // Until the end it counts as out of date.
    while !w.connected {
        w.input_one();
        w.disk_all();
    }
    assert_eq!(w.meta.localcnt, 1);
    assert_eq!(w.engine.status().dirty, SIZE);
    w.pass(1_000);
    assert_eq!(w.disk.now, w.peer.disk.now);
    assert_eq!((w.meta.localcnt, w.engine.status().dirty), (0, 0));
    assert!(w.told.contains(&Happening::SyncStart) && w.told.contains(&Happening::SyncDone));
}

#[test]
fn another_resource_and_another_size_are_refused() {
    let mut w = start(meta(7, 0, 0), vec![0; MAP]);
    w.peer.meta.resuid = 8;
    w.pass(1_000);
    let trouble = w.engine.status().trouble.unwrap();
    assert_eq!(trouble, "Resource unique ID mismatch (primary=7, secondary=8).");
    w.peer.meta.resuid = 7;
    w.peer.datasize += 512;
    w.pass(30_000);
    assert!(w.engine.status().trouble.unwrap().contains("it has 66048 bytes"));
    w.peer.datasize = SIZE;
    w.pass(30_000);
    assert!(w.connected);
}

#[test]
fn a_map_that_is_too_short_is_refused() {
    let mut w = start(meta(7, 0, 0), vec![0; MAP]);
    w.peer.map = vec![0];
    w.pass(1_000);
    assert!(!w.connected);
}

#[test]
fn split_brain_is_told_once_and_the_primary_serves_on() {
    let mut w = start(meta(7, 4, 2), vec![0; MAP]);
    w.peer.meta = meta(7, 3, 3);
    w.pass(60_000);
    let told = w.told.iter().filter(|h| **h == Happening::SplitBrain).count();
    assert_eq!((told, w.connected), (1, false));
    assert_eq!(w.engine.status().trouble.as_deref(), Some(SPLIT_BRAIN));
    let a = w.write(0, 1);
    w.settle();
    assert!(w.good(a));
    // One side is given up by whoever runs it.
    w.peer.meta.consistency = Consistency::Outdated;
    w.pass(30_000);
    assert!(w.connected);
    assert_eq!(w.disk.now, w.peer.disk.now);
}

#[test]
fn a_refusal_is_tried_again_soon_and_a_split_brain_is_not() {
    let pauses = |errmsg: &str, wait| {
        let mut w = start(meta(7, 0, 0), vec![0; MAP]);
        w.peer.refusal = Some(Refusal { errmsg: errmsg.to_owned(), wait });
        [0; 5].map(|_| {
            w.tick();
            w.settle();
            let due = w.engine.next_tick().unwrap();
            let pause = due - w.now;
            w.now = due;
            pause
        })
    };
    assert_eq!(pauses("Remote node acts as primary", true), [1_000; 5]);
    assert_eq!(pauses("Remote node acts as init", false), [2_000, 4_000, 8_000, 10_000, 10_000]);
    assert_eq!(pauses(SPLIT_BRAIN, false), [10_000; 5]);
}

#[test]
fn h15_nothing_is_sent_before_the_merged_map_is_durable() {
    let mut w = start(meta(7, 0, 0), vec![0; MAP]);
    w.peer.map[0] = 0b110;
    w.tick();
    while !w.inputs.is_empty() {
        w.input_one();
    }
    assert!(!w.connected && w.peer.requests.is_empty());
    assert_eq!(w.trace.last().map(String::as_str), Some("map"));
    // It cannot be stored: no link.
    w.broken = Some((|io| matches!(io, Io::Map(_)), crate::wire::errno::Errno::EIO));
    w.settle();
    assert!(!w.connected && w.peer.seen.is_empty() && w.peer.map[0] == 0b110);
    w.broken = None;
    w.pass(20_000);
    assert!(w.connected);
    assert_eq!(w.engine.status().dirty, 0);
}

#[test]
fn h19_something_goes_out_every_ten_seconds_whatever_is_waited_for() {
    let mut w = World::linked(Replication::Async);
    let before = w.peer.keepalives;
    w.pass(60_500);
    assert_eq!(w.peer.keepalives - before, 6);
    // A request that is never answered is no sign of life.
    w.write(0, 1);
    w.disk_all();
    w.now += 10_000;
    w.tick();
    assert_eq!(w.peer.requests.back().map(|r| r.cmd), Some(Cmd::Keepalive));
}

#[test]
fn a_peer_that_does_not_answer_is_given_up_in_time() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.write(0, 1);
    w.disk_all();
    assert_eq!(w.engine.next_tick(), Some(w.now + 10_000));
    w.now += 10_000;
    w.tick();
    w.now += 10_000;
    w.tick();
    assert!(!w.connected);
    w.disk_all();
    assert!(w.good(a));
    // Nor does it hang in the middle of a handshake.
    w.peer.away = true;
    w.now += 1_000;
    w.tick();
    w.inputs.clear();
    w.now += 20_000;
    w.tick();
    assert!(w.engine.status().trouble.is_some());
}

#[test]
fn a_primary_that_is_out_of_date_fetches_and_says_so_on_disk_first() {
    let mut map = vec![0; MAP];
    map[0] = 1;
    let mut w = start(meta(7, 1, 0), map);
    w.peer.meta = meta(7, 1, 1);
    w.peer.map[0] = 0b110;
    w.peer.disk.now.fill(7);
    w.tick();
    while !w.connected {
        w.input_one();
        w.disk_all();
    }
    assert_eq!(w.meta.consistency, Consistency::Inconsistent);
    w.peer_one();
    // Reads of what is not here yet are the other node's.
    let r = w.read(9);
    w.settle();
    assert_eq!(w.byte(r), 7);
    w.pass(1_000);
    assert_eq!(w.disk.now[..3 * 4096], w.peer.disk.now[..3 * 4096]);
    assert_eq!(w.disk.now[3 * 4096], 0);
    assert_eq!((w.meta.localcnt, w.meta.remotecnt), (1, 1));
    assert_eq!(w.meta.consistency, Consistency::Consistent);
    assert_eq!(w.engine.status().dirty, 0);
}

#[test]
fn h7_a_peer_of_our_kind_is_told_how_its_data_stands() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.ext = ext::OURS;
    w.peer.away = true;
    w.cut();
    w.write(0, 1);
    w.settle();
    w.peer.away = false;
    w.peer.seen.clear();
    while !w.connected {
        if w.inputs.is_empty() && w.ios.is_empty() {
            w.now += 1_000;
            w.tick();
        }
        w.input_one();
        w.disk_all();
    }
    assert_eq!(w.peer.requests[0].state, Some(State::Inconsistent), "before all else");
    w.pass(2_000);
    assert_eq!(w.peer.state, Some(State::Consistent));
}

#[test]
fn h7_a_source_with_marks_of_its_own_is_told_that_it_is_no_target() {
    let mut m = meta(7, 0, 0);
    m.consistency = Consistency::Inconsistent;
    let mut w = start(m, vec![0; MAP]);
    w.peer.ext = ext::OURS;
    w.peer.map[0] = 0b110;
    w.tick();
    while !w.connected {
        w.input_one();
        w.disk_all();
    }
    assert_eq!(w.peer.requests[0].state, Some(State::Consistent), "before all else");
}

#[test]
fn h7_an_incomplete_primary_never_copies_to_the_other() {
    let mut m = meta(7, 0, 0);
    m.consistency = Consistency::Inconsistent;
    let mut map = vec![0; MAP];
    map[0] = 1;
    let mut w = start(m, map);
    w.disk.now.fill(1);
    w.peer.disk.now.fill(2);
    w.pass(2_000);
    // The counters are equal: the other node has what counts.
    assert!(w.connected);
    assert_eq!((w.disk.now[0], w.peer.disk.now[0]), (2, 2));
    assert_eq!(w.meta.consistency, Consistency::Consistent);
    let mut m = meta(7, 1, 0);
    m.consistency = Consistency::Inconsistent;
    let mut w = start(m, vec![0xff; MAP]);
    w.peer.meta = meta(7, 0, 0);
    w.pass(30_000);
    assert!(!w.connected, "{:?}", w.engine.status());
    assert!(!w.peer.seen.iter().any(|r| r.cmd == Cmd::Write));
    assert_eq!(w.engine.map().next_sync(0), Some((0, SyncSource::Secondary)));
}
