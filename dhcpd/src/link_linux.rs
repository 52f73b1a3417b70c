//! `link` on Linux: a packet socket bound to one interface (packet(7)).

use super::{Counters, OutFrame};
use crate::batch::{Inbox, Outgoing, Received, send};
use crate::bpf::{Insn, link_program_linux};
use crate::control::{self, ROOM};
use crate::socket::{Error, Queue, Queues, Sent, grow_queues, set_option};
use crate::wire::SERVER_PORT;
use crate::wire::frame::{self, Addressing, Datagram, HEADERS, UdpChecksum};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Opens the interface: only frames that the filters take will ever be read from the descriptors,
/// and nobody can take the filters off again.
///
/// # Errors
/// Not root (CAP_NET_RAW), or no such interface.
pub fn open(name: &str, index: u32) -> Result<Queues, Error> {
    let others = open_queue(name, index, Queue::Others)?;
    let discovers = open_queue(name, index, Queue::Discovers)?;
    Ok(Queues { others, discovers: Some(discovers) })
}

fn open_queue(name: &str, index: u32, queue: Queue) -> Result<OwnedFd, Error> {
    let failed = |what: &str| {
        let tried = format!("{what} {name}");
        move |error: io::Error| Error::new(tried, error)
    };
    // No protocol yet: nothing may be queued before the filter is there.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
        .map_err(failed("open packet socket for"))?;
    lock_program(&socket, &link_program_linux(queue)).map_err(failed("set packet filter for"))?;
    let fd = socket.as_fd();
    set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1 as libc::c_int)
        .map_err(failed("ask for checksum states of"))?;
    grow_queues(fd);
    bind(fd, index).map_err(failed("bind packet socket to"))?;
    Ok(socket.into())
}

/// Attaches a program to a socket for good.
pub(crate) fn lock_program(socket: &Socket, program: &[Insn]) -> io::Result<()> {
    socket.attach_filter(&instructions(program))?;
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1 as libc::c_int)
}

/// A program as socket2 has it.
pub(crate) fn instructions(program: &[Insn]) -> Vec<SockFilter> {
    program.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect()
}

fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let name = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: libc::c_int::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of_val(&name) as libc::socklen_t;
    // SAFETY: `name` is a whole sockaddr_ll that lives through the call, and `len` its size.
    let done = unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One interface, as frames leave by it. Any thread may send.
pub struct Wire {
    queues: Queues,
    name: String,
    mac: [u8; 6],
}

impl Wire {
    /// Sends all frames, 64 at a time. Never waits.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = OutFrame<'a>>) -> Sent {
        let messages = frames.into_iter().map(|frame| outgoing(self.mac, frame));
        send(self.queues.others.as_fd(), messages, || format!("send to {}", self.name))
    }
}

/// One interface's frames.
pub struct Link {
    wire: Arc<Wire>,
    inbox: Inbox,
    counters: Counters,
    gone: bool,
}

impl Link {
    /// Takes the descriptors from [`open`]; `mac` is the interface's own address.
    pub fn new(queues: Queues, name: &str, mac: [u8; 6]) -> Link {
        let wire = Arc::new(Wire { queues, name: name.to_owned(), mac });
        Link { wire, inbox: Inbox::new(), counters: Counters::default(), gone: false }
    }

    /// Shows each good datagram that waits in a queue, of at most 64 frames, to `each`. Returns the number of
    /// frames there were: 64 means that there may be more. Never waits.
    ///
    /// # Errors
    /// What the system says; once if the interface went down, after which [`Link::is_gone`] tells
    /// whether for good.
    pub fn receive(
        &mut self,
        queue: Queue,
        mut each: impl FnMut(&Datagram<'_>),
    ) -> Result<usize, Error> {
        let Some(fd) = self.wire.queues.fd(queue) else { return Ok(0) };
        let counters = &mut self.counters;
        let received = self.inbox.receive(fd, |message| {
            counters.frames += 1;
            let Some(checksum) = judge(&message) else {
                counters.tagged += 1;
                return;
            };
            match frame::parse(message.bytes, checksum) {
                Ok(datagram) => each(&datagram),
                Err(error) => counters.refuse(error),
            }
        });
        received.or_else(|error| {
            // Both sockets have it, and one of them is enough to say so: the other one, which is
            // still to be read if only this one was.
            if queue == Queue::Discovers && error.raw_os_error() == Some(libc::ENETDOWN) {
                return Ok(0);
            }
            self.gone = self.is_bound_to_nothing();
            Err(Error::new(format!("receive from {}", self.name()), error))
        })
    }

    /// The way out, which is there until nobody needs it any more.
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// The descriptors that are readable when there is something to receive.
    pub fn fds(&self) -> impl Iterator<Item = (Queue, BorrowedFd<'_>)> {
        self.wire.queues.fds()
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.wire.name
    }

    /// Whether the last error was that the interface no longer exists; nothing will ever come from
    /// it again.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    fn is_bound_to_nothing(&self) -> bool {
        // SAFETY: integers only, for which zero is a value.
        let mut name: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&name) as libc::socklen_t;
        // SAFETY: `name` has room for the `len` bytes that may be written, and both live through
        // the call.
        let done = unsafe {
            let fd = self.wire.queues.others.as_raw_fd();
            libc::getsockname(fd, (&raw mut name).cast(), &raw mut len)
        };
        done != 0 || name.sll_ifindex <= 0
    }

    /// What it has seen.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

fn outgoing(mac: [u8; 6], frame: OutFrame<'_>) -> Outgoing<'_, HEADERS> {
    let to = Addressing {
        source_mac: mac,
        dest_mac: frame.mac,
        source: frame.source,
        dest: frame.dest,
        source_port: SERVER_PORT,
        dest_port: frame.dest_port,
    };
    Outgoing {
        // A message over 64 KiB is none of ours; without headers the interface refuses it.
        header: frame::headers(&to, frame.payload).unwrap_or([0; HEADERS]),
        payload: frame.payload,
        dest: None,
        control: ([0; ROOM], 0),
    }
}

/// What the kernel says about the checksum (struct tpacket_auxdata); `None` for a frame that
/// belongs to a VLAN. Tag 0 is no VLAN but a priority.
fn judge(message: &Received<'_>) -> Option<UdpChecksum> {
    let aux = control::find(message.control, libc::SOL_PACKET, libc::PACKET_AUXDATA);
    let status = aux.and_then(control::int).unwrap_or_default().cast_unsigned();
    let tag = aux.and_then(|aux| aux.get(16..)?.first_chunk());
    let tag = tag.map_or(0, |tag| u16::from_ne_bytes(*tag));
    if status & libc::TP_STATUS_VLAN_VALID != 0 && tag & 0x0fff != 0 {
        return None;
    }
    let settled = libc::TP_STATUS_CSUMNOTREADY | libc::TP_STATUS_CSUM_VALID;
    Some(if status & settled != 0 { UdpChecksum::Settled } else { UdpChecksum::Unknown })
}
