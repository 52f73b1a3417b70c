//! ISC's dialect: all of it parses, and what is passed over is named.

use super::*;
use crate::config::Range;

#[test]
fn what_only_iscs_dialect_has_is_passed_over_and_named() {
    let (config, warnings) = warned(
        r#"ddns-update-style none; ddns-updates off;
option space pxelinux;
option pxelinux.magic code 208 = string;
option arch code 93 = unsigned integer 16;
option rec code 200 = { ip-address, integer 8 };
option rec 1.2.3.4 5;
option arch 7;
option pxelinux.magic f1:00:74:7e;
option domain-name = concat("a", ".example");
allow client-updates;
failover peer "x" { primary; address 10.0.0.1; }
key k { algorithm hmac-md5; secret abc+/==; };
zone example.org. { primary 127.0.0.1; key k; }
class "phones" { match if substring(option vendor-class-identifier, 0, 3) = "abc"; }
subclass "phones" 1:0:1:2:3:4:5;
if option arch = 00:07 { filename "a"; } elsif exists foo { filename "b"; } else { filename "c"; }
on commit { set x = binary-to-ascii(16, 8, ":", hardware); execute("/bin/x", x); }
subnet 10.0.0.0 netmask 255.255.255.0 {
    pool { range 10.0.0.1 10.0.0.9; min-lease-time 5; }
}"#,
    );
    assert_eq!(config.subnets.len(), 1);
    let names: Vec<&str> = warnings
        .iter()
        .map(|warning| {
            let (place, text) = warning.split_once(": warning: ").unwrap();
            assert!(place.ends_with(":1") || place == "19:37", "{warning}");
            let (name, with) = text.split_once(" is not supported yet; it is passed over").unwrap();
            assert_eq!(with, if name == "`if`" { ", with `filename`" } else { "" });
            name
        })
        .collect();
    assert_eq!(
        names,
        [
            "`option space`",
            "`option pxelinux.magic`",
            "`option rec code`",
            "`option rec`",
            "`option pxelinux.magic`",
            "`option domain-name =`",
            "`allow client-updates`",
            "`failover`",
            "`key`",
            "`zone`",
            "`class`",
            "`subclass`",
            "`if`",
            "`on`",
            "`min-lease-time`",
        ]
    );
}

#[test]
fn errors_beside_it_are_still_found() {
    assert_eq!(
        bad("class \"x\" { match if a = \"b\" }\nbogus;"),
        [
            "1:1: warning: `class` is not supported yet; it is passed over",
            "1:29: `;` missing before `}`",
            "2:1: unknown statement `bogus`"
        ]
    );
    assert_eq!(
        bad("subnet6 2001:db8::/32 { range6 2001:db8::1; }"),
        [
            "1:1: `subnet6` does not belong here: DHCPv6 is another protocol, which this server does \
         not speak"
        ]
    );
}

#[test]
fn parameters_after_declarations_stay_an_error() {
    assert_eq!(
        bad(&format!("{SUBNET}option domain-name \"x\";")),
        ["2:1: parameters come before the first declaration, in line 1"]
    );
}

#[test]
fn a_group_may_have_a_name() {
    let (config, warnings) = warned(&format!("group \"floor\" {{ filename \"x\"; {SUBNET} }}"));
    assert_eq!(config.subnets[0].settings.filename.as_deref(), Some(&b"x"[..]));
    assert_eq!(
        warnings,
        ["1:7: warning: the name of a group is not supported yet; it is passed over"]
    );
}

fn ranges(config: &Config, subnet: usize) -> Vec<(u8, u8, bool)> {
    let show = |r: &Range| (r.low.octets()[3], r.high.octets()[3], r.dynamic_bootp);
    config.subnets[subnet].ranges.iter().map(show).collect()
}

