//! What a primary can do to a secondary, step by step.

use super::*;
use crate::engine::{Io, Replication};
use crate::wire::hello::{FirstReply, Handshake, Hello, Second, SecondReply, SyncSource};
use crate::wire::request::{Cmd, Reply, Request, State};

const EXTENT: u32 = 1 << 16;
const SIZE: u64 = 1 << 20;
const EIO: Errno = Errno::EIO;

fn meta(resuid: u64, localcnt: u64, remotecnt: u64) -> Metadata {
    Metadata {
        resource: "data".to_owned(),
        datasize: SIZE,
        extentsize: EXTENT,
        keepdirty: 4,
        offset: 1 << 20,
        resuid,
        localcnt,
        remotecnt,
        prevrole: Role::Secondary,
        consistency: Consistency::Consistent,
    }
}

/// A secondary and what it has asked for.
struct Rig {
    engine: Secondary,
    now: Now,
    out: Vec<SecondaryAction>,
}

impl Rig {
    fn new(meta: Metadata, map: &[u8]) -> Self {
        let settings = Settings {
            replication: Replication::Memsync,
            timeout: 20_000,
            has_remote: true,
            max_request: 1 << 17,
        };
        let mut whole = vec![0; 512];
        whole[..map.len()].copy_from_slice(map);
        let engine = Secondary::new(meta, whole, 512, settings, [7; 32]);
        Self { engine, now: 1000, out: Vec::new() }
    }

