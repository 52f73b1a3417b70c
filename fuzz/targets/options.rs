//! What we write is what a client reads: any options, in any room, read back.
//!
//! Input: two bytes of room, one of flags (1: `sname` is taken, 2: `file` is taken, 4: the first
//! option is the relay agent's), then options as code, length in eights of bytes, value.

#![no_main]

use dhcpd::wire::message::Message;
use dhcpd::wire::options::OptionTable;
use dhcpd::wire::reply::{Header, encode};
use libfuzzer_sys::fuzz_target;
use std::net::Ipv4Addr;

const HEADER: Header = Header {
    op: 2,
    htype: 1,
    hlen: 6,
    hops: 0,
    xid: 7,
    secs: 0,
    flags: 0,
    ciaddr: Ipv4Addr::UNSPECIFIED,
    yiaddr: Ipv4Addr::UNSPECIFIED,
    siaddr: Ipv4Addr::UNSPECIFIED,
    giaddr: Ipv4Addr::UNSPECIFIED,
    chaddr: [0; 16],
};

fuzz_target!(|input: &[u8]| {
    let [high, low, flags, rest @ ..] = input else { return };
    let mut rest = rest;
    let limit = usize::from(u16::from_be_bytes([*high, *low]) % 1500);
    let mut options: Vec<(u8, &[u8])> = Vec::new();
    while let [code, eights, value @ ..] = rest {
        let (value, behind) = value.split_at(value.len().min(usize::from(*eights) * 8));
        // Not content but layout, or (53) refused when empty; a code said twice is one long value.
        if !matches!(code, 0 | 52 | 53 | 82 | 255) && !options.iter().any(|(c, _)| c == code) {
            options.push((*code, value));
        }
        rest = behind;
    }
    let relay_agent = (flags & 4 != 0 && !options.is_empty()).then(|| options.remove(0).1);
    let sname = (flags & 1 != 0).then_some(&b"server"[..]);
    let file = (flags & 2 != 0).then_some(&b"file"[..]);

    let mut out = b"before".to_vec();
    let dropped = encode(&mut out, &HEADER, sname, file, &options, limit, relay_agent);
    let packet = out.strip_prefix(b"before").expect("what was there stays");
    assert!(packet.len() <= 236 + limit.max(64), "{} bytes in room {limit}", packet.len());

    let message = Message::parse(packet).expect("a reply can be read");
    let mut table = OptionTable::new();
    table.parse(&message).expect("its options can be read");
    let mut absent = 0;
    for (code, value) in options.iter().copied().chain(relay_agent.map(|value| (82, value))) {
        match table.get(code) {
            Some(read) => assert_eq!(read, value, "option {code}"),
            None => absent += 1,
        }
    }
    assert_eq!(absent, dropped, "what was left out is what was said to be");
});
