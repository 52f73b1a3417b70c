//! What `wire::reply` writes, read back twice: by `wire::options`, and by a decoder of this file
//! that shares nothing with it.

use dhcpd::wire::message::Message;
use dhcpd::wire::options::OptionTable;
use dhcpd::wire::reply::{Header, OPTIONS_BOOTP, OPTIONS_DEFAULT, OPTIONS_MAX, encode, limit};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Every option of one field as (code, value), and how many bytes they took with their end.
fn decode_field(field: &[u8], must_end: bool) -> (Vec<(u8, Vec<u8>)>, usize) {
    let mut found = Vec::new();
    let mut i = 0;
    while i < field.len() {
        match field[i] {
            0 => i += 1,
            255 => {
                assert!(field[i + 1..].iter().all(|b| *b == 0), "rubbish behind the end");
                return (found, i + 1);
            }
            code => {
                let len = field[i + 1] as usize;
                found.push((code, field[i + 2..i + 2 + len].to_vec()));
                i += 2 + len;
            }
        }
    }
    assert!(!must_end, "no end option");
    (found, i)
}

/// A reply as RFC 2131, 2132 and 3396 say it is to be read.
struct Decoded {
    options: BTreeMap<u8, Vec<u8>>,
    /// As they came, parts apart, overloaded fields last.
    parts: Vec<(u8, Vec<u8>)>,
    /// Options of the options field only.
    main: Vec<(u8, Vec<u8>)>,
    /// Bytes of the options field up to its end, cookie included.
    used: usize,
    overload: u8,
}

fn decode(message: &[u8]) -> Decoded {
    assert!(message.len() >= 300, "{} bytes", message.len());
    assert_eq!(&message[236..240], &[0x63, 0x82, 0x53, 0x63]);
    let (main, used) = decode_field(&message[240..], true);
    let overload = main.iter().find(|(code, _)| *code == 52).map_or(0, |(_, v)| v[0]);
    let mut parts = main.clone();
    if overload & 1 != 0 {
        parts.extend(decode_field(&message[108..236], true).0);
    }
    if overload & 2 != 0 {
        parts.extend(decode_field(&message[44..108], true).0);
    }
    let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for (code, value) in &parts {
        options.entry(*code).or_default().extend(value);
    }
    options.remove(&52);
    Decoded { options, parts, main, used: used + 4, overload }
}

