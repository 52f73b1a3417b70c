//! Declarations: what opens a scope, and what is made of it when it ends.

use super::super::arguments::{Arguments, prefix_mask};
use super::super::check::Site;
use super::super::diagnostic::Problem;
use super::super::lexer::{Kind, Token};
use super::super::statements::{Declaration, Row, Scope};
use super::super::tree::{Body, Statement, Tree};
use super::{Interpreter, Open};
use crate::config::{Class, Host, Range, Settings, SharedNetwork, Subnet};
use ipnetwork::Ipv4Network;
use std::net::Ipv4Addr;

/// The words before a block.
pub enum Header {
    Network(String),
    Subnet(Ipv4Network),
    Group,
    Host(String),
    Class(Vec<u8>),
    Pool,
}

/// The words of a `range`.
pub struct RangeWords {
    pub dynamic_bootp: bool,
    pub low: (Ipv4Addr, u32),
    high: (Ipv4Addr, u32),
}

/// `include "FILE"`.
pub fn include(arguments: &mut Arguments) -> Result<Vec<u8>, Problem> {
    let path = arguments.quoted("the name of a file in quotes")?.into_owned();
    arguments.end("`;`")?;
    Ok(path)
}

/// `range [dynamic-bootp] LOW [HIGH]`, in either order.
pub fn range(arguments: &mut Arguments) -> Result<RangeWords, Problem> {
    let dynamic_bootp = arguments.keyword("dynamic-bootp");
    let offset = arguments.offset();
    let first = (arguments.address()?, offset);
    let offset = arguments.offset();
    let number = |token: &Token| token.raw(arguments.file).first().is_some_and(u8::is_ascii_digit);
    let second = match arguments.peek() {
        Some(token) if token.kind == Kind::Word && number(token) => (arguments.address()?, offset),
        _ => first,
    };
    arguments.end("another address, or `;`")?;
    let (low, high) = if first.0 <= second.0 { (first, second) } else { (second, first) };
    Ok(RangeWords { dynamic_bootp, low, high })
}

