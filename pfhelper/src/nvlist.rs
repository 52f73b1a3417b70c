//! FreeBSD's packed nv(9) lists, as far as a request to pf needs them: numbers, texts, bytes and
//! lists in lists, written and not read.
//!
//! Pure, so that it is tested where no FreeBSD is. A list is a header and pairs; a pair is a
//! header, a name with its zero, and a value. The header of an inner list says how many bytes
//! follow in all of the outermost one, and a pair without a name ends it.

/// Bytes of a list's header: magic, version, flags, descriptors (u64), size (u64).
const LIST: usize = 19;
const MAGIC: u8 = b'l';
/// In the flags: numbers are in network order.
const BIG_ENDIAN: u8 = if cfg!(target_endian = "big") { 0x80 } else { 0 };

const BOOL: u8 = 2;
const NUMBER: u8 = 3;
const STRING: u8 = 4;
const LIST_PAIR: u8 = 5;
const BINARY: u8 = 7;
const NUMBER_ARRAY: u8 = 9;
const UP: u8 = 255;

/// A list under construction.
#[derive(Debug)]
pub struct Packer {
    bytes: Vec<u8>,
    /// Where headers of lists are.
    lists: Vec<usize>,
}

impl Packer {
    /// An empty outermost list.
    pub fn new() -> Self {
        let mut packer = Packer { bytes: Vec::new(), lists: Vec::new() };
        packer.list_header();
        packer
    }

    /// Yes or no.
    pub fn bool(&mut self, name: &str, value: bool) {
        self.pair(BOOL, name, &[u8::from(value)], 0);
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.pair(NUMBER, name, &value.to_ne_bytes(), 0);
    }

