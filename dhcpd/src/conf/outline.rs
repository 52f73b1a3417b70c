//! How a configuration was written, as far as it matters to what OpenBSD's dhcpd(8) would make of
//! it: every scope, what it says itself and where. Filled while reading, and only if somebody is
//! going to compare (`differences`). Compares nothing itself.

use super::check::Site;
use super::diagnostic::Problem;
use super::lexer::{Kind, Token};
use super::options;
use super::source::SourceFile;
use super::statements::{self, Meaning, Row, Scope};
use crate::config::{HostId, Settings, SubnetId};

/// Every parameter that OpenBSD's dhcpd knows, and what may be allowed and denied there.
#[rustfmt::skip]
const THERE: &[&str] = &[
    "allow", "always-reply-rfc1048", "authoritative", "bootp", "booting", "default-lease-time",
    "deny", "dynamic-bootp", "dynamic-bootp-lease-cutoff", "dynamic-bootp-lease-length",
    "echo-client-id", "filename", "fixed-address", "get-lease-hostnames", "hardware",
    "max-lease-time", "next-server", "not", "option", "range", "server-identifier", "server-name",
    "timestamp", "unknown-clients", "use-host-decl-names", "use-lease-addr-for-default-route",
];

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A statement of this name, or what `allow` and `deny` say of it.
    Field(&'static str),
    /// An option.
    Option(u8),
}

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Seconds, or a date.
    Number(i64),
    /// On or off, allowed or denied.
    Flag(bool),
    /// Text, an address, or an option as it goes on the wire.
    Bytes(Vec<u8>),
}

/// A setting in a scope.
#[derive(Debug)]
pub struct Said {
    /// Which.
    pub key: Key,
    /// What.
    pub value: Value,
    /// The value as it was written.
    pub text: String,
    /// Where the statement begins.
    pub site: Site,
}

/// What a scope declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// Nothing that has settings of its own: the outermost scope, a group, a shared-network.
    Nothing,
    /// A subnet.
    Subnet(SubnetId),
    /// A host.
    Host(HostId),
    /// `vendor-class` with its value.
    VendorClass(Vec<u8>),
    /// `user-class` with its value.
    UserClass(Vec<u8>),
}

/// The beginning of what another scope says: that scope's index, and how much it had said.
pub type Base = (usize, usize);

/// A scope.
#[derive(Debug)]
pub struct Written {
    /// Its kind.
    pub kind: Scope,
    /// Where it begins.
    pub site: Site,
    /// The scope around it, as far as that had got.
    pub around: Option<Base>,
    /// The shared-network it is in, as far as that had got.
    pub network: Option<Base>,
    /// What it says, in order.
    pub said: Vec<Said>,
    /// What it became.
    pub declared: Declared,
}

/// A whole configuration as it was written.
#[derive(Debug)]
pub struct Outline {
    /// Every scope, the outermost first, each after the one around it.
    pub scopes: Vec<Written>,
    /// Those that have begun and not ended.
    open: Vec<usize>,
    /// Names of statements that OpenBSD's dhcpd does not know, with the place of each.
    pub foreign: Vec<(Site, String)>,
    /// What differs by itself, wherever it stands.
    pub remarks: Vec<(Site, String)>,
}

impl Default for Outline {
    fn default() -> Self {
        let outermost = Written {
            kind: Scope::Root,
            site: Site { file: 0, offset: 0 },
            around: None,
            network: None,
            said: Vec::new(),
            declared: Declared::Nothing,
        };
        Outline { scopes: vec![outermost], open: vec![0], foreign: Vec::new(), remarks: Vec::new() }
    }
}

impl Outline {
    /// A scope begins.
    pub fn begin(&mut self, kind: Scope, site: Site) {
        let base = |scope: &usize| Some((*scope, self.scopes.get(*scope)?.said.len()));
        let is_network = |scope: &&usize| {
            self.scopes.get(**scope).is_some_and(|scope| scope.kind == Scope::Network)
        };
        let around = self.open.last().and_then(base);
        let network = self.open.iter().rev().find(is_network).and_then(base);
        self.open.push(self.scopes.len());
        let declared = Declared::Nothing;
        self.scopes.push(Written { kind, site, around, network, said: Vec::new(), declared });
    }

    /// The innermost scope ends, and became this.
    pub fn end(&mut self, declared: Declared) {
        if let Some(scope) = self.open.pop().and_then(|scope| self.scopes.get_mut(scope)) {
            scope.declared = declared;
        }
    }

    /// Something was found wrong that OpenBSD's dhcpd takes.
    pub fn wrong(&mut self, file: usize, problem: &Problem) {
        if let Some(there) = problem.there {
            let site = Site { file, offset: problem.offset };
            self.remarks.push((site, format!("OpenBSD's dhcpd {there}")));
        }
    }

    /// A statement that OpenBSD's dhcpd does not know.
    pub fn foreign(&mut self, site: Site, name: &str) {
        self.foreign.push((site, name.to_owned()));
    }

