//! Rules of the house that a reader could forget, as a test over the sources.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may say what it expects")]

use std::fs;
use std::path::{Path, PathBuf};

/// The longest that a file may be.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below a folder of the project.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.display().to_string(), text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing below {folder}");
    found
}

/// Not what is only there for tests: files of their own, and what follows in the others.
fn product(name: &str, text: &str) -> String {
    if name.contains("/tests") || name.contains("_tests") || name.contains("/testing") {
        return String::new();
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// How processes are started, reaped, told to end and spoken of, and how signals come, is known in
/// one place; the daemons have no way of their own.
#[test]
fn the_life_of_processes_is_supervise_s() {
    let own = [
        "waitpid(",
        "waitid(",
        "wait4(",
        "WIFEXITED",
        "WIFSIGNALED",
        "ExitStatus",
        "signalfd",
        "SignalFd",
        "sigaction(",
        "signal_hook",
        "process::Command",
        "Command::new(",
        "libc::fork",
        "unistd::fork",
        "pidfd_open",
        "SIGCHLD",
    ];
    for folder in ["dhcpd/src", "hastlite/src", "pfhelper/src", "proto/src"] {
        for (name, text) in sources(folder) {
            let text = product(&name, &text);
            for word in own {
                let line = text.lines().position(|line| line.contains(word));
                assert_eq!(line.map(|line| line + 1), None, "{name}: {word}");
            }
        }
    }
}

#[test]
fn a_file_can_be_read_in_one_go() {
    let folders = ["proto", "supervise", "prefork", "pfhelper", "dhcpd", "hastlite", "tests"];
    for (name, text) in folders.into_iter().flat_map(sources) {
        assert!(text.lines().count() <= LONGEST, "{name} has {} lines", text.lines().count());
        assert!(text.starts_with("//!"), "{name} does not say what it is for");
        assert!(!name.ends_with("/mod.rs"), "{name}");
    }
}

/// Whoever waits, waits for something.
#[test]
fn nobody_sleeps() {
    let folders = ["proto", "supervise", "prefork", "pfhelper", "dhcpd", "hastlite"];
    for (name, text) in folders.iter().flat_map(|folder| sources(&format!("{folder}/src"))) {
        let sleeps = product(&name, &text).contains("thread::sleep");
        assert!(!sleeps, "{name} sleeps");
    }
}

/// Each defect of OpenBSD's dhcpd that ours must not have, by its number in our sources (Q-1 and so
/// on), has a test that bears the number.
#[test]
fn every_defect_of_the_original_has_a_test_of_its_name() {
    let mut found = std::collections::BTreeSet::new();
    for (_, text) in ["dhcpd/src", "tests/tests"].into_iter().flat_map(sources) {
        for line in text.lines().map(str::trim_start) {
            let name = line.strip_prefix("fn q").and_then(|rest| rest.split_once('_'));
            if let Some(number) = name.and_then(|(number, _)| number.parse::<u32>().ok()) {
                found.insert(number);
            }
        }
    }
    let missing: Vec<u32> = (1..=28).filter(|q| !found.contains(q)).collect();
    assert!(missing.is_empty(), "no test is named after Q-{missing:?}");
}
