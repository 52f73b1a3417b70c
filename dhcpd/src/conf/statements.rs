//! Every statement there is: its name, where it may stand, how it is written, what becomes of it.
//!
//! One line each, for both dialects; what a declaration does is the interpreter's business.

use crate::config::Settings;
use std::net::Ipv4Addr;

/// What may hold statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside of all braces.
    Root = 1,
    /// `shared-network`.
    Network = 2,
    /// `subnet`.
    Subnet = 4,
    /// `group`.
    Group = 8,
    /// `host`.
    Host = 16,
    /// `vendor-class` and `user-class`.
    Class = 32,
    /// A block that should not be there; everything may stand in it, for it is said already.
    Unknown = 64,
    /// `pool`.
    Pool = 128,
}

impl Scope {
    /// As messages say it.
    pub fn describe(self) -> &'static str {
        match self {
            Scope::Root => "outside of a declaration",
            Scope::Network => "in a shared-network",
            Scope::Subnet => "in a subnet",
            Scope::Group => "in a group",
            Scope::Host => "in a host",
            Scope::Class => "in a class",
            Scope::Unknown => "here",
            Scope::Pool => "in a pool",
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether the scope is one of them.
    pub fn has(self, scope: Scope) -> bool {
        scope == Scope::Unknown || self.0 & scope as u8 != 0
    }
}

const ROOT: u8 = Scope::Root as u8;
const NETWORK: u8 = Scope::Network as u8;
const SUBNET: u8 = Scope::Subnet as u8;
const GROUP: u8 = Scope::Group as u8;
const HOST: u8 = Scope::Host as u8;
const CLASS: u8 = Scope::Class as u8;
const POOL: u8 = Scope::Pool as u8;
const ANY: u8 = ROOT | NETWORK | SUBNET | GROUP | HOST | CLASS;
/// Where what is said is about networks and not about one client.
const WIDE: u8 = ROOT | NETWORK | SUBNET | GROUP;

/// A statement with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the dhcpd.conf(5) declaration of that name")]
pub enum Declaration {
    SharedNetwork,
    Subnet,
    Group,
    Host,
    VendorClass,
    UserClass,
    Pool,
}

/// Where in [`Settings`] a value goes.
type Field<T> = fn(&mut Settings) -> &mut Option<T>;

/// What becomes of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// It opens a scope.
    Declare(Declaration),
    /// A number of seconds.
    Seconds(Field<u32>),
    /// A date.
    Date(Field<i64>),
    /// A boolean.
    Boolean(Field<bool>),
    /// A string of at most so many bytes.
    Text(usize, Field<Vec<u8>>),
    /// An address or a host name.
    Address(Field<Ipv4Addr>),
    /// `server-identifier`: option 54 by another name.
    ServerIdentifier,
    /// `authoritative`.
    Authoritative,
    /// `not authoritative`.
    Not,
    /// `allow` and `deny`, followed by one of [`FLAGS`].
    Permit(bool),
    /// `option`.
    Option,
    /// `range`.
    Range,
    /// `hardware`.
    Hardware,
    /// `fixed-address`.
    FixedAddress,
    /// `include`.
    Include,
    /// Taken and ignored without a word.
    Quiet,
    /// Taken and ignored; the warning says why that is right.
    Ignored(&'static str),
    /// An error that says what to do instead.
    Refused(&'static str),
    /// Only ISC's dialect has it: parsed over, with a warning.
    NotYet,
}

/// One statement.
#[derive(Debug)]
pub struct Row {
    /// Its first word.
    pub name: &'static str,
    /// Where it may stand.
    pub allowed: Scopes,
    /// Where it changes anything.
    pub effective: Scopes,
    /// How it is written, for messages; empty where they say it better.
    pub usage: &'static str,
    /// What becomes of it.
    pub meaning: Meaning,
}

impl Row {
    const fn in_effect(mut self, scopes: u8) -> Row {
        self.effective = Scopes(scopes);
        self
    }
}

/// Finds a statement by its first word, in upper or lower case.
pub fn find(word: &[u8]) -> Option<&'static Row> {
    let lower = word.to_ascii_lowercase();
    let at = STATEMENTS.binary_search_by_key(&&*lower, |row| row.name.as_bytes()).ok()?;
    STATEMENTS.get(at)
}

/// All first words.
pub fn names() -> impl Iterator<Item = &'static str> {
    STATEMENTS.iter().map(|row| row.name)
}

