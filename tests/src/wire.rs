//! A client of our own that says exactly what a test wants said: as a relay agent over UDP, from
//! inside the client's namespace. It decodes answers with a few lines of its own, not with
//! dhcpd's codec.

use crate::daemon::LIMIT;
use crate::lab::{Lab, Namespace, SERVER};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{MsgFlags, recv};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// DHCPDISCOVER (RFC 2131 section 3.1).
pub const DISCOVER: u8 = 1;
/// DHCPOFFER.
pub const OFFER: u8 = 2;
/// DHCPREQUEST.
pub const REQUEST: u8 = 3;
/// DHCPDECLINE.
pub const DECLINE: u8 = 4;
/// DHCPACK.
pub const ACK: u8 = 5;
/// DHCPNAK.
pub const NAK: u8 = 6;
/// DHCPRELEASE.
pub const RELEASE: u8 = 7;
/// DHCPINFORM.
pub const INFORM: u8 = 8;
/// DHCPLEASEQUERY (RFC 4388), like the three below.
pub const LEASEQUERY: u8 = 10;
/// DHCPLEASEUNASSIGNED.
pub const LEASEUNASSIGNED: u8 = 11;
/// DHCPLEASEUNKNOWN.
pub const LEASEUNKNOWN: u8 = 12;
/// DHCPLEASEACTIVE.
pub const LEASEACTIVE: u8 = 13;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Packet {
    /// All of it up to the options.
    pub header: [u8; 240],
    /// The options, as they go on the wire, without the end.
    pub options: Vec<u8>,
}

impl Packet {
    /// A BOOTREQUEST of this DHCP message type from this hardware address.
    pub fn new(kind: u8, mac: [u8; 6], xid: u32) -> Self {
        let mut header = [0; 240];
        header[..3].copy_from_slice(&[1, 1, 6]);
        header[4..8].copy_from_slice(&xid.to_be_bytes());
        header[28..34].copy_from_slice(&mac);
        header[236..].copy_from_slice(&[99, 130, 83, 99]);
        Packet { header, options: vec![53, 1, kind] }
    }

    /// Adds an option.
    pub fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.push(code);
        self.options.push(u8::try_from(value.len()).expect("a short option"));
        self.options.extend_from_slice(value);
        self
    }

    /// Sets `ciaddr`.
    pub fn ciaddr(mut self, address: Ipv4Addr) -> Self {
        self.header[12..16].copy_from_slice(&address.octets());
        self
    }

    /// Asks for the answer as a broadcast.
    pub fn broadcast(mut self) -> Self {
        self.header[10] |= 0x80;
        self
    }

    /// Sets `giaddr`.
    pub fn giaddr(mut self, address: Ipv4Addr) -> Self {
        self.header[24..28].copy_from_slice(&address.octets());
        self
    }

    /// The whole message.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        bytes.extend_from_slice(&self.options);
        bytes.push(255);
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// DHCP message type.
    pub kind: u8,
    /// Transaction.
    pub xid: u32,
    /// The address given.
    pub yiaddr: Ipv4Addr,
    /// To whom: the beginning of `chaddr`.
    pub mac: [u8; 6],
    /// All options by code.
    pub options: BTreeMap<u8, Vec<u8>>,
    /// All of it as it came.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Takes a message apart; `None` if it is not a DHCP answer.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        if bytes.len() < 241 || bytes[0] != 2 || bytes[236..240] != [99, 130, 83, 99] {
            return None;
        }
        let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut at = 240;
        while let Some(&code) = bytes.get(at) {
            match code {
                0 => at += 1,
                255 => break,
                _ => {
                    let length = usize::from(*bytes.get(at + 1)?);
                    let value = bytes.get(at + 2..at + 2 + length)?;
                    options.entry(code).or_default().extend_from_slice(value);
                    at += 2 + length;
                }
            }
        }
        Some(Answer {
            bytes: bytes.to_vec(),
            kind: *options.get(&53)?.first()?,
            xid: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            yiaddr: Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]),
            mac: bytes[28..34].try_into().ok()?,
            options,
        })
    }
}

/// A relay agent's socket.
pub struct Relay {
    socket: UdpSocket,
    address: Ipv4Addr,
    server: SocketAddrV4,
}

impl Relay {
    /// At 192.0.2.2 on the client's side, whose `cli0` is given that address.
    pub fn new(lab: &Lab) -> Self {
        let address = Ipv4Addr::new(192, 0, 2, 2);
        lab.client.run(&format!("ip addr replace {address}/24 dev cli0"));
        Self::at(&lab.client, address)
    }

    /// At an address that this namespace has.
    pub fn at(space: &Namespace, address: Ipv4Addr) -> Self {
        let socket = space.within(move || UdpSocket::bind((address, 67)).expect("port 67"));
        let server = SocketAddrV4::new(SERVER.parse().expect("the server's address"), 67);
        Relay { socket, address, server }
    }

    /// Not to the server but to another agent, by which it comes there.
    pub fn to(mut self, agent: Ipv4Addr) -> Self {
        self.server = SocketAddrV4::new(agent, 67);
        self
    }

    /// Sends a message through the relay.
    pub fn send(&self, packet: Packet) {
        self.send_bytes(&packet.giaddr(self.address).bytes());
    }

    /// Sends anything at all to the server's port.
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).expect("send");
    }

    /// The next answer, if one comes within `limit`.
    pub fn try_receive(&self, limit: Duration) -> Option<Answer> {
        let deadline = Instant::now() + limit;
        let mut bytes = [0; 1600];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("set a time limit");
            if let Ok((length, _)) = self.socket.recv_from(&mut bytes)
                && let Some(answer) = Answer::decode(&bytes[..length])
            {
                return Some(answer);
            }
        }
    }

    /// The next answer, if one is there already.
    pub fn poll(&self) -> Option<Answer> {
        let mut bytes = [0; 1600];
        while let Ok(length) = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            if let Some(answer) = Answer::decode(&bytes[..length]) {
                return Some(answer);
            }
        }
        None
    }

    /// Waits until something is there, or for `limit`.
    pub fn wait(&self, limit: Duration) {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
    }

    /// The answer to this transaction.
    ///
    /// # Panics
    /// If none comes.
    pub fn receive(&self, xid: u32) -> Answer {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.try_receive(left).expect("an answer");
            if answer.xid == xid {
                return answer;
            }
        }
    }

    /// DISCOVER, OFFER, REQUEST, ACK: the address leased.
    pub fn lease(&self, mac: [u8; 6], xid: u32) -> Ipv4Addr {
        self.send(Packet::new(DISCOVER, mac, xid));
        let offer = self.receive(xid);
        assert_eq!(offer.kind, OFFER);
        self.send(
            Packet::new(REQUEST, mac, xid)
                .option(50, &offer.yiaddr.octets())
                .option(54, &offer.options[&54]),
        );
        let ack = self.receive(xid);
        assert_eq!((ack.kind, ack.yiaddr), (ACK, offer.yiaddr));
        ack.yiaddr
    }
}

impl Namespace {
    /// Runs something in a thread of its own inside this namespace: sockets made there stay there.
    pub fn within<T: Send + 'static>(&self, action: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/run/netns/{}", self.name())).expect("open the namespace");
        let thread = std::thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            action()
        });
        thread.join().expect("what was run in the namespace")
    }
}
