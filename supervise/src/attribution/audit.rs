//! What audit says of the system calls that send signals: its records, put together by the serial
//! number of their event, become [`Seen`].
//!
//! It only reads text; the socket is `audit_linux`'s. The kernel writes one event as several
//! records, each with the same number in brackets:
//!
//! | record | says |
//! |---|---|
//! | SYSCALL | the call, its arguments, and who called: numbers, users, name, executable |
//! | OBJ_PID | a process that a signal was sent to: its number, even if a thread's was given |
//! | PROCTITLE | the words that the sender was started with, at most 128 bytes of them |
//! | EOE | that this was all |
//!
//! Records of several events may be mixed, and those of one may be lost: an event is told as far as
//! it is known when its end has come, or when too many others have begun since.
//!
//! Source: the kernel's kernel/auditsc.c; what they look like for each call was seen on 6.18.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{Confidence, Seen, Target, Via, Witness};
use crate::{Exe, Moment, Sender};

pub mod wire;

/// How many events may have begun and not ended. A processor writes one at a time.
const OPEN: usize = 256;

/// How many targets of one call are kept; kill(-1) has as many as there are processes.
const TARGETS: usize = 4096;

/// What audit calls a user that never logged in.
const NOBODY: u32 = u32::MAX;

/// The time of day, in nanoseconds of the epoch, at a moment: records carry the former.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The moment.
    pub moment: Moment,
    /// The time of day then.
    pub wall: u64,
}

/// The events that have begun.
#[derive(Debug, Default)]
pub struct Assembler {
    open: VecDeque<Open>,
}

/// An event's time, in milliseconds of the epoch, and its number, which together are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    millis: u64,
    serial: u64,
}

#[derive(Debug)]
struct Open {
    stamp: Stamp,
    call: Call,
    sender: Sender,
    targets: Vec<i32>,
}

/// A system call that has sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    signal: i32,
    via: Via,
    /// The number it was given as a target, if it was given one of a process or thread.
    given: Option<i32>,
    /// The number it was given as the process's, beside the thread's.
    process: Option<i32>,
}

impl Assembler {
    /// Takes a record of this kind with this text, and adds to `seen` what is complete with it.
    pub fn record(&mut self, kind: u16, text: &[u8], clock: Clock, seen: &mut Vec<Seen>) {
        let Some((stamp, text)) = stamp(text) else { return };
        if kind == wire::SYSCALL {
            let Some(call) = call(text) else { return };
            if self.open.len() == OPEN
                && let Some(oldest) = self.open.pop_front()
            {
                oldest.tell(clock, seen);
            }
            self.open.push_back(Open { stamp, call, sender: sender(text), targets: Vec::new() });
            return;
        }
        let Some(at) = self.open.iter().position(|open| open.stamp == stamp) else { return };
        match kind {
            wire::OBJ_PID => {
                let target = field(text, "opid").and_then(decimal);
                if let (Some(open), Some(target)) = (self.open.get_mut(at), target)
                    && open.targets.len() < TARGETS
                {
                    open.targets.push(target);
                }
            }
            wire::PROCTITLE => {
                if let Some(open) = self.open.get_mut(at) {
                    open.sender.command = field(text, "proctitle").and_then(value).map(words);
                }
            }
            wire::EOE => {
                if let Some(open) = self.open.remove(at) {
                    open.tell(clock, seen);
                }
            }
            _ => {}
        }
    }

    /// Tells all that has begun: records were lost, and the ends of these may be among them.
    pub fn finish(&mut self, clock: Clock, seen: &mut Vec<Seen>) {
        for open in self.open.drain(..) {
            open.tell(clock, seen);
        }
    }
}

impl Open {
    fn tell(self, clock: Clock, seen: &mut Vec<Seen>) {
        let before = clock.wall.saturating_sub(self.stamp.millis.saturating_mul(1_000_000));
        let at = Moment(clock.moment.0.saturating_sub(before));
        let Call { signal, via, given, process } = self.call;
        let mut tell = |target| {
            let sender = Some(self.sender.clone());
            let (confidence, witness) = (Confidence::Certain, Witness::Audit);
            seen.push(Seen { at, signal, via, target, sender, confidence, witness });
        };
        // Without a word from the kernel on who was hit, the numbers of the call must do.
        if let (true, Some(given)) = (self.targets.is_empty(), given) {
            tell(Target { pid: process.unwrap_or(given), tid: given });
        }
        for &pid in &self.targets {
            tell(Target { pid, tid: given.unwrap_or(pid) });
        }
    }
}