fn header() -> Header {
    Header {
        op: 2,
        htype: 1,
        hlen: 6,
        hops: 3,
        xid: 0x0102_0304,
        secs: 0x0506,
        flags: 0x8000,
        ciaddr: Ipv4Addr::new(10, 0, 0, 1),
        yiaddr: Ipv4Addr::new(10, 0, 0, 2),
        siaddr: Ipv4Addr::new(10, 0, 0, 3),
        giaddr: Ipv4Addr::new(10, 0, 0, 4),
        chaddr: [9, 8, 7, 6, 5, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    }
}

fn encoded(options: &[(u8, &[u8])], limit: usize, relay: Option<&[u8]>) -> (Decoded, usize) {
    let mut out = Vec::new();
    let dropped = encode(&mut out, &header(), None, None, options, limit, relay);
    let decoded = decode(&out);
    assert!(decoded.used <= limit, "{} bytes of {limit}", decoded.used);
    (decoded, dropped)
}

#[test]
fn the_room_that_option_57_leaves() {
    assert_eq!(limit(None), 312);
    assert_eq!((limit(Some(0)), limit(Some(575)), limit(Some(576))), (312, 312, 312));
    assert_eq!((limit(Some(577)), limit(Some(1500))), (313, 1236));
    assert_eq!((limit(Some(1501)), limit(Some(65535))), (1236, 1236));
}

#[test]
fn fixed_fields_come_back_and_what_was_in_the_arena_stays() {
    let mut out = b"before".to_vec();
    let options: [(u8, &[u8]); 2] = [(53, &[2]), (54, &[10, 0, 0, 3])];
    let (sname, file) = (Some(&b"srv"[..]), Some(&b"boot"[..]));
    let dropped = encode(&mut out, &header(), sname, file, &options, OPTIONS_DEFAULT, None);
    assert_eq!((dropped, &out[..6], out.len()), (0, &b"before"[..], 306));
    let m = Message::parse(&out[6..]).unwrap();
    let h = header();
    assert_eq!((m.op(), m.htype(), m.hlen(), m.hops()), (h.op, h.htype, h.hlen, h.hops));
    assert_eq!((m.xid(), m.secs(), m.flags()), (h.xid, h.secs, h.flags));
    assert_eq!((m.ciaddr(), m.yiaddr()), (h.ciaddr, h.yiaddr));
    assert_eq!((m.siaddr(), m.giaddr()), (h.siaddr, h.giaddr));
    assert_eq!(m.chaddr_field(), h.chaddr);
    assert_eq!((&m.sname()[..4], &m.file()[..5]), (&b"srv\0"[..], &b"boot\0"[..]));
    assert_eq!(m.options_field()[..10], [53, 1, 2, 54, 4, 10, 0, 0, 3, 255]);
    let long = [b'x'; 200];
    out.clear();
    encode(&mut out, &header(), Some(&long), Some(&long), &options, OPTIONS_DEFAULT, None);
    let m = Message::parse(&out).unwrap();
    assert_eq!((m.sname(), m.file()), (&long[..64], &long[..128]));
}

#[test]
fn order_is_the_callers_and_82_is_last_and_verbatim() {
    let options: [(u8, &[u8]); 7] = [
        (53, &[5]),
        (51, &[0, 0, 1, 0]),
        (82, b"not this"),
        (1, &[255; 4]),
        (52, &[3]),
        (0, b""),
        (255, b"x"),
    ];
    let relay = [1, 2, 0, 0, 255, 3, 82];
    let (decoded, dropped) = encoded(&options, OPTIONS_DEFAULT, Some(&relay));
    let order: Vec<u8> = decoded.main.iter().map(|(code, _)| *code).collect();
    assert_eq!((order, dropped), (vec![53, 51, 1, 82], 0));
    assert_eq!(decoded.options[&82], relay);
}

#[test]
fn overflow_goes_to_file_then_sname_and_only_if_they_are_free() {
    let (big, mid, small) = ([b'm'; 250], [b'f'; 120], [b's'; 50]);
    let options: [(u8, &[u8]); 5] =
        [(53, &[5]), (43, &big), (66, &mid), (67, &small), (3, &[10, 0, 0, 1])];
    let (decoded, dropped) = encoded(&options, OPTIONS_DEFAULT, None);
    assert_eq!((decoded.overload, dropped), (2 + 1, 0));
    let order: Vec<u8> = decoded.parts.iter().map(|(code, _)| *code).collect();
    assert_eq!(order, [53, 43, 3, 52, 66, 67]);

    type Field = Option<&'static [u8]>;
    let cases: [(Field, Field, u8, &[u8]); 4] = [
        (Some(b"name"), None, 1, &[53, 43, 67, 52, 66]),
        (None, Some(b"boot"), 2, &[53, 43, 3, 52, 67]),
        (Some(b"name"), Some(b"boot"), 0, &[53, 43, 67]),
        (Some(b""), Some(b""), 0, &[53, 43, 67]),
    ];
    for (sname, file, overload, order) in cases {
        let mut out = Vec::new();
        // 67 fits beside 43 when 52 takes no room.
        let small = &small[..if overload == 2 { 50 } else { 45 }];
        let options = [options[0], options[1], options[2], (67, small), options[4]];
        let dropped = encode(&mut out, &header(), sname, file, &options, OPTIONS_DEFAULT, None);
        let decoded = decode(&out);
        let codes: Vec<u8> = decoded.parts.iter().map(|(code, _)| *code).collect();
        assert_eq!((decoded.overload, &codes[..]), (overload, order), "{sname:?} {file:?}");
        assert_eq!(dropped, 5 - order.iter().filter(|code| **code != 52).count());
        let m = Message::parse(&out).unwrap();
        assert!(sname.is_none_or(|name| m.sname().starts_with(name)));
        assert!(file.is_none_or(|name| m.file().starts_with(name)));
    }
}

#[test]
fn what_just_fits_needs_no_overload() {
    // 312 less cookie, end and 53 leaves 304; 250 + 2 and 50 + 2 fill it.
    let (big, rest) = ([1; 250], [2; 51]);
    let (decoded, dropped) = encoded(&[(53, &[5]), (43, &big), (12, &rest[..50])], 312, None);
    assert_eq!((decoded.overload, decoded.used, dropped), (0, 312, 0));
    let (decoded, dropped) = encoded(&[(53, &[5]), (43, &big), (12, &rest)], 312, None);
    assert_eq!((decoded.overload, dropped), (1, 0));
}

#[test]
fn values_over_255_bytes_are_split_and_may_cross_fields() {
    let long: Vec<u8> = (0..600).map(|i| i as u8).collect();
    let (decoded, _) = encoded(&[(53, &[5]), (121, &long)], OPTIONS_MAX, None);
    let lengths: Vec<usize> = decoded.parts.iter().map(|(_, value)| value.len()).collect();
    assert_eq!((lengths, &decoded.options[&121]), (vec![1, 255, 255, 90], &long));

    let (decoded, dropped) = encoded(&[(53, &[5]), (121, &long[..480])], OPTIONS_DEFAULT, None);
    assert_eq!((decoded.overload, dropped), (3, 0));
    assert_eq!(decoded.options[&121], &long[..480]);

    let (decoded, dropped) = encoded(&[(53, &[5]), (121, &long)], OPTIONS_DEFAULT, None);
    assert_eq!((decoded.overload, dropped), (0, 1), "not in part");
    assert!(!decoded.options.contains_key(&121));

    let (decoded, _) = encoded(&[(53, &[5])], OPTIONS_MAX, Some(&long));
    assert_eq!(decoded.options[&82], long);
    assert!(decoded.main[1..].iter().all(|(code, _)| *code == 82));
}

#[test]
fn room_is_kept_for_82_and_bootp_has_64_bytes() {
    let (big, relay) = ([7; 200], [1; 101]);
    let options: [(u8, &[u8]); 2] = [(53, &[5]), (43, &big)];
    let (decoded, dropped) = encoded(&options, OPTIONS_DEFAULT, Some(&relay[..100]));
    let order: Vec<u8> = decoded.parts.iter().map(|(code, _)| *code).collect();
    assert_eq!((order, decoded.used, dropped), (vec![53, 43, 82], 312, 0));
    let (decoded, dropped) = encoded(&options, OPTIONS_DEFAULT, Some(&relay));
    let order: Vec<u8> = decoded.parts.iter().map(|(code, _)| *code).collect();
    assert_eq!((order, dropped), (vec![53, 82], 1), "43 yields to 82");
    assert_eq!(decoded.options[&82], relay);
    let mut out = Vec::new();
    let options: [(u8, &[u8]); 3] = [(1, &[255; 4]), (12, &big), (3, &[1; 4])];
    let empty = Some(&b""[..]);
    let dropped = encode(&mut out, &header(), empty, empty, &options, OPTIONS_BOOTP, None);
    assert_eq!((dropped, out.len(), decode(&out).options.len()), (1, 300, 2));
    let dropped = encode(&mut out, &header(), None, None, &options, 0, Some(&relay));
    assert_eq!(dropped, 4, "no room at all");
}

/// Distinct codes with values of any length, long ones often enough.
fn any_options() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        2 => prop::collection::vec(any::<u8>(), 0..255),
        1 => prop::collection::vec(any::<u8>(), 255..700),
    ];
    let code = (1u8..255).prop_filter("layout or 53", |code| ![52, 53, 82].contains(code));
    prop::collection::btree_map(code, value, 0..14)
        .prop_map(|map| map.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn what_is_sent_is_whole_and_nothing_that_fits_is_missing(
        mut options in any_options(),
        limit in prop_oneof![Just(64usize), Just(312), 0..1300usize],
        relay in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        free in 0u8..4,
    ) {
        options.insert(0, (53, vec![5]));
        let borrowed: Vec<(u8, &[u8])> = options.iter().map(|(c, v)| (*c, &v[..])).collect();
        let sname = (free & 2 == 0).then_some(&b"server"[..]);
        let file = (free & 1 == 0).then_some(&b"file"[..]);
        let mut out = Vec::new();
        let dropped =
            encode(&mut out, &header(), sname, file, &borrowed, limit, relay.as_deref());
        let decoded = decode(&out);
        prop_assert!(decoded.used <= limit.max(5));
        prop_assert_eq!(decoded.overload & !free, 0);

        let mut wanted: BTreeMap<u8, Vec<u8>> = options.iter().cloned().collect();
        if let Some(relay) = &relay {
            wanted.insert(82, relay.clone());
        }
        prop_assert_eq!(decoded.options.len() + dropped, wanted.len());
        for (code, value) in &decoded.options {
            prop_assert_eq!(wanted.get(code), Some(value));
        }
        if decoded.options.contains_key(&82) {
            prop_assert_eq!(decoded.main.last().map(|(code, _)| *code), Some(82));
        }
        let size: usize = wanted.values().map(|v| v.len() + 2 * v.len().div_ceil(255).max(1)).sum();
        prop_assert!(dropped == 0 || size > limit.saturating_sub(5));

        let mut table = OptionTable::new();
        table.parse(&Message::parse(&out).unwrap()).unwrap();
        for code in (1..255).filter(|code| *code != 52) {
            prop_assert_eq!(table.get(code), decoded.options.get(&code).map(|v| &v[..]));
        }
    }
}
