//! What is said to pf(4): requests about tables and states, as the bytes that the BSDs want.
//!
//! Pure, so that it is tested where no pf is. Structures are written by their offsets, which are
//! those of net/pfvar.h on 64-bit systems; `make check-bsd` proves the same numbers against the
//! systems' own headers. Numbers are in the machine's byte order, addresses in network order.

use std::net::Ipv4Addr;

use pfhelper::table_pf::NAME_FIELD;

/// Bytes of `struct pfr_table`.
const TABLE: usize = 1064;
/// Where its `pfrt_name` is.
const TABLE_NAME: usize = 1024;
/// Bytes of `struct pfioc_table`, in which it comes first.
const REQUEST: usize = 1104;
const BUFFER: usize = 1064;
const ESIZE: usize = 1072;
const SIZE: usize = 1076;
const ADDED: usize = 1084;
const DELETED: usize = 1088;
const _: () = assert!(TABLE_NAME + NAME_FIELD <= TABLE && TABLE == BUFFER && SIZE < ADDED);
const _: () = assert!(DELETED + 4 <= REQUEST);

/// Bytes of OpenBSD's `struct pfioc_state_kill`.
const STATE_KILL: usize = 224;
const KILL_AF: usize = 16;
const KILL_SRC: usize = 24;
const KILL_DST: usize = 80;
/// In a `struct pf_rule_addr`: the address, sixteen bytes, and behind it the mask. The type of the
/// address is PF_ADDR_ADDRMASK, 0.
const MASK: usize = 16;
const RULE_ADDR: usize = 56;
const _: () = assert!(KILL_SRC + RULE_ADDR == KILL_DST && KILL_DST + RULE_ADDR < STATE_KILL);

/// AF_INET everywhere.
const INET: u8 = 2;

/// The number of a request that carries `bytes` both ways: `_IOWR('D', number, ...)`.
const fn iowr(number: u32, bytes: usize) -> u32 {
    0xc000_0000 | (bytes as u32) << 16 | (b'D' as u32) << 8 | number
}

/// DIOCRADDADDRS
pub const ADD: u32 = iowr(67, REQUEST);
/// DIOCRDELADDRS
pub const DELETE: u32 = iowr(68, REQUEST);
/// DIOCRSETADDRS: what is not named leaves.
pub const SET: u32 = iowr(69, REQUEST);
/// DIOCRGETADDRS
pub const GET: u32 = iowr(70, REQUEST);
/// OpenBSD's DIOCKILLSTATES
pub const KILL: u32 = iowr(41, STATE_KILL);
/// FreeBSD's DIOCKILLSTATESNV, with a `struct pfioc_nv` of three words
pub const KILL_NV: u32 = iowr(41, 24);
const _: () = assert!(ADD == 0xc450_4443 && DELETE == 0xc450_4444);
const _: () = assert!(SET == 0xc450_4445 && GET == 0xc450_4446);
const _: () = assert!(KILL == 0xc0e0_4429 && KILL_NV == 0xc018_4429);

/// Where things are in a `struct pfr_addr`; the address itself is at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the structure.
    pub bytes: usize,
    /// `pfra_af`, and behind it `pfra_net`, the length of the prefix.
    pub af: usize,
}

/// OpenBSD's.
pub const OPENBSD: Layout = Layout { bytes: 52, af: 38 };
/// FreeBSD's, and NetBSD's where it had a pf.
pub const FREEBSD: Layout = Layout { bytes: 20, af: 16 };

/// The addresses, one structure after the other.
pub fn addresses(layout: Layout, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut bytes = vec![0; addresses.len() * layout.bytes];
    for (slot, address) in bytes.chunks_exact_mut(layout.bytes).zip(addresses) {
        put(slot, 0, &address.octets());
        put(slot, layout.af, &[INET, 32]);
    }
    bytes
}

/// A request about a table: `struct pfioc_table` as bytes.
#[derive(Clone, Debug)]
pub struct TableRequest(pub [u8; REQUEST]);

impl TableRequest {
    /// About the table of this name, with `count` addresses at `buffer`.
    ///
    /// The kernel wants everything it does not read to be zero, and refuses another size of the
    /// elements than its own.
    pub fn new(name: &[u8; NAME_FIELD], layout: Layout, buffer: usize, count: usize) -> Self {
        let mut bytes = [0; REQUEST];
        put(&mut bytes, TABLE_NAME, name);
        put(&mut bytes, BUFFER, &buffer.to_ne_bytes());
        put(&mut bytes, ESIZE, &int(layout.bytes));
        put(&mut bytes, SIZE, &int(count));
        TableRequest(bytes)
    }

