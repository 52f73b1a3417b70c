//! Who a client is: hardware address and client identifier, and when two of them are one client.
//!
//! Not here: which lease a client has (`leases`), and what a `host` says about it (`access`).

use std::fmt;

/// The longest client identifier that is served, in bytes: what one option holds. RFC 3396 would
/// allow more, and a pool's worth of them would be a pool's worth of memory.
pub(super) const MAX_CLIENT_ID: usize = 255;

/// A hardware address with its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hw {
    htype: u8,
    len: u8,
    addr: [u8; 16],
}

impl Hw {
    /// What is beyond 16 bytes is cut: no packet has it, and a file should not.
    pub(super) fn new(htype: u8, bytes: &[u8]) -> Hw {
        let mut addr = [0; 16];
        let len = bytes.len().min(16);
        addr[..len].copy_from_slice(&bytes[..len]);
        Hw { htype, len: len as u8, addr }
    }

    pub(super) fn htype(&self) -> u8 {
        self.htype
    }

    pub(super) fn addr(&self) -> &[u8] {
        &self.addr[..usize::from(self.len)]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address as Ethernet knows it.
    pub(super) fn ethernet(&self) -> Option<[u8; 6]> {
        if self.htype != crate::wire::code::ETHERNET {
            return None;
        }
        self.addr().try_into().ok()
    }
}

/// Lower-case hex with colons; `<null>` without an address.
impl fmt::Display for Hw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        if self.is_empty() {
            return f.write_str("<null>");
        }
        let mut text = [b':'; 48];
        for (byte, place) in self.addr().iter().zip(text.chunks_exact_mut(3)) {
            place[0] = HEX[usize::from(byte >> 4)];
            place[1] = HEX[usize::from(byte & 15)];
        }
        let used = usize::from(self.len) * 3 - 1;
        f.write_str(str::from_utf8(&text[..used]).unwrap_or_default())
    }
}

/// A client identifier as it is kept: the usual ones (RFC 2132's 7 bytes, RFC 4361's 19) in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientId {
    #[default]
    None,
    Short(u8, [u8; 22]),
    Long(Box<[u8]>),
}

impl ClientId {
    pub(super) fn new(id: Option<&[u8]>) -> ClientId {
        match id {
            None | Some([]) => ClientId::None,
            Some(id) if id.len() <= 22 => {
                let mut bytes = [0; 22];
                bytes[..id.len()].copy_from_slice(id);
                ClientId::Short(id.len() as u8, bytes)
            }
            Some(id) => ClientId::Long(id.into()),
        }
    }

    pub(super) fn get(&self) -> Option<&[u8]> {
        match self {
            ClientId::None => None,
            ClientId::Short(len, bytes) => Some(&bytes[..usize::from(*len)]),
            ClientId::Long(bytes) => Some(bytes),
        }
    }
}

/// Who sent a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) hw: Hw,
    /// Option 61; never empty.
    pub(super) id: Option<&'a [u8]>,
}

impl Client<'_> {
    /// The rule of conflicts: identifiers are compared where both have one, else hardware. So a
    /// machine whose boot ROM sends no identifier keeps its address when its system sends one.
    pub(super) fn same(&self, hw: &Hw, id: Option<&[u8]>) -> bool {
        match (self.id, id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => !hw.is_empty() && self.hw == *hw,
        }
    }

    /// The rule for giving away what somebody has: a lease with an identifier belongs only
    /// to who shows the same one.
    pub(super) fn owns(&self, hw: &Hw, id: Option<&[u8]>) -> bool {
        match id {
            Some(id) => self.id == Some(id),
            None => !hw.is_empty() && self.hw == *hw,
        }
    }

    /// Exactly the same identity: the identifier, or without one the hardware.
    pub(super) fn is(&self, hw: &Hw, id: Option<&[u8]>) -> bool {
        match (self.id, id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, None) => self.hw == *hw,
            _ => false,
        }
    }
}

/// Hashes what the indexes are keyed by. Seeded, so that no client can choose what collides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    first: u64,
    second: u64,
}