#[test]
fn a_pools_ranges_are_its_subnets() {
    let config = good(
        "subnet 10.0.0.0 netmask 255.255.255.0 {
           range 10.0.0.5;
           pool { range 10.0.0.20 10.0.0.29; range dynamic-bootp 10.0.0.40; }
           option routers 10.0.0.1;
           POOL { deny dynamic bootp clients; allow unknown-clients; allow known clients;
                  range 10.0.0.10 10.0.0.19; allow all clients; }
         }",
    );
    let want = [(5, 5, false), (20, 29, false), (40, 40, true), (10, 19, false)];
    assert_eq!(ranges(&config, 0), want);
    assert_eq!(option(&config.subnets[0].settings, 3), Some(&[10, 0, 0, 1][..]));
    assert_eq!((config.networks.len(), config.subnets.len()), (1, 1));
}

#[test]
fn a_pool_of_a_shared_network_is_of_the_subnet_that_has_its_addresses() {
    let text = "shared-network wire {
  subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.5; }
  subnet 10.0.1.0 netmask 255.255.255.0 { }
  pool { range 10.0.1.20 10.0.1.10; range 10.0.0.30; }
}";
    let config = good(text);
    assert_eq!(ranges(&config, 0), [(5, 5, false), (30, 30, false)]);
    assert_eq!(ranges(&config, 1), [(10, 20, false)]);
    let with = |pool: &str| bad(&text.replace("10.0.0.30;", &format!("10.0.0.30;\n{pool}")));
    assert_eq!(
        with("range 10.0.2.1;"),
        ["5:7: no subnet before this, in this shared-network, has 10.0.2.1"]
    );
    assert_eq!(
        with("range 10.0.0.250 10.0.1.5;"),
        ["5:18: 10.0.1.5 is not in the subnet 10.0.0.0/24"]
    );
    assert_eq!(with("range 10.0.1.20;"), ["5:1: this overlaps the range 10.0.1.10 10.0.1.20"]);
}

/// Nobody gets an address that is denied to them.
#[test]
fn a_pool_for_some_clients_only_is_refused() {
    let pool = |text: &str| {
        bad(&format!(
            "class \"c\" {{ }}
subnet 10.0.0.0 netmask 255.255.255.0 {{ pool {{ range 10.0.0.10;
{text} }} }}"
        ))[1..]
            .join("|")
    };
    for some in [
        "allow members of \"c\";",
        "deny members of \"c\";",
        "deny all clients;",
        "allow dynamic bootp clients;",
        "allow authenticated clients;",
        "deny after 4 2026/06/30 10:00:00;",
        "ignore members of \"c\";",
    ] {
        let column = some.find(' ').unwrap() + 2;
        let want = format!(
            "3:{column}: a pool for some clients only is not supported: others would get its \
             addresses"
        );
        assert_eq!(pool(some), want);
    }
    let known = "only whole subnets can be kept from unknown clients: say so in the subnet \
                 10.0.0.0/24";
    for some in ["deny unknown-clients;", "allow known-clients;", "DENY unknown CLIENTS;"] {
        assert_eq!(pool(some), format!("3:{}: {known}", some.find(' ').unwrap() + 2));
    }
    assert_eq!(pool("allow;"), "3:6: expected who is allowed or denied, found the end");
    assert_eq!(pool("deny known;"), "3:11: expected `clients`, found the end");
    assert_eq!(
        pool("deny dynamic bootp clients; range dynamic-bootp 10.0.0.11;"),
        "3:49: this pool denies BOOTP clients what its range allows them"
    );
    // Who has a fixed address gets no other.
    let fixed = "host a { hardware ethernet 0:0:0:0:0:1; fixed-address 10.0.1.5, 10.0.0.5; }";
    let other = "host b { hardware ethernet 0:0:0:0:0:2; fixed-address 10.0.1.6; }";
    for some in ["allow unknown-clients;", "allow unknown clients;", "deny known-clients;"] {
        let text = format!(
            "subnet 10.0.0.0 netmask 255.255.255.0 {{ pool {{ range 10.0.0.10; {some} }} }}
             subnet 10.0.1.0 netmask 255.255.255.0 {{ }} {fixed}"
        );
        good(&text);
        let said = bad(&format!("{text}{other}"));
        assert!(
            said.len() == 1 && said[0].contains("not all hosts have addresses here"),
            "{said:?}"
        );
    }
    // What the whole subnet says is kept.
    let whole = |subnet: &str, pool: &str| {
        format!(
            "subnet 10.0.0.0 netmask 255.255.255.0 {{ {subnet} pool {{ range 10.0.0.10; {pool} }} }}"
        )
    };
    good(&whole("deny unknown-clients;", "allow known-clients; deny unknown clients;"));
    let said = bad(&whole("allow dynamic-bootp;", "deny dynamic bootp clients;"));
    assert!(said.len() == 1 && said[0].contains("the subnet 10.0.0.0/24 allows it"), "{said:?}");
    let host = "host h { hardware ethernet 0:0:0:0:0:1; allow dynamic-bootp; }";
    let said = bad(&format!("{}{host}", whole("", "deny dynamic bootp clients;")));
    assert!(said.len() == 1 && said[0].contains("host or class"), "{said:?}");
}