    /// After [`GET`] without room for an address: how many the table has.
    pub fn found(&self) -> usize {
        self.number(SIZE)
    }

    /// After [`ADD`]: how many were not there before.
    pub fn added(&self) -> usize {
        self.number(ADDED)
    }

    /// After [`DELETE`]: how many were there.
    pub fn deleted(&self) -> usize {
        self.number(DELETED)
    }

    fn number(&self, at: usize) -> usize {
        let bytes = self.0.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
        let number = bytes.map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        usize::try_from(number).unwrap_or(0)
    }
}

/// OpenBSD's request to kill states: `struct pfioc_state_kill` as bytes.
///
/// States of every protocol, in routing domain 0, that go from the address or (`to`) to it.
pub fn state_kill(address: Ipv4Addr, to: bool) -> [u8; STATE_KILL] {
    let mut bytes = [0; STATE_KILL];
    put(&mut bytes, KILL_AF, &[INET]);
    let end = if to { KILL_DST } else { KILL_SRC };
    put(&mut bytes, end, &address.octets());
    put(&mut bytes, end + MASK, &[0xff; 4]);
    bytes
}

fn int(value: usize) -> [u8; 4] {
    i32::try_from(value).unwrap_or(i32::MAX).to_ne_bytes()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pfhelper::table_pf;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

    #[test]
    fn an_address_of_openbsd() {
        let bytes = addresses(OPENBSD, &[ADDRESS, Ipv4Addr::LOCALHOST]);
        assert_eq!(bytes.len(), 104);
        assert_eq!(bytes[..4], [10, 1, 2, 3]);
        assert_eq!(bytes[38..40], [2, 32]);
        assert_eq!(bytes[52..56], [127, 0, 0, 1]);
        assert_eq!(bytes.iter().filter(|&&b| b != 0).count(), 4 + 2 + 2 + 2);
    }

    #[test]
    fn an_address_of_freebsd() {
        let bytes = addresses(FREEBSD, &[ADDRESS]);
        let mut expected = [0; 20];
        expected[..4].copy_from_slice(&[10, 1, 2, 3]);
        expected[16] = 2;
        expected[17] = 32;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_request_about_a_table() {
        let name = table_pf::parse("leased").unwrap();
        let TableRequest(bytes) = TableRequest::new(&name, OPENBSD, 0x1234_5678, 7);
        assert_eq!(bytes[1024..1030], *b"leased");
        assert_eq!(bytes[1064..1072], 0x1234_5678u64.to_ne_bytes());
        assert_eq!(bytes[1072..1076], 52i32.to_ne_bytes());
        assert_eq!(bytes[1076..1080], 7i32.to_ne_bytes());
        let others = bytes[..1024].iter().chain(&bytes[1030..1064]).chain(&bytes[1080..]);
        assert!(others.copied().all(|b| b == 0));
    }

    #[test]
    fn what_the_kernel_counted() {
        let mut request = TableRequest::new(&[0; NAME_FIELD], FREEBSD, 0, 0);
        assert_eq!((request.found(), request.added(), request.deleted()), (0, 0, 0));
        // pfrio_size, pfrio_size2, pfrio_nadd, pfrio_ndel, pfrio_nchange
        for (n, bytes) in request.0[1076..1096].chunks_exact_mut(4).enumerate() {
            bytes.copy_from_slice(&(n as i32 + 70_000).to_ne_bytes());
        }
        let found = (request.found(), request.added(), request.deleted());
        assert_eq!(found, (70_000, 70_002, 70_003));
        request.0[1076..1080].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(request.found(), 0);
    }

    #[test]
    fn states_from_and_states_to() {
        for (to, at) in [(false, 24), (true, 80)] {
            let bytes = state_kill(ADDRESS, to);
            assert_eq!(bytes[16], 2);
            assert_eq!(bytes[at..at + 4], [10, 1, 2, 3]);
            assert_eq!(bytes[at + 16..at + 20], [255; 4]);
            assert_eq!(bytes.iter().filter(|&&b| b != 0).count(), 9);
        }
    }
}
