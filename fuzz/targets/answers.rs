//! Any bytes as the answers that the parent recorded for the server.

#![no_main]

use dhcpd::conf::RecordedSources;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(answers) = RecordedSources::decode(bytes) {
        assert_eq!(RecordedSources::decode(&answers.encode()), Ok(answers));
    }
});
