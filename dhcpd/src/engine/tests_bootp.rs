//! BOOTP: who is answered, what the reply says and where it goes. Leases: `tests_bootp_leases`.

use super::tests_kit::*;
use super::tests_log::{capture, lines};
use super::*;

/// A request as RFC 1497's clients send it.
pub(super) fn boot(client: u16) -> Vec<u8> {
    let mut bytes = ask(0, client).bytes();
    bytes.resize(300, 0);
    bytes
}

/// As clients sent it before RFC 1048: whatever they like in the vendor area.
fn plain(client: u16) -> Vec<u8> {
    let mut bytes = boot(client);
    bytes[236..300].copy_from_slice(&std::array::from_fn::<u8, 64, _>(|i| i as u8 + 1));
    bytes
}

/// With options instead of just their end.
pub(super) fn saying(client: u16, options: &[u8]) -> Vec<u8> {
    let mut bytes = boot(client);
    bytes[240..240 + options.len()].copy_from_slice(options);
    bytes[240 + options.len()] = 255;
    bytes
}

fn relayed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[24..28].copy_from_slice(&RELAY.octets());
    bytes
}

pub(super) fn by(b: &mut Bench, bytes: &[u8]) -> Vec<Got> {
    let hw = <[u8; 6]>::try_from(&bytes[28..34]).unwrap();
    b.out.clear();
    b.engine.input(bytes, &Bench::meta(Some(hw)), b.now, &mut b.out);
    b.engine.core.check();
    b.replies()
}

pub(super) fn one(b: &mut Bench, bytes: &[u8]) -> Got {
    let mut got = by(b, bytes);
    assert_eq!(got.len(), 1);
    got.remove(0)
}

pub(super) fn given(b: &mut Bench, client: u16) -> Option<Ipv4Addr> {
    by(b, &boot(client)).first().map(Got::yours)
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim_end_matches('\0').to_owned()
}

/// The network of [`SERVER`], with `inside` in its subnet, and another behind [`RELAY`].
pub(super) fn network(inside: &str) -> Config {
    read(&format!(
        "subnet 10.0.0.0 netmask 255.255.255.0 {{ {inside} }}
         subnet 10.1.0.0 netmask 255.255.255.0 {{ range dynamic-bootp 10.1.0.10; }}"
    ))
}

pub(super) const DYNAMIC: &str =
    "range 10.0.0.50 10.0.0.59; range dynamic-bootp 10.0.0.10 10.0.0.12;";

