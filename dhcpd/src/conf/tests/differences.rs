//! What `dhcpd -n` says of OpenBSD's dhcpd: each kind of difference, and nothing where there is none.

use super::*;
use crate::conf::differences;
use proptest::prelude::*;

/// What is said, as `LINE:COLUMN: note: text`.
fn said(text: &str) -> Vec<String> {
    differences(PATH, &mut sources(text)).iter().map(short).collect()
}

const TWO: &str = "\
default-lease-time 3600;
option domain-name \"root\";
subnet 10.1.0.0 netmask 255.255.255.0 {
  default-lease-time 900; option domain-name \"one\"; option routers 10.1.0.1;
}
subnet 10.2.0.0 netmask 255.255.255.0 { option routers 10.2.0.1; max-lease-time 7200; }
";

#[test]
fn q4_a_host_outside_of_its_subnet_overrides_it_there() {
    let text = format!("{TWO}host a {{ hardware ethernet 0:0:0:0:0:1; fixed-address 10.1.0.9; }}
        host b {{ hardware ethernet 0:0:0:0:0:2; fixed-address 10.1.0.8; }}
        host c {{ hardware ethernet 0:0:0:0:0:3; default-lease-time 60; option domain-name \"c\"; }}");
    assert_eq!(
        said(&text),
        [
            "4:3: note: `default-lease-time` for hosts a, b in 10.1.0.0/24 is 900; with OpenBSD's \
             dhcpd 3600, of line 1",
            "4:27: note: option `domain-name` for hosts a, b in 10.1.0.0/24 is \"one\"; with \
             OpenBSD's dhcpd \"root\", of line 2",
            "6:66: note: `max-lease-time` for host c in 10.2.0.0/24 is 7200; with OpenBSD's dhcpd \
             86400, its default",
        ]
    );
}

#[test]
fn q4_a_host_within_another_subnet_brings_that_along_there() {
    let text = "subnet 10.1.0.0 netmask 255.255.255.0 {
  option routers 10.1.0.1;
  echo-client-id off;
  host roaming { hardware ethernet 0:0:0:0:0:1; }
}
subnet 10.2.0.0 netmask 255.255.255.0 { option routers 10.2.0.1; }
subnet 10.3.0.0 netmask 255.255.255.0 { }";
    assert_eq!(
        said(text),
        [
            "2:3: note: option `routers` for host roaming in 10.3.0.0/24 is none; with OpenBSD's \
             dhcpd 10.1.0.1, of line 2",
            "3:3: note: `echo-client-id` for host roaming in 10.2.0.0/24, 10.3.0.0/24 is on, the \
             default; with OpenBSD's dhcpd off, of line 3",
            "6:41: note: option `routers` for host roaming in 10.2.0.0/24 is 10.2.0.1; with \
             OpenBSD's dhcpd 10.1.0.1, of line 2",
        ]
    );
    // In its own subnet, it inherits that one.
    let text = text.replace("0:1; }", "0:1; fixed-address 10.1.0.5; }");
    assert_eq!(said(&text), [""; 0]);
}

#[test]
fn q4_classes_override_subnets_and_hosts_override_classes_there() {
    let text = "server-name \"root\"; option domain-name \"root\";
vendor-class \"v\" { filename \"v\"; server-name \"v\"; max-lease-time 5; }
user-class \"u\" { option domain-name \"u\"; }

subnet 10.1.0.0 netmask 255.255.255.0 { option domain-name \"one\"; server-name \"one\"; max-lease-time 9; }
subnet 10.2.0.0 netmask 255.255.255.0 {
  option domain-name \"two\"; server-name \"two\"; max-lease-time 9;
  host in { hardware ethernet 0:0:0:0:0:1; fixed-address 10.2.0.5; }
}";
    let all = said(text);
    for want in [
        "2:34: note: `server-name` for user-class \"u\" of vendor-class \"v\" is \"v\"; with \
         OpenBSD's dhcpd \"root\", of line 1",
        "2:34: note: `server-name` for host in of vendor-class \"v\" is \"v\"; with OpenBSD's dhcpd \
         \"two\", of line 7",
        "3:18: note: option `domain-name` for host in of user-class \"u\" is \"u\"; with OpenBSD's \
         dhcpd \"two\", of line 7",
        "5:41: note: option `domain-name` for vendor-class \"v\" in 10.1.0.0/24 is \"one\"; with \
         OpenBSD's dhcpd \"root\", of line 1",
        "5:67: note: `server-name` for user-class \"u\" in 10.1.0.0/24 is \"one\"; with OpenBSD's \
         dhcpd \"root\", of line 1",
        "7:3: note: option `domain-name` for vendor-class \"v\" in 10.2.0.0/24 is \"two\"; with \
         OpenBSD's dhcpd \"root\", of line 1",
        "7:29: note: `server-name` for user-class \"u\" in 10.2.0.0/24 is \"two\"; with OpenBSD's \
         dhcpd \"root\", of line 1",
    ] {
        assert!(all.iter().any(|line| line == want), "{want}\n{all:#?}");
    }
    assert_eq!(all.len(), 7, "{all:#?}");
}

#[test]
fn q4_boot_files_that_clients_name_themselves() {
    let text = "subnet 10.1.0.0 netmask 255.255.255.0 {
  filename \"boot\";
  host a { hardware ethernet 0:0:0:0:0:1; }
  host b { hardware ethernet 0:0:0:0:0:2; filename \"own\"; }
}";
    assert_eq!(
        said(text),
        ["2:3: note: for host a, OpenBSD's dhcpd prefers this `filename` to one that the client \
          names itself"]
    );
}

#[test]
fn q4_declared_names_and_who_may_boot() {
    let text = "deny booting;
subnet 10.1.0.0 netmask 255.255.255.0 { use-host-decl-names on; }
host far { hardware ethernet 0:0:0:0:0:1; }
group { allow booting; use-host-decl-names on; host near { hardware ethernet 0:0:0:0:0:2; } }";
    assert_eq!(
        said(text),
        ["2:41: note: option `host-name` for host far in 10.1.0.0/24 is the declared name; with \
             OpenBSD's dhcpd none",]
    );
    let text = "subnet 10.1.0.0 netmask 255.255.255.0 { option host-name \"x\"; }
group { use-host-decl-names on; host near { hardware ethernet 0:0:0:0:0:2; } }";
    assert_eq!(
        said(text),
        [
            "1:41: note: option `host-name` for host near in 10.1.0.0/24 is \"x\"; with OpenBSD's dhcpd \
          the declared name, of line 2"
        ]
    );
}

/// `deny` of a subnet is also for its hosts, wherever they are declared; a class is nowhere.
#[test]
fn q4_who_may_boot_in_a_subnet_and_by_bootp() {
    let text = "subnet 10.1.0.0 netmask 255.255.255.0 { deny booting; }
subnet 10.2.0.0 netmask 255.255.255.0 { deny bootp; host in { hardware ethernet 0:0:0:0:0:1; fixed-address 10.2.0.9; } }
host a { hardware ethernet 0:0:0:0:0:2; fixed-address 10.1.0.9; }
host b { hardware ethernet 0:0:0:0:0:3; fixed-address 10.2.0.8; }
host c { hardware ethernet 0:0:0:0:0:4; fixed-address 10.1.0.8, 10.2.0.7; allow booting; allow bootp; }";
    assert_eq!(
        said(text),
        [
            "1:41: note: `booting` for host a in 10.1.0.0/24 is denied; with OpenBSD's dhcpd \
             allowed, its default",
            "2:41: note: `bootp` for host b in 10.2.0.0/24 is denied; with OpenBSD's dhcpd allowed, \
             its default",
        ]
    );
    let text = "deny booting; vendor-class \"v\" { }\nsubnet 10.1.0.0 netmask 255.255.255.0 { }";
    assert_eq!(
        said(text),
        ["1:1: note: `booting` for vendor-class \"v\" is allowed, the default; with OpenBSD's \
          dhcpd denied, of line 1"]
    );
}

#[test]
fn which_bootp_clients_are_given_addresses_of_ranges() {
    let text = "subnet 10.1.0.0 netmask 255.255.255.0 { deny unknown-clients; range dynamic-bootp 10.1.0.9; }
subnet 10.2.0.0 netmask 255.255.255.0 { deny unknown-clients; range 10.2.0.9; }
shared-network s {
  subnet 10.3.0.0 netmask 255.255.255.0 { range dynamic-bootp 10.3.0.9; }
  deny unknown-clients;
  subnet 10.4.0.0 netmask 255.255.255.0 { range dynamic-bootp 10.4.0.9; }
}";
    let head = "note: for BOOTP clients that no host declares, OpenBSD's dhcpd goes by what is said \
                outside of the subnet: there they are";
    assert_eq!(
        said(text),
        [
            format!("1:41: {head} allowed, and here denied"),
            format!("4:3: {head} denied, and here allowed"),
        ]
    );
    let text =
        "allow dynamic-bootp;\nhost h { hardware ethernet 0:0:0:0:0:1; deny dynamic-bootp; }";
    assert_eq!(
        said(text),
        [
            "1:1: note: with this, BOOTP clients get addresses of all ranges; OpenBSD's dhcpd gives \
             them those of `range dynamic-bootp` only",
            "2:41: note: OpenBSD's dhcpd takes no notice of this here",
        ]
    );
}

#[test]
fn how_it_is_written() {
    let text = "\u{feff}max-lease-time 5;";
    good(text);
    assert_eq!(
        said(text),
        ["1:1: note: OpenBSD's dhcpd refuses a file that begins with a byte order mark"]
    );
    // Refused there, and so here.
    for text in ["host _h { }", "host -h { }", "shared-network a._b { }", "_x;"] {
        assert!(!bad(text).is_empty() && said(text).is_empty(), "{text}");
    }
    assert_eq!(
        said("subnet 10.0.0.0 netmask 255.0.255.0 { }"),
        ["1:25: note: OpenBSD's dhcpd takes this"]
    );
    assert_eq!(
        said(
            "subnet 10.0.0.0 netmask 255.255.255.0 {
group { subnet 10.1.0.0 netmask 255.255.255.0 { } }
}"
        ),
        ["2:9: note: OpenBSD's dhcpd takes this within a group"]
    );
    let all = said("subnet 10.0.0.0 netmask 255.255.255.0 { pool { range 10.0.0.9; } }");
    assert_eq!(all, ["1:41: note: OpenBSD's dhcpd does not know, and refuses, `pool`"]);
}

/// What has no effect is no difference.
#[test]
fn q4_a_switch_is_only_told_where_it_matters() {
    let text = |routers: &str| {
        format!(
            "subnet 10.1.0.0 netmask 255.255.255.0 {{ {routers} \
             use-lease-addr-for-default-route on; }}
             host h {{ hardware ethernet 0:0:0:0:0:1; }}"
        )
    };
    assert_eq!(said(&text("")).len(), 1);
    assert_eq!(said(&text("option routers 10.1.0.1;")), [""; 0]);
}

#[test]
fn q5_groups_within_a_shared_network() {
    let text = "default-lease-time 100;
shared-network s {
  max-lease-time 1000;
  group {
    default-lease-time 200; max-lease-time 1000; option ntp-servers 10.0.0.1;
    subnet 10.1.0.0 netmask 255.255.255.0 { }
    subnet 10.2.0.0 netmask 255.255.255.0 { default-lease-time 7; }
    host h { hardware ethernet 0:0:0:0:0:1; fixed-address 10.1.0.7; }
  }
}";
    assert_eq!(
        said(text),
        [
            "5:5: note: `default-lease-time` for 10.1.0.0/24 is 200; with OpenBSD's dhcpd 100, of \
             line 1",
            "5:50: note: option `ntp-servers` for 10.1.0.0/24, 10.2.0.0/24 is 10.0.0.1; with \
             OpenBSD's dhcpd none",
        ]
    );
}

/// Q-3, and what OpenBSD's does not know.
#[test]
fn q3_what_is_refused_there() {
    let text = "shared-network s {
  host h { hardware fddi 0:0:0:0:0:1; }
  subnet 10.1.0.0 netmask 255.255.255.0 { ping-check off; }
}";
    assert_eq!(
        said(text),
        [
            "2:12: note: OpenBSD's dhcpd does not know, and refuses, `hardware fddi`, `ping-check`",
            "3:3: note: OpenBSD's dhcpd refuses a subnet after the declaration in line 2",
        ]
    );
    let many: String = (0..12).map(|n| format!("option space s{n}; ddns-updates on;\n")).collect();
    let text =
        format!("log-facility local7; pid-file-name \"x\"; {many} group g {{ allow leasequery; }}");
    assert_eq!(
        said(&text),
        [
            "1:1: note: OpenBSD's dhcpd does not know, and refuses, `log-facility`, `pid-file-name`, \
          `option space`, `ddns-updates`, `group NAME`, `allow leasequery`"
        ]
    );
}

