//! What hastctl(8) and the parent say to each other, over a `SOCK_SEQPACKET` path socket: requests
//! down, answers up.
//!
//! A connection carries any number of requests, one after the other. Each is answered by one
//! [`Answer`] for each resource that it is about, in the order of the request or of hast.conf, and
//! then by [`Answer::End`]; or by [`Answer::Refused`] alone. After [`Request::Stop`] comes
//! [`Answer::End`] when no role is left, and then the connection ends with the daemon.
//!
//! This is not what FreeBSD's hastctl says to its hastd: they cannot be mixed on one node.

#[cfg(test)]
pub(super) mod tests;

use crate::config;
use crate::engine::role::Refusal;
use crate::engine::{Metadata, Replication, Role, Status};
use crate::msg::encoding::{
    codec, cut, put_codec, put_replication, put_status, replication, role, role_number, status,
};
use crate::wire::data::{Checksum, Compression};
use proto::unix::{Error, Message, Reader, Writer, no_fd};
use std::os::fd::OwnedFd;

/// What hastctl asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Another role.
    Role {
        /// Which.
        role: Role,
        /// Although something may be lost.
        force: bool,
        /// Of which resources.
        of: Selection,
    },
    /// How things stand.
    Status {
        /// With which resources.
        of: Selection,
    },
    /// This node's data is given up: it takes the other node's when they meet.
    Discard {
        /// Of which resources, by name.
        of: Vec<String>,
    },
    /// All roles end, and the daemon does.
    Stop,
}

/// Which resources are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// These, by name. They may not exist.
    Named(Vec<String>),
}

/// What the parent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Resource>),
    /// To [`Request::Role`] and [`Request::Discard`]: it is done.
    Done {
        /// With which resource.
        resource: String,
        /// The role that it had before.
        before: Role,
    },
    /// It was not done.
    Failed {
        /// With which resource.
        resource: String,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        why: String,
        /// Bytes that would have been lost, if that is why and it is known.
        loses: Option<u64>,
    },
    /// That was the last answer to the request.
    End,
    /// Nothing of what was asked for was done, for this reason.
    Refused(String),
}

/// Why something was not done with a resource. hastctl exits with the first one's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// There is no such resource.
    NoEntry = 1,
    /// It makes no sense.
    Invalid = 2,
    /// There is not enough memory.
    NoMemory = 3,
    /// This version cannot.
    Unimplemented = 4,
    /// Ours: something would be lost. `--force` does it all the same.
    Unsafe = 5,
    /// Ours: the component, the export or a process failed.
    Failed = 6,
}

/// A resource, as far as it is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Its role on this node.
    pub role: Role,
    /// What `name` in hast.conf says.
    pub provname: String,
    /// Where clients find it while this node is primary.
    pub uri: String,
    /// The local component's path.
    pub local: String,
    /// The other node's address, or `none`.
    pub remote: String,
    /// Where connections come from, if that was said.
    pub source: Option<String>,
    /// As in hast.conf.
    pub replication: Replication,
    /// As in hast.conf.
    pub checksum: Checksum,
    /// As in hast.conf.
    pub compression: Compression,
    /// What its metadata says, if that has been read.
    pub volume: Option<Volume>,
    /// What its worker says, if it has one.
    pub worker: Option<Worker>,
    /// Why it would not be promoted now without force, if that is known. Nothing of a primary.
    pub objection: Option<Objection>,
}

/// What the metadata on the local component says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Usable bytes.
    pub datasize: u64,
    /// Bytes of an extent.
    pub extentsize: u32,
    /// Extents that stay marked.
    pub keepdirty: u32,
    /// Unique id; 0 until first connected.
    pub resuid: u64,
    /// Generation of this node's data.
    pub localcnt: u64,
    /// Of the other node's, as last known.
    pub remotecnt: u64,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its process.
    pub pid: u32,
    /// How things stand. Its `since` is of a clock that only the worker's machine has.
    pub status: Status,
    /// Milliseconds since the resynchronisation began, if there is one.
    pub syncing: u64,
}