#[test]
fn what_a_pool_would_tell_its_clients_alone_is_refused() {
    let text = |inner: &str| {
        format!("subnet 10.0.0.0 netmask 255.255.255.0 {{ pool {{ range 10.0.0.10;\n{inner} }} }}")
    };
    for parameter in ["max-lease-time 60;", "option routers 10.0.0.1;", "next-server 10.0.0.2;"] {
        let name = parameter.split(' ').next().unwrap();
        assert_eq!(
            bad(&text(parameter)),
            [format!("2:1: `{name}` of a pool is not supported: write it in the subnet")]
        );
    }
    let said = bad(&text("failover peer \"x\";"));
    assert!(said.len() == 1 && said[0].contains("a partner would give out"), "{said:?}");
    assert_eq!(
        bad(&text("host h { hardware ethernet 0:0:0:0:0:1; }")),
        ["2:1: `host` is not allowed in a pool"]
    );
    assert_eq!(bad("pool { }"), ["1:1: `pool` is not allowed outside of a declaration"]);
    let (_, warnings) = warned("subnet 10.0.0.0 netmask 255.255.255.0 { pool { } }");
    assert_eq!(warnings, ["1:41: warning: a pool without a range"]);
}

/// ISC's other words for `deny`.
#[test]
fn who_is_ignored_is_denied() {
    for text in ["ignore unknown-clients;", "boot-unknown-clients off;"] {
        assert_eq!(good(text).root.unknown_clients, Some(false), "{text}");
    }
    assert_eq!(good("ignore bootp;").root.bootp, Some(false));
    let (_, warnings) = warned("ignore client-updates;");
    assert_eq!(
        warnings,
        ["1:1: warning: `ignore client-updates` is not supported yet; it is passed over"]
    );
}

/// What is passed over may not be missed where it would have kept clients away.
#[test]
fn a_deny_in_what_is_passed_over_is_named() {
    let (_, warnings) = warned(
        "class \"c\" { match if a = b; deny booting; allow bootp; }
if a = b { ignore booting; } else { if c = d { deny unknown-clients; } }
key \"k\" { }",
    );
    let about = |place: &str, name: &str| {
        format!("{place}: warning: this keeps nobody away: the `{name}` around it is passed over")
    };
    assert_eq!(warnings.len(), 6);
    assert_eq!(warnings[1], about("1:29", "class"));
    assert_eq!(warnings[3..5], [about("2:12", "if"), about("2:48", "if")]);
}

