//! Where OpenBSD's dhcpd(8) would make something else of a configuration: for `dhcpd -n`.
//!
//! There, a scope starts as a copy of all that the scope around it holds, built-in defaults
//! included, and hosts and classes are copies of where they were written. Here, what a host or
//! class says itself comes before its subnet, and its subnet before what is further out. So both
//! are computed for every kind of client, and compared. Pure: it reads nothing and decides nothing.

mod bootp;
mod told;

use super::check::Site;
use super::outline::{Base, Declared, Key, Outline, Said, Value, Written, built_in};
use super::statements::Scope;
use crate::config::{Config, SubnetId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use told::{Client, Kind, Told};

/// The most settings that are looked up: a configuration that needs more is compared in part.
const MOST: usize = 4_000_000;

/// Options that are not sent on a configuration's word, or are looked after by a remark.
const APART: [u8; 10] = [50, 51, 52, 53, 57, 58, 59, 61, 80, 82];

/// What is to be said about places.
pub type Findings = Vec<(Site, String)>;

/// Compares. The configuration is the one that the outline became; where it was refused there is
/// none, and only what OpenBSD's dhcpd takes of what is wrong is said.
pub fn differences(
    outline: &Outline,
    config: Option<&Config>,
    ranges: &[Vec<Site>],
    file_name: &dyn Fn(Site, Site) -> String,
) -> Findings {
    let mut findings = outline.remarks.clone();
    if let Some(config) = config {
        foreign(outline, &mut findings);
        fixed_in_ranges(config, ranges, &mut findings);
        routes(outline, &mut findings);
        let mut compare = Compare { outline, config, left: MOST, told: Told::default() };
        findings.extend(compare.strangers());
        let (told, whole) = compare.run();
        findings.extend(told.into_findings(outline, config, file_name));
        if !whole {
            let text = "this is only compared in part with OpenBSD's dhcpd: it is too large";
            findings.push((Site { file: 0, offset: 0 }, text.to_owned()));
        }
    }
    findings
}

/// How many names are listed.
const LISTED: usize = 8;

/// OpenBSD's dhcpd refuses a file with a statement it does not know.
fn foreign(outline: &Outline, findings: &mut Findings) {
    let mut names: Vec<&str> = Vec::new();
    for (_, name) in &outline.foreign {
        if !names.contains(&&**name) {
            names.push(name);
        }
    }
    let Some((site, _)) = outline.foreign.first() else { return };
    let text = told::list(names.iter().map(|name| format!("`{name}`")), LISTED);
    findings.push((*site, format!("OpenBSD's dhcpd does not know, and refuses, {text}")));
}

/// Classless routes beside routers: here it depends on what a client asks for.
fn routes(outline: &Outline, findings: &mut Findings) {
    let said = || outline.scopes.iter().flat_map(|scope| &scope.said);
    if said().any(|said| matches!(said.key, Key::Option(3 | 33))) {
        let classless = said().filter(|said| matches!(said.key, Key::Option(121 | 249)));
        let text = "OpenBSD's dhcpd sends no routers and no static-routes to whoever is sent this; \
                    here those that do not ask for it get both";
        findings.extend(classless.map(|said| (said.site, text.to_owned())));
    }
}

/// there, they are also given to others.
fn fixed_in_ranges(config: &Config, sites: &[Vec<Site>], findings: &mut Findings) {
    let mut inside: BTreeMap<(SubnetId, usize), Vec<String>> = BTreeMap::new();
    let mut sorted: Vec<Vec<(u32, u32, usize)>> = Vec::with_capacity(config.subnets.len());
    for subnet in &config.subnets {
        let ranges = subnet.ranges.iter().enumerate();
        let mut ranges: Vec<_> =
            ranges.map(|(id, r)| (u32::from(r.low), u32::from(r.high), id)).collect();
        ranges.sort_unstable();
        sorted.push(ranges);
    }
    for host in &config.hosts {
        for address in &host.fixed {
            let Some(subnet) = config.subnet_of(*address) else { continue };
            let Some(ranges) = sorted.get(subnet) else { continue };
            let number = u32::from(*address);
            let before = ranges.partition_point(|(low, _, _)| *low <= number);
            let range = before.checked_sub(1).and_then(|at| ranges.get(at));
            if let Some((_, _, range)) = range.filter(|(_, high, _)| number <= *high) {
                let inside = inside.entry((subnet, *range)).or_default();
                inside.push(format!("{address} ({})", host.name));
            }
        }
    }
    for ((subnet, range), addresses) in inside {
        let Some(site) = sites.get(subnet).and_then(|sites| sites.get(range)) else { continue };
        let text = told::list(addresses.into_iter(), LISTED);
        let text =
            format!("in this range, kept for their hosts, and not so by OpenBSD's dhcpd: {text}");
        findings.push((*site, text));
    }
}

/// A value that holds, and who said it: a scope and which of its statements, unless it is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct From(usize, usize);

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holds {
    /// What somebody said.
    Said(From),
    /// A default.
    BuiltIn(Value),
    /// A host's declared name.
    Name(From),
    /// Nothing.
    Nothing,
}

impl Holds {
    fn or_else(self, other: impl FnOnce() -> Holds) -> Holds {
        if self == Holds::Nothing { other() } else { self }
    }
}

/// Clients for whom the same holds: hosts that say the same settings themselves, written in one
/// place; or a class.
#[derive(Debug, Default)]
struct Profile {
    /// Which scopes they are.
    members: Vec<usize>,
    /// Settings that they, or the groups directly around them, say: the same holds there.
    own: BTreeSet<Key>,
}

struct Compare<'a> {
    outline: &'a Outline,
    config: &'a Config,
    left: usize,
    told: Told,
}

