//! Packets on a TCP connection (section 1.1), with a deadline for each, and cut where asked.
//!
//! One [`Link`] is one connection. It knows no command and no role.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::nv::List;
use super::{Broken, abort, data, lock};

/// The longest list that is taken: all real ones are below 1 KiB (H10).
const LONGEST_LIST: usize = 64 << 10;
/// FreeBSD sends data in pieces of this size at most.
const PIECE: usize = 32 << 10;

/// The two connections of a pair, in the order they are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Requests, and both answers of the handshake.
    C1,
    /// Replies.
    C2,
}

/// Seen from the peer that cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the peer sends.
    Sent,
    /// What the peer receives.
    Received,
}

/// What becomes of a connection that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is closed, both ways.
    Close,
    /// It stays open, and nothing more goes this way: as with a cable pulled.
    Silence,
}

/// An interruption ordered by a test. It happens once.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Which of the two connections.
    pub connection: Connection,
    /// Which way.
    pub direction: Direction,
    /// Messages of that way before the one that is cut; the handshake's count.
    pub message: usize,
    /// Bytes of it that still pass. If it has fewer, the cut is right behind it.
    pub byte: usize,
    /// How.
    pub ending: Ending,
}

/// Cuts that have not happened yet.
pub type Cuts = Arc<Mutex<Vec<Cut>>>;

/// Data of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Decoded.
    pub bytes: Vec<u8>,
    /// The connection ended inside; the rest is what was in the buffer before (B1).
    pub stale: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    message: usize,
    byte: usize,
    started: bool,
    ended: Option<Ending>,
}

/// The bytes of one packet.
pub fn packet(version: u8, list: &List, data: &[u8]) -> Vec<u8> {
    let list = list.encode();
    [&[version][..], &(list.len() as u32).to_le_bytes(), &list, data].concat()
}

/// One TCP connection, read and written packet by packet.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    /// Which of the two it is.
    pub connection: Connection,
    /// The highest version byte that is taken.
    pub version: u8,
    /// Take no other version byte: FreeBSD up to 9.
    pub exact: bool,
    /// Whether the buffer's old bytes stand in for data that never came (B1).
    pub goes_on_after_cut: bool,
    cuts: Cuts,
    received: Place,
    sent: Place,
    buffer: Vec<u8>,
}

impl Link {
    /// Takes the connection over.
    pub fn new(stream: TcpStream, connection: Connection, version: u8, cuts: Cuts) -> Link {
        // A test over loopback loses nothing if this fails.
        let _ = stream.set_nodelay(true);
        Link {
            stream,
            connection,
            version,
            exact: version == 1,
            goes_on_after_cut: true,
            cuts,
            received: Place::default(),
            sent: Place::default(),
            buffer: vec![0xa5; 4096],
        }
    }

    /// A second handle on the socket, to end it from elsewhere.
    pub fn handle(&self) -> Result<TcpStream, Broken> {
        self.stream.try_clone().map_err(|error| Broken::Link(format!("dup of a socket: {error}")))
    }

    /// Cuts the next message it sends after so many bytes.
    pub fn cut_next(&self, byte: usize) {
        lock(&self.cuts).push(Cut {
            connection: self.connection,
            direction: Direction::Sent,
            message: self.sent.message,
            byte,
            ending: Ending::Close,
        });
    }

