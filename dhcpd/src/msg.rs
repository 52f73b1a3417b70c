//! Every message between dhcpd's parent and its server, by direction.
//!
//! The order: the parent sends [`ToServer::Sources`] until the last, an [`ToServer::Interface`] for
//! each that is served, [`ToServer::Udp`], each of these with [`ToServer::Discovers`] behind it
//! where the system has that queue, [`ToServer::Icmp`], [`ToServer::Leases`], and at last
//! [`ToServer::Start`]. The server answers [`ToParent::Ready`], or [`ToParent::Refused`] and ends.
//! From then on the server asks for new lease files, and the parent brings the channel of a table
//! handler ([`ToServer::Helper`]), of a hook runner ([`ToServer::Hooks`]) or of a resolver
//! ([`ToServer::Names`]) whenever one is ready.
//!
//! What changes while it serves is told in the same words: a new configuration by
//! [`ToServer::Sources`] until the last, interfaces by [`ToServer::Interface`],
//! [`ToServer::Readdressed`] and [`ToServer::InterfaceGone`]. All of it takes effect at once with
//! [`ToServer::Apply`], which the server answers with [`ToParent::Applied`].

mod sync;
#[cfg(test)]
mod tests;

use crate::sync::Options as SyncOptions;
use pfhelper::Tables;
use proto::unix::{Error, MAX_PAYLOAD, Message, Reader, Writer, no_fd};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most bytes of the recorded configuration in one message.
pub const CHUNK: usize = MAX_PAYLOAD - 16;

/// The most bytes of what is wrong with a configuration.
const MAX_ERRORS: usize = MAX_PAYLOAD / 2;

/// The most addresses of an interface that are told, the first ones: a message must have room.
const MAX_ADDRESSES: usize = MAX_PAYLOAD / 8;

/// What the parent says.
#[derive(Debug)]
pub enum ToServer {
    /// A part of the configuration as the parent read it; the parts follow each other.
    Sources {
        /// At most [`CHUNK`] bytes.
        bytes: Vec<u8>,
        /// Whether the configuration is complete with this part.
        last: bool,
    },
    /// An interface to serve, with its packet socket. It replaces one of the same name.
    Interface(Interface, OwnedFd),
    /// An interface that is served has other addresses; its packet socket stays.
    Readdressed(Interface),
    /// The interface of this name is not to be served any more.
    InterfaceGone(String),
    /// All changes since the last one of these take effect.
    Apply,
    /// The UDP socket of port 67.
    Udp(OwnedFd),
    /// The socket of UDP mode: beside [`ToServer::Udp`], or in its place where no link is read.
    UdpMode(OwnedFd),
    /// An interface that UDP mode may hear from, or what has become of it: without an address,
    /// nothing. At start, and whenever it has changed.
    UdpInterface(Interface),
    /// The queue of DISCOVERs that belongs to the interface, or to the UDP socket, told last.
    Discovers(OwnedFd),
    /// The raw ICMP socket.
    Icmp(OwnedFd),
    /// A channel to the pf table handler: at start, and again after each restart of it.
    Helper(OwnedFd),
    /// A channel to the hook runner: likewise.
    Hooks(OwnedFd),
    /// The socket of lease synchronisation, and how that is done: before the start, if at all.
    Sync(SyncOptions, OwnedFd),
    /// A channel to the resolver: likewise.
    Names(OwnedFd),
    /// The lease file, open for reading and appending.
    Leases(OwnedFd),
    /// All is said: serve.
    Start(Start),
    /// The new, empty lease file that was asked for.
    NewFile(OwnedFd),
    /// There is no new lease file, and why.
    NoNewFile(String),
    /// Whether the new lease file has taken the place of the old one.
    Renamed(Renamed),
    /// The control socket, listening: before the start, and not at all where there is none.
    Control(OwnedFd),
    /// What came of [`ToParent::WantReload`], one for each: the new configuration is in use, or why
    /// the old one still is, one line for each error.
    Reloaded(Result<(), String>),
    /// The processes there are, the parent first, as [`ToParent::WantChildren`] asked.
    Children(Vec<Process>),
}

/// A process of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As it calls itself.
    pub title: String,
    /// Its number, as the parent knows it; 0 while it is being started again.
    pub pid: u32,
}

/// What became of putting the new lease file in the old one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// Done, and the directory is on disk.
    Yes,
    /// Not done, for this reason.
    No(String),
    /// Done, but the directory could not be synced: a crash may undo it.
    Maybe(String),
}

/// An interface that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The system's index.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its addresses; the first is who we are on that wire.
    pub addresses: Vec<Ipv4Addr>,
}

