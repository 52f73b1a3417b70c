//! Every option that OpenBSD's dhcpd(8) has a name for: its code, and how its value is written and
//! encoded. The table is not ours: it is what files in the field rely on.

use super::*;
use crate::conf::options::SET_BY_SERVER;

/// How a type is written, and what that is on the wire.
fn sample(kind: &str) -> (&'static str, &'static [u8]) {
    match kind {
        "ip" => ("192.0.2.1", &[192, 0, 2, 1]),
        "ip*" => ("192.0.2.1, ns.example", &[192, 0, 2, 1, 192, 0, 2, 53, 127, 0, 0, 1]),
        "pair*" => (
            "10.0.0.0 10.0.0.1, 10.1.0.0 10.1.0.1",
            &[10, 0, 0, 0, 10, 0, 0, 1, 10, 1, 0, 0, 10, 1, 0, 1],
        ),
        "u8" => ("8", &[8]),
        "u8*" => ("1, 255", &[1, 255]),
        "u16" => ("1500", &[5, 220]),
        "u16*" => ("68, 65535", &[0, 68, 255, 255]),
        "u32" => ("4294967295", &[255; 4]),
        "i32" => ("-3600", &[255, 255, 241, 240]),
        "flag" => ("on", &[1]),
        "text" => ("\"a b\"", b"a b"),
        "bytes" => ("1:fF:0", &[1, 255, 0]),
        "domains" => ("\"a.b\", \"c.b\"", &[1, b'a', 1, b'b', 0, 1, b'c', 0xc0, 2]),
        "routes" => ("10/8 10.0.0.1, 0/0 10.0.0.2", &[8, 10, 10, 0, 0, 1, 0, 10, 0, 0, 2]),
        other => panic!("no such type: {other}"),
    }
}

#[rustfmt::skip]
const TABLE: &[(u8, &str, &str)] = &[
    (1, "subnet-mask", "ip"), (2, "time-offset", "i32"), (3, "routers", "ip*"),
    (4, "time-servers", "ip*"), (5, "ien116-name-servers", "ip*"),
    (6, "domain-name-servers", "ip*"), (7, "log-servers", "ip*"), (8, "cookie-servers", "ip*"),
    (9, "lpr-servers", "ip*"), (10, "impress-servers", "ip*"),
    (11, "resource-location-servers", "ip*"), (12, "host-name", "bytes"),
    (13, "boot-size", "u16"), (14, "merit-dump", "text"), (15, "domain-name", "text"),
    (16, "swap-server", "ip"), (17, "root-path", "text"), (18, "extensions-path", "text"),
    (19, "ip-forwarding", "flag"), (20, "non-local-source-routing", "flag"),
    (21, "policy-filter", "pair*"), (22, "max-dgram-reassembly", "u16"),
    (23, "default-ip-ttl", "u8"), (24, "path-mtu-aging-timeout", "u32"),
    (25, "path-mtu-plateau-table", "u16*"), (26, "interface-mtu", "u16"),
    (27, "all-subnets-local", "flag"), (28, "broadcast-address", "ip"),
    (29, "perform-mask-discovery", "flag"), (30, "mask-supplier", "flag"),
    (31, "router-discovery", "flag"), (32, "router-solicitation-address", "ip"),
    (33, "static-routes", "pair*"), (34, "trailer-encapsulation", "flag"),
    (35, "arp-cache-timeout", "u32"), (36, "ieee802-3-encapsulation", "flag"),
    (37, "default-tcp-ttl", "u8"), (38, "tcp-keepalive-interval", "u32"),
    (39, "tcp-keepalive-garbage", "flag"), (40, "nis-domain", "text"), (41, "nis-servers", "ip*"),
    (42, "ntp-servers", "ip*"), (43, "vendor-encapsulated-options", "bytes"),
    (44, "netbios-name-servers", "ip*"), (45, "netbios-dd-server", "ip*"),
    (46, "netbios-node-type", "u8"), (47, "netbios-scope", "text"), (48, "font-servers", "ip*"),
    (49, "x-display-manager", "ip*"), (50, "dhcp-requested-address", "ip"),
    (51, "dhcp-lease-time", "u32"), (52, "dhcp-option-overload", "u8"),
    (53, "dhcp-message-type", "u8"), (54, "dhcp-server-identifier", "ip"),
    (55, "dhcp-parameter-request-list", "u8*"), (56, "dhcp-message", "text"),
    (57, "dhcp-max-message-size", "u16"), (58, "dhcp-renewal-time", "u32"),
    (59, "dhcp-rebinding-time", "u32"), (60, "dhcp-class-identifier", "text"),
    (61, "dhcp-client-identifier", "bytes"), (64, "nisplus-domain", "text"),
    (65, "nisplus-servers", "ip*"), (66, "tftp-server-name", "text"),
    (67, "bootfile-name", "text"), (68, "mobile-ip-home-agent", "ip*"),
    (69, "smtp-server", "ip*"), (70, "pop-server", "ip*"), (71, "nntp-server", "ip*"),
    (72, "www-server", "ip*"), (73, "finger-server", "ip*"), (74, "irc-server", "ip*"),
    (75, "streettalk-server", "ip*"), (76, "streettalk-directory-assistance-server", "ip*"),
    (77, "user-class", "text"), (82, "relay-agent-information", "bytes"),
    (85, "nds-servers", "ip*"), (86, "nds-tree-name", "bytes"), (87, "nds-context", "bytes"),
    (108, "ipv6-only-preferred", "u32"), (119, "domain-search", "domains"),
    (121, "classless-static-routes", "routes"), (144, "tftp-config-file", "text"),
    (150, "voip-configuration-server", "ip*"), (249, "classless-ms-static-routes", "routes"),
    (252, "autoproxy-script", "text"),
];