impl Interpreter<'_> {
    /// Reads a declaration, its block included.
    pub(super) fn declaration(
        &mut self,
        id: usize,
        tree: &Tree,
        words: &[Token],
        row: &Row,
        declaration: Declaration,
        body: &Body,
    ) {
        let Some(first) = words.first() else { return };
        let in_place = self.declaration_in_place(id, first, row, declaration);
        let mut arguments = Arguments::new(&tree.file, words, row.usage, &mut *self.sources);
        arguments.next(); // its name
        let header = header(&mut arguments, declaration);
        let header = header.and_then(|header| match body {
            Body::Block(_) => arguments.end("`{`").map(|()| header),
            Body::Plain | Body::Conditional(_) => Err(arguments.expected("`{` and a block")),
        });
        let problems = arguments.problems;
        for problem in problems {
            self.say(id, problem);
        }
        let header = match header {
            Ok(header) => Some(header),
            Err(problem) => {
                self.say(id, problem);
                None
            }
        };
        let Body::Block(inner) = body else { return };
        if declaration == Declaration::Pool {
            return self.pool(id, tree, first, inner);
        }
        if declaration == Declaration::Group && words.len() > 1 {
            self.foreign(id, first, "group NAME");
        }
        let header = header.filter(|_| in_place);
        self.open(id, tree, first, declaration, header, inner);
    }

    fn declaration_in_place(
        &mut self,
        id: usize,
        first: &Token,
        row: &Row,
        declaration: Declaration,
    ) -> bool {
        let Some(around) = self.scopes.last_mut() else { return false };
        let kind = around.kind;
        // In a shared-network, parameters may follow a subnet, and anywhere a pool, as a range.
        let neutral = declaration == Declaration::Pool
            || (kind == Scope::Network && declaration == Declaration::Subnet);
        if !neutral {
            around.declared.get_or_insert(Site { file: id, offset: first.start });
        }
        let inside = |kind| self.scopes.iter().rev().find(|scope| scope.kind == kind);
        let place = if !row.allowed.has(kind) {
            Some(kind.describe())
        } else if declaration == Declaration::SharedNetwork && inside(Scope::Network).is_some() {
            Some(Scope::Network.describe())
        } else if matches!(declaration, Declaration::SharedNetwork | Declaration::Subnet)
            && inside(Scope::Subnet).is_some()
        {
            Some(Scope::Subnet.describe())
        } else if matches!(
            declaration,
            Declaration::SharedNetwork | Declaration::Subnet | Declaration::Host
        ) && inside(Scope::Host).is_some()
        {
            Some(Scope::Host.describe())
        } else {
            None
        };
        if let Some(place) = place {
            let text = format!("`{}` is not allowed {place}", row.name);
            let problem = Problem::error(first.start, text);
            let hidden = row.allowed.has(kind) && kind == Scope::Group;
            self.say(id, if hidden { problem.there("takes this within a group") } else { problem });
        }
        place.is_none()
    }

    /// Reads a block and makes of it what it declares; without a header, only what is wrong in
    /// it is said.
    fn open(
        &mut self,
        id: usize,
        tree: &Tree,
        first: &Token,
        declaration: Declaration,
        header: Option<Header>,
        inner: &[Statement],
    ) {
        let mut scope = Open::new(match declaration {
            Declaration::SharedNetwork => Scope::Network,
            Declaration::Subnet => Scope::Subnet,
            Declaration::Group => Scope::Group,
            Declaration::Host => Scope::Host,
            Declaration::VendorClass | Declaration::UserClass => Scope::Class,
            Declaration::Pool => Scope::Pool,
        });
        scope.errors = self.said.errors();
        self.begins(scope.kind, Site { file: id, offset: first.start });
        if declaration == Declaration::Subnet {
            for around in &mut self.scopes {
                around.has_subnets = true;
            }
        }
        let site = Site { file: id, offset: first.start };
        match &header {
            Some(Header::Network(name)) => {
                scope.network = Some(self.config.networks.len());
                self.config.networks.push(SharedNetwork {
                    name: name.clone(),
                    authoritative: true,
                    subnets: Vec::new(),
                    settings: Settings::default(),
                });
            }
            Some(Header::Subnet(net)) => self.begin_subnet(&mut scope, *net, tree, site),
            Some(Header::Group | Header::Host(_) | Header::Class(_) | Header::Pool) | None => {}
        }
        let (kind, subnet) = (scope.kind, scope.subnet);
        let scope = self.block(id, tree, inner, scope);
        self.ends(kind, subnet, declaration, header.as_ref());
        let Some(scope) = scope else { return };
        if declaration == Declaration::SharedNetwork && !scope.has_subnets {
            let text = "a shared-network without a subnet";
            self.say(id, Problem::error(first.start, text));
        }
        if let Some(header) = header {
            self.finish(id, tree, first, declaration, header, scope);
        }
    }

    fn begin_subnet(&mut self, scope: &mut Open, net: Ipv4Network, tree: &Tree, site: Site) {
        let subnet = self.config.subnets.len();
        let shared = self.scopes.iter().rev().find(|scope| scope.kind == Scope::Network);
        let network = match shared {
            Some(shared) => shared.network,
            None => {
                self.config.networks.push(SharedNetwork {
                    name: net.network().to_string(),
                    authoritative: true,
                    subnets: Vec::new(),
                    settings: Settings::default(),
                });
                self.config.networks.len().checked_sub(1)
            }
        };
        // A shared-network that is wrong was refused already; its subnets are then nobody's.
        let Some(network) = network else { return };
        if let Some(network) = self.config.networks.get_mut(network) {
            network.subnets.push(subnet);
        }
        scope.subnet = Some(subnet);
        scope.network = shared.is_none().then_some(network);
        self.config.subnets.push(Subnet {
            network,
            net,
            ranges: Vec::new(),
            settings: Settings::default(),
            at: tree.file.place(site.offset),
        });
        self.sites.subnets.push(site);
        self.sites.ranges.push(Vec::new());
    }

    fn finish(
        &mut self,
        id: usize,
        tree: &Tree,
        first: &Token,
        declaration: Declaration,
        header: Header,
        scope: Open,
    ) {
        let at = tree.file.place(first.start);
        match header {
            Header::Network(_) | Header::Subnet(_) => {
                let mut settings = self.effective();
                settings.overlay(&scope.own);
                let Open { network, subnet, .. } = scope;
                if let Some(network) = network.and_then(|id| self.config.networks.get_mut(id)) {
                    network.authoritative = settings.authoritative.unwrap_or(true);
                    network.settings = settings.clone();
                }
                if let Some(subnet) = subnet.and_then(|id| self.config.subnets.get_mut(id)) {
                    subnet.settings = settings;
                }
            }
            Header::Group | Header::Pool => {}
            Header::Class(value) => {
                let class = Class { value, settings: self.within_groups(&scope), at };
                match declaration {
                    Declaration::VendorClass => self.config.vendor_classes.push(class),
                    _ => self.config.user_classes.push(class),
                }
            }
            Header::Host(name) => {
                let nameless = scope.host.hardware.is_none() && scope.host.client_id.is_none();
                // What is wrong in it may be just that.
                if nameless && scope.errors == self.said.errors() {
                    let text = format!(
                        "host {name} has neither `hardware` nor a client identifier: \
                         no client is this host"
                    );
                    self.say(id, Problem::warning(first.start, text));
                }
                let settings = self.within_groups(&scope);
                let (fixed, sites) = scope
                    .host
                    .fixed
                    .iter()
                    .map(|(address, offset)| (*address, Site { file: id, offset: *offset }))
                    .unzip();
                self.sites.fixed.push(sites);
                self.config.hosts.push(Host {
                    name,
                    hardware: scope.host.hardware,
                    client_id: scope.host.client_id,
                    fixed,
                    settings,
                    at,
                });
            }
        }
    }

    /// What a host or class says itself, and the groups directly around it: nothing from further
    /// out, for that is less near to a client than the subnet it is in. A class counts as a group
    /// for what is in it.
    fn within_groups(&self, scope: &Open) -> Settings {
        let group = |scope: &&Open| matches!(scope.kind, Scope::Group | Scope::Class);
        let groups = self.scopes.iter().rev().take_while(group).count();
        let mut settings = Settings::default();
        for group in self.scopes.iter().skip(self.scopes.len() - groups) {
            settings.overlay(&group.own);
        }
        settings.overlay(&scope.own);
        settings
    }

    /// Takes a range into the subnet around it.
    pub(super) fn range(
        &mut self,
        id: usize,
        words: &[Token],
        range: RangeWords,
    ) -> Result<(), Problem> {
        let Some(subnet) = self.subnet_of_range(&range)? else { return Ok(()) };
        let Some(first) = words.first() else { return Ok(()) };
        let RangeWords { dynamic_bootp, low, high } = range;
        if let Some(subnet) = self.config.subnets.get_mut(subnet) {
            for (address, offset) in [low, high] {
                if !subnet.net.contains(address) {
                    let text = format!("{address} is not in the subnet {}", subnet.net);
                    return Err(Problem::error(offset, text));
                }
            }
            subnet.ranges.push(Range { low: low.0, high: high.0, dynamic_bootp });
        }
        if let Some(sites) = self.sites.ranges.get_mut(subnet) {
            sites.push(Site { file: id, offset: first.start });
        }
        Ok(())
    }
}