/// The rest of what the server needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Name of the configuration, as in messages about it.
    pub config: String,
    /// Name of the lease file, likewise.
    pub leases: String,
    /// The tables to keep.
    pub tables: Tables,
    /// How long an element of them lasts, in seconds.
    pub element_timeout: Option<u32>,
    /// Whether hooks are to be told of leases.
    pub hooks: bool,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToParent {
    /// Leases are loaded; packets are being answered.
    Ready,
    /// Why it cannot serve; the server ends after this.
    Refused(String),
    /// What came of [`ToServer::Apply`]: done, or why everything is as it was.
    Applied(Result<(), String>),
    /// A new, empty lease file beside the old one, please.
    WantNewFile,
    /// The new lease file is complete and on disk: put it in the old one's place.
    WantRename,
    /// Read the configuration again, as after SIGHUP, and say what came of it
    /// ([`ToServer::Reloaded`]).
    WantReload {
        /// Who asked for it, for the log.
        who: String,
    },
    /// Which processes there are ([`ToServer::Children`]).
    WantChildren,
}

impl Interface {
    fn encode(&self, out: &mut Writer<'_>) {
        out.bytes(self.name.as_bytes()).u32(self.index).put(&self.mac);
        for address in self.addresses.iter().take(MAX_ADDRESSES) {
            out.ipv4(*address);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let name = input.str()?.to_owned();
        let index = input.u32()?;
        let mut mac = [0; 6];
        mac.copy_from_slice(input.take(6)?);
        let mut addresses: Vec<Ipv4Addr> = Vec::new();
        while !input.is_empty() {
            addresses.push(input.ipv4()?);
        }
        Ok(Interface { name, index, mac, addresses })
    }
}

impl Message for ToServer {
    const CARRIES_FD: bool = true;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        let mut out = Writer::new(payload);
        match self {
            ToServer::Sources { bytes, last } => {
                out.bool(*last).put(bytes);
                1
            }
            ToServer::Interface(interface, _) => {
                interface.encode(&mut out);
                2
            }
            ToServer::Readdressed(interface) => {
                interface.encode(&mut out);
                18
            }
            ToServer::InterfaceGone(name) => {
                out.put(cut(name));
                19
            }
            ToServer::Apply => 21,
            ToServer::UdpMode(_) => 24,
            ToServer::UdpInterface(interface) => {
                interface.encode(&mut out);
                25
            }
            ToServer::Udp(_) => 3,
            ToServer::Discovers(_) => 20,
            ToServer::Icmp(_) => 4,
            ToServer::Helper(_) => 5,
            ToServer::Hooks(_) => 13,
            ToServer::Names(_) => 31,
            ToServer::Leases(_) => 6,
            ToServer::Start(start) => {
                out.bytes(start.config.as_bytes()).bytes(start.leases.as_bytes());
                out.u32(start.element_timeout.unwrap_or(0)).bool(start.hooks);
                let Tables { abandoned, changed, leased } = &start.tables;
                for table in [abandoned, changed, leased] {
                    out.bytes(table.as_ref().map_or("", |table| table.as_str()).as_bytes());
                }
                7
            }
            ToServer::NewFile(_) => 8,
            ToServer::NoNewFile(why) => {
                out.put(cut(why));
                9
            }
            ToServer::Renamed(Renamed::Yes) => 10,
            ToServer::Renamed(Renamed::No(why)) => {
                out.put(cut(why));
                11
            }
            ToServer::Renamed(Renamed::Maybe(why)) => {
                out.put(cut(why));
                12
            }
            ToServer::Control(_) => 14,
            ToServer::Sync(options, _) => {
                sync::encode(options, &mut out);
                30
            }
            ToServer::Reloaded(Ok(())) => 15,
            ToServer::Reloaded(Err(why)) => {
                out.put(cut_at(why, MAX_ERRORS));
                16
            }
            ToServer::Children(children) => {
                for Process { title, pid } in children {
                    out.u32(*pid).bytes(cut(title));
                }
                17
            }
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            ToServer::Interface(_, fd)
            | ToServer::Udp(fd)
            | ToServer::UdpMode(fd)
            | ToServer::Discovers(fd)
            | ToServer::Icmp(fd)
            | ToServer::Helper(fd)
            | ToServer::Hooks(fd)
            | ToServer::Names(fd)
            | ToServer::Leases(fd)
            | ToServer::NewFile(fd)
            | ToServer::Sync(_, fd)
            | ToServer::Control(fd) => Some(fd.as_fd()),
            ToServer::Sources { .. }
            | ToServer::Readdressed(_)
            | ToServer::InterfaceGone(_)
            | ToServer::Apply
            | ToServer::UdpInterface(_)
            | ToServer::Start(_)
            | ToServer::NoNewFile(_)
            | ToServer::Renamed(_)
            | ToServer::Reloaded(_)
            | ToServer::Children(_) => None,
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        let mut input = Reader::new(payload);
        let wanted = |fd: Option<OwnedFd>| fd.ok_or(Error::MissingFd);
        let message = match kind {
            1 => {
                no_fd(fd)?;
                ToServer::Sources { last: input.bool()?, bytes: input.rest().to_vec() }
            }
            2 => ToServer::Interface(Interface::decode(&mut input)?, wanted(fd)?),
            18 => {
                no_fd(fd)?;
                ToServer::Readdressed(Interface::decode(&mut input)?)
            }
            19 => {
                no_fd(fd)?;
                ToServer::InterfaceGone(text(&mut input))
            }
            21 => {
                no_fd(fd)?;
                ToServer::Apply
            }
            24 => ToServer::UdpMode(wanted(fd)?),
            25 => {
                no_fd(fd)?;
                ToServer::UdpInterface(Interface::decode(&mut input)?)
            }
            3 => ToServer::Udp(wanted(fd)?),
            4 => ToServer::Icmp(wanted(fd)?),
            5 => ToServer::Helper(wanted(fd)?),
            6 => ToServer::Leases(wanted(fd)?),
            7 => {
                no_fd(fd)?;
                let (config, leases) = (input.str()?.to_owned(), input.str()?.to_owned());
                let element_timeout = Some(input.u32()?).filter(|seconds| *seconds > 0);
                let hooks = input.bool()?;
                let mut table = || match input.str()? {
                    "" => Ok(None),
                    name => {
                        name.parse().map(Some).map_err(|_| Error::Malformed("the name of a table"))
                    }
                };
                let tables = Tables { abandoned: table()?, changed: table()?, leased: table()? };
                ToServer::Start(Start { config, leases, tables, element_timeout, hooks })
            }
            8 => ToServer::NewFile(wanted(fd)?),
            9 => {
                no_fd(fd)?;
                ToServer::NoNewFile(text(&mut input))
            }
            10 => {
                no_fd(fd)?;
                ToServer::Renamed(Renamed::Yes)
            }
            11 => {
                no_fd(fd)?;
                ToServer::Renamed(Renamed::No(text(&mut input)))
            }
            12 => {
                no_fd(fd)?;
                ToServer::Renamed(Renamed::Maybe(text(&mut input)))
            }
            13 => ToServer::Hooks(wanted(fd)?),
            31 => ToServer::Names(wanted(fd)?),
            20 => ToServer::Discovers(wanted(fd)?),
            14 => ToServer::Control(wanted(fd)?),
            30 => ToServer::Sync(sync::decode(&mut input)?, wanted(fd)?),
            15 => {
                no_fd(fd)?;
                ToServer::Reloaded(Ok(()))
            }
            16 => {
                no_fd(fd)?;
                ToServer::Reloaded(Err(text(&mut input)))
            }
            17 => {
                no_fd(fd)?;
                let mut children = Vec::new();
                while !input.is_empty() {
                    children.push(Process { pid: input.u32()?, title: input.str()?.to_owned() });
                }
                ToServer::Children(children)
            }
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(message)
    }
}

impl Message for ToParent {
    const CARRIES_FD: bool = false;