/// `audit(1700000000.123:456): ` and what follows.
fn stamp(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let text = text.strip_prefix(b"audit(")?;
    let end = text.iter().position(|&byte| byte == b')')?;
    let inside = std::str::from_utf8(text.get(..end)?).ok()?;
    let (time, serial) = inside.split_once(':')?;
    let (seconds, millis) = time.split_once('.')?;
    let (seconds, millis): (u64, u64) = (digits(seconds)?, digits(millis)?);
    let millis = seconds.checked_mul(1000)?.checked_add(millis)?;
    let rest = text.get(end + 1..)?.strip_prefix(b": ").unwrap_or_default();
    Some((Stamp { millis, serial: digits(serial)? }, rest))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The value of a field. What a process can choose is written without a space in it.
fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let words = text.split(|&byte| matches!(byte, b' ' | b'\n' | 0));
    words.filter_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
}

fn decimal<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// A system call's argument, in hexadecimal.
fn argument(text: &[u8], index: usize) -> Option<u64> {
    let name = ["a0", "a1", "a2", "a3"].get(index)?;
    u64::from_str_radix(std::str::from_utf8(field(text, name)?).ok()?, 16).ok()
}

/// The argument as the kernel takes it: an int.
fn int(text: &[u8], index: usize) -> Option<i32> {
    Some((argument(text, index)? as u32).cast_signed())
}

/// Bytes that a process has chosen: in quotation marks, or in hexadecimal if they hold anything
/// but plain characters.
fn value(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(plain) = text.strip_prefix(b"\"") {
        return Some(plain.strip_suffix(b"\"")?.to_vec());
    }
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks_exact(2).map(|pair| match *pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

/// A command line: words with zeros behind them.
fn words(mut bytes: Vec<u8>) -> Vec<OsString> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// What a SYSCALL record says was called; nothing if that sends no signal, or has failed.
fn call(text: &[u8]) -> Option<Call> {
    if field(text, "success") != Some(b"yes") {
        return None;
    }
    let arch = u32::from_str_radix(std::str::from_utf8(field(text, "arch")?).ok()?, 16).ok()?;
    let (_, way) = wire::way(arch, decimal(field(text, "syscall")?)?)?;
    let (first, second) = (int(text, 0)?, int(text, 1)?);
    let signal = int(text, way.signal_at())?;
    let number = |number: i32| (number > 0).then_some(number);
    let (via, given, process) = match way {
        wire::Way::Kill if first <= 0 => (Via::Group, None, None),
        wire::Way::Kill => (Via::Kill, number(first), None),
        wire::Way::Tkill => (Via::Thread, number(first), None),
        wire::Way::Tgkill => (Via::Thread, number(second), number(first)),
        wire::Way::Queue => (Via::Queue, number(first), None),
        wire::Way::ThreadQueue => (Via::Queue, number(second), number(first)),
        wire::Way::Pidfd => (Via::Pidfd, None, None),
    };
    // 0 only asks whether one could be sent.
    (signal > 0).then_some(Call { signal, via, given, process })
}

/// Who called, by a SYSCALL record.
fn sender(text: &[u8]) -> Sender {
    let number = |name| field(text, name).and_then(decimal::<u32>);
    let text_of = |name| field(text, name).and_then(value);
    let parent = field(text, "ppid").and_then(decimal::<i32>).filter(|&parent| parent > 1);
    Sender {
        uid: number("uid"),
        euid: number("euid"),
        auid: number("auid").filter(|&user| user != NOBODY),
        exe: text_of("exe").map_or(Exe::Hidden, |path| Exe::Path(OsString::from_vec(path).into())),
        name: text_of("comm").map(|name| String::from_utf8_lossy(&name).into_owned()),
        parents: parent.map(|parent| (parent, String::new())).into_iter().collect(),
        ..Sender::of(field(text, "pid").and_then(decimal).unwrap_or(0))
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