    /// A parameter was read into what the innermost scope says itself.
    pub fn says(
        &mut self,
        row: &Row,
        words: &[Token],
        file: &SourceFile,
        id: usize,
        own: &Settings,
    ) {
        let Some(first) = words.first() else { return };
        let site = Site { file: id, offset: first.start };
        self.remark(row, words, file, site);
        let second = words.get(1).map(|word| word.raw(file)).unwrap_or_default();
        let second = String::from_utf8_lossy(second);
        if !THERE.contains(&row.name) {
            return self.foreign(site, row.name);
        }
        let mut own = own.clone();
        let (key, value, skip) = match row.meaning {
            Meaning::Option => {
                let dotted = words.get(2).is_some_and(|word| word.kind == Kind::Mark(b'.'));
                // `option dhcp.NAME`: one name in three words.
                let at = if dotted { 3 } else { 1 };
                let name = words.get(at).map(|word| word.raw(file)).unwrap_or_default();
                let Some(found) = options::find(&String::from_utf8_lossy(name)) else { return };
                (Key::Option(found.code), bytes(own.options.get(found.code)), at + 1)
            }
            Meaning::ServerIdentifier => (Key::Option(54), bytes(own.options.get(54)), 1),
            Meaning::Permit(_) => {
                // What is not known here either was named already.
                let Some(flag) = statements::find_flag(&second) else { return };
                if !THERE.contains(&flag.name) {
                    if flag.field.is_some() {
                        self.foreign(site, &format!("{} {}", row.name, flag.name));
                    }
                    return;
                }
                let value = flag.field.and_then(|field| *field(&mut own));
                (Key::Field(flag.name), value.map(Value::Flag), 0)
            }
            Meaning::Authoritative | Meaning::Not => {
                (Key::Field("authoritative"), own.authoritative.map(Value::Flag), 0)
            }
            _ => (Key::Field(row.name), field(row, &mut own), 1),
        };
        let Some(value) = value else { return };
        let text = written(words.get(skip..).unwrap_or_default(), file);
        if let Some(scope) = self.open.last().and_then(|scope| self.scopes.get_mut(*scope)) {
            scope.said.push(Said { key, value, text, site });
        }
    }

    /// What differs wherever it stands.
    fn remark(&mut self, row: &Row, words: &[Token], file: &SourceFile, site: Site) {
        let word = |at: usize| words.get(at).map(|word| word.raw(file)).unwrap_or_default();
        let is = |at: usize, wanted: &str| word(at).eq_ignore_ascii_case(wanted.as_bytes());
        let scope = self.open.last().and_then(|scope| self.scopes.get(*scope));
        let in_host = scope.is_some_and(|scope| scope.kind == Scope::Host);
        let client = in_host || scope.is_some_and(|scope| scope.kind == Scope::Class);
        let text = match row.meaning {
            Meaning::Option => {
                let at = if word(2) == b"." { 3 } else { 1 };
                let name = String::from_utf8_lossy(word(at));
                let code = options::find(&name).map(|found| found.code);
                // Codes that have names have only those there.
                if name.starts_with("option-") && code.and_then(options::name_of).is_some() {
                    return self.foreign(site, &format!("option {name}"));
                }
                match code {
                    Some(108) => {
                        "OpenBSD's dhcpd sends this to all clients, and not only to those that ask \
                         for it"
                    }
                    Some(82) => {
                        "OpenBSD's dhcpd sends no relay agent information at all; here a relay \
                         agent gets its own back"
                    }
                    Some(50 | 57) => "OpenBSD's dhcpd sends this; only clients may",
                    Some(61) if !in_host => {
                        "OpenBSD's dhcpd sends this to clients that have no identifier"
                    }
                    _ => return,
                }
            }
            Meaning::Permit(_) if is(1, "dynamic-bootp") && client => {
                "OpenBSD's dhcpd takes no notice of this here"
            }
            Meaning::Permit(true) if is(1, "dynamic-bootp") => {
                "with this, BOOTP clients get addresses of all ranges; OpenBSD's dhcpd gives them \
                 those of `range dynamic-bootp` only"
            }
            _ if row.name == "get-lease-hostnames" && (is(1, "true") || is(1, "on")) => {
                "OpenBSD's dhcpd looks up every address of all ranges before it serves; here each \
                 is looked up when it is first given out, and nobody waits for it"
            }
            Meaning::Hardware if is(1, "token-ring") || is(1, "fddi") => {
                let name = String::from_utf8_lossy(word(1)).into_owned();
                return self.foreign(site, &format!("hardware {name}"));
            }
            _ => return,
        };
        self.remarks.push((site, text.to_owned()));
    }
}

/// What a setting is where nobody says anything.
pub fn built_in(key: Key) -> Option<Value> {
    let Key::Field(name) = key else { return None };
    let mut settings = Settings::built_in();
    if let Some(flag) = statements::find_flag(name) {
        return flag.field.and_then(|field| *field(&mut settings)).map(Value::Flag);
    }
    field(statements::find(name.as_bytes())?, &mut settings)
}

fn field(row: &Row, settings: &mut Settings) -> Option<Value> {
    match row.meaning {
        Meaning::Seconds(field) => field(settings).map(|n| Value::Number(n.into())),
        Meaning::Date(field) => field(settings).map(Value::Number),
        Meaning::Boolean(field) => field(settings).map(Value::Flag),
        Meaning::Text(_, field) => field(settings).clone().map(Value::Bytes),
        Meaning::Address(field) => field(settings).map(|a| Value::Bytes(a.octets().to_vec())),
        Meaning::Authoritative | Meaning::Not => settings.authoritative.map(Value::Flag),
        _ => None,
    }
}

fn bytes(value: Option<&[u8]>) -> Option<Value> {
    value.map(|value| Value::Bytes(value.to_vec()))
}

/// The longest that a value is shown, in characters.
const SHOWN: usize = 60;

/// Words as they were written, on one line and without comments.
fn written(words: &[Token], file: &SourceFile) -> String {
    let mut text = String::new();
    let mut end = None;
    for word in words {
        if end.is_some_and(|end| end < word.start) {
            text.push(' ');
        }
        end = Some(word.end(file));
        let raw = String::from_utf8_lossy(word.raw(file));
        let quote = if word.kind == Kind::Quoted { "\"" } else { "" };
        text.extend([quote, &raw, quote]);
        if text.len() > 4 * SHOWN {
            break;
        }
    }
    let mut shown: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}
