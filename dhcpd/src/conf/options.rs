//! The options that have a name: RFC 2132 and later ones, by the names of dhcp-options(5).
//!
//! Names and types only; `option_data` reads values.

/// How an option's value is written, and what it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One address or host name: 4 bytes.
    Address,
    /// Addresses or host names, separated by commas: 4 bytes each.
    Addresses,
    /// Pairs of addresses, separated by commas: 8 bytes each.
    Pairs,
    /// One byte.
    U8,
    /// Numbers separated by commas: one byte each.
    U8s,
    /// Two bytes.
    U16,
    /// Numbers separated by commas: two bytes each.
    U16s,
    /// Four bytes.
    U32,
    /// Four bytes, two's complement.
    I32,
    /// A boolean: one byte, 0 or 1.
    Flag,
    /// A string in quotes, or one word.
    Text,
    /// A string in quotes, or octets in hexadecimal.
    Bytes,
    /// Domain names in quotes, separated by commas: RFC 1035 names, compressed (RFC 3397).
    Domains,
    /// `CIDR GATEWAY`, separated by commas: RFC 3442 routes.
    Routes,
}

/// One option that has a name.
#[derive(Debug)]
pub struct Named {
    /// Its code.
    pub code: u8,
    /// Its name, in the case it must be written in.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
}

/// Which option, of what type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its code, 1 to 254.
    pub code: u8,
    /// Its type.
    pub kind: Type,
}

/// Options the server decides by itself, and never takes from a configuration.
pub const SET_BY_SERVER: &[(u8, &str)] = &[
    (50, "only clients send it"),
    (51, "it comes from default-lease-time and max-lease-time"),
    (52, "it follows from what does not fit"),
    (53, "it follows from the reply"),
    (57, "only clients send it"),
    (58, "it is half of the lease"),
    (59, "it is seven eighths of the lease"),
    (80, "it follows from rapid-commit"),
    (82, "a relay's is returned to it, and no other is sent"),
];

/// Finds an option by name, `option-N` included.
pub fn find(name: &str) -> Option<Definition> {
    if let Some(code) = name.strip_prefix("option-") {
        let decimal = code.len() <= 3 && code.bytes().all(|digit| digit.is_ascii_digit());
        let code = if decimal { code.parse().ok() } else { None };
        return code
            .filter(|code| (1..=254).contains(code))
            .map(|code| Definition { code, kind: Type::Bytes });
    }
    let at = BY_NAME.binary_search_by_key(&name, |named| named.name).ok()?;
    BY_NAME.get(at).map(|&Named { code, kind, .. }| Definition { code, kind })
}

/// The name of an option, if it has one.
pub fn name_of(code: u8) -> Option<&'static str> {
    named_code(code).map(|named| named.name)
}

/// The name of an option by its code, and how its value is written.
pub fn named_code(code: u8) -> Option<&'static Named> {
    BY_NAME.iter().find(|named| named.code == code)
}

/// All names, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    BY_NAME.iter().map(|named| named.name)
}

/// Finds an option by a name that only ISC's dialect has for it.
pub fn of_isc(name: &str) -> Option<Definition> {
    let at = OF_ISC.binary_search_by_key(&name, |named| named.name).ok()?;
    OF_ISC.get(at).map(|&Named { code, kind, .. }| Definition { code, kind })
}

/// Options that only ISC's dialect has a name for, and whose values are not read.
pub fn is_isc_only(name: &str) -> bool {
    ISC_ONLY.binary_search(&name).is_ok()
}

const fn named(name: &'static str, code: u8, kind: Type) -> Named {
    Named { code, name, kind }
}