    fn encode(&self, payload: &mut Vec<u8>) -> u16 {
        match self {
            ToParent::Ready => 1,
            ToParent::Refused(why) => {
                payload.extend_from_slice(cut(why));
                2
            }
            ToParent::WantNewFile => 3,
            ToParent::WantRename => 4,
            ToParent::WantReload { who } => {
                payload.extend_from_slice(cut(who));
                5
            }
            ToParent::WantChildren => 6,
            ToParent::Applied(Ok(())) => 7,
            ToParent::Applied(Err(why)) => {
                payload.extend_from_slice(cut(why));
                8
            }
        }
    }

    fn decode(kind: u16, payload: &[u8], fd: Option<OwnedFd>) -> Result<Self, Error> {
        no_fd(fd)?;
        let mut input = Reader::new(payload);
        let message = match kind {
            1 => ToParent::Ready,
            2 => ToParent::Refused(text(&mut input)),
            3 => ToParent::WantNewFile,
            4 => ToParent::WantRename,
            5 => ToParent::WantReload { who: text(&mut input) },
            6 => ToParent::WantChildren,
            7 => ToParent::Applied(Ok(())),
            8 => ToParent::Applied(Err(text(&mut input))),
            _ => return Err(Error::UnknownKind(kind)),
        };
        input.finish()?;
        Ok(message)
    }
}

/// A reason is for a log line: one that would not fit a message loses its end.
fn cut(reason: &str) -> &[u8] {
    cut_at(reason, 4096)
}

fn cut_at(reason: &str, most: usize) -> &[u8] {
    proto::unix::cut(reason, most).as_bytes()
}

fn text(input: &mut Reader<'_>) -> String {
    String::from_utf8_lossy(input.rest()).into_owned()
}
