//! What is said about wrong configurations, and where.

use super::*;
use crate::conf::{Severity, SystemSources};

fn rendered(text: &str) -> String {
    let errors = load(PATH, &mut sources(text)).expect_err(text);
    errors.iter().map(|error| error.render() + "\n").collect()
}

/// As a reader of the log sees it.
#[test]
fn golden() {
    let text = "\
authorative;
subnet 10.0.0.0 netmask 255.255.255.0 {
\toption routers 10.0.0.300;
\trange 10.0.0.10 10.0.1.20;
\tdefault-lease-time 0x10;
}
";
    let want = "\
/etc/dhcpd.conf:1:1: unknown statement `authorative`; did you mean `authoritative`?
authorative;
^
/etc/dhcpd.conf:3:24: an octet of an address is from 0 to 255
\toption routers 10.0.0.300;
\t                      ^
/etc/dhcpd.conf:4:18: 10.0.1.20 is not in the subnet 10.0.0.0/24
\trange 10.0.0.10 10.0.1.20;
\t                ^
/etc/dhcpd.conf:5:21: numbers are decimal, or octal if they begin with 0; not hexadecimal
\tdefault-lease-time 0x10;
\t                   ^
";
    assert_eq!(rendered(text), want);
}

/// A host whose hardware cannot be read has some.
#[test]
fn what_follows_from_an_error_is_not_said() {
    let text = "host a { hardware ethernet 0:1:2:3:4:xx; }\nhost b { }\nnonsense;";
    let said = rendered(text);
    let heads: Vec<&str> = said.lines().filter(|line| line.starts_with(PATH)).collect();
    assert!(heads.len() == 3 && heads[0].contains(":1:38: `xx` is not an octet"), "{said}");
    assert!(heads[1].contains(":2:1: warning: host b has neither"), "{said}");
}

#[test]
fn no_error_hides_another() {
    let errors = bad("option nonsense 1;
         option routers 1.2.3.4 5.6.7.8;
         sbunet 10.0.0.0 netmask 255.255.255.0 { rnage 10.0.0.1; }
         subnet 10.0.0.0 netmask 255.0.255.0 { fixed-address 10.0.0.1; max-lease-time; }
         host { hardware ethernet 1:2; }
         shared-network x { option broken 1; }
         bogus { option also-broken 1; max-lease-time -1; }
         default-lease-time 1");
    let places: Vec<&str> = errors.iter().map(|e| e.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "1:8", "2:33", "3:10", "3:50", "4:34", "4:48", "4:86", "5:14", "5:35", "6:10", "6:36",
            "7:10", "7:25", "7:55", "8:10", "8:30"
        ]
    );
    assert!(errors[9].contains("without a subnet"), "{errors:?}");
}

#[test]
fn a_missing_semicolon_is_found_where_it_is_missing() {
    assert_eq!(
        bad("default-lease-time 600\nmax-lease-time x;\noption routers 10.0.0.1;"),
        [
            "1:23: `;` missing at the end of this statement",
            "2:16: expected a number, found `x`; this is written: max-lease-time SECONDS;"
        ]
    );
    assert_eq!(
        bad(&format!("option routers 10.0.0.1\n{SUBNET}subnett;")),
        [
            "1:24: `;` missing at the end of this statement",
            "3:1: unknown statement `subnett`; did you mean `subnet`?"
        ]
    );
    assert_eq!(bad("group { filename \"x\" }"), ["1:21: `;` missing before `}`"]);
    assert_eq!(
        bad("subnet 10.0.0.0 netmask 255.0.0.0 {\nrange 10.0.0.1\noption routers 1; }"),
        [
            "2:15: `;` missing at the end of this statement",
            "3:17: expected `.` and another octet of an address, found the end"
        ]
    );
}

