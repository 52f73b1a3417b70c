//! Addresses leased to BOOTP clients: which, for how long, and beside DHCP's.

use super::tests_bootp::*;
use super::tests_kit::*;
use super::tests_log::{capture, lines};
use super::*;
use crate::leasefile;

#[test]
fn a_range_for_bootp_is_leased_from_on_disk_first_and_told_to_the_tables() {
    capture();
    let mut b = Bench::with(network(DYNAMIC));
    let got = one(&mut b, &boot(1));
    let address = ip("10.0.0.10");
    assert_eq!((got.yours(), got.codes()), (address, vec![1]));
    assert!(got.reply.durable);
    assert_eq!((got.reply.source, got.message().siaddr()), (SERVER, SERVER), "Q-23");
    assert_eq!(b.events(address), "LC");
    assert_eq!(
        lines(),
        [
            "INFO BOOTREQUEST from 02:00:00:00:00:01 via em0",
            "INFO BOOTREPLY on 10.0.0.10 to 02:00:00:00:00:01 via em0",
        ]
    );
    assert_eq!(
        b.journal(),
        "lease 10.0.0.10 {\n\tstarts 2 2023/11/14 22:13:20 UTC;\n\tends 2 2038/01/19 03:14:07 UTC;\n\
         \thardware ethernet 02:00:00:00:00:01;\n\tdynamic-bootp;\n}\n"
    );
    assert_eq!(one(&mut b, &boot(1)).yours(), address);
    assert_eq!((b.events(address).as_str(), b.out.records), ("L", 1));
    let counters = *b.engine.counters();
    assert_eq!((counters.bootp, counters.bootreply, counters.committed), (2, 2, 2));
    assert_eq!(
        (given(&mut b, 2), given(&mut b, 3)),
        (Some(ip("10.0.0.11")), Some(ip("10.0.0.12")))
    );
    lines();
    assert_eq!(given(&mut b, 4), None);
    assert_eq!(lines()[1], "INFO No applicable record for BOOTP host 02:00:00:00:00:04 via em0");
    assert_eq!(b.engine.counters().no_free_lease, 1);
}

#[test]
fn the_lease_survives_a_restart_as_what_it_is() {
    let mut b = Bench::with(network(DYNAMIC));
    one(&mut b, &boot(1));
    let mut file = b.out.journal.clone();
    for _ in 0..2 {
        b = Bench::with(network(DYNAMIC));
        for record in leasefile::read(&file) {
            let record = record.unwrap();
            assert!(record.dynamic_bootp);
            b.engine.load(record, b.now);
        }
        assert_eq!(b.engine.tables(b.now).0, [ip("10.0.0.10")]);
        file.clear();
        b.engine.snapshot_from(0, 10, &mut file);
    }
    assert_eq!(given(&mut b, 2), Some(ip("10.0.0.11")));
    assert_eq!(given(&mut b, 1), Some(ip("10.0.0.10")));
}

#[test]
fn how_long_it_is_kept() {
    let ends = |inside: &str, wall: i64| {
        let mut b = Bench::with(network(&format!("{DYNAMIC} {inside}")));
        b.now.wall = wall;
        given(&mut b, 1)?;
        let journal = b.out.journal.clone();
        Some(leasefile::read(&journal).next().unwrap().unwrap().ends)
    };
    let cutoff = "dynamic-bootp-lease-cutoff 1 2024/01/01 00:00:00;";
    let (before, cut) = (START, 1_704_067_200);
    assert_eq!(ends("", before), Some(i64::from(i32::MAX)));
    assert_eq!(ends(cutoff, before), Some(cut));
    assert_eq!(ends(cutoff, cut - 1), Some(cut));
    assert_eq!(ends(cutoff, cut), None, "no lease beyond what was said");
    assert_eq!(ends("dynamic-bootp-lease-length 600;", before), Some(before + 600));
    let both = format!("{cutoff} dynamic-bootp-lease-length 600;");
    assert_eq!(ends(&both, cut), Some(cut + 600), "a length is stronger");
    let host = |own: &str| format!("{both} host h {{ hardware ethernet 2:0:0:0:0:1; {own} }}");
    assert_eq!(ends(&host("dynamic-bootp-lease-length 7;"), before), Some(before + 7));
    assert_eq!(ends(&host("dynamic-bootp-lease-length 0;"), before), Some(cut), "0 is none");
    // What nobody said ends nothing.
    assert_eq!(ends("", i64::from(i32::MAX)), Some(crate::lease::NEVER));
}