    /// Whether something has come that nobody read; false too if the other side is gone.
    pub fn has_unread(&self) -> bool {
        let mut byte = [0];
        self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.peek(&mut byte), Ok(1))
            && self.stream.set_nonblocking(false).is_ok()
    }

    /// Sends one packet, whole or up to its cut.
    pub fn send(
        &mut self,
        version: u8,
        list: &List,
        data: &[u8],
        within: Duration,
    ) -> Result<(), Broken> {
        self.send_bytes(&packet(version, list, data), within)
    }

    /// Sends bytes that need not be a packet, and count as one.
    pub fn send_bytes(&mut self, bytes: &[u8], within: Duration) -> Result<(), Broken> {
        let deadline = Instant::now() + within;
        let cut = self.due(Direction::Sent, self.sent.message, usize::MAX);
        self.sent.message += 1;
        if self.sent.ended.is_some() {
            return Ok(());
        }
        let pass = cut.map_or(bytes.len(), |cut| cut.byte.min(bytes.len()));
        for mut piece in bytes[..pass].chunks(PIECE) {
            while !piece.is_empty() {
                let left = self.left(deadline, "send")?;
                let _ = self.stream.set_write_timeout(Some(left));
                match self.stream.write(piece) {
                    Ok(count) => piece = &piece[count..],
                    Err(error) if again(&error) => {}
                    Err(error) => return Err(self.broken("send", error)),
                }
            }
        }
        match cut {
            None => Ok(()),
            Some(cut) => self.end(cut),
        }
    }

    /// The next packet's version byte and list. Its data, if it has any, comes next.
    pub fn receive(&mut self, within: Duration) -> Result<List, Broken> {
        let deadline = Instant::now() + within;
        if self.received.started {
            self.received.message += 1;
            self.received.byte = 0;
        }
        self.received.started = true;
        let mut head = [0; 5];
        self.whole(&mut head, deadline, "a header")?;
        let [version, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if version > self.version || (self.exact && version != self.version) {
            return Err(Broken::Link(format!("version byte {version}: ERPCMISMATCH")));
        }
        if length == 0 {
            return Err(abort("A10", "a list of length 0".to_string()));
        }
        if length > LONGEST_LIST {
            return Err(Broken::Misuse(format!("H10: a list of {length} bytes")));
        }
        let mut list = vec![0; length];
        self.whole(&mut list, deadline, "a list")?;
        let list = List::decode(&list).map_err(|error| {
            Broken::Misuse(format!("section 1.2: {error}, in a list on {:?}", self.connection))
        })?;
        if list.uint32("size") == Ok(0) {
            self.behind();
        }
        Ok(list)
    }

    /// The data of the packet whose list came last. `limit` is the buffer's size.
    pub fn receive_data(
        &mut self,
        list: &List,
        limit: usize,
        within: Duration,
    ) -> Result<Data, Broken> {
        let size = list.uint32("size").map_err(Broken::Misuse)? as usize;
        if size == 0 {
            return Ok(Data { bytes: Vec::new(), stale: false });
        }
        if size > limit {
            return Err(Broken::Misuse(format!("{size} bytes of data, the buffer has {limit}")));
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        let wanted = bytes.len().max(size);
        bytes.resize(wanted, 0xa5);
        let count = self.some(&mut bytes[..size], Instant::now() + within, "data");
        self.behind();
        let plain = !list.has("checksum") && !list.has("compression");
        let result = match count {
            Ok(count) if count < size && !(plain && self.goes_on_after_cut) => {
                Err(Broken::Link(format!("ends after {count} of {size} bytes of data")))
            }
            Ok(count) => data::unpack(list, &bytes[..size], limit)
                .map(|bytes| Data { bytes, stale: count < size }),
            Err(error) => Err(error),
        };
        self.buffer = bytes;
        result
    }

    /// Reads until the buffer is full or the stream at its end or cut; says how much.
    fn some(&mut self, buffer: &mut [u8], deadline: Instant, what: &str) -> Result<usize, Broken> {
        if let Some(ending) = self.received.ended {
            return self.nothing_more(ending, deadline);
        }
        let cut =
            self.due(Direction::Received, self.received.message, self.received.byte + buffer.len());
        let pass = cut.map_or(buffer.len(), |cut| cut.byte.saturating_sub(self.received.byte));
        let mut have = 0;
        while have < pass {
            let left = self.left(deadline, what)?;
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut buffer[have..pass]) {
                Ok(0) => return Ok(have),
                Ok(count) => have += count,
                Err(error) if again(&error) => {}
                // Linux tells a reader of a reset where FreeBSD may tell of an end.
                Err(error) if error.kind() == ErrorKind::ConnectionReset && have > 0 => {
                    return Ok(have);
                }
                Err(error) => return Err(self.broken(what, error)),
            }
        }
        self.received.byte += have;
        if let Some(Cut { ending, .. }) = cut {
            self.end_receiving(ending);
            return Ok(have + self.nothing_more(ending, deadline)?);
        }
        Ok(have)
    }

    fn whole(&mut self, buffer: &mut [u8], deadline: Instant, what: &str) -> Result<(), Broken> {
        match self.some(buffer, deadline, what)? {
            count if count == buffer.len() => Ok(()),
            0 => Err(Broken::Link(format!("{:?} closed before {what}", self.connection))),
            count => {
                Err(Broken::Link(format!("{:?} closed {count} bytes into {what}", self.connection)))
            }
        }
    }

    /// The cut for that message, if it comes before byte `end` of it. It is then used up.
    fn due(&mut self, direction: Direction, message: usize, end: usize) -> Option<Cut> {
        let mut cuts = lock(&self.cuts);
        let at = cuts.iter().position(|cut| {
            cut.connection == self.connection
                && cut.direction == direction
                && cut.message == message
                && cut.byte < end
        })?;
        Some(cuts.swap_remove(at))
    }

    fn end(&mut self, cut: Cut) -> Result<(), Broken> {
        self.sent.ended = Some(cut.ending);
        match cut.ending {
            Ending::Silence => Ok(()),
            Ending::Close => {
                let _ = self.stream.shutdown(Shutdown::Both);
                Err(Broken::Link(format!("cut as ordered: {cut:?}")))
            }
        }
    }

    /// The message received is at its end: a cut that was to come later in it comes now.
    fn behind(&mut self) {
        if let Some(cut) = self.due(Direction::Received, self.received.message, usize::MAX) {
            self.end_receiving(cut.ending);
        }
    }

    fn end_receiving(&mut self, ending: Ending) {
        self.received.ended = Some(ending);
        if ending == Ending::Close {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }

    /// What is read after a cut: the end, or nothing until the deadline. What the kernel has
    /// already could still be read, and is not.
    fn nothing_more(&self, ending: Ending, deadline: Instant) -> Result<usize, Broken> {
        if ending == Ending::Close {
            return Ok(0);
        }
        loop {
            let left = self.left(deadline, "anything after the silence began")?;
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
            // Only the end of both ways is told when nothing is asked for.
            if matches!(poll(&mut fds, left), Ok(count) if count > 0) {
                return Err(Broken::Link("ended while silent".to_string()));
            }
        }
    }

    fn left(&self, deadline: Instant, what: &str) -> Result<Duration, Broken> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Broken::Link(format!("{:?}: waited too long: {what}", self.connection)));
        }
        Ok(left)
    }

    fn broken(&self, what: &str, error: std::io::Error) -> Broken {
        Broken::Link(format!("{:?}: {what}: {error}", self.connection))
    }
}

