//! Every rule of a list, each broken once; and any list, there and back.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// An entry put together by hand: type, announced length of the name, announced length of the
/// value, and what follows as it is.
fn entry(kind: u8, name_length: u8, length: u32, fields: &[&[u8]]) -> Vec<u8> {
    let mut entry = vec![kind, name_length];
    entry.extend_from_slice(&length.to_le_bytes());
    entry.extend(fields.concat());
    entry
}

/// The name `x`, as it should be.
const X: &[u8] = b"x\0\0\0\0\0\0\0";
const ONE: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0];

fn error(bytes: &[u8]) -> NvError {
    Nv::decode(bytes).map(|nv| nv.entries().count()).expect_err("malformed")
}

#[test]
fn a_list_without_entries_is_a_list() {
    assert_eq!(Nv::decode(b"").unwrap().entries().count(), 0);
    assert_eq!(Nv::decode(&[0; 4096]).unwrap().entries().count(), 0);
}

#[test]
fn a_type_byte_of_0_ends_the_list() {
    let mut block = entry(2, 2, 1, &[X, ONE]);
    block.extend_from_slice(&[0, 0xff, 0xff, 0x80, 1]);
    let nv = Nv::decode(&block).unwrap();
    assert_eq!(nv.entries().count(), 1);
    assert_eq!(nv.get_u8("x"), Ok(Some(1)));
}

#[test]
fn what_fills_up_is_ignored() {
    let wire = entry(4, 2, 2, &[b"x\0garbag", &[1, 2, 9, 9, 9, 9, 9, 9]]);
    assert_eq!(Nv::decode(&wire).unwrap().get_u16("x"), Ok(Some(0x201)));
}

#[test]
fn malformed_lists_are_refused_each_with_its_own_error() {
    let scalar = |kind, length| NvError::ScalarLength { kind, length };
    let array = |kind, length| NvError::ArrayLength { kind, length };
    for (bytes, wanted) in [
        (vec![2], NvError::Truncated),
        (vec![2, 2, 1, 0, 0], NvError::Truncated),
        (entry(2, 2, 1, &[b"x"]), NvError::NameTruncated),
        (entry(2, 2, 1, &[b"x\0\0\0\0\0\0"]), NvError::NameTruncated),
        (entry(2, 9, 1, &[X, ONE]), NvError::NameNul),
        (entry(2, 255, 1, &[X, ONE]), NvError::NameTruncated),
        (entry(0x82, 2, 1, &[X, ONE]), NvError::HostOrder),
        (entry(0x80, 2, 1, &[X, ONE]), NvError::HostOrder),
        (entry(18, 2, 1, &[X, ONE]), NvError::UnknownKind(18)),
        (entry(0x7f, 2, 1, &[X, ONE]), NvError::UnknownKind(0x7f)),
        (entry(2, 0, 1, &[ONE]), NvError::NameLength(0)),
        (entry(2, 1, 1, &[X, ONE]), NvError::NameLength(1)),
        (entry(2, 2, 1, &[b"xx\0\0\0\0\0\0", ONE]), NvError::NameEnd),
        (entry(2, 3, 1, &[X, ONE]), NvError::NameNul),
        (entry(2, 2, 1, &[b"\0\0\0\0\0\0\0\0", ONE]), NvError::NameNul),
        (entry(2, 2, 0, &[X]), NvError::EmptyValue),
        (entry(10, 2, 0, &[X]), NvError::EmptyValue),
        (entry(17, 2, 0, &[X]), NvError::EmptyValue),
        (entry(2, 2, 1, &[X]), NvError::ValueTruncated(1)),
        (entry(2, 2, 1, &[X, &ONE[..7]]), NvError::ValueTruncated(1)),
        (entry(10, 2, 9, &[X, ONE]), NvError::ValueTruncated(9)),
        // Where 32 bits would overflow when rounded up.
        (entry(10, 2, u32::MAX, &[X, ONE]), NvError::ValueTruncated(u32::MAX)),
        (entry(10, 2, u32::MAX - 6, &[X, ONE]), NvError::ValueTruncated(u32::MAX - 6)),
        (entry(1, 2, 2, &[X, ONE]), scalar(Kind::Int8, 2)),
        (entry(2, 2, 8, &[X, ONE]), scalar(Kind::Uint8, 8)),
        (entry(3, 2, 1, &[X, ONE]), scalar(Kind::Int16, 1)),
        (entry(4, 2, 4, &[X, ONE]), scalar(Kind::Uint16, 4)),
        (entry(5, 2, 3, &[X, ONE]), scalar(Kind::Int32, 3)),
        (entry(6, 2, 8, &[X, ONE]), scalar(Kind::Uint32, 8)),
        (entry(7, 2, 4, &[X, ONE]), scalar(Kind::Int64, 4)),
        (entry(8, 2, 7, &[X, ONE]), scalar(Kind::Uint64, 7)),
        (entry(11, 2, 3, &[X, ONE]), array(Kind::Int16Array, 3)),
        (entry(12, 2, 1, &[X, ONE]), array(Kind::Uint16Array, 1)),
        (entry(13, 2, 6, &[X, ONE]), array(Kind::Int32Array, 6)),
        (entry(14, 2, 2, &[X, ONE]), array(Kind::Uint32Array, 2)),
        (entry(15, 2, 4, &[X, ONE]), array(Kind::Int64Array, 4)),
        (entry(16, 2, 7, &[X, ONE]), array(Kind::Uint64Array, 7)),
        (entry(17, 2, 3, &[X, b"abc\0\0\0\0\0"]), NvError::StringEnd),
        (entry(17, 2, 4, &[X, b"a\0c\0\0\0\0\0"]), NvError::StringNul),
        (vec![0; MAX + 1], NvError::TooLong(MAX + 1)),
    ] {
        assert_eq!(error(&bytes), wanted, "{bytes:02x?}");
        if bytes.len() < MAX {
            let after = [entry(2, 2, 1, &[X, ONE]), bytes].concat();
            assert_eq!(error(&after), wanted, "behind a sound entry");
        }
    }
}

