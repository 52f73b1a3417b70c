//! Differences that were found, put together and into words: one line for each setting, place
//! and pair of values, however many hosts and subnets it is about.

use super::super::check::Site;
use super::super::options;
use super::super::outline::{Declared, Key, Outline, Value, Written};
use super::{Findings, From, Holds};
use crate::config::Config;
use std::collections::{BTreeMap, BTreeSet};

/// How many hosts and subnets are named.
const LISTED: usize = 4;

/// Whom a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// All of a subnet that are no exception.
    Subnet(usize),
    /// A host or class, perhaps as one of another class.
    Of(usize, Option<usize>),
}

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Another value, in some subnets.
    Differs,
    /// Another value, whatever the subnet.
    Everywhere,
    /// The same boot file, unless the client names one itself.
    OwnFile,
}

/// What is the same for all that a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    ours: Option<From>,
    theirs: Option<From>,
    key: Key,
    kind: Kind,
    /// A difference for everybody in a subnet.
    general: bool,
    /// The class beside the host.
    class: Option<usize>,
}

#[derive(Debug)]
struct Group {
    ours: Holds,
    theirs: Holds,
    clients: BTreeSet<usize>,
    subnets: BTreeSet<usize>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Told {
    lines: BTreeMap<Line, Group>,
}

impl Told {
    /// Adds one, for clients that are all of one sort.
    pub fn add(
        &mut self,
        key: Key,
        kind: Kind,
        ours: Holds,
        theirs: Holds,
        clients: &[Client],
        subnet: usize,
    ) {
        let from = |holds: &Holds| match holds {
            Holds::Said(from) | Holds::Name(from) => Some(*from),
            Holds::BuiltIn(_) | Holds::Nothing => None,
        };
        for client in clients {
            let (general, at, class) = match client {
                Client::Subnet(at) => (true, *at, None),
                Client::Of(at, class) => (false, *at, *class),
            };
            let line = Line { ours: from(&ours), theirs: from(&theirs), key, kind, general, class };
            let group = self.lines.entry(line).or_insert_with(|| Group {
                ours: ours.clone(),
                theirs: theirs.clone(),
                clients: BTreeSet::new(),
                subnets: BTreeSet::new(),
            });
            group.clients.insert(at);
            group.subnets.insert(subnet);
        }
    }

    /// In words, each with its place: where our value was said, or else theirs.
    pub fn into_findings(
        self,
        outline: &Outline,
        config: &Config,
        file_name: &dyn Fn(Site, Site) -> String,
    ) -> Findings {
        let words = Words { outline, config, file_name };
        self.lines.iter().map(|(line, group)| words.finding(line, group)).collect()
    }
}

struct Words<'a> {
    outline: &'a Outline,
    config: &'a Config,
    file_name: &'a dyn Fn(Site, Site) -> String,
}

