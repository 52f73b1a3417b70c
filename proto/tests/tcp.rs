//! Exact-size pieces over loopback: peers that are quick, slow, silent, and gone.
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use proto::tcp::{Error, Stream};

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(20);

fn by(left: Duration) -> Instant {
    Instant::now() + left
}

fn ends() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = Stream::connect_by(listener.local_addr().unwrap(), by(LONG)).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    (stream, peer)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[test]
fn a_piece_larger_than_any_buffer_passes_whole_both_ways() {
    let (stream, mut peer) = ends();
    stream.set_nodelay().unwrap();
    let sent = pattern(16 << 20);
    let echo = thread::spawn(move || {
        let mut all = vec![0; 16 << 20];
        peer.read_exact(&mut all).unwrap();
        peer.write_all(&all).unwrap();
    });
    stream.write_all_by(&sent, by(LONG)).unwrap();
    let mut got = vec![0; sent.len()];
    stream.read_exact_by(&mut got, by(LONG)).unwrap();
    assert!(got == sent);
    echo.join().unwrap();
    stream.read_exact_by(&mut [], by(Duration::ZERO)).unwrap();
    stream.write_all_by(&[], by(Duration::ZERO)).unwrap();
}

#[test]
fn a_slow_peer_is_waited_for_whatever_the_sockets_mode() {
    for nonblocking in [false, true] {
        let (stream, mut peer) = ends();
        let socket = TcpStream::from(stream.into_fd());
        socket.set_nonblocking(nonblocking).unwrap();
        let stream = Stream::from(socket);
        let slow = thread::spawn(move || {
            for byte in pattern(100) {
                peer.write_all(&[byte]).unwrap();
                thread::park_timeout(Duration::from_millis(1));
            }
            peer
        });
        let mut got = [0; 100];
        stream.read_exact_by(&mut got, by(LONG)).unwrap();
        assert_eq!(got[..], pattern(100));
        slow.join().unwrap();
    }
}

#[test]
fn what_has_come_is_read_even_after_the_deadline() {
    let (stream, mut peer) = ends();
    peer.write_all(b"early").unwrap();
    let mut first = [0];
    stream.read_exact_by(&mut first, by(LONG)).unwrap();
    let mut rest = [0; 4];
    stream.read_exact_by(&mut rest, Instant::now()).unwrap();
    assert_eq!(&rest, b"arly");
}

#[test]
fn a_peer_that_closes_early_is_told_from_one_that_ends_between_pieces() {
    let (stream, mut peer) = ends();
    peer.write_all(b"headerhalf").unwrap();
    drop(peer);
    let mut piece = [0; 6];
    stream.read_exact_by(&mut piece, by(LONG)).unwrap();
    let answer = stream.read_exact_by(&mut [0; 9], by(LONG));
    assert!(matches!(answer, Err(Error::Closed { done: 4, wanted: 9 })), "{answer:?}");
    let answer = stream.read_exact_by(&mut [0; 9], by(LONG));
    assert!(matches!(answer, Err(Error::Closed { done: 0, wanted: 9 })), "{answer:?}");
}

#[test]
fn writing_to_a_peer_that_is_gone_ends() {
    let (stream, peer) = ends();
    drop(peer);
    let answer = stream.write_all_by(&vec![0; 64 << 20], by(LONG));
    assert!(
        matches!(answer, Err(Error::Closed { wanted, .. }) if wanted == 64 << 20),
        "{answer:?}"
    );
}

#[test]
fn a_silent_peer_costs_the_deadline_and_no_more() {
    let (stream, mut peer) = ends();
    peer.write_all(b"1234").unwrap();
    let begun = Instant::now();
    let patience = Duration::from_millis(150);
    let answer = stream.read_exact_by(&mut [0; 5], by(patience));
    assert!(matches!(answer, Err(Error::Deadline { done: 4, wanted: 5 })), "{answer:?}");
    assert!(begun.elapsed() >= patience && begun.elapsed() < LONG);
}

#[test]
fn a_byte_at_a_time_does_not_move_the_deadline() {
    let (stream, mut peer) = ends();
    let (stop, stopped) = mpsc::channel::<()>();
    let drip = thread::spawn(move || {
        // A write that fails ends it too: the reader has hung up.
        while stopped.recv_timeout(Duration::from_millis(20)).is_err() {
            if peer.write_all(b".").is_err() {
                break;
            }
        }
    });
    let begun = Instant::now();
    let patience = Duration::from_millis(200);
    let answer = stream.read_exact_by(&mut [0; 1 << 20], by(patience));
    let took = begun.elapsed();
    stop.send(()).unwrap();
    drip.join().unwrap();
    assert!(matches!(answer, Err(Error::Deadline { done: 1.., .. })), "{answer:?}");
    assert!(took >= patience && took < LONG, "{took:?}");
}

#[test]
fn a_peer_that_reads_nothing_stops_the_writer_at_the_deadline() {
    let (stream, _peer) = ends();
    let answer = stream.write_all_by(&vec![0; 64 << 20], by(Duration::from_millis(150)));
    let Err(Error::Deadline { done, wanted }) = answer else { panic!("{answer:?}") };
    assert!(0 < done && done < wanted);
}

#[test]
fn nobody_there_is_said_at_once_and_too_late_is_too_late() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(matches!(Stream::connect_by(address, Instant::now()), Err(Error::Deadline { .. })));
    drop(listener);
    let answer = Stream::connect_by(address, by(LONG));
    assert!(matches!(answer, Err(Error::Io { op: "connect", .. })), "{answer:?}");
}

#[test]
fn only_a_tcp_socket_is_a_stream() {
    let not = |fd: OwnedFd| assert!(matches!(Stream::from_fd(fd), Err(Error::NotTcp)));
    not(File::open("/dev/null").unwrap().into());
    not(std::os::unix::net::UnixStream::pair().unwrap().0.into());
    not(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into());
    let (stream, _peer) = ends();
    assert!(Stream::from_fd(stream.into_fd()).is_ok());
}