#[test]
fn the_first_of_two_holds() {
    let mut list = Vec::new();
    put_u8(&mut list, "x", 1);
    put_u8(&mut list, "x", 2);
    assert_eq!(Nv::decode(&list).unwrap().get_u8("x"), Ok(Some(1)));
}

#[test]
fn another_type_is_not_absent() {
    let mut list = Vec::new();
    put_u8(&mut list, "x", 1);
    let nv = Nv::decode(&list).unwrap();
    let wrong = |wanted| NvError::WrongKind { name: "x".to_owned(), wanted, found: Kind::Uint8 };
    assert_eq!(nv.get_u8("y"), Ok(None));
    assert_eq!(nv.get_string("y"), Ok(None));
    assert_eq!(nv.get_bytes("y"), Ok(None));
    assert_eq!(nv.get_i8("x"), Err(wrong(Kind::Int8)));
    assert_eq!(nv.get_u64("x"), Err(wrong(Kind::Uint64)));
    assert_eq!(nv.get_string("x"), Err(wrong(Kind::String)));
    assert_eq!(nv.get_bytes("x"), Err(wrong(Kind::Uint8Array)));
    assert!(nv.has("x") && !nv.has("y"), "a flag has any type");
}

#[test]
fn what_a_list_cannot_say_is_not_written() {
    let mut out = vec![7];
    let long = [b'n'; 255];
    let one = Value::Uint8(1);
    for name in [b"".as_slice(), b"a\0b", &long] {
        let shown = name.escape_ascii().to_string();
        assert_eq!(put(&mut out, name, &one), Err(NvError::Name(shown)));
    }
    let none = Value::Uint32Array(Vec::new());
    assert_eq!(put(&mut out, b"x", &none), Err(NvError::EmptyValue));
    assert_eq!(put_u8_array(&mut out, "x", b""), Err(NvError::EmptyValue));
    assert_eq!(put_string(&mut out, "x", "a\0b"), Err(NvError::StringNul));
    assert_eq!(put_u8_array(&mut out, "x", &[0; MAX + 1]), Err(NvError::TooLong(MAX + 1)));
    assert_eq!(out, [7]);
    put(&mut out, &long[..254], &one).unwrap();
    assert_eq!(out.len(), 1 + HEADER + 256 + 8);
    put_string(&mut out, "x", "").unwrap();
    let nv = Nv::decode(&out[1..]).unwrap();
    assert_eq!(nv.get_string("x"), Ok(Some("")));
    assert!(nv.has(str::from_utf8(&long[..254]).unwrap()));
}

