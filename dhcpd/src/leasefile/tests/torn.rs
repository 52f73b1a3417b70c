//! A group of records, written over room of newlines, of which a crash has left pieces out: each
//! record is read as it was written or not at all, and what is whole is read.

use super::*;

/// What a group looks like when `lost` of it still is what was there before.
fn torn(text: &[u8], lost: impl Fn(usize) -> bool) -> Vec<u8> {
    let byte = |(at, &byte): (usize, &u8)| if lost(at) { b'\n' } else { byte };
    text.iter().enumerate().map(byte).collect()
}

/// Why `found` is not what may be read where `records`, of these texts, were written, if it is not.
fn wrong(found: &[u8], from: usize, records: &[LeaseRecord], texts: &[Vec<u8>]) -> Option<String> {
    let mut told = read(found).filter_map(Result::ok).peekable();
    let mut at = from;
    for (record, text) in records.iter().zip(texts) {
        let whole = found.get(at..at + text.len()) == Some(text.as_slice());
        at += text.len();
        match told.peek() {
            Some(read) if read == record => drop(told.next()),
            other if whole => return Some(format!("{record:?} is whole; {other:?} is read")),
            _ => {}
        }
    }
    told.next().map(|record| format!("nobody wrote {record:?}"))
}

/// Names with whatever means something elsewhere.
fn odd_name() -> impl Strategy<Value = Option<Vec<u8>>> {
    let part = prop_oneof![
        6 => prop_oneof![Just(";"), Just("{"), Just("}"), Just("#"), Just(","), Just("=")],
        3 => prop_oneof![Just("lease"), Just("10.0.0.1"), Just("ends"), Just("uid"), Just("never")],
        2 => Just("a"),
    ];
    option::of(vec(part, 1..20).prop_map(|parts| parts.concat().into_bytes()))
}

fn odd_record() -> impl Strategy<Value = LeaseRecord> {
    (any_record(), odd_name(), odd_name(), any::<bool>()).prop_map(|(record, one, other, odd)| {
        match odd {
            true => LeaseRecord { client_hostname: one, hostname: other, ..record },
            false => record,
        }
    })
}

/// Which bytes are lost, by the place in the file.
fn losses(length: usize) -> impl Strategy<Value = Vec<bool>> {
    let sectors = move |size: usize| {
        // Of a sector all may be lost, none, or the end or the beginning of it.
        let count = length / size + 2;
        vec((0..4u8, 0..=size), count).prop_map(move |fates| {
            let lost = |at: usize| {
                let (fate, kept) = fates[at / size];
                match fate {
                    0 => true,
                    1 => at % size >= kept,
                    2 => at % size < kept,
                    _ => false,
                }
            };
            (0..length).map(lost).collect::<Vec<bool>>()
        })
    };
    let ranges = vec((0..=length, 1..30usize), 0..4).prop_map(move |ranges| {
        (0..length)
            .map(|at| ranges.iter().any(|&(from, n)| (from..from + n).contains(&at)))
            .collect()
    });
    prop_oneof![
        sectors(512),
        sectors(64),
        sectors(8),
        ranges,
        vec(proptest::bool::weighted(0.02), length),
        vec(proptest::bool::weighted(0.5), length),
    ]
}

/// What was in the file: a comment of some length, and what an earlier crash left of a record.
fn before() -> impl Strategy<Value = Vec<u8>> {
    let rest = option::of((any_record(), any::<proptest::sample::Index>()));
    (0..600usize, rest).prop_map(|(length, rest)| {
        let mut text = vec![b'#'; length];
        text.push(b'\n');
        if let Some((record, index)) = rest {
            let record = written(&record);
            // At least its end is missing.
            text.extend_from_slice(&record[..index.index(record.len() - 1)]);
            text.push(b'\n');
        }
        text
    })
}

