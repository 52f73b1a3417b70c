//! A lease in a datagram of our own form: all that the lease file says of it.
//!
//! Address (4), when it began and when it ends (8 each, seconds since 1970, signed), flags (1: bit 0
//! abandoned, bit 1 dynamic BOOTP), hardware type (1), then hardware address, client identifier, the
//! client's own name and the one in the DNS, each with its length (1) before it. A lease began when
//! its client was last answered, or gave it back; one that was given back ended where it began.
//! Equal leases are equal bytes: what the lease file would leave out is left out.

use crate::lease::LeaseView;
use std::net::Ipv4Addr;

/// The longest record, in bytes.
pub const LONGEST: usize = 23 + 16 + 3 * 255 + 3;

const ABANDONED: u8 = 1;
const BOOTP: u8 = 2;

/// Appends a record.
pub fn encode(lease: &LeaseView<'_>, out: &mut Vec<u8>) {
    out.extend(lease.address.octets());
    out.extend(lease.starts.to_be_bytes());
    out.extend(lease.ends.to_be_bytes());
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(flag(lease.abandoned, ABANDONED) | flag(lease.dynamic_bootp, BOOTP));
    let (htype, addr) =
        lease.hardware.filter(|(_, a)| (1..=16).contains(&a.len())).unwrap_or_default();
    out.push(htype);
    let id = lease.client_id.filter(|id| id.len() <= 255).unwrap_or_default();
    for part in [addr, id, name(lease.client_hostname), name(lease.hostname)] {
        out.push(part.len() as u8);
        out.extend_from_slice(part);
    }
}

/// A name, if the lease file keeps it.
fn name(name: Option<&[u8]>) -> &[u8] {
    let plain = |byte: &u8| (0x21..=0x7e).contains(byte) && !b"\"\\".contains(byte);
    name.filter(|name| name.len() <= 255 && name.iter().all(plain)).unwrap_or_default()
}

/// Takes a record off the front; `None` if there is no whole one.
pub fn decode<'a>(bytes: &mut &'a [u8]) -> Option<LeaseView<'a>> {
    let address: [u8; 4] = take(bytes, 4)?.try_into().ok()?;
    let mut time = || Some(i64::from_be_bytes(take(bytes, 8)?.try_into().ok()?));
    let (starts, ends) = (time()?, time()?);
    let [flags, htype] = *take(bytes, 2)? else { return None };
    let mut part = |most: usize| {
        let [length] = *take(bytes, 1)? else { return None };
        take(bytes, length.into()).filter(|part| part.len() <= most)
    };
    let (addr, id) = (part(16)?, part(255)?);
    let (client_hostname, hostname) = (part(255)?, part(255)?);
    let some = |part: &'a [u8]| Some(part).filter(|part| !part.is_empty());
    let abandoned = flags & ABANDONED != 0;
    Some(LeaseView {
        address: Ipv4Addr::from(address),
        starts,
        ends,
        // An abandoned address is nobody's.
        hardware: some(addr).filter(|_| !abandoned).map(|addr| (htype, addr)),
        client_id: some(id).filter(|_| !abandoned),
        dynamic_bootp: flags & BOOTP != 0,
        abandoned,
        client_hostname: some(name(Some(client_hostname))),
        hostname: some(name(Some(hostname))),
    })
}

/// Takes some bytes off the front.
pub fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A digest of a record for comparing sets of them: nobody without the key can choose leases that
/// have the same. Never 0, which stands for no record.
pub fn digest(seed: u64, record: &[u8]) -> u64 {
    let mut state = seed ^ (record.len() as u64);
    for chunk in record.chunks(8) {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(seed | 1);
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 32;
    }
    state.max(1)
}
