//! Tests of the lease file's text as a whole: what is written is read, whatever it holds and
//! whatever happened to it since.

mod openbsd;
mod torn;

use super::read::with_chunk;
use super::*;
use crate::config::Hardware;
use crate::lease::{LeaseRecord, NEVER};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::Ipv4Addr;

type Told = Result<LeaseRecord, Problem>;

fn records(text: &[u8]) -> Vec<LeaseRecord> {
    read(text).filter_map(Result::ok).collect()
}

fn only(text: &str) -> LeaseRecord {
    let told: Vec<Told> = read(text.as_bytes()).collect();
    match told.as_slice() {
        [Ok(record)] => record.clone(),
        other => panic!("{other:?}"),
    }
}

fn problems(text: &str) -> Vec<(u64, ProblemKind)> {
    read(text.as_bytes()).filter_map(Result::err).map(|p| (p.line, p.kind)).collect()
}

fn written(record: &LeaseRecord) -> Vec<u8> {
    let mut out = Vec::new();
    append_record(&mut out, &record.view());
    out
}

/// Names that are written as they are.
fn fit_name() -> impl Strategy<Value = Option<Vec<u8>>> {
    let byte = (0x21u8..=0x7e).prop_filter("protected", |b| !matches!(b, b'"' | b'\\'));
    option::of(vec(byte, 1..=MAX_NAME))
}

/// Names a client may try: any bytes, and what would do harm.
fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        any::<u8>().prop_map(|b| vec![b]),
        prop_oneof![
            Just("\""),
            Just("\\"),
            Just(";"),
            Just("{"),
            Just("}"),
            Just("\n"),
            Just("\r"),
            Just("\t"),
            Just(" "),
            Just("#"),
            Just("\0"),
            Just("\";"),
            Just("\\\""),
            Just("lease"),
            Just("\nlease 10.0.0.1 {"),
            Just("abandoned;"),
            Just("uid"),
            Just("uid\"x\";"),
            Just("}\nlease 10.9.9.9 {\n"),
            Just("hardware ethernet 1:2:3:4:5:6;"),
            Just("a"),
        ]
        .prop_map(|s| s.as_bytes().to_vec()),
    ];
    vec(parts, 0..12).prop_map(|parts| parts.concat())
}

fn any_record() -> impl Strategy<Value = LeaseRecord> {
    let hardware = (any::<u8>(), vec(any::<u8>(), 1..=MAX_HARDWARE));
    let client_id = prop_oneof![
        9 => vec(any::<u8>(), 1..40),
        1 => vec(any::<u8>(), MAX_CLIENT_ID - 1..=MAX_CLIENT_ID)
    ];
    (
        (any::<u32>(), 0..=NEVER, 0..=NEVER),
        option::of(hardware.prop_map(|(htype, addr)| Hardware { htype, addr })),
        option::of(client_id),
        (any::<bool>(), any::<bool>()),
        (fit_name(), fit_name()),
    )
        .prop_map(|((address, starts, ends), hardware, client_id, flags, names)| LeaseRecord {
            address: Ipv4Addr::from(address),
            starts,
            ends,
            hardware,
            client_id,
            dynamic_bootp: flags.0,
            abandoned: flags.1,
            client_hostname: names.0,
            hostname: names.1,
        })
}

