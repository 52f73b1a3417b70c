//! What the kernel's process connector says, decoded, and the account of what it did not get to
//! say. It reads no socket; `connector_linux` does.
//!
//! A datagram holds netlink messages: a header (netlink(7)), a `cn_msg` and a `proc_event`
//! (linux/connector.h, linux/cn_proc.h), all in the byte order of the machine.
//!
//! ```text
//!  0 nlmsghdr   len u32, type u16, flags u16, seq u32, portid u32
//! 16 cn_msg     idx u32 = 1, val u32 = 1, seq u32, ack u32, len u16, flags u16
//! 36 proc_event what u32, cpu u32, timestamp u64 (CLOCK_MONOTONIC, ns), then 24 bytes of data
//! ```
//!
//! The kernel counts `cn_msg.seq` for each CPU, and counts an event that it then fails to send
//! too. So whatever is missing between two numbers of one CPU is a loss, and its exact size. What
//! is missing at the very end shows in the socket's own count of drops; [`Ledger`] keeps both
//! accounts and tells of every loss once.

use std::ffi::c_int;

use crate::Moment;

const NETLINK_HEADER: usize = 16;
const CN_HEADER: usize = 20;
const NLMSG_DONE: u16 = 3;
/// Both halves of the connector's own address, CN_IDX_PROC and CN_VAL_PROC.
const CN_PROC: u32 = 1;
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;

const EVENT_NONE: u32 = 0;
const EVENT_FORK: u32 = 0x0000_0001;
const EVENT_EXEC: u32 = 0x0000_0002;
const EVENT_UID: u32 = 0x0000_0004;
const EVENT_SID: u32 = 0x0000_0080;
const EVENT_EXIT: u32 = 0x8000_0000;

/// More CPUs than any kernel is built for (NR_CPUS is at most 8192).
const MOST_CPUS: usize = 1 << 16;

/// Something that happened to some process of the machine, ours or not. Numbers are those of the
/// first pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Moment,
    /// What.
    pub what: What,
}

/// What happened. `tid` is a thread's number, `pid` that of the process it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process was made (`tid` is `pid`), or a thread of one (it is not).
    Fork {
        /// The process that is the parent of a new process. Of a thread it means nothing.
        parent: i32,
        /// The new thread.
        tid: i32,
        /// The process it belongs to.
        pid: i32,
    },
    /// A process executes another program, and has but one thread again.
    Exec {
        /// Which.
        pid: i32,
    },
    /// A thread ended. The event's own parent field is left out: it is the reaper's, or zero if
    /// there is nobody left to reap it.
    Exit {
        /// Which.
        tid: i32,
        /// The process it belonged to.
        pid: i32,
        /// As wait(2) would have it, were this thread the whole process.
        status: c_int,
        /// Whether it may have been reaped before this was written. If not, its number was its own
        /// then. (Before Linux 4.18 nobody says, and it is always true.)
        reaped: bool,
    },
    /// A thread's user ids have changed.
    User {
        /// Which.
        tid: i32,
        /// The process it belongs to.
        pid: i32,
        /// The real user id now.
        real: u32,
        /// The effective user id now.
        effective: u32,
    },
    /// A process leads a new session.
    Session {
        /// Which.
        pid: i32,
    },
    /// Anything else; it is counted, no more.
    Other,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event, and its place in the account of a CPU.
    Event {
        /// Which CPU's.
        cpu: u32,
        /// Its number there.
        seq: u32,
        /// What it says.
        note: Note,
    },
    /// The answer to a request, our own or another listener's.
    Ack {
        /// When.
        at: Moment,
        /// The request's `ack`, plus one.
        ack: u32,
        /// 0, or an errno.
        error: u32,
        /// Its place in a CPU's account. Kernels before 6.6 do not count it and say CPU -1.
        cpu: u32,
        /// Its number there.
        seq: u32,
    },
}

/// Decodes the messages of one datagram. What is not the process connector's or is cut short is
/// left out; if it was an event, its number is then missing and so it counts as lost.
pub fn decode(mut datagram: &[u8]) -> impl Iterator<Item = Heard> {
    std::iter::from_fn(move || {
        while let Some(length) = u32_at(datagram, 0).map(|length| length as usize) {
            if length < NETLINK_HEADER {
                break;
            }
            let Some(message) = datagram.get(..length) else { break };
            // Messages begin at multiples of four.
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Some(heard) = message_of(message) {
                return Some(heard);
            }
        }
        None
    })
}