#[test]
fn q2_what_is_only_refused_here() {
    let text = "default-lease-time 4294967296;
option routers 10.0.0.300;
subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.1 10.0.0.9; range 10.0.0.9; }
subnet 10.0.0.0 netmask 255.255.0.0 { }
nonsense;";
    let cut = "note: OpenBSD's dhcpd takes this: it cuts the number to size, and says so in its log \
               only";
    assert_eq!(
        said(text),
        [
            format!("1:20: {cut}"),
            format!("2:23: {cut}"),
            "3:66: note: OpenBSD's dhcpd takes this: it does not see it, and both ranges have the \
             addresses"
                .to_owned(),
            "4:1: note: OpenBSD's dhcpd takes this: it warns of it in its log only".to_owned(),
        ]
    );
}

#[test]
fn classless_routes_beside_routers() {
    let classless = "option classless-static-routes 10.0.0.0/8 10.1.0.1;";
    assert_eq!(said(classless), [""; 0]);
    let text =
        format!("{classless} subnet 10.1.0.0 netmask 255.255.0.0 {{ option routers 10.1.0.1; }}");
    let note = "1:1: note: OpenBSD's dhcpd sends no routers and no static-routes to whoever is sent \
                this; here those that do not ask for it get both";
    assert_eq!(said(&text), [note]);
}