/// In order of names.
#[rustfmt::skip]
static BY_NAME: &[Named] = &[
    named("all-subnets-local", 27, Type::Flag),
    named("arp-cache-timeout", 35, Type::U32),
    named("autoproxy-script", 252, Type::Text),
    named("boot-size", 13, Type::U16),
    named("bootfile-name", 67, Type::Text),
    named("broadcast-address", 28, Type::Address),
    named("classless-ms-static-routes", 249, Type::Routes),
    named("classless-static-routes", 121, Type::Routes),
    named("cookie-servers", 8, Type::Addresses),
    named("default-ip-ttl", 23, Type::U8),
    named("default-tcp-ttl", 37, Type::U8),
    named("dhcp-class-identifier", 60, Type::Text),
    named("dhcp-client-identifier", 61, Type::Bytes),
    named("dhcp-lease-time", 51, Type::U32),
    named("dhcp-max-message-size", 57, Type::U16),
    named("dhcp-message", 56, Type::Text),
    named("dhcp-message-type", 53, Type::U8),
    named("dhcp-option-overload", 52, Type::U8),
    named("dhcp-parameter-request-list", 55, Type::U8s),
    named("dhcp-rebinding-time", 59, Type::U32),
    named("dhcp-renewal-time", 58, Type::U32),
    named("dhcp-requested-address", 50, Type::Address),
    named("dhcp-server-identifier", 54, Type::Address),
    named("domain-name", 15, Type::Text),
    named("domain-name-servers", 6, Type::Addresses),
    named("domain-search", 119, Type::Domains),
    named("extensions-path", 18, Type::Text),
    named("finger-server", 73, Type::Addresses),
    named("font-servers", 48, Type::Addresses),
    named("host-name", 12, Type::Bytes),
    named("ieee802-3-encapsulation", 36, Type::Flag),
    named("ien116-name-servers", 5, Type::Addresses),
    named("impress-servers", 10, Type::Addresses),
    named("interface-mtu", 26, Type::U16),
    named("ip-forwarding", 19, Type::Flag),
    named("ipv6-only-preferred", 108, Type::U32),
    named("irc-server", 74, Type::Addresses),
    named("log-servers", 7, Type::Addresses),
    named("lpr-servers", 9, Type::Addresses),
    named("mask-supplier", 30, Type::Flag),
    named("max-dgram-reassembly", 22, Type::U16),
    named("merit-dump", 14, Type::Text),
    named("mobile-ip-home-agent", 68, Type::Addresses),
    named("nds-context", 87, Type::Bytes),
    named("nds-servers", 85, Type::Addresses),
    named("nds-tree-name", 86, Type::Bytes),
    named("netbios-dd-server", 45, Type::Addresses),
    named("netbios-name-servers", 44, Type::Addresses),
    named("netbios-node-type", 46, Type::U8),
    named("netbios-scope", 47, Type::Text),
    named("nis-domain", 40, Type::Text),
    named("nis-servers", 41, Type::Addresses),
    named("nisplus-domain", 64, Type::Text),
    named("nisplus-servers", 65, Type::Addresses),
    named("nntp-server", 71, Type::Addresses),
    named("non-local-source-routing", 20, Type::Flag),
    named("ntp-servers", 42, Type::Addresses),
    named("path-mtu-aging-timeout", 24, Type::U32),
    named("path-mtu-plateau-table", 25, Type::U16s),
    named("perform-mask-discovery", 29, Type::Flag),
    named("policy-filter", 21, Type::Pairs),
    named("pop-server", 70, Type::Addresses),
    named("relay-agent-information", 82, Type::Bytes),
    named("resource-location-servers", 11, Type::Addresses),
    named("root-path", 17, Type::Text),
    named("router-discovery", 31, Type::Flag),
    named("router-solicitation-address", 32, Type::Address),
    named("routers", 3, Type::Addresses),
    named("smtp-server", 69, Type::Addresses),
    named("static-routes", 33, Type::Pairs),
    named("streettalk-directory-assistance-server", 76, Type::Addresses),
    named("streettalk-server", 75, Type::Addresses),
    named("subnet-mask", 1, Type::Address),
    named("swap-server", 16, Type::Address),
    named("tcp-keepalive-garbage", 39, Type::Flag),
    named("tcp-keepalive-interval", 38, Type::U32),
    named("tftp-config-file", 144, Type::Text),
    named("tftp-server-name", 66, Type::Text),
    named("time-offset", 2, Type::I32),
    named("time-servers", 4, Type::Addresses),
    named("trailer-encapsulation", 34, Type::Flag),
    named("user-class", 77, Type::Text),
    named("vendor-encapsulated-options", 43, Type::Bytes),
    named("voip-configuration-server", 150, Type::Addresses),
    named("www-server", 72, Type::Addresses),
    named("x-display-manager", 49, Type::Addresses),
];

