//! When a change is answered, and in which order things happen.

use super::world::*;
use crate::engine::*;
use crate::wire::request::{Cmd, Reply};

#[test]
fn a_write_waits_for_its_mark_and_then_goes_to_both_at_once() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.write(3, 1);
    assert_eq!(w.trace, ["map"]);
    w.disk_one(0);
    assert_eq!(w.trace, ["map", "write", "send Write"]);
    w.settle();
    assert!(w.good(a));
    w.trace.clear();
    w.write(4, 2);
    assert_eq!(w.trace, ["write", "send Write"], "the extent is marked already");
    w.settle();
    assert_eq!(w.disk.now, w.peer.disk.now);
}

#[test]
fn fullsync_is_answered_when_both_have_stored_it() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.write(0, 1);
    w.disk_all();
    assert!(!w.good(a));
    w.settle();
    assert!(w.good(a) && w.peer.seen.iter().all(|r| !r.memsync));
}

#[test]
fn memsync_is_answered_when_stored_here_and_received_there() {
    let mut w = World::linked(Replication::Memsync);
    let a = w.write(0, 1);
    w.disk_one(0);
    w.peer_one();
    w.reply_one(0);
    assert!(!w.good(a), "not stored here");
    w.disk_one(0);
    assert!(w.good(a), "the final reply is still on its way");
    // What overlaps waits for that one all the same.
    let b = w.write(0, 2);
    assert!(w.ios.is_empty() && w.peer.requests.is_empty());
    w.settle();
    assert!(w.good(b));
}

#[test]
fn memsync_with_version_1_is_fullsync() {
    let mut w = World::new(Replication::Memsync);
    w.peer.version = 1;
    w.tick();
    w.settle();
    let a = w.write(0, 1);
    w.disk_all();
    assert!(!w.good(a) && !w.peer.requests[0].memsync);
    w.settle();
    assert!(w.good(a));
}

#[test]
fn async_is_answered_when_stored_here() {
    let mut w = World::linked(Replication::Async);
    let a = w.write(0, 1);
    w.disk_all();
    assert!(w.good(a));
}

#[test]
fn overlapping_writes_run_in_one_order_on_both() {
    let mut w = World::linked(Replication::Async);
    let tags: Vec<u64> = (1..10).map(|fill| w.ask(Op::Write, 0, 2048, false, fill)).collect();
    // The disk ends the last first, wherever it may choose.
    while !w.ios.is_empty() || !w.peer.requests.is_empty() || !w.peer.replies.is_empty() {
        w.disk_one(w.ios.len().saturating_sub(1));
        w.peer_one();
        w.reply_one(w.peer.replies.len().saturating_sub(1));
    }
    assert!(tags.iter().all(|&t| w.good(t)));
    assert_eq!((w.disk.now[0], w.peer.disk.now[0]), (9, 9));
}

#[test]
fn h24_every_part_has_a_number_of_its_own_and_none_is_too_long() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.ask(Op::Write, 0, 10 * 4096 + 512, false, 7);
    w.disk_all();
    let mut seqs: Vec<u64> = w.peer.requests.iter().map(|r| r.seq).collect();
    assert_eq!(seqs.len(), 11);
    assert!(w.peer.requests.iter().all(|r| r.length <= 4096));
    seqs.sort_unstable();
    seqs.dedup();
    assert!(seqs.len() == 11 && seqs[0] != 0);
    w.settle();
    assert!(w.good(a));
    assert_eq!(w.peer.disk.now, w.disk.now);
}

#[test]
fn a_peer_of_our_kind_takes_whole_requests() {
    let mut w = World::new(Replication::Fullsync);
    w.peer.ext = ext::OURS;
    w.tick();
    w.settle();
    let sent = w.peer.seen.len();
    w.ask(Op::Write, 0, 10 * 4096, false, 7);
    w.settle();
    assert_eq!(w.peer.seen.len(), sent + 1);
    assert_eq!(w.peer.disk.now, w.disk.now);
}

#[test]
fn fua_is_on_stable_storage_on_both_before_the_answer() {
    let mut w = World::linked(Replication::Async);
    let a = w.ask(Op::Write, 0, 512, true, 5);
    while !w.good(a) {
        assert!(
            !(w.disk.stable[0] == 5
                && w.peer.disk.stable[0] == 5
                && w.ios.is_empty()
                && w.peer.requests.is_empty()
                && w.peer.replies.is_empty()),
            "durable, not answered"
        );
        w.disk_one(0);
        w.peer_one();
        w.reply_one(0);
    }
    assert_eq!((w.disk.stable[0], w.peer.disk.stable[0]), (5, 5));
}

#[test]
fn h21_a_flush_is_a_flush_of_both() {
    let mut w = World::linked(Replication::Memsync);
    w.write(0, 5);
    w.settle();
    assert_eq!((w.disk.stable[0], w.peer.disk.stable[0]), (0, 0));
    let f = w.flush();
    w.disk_all();
    assert!(!w.good(f));
    w.settle();
    assert!(w.good(f));
    assert_eq!((w.disk.stable[0], w.peer.disk.stable[0]), (5, 5));
}

#[test]
fn flushes_that_come_together_share_a_round() {
    let mut w = World::linked(Replication::Memsync);
    let tags: Vec<u64> = (0..10).map(|_| w.flush()).collect();
    w.settle();
    assert!(tags.iter().all(|&t| w.good(t)));
    assert_eq!(w.trace.iter().filter(|t| *t == "flush").count(), 2);
}

