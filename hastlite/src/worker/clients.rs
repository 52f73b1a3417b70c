//! The clients of a primary: their connections, and the sessions of NBD around which they are put.
//! What they ask for goes to the engine; what it answers comes back by the tag.

use crate::engine::ClientRequest;
use crate::nbd::{Asked, BlockStatus, Export, Limits, Session};
use crate::wire::errno::Errno as Failure;
use crate::{Data, engine::Now};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The most clients at a time; whoever comes then waits in the listening socket.
const MOST: usize = 64;

/// Bytes of data that all of them together may have in flight; each has the same share of it, but
/// one request.
const BYTES: u64 = 256 << 20;

/// How long a client may be at its options, in milliseconds.
const PATIENCE: Now = 30_000;

/// How many reads are made of one connection before the others have their turn.
const TURNS: usize = 4;

/// The most pieces that go out by one system call.
const SLICES: usize = 64;

/// A client.
struct Client {
    stream: UnixStream,
    session: Session,
    since: Now,
    /// It has something to be sent, or room for more of its requests.
    stirred: bool,
}

/// All of them.
pub struct Clients {
    listener: OwnedFd,
    export: Arc<Export>,
    next: u32,
    clients: HashMap<u32, Client>,
    /// No new ones, and nothing new from the others.
    leaving: bool,
}