/// What speaks against a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Bytes that would be lost, if that is known.
    pub loses: Option<u64>,
    /// In words.
    pub why: String,
}

impl Resource {
    /// What hast.conf says about it; the rest is for the parent to fill in.
    pub fn of(config: &config::Resource, role: Role) -> Resource {
        Resource {
            name: config.name.clone(),
            role,
            provname: config.provname.clone(),
            uri: config.uri(),
            local: config.local.display().to_string(),
            remote: config.remote.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
            source: config.source.as_ref().map(ToString::to_string),
            replication: config.replication,
            checksum: config.checksum,
            compression: config.compression,
            volume: None,
            worker: None,
            objection: None,
        }
    }
}

impl From<&Metadata> for Volume {
    fn from(meta: &Metadata) -> Volume {
        let Metadata { datasize, extentsize, keepdirty, resuid, localcnt, remotecnt, .. } = *meta;
        Volume { datasize, extentsize, keepdirty, resuid, localcnt, remotecnt }
    }
}

impl From<&Refusal> for Objection {
    fn from(refusal: &Refusal) -> Objection {
        let loses = match refusal {
            Refusal::Inconsistent { bytes, .. } | Refusal::Outdated { bytes, .. } => *bytes,
            _ => None,
        };
        Objection { loses, why: refusal.to_string() }
    }
}

impl Message for Request {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            Request::Role { role, force, of } => {
                put_selection(of, out.u8(role_number(*role)).bool(*force));
                1
            }
            Request::Status { of } => {
                put_selection(of, &mut out);
                2
            }
            Request::Discard { of } => {
                put_names(of, &mut out);
                3
            }
            Request::Stop => 4,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut input = Reader::new(payload);
        let request = match kind {
            1 => {
                let (role, force) = (role(input.u8()?)?, input.bool()?);
                Request::Role { role, force, of: selection(&mut input)? }
            }
            2 => Request::Status { of: selection(&mut input)? },
            3 => Request::Discard { of: names(&mut input)? },
            4 => Request::Stop,
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(request)
    }
}

impl Message for Answer {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            Answer::Status(resource) => {
                put_resource(resource, &mut out);
                1
            }
            Answer::Done { resource, before } => {
                out.str(resource).u8(role_number(*before));
                2
            }
            Answer::Failed { resource, code, why, loses } => {
                out.str(resource).u8(*code as u8).bytes(cut(why));
                put_option(*loses, &mut out);
                3
            }
            Answer::End => 4,
            Answer::Refused(why) => {
                out.bytes(cut(why));
                5
            }
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut input = Reader::new(payload);
        let answer = match kind {
            1 => Answer::Status(Box::new(resource(&mut input)?)),
            2 => Answer::Done { resource: owned(&mut input)?, before: role(input.u8()?)? },
            3 => Answer::Failed {
                resource: owned(&mut input)?,
                code: code(input.u8()?)?,
                why: owned(&mut input)?,
                loses: option(&mut input)?,
            },
            4 => Answer::End,
            5 => Answer::Refused(owned(&mut input)?),
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(answer)
    }
}

fn put_selection(of: &Selection, out: &mut Writer<'_>) {
    match of {
        Selection::All => {
            out.bool(true);
        }
        Selection::Named(names) => put_names(names, out.bool(false)),
    }
}

fn selection(input: &mut Reader<'_>) -> Result<Selection, Error> {
    if input.bool()? { Ok(Selection::All) } else { names(input).map(Selection::Named) }
}

/// Up to the end of the message.
fn put_names(names: &[String], out: &mut Writer<'_>) {
    names.iter().for_each(|name| {
        out.str(name);
    });
}

