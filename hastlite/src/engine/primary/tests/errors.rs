//! Media that fail, here and there.

use super::world::*;
use crate::Data;
use crate::engine::*;
use crate::wire::errno::Errno;
use crate::wire::request::{Cmd, Reply};

fn writes(io: &Io) -> bool {
    matches!(io, Io::Write { .. })
}

fn reads(io: &Io) -> bool {
    matches!(io, Io::Read { .. })
}

#[test]
fn a1_a_write_that_nobody_has_is_an_error() {
    // There first, here last; and the other way round; and with nobody there.
    for order in 0..3 {
        let mut w = World::linked(Replication::Memsync);
        w.broken = Some((writes, Errno(libc::ENOSPC)));
        w.peer.fail = Some((Cmd::Write, Errno::EIO, 1));
        if order == 2 {
            w.peer.away = true;
            w.cut();
        }
        let a = w.write(0, 1);
        w.disk_one(0);
        if order == 1 {
            w.disk_all();
        }
        w.peer_one();
        w.reply_one(0);
        w.settle();
        assert_eq!(w.answers[&a].clone().unwrap_err(), Errno(libc::ENOSPC));
    }
}

#[test]
fn a3_an_error_with_received_is_final() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.fail = Some((Cmd::Write, Errno::EIO, 1));
    let a = w.write(0, 1);
    w.disk_one(0);
    w.peer_one();
    assert!(w.peer.replies[0].received && w.peer.replies[0].error.is_some());
    w.reply_one(0);
    assert_eq!(w.engine.status().recv_queue, 0);
    w.settle();
    assert!(w.good(a));
}

#[test]
fn h2_a_write_that_fails_there_is_synchronised_and_counted() {
    let mut w = World::linked(Replication::Fullsync);
    w.peer.fail = Some((Cmd::Write, Errno::EIO, 1));
    let a = w.write(0, 1);
    w.disk_all();
    w.peer_one();
    w.trace.clear();
    w.reply_one(0);
    assert!(!w.good(a), "that we are ahead is not on disk");
    assert_eq!(w.engine.status().dirty, EXTENT);
    w.pass(1_000);
    assert!(w.good(a) && w.connected);
    let meta = w.trace.iter().position(|t| t == "meta").unwrap();
    assert!(meta < w.trace.iter().position(|t| *t == format!("answer {a}")).unwrap());
    assert_eq!((w.engine.status().dirty, w.meta.localcnt), (0, 0));
    assert_eq!(w.disk.now, w.peer.disk.now);
}

#[test]
fn h3_after_a_failed_write_here_the_other_node_serves_and_the_disk_knows() {
    let mut w = World::linked(Replication::Memsync);
    w.write(0, 1);
    w.settle();
    w.broken = Some((writes, Errno::EIO));
    w.trace.clear();
    let a = w.write(0, 2);
    w.settle();
    w.broken = None;
    assert!(w.good(a));
    let meta = w.trace.iter().position(|t| t == "meta").unwrap();
    assert!(meta < w.trace.iter().position(|t| *t == format!("answer {a}")).unwrap());
    assert_eq!(w.meta.consistency, Consistency::Inconsistent);
    let status = w.engine.status();
    assert!(status.detached && status.counters.write_errors == 1);
    let r = w.read(0);
    w.settle();
    assert_eq!((w.byte(r), w.disk.now[0]), (2, 1));
    // Every write needs the other one's final reply now; without it there is an error, in time.
    w.peer.away = true;
    w.cut();
    let b = w.write(0, 3);
    let r = w.read(0);
    w.pass(19_000);
    assert!(!w.answers.contains_key(&b) && !w.answers.contains_key(&r));
    w.pass(1_001);
    assert!(w.failed(b) && w.failed(r));
    // A new process, and a disk that works again: it fetches what it has not.
    let (meta, map, disk) = (w.meta.clone(), w.map.clone(), w.disk.clone());
    let peer = w.peer.disk.clone();
    let mut w = World::with(meta, map, settings(Replication::Memsync));
    (w.disk, w.peer.disk) = (disk, peer);
    w.pass(1_000);
    assert_eq!((w.disk.now[0], w.meta.consistency), (2, Consistency::Consistent));
}

#[test]
fn h3_a_failure_that_cannot_be_remembered_is_not_hidden() {
    let mut w = World::linked(Replication::Fullsync);
    w.write(0, 1);
    w.settle();
    w.broken = Some((|io| matches!(io, Io::Write { .. } | Io::Meta(_)), Errno::EIO));
    let a = w.write(0, 2);
    w.settle();
    assert!(w.failed(a));
}

#[test]
fn h3_with_nobody_else_who_has_all_a_failed_write_is_an_error() {
    let mut w = World::linked(Replication::Fullsync);
    w.peer.away = true;
    w.cut();
    w.broken = Some((writes, Errno(libc::ENOSPC)));
    let a = w.write(0, 2);
    w.settle();
    assert!(w.failed(a) && !w.engine.status().detached);
}

#[test]
fn what_cannot_be_read_here_is_read_there_and_written_here_again() {
    let mut w = World::linked(Replication::Memsync);
    w.write(0, 7);
    w.flush();
    w.settle();
    w.broken = Some((reads, Errno::EIO));
    let r = w.read(0);
    w.disk_all();
    w.broken = None;
    w.disk.now[..512].fill(0);
    w.settle();
    assert_eq!(w.byte(r), 7);
    w.pass(1_000);
    assert_eq!(w.disk.now[0], 7, "written again");
    assert!(!w.engine.status().detached && w.engine.status().dirty == 0);
}