#[test]
fn kinds_have_their_numbers() {
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(kind as u8), at + 1);
        assert_eq!(Kind::of(kind as u8), Some(kind));
    }
    assert_eq!((Kind::of(0), Kind::of(18), Kind::of(255)), (None, None, None));
    assert_eq!((Kind::Uint8Array as u8, Kind::String as u8), (10, 17));
}

/// A value of any type.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i8>().prop_map(Value::Int8),
        any::<u8>().prop_map(Value::Uint8),
        any::<i16>().prop_map(Value::Int16),
        any::<u16>().prop_map(Value::Uint16),
        any::<i32>().prop_map(Value::Int32),
        any::<u32>().prop_map(Value::Uint32),
        any::<i64>().prop_map(Value::Int64),
        any::<u64>().prop_map(Value::Uint64),
        vec(any::<i8>(), 1..20).prop_map(Value::Int8Array),
        vec(any::<u8>(), 1..20).prop_map(Value::Uint8Array),
        vec(any::<i16>(), 1..20).prop_map(Value::Int16Array),
        vec(any::<u16>(), 1..20).prop_map(Value::Uint16Array),
        vec(any::<i32>(), 1..20).prop_map(Value::Int32Array),
        vec(any::<u32>(), 1..20).prop_map(Value::Uint32Array),
        vec(any::<i64>(), 1..20).prop_map(Value::Int64Array),
        vec(any::<u64>(), 1..20).prop_map(Value::Uint64Array),
        vec(1..=u8::MAX, 0..20).prop_map(Value::String),
    ]
}

fn list() -> impl Strategy<Value = Vec<(Vec<u8>, Value)>> {
    vec((vec(1..=u8::MAX, 1..=254), value()), 0..12)
}

fn encode(list: &[(Vec<u8>, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in list {
        put(&mut out, name, value).unwrap();
    }
    out
}

proptest! {
    #[test]
    fn any_list_comes_back(list in list()) {
        let wire = encode(&list);
        let nv = Nv::decode(&wire).unwrap();
        let back: Vec<_> = nv.entries().map(|e| (e.name.to_vec(), e.value())).collect();
        prop_assert_eq!(back, list);
    }

    #[test]
    fn a_list_cut_between_entries_is_shorter_and_elsewhere_refused(list in list()) {
        let wire = encode(&list);
        let ends: Vec<usize> = (0..=list.len()).map(|n| encode(&list[..n]).len()).collect();
        for cut in 0..=wire.len() {
            match Nv::decode(&wire[..cut]) {
                Ok(nv) => {
                    let whole = ends.iter().position(|end| *end == cut);
                    prop_assert_eq!(Some(nv.entries().count()), whole);
                }
                Err(_) => prop_assert!(!ends.contains(&cut)),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Nv::decode(&bytes).map(|nv| nv.entries().map(|e| e.value()).collect::<Vec<_>>());
    }

    #[test]
    fn a_list_with_a_wrong_byte_is_read_or_refused(
        list in list(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut wire = encode(&list);
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        if let Ok(nv) = Nv::decode(&wire) {
            let back: Vec<_> = nv.entries().map(|e| (e.name.to_vec(), e.value())).collect();
            prop_assert_eq!(Nv::decode(&encode(&back)).unwrap().entries().count(), back.len());
        }
    }
}
