//! Any bytes as what the system says of its interfaces: rtnetlink(7) of Linux, route(4) of the BSDs.

#![no_main]

use dhcpd::watch::netlink::{Event, events};
use dhcpd::watch::route::{FREEBSD, NETBSD, OPENBSD, tells_of_change};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut count = 0;
    for event in events(bytes) {
        count += 1;
        if let Event::Link { name: Some(name), .. } = event {
            assert!(name.len() <= bytes.len() && !name.contains(&0));
        }
        let _ = event.to_string();
    }
    assert!(count <= bytes.len());
    for kinds in [FREEBSD, OPENBSD, NETBSD] {
        let _ = tells_of_change(bytes, &kinds);
    }
});