#[test]
fn h25_the_error_that_a_client_sees_is_the_one_that_happened() {
    let mut w = World::linked(Replication::Memsync);
    w.broken = Some((reads, Errno(libc::EBADMSG)));
    w.peer.fail = Some((Cmd::Read, Errno(libc::ENXIO), 1));
    let r = w.read(0);
    w.disk_all();
    w.settle();
    assert_eq!(w.answers[&r].clone().unwrap_err(), Errno(libc::EBADMSG));
    w.peer.away = true;
    w.cut();
    let r = w.read(0);
    w.settle();
    assert_eq!(w.answers[&r].clone().unwrap_err(), Errno(libc::EBADMSG));
}

#[test]
fn what_is_stale_there_is_never_read_there() {
    let mut w = World::linked(Replication::Memsync);
    w.peer.away = true;
    w.cut();
    w.write(0, 7);
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
    w.broken = Some((reads, Errno::EIO));
    let r = w.read(0);
    w.disk_all();
    assert!(w.failed(r));
}

#[test]
fn h9_a_reply_with_another_length_is_never_taken_for_data() {
    for data in [None, Some(vec![9; 511]), Some(vec![9; 513])] {
        let mut w = World::linked(Replication::Memsync);
        w.broken = Some((reads, Errno::EIO));
        let r = w.read(0);
        w.disk_all();
        let seq = w.peer.requests[0].seq;
        let data = data.map(Data::from);
        w.on(PrimaryInput::Reply(Reply { seq, received: false, error: None, data }));
        assert!(w.failed(r) && !w.connected);
    }
}

#[test]
fn a_read_there_waits_for_writes_that_may_still_fail_there() {
    let mut w = World::linked(Replication::Async);
    w.broken = Some((reads, Errno::EIO));
    w.peer.fail = Some((Cmd::Write, Errno::EIO, 1));
    let a = w.write(0, 5);
    w.disk_all();
    assert!(w.good(a));
    let r = w.read(0);
    w.disk_all();
    assert!(!w.peer.requests.iter().any(|r| r.cmd == Cmd::Read));
    w.peer_one();
    w.reply_one(0);
    // It is not there: rather no answer than an old one.
    assert!(w.failed(r));
}

#[test]
fn what_was_to_be_fetched_is_not_once_the_other_node_is_behind() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.write(0, 5);
    w.disk_all();
    w.broken = Some((reads, Errno::EIO));
    let r = w.read(1);
    w.disk_all();
    w.broken = None;
    w.peer.fail = Some((Cmd::Write, Errno::EIO, 1));
    w.pass(30_000);
    assert!(w.good(a) && w.good(r));
    assert_eq!((w.disk.now[0], w.peer.disk.now[0]), (5, 5));
}

#[test]
fn replies_out_of_place_end_the_link() {
    let mut w = World::linked(Replication::Fullsync);
    let a = w.write(0, 1);
    w.disk_all();
    let seq = w.peer.requests[0].seq;
    w.on(PrimaryInput::Reply(Reply { seq, received: true, error: None, data: None }));
    assert!(!w.connected);
    w.disk_all();
    assert!(w.good(a));
    // One to a request of another link is none at all.
    w.pass(10_000);
    assert!(w.connected);
    w.on(PrimaryInput::Reply(Reply { seq, received: false, error: None, data: None }));
    assert!(w.connected);
}

#[test]
fn a_map_that_cannot_be_written_fails_what_waits_for_it() {
    let mut w = World::linked(Replication::Memsync);
    w.broken = Some((|io| matches!(io, Io::Map(_)), Errno::EIO));
    let a = w.write(0, 1);
    w.settle();
    assert!(w.failed(a) && w.disk.now[0] == 0 && w.peer.disk.now[0] == 0);
    w.broken = None;
    w.pass(2_000);
    let b = w.write(0, 1);
    w.settle();
    assert!(w.good(b));
}

/// The disk is dead altogether, so that it cannot be told that it is out of use. Started again, and
/// well again, it would pass for a whole copy: nothing may be relied on that it has not.
#[test]
fn h3_with_a_disk_that_cannot_say_that_it_is_dead_nothing_new_is_promised() {
    let mut w = World::linked(Replication::Memsync);
    let a = w.write(0, 1);
    w.settle();
    w.flush();
    w.settle();
    w.broken = Some((|_| true, Errno(libc::ENXIO)));
    for fill in 2..4 {
        let b = w.write(0, fill);
        let f = w.ask(Op::Write, 1024, 512, true, fill);
        let z = w.ask(Op::Zero, 2048, 512, false, 0);
        w.settle();
        assert!(w.failed(b) && w.failed(f) && w.failed(z));
        let f = w.flush();
        w.settle();
        assert!(w.failed(f) && w.engine.status().detached);
        // What the other node has is read, all the same.
        let r = w.read(0);
        w.settle();
        assert_eq!(w.byte(r), fill);
    }
    // A process that starts on it now takes it for what it says: all that was promised is there.
    assert!(w.good(a) && w.disk.stable[0] == 1);
    assert_eq!((w.meta.consistency, w.meta.localcnt), (Consistency::Consistent, 0));
    // It can say it at last: the other node serves, and everything is promised again.
    w.broken = Some((|io| !matches!(io, Io::Meta(_) | Io::Map(_)), Errno(libc::ENXIO)));
    let c = w.write(0, 4);
    let f = w.flush();
    w.settle();
    assert!(w.good(c) && w.good(f));
    assert_eq!(w.meta.consistency, Consistency::Inconsistent);
}
