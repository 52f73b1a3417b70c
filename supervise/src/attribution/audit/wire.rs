//! The bytes that are said to audit and by it: netlink messages, rules, and the numbers of the
//! system calls that send signals.
//!
//! Source: netlink(7), linux/netlink.h, linux/audit.h, and each machine's table of system calls.

/// Asks how audit stands, and is the answer.
pub const GET: u16 = 1000;
/// Sets how audit stands.
pub const SET: u16 = 1001;
/// Adds a rule.
pub const ADD_RULE: u16 = 1011;
/// Deletes a rule that is exactly this one.
pub const DELETE_RULE: u16 = 1012;
/// Asks for all rules; each answer is one.
pub const LIST_RULES: u16 = 1013;
/// A system call.
pub const SYSCALL: u16 = 1300;
/// A process that a system call was aimed at.
pub const OBJ_PID: u16 = 1318;
/// The last record of an event.
pub const EOE: u16 = 1320;
/// The command line of the process.
pub const PROCTITLE: u16 = 1327;
/// The answer to a request: an error number, or 0.
pub const ERROR: u16 = 2;
/// The end of a list.
pub const DONE: u16 = 3;

/// The multicast group that all records go to, as a set of groups (AUDIT_NLGRP_READLOG).
pub const READLOG: u32 = 1;

/// Bytes before a message's body.
const HEADER: usize = 16;
/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST: u16 = 1 | 4;

/// Numbers of system calls that a rule has bits for, in words of 32.
const MASK: usize = 64;
/// Conditions that a rule has room for.
const FIELDS: usize = 64;
/// Bytes of a rule before its texts.
const RULE: usize = 4 * (3 + MASK + 3 * FIELDS + 1);

/// On leaving a system call.
const EXIT: u32 = 4;
/// On making a process.
const TASK: u32 = 1;
/// No record is written.
const NEVER: u32 = 0;
/// A record is written.
const ALWAYS: u32 = 2;

const ARCH: u32 = 11;
const SUCCESS: u32 = 104;
const ARGUMENT: u32 = 200;
const KEY: u32 = 210;
/// The fields whose value is the length of a text.
const TEXTS: [u32; 14] = [13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 105, 107, 112, KEY];

const EQUAL: u32 = 0x4000_0000;
const NOT_EQUAL: u32 = 0x3000_0000;
const AT_LEAST: u32 = 0x6000_0000;
const AT_MOST: u32 = 0x5000_0000;

/// What the keys of our rules begin with.
const PREFIX: &str = "tandem-supervise:";

/// A way to send a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// kill(2).
    Kill,
    /// tkill(2).
    Tkill,
    /// tgkill(2).
    Tgkill,
    /// rt_sigqueueinfo(2).
    Queue,
    /// rt_tgsigqueueinfo(2).
    ThreadQueue,
    /// pidfd_send_signal(2).
    Pidfd,
}

impl Way {
    /// Which argument is the signal, from 0.
    pub fn signal_at(self) -> usize {
        match self {
            Way::Tgkill | Way::ThreadQueue => 2,
            Way::Kill | Way::Tkill | Way::Queue | Way::Pidfd => 1,
        }
    }
}

/// The ways that a rule can take together: those whose signal is the same argument. The kernel
/// writes OBJ_PID records, of all of them, while any rule is about kill, tkill or tgkill.
const GROUPS: [&[Way]; 2] =
    [&[Way::Kill, Way::Tkill, Way::Queue, Way::Pidfd], &[Way::Tgkill, Way::ThreadQueue]];

/// A kind of system call, by audit's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// AUDIT_ARCH_*.
    pub arch: u32,
    /// The number of each way's system call.
    pub calls: [(Way, u32); 6],
}

const fn calls(kill: u32, tkill: u32, tgkill: u32, queue: u32, thread: u32) -> [(Way, u32); 6] {
    [
        (Way::Kill, kill),
        (Way::Tkill, tkill),
        (Way::Tgkill, tgkill),
        (Way::Queue, queue),
        (Way::ThreadQueue, thread),
        (Way::Pidfd, 424),
    ]
}

