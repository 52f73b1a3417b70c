//! Copying what differs.

use super::world::*;
use crate::engine::*;
use crate::wire::errno::Errno;
use crate::wire::request::Cmd;

/// Everything here is to be copied, and the link is just up; with a client at work or not.
fn behind(ext: u64, busy: bool) -> World {
    let mut w = World::with(meta(7, 1, 0), vec![0xff; MAP], settings(Replication::Memsync));
    w.peer.meta = meta(7, 0, 0);
    w.peer.ext = ext;
    for (index, byte) in w.disk.now.iter_mut().enumerate() {
        *byte = (index / 512) as u8 + 1;
    }
    if busy {
        w.read(0);
        w.disk_all();
    }
    w.tick();
    while !w.connected {
        w.input_one();
        while w.ios.front().is_some_and(|(_, io)| matches!(io, Io::Map(_) | Io::Meta(_))) {
            w.disk_one(0);
        }
    }
    w
}

#[test]
fn h17_several_pieces_are_under_way_lowest_first() {
    let mut w = behind(0, false);
    assert!(w.ios.len() >= 8, "{}", w.ios.len());
    let Some((_, Io::Read { offset: 0, .. })) = w.ios.front() else { panic!("not the lowest") };
    w.disk_all();
    assert!(w.peer.requests.len() >= 8);
    assert!(w.peer.requests.iter().all(|r| !r.memsync));
    w.settle();
    assert_eq!(w.disk.now, w.peer.disk.now);
    assert!(w.told.contains(&Happening::SyncDone));
}

#[test]
fn h8_a_piece_that_fails_leaves_its_extent_for_later() {
    for here in [false, true] {
        let mut w = behind(0, false);
        if here {
            w.broken = Some((
                |io| matches!(io, Io::Read { offset, .. } if *offset == 4 * EXTENT),
                Errno::EIO,
            ));
        } else {
            w.peer.fail = Some((Cmd::Write, Errno::EIO, 3));
        }
        w.settle();
        let dirty = w.engine.status().dirty;
        assert_eq!(dirty, if here { EXTENT } else { 3 * EXTENT });
        assert!(!w.told.contains(&Happening::SyncDone));
        assert!(w.bit(if here { 4 } else { 0 }));
        w.broken = None;
        w.pass(11_000);
        assert_eq!(w.disk.now, w.peer.disk.now);
        assert!(w.told.contains(&Happening::SyncDone));
    }
}

#[test]
fn the_end_is_told_after_both_have_flushed_and_the_counters_are_on_disk() {
    let mut w = behind(0, false);
    w.settle();
    let at = |what: &str| w.trace.iter().rposition(|t| t == what).unwrap();
    assert!(at("read") < at("flush") && at("send Write") < at("send Flush"));
    assert!(at("flush") < at("meta"));
    assert_eq!(w.disk.stable, w.peer.disk.stable);
    assert_eq!((w.meta.localcnt, w.meta.remotecnt), (0, 0));
}

#[test]
fn an_interruption_is_told_and_the_rest_is_copied_later() {
    let mut w = behind(0, false);
    for _ in 0..8 {
        w.disk_one(0);
        w.peer_one();
        w.reply_one(0);
    }
    assert!(w.engine.status().sync.is_some_and(|s| s.done > 0 && s.done < s.total));
    w.cut();
    assert!(w.told.contains(&Happening::SyncIntr));
    assert!(w.engine.status().dirty > 0);
    w.pass(20_000);
    assert_eq!(w.disk.now, w.peer.disk.now);
}

#[test]
fn clients_are_served_meanwhile_in_their_turn() {
    let mut w = behind(0, true);
    let a = w.write(0, 200);
    assert!(!w.trace.iter().any(|t| t == "write"), "it waits for the piece under way");
    let b = w.write(127, 201);
    assert!(w.trace.iter().any(|t| t == "write"), "nothing is in its way");
    w.settle();
    assert!(w.good(a) && w.good(b));
    assert_eq!(w.disk.now, w.peer.disk.now);
    assert_eq!(w.peer.disk.now[0], 200);
}

#[test]
fn while_clients_are_at_work_few_pieces_are_under_way() {
    let mut w = behind(ext::OURS, true);
    for _ in 0..6 {
        w.read(1);
        w.disk_all();
        let pieces = w.peer.requests.iter().filter(|r| r.cmd == Cmd::Write).count();
        assert!(pieces <= 2, "{pieces}");
        w.peer_one();
        w.peer_one();
        w.reply_one(0);
    }
    assert!(w.engine.status().sync.is_some_and(|s| s.done > 0));
}

#[test]
fn a_flush_during_it_is_remembered_as_ours_alone() {
    let mut w = behind(0, false);
    let f = w.flush();
    w.trace.clear();
    // Neither the answer nor the end of the copying comes before the counter is on disk.
    while !w.good(f) {
        assert_eq!(w.meta.localcnt, 1);
        w.disk_one(0);
        w.peer_one();
        w.reply_one(0);
    }
    assert!(w.meta.localcnt == 2 || w.engine.status().dirty == 0);
    w.settle();
    assert_eq!(w.meta.localcnt, 0);
}

#[test]
fn what_is_fetched_is_served_from_there_until_it_is_here() {
    let mut w = World::with(meta(7, 0, 0), vec![0; MAP], settings(Replication::Async));
    w.peer.meta = meta(7, 1, 0);
    w.peer.map = vec![0xff; MAP];
    w.peer.disk.now.fill(9);
    w.read(0);
    w.disk_all();
    w.tick();
    while !w.connected {
        w.input_one();
        w.disk_all();
    }
    // In any mode a change is answered when the one that counts has it for good.
    let a = w.write(120, 5);
    let r = w.ask(Op::Read, 0, SIZE, false, 0);
    w.disk_all();
    assert!(w.disk.now[120 * 512] == 5 && !w.good(a) && !w.good(r));
    w.settle();
    assert!(w.good(a));
    assert_eq!(w.byte(r), 9);
    w.settle();
    assert_eq!(w.disk.now, w.peer.disk.now);
    assert_eq!(w.disk.now[120 * 512], 5);
    assert_eq!(w.meta.consistency, Consistency::Consistent);
}
