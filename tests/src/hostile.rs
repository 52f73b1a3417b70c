//! Bad packets on a wire, and a judge of their own: what a server may answer at all, and whether an
//! answer is one that it may give. An honest client on the same wire must be served all the while.

use crate::daemon::LIMIT;
use crate::frame::{Datagram, EVERYBODY, Tap, checksum};
use crate::lab::{Lab, SERVER};
use crate::wire::{ACK, Answer, DISCOVER, INFORM, NAK, OFFER, Packet, REQUEST};
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// The honest client's address where it needs one beforehand, and that of all who lie.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const HONEST: [u8; 6] = [2, 0, 0, 0, 0xaa, 0xaa];

/// The wire from the clients' side.
pub struct Wire {
    tap: Tap,
    /// Where `srv0` is, on Ethernet.
    pub server_mac: [u8; 6],
    /// Where an honest transaction's number begins; each takes one.
    turn: u32,
    /// What was sent since it was last judged and may be answered, by transaction, `chaddr` and
    /// message type.
    answerable: HashMap<(u32, [u8; 16]), Vec<u8>>,
    /// The same of the time before.
    before: HashMap<(u32, [u8; 16]), Vec<u8>>,
    /// How many answers to such packets there were.
    pub answered: usize,
}

impl Wire {
    /// Of a lab whose dhcpd serves `srv0` and pings nobody.
    pub fn new(lab: &Lab) -> Wire {
        lab.client.run(&format!("ip addr replace {NEIGHBOUR}/24 dev cli0"));
        let server_mac = Tap::open(&lab.server, "srv0").mac;
        let tap = Tap::open(&lab.client, "cli0");
        let (answerable, before) = (HashMap::new(), HashMap::new());
        Wire { tap, server_mac, turn: 0x5afe_0000, answerable, before, answered: 0 }
    }

    /// A message as a client without an address sends it: to everybody.
    pub fn broadcast(&self, payload: &[u8]) -> Vec<u8> {
        let datagram = Datagram {
            source_mac: self.tap.mac,
            dest_mac: EVERYBODY,
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            dest: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
            payload: payload.to_vec(),
        };
        datagram.frame()
    }

    /// A message as a client with an address, or a relay agent, sends it: to the server alone.
    pub fn unicast(&self, payload: &[u8], source_port: u16) -> Vec<u8> {
        let datagram = Datagram {
            source_mac: self.tap.mac,
            dest_mac: self.server_mac,
            source: SocketAddrV4::new(NEIGHBOUR, source_port),
            dest: SocketAddrV4::new(server(), 67),
            payload: payload.to_vec(),
        };
        datagram.frame()
    }

    /// Sends a frame, and notes what an answer to it may be.
    pub fn send(&mut self, frame: &[u8]) {
        if let Some((key, kind)) = receivable(frame, self.server_mac).as_deref().and_then(request) {
            self.answerable.entry(key).or_default().push(kind);
        }
        self.tap.send(frame);
    }

    /// The server answers an honest client: by the socket for what came to it alone, then by the
    /// one for broadcasts, then when the disk has it. So whatever was sent before has been dealt
    /// with by then, and what came back meanwhile is judged. Only what waited for the same sync as
    /// the last answer may leave just after it, by another socket: that is judged the next time.
    ///
    /// # Panics
    /// If it does not, or answered what it should not have. `what` was sent before.
    pub fn settle(&mut self, what: &str) {
        let inform = Packet::new(INFORM, HONEST, self.next()).ciaddr(NEIGHBOUR);
        let told = self.ask(what, &self.unicast(&inform.bytes(), 68), &inform);
        assert_eq!(told.kind, ACK, "after {what}");
        let discover = Packet::new(DISCOVER, HONEST, self.next());
        let offer = self.ask(what, &self.broadcast(&discover.bytes()), &discover);
        assert_eq!(offer.kind, OFFER, "after {what}");
        let request = Packet::new(REQUEST, HONEST, self.next())
            .option(50, &offer.yiaddr.octets())
            .option(54, &server().octets());
        let ack = self.ask(what, &self.broadcast(&request.bytes()), &request);
        assert_eq!((ack.kind, ack.yiaddr), (ACK, offer.yiaddr), "after {what}");
        self.before = std::mem::take(&mut self.answerable);
    }

    /// Sends frames of which none may be answered, and sees that none is.
    ///
    /// # Panics
    /// If one is, or if the judge thinks that it may be: then the test is wrong.
    pub fn refused(&mut self, what: &str, frames: &[Vec<u8>]) {
        for frame in frames {
            self.send(frame);
        }
        assert!(self.answerable.is_empty(), "{what}: this is no bad packet");
        self.settle(what);
    }

    /// Whether nothing comes from the server for so long.
    pub fn is_silent(&self, limit: Duration) -> bool {
        self.tap.next(limit).is_none()
    }

    fn next(&mut self) -> u32 {
        self.turn += 1;
        self.turn
    }

