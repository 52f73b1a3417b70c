//! Any text as hast.conf, read as either of two nodes: it is understood, or every complaint has a
//! place and can be shown.

#![no_main]

use hastlite::conf::address::Address;
use hastlite::conf::{self, Severity};
use hastlite::config::Node;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    for hostname in ["hasta", "hastb.example.org"] {
        let node = Node { hostname: hostname.to_owned(), hostid: Some(7), ..Node::default() };
        let said = match conf::parse("f", input, &node) {
            Ok((config, warnings)) => {
                for resource in &config.resources {
                    assert!(resource.timeout > 0 && resource.local.is_absolute());
                    assert!(resource.uri().starts_with("nbd"));
                    if let Some(remote) = &resource.remote {
                        assert_eq!(Address::parse(&remote.to_string()).as_ref(), Ok(remote));
                    }
                }
                assert!(!config.listen.is_empty());
                warnings
            }
            Err(said) => {
                let refused = said.iter().any(|one| one.severity == Severity::Error);
                assert!(refused, "refused without a reason");
                said
            }
        };
        for one in said.iter().filter(|one| one.at.line > 0) {
            let line = lines[one.at.line as usize - 1];
            assert!((1..=line.len() + 1).contains(&(one.at.column as usize)));
            assert!(!one.to_string().contains('\0'));
        }
    }
});