#[test]
fn a_lease_of_some_length_ends_and_its_address_goes_to_the_next() {
    let mut b = Bench::with(network(&format!("{DYNAMIC} dynamic-bootp-lease-length 600;")));
    for client in 1..=3 {
        given(&mut b, client).unwrap();
        b.pass(1);
    }
    b.pass(597);
    assert_eq!(b.events(ip("10.0.0.10")), "R");
    assert_eq!(given(&mut b, 4), Some(ip("10.0.0.10")));
    assert_eq!(b.events(ip("10.0.0.10")), "LC");
    b.pass(10);
    assert_eq!(given(&mut b, 3), Some(ip("10.0.0.12")), "what it had, before the oldest");
    assert_eq!(given(&mut b, 5), Some(ip("10.0.0.11")));
    assert_eq!(given(&mut b, 6), None);
}

#[test]
fn only_addresses_for_bootp_and_all_of_them_where_that_is_allowed() {
    let all = |inside: &str| {
        let mut b = Bench::with(network(inside));
        (1..=99)
            .map_while(|client| given(&mut b, client))
            .map(|a| a.octets()[3])
            .collect::<Vec<_>>()
    };
    assert_eq!(all("range 10.0.0.20 10.0.0.22; range dynamic-bootp 10.0.0.10;"), [10]);
    assert_eq!(all("range 10.0.0.20 10.0.0.22; allow dynamic-bootp;"), [20, 21, 22]);
    assert_eq!(all("range 10.0.0.20 10.0.0.22; deny dynamic-bootp;"), [0; 0]);
    assert_eq!(
        all(
            "range dynamic-bootp 10.0.0.30 10.0.0.31; range 10.0.0.20; range dynamic-bootp 10.0.0.10;"
        ),
        [30, 31, 10]
    );
    assert_eq!(
        all(
            "range dynamic-bootp 10.0.0.10 10.0.0.12; host h { hardware ethernet 2:0:0:0:1:1; fixed-address 10.0.0.11; }"
        ),
        [10, 12],
        "Q-11"
    );
    // A host, or a class, may say so for itself.
    let range = "range 10.0.0.20;";
    let host = "host h { hardware ethernet 2:0:0:0:0:1;";
    let first = |inside: &str, options: &[u8]| {
        let mut b = Bench::with(network(inside));
        by(&mut b, &saying(1, options)).first().map(Got::yours)
    };
    assert_eq!(
        first(&format!("{range} {host} allow dynamic-bootp; }}"), &[]),
        Some(ip("10.0.0.20"))
    );
    assert_eq!(first(&format!("{DYNAMIC} {host} deny dynamic-bootp; }}"), &[]), None);
    let class = format!("{range} vendor-class \"v\" {{ allow dynamic-bootp; }}");
    assert_eq!(first(&class, &[60, 1, b'v']), Some(ip("10.0.0.20")));
    assert_eq!(first(&class, &[60, 1, b'w']), None);
}

#[test]
fn a_shared_networks_word_holds_for_its_subnets() {
    let config = |outer: &str, inner: &str| {
        read(&format!(
            "shared-network wire {{ {outer}
               subnet 10.0.0.0 netmask 255.255.255.0 {{ }}
               subnet 10.2.0.0 netmask 255.255.255.0 {{ range 10.2.0.10; {inner} }} }}"
        ))
    };
    assert_eq!(
        given(&mut Bench::with(config("allow dynamic-bootp;", "")), 1),
        Some(ip("10.2.0.10"))
    );
    assert_eq!(given(&mut Bench::with(config("allow dynamic-bootp; deny bootp;", "")), 1), None);
    let inner = config("allow dynamic-bootp; deny bootp;", "allow bootp;");
    assert_eq!(given(&mut Bench::with(inner), 1), Some(ip("10.2.0.10")));
    let denied = config("allow dynamic-bootp;", "deny unknown-clients;");
    assert_eq!(given(&mut Bench::with(denied), 1), None, "the subnet's own, as for DHCP");
}

