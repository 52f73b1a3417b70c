//! What is said to nf_tables: sets asked for, their elements added, deleted and listed.
//!
//! Pure. Numbers from linux/netfilter/nf_tables.h. Changes go into a [`Batch`], which is one
//! transaction: the kernel carries out all of it or nothing.

use std::net::Ipv4Addr;

use pfhelper::table_nft::Set;

use crate::nlmsg::{ACK, Attributes, CREATE, DUMP, Malformed, Message, Request};

/// NFNL_SUBSYS_NFTABLES, the high byte of a message's type
const NFTABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const GETTABLE: u16 = 1;
const GETSET: u16 = 10;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;
const GETGEN: u16 = 16;
/// Since Linux 6.3: as DELSETELEM, but what is missing is no error.
const DESTROYSETELEM: u16 = 30;

const GEN_ID: u16 = 1;
const TABLE_NAME: u16 = 1;
const TABLE_HANDLE: u16 = 4;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_TIMEOUT: u16 = 11;
const SET_HANDLE: u16 = 16;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_TIMEOUT: u16 = 4;
const DATA_VALUE: u16 = 1;

const FLAG_CONSTANT: u32 = 0x2;
const FLAG_INTERVAL: u32 = 0x4;
const FLAG_MAP: u32 = 0x8;
const FLAG_TIMEOUT: u32 = 0x10;
const FLAG_OBJECT: u32 = 0x40;
const FLAG_CONCAT: u32 = 0x80;

/// TYPE_IPADDR of the nft program, which names the type of a set's key.
const KEY_IPV4_ADDR: u32 = 7;
/// Its number for a concatenation has the numbers of the parts, six bits each.
const KEY_LAST_SIMPLE: u32 = (1 << 6) - 1;

/// Elements in one message: each takes at most 28 bytes, and they share an attribute whose length
/// has two bytes.
const ELEMENTS: usize = 2_300;

/// Asks for the number of the ruleset, which goes up with every change.
pub fn get_generation(out: &mut Request, seq: u32) {
    let message = out.message(NFTABLES | GETGEN, 0, seq, 0, 0);
    out.end_message(message);
}

/// Asks for the table that `set` is in.
pub fn get_table(out: &mut Request, seq: u32, set: &Set<'_>) {
    let message = out.message(NFTABLES | GETTABLE, 0, seq, set.family as u8, 0);
    out.put_text(TABLE_NAME, set.table);
    out.end_message(message);
}

/// Asks what `set` is.
pub fn get_set(out: &mut Request, seq: u32, set: &Set<'_>) {
    let message = out.message(NFTABLES | GETSET, 0, seq, set.family as u8, 0);
    out.put_text(SET_TABLE, set.table);
    out.put_text(SET_NAME, set.set);
    out.end_message(message);
}

/// Asks for every element of `set`.
pub fn get_elements(out: &mut Request, seq: u32, set: &Set<'_>) {
    let message = out.message(NFTABLES | GETSETELEM, DUMP, seq, set.family as u8, 0);
    out.put_text(LIST_TABLE, set.table);
    out.put_text(LIST_SET, set.set);
    out.end_message(message);
}

/// Asks whether one address is in `set`.
pub fn get_element(out: &mut Request, seq: u32, set: &Set<'_>, address: Ipv4Addr) {
    let message = out.message(NFTABLES | GETSETELEM, ACK, seq, set.family as u8, 0);
    out.put_text(LIST_TABLE, set.table);
    out.put_text(LIST_SET, set.set);
    let list = out.nest(LIST_ELEMENTS);
    element(out, address, None);
    out.end_nest(list);
    out.end_message(message);
}

/// What is done to elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// They are there afterwards; those that were there keep their time.
    Add {
        /// Milliseconds until they fade, where the set has timeouts.
        timeout: Option<u64>,
    },
    /// They are gone afterwards; one that was not there is an error.
    Delete,
    /// They are gone afterwards, there or not; not known to a kernel before 6.3.
    Destroy,
}

/// One transaction under construction.
#[derive(Debug)]
pub struct Batch {
    request: Request,
    first: u32,
    count: u32,
}

impl Batch {
    /// Begins one whose messages are numbered from `first`.
    pub fn new(first: u32) -> Self {
        let mut request = Request::default();
        let message = request.message(BATCH_BEGIN, 0, first, 0, NFTABLES >> 8);
        request.end_message(message);
        Batch { request, first, count: 1 }
    }