/// What `allow` and `deny` are about.
#[derive(Debug)]
pub struct Flag {
    /// The word.
    pub name: &'static str,
    /// Where it goes; `None` for what only ISC's dialect has.
    pub field: Option<Field<bool>>,
    /// Where it changes anything.
    pub effective: Scopes,
}

/// Finds what `allow` and `deny` are about, in upper or lower case.
pub fn find_flag(word: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name.eq_ignore_ascii_case(word))
}

const fn flag(name: &'static str, field: Field<bool>, effective: u8) -> Flag {
    Flag { name, field: Some(field), effective: Scopes(effective) }
}

const fn isc_flag(name: &'static str) -> Flag {
    Flag { name, field: None, effective: Scopes(ANY) }
}

/// In no order.
pub static FLAGS: &[Flag] = &[
    flag("unknown-clients", |s| &mut s.unknown_clients, WIDE),
    flag("booting", |s| &mut s.booting, ANY),
    flag("leasequery", |s| &mut s.leasequery, WIDE),
    flag("bootp", |s| &mut s.bootp, ANY),
    flag("dynamic-bootp", |s| &mut s.dynamic_bootp, ANY),
    isc_flag("after"),
    isc_flag("all"),
    isc_flag("authenticated"),
    isc_flag("client-updates"),
    isc_flag("declines"),
    isc_flag("duplicates"),
    isc_flag("dynamic"),
    isc_flag("known"),
    isc_flag("known-clients"),
    isc_flag("members"),
    isc_flag("unauthenticated"),
    isc_flag("unknown"),
];

const fn row(name: &'static str, allowed: u8, usage: &'static str, meaning: Meaning) -> Row {
    let allowed = Scopes(allowed);
    Row { name, allowed, effective: allowed, usage, meaning }
}

const fn isc(name: &'static str) -> Row {
    row(name, ANY, "", Meaning::NotYet)
}

const fn refused(name: &'static str, instead: &'static str) -> Row {
    row(name, ANY, "", Meaning::Refused(instead))
}

const fn ignored(name: &'static str, why: &'static str) -> Row {
    row(name, ANY, "", Meaning::Ignored(why))
}

const IN_LEASES: &str = "it belongs in dhcpd.leases(5)";
const V6: &str = "DHCPv6 is another protocol, which this server does not speak";
const NO_PID: &str = "no file holds our process id";
const PERMIT: &str = "write `allow` or `deny` before it";
const LEASES: &str = "the flag -l names the lease file";

use Declaration as D;
use Meaning as M;