fn message_of(message: &[u8]) -> Option<Heard> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let cn = message.get(NETLINK_HEADER..)?;
    if kind != NLMSG_DONE || u32_at(cn, 0)? != CN_PROC || u32_at(cn, 4)? != CN_PROC {
        return None;
    }
    let (seq, ack) = (u32_at(cn, 8)?, u32_at(cn, 12)?);
    let event = cn.get(CN_HEADER..)?;
    let (what, cpu) = (u32_at(event, 0)?, u32_at(event, 4)?);
    let at = Moment(u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?));
    let data = event.get(16..)?;
    let number = |place: usize| Some(u32_at(data, place * 4)?.cast_signed());
    let what = match what {
        EVENT_NONE => {
            return Some(Heard::Ack { at, ack, error: u32_at(data, 0)?, cpu, seq });
        }
        EVENT_FORK => What::Fork { parent: number(1)?, tid: number(2)?, pid: number(3)? },
        EVENT_EXEC => What::Exec { pid: number(1)? },
        EVENT_EXIT => What::Exit {
            tid: number(0)?,
            pid: number(1)?,
            status: number(2)?,
            reaped: number(5)? == 0,
        },
        EVENT_UID => What::User {
            tid: number(0)?,
            pid: number(1)?,
            real: u32_at(data, 8)?,
            effective: u32_at(data, 12)?,
        },
        EVENT_SID => What::Session { pid: number(1)? },
        _ => What::Other,
    };
    Some(Heard::Event { cpu, seq, note: Note { at, what } })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A request to begin or to stop being told. The answer to it has `ack` + 1.
pub(crate) fn request(listen: bool, port: u32, ack: u32) -> [u8; NETLINK_HEADER + CN_HEADER + 4] {
    let mut bytes = [0; NETLINK_HEADER + CN_HEADER + 4];
    let mut place = 0;
    let mut put = |field: &[u8]| {
        for (to, from) in bytes.iter_mut().skip(place).zip(field) {
            *to = *from;
        }
        place += field.len();
    };
    put(&((NETLINK_HEADER + CN_HEADER + 4) as u32).to_ne_bytes());
    put(&NLMSG_DONE.to_ne_bytes());
    put(&0u16.to_ne_bytes());
    put(&0u32.to_ne_bytes());
    put(&port.to_ne_bytes());
    for field in [CN_PROC, CN_PROC, 0, ack] {
        put(&field.to_ne_bytes());
    }
    put(&4u16.to_ne_bytes());
    put(&0u16.to_ne_bytes());
    put(&(if listen { LISTEN } else { IGNORE }).to_ne_bytes());
    bytes
}

/// The account of what was lost, from two witnesses who each see all or a part of it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// For each CPU, the number its next event must have.
    next: Vec<Option<u32>>,
    /// What is missing between numbers, since the beginning.
    missing: u64,
    /// What the socket says it dropped, since the beginning.
    dropped: u64,
    /// The socket's own figure, which wraps.
    drops: u32,
    /// How much has been told.
    told: u64,
}

impl Ledger {
    /// A message with this number of this CPU's has been heard.
    pub fn hear(&mut self, cpu: u32, seq: u32) {
        let cpu = cpu as usize;
        if cpu >= MOST_CPUS {
            return;
        }
        if cpu >= self.next.len() {
            self.next.resize(cpu + 1, None);
        }
        let Some(next) = self.next.get_mut(cpu) else { return };
        let missing = next.map_or(0, |next| seq.wrapping_sub(next));
        // A number from before the expected one is no loss; no kernel sends one.
        if missing < u32::MAX / 2 {
            self.missing += u64::from(missing);
            *next = Some(seq.wrapping_add(1));
        }
    }

    /// The socket's count of drops stands at this.
    pub fn dropped(&mut self, drops: u32) {
        self.dropped += u64::from(drops.wrapping_sub(self.drops));
        self.drops = drops;
    }