    fn ask(&mut self, what: &str, frame: &[u8], packet: &Packet) -> Answer {
        self.tap.send(frame);
        loop {
            let heard = self.tap.next(LIMIT);
            let heard =
                heard.unwrap_or_else(|| panic!("the honest client is ignored after {what}"));
            if heard.source_mac == self.tap.mac {
                continue;
            }
            let answer = Answer::decode(&heard.payload);
            let answer = answer.unwrap_or_else(|| panic!("after {what}, no answer: {heard:?}"));
            if answer.mac == HONEST {
                assert_eq!(answer.bytes[4..8], packet.header[4..8], "after {what}");
                return answer;
            }
            self.judge(what, &heard, &answer);
        }
    }

    fn judge(&mut self, what: &str, heard: &Datagram, answer: &Answer) {
        let chaddr: [u8; 16] = answer.bytes[28..44].try_into().unwrap_or_default();
        let key = (answer.xid, chaddr);
        let mut asked =
            [&self.answerable, &self.before].into_iter().filter_map(|of| of.get(&key)).flatten();
        let fits = |kind: &u8| match *kind {
            DISCOVER => answer.kind == OFFER,
            REQUEST => answer.kind == ACK || answer.kind == NAK,
            _ => answer.kind == ACK,
        };
        assert!(asked.any(fits), "{what} was answered: {heard:?}\n{answer:?}");
        assert!((300..=1500).contains(&answer.bytes.len()), "after {what}: {answer:?}");
        let giaddr = Ipv4Addr::from(<[u8; 4]>::try_from(&answer.bytes[24..28]).unwrap_or_default());
        assert_eq!(heard.source.port(), 67, "after {what}: {heard:?}");
        match giaddr.is_unspecified() {
            true => assert_eq!(heard.dest.port(), 68, "after {what}: {heard:?}"),
            false => assert_eq!(heard.dest, SocketAddrV4::new(giaddr, 67), "after {what}"),
        }
        self.answered += 1;
    }
}

fn server() -> Ipv4Addr {
    SERVER.parse().expect("the server's address")
}

/// The payload of a frame that a server on the wire may take for a message to it: everything about
/// Ethernet, IP and UDP is in order.
pub fn receivable(frame: &[u8], server_mac: [u8; 6]) -> Option<Vec<u8>> {
    let datagram = crate::frame::read(frame)?;
    let header = usize::from(frame[14] & 15) * 4;
    let ip = frame.get(14..14 + header)?;
    let to_it = datagram.dest_mac == server_mac || datagram.dest_mac[0] & 1 == 1;
    // The reserved bit is nothing to Linux, and a reason to look away to our packet sockets.
    let whole = ip[6] & 0x3f == 0 && ip[7] == 0;
    if !to_it || !whole || header < 20 || checksum(&[ip]) != 0 || datagram.dest.port() != 67 {
        return None;
    }
    let udp = &frame[14 + header..][..datagram.payload.len() + 8];
    let length = u16::try_from(udp.len()).ok()?;
    let pseudo = [&ip[12..20], &[0, 17], &length.to_be_bytes()].concat();
    (udp[6..8] == [0, 0] || checksum(&[&pseudo, udp]) == 0).then_some(datagram.payload)
}

/// Transaction and `chaddr`, and the DHCP message type, of a message that may be answered: a
/// BOOTREQUEST that can be read without a doubt and is of a type that has an answer.
pub fn request(message: &[u8]) -> Option<((u32, [u8; 16]), u8)> {
    let fixed: &[u8; 240] = message.first_chunk()?;
    if fixed[0] != 1 || fixed[2] > 16 {
        return None;
    }
    let all = options_of(message)?;
    let nobody = match all.get(&61) {
        Some(id) if !id.is_empty() => id.len() > 255,
        _ => fixed[2] == 0,
    };
    let &[kind @ (DISCOVER | REQUEST | INFORM)] = all.get(&53)?.as_slice() else { return None };
    let xid = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    (!nobody).then_some(((xid, fixed[28..44].try_into().ok()?), kind))
}

/// All options of a message by code; `None` if one cannot be read.
pub fn options_of(message: &[u8]) -> Option<BTreeMap<u8, Vec<u8>>> {
    let fixed: &[u8; 240] = message.first_chunk()?;
    if fixed[236..] != [99, 130, 83, 99] {
        return None;
    }
    let mut all = BTreeMap::new();
    options(&message[240..], &mut all)?;
    match all.get(&52).map(Vec::as_slice) {
        None => {}
        Some(&[fields @ 0..=3]) => {
            if fields & 1 != 0 {
                options(&fixed[108..236], &mut all)?;
            }
            if fields & 2 != 0 {
                options(&fixed[44..108], &mut all)?;
            }
        }
        Some(_) => return None,
    }
    Some(all)
}

/// Adds the options of a field. `None` if one reaches beyond it.
fn options(mut field: &[u8], all: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    loop {
        match field {
            [] | [255, ..] => return Some(()),
            [0, rest @ ..] => field = rest,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                all.entry(*code).or_default().extend_from_slice(value);
                field = rest;
            }
            _ => return None,
        }
    }
}
