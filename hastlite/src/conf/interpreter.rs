//! From statements to what they mean for one node: which `on` sections are ours, what is left
//! unsaid, and what cannot be.

use super::address::{Address, absolute, unix_path};
use super::diagnostic::Diagnostics;
use super::keyword::Keyword;
use super::parser::{Item, Section, Statement, Value};
use crate::config::{CONTROL, Config, EXPORTS, Export, Listen, Node, PIDFILE, Resource, TIMEOUT};
use crate::engine::Replication;
use crate::wire::data::{Checksum, Compression};
use std::collections::HashMap;
use std::path::PathBuf;

/// Bytes of the name of a resource or device, at most.
const MAX_NAME: usize = 254;

/// Where something was said, and what.
type Said<T> = Option<(T, usize)>;

/// What a file may say for all resources, and a resource for itself.
#[derive(Default)]
struct Shared {
    replication: Said<Replication>,
    checksum: Said<Checksum>,
    compression: Said<Compression>,
    timeout: Said<u32>,
    exec: Said<PathBuf>,
    metaflush: Said<bool>,
}

/// What a resource says, and what it says for this node.
#[derive(Default)]
struct Parts {
    name: Said<String>,
    local: Said<PathBuf>,
    remote: Said<Option<Address>>,
    source: Said<Address>,
    metaflush: Said<bool>,
}

/// Where the daemon itself is found.
#[derive(Default)]
struct Daemon {
    control: Said<PathBuf>,
    pidfile: Said<PathBuf>,
}

/// What `items` mean for `node`. If anything was said to be an error, the result means nothing.
pub fn interpret(items: &[Item<'_>], node: &Node, said: &mut Diagnostics<'_>) -> Config {
    let mut interpreter = Interpreter { node, said };
    interpreter.file(items)
}

struct Interpreter<'a, 'b, 'c> {
    node: &'a Node,
    said: &'b mut Diagnostics<'c>,
}