#[test]
fn blocks_where_none_belong_and_none_where_one_does() {
    assert_eq!(
        bad("max-lease-time 1 { filename x; }"),
        [
            "1:17: expected `;`, found a block",
            "1:29: expected a string in quotes, found `x`; this is written: filename \"NAME\";"
        ]
    );
    assert_eq!(
        bad("group;"),
        ["1:6: expected `{` and a block, found the end; this is written: group { ... }"]
    );
    assert_eq!(
        bad("group a b { }"),
        [
            "1:7: warning: the name of a group is not supported yet; it is passed over",
            "1:9: expected `{`, found `b`; this is written: group { ... }"
        ]
    );
    assert_eq!(bad("\"x\" y;"), ["1:1: a statement cannot begin with `x`"]);
}

#[test]
fn statements_where_they_do_not_belong() {
    let in_subnet =
        |inner: &str| bad(&format!("subnet 10.0.0.0 netmask 255.0.0.0 {{\n{inner}\n}}")).join("|");
    assert_eq!(bad("range 10.0.0.1;"), ["1:1: `range` is not allowed outside of a declaration"]);
    assert_eq!(in_subnet("hardware ethernet 1:2:3:4:5:6;"), {
        "2:1: `hardware` is not allowed in a subnet"
    });
    assert_eq!(in_subnet("group { range 10.0.0.1; }"), "2:9: `range` is not allowed in a group");
    let inner = "subnet 10.1.0.0 netmask 255.255.0.0 { }";
    assert_eq!(in_subnet(inner), "2:1: `subnet` is not allowed in a subnet");
    let inner = format!("group {{ {inner} }}");
    assert_eq!(in_subnet(&inner), "2:9: `subnet` is not allowed in a subnet");
    let in_host = |inner: &str| {
        bad(&format!("host h {{ hardware ethernet 1:2:3:4:5:6;\n{inner} }}")).join("|")
    };
    for no in [
        "group { }",
        "host i { }",
        "authoritative;",
        "not authoritative;",
        "get-lease-hostnames off;",
        "use-host-decl-names off;",
    ] {
        let name = no.split([' ', ';']).next().unwrap();
        assert_eq!(in_host(no), format!("2:1: `{name}` is not allowed in a host"));
    }
    assert_eq!(
        bad("lease 10.0.0.1 { starts 1; }"),
        ["1:1: `lease` does not belong here: it belongs in dhcpd.leases(5)"]
    );
    assert_eq!(
        bad("unknown-clients;"),
        ["1:1: `unknown-clients` does not belong here: write `allow` or `deny` before it"]
    );
    assert_eq!(
        bad("allow booting-up;"),
        ["1:7: `booting-up` cannot be allowed or denied; did you mean `booting`?"]
    );
    assert_eq!(
        bad("not echo-client-id;"),
        [
            "1:5: expected `authoritative`, found `echo-client-id`; this is written: not authoritative;"
        ]
    );
}

#[test]
fn parameters_come_before_declarations() {
    let text =
        "host h { hardware ethernet 1:2:3:4:5:6; }\nmax-lease-time 1;\ntimestamp 1 2026/1/1 0:0:0;";
    assert_eq!(bad(text), ["2:1: parameters come before the first declaration, in line 1"]);
    let text = "shared-network s {\nhost h { hardware ethernet 1:2:3:4:5:6; }\nfilename \"x\";
        subnet 10.0.0.0 netmask 255.0.0.0 { } }";
    assert_eq!(bad(text), ["3:1: parameters come before the first declaration, in line 2"]);
}

