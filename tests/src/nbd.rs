//! An NBD client for tests: fixed newstyle, simple replies, any number of requests in flight.
//!
//! Independent of hastlite's server: written from the protocol's description (doc/proto.md of the
//! NBD project). Nothing of TLS, structured replies or meta contexts.

use std::collections::HashMap;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const IHAVEOPT: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

/// Commands and their flags.
pub mod command {
    #![allow(missing_docs, reason = "their names are known")]
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const WRITE_ZEROES: u16 = 6;
    /// A flag: on stable storage before it is answered.
    pub const FUA: u16 = 1;
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of the request.
    pub cookie: u64,
    /// 0, or what failed: a number of the protocol's, which are Linux's.
    pub error: u32,
    /// Of a read that did not fail.
    pub data: Vec<u8>,
}

/// A connection, at its requests.
#[derive(Debug)]
pub struct Nbd {
    stream: UnixStream,
    next: u64,
    /// Bytes of the export.
    pub size: u64,
    /// What it can do: `NBD_FLAG_*`.
    pub flags: u16,
    reads: HashMap<u64, usize>,
}

impl Nbd {
    /// Asks for an export. No answer takes longer than `patience`, then and later.
    ///
    /// # Errors
    /// Nobody listens, or there is no such export, or what comes is no NBD.
    pub fn connect(path: &Path, export: &str, patience: Duration) -> io::Result<Nbd> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        if &greeting[..8] != b"NBDMAGIC" || number(&greeting[8..16]) != IHAVEOPT {
            return Err(wrong("no greeting"));
        }
        let name = export.as_bytes();
        let length = u32::try_from(name.len()).map_err(|_| wrong("a long name"))?;
        // NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES, then NBD_OPT_GO without wishes.
        let mut out = 3_u32.to_be_bytes().to_vec();
        out.extend(IHAVEOPT.to_be_bytes());
        out.extend(7_u32.to_be_bytes());
        out.extend((length + 6).to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(name);
        out.extend(0_u16.to_be_bytes());
        stream.write_all(&out)?;
        let mut nbd = Nbd { stream, next: 0, size: 0, flags: 0, reads: HashMap::new() };
        loop {
            let mut head = [0; 20];
            nbd.stream.read_exact(&mut head)?;
            if number(&head[..8]) != OPTION_REPLY {
                return Err(wrong("no reply to an option"));
            }
            let mut payload = vec![0; number(&head[16..20]) as usize];
            nbd.stream.read_exact(&mut payload)?;
            match number(&head[12..16]) {
                1 => return Ok(nbd),
                3 if payload.len() == 12 && payload[..2] == [0, 0] => {
                    nbd.size = number(&payload[2..10]);
                    nbd.flags = number(&payload[10..12]) as u16;
                }
                3 => {}
                other => {
                    let text = String::from_utf8_lossy(&payload);
                    return Err(wrong(&format!("option refused: {other:#x} {text}")));
                }
            }
        }
    }

    /// Sends a request; returns its cookie.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn send(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<u64> {
        let cookie = self.next;
        self.next += 1;
        let mut out = Vec::with_capacity(28 + data.len());
        out.extend(REQUEST.to_be_bytes());
        out.extend(flags.to_be_bytes());
        out.extend(command.to_be_bytes());
        out.extend(cookie.to_be_bytes());
        out.extend(offset.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(data);
        if command == command::READ {
            self.reads.insert(cookie, length as usize);
        }
        self.stream.write_all(&out)?;
        Ok(cookie)
    }

    /// The next reply, whichever request it is to.
    ///
    /// # Errors
    /// The connection is of no more use, or nothing came in time.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        if number(&head[..4]) != u64::from(REPLY) {
            return Err(wrong("no reply"));
        }
        let (error, cookie) = (number(&head[4..8]) as u32, number(&head[8..16]));
        let length = self.reads.remove(&cookie).filter(|_| error == 0).unwrap_or(0);
        let mut data = vec![0; length];
        self.stream.read_exact(&mut data)?;
        Ok(Reply { cookie, error, data })
    }

    fn one(&mut self, command: u16, offset: u64, length: u32, data: &[u8]) -> io::Result<Vec<u8>> {
        let cookie = self.send(command, 0, offset, length, data)?;
        let reply = self.reply()?;
        match reply.error {
            _ if reply.cookie != cookie => Err(wrong("another request's reply")),
            0 => Ok(reply.data),
            error => Err(Error::from_raw_os_error(error as i32)),
        }
    }

    /// Reads. Nothing else may be in flight, here and below.
    ///
    /// # Errors
    /// It was not done, here and below.
    pub fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.one(command::READ, offset, size(length)?, &[])
    }

    /// Writes.
    ///
    /// # Errors
    /// It was not done.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.one(command::WRITE, offset, size(data.len())?, data).map(drop)
    }

    /// Has everything answered before on stable storage.
    ///
    /// # Errors
    /// It was not done.
    pub fn flush(&mut self) -> io::Result<()> {
        self.one(command::FLUSH, 0, 0, &[]).map(drop)
    }

    /// Gives bytes up.
    ///
    /// # Errors
    /// It was not done.
    pub fn trim(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.one(command::TRIM, offset, size(length)?, &[]).map(drop)
    }

    /// Writes zeroes.
    ///
    /// # Errors
    /// It was not done.
    pub fn zero(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.one(command::WRITE_ZEROES, offset, size(length)?, &[]).map(drop)
    }
}

impl Drop for Nbd {
    fn drop(&mut self) {
        let _ = self.send(command::DISCONNECT, 0, 0, 0, &[]);
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn size(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| wrong("too long"))
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("NBD: {what}"))
}