impl Words<'_> {
    fn finding(&self, line: &Line, group: &Group) -> (Site, String) {
        let first = group.clients.first().and_then(|at| self.outline.scopes.get(*at));
        let site = self.site(line.ours).or_else(|| self.site(line.theirs));
        let site = site.or(first.map(|scope| scope.site)).unwrap_or(Site { file: 0, offset: 0 });
        let key = name(line.key);
        let mut who = match line.general {
            true => self.nets(&group.clients),
            false => self.clients(&group.clients),
        };
        if let Some(class) = line.class.and_then(|at| self.outline.scopes.get(at)) {
            who = format!("{who} of {}", self.client(class));
        }
        if line.kind == Kind::OwnFile {
            let text = format!(
                "for {who}, OpenBSD's dhcpd prefers this {key} to one that the client names itself"
            );
            return (site, text);
        }
        if line.kind == Kind::Differs && !line.general {
            who = format!("{who} in {}", self.nets(&group.subnets));
        }
        let ours = self.value(line.key, &group.ours);
        let theirs = self.value(line.key, &group.theirs);
        let origin = match (&group.theirs, self.site(line.theirs)) {
            (Holds::BuiltIn(_), _) => ", its default".to_owned(),
            (_, Some(there)) => format!(", of {}", (self.file_name)(site, there)),
            _ => String::new(),
        };
        let default = if matches!(group.ours, Holds::BuiltIn(_)) { ", the default" } else { "" };
        (site, format!("{key} for {who} is {ours}{default}; with OpenBSD's dhcpd {theirs}{origin}"))
    }

    fn site(&self, from: Option<From>) -> Option<Site> {
        let From(scope, at) = from?;
        self.outline.scopes.get(scope)?.said.get(at).map(|said| said.site)
    }

    fn value(&self, key: Key, holds: &Holds) -> String {
        match holds {
            Holds::Said(From(scope, at)) => {
                let said = self.outline.scopes.get(*scope).and_then(|s| s.said.get(*at));
                said.map_or(String::new(), |said| match (&said.value, key) {
                    (Value::Flag(on), Key::Field(name)) => flag(name, *on).to_owned(),
                    _ => said.text.clone(),
                })
            }
            Holds::BuiltIn(Value::Flag(on)) => match key {
                Key::Field(name) => flag(name, *on).to_owned(),
                Key::Option(_) => on.to_string(),
            },
            Holds::BuiltIn(Value::Number(number)) => number.to_string(),
            Holds::BuiltIn(Value::Bytes(_)) => String::new(),
            Holds::Name(_) => "the declared name".to_owned(),
            Holds::Nothing => "none".to_owned(),
        }
    }

    /// `host a, b and 3 more`, or a class.
    fn clients(&self, clients: &BTreeSet<usize>) -> String {
        let scopes = || clients.iter().filter_map(|at| self.outline.scopes.get(*at));
        let hosts: Vec<&str> = scopes().filter_map(|scope| self.host(scope)).collect();
        if hosts.is_empty() {
            return list(scopes().map(|scope| self.client(scope)), LISTED);
        }
        let plural = if hosts.len() > 1 { "s" } else { "" };
        format!("host{plural} {}", list(hosts.into_iter().map(str::to_owned), LISTED))
    }

    fn host(&self, scope: &Written) -> Option<&str> {
        match scope.declared {
            Declared::Host(id) => self.config.hosts.get(id).map(|host| &*host.name),
            _ => None,
        }
    }

    fn client(&self, scope: &Written) -> String {
        let shown = |value: &[u8]| value.escape_ascii().to_string();
        match &scope.declared {
            Declared::VendorClass(value) => format!("vendor-class \"{}\"", shown(value)),
            Declared::UserClass(value) => format!("user-class \"{}\"", shown(value)),
            _ => self.host(scope).unwrap_or_default().to_owned(),
        }
    }

    fn nets(&self, scopes: &BTreeSet<usize>) -> String {
        let net = |at: &usize| match self.outline.scopes.get(*at)?.declared {
            Declared::Subnet(id) => self.config.subnets.get(id).map(|s| s.net.to_string()),
            _ => None,
        };
        list(scopes.iter().filter_map(net), LISTED)
    }
}

/// As people write it.
fn name(key: Key) -> String {
    match key {
        Key::Field(name) => format!("`{name}`"),
        Key::Option(code) => match options::name_of(code) {
            Some(name) => format!("option `{name}`"),
            None => format!("option `option-{code}`"),
        },
    }
}

fn flag(name: &str, on: bool) -> &'static str {
    let permit = super::super::statements::find_flag(name).is_some();
    match (permit, on) {
        (true, true) => "allowed",
        (true, false) => "denied",
        (false, true) => "on",
        (false, false) => "off",
    }
}

/// `a, b and 3 more`.
pub fn list(items: impl Iterator<Item = String>, most: usize) -> String {
    let items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(most);
    let shown = items.get(..items.len() - more).unwrap_or_default().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
