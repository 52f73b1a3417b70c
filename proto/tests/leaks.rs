//! What a channel does to those who break the rules: each offence has its own error, and no
//! descriptor stays behind, ten thousand times. The offenders speak over plain sockets.
//!
//! Descriptors are counted for the whole process, so these tests take turns, and nothing else may
//! live in this file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use proto::unix::{self, Channel, Error, MAX_MESSAGE, Message, Reader, Writer};

const TIMES: usize = 10_000;

/// Only with a descriptor, named (1); or a name alone (2).
#[derive(Debug)]
enum Carrier {
    Named { name: String, fd: OwnedFd },
    Name(String),
}

impl Message for Carrier {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let (Carrier::Named { name, .. } | Carrier::Name(name)) = self;
        Writer::new(payload).str(name);
        if matches!(self, Carrier::Named { .. }) { 1 } else { 2 }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Carrier::Named { fd, .. } => Some(fd.as_fd()),
            Carrier::Name(_) => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut r = Reader::new(payload);
        let name = r.str()?.to_owned();
        r.finish()?;
        match kind {
            1 => Ok(Carrier::Named { name, fd: fd.ok_or(Error::MissingFd)? }),
            2 => unix::no_fd(fd).map(|()| Carrier::Name(name)),
            kind => Err(Error::UnknownKind(kind)),
        }
    }
}

/// A direction without descriptors, although its type has one up its sleeve.
#[derive(Debug)]
struct Plain(Option<OwnedFd>);

impl Message for Plain {
    const CARRIES_FD: bool = false;

    fn encode(&self, _: &mut Vec<u8>) -> u16 {
        9
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    fn decode(_: u16, _: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        Ok(Plain(fd))
    }
}

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The listing itself has one open each time, so it does not show in a difference.
fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `once` ten thousand times and compares the descriptors open before and after.
fn leaks_nothing(mut once: impl FnMut()) {
    let before = open_fds();
    for _ in 0..TIMES {
        once();
    }
    assert_eq!(open_fds(), before, "descriptors left after {TIMES} times");
}

/// A plain socket and the channel at its other end.
fn offender<Rx: Message>() -> (OwnedFd, Channel<Plain, Rx>) {
    let (a, b) = unix::pair().unwrap();
    (a, Channel::from_fd(b).unwrap())
}

fn put(socket: &OwnedFd, record: &[u8], fds: &[RawFd]) {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let data = [IoSlice::new(record)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &data, control, MsgFlags::empty(), None).unwrap();
    assert_eq!(sent, record.len());
}

/// A record as the header's table describes it, by hand.
fn record(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&[0, kind, 0, flags], &length.to_be_bytes()[..], payload].concat()
}

const NAME: &[u8] = b"\0\x03tcp";

macro_rules! refused {
    ($channel:expr, $error:pat) => {
        let answer = $channel.recv();
        assert!(matches!(answer, Err($error)), "{answer:?}");
    };
}

#[test]
fn the_count_sees_a_descriptor_left_behind() {
    let _turn = turn();
    let before = open_fds();
    let left = File::open("/dev/null").unwrap();
    assert_eq!(open_fds(), before + 1);
    drop(left);
    assert_eq!(open_fds(), before);
}

#[test]
fn name_and_descriptor_together() {
    let _turn = turn();
    leaks_nothing(|| {
        let (a, b) = unix::pair().unwrap();
        let (a, b): (Channel<Carrier, Plain>, Channel<Plain, Carrier>) =
            (Channel::from_fd(a).unwrap(), Channel::from_fd(b).unwrap());
        let fd = File::open("/dev/null").unwrap().into();
        a.send(&Carrier::Named { name: "tcp".into(), fd }).unwrap();
        assert!(matches!(b.recv(), Ok(Carrier::Named { name, .. }) if name == "tcp"));
        assert!(b.try_recv().unwrap().is_none());
        a.send(&Carrier::Name("udp".into())).unwrap();
        assert!(matches!(b.recv(), Ok(Carrier::Name(name)) if name == "udp"));
    });
}

#[test]
fn a_descriptor_without_its_name() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Carrier>();
    leaks_nothing(|| {
        put(&socket, b"", &[null.as_raw_fd()]);
        refused!(channel, Error::BareFd);
        put(&socket, b"\0\x01\0", &[null.as_raw_fd()]);
        refused!(channel, Error::Malformed("shorter than a header"));
        put(&socket, &record(1, 1, b""), &[null.as_raw_fd()]);
        refused!(channel, Error::Malformed("the payload ends early"));
    });
}

#[test]
fn a_name_without_its_descriptor() {
    let _turn = turn();
    let (socket, channel) = offender::<Carrier>();
    leaks_nothing(|| {
        // The sender says there is one; then it says there is none, but the message needs one.
        put(&socket, &record(1, 1, NAME), &[]);
        refused!(channel, Error::MissingFd);
        put(&socket, &record(1, 0, NAME), &[]);
        refused!(channel, Error::MissingFd);
        // A message that could do without, but did not set out so.
        put(&socket, &record(2, 1, NAME), &[]);
        refused!(channel, Error::MissingFd);
    });
}