    /// How many are known to be lost and have not been told; after this they have.
    ///
    /// The socket knows of a loss at once, the numbers show it when the next event of that CPU
    /// arrives. The numbers also show what the kernel could not even allocate. So the greater
    /// account is the true one, and both agree in the end.
    pub fn untold(&mut self) -> Option<u64> {
        let lost = self.missing.max(self.dropped);
        if lost <= self.told {
            return None;
        }
        let news = lost - self.told;
        self.told = lost;
        Some(news)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message as the kernel sends it.
    pub(crate) fn message(what: u32, cpu: u32, seq: u32, at: u64, data: [u32; 6]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(76u32.to_ne_bytes());
        bytes.extend(3u16.to_ne_bytes());
        bytes.extend([0; 10]);
        for field in [1, 1, seq, 0] {
            bytes.extend(u32::to_ne_bytes(field));
        }
        bytes.extend(40u16.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(what.to_ne_bytes());
        bytes.extend(cpu.to_ne_bytes());
        bytes.extend(at.to_ne_bytes());
        for field in data {
            bytes.extend(field.to_ne_bytes());
        }
        bytes
    }

    fn one(bytes: &[u8]) -> What {
        let heard: Vec<_> = decode(bytes).collect();
        match heard[..] {
            [Heard::Event { cpu: 1, seq: 7, note: Note { at: Moment(9), what } }] => what,
            _ => panic!("{heard:?}"),
        }
    }

    #[test]
    fn a_parent_and_a_status_are_never_confused() {
        let fork = message(EVENT_FORK, 1, 7, 9, [11, 10, 21, 20, 0, 0]);
        assert_eq!(one(&fork), What::Fork { parent: 10, tid: 21, pid: 20 });
        // 127 << 8 is an exit status and 4711 the reaper; neither is anybody's parent.
        let exit = message(EVENT_EXIT, 1, 7, 9, [21, 20, 127 << 8, 17, 4711, 4711]);
        let end = |reaped| What::Exit { tid: 21, pid: 20, status: 127 << 8, reaped };
        assert_eq!(one(&exit), end(false));
        // Nobody's child any more: it had been reaped before this was written.
        let exit = message(EVENT_EXIT, 1, 7, 9, [21, 20, 127 << 8, 17, 0, 0]);
        assert_eq!(one(&exit), end(true));
        let exec = message(EVENT_EXEC, 1, 7, 9, [20, 20, 0, 0, 0, 0]);
        assert_eq!(one(&exec), What::Exec { pid: 20 });
        let user = message(EVENT_UID, 1, 7, 9, [21, 20, 1000, 0, 0, 0]);
        assert_eq!(one(&user), What::User { tid: 21, pid: 20, real: 1000, effective: 0 });
        assert_eq!(
            one(&message(EVENT_SID, 1, 7, 9, [20, 20, 0, 0, 0, 0])),
            What::Session { pid: 20 }
        );
        assert_eq!(one(&message(0x200, 1, 7, 9, [0; 6])), What::Other);
    }

    #[test]
    fn what_is_not_the_connectors_is_left_out() {
        let good = message(EVENT_EXEC, 0, 0, 1, [5, 5, 0, 0, 0, 0]);
        for (place, byte) in [(4, 2), (16, 2), (20, 2)] {
            let mut other = good.clone();
            other[place] = byte;
            assert_eq!(decode(&other).count(), 0, "{place}");
            // The one behind it is heard all the same.
            other.extend(&good);
            assert_eq!(decode(&other).count(), 1, "{place}");
        }
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length]).count(), 0, "{length}");
        }
        let mut stuck = good;
        stuck[0] = 0;
        assert_eq!(decode(&stuck).count(), 0);
    }

    #[test]
    fn a_request_is_one_message() {
        let bytes = request(true, 5, 41);
        assert_eq!(u32_at(&bytes, 0), Some(40));
        assert_eq!(u32_at(&bytes, 28), Some(41));
        assert_eq!(u32_at(&bytes, 36), Some(LISTEN));
        assert_eq!(u32_at(&request(false, 5, 41), 36), Some(IGNORE));
        let mut ack = message(EVENT_NONE, u32::MAX, 3, 0, [1, 0, 0, 0, 0, 0]);
        ack[28] = 42;
        let heard: Vec<_> = decode(&ack).collect();
        assert_eq!(heard, [Heard::Ack { at: Moment(0), ack: 42, error: 1, cpu: u32::MAX, seq: 3 }]);
    }

    #[test]
    fn a_loss_is_told_once() {
        let mut ledger = Ledger::default();
        for (cpu, seq) in [(0, 100), (1, u32::MAX), (0, 101), (1, 0), (u32::MAX, 9)] {
            ledger.hear(cpu, seq);
        }
        assert_eq!(ledger.untold(), None);
        ledger.hear(0, 105);
        assert_eq!(ledger.untold(), Some(3));
        // The socket says the same, and of two more that no number shows yet.
        ledger.dropped(5);
        assert_eq!(ledger.untold(), Some(2));
        ledger.hear(1, 3);
        assert_eq!(ledger.untold(), None);
        // One that could not be allocated is no drop of the socket's.
        ledger.hear(1, 5);
        assert_eq!(ledger.untold(), Some(1));
        ledger.hear(1, 5);
        assert_eq!(ledger.untold(), None);
    }

    proptest! {
        /// Whatever subset arrives: what was heard and what was told to be lost is what was sent,
        /// up to the last one heard of each CPU, and to the end with the socket's count.
        #[test]
        fn the_account_is_exact(sent in prop::collection::vec((0u32..4, any::<bool>()), 0..300)) {
            let (mut ledger, mut seqs) = (Ledger::default(), [u32::MAX - 20; 4]);
            for (cpu, seq) in seqs.iter().enumerate() {
                ledger.hear(cpu as u32, seq.wrapping_sub(1));
            }
            let (mut told, mut lost) = (0, 0);
            for (cpu, arrives) in sent {
                if arrives {
                    ledger.hear(cpu, seqs[cpu as usize]);
                    told += ledger.untold().unwrap_or(0);
                } else {
                    lost += 1;
                }
                seqs[cpu as usize] = seqs[cpu as usize].wrapping_add(1);
                prop_assert!(told <= u64::from(lost));
            }
            ledger.dropped(lost);
            told += ledger.untold().unwrap_or(0);
            prop_assert_eq!(told, u64::from(lost));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            decode(&bytes).count();
        }
    }
}
