//! What statements mean: values, inheritance, defaults.

use super::*;
use crate::config::{Hardware, Range};

#[test]
fn an_empty_file_is_a_configuration_with_openbsds_defaults() {
    let config = good("");
    assert_eq!(config.root, Settings::built_in());
    let root = &config.root;
    assert_eq!(root.default_lease_time, Some(43_200));
    assert_eq!(root.max_lease_time, Some(86_400));
    assert_eq!(root.dynamic_bootp_lease_cutoff, Some(0x7fff_ffff));
    assert_eq!(root.authoritative, Some(true));
    assert_eq!(root.echo_client_id, Some(true));
    assert_eq!(root.unknown_clients, Some(true));
    assert_eq!(root.dynamic_bootp, Some(false));
    assert!(config.subnets.is_empty());
}

#[test]
fn a_lone_subnet_has_a_network_of_its_own() {
    let config = good(
        "subnet 192.0.2.0 netmask 255.255.255.128 { not authoritative; range 192.0.2.9; }
         subnet 10.0.0.0 netmask 255.0.0.0 { }",
    );
    let names: Vec<&str> = config.networks.iter().map(|network| &*network.name).collect();
    assert_eq!(names, ["192.0.2.0", "10.0.0.0"]);
    assert!(!config.networks[0].authoritative);
    assert!(config.networks[1].authoritative);
    assert_eq!(config.networks[1].subnets, [1]);
    assert_eq!(config.subnets[0].network, 0);
    assert_eq!(config.subnets[0].net.to_string(), "192.0.2.0/25");
    let only = Ipv4Addr::new(192, 0, 2, 9);
    assert_eq!(config.subnets[0].ranges, [Range { low: only, high: only, dynamic_bootp: false }]);
    assert_eq!(config.subnet_of(only), Some(0));
    assert_eq!(config.subnet_of(Ipv4Addr::new(192, 0, 2, 128)), None);
    assert_eq!((config.subnets[1].at.line, config.subnets[1].at.column), (2, 10));
}

#[test]
fn every_parameter() {
    let config = good(
        "default-lease-time 8; MAX-Lease-Time 4294967295;
         dynamic-bootp-lease-length 3; dynamic-bootp-lease-cutoff 4 1970/01/01 00:01:00 UTC;
         deny unknown-clients; deny bootp; allow dynamic-bootp;
         not authoritative; get-lease-hostnames on; use-host-decl-names true;
         use-lease-addr-for-default-route ON; always-reply-rfc1048 False; echo-client-id off; ping-check off;
         rapid-commit on; allow leasequery; subnet-selection true; withhold-ipv4 on;
         filename \"boot\"; server-name \"srv\"; next-server ns.example;
         server-identifier 10.0.0.1; timestamp 4 2026/06/30 10:00:00;
         group { deny booting; host a { hardware ethernet 0:1:2:3:4:5; } }",
    );
    let mut want = Settings::built_in();
    want.default_lease_time = Some(8);
    want.max_lease_time = Some(u32::MAX);
    want.dynamic_bootp_lease_length = Some(3);
    want.dynamic_bootp_lease_cutoff = Some(60);
    want.unknown_clients = Some(false);
    want.bootp = Some(false);
    want.dynamic_bootp = Some(true);
    want.authoritative = Some(false);
    want.get_lease_hostnames = Some(true);
    want.use_host_decl_names = Some(true);
    want.use_lease_addr_for_default_route = Some(true);
    want.always_reply_rfc1048 = Some(false);
    want.echo_client_id = Some(false);
    want.ping_check = Some(false);
    want.rapid_commit = Some(true);
    want.leasequery = Some(true);
    want.subnet_selection = Some(true);
    want.withhold_ipv4 = Some(true);
    want.filename = Some(b"boot".to_vec());
    want.server_name = Some(b"srv".to_vec());
    want.next_server = Some(Ipv4Addr::new(192, 0, 2, 53));
    want.options.set(54, vec![10, 0, 0, 1]);
    assert_eq!(config.root, want);
    assert_eq!(config.hosts[0].settings.booting, Some(false));
}

