//! Netlink messages as bytes: headers, attributes and nests, written and taken apart.
//!
//! Pure. Layout as in netlink(7) and linux/netfilter/nfnetlink.h: headers and attribute lengths in
//! the machine's byte order, values of netfilter in network order. Nothing that is read is
//! trusted: a length that lies ends the walk with [`Malformed`], and nothing panics.

use std::fmt;

/// Bytes of `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// Bytes of `struct nfgenmsg`, which follows the header in every message of netfilter.
const FAMILY_HEADER: usize = 4;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// NLA_F_NESTED: the attribute holds attributes.
const NESTED: u16 = 1 << 15;
/// NLA_TYPE_MASK: without the flags for nested and network byte order.
const TYPE_MASK: u16 = 0x3fff;

/// NLM_F_REQUEST
pub const REQUEST: u16 = 1;
/// NLM_F_ACK
pub const ACK: u16 = 4;
/// NLM_F_DUMP_INTR: the list changed while it was told.
pub const DUMP_INTERRUPTED: u16 = 0x10;
/// NLM_F_DUMP
pub const DUMP: u16 = 0x300;
/// NLM_F_CREATE
pub const CREATE: u16 = 0x400;
/// NLM_F_CAPPED: an error quotes only the header of the message it is about.
const CAPPED: u16 = 0x100;
/// NLM_F_ACK_TLVS: attributes follow in an error.
const ACK_TLVS: u16 = 0x200;

/// NLMSG_ERROR, also an acknowledgement
const ERROR: u16 = 2;
/// NLMSG_DONE
const DONE: u16 = 3;

/// NLMSGERR_ATTR_MSG
const ERROR_TEXT: u16 = 1;

/// What came is not what the kernel would have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel's answer is malformed")
    }
}

/// Messages to be sent, one after the other.
#[derive(Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
}

/// Where something begins whose length is not known yet.
#[derive(Debug)]
#[must_use]
pub struct Open(usize);

impl Request {
    /// Begins a message of netfilter: header and `struct nfgenmsg`.
    pub fn message(&mut self, kind: u16, flags: u16, seq: u32, family: u8, resource: u16) -> Open {
        let open = Open(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        open
    }

    /// Ends it: its length is known now.
    pub fn end_message(&mut self, open: Open) {
        let length = self.bytes.len() - open.0;
        if let Some(field) = self.bytes.get_mut(open.0..open.0 + 4) {
            field.copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        }
    }

    /// Begins an attribute that holds attributes.
    pub fn nest(&mut self, kind: u16) -> Open {
        let open = Open(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        open
    }

    /// Ends it. Who fills a nest keeps it under 64 KiB: its length is two bytes.
    pub fn end_nest(&mut self, open: Open) {
        let length = self.bytes.len() - open.0;
        debug_assert!(length <= usize::from(u16::MAX));
        if let Some(field) = self.bytes.get_mut(open.0..open.0 + 2) {
            field.copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        }
    }

    /// An attribute with a value of any bytes.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    /// Attributes that are bytes already, as they were read from a nest.
    pub fn put_raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    /// A text and its zero.
    pub fn put_text(&mut self, kind: u16, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.put(kind, &value);
    }

    /// The messages.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One message that came.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its type: the subsystem's number in the high byte for netfilter.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// Which request it answers.
    pub seq: u32,
    body: &'a [u8],
}

/// What a message says, seen as netlink itself sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The request was carried out.
    Done,
    /// It was not.
    Failed {
        /// A number of errno(3), above zero.
        errno: i32,
        /// What the kernel has to add, where it has.
        text: Option<&'a str>,
    },
    /// Something that was asked for.
    Data,
}

impl<'a> Message<'a> {
    /// Answer, end or error.
    pub fn meaning(&self) -> Result<Meaning<'a>, Malformed> {
        let errno = || self.body.first_chunk::<4>().map(|b| i32::from_ne_bytes(*b));
        match self.kind {
            ERROR => match errno().ok_or(Malformed)? {
                0 => Ok(Meaning::Done),
                n => Ok(Meaning::Failed {
                    errno: n.checked_neg().ok_or(Malformed)?,
                    text: self.text(),
                }),
            },
            // The end of a list has an error too, where the list could not be told to its end.
            DONE => match errno().unwrap_or(0) {
                0 => Ok(Meaning::Done),
                n => Ok(Meaning::Failed { errno: n.checked_neg().ok_or(Malformed)?, text: None }),
            },
            _ => Ok(Meaning::Data),
        }
    }