/// what OpenBSD's only warns of.
#[test]
fn q2_what_is_out_of_range_is_an_error() {
    assert_eq!(
        bad("default-lease-time 4294967296;"),
        ["1:20: `4294967296` is out of range: 0 to 4294967295 is allowed"]
    );
    assert_eq!(
        bad("option routers 10.0.0.256;"),
        ["1:23: an octet of an address is from 0 to 255"]
    );
    assert_eq!(
        bad("option default-ip-ttl 256;"),
        ["1:23: `256` is out of range: 0 to 255 is allowed"]
    );
    let text = format!("{SUBNET}subnet 10.0.0.128 netmask 255.255.255.128 {{ }}");
    assert_eq!(bad(&text), ["2:1: this overlaps the subnet 10.0.0.0/24"]);
    let text = "subnet 10.0.0.0 netmask 255.255.255.0 { }\nsubnet 10.0.0.0 netmask 255.0.0.0 { }
        subnet 11.0.0.0 netmask 255.0.0.0 { }\nsubnet 10.0.0.0 netmask 255.255.255.0 { }";
    assert_eq!(
        bad(text),
        ["2:1: this overlaps the subnet 10.0.0.0/24", "4:1: this overlaps the subnet 10.0.0.0/8"]
    );
    let long = format!("filename \"{}\"; server-name \"{}\";", "x".repeat(129), "x".repeat(65));
    assert_eq!(
        bad(&long),
        ["1:10: 129 bytes; at most 128 have room", "1:155: 65 bytes; at most 64 have room"]
    );
}

#[test]
fn ranges_that_overlap() {
    let ranges = |list: &str| {
        let ranges = list.replace('.', "10.0.0.").replace(',', ";\nrange");
        bad(&format!("subnet 10.0.0.0 netmask 255.255.255.0 {{\nrange {ranges}; }}"))
    };
    assert_eq!(ranges(".10 .20, .20 .30"), ["3:1: this overlaps the range 10.0.0.10 10.0.0.20"]);
    assert_eq!(ranges(".20 .30, .10 .20"), ["3:1: this overlaps the range 10.0.0.20 10.0.0.30"]);
    assert_eq!(
        ranges(".10 .90, .20, .30, .95"),
        [
            "3:1: this overlaps the range 10.0.0.10 10.0.0.90",
            "4:1: this overlaps the range 10.0.0.10 10.0.0.90"
        ]
    );
}

#[test]
fn options() {
    assert_eq!(
        bad("option router 10.0.0.1;"),
        ["1:8: no option has the name `router`; did you mean `routers`?"]
    );
    assert_eq!(
        bad("option Routers 10.0.0.1;"),
        ["1:8: names of options are in lower case: `routers`"]
    );
    assert_eq!(bad("option option-255 \"x\";"), ["1:8: no option has the name `option-255`"]);
    assert_eq!(bad("option;"), ["1:7: expected the name of an option, found the end"]);
    assert_eq!(bad("option routers;"), ["1:15: expected an address or a host name, found the end"]);
    assert_eq!(bad("option routers 10.0.0.1, nowhere.example, 10.0.0.999;").len(), 2);
    assert_eq!(
        bad("option domain-name-servers nowhere.example;"),
        [
            "1:28: look up nowhere.example: this was not asked when answers were made; names are looked up \
             when this is read, addresses never"
        ]
    );
}

#[test]
fn hardware_and_masks() {
    let host = |inner: &str| bad(&format!("host h {{ {inner} }}")).join("|");
    assert!(host("hardware ether 1:2:3:4:5:6;").contains("did you mean `ethernet`?"));
    assert!(host("hardware ethernet nobody;").contains("look up the Ethernet address of nobody"));
    let long = ["1"; 17].join(":");
    assert!(host(&format!("hardware ethernet {long};")).contains("more than 16 octets"));
    assert_eq!(
        bad("subnet 10.0.0.0 netmask 255.255.0.255 { }"),
        ["1:25: 255.255.0.255 is not the mask of a prefix"]
    );
    assert!(bad("subnet 10.0.0.0 { }")[0].contains("expected `netmask`"));
    assert!(bad("subnet ns.example netmask 255.0.0.0 { }")[0].contains("octet of an address"));
}

