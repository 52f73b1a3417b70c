//! What a node that is about to be primary asks of the other one: are you primary too, and have you
//! anything that I have not? A handshake like any other, whose link is closed before it is used, so
//! that every kind of peer can answer.
//!
//! What follows from the answer is not decided here.

use super::link::Connection;
use super::{Parent, Refusal, codec, exit};
use crate::engine::activemap::{Bits, extents};
use crate::engine::decision::SPLIT_BRAIN;
use crate::engine::role::Peer;
use crate::engine::{Conn, Consistency, Metadata, Role, ext};
use crate::msg::{FromWorker, TCP, ToWorker, WorkerSettings};
use crate::wire::data::Codec;
use crate::wire::hello::{FirstReply, Handshake, Hello, Second, SecondReply, SyncSource, VERSION};
use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};
use proto::unix::Error as ChannelError;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the other node may take to answer before it counts as dead. A failover waits for this
/// at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most bytes of the other node's map.
const LIMIT: u32 = 32 << 20;

/// What came of it.
pub enum Outcome {
    /// The parent wants no primary any more, or is gone.
    Over,
    /// The other node said nothing, or nothing of use.
    Silence,
    /// It lives.
    Answer {
        /// What it has said.
        peer: Peer,
        /// It had nothing yet, and has just been told which resource it is.
        virgin: bool,
    },
}

/// Why there is no more to be learnt.
enum Stop {
    Over,
    Silence(String),
    Failed(Refusal),
}

/// Asks.
pub fn probe(
    parent: &Parent,
    own: &Metadata,
    settings: &WorkerSettings,
) -> Result<Outcome, Refusal> {
    if !settings.engine.has_remote {
        return Ok(Outcome::Silence);
    }
    let patience = PATIENCE.min(Duration::from_millis(settings.engine.timeout));
    let due = Instant::now() + patience;
    let asking = Asking { parent, own, codec: codec(settings), due };
    match asking.ask() {
        Ok((peer, virgin)) => Ok(Outcome::Answer { peer, virgin }),
        Err(Stop::Over) => Ok(Outcome::Over),
        Err(Stop::Silence(why)) => {
            log::info!("[{}] the other node is not heard: {why}", own.resource);
            Ok(Outcome::Silence)
        }
        Err(Stop::Failed(refusal)) => Err(refusal),
    }
}

struct Asking<'a> {
    parent: &'a Parent,
    own: &'a Metadata,
    codec: Codec,
    due: Instant,
}

