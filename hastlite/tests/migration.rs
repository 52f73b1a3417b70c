//! Connections on their way to a worker, by the messages that carry them: whoever reads, and
//! whenever, gets the name of the protocol, the first packet and the connection together, or nothing.

#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use hastlite::msg::{FromWorker, TCP, ToWorker};
use proto::unix::{self, Channel, Error};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc;

type Parent = Channel<ToWorker, FromWorker>;
type Worker = Channel<FromWorker, ToWorker>;

/// What the other process is told by.
const CHILD: &str = "MIGRATION_CHILD";

fn ends() -> (Parent, Worker) {
    let (parent, worker) = unix::pair().unwrap();
    (Channel::from_fd(parent).unwrap(), Channel::from_fd(worker).unwrap())
}

/// A connection of this number: what can be read from it is its number, and its packet says it too.
fn arrival(number: u32, packet: usize) -> ToWorker {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    peer.write_all(&number.to_be_bytes()).unwrap();
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(packet.max(4), 7);
    ToWorker::Arrival { protocol: TCP.to_owned(), packet: bytes, socket: socket.into() }
}

/// The number of a connection that came, which its packet and its descriptor agree on.
fn number(message: ToWorker) -> u32 {
    let ToWorker::Arrival { protocol, packet, socket } = message else { panic!("{message:?}") };
    assert_eq!(protocol, TCP);
    let said = u32::from_be_bytes(*packet.first_chunk().unwrap());
    let mut read = [0; 4];
    TcpStream::from(socket).read_exact(&mut read).unwrap();
    assert_eq!(u32::from_be_bytes(read), said);
    said
}

#[test]
fn a_worker_that_reads_before_between_and_after() {
    let (parent, worker) = ends();
    let (told, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        // Before: nothing has been sent.
        assert!(worker.try_recv().unwrap().is_none());
        told.send(0).unwrap();
        for expected in 0..3 {
            assert_eq!(number(worker.recv().unwrap()), expected);
            told.send(expected).unwrap();
        }
        worker
    });
    heard.recv().unwrap();
    for connection in 0..3 {
        parent.send(&arrival(connection, 100)).unwrap();
        // Between: the next one is sent when this one has been taken.
        assert_eq!(heard.recv().unwrap(), connection);
    }
    let worker = reader.join().unwrap();
    for connection in 3..6 {
        parent.send(&arrival(connection, 100)).unwrap();
    }
    drop(parent);
    // After: the sender is gone, what it has sent is not.
    for expected in 3..6 {
        assert_eq!(number(worker.recv().unwrap()), expected);
    }
    assert!(matches!(worker.recv(), Err(Error::Closed)));
}

#[test]
fn a_full_socket_buffer_holds_up_the_sender_and_splits_nothing() {
    let (parent, worker) = ends();
    let large = 60_000;
    let mut sent = 0;
    let last = loop {
        let message = arrival(sent, large);
        if !parent.try_send(&message).unwrap() {
            break message;
        }
        sent += 1;
    };
    assert!(sent > 0);
    let sender = std::thread::spawn(move || {
        // This one has to wait until the worker has taken some.
        parent.send(&last).unwrap();
        for connection in sent + 1..sent + 20 {
            parent.send(&arrival(connection, large)).unwrap();
        }
    });
    for expected in 0..sent + 20 {
        assert_eq!(number(worker.recv().unwrap()), expected);
    }
    assert!(matches!(worker.recv(), Err(Error::Closed)));
    sender.join().unwrap();
}

#[test]
fn a_parent_killed_in_between_leaves_whole_messages_and_then_the_end() {
    for round in 0..10 {
        let (parent, worker) = unix::pair().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_parent_that_sends_until_it_is_killed"])
            .env(CHILD, "1")
            .stdin(Stdio::from(parent))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let worker: Worker = Channel::from_fd(worker).unwrap();
        let mut expected = 0;
        for _ in 0..3 + round {
            assert_eq!(number(worker.recv().unwrap()), expected);
            expected += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        loop {
            match worker.recv() {
                Ok(message) => {
                    assert_eq!(number(message), expected);
                    expected += 1;
                }
                Err(Error::Closed) => break,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// The other process of the test above; by itself it does nothing.
#[test]
fn a_parent_that_sends_until_it_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let channel: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let parent: Parent = Channel::from_fd(channel).unwrap();
    for connection in 0.. {
        if parent.send(&arrival(connection, 1000)).is_err() {
            return;
        }
    }
}
