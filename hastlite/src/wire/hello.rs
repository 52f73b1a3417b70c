//! The handshake: four messages that make two connections a link. Names, types and order are those
//! of FreeBSD's hastd, which ignores what it does not know: `hl_ext` is ours. Who may say what, and
//! when, is for listener, parent and engines to judge.

use super::WireError;
use super::data::{Attributes, Codec};
use super::packet::{self, Packet};
use crate::Data;
use crate::nv::{self, Nv};

#[cfg(test)]
mod tests;

/// How many bytes tie the second connection to the first.
pub const TOKEN: usize = 16;

/// The highest protocol version that we speak.
pub const VERSION: u8 = 2;

/// How much of a refusal is kept, in characters.
const ERRMSG: usize = 512;

/// First on C1, from the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The resource's name, the same on both nodes.
    pub resource: String,
    /// The highest version the primary speaks; 1 if it said nothing.
    pub version: u8,
    /// What a peer of our own kind can do besides (`hl_ext`); 0 from FreeBSD's.
    pub ext: u64,
}

/// The answer to [`Hello`], on C1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstReply {
    /// What both speak.
    pub version: u8,
    /// To be said on C2.
    pub token: [u8; TOKEN],
    /// As in [`Hello`].
    pub ext: u64,
}

/// A refusal, in place of either answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of the texts that FreeBSD's hastd uses.
    pub errmsg: String,
    /// Try again shortly. We never say it (A2), but hear it.
    pub wait: bool,
}

/// First and last on C2, from the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Second {
    /// As in [`Hello`].
    pub resource: String,
    /// As in [`FirstReply`].
    pub token: [u8; TOKEN],
    /// The primary's `resuid` is from this very attempt.
    pub virgin: bool,
    /// The resource's unique id; never 0 here.
    pub resuid: u64,
    /// Primary's.
    pub localcnt: u64,
    /// Primary's.
    pub remotecnt: u64,
    /// As in [`Hello`].
    pub ext: u64,
}

/// Whose data is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncSource {
    /// The primary's: it sends what is dirty.
    Primary = 1,
    /// The secondary's: the primary fetches what is dirty.
    Secondary = 2,
}

/// The answer to [`Second`], on C1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondReply {
    /// Usable bytes of the secondary.
    pub datasize: u64,
    /// Bytes of the secondary's extents.
    pub extentsize: u32,
    /// Secondary's.
    pub localcnt: u64,
    /// Secondary's.
    pub remotecnt: u64,
    /// The secondary had no `resuid` until now.
    pub virgin: bool,
    /// Whose data is newer.
    pub syncsrc: SyncSource,
    /// The secondary's map, one bit an extent, if it has one to tell.
    pub map: Option<Vec<u8>>,
    /// As in [`Hello`].
    pub ext: u64,
}

/// Any message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// C1, to the secondary.
    Hello(Hello),
    /// C1, to the primary.
    FirstReply(FirstReply),
    /// C2, to the secondary.
    Second(Second),
    /// C1, to the primary.
    SecondReply(SecondReply),
    /// C1, or the connection on which the fault came, to the primary.
    Refusal(Refusal),
}

impl Handshake {
    /// Appends the whole packet to `out`, a map included.
    ///
    /// `version` is what has been negotiated, and 1 before anything has.
    ///
    /// # Errors
    /// What means nothing, or would make FreeBSD's primary abort (B3); nothing is appended then.
    pub fn encode(&self, codec: &Codec, version: u8, out: &mut Vec<u8>) -> Result<(), WireError> {
        let start = out.len();
        self.append(codec, version, out).inspect_err(|_| out.truncate(start))
    }

