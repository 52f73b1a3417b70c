//! Any bytes as a datagram of the process connector, and the account that is kept of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supervise::track::connector::{Heard, Ledger, decode};

fuzz_target!(|bytes: &[u8]| {
    let mut ledger = Ledger::default();
    let mut lost = 0;
    for heard in decode(bytes) {
        let (Heard::Event { cpu, seq, .. } | Heard::Ack { cpu, seq, .. }) = heard;
        ledger.hear(cpu, seq);
        lost += ledger.untold().unwrap_or(0);
        assert_eq!(ledger.untold(), None);
    }
    // No more can be missing than there are numbers between two that were heard.
    assert!(lost <= bytes.len() as u64 * u64::from(u32::MAX));
});
