//! Any bytes as an nv list, of the wire or of a disk: what is read can be written, and says the
//! same then.

#![no_main]

use hastlite::nv::{Kind, Nv, put};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(nv) = Nv::decode(bytes) else { return };
    let mut again = Vec::new();
    for entry in nv.entries() {
        assert!(!entry.name.is_empty() && !entry.bytes.is_empty());
        put(&mut again, entry.name, &entry.value()).expect("what was read can be written");
    }
    assert!(again.len() <= bytes.len(), "nothing is written that was not read");
    let other = Nv::decode(&again).expect("what we wrote can be read");
    assert!(nv.entries().eq(other.entries()));

    for name in nv.entries().filter_map(|entry| str::from_utf8(entry.name).ok()) {
        let first = nv.get(name).expect("what is there is found");
        assert_eq!(nv.get_u8(name).is_ok(), first.kind == Kind::Uint8);
        assert_eq!(nv.get_u64(name).is_ok(), first.kind == Kind::Uint64);
        assert_eq!(nv.get_bytes(name).is_ok(), first.kind == Kind::Uint8Array);
        if let Ok(Some(text)) = nv.get_string(name) {
            assert!(!text.contains('\0'));
        }
    }
});
