//! Every message that the hook runner hears or says, one type a direction.
//!
//! The order: the runner says [`supervise::Answer::Ready`], or why not (and ends). The parent says [`FromParent::Scripts`] (again after a reload) and [`FromParent::Client`] for each process
//! that may tell of events. A client says [`Event`]s, and nobody answers: what becomes of a hook is
//! for the log.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use proto::unix::{Error, Message, Reader, Writer, no_fd};

/// The most words, and the most variables, of one event.
const MOST: usize = 64;

/// What the parent says.
#[derive(Debug)]
pub enum FromParent {
    /// The programs that may be run, those said before first and in the same order. Only the parent names them: who
    /// tells of events is told apart by a number here, and cannot have anything else executed.
    Scripts(Vec<PathBuf>),
    /// The channel of a process that will tell of events.
    Client(OwnedFd),
}

/// Something has happened that a hook is to be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The number of the program, in the order of [`FromParent::Scripts`].
    pub script: u16,
    /// What it is about: hooks of one key run one after the other.
    pub key: Vec<u8>,
    /// The program's arguments, after its name.
    pub arguments: Vec<Vec<u8>>,
    /// Variables beside `PATH`, which is the runner's.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the runner says to a client: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToClient {}

impl Message for FromParent {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        match self {
            FromParent::Scripts(scripts) => {
                let mut out = Writer::new(payload);
                for script in scripts {
                    out.bytes(script.as_os_str().as_bytes());
                }
                1
            }
            FromParent::Client(_) => 2,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            FromParent::Client(fd) => Some(fd.as_fd()),
            FromParent::Scripts(_) => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        match kind {
            1 => {
                no_fd(fd)?;
                let mut scripts = Vec::new();
                while !reader.is_empty() {
                    scripts.push(OsStr::from_bytes(reader.bytes()?).into());
                }
                Ok(FromParent::Scripts(scripts))
            }
            2 => {
                reader.finish()?;
                fd.map(FromParent::Client).ok_or(Error::MissingFd)
            }
            other => Err(Error::UnknownKind(other)),
        }
    }
}

impl Message for Event {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        out.u16(self.script).bytes(&self.key);
        // Bounded when they are made, and refused by the reader otherwise.
        out.u16(u16::try_from(self.arguments.len()).unwrap_or(u16::MAX));
        for argument in &self.arguments {
            out.bytes(argument);
        }
        for (name, value) in &self.environment {
            out.bytes(name).bytes(value);
        }
        1
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        if kind != 1 {
            return Err(Error::UnknownKind(kind));
        }
        let mut reader = Reader::new(payload);
        let mut event =
            Event { script: reader.u16()?, key: reader.bytes()?.to_vec(), ..Event::default() };
        let arguments = usize::from(reader.u16()?);
        if arguments > MOST {
            return Err(Error::Malformed("too many arguments"));
        }
        for _ in 0..arguments {
            event.arguments.push(text(reader.bytes()?)?);
        }
        while !reader.is_empty() {
            let (name, value) = (text(reader.bytes()?)?, text(reader.bytes()?)?);
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            if name.is_empty() || !name.iter().all(plain) {
                return Err(Error::Malformed("no name of a variable"));
            }
            event.environment.push((name, value));
            if event.environment.len() > MOST {
                return Err(Error::Malformed("too many variables"));
            }
        }
        Ok(event)
    }
}

/// What can be a word of a command line.
fn text(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if bytes.contains(&0) {
        return Err(Error::Malformed("a zero byte"));
    }
    Ok(bytes.to_vec())
}

impl Message for ToClient {
    const CARRIES_FD: bool = false;

    fn encode(&self, _: &mut Vec<u8>) -> u16 {
        match *self {}
    }

    fn decode(kind: u16, _: &[u8], _: Option<OwnedFd>) -> Result<Self, Error> {
        Err(Error::UnknownKind(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again<M: Message>(message: &M) -> Result<M, Error> {
        let mut payload = Vec::new();
        let kind = message.encode(&mut payload);
        M::decode(kind, &payload, None)
    }

    #[test]
    fn what_is_said_is_heard() {
        let scripts = vec![PathBuf::from("/etc/a"), PathBuf::from("/etc/b c")];
        match again(&FromParent::Scripts(scripts.clone())) {
            Ok(FromParent::Scripts(heard)) => assert_eq!(heard, scripts),
            other => panic!("{other:?}"),
        }
        let event = Event {
            script: 1,
            key: b"10.0.0.7".to_vec(),
            arguments: vec![b"commit".to_vec(), b"".to_vec()],
            environment: vec![(b"LEASE_ADDRESS".to_vec(), b"10.0.0.7".to_vec())],
        };
        assert_eq!(again(&event).expect("an event"), event);
    }

    #[test]
    fn what_no_command_line_can_hold_is_refused() {
        let event = Event::default();
        let variable = |name: &[u8], value: &[u8]| Event {
            environment: vec![(name.to_vec(), value.to_vec())],
            ..event.clone()
        };
        for bad in [
            variable(b"", b""),
            variable(b"A=B", b""),
            variable(b"A", b"\0"),
            Event { arguments: vec![b"\0".to_vec()], ..event.clone() },
            Event { arguments: vec![Vec::new(); 65], ..event.clone() },
            Event { environment: vec![(b"A".to_vec(), Vec::new()); 65], ..event.clone() },
        ] {
            assert!(again(&bad).is_err(), "{bad:?}");
        }
        assert!(again(&variable(b"A_1", b"x=y")).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics(kind in 0u16..4, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = FromParent::decode(kind, &payload, None);
            let _ = Event::decode(kind, &payload, None);
        }
    }
}