impl Interpreter<'_, '_, '_> {
    fn file(&mut self, items: &[Item<'_>]) -> Config {
        let (mut shared, mut all, mut own) =
            (Shared::default(), Daemon::default(), Daemon::default());
        let mut listen = Vec::new();
        // What is said for all resources holds for those before it too.
        for item in items {
            match item {
                Item::Statement(one) if self.daemon(one, &mut all, &mut listen) => {}
                Item::Statement(one) => self.shared(one, &mut shared),
                Item::Section(on) if on.keyword == Keyword::On && is_own(on, self.node) => {
                    for one in statements(&on.items) {
                        self.daemon(one, &mut own, &mut listen);
                    }
                }
                Item::Section(_) => {}
            }
        }
        self.names(items);
        let resources = sections(items, Keyword::Resource)
            .filter_map(|section| Some((self.resource(section, &shared)?, section.at)))
            .collect::<Vec<_>>();
        self.clashes(&resources);
        let path = |own: Said<PathBuf>, all: Said<PathBuf>, default: &str| {
            own.or(all).map_or_else(|| PathBuf::from(default), |(path, _)| path)
        };
        Config {
            control: path(own.control, all.control, CONTROL),
            pidfile: path(own.pidfile, all.pidfile, PIDFILE),
            listen: if listen.is_empty() { Listen::defaults() } else { listen },
            resources: resources.into_iter().map(|(resource, _)| resource).collect(),
        }
    }

    /// Takes a statement about the daemon itself; `false` if it is about something else.
    fn daemon(&mut self, one: &Statement<'_>, to: &mut Daemon, listen: &mut Vec<Listen>) -> bool {
        match one.keyword {
            Keyword::Control => {
                let path = self.word(one, unix_path);
                self.set(&mut to.control, path, one);
            }
            Keyword::Pidfile => {
                let path = self.word(one, absolute);
                self.set(&mut to.pidfile, path, one);
            }
            Keyword::Listen => {
                let address = self.word(one, Address::parse);
                listen.extend(address.map(|address| Listen { address, required: true }));
            }
            _ => return false,
        }
        true
    }

    fn shared(&mut self, one: &Statement<'_>, to: &mut Shared) {
        match (one.keyword, one.value) {
            (Keyword::Replication, Value::Keyword(value)) => {
                let mode = match value {
                    Keyword::Fullsync => Replication::Fullsync,
                    Keyword::Async => Replication::Async,
                    _ => Replication::Memsync,
                };
                self.set(&mut to.replication, Some(mode), one);
            }
            (Keyword::Checksum, Value::Keyword(value)) => {
                let checksum = match value {
                    Keyword::Crc32 => Checksum::Crc32,
                    Keyword::Sha256 => Checksum::Sha256,
                    _ => Checksum::None,
                };
                self.set(&mut to.checksum, Some(checksum), one);
            }
            (Keyword::Compression, Value::Keyword(value)) => {
                let compression = match value {
                    Keyword::Hole => Compression::Hole,
                    Keyword::Lzf => Compression::Lzf,
                    _ => Compression::None,
                };
                self.set(&mut to.compression, Some(compression), one);
            }
            (Keyword::Timeout, Value::Number(digits)) => {
                let seconds = digits.parse().ok().filter(|n| (1..=i32::MAX as u32).contains(n));
                if seconds.is_none() {
                    let text = format!("a timeout of {digits}: from 1 to {} seconds", i32::MAX);
                    self.said.error(one.value_at, text);
                }
                self.set(&mut to.timeout, seconds, one);
            }
            (Keyword::Exec, _) => {
                let path = self.word(one, absolute);
                self.set(&mut to.exec, path, one);
            }
            (Keyword::Metaflush, _) => {
                self.set(&mut to.metaflush, Some(is_on(one)), one);
            }
            // Of another place, which was said.
            _ => {}
        }
    }

    fn resource(&mut self, section: &Section<'_>, globals: &Shared) -> Option<Resource> {
        let name = section.name?;
        if name.len() > MAX_NAME {
            self.said.error(section.at, long_name(name));
        }
        let (mut shared, mut all, mut own) =
            (Shared::default(), Parts::default(), Parts::default());
        for one in statements(&section.items) {
            if !self.part(one, &mut all) {
                self.shared(one, &mut shared);
            }
        }
        let mut ours = None;
        for on in own_sections(section, self.node) {
            ours.get_or_insert(on.at);
            for one in statements(&on.items) {
                if one.keyword == Keyword::Metaflush {
                    self.set(&mut own.metaflush, Some(is_on(one)), one);
                } else {
                    self.part(one, &mut own);
                }
            }
        }
        let Some(ours) = ours else {
            let node = self.node;
            let text = format!("`{name}` has no `on` for this node, which is any of: {node}");
            self.said.error(section.at, text);
            return None;
        };
        if own.remote.is_none() && !mentions(section, self.node, Keyword::Remote) {
            self.said.error(ours, format!("`{name}` has no `remote` here"));
        }
        let local = own.local.or(all.local);
        if local.is_none() && !mentions(section, self.node, Keyword::Local) {
            self.said.error(section.at, format!("`{name}` has no `local` on this node"));
        }
        if let (Some((Some(remote), _)), Some((source, at))) = (&own.remote, &own.source)
            && source.excludes(remote)
        {
            let text = format!("nothing connects from {source} to {remote}");
            self.said.error(*at, text);
        }
        let named = own.name.or(all.name);
        let (provname, named_at) = named.unwrap_or_else(|| (name.to_owned(), section.at));
        let export = export(&provname);
        if let Err(wrong) = &export {
            let hint = if named_at == section.at { "; give the resource a `name`" } else { "" };
            self.said.error(named_at, format!("{wrong}{hint}"));
        }
        Some(Resource {
            name: name.to_owned(),
            provname,
            export: export.ok()?,
            local: local?.0,
            remote: own.remote?.0,
            source: own.source.map(|(address, _)| address),
            replication: effective(shared.replication, globals.replication, Replication::Memsync),
            checksum: effective(shared.checksum, globals.checksum, Checksum::None),
            compression: effective(shared.compression, globals.compression, Compression::Hole),
            timeout: effective(shared.timeout, globals.timeout, TIMEOUT),
            exec: shared.exec.or(globals.exec.clone()).map(|(path, _)| path),
            metaflush: effective(own.metaflush.or(shared.metaflush), globals.metaflush, true),
        })
    }

    /// Takes a statement that a resource may say for one node or for both; `false` if it is another.
    fn part(&mut self, one: &Statement<'_>, to: &mut Parts) -> bool {
        match one.keyword {
            Keyword::Name => {
                let name = self.word(one, |name| {
                    if name.len() > MAX_NAME { Err(long_name(name)) } else { Ok(name.to_owned()) }
                });
                self.set(&mut to.name, name, one);
            }
            Keyword::Local => {
                let path = self.word(one, absolute);
                self.set(&mut to.local, path, one);
            }
            Keyword::Remote if one.value == Value::Keyword(Keyword::None) => {
                self.set(&mut to.remote, Some(None), one);
            }
            Keyword::Remote => {
                let address = self.word(one, Address::parse).map(Some);
                self.set(&mut to.remote, address, one);
            }
            Keyword::Source => {
                let address = self.word(one, Address::parse);
                self.set(&mut to.source, address, one);
            }
            _ => return false,
        }
        true
    }

    /// Each resource once.
    fn names(&mut self, items: &[Item<'_>]) {
        let mut places = HashMap::new();
        for section in sections(items, Keyword::Resource) {
            let Some(name) = section.name else { continue };
            let line = self.said.file().line_of(section.at);
            let first = *places.entry(name).or_insert(line);
            if first != line {
                let text = format!("`{name}` is already a resource, in line {first}");
                self.said.error(section.at, text);
            }
        }
    }

    /// What two resources cannot both have.
    fn clashes(&mut self, resources: &[(Resource, usize)]) {
        let (mut locals, mut exports) = (HashMap::new(), HashMap::new());
        for (resource, at) in resources {
            let export = match &resource.export {
                Export::Unix(path) => path.display().to_string(),
                Export::Tcp(address) => address.authority(super::address::NBD_PORT),
            };
            let local = resource.local.clone();
            if let Some(first) = locals.insert(local, &resource.name)
                && *first != resource.name
            {
                let text = format!("`{}` has the same `local` as `{first}`", resource.name);
                self.said.error(*at, text);
            }
            if let Some(first) = exports.insert(export.clone(), &resource.name)
                && *first != resource.name
            {
                let text = format!("`{}` is exported at {export}, as `{first}` is", resource.name);
                self.said.error(*at, text);
            }
        }
    }

    /// A statement's word, understood.
    fn word<T>(
        &mut self,
        one: &Statement<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Value::Word(word) = one.value else { return None };
        read(word).inspect_err(|wrong| self.said.error(one.value_at, wrong.as_str())).ok()
    }

    /// The last one counts, as in FreeBSD.
    fn set<T>(&mut self, slot: &mut Said<T>, value: Option<T>, one: &Statement<'_>) {
        let Some(value) = value else { return };
        if let Some((_, earlier)) = slot.replace((value, one.at)) {
            let line = self.said.file().line_of(earlier);
            let word = one.keyword.word();
            let text = format!("`{word}` again: this one counts, and not that of line {line}");
            self.said.warning(one.at, text);
        }
    }
}

/// Where clients find what is called `name`: a unix socket or an address if it is one, else a
/// socket of that name beside the others.
fn export(name: &str) -> Result<Export, String> {
    let scheme = name.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("uds" | "unix") => unix_path(name).map(Export::Unix),
        Some(_) => Address::parse(name).map(Export::Tcp),
        None if name.starts_with('/') => unix_path(name).map(Export::Unix),
        None if name.contains('/') || name == "." || name == ".." => {
            Err(format!("`{name}` cannot be the name of a socket in {EXPORTS}"))
        }
        None => unix_path(&format!("{EXPORTS}/{name}.sock")).map(Export::Unix),
    }
}