impl Compare<'_> {
    fn run(mut self) -> (Told, bool) {
        let scopes = &self.outline.scopes;
        let keys: BTreeSet<Key> = scopes
            .iter()
            .flat_map(|scope| scope.said.iter().map(|said| said.key))
            .filter(|key| !matches!(key, Key::Option(code) if APART.contains(code)))
            .collect();
        let subnets: Vec<(usize, SubnetId)> = scopes
            .iter()
            .enumerate()
            .filter_map(|(at, scope)| match scope.declared {
                Declared::Subnet(id) => Some((at, id)),
                _ => None,
            })
            .collect();
        for (scope, _) in &subnets {
            self.subnet(*scope, &keys);
        }
        let classes: Vec<usize> =
            (0..scopes.len()).filter(|at| is_class(scopes.get(*at))).collect();
        for profile in self.profiles() {
            for (subnet, id) in &subnets {
                let here = self.here(&profile, *id);
                let Some(first) = here.first() else { continue };
                for key in keys.iter().filter(|key| !profile.own.contains(key)) {
                    self.client(*first, &here, *subnet, *key, &classes);
                }
                if self.is_host(*first) {
                    self.host_names(&here, *subnet);
                }
                if self.left == 0 {
                    return (self.told, false);
                }
            }
        }
        let whole = self.left > 0;
        (self.told, whole)
    }

    fn scope(&self, at: usize) -> Option<&Written> {
        self.outline.scopes.get(at)
    }

    fn is_host(&self, at: usize) -> bool {
        self.scope(at).is_some_and(|scope| matches!(scope.declared, Declared::Host(_)))
    }

    /// Hosts in groups of those for whom everything is the same, then each class.
    fn profiles(&self) -> Vec<Profile> {
        let mut profiles: BTreeMap<(bool, Option<Base>, BTreeSet<Key>), Vec<usize>> =
            BTreeMap::new();
        let mut classes = Vec::new();
        for (at, scope) in self.outline.scopes.iter().enumerate() {
            let own = self.own(at);
            if is_class(Some(scope)) {
                classes.push(Profile { members: vec![at], own });
            } else if matches!(scope.declared, Declared::Host(_)) {
                profiles.entry((true, scope.around, own)).or_default().push(at);
            }
        }
        let hosts = profiles.into_iter().map(|((_, _, own), members)| Profile { members, own });
        hosts.chain(classes).collect()
    }

    /// The settings that a host or class says itself, groups directly around it included.
    fn own(&self, at: usize) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        let mut next = Some((at, usize::MAX));
        while let Some((scope, len)) = next {
            let Some(written) = self.scope(scope) else { break };
            if scope != at && !matches!(written.kind, Scope::Group | Scope::Class) {
                break;
            }
            keys.extend(written.said.iter().take(len).map(|said| said.key));
            next = written.around;
        }
        keys
    }

    /// Those of them that may get an address in a subnet.
    fn here(&self, profile: &Profile, subnet: SubnetId) -> Vec<usize> {
        let may = |at: &&usize| match self.scope(**at).map(|scope| &scope.declared) {
            Some(Declared::Host(id)) => self.config.hosts.get(*id).is_some_and(|host| {
                let in_it = |a: &Ipv4Addr| self.config.subnet_of(*a) == Some(subnet);
                host.fixed.is_empty() || host.fixed.iter().any(in_it)
            }),
            _ => true,
        };
        profile.members.iter().filter(may).copied().collect()
    }

    /// What a scope holds: what it says, then what the scopes around it say. `copied`: as OpenBSD's
    /// dhcpd copies, for which a subnet's groups within its shared-network do not count.
    fn holds(&mut self, at: usize, key: Key, copied: bool) -> Holds {
        self.holds_from((at, usize::MAX), key, copied)
    }

    /// The same of the beginning of what a scope says.
    fn holds_from(&mut self, base: Base, key: Key, copied: bool) -> Holds {
        let mut next = Some(base);
        while let Some((scope, len)) = next {
            self.left = self.left.saturating_sub(1);
            let Some(written) = self.outline.scopes.get(scope) else { break };
            if let Some(said) = last(written, key, len) {
                return Holds::Said(From(scope, said));
            }
            next = match written.network {
                Some(network) if copied && written.kind == Scope::Subnet => Some(network),
                _ => written.around,
            };
        }
        built_in(key).map_or(Holds::Nothing, Holds::BuiltIn)
    }

    /// What a host or class says itself, groups directly around it included.
    fn says(&mut self, at: usize, key: Key) -> Holds {
        let mut next = Some((at, usize::MAX));
        while let Some((scope, len)) = next {
            self.left = self.left.saturating_sub(1);
            let Some(written) = self.outline.scopes.get(scope) else { break };
            if scope != at && !matches!(written.kind, Scope::Group | Scope::Class) {
                break;
            }
            if let Some(said) = last(written, key, len) {
                return Holds::Said(From(scope, said));
            }
            next = written.around;
        }
        Holds::Nothing
    }

    fn value(&self, holds: &Holds) -> Option<Value> {
        match holds {
            Holds::Said(from) => self.said(*from).map(|said| said.value.clone()),
            Holds::BuiltIn(value) => Some(value.clone()),
            Holds::Name(_) | Holds::Nothing => None,
        }
    }

    fn said(&self, From(scope, at): From) -> Option<&Said> {
        self.scope(scope)?.said.get(at)
    }

    fn is_on(&self, holds: &Holds) -> bool {
        self.value(holds) == Some(Value::Flag(true))
    }

    fn same(&self, one: &Holds, other: &Holds) -> bool {
        match (one, other) {
            (Holds::Name(_), Holds::Name(_)) => true,
            (Holds::Name(_), _) | (_, Holds::Name(_)) => false,
            _ => self.value(one) == self.value(other),
        }
    }

    /// groups between a subnet and its shared-network.
    fn subnet(&mut self, subnet: usize, keys: &BTreeSet<Key>) {
        for key in keys {
            if matches!(key, Key::Field("authoritative" | "booting")) {
                continue; // the shared-network's counts, and a host's
            }
            let (ours, theirs) = (self.holds(subnet, *key, false), self.holds(subnet, *key, true));
            if !self.same(&ours, &theirs) {
                self.told.add(*key, Kind::Differs, ours, theirs, &[Client::Subnet(subnet)], subnet);
            }
        }
    }

    /// one setting for a host, or a class, in a subnet.
    fn client(&mut self, first: usize, here: &[usize], subnet: usize, key: Key, classes: &[usize]) {
        let host = self.is_host(first);
        let Some(reach) = Reach::of(key, host) else { return };
        if reach == Reach::Itself || (!host && reach == Reach::Host) {
            if reach == Reach::Itself {
                // What is further out means nothing for a class here.
                let theirs = self.holds(first, key, true);
                let ours = built_in(key).map_or(Holds::Nothing, Holds::BuiltIn);
                if !self.same(&ours, &theirs) {
                    let members: Vec<Client> =
                        here.iter().map(|at| Client::Of(*at, None)).collect();
                    self.told.add(key, Kind::Everywhere, ours, theirs, &members, subnet);
                }
            }
            return;
        }
        let ours = self.holds(subnet, key, false);
        let in_subnet = self.holds(subnet, key, true);
        let copy = self.copy(first, key);
        let theirs = copy.clone().or_else(|| in_subnet.clone());
        let everybodys = self.same(&theirs, &in_subnet);
        let members: Vec<Client> = here.iter().map(|at| Client::Of(*at, None)).collect();
        if !self.same(&ours, &theirs) {
            if !everybodys && self.matters(first, subnet, key) {
                self.told.add(key, Kind::Differs, ours, theirs, &members, subnet);
            }
        } else if key == Key::Field("filename") && copy != Holds::Nothing {
            self.told.add(key, Kind::OwnFile, ours, theirs, &members, subnet);
        }
        // What the client's classes say is hidden there, too.
        if reach != Reach::Everything || copy == Holds::Nothing {
            return;
        }
        for class in classes {
            let weaker = match (host, self.scope(first).map(|scope| &scope.declared)) {
                (true, _) => true,
                (false, Some(Declared::UserClass(_))) => {
                    let class = self.scope(*class).map(|scope| &scope.declared);
                    matches!(class, Some(Declared::VendorClass(_)))
                }
                _ => false,
            };
            let ours = if weaker { self.says(*class, key) } else { Holds::Nothing };
            if ours != Holds::Nothing && !self.same(&ours, &copy) {
                let members: Vec<Client> =
                    here.iter().map(|at| Client::Of(*at, Some(*class))).collect();
                self.told.add(key, Kind::Everywhere, ours, copy.clone(), &members, subnet);
            }
        }
    }

    /// What OpenBSD's copy of a host or class has; there, a lease time of 0 stands for none.
    fn copy(&mut self, at: usize, key: Key) -> Holds {
        let holds = self.holds(at, key, true);
        let time = matches!(key, Key::Field("default-lease-time" | "max-lease-time"));
        if time && self.value(&holds) == Some(Value::Number(0)) { Holds::Nothing } else { holds }
    }

    /// Whether the setting has any effect there: an address for a router only without routers.
    fn matters(&mut self, client: usize, subnet: usize, key: Key) -> bool {
        if key != Key::Field("use-lease-addr-for-default-route") {
            return true;
        }
        let routers = Key::Option(3);
        let ours = self.says(client, routers).or_else(|| Holds::Nothing);
        let ours = ours.or_else(|| self.holds(subnet, routers, false));
        let theirs = self.holds(client, routers, true);
        let theirs = theirs.or_else(|| self.holds(subnet, routers, true));
        ours == Holds::Nothing || theirs == Holds::Nothing
    }

    /// `host-name` where a host's declared name may stand in for it.
    fn host_names(&mut self, here: &[usize], subnet: usize) {
        const SWITCH: Key = Key::Field("use-host-decl-names");
        let name = Key::Option(12);
        for &host in here {
            let switched = self.says(host, SWITCH).or_else(|| self.holds(subnet, SWITCH, false));
            let ours = self.says(host, name).or_else(|| self.holds(subnet, name, false));
            let ours = match (&ours, &switched) {
                (Holds::Nothing, Holds::Said(from)) if self.is_on(&switched) => Holds::Name(*from),
                _ => ours,
            };
            let copied = self.holds(host, SWITCH, true);
            let theirs = self.holds(host, name, true);
            let theirs = match (&theirs, &copied) {
                (Holds::Nothing, Holds::Said(from)) if self.is_on(&copied) => Holds::Name(*from),
                _ => theirs,
            };
            let theirs = theirs.or_else(|| self.holds(subnet, name, true));
            if !self.same(&ours, &theirs) {
                let client = [Client::Of(host, None)];
                self.told.add(name, Kind::Differs, ours, theirs, &client, subnet);
            }
        }
    }
}

