//! The UDP socket on the server's port: what relay agents and renewing clients send to us alone,
//! from every interface, and the replies that the system routes.
//!
//! Opening is the parent's; the server works on the descriptor.

use crate::batch::{self, Inbox};
use crate::socket::{Error, Queue, Queues, Sent, grow_queues};
use crate::wire::SERVER_PORT;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

#[cfg(target_os = "linux")]
#[path = "udp_linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "udp_bsd.rs"]
mod system;

/// What the socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// What came to us alone; the rest is read from the links.
    Unicast,
    /// Everything: no link is read (`-u`).
    All,
}

/// A message that came in. Ports are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The system's index of the interface it came by.
    pub interface: u32,
    /// Our address on that interface, where the system says it.
    pub local: Ipv4Addr,
    /// IP source.
    pub source: Ipv4Addr,
    /// UDP source port.
    pub source_port: u16,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// The message.
    pub payload: &'a [u8],
}

/// A reply that the system routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The system's index of the interface it must leave by, if any. BSD systems route anyway.
    pub interface: Option<u32>,
    /// IP source, one of ours; unspecified leaves the choice to the system.
    pub source: Ipv4Addr,
    /// IP destination.
    pub dest: Ipv4Addr,
    /// UDP destination port, in host order.
    pub dest_port: u16,
    /// The message.
    pub payload: &'a [u8],
}

/// Opens the server's port at an address, unspecified for all.
///
/// # Errors
/// Not root, not an address of ours, or the port is taken.
pub fn open(address: Ipv4Addr, accept: Accept) -> Result<Queues, Error> {
    // The order is what the kernel's program tells them apart by.
    let others = open_queue(address, accept, Queue::Others)?;
    let discovers = match system::has_queue_of_discovers(accept) {
        true => Some(open_queue(address, accept, Queue::Discovers)?),
        false => None,
    };
    Ok(Queues { others, discovers })
}

fn open_queue(address: Ipv4Addr, accept: Accept, queue: Queue) -> Result<OwnedFd, Error> {
    let address = SocketAddrV4::new(address, SERVER_PORT);
    let failed = |what: &str| {
        let tried = format!("{what} {address}");
        move |error: io::Error| Error::new(tried, error)
    };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed("open UDP socket for"))?;
    system::prepare(&socket, accept, queue).map_err(failed("set up UDP socket for"))?;
    socket.set_reuse_address(true).map_err(failed("share"))?;
    socket.set_broadcast(true).map_err(failed("allow broadcasts from"))?;
    grow_queues(socket.as_fd());
    socket.bind(&address.into()).map_err(failed("bind UDP socket to"))?;
    Ok(socket.into())
}

/// The server's port, as replies leave by it. Any thread may send.
pub struct Port(Queues);

impl Port {
    /// Sends all messages, 64 at a time. Never waits.
    pub fn send<'a>(&self, messages: impl IntoIterator<Item = Outgoing<'a>>) -> Sent {
        let messages = messages.into_iter().map(|message| batch::Outgoing {
            header: [],
            payload: message.payload,
            dest: Some(SocketAddrV4::new(message.dest, message.dest_port)),
            control: system::departure(message.interface, message.source),
        });
        batch::send(self.0.others.as_fd(), messages, || "send by the UDP socket".to_owned())
    }
}

/// The server's port.
pub struct Udp {
    port: Arc<Port>,
    accept: Accept,
    inbox: Inbox,
}

impl Udp {
    /// Takes the descriptors from [`open`], and what was said there.
    pub fn new(queues: Queues, accept: Accept) -> Udp {
        Udp { port: Arc::new(Port(queues)), accept, inbox: Inbox::new() }
    }

    /// Shows each message that waits in a queue, at most 64, to `each`. Returns how many there were:
    /// 64 means that there may be more. Never waits.
    ///
    /// # Errors
    /// What the system says; an earlier message's fate among it, so that the next call may succeed.
    pub fn receive(
        &mut self,
        queue: Queue,
        mut each: impl FnMut(&Received<'_>),
    ) -> Result<usize, Error> {
        let Some(fd) = self.port.0.fd(queue) else { return Ok(0) };
        let accept = self.accept;
        let received = self.inbox.receive(fd, |message| {
            let (interface, local, dest) = system::arrival(message.control);
            if system::is_wanted(accept, dest) {
                each(&Received {
                    interface,
                    local,
                    source: *message.source.ip(),
                    source_port: message.source.port(),
                    dest,
                    payload: message.bytes,
                });
            }
        });
        received.map_err(|error| Error::new("receive from the UDP socket", error))
    }

    /// The way out.
    pub fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// The descriptors that are readable when there is something to receive.
    pub fn fds(&self) -> impl Iterator<Item = (Queue, BorrowedFd<'_>)> {
        self.port.0.fds()
    }
}