fn header(arguments: &mut Arguments, declaration: Declaration) -> Result<Header, Problem> {
    Ok(match declaration {
        Declaration::SharedNetwork => {
            const WHAT: &str = "the name of a shared-network";
            let offset = arguments.offset();
            if arguments.peek().is_some_and(|token| token.kind == Kind::Word) {
                return arguments.dotted_name(WHAT).map(Header::Network);
            }
            let name = String::from_utf8(arguments.quoted(WHAT)?.into_owned());
            let name = name.map_err(|_| Problem::error(offset, "the name is not UTF-8"))?;
            Header::Network(name)
        }
        Declaration::Subnet => {
            let offset = arguments.offset();
            let address = arguments.address()?;
            if !arguments.keyword("netmask") {
                return Err(arguments.expected("`netmask`"));
            }
            let at = arguments.offset();
            let mask = arguments.address()?;
            let length = u32::from(mask).leading_ones() as u8;
            if prefix_mask(length) != u32::from(mask) {
                let problem = Problem::error(at, format!("{mask} is not the mask of a prefix"));
                return Err(problem.there("takes this"));
            }
            let network = Ipv4Addr::from(u32::from(address) & u32::from(mask));
            if network != address {
                let text = format!("{address} is within the subnet, which is {network}/{length}");
                arguments.warn(offset, text);
            }
            let net = Ipv4Network::new(network, length);
            Header::Subnet(net.map_err(|error| Problem::error(at, error.to_string()))?)
        }
        Declaration::Pool => Header::Pool,
        Declaration::Group => {
            if let Some(name) = arguments.peek() {
                arguments.text("`{`")?; // ISC's groups may have one
                let text = "the name of a group is not supported yet; it is passed over";
                arguments.warn(name.start, text);
            }
            Header::Group
        }
        Declaration::Host => Header::Host(arguments.dotted_name("the name of a host")?),
        Declaration::VendorClass | Declaration::UserClass => {
            Header::Class(arguments.quoted("what clients send, in quotes")?.into_owned())
        }
    })
}
