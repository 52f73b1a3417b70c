//! What the kernel's taskstats say of an end, byte by byte: generic netlink and `struct taskstats`
//! of linux/taskstats.h. Pure; the socket is `taskstats_linux`'s.
//!
//! The kernel makes one record of each thread that ends, with parent and status in it, before the
//! end is announced in any other way. The record of a process's last thread is that of the
//! process. Since version 12 (Linux 6.0) it says so; older ones are not understood here, nor is
//! version 15, in which all fields have other places.

use std::ffi::c_int;
use std::time::Duration;

use crate::Exit;

/// The end of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub tid: i32,
    /// That of its process.
    pub pid: i32,
    /// The parent of its process at that moment; 0 for none.
    pub parent: i32,
    /// How it ended; `None` for a number that is of no end.
    pub exit: Option<Exit>,
    /// Whether it was the last of its process.
    pub last: bool,
    /// How long it had run.
    pub elapsed: Duration,
}

/// Something that the kernel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Something has ended, or was asked for.
    Record(Record),
    /// A record, but of a version that cannot be read.
    Version(u16),
    /// The number of the family that was asked for.
    Family(u16),
    /// An answer: 0, or what was wrong, as a positive errno(3).
    Answer(i32),
    /// Something that could not be read.
    Garbled,
}

// linux/netlink.h and linux/genetlink.h
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const ATTRIBUTE: usize = 4;
/// The upper two bits of an attribute's type are flags.
const TYPE: u16 = 0x3fff;
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const NEW_FAMILY: u8 = 1;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

// linux/taskstats.h
const COMMAND_GET: u8 = 1;
const COMMAND_NEW: u8 = 2;
const ASK_PID: u16 = 1;
const REGISTER: u16 = 3;
const DEREGISTER: u16 = 4;
const STATS: u16 = 3;
const OF_A_THREAD: u16 = 4;
/// linux/acct.h
const GROUP: u8 = 0x20;

/// Asks for the number of the family, which is given when the system starts.
pub fn ask_family(sequence: u32) -> Vec<u8> {
    request(CONTROLLER, GET_FAMILY, sequence, FAMILY_NAME, b"TASKSTATS\0")
}

/// Asks for the record of a thread that runs.
pub fn ask_thread(family: u16, sequence: u32, tid: i32) -> Vec<u8> {
    request(family, COMMAND_GET, sequence, ASK_PID, &tid.to_ne_bytes())
}

/// Asks to be told, or not any more, of all ends on these processors: a list such as `0-3`.
pub fn ask_ends(family: u16, sequence: u32, processors: &str, told: bool) -> Vec<u8> {
    let mut list = processors.as_bytes().to_vec();
    list.push(0);
    request(family, COMMAND_GET, sequence, if told { REGISTER } else { DEREGISTER }, &list)
}

