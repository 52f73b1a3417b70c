//! Writes a record. On the way of every ACK, so it neither allocates nor formats.
//!
//! What a client says about itself is written such that no reader, ours or another dhcpd's, can
//! take it for anything else than what it is.

use super::{MAX_CLIENT_ID, MAX_HARDWARE, MAX_NAME, date};
use crate::dotted::{self, Dotted};
use crate::lease::LeaseView;

/// Appends one record in the format of dhcpd.leases(5).
///
/// Times outside the years 1970 to 9999 are clamped. An empty or over-long hardware address, client
/// identifier or name is left out, and so is a name that no reader could be trusted with: any byte
/// outside printable ASCII, and quote and backslash, for which the readers in the field have no
/// common escape.
pub fn append_record(out: &mut Vec<u8>, record: &LeaseView<'_>) {
    out.reserve(256);
    out.extend_from_slice(b"lease ");
    out.extend_from_slice(Dotted(record.address).text(&mut [0; dotted::LONGEST]).as_bytes());
    out.extend_from_slice(b" {\n\tstarts ");
    out.extend_from_slice(&date::format(record.starts));
    out.extend_from_slice(b";\n\tends ");
    out.extend_from_slice(&date::format(record.ends));
    out.extend_from_slice(b";\n");
    if let Some((htype, addr)) = record.hardware
        && (1..=MAX_HARDWARE).contains(&addr.len())
    {
        out.extend_from_slice(b"\thardware ");
        match hardware_name(htype) {
            Some(name) => out.extend_from_slice(name),
            None => {
                out.extend_from_slice(b"unknown-");
                append_decimal(out, htype);
            }
        }
        out.push(b' ');
        append_hex(out, addr);
        out.extend_from_slice(b";\n");
    }
    if let Some(id) = record.client_id
        && (1..=MAX_CLIENT_ID).contains(&id.len())
    {
        out.extend_from_slice(b"\tuid ");
        append_hex(out, id);
        out.extend_from_slice(b";\n");
    }
    if record.dynamic_bootp {
        out.extend_from_slice(b"\tdynamic-bootp;\n");
    }
    if record.abandoned {
        out.extend_from_slice(b"\tabandoned;\n");
    }
    append_name(out, b"\tclient-hostname \"", record.client_hostname);
    append_name(out, b"\thostname \"", record.hostname);
    out.extend_from_slice(b"}\n");
}

/// The types that have a name; 31 is OpenBSD's.
fn hardware_name(htype: u8) -> Option<&'static [u8]> {
    match htype {
        1 => Some(b"ethernet"),
        6 => Some(b"token-ring"),
        8 => Some(b"fddi"),
        31 => Some(b"ipsec-tunnel"),
        _ => None,
    }
}

fn append_decimal(out: &mut Vec<u8>, n: u8) {
    let digits = [b'0' + n / 100, b'0' + n / 10 % 10, b'0' + n % 10];
    let skip = usize::from(n < 100) + usize::from(n < 10);
    out.extend_from_slice(&digits[skip..]);
}

/// Octets in hex with colons between.
fn append_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 3);
    for byte in bytes {
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        out.extend_from_slice(&[high, low, b':']);
    }
    if !bytes.is_empty() {
        out.pop();
    }
}

/// Writes a name, or nothing if it is not fit to be written.
fn append_name(out: &mut Vec<u8>, before: &[u8], name: Option<&[u8]>) {
    if let Some(name) = name
        && (1..=MAX_NAME).contains(&name.len())
        && name.iter().all(|&b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
    {
        out.extend_from_slice(before);
        out.extend_from_slice(name);
        out.extend_from_slice(b"\";\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn full() -> LeaseView<'static> {
        LeaseView {
            address: Ipv4Addr::new(192, 0, 2, 10),
            starts: 1_782_813_600,
            ends: 1_782_856_800,
            hardware: Some((1, &[0, 0x11, 0x22, 0x33, 0x44, 0x55])),
            client_id: Some(&[1, 0, 0x11, 0x22, 0x33, 0x44, 0x55]),
            dynamic_bootp: true,
            abandoned: true,
            client_hostname: Some(b"name"),
            hostname: Some(b"name.example"),
        }
    }

    fn text(record: &LeaseView<'_>) -> String {
        let mut out = Vec::new();
        append_record(&mut out, record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_statement() {
        let expected = "lease 192.0.2.10 {\n\
            \tstarts 2 2026/06/30 10:00:00 UTC;\n\
            \tends 2 2026/06/30 22:00:00 UTC;\n\
            \thardware ethernet 00:11:22:33:44:55;\n\
            \tuid 01:00:11:22:33:44:55;\n\
            \tdynamic-bootp;\n\
            \tabandoned;\n\
            \tclient-hostname \"name\";\n\
            \thostname \"name.example\";\n\
            }\n";
        assert_eq!(text(&full()), expected);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let record = LeaseView {
            address: Ipv4Addr::new(10, 0, 0, 255),
            starts: 0,
            ends: 0,
            hardware: Some((1, &[])),
            client_id: Some(&[]),
            dynamic_bootp: false,
            abandoned: false,
            client_hostname: Some(b""),
            hostname: None,
        };
        let expected = "lease 10.0.0.255 {\n\
            \tstarts 4 1970/01/01 00:00:00 UTC;\n\
            \tends 4 1970/01/01 00:00:00 UTC;\n\
            }\n";
        assert_eq!(text(&record), expected);
    }

    #[test]
    fn hardware_types_by_name() {
        for (htype, name) in [
            (1, "ethernet"),
            (6, "token-ring"),
            (8, "fddi"),
            (31, "ipsec-tunnel"),
            (0, "unknown-0"),
        ] {
            let line = text(&LeaseView { hardware: Some((htype, &[0xab])), ..full() });
            assert!(line.contains(&format!("\thardware {name} ab;\n")), "{line}");
        }
        let line = text(&LeaseView { hardware: Some((255, &[1; 16])), ..full() });
        assert!(line.contains("\thardware unknown-255 01:"), "{line}");
        let line = text(&LeaseView { hardware: Some((1, &[1; 17])), ..full() });
        assert!(!line.contains("hardware"), "{line}");
    }

    /// a client's name cannot become a statement.
    #[test]
    fn unfit_names_are_left_out() {
        for name in [
            &b"a\"; abandoned; client-hostname \"b"[..],
            b"\\",
            b"a\\",
            b"two words",
            b"tab\t",
            b"line\n",
            b"nul\0",
            b"\x7f",
            b"caf\xc3\xa9",
            &[b'a'; MAX_NAME + 1],
        ] {
            let out =
                text(&LeaseView { client_hostname: Some(name), hostname: Some(name), ..full() });
            assert!(!out.contains("hostname"), "{out}");
        }
        let out = text(&LeaseView { client_hostname: Some(b"a;}#{'b"), ..full() });
        assert!(out.contains("\tclient-hostname \"a;}#{'b\";\n"), "{out}");
    }
}
