//! A lease file of anybody's: read without a crash in bounded steps; whatever was understood is
//! written, and read back the same, but for names that are not written as not every reader could be
//! trusted with them.

#![no_main]

use dhcpd::lease::LeaseRecord;
use dhcpd::leasefile::{append_record, read};
use fuzz::{START, engine, log_to_nowhere};
use libfuzzer_sys::fuzz_target;

fn is_written(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte))
}

fuzz_target!(init: log_to_nowhere(), |input: &[u8]| {
    let mut engine = engine();
    let now = dhcpd::engine::Now { wall: START, mono: 0 };
    for record in read(input) {
        let record = match record {
            Ok(record) => record,
            Err(problem) => {
                assert!(!problem.to_string().is_empty());
                continue;
            }
        };
        let mut text = Vec::new();
        append_record(&mut text, &record.view());
        let mut again = read(&text);
        let written = LeaseRecord {
            client_hostname: record.client_hostname.clone().filter(|name| is_written(name)),
            hostname: record.hostname.clone().filter(|name| is_written(name)),
            ..record.clone()
        };
        assert_eq!(again.next(), Some(Ok(written)), "{}", String::from_utf8_lossy(&text));
        assert_eq!(again.next(), None);
        engine.load(record, now);
    }
    let mut out = Vec::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        cursor = engine.snapshot_from(at, 3, &mut out);
    }
    for record in read(&out) {
        record.expect("what we wrote can be read");
    }
});
