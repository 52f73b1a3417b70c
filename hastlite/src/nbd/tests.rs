//! Whole conversations with a [`Session`], byte by byte as the protocol's text has them, and with
//! bytes of any kind.

mod options;
mod requests;

use super::protocol::{command, command_flag, info, option, rep};
use super::*;
use proptest::prelude::*;

/// Of the export that most tests have, in bytes.
const SIZE: u64 = 1 << 30;
const TAGS: u64 = 7 << 32;

fn export() -> Arc<Export> {
    Arc::new(Export::new("disk", "a disk", SIZE, 512).with_fast_zero(true))
}

fn session() -> Session {
    Session::new(7, export(), Limits::default())
}

/// As much of `bytes` as there is room for.
fn feed(session: &mut Session, bytes: &[u8]) -> usize {
    let mut fed = 0;
    for space in session.spaces() {
        let length = space.len().min(bytes.len() - fed);
        space[..length].copy_from_slice(&bytes[fed..fed + length]);
        fed += length;
    }
    session.filled(fed);
    fed
}

/// All that waits to be sent, at most `most` bytes at a time.
fn drain(session: &mut Session, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while session.unsent() > 0 {
        let mut slices = [IoSlice::new(&[]); 3];
        let used = session.gather(&mut slices);
        // No more than that is looked at: what waits may be 32 MiB, and the step one byte.
        let (before, mut room) = (all.len(), most.max(1));
        for slice in &slices[..used] {
            let length = slice.len().min(room);
            all.extend_from_slice(&slice[..length]);
            room -= length;
        }
        session.sent(all.len() - before);
    }
    all
}

/// Answers as a disk would whose every block holds its number's lowest byte.
fn answer(session: &mut Session, asked: &Asked) {
    match asked {
        Asked::Io { request, .. } => {
            let data = (request.op == Op::Read)
                .then(|| Data::from(vec![(request.offset >> 9) as u8; request.length as usize]));
            assert!(session.answer(request.tag, Ok(data)));
            assert!(!session.answer(request.tag, Ok(None)), "once");
        }
        Asked::Status { tag, length, .. } => {
            let allocation = vec![Run { length: length / 2, flags: HOLE | ZERO }];
            let dirty = vec![Run { length: u64::MAX, flags: 0 }];
            assert!(session.answer_status(*tag, Ok(BlockStatus { allocation, dirty })));
        }
        Asked::WillNeed { .. } => {}
    }
}

/// What a client says, and what it hears if everything is answered at once; with `step` bytes a
/// time in both directions.
fn talk(mut session: Session, said: &[u8], step: usize) -> (Vec<u8>, Result<bool, Violation>) {
    let (mut heard, mut at) = (drain(&mut session, step), 0);
    loop {
        let fed = feed(&mut session, &said[at..said.len().min(at + step)]);
        at += fed;
        loop {
            match session.next() {
                Ok(Some(asked)) => answer(&mut session, &asked),
                Ok(None) => break,
                Err(violation) => return (heard, Err(violation)),
            }
        }
        heard.extend(drain(&mut session, step));
        if fed == 0 {
            return (heard, Ok(session.is_done()));
        }
    }
}

