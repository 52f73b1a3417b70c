//! CONFORMANCE.md says nothing that is not so: the tests it names exist, and its totals are right.
//! What those tests show is their own business.

#![allow(clippy::unwrap_used, reason = "a test may say what it expects")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the last column may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Tested,
    NotFollowed,
    NotOurs,
}

/// One rule: its line, what becomes of it, and the tests it names.
struct Rule<'a> {
    line: &'a str,
    outcome: Outcome,
    tests: Vec<(&'a str, &'a str)>,
}

/// Reads a line of a table; `None` if it is none.
fn rule(line: &str) -> Option<Rule<'_>> {
    if line.starts_with("| Section |") || line.starts_with("| --- |") {
        return None;
    }
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let &[section, word, rule, last] = cells.as_slice() else {
        panic!("not four columns: {line}");
    };
    assert!(["MUST", "MUST NOT", "SHOULD", "SHOULD NOT"].contains(&word), "{line}");
    assert!(!section.is_empty() && rule.ends_with('.'), "{line}");
    let outcome = match last {
        _ if last.starts_with("Not followed: ") => Outcome::NotFollowed,
        _ if last.starts_with("Not ours: ") => Outcome::NotOurs,
        _ => Outcome::Tested,
    };
    let quoted = last.split('`').skip(1).step_by(2);
    let tests: Vec<_> = quoted.filter_map(|name| name.split_once("::")).collect();
    let says = match outcome {
        Outcome::Tested => last.starts_with('`') && !tests.is_empty(),
        _ => last.ends_with('.') && last.split(": ").nth(1).is_some_and(|why| why.len() > 20),
    };
    assert!(says, "neither a test nor a reason: {line}");
    Some(Rule { line, outcome, tests })
}

/// Every file that may hold tests, by path.
fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests"), root.join("../tests/tests")];
    let mut found = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// Whether a text has a test of this name: the attribute stands above it, with only other
/// attributes and comments between.
fn has_test(text: &str, name: &str) -> bool {
    let begin = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        line.starts_with(&begin)
            && (lines.iter().take(at).rev())
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| *line == "#[test]")
    })
}

fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md")).unwrap()
}

#[test]
fn every_test_that_is_named_exists() {
    let (text, sources) = (text(), sources());
    for rule in text.lines().filter_map(rule) {
        for (file, name) in rule.tests {
            let end = format!("{file}.rs");
            let mut files = sources.iter().filter(|(path, _)| path.ends_with(&end));
            assert!(
                files.any(|(_, text)| has_test(text, name)),
                "no {file}::{name}: {}",
                rule.line
            );
        }
    }
}

/// What was written to show a rule, and is named nowhere, shows nothing.
#[test]
fn every_test_of_an_rfc_is_named() {
    let text = text();
    for (path, source) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !stem.starts_with("tests_rfc") {
            continue;
        }
        let names = source.lines().filter_map(|line| line.trim().strip_prefix("fn "));
        let names = names.filter_map(|line| line.split('(').next());
        for name in names.filter(|name| has_test(&source, name)) {
            assert!(text.contains(&format!("`{stem}::{name}`")), "{stem}::{name} is not named");
        }
    }
}

#[test]
fn the_totals_are_right() {
    let text = text();
    let mut count = BTreeMap::new();
    for rule in text.lines().filter_map(rule) {
        *count.entry(rule.outcome).or_insert(0) += 1;
    }
    let of = |outcome| count.get(&outcome).copied().unwrap_or(0);
    let (tested, not, others) =
        (of(Outcome::Tested), of(Outcome::NotFollowed), of(Outcome::NotOurs));
    let want = format!(
        "Rules: {}. Tested: {tested}. Not followed: {not}. Not ours: {others}.",
        tested + not + others
    );
    assert_eq!(text.lines().last(), Some(&*want));
}

/// No rule is there twice, and no RFC is without rules.
#[test]
fn sections_are_whole() {
    let text = text();
    let mut lines: Vec<&str> = Vec::new();
    let mut titles = 0;
    for section in text.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap();
        if title == "Totals" {
            continue;
        }
        titles += 1;
        assert!(title.starts_with("RFC ") && title.contains(": "), "{title}");
        let rules: Vec<_> = section.lines().filter_map(rule).collect();
        assert!(!rules.is_empty(), "{title}");
        lines.extend(rules.iter().map(|rule| rule.line));
    }
    assert_eq!(titles, 14);
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all);
}
