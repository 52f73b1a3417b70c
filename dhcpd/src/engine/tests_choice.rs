//! Which address a client is offered: one pool for each network, in the order of the file; and which
//! host a client is. From the text of dhcpd.conf on.

use super::tests_kit::*;
use super::tests_log::{capture, lines};
use super::*;

/// Two subnets on the wire of [`SERVER`], with ranges that do not ascend.
const WIRE: &str = "
    default-lease-time 600;
    shared-network wire {
      subnet 10.0.0.0 netmask 255.255.255.0 {
        option routers 10.0.0.1; range 10.0.0.30 10.0.0.31; range 10.0.0.10;
      }
      subnet 10.5.0.0 netmask 255.255.0.0 {
        option routers 10.5.0.1; default-lease-time 60; range 10.5.1.11;
      }
    }
    subnet 10.1.0.0 netmask 255.255.255.0 { range 10.1.0.10; }";

/// The same with ISC's pools.
const POOLS: &str = "
    default-lease-time 600;
    shared-network wire {
      subnet 10.0.0.0 netmask 255.255.255.0 {
        option routers 10.0.0.1;
        pool { deny dynamic bootp clients; range 10.0.0.30 10.0.0.31; range 10.0.0.10; }
      }
      subnet 10.5.0.0 netmask 255.255.0.0 { option routers 10.5.0.1; default-lease-time 60; }
      pool { range 10.5.1.11; }
    }
    subnet 10.1.0.0 netmask 255.255.255.0 { pool { allow all clients; range 10.1.0.10; } }";

#[test]
fn ranges_and_pools_of_a_shared_network_are_one_pool_in_the_order_of_the_file() {
    for text in [WIRE, POOLS] {
        capture();
        let mut b = Bench::with(read(text));
        let all: Vec<Ipv4Addr> = (1..=4).map(|client| b.dora(client)).collect();
        assert_eq!(all, ["10.0.0.30", "10.0.0.31", "10.0.0.10", "10.5.1.11"].map(ip), "{text}");
        // Each is told what its own subnet says.
        let near = b.one(&renew(1, all[0]));
        let far = b.one(&renew(4, all[3]));
        let told = |got: &Got| (got.options.ipv4(1), got.options.ipv4(3), got.options.u32(51));
        assert_eq!(told(&near), (Some(ip("255.255.255.0")), Some(SERVER), Some(600)));
        assert_eq!(told(&far), (Some(ip("255.255.0.0")), Some(ip("10.5.0.1")), Some(60)));
        lines();
        b.silent(&discover(5));
        assert_eq!(lines()[1..], ["INFO no free leases on subnet wire"]);
        // What ends first is free first, whichever subnet it is of.
        b.pass(60);
        assert_eq!(b.dora(5), all[3]);
        // A relay agent in either subnet is on this wire.
        b.pass(600);
        for (client, giaddr) in [(2, "10.0.0.200"), (3, "10.5.0.200")] {
            let relayed = Ask { giaddr: ip(giaddr), ..discover(client) };
            assert_eq!(b.one(&relayed).yours(), all[usize::from(client) - 1]);
        }
    }
}

/// Renewed through a relay agent, an address is of the agent's network or none.
#[test]
fn what_a_relay_agent_passes_on_is_about_its_own_network() {
    let mut b = Bench::with(read(POOLS));
    let address = b.dora(4);
    let relayed = |giaddr: &str| Ask { giaddr: ip(giaddr), ..renew(4, address) };
    assert_eq!(b.one(&relayed("10.5.0.200")).kind(), message::ACK);
    assert_eq!(b.one(&relayed("10.1.0.200")).kind(), message::NAK);
}

