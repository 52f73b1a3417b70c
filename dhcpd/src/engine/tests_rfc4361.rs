//! Clients that say which node they are (RFC 4361), beside what RFC 2131 and 2132 want of identifiers.

use super::tests_kit::*;
use super::*;

/// Type 255, the number of an interface, and the node's DUID.
fn node(iaid: u32, duid: &[u8]) -> Vec<u8> {
    [&[255], &iaid.to_be_bytes()[..], duid].concat()
}

const DUID: &[u8] = &[0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Section 5: one node is several clients if it wants to be, and one if it wants that.
#[test]
fn a_node_has_an_address_for_each_identity_and_one_for_each_of_these() {
    let mut b = Bench::new();
    let dora = |b: &mut Bench, hw: u16, id: &[u8]| {
        let offered = b.one(&discover(hw).id(id)).yours();
        let ack = b.one(&select(hw, offered).id(id));
        assert_eq!((ack.kind(), ack.yours()), (message::ACK, offered));
        offered
    };
    let first = dora(&mut b, 1, &node(1, DUID));
    // Another interface, and the same hardware under another number (a bridge, a virtual machine).
    let second = dora(&mut b, 2, &node(2, DUID));
    let third = dora(&mut b, 1, &node(3, DUID));
    assert!(first != second && second != third && first != third);
    // Another node that has the same number for its interface.
    let other = [&DUID[..17], &[99]].concat();
    assert!(![first, second, third].contains(&dora(&mut b, 1, &node(1, &other))));
    // Wherever it is plugged in, it is who it says it is.
    assert_eq!(dora(&mut b, 7, &node(1, DUID)), first);
    assert_eq!(dora(&mut b, 1, &node(2, DUID)), second);
}

/// Section 6.3: an administrator may write down hardware for a fixed address, and nothing else
/// makes it stronger than the identifier.
#[test]
fn hardware_that_is_written_down_names_who_has_an_identifier_too() {
    let mut config = config();
    config.hosts.push(host("printer", mac(1), &["10.0.0.5"]));
    let mut b = Bench::with(config);
    for id in [node(1, DUID), node(2, DUID)] {
        assert_eq!(b.one(&discover(1).id(&id)).yours(), ip("10.0.0.5"));
    }
    assert_eq!(b.one(&discover(2).id(&node(1, DUID))).yours(), ip("10.0.0.10"));
}

/// Section 6.4: older clients are known by their hardware, and are somebody else than one with an
/// identifier on other hardware.
#[test]
fn who_sends_no_identifier_is_known_by_hardware() {
    let mut b = Bench::new();
    let old = b.dora(1);
    assert_eq!(b.one(&discover(1)).yours(), old);
    assert_ne!(b.one(&discover(2)).yours(), old);
    assert_eq!(b.one(&renew(1, old)).kind(), message::ACK);
    assert_eq!(b.one(&renew(3, old).id(&node(1, DUID))).kind(), message::NAK);
}

/// Section 6.5: RFC 2132's shortest length is gone. An empty one is none.
#[test]
fn an_identifier_of_one_byte_is_one() {
    let mut b = Bench::new();
    let first = b.one(&discover(1).id(b"a"));
    assert_eq!(first.options.get(61), Some(&b"a"[..]));
    assert_eq!(b.one(&select(1, first.yours()).id(b"a")).kind(), message::ACK);
    assert_eq!(b.one(&discover(2).id(b"a")).yours(), first.yours(), "on other hardware");
    assert_ne!(b.one(&discover(3).id(b"b")).yours(), first.yours());
    assert_ne!(b.one(&discover(4).id(b"")).yours(), first.yours());
    assert_eq!(b.one(&discover(1).id(b"")).options.get(61), None);
}