/// What has no reader ends with its `;` too: else it would take the next statement with it.
#[test]
fn a_missing_semicolon_does_not_take_the_next_statement_away() {
    let subnet = "subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.300; }";
    assert_eq!(
        bad(&format!("log-facility local7\n{subnet}")),
        [
            "1:1: warning: `log-facility` is not supported yet; it is passed over",
            "1:20: `;` missing at the end of this statement",
            "2:54: an octet of an address is from 0 to 255"
        ]
    );
    for (passed, end) in [("pid-file-name \"x\"", "1:18"), ("option space.x 1", "1:17")] {
        let said = bad(&format!("{passed}\ndefault-lease-time 1f;"));
        assert_eq!(said[1], format!("{end}: `;` missing at the end of this statement"));
        assert!(said[2].starts_with("2:20: "), "{said:?}");
    }
    assert_eq!(
        bad("option a code 200 = { integer 8 }\ndefault-lease-time 1f;")[1],
        "1:34: `;` missing at the end of this statement"
    );
    // Where the next one begins in the same line, or cannot be known: a block says it.
    for text in [
        format!("log-facility local7 {subnet}"),
        format!("log (info, \"x\"\n{subnet}"),
        "ddns-update-style none\nsubnett 10.0.0.0 netmask 255.0.0.0 { }".to_owned(),
    ] {
        let said = bad(&text);
        assert!(said.iter().any(|line| line.contains("expected `;`, found a block")), "{said:?}");
    }
    for text in ["omapi-key k.", "ddns-rev-domainname in-addr.arpa.", "option a code 200 = text"] {
        let said = bad(&format!("{text}\n{subnet}"));
        assert!(said.iter().any(|line| line.contains("`;` missing at the end")), "{said:?}");
        assert!(said.iter().any(|line| line.starts_with("2:54: ")), "{said:?}");
    }
    // These are one statement each.
    for whole in [
        "log (info, concat(\"a\",\n option host-name));",
        "option space.x 1,\n option;",
        "on commit\n{ deny booting; }",
        "set x = exists host-name or\n option host-name = \"x\";",
        "option rec code 200 = array of {\n text,\n text };",
    ] {
        let (_, warnings) = warned(whole);
        assert!(warnings.iter().all(|warning| !warning.contains("missing")), "{warnings:?}");
    }
}

#[test]
fn options_that_the_file_defines() {
    let (config, warnings) = warned(
        "option flag code 200 = boolean; option one code 201 = unsigned integer 8;
         option two code 202 = Unsigned Integer 16; option four code 203 = unsigned integer 32;
         option minus code 204 = signed integer 32; option address code 205 = ip-address;
         option words code 206 = text; option bytes code 207 = string;
         option ones code 208 = array of unsigned integer 8;
         option twos code 209 = array of unsigned integer 16;
         option addresses code 210 = array of ip-address;
         option option-116 code 116 = unsigned integer 8; option routers code 211 = text;
         option flag on; option one 10; option two 258; option four 1; option minus -1;
         option address 10.0.0.1; option words \"w\"; option bytes a:b; option ones 1, 2;
         option twos 1, 2; option addresses 10.0.0.1, 10.0.0.2; option option-116 10;
         option routers \"none\"; option option-5 \"x\";
         option tftp-server-address 10.0.0.9; option vendor-class-identifier \"PXEClient\";
         subnet 10.0.0.0 netmask 255.255.255.0 { }
         option late code 212 = text;",
    );
    assert_eq!(warnings, [""; 0]);
    let expected: [(u8, &[u8]); 17] = [
        (3, b""),
        (5, b"x"),
        (60, b"PXEClient"),
        (116, &[10]),
        (150, &[10, 0, 0, 9]),
        (200, &[1]),
        (201, &[10]),
        (202, &[1, 2]),
        (203, &[0, 0, 0, 1]),
        (204, &[255; 4]),
        (205, &[10, 0, 0, 1]),
        (206, b"w"),
        (207, &[10, 11]),
        (208, &[1, 2]),
        (209, &[0, 1, 0, 2]),
        (210, &[10, 0, 0, 1, 10, 0, 0, 2]),
        (211, b"none"),
    ];
    for (code, value) in expected {
        assert_eq!(option(&config.root, code).unwrap_or_default(), value, "{code}");
    }
    // Known to be defined, and no more.
    let (config, warnings) = warned(
        "option routers code 3 = array of { ip-address, integer 8 }; option routers 10.0.0.1 5;",
    );
    assert_eq!((option(&config.root, 3), warnings.len()), (None, 2));
    assert_eq!(bad("option a code 201 = unsigned integer 8;\noption a 256;").len(), 1);
    assert_eq!(bad("option a code 300 = text;").len(), 1);
    let (config, _) = warned(
        "option RFC3442-routes code 121 = array of integer 8; option rfc3442-Routes 0, 200;",
    );
    assert_eq!(option(&config.root, 121), Some(&[0, 200][..]));
}