/// The identifier says more than the hardware; a host without an address of this network lends its
/// settings only if it has none at all, and the first such does.
#[test]
fn which_host_a_client_is() {
    let text = "subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.19; }
         subnet 10.1.0.0 netmask 255.255.255.0 { }
         host far { hardware ethernet 2:0:0:0:0:1; fixed-address 10.1.0.5; server-name \"far\"; }
         host plain { hardware ethernet 2:0:0:0:0:1; server-name \"plain\"; }
         host second { hardware ethernet 2:0:0:0:0:1; server-name \"second\"; }
         host id { option dhcp-client-identifier \"me\"; fixed-address 10.0.0.6; }
         host hw { hardware ethernet 2:0:0:0:0:2; fixed-address 10.0.0.7; }
         host known { option dhcp-client-identifier \"us\"; server-name \"us\"; }";
    let mut b = Bench::with(read(text));
    let mut told = |ask: &Ask| {
        let got = b.one(ask);
        let name = String::from_utf8_lossy(got.message().sname()).trim_end_matches('\0').to_owned();
        (got.yours(), name)
    };
    let said = |address: &str, name: &str| (ip(address), name.to_owned());
    assert_eq!(told(&discover(1)), said("10.0.0.10", "plain"));
    assert_eq!(told(&discover(2)), said("10.0.0.7", ""));
    assert_eq!(told(&discover(2).id(b"me")), said("10.0.0.6", ""));
    assert_eq!(told(&discover(2).id(b"other")), said("10.0.0.7", ""));
    // Its identifier has no address here, its hardware has.
    assert_eq!(told(&discover(2).id(b"us")), said("10.0.0.7", ""));
    assert_eq!(told(&discover(3).id(b"us")), said("10.0.0.11", "us"));
}

#[test]
fn what_is_shorter_than_15_seconds_is_given_only_where_nothing_longer_may_be() {
    let time = |times: &str, asked: Option<u32>| {
        let mut b = Bench::with(read(&format!(
            "subnet 10.0.0.0 netmask 255.255.255.0 {{ range 10.0.0.10; {times} }}"
        )));
        let ask = match asked {
            Some(seconds) => discover(1).with(51, seconds.to_be_bytes()),
            None => discover(1),
        };
        let got = b.one(&ask);
        [51, 58, 59].map(|code| got.options.u32(code).unwrap())
    };
    let times = "default-lease-time 600; max-lease-time 900;";
    assert_eq!(time(times, None), [600, 300, 525]);
    assert_eq!(time(times, Some(14)), [600, 300, 525]);
    assert_eq!(time(times, Some(15)), [15, 7, 13]);
    assert_eq!(time(times, Some(u32::MAX)), [900, 450, 787]);
    assert_eq!(time("max-lease-time 10;", None), [10, 5, 8]);
    assert_eq!(time("max-lease-time 10;", Some(5)), [10, 5, 8]);
    assert_eq!(time("default-lease-time 7;", None), [7, 3, 6]);
    // Of another length it is no number.
    let mut b = Bench::with(read(&format!(
        "subnet 10.0.0.0 netmask 255.255.255.0 {{ range 10.0.0.10; {times} }}"
    )));
    assert_eq!(b.one(&discover(1).with(51, [1, 0])).options.u32(51), Some(600));
}

#[test]
fn an_abandoned_address_is_the_last_to_be_tried_again() {
    let mut b = Bench::with(read(
        "subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.11; default-lease-time 60; }",
    ));
    let abandoned = b.dora(1);
    b.silent(&decline(1, abandoned));
    b.pass(10);
    let other = b.dora(2);
    b.silent(&discover(3));
    b.pass(60);
    assert_eq!(b.one(&discover(3)).yours(), other);
    assert_eq!(b.one(&discover(4)).yours(), abandoned);
}

#[test]
fn a_fixed_address_is_neither_pinged_nor_recorded() {
    let mut b = Bench::pinging(read(
        "subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.11; }
         host h { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.10; }",
    ));
    let address = b.one(&discover(1)).yours();
    assert_eq!((address, b.out.pings.len()), (ip("10.0.0.10"), 0));
    assert_eq!(b.one(&select(1, address)).kind(), message::ACK);
    assert!(b.out.records == 0 && b.engine.is_empty());
    b.silent(&discover(2));
    assert_eq!(b.out.pings, [ip("10.0.0.11")], "nor given to others");
}

/// An address that is in no subnet of ours is taken for one of its relay agent's wire.
#[test]
fn an_inform_is_answered_for_its_address_or_else_its_relay_agents() {
    let mut b = Bench::with(read(WIRE));
    let inform = |ciaddr: &str, giaddr: &str| Ask {
        ciaddr: ip(ciaddr),
        giaddr: ip(giaddr),
        ..ask(message::INFORM, 1)
    };
    for (ciaddr, giaddr, router) in [
        ("10.0.0.77", "10.5.0.200", "10.0.0.1"),
        ("0.0.0.0", "10.5.0.200", "10.5.0.1"),
        ("172.16.0.1", "10.5.0.200", "10.5.0.1"),
    ] {
        let got = b.one(&inform(ciaddr, giaddr));
        assert_eq!(
            (got.options.ipv4(3), got.options.get(51)),
            (Some(ip(router)), None),
            "{ciaddr}"
        );
    }
    b.silent(&inform("172.16.0.1", "172.16.0.2"));
    b.silent(&inform("172.16.0.1", "0.0.0.0"));
}

/// Of an INFORM, the hardware address may be a tunnel's.
#[test]
fn an_informs_hardware_is_no_host() {
    let mut b = Bench::with(read(
        "subnet 10.0.0.0 netmask 255.255.255.0 { }
         host hw { hardware ethernet 2:0:0:0:0:1; option domain-name \"hw\"; }
         host id { option dhcp-client-identifier \"me\"; option domain-name \"id\"; }",
    ));
    let inform = Ask { ciaddr: ip("10.0.0.77"), ..ask(message::INFORM, 1) };
    assert_eq!(b.one(&inform).options.get(15), None);
    assert_eq!(b.one(&inform.id(b"me")).options.get(15), Some(&b"id"[..]));
}

/// What a `host` without an address declares keeps the lease it has.
#[test]
fn a_known_identifier_keeps_its_lease() {
    let mut b = Bench::with(read(
        "subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.19; }
         host id { option dhcp-client-identifier \"me\"; }",
    ));
    let offered = b.one(&discover(1).id(b"me")).yours();
    b.one(&select(1, offered).id(b"me"));
    b.dora(2);
    for client in [1, 3] {
        assert_eq!(b.one(&discover(client).id(b"me")).yours(), offered, "on any hardware");
    }
}

#[test]
fn a_client_with_another_identifier_has_what_its_hardware_had_before() {
    let mut b = Bench::with(read(
        "default-lease-time 60; max-lease-time 60;
         subnet 10.0.0.0 netmask 255.255.255.0 { range 10.0.0.10 10.0.0.20; }",
    ));
    let had: Vec<Ipv4Addr> = (1..=3).map(|client| b.dora(client)).collect();
    b.pass(60);
    // Others have been free for as long: this one is its own.
    assert_eq!(b.one(&discover(3).id(b"other system")).yours(), had[2]);
}

#[test]
fn an_inform_is_answered_where_nobody_is_refused() {
    let mut b = Bench::with(read(
        "not authoritative;
         subnet 10.0.0.0 netmask 255.255.255.0 { option domain-name \"here\"; }",
    ));
    let inform = Ask { ciaddr: ip("10.0.0.77"), ..ask(message::INFORM, 1) };
    let got = b.one(&inform);
    assert_eq!((got.kind(), got.options.get(15)), (message::ACK, Some(&b"here"[..])));
    b.silent(&reboot(1, ip("192.0.2.1")));
}