    fn on(&mut self, input: SecondaryInput) -> Vec<SecondaryAction> {
        self.engine.on(input, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn hello(&mut self, conn: u64, ext: u64) -> FirstReply {
        let hello = Hello { resource: "data".to_owned(), version: 2, ext };
        let out = self.on(SecondaryInput::Handshake(conn, Handshake::Hello(hello)));
        match out.last() {
            Some(SecondaryAction::Handshake(c, Handshake::FirstReply(reply))) if *c == conn => {
                reply.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    fn second(&mut self, conn: u64, token: [u8; 16], p: (u64, u64, u64)) -> Vec<SecondaryAction> {
        let (resuid, localcnt, remotecnt) = p;
        let resource = "data".to_owned();
        let second = Second { resource, token, virgin: false, resuid, localcnt, remotecnt, ext: 0 };
        self.on(SecondaryInput::Handshake(conn, Handshake::Second(second)))
    }

    /// Ends every I/O that was asked for, until nothing more is.
    fn settle(&mut self, mut actions: Vec<SecondaryAction>) -> Vec<SecondaryAction> {
        let mut at = 0;
        while at < actions.len() {
            if let SecondaryAction::Io(token, io) = &actions[at] {
                let result = Ok(match io {
                    Io::Read { length, .. } => Some(Data::from(vec![1; *length as usize])),
                    _ => None,
                });
                let more = self.on(SecondaryInput::Done(*token, result));
                actions.extend(more);
            }
            at += 1;
        }
        actions
    }

    fn link(&mut self, ext: u64, p: (u64, u64, u64)) -> SecondReply {
        let token = self.hello(1, ext).token;
        let out = self.second(2, token, p);
        let out = self.settle(out);
        assert!(out.contains(&SecondaryAction::Link(1, 2)), "{out:?}");
        out.iter()
            .find_map(|action| match action {
                SecondaryAction::Handshake(1, Handshake::SecondReply(reply)) => Some(reply.clone()),
                _ => None,
            })
            .unwrap()
    }

    fn ask(&mut self, cmd: Cmd, seq: u64, offset: u64, length: u64) -> Vec<SecondaryAction> {
        self.on(SecondaryInput::Request(request(cmd, seq, offset, length)))
    }

    fn done(&mut self, token: Token) -> Vec<SecondaryAction> {
        self.on(SecondaryInput::Done(token, Ok(None)))
    }
}

fn request(cmd: Cmd, seq: u64, offset: u64, length: u64) -> Request {
    let data = (cmd == Cmd::Write).then(|| Data::from(vec![seq as u8; length as usize]));
    Request { cmd, seq, offset, length, memsync: false, data, state: None }
}

fn refusal(out: &[SecondaryAction], conn: u64) -> &str {
    match out {
        [SecondaryAction::Handshake(c, Handshake::Refusal(refusal)), rest @ ..] if *c == conn => {
            assert!(!refusal.wait, "A2");
            assert!(rest.contains(&SecondaryAction::Close(conn)));
            &refusal.errmsg
        }
        other => panic!("{other:?}"),
    }
}

fn ios(out: &[SecondaryAction]) -> Vec<(Token, &Io)> {
    out.iter()
        .filter_map(|action| match action {
            SecondaryAction::Io(token, io) => Some((*token, io)),
            _ => None,
        })
        .collect()
}

fn replies(out: &[SecondaryAction]) -> Vec<(u64, bool, Option<Errno>)> {
    out.iter()
        .filter_map(|action| match action {
            SecondaryAction::Reply(Reply { seq, received, error, .. }) => {
                Some((*seq, *received, *error))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn b4_a_token_serves_once_and_only_with_its_c1() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    let out = rig.second(9, [0; 16], (5, 0, 0));
    assert_eq!(refusal(&out, 9), "Token doesn't match.");
    let first = rig.hello(1, 0);
    assert_eq!((first.version, first.ext), (2, 0));
    // A wrong one does not spoil the right one.
    let out = rig.second(8, [1; 16], (5, 0, 0));
    assert_eq!(refusal(&out, 8), "Token doesn't match.");
    let out = rig.second(2, first.token, (5, 0, 0));
    let out = rig.settle(out);
    assert!(out.contains(&SecondaryAction::Link(1, 2)));
    let out = rig.second(3, first.token, (5, 0, 0));
    assert_eq!(refusal(&out, 3), "Token doesn't match.");
    assert!(rig.engine.link.is_some());
    assert_ne!(rig.hello(4, 0).token, first.token);
}

#[test]
fn a_new_c1_takes_the_place_of_whatever_there_is() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.hello(1, 0);
    let hello = Hello { resource: "data".to_owned(), version: 1, ext: 0 };
    let out = rig.on(SecondaryInput::Handshake(2, Handshake::Hello(hello.clone())));
    assert_eq!(out[0], SecondaryAction::Close(1));
    let SecondaryAction::Handshake(2, Handshake::FirstReply(first)) = &out[1] else { panic!() };
    assert_eq!(first.version, 1);
    let out = rig.second(3, first.token, (5, 0, 0));
    rig.settle(out);
    let write = rig.ask(Cmd::Write, 1, 0, 512);
    let out = rig.on(SecondaryInput::Handshake(4, Handshake::Hello(hello)));
    assert_eq!(&out[..2], [SecondaryAction::Close(2), SecondaryAction::Close(3)]);
    // What was received is stored all the same, and answered nowhere.
    assert_eq!(rig.done(ios(&write)[0].0), []);
}

#[test]
fn refusals_in_hastds_words() {
    let mut rig = Rig::new(meta(5, 3, 3), &[]);
    let token = rig.hello(1, 0).token;
    let out = rig.second(2, token, (6, 0, 0));
    assert_eq!(refusal(&out, 1), "Resource unique ID mismatch (primary=6, secondary=5).");
    let token = rig.hello(3, 0).token;
    let out = rig.second(4, token, (5, 4, 2));
    assert_eq!(refusal(&out, 3), "Split-brain condition!");
    assert!(out.contains(&SecondaryAction::Tell(Happening::SplitBrain)));
    let token = rig.hello(5, 0).token;
    let mut was = meta(5, 3, 3);
    was.prevrole = Role::Primary;
    rig.engine.meta = was;
    let out = rig.second(6, token, (5, 3, 3));
    let at = ios(&out)[0].0;
    let out = rig.on(SecondaryInput::Done(at, Err(EIO)));
    assert!(refusal(&out, 5).starts_with("Remote node was unable to prepare return header: "));
}

#[test]
fn a_new_node_takes_the_uid_and_remembers_that_it_has_nothing() {
    let mut rig = Rig::new(meta(0, 0, 0), &[]);
    let token = rig.hello(1, ext::OURS).token;
    let out = rig.second(2, token, (5, 2, 0));
    // The map is on disk before the uid is: if the answer is lost, equal counters would hide it.
    let [(at, Io::Map(map))] = ios(&out)[..] else { panic!("{out:?}") };
    assert!(map.iter().all(|b| *b == 0xff));
    let out = rig.done(at);
    let [(at, Io::Meta(m))] = ios(&out)[..] else { panic!("{out:?}") };
    assert_eq!((m.resuid, m.consistency), (5, Consistency::Inconsistent));
    let out = rig.done(at);
    let SecondaryAction::Handshake(1, Handshake::SecondReply(reply)) = &out[0] else { panic!() };
    assert!(reply.virgin && reply.localcnt == 0 && reply.remotecnt == 0);
    assert_eq!(reply.syncsrc, SyncSource::Primary);
    rig.on(SecondaryInput::Lost(1, "cut".to_owned()));
    // The primary never got it: its counters are what they were.
    rig.engine.links = 0;
    let reply = rig.link(ext::OURS, (5, 0, 0));
    assert!(reply.map.unwrap().iter().all(|b| *b == 0xff));
}

#[test]
fn a6_the_map_goes_with_the_first_request_that_is_valid() {
    let mut rig = Rig::new(meta(5, 0, 0), &[0b101]);
    assert_eq!(rig.link(0, (5, 0, 0)).map.unwrap()[0], 0b101);
    assert_eq!(rig.on(SecondaryInput::Request(Request::keepalive(None))), []);
    let out = rig.ask(Cmd::Read, 4, 0, 100);
    assert_eq!(replies(&out), [(4, false, Some(Errno::EINVAL))]);
    assert!(ios(&out).is_empty());
    let out = rig.ask(Cmd::Read, 5, 0, 512);
    let [(_, Io::Map(map)), (_, Io::Read { .. })] = ios(&out)[..] else { panic!("{out:?}") };
    assert!(map.iter().all(|b| *b == 0));
}

#[test]
fn h11_and_a3_what_makes_no_sense_is_answered_once() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(0, (5, 0, 0));
    for (cmd, offset, length) in [
        (Cmd::Write, 0, 0),
        (Cmd::Write, 256, 512),
        (Cmd::Read, 0, LONGEST + 512),
        (Cmd::Read, SIZE, 512),
        (Cmd::Delete, u64::MAX - 511, 512),
    ] {
        let out = rig.ask(cmd, 9, offset, length);
        assert_eq!(out.len(), 1, "{out:?}");
        assert_eq!(replies(&out), [(9, false, Some(Errno::EINVAL))]);
    }
    let mut memsync = request(Cmd::Write, 10, SIZE, 512);
    memsync.memsync = true;
    let out = rig.on(SecondaryInput::Request(memsync));
    assert_eq!(replies(&out), [(10, true, Some(Errno::EINVAL))]);
    let out = rig.on(SecondaryInput::Invalid { seq: 11, memsync: false, why: "unknown command" });
    assert_eq!(replies(&out), [(11, false, Some(Errno::EINVAL))]);
}

#[test]
fn a_memsync_write_has_two_replies_and_overlaps_have_one_order() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(0, (5, 0, 0));
    let mut first = request(Cmd::Write, 1, 0, 4096);
    first.memsync = true;
    let a = rig.on(SecondaryInput::Request(first));
    assert_eq!(replies(&a), [(1, true, None)]);
    assert_eq!(rig.ask(Cmd::Write, 2, 2048, 4096), []);
    assert_eq!(rig.ask(Cmd::Read, 3, 4096, 512), []);
    assert_eq!(rig.ask(Cmd::Flush, 4, 0, 0), []);
    let other = rig.ask(Cmd::Write, 5, 65536, 512);
    assert_eq!(ios(&other).len(), 1);
    let out = rig.done(ios(&a)[0].0);
    assert_eq!(replies(&out), [(1, false, None)]);
    let [(b, Io::Write { offset: 2048, .. })] = ios(&out)[..] else { panic!("{out:?}") };
    let out = rig.done(b);
    assert_eq!(replies(&out), [(2, false, None)]);
    // The flush does not wait for the write that came after it.
    let found = ios(&out);
    assert!(found.iter().any(|io| *io.1 == Io::Flush), "{out:?}");
    assert!(found.iter().any(|io| matches!(io.1, Io::Read { .. })), "{out:?}");
}

#[test]
fn h7_nothing_is_mixed_before_the_metadata_says_so() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    // The primary has written alone.
    rig.link(ext::OURS, (5, 1, 0));
    assert_eq!(rig.engine.meta.consistency, Consistency::Outdated);
    let out = rig.ask(Cmd::Write, 1, 0, 512);
    let [(at, Io::Meta(m))] = ios(&out)[..] else { panic!("{out:?}") };
    assert_eq!(m.consistency, Consistency::Inconsistent);
    assert_eq!(rig.ask(Cmd::Read, 2, 0, 512), []);
    let out = rig.done(at);
    assert!(matches!(ios(&out)[..], [(_, Io::Write { .. })]), "{out:?}");
    rig.settle(out);
    let out = rig.on(SecondaryInput::Request(Request::keepalive(Some(State::Consistent))));
    let [(at, Io::Meta(m))] = ios(&out)[..] else { panic!("{out:?}") };
    assert_eq!(m.consistency, Consistency::Consistent);
    // Before that is on disk it is over again: the write has to wait for what comes after it.
    rig.on(SecondaryInput::Request(Request::keepalive(Some(State::Inconsistent))));
    assert_eq!(rig.ask(Cmd::Write, 3, 0, 512), []);
    let out = rig.done(at);
    let [(at, Io::Meta(m))] = ios(&out)[..] else { panic!("{out:?}") };
    assert_eq!(m.consistency, Consistency::Inconsistent);
    assert!(matches!(ios(&rig.done(at))[..], [(_, Io::Write { .. })]));
}

#[test]
fn h2_what_could_not_be_stored_is_in_the_next_handshakes_map() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(0, (5, 0, 0));
    let mut write = request(Cmd::Write, 1, u64::from(EXTENT) * 3, 512);
    write.memsync = true;
    let out = rig.on(SecondaryInput::Request(write));
    let at = ios(&out)[0].0;
    let out = rig.on(SecondaryInput::Done(at, Err(EIO)));
    assert_eq!(replies(&out), [(1, false, Some(EIO))]);
    assert!(out.contains(&SecondaryAction::Close(1)) && out.contains(&SecondaryAction::Close(2)));
    rig.settle(out);
    assert_eq!(rig.engine.meta.consistency, Consistency::Inconsistent);
    assert_eq!(rig.link(0, (5, 0, 0)).map.unwrap()[0], 0b1000);
}

#[test]
fn h22_what_a_flush_could_not_bring_there_is_in_doubt() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(0, (5, 0, 0));
    for (seq, extent) in [(1, 1), (3, 4)] {
        let out = rig.on(SecondaryInput::Request(request(
            Cmd::Write,
            seq,
            u64::from(EXTENT) * extent,
            512,
        )));
        let at = ios(&out)[0].0;
        rig.on(SecondaryInput::Done(at, Ok(None)));
        let out = rig.ask(Cmd::Flush, seq + 1, 0, 0);
        let [(at, Io::Flush)] = ios(&out)[..] else { panic!("{out:?}") };
        // The first one succeeds, and what it covered is in no doubt.
        let result = if seq == 1 { Ok(None) } else { Err(EIO) };
        let out = rig.on(SecondaryInput::Done(at, result));
        rig.settle(out);
    }
    assert!(rig.engine.link.is_none(), "the primary is not to go on as if it had been stored");
    assert_eq!(rig.engine.meta.consistency, Consistency::Inconsistent);
    assert_eq!(rig.link(0, (5, 0, 0)).map.unwrap()[0], 0b10000);
}

#[test]
fn a_trim_that_the_disk_cannot_do_is_only_said() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(ext::OURS, (5, 0, 0));
    let out = rig.ask(Cmd::Delete, 1, 0, SIZE);
    let [(at, Io::Zero { .. })] = ios(&out)[..] else { panic!("{out:?}") };
    let out = rig.on(SecondaryInput::Done(at, Err(Errno(libc::EOPNOTSUPP))));
    assert_eq!(replies(&out), [(1, false, Some(Errno(libc::EOPNOTSUPP)))]);
    assert!(rig.engine.link.is_some());
}

#[test]
fn silence_ends_the_link_and_a_keepalive_does_not() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(0, (5, 0, 0));
    rig.now += 15_000;
    rig.on(SecondaryInput::Request(Request::keepalive(None)));
    rig.now += 15_000;
    assert_eq!(rig.on(SecondaryInput::Tick), []);
    assert_eq!(rig.engine.next_tick(), Some(rig.now + 5_000));
    rig.now += 5_000;
    assert!(rig.on(SecondaryInput::Tick).contains(&SecondaryAction::Close(1)));
    assert_eq!(rig.engine.next_tick(), None);
}

