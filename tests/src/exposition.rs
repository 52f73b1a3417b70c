//! Prometheus' text exposition format 0.0.4, read strictly: what its documentation demands, and what
//! `promtool check metrics` wants of names besides.

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name with its labels in order, and its value.
pub type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// All samples.
///
/// # Panics
/// If something is not as it should be; the message says what.
pub fn parse(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut samples = Samples::new();
    let mut families = BTreeSet::new();
    let mut family: Option<(String, Option<String>)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && is_name(name, true), "{line}");
            assert!(families.insert(name.to_owned()), "{name} is there twice");
            family = Some((name.to_owned(), None));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            let family = family.as_mut().expect("HELP before TYPE");
            assert!(family.0 == name && family.1.is_none(), "{line}");
            family.1 = Some(kind.to_owned());
        } else {
            let (name, labels, value) = sample(line);
            let family = family.as_ref().expect("a family before a sample");
            assert!(family.0 == name && family.1.is_some(), "{line} is of no family");
            let value: f64 = value.parse().expect("a number");
            assert!(samples.insert((name, labels), value).is_none(), "{line} is there twice");
        }
    }
    samples
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`, or without colons for a label.
fn is_name(name: &str, colons: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn sample(line: &str) -> (String, Vec<(String, String)>, &str) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label, false) && !label.starts_with("__"), "{line}");
            assert!(labels.iter().all(|(known, _)| known != label), "{line}");
            let (value, after) = value(after);
            labels.push((label.to_owned(), value));
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => {
                    rest = after.strip_prefix('}').expect("the end of the labels");
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    assert!(!value.contains(' '), "{line}: what is behind the value?");
    (name.to_owned(), labels, value)
}

/// A label's value, up to its closing quote, and what follows that.
fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => panic!("an escape of {other:?}"),
            }),
            '\n' => panic!("a line end in a value"),
            c => value.push(c),
        }
    }
    panic!("a value without an end: {text}")
}
