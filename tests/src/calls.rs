//! Which system calls processes make, as strace(1) writes them down, and which their filters let
//! pass, as the sources' tables have it. Not whether a filter works: the kernel ends who makes another.

use std::collections::{BTreeMap, BTreeSet};

/// A row of a filter's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The call's name.
    pub name: String,
    /// What its arguments must be, as the source has it; empty if they may be anything.
    pub when: String,
    /// Why it is allowed.
    pub reason: String,
}

/// A call as strace wrote it: its name, and its arguments as text.
pub type Made = (String, Vec<String>);

/// The rows of all the tables in a source file, by the tables' names.
///
/// # Panics
/// If it is not written as these files are.
pub fn tables(source: &str) -> BTreeMap<String, Vec<Allowed>> {
    let mut tables = BTreeMap::new();
    for part in source.split("const ").skip(1) {
        let Some((name, rest)) = part.split_once(": &[Call] = &[") else { continue };
        let body = rest.split_once("\n];").expect("the end of a table").0;
        let rows = body.split("Call::").skip(1).map(row).collect();
        tables.insert(name.to_owned(), rows);
    }
    tables
}

/// One row: `new(libc::SYS_read, "reason"),` or `when(libc::SYS_fcntl, &[...], "reason"),`.
fn row(text: &str) -> Allowed {
    let (_, rest) = text.split_once("libc::SYS_").expect("a call");
    let (name, rest) = rest.split_once(',').expect("a name");
    let (when, rest) = match rest.split_once("&[") {
        Some((blank, rest)) if blank.trim().is_empty() => rest.split_once(']').expect("conditions"),
        _ => ("", rest),
    };
    let (_, rest) = rest.split_once('"').expect("a reason");
    let (reason, _) = rest.split_once("\",").or(rest.rsplit_once('"')).expect("its end");
    // Rustfmt breaks long ones.
    let words =
        |text: &str| text.replace('\\', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let reason = reason.split("\")").next().unwrap_or(reason);
    Allowed { name: name.to_owned(), when: words(when), reason: words(reason) }
}

impl Allowed {
    /// Whether this is the row that lets such a call pass.
    pub fn is_for(&self, (name, arguments): &Made) -> bool {
        let conditions = self.when.split("When::").skip(1);
        *name == self.name && conditions.into_iter().all(|text| holds(text, arguments))
    }
}

/// Whether a condition holds: `Is(1, libc::F_SETFD)`, `Without(2, libc::PROT_EXEC)`, ...
fn holds(condition: &str, arguments: &[String]) -> bool {
    let (kind, rest) = condition.split_once('(').expect("a condition");
    let (rest, _) = rest.split_once(')').expect("its end");
    let (number, value) = rest.split_once(',').unwrap_or((rest, ""));
    let Some(argument) = arguments.get(number.trim().parse::<usize>().expect("a number")) else {
        return false;
    };
    let value = value.split(" as ").next().unwrap_or(value);
    let mut words = value.split('|').map(|word| match word.trim().rsplit("::").next() {
        Some("SYSLOG_FD") => "4",
        word => word.unwrap_or_default(),
    });
    let has = |word: &str| argument.split('|').any(|part| part.trim() == word);
    match kind {
        "Is" => words.all(has),
        "Without" => !words.any(has),
        _ => true,
    }
}

/// What each process called once its filter was on, by its title, from the output of `strace -f`.
/// Arguments are kept only for those calls whose rows have conditions.
pub fn made(trace: &str, conditional: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<Made>> {
    let lines = || {
        trace.lines().filter_map(|line| {
            let (pid, text) = line.trim_start().split_once(' ')?;
            Some((pid, text.trim_start()))
        })
    };
    // Who was started by whom: a thread may be heard of before the call that started it returns.
    let starts = |text: &str| text.starts_with("clone") || text.starts_with("<... clone");
    let origin: BTreeMap<&str, &str> = lines()
        .filter(|(_, text)| starts(text))
        .filter_map(|(pid, text)| Some((text.rsplit_once(" = ")?.1.trim(), pid)))
        .collect();
    let first = |pid, known: &dyn Fn(&str) -> bool| {
        let mut pid = pid;
        while !known(pid) {
            pid = origin.get(pid)?;
        }
        Some(pid)
    };

    let mut titles: BTreeMap<&str, String> = BTreeMap::new();
    let mut filtered: BTreeSet<&str> = BTreeSet::new();
    let mut made: BTreeMap<String, BTreeSet<Made>> = BTreeMap::new();
    for (pid, text) in lines() {
        let text = text.trim_end_matches(" <unfinished ...>");
        let Some((name, rest)) = text.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let own = first(pid, &|pid| titles.contains_key(pid));
        if let Some(own) = own.filter(|own| filtered.contains(own)) {
            let known = conditional.contains(name);
            let call = (name.to_owned(), if known { arguments(rest) } else { Vec::new() });
            made.entry(titles[own].clone()).or_default().insert(call);
        }
        match name {
            "execve" => {
                filtered.remove(pid);
                let title = rest.split_once("[\"").and_then(|(_, rest)| rest.split_once('"'));
                titles.insert(pid, title.map_or(String::new(), |(title, _)| title.to_owned()));
            }
            "seccomp" if rest.starts_with("SECCOMP_SET_MODE_FILTER") => {
                filtered.insert(pid);
            }
            _ => {}
        }
    }
    made
}

/// The arguments, those in braces and brackets as one.
fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut depth, mut quoted) = (vec![String::new()], 0, false);
    let mut bytes = text.chars();
    while let Some(c) = bytes.next() {
        match c {
            '\\' if quoted => {
                bytes.next();
                continue;
            }
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().expect("there is one").push(c);
    }
    all.iter().map(|text| text.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read() {
        let trace = "10 execve(\"/x\", [\"dhcpd: server\"], 0x7 /* 1 var */) = 0\n\
            10 read(3, \"a, (b\", 9) = 2\n\
            10 seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, {len=9}) = 0\n\
            10 clone3({flags=CLONE_VM}, 88 <unfinished ...>\n\
            11 rseq(0x7f, 0x20, 0, 0x53053053) = 0\n\
            10 <... clone3 resumed> => {parent_tid=[0]}, 88) = 11\n\
            11 write(2, \"x\\\"),\", 3 <unfinished ...>\n\
            10 mprotect(0x7f, 4096, PROT_READ|PROT_WRITE) = 0\n";
        let conditional = ["mprotect", "write"].map(str::to_owned).into();
        let made = made(trace, &conditional);
        let calls: Vec<&str> = made["dhcpd: server"].iter().map(|call| call.0.as_str()).collect();
        assert_eq!(calls, ["clone3", "mprotect", "rseq", "write"]);
        let row = |name: &str, when: &str| Allowed {
            name: name.to_owned(),
            when: when.to_owned(),
            reason: String::new(),
        };
        let write = made["dhcpd: server"].iter().find(|call| call.0 == "write").expect("a write");
        assert!(row("write", "When::Is(0, 2)").is_for(write));
        assert!(!row("write", "When::Is(0, SYSLOG_FD)").is_for(write));
        let protect = made["dhcpd: server"].iter().find(|call| call.0 == "mprotect").expect("one");
        assert!(row("mprotect", "When::Without(2, libc::PROT_EXEC)").is_for(protect));
        assert!(!row("mprotect", "When::Without(2, libc::PROT_WRITE)").is_for(protect));
    }
}
