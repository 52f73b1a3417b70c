//! What is said to conntrack over netlink: entries listed, and those of an address deleted.
//!
//! Pure. Numbers from linux/netfilter/nfnetlink_conntrack.h. An entry has two tuples, original and
//! reply, each with a source and a destination; translation of addresses makes all four differ, so
//! an address is looked for in all four.

use std::net::Ipv4Addr;

use crate::nlmsg::{Attributes, DUMP, Malformed, Message, Request};

/// NFNL_SUBSYS_CTNETLINK, the high byte of a message's type
const CTNETLINK: u16 = 1 << 8;
const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const CT_GET_STATS: u16 = 5;

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const IP_V4_SRC: u16 = 1;
const IP_V4_DST: u16 = 2;
const FILTER_ORIG_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// CTA_FILTER_F_CTA_IP_SRC and _DST
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 2;

/// NFPROTO_IPV4
const IPV4: u8 = 2;

/// Asks how many entries there are.
pub fn get_statistics(out: &mut Request, seq: u32) {
    let message = out.message(CTNETLINK | CT_GET_STATS, 0, seq, IPV4, 0);
    out.end_message(message);
}

/// One of the four places in an entry where an address can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Who spoke first.
    OriginalSource,
    /// To whom.
    OriginalDestination,
    /// Who answers.
    ReplySource,
    /// To whom.
    ReplyDestination,
}

/// All of them.
pub const PLACES: [Place; 4] = [
    Place::OriginalSource,
    Place::OriginalDestination,
    Place::ReplySource,
    Place::ReplyDestination,
];

/// Asks for every IPv4 entry, or for those with an address at one place.
///
/// A kernel before 5.8 does not know the filter and tells them all: look at what comes.
pub fn list(out: &mut Request, seq: u32, only: Option<(Place, Ipv4Addr)>) {
    let message = out.message(CTNETLINK | CT_GET, DUMP, seq, IPV4, 0);
    if let Some((place, address)) = only {
        let (tuple, flags, end, bit) = match place {
            Place::OriginalSource => (TUPLE_ORIG, FILTER_ORIG_FLAGS, IP_V4_SRC, BY_SOURCE),
            Place::OriginalDestination => {
                (TUPLE_ORIG, FILTER_ORIG_FLAGS, IP_V4_DST, BY_DESTINATION)
            }
            Place::ReplySource => (TUPLE_REPLY, FILTER_REPLY_FLAGS, IP_V4_SRC, BY_SOURCE),
            Place::ReplyDestination => (TUPLE_REPLY, FILTER_REPLY_FLAGS, IP_V4_DST, BY_DESTINATION),
        };
        let tuple = out.nest(tuple);
        let ip = out.nest(TUPLE_IP);
        out.put(end, &address.octets());
        out.end_nest(ip);
        out.end_nest(tuple);
        let filter = out.nest(FILTER);
        // The one number of conntrack that is in the machine's byte order.
        out.put(flags, &bit.to_ne_bytes());
        out.end_nest(filter);
    }
    out.end_message(message);
}

/// One entry as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The four addresses, in the order of [`PLACES`].
    pub addresses: [Ipv4Addr; 4],
    original: &'a [u8],
    zone: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
}

/// Reads one message of the answer to [`list`]. `None`: not an IPv4 entry.
pub fn parse<'a>(message: &Message<'a>) -> Result<Option<Entry<'a>>, Malformed> {
    let attributes = message.attributes()?;
    let original = attributes.clone().find(TUPLE_ORIG)?.ok_or(Malformed)?;
    let reply = attributes.clone().find(TUPLE_REPLY)?.ok_or(Malformed)?;
    let (Some([from, to]), Some([answer_from, answer_to])) = (ends(original)?, ends(reply)?) else {
        return Ok(None);
    };
    Ok(Some(Entry {
        addresses: [from, to, answer_from, answer_to],
        original,
        zone: attributes.clone().find(ZONE)?,
        id: attributes.find(ID)?,
    }))
}

