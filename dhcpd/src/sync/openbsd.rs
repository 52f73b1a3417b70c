//! Datagrams as OpenBSD's dhcpd(8) sends them, one lease each.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | address family, AF_INET (2) |
//! | 2 | 2 | length of it all |
//! | 4 | 4 | a counter that nobody checks |
//! | 8 | 20 | HMAC-SHA1 of it all, with zeros here |
//! | 28 | 4 | zeros |
//! | 32 | | elements: type (2), length (2) with these four bytes, and what is in it |
//!
//! Type 0 is the end, of length 4. Type 1 is a lease, of length 64: when it began, when it ends and
//! when its client was last heard (4 each, seconds since 1970); the length of the address (4) and
//! the address in 16; hardware type (1), length (1) and address in 16; zeros. Big-endian but for the
//! counter and the length of the address, which are in the sender's own order: little-endian here,
//! as on every machine that OpenBSD's dhcpd is common on.
//!
//! There is no client identifier, no name and no flag in it, and a datagram can be sent again by
//! anybody who has seen it. Without a key file the HMAC's key is empty.

use super::hmac::{hmac, same};
use crate::lease::LeaseView;
use sha1::Sha1;
use std::net::Ipv4Addr;

const VERSION: u8 = 1;
const AF_INET: u8 = 2;
const HEADER: usize = 32;
const HMAC: std::ops::Range<usize> = 8..28;
const LEASE: u16 = 1;
/// Of a lease, padding included.
const LEASE_LENGTH: usize = 64;
const END: u16 = 0;
const ELEMENT: usize = 4;
/// The length of a datagram with one lease.
pub const ONE_LEASE: usize = HEADER + LEASE_LENGTH + ELEMENT;

/// A lease as such a datagram has it. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// When it began.
    pub starts: u32,
    /// When it ends.
    pub ends: u32,
    /// When its client was last heard.
    pub heard: u32,
    /// Hardware type.
    pub htype: u8,
    /// How much of `hardware` is used.
    pub length: u8,
    /// The hardware address.
    pub hardware: [u8; 16],
}

impl Lease {
    /// What of a lease there is room for. `None` for one that nobody has.
    pub fn of(lease: &LeaseView<'_>) -> Option<Lease> {
        let (htype, addr) = lease.hardware?;
        let time = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
        let mut hardware = [0; 16];
        hardware.get_mut(..addr.len())?.copy_from_slice(addr);
        Some(Lease {
            address: lease.address,
            starts: time(lease.starts),
            ends: time(lease.ends),
            heard: time(lease.starts),
            htype,
            length: addr.len() as u8,
            hardware,
        })
    }

    /// The same for the engine.
    pub fn view(&self) -> LeaseView<'_> {
        let addr = self.hardware.get(..usize::from(self.length)).unwrap_or_default();
        LeaseView {
            address: self.address,
            starts: self.starts.into(),
            ends: self.ends.into(),
            hardware: Some((self.htype, addr)).filter(|_| !addr.is_empty()),
            client_id: None,
            dynamic_bootp: false,
            abandoned: false,
            client_hostname: None,
            hostname: None,
        }
    }
}

/// Appends a datagram. `key` is empty where there is none.
pub fn encode(lease: &Lease, counter: u32, key: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([VERSION, AF_INET]);
    out.extend((ONE_LEASE as u16).to_be_bytes());
    out.extend(counter.to_le_bytes());
    out.extend([0; 24]);
    out.extend(LEASE.to_be_bytes());
    out.extend((LEASE_LENGTH as u16).to_be_bytes());
    for time in [lease.starts, lease.ends, lease.heard] {
        out.extend(time.to_be_bytes());
    }
    out.extend(4u32.to_le_bytes());
    out.extend(lease.address.octets());
    out.extend([0; 12]);
    out.extend([lease.htype, lease.length]);
    out.extend(lease.hardware);
    out.resize(start + HEADER + LEASE_LENGTH, 0);
    out.extend(END.to_be_bytes());
    out.extend((ELEMENT as u16).to_be_bytes());
    let datagram = out.get_mut(start..).unwrap_or_default();
    let code = hmac::<Sha1>(key, &[datagram]);
    if let Some(place) = datagram.get_mut(HMAC) {
        place.copy_from_slice(&code);
    }
}

/// Shows every lease of a datagram to `each`, once all of it has been found to be well.
///
/// # Errors
/// What is wrong with it.
pub fn decode(datagram: &[u8], key: &[u8], mut each: impl FnMut(Lease)) -> Result<(), Wrong> {
    let (header, mut rest) = datagram.split_at_checked(HEADER).ok_or(Wrong::Length)?;
    let [version, family, long, short, ..] = *header else { return Err(Wrong::Length) };
    if version != VERSION {
        return Err(Wrong::Version);
    }
    if family != AF_INET {
        return Err(Wrong::Family);
    }
    if usize::from(u16::from_be_bytes([long, short])) != datagram.len() {
        return Err(Wrong::Length);
    }
    let (before, code, after) = (&header[..HMAC.start], &header[HMAC], &header[HMAC.end..]);
    if !same(&hmac::<Sha1>(key, &[before, &[0; 20], after, rest]), code) {
        return Err(Wrong::Code);
    }
    let mut leases = Vec::new();
    loop {
        let (element, _) = rest.split_first_chunk::<ELEMENT>().ok_or(Wrong::Element)?;
        let kind = u16::from_be_bytes([element[0], element[1]]);
        let length = usize::from(u16::from_be_bytes([element[2], element[3]]));
        let (body, more) = rest.split_at_checked(length).ok_or(Wrong::Element)?;
        let body = body.get(ELEMENT..).ok_or(Wrong::Element)?;
        match kind {
            END => break,
            LEASE => leases.push(decode_lease(body).ok_or(Wrong::Element)?),
            _ => return Err(Wrong::Element),
        }
        rest = more;
    }
    leases.into_iter().for_each(&mut each);
    Ok(())
}

fn decode_lease(body: &[u8]) -> Option<Lease> {
    let time = |at: usize| {
        let bytes: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let address: [u8; 4] = body.get(16..20)?.try_into().ok()?;
    let (htype, length) = (*body.get(32)?, *body.get(33)?);
    let mut hardware: [u8; 16] = body.get(34..50)?.try_into().ok()?;
    let four = body.get(12..16)? == 4u32.to_le_bytes();
    hardware.get_mut(length.into()..)?.fill(0);
    let (starts, ends, heard) = (time(0)?, time(4)?, time(8)?);
    let lease = Lease { address: address.into(), starts, ends, heard, htype, length, hardware };
    four.then_some(lease)
}

/// Why a datagram is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Another version: perhaps our own form.
    Version,
    /// Not about IPv4.
    Family,
    /// It has not the length it says.
    Length,
    /// It was made with another key, or is not what was sent.
    Code,
    /// An element that is none, or of another byte order.
    Element,
}
