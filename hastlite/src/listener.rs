//! hastlite's listener: what strangers may talk to, and no rights.
//!
//! It accepts, reads one bounded packet with a deadline, and hands connection and packet up. It
//! knows no disk, no configuration, and does not keep anybody waiting for somebody else.

#[cfg_attr(target_os = "linux", path = "listener/rules_linux.rs")]
#[cfg_attr(target_os = "openbsd", path = "listener/rules_openbsd.rs")]
#[cfg_attr(target_os = "freebsd", path = "listener/rules_freebsd.rs")]
#[cfg_attr(target_os = "netbsd", path = "listener/rules_netbsd.rs")]
mod rules;

use crate::USER;
use crate::msg::{Arrival, FromListener, TCP, ToListener};
use crate::wire::hello::Handshake;
use crate::wire::packet::Decoder;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proto::unix::{Channel, Error as ChannelError};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use supervise::confine::{Confinement, confine};
use supervise::{inherited_channel, logger};

/// How long a connection may take to introduce itself (the reference's figure).
const PATIENCE: Duration = Duration::from_secs(20);

/// How many may be about to introduce themselves. Whoever is one too many takes the place of the
/// one that has waited longest.
const MOST: usize = 64;

/// The first packet has no data; this is for the length of reads.
const BUFFER: usize = 1024;

/// The longest first packet: far more than any node says. It has to fit into a message to the
/// parent, and so has the name in it, beside it.
const LONGEST: usize = 16 << 10;

/// Takes its channel, gives up every right, accepts. Returns without an error once the parent has
/// closed the channel.
pub fn run() -> Result<(), String> {
    logger::inherit("hastlite").map_err(|e| e.to_string())?;
    let identity = supervise::user(USER).map_err(|e| e.to_string())?;
    let channel = inherited_channel().map_err(|e| e.to_string())?;
    let parent = Channel::from_fd(channel).map_err(|e| format!("channel to the parent: {e}"))?;
    let rules = &rules::RULES;
    confine(&Confinement { identity: &identity, parent_death: Some(libc::SIGKILL), rules })
        .map_err(|e| e.to_string())?;

    let mut listener = Listener { sockets: Vec::new(), strangers: VecDeque::new() };
    loop {
        match parent.recv() {
            Ok(ToListener::Listen(fd)) => listener.sockets.push(socket(fd)?),
            Ok(ToListener::Start) => break,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(format!("channel to the parent: {error}")),
        }
    }
    parent.send(&FromListener::Ready).map_err(|e| format!("tell the parent: {e}"))?;
    listener.serve(&parent)
}

fn socket(fd: OwnedFd) -> Result<TcpListener, String> {
    let socket = TcpListener::from(fd);
    socket.set_nonblocking(true).map_err(|e| format!("a listening socket: {e}"))?;
    Ok(socket)
}

/// A connection that has not introduced itself yet.
struct Stranger {
    stream: TcpStream,
    peer: IpAddr,
    decoder: Decoder,
    /// Everything it has said: what is handed up are the very bytes that came.
    said: Vec<u8>,
    due: Instant,
}

/// What became of a stranger.
enum Step {
    /// It is still to say more.
    Wait,
    /// It has named a resource.
    Known(String),
    /// It is of no use, for this reason.
    Close(String),
}

struct Listener {
    sockets: Vec<TcpListener>,
    /// In the order of their coming, and so of their deadlines.
    strangers: VecDeque<Stranger>,
}

impl Listener {
    fn serve(&mut self, parent: &Channel<FromListener, ToListener>) -> Result<(), String> {
        loop {
            log::logger().flush();
            let Ready { parent: news, sockets, strangers } = self.wait(parent)?;
            if news {
                match parent.try_recv() {
                    Ok(None) => {}
                    Err(ChannelError::Closed) => return Ok(()),
                    other => return Err(format!("the parent said {other:?} after the start")),
                }
            }
            self.hear(&strangers, parent)?;
            for index in sockets {
                self.accept(index);
            }
        }
    }