impl Keys {
    pub(super) fn new(seed: u64) -> Keys {
        let mix = |n: u64| {
            let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ (n >> 31)
        };
        Keys { first: mix(seed), second: mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) | 1 }
    }

    pub(super) fn address(&self, address: u32) -> u32 {
        self.finish(u64::from(address) ^ self.first)
    }

    pub(super) fn id(&self, network: u32, id: &[u8]) -> u32 {
        self.bytes(u64::from(network) << 16 | 0x100, id)
    }

    pub(super) fn hw(&self, network: u32, hw: &Hw) -> u32 {
        self.bytes(u64::from(network) << 16 | u64::from(hw.htype), hw.addr())
    }

    /// The key of a client's exact identity, as [`Client::is`] compares it.
    pub(super) fn client(&self, network: u32, client: &Client<'_>) -> u32 {
        match client.id {
            Some(id) => self.id(network, id),
            None => self.hw(network, &client.hw),
        }
    }

    fn bytes(&self, tag: u64, bytes: &[u8]) -> u32 {
        let mut state = self.first ^ tag;
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            state = fold(state ^ u64::from_le_bytes(eight), self.second);
        }
        self.finish(state ^ bytes.len() as u64)
    }

    fn finish(&self, state: u64) -> u32 {
        (fold(state, self.second) >> 16) as u32
    }
}

/// Both halves of the product, so that high bits reach low ones.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_shown_as_the_log_has_it() {
        assert_eq!(Hw::new(1, &[0, 0x1b, 0xff, 3, 4, 5]).to_string(), "00:1b:ff:03:04:05");
        assert_eq!(Hw::new(1, &[]).to_string(), "<null>");
        assert_eq!(Hw::new(32, &[0xab; 16]).to_string(), "ab:".repeat(16).trim_end_matches(':'));
        assert_eq!(Hw::new(1, &[1; 20]).addr().len(), 16);
    }

    #[test]
    fn q28_identifiers_of_every_length_are_kept_whole() {
        for len in 0..=300 {
            let id: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let want = (len > 0).then_some(&id[..]);
            assert_eq!(ClientId::new(Some(&id)).get(), want);
        }
        assert_eq!(ClientId::new(None).get(), None);
        assert_eq!(size_of::<ClientId>(), 24);
    }

    #[test]
    fn q23_the_hardware_type_is_part_of_who_one_is() {
        let ethernet = Hw::new(1, &[1; 6]);
        let other = Client { hw: Hw::new(6, &[1; 6]), id: None };
        assert!(!other.same(&ethernet, None));
        assert!(!other.owns(&ethernet, None));
        assert!(!other.is(&ethernet, None));
        let keys = Keys::new(7);
        assert_ne!(keys.hw(0, &ethernet), keys.hw(0, &other.hw));
    }

    #[test]
    fn the_three_rules_of_sameness() {
        let hw = Hw::new(1, &[1; 6]);
        let with = Client { hw, id: Some(b"a") };
        let without = Client { hw, id: None };
        // (same, owns, is) against a lease with hardware and identifier as given
        let rules = |c: &Client<'_>, hw: &Hw, id: Option<&[u8]>| {
            (c.same(hw, id), c.owns(hw, id), c.is(hw, id))
        };
        let strange = Hw::new(1, &[2; 6]);
        assert_eq!(rules(&with, &hw, Some(b"a")), (true, true, true));
        assert_eq!(rules(&with, &strange, Some(b"a")), (true, true, true));
        assert_eq!(rules(&with, &hw, Some(b"b")), (false, false, false));
        assert_eq!(rules(&with, &hw, None), (true, true, false));
        assert_eq!(rules(&with, &strange, None), (false, false, false));
        assert_eq!(rules(&without, &hw, Some(b"a")), (true, false, false));
        assert_eq!(rules(&without, &hw, None), (true, true, true));
        assert_eq!(rules(&without, &strange, None), (false, false, false));
        let nobody = Client { hw: Hw::default(), id: None };
        assert!(!nobody.same(&Hw::default(), None) && !nobody.owns(&Hw::default(), None));
    }
}
