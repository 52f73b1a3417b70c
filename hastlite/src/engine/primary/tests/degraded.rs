//! Alone: what is remembered before anybody is told that it is done.

use super::world::*;
use crate::engine::*;
use crate::wire::errno::Errno;

#[test]
fn h1_writes_without_reply_when_the_link_goes_are_synchronised() {
    for replication in [Replication::Fullsync, Replication::Memsync, Replication::Async] {
        let mut w = World::linked(replication);
        let a = w.write(0, 1);
        let b = w.write(80, 2);
        w.disk_all();
        // One was stored there, its reply is lost; the other never came.
        w.peer_one();
        w.cut();
        w.disk_all();
        assert!(w.good(a) && w.good(b));
        assert_eq!(w.engine.map().to_peer().iter().collect::<Vec<_>>(), [0, 10]);
        w.pass(60_000);
        assert_eq!(w.disk.now, w.peer.disk.now);
    }
}

#[test]
fn h1_writes_that_the_other_node_had_only_in_its_cache_are_synchronised() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.write(0, 1);
    w.settle();
    assert!(w.good(a));
    // Its power fails.
    w.peer.disk.now = w.peer.disk.stable.clone();
    w.cut();
    w.pass(60_000);
    assert_eq!((w.peer.disk.now[0], w.disk.now[0]), (1, 1));
    // After a flush there is nothing to copy.
    let f = w.flush();
    w.settle();
    assert!(w.good(f));
    w.cut();
    assert_eq!(w.engine.status().dirty, 0);
}

#[test]
fn h5_alone_is_on_disk_before_the_answer() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.away = true;
    w.cut();
    let a = w.write(0, 1);
    w.disk_one(0);
    assert_eq!(w.trace, ["map", "write"]);
    w.disk_one(0);
    assert_eq!((w.trace.last().map(String::as_str), w.good(a)), (Some("meta"), false));
    w.disk_one(0);
    assert!(w.good(a) && w.meta.localcnt == 1);
    // Once an outage.
    let b = w.write(1, 1);
    w.disk_one(0);
    assert!(w.good(b) && w.ios.is_empty());
}

#[test]
fn h5_an_answer_that_cannot_be_proven_is_an_error() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.away = true;
    w.cut();
    w.broken = Some((|io| matches!(io, Io::Meta(_)), Errno(libc::ENOSPC)));
    let a = w.write(0, 1);
    w.settle();
    assert_eq!(w.answers[&a].clone().unwrap_err(), Errno(libc::ENOSPC));
    w.broken = None;
    let b = w.write(0, 1);
    w.settle();
    assert!(w.good(b));
    assert_eq!(w.meta.localcnt, 1);
}

#[test]
fn h6_the_first_write_alone_of_a_process_counts_whatever_the_other_one_knew() {
    // A (1, 0) wrote alone once, was synchronised to B (0, 1), and is primary again.
    let mut w = World::with(meta(7, 1, 0), vec![0; MAP], settings(Replication::Memsync));
    w.peer.meta = meta(7, 0, 1);
    w.pass(1_000);
    assert!(w.connected && w.told.len() == 1);
    // A's process starts again, B is away.
    let (stored, map, disk) = (w.meta.clone(), w.map.clone(), w.disk.clone());
    let mut w = World::with(stored, map, settings(Replication::Memsync));
    w.disk = disk;
    w.peer.away = true;
    let a = w.write(0, 1);
    w.pass(1_000);
    assert!(w.good(a));
    assert_eq!(w.meta.localcnt, 2);
    // B was promoted, and wrote: (1, 1). They meet.
    w.peer.meta = meta(7, 1, 1);
    w.peer.away = false;
    w.pass(60_000);
    assert!(w.told.contains(&Happening::SplitBrain) && !w.connected);
}

#[test]
fn h6_every_outage_counts() {
    let mut w = World::linked(Replication::Memsync);
    for count in 1..4 {
        w.peer.away = true;
        w.cut();
        let a = w.write(0, 1);
        w.settle();
        assert!(w.good(a) && w.meta.localcnt == count);
        // The link is up, and gone again before anything has been copied.
        w.peer.away = false;
        while !w.connected {
            if w.inputs.is_empty() && w.ios.is_empty() {
                w.now += 1_000;
                w.tick();
            }
            w.input_one();
            w.disk_all();
        }
    }
    w.pass(1_000);
    assert_eq!((w.meta.localcnt, w.engine.status().dirty), (0, 0));
}

