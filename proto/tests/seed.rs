//! The sequence that stopped hastd on FreeBSD 15 (the MSG_WAITALL story in the crate's page), over
//! plain sockets, and the same hand-over by a channel, which has no words for it.
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use proto::unix::{self, Channel, Error, Message, Reader, Writer};

/// A worker is given a connection. There is no value of this type with only one half.
#[derive(Debug)]
struct Migrate {
    protocol: String,
    connection: OwnedFd,
}

impl Message for Migrate {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        Writer::new(payload).str(&self.protocol);
        1
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.connection.as_fd())
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        if kind != 1 {
            return Err(Error::UnknownKind(kind));
        }
        let mut r = Reader::new(payload);
        let protocol = r.str()?.to_owned();
        r.finish()?;
        Ok(Migrate { protocol, connection: fd.ok_or(Error::MissingFd)? })
    }
}

/// Each system has its own answer to the sequence; this is Linux's.
#[cfg(target_os = "linux")]
mod plain_sockets {
    use std::io::{IoSliceMut, Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use nix::cmsg_space;
    use nix::errno::Errno;
    use nix::sys::socket::{ControlMessage, MsgFlags, recv, recvmsg, sendmsg};

    /// The longest name hastd knew, without its end: what its receiver always asked for.
    const ASKED: usize = 127;

    /// The receiver waits on, as FreeBSD 15's does, and the descriptor is gone altogether.
    #[test]
    fn a_name_then_its_descriptor_leaves_the_receiver_waiting() {
        let (parent, worker) = UnixStream::pair().unwrap();
        let (mut read, write) = std::io::pipe().unwrap();
        let patience = Duration::from_millis(300);
        worker.set_read_timeout(Some(patience)).unwrap();

        let receiver = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut name = [0; ASKED];
            let got = recv(worker.as_raw_fd(), &mut name, MsgFlags::MSG_WAITALL).unwrap();
            let waited = begun.elapsed();
            let mut control = cmsg_space!([i32; 4]);
            let mut byte = [0];
            let rest = recvmsg::<()>(
                worker.as_raw_fd(),
                &mut [IoSliceMut::new(&mut byte)],
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            )
            .map(|message| message.bytes);
            (name[..got].to_vec(), waited, rest)
        });
        assert_eq!((&parent).write(b"tcp\0").unwrap(), 4);
        let fds = [write.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(parent.as_raw_fd(), &[], &rights, MsgFlags::empty(), None);
        assert_eq!(sent, Ok(0));

        let (name, waited, rest) = receiver.join().unwrap();
        // All that was ever sent had come, and only the time-out ended the wait for the other 123.
        assert_eq!(name, b"tcp\0");
        assert!(waited >= patience, "woke after {waited:?}");
        assert_eq!(rest, Err(Errno::EAGAIN));
        // No copy of the writing end is on its way: dropping ours is the end of the pipe.
        drop(write);
        assert_eq!(read.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_channel_hands_both_over_at_once() {
    let (parent, worker) = unix::pair().unwrap();
    let parent = Channel::<Migrate, Migrate>::from_fd(parent).unwrap();
    let worker = Channel::<Migrate, Migrate>::from_fd(worker).unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    assert!(worker.try_recv().unwrap().is_none());
    parent.send(&Migrate { protocol: "tcp".into(), connection: write.into() }).unwrap();
    let got = worker.try_recv().unwrap().unwrap();
    assert_eq!(got.protocol, "tcp");
    assert!(worker.try_recv().unwrap().is_none());
    File::from(got.connection).write_all(b"header").unwrap();
    let mut header = String::new();
    read.read_to_string(&mut header).unwrap();
    assert_eq!(header, "header");
}

/// What leaves a channel is one record: a plain recvmsg finds name and descriptor in it, or, where
/// the channel was full, neither.
#[test]
fn one_recvmsg_gets_both_or_neither() {
    let (parent, worker) = unix::pair().unwrap();
    let parent = Channel::<Migrate, Migrate>::from_fd(parent).unwrap();
    let (_read, write) = std::io::pipe().unwrap();
    let migrate = Migrate { protocol: "tcp".into(), connection: write.into() };
    let mut sent = 0;
    while sent < 100 && parent.try_send(&migrate).unwrap() {
        sent += 1;
    }
    let mut received = 0;
    loop {
        let mut control = cmsg_space!([i32; 4]);
        let mut data = [0; 256];
        let mut parts = [IoSliceMut::new(&mut data)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<()>(worker.as_raw_fd(), &mut parts, Some(&mut control), flags)
        {
            Ok(message) => message,
            Err(e) => break assert_eq!(e, Errno::EAGAIN),
        };
        received += 1;
        let fds: Vec<OwnedFd> = message
            .cmsgs()
            .unwrap()
            .flat_map(|c| match c {
                ControlMessageOwned::ScmRights(fds) => fds,
                _ => Vec::new(),
            })
            // SAFETY: just received, and nobody else knows them.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect();
        let bytes = message.bytes;
        assert_eq!(fds.len(), 1);
        assert_eq!(data[..bytes], *b"\0\x01\0\x01\0\0\0\x05\0\x03tcp");
    }
    assert_eq!(received, sent);
}

/// The two halves, sent by someone who has no channel: two errors, and no waiting.
#[test]
fn a_channel_does_not_wait_for_the_other_half() {
    let (parent, worker) = unix::pair().unwrap();
    let worker = Channel::<Migrate, Migrate>::from_fd(worker).unwrap();
    let null = File::open("/dev/null").unwrap();
    let fds = [null.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let name = [IoSlice::new(b"\0\x01\0\x01\0\0\0\x05\0\x03tcp")];
    let put = |data: &[IoSlice<'_>], control: &[ControlMessage<'_>]| {
        sendmsg::<()>(parent.as_raw_fd(), data, control, MsgFlags::MSG_EOR, None).unwrap();
    };
    put(&name, &[]);
    put(&[], &rights);
    assert!(matches!(worker.try_recv(), Err(Error::MissingFd)));
    assert!(matches!(worker.try_recv(), Err(Error::BareFd)));
    assert!(worker.try_recv().unwrap().is_none());
    put(&name, &rights);
    assert!(worker.try_recv().unwrap().is_some());
}