/// Text that looks like a lease file and is none.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => any_record().prop_map(|r| written(&r)),
        2 => any_name(),
        1 => vec(any::<u8>(), 0..40),
        2 => prop_oneof![
            Just("lease 10.0.0.1 {\n"), Just("\tstarts 1 "), Just("ends never;\n"), Just("}"),
            Just("  uid \"\\001\\0"), Just("  binding state free;"), Just("on expiry {"),
            Just("\tclient-hostname \""), Just("\";\n"), Just("  hardware ethernet 1:2"),
            Just("set x = \"\\\"\";"), Just("lease"), Just("\nlease "), Just("# c"),
        ].prop_map(|s| s.as_bytes().to_vec()),
    ];
    (vec(part, 0..12), any::<proptest::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(parts, index, byte, change)| {
            let mut text = parts.concat();
            if change && !text.is_empty() {
                let at = index.index(text.len());
                text[at] = byte;
            }
            text
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in vec(any_record(), 0..6)) {
        let text: Vec<u8> = records.iter().flat_map(written).collect();
        let told: Vec<Told> = read(&text).collect();
        prop_assert_eq!(told, records.into_iter().map(Ok).collect::<Vec<_>>());
    }

    /// Whatever the bytes, reading ends, and how they come in does not matter.
    #[test]
    fn anything_is_read_in_any_pieces(text in damaged(), chunk in 1usize..50) {
        let whole: Vec<Told> = read(&text).collect();
        let pieces: Vec<Told> = with_chunk(text.as_slice(), chunk).collect();
        prop_assert_eq!(whole, pieces);
    }

    /// Damage does not reach past the next line that begins a record.
    #[test]
    fn the_record_after_damage_is_read(mut text in damaged(), record in any_record()) {
        text.push(b'\n');
        text.extend_from_slice(&written(&record));
        prop_assert_eq!(records(&text).pop(), Some(record));
    }

    /// A file cut anywhere, as a crash does, holds all records before the cut.
    #[test]
    fn a_cut_costs_the_last_record_only(
        all in vec(any_record(), 1..4),
        index in any::<proptest::sample::Index>(),
    ) {
        let mut text = Vec::new();
        let mut ends = Vec::new();
        for record in &all {
            append_record(&mut text, &record.view());
            ends.push(text.len() - 1); // the last newline may go
        }
        let cut = index.index(text.len() + 1);
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let told: Vec<Told> = read(&text[..cut]).collect();
        let expected: Vec<Told> = all[..whole].iter().cloned().map(Ok).collect();
        prop_assert_eq!(&told[..whole], &expected);
        prop_assert!(told[whole..].iter().all(|t| matches!(t, Err(p) if p.kind == ProblemKind::Torn)));
        prop_assert!(told.len() <= whole + 1);
    }

    /// Q-7: no name, and no two names, can become another statement or another record, in our own
    /// reader or in OpenBSD's.
    #[test]
    fn q7_no_name_becomes_a_statement(
        record in any_record(), client in any_name(), dns in any_name(), after in any_record(),
    ) {
        let tried = LeaseRecord {
            client_hostname: Some(client.clone()), hostname: Some(dns.clone()), ..record.clone()
        };
        let mut text = written(&tried);
        append_record(&mut text, &after.view());
        let told: Vec<Told> = read(&text).collect();
        prop_assert_eq!(told.len(), 2);
        let Ok(first) = &told[0] else { panic!("{:?}", told[0]) };
        for (got, gave) in [(&first.client_hostname, &client), (&first.hostname, &dns)] {
            prop_assert!(got.is_none() || got.as_ref() == Some(gave));
        }
        let nameless = |r: &LeaseRecord| LeaseRecord { client_hostname: None, hostname: None, ..r.clone() };
        prop_assert_eq!(nameless(first), nameless(&record));
        prop_assert_eq!(&told[1], &Ok(after));

        let heads = openbsd::heads(&text);
        let statements = ["starts", "ends", "hardware", "uid", "dynamic-bootp", "abandoned",
            "client-hostname", "hostname"];
        prop_assert_eq!(heads.len(), 2);
        for head in &heads[0] {
            prop_assert!(statements.contains(&head.as_str()), "{}", head);
        }
        prop_assert_eq!(heads[0].iter().any(|h| h == "abandoned"), record.abandoned);
        prop_assert_eq!(heads[0].iter().any(|h| h == "dynamic-bootp"), record.dynamic_bootp);
        prop_assert_eq!(heads[0].iter().filter(|h| *h == "uid").count(), usize::from(record.client_id.is_some()));
        prop_assert_eq!(heads[0].iter().filter(|h| *h == "hardware").count(), usize::from(record.hardware.is_some()));
        prop_assert_eq!(heads[0].iter().filter(|h| h.ends_with("hostname")).count(),
            usize::from(first.client_hostname.is_some()) + usize::from(first.hostname.is_some()));
    }
}

