//! The messages as bytes: how each is written, and how what came is understood.
//!
//! Nothing received is trusted: a table is named anew, a list is no longer than a list may be, and
//! bytes left over are an error.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use proto::unix::{Error, Message, Reader, Writer, cut, no_fd};

use crate::{
    Command, Condition, FromParent, FromServer, MAX_ADDRESSES, MAX_COMMANDS, Report, Table, Tables,
    ToServer, Verb,
};

const SETUP: u16 = 1;
const COMMANDS: u16 = 2;
const APPLY: u16 = 5;
const REPLACE: u16 = 6;
const REPORT: u16 = 7;
const FLUSHED: u16 = 8;
const TABLES: u16 = 9;

/// The longest text that goes into a message; longer ones are cut.
const MAX_TEXT: usize = 1024;

impl Message for FromParent {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            FromParent::Setup { tables, element_timeout } => {
                for table in [&tables.abandoned, &tables.changed, &tables.leased] {
                    out.str(table.as_ref().map_or("", Table::as_str));
                }
                out.bool(element_timeout.is_some()).u32(element_timeout.unwrap_or(0));
                SETUP
            }
            FromParent::Commands(_) => COMMANDS,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            FromParent::Commands(fd) => Some(fd.as_fd()),
            FromParent::Setup { .. } => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        let message = match kind {
            SETUP => {
                no_fd(fd)?;
                let tables = Tables {
                    abandoned: table(&mut reader)?,
                    changed: table(&mut reader)?,
                    leased: table(&mut reader)?,
                };
                let wanted = reader.bool()?;
                let seconds = reader.u32()?;
                FromParent::Setup { tables, element_timeout: wanted.then_some(seconds) }
            }
            COMMANDS => FromParent::Commands(fd.ok_or(Error::MissingFd)?),
            _ => return Err(Error::UnknownKind(kind)),
        };
        reader.finish()?;
        Ok(message)
    }
}

impl Message for FromServer {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            FromServer::Apply { seq, commands } => {
                out.u32(*seq);
                for command in commands {
                    out.u8(letter(command.verb)).ipv4(command.address);
                }
                APPLY
            }
            FromServer::Replace { seq, part, last, leased, abandoned } => {
                out.u32(*seq).u32(*part).bool(*last);
                // A message with more than its length can say is longer than the channel takes.
                out.u16(u16::try_from(leased.len()).unwrap_or(u16::MAX));
                for address in leased.iter().chain(abandoned) {
                    out.ipv4(*address);
                }
                REPLACE
            }
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut reader = Reader::new(payload);
        match kind {
            APPLY => {
                let seq = reader.u32()?;
                let mut commands = Vec::with_capacity(payload.len() / 5);
                while !reader.is_empty() {
                    commands.push(Command { verb: verb(reader.u8()?)?, address: reader.ipv4()? });
                }
                if commands.len() > MAX_COMMANDS {
                    return Err(Error::Malformed("more commands than one message may have"));
                }
                Ok(FromServer::Apply { seq, commands })
            }
            REPLACE => {
                let (seq, part, last) = (reader.u32()?, reader.u32()?, reader.bool()?);
                let count = usize::from(reader.u16()?);
                let mut leased = Vec::with_capacity(count.min(MAX_ADDRESSES));
                for _ in 0..count {
                    leased.push(reader.ipv4()?);
                }
                let mut abandoned: Vec<Ipv4Addr> = Vec::new();
                while !reader.is_empty() {
                    abandoned.push(reader.ipv4()?);
                }
                if leased.len() + abandoned.len() > MAX_ADDRESSES {
                    return Err(Error::Malformed("more addresses than one message may have"));
                }
                Ok(FromServer::Replace { seq, part, last, leased, abandoned })
            }
            _ => Err(Error::UnknownKind(kind)),
        }
    }
}

impl Message for ToServer {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        match self {
            ToServer::Report(Report { seq, applied, missing, failed }) => {
                Writer::new(payload).u32(*seq).u32(*applied).u32(*missing).u32(*failed);
                REPORT
            }
            ToServer::Tables(tables) => {
                let mut out = Writer::new(payload);
                for condition in tables {
                    match condition {
                        Condition::Unfilled => out.u8(b'U'),
                        Condition::Kept => out.u8(b'K'),
                        Condition::Missing => out.u8(b'M'),
                        Condition::Failed(why) => out.u8(b'F').str(cut(why, MAX_TEXT)),
                    };
                }
                TABLES
            }
            ToServer::Flushed => FLUSHED,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut reader = Reader::new(payload);
        let message = match kind {
            REPORT => ToServer::Report(Report {
                seq: reader.u32()?,
                applied: reader.u32()?,
                missing: reader.u32()?,
                failed: reader.u32()?,
            }),
            TABLES => ToServer::Tables([
                condition(&mut reader)?,
                condition(&mut reader)?,
                condition(&mut reader)?,
            ]),
            FLUSHED => ToServer::Flushed,
            _ => return Err(Error::UnknownKind(kind)),
        };
        reader.finish()?;
        Ok(message)
    }
}

fn condition(reader: &mut Reader<'_>) -> Result<Condition, Error> {
    match reader.u8()? {
        b'U' => Ok(Condition::Unfilled),
        b'K' => Ok(Condition::Kept),
        b'M' => Ok(Condition::Missing),
        b'F' => Ok(Condition::Failed(reader.str()?.to_owned())),
        _ => Err(Error::Malformed("no such condition")),
    }
}

fn letter(verb: Verb) -> u8 {
    match verb {
        Verb::Leased => b'L',
        Verb::Released => b'R',
        Verb::Abandoned => b'A',
        Verb::Changed => b'C',
    }
}