fn request(kind: u16, command: u8, sequence: u32, attribute: u16, value: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE + value.len();
    let total = HEADER + GENERIC_HEADER + length.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(total);
    // What we send is short; a length that did not fit would be refused.
    bytes.extend(u32::try_from(total).unwrap_or(0).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(u16::try_from(length).unwrap_or(0).to_ne_bytes());
    bytes.extend(attribute.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(total, 0);
    bytes
}

/// Reads a datagram. `family` is our family's number, or 0 while it is not known.
pub fn decode(datagram: &[u8], family: u16, said: &mut Vec<Said>) {
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = u32_at(rest, 0).and_then(|length| usize::try_from(length).ok());
        let message = length.filter(|&length| length >= HEADER).and_then(|n| rest.get(..n));
        let Some(message) = message else {
            said.push(Said::Garbled);
            return;
        };
        said.push(one(message, family).unwrap_or(Said::Garbled));
        rest = rest.get(message.len().next_multiple_of(4)..).unwrap_or_default();
    }
}

fn one(message: &[u8], family: u16) -> Option<Said> {
    let kind = u16_at(message, 4)?;
    if kind == NLMSG_ERROR {
        let code = u32_at(message, HEADER)?.cast_signed();
        return Some(Said::Answer(code.checked_neg()?));
    }
    let command = *message.get(HEADER)?;
    let body = message.get(HEADER + GENERIC_HEADER..)?;
    if kind == CONTROLLER && command == NEW_FAMILY {
        let id = attributes(body).find(|(kind, _)| *kind == FAMILY_ID)?.1;
        return Some(Said::Family(u16_at(id, 0)?));
    }
    if kind != family || command != COMMAND_NEW {
        return None;
    }
    // There may be one of the whole process beside it, with sums in it that nobody needs.
    let nested = attributes(body).find(|(kind, _)| *kind == OF_A_THREAD)?.1;
    let stats = attributes(nested).find(|(kind, _)| *kind == STATS)?.1;
    record(stats)
}

/// The attributes of a message, up to one that makes no sense.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn record(stats: &[u8]) -> Option<Said> {
    let version = u16_at(stats, 0)?;
    if version < 12 || version == 15 {
        return Some(Said::Version(version));
    }
    let number = |at| i32::try_from(u32_at(stats, at)?).ok();
    let status: c_int = u32_at(stats, 4)?.cast_signed();
    Some(Said::Record(Record {
        tid: number(128)?,
        pid: number(368)?,
        parent: number(132)?,
        exit: Exit::from_wait_status(status),
        last: stats.get(8)? & GROUP != 0,
        elapsed: Duration::from_micros(u64_at(stats, 144)?),
    }))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn stats(version: u16) -> Vec<u8> {
        let mut stats = vec![0; 416];
        stats[..2].copy_from_slice(&version.to_ne_bytes());
        stats[4..8].copy_from_slice(&32512u32.to_ne_bytes());
        stats[8] = GROUP | 1;
        stats[128..132].copy_from_slice(&101u32.to_ne_bytes());
        stats[132..136].copy_from_slice(&7u32.to_ne_bytes());
        stats[144..152].copy_from_slice(&1500u64.to_ne_bytes());
        stats[368..372].copy_from_slice(&100u32.to_ne_bytes());
        stats
    }

    fn end(stats: &[u8]) -> Vec<u8> {
        let thread = [attribute(1, &[0; 4]), attribute(6, b""), attribute(STATS, stats)].concat();
        let body = [vec![COMMAND_NEW, 1, 0, 0], attribute(OF_A_THREAD | 0x8000, &thread)].concat();
        message(31, &body)
    }

    fn said(bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        decode(bytes, 31, &mut said);
        said
    }

    #[test]
    fn an_end() {
        let record = Record {
            tid: 101,
            pid: 100,
            parent: 7,
            exit: Some(Exit::Exited(127)),
            last: true,
            elapsed: Duration::from_micros(1500),
        };
        assert_eq!(said(&end(&stats(13))), [Said::Record(record)]);
        let two = [end(&stats(16)), end(&stats(15)), end(&stats(11))].concat();
        assert_eq!(said(&two), [Said::Record(record), Said::Version(15), Said::Version(11)]);
        // Cut anywhere it is nothing, not something else.
        let whole = end(&stats(13));
        for cut in 1..whole.len() {
            assert_eq!(said(&whole[..cut]), [Said::Garbled]);
        }
    }

    #[test]
    fn answers() {
        assert_eq!(said(&message(NLMSG_ERROR, &(-1i32).to_ne_bytes())), [Said::Answer(1)]);
        assert_eq!(said(&message(NLMSG_ERROR, &i32::MIN.to_ne_bytes())), [Said::Garbled]);
        let body = [vec![NEW_FAMILY, 2, 0, 0], attribute(FAMILY_ID, &31u16.to_ne_bytes())].concat();
        assert_eq!(said(&message(CONTROLLER, &body)), [Said::Family(31)]);
        assert_eq!(said(&message(30, &body)), [Said::Garbled]);
    }

    proptest! {
        #[test]
        fn anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            said(&bytes);
        }
    }
}