const OPENBSD: &str = "lease 192.0.2.10 {
\tstarts 2 2026/06/30 10:00:00 UTC;
\tends 2 2026/06/30 22:00:00 UTC;
\thardware ethernet 00:11:22:33:44:55;
\tuid 01:00:11:22:33:44:55;
\tdynamic-bootp;
\tabandoned;
\tclient-hostname \"name\";
\thostname \"name.example\";
}
";

#[test]
fn openbsd_record() {
    let record = only(OPENBSD);
    assert_eq!(record.address, Ipv4Addr::new(192, 0, 2, 10));
    assert_eq!((record.starts, record.ends), (1_782_813_600, 1_782_856_800));
    assert_eq!(
        record.hardware,
        Some(Hardware { htype: 1, addr: vec![0, 0x11, 0x22, 0x33, 0x44, 0x55] })
    );
    assert_eq!(record.client_id, Some(vec![1, 0, 0x11, 0x22, 0x33, 0x44, 0x55]));
    assert!(record.dynamic_bootp && record.abandoned);
    assert_eq!(record.client_hostname.as_deref(), Some(&b"name"[..]));
    assert_eq!(record.hostname.as_deref(), Some(&b"name.example"[..]));
    assert_eq!(String::from_utf8(written(&record)).unwrap(), OPENBSD);
}

#[test]
fn openbsd_oddities() {
    let text = "lease 10.0.0.1 { STARTS 2 2026/06/30 10:00:00; ends 2 2026/06/30 22:00:00;
        timestamp 2 2026/06/30 10:00:00; class foo; uid \"abc\"; hardware ipsec-tunnel 0:1:a; }";
    let record = only(text);
    assert_eq!(record.client_id.as_deref(), Some(&b"abc"[..]));
    assert_eq!(record.hardware, Some(Hardware { htype: 31, addr: vec![0, 1, 10] }));
    assert_eq!(record.starts, 1_782_813_600);

    // A name that ends in a backslash, which OpenBSD's neither writes otherwise nor minds.
    let text = "lease 10.0.0.1 {\n\tends 2 2026/06/30 22:00:00 UTC;\n\tclient-hostname \"a\\\";\n\tuid 01;\n}\n";
    assert_eq!(only(text).client_id, Some(vec![1]));
    let text = text.replace("\t", "  ");
    assert_eq!(only(&text).client_id, Some(vec![1]));
}

