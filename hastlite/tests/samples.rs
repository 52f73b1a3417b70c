//! What is shipped with hastlite is right: samples of hast.conf, the manual, and what starts it.

#![allow(clippy::unwrap_used, reason = "a test may say what it expects of its own set-up")]

use hastlite::args;
use hastlite::conf;
use hastlite::config::{Config, Node};
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn node(hostname: &str) -> Node {
    Node { hostname: hostname.to_owned(), ..Node::default() }
}

/// What a file means on each of the nodes that it names.
fn pair(path: &Path) -> [Config; 2] {
    ["hasta", "hastb"].map(|name| match conf::load(path, &node(name)) {
        Ok((config, warnings)) => {
            assert!(warnings.is_empty(), "{}: {warnings:?}", path.display());
            config
        }
        Err(wrong) => panic!("{wrong}"),
    })
}

/// Each node's remote is where the other one is, and both have the same resources.
fn fit_together([here, there]: &[Config; 2]) {
    let named = |config: &Config| -> Vec<String> {
        config.resources.iter().map(|resource| resource.name.clone()).collect()
    };
    assert_eq!(named(here), named(there));
    assert!(!here.resources.is_empty());
    for (one, other) in here.resources.iter().zip(&there.resources) {
        assert_eq!(one.replication, other.replication, "{}", one.name);
        assert!(one.remote.is_some() && one.remote != other.remote, "{}", one.name);
    }
}

#[test]
fn samples_are_without_fault() {
    for name in ["etc/hast.conf", "demo/hast.conf"] {
        fit_together(&pair(&file(name)));
    }
}

#[test]
fn the_manuals_example_is_without_fault() {
    let manual = text("hastlite/hastlite.8");
    let literal = manual.split(".Bd -literal -offset indent\n").nth(1).unwrap();
    let example = literal.split(".Ed").next().unwrap();
    for name in ["hasta", "hastb"] {
        let config = conf::parse("the example", example.as_bytes(), &node(name)).unwrap().0;
        assert_eq!(config.resources.len(), 1);
    }
}

#[test]
fn the_manual_has_every_flag() {
    let manual = text("hastlite/hastlite.8");
    let usage = args::USAGE.split_once("[-").unwrap().1;
    let (plain, valued) = usage.split_once(']').unwrap();
    let valued = valued.split("[-").filter_map(|flag| flag.chars().next());
    let mut flags: Vec<char> =
        plain.chars().chain(valued.filter(char::is_ascii_alphabetic)).collect();
    flags.sort_unstable();
    let mut told: Vec<char> =
        manual.lines().filter_map(|line| line.strip_prefix(".It Fl ")?.chars().next()).collect();
    told.sort_unstable();
    assert_eq!(told, flags);
}

#[test]
fn every_script_starts_what_is_installed() {
    let unit = text("etc/systemd/hastlite.service");
    for line in ["Type=notify", "KillMode=mixed", "NoNewPrivileges=yes"] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    // Only so many rights as the parent uses: the rest of the processes has none.
    assert!(!unit.contains("CAP_SYS_ADMIN"));
    let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    assert!(start.starts_with("ExecStart=/usr/local/sbin/hastlite -F "), "{start}");
    for (system, line) in [
        ("openbsd", "daemon=\"/usr/local/sbin/hastlite\""),
        ("freebsd", "command=\"/usr/local/sbin/hastlite\""),
        ("netbsd", "command=\"/usr/local/sbin/hastlite\""),
    ] {
        let script = text(&format!("rc.d/{system}/hastlite"));
        assert!(script.lines().any(|l| l == line), "{system}");
    }
    let accounts = text("etc/sysusers.d/tandem.conf");
    assert!(accounts.lines().any(|line| line.starts_with(&format!("u {} ", hastlite::USER))));
}
