//! How the messages look on a channel. Both ends are one build of one program; what comes is
//! checked all the same, because a worker reads what strangers write.

use super::{
    Arrival, FromListener, FromWorker, LONGEST_REASON, Report, Start, ToListener, ToWorker,
    WorkerSettings,
};
use crate::ctl::message::{objection, option, put_objection, put_option, put_volume, volume};
use crate::engine::{
    Conn, Consistency, Counters, Happening, Progress, Replication, Role, Settings, Status,
};
use crate::wire::data::{Checksum, Compression};
use crate::wire::hello::SyncSource;
use proto::unix::{Error, Message, Reader, Writer, no_fd};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl Message for ToListener {
    const CARRIES_FD: bool = true;

    fn encode(&self, _payload: &mut Vec<u8>) -> u16 {
        match self {
            ToListener::Listen(_) => 1,
            ToListener::Start => 2,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            ToListener::Listen(fd) => Some(fd.as_fd()),
            ToListener::Start => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let message = match kind {
            1 => ToListener::Listen(fd.ok_or(Error::MissingFd)?),
            2 => {
                no_fd(fd)?;
                ToListener::Start
            }
            _ => return Err(Error::UnknownKind(kind)),
        };
        Reader::new(payload).finish()?;
        Ok(message)
    }
}

impl Message for FromListener {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        match self {
            FromListener::Ready => 1,
            FromListener::Arrival(arrival) => {
                let mut out = Writer::new(payload);
                out.str(&arrival.protocol).put(&octets(arrival.peer));
                out.str(&arrival.resource).put(&arrival.packet);
                2
            }
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            FromListener::Ready => None,
            FromListener::Arrival(arrival) => Some(arrival.socket.as_fd()),
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut input = Reader::new(payload);
        let message = match kind {
            1 => {
                no_fd(fd)?;
                FromListener::Ready
            }
            2 => FromListener::Arrival(Arrival {
                protocol: input.str()?.to_owned(),
                peer: address(&mut input)?,
                resource: input.str()?.to_owned(),
                packet: input.rest().to_vec(),
                socket: fd.ok_or(Error::MissingFd)?,
            }),
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(message)
    }
}

impl Message for ToWorker {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            ToWorker::Component(_) => 1,
            ToWorker::Export(_) => 2,
            ToWorker::Start(start) => {
                out.str(&start.resource).u8(role_number(start.role)).bool(start.force);
                put_settings(&start.settings, &mut out);
                3
            }
            ToWorker::Arrival { protocol, packet, .. } => {
                out.str(protocol).put(packet);
                4
            }
            ToWorker::Connection { protocol, conn, .. } => {
                out.str(protocol).u8(conn_number(*conn));
                5
            }
            ToWorker::NoConnection { conn, why } => {
                out.u8(conn_number(*conn)).put(cut(why));
                6
            }
            ToWorker::Settings(settings) => {
                put_settings(settings, &mut out);
                7
            }
            ToWorker::Report => 8,
            ToWorker::Stop => 9,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            ToWorker::Component(fd)
            | ToWorker::Export(fd)
            | ToWorker::Arrival { socket: fd, .. }
            | ToWorker::Connection { socket: fd, .. } => Some(fd.as_fd()),
            ToWorker::Start(_)
            | ToWorker::NoConnection { .. }
            | ToWorker::Settings(_)
            | ToWorker::Report
            | ToWorker::Stop => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut input = Reader::new(payload);
        let message = match (kind, fd) {
            (1, Some(fd)) => ToWorker::Component(fd),
            (2, Some(fd)) => ToWorker::Export(fd),
            (3, None) => ToWorker::Start(Box::new(Start {
                resource: input.str()?.to_owned(),
                role: role(input.u8()?)?,
                force: input.bool()?,
                settings: settings(&mut input)?,
            })),
            (4, Some(socket)) => ToWorker::Arrival {
                protocol: input.str()?.to_owned(),
                packet: input.rest().to_vec(),
                socket,
            },
            (5, Some(socket)) => ToWorker::Connection {
                protocol: input.str()?.to_owned(),
                conn: conn(input.u8()?)?,
                socket,
            },
            (6, None) => {
                ToWorker::NoConnection { conn: conn(input.u8()?)?, why: text(input.rest()) }
            }
            (7, None) => ToWorker::Settings(Box::new(settings(&mut input)?)),
            (8, None) => ToWorker::Report,
            (9, None) => ToWorker::Stop,
            (1 | 2 | 4 | 5, None) => return Err(Error::MissingFd),
            (3 | 6..=9, Some(_)) => return Err(Error::UnexpectedFd),
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(message)
    }
}

impl Message for FromWorker {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            FromWorker::Ready => 1,
            FromWorker::Refused { code, loses, why } => {
                put_option(*loses, out.u8(*code));
                out.put(cut(why));
                2
            }
            FromWorker::Connect(conn) => {
                out.u8(conn_number(*conn));
                3
            }
            FromWorker::Happening(happening) => {
                match happening {
                    Happening::Connect => out.u8(1),
                    Happening::Disconnect(why) => out.u8(2).put(cut(why)),
                    Happening::SyncStart => out.u8(3),
                    Happening::SyncDone => out.u8(4),
                    Happening::SyncIntr => out.u8(5),
                    Happening::SplitBrain => out.u8(6),
                };
                4
            }
            FromWorker::Report(report) => {
                let Report { status, syncing, volume, objection } = &**report;
                put_status(status, out.u64(*syncing));
                put_volume(volume, &mut out);
                put_objection(objection.as_ref(), &mut out);
                5
            }
            FromWorker::Stopped => 6,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut input = Reader::new(payload);
        let message = match kind {
            1 => FromWorker::Ready,
            2 => FromWorker::Refused {
                code: input.u8()?,
                loses: option(&mut input)?,
                why: text(input.rest()),
            },
            3 => FromWorker::Connect(conn(input.u8()?)?),
            4 => FromWorker::Happening(match input.u8()? {
                1 => Happening::Connect,
                2 => Happening::Disconnect(text(input.rest())),
                3 => Happening::SyncStart,
                4 => Happening::SyncDone,
                5 => Happening::SyncIntr,
                6 => Happening::SplitBrain,
                _ => return Err(Error::Malformed("a happening")),
            }),
            5 => FromWorker::Report(Box::new(Report {
                syncing: input.u64()?,
                status: status(&mut input)?,
                volume: volume(&mut input)?,
                objection: objection(&mut input)?,
            })),
            6 => FromWorker::Stopped,
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(message)
    }
}

fn put_settings(settings: &WorkerSettings, out: &mut Writer<'_>) {
    let WorkerSettings { engine, checksum, compression, metaflush, moved } = settings;
    put_replication(engine.replication, out);
    out.u64(engine.timeout).bool(engine.has_remote).u32(engine.max_request);
    put_codec(*checksum, *compression, out);
    out.bool(*metaflush).bool(*moved);
}

fn settings(input: &mut Reader<'_>) -> Result<WorkerSettings, Error> {
    let engine = Settings {
        replication: replication(input)?,
        timeout: input.u64()?,
        has_remote: input.bool()?,
        max_request: input.u32()?,
    };
    let (checksum, compression) = codec(input)?;
    let (metaflush, moved) = (input.bool()?, input.bool()?);
    Ok(WorkerSettings { engine, checksum, compression, metaflush, moved })
}

pub(crate) fn put_replication(replication: Replication, out: &mut Writer<'_>) {
    out.u8(match replication {
        Replication::Fullsync => 0,
        Replication::Memsync => 1,
        Replication::Async => 2,
    });
}

pub(crate) fn replication(input: &mut Reader<'_>) -> Result<Replication, Error> {
    match input.u8()? {
        0 => Ok(Replication::Fullsync),
        1 => Ok(Replication::Memsync),
        2 => Ok(Replication::Async),
        _ => Err(Error::Malformed("a replication mode")),
    }
}

pub(crate) fn put_codec(checksum: Checksum, compression: Compression, out: &mut Writer<'_>) {
    out.u8(match checksum {
        Checksum::None => 0,
        Checksum::Crc32 => 1,
        Checksum::Sha256 => 2,
    });
    out.u8(match compression {
        Compression::None => 0,
        Compression::Hole => 1,
        Compression::Lzf => 2,
    });
}

pub(crate) fn codec(input: &mut Reader<'_>) -> Result<(Checksum, Compression), Error> {
    let checksum = match input.u8()? {
        0 => Checksum::None,
        1 => Checksum::Crc32,
        2 => Checksum::Sha256,
        _ => return Err(Error::Malformed("a checksum")),
    };
    let compression = match input.u8()? {
        0 => Compression::None,
        1 => Compression::Hole,
        2 => Compression::Lzf,
        _ => return Err(Error::Malformed("a compression")),
    };
    Ok((checksum, compression))
}

pub(crate) fn put_status(status: &Status, out: &mut Writer<'_>) {
    out.u8(role_number(status.role)).bool(status.connected);
    out.bool(status.trouble.is_some()).bytes(cut(status.trouble.as_deref().unwrap_or("")));
    out.u8(match status.consistency {
        Consistency::Consistent => 0,
        Consistency::Outdated => 1,
        Consistency::Inconsistent => 2,
    });
    out.bool(status.detached).u64(status.dirty).u64(status.marked);
    out.u8(match status.sync.map(|sync| sync.source) {
        None => 0,
        Some(SyncSource::Primary) => 1,
        Some(SyncSource::Secondary) => 2,
    });
    let sync = status.sync.map_or([0; 3], |sync| [sync.total, sync.done, sync.since]);
    let queues = [status.requests, status.local_queue, status.send_queue, status.recv_queue];
    let all = sync.into_iter().chain(counters_out(&status.counters)).chain(queues);
    all.for_each(|number| {
        out.u64(number);
    });
}

pub(crate) fn status(input: &mut Reader<'_>) -> Result<Status, Error> {
    let (role, connected) = (role(input.u8()?)?, input.bool()?);
    let (has_trouble, trouble) = (input.bool()?, text(input.bytes()?));
    let consistency = match input.u8()? {
        0 => Consistency::Consistent,
        1 => Consistency::Outdated,
        2 => Consistency::Inconsistent,
        _ => return Err(Error::Malformed("a consistency")),
    };
    let (detached, dirty, marked) = (input.bool()?, input.u64()?, input.u64()?);
    let source = match input.u8()? {
        0 => None,
        1 => Some(SyncSource::Primary),
        2 => Some(SyncSource::Secondary),
        _ => return Err(Error::Malformed("a source")),
    };
    let (total, done, since) = (input.u64()?, input.u64()?, input.u64()?);
    Ok(Status {
        role,
        connected,
        trouble: has_trouble.then_some(trouble),
        consistency,
        detached,
        dirty,
        marked,
        sync: source.map(|source| Progress { source, total, done, since }),
        counters: Counters {
            reads: input.u64()?,
            writes: input.u64()?,
            deletes: input.u64()?,
            flushes: input.u64()?,
            map_updates: input.u64()?,
            read_errors: input.u64()?,
            write_errors: input.u64()?,
            delete_errors: input.u64()?,
            flush_errors: input.u64()?,
            remote_errors: input.u64()?,
        },
        requests: input.u64()?,
        local_queue: input.u64()?,
        send_queue: input.u64()?,
        recv_queue: input.u64()?,
    })
}

/// In the order in which [`status`] reads them.
fn counters_out(counters: &Counters) -> [u64; 10] {
    [
        counters.reads,
        counters.writes,
        counters.deletes,
        counters.flushes,
        counters.map_updates,
        counters.read_errors,
        counters.write_errors,
        counters.delete_errors,
        counters.flush_errors,
        counters.remote_errors,
    ]
}

pub(crate) fn role_number(role: Role) -> u8 {
    match role {
        Role::Init => 1,
        Role::Primary => 2,
        Role::Secondary => 3,
    }
}

pub(crate) fn role(number: u8) -> Result<Role, Error> {
    match number {
        1 => Ok(Role::Init),
        2 => Ok(Role::Primary),
        3 => Ok(Role::Secondary),
        _ => Err(Error::Malformed("a role")),
    }
}

fn conn_number(conn: Conn) -> u8 {
    match conn {
        Conn::C1 => 1,
        Conn::C2 => 2,
    }
}

fn conn(number: u8) -> Result<Conn, Error> {
    match number {
        1 => Ok(Conn::C1),
        2 => Ok(Conn::C2),
        _ => Err(Error::Malformed("a connection")),
    }
}

/// IPv4 as IPv6 has it (RFC 4291 section 2.5.5.2).
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address(input: &mut Reader<'_>) -> Result<IpAddr, Error> {
    let mut octets = [0; 16];
    octets.copy_from_slice(input.take(16)?);
    Ok(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
}

/// A reason is for a log line: one that would not fit a message loses its end.
pub(crate) fn cut(reason: &str) -> &[u8] {
    proto::unix::cut(reason, LONGEST_REASON).as_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