fn group() -> impl Strategy<Value = (Vec<u8>, Vec<LeaseRecord>, Vec<bool>, usize)> {
    (before(), vec(odd_record(), 1..5)).prop_flat_map(|(before, records)| {
        let length = before.len() + records.iter().map(|r| written(r).len()).sum::<usize>();
        (Just(before), Just(records), losses(length), 0..length * 2)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Sectors and bytes, as many as may be; and from some place on there was no room: there are
    /// NULs, or nothing.
    #[test]
    fn no_torn_record_is_believed((before, records, lost, room) in group(), cut in any::<bool>()) {
        let texts: Vec<Vec<u8>> = records.iter().map(written).collect();
        let from = before.len();
        let whole = [before, texts.concat()].concat();
        let mut found = torn(&whole, |at| at >= from && lost[at]);
        for at in room.max(from)..found.len() {
            if lost[at] {
                found[at] = 0;
            }
        }
        if cut && room > from {
            found.truncate(room);
        }
        found.extend_from_slice(&b"\n".repeat(room));
        let wrong = wrong(&found, from, &records, &texts);
        prop_assert!(wrong.is_none(), "{wrong:?}\n{}", String::from_utf8_lossy(&found));
        let pieces: Vec<Told> = with_chunk(found.as_slice(), 100 + room % 50).collect();
        prop_assert_eq!(pieces, read(&found).collect::<Vec<Told>>());
    }
}

fn some() -> Vec<LeaseRecord> {
    let record = LeaseRecord {
        starts: 1_782_813_600,
        ends: 1_782_856_800,
        hardware: Some(Hardware { htype: 1, addr: vec![0xaa] }),
        client_id: Some(vec![1]),
        client_hostname: Some(b"a;x}y{#b".to_vec()),
        // What a lost quote would make a block of.
        hostname: Some(b"{a}".to_vec()),
        ..LeaseRecord::new(Ipv4Addr::new(10, 0, 0, 12))
    };
    let other = LeaseRecord {
        hardware: None,
        client_id: None,
        client_hostname: None,
        hostname: Some(b"}a".to_vec()),
        abandoned: true,
        ..record.clone()
    };
    vec![record, other]
}

#[test]
fn every_piece_and_every_two_bytes_may_be_lost() {
    let records = some();
    let texts: Vec<Vec<u8>> = records.iter().map(written).collect();
    let text = texts.concat();
    for first in 0..text.len() {
        for last in first..text.len() {
            for lost in [
                torn(&text, |at| (first..=last).contains(&at)),
                torn(&text, |at| at == first || at == last),
            ] {
                let wrong = wrong(&lost, 0, &records, &texts);
                assert!(wrong.is_none(), "{wrong:?}\n{}", String::from_utf8_lossy(&lost));
            }
        }
    }
}

/// What people and other servers leave in a record is no gap.
#[test]
fn empty_lines_of_others_are_no_gap() {
    let whole = only(OPENBSD);
    for (from, to) in [
        (";\n", ";\n\n"),
        (";\n", ";\n\n\n\n"),
        (";\n", ";\r\n"),
        (";\n", "; # a comment\n"),
        (";\n", ";\n# a comment\n"),
        (";\n", "; \n\n"),
        (";\n\t", ";\n"),
        (";\n\t", ";\n\n  "),
        (";\n\t", ";\n    \n\t"),
        ("{\n", "{\n\n"),
        (" {", "\n{"),
        (";\n\t", "; "),
        ("ethernet ", "ethernet\n\t"),
        ("ethernet ", "ethernet\n    "),
        ("2026/06/30 ", "2026/06/30\n\n  "),
    ] {
        let text = OPENBSD.replace(from, to);
        let told: Vec<Told> = read(text.as_bytes()).collect();
        assert_eq!(told, [Ok(whole.clone())], "{from:?} -> {to:?}");
    }
}

/// Statements that people blank, two that follow one another.
#[test]
fn statements_may_be_blanked() {
    let text = OPENBSD.replace("\tuid 01:00:11:22:33:44:55;", "").replace("\tdynamic-bootp;", "");
    assert_eq!(only(&text).client_id, None);
}

/// A server that was killed while it had room, and one whose last group is torn as well.
#[test]
fn room_behind_the_records_is_nothing() {
    let room = "\n".repeat(3 * 1024 * 1024);
    assert_eq!(only(&format!("{OPENBSD}{room}")), only(OPENBSD));
    let text = format!("{OPENBSD}{}{room}", &OPENBSD[..100]);
    assert_eq!(problems(&text), [(11, ProblemKind::Torn)]);
    let text = format!("{text}{OPENBSD}");
    assert_eq!(records(text.as_bytes()).len(), 2);
}