#[test]
fn dhcp_clients_use_those_ranges_too_and_nobody_is_given_anothers() {
    let inside = "range dynamic-bootp 10.0.0.10 10.0.0.13; dynamic-bootp-lease-length 600;
                  default-lease-time 600;";
    let mut b = Bench::with(network(inside));
    assert_eq!(b.dora(1), ip("10.0.0.10"));
    assert_eq!(given(&mut b, 2), Some(ip("10.0.0.11")));
    assert_eq!(b.one(&discover(3)).yours(), ip("10.0.0.12"));
    assert_eq!(given(&mut b, 4), Some(ip("10.0.0.13")));
    assert_eq!(given(&mut b, 5), None, "neither what is leased nor what is offered");
    b.silent(&discover(6).with(50, [10, 0, 0, 11]));
    assert_eq!(b.one(&reboot(6, ip("10.0.0.11"))).kind(), message::NAK);
    assert_eq!(b.one(&select(3, ip("10.0.0.12"))).kind(), message::ACK);
    // What an ended lease leaves is whoever's comes first, oldest first.
    b.pass(601);
    assert_eq!(b.one(&discover(7)).yours(), ip("10.0.0.10"));
    assert_eq!(given(&mut b, 8), Some(ip("10.0.0.11")));
    b.pass(121);
    assert_eq!(given(&mut b, 9), Some(ip("10.0.0.13")), "before what an offer gave up last");
}

#[test]
fn the_oldest_of_both_kinds_of_ranges_is_offered_first() {
    let mut b =
        Bench::with(network("range 10.0.0.20; range dynamic-bootp 10.0.0.10; range 10.0.0.21;"));
    let addresses: Vec<_> = (1..=3)
        .map(|client| {
            b.pass(1);
            b.dora(client)
        })
        .collect();
    assert_eq!(addresses, [ip("10.0.0.20"), ip("10.0.0.10"), ip("10.0.0.21")]);
    b.pass(90_000);
    for (client, address) in (4..).zip(addresses) {
        assert_eq!(b.dora(client), address);
    }
}

#[test]
fn one_machine_by_bootp_and_by_dhcp_keeps_its_address() {
    let address = ip("10.0.0.10");
    let inside = "range dynamic-bootp 10.0.0.10 10.0.0.13;";
    // Its ROM by BOOTP, then its system by DHCP, which shows an identifier.
    let mut b = Bench::with(network(inside));
    assert_eq!(given(&mut b, 1), Some(address));
    assert_eq!(b.one(&discover(1).id(b"me")).yours(), address);
    assert_eq!(b.one(&select(1, address).id(b"me")).kind(), message::ACK);
    assert!(!b.journal().contains("dynamic-bootp") && b.journal().contains("uid"));
    // And again: what DHCP promised is not taken back, and the system still finds it.
    assert_eq!(given(&mut b, 1), Some(address));
    assert_eq!(b.out.records, 1, "{}", b.journal());
    assert_eq!(b.one(&renew(1, address).id(b"me")).yours(), address);
    assert_eq!(b.one(&discover(1).id(b"me")).yours(), address);
    assert_eq!(given(&mut b, 2), Some(ip("10.0.0.11")));

    let mut b = Bench::with(network(&format!("{inside} dynamic-bootp-lease-length 60;")));
    assert_eq!(b.dora(1), address);
    let promised = START + 43_200;
    assert_eq!(given(&mut b, 1), Some(address));
    let record = leasefile::read(&b.out.journal).next().unwrap().unwrap();
    assert_eq!((record.ends, record.dynamic_bootp), (promised, true), "never less than was said");
    b.pass(43_200);
    assert_eq!(b.events(address), "R");
}

