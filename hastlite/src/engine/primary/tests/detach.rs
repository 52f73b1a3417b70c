//! One node only: when the local component is given up, and what that one is relied on for.

use super::world::*;
use crate::engine::*;
use crate::wire::errno::Errno;
use crate::wire::request::Cmd;

fn writes(io: &Io) -> bool {
    matches!(io, Io::Write { .. })
}

/// What has been answered and is not there yet may still fail there: until that is known the local
/// component is not given up, however a write to it has failed.
#[test]
fn h3_what_has_been_answered_is_there_before_the_other_node_serves_alone() {
    for fate in ["done", "failed", "lost"] {
        let mut w = World::linked(Replication::Async);
        let a = w.write(0, 1);
        w.disk_all();
        assert!(w.good(a));
        w.broken = Some((writes, Errno::EIO));
        let b = w.write(8, 2);
        w.disk_all();
        w.broken = None;
        w.peer.requests.swap(0, 1);
        w.peer_one();
        w.reply_one(0);
        assert!(!w.answers.contains_key(&b) && !w.engine.status().detached);
        // Meanwhile nothing more is promised, or this might never end.
        let c = w.write(16, 3);
        w.disk_all();
        assert!(!w.answers.contains_key(&c));
        match fate {
            "failed" => w.peer.fail = Some((Cmd::Write, Errno::EIO, 1)),
            "lost" => w.cut(),
            _ => {}
        }
        w.settle();
        let r = w.read(0);
        w.settle();
        assert_eq!((w.good(b), w.engine.status().detached), (fate == "done", fate == "done"));
        assert_eq!((w.good(c), w.byte(r)), (true, 1), "{fate}");
    }
}

/// Written and flushed alone, and copied since: it is on stable storage here only.
#[test]
fn h3_what_was_copied_is_flushed_before_the_other_node_serves_alone() {
    let mut w = World::linked(Replication::Fullsync);
    w.peer.away = true;
    w.cut();
    w.write(0, 1);
    w.settle();
    let f = w.flush();
    w.settle();
    assert!(w.good(f));
    w.peer.away = false;
    while w.peer.disk.now[0] == 0 || !w.peer.replies.is_empty() {
        match w.engine.next_tick() {
            Some(at) if w.inputs.is_empty() && w.ios.is_empty() => {
                w.now = w.now.max(at);
                w.tick();
            }
            _ => {}
        }
        w.input_one();
        w.disk_all();
        w.peer_one();
        w.reply_one(0);
    }
    assert!(w.connected && w.engine.map().to_peer().is_empty() && w.peer.disk.stable[0] == 0);
    w.broken = Some((writes, Errno::EIO));
    let a = w.write(80, 2);
    w.disk_all();
    // A flush is under way there, and the write overtakes it.
    let index = w.peer.requests.iter().position(|r| r.cmd == Cmd::Write).unwrap();
    w.peer.requests.swap(0, index);
    w.peer_one();
    w.reply_one(0);
    w.disk_all();
    assert!(!w.engine.status().detached && w.peer.disk.stable[0] == 0);
    w.settle();
    assert!(w.good(a) && w.engine.status().detached && w.peer.disk.stable[0] == 1);
}

/// The local component loses what it has not flushed, and says so once: it is given up as soon as
/// the other node has all, or clients hear of it.
#[test]
fn h3_a_flush_that_failed_here_is_not_forgotten_while_something_is_owed() {
    for (asked, fate) in [(true, "done"), (true, "failed"), (true, "lost"), (false, "failed")] {
        let mut w = World::linked(Replication::Async);
        w.write(0, 1);
        w.settle();
        w.now += 10_000;
        let a = w.write(8, 2);
        w.disk_all();
        assert!(w.good(a));
        w.broken = Some((|io| matches!(io, Io::Flush), Errno::EIO));
        let mut f = 0;
        match asked {
            true => f = w.flush(),
            false => w.tick(),
        }
        w.disk_all();
        w.broken = None;
        let index = w.peer.requests.iter().position(|r| r.cmd == Cmd::Flush).unwrap();
        w.peer.requests.swap(0, index);
        w.peer_one();
        w.reply_one(0);
        w.disk_all();
        assert!(!w.answers.contains_key(&f) && !w.engine.status().detached);
        match fate {
            "failed" => w.peer.fail = Some((Cmd::Write, Errno::EIO, 1)),
            "lost" => w.cut(),
            _ => {}
        }
        w.settle();
        if !asked {
            // The engine's own: the next client hears of it.
            f = w.flush();
            w.settle();
        }
        let done = fate == "done";
        assert_eq!((w.good(f), w.engine.status().detached), (done, done), "{asked} {fate}");
        assert!(!done || w.peer.disk.stable[8 * 512] == 2);
        let f = w.flush();
        w.settle();
        assert!(w.good(f));
    }
}