fn names(input: &mut Reader<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    while !input.is_empty() {
        names.push(owned(input)?);
    }
    if names.is_empty() { Err(Error::Malformed("no resource is named")) } else { Ok(names) }
}

fn put_resource(resource: &Resource, out: &mut Writer<'_>) {
    out.str(&resource.name).u8(role_number(resource.role)).str(&resource.provname);
    out.str(&resource.uri).str(&resource.local).str(&resource.remote);
    out.bool(resource.source.is_some()).str(resource.source.as_deref().unwrap_or(""));
    put_replication(resource.replication, out);
    put_codec(resource.checksum, resource.compression, out);
    out.bool(resource.volume.is_some());
    if let Some(volume) = &resource.volume {
        put_volume(volume, out);
    }
    out.bool(resource.worker.is_some());
    if let Some(worker) = &resource.worker {
        put_status(&worker.status, out.u32(worker.pid).u64(worker.syncing));
    }
    put_objection(resource.objection.as_ref(), out);
}

pub(crate) fn put_volume(volume: &Volume, out: &mut Writer<'_>) {
    out.u64(volume.datasize).u32(volume.extentsize).u32(volume.keepdirty);
    out.u64(volume.resuid).u64(volume.localcnt).u64(volume.remotecnt);
}

pub(crate) fn volume(input: &mut Reader<'_>) -> Result<Volume, Error> {
    Ok(Volume {
        datasize: input.u64()?,
        extentsize: input.u32()?,
        keepdirty: input.u32()?,
        resuid: input.u64()?,
        localcnt: input.u64()?,
        remotecnt: input.u64()?,
    })
}

pub(crate) fn put_objection(objection: Option<&Objection>, out: &mut Writer<'_>) {
    out.bool(objection.is_some());
    if let Some(objection) = objection {
        put_option(objection.loses, out.bytes(cut(&objection.why)));
    }
}

pub(crate) fn objection(input: &mut Reader<'_>) -> Result<Option<Objection>, Error> {
    if !input.bool()? {
        return Ok(None);
    }
    let why = owned(input)?;
    Ok(Some(Objection { why, loses: option(input)? }))
}

fn resource(input: &mut Reader<'_>) -> Result<Resource, Error> {
    let name = owned(input)?;
    let role = role(input.u8()?)?;
    let (provname, uri) = (owned(input)?, owned(input)?);
    let (local, remote) = (owned(input)?, owned(input)?);
    let (has_source, source) = (input.bool()?, owned(input)?);
    let replication = replication(input)?;
    let (checksum, compression) = codec(input)?;
    let volume = if input.bool()? { Some(volume(input)?) } else { None };
    let mut worker = None;
    if input.bool()? {
        let (pid, syncing) = (input.u32()?, input.u64()?);
        worker = Some(Worker { pid, syncing, status: status(input)? });
    }
    let objection = objection(input)?;
    Ok(Resource {
        name,
        role,
        provname,
        uri,
        local,
        remote,
        source: has_source.then_some(source),
        replication,
        checksum,
        compression,
        volume,
        worker,
        objection,
    })
}

fn code(number: u8) -> Result<Code, Error> {
    use Code::{Failed, Invalid, NoEntry, NoMemory, Unimplemented, Unsafe};
    [NoEntry, Invalid, NoMemory, Unimplemented, Unsafe, Failed]
        .into_iter()
        .find(|code| *code as u8 == number)
        .ok_or(Error::Malformed("a code"))
}

pub(crate) fn put_option(number: Option<u64>, out: &mut Writer<'_>) {
    out.bool(number.is_some()).u64(number.unwrap_or(0));
}

pub(crate) fn option(input: &mut Reader<'_>) -> Result<Option<u64>, Error> {
    let (some, number) = (input.bool()?, input.u64()?);
    Ok(some.then_some(number))
}

fn owned(input: &mut Reader<'_>) -> Result<String, Error> {
    input.str().map(str::to_owned)
}
