//! How values are written, rule by rule.

use super::*;
use crate::conf::lexer::tokens;
use crate::conf::sources::RecordedSources;

/// Reads `text` with `read` to its end: the value, or the first problem with its column.
fn read<T>(
    text: &str,
    read: impl FnOnce(&mut Arguments) -> Result<T, Problem>,
) -> Result<(T, Vec<String>), String> {
    let file = SourceFile::new("f".into(), text.as_bytes().into()).unwrap();
    let words = tokens(&file, &mut Vec::new());
    let mut sources = RecordedSources::default();
    sources.add_addresses("ns.example", &[Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::LOCALHOST]);
    sources.add_ethernet("printer.example", [2, 0, 0, 0, 0, 1]);
    let mut arguments = Arguments::new(&file, &words, "", &mut sources);
    let result = read(&mut arguments).and_then(|value| {
        arguments.end("the end")?;
        Ok(value)
    });
    let warnings = arguments.problems.into_iter().map(|p| p.text).collect();
    result.map(|value| (value, warnings)).map_err(|p| format!("{}: {}", p.offset + 1, p.text))
}

fn good<T>(text: &str, how: impl FnOnce(&mut Arguments) -> Result<T, Problem>) -> T {
    let (value, warnings) = read(text, how).unwrap();
    assert_eq!(warnings, [""; 0]);
    value
}

fn bad<T: std::fmt::Debug>(
    text: &str,
    how: impl FnOnce(&mut Arguments) -> Result<T, Problem>,
) -> String {
    read(text, how).unwrap_err()
}

#[test]
fn integers_are_decimal_or_octal_and_in_range() {
    assert_eq!(good("600", |a| a.integer(0, 999)), 600);
    assert_eq!(good("0", |a| a.integer(0, 999)), 0);
    assert_eq!(good("007", |a| a.integer(0, 999)), 7);
    let octal = |text: &str| read(text, |a| a.integer(-999, 999)).unwrap();
    let said = |value| vec![format!("this begins with 0, and so is octal: {value} in decimal")];
    assert_eq!(octal("010"), (8, said(8)));
    assert_eq!(octal("-0777"), (-511, said(-511)));
    assert_eq!(good("4294967295", |a| a.u32()), u32::MAX);
    assert!(bad("08", |a| a.integer(0, 9)).contains("octal"));
    assert!(bad("0x1f", |a| a.integer(0, 99)).contains("not hexadecimal"));
    assert_eq!(bad("1f", |a| a.integer(0, 99)), "1: expected a number, found `1f`");
    assert_eq!(bad("-", |a| a.integer(0, 99)), "1: expected a number, found `-`");
    assert_eq!(bad("", |a| a.integer(0, 99)), "1: expected a number, found the end");
    assert_eq!(bad("\"1\"", |a| a.integer(0, 99)), "1: expected a number, found \"1\"");
    for large in ["4294967296", "-1", "99999999999999999999999", "-99999999999999999999999"] {
        let error = bad(large, |a| a.u32());
        assert_eq!(error, format!("1: `{large}` is out of range: 0 to 4294967295 is allowed"));
    }
}

#[test]
fn booleans() {
    for (text, value) in [("true", true), ("On", true), ("FALSE", false), ("off", false)] {
        assert_eq!(good(text, |a| a.boolean()), value);
    }
    for text in ["yes", "1", "\"true\"", ""] {
        assert!(bad(text, |a| a.boolean()).contains("expected `true`"), "{text}");
    }
}

#[test]
fn addresses_are_four_decimal_octets() {
    assert_eq!(good("10.0.0.255", |a| a.address()), Ipv4Addr::new(10, 0, 0, 255));
    assert_eq!(bad("10.0.0.256", |a| a.address()), "8: an octet of an address is from 0 to 255");
    assert_eq!(bad("10.0.0.0300", |a| a.address()), "8: an octet of an address is from 0 to 255");
    assert!(bad("10.0.1", |a| a.address()).contains("another octet"));
    assert!(bad("10.0.0.0.1", |a| a.address()).starts_with("9: expected the end"));
    assert!(bad("10.0.0.", |a| a.address()).starts_with("8: expected an octet"));
    assert!(bad("10.0.0.1a", |a| a.address()).starts_with("8: expected an octet"));
    let (address, warnings) = read("010.0.0.08", |a| a.address()).unwrap();
    assert_eq!(address, Ipv4Addr::new(10, 0, 0, 8));
    assert_eq!(warnings.len(), 1);
}