/// In order: what ISC's dialect has other names for, and what only it has a name for.
#[rustfmt::skip]
static OF_ISC: &[Named] = &[
    named("default-url", 114, Type::Text),
    named("loader-configfile", 209, Type::Text),
    named("loader-pathprefix", 210, Type::Text),
    named("loader-reboottime", 211, Type::U32),
    named("pcode", 100, Type::Text),
    named("tcode", 101, Type::Text),
    named("tftp-server-address", 150, Type::Addresses),
    named("uap-servers", 98, Type::Text),
    named("v4-captive-portal", 160, Type::Text),
    named("v6-only-preferred", 108, Type::U32),
    named("vendor-class-identifier", 60, Type::Bytes),
];

/// In order. Most have a code that `option-N` can set.
#[rustfmt::skip]
static ISC_ONLY: &[&str] = &[
    "associated-ip", "auto-config", "bcms-controller-address", "bcms-controller-names",
    "capwap-ac-v4", "client-last-transaction-time", "domain-set", "fqdn",
    "geoconf", "geoconf-civic", "ipv4-address-andsf",
    "name-service-search",
    "netinfo-server-address", "netinfo-server-tag", "option-6rd", "pana-agent",
    "pxe-client-id", "pxe-interface-id", "pxe-system-type",
    "rdnss-selection", "relay-id", "sip-ua-cs-domains", "slp-directory-agent",
    "slp-service-scope", "status-code", "subnet-selection",
    "user-auth-protocol", "v4-access-domain", "v4-lost",
    "v4-portparams", "vivco", "vivso",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_without_doubles() {
        assert!(BY_NAME.is_sorted_by(|a, b| a.name < b.name));
        assert!(ISC_ONLY.is_sorted_by(|a, b| a < b));
        assert!(SET_BY_SERVER.is_sorted_by(|a, b| a.0 < b.0));
        let mut codes: Vec<u8> = BY_NAME.iter().map(|named| named.code).collect();
        codes.sort_unstable();
        assert!(codes.is_sorted_by(|a, b| a < b));
        assert!(ISC_ONLY.iter().all(|name| find(name).is_none()));
        assert!(OF_ISC.is_sorted_by(|a, b| a.name < b.name));
        assert!(OF_ISC.iter().all(|n| find(n.name).is_none() && !is_isc_only(n.name)));
    }

    /// The codes of dhcpd.conf(5)'s names.
    #[test]
    fn every_code_with_a_name() {
        let unnamed = [62, 63, 78, 79, 80, 81, 83, 84];
        for code in 1..=87 {
            assert_eq!(name_of(code).is_some(), !unnamed.contains(&code), "{code}");
        }
        for code in 88..=254 {
            let named = [108, 119, 121, 144, 150, 249, 252].contains(&code);
            assert_eq!(name_of(code).is_some(), named, "{code}");
        }
    }

    #[test]
    fn options_by_name_and_by_number() {
        assert_eq!(find("routers"), Some(Definition { code: 3, kind: Type::Addresses }));
        assert_eq!(find("option-114"), Some(Definition { code: 114, kind: Type::Bytes }));
        assert_eq!(find("option-3"), Some(Definition { code: 3, kind: Type::Bytes }));
        assert_eq!(name_of(3), Some("routers"));
        for name in [
            "Routers",
            "option-0",
            "option-255",
            "option-256",
            "option-",
            "option-1x",
            "option-+1",
            "option-0001",
            "router",
            "",
        ] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
