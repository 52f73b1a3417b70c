//! What a client of the block device may send: any bytes, before, during and after negotiation, to
//! a session that answers early or late and with or without errors. What it asks for lies within
//! the export, what it is sent can be read, and it never holds more than its limits.
//!
//! Input: a byte for the length of the pieces, one for how the session is, then the client's bytes.

#![no_main]

use hastlite::Data;
use hastlite::engine::Op;
use hastlite::nbd::{Asked, BlockStatus, Export, Limits, MAX_PAYLOAD, Run, Session};
use hastlite::wire::errno::Errno;
use libfuzzer_sys::fuzz_target;
use std::io::IoSlice;
use std::sync::Arc;

/// Of which whole blocks are exported.
const SIZE: u64 = (1 << 32) + 100;
const LIMITS: Limits = Limits { requests: 5, bytes: 10_000, buffer: 0 };
/// More is not really read: it would only take time.
const MOST_READ: u64 = 8192;

/// Flags, structured replies, both metadata contexts, and GO.
const NEGOTIATION: &[u8] = b"\0\0\0\x03\
    IHAVEOPT\0\0\0\x08\0\0\0\0\
    IHAVEOPT\0\0\0\x0a\0\0\0\x2f\0\0\0\0\0\0\0\x02\
    \0\0\0\x0fbase:allocation\0\0\0\x10x-hastlite:dirty\
    IHAVEOPT\0\0\0\x07\0\0\0\x06\0\0\0\0\0\0";

fuzz_target!(|input: &[u8]| {
    let [piece, how, rest @ ..] = input else { return };
    let block = [1, 512, 4096, 65536][usize::from(how & 3)];
    let negotiated = how & 4 != 0;
    let late = how & 8 != 0;
    let export = Arc::new(Export::new("disk", "", SIZE, block).with_fast_zero(how & 16 != 0));
    let mut session = Session::new(9, export, LIMITS);
    if negotiated {
        assert_eq!(feed(&mut session, NEGOTIATION), NEGOTIATION.len());
        assert!(session.next().expect("the negotiation").is_none());
        assert!(!session.is_negotiating());
        send(&mut session, usize::MAX);
    }
    let mut waiting = Vec::new();
    let mut sent = Vec::new();
    let mut fed = 0;
    let piece = usize::from(*piece) * 16 + 1;
    let ended = loop {
        let now = feed(&mut session, &rest[fed..rest.len().min(fed + piece)]);
        fed += now;
        let before = (waiting.len(), session.unsent());
        match ask(&mut session, &mut waiting, u64::from(block)) {
            Ok(()) => {}
            Err(()) => break false,
        }
        let progress = now > 0 || before != (waiting.len(), session.unsent());
        if !late || !progress {
            waiting.drain(..).rev().for_each(|asked| answer(&mut session, &asked));
        }
        sent.extend(send(&mut session, piece));
        if !progress && session.unsent() == 0 && waiting.is_empty() && before == (0, 0) {
            break true;
        }
    };
    if ended {
        assert!(fed == rest.len() || session.is_done(), "bytes are left");
        let (requests, bytes) = session.in_flight();
        // At most a write is left whose data has not come.
        assert!(requests <= 1 && bytes <= u64::from(MAX_PAYLOAD), "{requests} are forgotten");
        if negotiated {
            read_replies(&sent);
        }
    }
});

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

fn ask(session: &mut Session, waiting: &mut Vec<Asked>, block: u64) -> Result<(), ()> {
    while let Some(asked) = session.next().map_err(drop)? {
        let (offset, length) = match &asked {
            Asked::Io { request, .. } => {
                assert_eq!(Session::connection(request.tag), 9);
                assert_eq!(request.data.is_some(), request.op == Op::Write);
                assert_eq!(request.length == 0, request.op == Op::Flush);
                if let Some(data) = &request.data {
                    assert_eq!(data.len() as u64, request.length);
                }
                (request.offset, request.length)
            }
            Asked::Status { offset, length, .. } | Asked::WillNeed { offset, length } => {
                (*offset, *length)
            }
        };
        assert!(
            offset % block == 0 && length % block == 0 && offset + length <= SIZE / block * block
        );
        if !matches!(asked, Asked::WillNeed { .. }) {
            waiting.push(asked);
        }
        let (requests, bytes) = session.in_flight();
        assert!(requests <= LIMITS.requests && bytes <= LIMITS.bytes + u64::from(MAX_PAYLOAD));
    }
    Ok(())
}

fn answer(session: &mut Session, asked: &Asked) {
    match asked {
        Asked::Io { request, .. } => {
            let result = match request.op {
                Op::Read if request.length > MOST_READ => Err(Errno::EIO),
                Op::Read => Ok(Some(Data::from(vec![0; request.length as usize]))),
                Op::Trim => Err(Errno(request.offset as i32)),
                _ => Ok(None),
            };
            assert!(session.answer(request.tag, result));
            assert!(!session.answer(request.tag, Ok(None)), "twice");
        }
        Asked::Status { tag, offset, length, .. } => {
            let runs = |n: u64| {
                (0..n % 7).map(|n| Run { length: length / (n + 1), flags: n as u32 & 3 }).collect()
            };
            let status = BlockStatus { allocation: runs(offset / 512), dirty: runs(length / 512) };
            assert!(session.answer_status(*tag, Ok(status)));
        }
        Asked::WillNeed { .. } => {}
    }
}

fn send(session: &mut Session, most: usize) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 5];
    let used = session.gather(&mut slices);
    let mut bytes = Vec::new();
    for slice in &slices[..used] {
        bytes.extend_from_slice(&slice[..slice.len().min(most - bytes.len())]);
    }
    session.sent(bytes.len());
    bytes
}

/// All that is sent after the negotiation, as a client would: simple replies without data, and
/// chunks whose last is marked.
fn read_replies(mut sent: &[u8]) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    while !sent.is_empty() {
        let length = match sent[..4] {
            [0x67, 0x44, 0x66, 0x98] => 16,
            [0x66, 0x8e, 0x33, 0xef] => {
                let payload = number(&sent[16..20]);
                match number(&sent[6..8]) {
                    0 => assert_eq!(payload, 0),
                    1 => assert!(payload >= 9),
                    5 => assert!(payload >= 12 && payload % 8 == 4),
                    0x8001 => {
                        assert_ne!(number(&sent[20..24]), 0);
                        assert_eq!(payload, 6 + number(&sent[24..26]));
                    }
                    kind => panic!("a chunk of kind {kind}"),
                }
                20 + payload
            }
            _ => panic!("{:?} where a reply was to come", &sent[..4]),
        };
        sent = &sent[length..];
    }
}