    fn append(&self, codec: &Codec, version: u8, out: &mut Vec<u8>) -> Result<(), WireError> {
        let start = packet::begin(out, version);
        let mut map = None;
        match self {
            Handshake::Hello(hello) => {
                nv::put_string(out, "resource", &hello.resource)?;
                nv::put_u8(out, "version", hello.version);
                put_ext(out, hello.ext);
            }
            Handshake::FirstReply(reply) => {
                nv::put_u8(out, "version", reply.version);
                nv::put_u8_array(out, "token", &reply.token)?;
                put_ext(out, reply.ext);
            }
            Handshake::Second(second) => {
                if second.resuid == 0 {
                    return Err(WireError::Unsendable("a second message without resuid"));
                }
                nv::put_string(out, "resource", &second.resource)?;
                nv::put_u8_array(out, "token", &second.token)?;
                if second.virgin {
                    nv::put_i8(out, "virgin", 1);
                }
                nv::put_u64(out, "resuid", second.resuid);
                nv::put_u64(out, "localcnt", second.localcnt);
                nv::put_u64(out, "remotecnt", second.remotecnt);
                put_ext(out, second.ext);
            }
            Handshake::SecondReply(reply) => map = reply.append(out)?,
            Handshake::Refusal(refusal) => {
                nv::put_string(out, "errmsg", &refusal.errmsg)?;
                if refusal.wait {
                    nv::put_u8(out, "wait", 1);
                }
            }
        }
        if let Some(payload) = packet::finish_with(out, start, codec, map.as_ref())? {
            out.extend_from_slice(&payload);
        }
        Ok(())
    }

    /// Understands what a primary sends: the first message of C1, or that of C2, which has a token.
    ///
    /// # Errors
    /// The connection is to be closed without a word.
    pub fn from_primary(packet: &Packet<'_>) -> Result<Handshake, WireError> {
        let nv = packet.nv;
        let resource = nv.get_string("resource")?.ok_or(WireError::Missing("resource"))?;
        let resource = resource.to_owned();
        Ok(match token(nv)? {
            None => Handshake::Hello(Hello { resource, version: version(nv)?, ext: ext(nv)? }),
            Some(token) => Handshake::Second(Second {
                resource,
                token,
                virgin: nv.has("virgin"),
                resuid: nonzero(nv, "resuid")?,
                localcnt: nv.get_u64("localcnt")?.unwrap_or(0),
                remotecnt: nv.get_u64("remotecnt")?.unwrap_or(0),
                ext: ext(nv)?,
            }),
        })
    }

    /// Understands what a secondary sends on C1: an answer, or a refusal in place of one. A map may
    /// have `limit` bytes.
    ///
    /// # Errors
    /// The link is not to be had from this answer.
    pub fn from_secondary(packet: Packet<'_>, limit: u32) -> Result<Handshake, WireError> {
        let nv = packet.nv;
        if let Some(errmsg) = nv.get_string("errmsg")? {
            let errmsg = errmsg.chars().map(|c| if c.is_control() { '?' } else { c });
            let errmsg = errmsg.take(ERRMSG).collect();
            return Ok(Handshake::Refusal(Refusal { errmsg, wait: nv.has("wait") }));
        }
        if let Some(token) = token(nv)? {
            let reply = FirstReply { version: version(nv)?, token, ext: ext(nv)? };
            return Ok(Handshake::FirstReply(reply));
        }
        SecondReply::decode(packet, limit).map(Handshake::SecondReply)
    }
}

