//! Any text as dhcpd.conf, with an included file behind its first NUL: it is understood, or every
//! complaint has a place and can be shown; and what is understood starts an engine.

#![no_main]

use dhcpd::conf::{RecordedSources, differences, load};
use dhcpd::engine::{Engine, EngineOptions};
use fuzz::log_to_nowhere;
use libfuzzer_sys::fuzz_target;
use std::net::Ipv4Addr;
use std::sync::Arc;

fuzz_target!(init: log_to_nowhere(), |input: &[u8]| {
    let (main, more) = match input.iter().position(|byte| *byte == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &input[input.len()..]),
    };
    let mut sources = RecordedSources::default();
    sources.add_file("main", main);
    sources.add_file("more", more);
    sources.add_addresses("host", &[Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 6)]);
    sources.add_ethernet("host", [2, 0, 0, 0, 0, 1]);
    // The server is given the parent's answers as bytes.
    let mut sources = RecordedSources::decode(&sources.encode()).expect("what we said is understood");

    let (config, notes) = match load("main", &mut sources) {
        Ok((config, notes)) => (Some(config), notes),
        Err(notes) => {
            assert!(!notes.is_empty(), "refused without a reason");
            (None, notes)
        }
    };
    // What OpenBSD's dhcpd would make of it is found of any text, too.
    let notes = notes.into_iter().chain(differences("main", &mut sources));
    for note in notes {
        let shown = note.render();
        assert!(!shown.is_empty() && !shown.contains('\0'));
    }
    let Some(mut config) = config else { return };
    for subnet in &config.subnets {
        for range in &subnet.ranges {
            assert!(range.low <= range.high);
            assert!(subnet.net.contains(range.low) && subnet.net.contains(range.high));
        }
    }
    config.build_lookup();
    for (id, subnet) in config.subnets.iter().enumerate() {
        if let Some(range) = subnet.ranges.first() {
            assert_eq!(config.subnet_of(range.low), Some(id), "the subnet of its own range");
        }
    }
    let _ = Engine::new(Arc::new(config), Vec::new(), EngineOptions::default());
});