#[test]
fn q2_wrong_digits() {
    let digits = "note: OpenBSD's dhcpd takes this: it says in its log only that a digit is wrong";
    assert_eq!(
        said("default-lease-time 08; max-lease-time 1f; subnet 10.0.0.0a netmask 255.0.0.0 { }"),
        [format!("1:20: {digits}"), format!("1:39: {digits}"), format!("1:57: {digits}")]
    );
    assert_eq!(
        said("default-lease-time 0x1f; max-lease-time x; subnet 10.0.0.x netmask 255.0.0.0 { }"),
        [""; 0]
    );
}

#[test]
fn q11_fixed_addresses_within_ranges() {
    let text = "subnet 10.0.0.0 netmask 255.255.255.0 {
  range 10.0.0.50 10.0.0.60;
  range 10.0.0.10 10.0.0.20;
  host a { hardware ethernet 0:0:0:0:0:1; fixed-address 10.0.0.10; }
  host b { hardware ethernet 0:0:0:0:0:2; fixed-address 10.0.0.21; }
  host c { hardware ethernet 0:0:0:0:0:3; fixed-address 10.0.0.20; }
}";
    assert_eq!(
        said(text),
        [
            "3:3: note: in this range, kept for their hosts, and not so by OpenBSD's dhcpd: 10.0.0.10 \
          (a), 10.0.0.20 (c)"
        ]
    );
}