/// A file that OpenBSD's dhcpd wrote for a client that knew Q-7.
#[test]
fn q7_an_injected_statement_is_not_obeyed() {
    let text = OPENBSD.replace("name\"", "x\";abandoned;uid\"y\"").replace("\tabandoned;\n", "");
    let told: Vec<Told> = read(text.as_bytes()).collect();
    let [Err(problem), Ok(record)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((problem.line, problem.kind), (7, ProblemKind::Ignored));
    assert!(!record.abandoned);
    assert_eq!(record.client_id, Some(vec![1, 0, 0x11, 0x22, 0x33, 0x44, 0x55]));
    assert_eq!(record.client_hostname, None);
}

#[test]
fn q6_every_hardware_type_is_read_back() {
    for htype in 0..=255 {
        let record = LeaseRecord {
            hardware: Some(Hardware { htype, addr: vec![htype; 6] }),
            ..LeaseRecord::new(Ipv4Addr::LOCALHOST)
        };
        assert_eq!(records(&written(&record)), [record]);
    }
}

const ISC: &str = r#"# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

server-duid "\000\001\000\001+\2458\275RT\000\022\"V";

failover peer "one" state {
  my state normal at 4 2026/01/01 00:00:00;
  partner state normal at 4 2026/01/01 00:00:00;
}
lease 10.1.0.10 {
  starts 2 2026/06/30 10:00:00;
  ends 2 2026/06/30 22:00:00;
  tstp 2 2026/06/30 22:00:00;
  tsfp 2 2026/06/30 22:00:00;
  atsfp 2 2026/06/30 22:00:00;
  cltt 2 2026/06/30 10:00:00;
  binding state active;
  next binding state expired;
  rewind binding state free;
  hardware ethernet 52:54:00:12:34:56;
  uid "\001RT\000\0224V\"\\";
  option agent.circuit-id "eth0/1";
  option agent.remote-id 0:1:2;
  set vendor-class-identifier = "udhcp 1.35 { \" }";
  set ClientMac = "52:54:0:12:34:56";
  on expiry or release {
    if exists agent.circuit-id {
      log(info, concat("gone; ", "}"));
    } else {
      set x = "y";
    }
  }
  client-hostname "a \"b\" c";
}
lease 10.1.0.11 {
  starts epoch 1782813600; # Tue Jun 30 10:00:00 2026
  ends never;
  cltt epoch 1782813600; # Tue Jun 30 10:00:00 2026
  binding state active;
  hardware unknown-99 01:02;
  reserved;
  bootp;
  client-hostname "plain";
}
lease 10.1.0.12 {
  starts 2 2026/06/30 10:00:00;
  ends 2 2026/06/30 22:00:00;
  cltt 2 2026/06/30 11:00:00;
  binding state released;
  next binding state free;
  hardware ethernet 52:54:00:12:34:57;
}
lease 10.1.0.13 {
  starts 2 2026/06/30 10:00:00;
  ends 2 2026/06/30 22:00:00;
  binding state abandoned;
  next binding state free;
  client-hostname "x";
}
host late {
  dynamic;
  hardware ethernet 52:54:00:12:34:58;
  fixed-address 10.1.0.99;
}
"#;

#[test]
fn isc_file() {
    let told: Vec<Told> = read(ISC.as_bytes()).collect();
    let records: Vec<&LeaseRecord> = told.iter().filter_map(|t| t.as_ref().ok()).collect();
    let [active, endless, released, abandoned] = records[..] else { panic!("{told:?}") };

    assert_eq!(active.address, Ipv4Addr::new(10, 1, 0, 10));
    assert_eq!((active.starts, active.ends), (1_782_813_600, 1_782_856_800));
    assert_eq!(active.client_id.as_deref(), Some(&b"\x01RT\0\x124V\"\\"[..]));
    assert_eq!(active.client_hostname, None, "a quote in it");
    assert!(!active.abandoned && !active.dynamic_bootp);

    assert_eq!((endless.starts, endless.ends), (1_782_813_600, NEVER));
    assert_eq!(endless.hardware, Some(Hardware { htype: 99, addr: vec![1, 2] }));
    assert_eq!(endless.client_hostname.as_deref(), Some(&b"plain"[..]));
    assert!(endless.dynamic_bootp);

    assert_eq!(released.ends, 1_782_813_600 + 3600, "when it was last heard of");
    assert!(abandoned.abandoned);
    assert_eq!(abandoned.ends, 1_782_856_800);

    let problems: Vec<&Problem> = told.iter().filter_map(|t| t.as_ref().err()).collect();
    let lines: Vec<u64> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines, [36, 63], "{problems:?}");
    assert!(problems.iter().all(|p| p.kind == ProblemKind::Ignored));
}

#[test]
fn problems_have_a_line_and_a_kind() {
    use ProblemKind::{Corrupt, Ignored, Torn};
    let good = OPENBSD;
    assert_eq!(problems(&format!("rubbish here;\n{good}")), [(1, Corrupt)]);
    assert_eq!(
        problems(&format!("rubbish;\n1;\n}}\n{{ a; }}\n{good}2;\n")),
        [(1, Corrupt), (15, Corrupt)]
    );
    assert_eq!(problems("lease 10.0.0.1 {\n\tstarts 2 2026"), [(1, Torn)]);
    assert_eq!(problems(&format!("lease 10.0.0.1 {{\n\tstarts\n{good}")), [(1, Corrupt)]);
    assert_eq!(problems("lease 10.0.0.1 {\n  starts 9 99;\n}\n"), [(2, Corrupt)]);
    assert_eq!(problems("lease 10.0.0.300 {\n  starts 9 99;\n}\n"), [(1, Corrupt)]);
    assert_eq!(problems("lease {\n  interface \"eth0\";\n}\n"), [(1, Corrupt)]);
    assert_eq!(problems("lease 10.0.0.1 {\n  colour blue;\n}\n"), [(2, Ignored)]);
    assert_eq!(problems("\n# a comment\n\n# and no end"), []);
    let shown = Problem { line: 3, kind: Corrupt, text: "x".to_owned() }.to_string();
    assert_eq!(shown, "3: Corrupt lease file - possible data loss! x");
}