/// Where a setting is looked for, from the inside out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Host, user class, vendor class, subnet.
    Everything,
    /// Host, subnet.
    Host,
    /// The class, and nowhere else.
    Itself,
}

impl Reach {
    /// `None` for what is not asked about single clients, and for host names, which are apart.
    fn of(key: Key, host: bool) -> Option<Reach> {
        Some(match key {
            Key::Option(12) => return None,
            Key::Option(_) => Reach::Everything,
            Key::Field(name) => match name {
                "filename"
                | "server-name"
                | "echo-client-id"
                | "use-lease-addr-for-default-route" => Reach::Everything,
                "default-lease-time" | "max-lease-time" | "next-server" | "bootp" => Reach::Host,
                "booting" if host => Reach::Host,
                "booting" => Reach::Itself,
                _ => return None,
            },
        })
    }
}

/// The last thing that a scope says of a setting among the first so many.
fn last(scope: &Written, key: Key, len: usize) -> Option<usize> {
    let said = scope.said.get(..len.min(scope.said.len()))?;
    said.iter().rposition(|said| said.key == key)
}

fn is_class(scope: Option<&Written>) -> bool {
    scope.is_some_and(|scope| {
        matches!(scope.declared, Declared::VendorClass(_) | Declared::UserClass(_))
    })
}