impl Asking<'_> {
    /// What it is, and whether it is a virgin.
    fn ask(&self) -> Result<(Peer, bool), Stop> {
        let mut c1 = self.connection(Conn::C1)?;
        let resource = self.own.resource.clone();
        let hello = Hello { resource: resource.clone(), version: VERSION, ext: ext::OURS };
        self.say(&mut c1, &Handshake::Hello(hello), 1)?;
        let FirstReply { version, token, ext: theirs } = match self.hear(&mut c1)? {
            Handshake::FirstReply(reply) => reply,
            Handshake::Refusal(refusal) => return refused(&refusal.errmsg),
            other => return Err(Stop::Silence(format!("it answered {other:?}"))),
        };
        let secondary = Peer {
            live: true,
            role: Role::Secondary,
            resuid: 0,
            counters: None,
            consistency: None,
            ahead: None,
        };
        let Metadata { resuid, localcnt, remotecnt, .. } = *self.own;
        // Who has no id yet has never been connected: there is nothing to compare.
        if resuid == 0 {
            return Ok((secondary, false));
        }
        let mut c2 = self.connection(Conn::C2)?;
        let ext = ext::OURS & theirs;
        let second = Second { resource, token, virgin: false, resuid, localcnt, remotecnt, ext };
        self.say(&mut c2, &Handshake::Second(second), version.min(VERSION))?;
        let reply = match self.hear(&mut c1)? {
            Handshake::SecondReply(reply) => reply,
            // At least once each: that is all the other node says.
            Handshake::Refusal(refusal) if refusal.errmsg == SPLIT_BRAIN => {
                let counters = Some((remotecnt + 1, localcnt.saturating_sub(1)));
                return Ok((Peer { counters, resuid, ..secondary }, false));
            }
            Handshake::Refusal(refusal) => {
                log::warn!("[{}] the other node: {}", self.own.resource, refusal.errmsg);
                return Ok((secondary, false));
            }
            other => return Err(Stop::Silence(format!("it answered {other:?}"))),
        };
        // A virgin has nothing that could be lost.
        if reply.virgin {
            return Ok((secondary, true));
        }
        let peer = Peer {
            resuid,
            counters: Some((reply.localcnt, reply.remotecnt)),
            consistency: (reply.ext & ext::WHOLE != 0).then_some(Consistency::Consistent),
            ahead: ahead(&reply),
            ..secondary
        };
        Ok((peer, false))
    }

    /// A connection that is established.
    fn connection(&self, conn: Conn) -> Result<Connection, Stop> {
        let failed = |why: String| Stop::Failed(Refusal::new(exit::OSERR, why));
        self.parent
            .send(&FromWorker::Connect(conn))
            .map_err(|e| failed(format!("tell the parent: {e}")))?;
        let socket = loop {
            match self.parent.try_recv() {
                Ok(None) => {
                    self.wait(&[PollFd::new(self.parent.as_fd(), nix::poll::PollFlags::POLLIN)])?;
                }
                Ok(Some(ToWorker::Connection { protocol, conn: which, socket })) => {
                    match protocol == TCP && which == conn {
                        true => break socket,
                        false => return Err(failed(format!("the parent brought {protocol:?}"))),
                    }
                }
                Ok(Some(ToWorker::NoConnection { why, .. })) => return Err(Stop::Silence(why)),
                Ok(Some(ToWorker::Stop)) | Err(ChannelError::Closed) => return Err(Stop::Over),
                Ok(Some(other)) => {
                    return Err(failed(format!("the parent said {other:?} before the start")));
                }
                Err(error) => return Err(failed(format!("channel to the parent: {error}"))),
            }
        };
        let mut connection = Connection::new(socket, true, LIMIT).map_err(Stop::Silence)?;
        loop {
            self.wait(&[PollFd::new(connection.as_fd(), connection.events())])?;
            if connection.establish().map_err(Stop::Silence)? {
                return Ok(connection);
            }
        }
    }

    fn say(&self, to: &mut Connection, message: &Handshake, version: u8) -> Result<(), Stop> {
        to.out
            .push(|out| message.encode(&self.codec, version, out).map(|()| None))
            .map_err(|e| Stop::Silence(format!("cannot be said: {e}")))?;
        to.send().map_err(Stop::Silence)?;
        // A few hundred bytes fit into any socket that nothing was sent on yet.
        match to.out.is_empty() {
            true => Ok(()),
            false => Err(Stop::Silence("it takes nothing".to_owned())),
        }
    }

    fn hear(&self, from: &mut Connection) -> Result<Handshake, Stop> {
        loop {
            let message = from
                .next(|packet| Handshake::from_secondary(packet, LIMIT).map_err(|e| e.to_string()))
                .map_err(Stop::Silence)?;
            if let Some(message) = message {
                return Ok(message);
            }
            self.wait(&[PollFd::new(from.as_fd(), from.events())])?;
            from.read().map_err(Stop::Silence)?;
        }
    }

    /// Until there is news, and no longer than there is time.
    fn wait(&self, fds: &[PollFd<'_>]) -> Result<(), Stop> {
        let left = self.due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Stop::Silence("no answer in time".to_owned()));
        }
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds.to_vec(), timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Stop::Failed(Refusal::new(exit::OSERR, format!("poll: {error}")))),
        }
    }
}

/// The texts are those of FreeBSD's hastd.
fn refused(errmsg: &str) -> Result<(Peer, bool), Stop> {
    let role = if errmsg.contains("acts as primary") {
        Role::Primary
    } else if errmsg.contains("acts as init") {
        Role::Init
    } else {
        return Err(Stop::Silence(errmsg.to_owned()));
    };
    let peer = Peer { live: true, role, resuid: 0, counters: None, consistency: None, ahead: None };
    Ok((peer, false))
}

/// Bytes that the other node has and we have not.
fn ahead(reply: &SecondReply) -> Option<u64> {
    let map = reply.map.as_ref().filter(|_| reply.syncsrc == SyncSource::Secondary)?;
    let extents = usize::try_from(extents(reply.datasize, reply.extentsize)).ok()?;
    let marked = Bits::from_bytes(map, extents).count() as u64;
    Some((marked * u64::from(reply.extentsize)).min(reply.datasize))
}