fn again(error: &std::io::Error) -> bool {
    // A time-out of the socket is judged by the deadline alone.
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    fn pair(cuts: &Cuts) -> (Link, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        (
            Link::new(one, Connection::C1, 2, Cuts::default()),
            Link::new(other, Connection::C1, 2, cuts.clone()),
        )
    }

    fn keepalive() -> List {
        let mut list = List::new();
        list.put_uint8("cmd", 5);
        list
    }

    #[test]
    fn a_packet_is_the_vector_of_section_1_6() {
        let bytes = packet(2, &keepalive(), &[]);
        assert_eq!(bytes[..8], [2, 0x16, 0, 0, 0, 2, 4, 1]);
        assert_eq!(bytes.len(), 27);
        let mut hello = List::new();
        hello.put_text("resource", "data");
        hello.put_uint8("version", 2);
        assert_eq!(packet(1, &hello, &[])[..5], [1, 0x34, 0, 0, 0]);
    }

    #[test]
    fn what_must_not_come() {
        for (bytes, aborts) in [
            (vec![3, 1, 0, 0, 0], Broken::Link(String::new())),
            (vec![2, 0, 0, 0, 0], Broken::Abort(String::new())),
            (vec![2, 1, 0, 1, 0], Broken::Misuse(String::new())),
            (vec![2, 1, 0, 0, 0, 0x82], Broken::Misuse(String::new())),
        ] {
            let (mut one, mut other) = pair(&Cuts::default());
            one.send_bytes(&bytes, SOON).unwrap();
            let error = other.receive(SOON).unwrap_err();
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&aborts), "{error}");
        }
        let (mut one, mut other) = pair(&Cuts::default());
        other.version = 1;
        other.exact = true;
        one.send(1, &keepalive(), &[], SOON).unwrap();
        other.receive(SOON).unwrap();
        one.send(0, &keepalive(), &[], SOON).unwrap();
        other.receive(SOON).unwrap_err();
    }

    #[test]
    fn a_cut_lets_just_so_many_bytes_pass() {
        let mut list = List::new();
        let bytes = data::pack(&mut list, &[1; 512], data::Checksum::None, data::Compression::None);
        let whole = packet(2, &list, &bytes).len();
        for direction in [Direction::Sent, Direction::Received] {
            for byte in [0, 1, 5, 6, whole - 512, whole - 511, whole - 1, whole, whole + 1] {
                let cuts = Cuts::default();
                let cut = Cut {
                    connection: Connection::C1,
                    direction,
                    message: 1,
                    byte,
                    ending: Ending::Close,
                };
                lock(&cuts).push(cut);
                let (mut from, mut to) = pair(&cuts);
                if direction == Direction::Sent {
                    std::mem::swap(&mut from, &mut to);
                }
                for _ in 0..3 {
                    let _ = from.send(2, &list, &bytes, SOON);
                }
                assert_eq!(to.receive(SOON).unwrap(), list);
                assert_eq!(to.receive_data(&list, 512, SOON).unwrap().bytes, [1; 512]);
                let read = to.receive(SOON);
                assert_eq!(read.is_ok(), byte >= whole - 512, "{byte} of {whole}: {read:?}");
                if read.is_ok() {
                    let read = to.receive_data(&list, 512, SOON).unwrap();
                    assert_eq!(read.stale, byte < whole);
                    assert_eq!(read.bytes, [1; 512], "what was there before");
                    to.receive(SOON).unwrap_err();
                }
            }
        }
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let cuts = Cuts::default();
        lock(&cuts).push(Cut {
            connection: Connection::C1,
            direction: Direction::Received,
            message: 0,
            byte: 3,
            ending: Ending::Silence,
        });
        let (mut one, mut other) = pair(&cuts);
        one.send(2, &keepalive(), &[], SOON).unwrap();
        let error = other.receive(Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("silence"), "{error}");
    }
}