    /// A row of numbers, which must not be empty.
    pub fn numbers(&mut self, name: &str, values: &[u64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        self.pair(NUMBER_ARRAY, name, &bytes, values.len());
    }

    /// A text, which must hold no zero.
    pub fn text(&mut self, name: &str, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.pair(STRING, name, &bytes, 0);
    }

    /// Bytes, which must not be none.
    pub fn binary(&mut self, name: &str, value: &[u8]) {
        self.pair(BINARY, name, value, 0);
    }

    /// A list in the list: what `fill` puts into it.
    pub fn list(&mut self, name: &str, fill: impl FnOnce(&mut Packer)) {
        let pair = self.bytes.len();
        self.pair(LIST_PAIR, name, &[], 0);
        let start = self.bytes.len();
        self.list_header();
        fill(self);
        let size = (self.bytes.len() - start) as u64;
        if let Some(field) = self.bytes.get_mut(pair + 3..pair + 11) {
            field.copy_from_slice(&size.to_ne_bytes());
        }
        self.pair(UP, "", &[], 0);
    }

    /// The packed list.
    pub fn finish(mut self) -> Vec<u8> {
        let end = self.bytes.len();
        for start in self.lists {
            let left = (end - start - LIST) as u64;
            if let Some(field) = self.bytes.get_mut(start + 11..start + LIST) {
                field.copy_from_slice(&left.to_ne_bytes());
            }
        }
        self.bytes
    }

    fn list_header(&mut self) {
        self.lists.push(self.bytes.len());
        self.bytes.extend_from_slice(&[MAGIC, 0, BIG_ENDIAN]);
        self.bytes.extend_from_slice(&[0; 16]);
    }

    fn pair(&mut self, kind: u8, name: &str, value: &[u8], items: usize) {
        let name_size = u16::try_from(name.len() + 1).unwrap_or(u16::MAX);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&name_size.to_ne_bytes());
        self.bytes.extend_from_slice(&(value.len() as u64).to_ne_bytes());
        self.bytes.extend_from_slice(&(items as u64).to_ne_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.bytes.extend_from_slice(value);
    }
}

/// FreeBSD's request to kill states, for DIOCKILLSTATESNV.
///
/// States of every protocol that go from the address or (`to`) to it.
pub fn state_kill(address: std::net::Ipv4Addr, to: bool) -> Vec<u8> {
    let mut packer = Packer::new();
    packer.list("cmp", |cmp| {
        cmp.number("id", 0);
        cmp.number("creatorid", 0);
        cmp.number("direction", 0);
    });
    packer.number("af", 2);
    packer.number("proto", 0);
    for (name, this) in [("src", !to), ("dst", to)] {
        let (address, mask) = if this { (address.octets(), [0xff; 4]) } else { ([0; 4], [0; 4]) };
        packer.list(name, |end| {
            end.list("addr", |wrap| {
                wrap.number("type", 0);
                wrap.number("iflags", 0);
                for (name, four) in [("addr", address), ("mask", mask)] {
                    let mut sixteen = [0; 16];
                    sixteen[..4].copy_from_slice(&four);
                    wrap.list(name, |bytes| bytes.binary("addr", &sixteen));
                }
            });
            end.numbers("port", &[0, 0]);
            end.number("neg", 0);
            end.number("port_op", 0);
        });
    }
    packer.text("ifname", "");
    packer.text("label", "");
    packer.bool("kill_match", false);
    packer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What a reader that follows libnv's rules makes of it: `path=value`, in order.
    fn read(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut path: Vec<String> = Vec::new();
        let mut left = list_header(bytes);
        while !left.is_empty() {
            let number = |at: usize| u64::from_ne_bytes(left[at..at + 8].try_into().unwrap());
            let kind = left[0];
            let name_size = usize::from(u16::from_ne_bytes([left[1], left[2]]));
            let size = usize::try_from(number(3)).unwrap();
            let (name, rest) = left[19..].split_at(name_size);
            let name = std::str::from_utf8(name.strip_suffix(b"\0").unwrap()).unwrap();
            left = rest;
            match kind {
                UP => {
                    assert_eq!((name, size), ("", 0));
                    path.pop().expect("an inner list");
                }
                LIST_PAIR => {
                    assert!(size >= LIST && size <= left.len());
                    path.push(name.to_owned());
                    left = list_header(left);
                }
                _ => {
                    let (value, rest) = left.split_at(size);
                    let full = path.iter().map(String::as_str).chain([name]);
                    found.insert(full.collect::<Vec<_>>().join("."), value.to_vec());
                    left = rest;
                }
            }
        }
        assert!(path.is_empty());
        found
    }

    /// libnv wants every list to claim all that is left.
    fn list_header(bytes: &[u8]) -> &[u8] {
        assert_eq!(bytes[..3], [0x6c, 0, BIG_ENDIAN]);
        let size = u64::from_ne_bytes(bytes[11..19].try_into().unwrap());
        assert_eq!(usize::try_from(size).unwrap(), bytes.len() - LIST);
        &bytes[LIST..]
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn one_number_byte_by_byte() {
        let mut packer = Packer::new();
        packer.number("af", 2);
        let mut expected = vec![0x6c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend_from_slice(&[30, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[3, 3, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(b"af\0");
        expected.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(packer.finish(), expected);
    }

    #[test]
    fn a_request_has_all_that_pf_asks_for() {
        let address = std::net::Ipv4Addr::new(10, 1, 2, 3);
        let found = read(&state_kill(address, true));
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        let ends = ["src", "dst"].map(|end| {
            ["addr.addr.addr", "addr.iflags", "addr.mask.addr", "addr.type"]
                .into_iter()
                .chain(["neg", "port", "port_op"])
                .map(move |name| format!("{end}.{name}"))
        });
        let mut expected: Vec<String> = ends.into_iter().flatten().collect();
        let others = ["af", "cmp.creatorid", "cmp.direction", "cmp.id", "ifname", "kill_match"];
        expected.extend(others.iter().chain(&["label", "proto"]).map(|name| (*name).to_owned()));
        expected.sort();
        assert_eq!(names, expected);
        assert_eq!(found["dst.addr.addr.addr"][..5], [10, 1, 2, 3, 0]);
        assert_eq!(found["dst.addr.mask.addr"][..5], [255, 255, 255, 255, 0]);
        assert_eq!(found["src.addr.mask.addr"], [0; 16]);
        assert_eq!(found["dst.port"], [0; 16]);
        assert_eq!(found["af"], 2u64.to_ne_bytes());
        let found = read(&state_kill(address, false));
        assert_eq!(found["src.addr.addr.addr"][..5], [10, 1, 2, 3, 0]);
        assert_eq!(found["dst.addr.mask.addr"], [0; 16]);
    }
}