/// In order of names.
#[rustfmt::skip]
static STATEMENTS: &[Row] = &[
    isc("abandon-lease-time"),
    refused("abandoned", IN_LEASES),
    isc("adaptive-lease-time-threshold"),
    isc("add"),
    row("allow", ANY, "allow FLAG;", M::Permit(true)),
    isc("always-broadcast"),
    row("always-reply-rfc1048", ANY, "always-reply-rfc1048 BOOLEAN;", M::Boolean(|s| &mut s.always_reply_rfc1048)),
    isc("append"),
    row("authoritative", ANY & !HOST, "authoritative;", M::Authoritative).in_effect(ANY & !HOST & !CLASS),
    isc("bind-local-address6"),
    row("boot-unknown-clients", WIDE, "boot-unknown-clients BOOLEAN;", M::Boolean(|s| &mut s.unknown_clients)),
    refused("booting", PERMIT),
    refused("bootp", PERMIT),
    isc("break"),
    isc("case"),
    isc("check-secs-byte-order"),
    isc("class"),
    refused("client-hostname", IN_LEASES),
    isc("db-time-format"),
    isc("ddns-domainname"),
    isc("ddns-dual-stack-mixed-mode"),
    isc("ddns-guard-id-must-match"),
    isc("ddns-hostname"),
    isc("ddns-local-address4"),
    isc("ddns-local-address6"),
    isc("ddns-other-guard-is-dynamic"),
    isc("ddns-rev-domainname"),
    isc("ddns-ttl"),
    isc("ddns-update-style"),
    isc("ddns-updates"),
    isc("default"),
    row("default-lease-time", ANY, "default-lease-time SECONDS;", M::Seconds(|s| &mut s.default_lease_time))
        .in_effect(ANY & !CLASS),
    isc("define"),
    isc("delayed-ack"),
    row("deny", ANY, "deny FLAG;", M::Permit(false)),
    isc("dhcp-cache-threshold"),
    refused("dhcpv6-lease-file-name", V6),
    refused("dhcpv6-pid-file-name", V6),
    refused("dhcpv6-set-tee-times", V6),
    isc("do-forward-updates"),
    isc("do-reverse-updates"),
    isc("dont-use-fsync"),
    isc("dynamic"),
    refused("dynamic-bootp", PERMIT),
    row("dynamic-bootp-lease-cutoff", ANY, "dynamic-bootp-lease-cutoff W YYYY/MM/DD HH:MM:SS;",
        M::Date(|s| &mut s.dynamic_bootp_lease_cutoff)),
    row("dynamic-bootp-lease-length", ANY, "dynamic-bootp-lease-length SECONDS;",
        M::Seconds(|s| &mut s.dynamic_bootp_lease_length)),
    row("echo-client-id", ANY, "echo-client-id BOOLEAN;", M::Boolean(|s| &mut s.echo_client_id)),
    refused("else", "it needs an `if` before it"),
    refused("elsif", "it needs an `if` before it"),
    refused("ends", IN_LEASES),
    isc("eval"),
    isc("execute"),
    isc("failover"),
    row("filename", ANY, "filename \"NAME\";", M::Text(128, |s| &mut s.filename)),
    row("fixed-address", HOST, "fixed-address ADDRESS, ...;", M::FixedAddress),
    refused("fixed-address6", V6),
    refused("fixed-prefix6", V6),
    row("get-lease-hostnames", ANY & !HOST, "get-lease-hostnames BOOLEAN;",
        M::Boolean(|s| &mut s.get_lease_hostnames)).in_effect(WIDE),
    row("group", ANY & !HOST, "group { ... }", M::Declare(D::Group)),
    row("hardware", HOST, "hardware TYPE ADDRESS;", M::Hardware),
    row("host", ANY & !HOST, "host NAME { ... }", M::Declare(D::Host)),
    isc("host-identifier"),
    refused("hostname", IN_LEASES),
    isc("if"),
    row("ignore", ANY, "ignore FLAG;", M::Permit(false)),
    isc("ignore-client-uids"),
    row("include", ANY | POOL, "include \"FILE\";", M::Include),
    isc("infinite-is-reserved"),
    isc("interface"),
    isc("key"),
    isc("ldap-base-dn"),
    isc("ldap-debug-file"),
    isc("ldap-dhcp-server-cn"),
    isc("ldap-init-retry"),
    isc("ldap-method"),
    isc("ldap-password"),
    isc("ldap-port"),
    isc("ldap-referrals"),
    isc("ldap-server"),
    isc("ldap-ssl"),
    isc("ldap-tls-ca-dir"),
    isc("ldap-tls-ca-file"),
    isc("ldap-tls-cert"),
    isc("ldap-tls-ciphers"),
    isc("ldap-tls-crlcheck"),
    isc("ldap-tls-key"),
    isc("ldap-tls-randfile"),
    isc("ldap-tls-reqcert"),
    isc("ldap-username"),
    refused("lease", IN_LEASES),
    ignored("lease-file-name", LEASES),
    isc("lease-id-format"),
    refused("leasequery", PERMIT),
    isc("limit-addrs-per-ia"),
    isc("limit-prefs-per-ia"),
    isc("limited-broadcast-address"),
    isc("local-address"),
    refused("local-address6", V6),
    isc("local-port"),
    isc("log"),
    isc("log-facility"),
    isc("log-threshold-high"),
    isc("log-threshold-low"),
    isc("match"),
    isc("max-ack-delay"),
    row("max-lease-time", ANY, "max-lease-time SECONDS;", M::Seconds(|s| &mut s.max_lease_time))
        .in_effect(ANY & !CLASS),
    isc("mclt"),
    isc("min-lease-time"),
    isc("min-secs"),
    row("next-server", ANY, "next-server ADDRESS;", M::Address(|s| &mut s.next_server))
        .in_effect(ANY & !CLASS),
    row("not", ANY & !HOST, "not authoritative;", M::Not).in_effect(ANY & !HOST & !CLASS),
    isc("omapi-key"),
    isc("omapi-port"),
    isc("on"),
    isc("one-lease-per-client"),
    row("option", ANY, "", M::Option),
    isc("parse-vendor-option"),
    isc("peer"),
    refused("persist-eui-64-leases", V6),
    ignored("pid-file-name", NO_PID),
    row("ping-check", WIDE, "ping-check BOOLEAN;", M::Boolean(|s| &mut s.ping_check)),
    isc("ping-cltt-secs"),
    isc("ping-timeout"),
    isc("ping-timeout-ms"),
    row("pool", NETWORK | SUBNET, "pool { ... }", M::Declare(D::Pool)),
    refused("pool6", V6),
    isc("preferred-lifetime"),
    isc("prefix-length-mode"),
    refused("prefix6", V6),
    isc("prepend"),
    row("range", SUBNET | POOL, "range [dynamic-bootp] LOW [HIGH];", M::Range),
    refused("range6", V6),
    row("rapid-commit", ANY, "rapid-commit BOOLEAN;", M::Boolean(|s| &mut s.rapid_commit)),
    isc("release-on-roam"),
    isc("remote-port"),
    isc("return"),
    isc("send"),
    refused("server-duid", V6),
    isc("server-id-check"),
    row("server-identifier", ANY, "server-identifier ADDRESS;", M::ServerIdentifier),
    row("server-name", ANY, "server-name \"NAME\";", M::Text(64, |s| &mut s.server_name)),
    isc("set"),
    row("shared-network", ROOT | GROUP | CLASS, "shared-network NAME { ... }", M::Declare(D::SharedNetwork)),
    isc("site-option-space"),
    isc("spawn"),
    refused("starts", IN_LEASES),
    isc("stash-agent-options"),
    isc("subclass"),
    row("subnet", ROOT | GROUP | CLASS | NETWORK, "subnet ADDRESS netmask MASK { ... }",
        M::Declare(D::Subnet)),
    row("subnet-selection", WIDE, "subnet-selection BOOLEAN;", M::Boolean(|s| &mut s.subnet_selection)),
    refused("subnet6", V6),
    isc("supersede"),
    isc("switch"),
    row("timestamp", ANY, "timestamp DATE;", M::Quiet),
    refused("uid", IN_LEASES),
    refused("unknown-clients", PERMIT),
    isc("unset"),
    isc("update-conflict-detection"),
    isc("update-optimization"),
    isc("update-static-leases"),
    refused("use-eui-64", V6),
    row("use-host-decl-names", ANY & !HOST, "use-host-decl-names BOOLEAN;",
        M::Boolean(|s| &mut s.use_host_decl_names)),
    row("use-lease-addr-for-default-route", ANY, "use-lease-addr-for-default-route BOOLEAN;",
        M::Boolean(|s| &mut s.use_lease_addr_for_default_route)),
    row("user-class", ANY, "user-class \"VALUE\" { ... }", M::Declare(D::UserClass)),
    row("vendor-class", ANY, "vendor-class \"VALUE\" { ... }", M::Declare(D::VendorClass)),
    isc("vendor-option-space"),
    row("withhold-ipv4", ANY, "withhold-ipv4 BOOLEAN;", M::Boolean(|s| &mut s.withhold_ipv4)),
    isc("zone"),
];