/// Connected, with a copy that is not complete.
fn incomplete() -> World {
    let incomplete = Metadata { consistency: Consistency::Inconsistent, ..meta(7, 0, 0) };
    let mut map = vec![0; MAP];
    map[0] = 1;
    let mut w = World::with(incomplete, map, settings(Replication::Fullsync));
    w.tick();
    while !w.connected {
        go_on(&mut w);
    }
    w
}

/// A little of everything but local flushes, which take long.
fn go_on(w: &mut World) {
    w.input_one();
    let index = w.ios.iter().position(|(_, io)| !matches!(io, Io::Flush));
    w.disk_one(index.unwrap_or(usize::MAX));
    w.peer_one();
    w.reply_one(0);
    if w.inputs.is_empty() && !w.connected {
        w.now = w.engine.next_tick().unwrap_or(w.now);
        w.tick();
    }
}

#[test]
fn what_is_sent_again_is_flushed_again() {
    let mut w = incomplete();
    let f = w.flush();
    let a = w.ask(Op::Write, 80 * 512, 512, true, 1);
    for _ in 0..50 {
        go_on(&mut w);
    }
    assert!(w.peer.disk.now[80 * 512] == 1 && w.answers.is_empty());
    // While the local flush takes its time, the other node loses its power and comes back.
    w.peer.disk.now = w.peer.disk.stable.clone();
    w.cut();
    while !w.connected {
        go_on(&mut w);
    }
    while w.answers.len() < 2 {
        assert!(!w.ios.is_empty() || !w.peer.requests.is_empty() || !w.peer.replies.is_empty());
        w.disk_one(0);
        w.peer_one();
        w.reply_one(0);
    }
    assert!(w.good(f) && w.good(a) && w.peer.disk.stable[80 * 512] == 1);
}

#[test]
fn a_flush_whose_link_is_back_when_it_ends_here_is_done_again_at_once() {
    let mut w = incomplete();
    let f = w.flush();
    w.cut();
    while !w.connected {
        go_on(&mut w);
    }
    w.settle();
    assert!(w.good(f));
}

/// It had a write in its cache, said so, and lost its power before the client was told.
#[test]
fn what_the_only_node_that_counts_has_done_is_no_answer_once_it_has_gone() {
    for fua in [false, true] {
        let mut w = World::linked(Replication::Fullsync);
        w.broken = Some((writes, Errno::EIO));
        let a = w.ask(Op::Write, 0, 512, fua, 1);
        w.disk_one(0);
        w.peer_one();
        w.reply_one(0);
        // With this the local component is given up, which is to be stored first.
        w.disk_one(0);
        assert!(w.engine.status().detached && w.trace.last().unwrap() == "meta");
        if fua {
            w.disk_all();
            assert!(matches!(w.peer.requests.back(), Some(r) if r.cmd == Cmd::Flush));
        }
        w.peer.disk.now = w.peer.disk.stable.clone();
        w.cut();
        w.disk_all();
        assert!(!w.answers.contains_key(&a), "nobody has it");
        w.pass(15_000);
        assert!(w.good(a) && w.peer.disk.now[0] == 1);
        assert!(!fua || w.peer.disk.stable[0] == 1);
    }
}

#[test]
fn what_is_not_stored_here_yet_when_the_only_node_that_counts_goes_is_sent_to_it_again() {
    let mut w = incomplete();
    let a = w.write(80, 1);
    while !w.peer.requests.iter().any(|request| request.cmd == Cmd::Write) {
        assert!(!w.ios.is_empty());
        w.disk_one(0);
    }
    while !w.peer.requests.is_empty() {
        w.peer_one();
    }
    while !w.peer.replies.is_empty() {
        w.reply_one(0);
    }
    assert!(w.peer.disk.now[80 * 512] == 1 && !w.answers.contains_key(&a));
    w.peer.disk.now = w.peer.disk.stable.clone();
    w.cut();
    w.disk_all();
    assert!(!w.answers.contains_key(&a), "it will be overwritten here");
    w.pass(15_000);
    assert!(w.good(a));
    assert_eq!((w.disk.now[80 * 512], w.peer.disk.now[80 * 512]), (1, 1));
}