    /// Blocks until there is something to do.
    fn wait(&self, parent: &Channel<FromListener, ToListener>) -> Result<Ready, String> {
        let mut fds = vec![PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.sockets.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.strangers.iter().map(|s| PollFd::new(s.stream.as_fd(), PollFlags::POLLIN)));
        let timeout = match self.strangers.front() {
            None => PollTimeout::NONE,
            Some(first) => {
                let left = first.due.saturating_duration_since(Instant::now());
                // Rounded up: waking early would turn the loop for nothing.
                PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let parent = ready.next().unwrap_or(false);
        let sockets = (0..self.sockets.len()).filter(|_| ready.next().unwrap_or(false)).collect();
        Ok(Ready { parent, sockets, strangers: ready.collect() })
    }

    /// Takes in what has come, hands up who is known, closes who is not and will not be.
    fn hear(
        &mut self,
        ready: &[bool],
        parent: &Channel<FromListener, ToListener>,
    ) -> Result<(), String> {
        let now = Instant::now();
        let mut left = VecDeque::with_capacity(self.strangers.len());
        for (index, mut stranger) in self.strangers.drain(..).enumerate() {
            let step = match ready.get(index) {
                Some(true) => stranger.hear(),
                _ => Step::Wait,
            };
            match step {
                Step::Wait if now < stranger.due => left.push_back(stranger),
                Step::Wait => {
                    log::warn!("{}: said nothing to the point in {PATIENCE:?}", stranger.peer);
                }
                Step::Close(why) => log::warn!("{}: {why}", stranger.peer),
                Step::Known(resource) => {
                    let Stranger { stream, peer, said: packet, .. } = stranger;
                    let protocol = TCP.to_owned();
                    let socket = stream.into();
                    let arrival = Arrival { protocol, peer, resource, packet, socket };
                    match parent.send(&FromListener::Arrival(arrival)) {
                        Ok(()) => {}
                        // Whatever a stranger says is no reason to end.
                        Err(error @ ChannelError::TooLong { .. }) => log::warn!("{peer}: {error}"),
                        Err(error) => return Err(format!("hand up a connection: {error}")),
                    }
                }
            }
        }
        self.strangers = left;
        Ok(())
    }

    fn accept(&mut self, index: usize) {
        let Some(socket) = self.sockets.get(index) else { return };
        loop {
            match socket.accept() {
                Ok((stream, address)) => {
                    if let Err(error) = stream.set_nonblocking(true) {
                        log::warn!("{address}: make it non-blocking: {error}");
                        continue;
                    }
                    if self.strangers.len() == MOST
                        && let Some(first) = self.strangers.pop_front()
                    {
                        log::warn!("{}: has to make room for another connection", first.peer);
                    }
                    self.strangers.push_back(Stranger {
                        stream,
                        peer: address.ip().to_canonical(),
                        decoder: Decoder::new(0, BUFFER),
                        said: Vec::new(),
                        due: Instant::now() + PATIENCE,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log::warn!("accept: {error}");
                    return;
                }
            }
        }
    }
}

/// What poll(2) has found.
struct Ready {
    parent: bool,
    /// Indexes of listening sockets.
    sockets: Vec<usize>,
    /// For each stranger.
    strangers: Vec<bool>,
}

impl Stranger {
    /// Reads what has come, and no more than one packet can be.
    fn hear(&mut self) -> Step {
        let mut bytes = [0; BUFFER];
        loop {
            let count = match self.stream.read(&mut bytes) {
                Ok(0) => return Step::Close("closed before it said what it wants".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Step::Close(error.to_string()),
            };
            let mut said = bytes.get(..count).unwrap_or_default();
            self.said.extend_from_slice(said);
            if self.said.len() > LONGEST {
                return Step::Close("says more than anybody has to".to_owned());
            }
            while !said.is_empty() {
                // There is room for all of it once the length of the packet is known.
                let fed = self.decoder.feed(said);
                said = said.get(fed..).unwrap_or_default();
                match self.understand() {
                    Ok(None) if fed > 0 => {}
                    Ok(Some(resource)) if said.is_empty() => return Step::Known(resource),
                    Ok(_) => return Step::Close("said more than one packet".to_owned()),
                    Err(why) => return Step::Close(why),
                }
            }
        }
    }

    fn understand(&mut self) -> Result<Option<String>, String> {
        let resource = match self.decoder.next().map_err(|e| e.to_string())? {
            None => return Ok(None),
            Some(packet) => match Handshake::from_primary(&packet).map_err(|e| e.to_string())? {
                Handshake::Hello(hello) => hello.resource,
                Handshake::Second(second) => second.resource,
                _ => return Err("is no primary".to_owned()),
            },
        };
        match self.decoder.rest() {
            Some([]) => Ok(Some(resource)),
            _ => Err("said more than one packet".to_owned()),
        }
    }
}
