//! Whole configurations: what they mean, and what is said about wrong ones.

mod differences;
mod errors;
mod hostile;
mod isc;
mod meaning;
mod table;

use super::{Diagnostic, RecordedSources, load};
use crate::config::{Config, Settings};
use std::net::Ipv4Addr;

const PATH: &str = "/etc/dhcpd.conf";

fn sources(text: &str) -> RecordedSources {
    let mut sources = RecordedSources::default();
    sources.add_file(PATH, text.as_bytes());
    sources.add_addresses("ns.example", &[Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::LOCALHOST]);
    sources.add_ethernet("printer", [2, 0, 0, 0, 0, 9]);
    sources
}

/// A right configuration and its warnings, as `LINE:COLUMN: text`.
fn warned(text: &str) -> (Config, Vec<String>) {
    match load(PATH, &mut sources(text)) {
        Ok((config, warnings)) => (config, warnings.iter().map(short).collect()),
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(Diagnostic::render).collect();
            panic!("{text}\n{}", errors.join("\n"))
        }
    }
}

/// A right configuration without warnings.
fn good(text: &str) -> Config {
    let (config, warnings) = warned(text);
    assert_eq!(warnings, [""; 0], "{text}");
    config
}

/// What is said about a wrong configuration.
fn bad(text: &str) -> Vec<String> {
    let errors = load(PATH, &mut sources(text)).expect_err(text);
    errors.iter().map(short).collect()
}

fn short(diagnostic: &Diagnostic) -> String {
    let text = diagnostic.render();
    let first = text.lines().next().unwrap();
    first.strip_prefix("/etc/dhcpd.conf:").unwrap_or(first).to_owned()
}

fn option(settings: &Settings, code: u8) -> Option<&[u8]> {
    settings.options.get(code)
}

const SUBNET: &str = "subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.99; }\n";

/// Everything that has a meaning, and every option, is in the manual page.
#[test]
fn the_manual_page_names_all_there_is() {
    let page = include_str!("../../dhcpd.conf.5");
    let words: std::collections::HashSet<&str> = page.split_ascii_whitespace().collect();
    let known = super::statements::known_names().chain(super::options::names());
    let missing: Vec<&str> = known.filter(|name| !words.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}