/// What a client asks for that is not an answer already.
pub enum Wish {
    /// Of the engine.
    Io(ClientRequest),
    /// How blocks are.
    Status {
        /// For [`Clients::answer_status`].
        tag: u64,
        /// Bytes from the start of the export.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

impl Clients {
    /// Of the socket where they connect, which is non-blocking.
    pub fn new(listener: OwnedFd, export: Export) -> Self {
        let export = Arc::new(export);
        Clients { listener, export, next: 0, clients: HashMap::new(), leaving: false }
    }

    /// What to wait for: the listening socket's name is `None`.
    pub fn poll_fds(&mut self) -> Vec<(Option<u32>, BorrowedFd<'_>, PollFlags)> {
        let mut fds = Vec::with_capacity(self.clients.len() + 1);
        if self.clients.len() < MOST && !self.leaving {
            fds.push((None, self.listener.as_fd(), PollFlags::POLLIN));
        }
        for (name, client) in &mut self.clients {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, client.session.wants_bytes());
            events.set(PollFlags::POLLOUT, client.session.unsent() > 0);
            // Nothing can be done for one that waits: that it is gone would be told again and again.
            if !events.is_empty() {
                fds.push((Some(*name), client.stream.as_fd(), events));
            }
        }
        fds
    }

    /// Whether a client may have asked for something that has not been looked at.
    pub fn has_news(&self) -> bool {
        self.clients.values().any(|client| client.stirred)
    }

    /// Takes new ones in.
    pub fn accept(&mut self, now: Now) {
        while self.clients.len() < MOST && !self.leaving {
            match accept(&self.listener) {
                Ok(stream) => {
                    let name = self.next;
                    self.next = self.next.wrapping_add(1);
                    let export = Arc::clone(&self.export);
                    let session = Session::new(name, export, Limits::default());
                    let client = Client { stream, session, since: now, stirred: true };
                    self.clients.insert(name, client);
                    self.share();
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(error) => {
                    log::warn!("accept a client: {error}");
                    return;
                }
            }
        }
    }

    /// Reads what a client has said.
    pub fn read(&mut self, name: u32) {
        let Some(client) = self.clients.get_mut(&name) else { return };
        client.stirred = true;
        if let Err(why) = client.read() {
            self.hang_up(name, &why);
        }
    }

    /// Shows everything that is asked for to `ask`.
    pub fn ask(&mut self, mut ask: impl FnMut(Wish)) {
        let mut lost = Vec::new();
        for (name, client) in self.clients.iter_mut().filter(|(_, client)| client.stirred) {
            client.stirred = false;
            loop {
                match client.session.next() {
                    Ok(None) => break,
                    // Zero keeps or gives back storage as the medium likes: both are allowed.
                    Ok(Some(Asked::Io { request, .. })) => ask(Wish::Io(request)),
                    Ok(Some(Asked::Status { tag, offset, length, .. })) => {
                        ask(Wish::Status { tag, offset, length });
                    }
                    Ok(Some(Asked::WillNeed { .. })) => {}
                    Err(violation) => {
                        lost.push((*name, violation.to_string()));
                        break;
                    }
                }
            }
        }
        for (name, why) in lost {
            self.hang_up(name, &why);
        }
    }

    /// Answers a request. Its client may be gone: nobody misses the answer then.
    pub fn answer(&mut self, tag: u64, result: Result<Option<Data>, Failure>) {
        if let Some(client) = self.clients.get_mut(&Session::connection(tag)) {
            client.session.answer(tag, result);
        }
    }

    /// Answers how blocks are.
    pub fn answer_status(&mut self, tag: u64, result: Result<BlockStatus, Failure>) {
        if let Some(client) = self.clients.get_mut(&Session::connection(tag)) {
            client.session.answer_status(tag, result);
        }
    }

    /// Sends as much of the answers as the clients take, and lets go of those that have left.
    pub fn send(&mut self, now: Now) {
        let mut lost = Vec::new();
        for (name, client) in &mut self.clients {
            if let Err(why) = client.send() {
                lost.push((*name, why));
            } else if client.session.is_done() {
                lost.push((*name, String::new()));
            } else if client.session.is_negotiating() && now >= client.since + PATIENCE {
                lost.push((*name, "did not come to an end with its options".to_owned()));
            }
        }
        for (name, why) in lost {
            self.hang_up(name, &why);
        }
    }

    /// When [`Clients::send`] should look again who is at its options for too long.
    pub fn due(&self) -> Option<Now> {
        let negotiating = self.clients.values().filter(|client| client.session.is_negotiating());
        negotiating.map(|client| client.since + PATIENCE).min()
    }

    /// From now on nobody is taken in, and whatever is asked is refused.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.clients.values_mut().for_each(|client| client.session.shut_down());
    }

    /// Whether every answer has left.
    pub fn are_served(&self) -> bool {
        self.clients.values().all(|client| client.session.unsent() == 0)
    }

    fn hang_up(&mut self, name: u32, why: &str) {
        if self.clients.remove(&name).is_some() {
            self.share();
            if !why.is_empty() {
                log::info!("a client is gone: {why}");
            }
        }
    }

    fn share(&mut self) {
        let share = BYTES / (self.clients.len() as u64).max(1);
        let share = share.min(Limits::default().bytes);
        self.clients.values_mut().for_each(|client| client.session.set_limit(share));
    }
}

/// The next connection, non-blocking. It may be of TCP: read(2) and writev(2) do not care.
fn accept(listener: &OwnedFd) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = accept4(listener.as_raw_fd(), flags)?;
    // SAFETY: accept4 has just made it, and nobody else knows of it.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    // A reply does not wait for the next one; what is not of TCP never does.
    let _ = setsockopt(&stream, sockopt::TcpNoDelay, &true);
    Ok(stream)
}

impl Client {
    fn read(&mut self) -> Result<(), String> {
        for _ in 0..TURNS {
            let mut slices = self.session.spaces().map(IoSliceMut::new);
            let room: usize = slices.iter().map(|slice| slice.len()).sum();
            if room == 0 {
                return Ok(());
            }
            match self.stream.read_vectored(&mut slices) {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(count) => {
                    self.session.filled(count);
                    if count < room {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), String> {
        while self.session.unsent() > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.session.gather(&mut slices);
            match (&self.stream).write_vectored(slices.get(..used).unwrap_or_default()) {
                Ok(0) => return Err("it takes nothing more".to_owned()),
                Ok(count) => {
                    self.session.sent(count);
                    // There may be room for more of its requests.
                    self.stirred = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}
