//! Channels over paths: who may connect, who it is, and what is left at the path.
#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process;

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::{getegid, geteuid};
use proto::unix::{self, Connection, Error, Listener, Message, Reader, Writer};

/// A question or its answer.
#[derive(Debug, PartialEq)]
struct Word(String);

impl Message for Word {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        Writer::new(payload).str(&self.0);
        1
    }

    fn decode(_: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        unix::no_fd(fd)?;
        Reader::new(payload).str().map(|word| Word(word.to_owned()))
    }
}

/// A directory of the test's own, removed with what is in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("proto-{}-{name}", process::id()));
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn failed(result: Result<impl std::fmt::Debug, Error>) -> (&'static str, ErrorKind) {
    match result {
        Err(Error::Path { op, source, .. }) => (op, source.kind()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_is_answered_and_both_know_who_the_other_is() {
    let place = Place::new("question");
    let listener = Listener::bind(&place.socket(), 0o600).unwrap();
    assert!(listener.accept::<Word, Word>().unwrap().is_none());
    let client: Connection<Word, Word> = unix::connect(&place.socket()).unwrap();
    client.channel.send(&Word("leases?".into())).unwrap();
    poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], 10_000u16).unwrap();
    let server: Connection<Word, Word> = listener.accept().unwrap().unwrap();
    // Blocking, although the listener is not.
    assert_eq!(server.channel.recv().unwrap(), Word("leases?".into()));
    server.channel.send(&Word("none".into())).unwrap();
    assert_eq!(client.channel.recv().unwrap(), Word("none".into()));
    for peer in [client.peer, server.peer] {
        assert_eq!((peer.uid, peer.gid), (geteuid().as_raw(), getegid().as_raw()));
        if cfg!(target_os = "linux") {
            assert_eq!(peer.pid, i32::try_from(process::id()).ok());
        }
    }
    drop(server);
    assert!(matches!(client.channel.recv(), Err(Error::Closed)));
}

#[test]
fn the_path_has_the_mode_asked_for_and_goes_with_its_listener() {
    let place = Place::new("mode");
    let listener = Listener::bind(&place.socket(), 0o660).unwrap();
    let mode = fs::metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    drop(listener);
    assert!(!place.socket().exists());
    assert_eq!(
        failed(unix::connect::<Word, Word>(&place.socket())),
        ("connect", ErrorKind::NotFound)
    );
}

#[test]
fn a_second_daemon_is_refused_and_a_dead_ones_socket_is_replaced() {
    let place = Place::new("second");
    let first = Listener::bind(&place.socket(), 0o600).unwrap();
    let second = Listener::bind(&place.socket(), 0o600);
    assert_eq!(failed(second), ("bind", ErrorKind::AddrInUse));
    assert!(unix::connect::<Word, Word>(&place.socket()).is_ok());
    // Its path is kept under another name, so that it stays when the listener goes.
    fs::hard_link(place.socket(), place.0.join("kept")).unwrap();
    drop(first);
    fs::rename(place.0.join("kept"), place.socket()).unwrap();
    let refused = unix::connect::<Word, Word>(&place.socket());
    assert_eq!(failed(refused), ("connect", ErrorKind::ConnectionRefused));
    let third = Listener::bind(&place.socket(), 0o600).unwrap();
    assert!(unix::connect::<Word, Word>(&place.socket()).is_ok());
    drop(third);
}

#[test]
fn what_is_no_socket_of_ours_is_left_alone() {
    let place = Place::new("file");
    fs::write(place.socket(), "a file").unwrap();
    assert_eq!(failed(Listener::bind(&place.socket(), 0o600)), ("bind", ErrorKind::AddrInUse));
    assert_eq!(fs::read_to_string(place.socket()).unwrap(), "a file");
    fs::remove_file(place.socket()).unwrap();
    // Replaced behind our back: not ours to remove.
    let listener = Listener::bind(&place.socket(), 0o600).unwrap();
    fs::write(place.0.join("new"), "another").unwrap();
    fs::rename(place.0.join("new"), place.socket()).unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(place.socket()).unwrap(), "another");
}

#[test]
fn a_path_longer_than_an_address_is_an_error_that_names_it() {
    let place = Place::new("long");
    let path = place.0.join("x".repeat(200));
    let message = Listener::bind(&path, 0o600).unwrap_err().to_string();
    assert!(message.contains(&"x".repeat(200)), "{message}");
}
