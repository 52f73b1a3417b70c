//! A connection to the other node, as a worker holds it: bytes that come are made packets of, what
//! is to be said waits until the socket takes it. What the packets mean is not its business.

use crate::outbox::Outbox;
use crate::wire::packet::{Decoder, Packet};
use nix::poll::PollFlags;
use std::io::{self, IoSliceMut, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes that are read ahead where requests or replies follow each other.
const BUFFER: usize = 256 << 10;

/// How many reads are made of one connection before the others have their turn.
const TURNS: usize = 4;

/// One of the two connections.
pub struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    pub out: Outbox,
    /// connect(2) has not come to its end yet.
    connecting: bool,
    /// The other side will say nothing more.
    ended: bool,
}

impl Connection {
    /// From a descriptor that migrated here. `connecting`: it may not be established yet. `limit`
    /// is the most bytes of data in a packet that may come.
    pub fn new(socket: OwnedFd, connecting: bool, limit: u32) -> Result<Self, String> {
        let stream = TcpStream::from(socket);
        let failed = |what: &str, e: io::Error| format!("{what}: {e}");
        stream.set_nonblocking(true).map_err(|e| failed("make the connection non-blocking", e))?;
        stream.set_nodelay(true).map_err(|e| failed("TCP_NODELAY", e))?;
        let decoder = Decoder::new(limit, BUFFER);
        Ok(Connection { stream, decoder, out: Outbox::default(), connecting, ended: false })
    }

    /// What to wait for.
    pub fn events(&self) -> PollFlags {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, self.connecting || !self.out.is_empty());
        events
    }

    /// After poll(2) has said that it is writable or failed: whether it is established now.
    pub fn establish(&mut self) -> Result<bool, String> {
        if !self.connecting {
            return Ok(false);
        }
        if let Some(error) = self.stream.take_error().map_err(|e| format!("SO_ERROR: {e}"))? {
            return Err(format!("connect: {error}"));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.connecting = false;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(format!("connect: {error}")),
        }
    }

    /// Bytes that the listener has read already.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.decoder.feed(bytes) == bytes.len() {
            true => Ok(()),
            false => Err("more was read of the connection than we take".to_owned()),
        }
    }

    /// Reads what has come, as far as there is room for it: take the packets then.
    pub fn read(&mut self) -> Result<(), String> {
        for _ in 0..TURNS {
            let mut slices = self.decoder.spaces().map(IoSliceMut::new);
            let room: usize = slices.iter().map(|slice| slice.len()).sum();
            if room == 0 {
                break;
            }
            match self.stream.read_vectored(&mut slices) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => {
                    self.decoder.filled(count);
                    if count < room {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
        Ok(())
    }

    /// Has what `take` makes of the next packet that has come. At the end of the stream, an error.
    pub fn next<T>(
        &mut self,
        take: impl FnOnce(Packet<'_>) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.decoder.next() {
            Ok(Some(packet)) => return take(packet).map(Some),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if self.ended {
            let within = if self.decoder.is_within() { " in the middle of a packet" } else { "" };
            return Err(format!("the other node closed the connection{within}"));
        }
        Ok(None)
    }

    /// Sends as much as the socket takes.
    pub fn send(&mut self) -> Result<(), String> {
        match self.connecting {
            true => Ok(()),
            false => self.out.send(&self.stream).map(drop).map_err(|e| format!("send: {e}")),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
