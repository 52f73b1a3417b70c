//! What a channel does for those who keep to the rules: messages, descriptors, order, ends. The
//! rules broken are in `leaks.rs`.

#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use proptest::prelude::*;
use proto::unix::{self, Channel, Error, MAX_PAYLOAD, Message, Reader, Writer};

/// Down: text, bulk, or a file with its name.
#[derive(Debug)]
enum Down {
    Text(String),
    Bulk(Vec<u8>),
    File { name: String, file: OwnedFd },
}

impl Message for Down {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        match self {
            Down::Text(text) => {
                Writer::new(payload).str(text);
                1
            }
            Down::Bulk(bytes) => {
                Writer::new(payload).put(bytes);
                2
            }
            Down::File { name, .. } => {
                Writer::new(payload).str(name);
                3
            }
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Down::File { file, .. } => Some(file.as_fd()),
            _ => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut r = Reader::new(payload);
        let message = match kind {
            1 => {
                unix::no_fd(fd)?;
                Down::Text(r.str()?.to_owned())
            }
            2 => {
                unix::no_fd(fd)?;
                Down::Bulk(r.rest().to_owned())
            }
            3 => Down::File { name: r.str()?.to_owned(), file: fd.ok_or(Error::MissingFd)? },
            kind => return Err(Error::UnknownKind(kind)),
        };
        r.finish()?;
        Ok(message)
    }
}

/// Up: a number, never a descriptor.
#[derive(Debug, PartialEq)]
struct Up(u64);

impl Message for Up {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        Writer::new(payload).u64(self.0);
        1
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        unix::no_fd(fd)?;
        if kind != 1 {
            return Err(Error::UnknownKind(kind));
        }
        let mut r = Reader::new(payload);
        let up = Up(r.u64()?);
        r.finish()?;
        Ok(up)
    }
}

fn ends() -> (Channel<Down, Up>, Channel<Up, Down>) {
    let (a, b) = unix::pair().unwrap();
    (Channel::from_fd(a).unwrap(), Channel::from_fd(b).unwrap())
}

#[test]
fn messages_keep_their_bounds_and_order() {
    let (parent, child) = ends();
    parent.send(&Down::Text("one".into())).unwrap();
    parent.send(&Down::Bulk(vec![7; MAX_PAYLOAD])).unwrap();
    parent.send(&Down::Bulk(Vec::new())).unwrap();
    child.send(&Up(42)).unwrap();
    assert!(matches!(child.recv().unwrap(), Down::Text(t) if t == "one"));
    assert!(matches!(child.recv().unwrap(), Down::Bulk(b) if b == vec![7; MAX_PAYLOAD]));
    assert!(matches!(child.recv().unwrap(), Down::Bulk(b) if b.is_empty()));
    assert!(child.try_recv().unwrap().is_none());
    assert_eq!(parent.recv().unwrap(), Up(42));
    assert!(parent.try_recv().unwrap().is_none());
}

#[test]
fn a_name_and_its_descriptor_arrive_in_one_message() {
    let (parent, child) = ends();
    let (mut read, write) = std::io::pipe().unwrap();
    parent.send(&Down::File { name: "leases".into(), file: write.into() }).unwrap();
    let Down::File { name, file } = child.recv().unwrap() else { panic!("another message") };
    assert_eq!(name, "leases");
    let flags = fcntl(&file, FcntlArg::F_GETFD).unwrap();
    assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
    File::from(file).write_all(b"written by the child").unwrap();
    let mut text = String::new();
    // Ends only because every copy of the writing end is closed by now.
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "written by the child");
}

#[test]
fn the_limit_is_the_senders_error_and_sends_nothing() {
    let (parent, child) = ends();
    let over = Down::Bulk(vec![0; MAX_PAYLOAD + 1]);
    assert!(matches!(
        parent.send(&over),
        Err(Error::TooLong { payload, limit: MAX_PAYLOAD }) if payload == MAX_PAYLOAD + 1
    ));
    assert!(child.try_recv().unwrap().is_none());
}

#[test]
fn a_full_channel_makes_try_send_say_so_and_loses_nothing() {
    let (parent, child) = ends();
    let mut sent = 0u64;
    while child.try_send(&Up(sent)).unwrap() {
        sent += 1;
    }
    assert!(sent > 10, "only {sent}");
    for n in 0..sent {
        assert_eq!(parent.recv().unwrap(), Up(n));
    }
    assert!(child.try_send(&Up(sent)).unwrap());
}

#[test]
fn everything_said_is_taken_before_the_end_is_seen() {
    let (parent, child) = ends();
    // Left unread by the child, which is what makes Linux report a reset first.
    parent.send(&Down::Text("never read".into())).unwrap();
    for n in 0..3 {
        child.send(&Up(n)).unwrap();
    }
    drop(child);
    for n in 0..3 {
        assert_eq!(parent.recv().unwrap(), Up(n));
    }
    for _ in 0..2 {
        assert!(matches!(parent.recv(), Err(Error::Closed)));
        assert!(matches!(parent.try_recv(), Err(Error::Closed)));
    }
    assert!(matches!(parent.send(&Down::Text("anyone?".into())), Err(Error::Closed)));
    assert!(matches!(parent.try_send(&Down::Text("anyone?".into())), Err(Error::Closed)));
}

#[test]
fn only_a_seqpacket_socket_of_the_unix_domain_is_a_channel() {
    let not = |fd: OwnedFd| {
        assert!(matches!(Channel::<Up, Up>::from_fd(fd), Err(Error::NotSeqpacket)));
    };
    not(File::open("/dev/null").unwrap().into());
    not(std::os::unix::net::UnixStream::pair().unwrap().0.into());
    not(std::os::unix::net::UnixDatagram::pair().unwrap().0.into());
    not(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Bytes from anyone: an error or a message, never a hang, and the channel still works after.
    #[test]
    fn any_record_is_understood_or_refused(
        mut record in prop::collection::vec(any::<u8>(), 1..200), likely: bool, with_fd: bool
    ) {
        let (socket, child) = unix::pair().unwrap();
        let child = Channel::<Up, Down>::from_fd(child).unwrap();
        if likely && record.len() >= 8 {
            let length = u8::try_from(record.len() - 8).unwrap();
            let kind = record[1] % 5;
            record[..8].copy_from_slice(&[0, kind, 0, u8::from(with_fd), 0, 0, 0, length]);
        }
        let fds = [socket.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if with_fd { &rights[..] } else { &[] };
        let data = [IoSlice::new(&record)];
        sendmsg::<()>(socket.as_raw_fd(), &data, control, MsgFlags::MSG_EOR, None).unwrap();
        match child.try_recv() {
            Ok(Some(_)) => prop_assert!(record.len() >= 8),
            Ok(None) => prop_assert!(false, "nothing there"),
            Err(
                Error::Malformed(_)
                | Error::UnknownKind(_)
                | Error::UnexpectedFd
                | Error::MissingFd,
            ) => {}
            Err(e) => prop_assert!(false, "{e}"),
        }
        let parent = Channel::<Down, Up>::from_fd(socket).unwrap();
        parent.send(&Down::Text("after".into())).unwrap();
        prop_assert!(matches!(child.recv(), Ok(Down::Text(t)) if t == "after"));
    }
}