/// One that cannot be read loses its holder, not its place: the address stays taken.
#[test]
fn a_damaged_holder_keeps_the_address_taken() {
    for bad in
        ["hardware ether 1:2", "hardware ethernet 1:2:333", "uid zz", "uid \"open", "uid 1 {"]
    {
        let text = OPENBSD.replace("uid 01:00:11:22:33:44:55", bad).replace("\tabandoned;\n", "");
        let text = text.replace("hardware ethernet 00:11:22:33:44:55", bad);
        let record = records(text.as_bytes()).pop();
        let record = record.unwrap_or_else(|| panic!("{text}"));
        assert_eq!((record.hardware, record.client_id), (None, None), "{bad}");
        assert_eq!(record.ends, 1_782_856_800, "{bad}");
    }
}

#[test]
fn a_day_of_the_week_is_not_compared_and_types_are_in_any_case() {
    let text = OPENBSD.replace("ends 2 ", "ends 6 ").replace("ethernet", "Ethernet");
    assert_ne!(text, OPENBSD);
    assert_eq!(records(text.as_bytes()), records(OPENBSD.as_bytes()));
}

#[test]
fn nothing_is_too_long() {
    let mut text = b"lease 10.0.0.1 {\n  set x = ".to_vec();
    text.resize(300_000, b'x');
    text.extend_from_slice(b"\n\"\n{{{{\n");
    text.extend_from_slice(OPENBSD.as_bytes());
    let whole: Vec<Told> = read(&text).collect();
    assert_eq!(whole.len(), 2, "{whole:?}");
    assert_eq!(whole[0].as_ref().map_err(|p| (p.line, p.kind)), Err((1, ProblemKind::Corrupt)));
    assert!(whole[1].is_ok());
    for chunk in [1000, 65_535, 65_536, 65_537] {
        assert_eq!(with_chunk(text.as_slice(), chunk).collect::<Vec<_>>(), whole);
    }
}

/// A gap inside a record may have taken anything: here the holder's lines, and nothing else.
#[test]
fn a_record_with_a_gap_is_no_record() {
    let at = OPENBSD.find("\thardware").unwrap();
    let end = OPENBSD.find("\tclient-hostname").unwrap();
    let mut text = OPENBSD.as_bytes().to_vec();
    text[at..end].fill(0);
    text.extend_from_slice(OPENBSD.replace(".10 {", ".11 {").as_bytes());
    let told: Vec<Told> = read(&text).collect();
    let [Err(problem), Ok(record)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((problem.line, problem.kind), (1, ProblemKind::Corrupt));
    assert_eq!(record.address, Ipv4Addr::new(192, 0, 2, 11));
}

/// What a file system may leave where blocks were never written.
#[test]
fn a_run_of_nul_is_passed_over() {
    let mut text = OPENBSD.as_bytes()[..100].to_vec();
    text.resize(9000, 0);
    text.extend_from_slice(OPENBSD.as_bytes());
    assert_eq!(records(&text).len(), 1);
}

#[test]
fn a_source_that_fails_is_told() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let rest = &OPENBSD.as_bytes()[self.0.min(OPENBSD.len())..];
            if rest.is_empty() {
                return Err(std::io::Error::from_raw_os_error(libc::EIO));
            }
            let count = rest.len().min(buf.len()).min(50);
            buf[..count].copy_from_slice(&rest[..count]);
            self.0 += count;
            Ok(count)
        }
    }
    let told: Vec<Told> = read_from(Broken(0)).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].is_ok());
    assert_eq!(told[1].as_ref().map_err(|p| p.kind), Err(ProblemKind::Unreadable));
}