#[test]
fn h22_a_flush_that_the_other_node_cannot_do_ends_the_link_and_then_succeeds() {
    let mut w = World::linked(Replication::Memsync);
    w.write(0, 1);
    w.settle();
    w.peer.fail = Some((crate::wire::request::Cmd::Flush, Errno::EIO, 1));
    w.trace.clear();
    let f = w.flush();
    w.settle();
    assert!(w.good(f) && !w.connected && w.disk.stable[0] == 1);
    assert!(w.engine.status().dirty > 0);
    // That we are ahead was on disk before the answer.
    assert_eq!(w.meta.localcnt, 1);
    let meta = w.trace.iter().position(|t| t == "meta").unwrap();
    assert!(meta < w.trace.iter().position(|t| *t == format!("answer {f}")).unwrap());
    w.pass(30_000);
    assert!(w.connected && w.engine.status().dirty == 0);
}

#[test]
fn h22_a_flush_that_fails_here_fails() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.away = true;
    w.cut();
    w.broken = Some((|io| matches!(io, Io::Flush), Errno::EIO));
    let f = w.flush();
    w.settle();
    assert!(w.failed(f));
}

#[test]
fn b5_a_medium_without_a_cache_to_flush_stays_connected() {
    for errno in [libc::ENOTTY, libc::EOPNOTSUPP] {
        let mut w = World::linked(Replication::Memsync);
        w.write(0, 1);
        w.settle();
        w.peer.fail = Some((crate::wire::request::Cmd::Flush, Errno(errno), 1));
        let f = w.flush();
        w.settle();
        assert!(w.good(f) && w.connected);
        let seen = w.peer.seen.len();
        let f = w.flush();
        w.settle();
        assert!(w.good(f) && w.peer.seen.len() == seen, "not asked again");
        assert_eq!(w.engine.status().counters.remote_errors, 0);
    }
}

#[test]
fn b5_what_cannot_be_deleted_is_sent_as_zeroes() {
    let mut w = World::linked(Replication::Memsync);
    w.ask(Op::Write, 0, 16384, false, 3);
    w.settle();
    w.peer.fail = Some((crate::wire::request::Cmd::Delete, Errno(libc::EOPNOTSUPP), 1));
    for offset in [0, 8192] {
        let t = w.ask(Op::Trim, offset, 8192, false, 0);
        w.settle();
        assert!(w.good(t) && w.connected);
        assert_eq!(w.disk.now, w.peer.disk.now);
    }
    let deletes = w.peer.seen.iter().filter(|r| r.cmd == crate::wire::request::Cmd::Delete);
    assert_eq!(deletes.count(), 1);
}

#[test]
fn no_other_node_at_all() {
    let mut settings = settings(Replication::Fullsync);
    settings.has_remote = false;
    let mut w = World::with(meta(0, 0, 0), vec![0; MAP], settings.clone());
    let a = w.write(0, 1);
    w.pass(60_000);
    assert!(w.good(a) && w.meta.localcnt == 1);
    // One is configured: what was written alone is copied.
    settings.has_remote = true;
    w.on(PrimaryInput::Settings(Box::new(settings)));
    w.pass(1_000);
    assert!(w.connected);
    assert_eq!(w.disk.now, w.peer.disk.now);
}

/// In memory there when it was answered, and the link went before it was stored.
#[test]
fn a_role_that_ends_behind_a_dead_link_says_that_it_may_have_more() {
    for (flushed, ahead) in [(false, 1), (true, 0)] {
        let mut w = World::linked(Replication::Memsync);
        let a = w.write(0, 1);
        w.disk_all();
        w.peer_one();
        w.reply_one(0);
        assert!(w.good(a));
        if flushed {
            w.settle();
            w.flush();
            w.settle();
        }
        // The other node loses its power, and what it had received.
        w.peer.away = true;
        w.cut();
        assert_eq!(w.engine.status().dirty > 0, !flushed);
        w.on(PrimaryInput::Stop);
        w.settle();
        assert!(w.stopped);
        // It would serve without the write, and overwrite it here, if this said nothing.
        assert_eq!((w.meta.localcnt, w.meta.prevrole), (ahead, Role::Primary));
        let other = role::Peer {
            live: true,
            role: Role::Secondary,
            resuid: w.meta.resuid,
            counters: Some((w.meta.localcnt, w.meta.remotecnt)),
            consistency: Some(w.meta.consistency),
            ahead: None,
        };
        let promoted = role::promote(&w.peer.meta, &w.peer.map, Some(&other), false);
        assert_eq!(promoted.is_ok(), flushed);
    }
}

/// As if it had been written after the loss: nobody else has it, and a client relies on it.
#[test]
fn what_was_answered_asynchronously_and_never_received_counts_as_written_alone() {
    for (mode, ahead) in [(Replication::Async, 1), (Replication::Memsync, 0)] {
        let mut w = World::linked(mode);
        w.write(0, 1);
        w.settle();
        w.flush();
        w.settle();
        let a = w.write(0, 2);
        w.disk_all();
        if mode == Replication::Memsync {
            w.peer_one();
            w.reply_one(0);
        }
        assert!(w.good(a));
        w.peer.away = true;
        w.cut();
        w.disk_all();
        assert_eq!(w.meta.localcnt, ahead, "{mode:?}");
    }
}