    /// Takes out all elements of `set`; that there are none is no error.
    pub fn clear(&mut self, set: &Set<'_>) {
        let seq = self.next_seq();
        let message = self.request.message(NFTABLES | DELSETELEM, ACK, seq, set.family as u8, 0);
        self.request.put_text(LIST_TABLE, set.table);
        self.request.put_text(LIST_SET, set.set);
        self.request.end_message(message);
    }

    /// Puts an operation on elements of `set` into it.
    pub fn elements(&mut self, set: &Set<'_>, operation: Operation, addresses: &[Ipv4Addr]) {
        let (kind, flags, timeout) = match operation {
            Operation::Add { timeout } => (NEWSETELEM, CREATE | ACK, timeout),
            Operation::Delete => (DELSETELEM, ACK, None),
            Operation::Destroy => (DESTROYSETELEM, ACK, None),
        };
        for chunk in addresses.chunks(ELEMENTS) {
            let seq = self.next_seq();
            let message = self.request.message(NFTABLES | kind, flags, seq, set.family as u8, 0);
            self.request.put_text(LIST_TABLE, set.table);
            self.request.put_text(LIST_SET, set.set);
            let list = self.request.nest(LIST_ELEMENTS);
            for address in chunk {
                element(&mut self.request, *address, timeout);
            }
            self.request.end_nest(list);
            self.request.end_message(message);
        }
    }

    /// How many messages change something; each is answered.
    pub fn changes(&self) -> u32 {
        self.count.saturating_sub(1)
    }

    /// The whole transaction, to be sent by one call, and the number of its last message.
    pub fn end(mut self) -> (Request, u32) {
        let seq = self.next_seq();
        let message = self.request.message(BATCH_END, 0, seq, 0, NFTABLES >> 8);
        self.request.end_message(message);
        (self.request, seq)
    }

    fn next_seq(&mut self) -> u32 {
        let seq = self.first.wrapping_add(self.count);
        self.count = self.count.saturating_add(1);
        seq
    }
}

fn element(out: &mut Request, address: Ipv4Addr, timeout: Option<u64>) {
    let elem = out.nest(LIST_ELEM);
    let key = out.nest(ELEM_KEY);
    out.put(DATA_VALUE, &address.octets());
    out.end_nest(key);
    if let Some(milliseconds) = timeout {
        out.put(ELEM_TIMEOUT, &milliseconds.to_be_bytes());
    }
    out.end_nest(elem);
}

/// What the kernel says a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetInfo {
    flags: u32,
    key_type: u32,
    key_length: u32,
    default_timeout: Option<u64>,
    /// Its number, never given twice in the life of its table.
    pub handle: u64,
}

impl SetInfo {
    /// Whether elements can be given a time after which they fade.
    pub fn takes_timeouts(&self) -> bool {
        self.flags & FLAG_TIMEOUT != 0
    }

    /// Whether an element fades although it was given no time.
    pub fn fades(&self) -> bool {
        self.takes_timeouts() && self.default_timeout.is_some_and(|milliseconds| milliseconds > 0)
    }

    /// Why plain addresses cannot be kept in it, if they cannot.
    pub fn unfit(&self) -> Option<&'static str> {
        let has = |flag| self.flags & flag != 0;
        if has(FLAG_MAP) || has(FLAG_OBJECT) {
            Some("it is a map, not a set")
        } else if has(FLAG_CONCAT) || self.key_type > KEY_LAST_SIMPLE {
            Some("its key is a concatenation, not one ipv4_addr")
        } else if self.key_length != 4 || !matches!(self.key_type, 0 | KEY_IPV4_ADDR) {
            Some("its key is not ipv4_addr")
        } else if has(FLAG_INTERVAL) {
            Some("it has the flag interval; single addresses need a set without")
        } else if has(FLAG_CONSTANT) {
            Some("it has the flag constant, so it can never change")
        } else {
            None
        }
    }
}

/// Reads the answer to [`get_set`].
pub fn parse_set(message: &Message<'_>) -> Result<SetInfo, Malformed> {
    let attributes = message.attributes()?;
    Ok(SetInfo {
        flags: attributes.clone().u32(SET_FLAGS)?.unwrap_or(0),
        key_type: attributes.clone().u32(SET_KEY_TYPE)?.unwrap_or(0),
        key_length: attributes.clone().u32(SET_KEY_LEN)?.ok_or(Malformed)?,
        handle: attributes.clone().u64(SET_HANDLE)?.unwrap_or(0),
        default_timeout: attributes.u64(SET_TIMEOUT)?,
    })
}