#[test]
fn h4_a_trim_is_marked_locked_and_sent_like_a_write() {
    let mut w = World::linked(Replication::Fullsync);
    w.ask(Op::Write, 0, 8192, false, 3);
    w.settle();
    let t = w.ask(Op::Trim, 0, 4096, false, 0);
    let b = w.write(1, 9);
    assert!(!w.peer.requests.iter().any(|r| r.cmd == Cmd::Write), "the write waits for the trim");
    w.settle();
    assert!(w.good(t) && w.good(b));
    assert!(w.peer.seen.iter().any(|r| r.cmd == Cmd::Delete));
    assert_eq!(w.disk.now, w.peer.disk.now);
    // Alone: marked, counted, and synchronised afterwards.
    w.peer.away = true;
    w.cut();
    let t = w.ask(Op::Trim, 4096, 4096, false, 0);
    w.settle();
    assert!(w.good(t) && w.meta.localcnt == 1 && w.engine.status().dirty > 0);
    w.peer.away = false;
    w.pass(60_000);
    assert_eq!(w.disk.now, w.peer.disk.now);
}

#[test]
fn zeroes_are_zeroes_on_both() {
    for ext in [0, ext::OURS] {
        let mut w = World::new(Replication::Fullsync);
        w.peer.ext = ext;
        w.tick();
        w.settle();
        w.ask(Op::Write, 0, 8192, false, 3);
        w.settle();
        let z = w.ask(Op::Zero, 512, 7000 & !511, false, 0);
        w.settle();
        assert!(w.good(z));
        assert_eq!(w.peer.seen.iter().any(|r| r.cmd == Cmd::Delete), ext != 0);
        assert_eq!((w.disk.now[600], w.disk.now[100]), (0, 3));
        assert_eq!(w.disk.now, w.peer.disk.now);
    }
}

#[test]
fn bits_go_after_a_checkpoint_and_some_stay() {
    let mut w = World::linked(Replication::Memsync);
    for extent in 0..8 {
        w.write(extent * 8, 1);
        w.settle();
    }
    assert_eq!(w.engine.map().wanted().count(), 8);
    w.pass(30_000);
    assert_eq!(w.engine.map().wanted().count(), 2, "keepdirty");
    assert_eq!(w.map[0].count_ones(), 2);
    assert_eq!(w.disk.stable, w.peer.disk.stable, "checkpoints flush both");
}

#[test]
fn stop_leaves_a_clean_map_and_the_role() {
    let mut w = World::linked(Replication::Memsync);
    let a = w.write(0, 1);
    w.on(PrimaryInput::Stop);
    let late = w.write(1, 1);
    w.settle();
    assert!(w.good(a) && w.failed(late) && w.stopped && !w.connected);
    assert_eq!((w.map[0], w.meta.prevrole), (0, Role::Primary));
    assert_eq!(w.disk.stable, w.peer.disk.stable);
    assert_eq!(w.engine.next_tick(), None);
}

/// It may not have said yet, on disk, that it is incomplete: then a loss of power there would leave
/// two nodes with equal counters, of which one has never heard of the write.
#[test]
fn what_an_incomplete_node_has_received_is_not_answered_before_it_is_stored() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.away = true;
    w.cut();
    w.write(0, 1);
    w.settle();
    w.peer.away = false;
    while !w.connected {
        w.now += 1_000;
        w.tick();
        while !w.inputs.is_empty() {
            w.input_one();
            w.disk_all();
        }
    }
    assert!(w.engine.map().to_peer().has(0));
    // The piece that is being copied fails, so that the write is the next.
    w.peer.fail = Some((Cmd::Write, crate::wire::errno::Errno::EIO, 1));
    w.disk_all();
    let a = w.write(1, 2);
    w.disk_all();
    w.peer_one();
    w.reply_one(0);
    w.disk_all();
    w.peer_one();
    w.reply_one(0);
    assert!(w.engine.map().to_peer().has(0) && !w.good(a), "received");
    w.reply_one(0);
    assert!(w.good(a), "stored");
    // Where nothing is missing there, as ever.
    let b = w.write(80, 2);
    w.disk_all();
    w.peer_one();
    w.reply_one(0);
    assert!(w.good(b));
}

/// Trims have no data, so that no bytes bound them: a client is answered no faster than the link is
/// once many wait for it.
#[test]
fn asynchronous_trims_do_not_pile_up_without_end() {
    let size = 16 << 20;
    let meta = Metadata { datasize: size, ..meta(7, 0, 0) };
    let mut w = World::with(meta, vec![0; MAP], settings(Replication::Async));
    w.peer.datasize = size;
    w.tick();
    w.settle();
    let asked = 20_000;
    for sector in 0..asked {
        w.ask(Op::Trim, sector * SECTOR, SECTOR, false, 0);
        while let Some((token, _)) = w.ios.pop_front() {
            w.on(PrimaryInput::Done(token, Ok(None)));
        }
    }
    let early = w.answers.len();
    assert!((8_000..9_000).contains(&early), "{early}");
    while let Some(request) = w.peer.requests.pop_front() {
        let reply = Reply { seq: request.seq, received: false, error: None, data: None };
        w.on(PrimaryInput::Reply(reply));
    }
    assert!((1..=asked).all(|tag| w.good(tag)));
}