/// Asks for this one entry to be deleted: by its tuple, and by its number where it has one, so
/// that an entry made in the meantime is not hit.
pub fn delete(out: &mut Request, seq: u32, entry: &Entry<'_>) {
    let message = out.message(CTNETLINK | CT_DELETE, 0, seq, IPV4, 0);
    let tuple = out.nest(TUPLE_ORIG);
    out.put_raw(entry.original);
    out.end_nest(tuple);
    if let Some(zone) = entry.zone {
        out.put(ZONE, zone);
    }
    if let Some(id) = entry.id {
        out.put(ID, id);
    }
    out.end_message(message);
}

fn ends(tuple: &[u8]) -> Result<Option<[Ipv4Addr; 2]>, Malformed> {
    let ip = Attributes::new(tuple).nest(TUPLE_IP)?;
    let address = |kind| -> Result<Option<Ipv4Addr>, Malformed> {
        // Addresses are numbers in network order, like all others.
        Ok(ip.clone().u32(kind)?.map(Ipv4Addr::from))
    };
    Ok(address(IP_V4_SRC)?.zip(address(IP_V4_DST)?).map(<[Ipv4Addr; 2]>::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlmsg::Messages;
    use proptest::prelude::*;

    fn tuple(out: &mut Request, kind: u16, from: [u8; 4], to: [u8; 4]) {
        let tuple = out.nest(kind);
        let ip = out.nest(TUPLE_IP);
        out.put(IP_V4_SRC, &from);
        out.put(IP_V4_DST, &to);
        out.end_nest(ip);
        out.put(2, b"proto");
        out.end_nest(tuple);
    }

    #[test]
    fn an_entry_is_read_and_named_again_for_its_deletion() {
        let mut told = Request::default();
        let message = told.message(CTNETLINK, 0, 1, IPV4, 0);
        tuple(&mut told, TUPLE_ORIG, [10, 0, 0, 5], [1, 1, 1, 1]);
        tuple(&mut told, TUPLE_REPLY, [1, 1, 1, 1], [203, 0, 113, 1]);
        told.put(ID, &[1, 2, 3, 4]);
        told.put(ZONE, &[0, 7]);
        told.end_message(message);
        let message = Messages::new(told.bytes()).next().unwrap().unwrap();
        let entry = parse(&message).unwrap().unwrap();
        let expected = [[10, 0, 0, 5], [1, 1, 1, 1], [1, 1, 1, 1], [203, 0, 113, 1]];
        assert_eq!(entry.addresses, expected.map(Ipv4Addr::from));

        let mut request = Request::default();
        delete(&mut request, 9, &entry);
        let message = Messages::new(request.bytes()).next().unwrap().unwrap();
        assert_eq!(message.kind, CTNETLINK | CT_DELETE);
        let attributes = message.attributes().unwrap();
        assert_eq!(attributes.clone().find(TUPLE_ORIG), Ok(Some(entry.original)));
        assert_eq!(attributes.clone().find(ID), Ok(Some(&[1, 2, 3, 4][..])));
        assert_eq!(attributes.find(ZONE), Ok(Some(&[0, 7][..])));
    }

    #[test]
    fn an_entry_of_another_family_is_passed_over() {
        let mut told = Request::default();
        let message = told.message(CTNETLINK, 0, 1, 10, 0);
        for kind in [TUPLE_ORIG, TUPLE_REPLY] {
            let tuple = told.nest(kind);
            let ip = told.nest(TUPLE_IP);
            told.put(3, &[0; 16]);
            told.end_nest(ip);
            told.end_nest(tuple);
        }
        told.end_message(message);
        let message = Messages::new(told.bytes()).next().unwrap().unwrap();
        assert_eq!(parse(&message), Ok(None));
    }

    proptest! {
        #[test]
        fn random_answers_never_panic(orig: Vec<u8>, reply: Vec<u8>, deep: bool) {
            let mut told = Request::default();
            let message = told.message(CTNETLINK, 0, 1, IPV4, 0);
            for (kind, bytes) in [(TUPLE_ORIG, &orig), (TUPLE_REPLY, &reply)] {
                let nest = told.nest(kind);
                if deep { told.put(TUPLE_IP, bytes) } else { told.put_raw(bytes) }
                told.end_nest(nest);
            }
            told.end_message(message);
            for message in Messages::new(told.bytes()).flatten() {
                if let Ok(Some(entry)) = parse(&message) {
                    delete(&mut Request::default(), 1, &entry);
                }
            }
        }
    }
}