#[test]
fn a_descriptor_with_a_message_that_has_none() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Carrier>();
    leaks_nothing(|| {
        put(&socket, &record(2, 1, NAME), &[null.as_raw_fd()]);
        refused!(channel, Error::UnexpectedFd);
        put(&socket, &record(1, 0, NAME), &[null.as_raw_fd()]);
        refused!(channel, Error::UnexpectedFd);
        put(&socket, &record(3, 1, NAME), &[null.as_raw_fd()]);
        refused!(channel, Error::UnknownKind(3));
        put(&socket, &record(1, 3, NAME), &[null.as_raw_fd()]);
        refused!(channel, Error::Malformed("unknown flags"));
    });
}

#[test]
fn two_descriptors() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Carrier>();
    let null = null.as_raw_fd();
    leaks_nothing(|| {
        put(&socket, &record(1, 1, NAME), &[null; 2]);
        refused!(channel, Error::TwoFds);
        put(&socket, &record(1, 1, NAME), &[null; 8]);
        refused!(channel, Error::TwoFds);
    });
}

#[test]
fn more_descriptors_than_there_is_room_for() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Carrier>();
    leaks_nothing(|| {
        put(&socket, &record(1, 1, NAME), &[null.as_raw_fd(); 253]);
        refused!(channel, Error::ControlTruncated);
        put(&socket, &record(1, 1, NAME), &[null.as_raw_fd(); 13]);
        refused!(channel, Error::ControlTruncated);
    });
}

#[test]
fn more_descriptors_than_the_process_may_open() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Carrier>();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // The next descriptor would get the lowest free number: none may be at or above the limit.
    let next = File::open("/dev/null").unwrap().as_raw_fd();
    let limit = |n: u64| setrlimit(Resource::RLIMIT_NOFILE, n, hard).unwrap();
    leaks_nothing(|| {
        put(&socket, &record(1, 1, NAME), &[null.as_raw_fd()]);
        limit(u64::try_from(next).unwrap());
        refused!(channel, Error::ControlTruncated);
        limit(soft);
        // Room for one of two: the one is closed.
        put(&socket, &record(1, 1, NAME), &[null.as_raw_fd(); 2]);
        limit(u64::try_from(next).unwrap() + 1);
        refused!(channel, Error::ControlTruncated);
        limit(soft);
    });
}

#[test]
fn a_message_over_the_limit() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Carrier>();
    let over = record(1, 1, &vec![0; MAX_MESSAGE - 7]);
    assert_eq!(over.len(), MAX_MESSAGE + 1);
    leaks_nothing(|| {
        put(&socket, &over, &[null.as_raw_fd()]);
        refused!(channel, Error::Truncated);
    });
    let (sender, _receiver) = unix::pair().unwrap();
    let sender = Channel::<Carrier, Plain>::from_fd(sender).unwrap();
    let name = "n".repeat(MAX_MESSAGE);
    leaks_nothing(|| {
        let fd = File::open("/dev/null").unwrap().into();
        let answer = sender.send(&Carrier::Named { name: name.clone(), fd });
        assert!(matches!(answer, Err(Error::TooLong { .. })), "{answer:?}");
    });
}

#[test]
fn a_closed_peer() {
    let _turn = turn();
    leaks_nothing(|| {
        let (a, b) = unix::pair().unwrap();
        let a = Channel::<Carrier, Carrier>::from_fd(a).unwrap();
        let fd = || OwnedFd::from(File::open("/dev/null").unwrap());
        // Still queued when its receiver goes: the kernel closes it.
        a.send(&Carrier::Named { name: "tcp".into(), fd: fd() }).unwrap();
        drop(b);
        let answer = a.send(&Carrier::Named { name: "tcp".into(), fd: fd() });
        assert!(matches!(answer, Err(Error::Closed)), "{answer:?}");
        refused!(a, Error::Closed);
    });
}

#[test]
fn a_descriptor_where_the_channel_carries_none() {
    let _turn = turn();
    let null = File::open("/dev/null").unwrap();
    let (socket, channel) = offender::<Plain>();
    leaks_nothing(|| {
        put(&socket, &record(9, 1, b""), &[null.as_raw_fd()]);
        refused!(channel, Error::UnexpectedFd);
        put(&socket, &record(9, 0, b""), &[null.as_raw_fd()]);
        refused!(channel, Error::UnexpectedFd);
        put(&socket, &record(9, 1, b""), &[]);
        refused!(channel, Error::UnexpectedFd);
        let answer = channel.send(&Plain(Some(null.try_clone().unwrap().into())));
        assert!(matches!(answer, Err(Error::UnexpectedFd)), "{answer:?}");
        put(&socket, &record(9, 0, b""), &[]);
        assert!(matches!(channel.recv(), Ok(Plain(None))));
    });
}