#[test]
fn host_names_are_resolved_and_numbers_are_not() {
    let ns = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(good("ns.example", |a| a.host_addresses()), [ns, Ipv4Addr::LOCALHOST]);
    assert_eq!(good("ns.example", |a| a.host_address()), ns);
    assert_eq!(good("10.0.0.1", |a| a.host_address()), Ipv4Addr::new(10, 0, 0, 1));
    assert!(bad("10.1", |a| a.host_address()).contains("another octet"));
    assert!(bad("0x7f000001", |a| a.host_address()).contains("neither"));
    assert!(bad("a.1", |a| a.host_address()).contains("neither"));
    for none in ["-x", "a.-x", "_x", "a._x"] {
        assert!(bad(none, |a| a.host_address()).contains("expected a"), "{none}");
    }
    assert!(bad("no.example", |a| a.host_address()).starts_with("1: look up no.example"));
    assert!(bad("a.", |a| a.host_address()).contains("after the dot"));
    assert!(bad("300.1.1.1", |a| a.host_address()).contains("0 to 255"));
    let long = ["a"; 200].join(".");
    assert!(bad(&long, |a| a.host_address()).contains("longer than 253"));
    assert_eq!(good("printer.example", |a| a.ethers_name()), [2, 0, 0, 0, 0, 1]);
    assert!(bad("nobody", |a| a.ethers_name()).contains("nobody"));
    assert!(bad("00-1A-22-33-44-55", |a| a.ethers_name()).ends_with("00:1A:22:33:44:55"));
}

#[test]
fn octets_are_hexadecimal() {
    assert_eq!(good("0:1f:FF:007", |a| a.octets(16)), [0, 0x1f, 0xff, 7]);
    assert_eq!(bad("0:100", |a| a.octets(16)), "3: `100` is not an octet: 0 to ff, in hexadecimal");
    assert!(bad("0:-1", |a| a.octets(16)).starts_with("3: expected hexadecimal octets"));
    assert!(bad("0:", |a| a.octets(16)).starts_with("3: expected hexadecimal octets"));
    assert_eq!(bad("0:0:0", |a| a.octets(2)), "1: more than 2 octets");
}

#[test]
fn prefixes_may_be_shortened() {
    let of = |text| good(text, |a| a.prefix());
    assert_eq!(of("10/8"), (Ipv4Addr::new(10, 0, 0, 0), 8));
    assert_eq!(of("0/0"), (Ipv4Addr::UNSPECIFIED, 0));
    assert_eq!(of("192.0.2.1/32"), (Ipv4Addr::new(192, 0, 2, 1), 32));
    assert_eq!(of("172.16/12"), (Ipv4Addr::new(172, 16, 0, 0), 12));
    assert!(bad("10/33", |a| a.prefix()).contains("from 0 to 32"));
    assert!(bad("10.0.0.0", |a| a.prefix()).contains("`/`"));
    let (prefix, warnings) = read("10.1.255/20", |a| a.prefix()).unwrap();
    assert_eq!(prefix, (Ipv4Addr::new(10, 1, 240, 0), 20));
    assert_eq!(warnings, ["bits outside of the prefix are dropped: 10.1.240.0/20"]);
}

#[test]
fn dates_are_in_utc() {
    assert_eq!(good("4 1970/01/01 00:00:00", |a| a.date()), 0);
    assert_eq!(good("2 2026/06/30 10:00:00 UTC", |a| a.date()), 1_782_813_600);
    assert_eq!(good("2 2000/02/29 23:59:59", |a| a.date()), 951_868_799);
    assert_eq!(good("5 9999/12/31 00:00:00", |a| a.date()), 253_402_214_400);
    assert_eq!(good("9 1970/01/02 00:00:00", |a| a.date()), 86_400, "whatever day that is");
    for none in [
        "2 2023/02/29 0:0:0",
        "2 1969/12/31 0:0:0",
        "2 2023/13/01 0:0:0",
        "2 2023/00/01 0:0:0",
        "2 2023/04/31 0:0:0",
        "2 2023/04/00 0:0:0",
        "2 2023/04/01 24:0:0",
        "2023/04/01 1:0:0",
        "2 2023-04-01 1:0:0",
        "2 2023/04/01 1:0",
    ] {
        bad(none, |a| a.date());
    }
}

#[test]
fn one_bad_item_of_a_list_does_not_hide_another() {
    let (list, problems) =
        read("1.2.3.4, 1.2.3.400, x.example, 5.6.7.8", |a| a.list(|a| a.host_address())).unwrap();
    assert_eq!(list, [Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(5, 6, 7, 8)]);
    assert_eq!(problems.len(), 2);
    assert!(bad("1.2.3.4,", |a| a.list(|a| a.address())).starts_with("9: expected an octet"));
    assert!(bad("1.2.3.4 5.6.7.8", |a| a.list(|a| a.address())).contains("expected the end"));
}

#[test]
fn masks() {
    assert_eq!(
        [prefix_mask(0), prefix_mask(1), prefix_mask(24), prefix_mask(32)],
        [0, 0x8000_0000, 0xffff_ff00, u32::MAX]
    );
}