#[test]
fn an_offer_to_the_same_machine_is_answered_at_once() {
    let mut config = network("range dynamic-bootp 10.0.0.10 10.0.0.13;");
    config.build_lookup();
    let mut b = Bench::pinging(config);
    b.silent(&discover(1));
    // Another address: nobody has said yet that this one is free.
    let address = given(&mut b, 1).unwrap();
    assert_eq!(b.pass(1).len(), 0, "what was to be offered is not wanted any more");
    assert_eq!(b.one(&reboot(1, address)).kind(), message::ACK);
    assert_eq!(b.engine.tables(b.now).0, [address]);
}

#[test]
fn a_lease_outside_the_ranges_for_bootp_is_exchanged() {
    capture();
    let mut b = Bench::with(network("range 10.0.0.50; range dynamic-bootp 10.0.0.10;"));
    let by_dhcp = b.dora(1);
    assert_eq!(by_dhcp, ip("10.0.0.50"));
    lines();
    assert_eq!(given(&mut b, 1), Some(ip("10.0.0.10")));
    assert_eq!(lines()[1], "ERROR client 02:00:00:00:00:01 has duplicate leases on 10.0.0.0");
    assert_eq!(b.engine.tables(b.now).0, [ip("10.0.0.10")]);
}

#[test]
fn an_abandoned_address_is_the_last_resort() {
    let mut b =
        Bench::with(network("range dynamic-bootp 10.0.0.10 10.0.0.11; default-lease-time 60;"));
    let address = b.dora(1);
    b.silent(&decline(1, address));
    assert_eq!(given(&mut b, 2), Some(ip("10.0.0.11")));
    assert_eq!(given(&mut b, 3), None);
    b.pass(60);
    capture();
    assert_eq!(given(&mut b, 3), Some(address));
    assert_eq!(lines()[1], "ERROR Reclaiming abandoned IP address 10.0.0.10.");
    assert_eq!(b.events(address), "LC");
    assert_eq!(b.engine.tables(b.now), (vec![address, ip("10.0.0.11")], vec![]));
}

#[test]
fn without_a_hardware_address_nothing_is_leased() {
    capture();
    let mut b = Bench::with(network(&format!(
        "{DYNAMIC} host h {{ option dhcp-client-identifier \"x\"; fixed-address 10.0.0.5; }}"
    )));
    for options in [&[][..], &[61, 1, b'y']] {
        let mut request = saying(1, options);
        request[2] = 0;
        for _ in 0..5 {
            assert!(by(&mut b, &request).is_empty());
        }
        assert_eq!(lines()[1], "INFO No applicable record for BOOTP host <null> via em0");
    }
    assert!(b.engine.is_empty());
    // A host that is known otherwise is.
    let mut request = saying(1, &[61, 1, b'x']);
    request[2] = 0;
    assert_eq!(one(&mut b, &request).yours(), ip("10.0.0.5"));
}

#[test]
fn a_range_may_become_bootps_while_everything_goes_on() {
    let plain = "range 10.0.0.10 10.0.0.11; default-lease-time 60;";
    let mut b = Bench::with(network(plain));
    b.dora(1);
    b.pass(61);
    assert_eq!(given(&mut b, 2), None);
    let change = |b: &mut Bench, inside: &str| {
        let mut config = network(inside);
        config.build_lookup();
        b.out.clear();
        b.engine.reconfigure(Arc::new(config), interfaces(), b.now, &mut b.out);
        b.engine.core.check();
    };
    change(&mut b, &plain.replace("range", "range dynamic-bootp"));
    assert_eq!(given(&mut b, 2), Some(ip("10.0.0.11")));
    assert_eq!(given(&mut b, 3), Some(ip("10.0.0.10")), "what had ended");
    change(&mut b, plain);
    assert_eq!(given(&mut b, 2), None, "it holds one, and may not have it");
    assert_eq!(b.engine.tables(b.now).0.len(), 2);
}