impl SecondReply {
    /// Appends what it says, and returns the map.
    fn append(&self, out: &mut Vec<u8>) -> Result<Option<Data>, WireError> {
        let Ok(datasize) = i64::try_from(self.datasize) else {
            return Err(WireError::Unsendable("a datasize of more than 63 bits"));
        };
        let Ok(extentsize) = i32::try_from(self.extentsize) else {
            return Err(WireError::Unsendable("an extentsize of more than 31 bits"));
        };
        if self.virgin && (self.localcnt != 0 || self.syncsrc != SyncSource::Primary) {
            return Err(WireError::Unsendable("a new secondary with data that the primary lacks"));
        }
        let map = self.map.as_ref().filter(|map| !map.is_empty());
        let Ok(mapsize) = u32::try_from(map.map_or(0, |map| map.len())) else {
            return Err(WireError::Unsendable("a map of more than 32 bits of bytes"));
        };
        nv::put_i64(out, "datasize", datasize);
        nv::put_i32(out, "extentsize", extentsize);
        nv::put_u64(out, "localcnt", self.localcnt);
        nv::put_u64(out, "remotecnt", self.remotecnt);
        if self.virgin {
            nv::put_i8(out, "virgin", 1);
        }
        nv::put_u8(out, "syncsrc", self.syncsrc as u8);
        nv::put_u32(out, "mapsize", mapsize);
        put_ext(out, self.ext);
        Ok(map.map(|map| Data::from(map.clone())))
    }

    fn decode(packet: Packet<'_>, limit: u32) -> Result<SecondReply, WireError> {
        let nv = packet.nv;
        let datasize = nv.get_i64("datasize")?.ok_or(WireError::Missing("datasize"))?;
        let extentsize = nv.get_i32("extentsize")?.ok_or(WireError::Missing("extentsize"))?;
        let syncsrc = match nv.get_u8("syncsrc")?.ok_or(WireError::Missing("syncsrc"))? {
            1 => SyncSource::Primary,
            2 => SyncSource::Secondary,
            other => return Err(WireError::Value { name: "syncsrc", value: other.into() }),
        };
        let mapsize = u64::from(nv.get_u32("mapsize")?.unwrap_or(0));
        if mapsize > u64::from(limit) {
            return Err(WireError::Length { length: mapsize, limit: limit.into() });
        }
        let attributes = Attributes::of(nv)?;
        let map = match packet.data {
            Some(data) => Some(attributes.unpack(data, mapsize)?.to_vec()),
            None => None,
        };
        // FreeBSD takes less and has old memory for the rest (B9).
        let length = map.as_ref().map_or(0, Vec::len) as u64;
        if length != mapsize {
            return Err(WireError::Length { length, limit: mapsize });
        }
        Ok(SecondReply {
            datasize: u64::try_from(datasize)
                .map_err(|_| WireError::Value { name: "datasize", value: datasize.into() })?,
            extentsize: u32::try_from(extentsize)
                .map_err(|_| WireError::Value { name: "extentsize", value: extentsize.into() })?,
            localcnt: nv.get_u64("localcnt")?.unwrap_or(0),
            remotecnt: nv.get_u64("remotecnt")?.unwrap_or(0),
            virgin: nv.has("virgin"),
            syncsrc,
            map,
            ext: ext(nv)?,
        })
    }
}

/// Says what we can besides. A peer that cannot more than FreeBSD's is told nothing.
fn put_ext(out: &mut Vec<u8>, ext: u64) {
    if ext != 0 {
        nv::put_u64(out, "hl_ext", ext);
    }
}

/// Nothing that a FreeBSD peer sends: of another type it is another's extension.
fn ext(nv: Nv<'_>) -> Result<u64, WireError> {
    Ok(nv.get_u64("hl_ext").ok().flatten().unwrap_or(0))
}

/// Old peers leave it out in hello and answer, and mean 1 (B6). A 0 is no version either.
fn version(nv: Nv<'_>) -> Result<u8, WireError> {
    Ok(nv.get_u8("version")?.unwrap_or(1).max(1))
}

fn token(nv: Nv<'_>) -> Result<Option<[u8; TOKEN]>, WireError> {
    let Some(bytes) = nv.get_bytes("token")? else { return Ok(None) };
    bytes.try_into().map(Some).map_err(|_| WireError::TokenLength(bytes.len()))
}

fn nonzero(nv: Nv<'_>, name: &'static str) -> Result<u64, WireError> {
    nv.get_u64(name)?.filter(|number| *number != 0).ok_or(WireError::Missing(name))
}
