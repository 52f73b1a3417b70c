//! Datagrams of our own form: authenticated, numbered, and carrying whole leases.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | 0x74: no version that OpenBSD's dhcpd knows |
//! | 1 | 1 | version of this form, 1 |
//! | 2 | 2 | length of it all |
//! | 4 | 1 | kind |
//! | 5 | 3 | zeros |
//! | 8 | 8 | epoch: a number that this run of the sender has chosen by chance |
//! | 16 | 8 | sequence number in that epoch, from 1 |
//! | 24 | 32 | HMAC-SHA-256 of it all, with zeros here |
//! | 56 | | what the kind says |
//!
//! All big-endian. Kinds:
//!
//! 1. Hello: the sender's time (8, seconds since 1970), the digest of all its leases (8), how many
//!    they are (4), and of each server that it has heard lately: epoch (8), the highest sequence number
//!    it has had from there (8), and which of the 1024 up to that it has had (128; the least bit of
//!    the first 8 bytes is the highest number). Sent every second.
//! 2. Leases: `record`s.
//! 3. Digests: a prefix (address 4, length 1), the first and the last child that this is about
//!    (2 each), and for each of these children that has leases its number (2) and digest (8). The
//!    children of /0 are /16s, of a /16 /22s, of a /22 /28s.
//! 4. Wanted: prefixes (5 each) whose leases the sender asks for.

use super::LONGEST;
use super::hmac::{hmac, same};
use super::peers::Window;
use super::record::take;
use sha2::Sha256;

const MAGIC: u8 = 0x74;
const VERSION: u8 = 1;
/// What comes before the contents.
pub const HEADER: usize = 56;
const HMAC: std::ops::Range<usize> = 24..56;
/// Room for contents.
pub const ROOM: usize = LONGEST - HEADER;
/// The most children in one datagram of digests.
pub const MOST_CHILDREN: usize = (ROOM - 9) / 10;
/// The most prefixes in one datagram.
pub const MOST_WANTED: usize = ROOM / 5;
/// The most servers that a hello names.
pub const MOST_HEARD: usize = 8;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sender is there.
    Hello,
    /// Leases as the sender has them.
    Leases,
    /// What the sender has, in short.
    Digests,
    /// What the sender wants to be told.
    Wanted,
}

/// Addresses with the same first bits: 0, 16, 22, 28 or all 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The first address.
    pub first: u32,
    /// How many bits are fixed.
    pub length: u8,
}

impl Prefix {
    /// All addresses.
    pub const ALL: Prefix = Prefix { first: 0, length: 0 };

    /// The last address.
    pub fn last(self) -> u32 {
        self.first | u32::MAX.checked_shr(self.length.into()).unwrap_or(0)
    }

    /// How long the prefixes of its children are; `None` for one that has addresses instead.
    pub fn child_length(self) -> Option<u8> {
        match self.length {
            0 => Some(16),
            16 => Some(22),
            22 => Some(28),
            _ => None,
        }
    }

    /// A child by its number.
    pub fn child(self, number: u16) -> Option<Prefix> {
        let length = self.child_length()?;
        if u32::from(number) >> (length - self.length) != 0 {
            return None;
        }
        Some(Prefix { first: self.first | u32::from(number) << (32 - length), length })
    }

    fn is_valid(self) -> bool {
        let rest = self.last() ^ self.first;
        matches!(self.length, 0 | 16 | 22 | 28 | 32) && self.first & rest == 0
    }
}

/// Contents of [`Kind::Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's clock.
    pub wall: i64,
    /// Of all its leases.
    pub digest: u64,
    /// How many they are.
    pub count: u32,
    /// Whom it hears.
    pub heard: Vec<Heard>,
}

/// What a server has had from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The other's epoch.
    pub epoch: u64,
    /// Which of its datagrams.
    pub window: Window,
}

/// Contents of [`Kind::Digests`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Whose children.
    pub prefix: Prefix,
    /// From this child on.
    pub first: u16,
    /// Up to this one. What is not listed in between has no leases.
    pub last: u16,
    /// Number and digest.
    pub children: Vec<(u16, u64)>,
}

/// A datagram that is what its sender sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// What it is.
    pub kind: Kind,
    /// Who sent it.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// What it says.
    pub contents: &'a [u8],
}

/// Whether a datagram is of this form, whoever made it.
pub fn is_own(datagram: &[u8]) -> bool {
    datagram.first() == Some(&MAGIC)
}