fn verb(letter: u8) -> Result<Verb, Error> {
    match letter {
        b'L' => Ok(Verb::Leased),
        b'R' => Ok(Verb::Released),
        b'A' => Ok(Verb::Abandoned),
        b'C' => Ok(Verb::Changed),
        _ => Err(Error::Malformed("no such verb")),
    }
}

fn table(reader: &mut Reader<'_>) -> Result<Option<Table>, Error> {
    match reader.str()? {
        "" => Ok(None),
        name => name.parse().map(Some).map_err(|_| Error::Malformed("not the name of a table")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::unix::MAX_PAYLOAD;

    fn round<M: Message>(message: &M) -> M {
        let mut payload = Vec::new();
        let kind = message.encode(&mut payload);
        assert!(payload.len() <= MAX_PAYLOAD);
        let fd = message.fd().map(|fd| fd.try_clone_to_owned().unwrap());
        M::decode(kind, &payload, fd).unwrap()
    }

    fn wrong<M: Message>(kind: u16, payload: &[u8]) -> Error {
        M::decode(kind, payload, None).err().unwrap()
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let verb =
            prop::sample::select(&[Verb::Leased, Verb::Released, Verb::Abandoned, Verb::Changed]);
        (verb, any::<u32>())
            .prop_map(|(verb, address)| Command { verb, address: Ipv4Addr::from(address) })
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        prop_oneof![
            prop::sample::select(&[Condition::Unfilled, Condition::Kept, Condition::Missing]),
            "\\PC{0,80}".prop_map(Condition::Failed),
        ]
    }

    #[test]
    fn setup_comes_back_with_and_without_its_tables() {
        let named = Tables {
            abandoned: None,
            changed: Some("drain".parse().unwrap()),
            leased: Some("leased".parse().unwrap()),
        };
        for (tables, timeout) in [(named, Some(0)), (Tables::default(), None)] {
            let sent = FromParent::Setup { tables: tables.clone(), element_timeout: timeout };
            let FromParent::Setup { tables: t, element_timeout } = round(&sent) else {
                panic!("another message");
            };
            assert_eq!((t, element_timeout), (tables, timeout));
        }
    }

    #[test]
    fn the_channel_needs_its_descriptor_and_nothing_else_may_have_one() {
        let (fd, _other) = proto::unix::pair().unwrap();
        assert!(matches!(round(&FromParent::Commands(fd)), FromParent::Commands(_)));
        assert!(matches!(wrong::<FromParent>(COMMANDS, &[]), Error::MissingFd));
        let (fd, _other) = proto::unix::pair().unwrap();
        let error = FromParent::decode(SETUP, &[0; 11], Some(fd)).err().unwrap();
        assert!(matches!(error, Error::UnexpectedFd));
    }

    #[test]
    fn the_longest_messages_fit_the_channel() {
        let command = Command { verb: Verb::Leased, address: Ipv4Addr::LOCALHOST };
        let apply = FromServer::Apply { seq: 1, commands: vec![command; MAX_COMMANDS] };
        assert_eq!(round(&apply), apply);
        for message in FromServer::replace(1, &vec![Ipv4Addr::LOCALHOST; 20_000], &[]) {
            assert_eq!(round(&message), message);
        }
    }

    #[test]
    fn a_list_over_its_limit_is_refused() {
        let command = Command { verb: Verb::Leased, address: Ipv4Addr::LOCALHOST };
        let apply = FromServer::Apply { seq: 1, commands: vec![command; MAX_COMMANDS + 1] };
        let mut payload = Vec::new();
        let kind = apply.encode(&mut payload);
        assert!(matches!(wrong::<FromServer>(kind, &payload), Error::Malformed(_)));
    }

    #[test]
    fn what_ends_early_or_late_is_refused() {
        assert!(matches!(wrong::<FromServer>(APPLY, b"\0\0\0\x01L\x0a\0\0"), Error::Malformed(_)));
        assert!(matches!(
            wrong::<FromServer>(APPLY, b"\0\0\0\x01X\x0a\0\0\x01"),
            Error::Malformed(_)
        ));
        assert!(matches!(wrong::<ToServer>(FLUSHED, b"x"), Error::Malformed(_)));
        let lies = b"\0\0\0\x01\0\0\0\0\x01\xff\xff\x0a\0\0\x01";
        assert!(matches!(wrong::<FromServer>(REPLACE, lies), Error::Malformed(_)));
    }

    proptest! {
        #[test]
        fn commands_come_back(seq: u32, commands in prop::collection::vec(any_command(), 0..50)) {
            let message = FromServer::Apply { seq, commands };
            prop_assert_eq!(round(&message), message);
        }

        #[test]
        fn truths_come_back(seq: u32, part: u32, last: bool, l: Vec<u32>, a: Vec<u32>) {
            let addresses = |list: Vec<u32>| list.into_iter().map(Ipv4Addr::from).collect();
            let (leased, abandoned) = (addresses(l), addresses(a));
            let message = FromServer::Replace { seq, part, last, leased, abandoned };
            prop_assert_eq!(round(&message), message);
        }

        #[test]
        fn reports_come_back(seq: u32, applied: u32, missing: u32, failed: u32) {
            let message = ToServer::Report(Report { seq, applied, missing, failed });
            prop_assert_eq!(round(&message), message);
        }

        #[test]
        fn conditions_come_back(tables in prop::array::uniform3(any_condition())) {
            let message = ToServer::Tables(tables);
            prop_assert_eq!(round(&message), message);
        }

        #[test]
        fn random_bytes_never_panic(kind in 0u16..10, bytes: Vec<u8>) {
            let _ = FromParent::decode(kind, &bytes, None);
            let _ = FromServer::decode(kind, &bytes, None);
            let _ = ToServer::decode(kind, &bytes, None);
        }
    }
}
