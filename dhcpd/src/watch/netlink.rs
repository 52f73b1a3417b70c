//! What rtnetlink(7) says about links and IPv4 addresses, taken apart. Pure: bytes in, events out.
//!
//! A datagram holds messages, each a header of 16 bytes (length with the header, type, flags,
//! sequence, sender) and a body, padded to four bytes; numbers are in the machine's byte order.

use std::fmt;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct ifinfomsg`: family, type, index, flags, change.
const LINK_BODY: usize = 16;
/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
const ADDRESS_BODY: usize = 8;
/// IFLA_IFNAME.
const IFNAME: u16 = 3;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_OVERRUN: u16 = 4;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

/// One thing the kernel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A link is new, is as it says now, or is gone.
    Link {
        /// The system's index.
        index: u32,
        /// Its name, if it is said.
        name: Option<&'a [u8]>,
        /// Whether it is gone.
        gone: bool,
    },
    /// An interface has an address, or has it no more.
    Address {
        /// The system's index of the interface.
        index: u32,
        /// Whether it is gone.
        gone: bool,
    },
    /// Something was said that is lost, or cannot be read: anything may have changed.
    Lost,
    /// Nothing about links or addresses.
    Other,
}

/// For the log, at its lowest level.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |gone: &bool| if *gone { "gone" } else { "there" };
        match self {
            Event::Link { index, name, gone } => {
                let name = name.unwrap_or(b"?").escape_ascii();
                write!(f, "link {index} ({name}) is {}", state(gone))
            }
            Event::Address { index, gone } => {
                write!(f, "an address of interface {index} is {}", state(gone))
            }
            Event::Lost => f.write_str("messages were lost"),
            Event::Other => f.write_str("something else"),
        }
    }
}

/// The events of a datagram. What does not add up is [`Event::Lost`], and ends it.
pub fn events(datagram: &[u8]) -> impl Iterator<Item = Event<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((message, length)) = first(rest) else {
            rest = &[];
            return Some(Event::Lost);
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(event(message).unwrap_or(Event::Lost))
    })
}

/// The first message, and its length.
fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    (length >= HEADER).then_some(())?;
    Some((bytes.get(..length)?, length))
}

fn event(message: &[u8]) -> Option<Event<'_>> {
    let kind = u16_at(message, 4)?;
    let body = message.get(HEADER..)?;
    Some(match kind {
        RTM_NEWLINK | RTM_DELLINK => Event::Link {
            index: u32_at(body, 4)?,
            name: attribute(body.get(LINK_BODY..)?, IFNAME).map(until_zero),
            gone: kind == RTM_DELLINK,
        },
        RTM_NEWADDR | RTM_DELADDR => {
            let index = u32_at(body.get(..ADDRESS_BODY)?, 4)?;
            Event::Address { index, gone: kind == RTM_DELADDR }
        }
        NLMSG_ERROR | NLMSG_OVERRUN => Event::Lost,
        NLMSG_NOOP.. => Event::Other,
        0 => return None,
    })
}

/// The value of the first attribute of a kind. Each has a length with its header, and its kind.
fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(4..length)?;
        if u16_at(rest, 2)? == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = HEADER + body.len();
        let mut bytes = Vec::from((length as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    fn link(kind: u16, index: u32, name: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 1, 0];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        // Another attribute, not of a multiple of four bytes, and then the name.
        body.extend([5u16.to_ne_bytes(), 7u16.to_ne_bytes()].concat());
        body.extend([9, 0, 0, 0]);
        body.extend((4 + name.len() as u16 + 1).to_ne_bytes());
        body.extend(IFNAME.to_ne_bytes());
        body.extend(name);
        body.push(0);
        message(kind, &body)
    }

    #[test]
    fn the_numbers_are_the_systems() {
        #[cfg(target_os = "linux")]
        assert_eq!(
            (RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, IFNAME),
            (
                libc::RTM_NEWLINK,
                libc::RTM_DELLINK,
                libc::RTM_NEWADDR,
                libc::RTM_DELADDR,
                libc::IFLA_IFNAME
            )
        );
    }

    #[test]
    fn links_and_addresses_are_told_apart_in_one_datagram() {
        let mut address = vec![2, 24, 0, 0];
        address.extend(7u32.to_ne_bytes());
        let datagram = [
            link(RTM_NEWLINK, 7, b"em0"),
            message(RTM_NEWADDR, &address),
            message(24, b"a route"),
            message(RTM_DELADDR, &address),
            link(RTM_DELLINK, 7, b"em0"),
            message(NLMSG_OVERRUN, &[]),
        ]
        .concat();
        let all: Vec<Event<'_>> = events(&datagram).collect();
        let em0 = Some(&b"em0"[..]);
        assert_eq!(
            all,
            [
                Event::Link { index: 7, name: em0, gone: false },
                Event::Address { index: 7, gone: false },
                Event::Other,
                Event::Address { index: 7, gone: true },
                Event::Link { index: 7, name: em0, gone: true },
                Event::Lost,
            ]
        );
        assert_eq!(all[0].to_string(), "link 7 (em0) is there");
    }

    #[test]
    fn what_does_not_add_up_counts_as_lost() {
        let whole = link(RTM_NEWLINK, 7, b"em0");
        for end in 1..whole.len() - 1 {
            assert_eq!(events(&whole[..end]).collect::<Vec<_>>(), [Event::Lost], "{end}");
        }
        assert_eq!(events(&message(RTM_NEWADDR, &[2; 7])).collect::<Vec<_>>(), [Event::Lost]);
        assert_eq!(events(&[0; 64]).collect::<Vec<_>>(), [Event::Lost]);
        assert_eq!(events(&[]).count(), 0);
    }

    proptest! {
        #[test]
        fn random_bytes_neither_panic_nor_loop(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            length in 0u32..80,
            kind in 0u16..24,
        ) {
            if let Some(head) = bytes.get_mut(..6) {
                head[..4].copy_from_slice(&length.to_ne_bytes());
                head[4..].copy_from_slice(&kind.to_ne_bytes());
            }
            prop_assert!(events(&bytes).count() <= bytes.len());
            events(&bytes).for_each(|event| drop(event.to_string()));
        }
    }
}