/// Reads the answer to [`get_table`]: its number, never given twice.
pub fn parse_table(message: &Message<'_>) -> Result<u64, Malformed> {
    Ok(message.attributes()?.u64(TABLE_HANDLE)?.unwrap_or(0))
}

/// Reads the answer to [`get_generation`].
pub fn parse_generation(message: &Message<'_>) -> Result<u32, Malformed> {
    message.attributes()?.u32(GEN_ID)?.ok_or(Malformed)
}

/// Reads a part of the answer to [`get_elements`]: appends the addresses.
pub fn parse_elements(message: &Message<'_>, into: &mut Vec<Ipv4Addr>) -> Result<(), Malformed> {
    for element in message.attributes()?.nest(LIST_ELEMENTS)? {
        let (_, element) = element?;
        let key = Attributes::new(element).nest(ELEM_KEY)?;
        // An element without a key is the catch-all one, which is not ours.
        if let Some(value) = key.find(DATA_VALUE)? {
            let octets: [u8; 4] = value.try_into().map_err(|_| Malformed)?;
            into.push(Ipv4Addr::from(octets));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlmsg::Messages;
    use pfhelper::table_nft::Family;
    use proptest::prelude::*;

    const SET: Set<'_> = Set { family: Family::Inet, table: "dhcpd", set: "leased" };

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + n)
    }

    #[test]
    fn elements_are_cut_into_messages_that_fit_and_read_back() {
        let addresses: Vec<_> = (0..5_000).map(address).collect();
        let mut batch = Batch::new(100);
        assert_eq!(batch.changes(), 0);
        batch.elements(&SET, Operation::Add { timeout: Some(1_000) }, &addresses);
        assert_eq!(batch.changes(), 3);
        let (request, last) = batch.end();
        assert_eq!(last, 104);
        let messages: Vec<_> = Messages::new(request.bytes()).map(Result::unwrap).collect();
        let kinds: Vec<_> = messages.iter().map(|m| m.kind).collect();
        let new = NFTABLES | NEWSETELEM;
        assert_eq!(kinds, [BATCH_BEGIN, new, new, new, BATCH_END]);
        assert_eq!(messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [100, 101, 102, 103, 104]);
        let mut read = Vec::new();
        for message in &messages[1..4] {
            parse_elements(message, &mut read).unwrap();
        }
        assert_eq!(read, addresses);
    }

    #[test]
    fn only_a_set_of_plain_addresses_is_fit() {
        let info = |flags, key_type, key_length| SetInfo {
            flags,
            key_type,
            key_length,
            handle: 1,
            default_timeout: None,
        };
        assert_eq!(info(0, KEY_IPV4_ADDR, 4).unfit(), None);
        assert_eq!(info(FLAG_TIMEOUT, KEY_IPV4_ADDR, 4).unfit(), None);
        for (info, part) in [
            (info(FLAG_INTERVAL, 7, 4), "interval"),
            (info(FLAG_CONSTANT, 7, 4), "constant"),
            (info(FLAG_MAP, 7, 4), "map"),
            (info(FLAG_CONCAT, 0x1cd, 8), "concatenation"),
            (info(0, 0x1cd, 8), "concatenation"),
            (info(0, 8, 16), "not ipv4_addr"),
            (info(0, 19, 4), "not ipv4_addr"),
        ] {
            assert!(info.unfit().unwrap().contains(part), "{info:?}");
        }
    }

    proptest! {
        #[test]
        fn random_answers_never_panic(bytes: Vec<u8>, nest: bool) {
            let mut request = Request::default();
            let message = request.message(0, 0, 0, 0, 0);
            if nest {
                request.put(LIST_ELEMENTS, &bytes);
            } else {
                for chunk in bytes.chunks(9) {
                    request.put(u16::from(chunk[0] % 20), &chunk[1..]);
                }
            }
            request.end_message(message);
            for message in Messages::new(request.bytes()).flatten() {
                let _ = parse_set(&message);
                let _ = parse_table(&message);
                let _ = parse_generation(&message);
                let _ = parse_elements(&message, &mut Vec::new());
            }
        }
    }
}