#[test]
fn q17_q22_q25_what_differs_wherever_it_stands() {
    let text = "option ipv6-only-preferred 1; option dhcp.ipv6-only-preferred 1;
option relay-agent-information 1:2;
get-lease-hostnames on; get-lease-hostnames off;
option dhcp-max-message-size 1000;
option dhcp-client-identifier \"x\";
subnet 10.0.0.0 netmask 255.255.255.0 {
  host h { hardware ethernet 0:0:0:0:0:1; option dhcp-client-identifier 1:2; }
}";
    let all = said(text);
    let places: Vec<&str> = all.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["1:1", "1:31", "2:1", "3:1", "4:1", "5:1"], "{all:#?}");
    for (line, word) in all.iter().zip(["ask", "ask", "relay", "looks up", "clients", "identifier"])
    {
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn another_file_is_named() {
    let mut sources = sources("max-lease-time 100; include \"hosts\";");
    sources.add_file(
        "/etc/hosts",
        format!("{TWO}host c {{ hardware ethernet 0:0:0:0:0:3; }}").into_bytes(),
    );
    let all: Vec<String> = differences(PATH, &mut sources).iter().map(short).collect();
    assert!(
        all[0].starts_with("1:21: note: OpenBSD's dhcpd does not know, and refuses, `include`")
    );
    let want = "/etc/hosts:6:66: note: `max-lease-time` for host c in 10.2.0.0/24 is 7200; with \
                OpenBSD's dhcpd 100, of /etc/dhcpd.conf:1";
    assert!(all.iter().any(|line| line == want), "{all:#?}");
}

#[test]
fn nothing_is_compared_that_cannot_be_read() {
    assert_eq!(differences("/no/such/file", &mut sources("")), []);
}

const PLAIN: &[&str] = &[
    "default-lease-time 900;",
    "max-lease-time 7200;",
    "option domain-name \"a.example\";",
    "option routers 10.0.0.1, 10.0.0.2;",
    "option option-200 1:2;",
    "filename \"boot\";",
    "server-name \"server\";",
    "next-server 10.0.0.9;",
    "echo-client-id off;",
    "use-lease-addr-for-default-route on;",
    "use-host-decl-names on;",
    "deny unknown-clients;",
    "not authoritative;",
    "deny bootp;",
    "server-identifier 10.0.0.1;",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Without groups, hosts and classes, both dialects inherit alike.
    #[test]
    fn without_nesting_there_is_no_difference(
        root in prop::collection::vec(prop::sample::select(PLAIN), 0..6),
        wire in prop::collection::vec(prop::sample::select(PLAIN), 0..6),
        nets in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(prop::sample::select(PLAIN), 0..6)), 0..6),
    ) {
        let mut text = root.join("\n");
        let net = |n: usize, inner: &[&str]| format!(
            "subnet 10.{n}.0.0 netmask 255.255.0.0 {{ {} range 10.{n}.0.10 10.{n}.0.20; }}\n",
            inner.join(" ")
        );
        let shared: Vec<String> = nets.iter().enumerate()
            .filter(|(_, (shared, _))| *shared).map(|(n, (_, inner))| net(n, inner)).collect();
        if !shared.is_empty() {
            text += &format!("shared-network s {{ {} {} }}\n", wire.join(" "), shared.concat());
        }
        for (n, (_, inner)) in nets.iter().enumerate().filter(|(_, (shared, _))| !*shared) {
            text += &net(n, inner);
        }
        prop_assert!(load(PATH, &mut sources(&text)).is_ok(), "{}", text);
        prop_assert_eq!(said(&text), Vec::<String>::new(), "{}", text);
    }

    /// Hosts within the subnet that has their addresses inherit it in both, boot files apart.
    #[test]
    fn a_host_in_its_own_subnet_is_no_difference(
        root in prop::collection::vec(prop::sample::select(PLAIN), 0..6),
        inner in prop::collection::vec(prop::sample::select(PLAIN), 0..6),
    ) {
        let text = format!(
            "{}\nsubnet 10.1.0.0 netmask 255.255.0.0 {{ {}
             host h {{ hardware ethernet 0:0:0:0:0:1; fixed-address 10.1.0.5; }} }}",
            root.join("\n"), inner.join("\n")
        );
        let text = text.replace("filename", "server-name");
        prop_assert_eq!(said(&text), Vec::<String>::new(), "{}", text);
    }
}