#[test]
fn a_host() {
    let config = good(
        "subnet 10.0.0.0 netmask 255.255.255.0 { }
         subnet 192.0.2.0 netmask 255.255.255.0 { }
         host a.b-c { hardware ethernet 0:1:2:A:b:ff; fixed-address 10.0.0.9, ns.example;
                      option dhcp.dhcp-client-identifier 1:2:3; }
         host d { option dhcp-client-identifier \"d\"; }
         host e { hardware ethernet printer; }
         host f { hardware ipsec-tunnel 1; }",
    );
    let host = &config.hosts[0];
    assert_eq!(host.name, "a.b-c");
    let hardware = Hardware { htype: 1, addr: vec![0, 1, 2, 10, 11, 255] };
    assert_eq!(host.hardware, Some(hardware));
    assert_eq!(host.fixed, [Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(192, 0, 2, 53)]);
    assert_eq!(host.client_id.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(host.settings, Settings::default(), "a client's identifier is not an option");
    assert_eq!(config.hosts_by_client_id(b"d"), [1]);
    assert_eq!(config.hosts_by_hardware(1, &[2, 0, 0, 0, 0, 9]), [2]);
    assert_eq!(config.hosts_by_hardware(31, &[1]), [3]);
}

#[test]
fn ranges_in_either_order_before_and_after_declarations() {
    let config = good(
        "subnet 10.0.0.0 netmask 255.255.255.0 {
           range 10.0.0.20 10.0.0.10;
           group { }
           range dynamic-bootp 10.0.0.30;
         }",
    );
    let show = |r: &Range| (r.low.octets()[3], r.high.octets()[3], r.dynamic_bootp);
    let ranges: Vec<_> = config.subnets[0].ranges.iter().map(show).collect();
    assert_eq!(ranges, [(10, 20, false), (30, 30, true)]);
}

/// Q-4 (documented order), Q-5 (groups in a shared-network are inherited).
#[test]
fn inheritance() {
    let config = good(
        "default-lease-time 1; option domain-name \"root\";
         group {
           default-lease-time 2;
           shared-network wire {
             option domain-name \"wire\"; filename \"wire\";
             group {
               default-lease-time 3;
               subnet 10.0.0.0 netmask 255.255.255.0 {
                 filename \"subnet\";
                 group {
                   server-name \"group\";
                   host in { hardware ethernet 0:0:0:0:0:1; max-lease-time 9; }
                   vendor-class \"v\" { filename \"v\"; }
                 }
               }
             }
             subnet 10.0.1.0 netmask 255.255.255.0 { }
           }
         }
         group {
           server-name \"far\"; max-lease-time 4;
           group { server-name \"near\"; host out { hardware ethernet 0:0:0:0:0:2; } }
         }
         user-class \"u\" { filename \"class\"; }",
    );
    let subnet = &config.subnets[0].settings;
    assert_eq!(subnet.default_lease_time, Some(3));
    assert_eq!(subnet.filename.as_deref(), Some(&b"subnet"[..]));
    assert_eq!(option(subnet, 15), Some(&b"wire"[..]));
    assert_eq!(subnet.server_name, None, "a group inside says nothing about what is around it");
    assert_eq!(subnet.max_lease_time, Some(86_400));
    assert_eq!(config.subnets[1].settings.default_lease_time, Some(2));
    assert_eq!(config.networks[0].settings.default_lease_time, Some(2));
    assert_eq!(config.networks[0].subnets, [0, 1]);
    assert_eq!(config.root.default_lease_time, Some(1));

    let mut within = Settings { max_lease_time: Some(9), ..Settings::default() };
    within.server_name = Some(b"group".to_vec());
    assert_eq!(config.hosts[0].settings, within, "nothing of subnet, network or root");
    within.max_lease_time = None;
    within.filename = Some(b"v".to_vec());
    assert_eq!(config.vendor_classes[0].settings, within);
    assert_eq!(config.vendor_classes[0].value, b"v");
    let mut outside = Settings { max_lease_time: Some(4), ..Settings::default() };
    outside.server_name = Some(b"near".to_vec());
    assert_eq!(config.hosts[1].settings, outside);
    assert_eq!(config.user_classes[0].settings.filename.as_deref(), Some(&b"class"[..]));
}

#[test]
fn a_scope_begins_with_what_was_said_until_then() {
    let (config, warnings) = warned(
        "shared-network \"two words\" {
           subnet 10.0.0.0 netmask 255.255.255.0 { }
           default-lease-time 7;
           subnet 10.0.1.0 netmask 255.255.255.0 { }
         }",
    );
    assert_eq!(config.networks[0].name, "two words");
    let dotted = good("shared-network floor-1.example { subnet 10.0.0.0 netmask 255.0.0.0 { } }");
    assert_eq!(dotted.networks[0].name, "floor-1.example");
    assert_eq!(config.subnets[0].settings.default_lease_time, Some(43_200));
    assert_eq!(config.subnets[1].settings.default_lease_time, Some(7));
    assert_eq!(warnings, ["3:12: warning: subnets before this do not inherit it"]);
}

///
#[test]
fn a_subnet_may_follow_a_host_in_a_shared_network() {
    let config = good(
        "shared-network s {
           host h { hardware ethernet 0:0:0:0:0:1; }
           subnet 10.0.0.0 netmask 255.255.255.0 { }
         }",
    );
    assert_eq!(config.networks[0].subnets, [0]);
}

