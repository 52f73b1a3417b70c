//! Asking whether an address is in use: ICMP echo (RFC 792), without waiting.
//!
//! When to ask and what an answer means is the engine's business. An answer counts only if it
//! carries what we sent to that very address a moment ago, so that nobody can keep the server from
//! giving out addresses by sending answers unasked. Opening is the parent's.

use crate::batch::{self, Inbox};
use crate::control::ROOM;
use crate::socket::{Error, Sent, grow_queues};
use crate::wire::frame::{VALID, sum};
use socket2::{Domain, Protocol, Socket, Type};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(target_os = "linux")]
#[path = "icmp_linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "icmp_bsd.rs"]
mod system;

/// How long an answer counts, in milliseconds.
const FRESH: u64 = 5000;
const ECHO_REPLY: u8 = 0;
const ECHO: u8 = 8;
/// Type, code, checksum, id, sequence number; then the time of asking and the proof.
const LEN: usize = 8 + 8 + 8;

/// Opens the raw socket.
///
/// # Errors
/// Not root (CAP_NET_RAW).
pub fn open() -> Result<OwnedFd, Error> {
    let failed = |error: io::Error| Error::new("open raw ICMP socket", error);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map_err(failed)?;
    system::only_replies(&socket).map_err(failed)?;
    grow_queues(socket.as_fd());
    Ok(socket.into())
}

/// Echo requests out, proven answers in.
pub struct Icmp {
    fd: OwnedFd,
    inbox: Inbox,
    echo: Echo,
}

impl Icmp {
    /// Takes a descriptor from [`open`].
    pub fn from_fd(fd: OwnedFd) -> Icmp {
        Icmp { fd, inbox: Inbox::new(), echo: Echo::new() }
    }

    /// Asks every address, 64 at a time. `now` is in milliseconds of a clock that never jumps.
    /// Never waits.
    pub fn ask(&mut self, addresses: impl IntoIterator<Item = Ipv4Addr>, now: u64) -> Sent {
        let echo = &self.echo;
        let messages = addresses.into_iter().map(|address| batch::Outgoing {
            header: echo.request(address, now),
            payload: &[],
            dest: Some(SocketAddrV4::new(address, 0)),
            control: ([0; ROOM], 0),
        });
        batch::send(self.fd.as_fd(), messages, || "send ICMP echo".to_owned())
    }

    /// Shows the address of each proven answer, of at most 64 messages that wait, to `each`.
    /// Returns how many messages there were. Never waits.
    ///
    /// # Errors
    /// What the system says; an earlier message's fate among it, so that the next call may succeed.
    pub fn receive(&mut self, now: u64, mut each: impl FnMut(Ipv4Addr)) -> Result<usize, Error> {
        let echo = &self.echo;
        let received = self.inbox.receive(self.fd.as_fd(), |message| {
            if let Some(address) = echo.answer(message.bytes, now) {
                each(address);
            }
        });
        received.map_err(|error| Error::new("receive ICMP", error))
    }
}

impl AsFd for Icmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What is said and how an answer is known, without remembering what was asked: the request holds
/// its time, and a hash of that and the address under a key that nobody else has.
struct Echo {
    id: u16,
    key: RandomState,
}

impl Echo {
    fn new() -> Echo {
        let key = RandomState::new();
        Echo { id: key.hash_one("id") as u16, key }
    }

    fn proof(&self, address: Ipv4Addr, asked: u64) -> [u8; 8] {
        self.key.hash_one((address, asked)).to_be_bytes()
    }

    fn request(&self, address: Ipv4Addr, now: u64) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[0] = ECHO;
        out[4..6].copy_from_slice(&self.id.to_be_bytes());
        out[8..16].copy_from_slice(&now.to_be_bytes());
        out[16..].copy_from_slice(&self.proof(address, now));
        let sum = !sum(&out, 0);
        out[2..4].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// The address that answers, from an IP datagram as a raw socket shows it.
    fn answer(&self, datagram: &[u8], now: u64) -> Option<Ipv4Addr> {
        let header_len = usize::from(datagram.first()? & 15) * 4;
        // The lengths in the header are not looked at: systems differ in what they make of them.
        let (header, icmp) = datagram.split_at_checked(header_len)?;
        let source = Ipv4Addr::from(*header.get(12..)?.first_chunk::<4>()?);
        let icmp: &[u8; LEN] = icmp.try_into().ok()?;
        let [id @ .., _, _] = icmp.get(4..)?.first_chunk::<4>()?;
        let (asked, proof) = icmp.get(8..)?.split_first_chunk::<8>()?;
        let asked = u64::from_be_bytes(*asked);
        let ours = icmp[..2] == [ECHO_REPLY, 0]
            && sum(icmp, 0) == VALID
            && *id == self.id.to_be_bytes()
            && now.checked_sub(asked).is_some_and(|age| age <= FRESH)
            && proof == self.proof(source, asked);
        ours.then_some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    /// What a host at `source` makes of a request.
    fn reply(source: Ipv4Addr, request: &[u8]) -> Vec<u8> {
        let mut out = vec![0x45; 20];
        out[12..16].copy_from_slice(&source.octets());
        out.extend(request);
        out[20] = ECHO_REPLY;
        mend(&mut out);
        out
    }

    fn mend(datagram: &mut [u8]) {
        datagram[22..24].fill(0);
        let sum = !sum(&datagram[20..], 0);
        datagram[22..24].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn an_honest_answer_counts_while_it_is_fresh() {
        let echo = Echo::new();
        let request = echo.request(ASKED, 1000);
        assert_eq!((request[0], sum(&request, 0)), (8, VALID));
        let answer = reply(ASKED, &request);
        assert_eq!(echo.answer(&answer, 1000), Some(ASKED));
        assert_eq!(echo.answer(&answer, 6000), Some(ASKED));
        assert_eq!(echo.answer(&answer, 6001), None);
        assert_eq!(echo.answer(&answer, 999), None);
        let mut with_options = answer.clone();
        with_options.splice(20..20, [1, 1, 1, 0]);
        with_options[0] = 0x46;
        assert_eq!(echo.answer(&with_options, 1000), Some(ASKED));
    }

    #[test]
    fn every_other_answer_does_not() {
        let echo = Echo::new();
        let honest = reply(ASKED, &echo.request(ASKED, 1000));
        for at in [12, 15, 20, 21, 24, 25, 26, 28, 35, 36, 43] {
            let mut spoilt = honest.clone();
            spoilt[at] ^= 1;
            if at >= 20 {
                assert_eq!(echo.answer(&spoilt, 1000), None, "checksum, byte {at}");
                mend(&mut spoilt);
            }
            // The sequence number is the one thing that says nothing.
            let counts = at == 26;
            assert_eq!(echo.answer(&spoilt, 1000).is_some(), counts, "byte {at}");
        }
        let other = reply(Ipv4Addr::new(192, 0, 2, 8), &echo.request(ASKED, 1000));
        assert_eq!(echo.answer(&other, 1000), None, "an answer for another address");
        let stranger = reply(ASKED, &Echo::new().request(ASKED, 1000));
        assert_eq!(echo.answer(&stranger, 1000), None, "another server's");
        for len in 0..honest.len() {
            assert_eq!(echo.answer(&honest[..len], 1000), None, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_or_count(datagram in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Echo::new().answer(&datagram, 1000), None);
        }
    }
}