/// All first words that mean something here, and what follows `allow` and `deny`.
#[cfg(test)]
pub fn known_names() -> impl Iterator<Item = &'static str> {
    let means = |row: &&Row| !matches!(row.meaning, M::NotYet | M::Ignored(_) | M::Refused(_));
    let flags = FLAGS.iter().filter(|flag| flag.field.is_some()).map(|flag| flag.name);
    STATEMENTS.iter().filter(means).map(|row| row.name).chain(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_without_doubles() {
        let out_of_order = STATEMENTS.windows(2).find(|pair| pair[0].name >= pair[1].name);
        assert!(out_of_order.is_none(), "{out_of_order:?}");
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(find(b"Default-Lease-TIME").unwrap().name, "default-lease-time");
        assert!(find(b"default-lease").is_none());
        assert!(find(b"").is_none());
        assert_eq!(find_flag("BOOTP").unwrap().name, "bootp");
    }

    /// Every keyword of OpenBSD's dhcpd(8) that may begin a statement.
    #[test]
    fn openbsds_statements_are_all_here() {
        for name in "allow always-reply-rfc1048 authoritative default-lease-time deny \
             dynamic-bootp-lease-cutoff dynamic-bootp-lease-length echo-client-id filename \
             fixed-address get-lease-hostnames group hardware host max-lease-time next-server \
             not option range server-identifier server-name shared-network subnet timestamp \
             use-host-decl-names use-lease-addr-for-default-route user-class vendor-class"
            .split_ascii_whitespace()
        {
            let row = find(name.as_bytes()).unwrap();
            assert!(!matches!(row.meaning, M::NotYet | M::Refused(_)), "{name}");
        }
    }
}
