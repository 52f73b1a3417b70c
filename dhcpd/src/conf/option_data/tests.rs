//! Every type's bytes, and what it does not take.

use super::*;
use crate::conf::lexer::tokens;
use crate::conf::source::SourceFile;
use crate::conf::sources::RecordedSources;
use std::net::Ipv4Addr;

fn read(text: &str, kind: Type) -> Result<Vec<u8>, String> {
    let file = SourceFile::new("f".into(), text.as_bytes().into()).unwrap();
    let words = tokens(&file, &mut Vec::new());
    let mut sources = RecordedSources::default();
    sources.add_addresses("two.example", &[Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(2, 2, 2, 2)]);
    let mut arguments = Arguments::new(&file, &words, "", &mut sources);
    value(&mut arguments, kind).map_err(|problem| problem.text)
}

fn good(text: &str, kind: Type) -> Vec<u8> {
    read(text, kind).unwrap()
}

fn bad(text: &str, kind: Type) -> String {
    read(text, kind).unwrap_err()
}

#[test]
fn addresses() {
    assert_eq!(good("10.0.0.1", Type::Address), [10, 0, 0, 1]);
    assert_eq!(good("two.example", Type::Address), [1, 1, 1, 1]);
    assert!(bad("10.0.0.1, 10.0.0.2", Type::Address).contains("expected `;`"));
    assert_eq!(
        good("10.0.0.1, two.example", Type::Addresses),
        [10, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]
    );
    assert!(bad("", Type::Addresses).contains("expected an address"));
    assert_eq!(
        good("10.0.0.0 10.0.0.1, 1.2.3.4 5.6.7.8", Type::Pairs),
        [10, 0, 0, 0, 10, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]
    );
    assert!(bad("10.0.0.0", Type::Pairs).contains("expected an address"));
}

#[test]
fn numbers() {
    assert_eq!(good("255", Type::U8), [255]);
    assert!(bad("256", Type::U8).contains("0 to 255"));
    assert_eq!(good("1, 3, 017", Type::U8s), [1, 3, 15]);
    assert_eq!(good("0x10".trim_start_matches("0x"), Type::U16), [0, 10]);
    assert_eq!(good("65535", Type::U16), [255, 255]);
    assert!(bad("65536", Type::U16).contains("0 to 65535"));
    assert_eq!(good("68, 296", Type::U16s), [0, 68, 1, 40]);
    assert_eq!(good("4294967295", Type::U32), [255; 4]);
    assert!(bad("-1", Type::U32).contains("out of range"));
    assert_eq!(good("-18000", Type::I32), (-18000i32).to_be_bytes());
    assert_eq!(good("-2147483648", Type::I32), [128, 0, 0, 0]);
    assert!(bad("2147483648", Type::I32).contains("out of range"));
    assert_eq!(good("true", Type::Flag), [1]);
    assert_eq!(good("OFF", Type::Flag), [0]);
    assert!(bad("1", Type::Flag).contains("expected `true`"));
}

#[test]
fn text_and_bytes() {
    assert_eq!(good("\"a b\"", Type::Text), b"a b");
    assert_eq!(good("word", Type::Text), b"word");
    assert!(bad("two words", Type::Text).contains("expected `;`"));
    assert!(bad("dotted.word", Type::Text).contains("expected `;`"));
    assert_eq!(good("\"a:b\"", Type::Bytes), b"a:b");
    assert_eq!(good("1:aB:0", Type::Bytes), [1, 0xab, 0]);
    assert!(bad("1:xy", Type::Bytes).contains("not an octet"));
    assert!(bad("", Type::Bytes).contains("expected a string"));
    assert_eq!(good(&["0"; MAX_VALUE].join(":"), Type::Bytes).len(), MAX_VALUE);
    assert!(bad(&["0"; MAX_VALUE + 1].join(":"), Type::Bytes).contains("more than"));
    assert!(bad(&["1"; MAX_VALUE + 1].join(","), Type::U8s).contains("no reply has room"));
}

#[test]
fn routes_hold_significant_octets_only() {
    assert_eq!(good("0/0 10.0.0.1", Type::Routes), [0, 10, 0, 0, 1]);
    assert_eq!(
        good("10/8 10.0.0.1, 192.0.2.128/25 10.0.0.2", Type::Routes),
        [8, 10, 10, 0, 0, 1, 25, 192, 0, 2, 128, 10, 0, 0, 2]
    );
    assert_eq!(good("10/16 10.0.0.1", Type::Routes), [16, 10, 0, 10, 0, 0, 1]);
    assert!(bad("10/8", Type::Routes).contains("expected an address"));
}

/// RFC 3397 section 2.1's example of two names with a common end.
#[test]
fn domain_names_are_compressed() {
    assert_eq!(
        good("\"eng.apple.com\", \"marketing.apple.com.\"", Type::Domains),
        b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04"
    );
    assert_eq!(good("\"a.B\", \"a.b\", \"b\"", Type::Domains), b"\x01a\x01B\0\xc0\x00\xc0\x02");
    assert!(bad("a.b", Type::Domains).contains("in quotes"));
    for (name, error) in [("", "without labels"), (".", "without labels"), ("a..b", "1 to 63")] {
        assert!(bad(&format!("\"{name}\""), Type::Domains).contains(error), "{name}");
    }
    let label = |len| "x".repeat(len);
    assert!(bad(&format!("\"{}\"", label(64)), Type::Domains).contains("1 to 63"));
    let long = [label(63), label(63), label(63), label(61)].join(".");
    assert_eq!(good(&format!("\"{long}\""), Type::Domains).len(), 255);
    assert!(bad(&format!("\"{long}x\""), Type::Domains).contains("longer than 253"));
}