/// Appends a datagram.
pub fn encode(datagram: &Datagram<'_>, key: &[u8; 32], out: &mut Vec<u8>) {
    let Datagram { kind, epoch, sequence, contents } = *datagram;
    let start = out.len();
    let number = match kind {
        Kind::Hello => 1,
        Kind::Leases => 2,
        Kind::Digests => 3,
        Kind::Wanted => 4,
    };
    out.extend([MAGIC, VERSION]);
    out.extend(((HEADER + contents.len()) as u16).to_be_bytes());
    out.extend([number, 0, 0, 0]);
    out.extend(epoch.to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.extend([0; 32]);
    out.extend_from_slice(contents);
    let all = out.get_mut(start..).unwrap_or_default();
    let code = hmac::<Sha256>(key, &[all]);
    if let Some(place) = all.get_mut(HMAC) {
        place.copy_from_slice(&code);
    }
}

/// Takes a datagram apart; `None` for one that nobody with the key has made.
pub fn decode<'a>(datagram: &'a [u8], key: &[u8; 32]) -> Option<Datagram<'a>> {
    let (header, contents) = datagram.split_at_checked(HEADER)?;
    let mut rest = header;
    let [MAGIC, VERSION, long, short, number, 0, 0, 0] = *take(&mut rest, 8)? else { return None };
    let mut number64 = || Some(u64::from_be_bytes(take(&mut rest, 8)?.try_into().ok()?));
    let (epoch, sequence) = (number64()?, number64()?);
    if usize::from(u16::from_be_bytes([long, short])) != datagram.len() {
        return None;
    }
    let code = hmac::<Sha256>(key, &[&header[..HMAC.start], &[0; 32], contents]);
    if !same(&code, &header[HMAC]) {
        return None;
    }
    let kind = match number {
        1 => Kind::Hello,
        2 => Kind::Leases,
        3 => Kind::Digests,
        4 => Kind::Wanted,
        _ => return None,
    };
    Some(Datagram { kind, epoch, sequence, contents })
}

impl Hello {
    /// Appends the contents.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.wall.to_be_bytes());
        out.extend(self.digest.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        for Heard { epoch, window } in self.heard.iter().take(MOST_HEARD) {
            for number in [epoch, &window.highest].into_iter().chain(&window.seen) {
                out.extend(number.to_be_bytes());
            }
        }
    }

    /// Reads them.
    pub fn decode(mut bytes: &[u8]) -> Option<Hello> {
        let wall = i64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?);
        let digest = u64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?);
        let count = u32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?);
        let mut heard = Vec::new();
        while !bytes.is_empty() && heard.len() < MOST_HEARD {
            let mut number = || Some(u64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?));
            let (epoch, highest) = (number()?, number()?);
            let mut seen = [0; 16];
            for word in &mut seen {
                *word = number()?;
            }
            heard.push(Heard { epoch, window: Window { highest, seen } });
        }
        bytes.is_empty().then_some(Hello { wall, digest, count, heard })
    }
}

fn encode_prefix(prefix: Prefix, out: &mut Vec<u8>) {
    out.extend(prefix.first.to_be_bytes());
    out.push(prefix.length);
}

fn decode_prefix(bytes: &mut &[u8]) -> Option<Prefix> {
    let first = u32::from_be_bytes(take(bytes, 4)?.try_into().ok()?);
    let [length] = *take(bytes, 1)? else { return None };
    Some(Prefix { first, length }).filter(|prefix| prefix.is_valid())
}

impl Digests {
    /// Appends the contents.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_prefix(self.prefix, out);
        out.extend(self.first.to_be_bytes());
        out.extend(self.last.to_be_bytes());
        for (number, digest) in &self.children {
            out.extend(number.to_be_bytes());
            out.extend(digest.to_be_bytes());
        }
    }

    /// Reads them. Children ascend.
    pub fn decode(mut bytes: &[u8]) -> Option<Digests> {
        let prefix = decode_prefix(&mut bytes)?;
        let number = |bytes: &mut &[u8]| Some(u16::from_be_bytes(take(bytes, 2)?.try_into().ok()?));
        let (first, last) = (number(&mut bytes)?, number(&mut bytes)?);
        let mut children: Vec<(u16, u64)> = Vec::new();
        while !bytes.is_empty() {
            let child = number(&mut bytes)?;
            let digest = u64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?);
            let after = children.last().is_none_or(|(before, _)| *before < child);
            if !after || !(first..=last).contains(&child) {
                return None;
            }
            children.push((child, digest));
        }
        prefix.child(first)?;
        prefix.child(last)?;
        Some(Digests { prefix, first, last, children })
    }
}

/// Appends the contents of [`Kind::Wanted`].
pub fn encode_wanted(wanted: &[Prefix], out: &mut Vec<u8>) {
    wanted.iter().take(MOST_WANTED).for_each(|prefix| encode_prefix(*prefix, out));
}

/// Reads them.
pub fn decode_wanted(mut bytes: &[u8]) -> Option<Vec<Prefix>> {
    let mut wanted = Vec::new();
    while !bytes.is_empty() {
        wanted.push(decode_prefix(&mut bytes)?);
    }
    Some(wanted)
}