#[test]
fn the_last_of_several_values_counts() {
    let config = good("option routers 10.0.0.1; option routers 10.0.0.2, 10.0.0.3;");
    assert_eq!(option(&config.root, 3), Some(&[10, 0, 0, 2, 10, 0, 0, 3][..]));
}

#[test]
fn use_host_decl_names_is_inherited_like_all_else() {
    let config = good(
        "use-host-decl-names on;
         subnet 10.0.0.0 netmask 255.255.255.0 { option host-name \"subnets\"; }
         host a { hardware ethernet 0:0:0:0:0:1; }
         group { option host-name \"shared\"; host c { hardware ethernet 0:0:0:0:0:3; } }
         group { use-host-decl-names off; host d { hardware ethernet 0:0:0:0:0:4; } }",
    );
    let host = |id: usize| &config.hosts[id].settings;
    assert_eq!(config.subnets[0].settings.use_host_decl_names, Some(true));
    assert_eq!(*host(0), Settings::default(), "whether it is sent, its subnet decides");
    assert_eq!(option(host(1), 12), Some(&b"shared"[..]));
    assert_eq!(host(2).use_host_decl_names, Some(false));
}

#[test]
fn q3_a_subnet_may_follow_a_host_in_a_shared_network() {
    let config = good(
        "shared-network s {
           host h { hardware ethernet 0:0:0:0:0:1; }
           group { }
           subnet 10.0.0.0 netmask 255.255.255.0 { }
         }",
    );
    assert_eq!((config.networks.len(), config.subnets.len(), config.hosts.len()), (1, 1, 1));
    assert_eq!(config.networks[0].subnets, [0]);
}

#[test]
fn q5_a_group_in_a_shared_network_is_inherited_by_its_subnets_only() {
    let config = good(
        "max-lease-time 1;
         shared-network s {
           group { max-lease-time 2; subnet 10.0.0.0 netmask 255.255.255.0 { } }
           subnet 10.0.1.0 netmask 255.255.255.0 { }
         }",
    );
    let times: Vec<_> = config.subnets.iter().map(|s| s.settings.max_lease_time).collect();
    assert_eq!(times, [Some(2), Some(1)]);
    assert_eq!(config.networks[0].settings.max_lease_time, Some(1));
}

#[test]
fn included_files_are_read_in_place() {
    let mut sources = sources("include \"local/net\";");
    sources.add_file("/etc/local/net", *b"option domain-name \"x\";\ninclude \"/etc/more\";");
    sources.add_file("/etc/more", SUBNET.as_bytes());
    let (config, warnings) = load(PATH, &mut sources).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(option(&config.subnets[0].settings, 15), Some(&b"x"[..]));
    assert_eq!(&*config.subnets[0].at.file, "/etc/more");
}

#[test]
fn a_name_asked_for_twice_has_the_same_addresses_for_the_server() {
    let text = "option routers localhost; next-server localhost;";
    let mut system = crate::conf::SystemSources::new();
    let dir = std::env::temp_dir().join(format!("tandem-conf-{}", std::process::id()));
    std::fs::write(&dir, text).unwrap();
    let path = dir.to_str().unwrap();
    let (config, _) = load(path, &mut system).unwrap();
    std::fs::remove_file(&dir).unwrap();
    let bytes = system.into_recorded().encode();
    let (again, _) = load(path, &mut RecordedSources::decode(&bytes).unwrap()).unwrap();
    assert_eq!(again.root, config.root);
    assert_eq!(config.root.next_server, Some(Ipv4Addr::LOCALHOST));
}