/// Whether this node's part of a resource says something of the kind, though maybe nothing good.
fn mentions(section: &Section<'_>, node: &Node, keyword: Keyword) -> bool {
    let own = own_sections(section, node).flat_map(|on| statements(&on.items));
    statements(&section.items).chain(own).any(|one| one.keyword == keyword)
}

fn own_sections<'a, 'b>(
    resource: &'b Section<'a>,
    node: &'b Node,
) -> impl Iterator<Item = &'b Section<'a>> {
    sections(&resource.items, Keyword::On).filter(|on| is_own(on, node))
}

fn is_own(on: &Section<'_>, node: &Node) -> bool {
    on.name.is_some_and(|name| node.is(name))
}

fn statements<'a, 'b>(items: &'b [Item<'a>]) -> impl Iterator<Item = &'b Statement<'a>> {
    items.iter().filter_map(|item| match item {
        Item::Statement(one) => Some(one),
        Item::Section(_) => None,
    })
}

fn sections<'a, 'b>(
    items: &'b [Item<'a>],
    keyword: Keyword,
) -> impl Iterator<Item = &'b Section<'a>> {
    items.iter().filter_map(move |item| match item {
        Item::Section(section) if section.keyword == keyword => Some(section),
        _ => None,
    })
}

fn effective<T: Copy>(own: Said<T>, global: Said<T>, default: T) -> T {
    own.or(global).map_or(default, |(value, _)| value)
}

fn is_on(one: &Statement<'_>) -> bool {
    one.value == Value::Keyword(Keyword::On)
}

fn long_name(name: &str) -> String {
    format!("a name of {} bytes; at most {MAX_NAME}", name.len())
}