fn ask_option(option: u32, data: &[u8]) -> Vec<u8> {
    let mut out = b"IHAVEOPT".to_vec();
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
    out
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn ask_info(option: u32, name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = string(name);
    data.extend_from_slice(&(wanted.len() as u16).to_be_bytes());
    wanted.iter().for_each(|info| data.extend_from_slice(&info.to_be_bytes()));
    ask_option(option, &data)
}

fn ask_contexts(option: u32, name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = string(name);
    data.extend_from_slice(&(queries.len() as u32).to_be_bytes());
    queries.iter().for_each(|query| data.extend(string(query)));
    ask_option(option, &data)
}

fn request(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut out = vec![0x25, 0x60, 0x95, 0x13];
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&command.to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out
}

const FLAGS: [u8; 4] = [0, 0, 0, 3];
const GREETING: usize = 18;

/// The kinds of the answers to options.
fn kinds(mut heard: &[u8]) -> Vec<u32> {
    let mut kinds = Vec::new();
    while !heard.is_empty() {
        assert_eq!(heard[..8], 0x0003_e889_0455_65a9_u64.to_be_bytes());
        let number = |at: usize| u32::from_be_bytes(heard[at..at + 4].try_into().unwrap());
        kinds.push(number(12));
        heard = &heard[20 + number(16) as usize..];
    }
    kinds
}

fn negotiate(options: &[Vec<u8>]) -> (Vec<u32>, Result<bool, Violation>) {
    let (heard, end) = talk(session(), &[&FLAGS[..], &options.concat()].concat(), 1 << 20);
    (kinds(&heard[GREETING..]), end)
}

/// A session that is past its options, with structured replies and both contexts if wanted.
fn transmitting(structured: bool, limits: Limits) -> Session {
    let mut session = Session::new(7, export(), limits);
    let mut said = FLAGS.to_vec();
    if structured {
        said.extend(ask_option(option::STRUCTURED_REPLY, &[]));
        let queries = ["base:allocation", "x-hastlite:dirty"];
        said.extend(ask_contexts(option::SET_META_CONTEXT, "disk", &queries));
    }
    said.extend(ask_info(option::GO, "disk", &[]));
    feed(&mut session, &said);
    assert!(session.next().unwrap().is_none());
    assert!(!session.is_negotiating());
    drain(&mut session, usize::MAX);
    session
}

#[test]
fn a_client_that_goes_on_asking_waits() {
    let limits = Limits { requests: 4, bytes: 1 << 20, buffer: 0 };
    let mut session = transmitting(true, limits);
    let flushes = request(0, command::FLUSH, 1, 0, 0).repeat(10_000);
    let mut fed = feed(&mut session, &flushes);
    let mut tags = Vec::new();
    while let Some(Asked::Io { request, .. }) = session.next().unwrap() {
        tags.push(request.tag);
    }
    assert_eq!(tags.len(), 4);
    while session.wants_bytes() {
        fed += feed(&mut session, &flushes[fed..]);
    }
    assert!(fed <= 2 * 2 * LONGEST_OPTION, "{fed} bytes are held");
    // Answered is not enough: the reply must leave.
    assert!(session.answer(tags[0], Ok(None)));
    assert!(session.next().unwrap().is_none());
    session.sent(15);
    assert!(session.next().unwrap().is_none());
    session.sent(1);
    assert!(session.next().unwrap().is_some());
    assert!(session.next().unwrap().is_none());

    // By bytes: a large one is taken alone, and a second one when the first is done with.
    let mut session = transmitting(true, limits);
    feed(&mut session, &request(0, command::READ, 1, 0, 2 << 20).repeat(2));
    let asked = session.next().unwrap().unwrap();
    assert!(session.next().unwrap().is_none());
    answer(&mut session, &asked);
    assert!(session.next().unwrap().is_none());
    drain(&mut session, 100_000);
    assert!(session.next().unwrap().is_some());

    // A write's data counts until the answer, whenever it is sent.
    let mut session = transmitting(true, limits);
    let write = [request(0, command::WRITE, 1, 0, 1 << 20), vec![0; 1 << 20]].concat();
    let mut at = 0;
    let asked = loop {
        at += feed(&mut session, &write[at..]);
        if let Some(asked) = session.next().unwrap() {
            break asked;
        }
    };
    assert_eq!(session.in_flight(), (1, 1 << 20));
    answer(&mut session, &asked);
    assert_eq!(session.in_flight(), (1, 0));
}

#[test]
fn a_large_write_comes_straight_into_its_place() {
    let mut session = transmitting(false, Limits::default());
    let write = |cookie| request(0, command::WRITE, cookie, 0, 1 << 20);
    feed(&mut session, &write(1));
    assert!(session.next().unwrap().is_none());
    let [data, more] = session.spaces();
    assert_eq!(data.len(), 1 << 20);
    assert!(more.len() < 4096, "the next one's data must not be read here");
    data.fill(0x5a);
    session.filled(1 << 20);
    let Some(Asked::Io { request, .. }) = session.next().unwrap() else { panic!("no write") };
    let at = request.data.as_ref().unwrap().as_ptr();
    assert!(request.data.as_ref().unwrap().iter().all(|byte| *byte == 0x5a));
    let tag = request.tag;
    drop(request);
    assert!(session.answer(tag, Ok(None)));
    feed(&mut session, &write(2));
    assert!(session.next().unwrap().is_none());
    assert_eq!(session.spaces()[0].as_ptr(), at, "the buffer is used again");
}

#[test]
fn a_shutdown_is_told_to_those_who_ask() {
    let mut session = transmitting(true, Limits::default());
    let flush = request(0, command::FLUSH, 1, 0, 0);
    feed(&mut session, &flush);
    let asked = session.next().unwrap().unwrap();
    session.shut_down();
    let write = [request(0, command::WRITE, 2, 0, 512), vec![0; 512], flush.clone()].concat();
    feed(&mut session, &write);
    assert!(session.next().unwrap().is_none());
    let heard = drain(&mut session, usize::MAX);
    let shutdowns = heard.windows(4).filter(|bytes| *bytes == [0, 0, 0, 108]).count();
    assert_eq!(shutdowns, 2);
    answer(&mut session, &asked);
    assert_eq!(drain(&mut session, usize::MAX).len(), 16, "what was asked before is answered");

    let mut session = self::session();
    session.shut_down();
    feed(&mut session, &[&FLAGS[..], &ask_info(option::GO, "", &[])].concat());
    assert!(session.next().unwrap().is_none());
    assert_eq!(kinds(&drain(&mut session, usize::MAX)[GREETING..]), [rep::ERR_SHUTDOWN]);
}

/// A client's whole visit.
fn visit() -> Vec<u8> {
    use command::*;
    [
        FLAGS.to_vec(),
        ask_option(option::STRUCTURED_REPLY, &[]),
        ask_option(44, &vec![1; LONGEST_OPTION + 10]),
        ask_option(option::LIST, &[]),
        ask_contexts(option::SET_META_CONTEXT, "disk", &["base:allocation", "x-hastlite:dirty"]),
        ask_info(option::GO, "disk", &[info::NAME]),
        request(0, WRITE, 1, 512, 1024),
        (0..1024).map(|n| n as u8).collect(),
        request(0, READ, 2, 512, 512),
        request(1 << 9, WRITE, 3, 0, 700),
        vec![0xff; 700],
        request(0, BLOCK_STATUS, 4, 0, 1 << 20),
        request(command_flag::DF, READ, 5, 1024, 2048),
        request(0, READ, 6, 0, 0),
        request(0, WRITE, 7, 0, 0),
        request(0, FLUSH, 8, 0, 0),
        request(0, DISC, 9, 0, 0),
    ]
    .concat()
}

#[test]
fn bytes_may_come_and_go_in_pieces_of_any_size() {
    let said = visit();
    let (whole, end) = talk(session(), &said, usize::MAX / 2);
    assert_eq!(end, Ok(true));
    for step in (1..200).chain([511, 512, 513, 4096]) {
        let (heard, end) = talk(session(), &said, step);
        assert_eq!(end, Ok(true), "in steps of {step}");
        assert!(heard == whole, "in steps of {step}");
    }
    // One cut, at every byte of what is not just thrown away.
    for cut in (0..100).chain(LONGEST_OPTION..said.len()) {
        let mut session = session();
        let mut heard = drain(&mut session, usize::MAX);
        for part in [&said[..cut], &said[cut..]] {
            let mut at = 0;
            while at < part.len() && session.wants_bytes() {
                at += feed(&mut session, &part[at..]);
                while let Some(asked) = session.next().unwrap() {
                    answer(&mut session, &asked);
                }
                heard.extend(drain(&mut session, usize::MAX));
            }
        }
        assert!(heard == whole && session.is_done(), "cut at {cut}");
    }
}

proptest! {
    /// Whatever comes, and however, nothing panics, and everything that is asked lies within the
    /// export and is answered.
    #[test]
    fn any_bytes(
        start in 0usize..4,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        step in 1usize..600,
    ) {
        let mut said = visit();
        match start {
            0 => said.clear(),
            1 => said.truncate(4),
            _ => {
                for (at, byte) in changes {
                    let at = at.index(said.len());
                    said[at] = byte;
                }
                if start == 3 {
                    bytes.clear();
                }
            }
        }
        said.extend(bytes);
        let (one, end) = talk(session(), &said, step);
        let (other, same) = talk(session(), &said, step * 3 + 1);
        prop_assert_eq!(&end, &same);
        // At its violent end a client may not have heard all of it.
        if end.is_ok() {
            prop_assert!(one == other);
        }
    }

    /// A request of any kind is either refused or asked with a range that there is.
    #[test]
    fn any_request(
        flags in prop_oneof![Just(0u16), any::<u16>()],
        command in 0u16..9,
        offset in prop_oneof![(0..SIZE * 2).prop_map(|n| n & !511), any::<u64>()],
        length in prop_oneof![(0..1u32 << 26).prop_map(|n| n & !511), any::<u32>()],
        structured in any::<bool>(),
    ) {
        let mut session = transmitting(structured, Limits::default());
        feed(&mut session, &request(flags, command, 1, offset, length));
        match session.next() {
            Ok(Some(Asked::Io { request, .. })) => {
                let end = request.offset.checked_add(request.length);
                prop_assert!(end.is_some_and(|end| end <= SIZE));
                prop_assert!((request.length == 0) == (request.op == Op::Flush));
                prop_assert!(request.op != Op::Read || request.length <= u64::from(MAX_PAYLOAD));
            }
            Ok(Some(Asked::Status { offset, length, .. } | Asked::WillNeed { offset, length })) => {
                prop_assert!(offset + length <= SIZE && length > 0);
            }
            Ok(None) => {
                let answered = session.unsent() > 0 || session.input.is_skipping();
                let coming = session.spaces()[0].len() == length as usize;
                prop_assert!(answered || coming || !session.wants_bytes());
            }
            Err(violation) => prop_assert!(false, "{}", violation),
        }
    }
}
