//! Bytes as the original sends them, and that nothing which might come instead does harm.

use super::*;
use proptest::prelude::*;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// What the C client of chiark-utils 7.0.0 sends for such a call.
const SENT: &[u8] = b"\0\0\0\x27A=1\0EMPTY=\0B==x\0\0perl\0./t.pl\0second\0\0x\0";

#[test]
fn a_request_of_the_original_is_read_and_written() {
    let (length, body) = SENT.split_at(4);
    assert_eq!(request_length(length.try_into().unwrap()), Ok(body.len()));
    let request = Request::decode(body).unwrap();
    assert_eq!(request.arguments, words(&["perl", "./t.pl", "second", "", "x"]));
    assert_eq!(request.arguments_after(2), words(&["second", "", "x"]));
    assert_eq!(request.arguments_after(9), words(&[]));
    let pairs = [("A", "1"), ("EMPTY", ""), ("B", "=x")];
    assert_eq!(request.environment, pairs.map(|(n, v)| (n.into(), v.into())));
    assert_eq!(request.variable(OsStr::new("B")), Some(OsStr::new("=x")));
    assert_eq!(request.variable(OsStr::new("C")), None);
    assert_eq!(request.encode().unwrap(), SENT);
}

#[test]
fn the_last_of_two_variables_counts() {
    let request = Request::decode(b"A=1\0A=2\0\0").unwrap();
    assert_eq!(request.variable(OsStr::new("A")), Some(OsStr::new("2")));
    assert!(request.arguments.is_empty());
}

#[test]
fn a_request_without_its_ends_is_refused() {
    assert_eq!(Request::decode(b""), Err(Malformed::Environment));
    assert_eq!(Request::decode(b"A=1\0"), Err(Malformed::Environment));
    assert_eq!(Request::decode(b"A\0\0"), Err(Malformed::Entry));
    assert_eq!(Request::decode(b"A=1\0\0perl"), Err(Malformed::Unfinished));
    assert_eq!(Request::decode(b"=A\0\0").unwrap().environment, [("".into(), "A".into())]);
    assert_eq!(Request::decode(b"=A=b\0\0").unwrap().environment, [("=A".into(), "b".into())]);
    assert_eq!(Request::decode(b"=\0\0").unwrap().environment, [("".into(), "".into())]);
}

#[test]
fn lengths_have_a_limit() {
    let over = MAX_REQUEST + 1;
    assert_eq!(request_length(over.to_be_bytes()), Err(Malformed::Long(over)));
    assert_eq!(request_length(MAX_REQUEST.to_be_bytes()), Ok(MAX_REQUEST as usize));
    assert_eq!(announce(MAX_REQUEST as usize), Ok(MAX_REQUEST.to_be_bytes()));
    assert_eq!(announce(over as usize), Err(Malformed::Long(over)));
    assert_eq!(announce(usize::MAX), Err(Malformed::Long(u32::MAX)));
    let word = OsString::from("x".repeat(MAX_REQUEST as usize));
    let request = Request { arguments: vec![word], ..Request::default() };
    assert_eq!(request.encode(), Err(Malformed::Long(MAX_REQUEST + 2)));
}

#[test]
fn a_greeting_is_known() {
    assert_eq!(greeting(GREETING), Ok(0));
    assert_eq!(greeting(*b"PFI\n\0\0\0\x05"), Ok(5));
    assert_eq!(greeting(*b"PFI\n\x05\0\0\0"), Err(Malformed::Extra(5 << 24)));
    assert_eq!(greeting(*b"HTTP/1.1"), Err(Malformed::Magic));
}

#[test]
fn a_status_is_as_wait_has_it() {
    assert_eq!(Status::decode([0, 0, 7, 0]), Ok(Status::Exited(7)));
    assert_eq!(Status::decode([0, 0, 0, 2]), Ok(Status::Signaled { signal: 2, core: false }));
    assert_eq!(Status::decode([0, 0, 0, 0x8b]), Ok(Status::Signaled { signal: 11, core: true }));
    for stopped in [0x137f_u32, 0xffff, 0x0080, 0x0107, 0x8000_0000, 0x0001_0000] {
        assert_eq!(Status::decode(stopped.to_be_bytes()), Err(Malformed::Status(stopped)));
    }
    assert_eq!(Status::from_wait_status(255 << 8), Some(Status::Exited(255)));
    assert_eq!(Status::from_wait_status(-1), None);
}

proptest! {
    #[test]
    fn any_status_comes_back(code: u8, signal in 1..0x7f_u8, core: bool) {
        for status in [Status::Exited(code), Status::Signaled { signal, core }] {
            prop_assert_eq!(Status::decode(status.encode()), Ok(status));
        }
    }

    #[test]
    fn any_request_comes_back(
        names in proptest::collection::vec(("[^\0=][^\0=]{0,9}", "[^\0]{0,20}"), 0..9),
        arguments in proptest::collection::vec("[^\0]{0,20}", 0..9),
    ) {
        let environment = names.iter().map(|(n, v)| (n.into(), v.into())).collect();
        let request = Request { environment, arguments: arguments.iter().map(Into::into).collect() };
        let bytes = request.encode().unwrap();
        let (length, body) = bytes.split_at(4);
        prop_assert_eq!(request_length(length.try_into().unwrap()), Ok(body.len()));
        prop_assert_eq!(Request::decode(body), Ok(request));
    }

    #[test]
    fn what_is_read_is_written_the_same(
        bytes in proptest::collection::vec(prop_oneof![Just(0), Just(b'='), any::<u8>()], 0..99)
    ) {
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(&request.encode().unwrap()[4..], &bytes);
        }
    }
}