    /// The text that goes with an error (extended acknowledgements).
    fn text(&self) -> Option<&'a str> {
        if self.flags & ACK_TLVS == 0 {
            return None;
        }
        let quoted = self.body.get(4..8).and_then(|b| b.first_chunk::<4>());
        let quoted = usize::try_from(u32::from_ne_bytes(*quoted?)).ok()?;
        let skip = if self.flags & CAPPED == 0 { align(quoted) } else { HEADER };
        let rest = self.body.get(4usize.checked_add(skip)?..)?;
        let text = Attributes::new(rest).find(ERROR_TEXT).ok()??;
        std::str::from_utf8(text.strip_suffix(b"\0").unwrap_or(text)).ok()
    }

    /// The attributes behind `struct nfgenmsg`.
    pub fn attributes(&self) -> Result<Attributes<'a>, Malformed> {
        self.body.get(FAMILY_HEADER..).map(Attributes::new).ok_or(Malformed)
    }
}

/// The messages of one datagram.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    left: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Begins at the first.
    pub fn new(datagram: &'a [u8]) -> Self {
        Messages { left: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let message = split_message(self.left);
        self.left = message.as_ref().map_or(&[], |(_, rest)| *rest);
        Some(message.map(|(message, _)| message).ok_or(Malformed))
    }
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *bytes else {
        return None;
    };
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
    let message = Message {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        seq: u32::from_ne_bytes([s0, s1, s2, s3]),
        body: bytes.get(HEADER..length)?,
    };
    Some((message, bytes.get(align(length)..).unwrap_or(&[])))
}

/// The attributes of a message or of a nest.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    left: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Begins at the first.
    pub fn new(bytes: &'a [u8]) -> Self {
        Attributes { left: bytes }
    }

    /// The value of the first attribute of this type; nothing after it is looked at.
    pub fn find(self, kind: u16) -> Result<Option<&'a [u8]>, Malformed> {
        for attribute in self {
            let (found, value) = attribute?;
            if found == kind {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The attributes inside the first nest of this type; none if there is no such nest.
    pub fn nest(self, kind: u16) -> Result<Attributes<'a>, Malformed> {
        Ok(Attributes::new(self.find(kind)?.unwrap_or(&[])))
    }

    /// A number of four bytes in network order.
    pub fn u32(self, kind: u16) -> Result<Option<u32>, Malformed> {
        self.number(kind).map(|n| n.map(u32::from_be_bytes))
    }

    /// A number of eight bytes in network order.
    pub fn u64(self, kind: u16) -> Result<Option<u64>, Malformed> {
        self.number(kind).map(|n| n.map(u64::from_be_bytes))
    }

    fn number<const N: usize>(self, kind: u16) -> Result<Option<[u8; N]>, Malformed> {
        match self.find(kind)? {
            None => Ok(None),
            Some(value) => value.try_into().map(Some).map_err(|_| Malformed),
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let attribute = split_attribute(self.left);
        self.left = attribute.map_or(&[], |(_, _, rest)| rest);
        Some(attribute.map(|(kind, value, _)| (kind, value)).ok_or(Malformed))
    }
}

fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [l0, l1, k0, k1, ..] = *bytes else {
        return None;
    };
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let value = bytes.get(ATTRIBUTE..length)?;
    let rest = bytes.get(align(length)..).unwrap_or(&[]);
    Some((u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value, rest))
}