const X86_64: Machine = Machine { arch: 0xc000_003e, calls: calls(62, 200, 234, 129, 297) };
const I386: Machine = Machine { arch: 0x4000_0003, calls: calls(37, 238, 270, 178, 335) };
const AARCH64: Machine = Machine { arch: 0xc000_00b7, calls: calls(129, 130, 131, 138, 240) };
const ARM: Machine = Machine { arch: 0x4000_0028, calls: calls(37, 238, 268, 178, 363) };

/// Whose system calls a kernel like ours takes: our own and those of 32 bits; none on a machine
/// whose numbers we do not know.
pub fn machines() -> &'static [Machine] {
    if cfg!(target_arch = "x86_64") {
        &[X86_64, I386]
    } else if cfg!(target_arch = "aarch64") {
        &[AARCH64, ARM]
    } else {
        &[]
    }
}

/// Which way to send a signal a system call is, on any machine we know.
pub fn way(arch: u32, call: u32) -> Option<(Machine, Way)> {
    let machine = [X86_64, I386, AARCH64, ARM].into_iter().find(|it| it.arch == arch)?;
    let (way, _) = machine.calls.into_iter().find(|&(_, number)| number == call)?;
    Some((machine, way))
}

/// Whose rules they are, and what is to be when the last of them is gone: all of it is in their
/// key, so that whoever finds them later knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub pid: i32,
    /// When it began: nanoseconds since boot.
    pub since_boot: u64,
    /// How it was before the first of us came.
    pub before: Before,
}

/// What of audit we change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// Whether it is on.
    pub on: bool,
    /// How many records may wait before those who make them wait too; 0: as many as there are.
    pub backlog: u32,
}

impl Owner {
    fn key(&self) -> String {
        let Before { on, backlog } = self.before;
        let state = if on { "on" } else { "off" };
        format!("{PREFIX}{}:{}:{state}:{backlog}", self.pid, self.since_boot)
    }

    fn of(key: &str) -> Option<Owner> {
        let mut parts = key.strip_prefix(PREFIX)?.split(':');
        let (pid, since_boot) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let on = match parts.next()? {
            "on" => true,
            "off" => false,
            _ => return None,
        };
        let before = Before { on, backlog: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(Owner { pid, since_boot, before })
    }
}

/// Our rules for a machine: every successful call that sends a signal by which a process ends
/// unless it does something about it. The others are many: Go's runtime sends itself SIGURG all
/// day, and the C library uses 32 and 33 among its own threads.
pub fn rules(machine: &Machine, owner: &Owner) -> Vec<Vec<u8>> {
    // CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: the same on all these machines.
    const HARMLESS: [u32; 10] = [17, 18, 19, 20, 21, 22, 23, 28, 32, 33];
    let rule = |ways: &&[Way]| {
        let at = ARGUMENT + ways.first().map_or(1, |way| way.signal_at() as u32);
        let mut conditions = vec![(ARCH, EQUAL, machine.arch), (SUCCESS, EQUAL, 1)];
        conditions.extend([(at, AT_LEAST, 1), (at, AT_MOST, 64)]);
        conditions.extend(HARMLESS.map(|signal| (at, NOT_EQUAL, signal)));
        let wanted = machine.calls.iter().filter(|(way, _)| ways.contains(way));
        encode(wanted.map(|&(_, number)| number), &conditions, &owner.key())
    };
    GROUPS.iter().map(rule).collect()
}

/// A rule: write a record on leaving one of these calls, if all conditions hold.
fn encode(calls: impl Iterator<Item = u32>, conditions: &[(u32, u32, u32)], key: &str) -> Vec<u8> {
    let mut mask = [0u32; MASK];
    for call in calls {
        if let Some(word) = mask.get_mut(call as usize / 32) {
            *word |= 1 << (call % 32);
        }
    }
    let key_condition = (KEY, EQUAL, key.len() as u32);
    let conditions: Vec<_> = conditions.iter().copied().chain([key_condition]).collect();
    let column = |pick: fn(&(u32, u32, u32)) -> u32| {
        conditions.iter().map(pick).chain(std::iter::repeat(0)).take(FIELDS)
    };
    let words = [EXIT, ALWAYS, conditions.len() as u32]
        .into_iter()
        .chain(mask)
        .chain(column(|it| it.0))
        .chain(column(|it| it.2))
        .chain(column(|it| it.1))
        .chain([key.len() as u32]);
    let mut bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    bytes.extend(key.as_bytes());
    bytes
}

/// What we have to know of a rule that somebody made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose it is, if it is one of ours.
    pub owner: Option<Owner>,
    /// Whether it keeps every new process from being looked at.
    pub blinds: bool,
}