#[test]
fn the_role_ends_when_what_was_received_is_stored() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(0, (5, 0, 0));
    let write = rig.ask(Cmd::Write, 1, 0, 512);
    let out = rig.on(SecondaryInput::Stop);
    assert!(out.contains(&SecondaryAction::Close(1)));
    assert!(!out.contains(&SecondaryAction::Stopped));
    assert_eq!(rig.done(ios(&write)[0].0), [SecondaryAction::Stopped]);
    let hello = Hello { resource: "data".to_owned(), version: 2, ext: 0 };
    let out = rig.on(SecondaryInput::Handshake(7, Handshake::Hello(hello)));
    assert!(refusal(&out, 7).starts_with("Remote node acts as init"));
}

#[test]
fn metadata_that_may_or_may_not_have_been_written_is_written_again() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(ext::OURS, (5, 0, 0));
    let out = rig.on(SecondaryInput::Request(Request::keepalive(Some(State::Inconsistent))));
    let out = rig.on(SecondaryInput::Done(ios(&out)[0].0, Err(EIO)));
    assert!(out.contains(&SecondaryAction::Close(1)));
    // It is taken for consistent here, but the disk may say otherwise.
    let token = rig.hello(3, ext::OURS).token;
    let out = rig.second(4, token, (5, 0, 0));
    assert!(matches!(ios(&out)[..], [(_, Io::Meta(_))]), "{out:?}");
    let out = rig.settle(out);
    assert!(out.contains(&SecondaryAction::Link(3, 4)));
}