#[test]
fn every_named_option_is_encoded_as_the_table_says() {
    assert_eq!(TABLE.len(), super::super::options::names().count());
    for (code, name, kind) in TABLE {
        let (written, wire) = sample(kind);
        // By name, with the prefix, and any case of that.
        for prefix in ["", "dhcp.", "DHCP."] {
            let text = format!("vendor-class \"v\" {{ option {prefix}{name} {written}; }}");
            let (config, warnings) = warned(&text);
            let value = config.vendor_classes[0].settings.options.get(*code);
            if SET_BY_SERVER.iter().any(|(set, _)| set == code) || *code == 61 {
                assert_eq!((value, warnings.len()), (None, 1), "{text}");
            } else {
                assert_eq!(value, Some(wire), "{text}");
                assert_eq!(warnings, [""; 0], "{text}");
            }
        }
        // By number, with the same bytes.
        let bytes: Vec<String> = wire.iter().map(|byte| format!("{byte:x}")).collect();
        let text = format!("vendor-class \"v\" {{ option option-{code} {}; }}", bytes.join(":"));
        let (config, _) = warned(&text);
        let value = config.vendor_classes[0].settings.options.get(*code);
        assert_eq!(
            value.is_none(),
            SET_BY_SERVER.iter().any(|(set, _)| set == code) || *code == 61
        );
        assert!(value.is_none_or(|value| value == wire), "{text}");
    }
}

/// What is not of the option's type is refused; so is more than one value where one belongs.
#[test]
fn no_option_takes_what_is_not_of_its_type() {
    for (_, name, kind) in TABLE {
        let wrong = match *kind {
            "text" | "bytes" => "1.2",
            _ => "\"text\" 1",
        };
        assert!(!bad(&format!("option {name} {wrong};")).is_empty(), "{name}");
        if !kind.ends_with('*') && !["domains", "routes"].contains(kind) {
            let (written, _) = sample(kind);
            assert!(!bad(&format!("option {name} {written}, {written};")).is_empty(), "{name}");
        }
        let upper = name.to_uppercase();
        assert_eq!(bad(&format!("option {upper} 1;")).len(), 1, "names are in lower case");
    }
}

#[test]
fn text_is_quoted_or_a_bare_identifier_and_the_last_of_a_scope_counts() {
    let config = good("option domain-name bare; option routers 10.0.0.1; option routers 10.0.0.2;");
    assert_eq!(option(&config.root, 15), Some(&b"bare"[..]));
    assert_eq!(option(&config.root, 3), Some(&[10, 0, 0, 2][..]));
    let config = good("option option-114 \"https://a.example/\"; option host-name \"h\";");
    assert_eq!(option(&config.root, 114), Some(&b"https://a.example/"[..]));
    assert_eq!(option(&config.root, 12), Some(&b"h"[..]));
}