/// The next multiple of four. Lengths here are those of slices or fit 32 bits, far from the end.
fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of the kernel: header and body.
    fn sent(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&7u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(body);
        bytes
    }

    fn only(bytes: &[u8]) -> Message<'_> {
        let mut messages = Messages::new(bytes);
        let message = messages.next().unwrap().unwrap();
        assert!(messages.next().is_none());
        message
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut request = Request::default();
        for seq in [7, 8] {
            let message = request.message(0x0a0c, ACK, seq, 2, 0);
            request.put_text(1, "abc");
            let nest = request.nest(2);
            request.put(1, &[1, 2, 3, 4, 5]);
            request.put(2, &42u64.to_be_bytes());
            request.end_nest(nest);
            request.put(3, &6u32.to_be_bytes());
            request.end_message(message);
        }
        let messages: Vec<_> = Messages::new(request.bytes()).map(Result::unwrap).collect();
        assert_eq!(messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [7, 8]);
        let message = messages[1];
        assert_eq!((message.kind, message.flags), (0x0a0c, REQUEST | ACK));
        let attributes = message.attributes().unwrap();
        assert_eq!(attributes.clone().find(1), Ok(Some(&b"abc\0"[..])));
        assert_eq!(attributes.clone().u32(3), Ok(Some(6)));
        let nest = attributes.clone().nest(2).unwrap();
        assert_eq!(nest.clone().find(1), Ok(Some(&[1, 2, 3, 4, 5][..])));
        assert_eq!(nest.u64(2), Ok(Some(42)));
        assert_eq!(attributes.clone().u64(3), Err(Malformed));
        assert_eq!(attributes.u32(9), Ok(None));
    }

    #[test]
    fn an_acknowledgement_an_error_and_an_end_are_told_apart() {
        let ack = sent(ERROR, 0, &[0; 20]);
        assert_eq!(only(&ack).meaning(), Ok(Meaning::Done));
        let mut body = (-libc::ENOENT).to_ne_bytes().to_vec();
        body.extend_from_slice(&[0; HEADER]);
        let error = sent(ERROR, CAPPED, &body);
        let meaning = Meaning::Failed { errno: libc::ENOENT, text: None };
        assert_eq!(only(&error).meaning(), Ok(meaning));
        assert_eq!(only(&sent(DONE, 0, &[])).meaning(), Ok(Meaning::Done));
        let end = sent(DONE, 0, &(-libc::EINTR).to_ne_bytes());
        let meaning = Meaning::Failed { errno: libc::EINTR, text: None };
        assert_eq!(only(&end).meaning(), Ok(meaning));
        assert_eq!(only(&sent(0x0a0c, 0, &[0; 4])).meaning(), Ok(Meaning::Data));
    }

    #[test]
    fn the_text_of_an_error_is_found_behind_what_it_quotes() {
        for (flags, quoted) in [(CAPPED, HEADER), (0, 36)] {
            let mut body = (-1i32).to_ne_bytes().to_vec();
            body.extend_from_slice(&36u32.to_ne_bytes());
            body.resize(4 + quoted, 0);
            let mut attributes = Request::default();
            attributes.put_text(ERROR_TEXT, "no");
            body.extend_from_slice(attributes.bytes());
            let error = sent(ERROR, flags | ACK_TLVS, &body);
            let meaning = Meaning::Failed { errno: 1, text: Some("no") };
            assert_eq!(only(&error).meaning(), Ok(meaning));
        }
    }

    #[test]
    fn a_length_that_lies_ends_the_walk() {
        let mut bytes = sent(0x0a0c, 0, &[0, 0, 0, 0, 200, 0, 1, 0]);
        assert_eq!(only(&bytes).attributes().unwrap().find(1), Err(Malformed));
        bytes[0] = 200;
        assert_eq!(Messages::new(&bytes).next().unwrap().err(), Some(Malformed));
        bytes[0] = 3;
        assert_eq!(Messages::new(&bytes).next().unwrap().err(), Some(Malformed));
        assert_eq!(Messages::new(&bytes).count(), 1);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, length in 0u32..64, flags: u16, kind in 0u16..5) {
            let mut framed = length.to_ne_bytes().to_vec();
            framed.extend_from_slice(&kind.to_ne_bytes());
            framed.extend_from_slice(&flags.to_ne_bytes());
            framed.extend_from_slice(&bytes);
            for bytes in [&bytes, &framed] {
                for message in Messages::new(bytes).flatten() {
                    let _ = message.meaning();
                    if let Ok(attributes) = message.attributes() {
                        for (_, value) in attributes.flatten() {
                            let _ = Attributes::new(value).count();
                        }
                    }
                }
            }
        }
    }
}