#[test]
fn what_waits_is_not_forgotten_when_the_primary_changes_its_mind() {
    let mut rig = Rig::new(meta(5, 0, 0), &[]);
    rig.link(ext::OURS, (5, 0, 0));
    let out = rig.on(SecondaryInput::Request(Request::keepalive(Some(State::Inconsistent))));
    let at = ios(&out)[0].0;
    assert_eq!(rig.ask(Cmd::Write, 1, 0, 512), []);
    let out = rig.on(SecondaryInput::Request(Request::keepalive(Some(State::Consistent))));
    let [(write, Io::Write { .. })] = ios(&out)[..] else { panic!("{out:?}") };
    assert!(replies(&rig.done(write)) == [(1, false, None)]);
    let out = rig.done(at);
    rig.settle(out);
    assert!(rig.on(SecondaryInput::Stop).contains(&SecondaryAction::Stopped));
}

#[test]
fn h23_two_new_nodes_are_the_same_but_for_what_one_has_begun_to_write() {
    for (mark, told) in [(0b10, true), (0, false)] {
        let mut rig = Rig::new(meta(0, 0, 0), &[mark]);
        let token = rig.hello(1, ext::OURS).token;
        let resource = "data".to_owned();
        let (virgin, resuid, localcnt, remotecnt, ext) = (true, 5, 0, 0, 0);
        let second = Second { resource, token, virgin, resuid, localcnt, remotecnt, ext };
        let out = rig.on(SecondaryInput::Handshake(2, Handshake::Second(second)));
        let out = rig.settle(out);
        let reply = out.iter().find_map(|action| match action {
            SecondaryAction::Handshake(1, Handshake::SecondReply(reply)) => Some(reply),
            _ => None,
        });
        assert_eq!(reply.unwrap().map.is_some(), told);
    }
}