/// Reads a rule as it is listed; nothing if it makes no sense.
pub fn rule(bytes: &[u8]) -> Option<Rule> {
    let (head, mut texts) = bytes.split_at_checked(RULE)?;
    let word = |index: usize| Some(u32::from_ne_bytes(*head.get(index * 4..)?.first_chunk()?));
    let count = word(2)? as usize;
    if count > FIELDS {
        return None;
    }
    let mut owner = None;
    for index in 0..count {
        let (field, value) = (word(3 + MASK + index)?, word(3 + MASK + FIELDS + index)?);
        if TEXTS.contains(&field) {
            let (text, rest) = texts.split_at_checked(value as usize)?;
            texts = rest;
            if field == KEY {
                owner = std::str::from_utf8(text).ok().and_then(Owner::of);
            }
        }
    }
    let blinds = word(0)? == TASK && word(1)? == NEVER && count == 0;
    Some(Rule { owner, blinds })
}

/// What [`Status::enabled`] is where nothing can be changed before the next boot.
pub const LOCKED: u32 = 2;

/// How audit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// 0: off; 1: on; [`LOCKED`].
    pub enabled: u32,
    /// auditd's process, or 0.
    pub daemon: u32,
    /// How many records may wait; see [`Before::backlog`].
    pub backlog: u32,
    /// How many records were lost since boot.
    pub lost: u32,
}

/// Reads the answer to [`GET`].
pub fn status(bytes: &[u8]) -> Option<Status> {
    let word = |index: usize| Some(u32::from_ne_bytes(*bytes.get(index * 4..)?.first_chunk()?));
    Some(Status { enabled: word(1)?, daemon: word(3)?, backlog: word(5)?, lost: word(6)? })
}

/// What [`SET`] says to switch audit on or off, and nothing else.
pub fn switch(on: bool) -> Vec<u8> {
    set(1, |status| status[1] = u32::from(on))
}

/// What [`SET`] says to have so many records wait, and nothing else.
pub fn backlog(limit: u32) -> Vec<u8> {
    set(0x10, |status| status[5] = limit)
}

/// A status of which this is to be set.
fn set(what: u32, fill: impl FnOnce(&mut [u32; 10])) -> Vec<u8> {
    let mut words = [0; 10];
    words[0] = what;
    fill(&mut words);
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A request, which is to be answered with an error number or 0.
pub fn request(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// A message, of which there may be several in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u16,
    /// The request's that it answers.
    pub sequence: u32,
    /// What it says.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The error number that it says, 0 for success; nothing if it says no such thing.
    pub fn error(&self) -> Option<i32> {
        let code = i32::from_ne_bytes(*self.body.first_chunk()?);
        (self.kind == ERROR).then_some(code.checked_neg()?)
    }

    /// A record, which is a datagram of its own: of these the kernel has not always counted the
    /// header in their length.
    pub fn record(datagram: &'a [u8]) -> Option<Message<'a>> {
        let (header, body) = datagram.split_at_checked(HEADER)?;
        let kind = u16::from_ne_bytes(*header.get(4..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*header.get(8..)?.first_chunk()?);
        Some(Message { kind, sequence, body })
    }
}

/// The messages of a datagram, up to the first that makes no sense.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*datagram.first_chunk()?) as usize;
        let message = Message::record(datagram.get(..length)?)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