#[test]
fn a_host_gets_its_address_and_64_bytes_of_options() {
    capture();
    let mut b = Bench::with(network(
        "next-server 10.0.0.66; server-name \"srv\"; filename \"subnet\";
         option routers 10.0.0.1; option domain-name-servers 10.0.0.2, 10.0.0.3;
         option domain-name \"a-name-that-does-not-fit-any-more.example\";
         option time-offset -3600; option dhcp-lease-time 5; option dhcp-renewal-time 5;
         option classless-static-routes 10/8 10.0.0.1; option ipv6-only-preferred 5;
         option relay-agent-information 1:2:3; option root-path \"/r\";
         user-class \"u\" { filename \"user\"; option root-path \"/user\"; }
         host pc { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; filename \"pc\"; }",
    ));
    let mut request = saying(1, &[77, 1, b'u', 60, 1, b'v', 61, 2, 1, 2]);
    request[3..4].fill(2); // hops
    request[8..10].copy_from_slice(&[1, 2]); // secs
    request[12..16].copy_from_slice(&[10, 0, 0, 5]); // ciaddr
    let got = one(&mut b, &request);
    let m = got.message();
    assert_eq!(
        (got.yours(), m.siaddr(), m.ciaddr()),
        (ip("10.0.0.5"), ip("10.0.0.66"), got.yours())
    );
    assert_eq!((text(m.file()), text(m.sname())), ("pc".to_owned(), "srv".to_owned()));
    assert_eq!(got.bytes[..12], [&[2], &request[1..12]].concat());
    assert_eq!(got.codes(), [1, 2, 3, 6, 17], "one option of 42 bytes finds no room");
    assert_eq!(got.options.ipv4(1), Some(ip("255.255.255.0")));
    assert_eq!(got.options.get(17), Some(&b"/r"[..]));
    assert_eq!(got.bytes.len(), 300);
    assert!(!got.reply.durable && b.out.records == 0 && b.out.tables.is_empty());
    let to = Destination::Link { interface: 0, mac: mac(1), address: got.yours(), port: 68 };
    assert_eq!((got.reply.destination, got.reply.source), (to, SERVER));
    assert_eq!(
        lines(),
        [
            "INFO BOOTREQUEST from 02:00:00:00:00:01 via em0",
            "INFO BOOTREPLY for 10.0.0.5 to pc (02:00:00:00:00:01) via em0",
        ]
    );
}

#[test]
fn options_fill_the_64_bytes_and_no_more() {
    for (length, fits) in [(51, true), (52, false)] {
        let name = "x".repeat(length);
        let mut b = Bench::with(network(&format!(
            "option domain-name \"{name}\"; option option-200 1;
             host pc {{ hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; }}"
        )));
        let got = one(&mut b, &boot(1));
        // 4 of cookie, 6 of mask, 2 and the name, 1 of end.
        assert_eq!(got.codes(), if fits { vec![1, 15] } else { vec![1, 200] }, "{length}");
        assert_eq!((got.bytes.len(), got.bytes[44], got.bytes[108]), (300, 0, 0));
    }
    // A list of ours says what goes first, as for DHCP.
    let mut b = Bench::with(network(
        "option dhcp-parameter-request-list 200, 15; option option-200 1; option domain-name \"x\";
         host pc { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; }",
    ));
    assert_eq!(one(&mut b, &boot(1)).codes(), [200, 15, 1]);
}

#[test]
fn without_a_cookie_the_vendor_area_comes_back_unless_told_otherwise() {
    let inside = "host pc { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; }
                  range dynamic-bootp 10.0.0.10;";
    capture();
    let mut b = Bench::with(network(inside));
    for client in [1, 2] {
        let got = one(&mut b, &plain(client));
        assert_eq!(got.bytes[236..], plain(client)[236..]);
        assert!(lines()[0].ends_with("via em0 (non-rfc1048)"));
        // However little there is of it, and however much.
        assert_eq!(one(&mut b, &plain(client)[..241]).bytes[236..], {
            let mut area = [0; 64];
            area[..5].copy_from_slice(&[1, 2, 3, 4, 5]);
            area
        });
        let long = [&plain(client)[..], &[7; 100]].concat();
        assert_eq!(one(&mut b, &long).bytes, got.bytes);
    }
    for (inside, always) in [
        (format!("always-reply-rfc1048 true; {inside}"), true),
        (inside.replace("fixed", "always-reply-rfc1048 on; fixed"), true),
        (
            format!(
                "always-reply-rfc1048 true; {}",
                inside.replace("fixed", "always-reply-rfc1048 off; fixed")
            ),
            false,
        ),
    ] {
        let mut b = Bench::with(network(&inside));
        assert_eq!(one(&mut b, &plain(1)).message().has_cookie(), always, "{inside}");
    }
}

#[test]
fn who_is_not_served_is_told_so_by_the_log_alone() {
    let denied = |inside: &str, client: u16| {
        capture();
        let mut b = Bench::with(network(inside));
        assert!(by(&mut b, &saying(client, &[60, 1, b'v'])).is_empty(), "{inside}");
        assert!(b.out.records == 0 && b.engine.is_empty());
        assert_eq!(b.engine.counters().bootreply, 0);
        lines()[1..].join("; ")
    };
    let host = "hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5;";
    let known = "hardware ethernet 2:0:0:0:0:1;";
    for host in [host, known] {
        let said = |inside: &str| denied(&format!("{DYNAMIC} {inside}"), 1);
        let excluded = "INFO Ignoring excluded BOOTP client pc";
        let ignored = "INFO Ignoring BOOTP request from client pc";
        assert_eq!(said(&format!("host pc {{ {host} deny booting; }}")), excluded);
        assert_eq!(said(&format!("group {{ deny booting; host pc {{ {host} }} }}")), excluded);
        assert_eq!(said(&format!("deny booting; host pc {{ {host} }}")), excluded);
        assert_eq!(said(&format!("host pc {{ {host} deny bootp; }}")), ignored);
        assert_eq!(said(&format!("deny bootp; host pc {{ {host} }}")), ignored);
        assert_eq!(
            said(&format!("vendor-class \"v\" {{ deny bootp; }} host pc {{ {host} }}")),
            ignored
        );
    }
    let unknown = "INFO Ignoring unknown BOOTP client 02:00:00:00:00:01 via em0";
    let ignored = "INFO Ignoring BOOTP request from client 02:00:00:00:00:01 via em0";
    let none = "INFO No applicable record for BOOTP host 02:00:00:00:00:01 via em0";
    assert_eq!(denied(&format!("deny unknown-clients; {DYNAMIC}"), 1), unknown);
    assert_eq!(denied("deny unknown-clients;", 1), unknown, "also where there is nothing to give");
    assert_eq!(denied(&format!("deny bootp; {DYNAMIC}"), 1), ignored);
    assert_eq!(denied("range 10.0.0.50 10.0.0.59;", 1), none);
    assert_eq!(denied(&format!("vendor-class \"v\" {{ deny booting; }} {DYNAMIC}"), 1), "");
    // An own word is stronger than what is around it.
    let served = |inside: &str| {
        let mut b = Bench::with(network(inside));
        given(&mut b, 1).is_some()
    };
    assert!(served(&format!("deny bootp; host pc {{ {host} allow bootp; }}")));
    assert!(served(&format!("deny booting; host pc {{ {host} allow booting; }}")));
    assert!(served(&format!("deny unknown-clients; {DYNAMIC} host pc {{ {known} }}")));
    assert!(served(&format!("deny booting; {DYNAMIC}")), "of hosts and classes only");
}

#[test]
fn hosts_with_several_addresses_have_one_on_each_network() {
    let mut b = Bench::with(read(
        "subnet 10.0.0.0 netmask 255.255.255.0 { }
         subnet 10.1.0.0 netmask 255.255.255.0 { option routers 10.1.0.1; range dynamic-bootp 10.1.0.10; }
         subnet 10.2.0.0 netmask 255.255.255.0 { }
         host a { hardware ethernet 2:0:0:0:0:1; fixed-address 10.2.0.5, 10.1.0.5, 10.0.0.5, 10.0.0.6; }
         host b { hardware ethernet 2:0:0:0:0:2; fixed-address 10.2.0.6; }",
    ));
    assert_eq!(given(&mut b, 1), Some(ip("10.0.0.5")));
    let got = one(&mut b, &relayed(boot(1)));
    assert_eq!((got.yours(), got.options.ipv4(3)), (ip("10.1.0.5"), Some(RELAY)));
    assert_eq!(b.one(&discover(1).relayed()).yours(), ip("10.1.0.5"));
    assert_eq!(given(&mut b, 2), None);
    assert_eq!(one(&mut b, &relayed(boot(2))).yours(), ip("10.1.0.10"), "it is a known client");
}

#[test]
fn to_whom_it_goes() {
    let mut b = Bench::with(network(
        "option dhcp-server-identifier 10.0.0.2; range dynamic-bootp 10.0.0.10;
         host pc { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; }",
    ));
    let link = |mac, address, port| Destination::Link { interface: 0, mac, address, port };
    for (client, address, source) in [(1, "10.0.0.5", SERVER), (2, "10.0.0.10", OTHER_SERVER)] {
        let got = one(&mut b, &boot(client));
        assert_eq!(got.reply.destination, link(mac(client), ip(address), 68));
        assert_eq!(got.reply.source, source);
        let mut loud = boot(client);
        loud[10] = 0x80;
        let got = one(&mut b, &loud);
        assert_eq!(got.reply.destination, link([255; 6], Ipv4Addr::BROADCAST, 68));
        assert_eq!(got.message().flags(), 0x8000);
    }
    let agent = [82, 4, 1, 2, 7, 8];
    let got = one(&mut b, &relayed(saying(9, &agent)));
    assert_eq!(got.reply.destination, link(mac(9), RELAY, 67));
    assert_eq!((got.message().giaddr(), got.codes()), (RELAY, vec![1, 82]));
    // By an interface that is not served, nobody but a relay agent has anything to say.
    let afar = Meta { served: false, ..Bench::meta(None) };
    b.out.clear();
    b.engine.input(&boot(1), &afar, b.now, &mut b.out);
    assert!(b.out.replies.is_empty());
    b.engine.input(&relayed(boot(9)), &afar, b.now, &mut b.out);
    let udp = Destination::Udp { interface: None, address: RELAY, port: 67 };
    assert_eq!(b.out.replies[0].destination, udp);
}

#[test]
fn the_boot_file() {
    let inside = "filename \"subnet\"; vendor-class \"v\" { filename \"vendor\"; server-name \"vs\"; next-server 10.0.0.9; }
         range dynamic-bootp 10.0.0.10 10.0.0.19;
         host pc { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; filename \"host\"; }";
    let mut b = Bench::with(network(inside));
    let mut named = |client: u16, options: &[u8], file: &str| {
        let mut request = saying(client, options);
        request[108..108 + file.len()].copy_from_slice(file.as_bytes());
        let got = one(&mut b, &request);
        let m = got.message();
        (text(m.file()), text(m.sname()), m.siaddr())
    };
    let said = |file: &str, sname: &str| (file.to_owned(), sname.to_owned(), SERVER);
    assert_eq!(named(1, &[60, 1, b'v'], "own"), said("host", "vs"));
    assert_eq!(named(2, &[60, 1, b'v'], "own"), said("vendor", "vs"));
    assert_eq!(named(2, &[], "own"), said("own", ""));
    assert_eq!(named(2, &[], ""), said("subnet", ""));
}

#[test]
fn a_name_and_a_route_are_made_where_that_is_asked_for() {
    let mut b = Bench::with(network(
        "use-host-decl-names on; use-lease-addr-for-default-route on;
         host pc { hardware ethernet 2:0:0:0:0:1; fixed-address 10.0.0.5; }",
    ));
    let got = one(&mut b, &boot(1));
    assert_eq!((got.options.get(12), got.options.ipv4(3)), (Some(&b"pc"[..]), Some(got.yours())));
}

proptest::proptest! {
    #[test]
    fn whatever_comes_never_panics(
        head in proptest::collection::vec(proptest::num::u8::ANY, 236),
        vendor in proptest::collection::vec(proptest::num::u8::ANY, 4..200),
        cookie: bool,
    ) {
        let mut b = Bench::with(network(DYNAMIC));
        let mut bytes = [head, vendor].concat();
        (bytes[0], bytes[2]) = (1, bytes[2] % 18);
        if cookie {
            bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
        }
        bytes[24..28].fill(0);
        by(&mut b, &bytes);
        for reply in b.out.replies.iter().filter(|reply| !reply.durable) {
            proptest::prop_assert!(reply.bytes.len() >= 300);
        }
    }
}