#[test]
fn warnings_do_not_refuse() {
    let (config, warnings) = warned(
        "option dhcp-lease-time 5;
option subnet-mask 255.255.255.0;
option root-path \"a\\b\";
option routers 010.0.0.1;
option dhcp-client-identifier \"x\";
subnet 10.0.0.1 netmask 255.255.255.0 {
range 10.0.0.0 10.0.0.9; }
host a { fixed-address 10.0.1.1; }
host b { hardware ethernet 1:2;
deny unknown-clients; fixed-address 10.0.0.5; }
vendor-class \"v\" { authoritative; }
shared-network s { subnet 10.0.2.0 netmask 255.255.255.254 {
not authoritative; range 10.0.2.0 10.0.2.1; } }
pid-file-name \"/var/run/dhcpd.pid\";
user-class \"u\" { next-server 10.0.0.9; default-lease-time 9; max-lease-time 0; }",
    );
    assert_eq!(config.root.options.get(51), None);
    assert_eq!(option(&config.root, 61), None);
    assert_eq!(
        warnings,
        [
            "1:8: warning: this option is not taken from here: it comes from default-lease-time and \
         max-lease-time",
            "2:8: warning: one mask for all subnets; each has its own already",
            "3:20: warning: a backslash in quotes is dropped, and protects nothing",
            "4:16: warning: octets of an address are decimal, also those that begin with 0",
            "5:8: warning: a client's identifier has no effect outside of a declaration",
            "6:8: warning: 10.0.0.1 is within the subnet, which is 10.0.0.0/24",
            "7:1: warning: this range has the subnet's own or its broadcast address in it",
            "8:1: warning: host a has neither `hardware` nor a client identifier: no client is this \
         host",
            "8:24: warning: no subnet has 10.0.1.1: a never gets it",
            "9:28: warning: an Ethernet address has 6 octets; no client has this of 2",
            "10:6: warning: `unknown-clients` has no effect in a host",
            "11:20: warning: `authoritative` has no effect in a class",
            "13:1: warning: `not` has no effect within a shared-network",
            "14:1: warning: `pid-file-name` is ignored: no file holds our process id",
            "15:18: warning: `next-server` has no effect in a class",
            "15:40: warning: `default-lease-time` has no effect in a class",
            "15:62: warning: `max-lease-time` has no effect in a class",
            "15:77: warning: 0 is as if nothing were said here",
        ]
    );
}

#[test]
fn files_that_cannot_be_read() {
    let error = load("/nonexistent/x", &mut SystemSources::new()).unwrap_err();
    assert_eq!(error.len(), 1);
    assert!(error[0].render().starts_with("/nonexistent/x: open /nonexistent/x: No such file"));
    assert_eq!(
        bad("option routers 10.0.0.1;\ninclude \"other\";"),
        ["2:9: open /etc/other: this was not asked when answers were made"]
    );
    assert_eq!(
        bad("include other;"),
        [
            "1:9: expected the name of a file in quotes, found `other`; this is written: include \"FILE\";"
        ]
    );
}

/// Such a name would be lines of its own in the log.
#[test]
fn files_with_control_characters_in_their_names() {
    for name in ["a\nb", "\u{7}", "a\u{85}"] {
        let said = rendered(&format!("include \"{name}\";"));
        assert!(said.contains("control character") && !said.contains("open "), "{said}");
    }
}

#[test]
fn files_that_include_each_other() {
    let mut sources = sources("include \"a\";");
    sources.add_file("/etc/a", *b"include \"b\";");
    sources.add_file("/etc/b", *b"include \"dhcpd.conf\"; include \"/etc/a\";");
    let errors: Vec<String> = load(PATH, &mut sources).unwrap_err().iter().map(short).collect();
    assert_eq!(
        errors,
        ["/etc/b:1:9: /etc/dhcpd.conf includes itself", "/etc/b:1:31: /etc/a includes itself"]
    );
}

#[test]
fn errors_are_in_order_and_warnings_among_them() {
    let errors = load(PATH, &mut sources("key { }\nbogus;\nzone x { }\n}")).unwrap_err();
    let severities: Vec<Severity> = errors.iter().map(|error| error.severity).collect();
    assert_eq!(
        severities,
        [Severity::Warning, Severity::Error, Severity::Warning, Severity::Error]
    );
    let lines: Vec<u32> = errors.iter().map(|error| error.at.line).collect();
    assert_eq!(lines, [1, 2, 3, 4]);
}
